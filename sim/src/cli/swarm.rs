//! Schedules of many seeds, on several threads.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use clap::{Args, value_parser};
use switchboard_sim::forks::Forks;
use switchboard_sim::report::Report;
use switchboard_sim::schedule::Schedule;
use switchboard_sim::totals::Totals;
use switchboard_sim::{Trial, checkers, swarm};

use super::out::{check_writable, write};
use super::progress::{ProgressDisplay, Stopwatch, interrupted, note_interrupts};
use super::shrink::keep_small;
use super::{CommandResult, CommandStatus, again, jobs, tell};

/// Run schedules of many seeds; shrink and keep the first that fails
///
/// Each seed gives a schedule: connections, pushes and faults, then everything heals and must
/// converge. All checkers watch. Some worlds are forked as well: from some moments of theirs, and from each at which
/// they come by something that none before them has, everything heals and must come to rest. The swarm ends when its time is over, or its seeds are, at Ctrl-C, or
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
    /// Fork the worlds of one seed in so many; 0: of none. With a factor that ten has, kinds of schedules are left out
    #[arg(long, default_value_t = 17, value_name = "N")]
    fork_one_in: u64,
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
        let Sums {
            totals,
            forks,
            failed,
        } = self.run(time);
        let overdrawn = tell_all(&totals, time);
        println!("{forks} forks of worlds were healed");
        let Some(ran) = failed else {
            println!("every invariant held");
            return Ok(match CommandStatus::held(!overdrawn) {
                CommandStatus::Held if interrupted() => CommandStatus::Interrupted,
                verdict => verdict,
            });
        };
        tell(&ran.name(), &ran.report);
        let schedule = ran.schedule();
        if let RunOf::Seed = ran.of {
            let replay = again(format_args!("replay {}", ran.report.seed));
            println!("again: {replay}");
        }
        if self.unshrunk {
            write(&self.out, &schedule.to_string())?;
            let replay = again(format_args!("replay {}", self.out.display()));
            println!("again: {replay}");
        } else if keep_small(&schedule, &self.out)? == CommandStatus::Held {
            println!(
                "{} is not deterministic: what was violated is not when it is run again",
                ran.name()
            );
        }
        Ok(CommandStatus::Failed)
    }

    /// Runs seeds until their time is over, or all have run, and returns their sum and the first that failed.
    fn run(&self, time: Stopwatch) -> Sums {
        let jobs = self.jobs as u64;
        let stop = AtomicBool::new(false);
        let (reports, inbox) = channel();
        std::thread::scope(|scope| {
            for job in 0..jobs {
                let (reports, stop) = (reports.clone(), &stop);
                let seeds = (job..self.seeds.unwrap_or(u64::MAX)).step_by(self.jobs);
                let seeds = seeds.map(|nth| self.from.wrapping_add(nth));
                scope.spawn(move || self.run_seeds(seeds, &reports, stop));
            }
            drop(reports);
            let found = self.watch(time, &inbox, &stop);
            stop.store(true, Ordering::Relaxed);
            found
        })
    }

    /// Runs seeds and tells what came of each, and of its forks.
    fn run_seeds(
        &self,
        seeds: impl Iterator<Item = u64>,
        reports: &Sender<Ran>,
        stop: &AtomicBool,
    ) {
        let trial = Trial::new();
        let mut forks = Forks::default();
        let goes_on = |of, schedule: &Schedule| {
            let report = trial.run(schedule);
            reports.send(Ran { of, report }).is_ok() && !stop.load(Ordering::Relaxed)
        };
        for seed in seeds {
            let schedule = swarm::schedule(seed);
            if stop.load(Ordering::Relaxed) || !goes_on(RunOf::Seed, &schedule) {
                return;
            }
            let forked = self.fork_one_in > 0 && seed.is_multiple_of(self.fork_one_in);
            let moments = forked.then(|| forks.moments(&schedule));
            for moment in moments.into_iter().flatten() {
                if !goes_on(RunOf::Fork(moment), &swarm::healed_at(&schedule, moment)) {
                    return;
                }
            }
        }
    }

    /// Adds up what the threads report. What forks judge counts for nothing: they heal sooner than others.
    fn watch(&self, time: Stopwatch, inbox: &Receiver<Ran>, stop: &AtomicBool) -> Sums {
        let mut progress = ProgressDisplay::of(self.seeds.unwrap_or(self.seconds * 1000));
        let (mut totals, mut forks) = (Totals::default(), 0);
        let mut failed: Option<Ran> = None;
        loop {
            match inbox.recv_timeout(LOOK) {
                Ok(ran) => {
                    match ran.of {
                        RunOf::Seed => totals.add(&ran.report),
                        RunOf::Fork(_) => forks += 1,
                    }
                    let lower = |other: &Ran| ran.report.seed < other.report.seed;
                    if ran.report.violation.is_some() && failed.as_ref().is_none_or(lower) {
                        failed = Some(ran);
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
        Sums {
            totals,
            forks,
            failed,
        }
    }
}

/// What all runs have shown together.
struct Sums {
    /// Of the seeds.
    totals: Totals,
    /// How many worlds were healed before their time.
    forks: u64,
    /// The first that failed.
    failed: Option<Ran>,
}

/// A run that has ended.
struct Ran {
    of: RunOf,
    report: Report,
}

/// What was run.
#[derive(Clone, Copy)]
enum RunOf {
    /// The schedule of a seed.
    Seed,
    /// The same up to a moment, at which everything heals.
    Fork(Duration),
}

impl Ran {
    fn schedule(&self) -> Schedule {
        let schedule = swarm::schedule(self.report.seed);
        match self.of {
            RunOf::Seed => schedule,
            RunOf::Fork(moment) => swarm::healed_at(&schedule, moment),
        }
    }

    fn name(&self) -> String {
        let seed = self.report.seed;
        match self.of {
            RunOf::Seed => format!("seed {seed}"),
            RunOf::Fork(moment) => format!("seed {seed}, healed at {:.6}s", moment.as_secs_f64()),
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
