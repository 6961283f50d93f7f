//! The rows of this instance, of connections and of topics: written, kept true, removed.
//!
//! The row of a connection goes its own way beside it: it can still be under way when the socket has gone,
//! and a terminal is greeted without one when the directory is away. When both have gone the
//! connection is forgotten.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use super::settle::{self, STEP};
use super::topic_rows::KnownTopicRows;
use super::{RETRY, Shard};
use crate::base::alarm::Alarm;
use crate::base::fingerprint::Fingerprint;
use crate::base::slots::Beside;
use crate::context::Context;
use crate::directory::{Operation, Row};
use crate::id::{ConnectionKey, Epoch};
use crate::membership::hooks;
use crate::membership::trips::Unknown;
use crate::membership::view::View;
use crate::terminals::Terminals;
use crate::time::Instant;
use crate::vocabulary::effect::Effect;
use crate::vocabulary::purpose::MembershipPurpose;
use crate::vocabulary::terminal::{Age, RowNews, RowOf};
use crate::vocabulary::timer::MembershipTimer;

/// The time between two steps of the sweep.
const SWEEP_STEP: Duration = Duration::from_secs(1);

/// What is known of the rows of all connections and topics, those that are written again for no special
/// reason, and those that were refused.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    connections: Beside<ConnectionKey, KnownRow>,
    pub(super) topics: KnownTopicRows,
    /// Refused rows, in the order of their next try.
    refused: VecDeque<(Instant, RowOf)>,
    /// The oldest connection that the sweep has not come to.
    swept: Age,
    /// What the steps of the sweep have added up to, less the rows written for it.
    owed: usize,
    sweep: Alarm,
    retry: Alarm,
}

/// What is known of a row.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KnownRow {
    pub(super) state: RowState,
    /// The settling of this epoch waits for it.
    unsettled: Option<Epoch>,
}

/// How far a row is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum RowState {
    /// No row of it is in the directory, and none is to be.
    #[default]
    Absent,
    /// It must be written, or removed once it is not wanted, and nothing is under way: it
    /// waits for a claim, for settling or for another try.
    Due,
    /// It is being written.
    Writing {
        /// The epoch that stands in the row which is being written.
        epoch: Epoch,
    },
    /// The directory has answered that the row stands there.
    Written {
        /// The epoch that stands in it.
        epoch: Epoch,
    },
    /// It is being removed.
    Removing,
}

impl RowState {
    /// What the state is called in tables for people.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Due => "due",
            Self::Writing { .. } => "writing",
            Self::Written { .. } => "written",
            Self::Removing => "removing",
        }
    }
}

impl Rows {
    pub(super) const fn new() -> Self {
        Self {
            connections: Beside::new(),
            topics: KnownTopicRows::new(),
            refused: VecDeque::new(),
            swept: Age::OLDEST,
            owed: 0,
            sweep: Alarm::UNSET,
            retry: Alarm::UNSET,
        }
    }

    fn known(&self, of: &RowOf) -> KnownRow {
        match of {
            RowOf::Connection(key) => self.connections.get(*key),
            RowOf::Topic(topic) => self.topics.row(topic),
        }
    }

    fn known_mut(&mut self, of: &RowOf) -> &mut KnownRow {
        match of {
            RowOf::Connection(key) => self.connections.get_mut(*key),
            RowOf::Topic(topic) => self.topics.row_mut(topic),
        }
    }

    pub(super) fn state(&self, of: &RowOf) -> RowState {
        self.known(of).state
    }

    fn set(&mut self, of: &RowOf, state: RowState) {
        self.known_mut(of).state = state;
    }

    /// The settling of this epoch waits for a row.
    pub(super) fn await_settled(&mut self, of: &RowOf, epoch: Epoch) {
        self.known_mut(of).unsettled = Some(epoch);
    }

    /// Which settling has waited for a row, if any has.
    pub(super) fn take_unsettled(&mut self, of: &RowOf) -> Option<Epoch> {
        // A key that is out of date finds nothing.
        self.known(of).unsettled?;
        self.known_mut(of).unsettled.take()
    }

    pub(super) fn begin_sweep(&mut self, cx: &mut Context<'_>) {
        cx.set(&mut self.sweep, cx.now.mono, MembershipTimer::Sweep);
    }

    /// Rows that were refused and are tried again.
    pub(super) fn refused(&self) -> usize {
        self.refused.len()
    }

    /// Of the sweep, of refused rows, and of members that are told of their topics.
    pub(super) const fn alarms(&self) -> [Alarm; 3] {
        [self.sweep, self.retry, self.topics.alarm()]
    }
}

