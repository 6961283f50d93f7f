//! Sessions: what a client's tries to be connected have come to.

use std::collections::BTreeMap;
use std::time::Duration;

use switchboard_core::channel::Channel;
use switchboard_core::event::Follow;
use switchboard_core::id::{ConnectionId, ConnectionKey, PushId, TopicId, UserId};
use switchboard_core::time::{Instant, WallTime};
use switchboard_core::topic::SharedRights;

use super::topics::Standings;
use crate::fingerprint::{Fingerprint, Print};
use crate::noise;
use crate::observed::Life;
use crate::schedule::{FailedUpgrade, LateLogin};

/// One try of a client to be connected, and the connection that came of it.
#[derive(Clone, Debug)]
pub struct Session {
    /// Whose try it is.
    pub(super) client: String,
    pub(super) user: UserId,
    /// When its token expires, by the right clock.
    pub(super) token: Option<WallTime>,
    /// When it expires as the instance sees it that has accepted the handshake.
    pub(super) expires: Option<Instant>,
    /// Where it is.
    pub(super) life: Option<Life>,
    pub(super) id: Option<ConnectionId>,
    /// When its instance accepted the handshake.
    pub(super) accepted: Option<Instant>,
    /// The same by the instance's own wall clock.
    pub(super) connected: Option<WallTime>,
    /// When its hello was with the operating system, and whether that said `degraded`.
    pub(super) greeted: Option<(Instant, bool)>,
    /// When its end began, on whatever side.
    pub(super) ended: Option<Instant>,
    /// When its instance learned that its socket has gone.
    pub(super) closed: Option<Instant>,
    /// It went without a sign.
    pub(super) silent: bool,
    pub(super) pace: Pace,
    /// Until then it read nothing, if it ever did so.
    pub(super) deaf_until: Option<Instant>,
    /// When its client last began to read at once, and had not before.
    pub(super) slow_until: Option<Instant>,
    /// Pushes whose frames are with the operating system, and when the instance was told so of the whole batch.
    pub(super) written: BTreeMap<PushId, Option<Instant>>,
    /// Those of them in whose batch others still wait for the terminal.
    pub(super) in_batch: Vec<PushId>,
    pub(super) key: Option<ConnectionKey>,
    /// It has reset or closed its socket: nothing reaches it.
    pub(super) gone: bool,
    /// Its client wants no connection any more.
    pub(super) left: bool,
    /// Tries of the client since its last hello.
    pub(super) tries: u32,
    /// Nobody answers where it connects, and nobody says so: its client will give up.
    pub(super) unanswered: bool,
    /// Its connection is never open.
    pub(super) fails: Option<FailedUpgrade>,
    /// What it asks of its log.
    pub(super) follow: Option<Follow>,
    /// What its token says of topics.
    pub(super) rights: Option<SharedRights>,
    /// What it has to do with topics.
    pub(super) topics: Standings,
    /// What it has asked of the logs of topics, as its instance has taken that in.
    pub(super) asked: BTreeMap<TopicId, Vec<Follow>>,
    /// How it says who it is, if its handshake does not.
    pub(super) login: Option<LateLogin>,
    /// Its instance knows who it is.
    pub(super) known: bool,
    /// What its noise is keyed with: the client, and when it connected.
    pub(super) noise: [u64; 2],
    /// What was sent last arrives then, at the terminal and at the instance.
    pub(super) down: Instant,
    pub(super) up: Instant,
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
            accepted: _,
            connected: _,
            greeted: _,
            ended,
            closed: _,
            silent,
            pace,
            deaf_until: _,
            slow_until: _,
            written: _,
            in_batch: _,
            key,
            gone,
            left,
            tries,
            unanswered,
            fails,
            follow,
            rights,
            topics: _,
            asked: _,
            login,
            known,
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
        if let Some(how) = fails {
            to.word(how);
        }
        to.word(follow);
        to.word(rights);
        if let Some(login) = login {
            to.word(&(login, known));
        }
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
    /// It reads nothing.
    Never,
}

impl Fingerprint for Pace {
    fn fingerprint(&self, to: &mut Print) {
        to.word(self);
    }
}

impl Session {
    /// A try that begins now.
    pub(super) fn new(
        now: Instant,
        client: &str,
        user: UserId,
        token: Option<WallTime>,
        tries: u32,
    ) -> Self {
        Self {
            client: client.to_owned(),
            user,
            token,
            expires: None,
            life: None,
            id: None,
            accepted: None,
            connected: None,
            greeted: None,
            ended: None,
            closed: None,
            silent: false,
            pace: Pace::AtOnce,
            deaf_until: None,
            slow_until: None,
            written: BTreeMap::new(),
            in_batch: Vec::new(),
            key: None,
            gone: false,
            left: false,
            tries,
            unanswered: false,
            fails: None,
            follow: None,
            rights: None,
            topics: Standings::new(),
            asked: BTreeMap::new(),
            login: None,
            known: false,
            noise: [noise::of_name(client), now.as_nanos()],
            down: Instant::START,
            up: Instant::START,
        }
    }

