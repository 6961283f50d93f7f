//! What an application asks of a log, and what it is answered.

use serde::Serialize;

use crate::directory::log::LogPart;
use crate::frame::Payload;
use crate::id::PushId;
use crate::position::Position;

/// What an application wants of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum LogRequest {
    /// To read records of it.
    Read(LogQuery),
    /// To know where it begins and ends, and whether it knows the position of this offset: a page without records.
    Stand {
        /// Without one: nothing is looked for.
        behind: Option<u64>,
    },
    /// To have all its records removed. Whoever follows it learns that what he holds is not in it any more.
    Delete,
    /// To know where it stands. A log that is not there does not begin because of it.
    Head,
}

/// Which records of a log are to be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogQuery {
    /// Those behind the first of these positions that the log knows; newest first, and
    /// [`AFTER_MAX`](Self::AFTER_MAX) at most.
    pub after: Vec<Position>,
    /// Without one: those behind the position of this offset, whatever its tag.
    pub behind: Option<u64>,
    /// Without a position: so many of the last.
    pub history: u32,
    /// Of those, so many of the first: 1 to [`LIMIT_MAX`](Self::LIMIT_MAX).
    pub limit: u32,
}

impl LogQuery {
    /// Positions that are looked for, at most.
    pub const AFTER_MAX: usize = crate::event::Follow::AFTER_MAX;
    /// Records in an answer, at most.
    pub const LIMIT_MAX: u32 = 1000;
    /// Bytes of their payloads in an answer, at most; but one record always.
    pub const BYTES_MAX: u32 = 256 << 10;
}

impl Default for LogQuery {
    /// All that is kept, up to 100 records.
    fn default() -> Self {
        Self {
            after: Vec::new(),
            behind: None,
            history: u32::MAX,
            limit: 100,
        }
    }
}

/// What an application is told of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum LogAnswer {
    /// What was to be read.
    Page(LogPage),
    /// All records were removed.
    Deleted {
        /// How many records there were.
        records: u32,
    },
    /// Where it stands: at its last record, or before any. `None`: there is no log.
    Head(Option<Position>),
}

/// Some records of a log, one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogPage {
    /// The position of the last record of the log.
    pub head: Position,
    /// The position before the oldest record that is kept; the head if none is.
    pub base: Position,
    /// The position before the first of the records. `None`: the log knows none of those that were asked for,
    /// so that records behind them may be missing. There are no records then; what is kept is behind `base`.
    pub after: Option<Position>,
    /// The records behind `after`, the oldest first. Where the last is not at the head, there are more.
    pub records: Vec<LoggedPush>,
}

/// A record of a log: a push that was appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LoggedPush {
    /// The record's own position: reading goes on behind it.
    pub position: Position,
    /// The id of the push.
    pub push: PushId,
    /// What terminals get. `None` if it cannot be understood here: somebody else has written it.
    pub payload: Option<Payload>,
}

impl LogPage {
    /// Whether there are more records behind these.
    pub fn has_more(&self) -> bool {
        self.end().is_some_and(|end| end != self.head)
    }

    /// The position of the last of the records, or that before them if there is none.
    pub fn end(&self) -> Option<Position> {
        let last = self.records.last().map(|record| record.position);
        last.or(self.after)
    }
}

impl From<LogPart> for LogPage {
    fn from(part: LogPart) -> Self {
        let LogPart {
            head,
            base,
            after,
            records,
        } = part;
        let records = records.into_iter().map(|record| LoggedPush {
            position: record.position,
            push: record.push,
            payload: record.content.payload(),
        });
        Self {
            head,
            base,
            after,
            records: records.collect(),
        }
    }
}

/// Why nothing was done with a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
pub enum LogRefused {
    /// The caller's: more or fewer records than an answer may have.
    #[error("an answer has 1 to {} records", LogQuery::LIMIT_MAX)]
    Limit,
    /// The caller's: more positions than are looked for.
    #[error("a request can name {} positions at most", LogQuery::AFTER_MAX)]
    TooManyPositions,
    /// Nobody's: there is no link to the directory, which has the logs. Try again, or elsewhere.
    #[error("the directory (Redis) is away, and with it the logs")]
    DirectoryAway,
    /// Nobody's: the directory was asked and did not answer. What was to be deleted may be.
    #[error("the directory did not answer: ask again")]
    NoAnswer,
    /// The directory refused, or what it has is no log.
    #[error("the directory refused; the server's log says why")]
    Refused,
    /// Too much is asked of logs here already: try again later.
    #[error("too many requests about logs are waiting at this instance")]
    Overloaded,
}
