//! Pushes and their receipts.

use std::hash::Hash as _;
use std::time::Duration;

use serde::Serialize;

use crate::base::fingerprint::Fingerprint;
use crate::channel::Channel;
use crate::directory::log::Retention;
use crate::frame::{CloseCode, Payload};
use crate::id::{ConnectionId, InstanceId, PushId, TopicId, UserId};
use crate::position::Position;

/// One message for an audience.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Push {
    /// Repeats of a push are recognised by its id.
    pub id: PushId,
    /// Which terminals it is for.
    pub to: Audience,
    /// What its terminals get.
    pub action: Action,
    /// When the receipt is due, from the handing in.
    pub deadline: Duration,
    /// `None`: it is in no log, and is gone when it is written. One that has terminals of a user join or leave a
    /// topic counts for those that connect later if it is durable.
    pub durable: Option<Durable>,
    /// Who hands it in.
    #[serde(skip_serializing_if = "PushedBy::is_application")]
    pub by: PushedBy,
}

/// Who hands in a push. What terminals push leaves room for the application, however much that is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, serde::Deserialize)]
pub enum PushedBy {
    /// The application that the server belongs to.
    #[default]
    Application,
    /// A terminal, for members of topics.
    Terminal,
}

impl PushedBy {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde hands in references"
    )]
    const fn is_application(&self) -> bool {
        matches!(self, Self::Application)
    }
}

/// A push that is a record in the log of each user, or of a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Durable {
    /// What each log keeps with it, up to what the settings allow. `None`: what the settings say.
    pub retention: Option<Retention>,
    /// What the receipt waits for.
    pub until: Until,
    /// What becomes of it while there is no link to the directory, which has the logs.
    pub without_log: WithoutLog,
    /// Who has to have its record.
    #[serde(skip_serializing_if = "Durability::is_primary")]
    pub durability: Durability,
}

/// Who has to have the record of a durable push before its receipt says that this is so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub enum Durability {
    /// The directory's primary. A failover may lose what it had not sent to its replicas.
    #[default]
    Primary,
    /// One replica as well. The push is delivered meanwhile; its receipt waits.
    Replica,
}

impl Durability {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde hands in references"
    )]
    const fn is_primary(&self) -> bool {
        matches!(self, Self::Primary)
    }
}

/// What becomes of a durable push that is handed in while the logs are away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub enum WithoutLog {
    /// It is refused, and nobody gets it.
    #[default]
    Refused,
    /// It goes out as a plain one, and its receipt says so. Whoever is away misses it, and it has no place
    /// among the records of those who follow.
    Plain,
}

/// What the receipt of a durable push waits for, until its deadline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, serde::Deserialize)]
pub enum Until {
    /// It is written to each terminal, or kept for it.
    #[default]
    Written,
    /// Each terminal that follows its log has confirmed it. The others have been written to.
    Acked,
}

impl Push {
    /// A frame for an audience, with the default deadline.
    pub const fn new(id: PushId, to: Audience, payload: Payload) -> Self {
        Self {
            id,
            to,
            action: Action::Frame(payload),
            deadline: crate::config::Config::DEADLINE_DEFAULT,
            durable: None,
            by: PushedBy::Application,
        }
    }

    /// The same push, as a record in the log of each of its users. What the log keeps is what the settings say;
    /// [`Durable`] has more to choose.
    ///
    /// ```
    /// use switchboard_core::frame::Payload;
    /// use switchboard_core::id::{PushId, UserId};
    /// use switchboard_core::message::{Audience, Durable, Push, Until};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let id: PushId = "0b0e9f32-5f0e-4a53-8b0a-6e1c1f6f7a11".parse()?;
    /// let to = Audience::User(UserId::new("ann")?);
    /// let push = Push::new(id, to, Payload::from("hello".to_owned())).durable();
    /// // Its receipt waits until those who follow have confirmed it.
    /// let push = Push {
    ///     durable: Some(Durable { until: Until::Acked, ..Durable::default() }),
    ///     ..push
    /// };
    /// # assert!(push.durable.is_some());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn durable(self) -> Self {
        Self {
            durable: Some(Durable::default()),
            ..self
        }
    }
}

