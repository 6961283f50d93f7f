//! Schedules: what happens in a world, as plain text, one timed item a line.

use std::time::Duration;

use switchboard_core::config::SlowConsumer;
use switchboard_core::flaws::Flaw;
use switchboard_core::forged::Forgery;
use switchboard_core::message::PushedBy;

use crate::fingerprint::words;

mod check;
mod log;
mod redis;

#[cfg(test)]
pub(crate) use check::MAX_LATENCY;
pub(crate) use check::{MAX_INSTANCES, MAX_NESTED, MAX_TIME, too_nested};
pub use log::{LogOf, LogSettings};
pub use redis::{ErrorReply, OperationKind, RedisAct, TripFault};

/// What happens in one world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// All noise comes from it.
    pub seed: u64,
    /// Instances that run from the start: `i1` and so on.
    pub instances: usize,
    /// How long a lease lasts; the other times of the configuration follow from it.
    pub lease: Duration,
    /// A client whose connection ends without its doing, or is refused, connects anew through the
    /// balancer: after about this time, and after twice as long each time that it fails. `None`: it
    /// does not.
    pub reconnect: Option<Duration>,
    /// Queues and tables are small, so that they are full now and then, and this happens to whom is
    /// too slow. `None`: the limits are the default ones, which no schedule of this size reaches.
    pub tight: Option<SlowConsumer>,
    /// How many pushes at terminals an instance remembers, so that it knows a repeat. `None`: more than come in any
    /// schedule.
    pub remembers: Option<u32>,
    /// How many terminals an instance serves in a second of pushes to everyone. `None`: so many that each is served at once.
    pub broadcast_rate: Option<u32>,
    /// How long logs of durable pushes are, and how often they are checked.
    pub log: LogSettings,
    /// A bug that all instances and the directory have.
    pub flaw: Option<Flaw>,
    /// What must be violated: a schedule that shows a bug, or that a checker sees something.
    pub expects: Option<Expected>,
    /// The items, in any order.
    pub items: Vec<Item>,
}

/// A violation that must be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The name of the checker.
    pub checker: String,
    /// At this moment at the latest, from the start.
    pub by: Duration,
}

/// What a stranger says on a link. What it repeats it has listened to; if an instance has not said such a thing
/// yet, there is no stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StrangerWords {
    /// What no instance says.
    Nonsense,
    /// What an instance has said first on a link to another one.
    Misdirected(Host),
    /// What an instance has said first on a link to this one, and then its proof of that time.
    Replayed(Host),
    /// The same, and then something without a proof.
    Unproven(Host),
    /// In the place of an instance that is dialled next, what that one has answered on an earlier link.
    Posing(Host),
}

/// How an instance misbehaves on its links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerLie {
    /// What it says is not so, or not in order.
    Says(Forgery),
    /// It says on links that are open what it said first on one.
    GreetsAgain,
    /// It answers also for terminals of which others are asked.
    AnswersForOthers,
    /// It says nothing.
    FallsSilent,
    /// It says everything too late.
    IsLate,
}

impl PeerLie {
    /// All lies.
    pub const ALL: [Self; 20] = [
        Self::Says(Forgery::AnswersTwice),
        Self::Says(Forgery::AnswersUnasked),
        Self::Says(Forgery::AnswersOtherwise),
        Self::Says(Forgery::AnswersMiscounted),
        Self::Says(Forgery::AnswersWritten),
        Self::Says(Forgery::DeliversTwice),
        Self::Says(Forgery::DeliversAstray),
        Self::Says(Forgery::MissesOthers),
        Self::Says(Forgery::MissesAll),
        Self::Says(Forgery::ProvesAgain),
        Self::Says(Forgery::SaysGoodbye),
        Self::Says(Forgery::LiesOfDirectory),
        Self::Says(Forgery::LiesOfTime),
        Self::Says(Forgery::CutShort),
        Self::Says(Forgery::TooMany),
        Self::Says(Forgery::Oversized),
        Self::GreetsAgain,
        Self::AnswersForOthers,
        Self::FallsSilent,
        Self::IsLate,
    ];
}

/// Something that happens at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// When, from the start.
    pub at: Duration,
    /// What happens then.
    pub act: Act,
}

/// An instance, by its number from zero. `i1` in a schedule is number zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(pub usize);

/// What a client that follows its log brings when it connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Brings {
    /// So many of the positions that it holds, the newest first: at least one.
    Positions(u32),
    /// The offset of the newest one: it keeps no more of a position.
    Offset,
}

/// What becomes of a connection that is never open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailedUpgrade {
    /// It ends before it is open.
    Ends,
    /// Nothing more comes of its handshake.
    Hangs,
}

