//! One terminal's life, from the handshake to `Forget`.
//!
//! ```text
//! accept -> Upgrading -> Registering -> Live -> Closing -> Gone -> forgotten
//! ```
//!
//! There is one way out: whatever ends a connection, its presence ends first
//! ([`Registry::retire`](crate::registry::Registry::retire)), then its row is removed, and when
//! both the socket and the row have gone it is forgotten.

use std::hash::{Hash, Hasher};

use crate::command::{Command, Outbox};
use crate::event::{Closure, Disconnected, Handshake, Heard, Notice, Refused};
use crate::fingerprint::Fingerprint;
use crate::frame::{self, CloseCode, Payload};
use crate::id::{ConnectionId, ConnectionKey, Epoch, UserId};
use crate::instance::{Instance, Timer};
use crate::message::Outcome;
use crate::outbound::{Offered, Outbound, Ticket};
use crate::registry::Age;
use crate::time::{Instant, Now, WallTime};

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
    messages: u64,
    armed: Option<Instant>,
}

/// Where a connection is in its life.
#[derive(Clone, Debug, Hash)]
pub(crate) enum Phase {
    /// Accepted; the upgrade is on its way.
    Upgrading {
        /// When it is given up.
        until: Instant,
    },
    /// Open; the row is on its way. Frames wait behind the hello.
    Registering {
        /// When the terminal is greeted as degraded.
        greet_by: Instant,
    },
    /// Greeted.
    Live(Greeting),
    /// Told to end, for this reason.
    Closing {
        /// The code of the Close frame.
        code: CloseCode,
        /// When patience ends.
        until: Instant,
        /// How far it is.
        stage: ClosingStage,
        /// It was greeted before.
        greeted: bool,
        /// Whom to tell when the Close frame is written.
        ticket: Option<Ticket>,
    },
    /// The socket has gone; the row has not.
    Gone,
}

/// What a terminal was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Greeting {
    /// Its row is, or was, written.
    Reachable,
    /// It was greeted without a row, and the row is not written yet.
    Degraded,
}

/// How far a closing connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ClosingStage {
    /// Frames are being written before the Close frame.
    Writing,
    /// The Close frame is on its way.
    Sent,
    /// Patience has ended, or nothing could be written any more.
    Aborted,
}

/// What is known of a connection's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RowState {
    /// There is none.
    Absent,
    /// It must be written, or removed once its connection has ended, and nothing is under way: it
    /// waits for a claim, for settling or for another try.
    Due,
    /// It is being written.
    Writing {
        /// Under this epoch.
        epoch: Epoch,
    },
    /// It is written.
    Written {
        /// Under this epoch.
        epoch: Epoch,
    },
    /// It is being removed.
    Removing,
}

/// Whether a terminal answers.
#[derive(Clone, Copy, Debug, Hash)]
enum Liveness {
    /// The next ping is due then.
    Waiting { ping_at: Instant },
    /// A ping was sent then.
    Pinged { at: Instant },
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

    /// When it next needs attention.
    fn deadline(&self, config: &crate::config::Config) -> Option<Instant> {
        let alive = || {
            let liveness = match self.liveness {
                Liveness::Waiting { ping_at } => ping_at,
                Liveness::Pinged { at } => at + config.ping_timeout,
            };
            self.expires
                .map_or(liveness, |expires| expires.min(liveness))
        };
        match self.phase {
            Phase::Upgrading { until } => Some(until),
            Phase::Registering { greet_by } => Some(greet_by.min(alive())),
            Phase::Live(_) => Some(alive()),
            Phase::Closing { until, stage, .. } => match stage {
                ClosingStage::Writing | ClosingStage::Sent => Some(until),
                ClosingStage::Aborted => None,
            },
            Phase::Gone => None,
        }
    }
}

