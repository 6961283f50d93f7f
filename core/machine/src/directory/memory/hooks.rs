//! Where [bugs](crate::base::flaws) that can be switched on change what the directory does. Each
//! function is named after what is done without them.

use std::time::Duration;

use crate::base::flaws::{Flaw, Flaws};
use crate::directory::Row;
use crate::id::Epoch;
use crate::position::{Nonce, Position};
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

/// Whether what an instance says of a topic may be taken back: it was said under this epoch.
pub(super) fn is_what_was_said(flaws: Flaws, standing: Epoch, epoch: Epoch) -> bool {
    standing == epoch || flaws.has(Flaw::TopicLeftWithoutComparison)
}

/// Whether a renewal writes only over what is expected to stand there.
pub(super) const fn compares_renewals(flaws: Flaws) -> bool {
    !flaws.has(Flaw::RenewedWithoutComparison)
}

/// When a lease expires that is written now.
pub(super) fn runs_out(flaws: Flaws, now: Instant, span: Duration) -> Instant {
    if flaws.has(Flaw::LeaseNeverExpires) {
        return Instant::from_nanos(u64::MAX / 2);
    }
    now + span
}

/// The position behind another one at a moment, in microseconds. None beyond the last offset.
pub(super) fn position_behind(
    flaws: Flaws,
    last: Position,
    micros: u64,
    nonce: Nonce,
) -> Option<Position> {
    if flaws.has(Flaw::NumbersInsteadOfPositions) {
        return Position::new(last.offset() + 1, 0);
    }
    if flaws.has(Flaw::OffsetWithoutNonce) {
        return Position::new(micros.max(last.offset() + 1), nonce.get());
    }
    Position::new(nonce.offset_behind(last.offset(), micros), nonce.get())
}

/// The base when the oldest record is trimmed.
pub(super) const fn base_once_trimmed(flaws: Flaws, base: Position, trimmed: Position) -> Position {
    if flaws.has(Flaw::TrimmedIsKnown) {
        return base;
    }
    trimmed
}

/// Whether pushes are remembered.
pub(super) const fn remembers_pushes(flaws: Flaws) -> bool {
    !flaws.has(Flaw::NoRepeatMemory)
}

/// Whether a push is remembered whose record is not kept.
pub(super) const fn remembers_what_is_trimmed(flaws: Flaws) -> bool {
    !flaws.has(Flaw::RepeatsWhileKept)
}

/// Whether the pushes of a log are remembered that is deleted.
pub(super) const fn remembers_what_is_deleted(flaws: Flaws) -> bool {
    !flaws.has(Flaw::DeletedIsForgotten)
}

/// Whether a log begins when it is read.
pub(super) const fn begins_when_read(flaws: Flaws) -> bool {
    !flaws.has(Flaw::NoPositionWithoutLog)
}

/// Whether a log of so many records has too many.
pub(super) const fn are_too_many(flaws: Flaws, records: usize, most: usize) -> bool {
    if flaws.has(Flaw::KeepsOneFewer) {
        return records >= most;
    }
    records > most
}
