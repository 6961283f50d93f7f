//! Where [bugs](crate::base::flaws) that can be switched on change the standing in the directory.
//! Each function is named after what is done without them.

use crate::base::flaws::{Flaw, Flaws};
use crate::id::Epoch;
use crate::vocabulary::missing::Missing;

/// Whether everybody is doubted after a new link, unless it is the first.
pub(super) const fn doubts_after_reconnection(flaws: Flaws) -> bool {
    !flaws.has(Flaw::NoDoubtAfterReconnection)
}

/// What is taken to be missing after a claim.
pub(super) const fn missing_after_claim(flaws: Flaws, missing: Missing) -> Missing {
    if flaws.has(Flaw::UpTooEarly) {
        return Missing::Nothing;
    }
    missing
}

/// The epoch under which rows are written: that of the lease, if it is `held`. `latest`: the one that
/// was claimed last, if there is a link.
pub(super) fn epoch_of_rows(
    flaws: Flaws,
    held: Option<Epoch>,
    latest: Option<Epoch>,
) -> Option<Epoch> {
    if flaws.has(Flaw::RowBeforeClaim) {
        return held.or(latest);
    }
    held
}

/// Whether a row that was written under this epoch is known to be there: the lease must still be
/// `held` under it.
pub(super) fn proves_a_row(flaws: Flaws, epoch: Epoch, held: Option<Epoch>, latest: Epoch) -> bool {
    held == Some(epoch) || (flaws.has(Flaw::RowBeforeClaim) && latest == epoch)
}

/// Whether a row that is written when its connection has ended is removed.
pub(super) const fn removes_a_late_row(flaws: Flaws) -> bool {
    !flaws.has(Flaw::LateRegisterKept)
}

/// Whether a row is written again if it is unknown whether it was.
pub(super) const fn repeats_a_lost_register(flaws: Flaws) -> bool {
    !flaws.has(Flaw::LostRegisterNotRepeated)
}

/// Whether the floor stays where it is when settling begins.
pub(super) const fn floor_waits_for_rows(flaws: Flaws) -> bool {
    !flaws.has(Flaw::FloorRaisedEarly)
}

/// Whether the floor rises when settling ends.
pub(super) const fn floor_rises_once_settled(flaws: Flaws) -> bool {
    !flaws.has(Flaw::FloorNeverRaised)
}

/// Whether a log is read behind the writing of a row.
pub(super) const fn reads_logs_behind_rows(flaws: Flaws) -> bool {
    !flaws.has(Flaw::NoReadBehindRow)
}

/// Whether a terminal is told that it has joined a topic when the directory knows that this instance has members.
pub(super) const fn join_waits_for_row(flaws: Flaws) -> bool {
    !flaws.has(Flaw::JoinedBeforeRow)
}

/// Whether the row of a topic is written again that has got members while it was being removed.
pub(super) const fn writes_a_topic_again(flaws: Flaws) -> bool {
    !flaws.has(Flaw::JoinWhileRemovingForgotten)
}

/// Whether settling writes the rows of topics.
pub(super) const fn settles_topics(flaws: Flaws) -> bool {
    !flaws.has(Flaw::TopicsNotSettled)
}

/// Whether logs are checked when everybody is doubted.
pub(super) const fn checks_logs_in_doubt(flaws: Flaws) -> bool {
    !flaws.has(Flaw::NoCheckAfterDoubt)
}

/// Whether logs are checked when an instance is gone that may not have delivered what it has appended.
pub(super) const fn checks_logs_after_a_death(flaws: Flaws) -> bool {
    !flaws.has(Flaw::NoCheckAfterDeath)
}
