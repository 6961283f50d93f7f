//! Schedules of many seeds, on several threads.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use switchboard_sim::checkers;
use switchboard_sim::swarm;
use switchboard_sim::totals::Totals;

use super::shrink::keep_small;
use super::{Done, Verdict, tell};

/// Run schedules of many seeds; shrink and keep the first that fails
#[derive(Args)]
pub(crate) struct Swarm {
    /// For so long
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Threads
    #[arg(long, default_value_t = 1)]
    jobs: u64,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Where to write a shrunk schedule that fails
    #[arg(long, default_value = "failed.txt")]
    out: PathBuf,
}

/// The time between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(5);

impl Swarm {
    #[expect(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        reason = "how long a swarm runs is real time; each world runs in one thread"
    )]
    pub(crate) fn execute(self) -> Done {
        let Self {
            seconds,
            jobs,
            from,
            out,
        } = self;
        let (span, jobs) = (Duration::from_secs(seconds), jobs.max(1));
        let begin = std::time::Instant::now();
        let sum = std::sync::Mutex::new(Totals::default());
        let stop = AtomicBool::new(false);
        let failed = std::sync::Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for job in 0..jobs {
                let (sum, stop, failed) = (&sum, &stop, &failed);
                scope.spawn(move || {
                    let mut seed = from + job;
                    while begin.elapsed() < span && !stop.load(Ordering::Relaxed) {
                        let report = swarm::run(&swarm::schedule(seed));
                        if let Ok(mut sum) = sum.lock() {
                            sum.add(&report);
                        }
                        if report.violation.is_some() {
                            stop.store(true, Ordering::Relaxed);
                            if let Ok(mut failed) = failed.lock() {
                                failed.push(report);
                            }
                        }
                        seed += jobs;
                    }
                });
            }
            let mut told = begin;
            while begin.elapsed() < span && !stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(100));
                if told.elapsed() >= PROGRESS {
                    told = std::time::Instant::now();
                    let seeds = sum.lock().map_or(0, |sum| sum.runs);
                    let left = span.saturating_sub(begin.elapsed()).as_secs();
                    eprintln!("{seeds} seeds, {left} s left");
                }
            }
        });
        let sum = sum.into_inner().unwrap_or_default();
        let overdrawn = tell_all(&sum, begin.elapsed());
        let failed = failed.into_inner().unwrap_or_default();
        let Some(report) = failed.iter().min_by_key(|report| report.seed) else {
            println!("every invariant held");
            return Ok(Verdict::held(!overdrawn));
        };
        tell(&format!("seed {}", report.seed), report);
        println!("again: switchboard-sim replay {}", report.seed);
        keep_small(&swarm::schedule(report.seed), &out)
    }
}

/// Says what many runs have shown. Returns whether excuses explain too much.
fn tell_all(sum: &Totals, passed: Duration) -> bool {
    let seconds = passed.as_secs_f64().max(0.001);
    println!("{sum}");
    println!(
        "{:.1} seeds/s, {:.0} events/s",
        sum.runs as f64 / seconds,
        sum.events as f64 / seconds
    );
    let checkers = checkers::all();
    for (checker, probe) in sum.missed(&checkers) {
        println!("never: {checker}: {probe}");
    }
    let overdrawn = sum.overdrawn(&checkers);
    for problem in &overdrawn {
        println!("OVERDRAWN {problem}");
    }
    !overdrawn.is_empty()
}