    /// The same, and its connection is never open.
    pub(super) fn that_fails(self, how: FailedUpgrade) -> Self {
        Self {
            fails: Some(how),
            ..self
        }
    }

    /// Whether nothing more comes of its handshake.
    pub(super) fn hangs(&self) -> bool {
        self.fails == Some(FailedUpgrade::Hangs) && self.is_open()
    }

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

    /// When its instance accepted the handshake.
    pub const fn accepted(&self) -> Option<Instant> {
        self.accepted
    }

    /// The same by the wall clock that its instance had then.
    pub const fn connected(&self) -> Option<WallTime> {
        self.connected
    }

    /// When its hello was with the operating system, and whether that said `degraded`.
    pub const fn greeted(&self) -> Option<(Instant, bool)> {
        self.greeted
    }

    /// When its end began, on whatever side.
    pub const fn ended(&self) -> Option<Instant> {
        self.ended
    }

    /// When its instance learned that its socket has gone.
    pub const fn closed(&self) -> Option<Instant> {
        self.closed
    }

    /// Whether its client went without a sign. What it is sent is lost from then on.
    pub const fn is_silent(&self) -> bool {
        self.silent
    }

    /// Whose try it is.
    pub fn client(&self) -> &str {
        &self.client
    }

    /// When its token expires, by the right clock.
    pub const fn token(&self) -> Option<WallTime> {
        self.token
    }

    /// When its token expires by the wall clock that its instance had at the handshake.
    pub const fn expires(&self) -> Option<Instant> {
        self.expires
    }

    /// When its client began to connect.
    pub const fn began(&self) -> Instant {
        Instant::from_nanos(self.noise[1])
    }

    /// What it asks of its log, if it follows it.
    pub const fn follow(&self) -> Option<&Follow> {
        self.follow.as_ref()
    }

    /// What it asks of a log, and has asked before on this connection.
    pub fn asks_of(&self, channel: &Channel) -> &[Follow] {
        match channel {
            Channel::User(user) if *user == self.user => self.follow.as_slice(),
            Channel::User(_) => &[],
            Channel::Topic(topic) => self.asked.get(topic).map_or(&[], Vec::as_slice),
        }
    }

    /// Whether it asks of any log, its own or that of a topic.
    pub fn follows_any(&self) -> bool {
        self.follow.is_some() || !self.asked.is_empty()
    }

    /// The log of a topic, or its own.
    pub fn channel(&self, topic: Option<&TopicId>) -> Channel {
        match topic {
            Some(topic) => Channel::Topic(topic.clone()),
            None => Channel::User(self.user.clone()),
        }
    }

    /// Whether its instance knows who it is: by its handshake, or because it has said so.
    pub const fn is_known(&self) -> bool {
        self.known || self.login.is_none()
    }

    /// Whether its handshake says who it is.
    pub const fn is_known_by_handshake(&self) -> bool {
        self.login.is_none()
    }

    /// How its client reads.
    pub const fn pace(&self) -> Pace {
        self.pace
    }

    /// Whether its client has read all the time since then, at whatever pace.
    pub fn has_read_since(&self, since: Instant) -> bool {
        self.pace != Pace::Never && self.deaf_until.is_none_or(|until| until < since)
    }

    /// Since when its client reads at once. `None`: it does not. What has waited until then comes now, one batch after
    /// the other.
    pub fn reads_at_once_since(&self) -> Option<Instant> {
        let since = self.slow_until.unwrap_or(self.began());
        (self.pace == Pace::AtOnce).then_some(since)
    }

    /// Whether a frame of this push is with the operating system.
    pub fn has_written(&self, push: PushId) -> bool {
        self.written.contains_key(&push)
    }

    /// Whether a frame of this push that is with the operating system has taken room in the queue of its
    /// instance since then: until the whole batch is written, it does.
    pub fn took_room_since(&self, push: PushId, since: Instant) -> bool {
        let told = self.written.get(&push);
        told.is_some_and(|told| told.is_none_or(|told| told >= since))
    }

    /// A frame of this push is with the operating system.
    pub(super) fn write(&mut self, push: PushId) {
        self.written.entry(push).or_insert(None);
        self.in_batch.push(push);
    }

    /// The instance is told that a batch is written.
    pub(super) fn batch_is_written(&mut self, now: Instant) {
        for push in self.in_batch.drain(..) {
            if let Some(told) = self.written.get_mut(&push) {
                told.get_or_insert(now);
            }
        }
    }

    /// Whether it tried to connect where nobody answers, and nobody says so.
    pub const fn is_unanswered(&self) -> bool {
        self.unanswered
    }

    /// Whether nothing has ended it, be it accepted or still on its way.
    pub(super) const fn is_under_way(&self) -> bool {
        self.ended.is_none() && !self.silent && !self.gone
    }

    /// Whether it is there and nothing has ended it.
    pub const fn is_open(&self) -> bool {
        self.id.is_some() && self.ended.is_none() && !self.silent
    }
}