/// The terminals that a push is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Audience {
    /// All terminals of a user.
    User(UserId),
    /// Some terminals of a user.
    Connections {
        /// The one user whose connections these are.
        user: UserId,
        /// Which of the user's connections; others are not touched.
        connections: Vec<ConnectionId>,
    },
    /// All terminals of several users. A user named twice counts once.
    Users(Vec<UserId>),
    /// All terminals of all instances.
    Everyone,
    /// The members of topics. A terminal that is a member of several counts once.
    Topics {
        /// The topics. One named twice counts once. A durable push is a record in the log of each.
        topics: Vec<TopicId>,
        /// A connection that does not get it: as a rule the one whose message it is. If it follows the log of the topic it
        /// gets a durable push all the same: what it follows has no holes.
        except: Option<ConnectionId>,
    },
}

/// What a terminal gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Action {
    /// A payload, which the terminal's protocol makes a frame of.
    Frame(Payload),
    /// The end of its connection.
    Close(CloseCode),
    /// A topic, of which it becomes a member.
    Join(TopicId),
    /// The end of its membership of a topic.
    Leave(TopicId),
    /// Nothing: it is counted and listed.
    List {
        /// What is listed, in which order.
        order: ListOrder,
        /// How much of it, at most.
        limit: u32,
    },
}

impl Action {
    /// The most that one list has.
    pub const LIST_MAX: u32 = 1000;
}

/// What is listed, in the order of its names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, serde::Deserialize)]
pub enum ListOrder {
    /// Each terminal, in the order of connection ids.
    Connections {
        /// What comes after this one.
        after: Option<ConnectionId>,
    },
    /// Each user with a terminal, once.
    Users {
        /// What comes after this one.
        after: Option<UserId>,
    },
    /// Each user with a terminal, once, if there are no more terminals than are listed. The count is that of terminals.
    Members,
    /// Each terminal of a user that follows its log, with where it stands. All instances are asked.
    Followers {
        /// Whose terminals these are.
        user: UserId,
    },
}

/// A terminal, or a user with one or more.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, serde::Deserialize)]
pub struct Listed {
    /// The terminal. `None`, if users are listed.
    pub connection: Option<ConnectionId>,
    /// The user of the terminal, or with one.
    pub user: UserId,
    /// Where the terminal stands in its log, if followers are listed.
    pub follows: Option<FollowerStand>,
}

impl Listed {
    /// By which lists are in order.
    pub(crate) const fn name(&self) -> (Option<ConnectionId>, &UserId) {
        (self.connection, &self.user)
    }
}

/// Where a terminal stands in the log that it follows, and how many records it was sent on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, serde::Deserialize)]
pub struct FollowerStand {
    /// The position of the last record that was queued for it, or that it was given. `None`: that is being found out.
    pub at: Option<Position>,
    /// Records that it was sent, those left out that its log has lost since.
    pub sent: u64,
    /// How many of them it has confirmed.
    pub acked: u64,
}

/// What became of a push, terminal by terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// The id of the push.
    pub push: PushId,
    /// Something was in doubt while it was routed: terminals may have been missed that the receipt
    /// does not name.
    pub degraded: bool,
    /// For a durable push that has terminals of a user join or leave a topic: whether the directory has taken it down
    /// for those to come. If not, that is not known, or the user has too many topics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<bool>,
    /// For a durable push: what is known of its place in each log.
    pub logged: Vec<ChannelLog>,
    /// All terminals, by outcome.
    pub counts: Counts,
    /// The terminals, at most [`Config::receipt_terminals`](crate::config::Config::receipt_terminals).
    /// Empty for a push to everyone and for one to topics.
    pub terminals: Vec<TerminalOutcome>,
    /// There are more terminals than listed.
    pub truncated: bool,
    /// For a list: its beginning, without what comes twice.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listed: Vec<Listed>,
    /// For a push to everyone or to topics: what each instance reported. For a list `written` counts terminals, or
    /// users of the instance.
    pub instances: Vec<InstanceOutcome>,
}

/// What became of a durable push in one log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChannelLog {
    /// What the log belongs to.
    pub channel: Channel,
    /// Its position in the log, or why there is none.
    pub logged: InLog,
    /// For a push of [`Durability::Replica`]: whether a replica has said that it has the record. If not, that is
    /// not known: no replica is there, or none has answered in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicated: Option<bool>,
}

