//! Single schedules: from files, and from seeds.

use std::io::Write as _;

use clap::Args;
use switchboard_sim::Trial;
use switchboard_sim::schedule::Schedule;

use super::out::written;
use super::{CommandResult, CommandStatus, SOURCES, Source, tell};

/// Run schedules, and say what held
#[derive(Args)]
#[command(after_help = SOURCES)]
pub(crate) struct RunFiles {
    /// Seeds of the swarm, or files with schedules
    #[arg(required = true)]
    sources: Vec<Source>,
}

/// Run one schedule again, and say what held
#[derive(Args)]
#[command(after_help = SOURCES)]
pub(crate) struct Replay {
    /// A seed of the swarm, or a file with a schedule
    source: Source,
    /// Print each event, command and frame as it happens
    #[arg(long)]
    trace: bool,
}

/// Print the schedule that the swarm makes of a seed
#[derive(Args)]
#[command(after_help = SOURCES)]
pub(crate) struct PrintSchedule {
    /// The seed, or a file, which is printed as it is understood
    source: Source,
}

impl RunFiles {
    pub(crate) fn execute(self) -> CommandResult {
        // All are read before the first is run: what is wrong with one is said at once.
        let schedules: Vec<Schedule> = (self.sources.iter())
            .map(Source::schedule)
            .collect::<Result<_, _>>()?;
        let trial = Trial::new();
        let mut verdict = CommandStatus::Held;
        for (source, schedule) in self.sources.iter().zip(&schedules) {
            let report = trial.run(schedule);
            tell(&source.to_string(), &report);
            if report.violation.is_some() {
                verdict = CommandStatus::Failed;
            }
        }
        Ok(verdict)
    }
}

impl Replay {
    pub(crate) fn execute(self) -> CommandResult {
        let schedule = self.source.schedule()?;
        if self.trace {
            print_trace(&schedule);
        }
        let report = Trial::new().run(&schedule);
        tell(&self.source.to_string(), &report);
        Ok(CommandStatus::of(&report))
    }
}

fn print_trace(schedule: &Schedule) {
    let mut out = std::io::stdout().lock();
    Trial::new().trace(schedule, |entry| {
        let at = entry.at.as_secs_f64();
        written(writeln!(out, "{at:.9} {}", entry.text));
    });
}

impl PrintSchedule {
    pub(crate) fn execute(self) -> CommandResult {
        let schedule = self.source.schedule()?.to_string();
        written(std::io::stdout().write_all(schedule.as_bytes()));
        Ok(CommandStatus::Held)
    }
}
