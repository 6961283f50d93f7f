//! The log, for those who write to it beside the driver: lines are events of `tracing`, and go to the
//! subscriber of the application.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::damper;

#[doc(inline)]
pub use crate::damped;
pub use crate::damper::{Cause, Untold, due};

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