/// How a client says who it is whose handshake does not say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LateLogin {
    /// So long after its connection is open.
    After(Duration),
    /// So long after that, and it is not believed.
    Wrongly(Duration),
    /// It says nothing.
    Never,
}

/// One step of a schedule: what a client, a caller or a fault does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// A client connects, at an instance or where the balancer sends it. A connection that it has
    /// already stays as it is, half open.
    Connect {
        /// The name of the client.
        client: String,
        /// Where; `None` lets the balancer choose.
        at: Option<Host>,
        /// Whose terminal it is.
        user: String,
        /// Its token expires so long after this item. `None`: never.
        token: Option<Duration>,
    },
    /// A client ends its connection and opens one elsewhere, as the same user.
    Move {
        /// The name of the client.
        client: String,
        /// Where to; `None` lets the balancer choose.
        at: Option<Host>,
        /// How it ends the old one. The new one does not wait for that.
        how: HowClosed,
    },
    /// A client follows the log of its user from its next connection on: whenever it connects it brings
    /// the positions that it holds.
    Follow {
        /// The name of the client.
        client: String,
        /// How many of the last records it wants when it holds no position.
        history: u32,
        /// What it brings of that.
        brings: Brings,
    },
    /// A client says who it is behind its handshake, from its next connection on.
    LogIn {
        /// The name of the client.
        client: String,
        /// When it does so, and how.
        login: LateLogin,
    },
    /// A client shows a new token on the connection that it has.
    Prolong {
        /// The name of the client.
        client: String,
        /// The token expires so long after this item.
        token: Duration,
    },
    /// A client connects, and its connection is never open.
    FailUpgrade {
        /// The name of the client.
        client: String,
        /// Where; `None` lets the balancer choose.
        at: Option<Host>,
        /// Whose terminal it would be.
        user: String,
        /// What becomes of it.
        how: FailedUpgrade,
    },
    /// A client loses what it wrote down last: the newest positions that it holds.
    Forget {
        /// The name of the client.
        client: String,
        /// How many of them, counted from the newest.
        positions: u32,
    },
    /// A client confirms a record that it holds, if it is connected.
    Confirm {
        /// The name of the client.
        client: String,
        /// Which of the positions that it holds, counted from the newest, which is the first.
        nth: u32,
    },
    /// A client has to do with topics.
    OfTopic {
        /// The name of the client.
        client: String,
        /// What it does.
        does: TopicAct,
    },
    /// An application has the terminals of a user join a topic, or leave it.
    Enrol {
        /// Where that is handed in.
        at: Host,
        /// Whose terminals those are.
        user: String,
        /// The topic.
        topic: String,
        /// The name of the push that says it.
        name: String,
        /// What they do.
        how: Enrolment,
        /// It counts for terminals that come later as well.
        durable: bool,
    },
    /// A client sends something.
    Send {
        /// The name of the client.
        client: String,
        /// What it sends.
        what: Sent,
    },
    /// A client ends its connection.
    Close {
        /// The name of the client.
        client: String,
        /// How it ends its connection.
        how: HowClosed,
    },
    /// A client reads nothing from here on.
    StopReading {
        /// The name of the client.
        client: String,
    },
    /// A client reads again.
    Read {
        /// The name of the client.
        client: String,
    },
    /// A client reads what has come since the last time, once in a while.
    ReadSlowly {
        /// The name of the client.
        client: String,
        /// The time between two frames that it reads.
        every: Duration,
    },
    /// All terminals' sockets are reset, at one instance or everywhere.
    Storm {
        /// Where; `None` is everywhere.
        at: Option<Host>,
    },
    /// For so long the balancer does not know who takes connections: it sends them to instances that
    /// drain, settle or are gone as well.
    BlindBalancer(Duration),
    /// All clients end their connections cleanly, and stay away.
    AllLeave,
    /// A push is handed in.
    Push {
        /// The instance at which it is handed in.
        at: Host,
        /// The users whose terminals it is for.
        to: To,
        /// Its name, from which its id and its content are made.
        name: String,
        /// Whether it is kept in the log of each user, and what its receipt waits for.
        durable: Durability,
        /// Who hands it in.
        by: PushedBy,
        /// Its deadline, if that is not the default one.
        within: Option<Duration>,
    },
    /// A push is handed in once more, with the same id and content.
    Repeat {
        /// The instance at which it is handed in.
        at: Host,
        /// The name of the push.
        name: String,
    },
    /// A user's terminals are told to end.
    Kick {
        /// Where that is handed in.
        at: Host,
        /// The users whose terminals those are.
        to: To,
        /// The name of the push that says it.
        name: String,
    },
    /// An instance is asked for the connections of a user.
    Where {
        /// The instance that is asked.
        at: Host,
        /// The user.
        user: String,
    },
    /// An instance is asked for what a log keeps.
    ReadLog {
        /// The instance that is asked.
        at: Host,
        /// Whose log it is.
        of: LogOf,
    },
    /// An application has a log deleted.
    DeleteLog {
        /// The instance that is asked.
        at: Host,
        /// Whose log it is.
        of: LogOf,
    },
    /// An instance is asked for all instances.
    Instances {
        /// The instance that is asked.
        at: Host,
    },
    /// The wall clock of an instance's machine is set.
    StepClock {
        /// The instance that it concerns.
        host: Host,
        /// How far it is set, and in which direction.
        step: ClockStep,
    },
    /// An instance stands still and wakes up with all its timers due.
    Pause {
        /// The instance that it concerns.
        host: Host,
        /// For how long.
        span: Duration,
    },
    /// An instance's process is gone.
    Kill {
        /// The instance that it concerns.
        host: Host,
        /// How others learn of it.
        how: HowKilled,
    },
    /// An instance's process is gone when it has executed so many commands more: perhaps in the
    /// middle of a batch, of which the rest is lost.
    KillMidBatch {
        /// The instance that it concerns.
        host: Host,
        /// How others learn of it.
        how: HowKilled,
        /// Commands that it executes before.
        commands: u32,
    },
    /// An instance that is gone starts again, with a new id.
    Restart {
        /// The instance that it concerns.
        host: Host,
        /// The address at which it starts.
        address: NewAddress,
    },
    /// An instance is told to end.
    Drain {
        /// The instance that it concerns.
        host: Host,
        /// The time before the first terminal is closed.
        delay: Duration,
        /// The time over which terminals are closed.
        spread: Duration,
    },
    /// Each instance in its turn is drained, killed if it has not ended by the deadline, and started
    /// again at its address; the next one follows when it is ready.
    Deploy {
        /// The time before the first terminal is closed.
        delay: Duration,
        /// The time over which terminals are closed.
        spread: Duration,
        /// The time until it is killed, and as long again for the new one to be ready.
        deadline: Duration,
    },
    /// The directory does something.
    Redis(RedisAct),
    /// For so long the directory cannot be reached from one instance; others do not notice.
    RedisAway {
        /// The instance that does not reach it.
        host: Host,
        /// The time for which it lasts.
        span: Duration,
    },
    /// For so long the directory refuses the writes of one instance; others do not notice.
    RedisRefuses {
        /// The instance that it concerns.
        host: Host,
        /// With which error: one of those that refuse writes.
        error: ErrorReply,
        /// The time for which it lasts.
        span: Duration,
    },
    /// Something happens to the next round trip of an instance that holds such an operation.
    NextTrip {
        /// The instance that it concerns.
        host: Host,
        /// The kind of operation by which the trip is found.
        operation: OperationKind,
        /// How the trip fails.
        fault: TripFault,
    },
    /// Nothing passes from one instance to another until the cut is healed. What is sent waits.
    Cut {
        /// The instance that sends.
        from: Host,
        /// The instance that it sends to.
        to: Host,
        /// In the other direction as well.
        both: bool,
    },
    /// The links from one instance to another stall: what is written into them stays there, and the
    /// instance is not told that it has left, until they are mended.
    Clog {
        /// The instance that sends.
        from: Host,
        /// The instance that it sends to.
        to: Host,
        /// In the other direction as well.
        both: bool,
    },
    /// What is cut or clogged between two instances is so no more; what waited goes on.
    Mend {
        /// The instance that sends.
        from: Host,
        /// The instance that it sends to.
        to: Host,
        /// In the other direction as well.
        both: bool,
    },
    /// The links between two instances carry nothing any more. New ones do.
    HalfOpen {
        /// One of them. It learns that the link is gone, unless neither does.
        from: Host,
        /// The other. It does not learn it.
        to: Host,
        /// Whether neither of the two learns it.
        both: bool,
    },
    /// For so long one instance's attempts to open a link to another are refused.
    RefuseDials {
        /// The instance that dials.
        from: Host,
        /// The instance at the other end.
        to: Host,
        /// The time for which it lasts.
        span: Duration,
    },
    /// The links between two instances break; what is on the way is lost.
    Reset {
        /// One of them.
        one: Host,
        /// The instance at the other end.
        other: Host,
    },
    /// Somebody who does not know the cluster's secret opens a link, or answers in somebody's place, and says something.
    Stranger {
        /// The instance to which it is opened, or that dials.
        at: Host,
        /// What is said.
        says: StrangerWords,
    },
    /// For so long an instance, which has a lease and knows the secret, misbehaves on its links to another.
    Lie {
        /// The instance that misbehaves.
        from: Host,
        /// The instance at the other end of those links.
        to: Host,
        /// What it does.
        lie: PeerLie,
        /// The time for which it lasts.
        span: Duration,
    },
    /// The base of the delay between instances.
    LinkLatency(Duration),
    /// Something happens at the next such moment of a push or a client, once.
    On {
        /// The moment that it waits for.
        moment: Moment,
        /// The name of the push or client.
        of: String,
        /// How long after it.
        after: Duration,
        /// The step to be done at that moment.
        act: Box<Act>,
    },
    /// All cuts end, the directory serves, delays are as at the start, clients read, deployments and
    /// what waits for a moment are given up. Instances that are gone stay so, clocks as they are.
    Heal,
    /// From here on faults excuse nothing: the rows are those of the live connections.
    ExpectConverged,
    /// Nothing is left anywhere.
    ExpectAtRest,
}

