//! One terminal's life, from the handshake to `Forget`.
//!
//! ```text
//! accept -> Upgrading -> Registering -> Live -> Closing -> Gone -> forgotten
//! ```
//!
//! There is one way out: whatever ends a connection, its presence ends first
//! ([`Registry::retire`](crate::terminals::registry::Registry::retire)), then its row is removed, and when
//! both the socket and the row have gone it is forgotten.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use crate::base::fingerprint::Fingerprint;
use crate::base::flaws::Flaw;
use crate::command::{Command, Outbox};
use crate::event::{Closure, Disconnected, Handshake, Heard, Notice, Refused};
use crate::frame::{self, CloseCode, Messages, Payload};
use crate::id::{ConnectionId, ConnectionKey, Epoch, UserId};
use crate::instance::Instance;
use crate::message::Outcome;
use crate::terminals::outbound::{Offered, Outbound, Ticket};
use crate::terminals::registry::Age;
use crate::time::{Instant, Now, WallTime};

mod liveness;
mod phase;
mod report;

use liveness::Liveness;
use phase::Reached;
pub(crate) use phase::{ClosingStage, Greeting, Phase, RowState};

/// One terminal's connection.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    pub(crate) user: UserId,
    pub(crate) age: Age,
    /// When it was accepted.
    pub(crate) accepted: Instant,
    pub(crate) connected: WallTime,
    pub(crate) phase: Phase,
    pub(crate) row: RowState,
    /// The settling of this epoch waits for this row.
    pub(crate) unsettled: Option<Epoch>,
    pub(crate) outbound: Outbound,
    liveness: Liveness,
    heard: Instant,
    expires: Option<Instant>,
    messages: Messages,
    /// Frames given to its socket, and the bytes of their payloads: for people to see.
    frames: u64,
    bytes: u64,
    armed: Option<Instant>,
}

/// What happens to the frames that wait when a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// They are written before the Close frame.
    Write,
    /// They are dropped, with this outcome.
    Drop(Outcome),
}

impl Connection {
    /// Whether it was greeted and its end has not begun.
    pub(crate) const fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live(_))
    }

    /// Whether the directory should have its row.
    pub(crate) const fn wants_row(&self) -> bool {
        matches!(self.phase, Phase::Registering { .. } | Phase::Live(_))
    }
}

impl Instance {
    /// Takes a terminal that passed the authenticator, before the upgrade is answered. The caller
    /// reports `Opened` within `handshake_timeout`, and `Closed` in any case. It has executed all
    /// commands before: the key may be in the slot of a connection that they are about.
    ///
    /// # Errors
    ///
    /// Says why the terminal is not taken, as an HTTP status; nothing is kept of the handshake then.
    pub fn accept(&mut self, now: Now, handshake: Handshake) -> Result<ConnectionKey, Refused> {
        let expires = self.admit(now, &handshake)?;
        self.base.stats.accepted += 1;
        let key = self.terminals.registry.insert(Connection {
            id: ConnectionId::new(self.base.random.connection_ids.uuid()),
            user: handshake.user,
            age: Age::OLDEST,
            accepted: now.mono,
            connected: now.wall,
            phase: Phase::Upgrading {
                until: now.mono + self.base.config.handshake_timeout,
            },
            row: RowState::Absent,
            unsettled: None,
            outbound: Outbound::new(),
            liveness: Liveness::Waiting { ping_at: now.mono },
            heard: now.mono,
            expires,
            messages: Messages::default(),
            frames: 0,
            bytes: 0,
            armed: None,
        });
        self.arm_connection(key);
        Ok(key)
    }

