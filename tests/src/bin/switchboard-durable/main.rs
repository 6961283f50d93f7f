//! What durable pushes and following terminals cost, beside plain ones in the same run.

mod memory;
mod pushes;
mod resumes;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use resumes::Resumes;
use switchboard_tests::adapter::Adapter;
use switchboard_tests::measure::{Testbed, is_within, median, serve_herd_if_asked};

/// Measures what durable pushes and following terminals cost, beside plain ones in the same run.
///
/// It starts all that it needs: two servers of this workspace and a Redis, for each measurement anew. What is measured
/// is processor time, memory and ratios, and what counts is an idle machine.
#[derive(Debug, Parser)]
#[command(name = "switchboard-durable", version)]
struct DurableOptions {
    /// The servers' runtime: tokio or smol
    #[arg(long = "servers", default_value_t = Adapter::Tokio)]
    adapter: Adapter,
    /// Pushes of each kind in a turn
    #[arg(long, default_value_t = 10_000)]
    pushes: usize,
    /// Turns of each kind
    #[arg(long, default_value_t = 5)]
    turns: usize,
    /// Idle terminals whose memory is read
    #[arg(long, default_value_t = 5000)]
    idle: usize,
    /// Terminals that return at a time, each for 20 records
    #[arg(long, default_value_t = 10_000)]
    resumes: usize,
    /// Over how many seconds they return
    #[arg(long, default_value_t = 5)]
    within: u64,
    /// Pushes a second while they do
    #[arg(long, default_value_t = 500)]
    rate: u32,
    /// How often they do, on servers of their own: the median counts
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Exit with 1 if a figure is above the bound that is printed beside it
    #[arg(long)]
    check: bool,
    /// Only these: pushes, memory, resumes
    only: Vec<String>,
}

/// Times the processor time of a plain push that a durable one may take.
const MORE_TIME: f64 = 1.3;
/// Scripts that Redis may run for a durable push: one, and those of leases and checks in the same time.
const SCRIPTS: f64 = 1.01;
/// Bytes of an idle follower beside those of a plain terminal.
const MORE_MEMORY: i64 = 200;
/// Bytes in Redis of a user with one record of 200 B.
const IN_REDIS: u64 = 800;
/// Seconds until all that return have their records.
const RETURNED: f64 = 10.0;
/// Times its usual value that the p99 of receipts may take meanwhile.
const SLOWER: f64 = 5.0;
/// Times the memory of all of them idle that servers may take meanwhile.
const PEAK: f64 = 1.5;

fn main() -> ExitCode {
    serve_herd_if_asked();
    let options = DurableOptions::parse();
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|o| o == name);
    let mut holds = true;
    if wanted("pushes") {
        let place = Testbed::start(options.adapter);
        let cost = pushes::measure(&place, options.pushes, options.turns);
        holds &= is_within(cost.times <= MORE_TIME, &format!("{MORE_TIME} times"));
        holds &= is_within(cost.scripts <= SCRIPTS, &format!("{SCRIPTS} scripts"));
    }
    if wanted("memory") {
        let cost = memory::measure(options.adapter, options.idle);
        holds &= is_within(cost.more <= MORE_MEMORY, &format!("{MORE_MEMORY:+} B"));
        holds &= is_within(cost.in_redis <= IN_REDIS, &format!("{IN_REDIS} B in Redis"));
    }
    if wanted("resumes") {
        holds &= resumes(&options);
    }
    match holds || !options.check {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn resumes(options: &DurableOptions) -> bool {
    let within = Duration::from_secs(options.within);
    let runs: Vec<_> = (0..options.runs.max(1))
        .map(|_| {
            let place = Testbed::start(options.adapter);
            resumes::measure(&place, options.resumes, within, options.rate)
        })
        .collect();
    let median_of = |figure: fn(&Resumes) -> f64| {
        let all: Vec<_> = runs.iter().map(figure).collect();
        median(&all)
    };
    let took = median_of(|run| run.took.as_secs_f64());
    let plain = median_of(|run| run.plain);
    let durable = median_of(|run| run.durable);
    let memory = median_of(|run| run.memory);
    println!(
        "median of {}: all had their records after {took:.1} s, p99 plain {plain:.1} times, durable {durable:.1} times, memory {memory:.2} times",
        runs.len()
    );
    let within = [
        is_within(took <= RETURNED, &format!("{RETURNED} s")),
        is_within(plain.max(durable) < SLOWER, &format!("{SLOWER} times")),
        is_within(memory <= PEAK, &format!("{PEAK} times the memory")),
    ];
    !within.contains(&false)
}