/// Whether the directory should have a row.
pub(in crate::membership) fn is_wanted(terminals: &Terminals, of: &RowOf) -> bool {
    match of {
        RowOf::Connection(key) => terminals
            .get(*key)
            .is_some_and(|connection| connection.wants_row()),
        RowOf::Topic(topic) => terminals.has_members(topic),
    }
}

impl Shard {
    /// Writes a row under the present epoch, if the lease is held; if not, the settling that follows the next
    /// claim does.
    pub(in crate::membership) fn write_row(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &Terminals,
        of: &RowOf,
    ) {
        let latest = self.is_linked().then_some(self.lease.epoch());
        let epoch = hooks::epoch_of_rows(cx.flaws, self.lease.held_epoch(), latest);
        let instance = cx.identity.instance;
        let operation = match of {
            RowOf::Connection(key) => {
                let Some(connection) = terminals.get(*key) else {
                    return;
                };
                if connection.follows && hooks::reads_logs_behind_rows(cx.flaws) {
                    cx.emit(Effect::RowAsked(*key));
                }
                epoch.map(|epoch| Operation::Register {
                    key: connection.key.clone(),
                    connection: connection.id,
                    row: Row {
                        instance,
                        epoch,
                        connected: connection.connected,
                    },
                })
            }
            RowOf::Topic(topic) => {
                if hooks::reads_logs_behind_rows(cx.flaws) {
                    cx.emit(Effect::TopicRowAsked(topic.clone()));
                }
                epoch.map(|epoch| Operation::EnterTopic {
                    topic: topic.clone(),
                    instance,
                    epoch,
                })
            }
        };
        let (Some(epoch), Some(operation)) = (epoch, operation) else {
            self.rows.set(of, RowState::Due);
            return;
        };
        self.rows.set(of, RowState::Writing { epoch });
        if let RowOf::Topic(topic) = of {
            self.rows.topics.asked(topic, epoch);
        }
        let purpose = MembershipPurpose::Register {
            row: of.clone(),
            epoch,
        };
        self.trips.ask(operation, purpose.into());
    }

    /// A row is not wanted any more: the presence of its terminal has ended, or the last member has left its topic.
    pub(in crate::membership) fn row_unwanted(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &Terminals,
        of: &RowOf,
    ) {
        self.settled_one(cx, of);
        self.remove_row(cx, terminals, of);
    }

    /// Removes a row that is not wanted. While the directory is away there is nothing to do: what it may hold is
    /// of an epoch that the next claim leaves behind.
    fn remove_row(&mut self, cx: &Context<'_>, terminals: &Terminals, of: &RowOf) {
        match self.rows.state(of) {
            RowState::Absent | RowState::Removing => return,
            // The write ends first.
            RowState::Writing { .. } => return,
            RowState::Due | RowState::Written { .. } => {}
        }
        let instance = cx.identity.instance;
        let operation = match of {
            RowOf::Connection(key) => {
                let Some(connection) = terminals.get(*key) else {
                    return;
                };
                Operation::Unregister {
                    key: connection.key.clone(),
                    connection: connection.id,
                    instance,
                }
            }
            RowOf::Topic(topic) => Operation::LeaveTopic {
                topic: topic.clone(),
                instance,
                epoch: self.rows.topics.last_asked(topic),
            },
        };
        if !self.is_linked() {
            match of {
                RowOf::Connection(_) => self.rows.set(of, RowState::Absent),
                RowOf::Topic(topic) => self.rows.topics.forget(topic),
            }
            return;
        }
        self.rows.set(of, RowState::Removing);
        let purpose = MembershipPurpose::Unregister { row: of.clone() };
        self.trips.ask(operation, purpose.into());
    }

    /// The directory has written a row.
    pub(in crate::membership) fn registered(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        of: RowOf,
        epoch: Epoch,
    ) {
        let held = self.lease.held_epoch_at(cx.now.mono);
        let present = hooks::proves_a_row(cx.flaws, epoch, held, self.lease.epoch());
        if !is_known(cx, terminals, &of) {
            return;
        }
        self.rows.set(&of, RowState::Written { epoch });
        if !is_wanted(terminals, &of) {
            if hooks::removes_a_late_row(cx.flaws) {
                self.remove_row(cx, terminals, &of);
            } else {
                self.unregistered(cx, terminals, &of);
            }
            return;
        }
        if !present {
            // It proves nothing: the directory may have changed since, or the lease have expired.
            if self.lease.held_epoch() == Some(epoch) {
                self.row_due(cx, of);
            } else {
                self.write_row(cx, terminals, &of);
            }
            return;
        }
        match &of {
            RowOf::Connection(key) => terminals.row_changed(cx, *key, RowNews::Written),
            RowOf::Topic(topic) => self.tell_members(cx, terminals, topic),
        }
        self.settled_one(cx, &of);
    }

