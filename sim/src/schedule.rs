//! Schedules: what happens in a world, as plain text, one timed item a line.

use std::fmt;
use std::time::Duration;

use crate::text;

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

/// Something that happens at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// When, from the start.
    pub at: Duration,
    /// What.
    pub act: Act,
}

/// An instance, by its number from zero. `i1` in a schedule is number zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(pub usize);

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// A client connects, at an instance or where the balancer sends it. A connection that it has
    /// already stays as it is, half open.
    Connect {
        /// Its name.
        client: String,
        /// Where; `None` lets the balancer choose.
        at: Option<Host>,
        /// Whose terminal it is.
        user: String,
        /// Its token runs out so long after this item. `None`: never.
        token: Option<Duration>,
    },
    /// A client ends its connection and opens one elsewhere, as the same user.
    Move {
        /// Its name.
        client: String,
        /// Where to; `None` lets the balancer choose.
        at: Option<Host>,
        /// How it ends the old one. The new one does not wait for that.
        how: HowClosed,
    },
    /// A client sends something.
    Send {
        /// Which.
        client: String,
        /// What.
        what: Sent,
    },
    /// A client ends its connection.
    Close {
        /// Which.
        client: String,
        /// How.
        how: HowClosed,
    },
    /// A client reads nothing from here on.
    StopReading {
        /// Which.
        client: String,
    },
    /// A client reads again.
    Read {
        /// Which.
        client: String,
    },
    /// A client reads what has come since the last time, once in a while.
    ReadSlowly {
        /// Which.
        client: String,
        /// How often.
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
        /// Where.
        at: Host,
        /// For whom.
        to: To,
        /// Its name, from which its id and its content are made.
        name: String,
    },
    /// A push is handed in once more, with the same id and content.
    Repeat {
        /// Where.
        at: Host,
        /// Its name.
        name: String,
    },
    /// A user's terminals are told to end.
    Kick {
        /// Where that is handed in.
        at: Host,
        /// Whose.
        to: To,
        /// The name of the push that says it.
        name: String,
    },
    /// The wall clock of an instance's machine is set.
    StepClock {
        /// Whose.
        host: Host,
        /// How.
        step: ClockStep,
    },
    /// An instance stands still and wakes up with all its timers due.
    Pause {
        /// Which.
        host: Host,
        /// For how long.
        span: Duration,
    },
    /// An instance's process is gone.
    Kill {
        /// Which.
        host: Host,
        /// How others learn of it.
        how: HowKilled,
    },
    /// An instance's process is gone when it has executed so many commands more: perhaps in the
    /// middle of a batch, of which the rest is lost.
    KillMidBatch {
        /// Which.
        host: Host,
        /// How others learn of it.
        how: HowKilled,
        /// Commands that it executes before.
        commands: u32,
    },
    /// An instance that is gone starts again, with a new id.
    Restart {
        /// Which.
        host: Host,
        /// Where.
        address: NewAddress,
    },
    /// An instance is told to end.
    Drain {
        /// Which.
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
    /// Something happens to the next round trip of an instance that holds such an operation.
    NextTrip {
        /// Whose.
        host: Host,
        /// Which operation.
        operation: OperationKind,
        /// What happens.
        fault: TripFault,
    },
    /// Nothing passes from one instance to another until the cut is healed. What is sent waits.
    Cut {
        /// From whom.
        from: Host,
        /// To whom.
        to: Host,
        /// In the other direction as well.
        both: bool,
    },
    /// The links from one instance to another stall: what is written into them stays there, and the
    /// instance is not told that it has left, until they are mended.
    Clog {
        /// From whom.
        from: Host,
        /// To whom.
        to: Host,
        /// In the other direction as well.
        both: bool,
    },
    /// What is cut or clogged between two instances is so no more; what waited goes on.
    Mend {
        /// From whom.
        from: Host,
        /// To whom.
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
        /// Neither learns it.
        both: bool,
    },
    /// For so long one instance's attempts to open a link to another are refused.
    RefuseDials {
        /// Who dials.
        from: Host,
        /// Whom.
        to: Host,
        /// How long.
        span: Duration,
    },
    /// The links between two instances break; what is on the way is lost.
    Reset {
        /// One of them.
        one: Host,
        /// The other.
        other: Host,
    },
    /// The base of the delay between instances.
    LinkLatency(Duration),
    /// Something happens at the next such moment of a push or a client, once.
    On {
        /// Which moment.
        moment: Moment,
        /// The name of the push or client.
        of: String,
        /// How long after it.
        after: Duration,
        /// What happens.
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

/// What a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// So many messages.
    Messages(u32),
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
}

/// How others learn that a process is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HowKilled {
    /// Its sockets are reset.
    Reset,
    /// They do not.
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

/// Whom a push is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// One user.
    User(String),
    /// Several.
    Users(Vec<String>),
    /// Everyone.
    Everyone,
}

