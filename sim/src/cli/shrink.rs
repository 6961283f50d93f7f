//! Makes failing schedules small.

use std::path::{Path, PathBuf};

use clap::Args;
use switchboard_sim::schedule::Schedule;
use switchboard_sim::{Trial, shrink};

use super::progress::Progress;
use super::{Done, Source, Verdict, tell};

/// Make a failing schedule small
///
/// Takes out items, then makes times shorter, then lets fewer instances and users take part, as long
/// as the same checker is violated. The result is written to a file, and run once more.
#[derive(Args)]
pub(crate) struct Shrink {
    /// A file with a schedule, or a seed of the swarm
    source: Source,
    /// Where to write the small one
    #[arg(long, default_value = "shrunk.txt", value_name = "FILE")]
    out: PathBuf,
}

impl Shrink {
    pub(crate) fn execute(self) -> Done {
        keep_small(&self.source.schedule()?, &self.out)
    }
}

/// Shrinks a schedule and writes it, if it fails.
pub(super) fn keep_small(schedule: &Schedule, out: &Path) -> Done {
    let trial = Trial::new();
    let schedule = &Schedule {
        expects: None,
        ..schedule.clone()
    };
    let Some(violation) = trial.run(schedule).violation else {
        println!("it violates nothing");
        return Ok(Verdict::Held);
    };
    let mut progress = Progress::of(shrink::RUNS as u64);
    let small = shrink::shrink(&trial, schedule, violation.checker, |at| {
        progress.at(at.runs as u64, || {
            format!("{} runs, {} items", at.runs, at.items)
        });
    });
    progress.end();
    std::fs::write(out, small.to_string())
        .map_err(|error| format!("{} cannot be written: {error}", out.display()))?;
    println!(
        "shrunk from {} items to {}: {}",
        schedule.items.len(),
        small.items.len(),
        out.display()
    );
    tell("shrunk", &trial.run(&small));
    println!("again: switchboard-sim replay {}", out.display());
    Ok(Verdict::Failed)
}
