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
use crate::command::Command;
use crate::context::Context;
use crate::event::{Closure, Disconnected, Handshake, Heard, Notice, Refused};
use crate::frame::{CloseCode, EncodedSize, Messages, Outgoing, Payload};
use crate::id::{ConnectionId, ConnectionKey};
use crate::key::Key;
use crate::message::Outcome;
use crate::terminals::hooks;
use crate::terminals::outbound::{Offered, Outbound, Ticket};
use crate::terminals::registry::Age;
use crate::terminals::{Effect, Terminals};
use crate::time::{Instant, WallTime};

mod liveness;
mod phase;
mod report;

use liveness::Liveness;
pub(super) use phase::ClosingStage;
use phase::{Greeting, Phase, Reached};

/// One terminal's connection.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) key: Key,
    pub(super) age: Age,
    accepted: Instant,
    /// The same moment by the wall clock.
    connected: WallTime,
    phase: Phase,
    pub(super) outbound: Outbound,
    liveness: Liveness,
    /// When the last frame came from it, or when it was opened.
    heard: Instant,
    /// When its token ends it.
    expires: Option<Instant>,
    /// How large payloads are in its protocol.
    size: EncodedSize,
    /// What it has sent.
    messages: Messages,
    /// Messages given to its socket, and the bytes of the pushes among them: for people to see.
    frames: u64,
    bytes: u64,
    /// The earliest timer of it that is in the wheel.
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
    /// Its name.
    pub(crate) const fn id(&self) -> ConnectionId {
        self.id
    }

    /// What it is found by.
    pub(crate) const fn key(&self) -> &Key {
        &self.key
    }

    /// When it was accepted.
    pub(crate) const fn accepted(&self) -> Instant {
        self.accepted
    }

    /// When it was accepted, by the wall clock: for people, never for decisions.
    pub(crate) const fn connected(&self) -> WallTime {
        self.connected
    }

    /// Whether it was greeted and its end has not begun.
    pub(crate) const fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live(_))
    }

    /// Whether a batch is with the driver.
    #[cfg(test)]
    pub(crate) const fn is_writing(&self) -> bool {
        self.outbound.is_writing()
    }

    /// Whether the directory should have its row.
    pub(crate) const fn wants_row(&self) -> bool {
        matches!(self.phase, Phase::Registering { .. } | Phase::Live(_))
    }
}

impl Terminals {
    /// Takes a terminal, if its token has not expired and there is room for it.
    pub(crate) fn accept(
        &mut self,
        cx: &mut Context<'_>,
        handshake: Handshake,
    ) -> Result<ConnectionKey, Refused> {
        let found_by = Key::from(handshake.user);
        let expires = self.admit(cx, &found_by, handshake.expires)?;
        cx.stats.accepted += 1;
        let key = self.registry.insert(Connection {
            id: ConnectionId::new(cx.random.connection_ids.uuid()),
            key: found_by,
            age: Age::OLDEST,
            accepted: cx.now.mono,
            connected: cx.now.wall,
            phase: Phase::Upgrading {
                until: cx.now.mono + cx.config.handshake_timeout,
            },
            outbound: Outbound::new(),
            liveness: Liveness::Waiting {
                ping_at: cx.now.mono,
            },
            heard: cx.now.mono,
            expires,
            size: handshake.size,
            messages: Messages::default(),
            frames: 0,
            bytes: 0,
            armed: None,
        });
        self.arm(cx, key);
        Ok(key)
    }

    fn admit(
        &self,
        cx: &Context<'_>,
        found_by: &Key,
        expires: Option<WallTime>,
    ) -> Result<Option<Instant>, Refused> {
        if self.registry.len() >= cx.config.connections {
            let limit = cx.config.connections;
            return Err(Refused::Full { limit });
        }
        if self.registry.of(found_by).len() >= cx.config.connections_per_user {
            let limit = cx.config.connections_per_user;
            return Err(Refused::TooManyOfUser { limit });
        }
        let Some(expires) = expires else {
            return Ok(None);
        };
        if expires <= cx.now.wall {
            return Err(Refused::TokenExpired);
        }
        let millis = expires.as_millis() - cx.now.wall.as_millis();
        let expires = cx.now.mono + Duration::from_millis(millis);
        Ok(hooks::expiry_while_open(cx.flaws, expires))
    }

