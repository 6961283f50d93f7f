//! Clients: their sessions, and the instance's end of their connections.

use std::collections::BTreeMap;
use std::time::Duration;

use switchboard_core::event::{Closure, Event, Heard, Refused};
use switchboard_core::id::{ConnectionId, ConnectionKey, PushId, UserId};
use switchboard_core::time::{Instant, WallTime};
use switchboard_protocol::Protocol;

use crate::fingerprint::{Fingerprint, Print};
use crate::noise::Purpose;
use crate::observed::{Life, Observed};
use crate::queue::{Happening, Input, Seen};
use crate::schedule::Moment;
use crate::trace::Entry;
use crate::world::World;

mod client;
mod socket;

pub(crate) use socket::Connection;

/// What all clients speak.
pub(crate) const PROTOCOL: Protocol = Protocol::Plain;

/// One try of a client to be connected, and the connection that came of it.
#[derive(Clone, Debug)]
pub struct Session {
    /// Whose try it is.
    pub(crate) client: String,
    pub(crate) user: UserId,
    /// When its token runs out, by the right clock.
    pub(crate) token: Option<WallTime>,
    /// When it runs out as the instance sees it that has accepted the handshake.
    pub(crate) expires: Option<Instant>,
    /// Where it is.
    pub(crate) life: Option<Life>,
    pub(crate) id: Option<ConnectionId>,
    /// When its hello was with the operating system, and whether that said `degraded`.
    pub(crate) greeted: Option<(Instant, bool)>,
    /// When its end began, on whatever side.
    pub(crate) ended: Option<Instant>,
    /// It went without a sign.
    pub(crate) silent: bool,
    pub(crate) pace: Pace,
    /// Until then it read nothing, if it ever did so.
    pub(crate) deaf_until: Option<Instant>,
    /// Pushes whose frames are with the operating system, and since when.
    pub(crate) written: BTreeMap<PushId, Instant>,
    key: Option<ConnectionKey>,
    /// It has reset or closed its socket: nothing reaches it.
    gone: bool,
    /// Its client wants no connection any more.
    left: bool,
    /// Tries of the client since its last hello.
    tries: u32,
    /// Nobody answers where it connects, and nobody says so: its client will give up.
    unanswered: bool,
    /// What its noise is keyed with: the client, and when it connected.
    noise: [u64; 2],
    /// What was sent last arrives then, at the terminal and at the instance.
    down: Instant,
    up: Instant,
}

// When it was greeted and what it got is of the past. That it ended decides; when it did, does not.
impl Fingerprint for Session {
    fn fingerprint(&self, to: &mut Print) {
        let Self {
            client,
            user,
            token,
            expires,
            life,
            id,
            greeted: _,
            ended,
            silent,
            pace,
            deaf_until: _,
            written: _,
            key,
            gone,
            left,
            tries,
            unanswered,
            noise,
            down,
            up,
        } = self;
        (client, user).fingerprint(to);
        (token, expires).fingerprint(to);
        (life, id, ended.is_some()).fingerprint(to);
        (silent, pace, key).fingerprint(to);
        (gone, left, tries).fingerprint(to);
        unanswered.fingerprint(to);
        (noise, down, up).fingerprint(to);
    }
}

/// How a client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// What comes, when it comes.
    AtOnce,
    /// One frame, once in so long.
    Every(Duration),
    /// Nothing.
    Never,
}

impl Fingerprint for Pace {
    fn fingerprint(&self, to: &mut Print) {
        to.word(self);
    }
}

impl Session {
    /// Whose terminal it is.
    pub const fn user(&self) -> &UserId {
        &self.user
    }

    /// Where it is, or tried to be.
    pub const fn life(&self) -> Option<Life> {
        self.life
    }

    /// Its connection, if an instance has accepted it.
    pub const fn connection(&self) -> Option<ConnectionId> {
        self.id
    }

    /// When its hello was with the operating system, and whether that said `degraded`.
    pub const fn greeted(&self) -> Option<(Instant, bool)> {
        self.greeted
    }

    /// When its end began, on whatever side.
    pub const fn ended(&self) -> Option<Instant> {
        self.ended
    }

    /// Whether its client went without a sign. What it is sent is lost from then on.
    pub const fn is_silent(&self) -> bool {
        self.silent
    }

    /// Whose try it is.
    pub fn client(&self) -> &str {
        &self.client
    }

    /// When its token runs out, by the right clock.
    pub const fn token(&self) -> Option<WallTime> {
        self.token
    }

    /// When its token runs out by the wall clock that its instance had at the handshake.
    pub const fn expires(&self) -> Option<Instant> {
        self.expires
    }

    /// When its client began to connect.
    pub const fn began(&self) -> Instant {
        Instant::from_nanos(self.noise[1])
    }

    /// How its client reads.
    pub const fn pace(&self) -> Pace {
        self.pace
    }

