//! What the world tells an instance.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use bytes::Bytes;
use serde::{Serialize, Serializer};

use crate::channel::Channel;
use crate::directory::OperationResult;
use crate::directory::log::LogStart;
use crate::frame::{CloseCode, EncodedSize, Payload};
use crate::id::{
    CallId, ConnectionId, ConnectionKey, InboundKey, InstanceId, LinkKey, OpId, SessionName,
    TopicId, UserId,
};
use crate::logs::{LogAnswer, LogRefused, LogRequest};
use crate::message::{Hearing, Push};
use crate::position::Position;
use crate::time::WallTime;
use crate::topic::{SharedRights, TopicWish};

/// A handshake that passed the authenticator.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// The user to whom the terminal belongs, by the authenticator.
    pub user: UserId,
    /// When the terminal's token expires: the connection is closed then.
    pub expires: Option<WallTime>,
    /// How large pushes are in the protocol that the terminal speaks, over its transport.
    pub size: EncodedSize,
    /// What it asks of the log of its user. `None`: it gets durable pushes as plain ones, and misses those that
    /// come while it is away.
    pub follow: Option<Follow>,
    /// What it has to do with topics. `None`: nothing, unless an application has its user or itself join one.
    pub topics: Option<SharedRights>,
}

/// What a terminal asks of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Follow {
    /// Positions that it holds, newest first. It goes on behind the first of them that the log knows, if that
    /// is one of the first [`AFTER_MAX`](Self::AFTER_MAX).
    pub after: Vec<Position>,
    /// Without `after`: the offset of a position that it holds, if its protocol keeps no more of one. It goes on
    /// behind the position of this offset that the log knows.
    pub behind: Option<u64>,
    /// Without a position: how many of the last records it wants.
    pub history: u32,
}

impl Follow {
    /// Positions of a terminal that are looked for, at most.
    pub const AFTER_MAX: usize = 16;

    /// Whether it brings what it holds, so that it may have missed something.
    pub(crate) const fn resumes(&self) -> bool {
        !self.after.is_empty() || self.behind.is_some()
    }

    /// Where its log is to be read.
    pub(crate) fn start(&self) -> LogStart {
        match self.behind {
            _ if !self.after.is_empty() => LogStart::After(self.after.clone()),
            Some(offset) => LogStart::Behind(offset),
            None => LogStart::Last(self.history),
        }
    }
}

impl Hash for Follow {
    /// What is not brought is no part of it.
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let Self {
            after,
            behind,
            history,
        } = self;
        (after, history).hash(hasher);
        if let Some(offset) = behind {
            offset.hash(hasher);
        }
    }
}

impl Handshake {
    /// A handshake without a token that expires, to which payloads are sent as they are.
    pub const fn new(user: UserId) -> Self {
        Self {
            user,
            expires: None,
            size: EncodedSize::UNCHANGED,
            follow: None,
            topics: None,
        }
    }
}

/// Who a terminal is whose handshake did not say so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Login {
    /// The user to whom it belongs, by the authenticator.
    pub user: UserId,
    /// As [`Handshake::expires`].
    pub expires: Option<WallTime>,
    /// As [`Handshake::follow`].
    pub follow: Option<Follow>,
    /// As [`Handshake::topics`].
    #[serde(serialize_with = "as_they_are")]
    pub topics: Option<SharedRights>,
    /// When it is pinged.
    #[serde(skip_serializing_if = "Pings::are_usual")]
    pub pings: Pings,
}

/// When a terminal is pinged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub enum Pings {
    /// One interval after a ping that is answered.
    #[default]
    Answered,
    /// Each interval, whatever is not answered: its protocol has it take a server for dead that does not ping.
    EachInterval,
}

impl Pings {
    const fn are_usual(&self) -> bool {
        matches!(self, Self::Answered)
    }
}

impl Login {
    /// A login that never expires, and by which nothing is asked.
    pub const fn new(user: UserId) -> Self {
        Self {
            user,
            expires: None,
            follow: None,
            topics: None,
            pings: Pings::Answered,
        }
    }
}

