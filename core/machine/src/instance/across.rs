//! What takes several wings: the instance asks one, and carries to the others what it means for them.

use bytes::Bytes;

use super::Instance;
use crate::command::{Command, Log, Outbox};
use crate::delivery::Delivered;
use crate::directory::{OperationResult, SeenLease};
use crate::drain::{Progress, STEP_TERMINALS};
use crate::event::TripLost;
use crate::frame::CloseCode;
use crate::id::{InstanceId, LinkKey, OpId};
use crate::membership::trips::{Completion, Conclusion, TripEnd};
use crate::time::{Instant, Now};
use crate::vocabulary::departure::Departure;
use crate::vocabulary::effect::Effect;
use crate::vocabulary::purpose::Purpose;
use crate::vocabulary::timer::{DrainTimer, PresenceTimer};

impl Instance {
    pub(super) fn link_received(
        &mut self,
        now: Now,
        link: LinkKey,
        batch: &Bytes,
        out: &mut Outbox,
    ) {
        let cx = &mut self.base.context(now, out);
        let said = (self.peers).received(cx, &mut self.membership, link, batch);
        let Some(mut said) = said else { return };
        loop {
            let cx = &mut self.base.context(now, out);
            if !(self.peers).take_up(cx, &mut self.membership, &mut said) {
                return;
            }
            self.carry(now, out);
        }
    }

    /// Carries the effects of a call, in the order in which they were emitted.
    pub(super) fn carry(&mut self, now: Now, out: &mut Outbox) {
        // Most calls mean nothing for another wing.
        while self.base.has_effects() || self.deliver.has_outcomes(&self.terminals) {
            let (cx, wings, _) = &mut self.apart(now, out);
            if let Some(effect) = wings.carry(cx) {
                self.carry_up(now, effect, out);
            }
        }
    }

    /// Carries an effect that is not for the wings below the publisher alone.
    fn carry_up(&mut self, now: Now, effect: Effect, out: &mut Outbox) {
        match effect {
            Effect::Delivered {
                link,
                by,
                delivered,
            } => self.delivered(now, link, by, delivered, out),
            Effect::DirectoryWorks => self.directory_works_elsewhere(now, out),
            Effect::Claimed { missing } => {
                if self.drain.departure() != Departure::Releasing {
                    let cx = &mut self.base.context(now, out);
                    self.drain.end_isolation(cx);
                    (self.membership).begin_settling(cx, &self.terminals, missing);
                }
            }
            Effect::Leases { asked, leases } => self.view_read(now, asked, leases, out),
            Effect::ViewFailed => {
                let (cx, wings, publish) = &mut self.apart(now, out);
                publish.view_failed(cx, wings);
            }
            Effect::Terminal(_)
            | Effect::TopicJoined(_)
            | Effect::TopicEmpty(_)
            | Effect::Watching(..)
            | Effect::HasRoom(_)
            | Effect::RowAsked(_)
            | Effect::TopicFollowed(..)
            | Effect::TopicUnfollowed(..)
            | Effect::TopicRowAsked(_)
            | Effect::Acked(..)
            | Effect::Missed(_)
            | Effect::Answered { .. }
            | Effect::Deliver { .. } => {
                (self.base.context(now, out)).bug("an effect was handed back that has its wing");
            }
        }
    }

    fn delivered(
        &mut self,
        now: Now,
        link: LinkKey,
        by: InstanceId,
        delivered: Delivered,
        out: &mut Outbox,
    ) {
        let (cx, wings, publish) = &mut self.apart(now, out);
        if publish.contradicts(&delivered) {
            let what = "an answer of another kind";
            wings.peers.misbehaved(cx, wings.membership, link, what);
        } else {
            wings.peers.forget_unanswered(by, delivered.delivery);
            publish.delivered(cx, wings, by, delivered);
        }
    }

    fn view_read(&mut self, now: Now, asked: Instant, leases: Vec<SeenLease>, out: &mut Outbox) {
        let cx = &mut self.base.context(now, out);
        let said = |instance| self.peers.said_by(instance);
        for instance in self.membership.view_read(cx, asked, leases, said) {
            self.peers.look_for(cx, &mut self.membership, instance);
        }
        self.peers.forget_strangers(&self.membership);
        let (cx, wings, publish) = &mut self.apart(now, out);
        publish.view_read(cx, wings, asked);
    }

    /// Reads the members of those topics for which it is time.
    pub(super) fn presence_due(&mut self, now: Now, timer: PresenceTimer, out: &mut Outbox) {
        let (cx, wings, publish) = &mut self.apart(now, out);
        for topic in (wings.presence).timer_due(cx, wings.terminals, timer) {
            publish.read_members(cx, wings, topic);
        }
    }