    pub(in crate::membership) fn register_unknown(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        of: RowOf,
        unknown: Unknown,
    ) {
        if !is_known(cx, terminals, &of) {
            return;
        }
        self.rows.set(&of, RowState::Due);
        let unsettled = self.rows.known(&of).unsettled == Some(self.lease.epoch());
        match (unknown, is_wanted(terminals, &of)) {
            (Unknown::TimedOut, true) if !hooks::repeats_a_lost_register(cx.flaws) => {}
            (Unknown::TimedOut, true) if unsettled => self.settle_again(cx, terminals, of),
            (Unknown::TimedOut, true) => self.write_row(cx, terminals, &of),
            (Unknown::TimedOut, false) => self.remove_row(cx, terminals, &of),
            (Unknown::LinkLost, true) => {}
            (Unknown::LinkLost, false) => self.unregistered(cx, terminals, &of),
        }
    }

    pub(in crate::membership) fn register_refused(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        of: RowOf,
    ) {
        if !is_known(cx, terminals, &of) {
            return;
        }
        self.rows.set(&of, RowState::Due);
        if is_wanted(terminals, &of) {
            self.try_later(cx, of);
        } else {
            // Nothing was written now, but perhaps before.
            self.remove_row(cx, terminals, &of);
            self.forget_if_over(cx, terminals, &of);
        }
    }

    /// The directory has removed a row.
    pub(in crate::membership) fn unregistered(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        of: &RowOf,
    ) {
        if !is_known(cx, terminals, of) {
            return;
        }
        self.rows.set(of, RowState::Absent);
        match of {
            RowOf::Connection(_) => self.forget_if_over(cx, terminals, of),
            RowOf::Topic(topic) => {
                // It may have got members again in the meantime.
                if terminals.has_members(topic) && hooks::writes_a_topic_again(cx.flaws) {
                    self.write_row(cx, terminals, of);
                } else {
                    self.rows.topics.forget(topic);
                }
            }
        }
    }

    pub(in crate::membership) fn unregister_unknown(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        of: &RowOf,
        unknown: Unknown,
    ) {
        match (unknown, of) {
            (Unknown::TimedOut, RowOf::Connection(key)) => {
                if terminals.get(*key).is_some() {
                    self.rows.set(of, RowState::Due);
                }
                self.remove_row(cx, terminals, of);
            }
            // What is asked on the same link is executed behind the removal.
            (Unknown::TimedOut, RowOf::Topic(topic)) => {
                self.rows.set(of, RowState::Due);
                if terminals.has_members(topic) {
                    self.write_row(cx, terminals, of);
                } else {
                    self.remove_row(cx, terminals, of);
                }
            }
            (Unknown::LinkLost, _) => self.unregistered(cx, terminals, of),
        }
    }

    pub(in crate::membership) fn unregister_refused(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &Terminals,
        of: RowOf,
    ) {
        let is_known = match &of {
            RowOf::Connection(key) => terminals.get(*key).is_some(),
            RowOf::Topic(_) => true,
        };
        if is_known {
            self.rows.set(&of, RowState::Due);
        }
        self.try_later(cx, of);
    }

    /// Forgets a connection whose socket and row have both gone, and a topic without a row.
    pub(in crate::membership) fn forget_if_over(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        of: &RowOf,
    ) {
        if self.rows.state(of) != RowState::Absent {
            return;
        }
        match of {
            RowOf::Connection(key) => terminals.row_changed(cx, *key, RowNews::Absent),
            RowOf::Topic(topic) => self.rows.topics.forget(topic),
        }
    }

    /// Whether a row stands is asked, a little later.
    pub(super) fn row_due(&mut self, cx: &mut Context<'_>, of: RowOf) {
        self.rows.set(&of, RowState::Due);
        self.try_later(cx, of);
    }

    fn try_later(&mut self, cx: &mut Context<'_>, of: RowOf) {
        let at = cx.now.mono + RETRY;
        self.rows.refused.push_back((at, of));
        cx.set(&mut self.rows.retry, at, MembershipTimer::Retry);
    }

