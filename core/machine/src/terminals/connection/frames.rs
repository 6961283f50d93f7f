//! Frames of one terminal: its messages, the pushes that are queued for it, the batches that leave.

use super::{ClosingStage, Phase, Waiting, hooks};
use crate::command::Command;
use crate::context::Context;
use crate::event::Heard;
use crate::frame::{CloseCode, Outgoing, Pushed};
use crate::id::{ConnectionId, ConnectionKey, TopicId};
use crate::message::Outcome;
use crate::terminals::Terminals;
use crate::terminals::outbound::Offered;
use crate::terminals::topics::TopicWord;
use crate::vocabulary::delivery::{Deed, Ticket};
use crate::vocabulary::effect::Effect;

impl Terminals {
    pub(crate) fn heard(&mut self, cx: &mut Context<'_>, key: ConnectionKey, heard: Heard) {
        let Some(connection) = self.registry.get_mut(key) else {
            cx.stats.stale_events += 1;
            return;
        };
        connection.heard = cx.now.mono;
        let messages = &mut connection.messages;
        match heard {
            Heard::Control => return,
            Heard::Message => messages.received += 1,
            Heard::Unwanted => messages.dropped += 1,
            Heard::Ack(position) => {
                if connection.is_live() {
                    cx.emit(Effect::Acked(key, None, position));
                } else {
                    cx.stats.log_acks_dropped += 1;
                }
                return;
            }
        }
        cx.stats.messages += 1;
        if connection.is_open()
            && connection.outbound.answer(connection.messages)
            && connection.is_live()
            && !connection.outbound.is_writing()
        {
            self.unflushed.push(key);
        }
    }

    pub(crate) fn written(&mut self, cx: &mut Context<'_>, key: ConnectionKey) {
        let Some(connection) = self.registry.get_mut(key) else {
            cx.stats.stale_events += 1;
            return;
        };
        let id = connection.id;
        let tickets = connection.outbound.written();
        connection.outbound.rest();
        if !connection.outbound.is_empty() {
            self.unflushed.push(key);
        } else if let Phase::Closing { code, stage, .. } = &mut connection.phase
            && *stage == ClosingStage::Writing
        {
            *stage = ClosingStage::Sent;
            let code = *code;
            cx.out.push(Command::Close {
                connection: key,
                code,
            });
        }
        if connection.follows_any() && connection.outbound.is_roomy(cx.config) {
            cx.emit(Effect::HasRoom(key));
        }
        self.resolve(cx, id, tickets, Outcome::Written);
    }

    /// Records of the batch with the driver are not sent: they come to the terminal by way of the log.
    pub(crate) fn withheld(
        &mut self,
        cx: &mut Context<'_>,
        key: ConnectionKey,
        topic: &TopicId,
        from: u64,
    ) {
        let Some(connection) = self.registry.get_mut(key) else {
            cx.stats.stale_events += 1;
            return;
        };
        let id = connection.id;
        let tickets = connection.outbound.withhold(topic, from);
        self.resolve(cx, id, tickets, Outcome::Kept);
    }

    /// Does to a terminal what a push says. What becomes of that comes with the ticket, as one of the
    /// [outcomes](Self::next_outcome).
    ///
    /// # Errors
    ///
    /// What became of it, if nothing comes.
    pub(crate) fn act(
        &mut self,
        cx: &mut Context<'_>,
        key: ConnectionKey,
        deed: &Deed,
        ticket: Ticket,
    ) -> Result<(), Outcome> {
        match deed {
            Deed::Tell(pushed) => self.offer(cx, key, pushed.clone(), ticket),
            Deed::Close(code) => {
                self.close(cx, key, *code, Waiting::Write, Some(ticket));
                Ok(())
            }
            Deed::Join(topic) => self.join_for_application(cx, key, topic.clone(), ticket),
            Deed::Leave(topic) => {
                self.leave_for_application(cx, key, topic);
                Err(Outcome::Written)
            }
        }
    }

