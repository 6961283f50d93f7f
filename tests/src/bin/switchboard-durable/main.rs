//! What durable pushes and following terminals cost, beside plain ones in the same run.

mod memory;
mod pushes;
mod resumes;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use switchboard_tests::adapter::Adapter;
use switchboard_tests::measure::{Testbed, serve_herd_if_asked};

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
    /// Only these: pushes, memory, resumes
    only: Vec<String>,
}

fn main() -> ExitCode {
    serve_herd_if_asked();
    let options = DurableOptions::parse();
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|o| o == name);
    let adapter = options.adapter;
    if wanted("pushes") {
        pushes::measure(&Testbed::start(adapter), options.pushes, options.turns);
    }
    if wanted("memory") {
        memory::measure(adapter, options.idle);
    }
    if wanted("resumes") {
        let within = Duration::from_secs(options.within);
        resumes::measure(
            &Testbed::start(adapter),
            options.resumes,
            within,
            options.rate,
        );
    }
    ExitCode::SUCCESS
}
