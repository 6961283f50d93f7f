//! Schedules of many seeds, on several threads.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use clap::{Args, value_parser};
use switchboard_sim::report::Report;
use switchboard_sim::totals::Totals;
use switchboard_sim::{Trial, checkers, swarm};

use super::out::{check_writable, write};
use super::progress::{ProgressDisplay, Stopwatch, interrupted, note_interrupts};
use super::shrink::keep_small;
use super::{CommandResult, CommandStatus, again, jobs, tell};

/// Run schedules of many seeds; shrink and keep the first that fails
///
/// Each seed gives a schedule: connections, pushes and faults, then everything heals and must
/// converge. All checkers watch. The swarm ends when its time is over, or its seeds are, at Ctrl-C, or
/// when an invariant is violated; in any case it says what all seeds have shown together. It fails if an
/// invariant was violated, if excuses explain more of the losses than a checker allows, or if too many
/// runs proved nothing.
#[derive(Args)]
pub(crate) struct Swarm {
    /// How long, in seconds
    #[arg(long, default_value_t = 60, value_name = "S", value_parser = value_parser!(u64).range(1..=MAX_SECONDS))]
    seconds: u64,
    /// How many seeds, however long they take
    #[arg(long, value_name = "N", conflicts_with = "seconds", value_parser = value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// How many threads
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = jobs())]
    jobs: usize,
    /// The first seed
    #[arg(long, default_value_t = 0, value_name = "SEED")]
    from: u64,
    /// Where to write the shrunk schedule if one fails
    #[arg(long, default_value = "failed.txt", value_name = "FILE")]
    out: PathBuf,
    /// Write the schedule that fails as it is: to make it small takes longer than to find it
    #[arg(long)]
    unshrunk: bool,
}

/// A swarm lasts so long at most, in seconds: a year.
const MAX_SECONDS: u64 = 366 * 24 * 3600;
/// How often the progress is looked at.
const LOOK: Duration = Duration::from_millis(100);

impl Swarm {
    pub(crate) fn execute(self) -> CommandResult {
        check_writable(&self.out)?;
        note_interrupts()?;
        let time = Stopwatch::start();
        let (totals, failed) = self.run(time);
        let overdrawn = tell_all(&totals, time);
        let Some(report) = failed else {
            println!("every invariant held");
            return Ok(match CommandStatus::held(!overdrawn) {
                CommandStatus::Held if interrupted() => CommandStatus::Interrupted,
                verdict => verdict,
            });
        };
        tell(&format!("seed {}", report.seed), &report);
        let replay = again(format_args!("replay {}", report.seed));
        println!("again: {replay}");
        let schedule = swarm::schedule(report.seed);
        if self.unshrunk {
            write(&self.out, &schedule.to_string())?;
        } else if keep_small(&schedule, &self.out)? == CommandStatus::Held {
            println!(
                "seed {} is not deterministic: what was violated is not when it is run again",
                report.seed
            );
        }
        Ok(CommandStatus::Failed)
    }

    /// Runs seeds until their time is over, or all have run, and returns their sum and the first that failed.
    fn run(&self, time: Stopwatch) -> (Totals, Option<Report>) {
        let jobs = self.jobs as u64;
        let stop = AtomicBool::new(false);
        let (reports, inbox) = channel();
        std::thread::scope(|scope| {
            for job in 0..jobs {
                let (reports, stop) = (reports.clone(), &stop);
                let seeds = (job..self.seeds.unwrap_or(u64::MAX)).step_by(self.jobs);
                let seeds = seeds.map(|nth| self.from.wrapping_add(nth));
                scope.spawn(move || run_seeds(seeds, &reports, stop));
            }
            drop(reports);
            let found = self.watch(time, &inbox, &stop);
            stop.store(true, Ordering::Relaxed);
            found
        })
    }

    /// Adds up what the threads report.
    fn watch(
        &self,
        time: Stopwatch,
        inbox: &Receiver<Report>,
        stop: &AtomicBool,
    ) -> (Totals, Option<Report>) {
        let mut progress = ProgressDisplay::of(self.seeds.unwrap_or(self.seconds * 1000));
        let mut totals = Totals::default();
        let mut failed: Option<Report> = None;
        loop {
            match inbox.recv_timeout(LOOK) {
                Ok(report) => {
                    totals.add(&report);
                    let lower = |other: &Report| report.seed < other.seed;
                    if report.violation.is_some() && failed.as_ref().is_none_or(lower) {
                        failed = Some(report);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                // All threads have ended, and all that they reported is counted.
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let passed = time.elapsed();
            let is_over = self.seeds.is_none() && passed.as_secs() >= self.seconds;
            if is_over || interrupted() || failed.is_some() {
                stop.store(true, Ordering::Relaxed);
            }
            let done = (self.seeds).map_or(passed.as_millis() as u64, |_| totals.runs);
            progress.at(done, || {
                let hours = totals.simulated.as_secs() / 3600;
                let events = time.rate(totals.events) / 1e6;
                format!(
                    "{} seeds, {events:.2} M events/s, {hours} h simulated",
                    totals.runs
                )
            });
        }
        progress.end();
        (totals, failed)
    }
}

fn run_seeds(seeds: impl Iterator<Item = u64>, reports: &Sender<Report>, stop: &AtomicBool) {
    let trial = Trial::new();
    for seed in seeds {
        if stop.load(Ordering::Relaxed) || reports.send(trial.run(&swarm::schedule(seed))).is_err()
        {
            return;
        }
    }
}

/// Says what many runs have shown. Returns whether excuses explain too much, or too little was proven.
fn tell_all(totals: &Totals, time: Stopwatch) -> bool {
    println!("{totals}");
    println!(
        "{:.1} seeds/s, {:.0} events/s",
        time.rate(totals.runs),
        time.rate(totals.events)
    );
    let checkers = checkers::all();
    for (checker, probe) in totals.missed(&checkers) {
        println!("never: {checker}: {probe}");
    }
    let overdrawn = totals.overdrawn(&checkers);
    for problem in &overdrawn {
        println!("OVERDRAWN {problem}");
    }
    !overdrawn.is_empty()
}
