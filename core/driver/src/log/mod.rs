//! The log, for those who write to it beside the driver: lines are events of `tracing`, and go to the
//! subscriber of the application.

mod damper;
pub(crate) mod journal;

use std::sync::atomic::{AtomicU64, Ordering};

#[doc(inline)]
pub use crate::damped;
pub(crate) use damper::CATCH_UP;
pub use damper::{Cause, Untold, due};

/// Lines that the log of this process has lost.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Counts lines that the application's subscriber has lost, because nobody read them in time. The
/// metrics show how many they are.
pub fn count_lost(lines: u64) {
    LOST.fetch_add(lines, Ordering::Relaxed);
}

/// Lines that the log has lost. Zero where nobody counts them.
pub fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Writes what [`damped!`] has counted and not told yet: before the process ends.
pub fn tell_all() {
    damper::LOG.tell_all();
}

/// Writes what [`damped!`] has counted of causes that do not come any more: every [`CATCH_UP`].
pub(crate) fn catch_up() {
    damper::LOG.catch_up();
}
