//! Where [bugs](crate::base::flaws) that can be switched on change how logs are followed. Each function is named
//! after what is done without them.

use super::follower::Mode;
use crate::base::flaws::{Flaw, Flaws};
use crate::directory::log::{LogPart, Place};
use crate::position::Position;

/// Whether logs are checked although nothing has happened.
pub(super) const fn checks_now_and_then(flaws: Flaws) -> bool {
    !flaws.has(Flaw::NoPeriodicCheck)
}

/// Whether a follower misses something: the head is not where it stands.
pub(super) fn misses(flaws: Flaws, at: Option<Position>, head: Option<Position>) -> bool {
    if flaws.has(Flaw::HeadNotGreater) {
        return head.map(Position::offset) > at.map(Position::offset);
    }
    at != head
}

/// Whether a record is known to a follower by more than its position.
pub(super) fn is_taken_for_known(flaws: Flaws, at: Option<Position>, place: Place) -> bool {
    flaws.has(Flaw::LowerOffsetIsDuplicate)
        && at.is_some_and(|at| place.position.offset() <= at.offset())
}

/// Whether a record that comes in this mode waits for its turn.
pub(super) const fn waits_for_its_turn(flaws: Flaws, mode: Mode) -> bool {
    match mode {
        Mode::Reading { .. } => !flaws.has(Flaw::LiveDuringReplay),
        Mode::Live | Mode::Behind(_) => true,
    }
}

/// Whether what was held back in vain is read.
pub(super) const fn reads_what_was_held(flaws: Flaws) -> bool {
    !flaws.has(Flaw::HeldAndForgotten)
}

/// Whether a log is read again whose read was lost with its link.
pub(super) const fn repeats_a_lost_read(flaws: Flaws) -> bool {
    !flaws.has(Flaw::LostReadForgotten)
}

/// Whether a follower without room for a record falls behind.
pub(super) const fn falls_behind(flaws: Flaws) -> bool {
    !flaws.has(Flaw::OverflowStaysLive) && !flaws.has(Flaw::OverflowMoves)
}

/// Whether a follower stays where it is without room for a record.
pub(super) const fn stays_without_room(flaws: Flaws) -> bool {
    !flaws.has(Flaw::OverflowMoves)
}

/// Whether a delivery learns by a confirmation that its own record is confirmed: it was sent before the one that is
/// named.
pub(super) fn is_confirmed_by(
    flaws: Flaws,
    is_sent_before: bool,
    own: Position,
    named: Position,
) -> bool {
    is_sent_before || flaws.has(Flaw::AckByNumber) && own.offset() <= named.offset()
}

/// Where a follower stands by the answer to a read. None: its position is unknown.
pub(super) fn found(flaws: Flaws, part: &LogPart) -> Option<Position> {
    if flaws.has(Flaw::UnknownStartsAtHead) {
        return part.after.or(Some(part.head));
    }
    part.after
}
