//! The rolling hash of all that happens.

use std::fmt::{self, Debug, Write as _};
use std::hash::Hasher;

/// A 64-bit hash that is the same on every platform and with every compiler: golden hashes are
/// kept in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceHash(u64);

impl TraceHash {
    /// Of nothing.
    pub(crate) const fn new() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }

    /// Takes in the debug text of a value.
    pub(crate) fn say(&mut self, value: &impl Debug) {
        // Writing into a hash cannot fail.
        let _ = write!(self, "{value:?}");
    }
}

impl Default for TraceHash {
    fn default() -> Self {
        Self::new()
    }
}

impl Hasher for TraceHash {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl fmt::Write for TraceHash {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write(text.as_bytes());
        Ok(())
    }
}