    /// Whether its client has read all the time since then, at whatever pace.
    pub fn has_read_since(&self, since: Instant) -> bool {
        self.pace != Pace::Never && self.deaf_until.is_none_or(|until| until < since)
    }

    /// Whether a frame of this push is with the operating system.
    pub fn has_written(&self, push: PushId) -> bool {
        self.written.contains_key(&push)
    }

    /// Since when a frame of this push is with the operating system.
    pub fn written_at(&self, push: PushId) -> Option<Instant> {
        self.written.get(&push).copied()
    }

    /// Whether it tried to connect where nobody answers, and nobody says so.
    pub const fn is_unanswered(&self) -> bool {
        self.unanswered
    }

    /// Whether it is there and nothing has ended it.
    pub const fn is_open(&self) -> bool {
        self.id.is_some() && self.ended.is_none() && !self.silent
    }
}

/// The base of the delay between a terminal and its instance.
const WAY: Duration = Duration::from_millis(2);

impl World {
    pub(crate) fn accepted(
        &mut self,
        life: Life,
        session: usize,
        key: ConnectionKey,
        id: ConnectionId,
    ) {
        self.processes[life.host]
            .connections
            .insert(key, Connection::new(session));
        self.record.connections.insert(id, session);
        let this = &mut self.sessions[session];
        this.key = Some(key);
        this.id = Some(id);
        let gave_up = this.gone;
        if let Some(token) = self.sessions[session].token {
            let left = token.as_millis() - self.clock_of(life.host).wall.as_millis();
            let expires = self.now + Duration::from_millis(left);
            self.sessions[session].expires = Some(expires);
            self.queue.put(expires, Happening::TokenEnds(session));
        }
        let at = self.upwards(session);
        let event = Event::Opened { connection: key };
        self.moment_of_session(Moment::Accept, session);
        self.queue
            .put(at, Happening::Input(life, Input::Event(Box::new(event))));
        self.observe(Observed::Accepted { session });
        if gave_up {
            self.over(session, Closure::Abrupt);
        }
    }

    pub(crate) fn refused(&mut self, session: usize, refused: Refused) {
        self.session_ended(session);
        self.reset_terminal(session, Duration::ZERO);
        self.observe(Observed::Refused { session, refused });
    }

    pub(crate) fn session_ended(&mut self, session: usize) {
        if self.sessions[session].ended.is_none() {
            self.sessions[session].ended = Some(self.now);
            self.observe(Observed::Ended { session });
        }
    }

    pub(crate) fn at_terminal(&mut self, session: usize, seen: Seen) {
        let this = &self.sessions[session];
        if this.gone || this.silent {
            return;
        }
        let reads = this.pace != Pace::Never;
        let (life, key) = (this.life, this.key);
        match seen {
            Seen::Frame(payload) => {
                self.sessions[session].tries = 0;
                let payload = &payload;
                self.trace(&Entry::Frame { session, payload });
                self.frame_seen(session, payload);
            }
            Seen::Ping => {
                self.trace(&Entry::Ping { session });
                if !reads {
                    return self.waits_for_reader(session);
                }
                let (Some(life), Some(connection)) = (life, key) else {
                    return;
                };
                let at = self.upwards(session);
                let frame = Heard::Control;
                let event = Event::Heard { connection, frame };
                self.queue
                    .put(at, Happening::Input(life, Input::Event(Box::new(event))));
            }
            Seen::Close(code) => {
                self.trace(&Entry::Close { session, code });
                self.sessions[session].gone = true;
                self.observe(Observed::SeenClose { session, code });
                self.over(session, Closure::Clean);
                self.disappointed(session);
            }
            Seen::Reset => {
                self.sessions[session].gone = true;
                self.disappointed(session);
            }
        }
    }

    /// The instance will learn that the connection is over.
    fn over(&mut self, session: usize, closure: Closure) {
        let at = self.upwards(session);
        let this = &self.sessions[session];
        let (Some(life), Some(key)) = (this.life, this.key) else {
            return;
        };
        if !self.lives(life) {
            return;
        }
        let Some(connection) = self.processes[life.host].connections.get_mut(&key) else {
            return;
        };
        if !connection.report() {
            let event = Event::Closed {
                connection: key,
                closure,
            };
            self.queue
                .put(at, Happening::Input(life, Input::Event(Box::new(event))));
        }
    }

    fn downwards(&mut self, session: usize) -> Instant {
        let at = self.way(session, 0);
        let this = &mut self.sessions[session];
        this.down = this.down.max(at);
        this.down
    }

    fn upwards(&mut self, session: usize) -> Instant {
        let at = self.way(session, 1);
        let this = &mut self.sessions[session];
        this.up = this.up.max(at);
        this.up
    }

    fn way(&self, session: usize, direction: u64) -> Instant {
        let [client, moment] = self.sessions[session].noise;
        let ids = [client, moment, direction];
        (self.noise).arrival(self.now, WAY, Purpose::Terminal, &ids)
    }
}
