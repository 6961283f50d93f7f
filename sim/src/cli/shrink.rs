//! Makes failing schedules small.

use std::path::{Path, PathBuf};

use clap::Args;
use switchboard_sim::schedule::Schedule;
use switchboard_sim::{Trial, shrink};

use super::out::{check_writable, write};
use super::progress::ProgressDisplay;
use super::{CommandResult, CommandStatus, SOURCES, Source, again, tell};

/// Make a failing schedule small
///
/// Takes out items, then makes times shorter, then lets fewer instances and users take part, as long
/// as the same checker is violated. The result is written to a file, and run once more.
#[derive(Args)]
#[command(after_help = SOURCES)]
pub(crate) struct Shrink {
    /// A seed of the swarm, or a file with a schedule
    source: Source,
    /// Where to write the small one
    #[arg(long, default_value = "shrunk.txt", value_name = "FILE")]
    out: PathBuf,
}

impl Shrink {
    pub(crate) fn execute(self) -> CommandResult {
        let schedule = self.source.schedule()?;
        check_writable(&self.out)?;
        keep_small(&schedule, &self.out)
    }
}

/// Shrinks a schedule and writes it, if it fails.
pub(super) fn keep_small(schedule: &Schedule, out: &Path) -> CommandResult {
    let trial = Trial::new();
    let schedule = &Schedule {
        expects: None,
        ..schedule.clone()
    };
    let Some(violation) = trial.run(schedule).violation else {
        println!("it violates nothing");
        return Ok(CommandStatus::Held);
    };
    let mut progress = ProgressDisplay::of(shrink::RUNS as u64);
    let small = shrink::shrink(&trial, schedule, violation.checker, |at| {
        progress.at(at.runs as u64, || {
            format!("{} runs, {} items", at.runs, at.items)
        });
    });
    progress.end();
    write(out, &small.to_string())?;
    println!(
        "shrunk from {} items to {}: {}",
        schedule.items.len(),
        small.items.len(),
        out.display()
    );
    tell("shrunk", &trial.run(&small));
    let replay = again(format_args!("replay {}", out.display()));
    println!("again: {replay}");
    Ok(CommandStatus::Failed)
}
