//! How schedules are written.

use clap::Args;
use switchboard_sim::schedule::Schedule;

use super::CommandStatus;

/// Print how schedules are written: the form of each item
#[derive(Args)]
pub(crate) struct Grammar;

impl Grammar {
    pub(crate) fn execute(self) -> CommandStatus {
        println!("{}", Schedule::grammar().trim_end());
        CommandStatus::Held
    }
}
