//! Where [bugs](crate::base::flaws) that can be switched on change the life of a terminal. Each
//! function is named after what is done without them.

use std::time::Duration;

use super::connection::ClosingStage;
use crate::base::flaws::{Flaw, Flaws};
use crate::config::Config;
use crate::message::Outcome;
use crate::time::Instant;

/// When the token of a connection expires while it is open.
pub(super) const fn expiry_while_open(flaws: Flaws, expires: Instant) -> Option<Instant> {
    if flaws.has(Flaw::TokenCheckedAtConnectOnly) {
        return None;
    }
    Some(expires)
}

/// Whether the hello waits for the row.
pub(super) const fn hello_waits_for_row(flaws: Flaws) -> bool {
    !flaws.has(Flaw::HelloBeforeRow)
}

/// How long the hello waits for the row.
pub(super) const fn hello_grace(flaws: Flaws, config: &Config) -> Duration {
    if flaws.has(Flaw::HelloWaitsForRow) {
        return Duration::MAX;
    }
    config.hello_grace
}

/// What the publisher is told of a push that finds no room.
pub(super) const fn refused_for_lack_of_room(flaws: Flaws) -> Result<(), Outcome> {
    if flaws.has(Flaw::SilentOverflow) {
        return Ok(());
    }
    Err(Outcome::Overflow)
}

/// How far a closing connection is once it was aborted: its timer is not armed again.
pub(super) const fn stage_once_aborted(flaws: Flaws, before: ClosingStage) -> ClosingStage {
    if flaws.has(Flaw::TimerLeftAfterClose) {
        return before;
    }
    ClosingStage::Aborted
}

/// Whether a connection whose socket has gone is looked at to be forgotten.
pub(super) const fn forgets_when_gone(flaws: Flaws) -> bool {
    !flaws.has(Flaw::RowlessKept)
}
