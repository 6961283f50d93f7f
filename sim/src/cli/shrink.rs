//! Makes failing schedules small.

use std::path::{Path, PathBuf};

use clap::Args;
use switchboard_sim::schedule::Schedule;
use switchboard_sim::{shrink, swarm};

use super::{Done, Verdict, read, tell};

/// Make a failing schedule small
#[derive(Args)]
pub(crate) struct Shrink {
    /// Its file
    file: PathBuf,
    /// Where to write the small one
    #[arg(long, default_value = "shrunk.txt")]
    out: PathBuf,
}

impl Shrink {
    pub(crate) fn execute(self) -> Done {
        keep_small(&read(&self.file)?, &self.out)
    }
}

/// Shrinks a schedule and writes it, if it fails.
pub(super) fn keep_small(schedule: &Schedule, out: &Path) -> Done {
    let Some(violation) = swarm::run(schedule).violation else {
        println!("it violates nothing");
        return Ok(Verdict::Held);
    };
    let small = shrink::shrink(schedule, violation.checker);
    std::fs::write(out, small.to_string())
        .map_err(|error| format!("{} cannot be written: {error}", out.display()))?;
    println!(
        "shrunk from {} items to {}: {}",
        schedule.items.len(),
        small.items.len(),
        out.display()
    );
    tell("shrunk", &swarm::run(&small));
    Ok(Verdict::Failed)
}
