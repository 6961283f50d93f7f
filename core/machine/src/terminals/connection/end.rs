//! The one way out of a terminal's life: told to end, gone, forgotten.

use super::{ClosingStage, Phase, Reached, Waiting, end_degradation, hooks};
use crate::command::Command;
use crate::context::Context;
use crate::event::{Closure, Disconnected, Notice};
use crate::frame::CloseCode;
use crate::id::ConnectionKey;
use crate::message::Outcome;
use crate::terminals::Terminals;
use crate::vocabulary::delivery::Ticket;
use crate::vocabulary::effect::Effect;
use crate::vocabulary::terminal::{RowNews, TerminalChange};

impl Terminals {
    /// The socket has gone.
    pub(crate) fn closed(&mut self, cx: &mut Context<'_>, key: ConnectionKey, closure: Closure) {
        let Some(connection) = self.registry.get_mut(key) else {
            cx.stats.stale_events += 1;
            return;
        };
        let ending = connection.ending(closure);
        let phase = std::mem::replace(&mut connection.phase, Phase::Gone);
        let tickets = connection.outbound.drop_all();
        let (id, user) = (connection.id, connection.user().cloned());
        let by_itself = match closure {
            Closure::Clean => Disconnected::ByTerminal,
            Closure::Abrupt => Disconnected::Lost,
            Closure::Violation(code) => Disconnected::ByServer(code),
        };
        let reason = match phase {
            Phase::Upgrading { .. } | Phase::Authenticating { .. } | Phase::Registering { .. } => {
                None
            }
            Phase::Live(greeting) => {
                end_degradation(cx, greeting);
                Some(by_itself)
            }
            Phase::Closing {
                code,
                stage,
                reached,
                ticket,
                ..
            } => {
                let outcome = match stage {
                    ClosingStage::Sent => Outcome::Written,
                    ClosingStage::Writing | ClosingStage::Aborted => Outcome::Gone,
                };
                self.resolve(cx, id, ticket.map(|ticket| *ticket), outcome);
                (reached == Reached::Greeted).then_some(Disconnected::ByServer(code))
            }
            Phase::Gone => {
                cx.stats.stale_events += 1;
                return;
            }
        };
        cx.stats.gone.count(ending);
        if let (Some(reason), Some(user)) = (reason, user) {
            cx.out.push(Command::Notify(Box::new(Notice::Disconnected {
                connection: key,
                id,
                user,
                reason,
            })));
        }
        self.resolve(cx, id, tickets, Outcome::Gone);
        self.end_presence(cx, key);
        if hooks::forgets_when_gone(cx.flaws) {
            cx.emit(Effect::Terminal(TerminalChange::Gone(key)));
        }
    }

    /// Tells a terminal to end. `ticket` is told when the terminal is.
    pub(super) fn close(
        &mut self,
        cx: &mut Context<'_>,
        key: ConnectionKey,
        code: CloseCode,
        waiting: Waiting,
        ticket: Option<Ticket>,
    ) {
        let Some(connection) = self.registry.get_mut(key) else {
            cx.bug("closing a connection that is not there");
            return;
        };
        // Nothing overtakes the hello, and a terminal that was not greeted gets none any more.
        let drop = Waiting::Drop(Outcome::Gone);
        let (reached, greeting, waiting) = match connection.phase {
            Phase::Upgrading { .. } => (Reached::Accepted, None, drop),
            Phase::Authenticating { .. } | Phase::Registering { .. } => {
                (Reached::Opened, None, drop)
            }
            Phase::Live(greeting) => (Reached::Greeted, Some(greeting), waiting),
            Phase::Closing { .. } | Phase::Gone => {
                let id = connection.id;
                self.resolve(cx, id, ticket, Outcome::Gone);
                return;
            }
        };
        let (untold, dropped) = match waiting {
            // What is for members of topics is nothing to one that is told of none any more.
            Waiting::Write => (connection.outbound.await_nothing_more(), None),
            Waiting::Drop(outcome) => {
                let dropped = connection.outbound.drop_waiting();
                (Vec::new(), Some((dropped, outcome)))
            }
        };
        let stage = if reached == Reached::Accepted {
            cx.out.push(Command::Abort { connection: key });
            ClosingStage::Aborted
        } else if connection.outbound.is_empty() {
            cx.out.push(Command::Close {
                connection: key,
                code,
            });
            ClosingStage::Sent
        } else {
            self.unflushed.push(key);
            ClosingStage::Writing
        };
        connection.phase = Phase::Closing {
            code,
            until: cx.now.mono + cx.config.close_timeout,
            stage,
            reached,
            ticket: ticket.map(Box::new),
        };
        let id = connection.id;
        if let Some(greeting) = greeting {
            end_degradation(cx, greeting);
        }
        self.arm(cx, key);
        self.end_presence(cx, key);
        self.resolve(cx, id, untold, Outcome::Gone);
        if let Some((tickets, outcome)) = dropped {
            cx.stats.overflows += match outcome {
                Outcome::Overflow => tickets.len() as u64,
                Outcome::Written
                | Outcome::Queued
                | Outcome::Kept
                | Outcome::Gone
                | Outcome::Unreachable
                | Outcome::TooLarge
                | Outcome::Acked => 0,
            };
            self.resolve(cx, id, tickets, outcome);
        }
    }

    /// Tells the terminal to end that has been present longest. What waits for it is written.
    pub(crate) fn close_oldest(&mut self, cx: &mut Context<'_>, code: CloseCode) {
        if let Some(key) = self.registry.oldest() {
            self.close(cx, key, code, Waiting::Write, None);
        }
    }

    /// Removes a connection from all that looks for terminals, and its row from the directory.
    fn end_presence(&mut self, cx: &mut Context<'_>, key: ConnectionKey) {
        self.leave_all(cx, key);
        self.registry.retire(key);
        cx.emit(Effect::Terminal(TerminalChange::Ended(key)));
    }

    /// The membership knows more of a connection's row.
    pub(crate) fn row_changed(&mut self, cx: &mut Context<'_>, key: ConnectionKey, news: RowNews) {
        match news {
            RowNews::Written => self.row_written(cx, key),
            RowNews::Absent => self.forget_if_gone(cx, key),
        }
    }

    /// Forgets a connection if its socket has gone. It has no row.
    fn forget_if_gone(&mut self, cx: &mut Context<'_>, key: ConnectionKey) {
        let Some(connection) = self.registry.get(key) else {
            return;
        };
        if matches!(connection.phase, Phase::Gone) {
            self.registry.remove(key);
            cx.out.push(Command::Forget { connection: key });
        }
    }
}