fn as_they_are<S: Serializer>(
    topics: &Option<SharedRights>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    topics.as_deref().serialize(serializer)
}

/// Why an instance does not take a terminal, by whose fault. Transports have words of their own for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
pub enum Refused {
    /// The terminal's: its token had expired already.
    #[error("the token has expired")]
    TokenExpired,
    /// The user's: too many connections are here already.
    #[error("this user has {limit} connections at this instance, which is the limit")]
    TooManyOfUser {
        /// How many are allowed: `Config::connections_per_user`.
        limit: usize,
    },
    /// Nobody's: the instance is full, and another one may have room.
    #[error("this instance has {limit} connections, which is the limit")]
    Full {
        /// How many are allowed: `Config::connections`.
        limit: usize,
    },
    /// Nobody's: the instance goes away, or is cut off from the directory.
    #[error("this instance takes no new connections at present")]
    Draining,
}

/// Something that happened. Keys that are out of date are ignored and counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Event {
    /// The upgrade of an accepted terminal is done: frames can be written.
    Opened {
        /// The key of the connection.
        connection: ConnectionKey,
    },
    /// A frame of any kind came from a terminal.
    Heard {
        /// The key of the connection that it came from.
        connection: ConnectionKey,
        /// The kind of the frame, and what it says.
        frame: Heard,
    },
    /// The frames up to the last `Flush` are with the operating system.
    Written {
        /// The connection whose frames they are.
        connection: ConnectionKey,
    },
    /// A socket has gone, or its upgrade failed. Reported once for each accepted connection, also
    /// after `Close` and `Abort`.
    Closed {
        /// The key of the connection.
        connection: ConnectionKey,
        /// How the socket ended.
        closure: Closure,
    },

    /// The directory link was established, or established anew: what was under way on a former one
    /// may or may not be executed, at any time.
    DirectoryUp,
    /// The directory link is gone.
    DirectoryDown,
    /// A round trip ended. On `Err` it is unknown which operations were or will be executed, and the
    /// link counts as gone until the next `DirectoryUp`.
    Directory {
        /// The number of the round trip.
        op: OpId,
        /// The outcomes, in the order of the operations.
        outcomes: Result<Vec<OperationResult>, TripLost>,
    },

    /// A link that was dialled is connected.
    LinkUp {
        /// The key of the link.
        link: LinkKey,
    },
    /// A batch came over a link.
    LinkReceived {
        /// The key of the link.
        link: LinkKey,
        /// What one `LinkWrite` of the other end wrote, in one piece.
        batch: Bytes,
    },
    /// The last batch given to a link is with the operating system.
    LinkWritten {
        /// The key of the link.
        link: LinkKey,
    },
    /// A link is gone, or could not be opened.
    LinkDown {
        /// The key of the link.
        link: LinkKey,
        /// How the link ended, or why it could not be opened.
        failure: LinkFailure,
    },

    /// The application hands in a push. Answered with `Answer::Push`.
    Push {
        /// The number of the call, which comes back with its answer.
        call: CallId,
        /// Its content, audience and deadline; the instance checks all limits.
        push: Push,
    },
    /// The application asks for a user's connections. Answered with `Answer::Connections`.
    Connections {
        /// The number of the call, which comes back with its answer.
        call: CallId,
        /// The user whose connections are asked for.
        user: UserId,
    },
    /// The application asks for all instances. Answered with `Answer::Instances`.
    Instances {
        /// The number of the call, which comes back with its answer.
        call: CallId,
    },
    /// The application wants the instance to end. It takes no terminals from this moment; after
    /// `delay` it closes those it has, evenly over `spread`. The last command is `Drained`.
    /// A second one may only shorten it.
    Drain {
        /// The time before the first terminal is closed.
        delay: Duration,
        /// The time over which terminals are closed.
        spread: Duration,
    },

    /// What a `Probe` found. Frames that had come before it are reported before.
    Probed {
        /// The connection that was probed.
        connection: ConnectionKey,
        /// Whether the terminal lives, although no frame of it has come.
        life: Life,
    },

    /// The application wants something of a log. Answered with `Answer::Log`.
    Log {
        /// The number of the call, which comes back with its answer.
        call: CallId,
        /// What the log belongs to.
        channel: Channel,
        /// To read it, to know where it stands, or to delete it.
        request: LogRequest,
    },
    /// A terminal wants to join or to leave a topic. It has shown that it lives.
    Topic {
        /// The key of the connection.
        connection: ConnectionKey,
        /// To join, to leave, to watch, to follow the log, or to confirm a record of it.
        wish: TopicWish,
    },

    /// A terminal that was accepted without a name has said who it is, and the authenticator believes it. It is
    /// reported once. If the terminal may not stay, it is closed.
    Authenticated {
        /// The key of the connection.
        connection: ConnectionKey,
        /// The user that the terminal belongs to, and what that login allows.
        login: Box<Login>,
    },
    /// A terminal has shown a new token of its user, and the authenticator believes it.
    Refreshed {
        /// The key of the connection.
        connection: ConnectionKey,
        /// As [`Handshake::expires`], of the new token.
        expires: Option<WallTime>,
        /// As [`Handshake::topics`]. Memberships by the token before end that this one does not allow.
        #[serde(serialize_with = "as_they_are")]
        topics: Option<SharedRights>,
    },
    /// A terminal of another instance has said something here, on another connection than its own. Answered with
    /// `Answer::Relayed`.
    Relay {
        /// The number of the call, which comes back with its answer.
        call: CallId,
        /// The instance that has the terminal.
        to: InstanceId,
        /// What the terminal names itself by.
        session: SessionName,
        /// What it has said.
        frame: Payload,
    },
    /// What became of a frame that was to be [heard](crate::command::Command::Hear).
    Relayed {
        /// The delivery that it came by.
        delivery: InboundKey,
        /// What became of it.
        hearing: Hearing,
    },
    /// Of the frames up to the last `Flush` the records of a topic's log from this offset on are not sent: the terminal is
    /// to come back to the topic, and to get them then. Comes before the [`Written`](Self::Written) of these frames.
    Withheld {
        /// The connection to which they are not sent.
        connection: ConnectionKey,
        /// The topic in whose log they are.
        topic: TopicId,
        /// The offset of the first of them.
        from: u64,
    },
}

