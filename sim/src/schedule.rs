//! Schedules: what happens in a world, as plain text, one timed item a line.

use std::fmt;
use std::time::Duration;

use switchboard_core::flaws::Flaw;

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
    /// A bug that all instances and the directory have.
    pub flaw: Option<Flaw>,
    /// The items, in any order.
    pub items: Vec<Item>,
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
    /// All clients end their connections cleanly.
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
    /// The links between two instances break; what is on the way is lost.
    Reset {
        /// One of them.
        one: Host,
        /// The other.
        other: Host,
    },
    /// The base of the delay between instances.
    LinkLatency(Duration),
    /// All cuts end, the directory serves, delays are as at the start, clients read. Instances that
    /// are gone stay so.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisAct {
    /// It goes; all links to it break.
    Down,
    /// It is back, as it was.
    Up,
    /// It restarts without its data.
    RestartEmpty,
    /// It restarts as it was so long ago: a failover to a replica that was behind, or a restart from
    /// a snapshot.
    Failover(Duration),
    /// It answers an error to everything, for so long.
    Refuse(ErrorReply, Duration),
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
}

impl ErrorReply {
    /// As the server says it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::ReadOnly => "READONLY You can't write against a read only replica.",
            Self::Loading => "LOADING Redis is loading the dataset in memory",
            Self::OutOfMemory => "OOM command not allowed when used memory > 'maxmemory'.",
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
    /// The link breaks when a part of it is executed.
    Torn,
    /// The link breaks, and it is executed among the operations of the new link.
    Stray,
    /// It is answered with an error, and not executed.
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

    /// The moment of the last item.
    pub fn end(&self) -> Duration {
        (self.items.iter().map(|item| item.at))
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
