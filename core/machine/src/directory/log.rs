//! Logs: what was pushed durably to a user, or to a topic, for a while, in an order.
//!
//! A log is a chain: each record has a position, and the position *before* it is that of the record
//! before, or the log's *base*. The *head* is the position of the last record. A log that was never
//! written to has a head all the same, so that whoever follows it stands somewhere.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Row;
use crate::id::{ConnectionId, Epoch, InstanceId, PushId};
use crate::position::{Nonce, Position};

/// Something to be done with one log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum LogOperation {
    /// Adds a record and reads the rows of the user or of the topic, in one step. A push whose id is remembered is not
    /// added again. Whatever the answer is: it is delivered to those who are there.
    Append {
        /// The id of the push, by which repeats are recognised.
        push: PushId,
        /// What the record says: flags and payload.
        content: Content,
        /// Random bits for the position, drawn for this request alone: a repeat has others.
        nonce: Nonce,
        /// What the log keeps from here on.
        retention: Retention,
    },
    /// Reads some records. A log that is not there begins, so that there is a position to go on from.
    /// An instance reads each log that is followed, beside looking at its head, before half of the log's life has
    /// passed: that keeps the positions of a log to which nobody writes.
    Read {
        /// Behind which position, or how many records before the head.
        start: LogStart,
        /// Records that are answered, at most. None: positions alone.
        records: u32,
        /// Bytes of content that are answered, at most; but one record, if there is to be any.
        bytes: u32,
        /// For the position of a log that begins.
        nonce: Nonce,
    },
    /// Reads the head. It costs a tenth of the cheapest read, and changes nothing.
    Head,
    /// Looks for a record, and has a replica of the server waited for that has all that the server has: see
    /// [`TripKind::ForReplica`](crate::command::TripKind::ForReplica). A record that has given way is found for as long
    /// as its push is remembered.
    Confirm {
        /// Where the record stands.
        position: Position,
        /// The push whose record it is.
        push: PushId,
    },
    /// Removes all records, if there are any. Everybody who follows the log, and whoever returns to it, finds that the
    /// position he has is unknown. Pushes that were remembered still are: a repeat of one does not bring
    /// it back.
    Delete {
        /// For the position at which the log goes on.
        nonce: Nonce,
    },
}

impl LogOperation {
    /// Positions that one read may name, at most.
    pub const POSITIONS: usize = 16;
}

/// What the directory answered to an operation of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum LogReply {
    /// To [`LogOperation::Append`].
    Appended {
        /// What became of the record.
        logged: Logged,
        /// Where it is to be delivered.
        rows: ChannelRows,
        /// Rows that could not be understood and were left alone.
        malformed: u32,
    },
    /// To [`LogOperation::Read`].
    Part(LogPart),
    /// To [`LogOperation::Head`]. `None`: there is no log.
    Head(Option<Position>),
    /// To [`LogOperation::Confirm`].
    Confirmed {
        /// Whether the log has the record, or had it and remembers its push.
        known: bool,
        /// Replicas that have all that the server had when it looked.
        replicas: u32,
    },
    /// To [`LogOperation::Delete`].
    Deleted {
        /// Records that are gone.
        records: u32,
    },
}

/// The rows of what a log belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(untagged)]
pub enum ChannelRows {
    /// Of a user: the terminals, as [`Reply::Rows`](super::Reply::Rows) has them.
    Terminals(Vec<(ConnectionId, Row)>),
    /// Of a topic: the instances with members, as [`Reply::TopicRows`](super::Reply::TopicRows) has them.
    Instances(Vec<(InstanceId, Epoch)>),
}

/// What became of a record that was to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Logged {
    /// It was added by this request, and stands there.
    New(Place),
    /// It had been added before, and is kept.
    Repeated(Place),
    /// It had been added before, and is no longer kept.
    Expired,
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The position of the record.
    pub position: Position,
    /// That of its predecessor, or the base if none is kept.
    pub before: Position,
}

/// Some records of a log, one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogPart {
    /// The last position of the log.
    pub head: Position,
    /// The position before the oldest record that is kept; the head if none is.
    pub base: Position,
    /// The position before the first of the records: the one that was asked for, or where a reader
    /// without one begins. `None` if no position that was asked for is known: what came after them may
    /// have been removed or lost.
    pub after: Option<Position>,
    /// The records that follow. If the last is not at the head, there are more.
    pub records: Vec<Record>,
}

impl LogPart {
    /// The position of the last record, or that from which reading goes on if there is none.
    pub fn end(&self) -> Option<Position> {
        let last = self.records.last().map(|record| record.position);
        last.or(self.after)
    }
}

/// From where on a log is read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum LogStart {
    /// Behind so many last records that are kept. With 0: at the head.
    Last(u32),
    /// Behind the first of these positions that is known; at most [`LogOperation::POSITIONS`], and what
    /// comes after that is not looked at.
    After(Vec<Position>),
    /// Behind the position of this offset that is known, whatever its tag: for those who cannot keep a position.
    /// After a failover it may be that of another record, once in as many times as a nonce can move an offset.
    Behind(u64),
}

/// One record of a log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Record {
    /// The record's own position, not the one before.
    pub position: Position,
    /// The id of the push.
    pub push: PushId,
    /// What was handed in to the append.
    pub content: Content,
}

/// What a push says. The directory looks into neither part; a payload is one by
/// [`Content::of`](Self::of).
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Content {
    /// What the bytes are, in the writer's words.
    pub flags: u8,
    /// The payload, or another shape of a push, as `flags` says.
    pub bytes: Bytes,
}

impl Content {
    /// Flags that no content has.
    pub const UNKNOWN: u8 = 255;
}

impl fmt::Debug for Content {
    /// Flags and size; payloads are nobody's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({:#04x}, {} B)", self.flags, self.bytes.len())
    }
}

/// What a log keeps: the newest record in any case, and of the others what fits. That of the last append
/// counts for all records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Retention {
    /// Records, at most; at least one.
    pub records: u32,
    /// Bytes of content of all records together, at most.
    pub bytes: u32,
    /// How old a record may be, by the directory's clock. All are gone so long after the last append.
    pub age: Duration,
}

impl Default for Retention {
    /// 100 records, 1 MiB, 10 minutes.
    fn default() -> Self {
        Self {
            records: 100,
            bytes: 1 << 20,
            age: Duration::from_secs(600),
        }
    }
}

impl Retention {
    /// Pushes that a log remembers at least, of the last two minutes.
    const PUSHES: u64 = 1_000;

    /// Records that are kept, which are never none.
    pub(super) fn records(self) -> u32 {
        self.records.max(1)
    }

    /// Pushes that are remembered: twice as many as records are kept, and a thousand at least, however little is kept. That is
    /// what 200 a second are in the five seconds in which an append whose answer was lost is asked for again.
    pub fn pushes(self) -> u64 {
        (u64::from(self.records()) * 2).max(Self::PUSHES)
    }

    pub(super) fn age_micros(self) -> u64 {
        u64::try_from(self.age.as_micros()).unwrap_or(u64::MAX)
    }
}

/// The refusal of a log whose offsets are used up, for scripts as well.
macro_rules! no_offsets {
    () => {
        "NOOFFSETS the log has no offsets left: is the clock of the directory server right? The log begins \
         anew when it is deleted, or when nobody has written to it for long"
    };
}

pub(super) use no_offsets;

crate::base::fingerprint::timeless!(LogOperation);
