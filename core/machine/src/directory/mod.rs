//! The directory: the shared record of which connection lives on which instance.
//!
//! Operations are data. The core says *what* is to be done ([`Operation`]); [`redis`] says how a
//! Redis server is asked for it and what its answer means; [`memory`] does the same in memory.

mod answer;
mod keys;
mod layout;
pub mod log;
pub mod memory;
mod records;
pub mod redis;

use std::time::Duration;

use serde::Serialize;

use self::log::{LogOperation, LogReply};

use crate::channel::Channel;
use crate::id::{ConnectionId, Epoch, InstanceId, TopicId};
use crate::key::Key;
use crate::time::WallTime;

/// The entry of one connection among the rows of its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Row {
    /// Where the connection lives.
    pub instance: InstanceId,
    /// The instance's epoch when it wrote the row.
    pub epoch: Epoch,
    /// When the terminal connected, by the instance's wall clock. For people, never for decisions.
    pub connected: WallTime,
}

/// An instance's proof of life, without its deadline.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Lease {
    /// The epoch under which the instance writes rows.
    pub epoch: Epoch,
    /// Rows of a lower epoch are dead.
    pub floor: Epoch,
    /// Counts renewals: the entry of a former time, from a snapshot or a replica, says another
    /// number than the present one.
    pub beat: u64,
    /// What the instance is doing.
    pub state: LeaseState,
    /// What other instances dial, as `host:port`. No spaces.
    pub address: String,
}

impl Lease {
    /// What it says when it was given back.
    fn released(&self) -> Self {
        Self {
            state: LeaseState::Released,
            ..self.clone()
        }
    }
}

/// What an instance is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum LeaseState {
    /// All its rows are written.
    Up,
    /// Some of its rows may be missing: it must be asked by key.
    Settling,
    /// It takes no new terminals and will say goodbye.
    Draining,
    /// It has ended and given its lease back.
    Released,
}

/// Figures that an instance publishes with its lease. They never decide anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Load {
    /// Connections that the instance has at the moment of its renewal.
    pub connections: u64,
    /// Pushes handed in at it since its start.
    pub pushes: u64,
}

/// A lease as the directory shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SeenLease {
    /// The instance whose lease it is.
    pub instance: InstanceId,
    /// What the instance has said of itself at its last claim or renewal.
    pub lease: Lease,
    /// What it is loaded with.
    pub load: Load,
    /// The time that remains by the directory's own clock; `None` if it has expired.
    pub remaining: Option<Duration>,
}