/// What is known of a push in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum InLog {
    /// It is a record: the directory said so.
    At(Position),
    /// It was a record, and is kept no longer: this was a repeat, and nobody got it again.
    Expired,
    /// The directory did not answer by the deadline: it is a record, or is not, or becomes one later. A repeat
    /// under the same id is safe.
    Unknown,
    /// The directory refused it: it is no record, and nobody got it.
    Refused,
    /// There was no link to the directory, and it went out as a plain push, as [`WithoutLog::Plain`] allows: it is
    /// no record.
    Unlogged,
}

/// What became of a push at one terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TerminalOutcome {
    /// The user that the terminal belongs to.
    pub user: UserId,
    /// The UUID of the connection.
    pub connection: ConnectionId,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a push to everyone, or to topics, at one instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct InstanceOutcome {
    /// The id of the instance.
    pub instance: InstanceId,
    /// Whether it answered. If not, its counts are unknown and zero.
    pub answered: bool,
    /// Its terminals, by outcome.
    pub counts: Counts,
}

/// What became of a push at one terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, serde::Deserialize)]
pub enum Outcome {
    /// The frame was handed to the operating system in full.
    Written,
    /// The owning instance has it, and had not written it by the deadline.
    Queued,
    /// The terminal follows its log, which has the push: it comes to it by way of the log.
    Kept,
    /// The connection had ended.
    Gone,
    /// The terminal's queue was full.
    Overflow,
    /// The owning instance did not answer by the deadline, or could not be reached: whether it has written
    /// the frame is not known.
    Unreachable,
    /// The owning instance's queues are smaller than the frame: its settings are other ones than
    /// those of the instance that took the push.
    TooLarge,
    /// The terminal has confirmed that it has the push. Only pushes that wait for this tell it.
    Acked,
}

impl Outcome {
    /// Its name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Queued => "queued",
            Self::Kept => "kept",
            Self::Gone => "gone",
            Self::Overflow => "overflow",
            Self::Unreachable => "unreachable",
            Self::TooLarge => "too_large",
            Self::Acked => "acked",
        }
    }
}

/// How many terminals have each outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, serde::Deserialize)]
pub struct Counts {
    /// Terminals with the outcome [`Outcome::Written`].
    pub written: u64,
    /// Terminals with the outcome [`Outcome::Queued`].
    pub queued: u64,
    /// Terminals with the outcome [`Outcome::Kept`].
    pub kept: u64,
    /// Terminals with the outcome [`Outcome::Gone`].
    pub gone: u64,
    /// Terminals with the outcome [`Outcome::Overflow`].
    pub overflow: u64,
    /// Terminals with the outcome [`Outcome::Unreachable`].
    pub unreachable: u64,
    /// Terminals with the outcome [`Outcome::TooLarge`].
    pub too_large: u64,
    /// Terminals with the outcome [`Outcome::Acked`]. A push to everyone has none.
    #[serde(skip)]
    pub acked: u64,
}

impl Counts {
    /// Those that got nothing.
    pub const fn failed(&self) -> u64 {
        self.gone
            .saturating_add(self.overflow)
            .saturating_add(self.unreachable)
            .saturating_add(self.too_large)
    }

    /// Counts a terminal with this outcome.
    pub const fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Written => self.written += 1,
            Outcome::Queued => self.queued += 1,
            Outcome::Kept => self.kept += 1,
            Outcome::Gone => self.gone += 1,
            Outcome::Overflow => self.overflow += 1,
            Outcome::Unreachable => self.unreachable += 1,
            Outcome::TooLarge => self.too_large += 1,
            Outcome::Acked => self.acked += 1,
        }
    }

    /// Adds another count. A peer may claim any number.
    pub const fn merge(&mut self, other: &Self) {
        self.written = self.written.saturating_add(other.written);
        self.queued = self.queued.saturating_add(other.queued);
        self.kept = self.kept.saturating_add(other.kept);
        self.gone = self.gone.saturating_add(other.gone);
        self.overflow = self.overflow.saturating_add(other.overflow);
        self.unreachable = self.unreachable.saturating_add(other.unreachable);
        self.too_large = self.too_large.saturating_add(other.too_large);
        self.acked = self.acked.saturating_add(other.acked);
    }
}

