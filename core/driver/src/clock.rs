//! One clock for the process: all instances and the embedded directory compare their instants.

use std::sync::OnceLock;
use std::time::{Instant as StdInstant, SystemTime, UNIX_EPOCH};

use switchboard_core::time::{Instant, Now, WallTime};

/// What both clocks show, the monotonic one first.
pub(crate) fn now() -> Now {
    Now {
        mono: mono(),
        wall: wall(),
    }
}

/// The monotonic clock. It starts at the first call.
pub(crate) fn mono() -> Instant {
    static START: OnceLock<StdInstant> = OnceLock::new();
    let elapsed = START.get_or_init(StdInstant::now).elapsed();
    // 64 bits of nanoseconds last 584 years.
    Instant::from_nanos(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
}

fn wall() -> WallTime {
    let elapsed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    WallTime::from_millis(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}
