//! What terminals are told, and why they are closed: meanings and payloads, not frames.

use std::fmt;
use std::hash::Hasher;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::base::fingerprint::Fingerprint;
use crate::channel::Channel;
use crate::directory::log::Content;
use crate::id::{ConnectionId, PushId, TopicId, UserId};
use crate::key::Key;
use crate::position::Position;
use crate::time::Instant;

/// The content of one frame. Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Payload {
    kind: FrameKind,
    bytes: Bytes,
}

/// Whether a frame is text or binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FrameKind {
    /// Text, in UTF-8.
    Text,
    /// Its bytes are whatever they are.
    Binary,
}

impl Payload {
    /// A binary frame of these bytes, whatever they are.
    pub const fn binary(bytes: Bytes) -> Self {
        Self {
            kind: FrameKind::Binary,
            bytes,
        }
    }

    /// A text frame.
    ///
    /// # Errors
    ///
    /// If the bytes are not UTF-8.
    pub fn text(bytes: Bytes) -> Result<Self, NotUtf8> {
        std::str::from_utf8(&bytes).map_err(|_| NotUtf8)?;
        Ok(Self {
            kind: FrameKind::Text,
            bytes,
        })
    }

    /// A frame of the given kind.
    ///
    /// # Errors
    ///
    /// If it is to be text and the bytes are not UTF-8.
    pub fn new(kind: FrameKind, bytes: Bytes) -> Result<Self, NotUtf8> {
        match kind {
            FrameKind::Text => Self::text(bytes),
            FrameKind::Binary => Ok(Self::binary(bytes)),
        }
    }

    /// Whether it goes out as text or as binary.
    pub const fn kind(&self) -> FrameKind {
        self.kind
    }

    /// The content, without any framing.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Bytes of the content.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it has no content.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl Content {
    /// What a push says, as a log keeps it.
    pub fn of(payload: &Payload) -> Self {
        let flags = match payload.kind {
            FrameKind::Text => 0,
            FrameKind::Binary => 1,
        };
        Self {
            flags,
            bytes: payload.bytes.clone(),
        }
    }

    /// What a push says. `None` if it is of a kind that is not known here: somebody else has written it.
    pub fn payload(self) -> Option<Payload> {
        let kind = match self.flags {
            0 => FrameKind::Text,
            1 => FrameKind::Binary,
            _ => return None,
        };
        Payload::new(kind, self.bytes).ok()
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Self {
        Self {
            kind: FrameKind::Text,
            bytes: text.into(),
        }
    }
}

impl fmt::Debug for Payload {
    /// Kind and size; payloads are nobody's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({} B)", self.kind, self.bytes.len())
    }
}

/// Bytes that were to be text and are not UTF-8. The text is shown to whoever handed them in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a text frame must be UTF-8; send binary as application/octet-stream")]
pub struct NotUtf8;

/// What a terminal is told. The terminal's protocol makes frames of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Outgoing {
    /// The first of all: who the terminal is.
    Hello {
        /// The connection's name, by which pushes can be aimed at it.
        connection: ConnectionId,
        /// Whether pushes may miss it until its row is written.
        degraded: bool,
        /// Where it stands in its log.
        log: HelloLog,
    },
    /// Where a follower stands in its log, which the hello could not say.
    Log(Attached),
    /// A record of the log: the successor of what the follower holds.
    Record(Pushed),
    /// Something is missing. The follower stands at this position, and what is kept behind it follows.
    Gap(Position),
    /// Nothing is missing, but the log has lost what came after this position, where the follower stands: it
    /// may come again, under its push's id.
    Back(Position),
    /// A push: its content as it was handed in, and what is known of it.
    Pushed(Pushed),
    /// The answer to all messages that the terminal has sent.
    Received(Messages),
    /// It is a member of a topic: what is pushed to the topic from here on reaches it.
    Joined {
        /// The topic that it has joined.
        topic: TopicId,
        /// Whether pushes may miss it until the directory knows of it.
        degraded: bool,
        /// Where it stands in the log of the topic. `None`: it has not asked for it, or was told.
        #[serde(skip_serializing_if = "Option::is_none")]
        log: Option<Box<HelloLog>>,
    },
    /// It is no member of a topic any more, or was none.
    Left(TopicId),
    /// It has not become a member of a topic.
    NotJoined(TopicId, NotJoined),
    /// It is not told who the members of a topic are. Whether it is one itself is not changed by that.
    NotWatched(TopicId, NotJoined),
    /// Who the members of a topic are, for one of them that has asked.
    Presence(#[serde(serialize_with = "what_is_shared")] SharedPresence),
    /// What [`Log`](Self::Log), [`Gap`](Self::Gap) and [`Back`](Self::Back) say of the log of its user, of that of a
    /// topic.
    TopicLog(TopicId, Box<LogNews>),
}

