//! Where [bugs](crate::base::flaws) that can be switched on change how pushes are published. Each
//! function is named after what is done without them.

use crate::base::flaws::{Flaw, Flaws};
use crate::id::PushId;
use crate::message::Outcome;
use crate::position::Nonce;

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

/// Whether a durable push that is in the log already is delivered like a new one.
pub(super) const fn delivers_repeats(flaws: Flaws) -> bool {
    !flaws.has(Flaw::RepeatDeliversNothing)
}

/// The nonce of an append: random bits, drawn for this request.
pub(super) fn nonce(flaws: Flaws, push: PushId, random: u32) -> Nonce {
    if flaws.has(Flaw::TagFromPush) {
        return Nonce::new(push.uuid().as_u128() as u32);
    }
    Nonce::new(random)
}

/// Whether what an instance says of a topic stays when it answers that it has no members.
pub(super) const fn leaves_rows_of_the_living(flaws: Flaws) -> bool {
    !flaws.has(Flaw::NoMembersIsDeleted)
}

/// Whether the directory has to say that a replica has a record.
pub(super) const fn asks_for_replica(flaws: Flaws) -> bool {
    !flaws.has(Flaw::ReplicaTakenForGranted)
}