    /// Queues a push for a terminal.
    ///
    /// # Errors
    ///
    /// What became of it, if it was not taken. The terminal's policy has been applied.
    fn offer(
        &mut self,
        cx: &mut Context<'_>,
        key: ConnectionKey,
        pushed: Pushed,
        ticket: Ticket,
    ) -> Result<(), Outcome> {
        let Some(connection) = self.registry.get_mut(key) else {
            cx.bug("a frame for a connection that is not there");
            return Err(Outcome::Gone);
        };
        let id = connection.id;
        let joining = pushed.topic().filter(|topic| connection.is_joining(topic));
        let joining = joining.cloned();
        let size = connection.size.of(&pushed);
        let policy = connection.policy(cx.config);
        match (connection.outbound).offer(pushed, size, ticket, policy, cx.config) {
            Offered::Queued(gave_way) => {
                if let Some(topic) = joining {
                    connection.outbound.await_word(&topic);
                }
                if connection.is_live() && !connection.outbound.is_writing() {
                    self.unflushed.push(key);
                }
                cx.stats.overflows += gave_way.len() as u64;
                self.resolve(cx, id, gave_way, Outcome::Overflow);
                Ok(())
            }
            Offered::TooLarge => Err(Outcome::TooLarge),
            Offered::Refused => {
                cx.stats.overflows += 1;
                hooks::refused_for_lack_of_room(cx.flaws)
            }
            Offered::Close => {
                cx.stats.overflows += 1;
                let drop = Waiting::Drop(Outcome::Overflow);
                self.close(cx, key, CloseCode::SlowConsumer, drop, None);
                Err(Outcome::Overflow)
            }
        }
    }

    /// Tells a terminal something of a topic. One that asks without end and reads nothing is closed.
    pub(in crate::terminals) fn say_of_topic(
        &mut self,
        cx: &mut Context<'_>,
        key: ConnectionKey,
        word: TopicWord,
    ) {
        let Some(connection) = self.registry.get_mut(key) else {
            return;
        };
        if connection.outbound.say_of_topic(word, cx.config).is_err() {
            let drop = Waiting::Drop(Outcome::Overflow);
            return self.close(cx, key, CloseCode::SlowConsumer, drop, None);
        }
        if connection.is_live() && !connection.outbound.is_writing() {
            self.unflushed.push(key);
        }
    }

    /// Hands the driver the next batch of one terminal.
    pub(in crate::terminals) fn flush(&mut self, cx: &mut Context<'_>, key: ConnectionKey) {
        let Some(connection) = self.registry.get_mut(key) else {
            return;
        };
        let may_write = match connection.phase {
            Phase::Live(_) => true,
            Phase::Closing { stage, .. } => match stage {
                ClosingStage::Writing => true,
                ClosingStage::Sent | ClosingStage::Aborted => false,
            },
            Phase::Upgrading { .. }
            | Phase::Authenticating { .. }
            | Phase::Registering { .. }
            | Phase::Gone => false,
        };
        if !may_write {
            return;
        }
        let (mut frames, mut bytes) = (0, 0);
        for outgoing in connection.outbound.next_batch() {
            frames += 1;
            if let Outgoing::Pushed(pushed) | Outgoing::Record(pushed) = &outgoing {
                bytes += pushed.payload().len() as u64;
            }
            cx.out.push(Command::Send {
                connection: key,
                outgoing,
            });
        }
        connection.frames += frames;
        connection.bytes += bytes;
        if frames > 0 {
            cx.stats.frames += frames;
            cx.out.push(Command::Flush { connection: key });
        }
    }

    /// It is known what became of these frames of one connection.
    pub(super) fn resolve(
        &mut self,
        cx: &Context<'_>,
        connection: ConnectionId,
        tickets: impl IntoIterator<Item = Ticket>,
        outcome: Outcome,
    ) {
        let others = self.outcomes.len();
        self.conclude(connection, tickets, outcome);
        debug_assert!(
            self.outcomes.len() - others <= cx.config.queue_frames + 1,
            "more than what waits for one terminal"
        );
    }
}