impl Instance {
    /// Takes a terminal that passed the authenticator, before the upgrade is answered.
    ///
    /// # Errors
    ///
    /// Why not; nothing is kept of the handshake then.
    pub fn accept(&mut self, now: Now, handshake: Handshake) -> Result<ConnectionKey, Refused> {
        let expires = match self.admit(now, &handshake) {
            Ok(expires) => expires,
            Err(refused) => {
                self.stats.refused += 1;
                return Err(refused);
            }
        };
        self.stats.accepted += 1;
        let key = self.registry.insert(Connection {
            id: ConnectionId::new(self.connection_ids.uuid()),
            user: handshake.user,
            age: Age::OLDEST,
            accepted: now.mono,
            connected: now.wall,
            phase: Phase::Upgrading {
                until: now.mono + self.config.handshake_timeout,
            },
            row: RowState::Absent,
            unsettled: None,
            outbound: Outbound::new(),
            liveness: Liveness::Waiting { ping_at: now.mono },
            heard: now.mono,
            expires,
            messages: 0,
            armed: None,
        });
        self.arm_connection(key);
        Ok(key)
    }

    fn admit(&self, now: Now, handshake: &Handshake) -> Result<Option<Instant>, Refused> {
        if !self.takes_terminals() {
            return Err(Refused::Draining);
        }
        if self.registry.len() >= self.config.connections {
            let limit = self.config.connections;
            return Err(Refused::Full { limit });
        }
        if self.registry.of_user(&handshake.user).len() >= self.config.connections_per_user {
            let limit = self.config.connections_per_user;
            return Err(Refused::TooManyOfUser { limit });
        }
        let Some(expires) = handshake.expires else {
            return Ok(None);
        };
        if expires <= now.wall {
            return Err(Refused::TokenExpired);
        }
        let millis = expires.as_millis() - now.wall.as_millis();
        Ok(Some(now.mono + std::time::Duration::from_millis(millis)))
    }

    pub(crate) fn opened(&mut self, now: Now, key: ConnectionKey) {
        let ping_at = now.mono + self.jitter.shortened(self.config.ping_interval);
        let Some(connection) = self.registry.get_mut(key) else {
            self.stats.stale_events += 1;
            return;
        };
        if !matches!(connection.phase, Phase::Upgrading { .. }) {
            // It was told to end while the upgrade was on its way.
            return;
        }
        connection.phase = Phase::Registering {
            greet_by: now.mono + self.config.hello_grace,
        };
        connection.liveness = Liveness::Waiting { ping_at };
        connection.heard = now.mono;
        self.write_row(key);
        self.arm_connection(key);
    }

    pub(crate) fn heard(&mut self, now: Now, key: ConnectionKey, heard: Heard, out: &mut Outbox) {
        let Some(connection) = self.registry.get_mut(key) else {
            self.stats.stale_events += 1;
            return;
        };
        connection.heard = now.mono;
        match heard {
            Heard::Control => {}
            Heard::Message => {
                self.stats.messages += 1;
                connection.messages += 1;
                if connection.wants_row() {
                    let answer = frame::received(connection.messages);
                    self.offer(now, key, answer, None, out);
                }
            }
        }
    }

    pub(crate) fn written(&mut self, key: ConnectionKey, out: &mut Outbox) {
        let Some(connection) = self.registry.get_mut(key) else {
            self.stats.stale_events += 1;
            return;
        };
        let id = connection.id;
        let tickets = connection.outbound.written();
        if !connection.outbound.is_empty() {
            self.turn.connections.push(key);
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
        let Some(connection) = self.registry.get_mut(key) else {
            self.stats.stale_events += 1;
            return;
        };
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
                greeted,
                ticket,
                ..
            } => {
                let outcome = match stage {
                    ClosingStage::Sent => Outcome::Written,
                    ClosingStage::Writing | ClosingStage::Aborted => Outcome::Gone,
                };
                self.resolve_all(id, ticket, outcome);
                greeted.then_some(Disconnected::ByServer(code))
            }
            Phase::Gone => {
                self.stats.stale_events += 1;
                return;
            }
        };
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
        self.forget_if_over(key, out);
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
        let Some(connection) = self.registry.get_mut(key) else {
            self.bug("closing a connection that is not there");
            return;
        };
        let (greeting, waiting) = match connection.phase {
            Phase::Upgrading { .. } => (None, Waiting::Drop(Outcome::Gone)),
            // Nothing overtakes the hello, and there will be none.
            Phase::Registering { .. } => (None, Waiting::Drop(Outcome::Gone)),
            Phase::Live(greeting) => (Some(greeting), waiting),
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
        let upgraded = !matches!(connection.phase, Phase::Upgrading { .. });
        let stage = if !upgraded {
            out.push(Command::Abort { connection: key });
            ClosingStage::Aborted
        } else if connection.outbound.is_empty() {
            out.push(Command::Close {
                connection: key,
                code,
            });
            ClosingStage::Sent
        } else {
            self.turn.connections.push(key);
            ClosingStage::Writing
        };
        connection.phase = Phase::Closing {
            code,
            until: now.mono + self.config.close_timeout,
            stage,
            greeted: greeting.is_some(),
            ticket,
        };
        let id = connection.id;
        if let Some(greeting) = greeting {
            self.no_longer_degraded(greeting);
        }
        self.arm_connection(key);
        self.end_presence(key);
        if let Some((tickets, outcome)) = dropped {
            self.stats.overflows += match outcome {
                Outcome::Overflow => tickets.len() as u64,
                Outcome::Written | Outcome::Queued | Outcome::Gone | Outcome::Unreachable => 0,
            };
            self.resolve_all(id, tickets, outcome);
        }
    }