/// What the directory does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisAct {
    /// It goes; all links to it break.
    Down,
    /// It is back, as it was.
    Up,
    /// It restarts without its data.
    RestartEmpty,
    /// It writes a snapshot.
    Save,
    /// It restarts with its last snapshot, or empty if there is none.
    Restart,
    /// A replica takes over that is so far behind.
    Failover {
        /// What is lost of it all: the last writes.
        lost: Duration,
        /// How long the former primary goes on serving about half of those who are connected to it,
        /// before it becomes a replica; `None` if it is gone at once.
        former: Option<Duration>,
    },
    /// It answers an error to everything to which a server answers that error, for so long.
    Refuse(ErrorReply, Duration),
    /// It throws away the rows of a user.
    EvictRows(String),
    /// It throws away the leases.
    EvictLeases,
    /// Its clock jumps.
    Clock(ClockStep),
    /// It forgets the scripts.
    FlushScripts,
    /// The base of the delay on the way to it and back.
    Latency(Duration),
}

/// An error that the directory answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorReply {
    /// A replica takes no writes.
    ReadOnly,
    /// It loads its data.
    Loading,
    /// It is out of memory.
    OutOfMemory,
    /// A script runs that does not end.
    Busy,
    /// It is of a cluster in which nobody has the key.
    ClusterDown,
    /// It is a replica that is cut off, and serves nothing old.
    MasterDown,
    /// It is of a cluster, and another one has the key.
    Moved,
    /// It is of a cluster, and the key is on its way to another one.
    Ask,
    /// It does not know the script.
    NoScript,
}

impl ErrorReply {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::ReadOnly,
        Self::Loading,
        Self::OutOfMemory,
        Self::Busy,
        Self::ClusterDown,
        Self::MasterDown,
        Self::Moved,
        Self::Ask,
        Self::NoScript,
    ];

    /// As a server says it. Where a script was stopped, it adds which one and where; in `MOVED` and
    /// `ASK`, slot and address are some.
    pub const fn text(self) -> &'static str {
        match self {
            Self::ReadOnly => "READONLY You can't write against a read only replica.",
            Self::Loading => "LOADING Redis is loading the dataset in memory",
            Self::OutOfMemory => "OOM command not allowed when used memory > 'maxmemory'.",
            Self::Busy => {
                "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN \
                 NOSAVE."
            }
            Self::ClusterDown => "CLUSTERDOWN Hash slot not served",
            Self::MasterDown => {
                "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
            }
            Self::Moved => "MOVED 3999 127.0.0.1:6381",
            Self::Ask => "ASK 3999 127.0.0.1:6381",
            Self::NoScript => "NOSCRIPT No matching script. Please use EVAL.",
        }
    }
}

/// What happens to one round trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TripFault {
    /// It is not executed, and never answered.
    RequestLost,
    /// It is executed, and never answered.
    ReplyLost,
    /// The link stalls: it is executed and answered after the instance has given it up.
    Late,
    /// It is executed, and answered after the instance has given it up.
    ReplyLate,
    /// The link breaks when a part of it is executed.
    Torn,
    /// The link breaks, and it is executed among the operations of the new link.
    Stray,
    /// Its operations of the kind are answered with an error and not executed, the others are.
    Refused(ErrorReply),
}

/// A kind of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationKind {
    /// Any.
    Any,
    /// A row is written.
    Register,
    /// A row is removed by its owner.
    Unregister,
    /// A user's rows are read.
    Lookup,
    /// A row is removed by somebody else.
    RemoveRow,
    /// All leases are read.
    View,
    /// A lease is taken.
    Claim,
    /// A lease is extended.
    Renew,
    /// A lease is given back.
    Release,
    /// One lease is read.
    ReadLease,
}

impl Schedule {
    /// Reads a schedule.
    ///
    /// # Errors
    ///
    /// Names the line and what is wrong with it.
    pub fn parse(schedule: &str) -> Result<Self, ScheduleError> {
        text::parse(schedule)
    }

    /// The moment of the last item, or by which a violation must be found.
    pub fn end(&self) -> Duration {
        (self.items.iter().map(|item| item.at))
            .chain(self.expects.iter().map(|expected| expected.by))
            .max()
            .unwrap_or_default()
    }
}

impl fmt::Display for Schedule {
    /// As [`Schedule::parse`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::print(self, f)
    }
}

/// A text that is not a schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct ScheduleError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}