    fn admit(&self, now: Now, handshake: &Handshake) -> Result<Option<Instant>, Refused> {
        if !self.takes_terminals() {
            return Err(Refused::Draining);
        }
        if self.terminals.registry.len() >= self.base.config.connections {
            let limit = self.base.config.connections;
            return Err(Refused::Full { limit });
        }
        if self.terminals.registry.of_user(&handshake.user).len()
            >= self.base.config.connections_per_user
        {
            let limit = self.base.config.connections_per_user;
            return Err(Refused::TooManyOfUser { limit });
        }
        let Some(expires) = handshake.expires else {
            return Ok(None);
        };
        if expires <= now.wall {
            return Err(Refused::TokenExpired);
        }
        if self.base.flaws.has(Flaw::TokenCheckedAtConnectOnly) {
            return Ok(None);
        }
        let millis = expires.as_millis() - now.wall.as_millis();
        Ok(Some(now.mono + Duration::from_millis(millis)))
    }

    pub(crate) fn opened(&mut self, now: Now, key: ConnectionKey, out: &mut Outbox) {
        let ping_at = now.mono
            + self
                .base
                .random
                .jitter
                .shortened(self.base.config.ping_interval);
        let Some(connection) = self.terminals.registry.get_mut(key) else {
            self.base.stats.stale_events += 1;
            return;
        };
        if !matches!(connection.phase, Phase::Upgrading { .. }) {
            // It was told to end while the upgrade was on its way.
            return;
        }
        let grace = if self.base.flaws.has(Flaw::HelloWaitsForRow) {
            Duration::MAX
        } else {
            self.base.config.hello_grace
        };
        connection.phase = Phase::Registering {
            greet_by: now.mono + grace,
        };
        connection.liveness = Liveness::Waiting { ping_at };
        connection.heard = now.mono;
        if self.base.flaws.has(Flaw::HelloBeforeRow) {
            self.greet(key, Greeting::Reachable, out);
        }
        self.write_row(key);
        self.arm_connection(key);
    }

    pub(crate) fn heard(&mut self, now: Now, key: ConnectionKey, heard: Heard) {
        let Some(connection) = self.terminals.registry.get_mut(key) else {
            self.base.stats.stale_events += 1;
            return;
        };
        connection.heard = now.mono;
        let messages = &mut connection.messages;
        match heard {
            Heard::Control => return,
            Heard::Message => messages.received += 1,
            Heard::Unwanted => messages.dropped += 1,
        }
        self.base.stats.messages += 1;
        if connection.wants_row()
            && connection.outbound.answer(connection.messages)
            && connection.is_live()
            && !connection.outbound.is_writing()
        {
            self.terminals.unflushed.push(key);
        }
    }

    pub(crate) fn written(&mut self, key: ConnectionKey, out: &mut Outbox) {
        let Some(connection) = self.terminals.registry.get_mut(key) else {
            self.base.stats.stale_events += 1;
            return;
        };
        let id = connection.id;
        let tickets = connection.outbound.written();
        if !connection.outbound.is_empty() {
            self.terminals.unflushed.push(key);
        } else if let Phase::Closing { code, stage, .. } = &mut connection.phase
            && *stage == ClosingStage::Writing
        {
            *stage = ClosingStage::Sent;
            let code = *code;
            out.push(Command::Close {
                connection: key,
                code,
            });
        }
        self.resolve_all(id, tickets, Outcome::Written);
    }

    /// The socket has gone.
    pub(crate) fn closed(&mut self, key: ConnectionKey, closure: Closure, out: &mut Outbox) {
        let Some(connection) = self.terminals.registry.get_mut(key) else {
            self.base.stats.stale_events += 1;
            return;
        };
        let ending = connection.ending(closure);
        let phase = std::mem::replace(&mut connection.phase, Phase::Gone);
        let tickets = connection.outbound.drop_all();
        let (id, user) = (connection.id, connection.user.clone());
        let by_itself = match closure {
            Closure::Clean => Disconnected::ByTerminal,
            Closure::Abrupt => Disconnected::Lost,
            Closure::Violation(code) => Disconnected::ByServer(code),
        };
        let reason = match phase {
            Phase::Upgrading { .. } | Phase::Registering { .. } => None,
            Phase::Live(greeting) => {
                self.no_longer_degraded(greeting);
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
                self.resolve_all(id, ticket, outcome);
                (reached == Reached::Greeted).then_some(Disconnected::ByServer(code))
            }
            Phase::Gone => {
                self.base.stats.stale_events += 1;
                return;
            }
        };
        self.base.stats.gone.count(ending);
        if let Some(reason) = reason {
            out.push(Command::Notify(Box::new(Notice::Disconnected {
                connection: key,
                id,
                user,
                reason,
            })));
        }
        self.resolve_all(id, tickets, Outcome::Gone);
        self.end_presence(key);
        if !self.base.flaws.has(Flaw::RowlessKept) {
            self.forget_if_over(key, out);
        }
    }

