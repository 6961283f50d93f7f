//! Logs: what a durable push is to its key, and where those stand who follow it.
//!
//! A durable push is a *record* in the log of its key. Each record has a [`Position`], which names it for
//! ever; what comes after a position is read with [`LogRead`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::frame::Payload;
use crate::id::PushId;

/// Names one record of one history of a log. It is opaque to terminals.
///
/// Positions are compared for equality alone. After a failover that lost records a log has another history,
/// in which a greater offset may name an earlier push: there is no order among positions, and no type of
/// order here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    offset: u64,
    tag: u32,
}

impl Position {
    /// The largest offset: numbers of JSON and of Lua are exact up to there.
    pub const OFFSET_MAX: u64 = 1 << 53;

    /// The position with this offset and tag.
    pub const fn new(offset: u64, tag: u32) -> Self {
        Self { offset, tag }
    }

    /// Microseconds since 1970 by the directory's clock, or more, if records came faster.
    pub const fn offset(self) -> u64 {
        self.offset
    }

    /// Random bits of the request that appended the record.
    pub const fn tag(self) -> u32 {
        self.tag
    }
}

impl fmt::Display for Position {
    /// The offset in hexadecimal digits, a hyphen, and the tag in eight.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:08x}", self.offset, self.tag)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{self}")
    }
}

/// A text that is no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a position is what a hello, a message, a gap or a receipt said, unchanged")]
pub struct InvalidPosition;

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let (offset, tag) = text.split_once('-').ok_or(InvalidPosition)?;
        let digits = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let is_short = (1..=14).contains(&offset.len()) && tag.len() == 8;
        let is_canonical = offset.len() == 1 || !offset.starts_with('0');
        if !is_short || !is_canonical || !digits(offset) || !digits(tag) {
            return Err(InvalidPosition);
        }
        let offset = u64::from_str_radix(offset, 16).map_err(|_| InvalidPosition)?;
        let tag = u32::from_str_radix(tag, 16).map_err(|_| InvalidPosition)?;
        if offset > Self::OFFSET_MAX {
            return Err(InvalidPosition);
        }
        Ok(Self { offset, tag })
    }
}

/// A record as it is read from a log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct LogRecord {
    /// Its place.
    pub position: Position,
    /// The push that it was.
    pub push: PushId,
    /// The content of the push.
    pub payload: Payload,
}

/// What a log says of the positions that were asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum LogRead {
    /// It knows one of them, or none was asked for.
    From {
        /// The first of them that it knows; without any, the position before the records.
        after: Position,
        /// The records that follow it, in their order, as many as one read returns.
        records: Vec<LogRecord>,
        /// The position of the last record of the log, or of the last that it had.
        head: Position,
    },
    /// It knows none of them: they were trimmed, or lost.
    Unknown {
        /// The position before the oldest record that is kept.
        base: Position,
        /// The position of the last record of the log, or of the last that it had.
        head: Position,
    },
}

crate::base::fingerprint::timeless!(Position);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_is_written_and_nothing_else_is() {
        for position in [
            Position::new(0, 0),
            Position::new(1_700_000_000_000_000, 7),
            Position::new(Position::OFFSET_MAX, u32::MAX),
        ] {
            assert_eq!(position.to_string().parse(), Ok(position));
        }
        let refused = [
            "",
            "-",
            "1",
            "1-",
            "1-7",
            "-00000007",
            "01-00000007",
            "1-0000000g",
            "A-00000007",
            "1-00000007-",
            "+1-00000007",
            "20000000000001-00000000",
            "1-00000007 ",
        ];
        for text in refused {
            assert_eq!(text.parse::<Position>(), Err(InvalidPosition), "{text}");
        }
    }
}