    /// There is no link to try refused rows again on. The next settling writes those that are wanted.
    pub(in crate::membership) fn drop_refused(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
    ) {
        for (_, of) in std::mem::take(&mut self.rows.refused) {
            if !is_wanted(terminals, &of) && self.rows.state(&of) == RowState::Due {
                self.remove_row(cx, terminals, &of);
                self.forget_if_over(cx, terminals, &of);
            }
        }
    }

    /// Tries refused rows again, within the pace of settling: a directory that takes nothing would
    /// be asked for everything, four times a second.
    pub(in crate::membership) fn retry_due(
        &mut self,
        cx: &mut Context<'_>,
        view: &View,
        terminals: &Terminals,
    ) {
        if !self.rows.retry.rings(cx.now.mono) {
            return;
        }
        let mut budget = settle::budget(cx, view, 0);
        while let Some(&(at, _)) = self.rows.refused.front() {
            if budget == 0 {
                cx.set(
                    &mut self.rows.retry,
                    cx.now.mono + STEP,
                    MembershipTimer::Retry,
                );
                return;
            }
            budget -= 1;
            if at > cx.now.mono {
                cx.set(&mut self.rows.retry, at, MembershipTimer::Retry);
                return;
            }
            let Some((_, of)) = self.rows.refused.pop_front() else {
                return;
            };
            match self.rows.state(&of) {
                RowState::Due if is_wanted(terminals, &of) => self.write_row(cx, terminals, &of),
                RowState::Due => self.remove_row(cx, terminals, &of),
                // Something else has taken it up since.
                RowState::Absent
                | RowState::Writing { .. }
                | RowState::Written { .. }
                | RowState::Removing => {}
            }
        }
    }

    /// Writes the next part of all rows again.
    pub(in crate::membership) fn sweep_due(&mut self, cx: &mut Context<'_>, terminals: &Terminals) {
        if !self.rows.sweep.rings(cx.now.mono) {
            return;
        }
        cx.set(
            &mut self.rows.sweep,
            cx.now.mono + SWEEP_STEP,
            MembershipTimer::Sweep,
        );
        if self.lease.held_epoch().is_none() || self.settlement.is_running() {
            return;
        }
        // Each step owes its part of all rows, and few rows have steps without any.
        let steps = (cx.config.sweep.as_nanos() / SWEEP_STEP.as_nanos()).max(1) as usize;
        self.rows.owed += terminals.present() + self.rows.topics.len();
        while self.rows.owed >= steps {
            self.rows.owed -= steps;
            let Some(of) = self.next_swept(terminals) else {
                return;
            };
            if let RowState::Written { .. } = self.rows.state(&of) {
                self.write_row(cx, terminals, &of);
            }
        }
    }

    /// The next row of the sweep, which goes through all connections, then through all topics, and begins again.
    fn next_swept(&mut self, terminals: &Terminals) -> Option<RowOf> {
        let rows = &mut self.rows;
        if rows.topics.swept.is_none()
            && let Some((age, key)) = terminals.next_younger(rows.swept)
        {
            rows.swept = age.younger();
            return Some(RowOf::Connection(key));
        }
        if let Some(topic) = rows.topics.next(rows.topics.swept.as_ref()).cloned() {
            rows.topics.swept = Some(topic.clone());
            return Some(RowOf::Topic(topic));
        }
        rows.topics.swept = None;
        let oldest = terminals.next_younger(Age::OLDEST);
        if let Some((age, key)) = oldest {
            rows.swept = age.younger();
            return Some(RowOf::Connection(key));
        }
        rows.topics.next(None).cloned().map(RowOf::Topic)
    }

    /// What is known of one connection's row.
    pub(in crate::membership) fn fingerprint_row(
        &self,
        now: Instant,
        key: ConnectionKey,
        hasher: &mut impl Hasher,
    ) {
        self.rows.connections.get(key).fingerprint(now, hasher);
    }
}

/// Whether what a row is of is not forgotten.
fn is_known(cx: &mut Context<'_>, terminals: &Terminals, of: &RowOf) -> bool {
    match of {
        RowOf::Connection(key) => {
            let is_known = terminals.get(*key).is_some();
            if !is_known {
                cx.bug("a row is known of a connection that is forgotten");
            }
            is_known
        }
        RowOf::Topic(_) => true,
    }
}

impl Fingerprint for KnownRow {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.state.hash(hasher);
        self.unsettled.fingerprint(now, hasher);
    }
}

impl Fingerprint for Rows {
    /// What is known of the row of a connection is hashed with it.
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.topics.fingerprint(now, hasher);
        self.refused.fingerprint(now, hasher);
        self.swept.fingerprint(now, hasher);
        self.owed.fingerprint(now, hasher);
    }
}
