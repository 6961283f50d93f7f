//! Single schedules: from files, and from seeds.

use std::path::PathBuf;

use clap::Args;
use switchboard_sim::swarm;

use super::{Done, Verdict, read, tell};

/// Run schedules, and say what held
#[derive(Args)]
pub(crate) struct Run {
    /// Their files
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// Print the schedule that the swarm makes of a seed
#[derive(Args)]
pub(crate) struct Print {
    /// The seed
    seed: u64,
}

/// Run the schedule that the swarm makes of a seed
#[derive(Args)]
pub(crate) struct Replay {
    /// The seed
    seed: u64,
}

impl Run {
    pub(crate) fn execute(self) -> Done {
        let mut verdict = Verdict::Held;
        for file in self.files {
            let report = swarm::run(&read(&file)?);
            tell(&file.display().to_string(), &report);
            if report.violation.is_some() {
                verdict = Verdict::Failed;
            }
        }
        Ok(verdict)
    }
}

impl Print {
    pub(crate) fn execute(self) -> Verdict {
        print!("{}", swarm::schedule(self.seed));
        Verdict::Held
    }
}

impl Replay {
    pub(crate) fn execute(self) -> Verdict {
        let report = swarm::run(&swarm::schedule(self.seed));
        tell(&format!("seed {}", self.seed), &report);
        Verdict::of(&report)
    }
}