/// Why a push was not accepted. Nothing was written anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
pub enum PushRefused {
    /// The caller's: the payload is too large.
    #[error("the payload has {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Size of the payload, in bytes.
        bytes: usize,
        /// How many it may have: `Config::push_bytes`.
        limit: usize,
    },
    /// The caller's: nobody is named.
    #[error("the push names no user")]
    NoUsers,
    /// The caller's: too many are named.
    #[error("the push names {users} users, the limit is {limit}")]
    TooManyUsers {
        /// The users that it names.
        users: usize,
        /// How many it may name: `Config::push_users`.
        limit: usize,
    },
    /// The caller's: too many connections are named.
    #[error("the push names {connections} connections, the limit is {limit}")]
    TooManyConnections {
        /// The connections that it names.
        connections: usize,
        /// `Config::push_users`, which bounds connections as well.
        limit: usize,
    },
    /// The caller's: the deadline is out of range.
    #[error("the deadline must be between 10ms and 30s")]
    Deadline,
    /// The caller's: everyone, or some connections of a user, have no log.
    #[error("a durable push is for users that are named, or for topics")]
    NotForUsers,
    /// The caller's: a log would keep more or less than the settings allow.
    #[error(
        "a log keeps 1 to {records} records, for 1 to {seconds} seconds (`log_records_max`, `log_age_max`)"
    )]
    Retention {
        /// How many at most: `Config::log_records_max`.
        records: u32,
        /// How long at most: `Config::log_age_max`, in seconds.
        seconds: u64,
    },
    /// Nobody's: there is no link to the directory, which has the logs. Try again, or elsewhere.
    #[error(
        "the directory (Redis) is away, and with it logs and what counts for terminals to come"
    )]
    DirectoryAway,
    /// Too much waits here already: try again later.
    #[error("too many pushes are waiting at this instance")]
    Overloaded,
    /// Too much waits for this user already: try again later.
    #[error("too many pushes are waiting for this user")]
    UserOverloaded,
    /// The instance has ended: ask another one.
    #[error("this instance has ended")]
    Stopped,
    /// The caller's: no topic is named.
    #[error("the push names no topic")]
    NoTopics,
    /// The caller's: too many topics are named.
    #[error("the push names {topics} topics, the limit is {limit}")]
    TooManyTopics {
        /// The topics that it names.
        topics: usize,
        /// How many it may name: `Config::push_topics`.
        limit: usize,
    },
    /// The caller's: some connections or users are listed in other ways.
    #[error(
        "what is listed is 1 to {} members of a topic, or terminals or users of all",
        Action::LIST_MAX
    )]
    List,
    /// The caller's: a topic has no members that could join or leave another one.
    #[error("terminals of users join and leave topics, not those of topics or of everyone")]
    NotForTopics,
}

/// The connections of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Connections {
    /// Something was in doubt while they were read: some may be missing.
    pub degraded: bool,
    /// The live ones, in the order of their ids.
    pub connections: Vec<ConnectionInfo>,
}

/// One connection of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ConnectionInfo {
    /// The UUID of the connection.
    pub connection: ConnectionId,
    /// The instance that has it.
    pub instance: InstanceId,
    /// When it connected, by that instance's wall clock.
    pub connected: crate::time::WallTime,
}

/// What became of a frame that a terminal has said on another connection than its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Hearing {
    /// It is with the terminal's other frames.
    Heard,
    /// There is no such terminal.
    Gone,
    /// More has come than is served at present.
    Full,
}

impl Hearing {
    /// The outcome at its terminal.
    pub(crate) const fn outcome(self) -> Outcome {
        match self {
            Self::Heard => Outcome::Written,
            Self::Gone => Outcome::Gone,
            Self::Full => Outcome::Overflow,
        }
    }
}

/// One instance, as another one sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InstanceInfo {
    /// The id of the instance.
    pub instance: InstanceId,
    /// What its lease says.
    pub lease: crate::directory::Lease,
    /// What it is loaded with, a few seconds old at most.
    pub load: crate::directory::Load,
    /// It is the one that answers.
    pub this: bool,
}

impl Fingerprint for Action {
    fn fingerprint(&self, now: crate::time::Instant, hasher: &mut impl std::hash::Hasher) {
        match self {
            Self::Frame(payload) => payload.fingerprint(now, hasher),
            Self::Close(code) => code.fingerprint(now, hasher),
            Self::List { order, limit } => (order, limit).hash(hasher),
            Self::Join(topic) | Self::Leave(topic) => {
                std::mem::discriminant(self).hash(hasher);
                topic.fingerprint(now, hasher);
            }
        }
    }
}

crate::base::fingerprint::timeless!(Counts, Outcome);
