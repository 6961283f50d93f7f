//! Where [bugs](crate::base::flaws) that can be switched on change how pushes are published. Each
//! function is named after what is done without them.

#[cfg(feature = "flaws")]
use std::collections::BTreeMap;

use crate::base::flaws::{Flaw, Flaws};
use crate::id::{DeliveryId, Epoch, PushId, TopicId};
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

/// What is taken back of what an instance says of topics when it answers that it has no members: nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct RowsOfTheLiving(
    #[cfg(feature = "flaws")] BTreeMap<DeliveryId, Vec<(TopicId, Epoch)>>,
);

#[cfg(not(feature = "flaws"))]
impl RowsOfTheLiving {
    pub(super) fn note(
        &mut self,
        _: Flaws,
        _: DeliveryId,
        _: impl FnOnce() -> Vec<(TopicId, Epoch)>,
    ) {
    }

    pub(super) const fn take(&mut self, _: DeliveryId) -> Vec<(TopicId, Epoch)> {
        Vec::new()
    }
}

#[cfg(feature = "flaws")]
impl RowsOfTheLiving {
    /// A delivery is sent to an instance of which these rows were read.
    pub(super) fn note(
        &mut self,
        flaws: Flaws,
        delivery: DeliveryId,
        rows: impl FnOnce() -> Vec<(TopicId, Epoch)>,
    ) {
        if flaws.has(Flaw::NoMembersIsDeleted) {
            self.0.insert(delivery, rows());
        }
    }

    /// The delivery is over. Returns the rows that are taken back, if it says that there are no members.
    pub(super) fn take(&mut self, delivery: DeliveryId) -> Vec<(TopicId, Epoch)> {
        self.0.remove(&delivery).unwrap_or_default()
    }
}

/// Whether the directory has to say that a replica has a record.
pub(super) const fn asks_for_replica(flaws: Flaws) -> bool {
    !flaws.has(Flaw::ReplicaTakenForGranted)
}