/// Something to be done in the directory. Each touches keys of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Operation {
    /// Writes a row and extends the expiry of all rows under its key. It never lowers the epoch of the
    /// row, and never touches another instance's.
    Register {
        /// What the terminal is found by.
        key: Key,
        /// The UUID of the connection.
        connection: ConnectionId,
        /// What the row says.
        row: Row,
    },
    /// Removes the row of a connection if it is this instance's, whatever its epoch.
    Unregister {
        /// What the terminal was found by.
        key: Key,
        /// The UUID of the connection.
        connection: ConnectionId,
        /// The instance that held it.
        instance: InstanceId,
    },
    /// Reads all rows under a key.
    Lookup {
        /// What the terminals are found by.
        key: Key,
    },
    /// Removes a row if it is still exactly this one.
    RemoveRow {
        /// What the terminal was found by.
        key: Key,
        /// The UUID of the connection.
        connection: ConnectionId,
        /// The row as it was read.
        row: Row,
    },
    /// Reads all leases, and removes those that have been dead for ten lease times.
    View,
    /// Takes a lease: of an id that is absent, or with a higher epoch than its entry's.
    Claim {
        /// The instance whose lease it is.
        instance: InstanceId,
        /// What the lease is to say.
        lease: Lease,
        /// The load to publish.
        load: Load,
    },
    /// Extends a lease and changes what it says, if an unexpired entry says exactly `expected`.
    Renew {
        /// The instance whose lease it is.
        instance: InstanceId,
        /// What the lease must say for that.
        expected: Lease,
        /// What the lease is to say.
        lease: Lease,
        /// The load to publish.
        load: Load,
    },
    /// Ends a lease that says exactly `expected`: it expires at once, and says that it was given back.
    /// A lease that is no longer there at all was lost.
    Release {
        /// The instance whose lease it is.
        instance: InstanceId,
        /// What the lease must say for that.
        expected: Lease,
    },
    /// Reads one lease, whether or not it has expired.
    ReadLease {
        /// The instance whose lease it is.
        instance: InstanceId,
    },
    /// Does something with a log.
    Log {
        /// What it belongs to.
        channel: Channel,
        /// What is to be done.
        operation: LogOperation,
    },
    /// Says that an instance has members of a topic, and extends the expiry of all that is said of the topic. It
    /// never lowers an epoch.
    EnterTopic {
        /// The topic of which it has some.
        topic: TopicId,
        /// The instance that has members.
        instance: InstanceId,
        /// The epoch under which it is said.
        epoch: Epoch,
    },
    /// Takes back that an instance has members of a topic, if that was said under exactly this epoch: unlike
    /// the row of a connection, which is never written again once it was removed, this one may be.
    LeaveTopic {
        /// The topic of which it has none left.
        topic: TopicId,
        /// The instance that has, or had, members.
        instance: InstanceId,
        /// The epoch under which it was said.
        epoch: Epoch,
    },
    /// Has the terminals of a user be members of a topic, those that connect later included, or ends that. What
    /// becomes of those that are connected is not the directory's business.
    KeepTopic {
        /// Whose terminals they are: those of a user.
        key: Key,
        /// The topic of which they are to be members, or are not.
        topic: TopicId,
        /// Whether they are to be members.
        keeping: Keeping,
    },
    /// Reads which instances have members of a topic.
    LookupTopic {
        /// The topic whose members are looked for.
        topic: TopicId,
    },
}

/// Whether the terminals of a user are to be members of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Keeping {
    /// They are, unless the user has so many topics already.
    Kept {
        /// Topics of a user, at most.
        most: u32,
    },
    /// Terminals that connect later are no members.
    Dropped,
}

/// What the directory answered. Each operation has its own kinds of reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Reply {
    /// `Register` and `EnterTopic`: the row is written.
    Registered,
    /// `Register` and `EnterTopic`: a row of a higher epoch or of another instance stands there; nothing is
    /// written.
    Superseded,
    /// `Unregister`, `RemoveRow` and `LeaveTopic`: whether a row was removed.
    Removed(bool),
    /// `Lookup`: the rows, in the order of their connection ids, and how many entries could not be
    /// understood.
    Rows {
        /// Each with the id of its connection.
        rows: Vec<(ConnectionId, Row)>,
        /// Entries that could not be understood and were left alone.
        malformed: u32,
    },
    /// `View`: the leases, in the order of their instance ids.
    Leases {
        /// Of all entries, expired or not.
        leases: Vec<SeenLease>,
        /// Entries that could not be understood and were left alone.
        malformed: u32,
    },
    /// `Claim`: the lease is taken; what it replaced, expired or not.
    Claimed {
        /// The entry that stood there.
        replaced: Option<Lease>,
    },
    /// `Claim`: an entry of the same or a higher epoch stands there.
    ClaimRefused {
        /// The epoch of that entry.
        epoch: Epoch,
    },
    /// `Renew`: the lease is extended.
    Renewed,
    /// `Renew`: no unexpired entry says what was expected; nothing is written.
    Lost,
    /// `Release`: whether the lease was given back.
    Released(bool),
    /// `ReadLease`: what it says.
    Lease(Option<Lease>),
    /// `Log`: the answer of the log.
    Log(LogReply),
    /// `Register`: the row is written, and the terminals of its user are to be members of these topics, of which
    /// there is at least one. In their order.
    RegisteredWith(Vec<TopicId>),
    /// `KeepTopic`: whether it is so. If not, the user has too many topics.
    TopicKept(bool),
    /// `LookupTopic`: the instances with members, in the order of their ids, each with the epoch under which it
    /// said so, and how many entries could not be understood.
    TopicRows {
        /// Each with its epoch.
        rows: Vec<(InstanceId, Epoch)>,
        /// Entries that could not be understood and were left alone.
        malformed: u32,
    },
}