/// Whether a push is kept in the log of each user, and what its receipt waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It is in no log.
    Plain,
    /// It is kept, and followers count when it is written to them.
    Written,
    /// It is kept, and followers count when they have confirmed it, or at the deadline.
    Confirmed,
    /// It is kept, and a replica of the directory has to have it as well.
    Replicated,
}

/// How a client ends its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HowClosed {
    /// With a closing handshake.
    Clean,
    /// With a reset.
    Sudden,
    /// Without any sign.
    Silent,
}

/// What a client has to do with topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicAct {
    /// From its next connection on its token says this: it joins the topics that it names, and may join those
    /// that a pattern with a trailing `*` matches.
    Claim(Vec<String>),
    /// It asks to be a member.
    Join(String),
    /// The same, and to be told who the others are.
    Watch(String),
    /// From now on, and whenever it connects: it asks to be one and to follow the log, from what it holds of that.
    Follow {
        /// The topic.
        topic: String,
        /// How many of the last records it wants when it holds none.
        history: u32,
    },
    /// It confirms a record of the topic that it holds, if it is connected.
    Confirm {
        /// The topic.
        topic: String,
        /// Which of the positions that it holds, counted from the newest, which is the first.
        nth: u32,
    },
    /// It asks to be one no longer, and follows no more.
    Leave(String),
}

