//! What happens to the directory, and to what instances ask of it.

use std::time::Duration;

use super::{ClockStep, LogOf};

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
    /// It throws away a log, with all that it remembers of it, as when that has expired.
    EvictLog(LogOf),
    /// It throws away the leases.
    EvictLeases,
    /// Its clock jumps.
    Clock(ClockStep),
    /// It forgets the scripts.
    FlushScripts,
    /// The base of the delay on the way to it and back.
    Latency(Duration),
    /// It throws away what instances say of their members of a topic.
    EvictTopic(String),
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
    /// It takes no writes while it has no replica.
    NoReplicas,
    /// It takes no writes while its snapshots fail: its disk is full.
    Misconfigured,
    /// It does not know the script.
    NoScript,
}

impl ErrorReply {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::ReadOnly,
        Self::Loading,
        Self::OutOfMemory,
        Self::Busy,
        Self::ClusterDown,
        Self::MasterDown,
        Self::Moved,
        Self::Ask,
        Self::NoReplicas,
        Self::Misconfigured,
        Self::NoScript,
    ];

    /// Those of a server that answers reads, and takes no writes.
    pub const OF_WRITES: [Self; 3] = [Self::OutOfMemory, Self::NoReplicas, Self::Misconfigured];

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
            Self::NoReplicas => "NOREPLICAS Not enough good replicas to write.",
            Self::Misconfigured => {
                "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to \
                 persist to disk. Commands that may modify the data set are disabled, because this \
                 instance is configured to report errors during writes if RDB snapshotting fails \
                 (stop-writes-on-bgsave-error option). Please check the Redis logs for details about \
                 the RDB error."
            }
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
    /// Any operation.
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
    /// A record is added to a log.
    Append,
    /// Records of a log are read.
    ReadLog,
    /// The head of a log is read.
    ReadHead,
    /// A replica is waited for.
    Confirm,
    /// The records of a log are removed.
    DeleteLog,
    /// It is said that an instance has members of a topic.
    EnterTopic,
    /// That is taken back.
    LeaveTopic,
    /// The instances with members of a topic are read.
    LookupTopic,
    /// It is taken down whether terminals of a user are to be members of a topic.
    KeepTopic,
}