/// What a terminal has shown of life beside frames: since its last ping, or since it was asked for last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Life {
    /// Bytes came; or the other end took some of what was sent before the ping, which therefore
    /// still waits; or nothing is read of the terminal at present. That the operating system took
    /// bytes is no sign: it does so if nobody is there any more.
    Shown,
    /// None of these, nor an answer.
    NotShown,
    /// The other end has all that was sent before the ping, and the ping: where a transport lets a terminal
    /// say nothing, that is its answer.
    Answered,
}

/// A frame from a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Heard {
    /// A ping or a pong.
    Control,
    /// A message. The driver has handed it to the application already.
    Message,
    /// A message that nobody takes: there is no application, or it does not listen.
    Unwanted,
    /// It confirms the record of its log at this position, and all that it was told before.
    Ack(Position),
}

/// How a terminal's socket ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Closure {
    /// With a closing handshake.
    Clean,
    /// Without one: reset, end of file, failed write, failed upgrade.
    Abrupt,
    /// By the driver, because the terminal broke the protocol; it was told this code.
    Violation(CloseCode),
}

/// A round trip whose link was lost before it was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("the directory link was lost before the answer")]
pub struct TripLost;

/// Why a link ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum LinkFailure {
    /// Nobody listens at the address, or the connection broke.
    Broken,
    /// Another instance listens at the address.
    NotMe,
}

