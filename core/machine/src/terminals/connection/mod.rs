//! One terminal's life, from the handshake to `Forget`.
//!
//! ```text
//! accept -> Upgrading -> Registering -> Live -> Closing -> Gone -> forgotten
//!              |              ^
//!              +-> Authenticating
//! ```
//!
//! A terminal whose handshake does not say who it is says so in its first frame. Until then it has no key, so
//! that other wings do not see it ([`Connection::terminal`]).
//!
//! There is one way out: whatever ends a connection, its presence ends first
//! ([`Registry::retire`](crate::terminals::registry::Registry::retire)), then its row is removed, and when
//! both the socket and the row have gone it is forgotten.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use crate::base::fingerprint::Fingerprint;
use crate::command::Command;
use crate::context::Context;
use crate::event::{Follow, Handshake, Login, Notice, Pings, Refused};
use crate::frame::{CloseCode, EncodedSize, Messages};
use crate::id::{ConnectionId, ConnectionKey, UserId};
use crate::key::Key;
use crate::message::Outcome;
use crate::terminals::Terminals;
use crate::terminals::hooks;
use crate::terminals::outbound::LazyOutbound;
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

pub(super) use following::Following;
use liveness::{Liveness, ping_behind};
pub(super) use phase::ClosingStage;
use phase::{Greeting, Phase, Reached};

