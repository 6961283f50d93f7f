//! Kills servers and lets Redis fail while durable pushes flow, and checks that followers lose nothing.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use switchboard_tests::adapter::Adapter;
use switchboard_tests::chaos::{self, Plan};
use switchboard_tests::matrix::Fleet;

/// Kills servers and lets Redis fail while durable pushes flow, and checks that every following terminal gets
/// each record of its logs once, unless Redis has lost it.
///
/// It starts all that it needs: servers of this workspace, two Redis and a Sentinel. Exits with 1 if anything
/// was lost or doubled, a gap was told where there was none, or a failover lost what a replica was said to have.
#[derive(Debug, Parser)]
#[command(name = "switchboard-chaos", version)]
struct ChaosOptions {
    /// What decides about users, pauses and faults; by default the time
    #[arg(long)]
    seed: Option<u64>,
    /// The servers' runtimes: tokio, smol, or mixed
    #[arg(long = "servers", value_parser = fleet, default_value = "mixed")]
    fleet: Fleet,
    /// Servers at a time
    #[arg(long, default_value_t = 4)]
    instances: usize,
    /// Users, each with one to three terminals
    #[arg(long, default_value_t = 1000)]
    users: usize,
    /// Topics, of whose logs each terminal follows none, one or two, and which get one push of ten
    #[arg(long, default_value_t = 20)]
    topics: usize,
    /// Durable pushes a second, every fourth of which waits for a replica
    #[arg(long, default_value_t = 200.0)]
    rate: f64,
    /// Seconds with pushes and faults
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Seconds from one killed server to the next
    #[arg(long, default_value_t = 5)]
    kills_every: u64,
    /// Seconds from the end of one fault of Redis to the next, on the average
    #[arg(long, default_value_t = 10)]
    redis_faults_every: u64,
    /// The servers' setting, in seconds
    #[arg(long, default_value_t = 60)]
    log_check: u64,
    /// A folder for the servers' logs, and for what was seen of logs with which something is wrong
    #[arg(long)]
    output: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = ChaosOptions::parse();
    if let Some(folder) = &options.output
        && let Err(error) = fs::create_dir_all(folder)
    {
        eprintln!("{}: {error}", folder.display());
        return ExitCode::from(2);
    }
    let plan = Plan {
        seed: options.seed.unwrap_or_else(chaos::seed),
        fleet: options.fleet,
        servers: options.instances,
        users: options.users,
        topics: options.topics,
        rate: options.rate,
        time: Duration::from_secs(options.seconds),
        kills_every: Duration::from_secs(options.kills_every),
        redis_faults_every: Duration::from_secs(options.redis_faults_every),
        log_check: Duration::from_secs(options.log_check),
        output: options.output,
    };
    println!("seed {}", plan.seed);
    let report = chaos::run(&plan);
    print!("{report}");
    if report.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn fleet(text: &str) -> Result<Fleet, String> {
    let fleets = [
        Fleet::Of(Adapter::Tokio),
        Fleet::Of(Adapter::Smol),
        Fleet::Mixed,
    ];
    let named = fleets.into_iter().find(|fleet| fleet.to_string() == text);
    named.ok_or_else(|| "must be tokio, smol or mixed".to_owned())
}