    pub(crate) fn opened(&mut self, cx: &mut Context<'_>, key: ConnectionKey) {
        let ping_at = cx.now.mono + cx.random.jitter.shortened(cx.config.ping_interval);
        let Some(connection) = self.registry.get_mut(key) else {
            cx.stats.stale_events += 1;
            return;
        };
        if !matches!(connection.phase, Phase::Upgrading { .. }) {
            // It was told to end while the upgrade was on its way.
            return;
        }
        connection.phase = Phase::Registering {
            greet_by: cx.now.mono + hooks::hello_grace(cx.flaws, cx.config),
        };
        connection.liveness = Liveness::Waiting { ping_at };
        connection.heard = cx.now.mono;
        if !hooks::hello_waits_for_row(cx.flaws) {
            self.greet(cx, key, Greeting::Reachable);
        }
        self.effects.push_back(Effect::Opened(key));
        self.arm(cx, key);
    }

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
        }
        cx.stats.messages += 1;
        if connection.wants_row()
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
        self.resolve(id, tickets, Outcome::Written);
    }

    /// The socket has gone.
    pub(crate) fn closed(&mut self, cx: &mut Context<'_>, key: ConnectionKey, closure: Closure) {
        let Some(connection) = self.registry.get_mut(key) else {
            cx.stats.stale_events += 1;
            return;
        };
        let ending = connection.ending(closure);
        let phase = std::mem::replace(&mut connection.phase, Phase::Gone);
        let tickets = connection.outbound.drop_all();
        let (id, user) = (connection.id, connection.key.user().clone());
        let by_itself = match closure {
            Closure::Clean => Disconnected::ByTerminal,
            Closure::Abrupt => Disconnected::Lost,
            Closure::Violation(code) => Disconnected::ByServer(code),
        };
        let reason = match phase {
            Phase::Upgrading { .. } | Phase::Registering { .. } => None,
            Phase::Live(greeting) => {
                self.end_degradation(greeting);
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
                self.resolve(id, ticket, outcome);
                (reached == Reached::Greeted).then_some(Disconnected::ByServer(code))
            }
            Phase::Gone => {
                cx.stats.stale_events += 1;
                return;
            }
        };
        cx.stats.gone.count(ending);
        if let Some(reason) = reason {
            cx.out.push(Command::Notify(Box::new(Notice::Disconnected {
                connection: key,
                id,
                user,
                reason,
            })));
        }
        self.resolve(id, tickets, Outcome::Gone);
        self.end_presence(key);
        if hooks::forgets_when_gone(cx.flaws) {
            self.effects.push_back(Effect::Gone(key));
        }
    }

    /// Tells a terminal to end. `ticket` is told when the Close frame is written.
    pub(crate) fn close(
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
            Phase::Registering { .. } => (Reached::Opened, None, drop),
            Phase::Live(greeting) => (Reached::Greeted, Some(greeting), waiting),
            Phase::Closing { .. } | Phase::Gone => {
                let id = connection.id;
                self.resolve(id, ticket, Outcome::Gone);
                return;
            }
        };
        let dropped = match waiting {
            Waiting::Write => None,
            Waiting::Drop(outcome) => Some((connection.outbound.drop_waiting(), outcome)),
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
            ticket,
        };
        let id = connection.id;
        if let Some(greeting) = greeting {
            self.end_degradation(greeting);
        }
        self.arm(cx, key);
        self.end_presence(key);
        if let Some((tickets, outcome)) = dropped {
            cx.stats.overflows += match outcome {
                Outcome::Overflow => tickets.len() as u64,
                Outcome::Written
                | Outcome::Queued
                | Outcome::Gone
                | Outcome::Unreachable
                | Outcome::TooLarge => 0,
            };
            self.resolve(id, tickets, outcome);
        }
    }

    /// Tells the terminal to end that has been present longest. What waits for it is written.
    pub(crate) fn close_oldest(&mut self, cx: &mut Context<'_>, code: CloseCode) {
        if let Some((_, key)) = self.registry.next_younger(Age::OLDEST) {
            self.close(cx, key, code, Waiting::Write, None);
        }
    }

    /// Queues a push for a terminal.
    ///
    /// # Errors
    ///
    /// What became of it, if it was not taken. The terminal's policy has been applied.
    pub(crate) fn offer(
        &mut self,
        cx: &mut Context<'_>,
        key: ConnectionKey,
        payload: Payload,
        ticket: Ticket,
    ) -> Result<(), Outcome> {
        let Some(connection) = self.registry.get_mut(key) else {
            cx.bug("a frame for a connection that is not there");
            return Err(Outcome::Gone);
        };
        let id = connection.id;
        let size = connection.size.of(&payload);
        match (connection.outbound).offer(payload, size, ticket, cx.config) {
            Offered::Queued(gave_way) => {
                if connection.is_live() && !connection.outbound.is_writing() {
                    self.unflushed.push(key);
                }
                cx.stats.overflows += gave_way.len() as u64;
                self.resolve(id, gave_way, Outcome::Overflow);
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

    /// Hands the driver the next batch of one terminal.
    pub(super) fn flush(&mut self, cx: &mut Context<'_>, key: ConnectionKey) {
        let Some(connection) = self.registry.get_mut(key) else {
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
        for outgoing in connection.outbound.next_batch() {
            frames += 1;
            if let Outgoing::Pushed(payload) = &outgoing {
                bytes += payload.len() as u64;
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

    /// Sends the hello, once, and what waited behind it.
    pub(crate) fn greet(&mut self, cx: &mut Context<'_>, key: ConnectionKey, greeting: Greeting) {
        let Some(connection) = self.registry.get_mut(key) else {
            cx.bug("greeting a connection that is not there");
            return;
        };
        connection.phase = Phase::Live(greeting);
        let degraded = match greeting {
            Greeting::Reachable => false,
            Greeting::Degraded => true,
        };
        connection.outbound.greet(connection.id, degraded);
        self.unflushed.push(key);
        cx.out.push(Command::Notify(Box::new(Notice::Connected {
            connection: key,
            id: connection.id,
            user: connection.key.user().clone(),
        })));
        if degraded {
            cx.stats.greeted_degraded += 1;
            self.effects.push_back(Effect::Degraded);
        }
        self.arm(cx, key);
    }

    /// The directory has a connection's row, and nothing has shown since that it may be lost.
    pub(crate) fn row_written(&mut self, cx: &mut Context<'_>, key: ConnectionKey) {
        let Some(connection) = self.registry.get_mut(key) else {
            return;
        };
        match connection.phase {
            Phase::Registering { .. } => self.greet(cx, key, Greeting::Reachable),
            Phase::Live(greeting @ Greeting::Degraded) => {
                connection.phase = Phase::Live(Greeting::Reachable);
                self.end_degradation(greeting);
            }
            Phase::Live(Greeting::Reachable)
            | Phase::Upgrading { .. }
            | Phase::Closing { .. }
            | Phase::Gone => {}
        }
    }

    /// Removes a connection from all that looks for terminals, and its row from the directory.
    fn end_presence(&mut self, key: ConnectionKey) {
        self.registry.retire(key);
        self.effects.push_back(Effect::Ended(key));
    }

    /// Forgets a connection if its socket has gone. It has no row.
    pub(crate) fn forget_if_gone(&mut self, cx: &mut Context<'_>, key: ConnectionKey) {
        let Some(connection) = self.registry.get(key) else {
            return;
        };
        if matches!(connection.phase, Phase::Gone) {
            self.registry.remove(key);
            cx.out.push(Command::Forget { connection: key });
        }
    }

    /// A degraded greeting has been made good, or its terminal ends.
    fn end_degradation(&mut self, greeting: Greeting) {
        match greeting {
            Greeting::Reachable => {}
            Greeting::Degraded => self.effects.push_back(Effect::DegradationEnded),
        }
    }

    /// It is known what became of these frames of one connection.
    fn resolve(
        &mut self,
        connection: ConnectionId,
        tickets: impl IntoIterator<Item = Ticket>,
        outcome: Outcome,
    ) {
        let resolved = tickets.into_iter().map(|ticket| Effect::Resolved {
            connection,
            ticket,
            outcome,
        });
        self.effects.extend(resolved);
    }
}

impl Connection {
    /// `row` hashes what is known of its row.
    pub(super) fn fingerprint<H: Hasher>(
        &self,
        now: Instant,
        hasher: &mut H,
        row: impl FnOnce(&mut H),
    ) {
        self.id.fingerprint(now, hasher);
        self.key.fingerprint(now, hasher);
        self.age.fingerprint(now, hasher);
        self.accepted.fingerprint(now, hasher);
        self.connected.as_millis().fingerprint(now, hasher);
        self.phase.fingerprint(now, hasher);
        row(hasher);
        self.outbound.fingerprint(now, hasher);
        self.fingerprint_liveness(now, hasher);
        self.expires.fingerprint(now, hasher);
        self.messages.hash(hasher);
        self.armed.fingerprint(now, hasher);
    }
}
