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
use crate::event::{Handshake, Notice, Refused};
use crate::frame::{EncodedSize, Messages};
use crate::id::{ConnectionId, ConnectionKey};
use crate::key::Key;
use crate::message::Outcome;
use crate::terminals::Terminals;
use crate::terminals::hooks;
use crate::terminals::outbound::Outbound;
use crate::terminals::topics::Memberships;
use crate::time::{Instant, WallTime};
use crate::topic::SharedRights;
use crate::vocabulary::effect::Effect;
use crate::vocabulary::terminal::{Age, LifeStage, Terminal, TerminalChange};

mod end;
mod following;
mod frames;
mod liveness;
mod phase;
mod report;

use following::Following;
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
    /// How large pushes are in its protocol.
    size: EncodedSize,
    /// How far it is with its log.
    following: Following,
    /// What it has to do with topics, if anything.
    pub(super) topics: Option<Box<Memberships>>,
    /// What it may have to do with topics, by its token.
    pub(super) rights: Option<SharedRights>,
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
enum Waiting {
    /// They are written before the terminal is told.
    Write,
    /// They are dropped, with this outcome.
    Drop(Outcome),
}

impl Connection {
    /// Itself, as other wings see it.
    pub(super) const fn terminal(&self) -> Terminal<'_> {
        Terminal {
            id: self.id,
            key: &self.key,
            accepted: self.accepted,
            connected: self.connected,
            life: match self.phase {
                Phase::Upgrading { .. } => LifeStage::Upgrading,
                Phase::Registering { .. } => LifeStage::Registering,
                Phase::Live(_) => LifeStage::Live,
                Phase::Closing { .. } | Phase::Gone => LifeStage::Ending,
            },
            follows: self.follows(),
        }
    }

    /// Whether it was greeted and its end has not begun.
    pub(super) const fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live(_))
    }

    /// A sign of life has come from it.
    pub(super) const fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Whether it is open and its end has not begun.
    pub(super) const fn is_open(&self) -> bool {
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
            topics: None,
            rights: handshake.topics,
            following: (handshake.follow).map_or(Following::Nothing, |asked| {
                Following::Asked(Box::new(asked))
            }),
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
        cx.emit(Effect::Terminal(TerminalChange::Opened(key)));
        self.arm(cx, key);
    }

    /// Sends the hello, once, and what waited behind it.
    fn greet(&mut self, cx: &mut Context<'_>, key: ConnectionKey, greeting: Greeting) {
        let Some(connection) = self.registry.get_mut(key) else {
            cx.bug("greeting a connection that is not there");
            return;
        };
        connection.phase = Phase::Live(greeting);
        let degraded = match greeting {
            Greeting::Reachable => false,
            Greeting::Degraded => true,
        };
        let log = connection.hello_log();
        connection.outbound.greet(connection.id, degraded, log);
        self.unflushed.push(key);
        cx.out.push(Command::Notify(Box::new(Notice::Connected {
            connection: key,
            id: connection.id,
            user: connection.key.user().clone(),
        })));
        if degraded {
            cx.stats.greeted_degraded += 1;
            cx.emit(Effect::Terminal(TerminalChange::Degraded));
        }
        self.join_at_greeting(cx, key);
        self.arm(cx, key);
    }

    /// The directory has a connection's row, and nothing has shown since that it may be lost.
    fn row_written(&mut self, cx: &mut Context<'_>, key: ConnectionKey) {
        let Some(connection) = self.registry.get_mut(key) else {
            return;
        };
        match connection.phase {
            Phase::Registering { .. } => {
                if !connection.waits_for_log() {
                    self.greet(cx, key, Greeting::Reachable);
                }
            }
            Phase::Live(greeting @ Greeting::Degraded) => {
                connection.phase = Phase::Live(Greeting::Reachable);
                end_degradation(cx, greeting);
            }
            Phase::Live(Greeting::Reachable)
            | Phase::Upgrading { .. }
            | Phase::Closing { .. }
            | Phase::Gone => {}
        }
    }
}

/// A degraded greeting has been made good, or its terminal ends.
fn end_degradation(cx: &mut Context<'_>, greeting: Greeting) {
    match greeting {
        Greeting::Reachable => {}
        Greeting::Degraded => cx.emit(Effect::Terminal(TerminalChange::DegradationEnded)),
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
        self.size.fingerprint(now, hasher);
        self.outbound.fingerprint(now, hasher);
        self.fingerprint_liveness(now, hasher);
        self.expires.fingerprint(now, hasher);
        self.following.hash(hasher);
        self.rights.hash(hasher);
        if let Some(topics) = &self.topics {
            topics.fingerprint(now, hasher);
        }
        self.messages.hash(hasher);
        self.armed.fingerprint(now, hasher);
    }
}