/// What an application gets for a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Answer {
    /// To `Event::Push`.
    Push(Result<crate::message::Receipt, crate::message::PushRefused>),
    /// To `Event::Connections`.
    Connections(Result<crate::message::Connections, crate::message::PushRefused>),
    /// To `Event::Instances`, in the order of their ids.
    Instances(Vec<crate::message::InstanceInfo>),
    /// To `Event::Log`.
    Log(Result<LogAnswer, LogRefused>),
    /// To `Event::Relay`. `None`: the instance has not said what became of it.
    Relayed(Option<Hearing>),
}

/// What happened to a terminal, for the application. `Connected` comes first, `Disconnected` last,
/// each exactly once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Notice {
    /// A terminal was greeted.
    Connected {
        /// The key of the connection.
        connection: ConnectionKey,
        /// The UUID of the connection.
        id: ConnectionId,
        /// The user that the terminal belongs to.
        user: UserId,
    },
    /// A greeted terminal is gone.
    Disconnected {
        /// The key of the connection.
        connection: ConnectionKey,
        /// The UUID of the connection.
        id: ConnectionId,
        /// The user that the terminal belongs to.
        user: UserId,
        /// How its connection ended.
        reason: Disconnected,
    },
    /// A terminal has confirmed records of a log.
    Acked {
        /// The key of the connection.
        connection: ConnectionKey,
        /// The UUID of the connection.
        id: ConnectionId,
        /// The user that the terminal belongs to.
        user: UserId,
        /// The last of the records. All that it was told of that log before on this connection are confirmed with it.
        position: Position,
        /// The topic whose log it is. `None`: it is that of the user.
        #[serde(skip_serializing_if = "Option::is_none")]
        topic: Option<TopicId>,
    },
    /// A terminal is told that it is a member of a topic, or leaves one. One that goes leaves all, which is not said of
    /// each.
    Member {
        /// The key of the connection.
        connection: ConnectionKey,
        /// The UUID of the connection.
        id: ConnectionId,
        /// The user that the terminal belongs to.
        user: UserId,
        /// The topic that it joins, or leaves.
        topic: TopicId,
        /// Whether it is a member from here on.
        is_member: bool,
    },
}

/// How a connection ended, for counters and log: also one that was never greeted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its upgrade failed, or took too long.
    NotOpened,
    /// The terminal closed it.
    ByTerminal,
    /// The socket broke, without a Close frame.
    Lost,
    /// Switchboard closed it, with this code.
    ByServer(CloseCode),
}

impl Ending {
    /// All ways in which a connection ends.
    pub const ALL: [Self; 3 + CloseCode::ALL.len()] = {
        let mut all = [Self::NotOpened; 3 + CloseCode::ALL.len()];
        all[1] = Self::ByTerminal;
        all[2] = Self::Lost;
        let mut code = 0;
        while code < CloseCode::ALL.len() {
            all[3 + code] = Self::ByServer(CloseCode::ALL[code]);
            code += 1;
        }
        all
    };

    /// Its name in metrics and log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotOpened => "not_opened",
            Self::ByTerminal => "by_terminal",
            Self::Lost => "lost",
            Self::ByServer(code) => code.name(),
        }
    }
}

/// What there is to say of a connection that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended<'a> {
    /// The UUID of the connection.
    pub id: ConnectionId,
    /// The user that the terminal belongs to. `None`: it has not said so.
    pub user: Option<&'a UserId>,
    /// How its connection ended.
    pub ending: Ending,
    /// How long it lived: from the handshake on, or from when it said who it is.
    pub lived: Duration,
    /// Messages that the terminal sent.
    pub messages: u64,
    /// Messages that it was told: those given to its socket.
    pub frames: u64,
    /// Bytes of the payloads of the pushes among them.
    pub bytes: u64,
}

/// Why a terminal is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Disconnected {
    /// It closed the connection.
    ByTerminal,
    /// The socket broke, without a Close frame.
    Lost,
    /// Switchboard closed it, with this code.
    ByServer(CloseCode),
}
