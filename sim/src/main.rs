//! The command line of the simulator.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clap::{Parser, Subcommand};
use switchboard_sim::report::Report;
use switchboard_sim::schedule::Schedule;
use switchboard_sim::{shrink, swarm};

#[derive(Parser)]
#[command(
    name = "switchboard-sim",
    version,
    about = "Many Switchboard instances in virtual time"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run schedules, and say what held
    Run {
        /// Their files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Print the schedule that the swarm makes of a seed
    Print {
        /// The seed
        seed: u64,
    },
    /// Run the schedule that the swarm makes of a seed
    Replay {
        /// The seed
        seed: u64,
    },
    /// Run schedules of many seeds; shrink and keep the first that fails
    Swarm {
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
    },
    /// Make a failing schedule small
    Shrink {
        /// Its file
        file: PathBuf,
        /// Where to write the small one
        #[arg(long, default_value = "shrunk.txt")]
        out: PathBuf,
    },
    /// Run each seed twice and compare the hashes
    CheckDeterminism {
        /// How many
        #[arg(long, default_value_t = 100)]
        seeds: u64,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run { files } => files.iter().try_fold(true, |all, file| {
            let report = swarm::run(&read(file)?);
            tell(&file.display().to_string(), &report);
            Ok(all && report.violation.is_none())
        }),
        Command::Print { seed } => {
            print!("{}", swarm::schedule(seed));
            Ok(true)
        }
        Command::Replay { seed } => {
            let report = swarm::run(&swarm::schedule(seed));
            tell(&format!("seed {seed}"), &report);
            Ok(report.violation.is_none())
        }
        Command::Swarm {
            seconds,
            jobs,
            from,
            out,
        } => run_swarm(Duration::from_secs(seconds), jobs.max(1), from, &out),
        Command::Shrink { file, out } => {
            read(&file).and_then(|schedule| keep_small(&schedule, &out))
        }
        Command::CheckDeterminism { seeds } => Ok(check_determinism(seeds)),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn read(file: &Path) -> Result<Schedule, String> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    Schedule::parse(&text).map_err(|error| format!("{}: {error}", file.display()))
}

fn tell(name: &str, report: &Report) {
    println!(
        "{name}: hash {:016x}, {} events in {:.3} s, {} receipts, {} of {} frames lost with an excuse",
        report.hash,
        report.events,
        report.simulated.as_secs_f64(),
        report.receipts,
        report.excused,
        report.expected,
    );
    match &report.violation {
        None => println!("{name}: every invariant held"),
        Some(violation) => println!("{name}: VIOLATED {violation}"),
    }
}

/// Shrinks a schedule that fails and writes it. `false`: it failed.
fn keep_small(schedule: &Schedule, out: &Path) -> Result<bool, String> {
    let Some(violation) = swarm::run(schedule).violation else {
        println!("it violates nothing");
        return Ok(true);
    };
    let small = shrink::shrink(schedule, violation.invariant);
    std::fs::write(out, small.to_string())
        .map_err(|error| format!("{} cannot be written: {error}", out.display()))?;
    println!(
        "shrunk from {} items to {}: {}",
        schedule.items.len(),
        small.items.len(),
        out.display()
    );
    tell("shrunk", &swarm::run(&small));
    Ok(false)
}

fn check_determinism(seeds: u64) -> bool {
    let differing: Vec<u64> = (0..seeds)
        .filter(|seed| {
            let schedule = swarm::schedule(*seed);
            swarm::run(&schedule) != swarm::run(&schedule)
        })
        .collect();
    println!("{seeds} seeds, each twice: {} differ", differing.len());
    for seed in &differing {
        println!("seed {seed} gives another hash the second time");
    }
    differing.is_empty()
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
    faults: [AtomicU64; switchboard_sim::ledger::FaultKind::ALL.len()],
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
        let faults: Vec<String> = (switchboard_sim::ledger::FaultKind::ALL.iter())
            .map(|kind| format!("{kind:?} {}", get(&self.faults[*kind as usize])))
            .collect();
        println!("seeds with each kind of fault: {}", faults.join(", "));
    }
}

/// The time between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(5);

#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "how long a swarm runs is real time; each world runs in one thread"
)]
fn run_swarm(span: Duration, jobs: u64, from: u64, out: &Path) -> Result<bool, String> {
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
        return Ok(true);
    };
    tell(&format!("seed {}", report.seed), report);
    println!("again: switchboard-sim replay {}", report.seed);
    keep_small(&swarm::schedule(report.seed), out)
}