    /// Queues a frame for a terminal. Returns whether it was taken; if not, the terminal's policy
    /// has been applied.
    pub(crate) fn offer(
        &mut self,
        now: Now,
        key: ConnectionKey,
        payload: Payload,
        ticket: Option<Ticket>,
        out: &mut Outbox,
    ) -> bool {
        let Some(connection) = self.registry.get_mut(key) else {
            self.bug("a frame for a connection that is not there");
            return false;
        };
        let id = connection.id;
        match connection.outbound.offer(payload, ticket, &self.config) {
            Offered::Queued(gave_way) => {
                if connection.is_live() && !connection.outbound.is_writing() {
                    self.turn.connections.push(key);
                }
                self.stats.overflows += gave_way.len() as u64;
                self.resolve_all(id, gave_way, Outcome::Overflow);
                true
            }
            Offered::Refused => {
                self.stats.overflows += 1;
                false
            }
            Offered::Close => {
                self.stats.overflows += 1;
                let drop = Waiting::Drop(Outcome::Overflow);
                self.close(now, key, CloseCode::SlowConsumer, drop, None, out);
                false
            }
        }
    }

    /// Gives the driver the next batch of a terminal.
    pub(crate) fn flush_connection(&mut self, key: ConnectionKey, out: &mut Outbox) {
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
        let mut frames = 0;
        for payload in connection.outbound.next_batch() {
            frames += 1;
            out.push(Command::Send {
                connection: key,
                payload: payload.clone(),
            });
        }
        if frames > 0 {
            self.stats.frames += frames;
            out.push(Command::Flush { connection: key });
        }
    }

    /// Sends the hello, once, and what waited behind it.
    pub(crate) fn greet(&mut self, key: ConnectionKey, greeting: Greeting, out: &mut Outbox) {
        let Some(connection) = self.registry.get_mut(key) else {
            self.bug("greeting a connection that is not there");
            return;
        };
        connection.phase = Phase::Live(greeting);
        let degraded = match greeting {
            Greeting::Reachable => false,
            Greeting::Degraded => true,
        };
        connection
            .outbound
            .put_first(frame::hello(connection.id, degraded));
        self.turn.connections.push(key);
        out.push(Command::Notify(Box::new(Notice::Connected {
            connection: key,
            id: connection.id,
            user: connection.user.clone(),
        })));
        if degraded {
            self.stats.greeted_degraded += 1;
            self.keeper.degraded += 1;
            self.turn.lease = true;
        }
        self.arm_connection(key);
    }

    /// Does what is due for one connection.
    pub(crate) fn connection_due(&mut self, now: Now, key: ConnectionKey, out: &mut Outbox) {
        let Some(connection) = self.registry.get_mut(key) else {
            return;
        };
        if connection.armed.is_none_or(|armed| armed > now.mono) {
            return;
        }
        connection.armed = None;
        let due = connection.deadline(&self.config);
        if due.is_some_and(|due| due <= now.mono) {
            self.attend(now, key, out);
        }
        self.arm_connection(key);
    }

    fn attend(&mut self, now: Now, key: ConnectionKey, out: &mut Outbox) {
        let Some(connection) = self.registry.get_mut(key) else {
            return;
        };
        match &mut connection.phase {
            Phase::Upgrading { .. } => {
                let drop = Waiting::Drop(Outcome::Gone);
                self.close(now, key, CloseCode::PingTimeout, drop, None, out);
            }
            Phase::Registering { greet_by } => {
                if *greet_by <= now.mono {
                    self.greet(key, Greeting::Degraded, out);
                }
                self.check_alive(now, key, out);
            }
            Phase::Live(_) => self.check_alive(now, key, out),
            Phase::Closing { stage, .. } => {
                *stage = ClosingStage::Aborted;
                out.push(Command::Abort { connection: key });
            }
            Phase::Gone => {}
        }
    }

