//! Schedules of many seeds, on several threads.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use switchboard_sim::ledger::FaultKind;
use switchboard_sim::report::Report;
use switchboard_sim::swarm;

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
        let sum = Sum::default();
        let stop = AtomicBool::new(false);
        let failed = std::sync::Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for job in 0..jobs {
                let (sum, stop, failed) = (&sum, &stop, &failed);
                scope.spawn(move || {
                    let mut seed = from + job;
                    while begin.elapsed() < span && !stop.load(Ordering::Relaxed) {
                        let report = swarm::run(&swarm::schedule(seed));
                        sum.add(&report);
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
                    let seeds = sum.seeds.load(Ordering::Relaxed);
                    let left = span.saturating_sub(begin.elapsed()).as_secs();
                    eprintln!("{seeds} seeds, {left} s left");
                }
            }
        });
        sum.tell(begin.elapsed());
        let failed = failed.into_inner().unwrap_or_default();
        let Some(report) = failed.iter().min_by_key(|report| report.seed) else {
            println!("every invariant held");
            return Ok(Verdict::Held);
        };
        tell(&format!("seed {}", report.seed), report);
        println!("again: switchboard-sim replay {}", report.seed);
        keep_small(&swarm::schedule(report.seed), &out)
    }
}

/// What the threads of a swarm have done together.
#[derive(Default)]
struct Sum {
    seeds: AtomicU64,
    events: AtomicU64,
    simulated_millis: AtomicU64,
    receipts: AtomicU64,
    expected: AtomicU64,
    excused: AtomicU64,
    faults: [AtomicU64; FaultKind::ALL.len()],
}

impl Sum {
    fn add(&self, report: &Report) {
        let add = |to: &AtomicU64, what: u64| to.fetch_add(what, Ordering::Relaxed);
        add(&self.seeds, 1);
        add(&self.events, report.events);
        add(&self.simulated_millis, report.simulated.as_millis() as u64);
        add(&self.receipts, report.receipts);
        add(&self.expected, report.expected);
        add(&self.excused, report.excused);
        for kind in &report.faults {
            add(&self.faults[*kind as usize], 1);
        }
    }

    fn tell(&self, passed: Duration) {
        let get = |of: &AtomicU64| of.load(Ordering::Relaxed);
        let seconds = passed.as_secs_f64().max(0.001);
        println!(
            "{} seeds ({:.1}/s), {} events ({:.0}/s), {:.1} h simulated, {} receipts",
            get(&self.seeds),
            get(&self.seeds) as f64 / seconds,
            get(&self.events),
            get(&self.events) as f64 / seconds,
            get(&self.simulated_millis) as f64 / 3.6e6,
            get(&self.receipts),
        );
        println!(
            "{} of {} frames lost with an excuse ({:.2} %)",
            get(&self.excused),
            get(&self.expected),
            100.0 * get(&self.excused) as f64 / get(&self.expected).max(1) as f64,
        );
        let faults: Vec<String> = (FaultKind::ALL.iter())
            .map(|kind| format!("{kind:?} {}", get(&self.faults[*kind as usize])))
            .collect();
        println!("seeds with each kind of fault: {}", faults.join(", "));
    }
}