    /// Tells a terminal to end. `ticket` is told when the Close frame is written.
    pub(crate) fn close(
        &mut self,
        now: Now,
        key: ConnectionKey,
        code: CloseCode,
        waiting: Waiting,
        ticket: Option<Ticket>,
        out: &mut Outbox,
    ) {
        let Some(connection) = self.terminals.registry.get_mut(key) else {
            self.bug("closing a connection that is not there");
            return;
        };
        // Nothing overtakes the hello, and to who was not greeted there will be none.
        let drop = Waiting::Drop(Outcome::Gone);
        let (reached, greeting, waiting) = match connection.phase {
            Phase::Upgrading { .. } => (Reached::Accepted, None, drop),
            Phase::Registering { .. } => (Reached::Opened, None, drop),
            Phase::Live(greeting) => (Reached::Greeted, Some(greeting), waiting),
            Phase::Closing { .. } | Phase::Gone => {
                let id = connection.id;
                self.resolve_all(id, ticket, Outcome::Gone);
                return;
            }
        };
        let dropped = match waiting {
            Waiting::Write => None,
            Waiting::Drop(outcome) => Some((connection.outbound.drop_waiting(), outcome)),
        };
        let stage = if reached == Reached::Accepted {
            out.push(Command::Abort { connection: key });
            ClosingStage::Aborted
        } else if connection.outbound.is_empty() {
            out.push(Command::Close {
                connection: key,
                code,
            });
            ClosingStage::Sent
        } else {
            self.terminals.unflushed.push(key);
            ClosingStage::Writing
        };
        connection.phase = Phase::Closing {
            code,
            until: now.mono + self.base.config.close_timeout,
            stage,
            reached,
            ticket,
        };
        let id = connection.id;
        if let Some(greeting) = greeting {
            self.no_longer_degraded(greeting);
        }
        self.arm_connection(key);
        self.end_presence(key);
        if let Some((tickets, outcome)) = dropped {
            self.base.stats.overflows += match outcome {
                Outcome::Overflow => tickets.len() as u64,
                Outcome::Written
                | Outcome::Queued
                | Outcome::Gone
                | Outcome::Unreachable
                | Outcome::TooLarge => 0,
            };
            self.resolve_all(id, tickets, outcome);
        }
    }

    /// Queues a push for a terminal.
    ///
    /// # Errors
    ///
    /// What became of it, if it was not taken. The terminal's policy has been applied.
    pub(crate) fn offer(
        &mut self,
        now: Now,
        key: ConnectionKey,
        payload: Payload,
        ticket: Ticket,
        out: &mut Outbox,
    ) -> Result<(), Outcome> {
        let Some(connection) = self.terminals.registry.get_mut(key) else {
            self.bug("a frame for a connection that is not there");
            return Err(Outcome::Gone);
        };
        let id = connection.id;
        match connection
            .outbound
            .offer(payload, ticket, &self.base.config)
        {
            Offered::Queued(gave_way) => {
                if connection.is_live() && !connection.outbound.is_writing() {
                    self.terminals.unflushed.push(key);
                }
                self.base.stats.overflows += gave_way.len() as u64;
                self.resolve_all(id, gave_way, Outcome::Overflow);
                Ok(())
            }
            Offered::TooLarge => Err(Outcome::TooLarge),
            Offered::Refused => {
                self.base.stats.overflows += 1;
                if self.base.flaws.has(Flaw::SilentOverflow) {
                    return Ok(());
                }
                Err(Outcome::Overflow)
            }
            Offered::Close => {
                self.base.stats.overflows += 1;
                let drop = Waiting::Drop(Outcome::Overflow);
                self.close(now, key, CloseCode::SlowConsumer, drop, None, out);
                Err(Outcome::Overflow)
            }
        }
    }

