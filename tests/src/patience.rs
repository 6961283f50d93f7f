//! Waiting for what must come true.
//!
//! No test asserts how long something takes: it waits with [`PATIENCE`], which is far longer than
//! anything takes on the slowest machine, and fails with a sentence when that has passed.

use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for what must happen.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How long a test listens for what must not happen. A fault that shows later is missed, so this
/// is the longest that a suite of many tests can afford.
pub const SILENCE: Duration = Duration::from_millis(300);

const POLL: Duration = Duration::from_millis(20);

/// Waits until `holds` is true.
///
/// # Panics
///
/// If [`PATIENCE`] expires.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    eventually_some(what, || holds().then_some(()));
}

/// Waits until `find` returns something.
///
/// # Panics
///
/// If [`PATIENCE`] expires.
#[track_caller]
pub fn eventually_some<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(Instant::now() < end, "this did not come true: {what}");
        thread::sleep(POLL);
    }
}

/// Watches for `span` that `holds` stays true.
///
/// # Panics
///
/// As soon as it is false.
#[track_caller]
pub fn throughout(span: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + span;
    while Instant::now() < end {
        assert!(holds(), "this did not stay true: {what}");
        thread::sleep(POLL);
    }
}
