//! Where [bugs](crate::base::flaws) that can be switched on change what is told of members. Each function is named
//! after what is done without them.

use std::time::Duration;

use crate::base::flaws::{Flaw, Flaws};

/// How long somebody may be away without having left.
pub(super) const fn grace(flaws: Flaws, grace: Duration) -> Duration {
    if flaws.has(Flaw::LeavesWithoutGrace) {
        return Duration::ZERO;
    }
    grace
}

/// Whether who is missing in a reading is not there.
pub(super) const fn believes_nobody_missing(flaws: Flaws, complete: bool) -> bool {
    complete || flaws.has(Flaw::LeavesInDoubt)
}

/// Whether somebody of whom it was told that he has left is known no more.
pub(super) const fn forgets_who_has_left(flaws: Flaws) -> bool {
    !flaws.has(Flaw::LeavesAgain)
}