    pub(super) fn directory_up(&mut self, now: Now, out: &mut Outbox) {
        if self.drain.departure() == Departure::Done {
            return;
        }
        if self.membership.is_linked() {
            self.directory_down(now, out);
        }
        (self.membership).directory_up(&mut self.base.context(now, out));
        let (cx, wings, publish) = &mut self.apart(now, out);
        publish.directory_up(cx, wings);
    }

    pub(super) fn directory_down(&mut self, now: Now, out: &mut Outbox) {
        let ended = self.membership.directory_down();
        self.operations_ended(now, ended, out);
        let cx = &mut self.base.context(now, out);
        self.membership.drop_refused(cx, &mut self.terminals);
    }

    pub(super) fn trip_answered(
        &mut self,
        now: Now,
        op: OpId,
        outcomes: Result<Vec<OperationResult>, TripLost>,
        out: &mut Outbox,
    ) {
        let cx = &mut self.base.context(now, out);
        match self.membership.trip_answered(cx, op, outcomes) {
            TripEnd::Ended(ended) => self.operations_ended(now, ended, out),
            TripEnd::LinkLost(ended) => {
                self.directory_down(now, out);
                self.operations_ended(now, ended, out);
            }
        }
    }

    /// Hands operations that have ended to the wings that asked for them.
    pub(super) fn operations_ended(
        &mut self,
        now: Now,
        ended: Vec<Completion<Purpose>>,
        out: &mut Outbox,
    ) {
        for (purpose, conclusion) in ended.into_iter().map(Completion::into_parts) {
            if let Conclusion::Refused(error) = &conclusion {
                self.base.stats.directory_refusals += 1;
                out.log(Log::DirectoryRefused {
                    answer: error.to_string(),
                });
            }
            match purpose {
                Purpose::Membership(purpose) => {
                    let cx = &mut self.base.context(now, out);
                    let terminals = &mut self.terminals;
                    (self.membership).operation_ended(cx, terminals, purpose, conclusion);
                    self.carry(now, out);
                }
                Purpose::Follow(purpose) => {
                    let (cx, wings, _) = &mut self.apart(now, out);
                    wings.follow.operation_ended(
                        cx,
                        wings.membership,
                        wings.terminals,
                        purpose,
                        conclusion,
                    );
                    self.carry(now, out);
                }
                Purpose::Publish(purpose) => {
                    let (cx, wings, publish) = &mut self.apart(now, out);
                    publish.operation_ended(cx, wings, purpose, conclusion);
                }
            }
        }
    }

    /// Does a step of the drain.
    pub(super) fn drain_due(&mut self, now: Now, timer: DrainTimer, out: &mut Outbox) {
        let cx = &mut self.base.context(now, out);
        let Some(left) = (self.drain).timer_due(cx, timer, self.terminals.present()) else {
            return;
        };
        for _ in 0..STEP_TERMINALS {
            if self.terminals.present() <= left {
                break;
            }
            let cx = &mut self.base.context(now, out);
            self.terminals.close_oldest(cx, CloseCode::ServiceRestart);
            self.carry(now, out);
        }
        let is_behind = self.terminals.present() > left;
        let open = self.terminals.len() + self.publish.len() + self.deliver.len();
        let is_released = self.membership.is_released();
        let cx = &mut self.base.context(now, out);
        match self.drain.proceed(cx, is_behind, open, is_released) {
            Progress::None => {}
            Progress::Release => {
                self.membership.departure_changed();
                self.deliver.answer_all(&mut self.base.context(now, out));
                self.carry(now, out);
                self.peers.say_goodbye(&mut self.base.context(now, out));
            }
            Progress::End => {
                // Nothing is asked from here on, and whatever was asked ends.
                self.directory_down(now, out);
                self.deliver.answer_all(&mut self.base.context(now, out));
                self.carry(now, out);
                let (cx, wings, publish) = &mut self.apart(now, out);
                publish.end(cx, wings);
                // The answers to others leave before their links are closed.
                wings.peers.flush(cx);
                wings.peers.close(cx);
                out.push(Command::Drained);
            }
        }
    }

    /// A peer says that the directory works for it.
    fn directory_works_elsewhere(&mut self, now: Now, out: &mut Outbox) {
        if let Some(since) = self.membership.directory_works_elsewhere(now.mono) {
            (self.drain).consider_isolation(&mut self.base.context(now, out), since);
        }
    }
}
