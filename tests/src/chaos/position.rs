//! Positions, as terminals are told them and as Redis has them.

use std::fmt;
use std::str::FromStr;

/// The position of a record, or the one before the first.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Position(u128);

/// Bytes of a position in Redis.
const BYTES: usize = 12;

impl Position {
    /// The one that begins a value of Redis, and the rest of it.
    pub(super) fn split(value: &[u8]) -> Option<(Self, &[u8])> {
        let (position, rest) = value.split_first_chunk::<BYTES>()?;
        let mut bytes = [0; 16];
        bytes[16 - BYTES..].copy_from_slice(position);
        Some((Self(u128::from_be_bytes(bytes)), rest))
    }
}

impl FromStr for Position {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:022x}", self.0)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