/// Why an operation has no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
pub enum OperationError {
    /// The server does not serve as a primary at present (`READONLY`, `LOADING`, `MASTERDOWN`,
    /// `CLUSTERDOWN`): it may have lost writes, and the link counts as re-established.
    #[error("the directory server is not a primary at present: {0}")]
    NotPrimary(String),
    /// The server refused; nothing was executed (`OOM`, `BUSY`, `NOPERM` and the like).
    #[error("the directory server refused: {0}")]
    Refused(String),
    /// The answer is not one that the operation can have.
    #[error("the directory server's answer could not be understood: {0}")]
    Malformed(String),
}

/// What an operation ended with, in the order of the round trip's operations.
pub type OperationResult = Result<Reply, OperationError>;

/// What a directory must know to execute operations, the same for all instances of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectorySettings {
    /// What every key begins with. No braces, by which Redis Cluster places keys.
    pub prefix: String,
    /// Over how many partitions keys are spread, from 1 to [`Self::PARTITIONS_MAX`].
    pub partitions: u16,
    /// How long a lease lasts without renewal.
    pub lease: Duration,
    /// When the rows under a key expire unless they are written again.
    pub row_expiry: Duration,
    /// How long a log remembers pushes after its last one, to recognise repeats.
    pub repeat_memory: Duration,
    /// When a log ends to which nobody has written since: longer than any of its records is kept.
    pub used_log: Duration,
    /// When the log of a user ends to which nobody has ever written.
    pub unused_log: Duration,
    /// The same of the log of a topic.
    pub unused_topic_log: Duration,
}

impl DirectorySettings {
    /// The prefix unless another one is set.
    pub const PREFIX: &str = "sb:";
    /// The partitions unless another number is set: many more than a Redis Cluster has masters.
    pub const PARTITIONS: u16 = 1024;
    /// The most partitions: four digits name one.
    pub const PARTITIONS_MAX: u16 = 9999;
    /// When a log ends, unless another time is set: terminals that were away for so long begin anew.
    pub const USED_LOG: Duration = Duration::from_secs(30 * 86_400);
    /// When an empty log ends, unless another time is set. Whoever follows it prolongs it.
    pub const UNUSED_LOG: Duration = Duration::from_secs(86_400);
    /// When an empty log of a topic ends, at the latest. Terminals choose the names of topics: one that asks for the log of
    /// a new one with each breath, 200 times a second, has 120,000 of them kept, which are 25 MB.
    pub const UNUSED_TOPIC_LOG: Duration = Duration::from_secs(600);

    /// When the log of a channel ends to which nobody has ever written.
    pub(crate) const fn unused(&self, channel: &Channel) -> Duration {
        match channel {
            Channel::User(_) => self.unused_log,
            Channel::Topic(_) => self.unused_topic_log,
        }
    }

    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        Self {
            prefix: Self::PREFIX.to_owned(),
            partitions: Self::PARTITIONS,
            lease: Duration::from_secs(10),
            row_expiry: Duration::from_secs(7200),
            repeat_memory: Duration::from_secs(120),
            used_log: Self::USED_LOG,
            unused_log: Self::UNUSED_LOG,
            unused_topic_log: Self::UNUSED_TOPIC_LOG,
        }
    }
}

/// How many lease times a lease that has expired is kept: long enough for every reader to have
/// seen that it expired.
const LEASES_KEPT_DEAD: u32 = 10;

crate::base::fingerprint::timeless!(Lease, Load, Operation, Row);