/// Where a follower stands in a log, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum LogNews {
    /// It begins to follow, here.
    At(Attached),
    /// Something is missing. The follower stands at this position, and what is kept behind it follows.
    Gap(Position),
    /// Nothing is missing, but the log has lost what came after this position, where the follower stands.
    Back(Position),
}

/// What a member of a topic is told of the others. Those that are told the same share one value.
#[expect(
    clippy::disallowed_types,
    reason = "nobody changes what is shared here, as with the bytes of a payload"
)]
pub type SharedPresence = std::sync::Arc<Presence>;

fn what_is_shared<S: serde::Serializer>(
    presence: &SharedPresence,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    presence.as_ref().serialize(serializer)
}

/// What a member of a topic is told of the others.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Presence {
    /// The topic whose members they are.
    pub topic: TopicId,
    /// A snapshot is of any, and a change of the next one: whoever has missed one takes a snapshot again.
    pub sequence: u64,
    /// Some may be missing in it, or be gone: an instance does not answer, or it is in doubt who is there. What is told
    /// next without it is certain.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub degraded: bool,
    /// All members, how many they are, or what has changed since the last word.
    pub news: PresenceNews,
}

/// What is told of the members of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum PresenceNews {
    /// Who they are: a snapshot.
    Users(Vec<UserId>),
    /// How many terminals they are, of a topic with more than are named: a snapshot.
    Count(u64),
    /// What has changed since: users that have come, and users that have left.
    Changed {
        /// Users that were not members before.
        joined: Vec<UserId>,
        /// Users that are members no longer, on any connection.
        left: Vec<UserId>,
    },
}

/// Why a terminal does not become a member of a topic, or is not told of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum NotJoined {
    /// Nothing that it has shown allows it to join the topic by itself, or it is no member that could be told of others.
    NotAllowed,
    /// It is a member of as many topics as it may be, or is told of the members of as many.
    TooMany,
    /// It has asked too often in the last second.
    TooFast,
    /// The topic has as many members at this instance as it may have.
    Full,
}

/// What a hello says of the log, and what a terminal that becomes a member of a topic is told of that of the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum HelloLog {
    /// The terminal has not asked for it.
    NotAsked,
    /// It cannot be read yet: [`Outgoing::Log`], or [`Outgoing::TopicLog`], will say it.
    Unknown,
    /// The terminal stands here.
    At(Attached),
}

/// Where a follower begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Attached {
    /// The position of what comes before the first record that it will be told.
    pub position: Position,
    /// What that has to do with what it asked for.
    pub recovery: Recovery,
}

/// How a follower begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Recovery {
    /// It has brought no position.
    Anew,
    /// It goes on where it was: nothing is missing.
    Resumed,
    /// The log does not know where it was: something may be missing, and all that is kept follows.
    Lost,
}

/// A push, as its terminals are told of it. Those that are found by the same key share one value: a clone
/// allocates nothing.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pushed(Shared<PushedContent>);

#[expect(
    clippy::disallowed_types,
    reason = "nobody changes what is shared here, as with the bytes of a payload"
)]
type Shared<T> = std::sync::Arc<T>;

#[derive(PartialEq, Eq, Hash, Serialize)]
struct PushedContent {
    push: PushId,
    key: Option<Key>,
    /// Of one to a topic: the one whose member the terminal is.
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<TopicId>,
    /// Its place in the log, for followers.
    position: Option<Position>,
    payload: Payload,
    #[serde(skip)]
    measured: Measured,
}

/// A length that follows from a payload and is found out once, because it is asked for each terminal of a push.
#[derive(Default)]
struct Measured(std::sync::OnceLock<usize>);

impl PartialEq for Measured {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Measured {}

impl std::hash::Hash for Measured {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl Pushed {
    /// `key`: what its terminals were found by. `None`: it is for everyone.
    pub fn new(push: PushId, key: Option<Key>, payload: Payload) -> Self {
        Self(
            PushedContent {
                push,
                key,
                topic: None,
                position: None,
                payload,
                measured: Measured::default(),
            }
            .into(),
        )
    }

    /// A push to the members of a topic.
    pub fn to_topic(push: PushId, topic: TopicId, payload: Payload) -> Self {
        Self(
            PushedContent {
                push,
                key: None,
                topic: Some(topic),
                position: None,
                payload,
                measured: Measured::default(),
            }
            .into(),
        )
    }

