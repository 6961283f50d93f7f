//! What a swarm comes by.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;

use clap::{Args, value_parser};
use switchboard_sim::coverage::{Cells, Counted, CoverageTables};
use switchboard_sim::{coverage, swarm};

use super::progress::{ProgressDisplay, interrupted, note_interrupts};
use super::{CommandResult, CommandStatus, jobs};

/// Count what a swarm comes by: events in each state, and faults in each phase
///
/// It fails if a cell was never come by that can be, if one was that cannot be, and if something was
/// counted that is in no table. Nothing is judged.
#[derive(Args)]
pub(crate) struct Coverage {
    /// How many seeds
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    seeds: u64,
    /// How many threads
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = jobs())]
    jobs: usize,
    /// The first seed
    #[arg(long, default_value_t = 0, value_name = "SEED")]
    from: u64,
    /// What can be come by: by default what is kept as `sim/coverage.txt`
    #[arg(long, value_name = "FILE")]
    tables: Option<PathBuf>,
}

impl Coverage {
    pub(crate) fn execute(self) -> CommandResult {
        let tables = match &self.tables {
            None => CoverageTables::kept(),
            Some(file) => {
                let name = file.display();
                let text = std::fs::read_to_string(file)
                    .map_err(|error| format!("{name} cannot be read: {error}"))?;
                CoverageTables::parse(&text).map_err(|error| format!("{name}: {error}"))?
            }
        };
        note_interrupts()?;
        let (cells, seeds) = self.count();
        print!("{}", tables.shown(&cells));
        let wrong = tables.wrong(&cells);
        for what in &wrong {
            println!("{what}");
        }
        let counted: usize = cells.len();
        println!(
            "{seeds} seeds came by {counted} cells; {} are wrong",
            wrong.len()
        );
        Ok(match CommandStatus::held(wrong.is_empty()) {
            _ if interrupted() => CommandStatus::Interrupted,
            status => status,
        })
    }

    /// What all seeds come by, and how many they were.
    fn count(&self) -> (Cells, u64) {
        let mut progress = ProgressDisplay::of(self.seeds);
        let next = AtomicU64::new(0);
        let (done, inbox) = channel();
        std::thread::scope(|scope| {
            let counters: Vec<_> = (0..self.jobs)
                .map(|_| {
                    let (done, next) = (done.clone(), &next);
                    scope.spawn(move || {
                        let counted = Counted::default();
                        let trial = counted.trial();
                        loop {
                            let nth = next.fetch_add(1, Ordering::Relaxed);
                            if nth >= self.seeds || interrupted() {
                                return counted.take();
                            }
                            trial.run(&swarm::schedule(self.from.wrapping_add(nth)));
                            if done.send(()).is_err() {
                                return counted.take();
                            }
                        }
                    })
                })
                .collect();
            drop(done);
            let mut seeds = 0;
            for () in inbox {
                seeds += 1;
                progress.at(seeds, || format!("{seeds} seeds"));
            }
            progress.end();
            let mut all = Cells::new();
            for counter in counters {
                let cells = counter.join().expect("nothing panics but what is caught");
                coverage::add(&mut all, cells);
            }
            (all, seeds)
        })
    }
}
