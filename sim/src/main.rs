//! The command line of the simulator.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Parser, Subcommand};
use switchboard_sim::checker::{Tally, Verdict};
use switchboard_sim::checkers;
use switchboard_sim::report::Report;
use switchboard_sim::schedule::Schedule;
use switchboard_sim::totals::Totals;
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
        "{name}: hash {:016x}, {} events in {:.3} s",
        report.hash,
        report.events,
        report.simulated.as_secs_f64(),
    );
    for tally in &report.tallies {
        let Tally {
            checker,
            held,
            excused,
            ..
        } = tally;
        println!("{name}: {checker} held {held} times, excused {excused}");
    }
    match (&report.violation, report.verdict()) {
        (Some(violation), _) => println!("{name}: VIOLATED {violation}"),
        (None, Verdict::Unknown) => println!("{name}: proved nothing: no push was due"),
        (None, Verdict::Pass | Verdict::Fail) => println!("{name}: every invariant held"),
    }
}

/// Shrinks a schedule that fails and writes it. `false`: it failed.
fn keep_small(schedule: &Schedule, out: &Path) -> Result<bool, String> {
    let Some(violation) = swarm::run(schedule).violation else {
        println!("it violates nothing");
        return Ok(true);
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

/// The time between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(5);

#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "how long a swarm runs is real time; each world runs in one thread"
)]
fn run_swarm(span: Duration, jobs: u64, from: u64, out: &Path) -> Result<bool, String> {
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
    let seconds = begin.elapsed().as_secs_f64();
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
    let failed = failed.into_inner().unwrap_or_default();
    let Some(report) = failed.iter().min_by_key(|report| report.seed) else {
        println!("every invariant held");
        return Ok(overdrawn.is_empty());
    };
    tell(&format!("seed {}", report.seed), report);
    println!("again: switchboard-sim replay {}", report.seed);
    keep_small(&swarm::schedule(report.seed), out)
}