    /// A push at this place in the log of a channel.
    pub fn record(push: PushId, channel: Channel, position: Position, payload: Payload) -> Self {
        let (key, topic) = match channel {
            Channel::User(user) => (Some(user.into()), None),
            Channel::Topic(topic) => (None, Some(topic)),
        };
        Self(
            PushedContent {
                push,
                key,
                topic,
                position: Some(position),
                payload,
                measured: Measured::default(),
            }
            .into(),
        )
    }

    /// The id of the push, by which repeats of it are recognised.
    pub fn push(&self) -> PushId {
        self.0.push
    }

    /// What its terminals were found by. `None`: it is for everyone, or for the members of a
    /// [topic](Self::topic).
    pub fn key(&self) -> Option<&Key> {
        self.0.key.as_ref()
    }

    /// The topic to whose members it is pushed.
    pub fn topic(&self) -> Option<&TopicId> {
        self.0.topic.as_ref()
    }

    /// Its place in the log. `None`: it is told as a plain push.
    pub fn position(&self) -> Option<Position> {
        self.0.position
    }

    /// The content, as it was handed in.
    pub fn payload(&self) -> &Payload {
        &self.0.payload
    }

    /// How long something becomes that a protocol makes of the payload, found out once for all clones. Whoever asks names
    /// the same function always.
    pub fn measured(&self, length: fn(&Payload) -> usize) -> usize {
        *(self.0.measured.0).get_or_init(|| length(&self.0.payload))
    }

    /// A number that clones have in common with it, and no other value has as long as one of them is held.
    pub fn identity(&self) -> usize {
        std::ptr::from_ref(&*self.0).addr()
    }
}

impl fmt::Debug for Pushed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (f.debug_struct("Pushed"))
            .field("push", &self.push())
            .field("key", &self.key())
            .field("payload", self.payload())
            .finish()
    }
}

impl Serialize for Pushed {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().serialize(serializer)
    }
}

/// How many messages a terminal has sent, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Messages {
    /// Messages that the application has.
    pub received: u64,
    /// Messages that nobody took. They came after those that somebody did.
    pub dropped: u64,
}

/// How many bytes a transport makes of a frame. It returns the same for the same frame, always.
pub type FrameSize = fn(&Payload) -> usize;

/// How large pushes are for a terminal, in bytes: what its protocol makes of the payload, and its transport of
/// that. Limits of queues count these. It is asked once for each terminal that a push is for.
#[derive(Clone, Copy)]
pub struct EncodedSize {
    protocol: fn(&Pushed, FrameSize) -> usize,
    transport: FrameSize,
}

impl EncodedSize {
    /// Payloads that are frames as they are, over a transport that carries them as they are.
    pub const UNCHANGED: Self = Self::new(
        |pushed, transport| transport(pushed.payload()),
        Payload::len,
    );

    /// `protocol` returns the size of a push by the size of its frames over the transport: the same for the same
    /// push, always.
    pub const fn new(protocol: fn(&Pushed, FrameSize) -> usize, transport: FrameSize) -> Self {
        Self {
            protocol,
            transport,
        }
    }

    pub(crate) fn of(self, pushed: &Pushed) -> usize {
        (self.protocol)(pushed, self.transport)
    }
}

/// Functions have no names of their own: what they make of pushes that transports and protocols may tell apart
/// stands for them.
impl Fingerprint for EncodedSize {
    fn fingerprint(&self, _: Instant, hasher: &mut impl Hasher) {
        let texts = ["", "\n"].map(|text| Payload::from(text.to_owned()));
        let binary = Payload::binary(Bytes::from_static(&[0]));
        for payload in texts.into_iter().chain([binary]) {
            let pushed = Pushed::new(PushId::new(uuid::Uuid::nil()), None, payload);
            hasher.write_usize(self.of(&pushed));
        }
    }
}

impl fmt::Debug for EncodedSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncodedSize(..)")
    }
}

/// Why a connection is closed by Switchboard. How a terminal is told is its transport's affair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CloseCode {
    /// The terminal broke the protocol of its transport.
    ProtocolError,
    /// A text frame was not UTF-8.
    InvalidPayload,
    /// A frame was larger than the limit.
    TooLarge,
    /// The instance goes away; a terminal that connects again reaches another one.
    ServiceRestart,
    /// Somebody ended this connection through the API.
    Kicked,
    /// The token has expired.
    TokenExpired,
    /// Frames came faster than the terminal read them.
    SlowConsumer,
    /// Nothing came from the terminal after a ping.
    PingTimeout,
    /// The terminal did not say in time who it is.
    NotAuthenticated,
    /// Its user has too many connections already. It is refused with this where it says who it is after the
    /// handshake.
    TooManyConnections,
    /// The token that it sent does not count here.
    InvalidToken,
    /// It is known who it is, and it may not connect.
    Forbidden,
    /// It has missed records of its log, and its protocol has no other word for that.
    PositionLost,
}

