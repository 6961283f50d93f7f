//! What came of a scenario, and how that is told.

use std::fmt;
use std::path::PathBuf;

use super::ScenarioError;
use crate::checker::Verdict;
use crate::report::{EXPECTED, Report, Violation};
use crate::schedule::Schedule;
use crate::shrink;
use crate::trial::Trial;

/// What came of a scenario.
#[derive(Clone, Debug)]
#[must_use = "nobody looks at what was found"]
pub enum Run {
    /// It was run.
    Done(Box<Done>),
    /// It cannot be run.
    Impossible(ScenarioError),
}

/// A scenario that was run.
#[derive(Clone, Debug)]
pub struct Done {
    schedule: Schedule,
    trial: Trial,
    report: Report,
}

impl Run {
    /// What was found.
    ///
    /// # Panics
    ///
    /// With [what failed](Self::failure), if something did or if nothing was proven.
    #[track_caller]
    pub fn assert_ok(self) -> Report {
        let failure = self.failure();
        match self {
            Self::Done(done) if failure.is_none() => done.report,
            Self::Done(_) | Self::Impossible(_) => panic!("{}", failure.unwrap_or_default()),
        }
    }

    /// Why the scenario could not be run, what it did not prove, or what was violated, with the seed,
    /// the hash, and a small schedule that shows the same; that schedule is also written into a file in
    /// the folder for temporary files. `None` if nothing failed.
    pub fn failure(&self) -> Option<String> {
        match self {
            Self::Impossible(error) => Some(error.to_string()),
            Self::Done(done) => match (&done.report.violation, done.report.verdict()) {
                (Some(violation), _) => Some(done.failure(violation).to_string()),
                (None, Verdict::Unknown) => Some(done.nothing_proven()),
                (None, Verdict::Pass | Verdict::Fail) => None,
            },
        }
    }

    /// What was found.
    ///
    /// # Errors
    ///
    /// If the scenario could not be run.
    pub fn report(&self) -> Result<&Report, &ScenarioError> {
        match self {
            Self::Done(done) => Ok(&done.report),
            Self::Impossible(error) => Err(error),
        }
    }
}

impl Done {
    /// Runs a schedule, and keeps it for shrinking.
    pub(super) fn of(schedule: Schedule, trial: Trial) -> Self {
        let report = trial.run(&schedule);
        Self {
            schedule,
            trial,
            report,
        }
    }

    fn nothing_proven(&self) -> String {
        let idle = self.report.tallies.iter().filter(|tally| tally.is_idle());
        let idle: Vec<_> = idle.map(|tally| tally.checker).collect();
        format!(
            "nothing was proven, as there was nothing to judge for {}: no push was due to a terminal that \
             had been greeted",
            idle.join(", ")
        )
    }

    /// What is to be told about a failure.
    fn failure(&self, violation: &Violation) -> Failure {
        let Report { seed, hash, .. } = self.report;
        let small = match violation.checker {
            // What is not there does not get clearer by taking more away.
            EXPECTED => self.schedule.clone(),
            checker => {
                let unexpected = Schedule {
                    expects: None,
                    ..self.schedule.clone()
                };
                shrink::shrink(&self.trial, &unexpected, checker, |_| ())
            }
        };
        let file = std::env::temp_dir().join(format!("switchboard-sim-{seed:x}-{hash:016x}.txt"));
        let written = std::fs::write(&file, small.to_string()).is_ok();
        Failure {
            what: violation.to_string(),
            seed,
            hash,
            items: self.schedule.items.len(),
            small,
            file: written.then_some(file),
        }
    }
}

struct Failure {
    what: String,
    seed: u64,
    hash: u64,
    items: usize,
    small: Schedule,
    file: Option<PathBuf>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            seed,
            hash,
            items,
            small,
            file,
        } = self;
        writeln!(f, "violated: {what}")?;
        writeln!(
            f,
            "seed {seed:#x}, hash {hash:016x}; shrunk from {items} items to {}:",
            small.items.len()
        )?;
        writeln!(f, "\n{small}")?;
        if let Some(file) = file {
            writeln!(f, "It is in {}.", file.display())?;
        }
        write!(
            f,
            "To run it again: `Scenario::of_schedule(Schedule::parse(text)?)` with the same settings and checkers."
        )
    }
}
