//! Why a schedule violates an invariant, or loses pushes.

use clap::Args;
use switchboard_sim::{Trial, explain};

use super::{CommandResult, CommandStatus, SOURCES, Source};

/// Say in words why a schedule violates an invariant, or loses pushes
///
/// The chain goes from the push to the fault that dropped it, or to "no excuse". Of a schedule that violates
/// nothing it says why pushes were lost, and which faults excuse that.
#[derive(Args)]
#[command(after_help = SOURCES)]
pub(crate) struct Explain {
    /// A seed of the swarm, or a file with a schedule
    source: Source,
}

impl Explain {
    pub(crate) fn execute(self) -> CommandResult {
        let schedule = self.source.schedule()?;
        let explanation = explain::explain(&Trial::new(), &schedule);
        println!("{explanation}");
        Ok(CommandStatus::held(explanation.violation.is_none()))
    }
}
