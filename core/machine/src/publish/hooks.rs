//! Where [bugs](crate::base::flaws) that can be switched on change how pushes are published. Each
//! function is named after what is done without them.

use crate::base::flaws::{Flaw, Flaws};
use crate::message::Outcome;

/// Whether a lookup that names nobody leaves open who is there.
pub(super) const fn doubts_an_empty_lookup(flaws: Flaws) -> bool {
    !flaws.has(Flaw::EmptyLookupIsOffline)
}

/// Whether the second lookup of a push leaves out what a later one has served.
pub(super) const fn keeps_order_at_second_lookup(flaws: Flaws) -> bool {
    !flaws.has(Flaw::OvertakenBySecondLookup)
}

/// What became of a terminal whose instance has not answered.
pub(super) const fn outcome_of_unanswered(flaws: Flaws) -> Outcome {
    if flaws.has(Flaw::UnreachableIsGone) {
        return Outcome::Gone;
    }
    Outcome::Unreachable
}
