//! How schedules are written.

use clap::Args;
use switchboard_sim::schedule::Schedule;

use super::Verdict;

/// Print how schedules are written: the form of each item
#[derive(Args)]
pub(crate) struct Grammar;

impl Grammar {
    pub(crate) fn execute(self) -> Verdict {
        println!("{}", Schedule::grammar().trim_end());
        Verdict::Held
    }
}
