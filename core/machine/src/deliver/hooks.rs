//! Where [bugs](crate::base::flaws) that can be switched on change how deliveries are served. Each
//! function is named after what is done without them.

use crate::base::flaws::{Flaw, Flaws};
use crate::deliver::repeat::Earlier;
use crate::frame::Payload;
use crate::message::Outcome;

/// What is known of an earlier delivery of a push to a terminal, so that it is not written again.
pub(super) fn recognised(
    flaws: Flaws,
    known: Option<Earlier<Outcome>>,
) -> Option<Earlier<Outcome>> {
    known.filter(|_| !flaws.has(Flaw::RepeatNotRecognised))
}

/// What is known of a frame before it is queued.
pub(super) const fn outcome_before_queued(flaws: Flaws) -> Option<Outcome> {
    if flaws.has(Flaw::QueuedSaidWritten) {
        return Some(Outcome::Written);
    }
    None
}

/// A payload with the kind that it was handed in with.
pub(super) fn with_its_kind(flaws: Flaws, payload: &Payload) -> Payload {
    if flaws.has(Flaw::KindGuessed)
        && let Ok(text) = Payload::text(payload.bytes().clone())
    {
        return text;
    }
    payload.clone()
}
