//! Handshakes that an instance has refused, by code.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What a handshake is counted as that is closed unanswered, because its time was over.
pub(crate) const LATE: &str = "handshake_timeout";

/// The codes of the terminals' port. They are counted from the start, so that the first one is seen
/// to increase something.
const CODES: [&str; 15] = [
    "bad_handshake",
    "bad_log",
    "bad_request",
    "forbidden",
    "foreign_origin",
    LATE,
    "invalid_token",
    "method_not_allowed",
    "no_token",
    "not_found",
    "token_expired",
    "too_large",
    "too_many_connections",
    "unavailable",
    "websocket_version",
];

/// What an instance has refused, by code.
pub(crate) struct Refusals(Mutex<BTreeMap<&'static str, u64>>);

impl Default for Refusals {
    fn default() -> Self {
        Self(Mutex::new(CODES.map(|code| (code, 0)).into()))
    }
}

impl Refusals {
    /// Counts a refusal by its code, which is one of [`CODES`].
    pub(crate) fn count(&self, code: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(code).or_default() += 1;
    }

    /// Each code and how often it came.
    pub(crate) fn counts(&self) -> Vec<(&'static str, u64)> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|(&code, &count)| (code, count)).collect()
    }
}