impl CloseCode {
    /// All close codes.
    pub const ALL: [Self; 13] = [
        Self::ProtocolError,
        Self::InvalidPayload,
        Self::TooLarge,
        Self::ServiceRestart,
        Self::Kicked,
        Self::TokenExpired,
        Self::SlowConsumer,
        Self::PingTimeout,
        Self::NotAuthenticated,
        Self::TooManyConnections,
        Self::InvalidToken,
        Self::Forbidden,
        Self::PositionLost,
    ];

    /// The number that terminals know it by, whatever their transport: from 4000 on they are
    /// Switchboard's own, those below are what WebSocket calls the same.
    pub const fn number(self) -> u16 {
        match self {
            Self::ProtocolError => 1002,
            Self::InvalidPayload => 1007,
            Self::TooLarge => 1009,
            Self::ServiceRestart => 1012,
            Self::Kicked => 4001,
            Self::TokenExpired => 4002,
            Self::SlowConsumer => 4003,
            Self::PingTimeout => 4004,
            Self::NotAuthenticated => 4005,
            Self::TooManyConnections => 4006,
            Self::InvalidToken => 4007,
            Self::Forbidden => 4008,
            Self::PositionLost => 4009,
        }
    }

    /// Its name in metrics and log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ProtocolError => "protocol_error",
            Self::InvalidPayload => "invalid_payload",
            Self::TooLarge => "too_large",
            Self::ServiceRestart => "service_restart",
            Self::Kicked => "kicked",
            Self::TokenExpired => "token_expired",
            Self::SlowConsumer => "slow_consumer",
            Self::PingTimeout => "ping_timeout",
            Self::NotAuthenticated => "not_authenticated",
            Self::TooManyConnections => "too_many_connections",
            Self::InvalidToken => "invalid_token",
            Self::Forbidden => "forbidden",
            Self::PositionLost => "position_lost",
        }
    }

    /// What a person reads of it.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::ProtocolError => "protocol error",
            Self::InvalidPayload => "text is not UTF-8",
            Self::TooLarge => "frame too large",
            Self::ServiceRestart => "service restart",
            Self::Kicked => "kicked",
            Self::TokenExpired => "token expired",
            Self::SlowConsumer => "slow consumer",
            Self::PingTimeout => "ping timeout",
            Self::NotAuthenticated => "not authenticated in time",
            Self::TooManyConnections => "too many connections",
            Self::InvalidToken => "invalid token",
            Self::Forbidden => "not allowed",
            Self::PositionLost => "position lost",
        }
    }
}

crate::base::fingerprint::timeless!(CloseCode, Payload, Pushed);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_log_keeps_of_a_payload_is_that_payload() {
        for payload in [
            Payload::from("text".to_owned()),
            Payload::binary(Bytes::from_static(&[0xFF])),
            Payload::binary(Bytes::new()),
        ] {
            assert_eq!(Content::of(&payload).payload(), Some(payload));
        }
        let bytes = Bytes::from_static(&[0xFF]);
        for flags in [0, 2, 255] {
            let content = Content {
                flags,
                bytes: bytes.clone(),
            };
            assert_eq!(content.payload(), None, "{flags}");
        }
    }

    #[test]
    fn sizes_that_differ_have_different_fingerprints() {
        let print = |size: EncodedSize| {
            let mut hasher = std::hash::DefaultHasher::new();
            size.fingerprint(Instant::START, &mut hasher);
            hasher.finish()
        };
        let carried_as = |transport: FrameSize| {
            let by_transport = |pushed: &Pushed, transport: FrameSize| transport(pushed.payload());
            print(EncodedSize::new(by_transport, transport))
        };
        let unchanged = print(EncodedSize::UNCHANGED);
        assert_eq!(unchanged, carried_as(Payload::len));
        assert_ne!(unchanged, carried_as(|payload| payload.len() + 2));
        let doubled = carried_as(|payload| match payload.kind() {
            FrameKind::Text => payload.len(),
            FrameKind::Binary => 2 * payload.len(),
        });
        assert_ne!(unchanged, doubled);
    }
}
