//! What topics cost, beside broadcasts in the same run.

mod crash;
mod fanout;
mod joins;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use switchboard_tests::adapter::Adapter;
use switchboard_tests::measure::{Testbed, serve_herd_if_asked};

/// Measures what topics cost, beside broadcasts in the same run.
///
/// It starts all that it needs: two servers of this workspace, a Redis, and processes of terminals, which give way to
/// servers, for each measurement anew. What is measured is processor time and ratios, and what counts is an idle
/// machine. Exits with 1 if a user is told to have left who has not, or twice, or never.
#[derive(Debug, Parser)]
#[command(name = "switchboard-topics", version)]
struct TopicsOptions {
    /// The servers' runtime: tokio or smol
    #[arg(long = "servers", default_value_t = Adapter::Tokio)]
    adapter: Adapter,
    /// Members of the large topic, half of them at each server
    #[arg(long, default_value_t = 38_000)]
    members: usize,
    /// Turns of each kind of push
    #[arg(long, default_value_t = 9)]
    turns: usize,
    /// Joins and leaves a second
    #[arg(long, default_value_t = 5000)]
    rate: usize,
    /// For how many seconds
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// The servers' setting: to how many terminals each writes in a second, at most
    #[arg(long)]
    broadcast_rate: Option<u32>,
    /// Only these: fanout, joins, crash, leaves
    only: Vec<String>,
}

fn main() -> ExitCode {
    serve_herd_if_asked();
    let options = TopicsOptions::parse();
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|o| o == name);
    let place = || Testbed::start(options.adapter);
    if wanted("fanout") {
        let place = Testbed::start_with(options.adapter, |settings| match options.broadcast_rate {
            None => settings,
            Some(rate) => settings.with("broadcast_rate", rate),
        });
        fanout::measure(&place, options.members, options.turns);
    }
    if wanted("joins") {
        let span = Duration::from_secs(options.seconds);
        joins::measure(&place(), options.rate, span);
    }
    if wanted("crash") {
        crash::pushes(place());
    }
    if wanted("leaves") && !crash::leaves(options.adapter) {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