    /// Gives the driver the next batch of a terminal.
    pub(crate) fn flush_connection(&mut self, key: ConnectionKey, out: &mut Outbox) {
        let Some(connection) = self.terminals.registry.get_mut(key) else {
            return;
        };
        let may_write = match connection.phase {
            Phase::Live(_) => true,
            Phase::Closing { stage, .. } => match stage {
                ClosingStage::Writing => true,
                ClosingStage::Sent | ClosingStage::Aborted => false,
            },
            Phase::Upgrading { .. } | Phase::Registering { .. } | Phase::Gone => false,
        };
        if !may_write {
            return;
        }
        let (mut frames, mut bytes) = (0, 0);
        for payload in connection.outbound.next_batch() {
            frames += 1;
            bytes += payload.len() as u64;
            out.push(Command::Send {
                connection: key,
                payload: payload.clone(),
            });
        }
        connection.frames += frames;
        connection.bytes += bytes;
        if frames > 0 {
            self.base.stats.frames += frames;
            out.push(Command::Flush { connection: key });
        }
    }

    /// Sends the hello, once, and what waited behind it.
    pub(crate) fn greet(&mut self, key: ConnectionKey, greeting: Greeting, out: &mut Outbox) {
        let Some(connection) = self.terminals.registry.get_mut(key) else {
            self.bug("greeting a connection that is not there");
            return;
        };
        connection.phase = Phase::Live(greeting);
        let degraded = match greeting {
            Greeting::Reachable => false,
            Greeting::Degraded => true,
        };
        let hello = frame::hello(connection.id, degraded);
        connection.outbound.greet(hello);
        self.terminals.unflushed.push(key);
        out.push(Command::Notify(Box::new(Notice::Connected {
            connection: key,
            id: connection.id,
            user: connection.user.clone(),
        })));
        if degraded {
            self.base.stats.greeted_degraded += 1;
            self.membership.keeper.degraded += 1;
            self.membership.lease_due = true;
        }
        self.arm_connection(key);
    }

    /// Removes a connection from all that looks for terminals, and its row from the directory.
    fn end_presence(&mut self, key: ConnectionKey) {
        self.terminals.registry.retire(key);
        self.settled_one(key);
        self.remove_row(key);
    }

    /// Forgets a connection whose socket and row have both gone.
    pub(crate) fn forget_if_over(&mut self, key: ConnectionKey, out: &mut Outbox) {
        let Some(connection) = self.terminals.registry.get(key) else {
            return;
        };
        if matches!(connection.phase, Phase::Gone) && connection.row == RowState::Absent {
            self.terminals.registry.remove(key);
            out.push(Command::Forget { connection: key });
        }
    }

    /// A degraded greeting has been made good, or its terminal ends.
    pub(crate) fn no_longer_degraded(&mut self, greeting: Greeting) {
        match greeting {
            Greeting::Reachable => {}
            Greeting::Degraded => {
                self.membership.keeper.degraded -= 1;
                self.membership.lease_due = true;
            }
        }
    }
}

impl Fingerprint for Connection {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.id.fingerprint(now, hasher);
        self.user.fingerprint(now, hasher);
        self.age.fingerprint(now, hasher);
        self.accepted.fingerprint(now, hasher);
        self.connected.as_millis().fingerprint(now, hasher);
        self.phase.fingerprint(now, hasher);
        self.row.hash(hasher);
        self.unsettled.fingerprint(now, hasher);
        self.outbound.fingerprint(now, hasher);
        self.fingerprint_liveness(now, hasher);
        self.expires.fingerprint(now, hasher);
        self.messages.hash(hasher);
        self.armed.fingerprint(now, hasher);
    }
}
