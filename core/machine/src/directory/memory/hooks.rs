//! Where [bugs](crate::base::flaws) that can be switched on change what the directory does. Each
//! function is named after what is done without them.

use std::time::Duration;

use crate::base::flaws::{Flaw, Flaws};
use crate::directory::Row;
use crate::time::Instant;

/// Whether the other rows of a key stay where they are when one is removed.
pub(super) const fn keeps_other_rows(flaws: Flaws) -> bool {
    !flaws.has(Flaw::UnregisterByUser)
}

/// Whether a dead row may be removed: what stands there is what was read.
pub(super) fn is_what_was_read(flaws: Flaws, standing: &Row, read: &Row) -> bool {
    standing == read || flaws.has(Flaw::DeadRowWithoutComparison)
}

/// Whether a row stays where another one is to be written: it is of a higher epoch.
pub(super) fn outranks(flaws: Flaws, standing: &Row, other: &Row) -> bool {
    standing.epoch > other.epoch && !flaws.has(Flaw::LowerEpochOverwrites)
}

/// Whether a renewal writes only over what is expected to stand there.
pub(super) const fn compares_renewals(flaws: Flaws) -> bool {
    !flaws.has(Flaw::RenewedWithoutComparison)
}

/// When a lease runs out that is written now.
pub(super) fn runs_out(flaws: Flaws, now: Instant, span: Duration) -> Instant {
    if flaws.has(Flaw::LeaseNeverExpires) {
        return Instant::from_nanos(u64::MAX / 2);
    }
    now + span
}
