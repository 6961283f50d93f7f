//! Positions in logs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Names one record of one history of one log, for ever; or the place before the first.
///
/// Two positions are equal or they are not. A directory that fails over to an earlier copy of itself
/// begins another history, in which lower offsets are not earlier and higher ones not later; so there is
/// no order among positions, and nobody compares offsets. Terminals and callers see a text that they hand
/// back as it is.
///
/// ```
/// use switchboard_core::position::Position;
///
/// let position: Position = "0056a2b4c8d9e07f3a9c01".parse()?;
/// assert_eq!(position.to_string(), "0056a2b4c8d9e07f3a9c01");
/// # Ok::<(), switchboard_core::position::InvalidPosition>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    offset: u64,
    tag: u32,
}

impl Position {
    /// The last offset that there is: a number of Lua and of JavaScript is exact up to here.
    pub const OFFSET_LAST: u64 = (1 << 53) - 1;

    /// The position of this offset and tag. `None` beyond [`Self::OFFSET_LAST`].
    pub const fn new(offset: u64, tag: u32) -> Option<Self> {
        if offset > Self::OFFSET_LAST {
            return None;
        }
        Some(Self { offset, tag })
    }

    /// Microseconds of the directory's clock when its record was appended, or more. For the directory
    /// and for people.
    pub const fn offset(self) -> u64 {
        self.offset
    }

    /// What tells records of the same offset in different histories apart.
    pub const fn tag(self) -> u32 {
        self.tag
    }
}

/// The length of every position's text: an offset of 14 hexadecimal digits, a tag of 8.
const TEXT_BYTES: usize = OFFSET_DIGITS + 8;
const OFFSET_DIGITS: usize = 14;

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:014x}{:08x}", self.offset, self.tag)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{self}")
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;

    /// There is one spelling of each position.
    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != TEXT_BYTES || !text.bytes().all(digit) {
            return Err(InvalidPosition);
        }
        let (offset, tag) = text.split_at(OFFSET_DIGITS);
        let offset = u64::from_str_radix(offset, 16).map_err(|_| InvalidPosition)?;
        let tag = u32::from_str_radix(tag, 16).map_err(|_| InvalidPosition)?;
        Self::new(offset, tag).ok_or(InvalidPosition)
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(self);
        }
        (self.offset, self.tag).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let position = if deserializer.is_human_readable() {
            let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
            text.parse().ok()
        } else {
            let (offset, tag) = Deserialize::deserialize(deserializer)?;
            Self::new(offset, tag)
        };
        position.ok_or_else(|| de::Error::custom(InvalidPosition))
    }
}

/// A text that is no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no position: hand back one that Switchboard has told, as it is")]
pub struct InvalidPosition;

/// 32 random bits, drawn anew for each request that makes a position, and so for each repeat of one: what
/// a lost history and the one that replaced it have in common are requests, and no position of the one may
/// be a position of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Nonce(u32);

impl Nonce {
    /// By how much a nonce can move an offset, at most, and one more.
    const SPREAD: u32 = 4096;

    /// A nonce of 32 random bits.
    pub const fn new(bits: u32) -> Self {
        Self(bits)
    }

    /// The bits, which become the tag.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The offset behind another one at a moment, in microseconds: of two histories that went on from the
    /// same record hardly any two offsets are equal.
    pub(crate) fn offset_behind(self, last: u64, micros: u64) -> u64 {
        let next = last + 1 + u64::from(self.0 % Self::SPREAD);
        next.max(micros)
    }
}

crate::base::fingerprint::timeless!(Nonce, Position);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_position_is_read_as_it_was_written(offset in 0..=Position::OFFSET_LAST, tag: u32) {
            let position = Position::new(offset, tag).expect("it is in range");
            let text = position.to_string();
            prop_assert_eq!(text.len(), TEXT_BYTES);
            prop_assert_eq!(text.parse(), Ok(position));
            let wire = postcard::to_allocvec(&position).expect("it can be written");
            prop_assert_eq!(postcard::from_bytes(&wire), Ok(position));
        }

        /// H36: no text makes the reader panic, and what it reads is spelt so.
        #[test]
        fn any_text_is_a_position_or_none(text in "[0-9a-fA-F+ü]{0,30}|[0-9a-f]{22}") {
            if let Ok(position) = text.parse::<Position>() {
                prop_assert_eq!(position.to_string(), text);
            }
        }

        /// H36
        #[test]
        fn any_bytes_are_a_position_or_none(bytes: Vec<u8>) {
            if let Ok(position) = postcard::from_bytes::<Position>(&bytes) {
                prop_assert!(position.offset() <= Position::OFFSET_LAST);
            }
        }
    }

    #[test]
    fn what_is_not_spelt_so_is_no_position() {
        for text in [
            "",
            "1fffffffffffff0000000",
            "1fffffffffffff000000000",
            "1FFFFFFFFFFFFF00000000",
            "+fffffffffffff00000000",
            "1fffffffffffff 0000000",
            "20000000000000ffffffff",
        ] {
            assert_eq!(text.parse::<Position>(), Err(InvalidPosition), "{text}");
        }
        assert!("1fffffffffffffffffffff".parse::<Position>().is_ok());
    }

    #[test]
    fn an_offset_is_the_time_unless_the_last_one_is_later() {
        let nonce = Nonce::new(4096 + 7);
        assert_eq!(nonce.offset_behind(100, 5_000), 5_000);
        assert_eq!(nonce.offset_behind(5_000, 100), 5_008);
        assert_eq!(Nonce::new(u32::MAX).offset_behind(5_000, 100), 9_096);
    }
}