/// What an application has the terminals of a user do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enrolment {
    /// They join a topic.
    Join,
    /// They leave it.
    Leave,
}

/// What a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Messages for the application, so many.
    Messages(u32),
    /// So many messages that nobody takes.
    Unwanted(u32),
    /// Bytes that are no frames. The driver ends such a connection, and so it does the next two.
    Malformed,
    /// A frame that is too large.
    Oversized,
    /// A text frame that is not UTF-8.
    NotUtf8,
}

/// How a clock is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockStep {
    /// By so much into the future.
    Forward(Duration),
    /// By so much into the past.
    Back(Duration),
}

/// A moment in the life of a push or of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// The instance has accepted the client's handshake.
    Accept,
    /// The client's row has been written in the directory.
    Register,
    /// The client's hello is with the operating system.
    Hello,
    /// The client's row has been removed by its instance.
    Unregister,
    /// The instance has taken the push.
    Push,
    /// The directory has read the rows of a user whom the push is for.
    Lookup,
    /// The push has been written into a link to another instance.
    Deliver,
    /// The push has reached another instance.
    Delivered,
    /// The push has been given to the operating system for a terminal.
    Write,
    /// The push has its receipt.
    Receipt,
    /// The client's word that it has joined a topic is with the operating system.
    Joined,
}

impl Moment {
    /// Those of a client.
    pub const OF_CLIENT: [Self; 4] = [Self::Accept, Self::Register, Self::Hello, Self::Unregister];
    /// Those of a push.
    pub const OF_PUSH: [Self; 6] = [
        Self::Push,
        Self::Lookup,
        Self::Deliver,
        Self::Delivered,
        Self::Write,
        Self::Receipt,
    ];
}

/// How others learn that a process is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HowKilled {
    /// Its sockets are reset.
    Reset,
    /// Its sockets stay silent.
    Silent,
}

/// Where an instance starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewAddress {
    /// At the address that it had.
    Same,
    /// At one that nobody had.
    New,
    /// At the last address of another one, if that is gone.
    Of(Host),
}

/// The audience of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// One user.
    User(String),
    /// Several users, each once.
    Users(Vec<String>),
    /// All users.
    Everyone,
    /// The members of topics.
    Topics {
        /// The topics.
        topics: Vec<String>,
        /// A client that is left out.
        except: Option<String>,
    },
}

words!(
    Act,
    ErrorReply,
    HowKilled,
    Moment,
    OperationKind,
    PeerLie,
    TripFault
);

impl Schedule {
    /// The moment of the last item, or by which a violation must be found.
    pub fn end(&self) -> Duration {
        (self.items.iter().map(|item| item.at))
            .chain(self.expects.iter().map(|expected| expected.by))
            .max()
            .unwrap_or_default()
    }
}

/// What is not a schedule: a text, or a value that cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct ScheduleError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}