    fn check_alive(&mut self, now: Now, key: ConnectionKey, out: &mut Outbox) {
        let Some(connection) = self.registry.get_mut(key) else {
            return;
        };
        if connection
            .expires
            .is_some_and(|expires| expires <= now.mono)
        {
            self.close(now, key, CloseCode::TokenExpired, Waiting::Write, None, out);
            return;
        }
        match connection.liveness {
            Liveness::Waiting { ping_at } if ping_at <= now.mono => {
                connection.liveness = Liveness::Pinged { at: now.mono };
                out.push(Command::Ping { connection: key });
            }
            // This instance stood still as well, and what the terminal said may wait to be read.
            Liveness::Pinged { at }
                if connection.heard < at && at + 2 * self.config.ping_timeout <= now.mono =>
            {
                connection.liveness = Liveness::Pinged { at: now.mono };
                out.push(Command::Ping { connection: key });
            }
            Liveness::Pinged { at } if at + self.config.ping_timeout <= now.mono => {
                if connection.heard < at {
                    self.stats.ping_timeouts += 1;
                    let drop = Waiting::Drop(Outcome::Gone);
                    self.close(now, key, CloseCode::PingTimeout, drop, None, out);
                } else {
                    let period = self.jitter.shortened(self.config.ping_interval);
                    let ping_at = (at + period).max(now.mono);
                    connection.liveness = Liveness::Waiting { ping_at };
                }
            }
            Liveness::Waiting { .. } | Liveness::Pinged { .. } => {}
        }
    }

    /// Removes a connection from all that looks for terminals, and its row from the directory.
    fn end_presence(&mut self, key: ConnectionKey) {
        self.registry.retire(key);
        self.settled_one(key);
        self.remove_row(key);
    }

    /// Forgets a connection whose socket and row have both gone.
    pub(crate) fn forget_if_over(&mut self, key: ConnectionKey, out: &mut Outbox) {
        let Some(connection) = self.registry.get(key) else {
            return;
        };
        if matches!(connection.phase, Phase::Gone) && connection.row == RowState::Absent {
            self.registry.remove(key);
            self.stats.forgotten += 1;
            out.push(Command::Forget { connection: key });
        }
    }

    /// A degraded greeting has been made good, or its terminal ends.
    pub(crate) fn no_longer_degraded(&mut self, greeting: Greeting) {
        match greeting {
            Greeting::Reachable => {}
            Greeting::Degraded => {
                self.keeper.degraded -= 1;
                self.turn.lease = true;
            }
        }
    }

    /// Makes sure that a timer fires no later than the connection's deadline. Timers that fire
    /// early find nothing due.
    fn arm_connection(&mut self, key: ConnectionKey) {
        let Some(connection) = self.registry.get_mut(key) else {
            return;
        };
        let Some(due) = connection.deadline(&self.config) else {
            return;
        };
        if connection.armed.is_none_or(|armed| due < armed) {
            connection.armed = Some(due);
            self.timers.arm(due, Timer::Connection(key));
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
        match self.liveness {
            Liveness::Waiting { ping_at } => (Some(ping_at), None),
            Liveness::Pinged { at } => (None, Some((at, self.heard >= at))),
        }
        .fingerprint(now, hasher);
        self.expires.fingerprint(now, hasher);
        self.messages.fingerprint(now, hasher);
        self.armed.fingerprint(now, hasher);
    }
}

impl Fingerprint for Phase {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        std::mem::discriminant(self).hash(hasher);
        match self {
            Self::Upgrading { until } => until.fingerprint(now, hasher),
            Self::Registering { greet_by } => greet_by.fingerprint(now, hasher),
            Self::Live(greeting) => greeting.hash(hasher),
            Self::Closing {
                code,
                until,
                stage,
                greeted,
                ticket,
            } => {
                until.fingerprint(now, hasher);
                (code, stage, greeted, ticket).hash(hasher);
            }
            Self::Gone => {}
        }
    }
}