/// The connection of one terminal, from `accept` to `Forget`.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(super) id: ConnectionId,
    /// What it is found by. `None`: it has not said who it is.
    pub(super) key: Option<Key>,
    pub(super) age: Age,
    accepted: Instant,
    /// The same moment by the wall clock.
    connected: WallTime,
    phase: Phase,
    pub(super) outbound: LazyOutbound,
    liveness: Liveness,
    pings: Pings,
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
    /// How far it is, for people.
    pub(super) const fn state(&self) -> &'static str {
        self.phase.name()
    }

    /// Itself, as other wings see it. `None` if nobody knows who it is.
    pub(super) fn terminal(&self) -> Option<Terminal<'_>> {
        Some(Terminal {
            id: self.id,
            key: self.key.as_ref()?,
            accepted: self.accepted,
            connected: self.connected,
            life: match self.phase {
                Phase::Upgrading { .. } | Phase::Authenticating { .. } => LifeStage::Upgrading,
                Phase::Registering { .. } => LifeStage::Registering,
                Phase::Live(_) => LifeStage::Live,
                Phase::Closing { .. } | Phase::Gone => LifeStage::Ending,
            },
            follows: self.follows(),
        })
    }

    /// The user that it belongs to, if it has said so.
    pub(super) fn user(&self) -> Option<&UserId> {
        self.key.as_ref().map(Key::user)
    }

    /// Whether it was greeted and its end has not begun.
    pub(super) const fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live(_))
    }

    /// A sign of life has come from it.
    pub(super) const fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Whether it is found by its key and its end has not begun.
    pub(super) const fn is_present(&self) -> bool {
        matches!(
            self.phase,
            Phase::Upgrading { .. } | Phase::Registering { .. } | Phase::Live(_)
        )
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
        self.admit_one(cx)?;
        let expires = self.admit_user(cx, &found_by, handshake.expires)?;
        let key = self.take(cx, handshake.size, Some(found_by));
        self.let_in(key, expires, handshake.follow, handshake.topics);
        Ok(key)
    }

    /// Takes a terminal that will say who it is, if there is room for it.
    pub(crate) fn accept_stranger(
        &mut self,
        cx: &mut Context<'_>,
        size: EncodedSize,
    ) -> Result<ConnectionKey, Refused> {
        self.admit_one(cx)?;
        let limit = cx.config.strangers().min(self.strangers);
        if self.registry.strangers() >= limit {
            return Err(Refused::Full { limit });
        }
        Ok(self.take(cx, size, None))
    }

    fn take(&mut self, cx: &mut Context<'_>, size: EncodedSize, key: Option<Key>) -> ConnectionKey {
        cx.stats.accepted += 1;
        let key = self.registry.insert(Connection {
            id: ConnectionId::new(cx.random.connection_ids.uuid()),
            key,
            age: Age::OLDEST,
            accepted: cx.now.mono,
            connected: cx.now.wall,
            phase: Phase::Upgrading {
                until: cx.now.mono + cx.config.handshake_timeout,
            },
            outbound: LazyOutbound::default(),
            liveness: Liveness::Waiting {
                ping_at: cx.now.mono,
            },
            pings: Pings::Answered,
            heard: cx.now.mono,
            expires: None,
            size,
            topics: None,
            rights: None,
            following: Following::Nothing,
            messages: Messages::default(),
            frames: 0,
            bytes: 0,
            armed: None,
        });
        self.arm(cx, key);
        key
    }

    /// It is known who a terminal is: until when, and what it wants and may.
    fn let_in(
        &mut self,
        key: ConnectionKey,
        expires: Option<Instant>,
        follow: Option<Follow>,
        topics: Option<SharedRights>,
    ) {
        if let Some(connection) = self.registry.get_mut(key) {
            connection.expires = expires;
            connection.following = Following::of(follow);
            connection.rights = topics;
        }
    }

    fn admit_one(&self, cx: &Context<'_>) -> Result<(), Refused> {
        let limit = cx.config.connections;
        match self.registry.len() >= limit {
            true => Err(Refused::Full { limit }),
            false => Ok(()),
        }
    }

    fn admit_user(
        &self,
        cx: &Context<'_>,
        found_by: &Key,
        expires: Option<WallTime>,
    ) -> Result<Option<Instant>, Refused> {
        if self.registry.of(found_by).len() >= cx.config.connections_per_user {
            let limit = cx.config.connections_per_user;
            return Err(Refused::TooManyOfUser { limit });
        }
        match expires {
            Some(expires) if expires <= cx.now.wall => Err(Refused::TokenExpired),
            Some(expires) => Ok(hooks::expiry_while_open(cx.flaws, end_of(cx, expires))),
            None => Ok(None),
        }
    }

    pub(crate) fn opened(&mut self, cx: &mut Context<'_>, key: ConnectionKey) {
        let ping_at = ping_behind(cx, cx.now.mono);
        let Some(connection) = self.registry.get_mut(key) else {
            cx.stats.stale_events += 1;
            return;
        };
        if !matches!(connection.phase, Phase::Upgrading { .. }) {
            // It was told to end while the upgrade was on its way.
            return;
        }
        connection.heard = cx.now.mono;
        if connection.key.is_none() {
            connection.phase = Phase::Authenticating {
                until: cx.now.mono + cx.config.authentication_timeout,
            };
            self.arm(cx, key);
            return;
        }
        self.register(cx, key, ping_at);
    }

    /// A terminal without a name has said who it is.
    pub(crate) fn authenticated(&mut self, cx: &mut Context<'_>, key: ConnectionKey, login: Login) {
        let ping_at = ping_behind(cx, cx.now.mono);
        let Some(connection) = self.registry.get(key) else {
            cx.stats.stale_events += 1;
            return;
        };
        if !matches!(connection.phase, Phase::Authenticating { .. }) {
            // It was told to end while it was asked who it is.
            return;
        }
        let found_by = Key::from(login.user);
        let expires = match self.admit_user(cx, &found_by, login.expires) {
            Ok(expires) => expires,
            Err(refused) => return self.turn_away(cx, key, refused),
        };
        self.registry.name(key, found_by);
        if let Some(connection) = self.registry.get_mut(key) {
            // What was written for it was written since: for whoever reckons by that it comes at this moment.
            connection.accepted = cx.now.mono;
            connection.connected = cx.now.wall;
            connection.pings = login.pings;
        }
        self.let_in(key, expires, login.follow, login.topics);
        self.register(cx, key, ping_at);
    }

    /// Closes a terminal that has said who it is, and may not stay.
    pub(crate) fn turn_away(&mut self, cx: &mut Context<'_>, key: ConnectionKey, refused: Refused) {
        let code = match refused {
            Refused::TokenExpired => CloseCode::TokenExpired,
            Refused::TooManyOfUser { .. } => CloseCode::TooManyConnections,
            Refused::Full { .. } | Refused::Draining => CloseCode::ServiceRestart,
        };
        if self.registry.get(key).is_none() {
            cx.stats.stale_events += 1;
            return;
        }
        self.close(cx, key, code, Waiting::Drop(Outcome::Gone), None);
    }

    /// It is open, and known who it is: its row is asked for.
    fn register(&mut self, cx: &mut Context<'_>, key: ConnectionKey, ping_at: Instant) {
        let greet_by = cx.now.mono + hooks::hello_grace(cx.flaws, cx.config);
        let Some(connection) = self.registry.get_mut(key) else {
            cx.bug("registering a connection that is not there");
            return;
        };
        connection.phase = Phase::Registering { greet_by };
        connection.liveness = Liveness::Waiting { ping_at };
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
        let Some(user) = connection.user().cloned() else {
            cx.bug("greeting a connection of nobody");
            return;
        };
        connection.phase = Phase::Live(greeting);
        let degraded = match greeting {
            Greeting::Reachable => false,
            Greeting::Degraded => true,
        };
        let log = connection.following.said();
        connection.outbound.greet(connection.id, degraded, log);
        self.unflushed.push(key);
        cx.out.push(Command::Notify(Box::new(Notice::Connected {
            connection: key,
            id: connection.id,
            user: user.clone(),
        })));
        self.registry.greeted(&user);
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
                if !connection.following.waits_for_log() {
                    self.greet(cx, key, Greeting::Reachable);
                }
            }
            Phase::Live(greeting @ Greeting::Degraded) => {
                connection.phase = Phase::Live(Greeting::Reachable);
                end_degradation(cx, greeting);
            }
            Phase::Live(Greeting::Reachable)
            | Phase::Upgrading { .. }
            | Phase::Authenticating { .. }
            | Phase::Closing { .. }
            | Phase::Gone => {}
        }
    }
}

/// When a token ends a connection, by the clock that only goes forward.
fn end_of(cx: &Context<'_>, expires: WallTime) -> Instant {
    let millis = (expires.as_millis()).saturating_sub(cx.now.wall.as_millis());
    cx.now.mono + Duration::from_millis(millis)
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
        if let Some(key) = &self.key {
            key.fingerprint(now, hasher);
        }
        self.age.fingerprint(now, hasher);
        self.accepted.fingerprint(now, hasher);
        self.connected.as_millis().fingerprint(now, hasher);
        self.phase.fingerprint(now, hasher);
        row(hasher);
        self.size.fingerprint(now, hasher);
        self.outbound.fingerprint(now, hasher);
        self.fingerprint_liveness(now, hasher);
        match self.pings {
            Pings::Answered => {}
            Pings::EachInterval => self.pings.hash(hasher),
        }
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
