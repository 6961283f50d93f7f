//! Loads servers with terminals and pushes, and checks that nothing is lost, doubled or out of
//! order.
//!
//! Every payload says who pushed it, as which of its pushes, and when; every terminal keeps what
//! came. At the end both are compared with the receipts.

mod half_open;
mod publishers;
mod report;
mod spent;
mod terminals;

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use switchboard_tests::sockets::resident;

use publishers::publish;
use report::{LoadReport, Percentiles, ServerCost};
use spent::{SecondsOfParts, Spent};
use terminals::LoadTerminals;

/// Loads Switchboard servers, and checks that every push arrives once and in order.
///
/// Exits with 1 if anything was lost, doubled or out of order, or a push was refused.
#[derive(Debug, Parser)]
#[command(name = "switchboard-load", version, args_override_self = true)]
struct LoadOptions {
    /// Where terminals connect; repeat it for several servers
    #[arg(
        long,
        value_name = "URL",
        default_value = "ws://127.0.0.1:8080/connect"
    )]
    ws: Vec<String>,
    /// Where pushes are handed in; repeat it for several servers
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8081")]
    api: Vec<String>,
    /// The API's key
    #[arg(long, env = "SWITCHBOARD_LOAD_KEY", hide_env_values = true)]
    key: Option<String>,
    /// The secret of HS256 tokens, for servers with `--auth jwt`
    #[arg(long, env = "SWITCHBOARD_LOAD_JWT_SECRET", hide_env_values = true)]
    jwt_secret: Option<String>,
    /// Terminals, spread over the servers
    #[arg(long, default_value_t = 1000)]
    terminals: usize,
    /// Terminals of each user
    #[arg(long, default_value_t = 1)]
    per_user: usize,
    /// Seconds to sit still once all terminals are connected, before memory is read
    #[arg(long, default_value_t = 0)]
    idle: u64,
    /// Publishers, spread over the servers, each with one connection
    #[arg(long, default_value_t = 4)]
    publishers: usize,
    /// Pushes of all publishers together
    #[arg(long, default_value_t = 10_000)]
    pushes: usize,
    /// Pushes per second of all publishers together; 0: as fast as receipts come
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
    /// Push to everyone, rather than to one user after another
    #[arg(long)]
    broadcast: bool,
    /// Bytes of a payload
    #[arg(long, default_value_t = 100)]
    bytes: usize,
    /// A server's process id, for its memory and processor time; repeat it for several
    #[arg(long, value_name = "PID")]
    pid: Vec<u32>,
    /// Redis's process id, for its processor time in the JSON object
    #[arg(long, value_name = "PID")]
    redis_pid: Option<u32>,
    /// Only open so many handshakes that never get on, and show the memory that they take; needs --pid
    #[arg(long, value_name = "COUNT", requires = "pid")]
    half_open: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let options = LoadOptions::parse();
    if let Some(count) = options.half_open {
        return match half_open(&options, count) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error),
        };
    }
    match run(&options) {
        Ok(report) if report.is_clean() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => failed(&error),
    }
}

fn failed(error: &io::Error) -> ExitCode {
    eprintln!("switchboard-load: {error}");
    ExitCode::from(2)
}

fn half_open(options: &LoadOptions, count: usize) -> io::Result<()> {
    let servers = addresses(&options.ws, "ws://")?;
    match (servers.first(), options.pid.first()) {
        (Some((server, _)), Some(pid)) if count > 0 => half_open::measure(*server, count, *pid),
        _ => Err(io::Error::other("at least one handshake, and --pid")),
    }
}

fn run(options: &LoadOptions) -> io::Result<LoadReport> {
    if options.terminals == 0 || options.per_user == 0 || options.publishers == 0 {
        return Err(io::Error::other(
            "at least one terminal, one per user, one publisher",
        ));
    }
    // Every terminal is a descriptor; what the system does not allow shows when they connect.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let apis = addresses(&options.api, "http://")?;
    let memory_before = memory(&options.pid);
    let spent_before = Spent::until_now(options);
    let begin = Instant::now();
    let terminals = LoadTerminals::connect(options, begin)?;
    let connected_in = begin.elapsed();
    let spent_connected = Spent::until_now(options);
    thread::sleep(Duration::from_secs(options.idle));
    let memory_idle = memory(&options.pid);

    let spent_idle = Spent::until_now(options);
    let publishing = Instant::now();
    let published = publish(options, &apis, begin);
    let published_in = publishing.elapsed();
    terminals.await_frames(published.written);
    let pushing = Spent::until_now(options).since(spent_idle);

    let arrived = terminals.check();
    let grown = memory_idle.saturating_sub(memory_before);
    let report = LoadReport {
        terminals: options.terminals,
        connected_seconds: connected_in.as_secs_f64(),
        pushes: published.pushes,
        refused: published.refused,
        degraded: published.degraded,
        pushes_per_second: published.pushes as f64 / published_in.as_secs_f64(),
        written: published.written,
        failed: published.failed,
        arrived: arrived.frames,
        lost: published.written.saturating_sub(arrived.different),
        doubled: arrived.frames - arrived.different,
        out_of_order: arrived.out_of_order,
        receipt_micros: Percentiles::of(published.latencies),
        delivery_micros: Percentiles::of(arrived.latencies),
        server: (!options.pid.is_empty()).then(|| ServerCost {
            memory_bytes: memory(&options.pid),
            idle_bytes_per_terminal: grown / options.terminals as u64,
            processor_micros_per_push: pushing.servers.as_micros() as f64
                / published.pushes.max(1) as f64,
        }),
        processor_seconds: SecondsOfParts::of(
            spent_connected.since(spent_before),
            spent_idle.since(spent_connected),
            pushing,
        ),
    };
    report.print(options.json);
    Ok(report)
}

/// Address and path of each URL.
fn addresses(urls: &[String], scheme: &str) -> io::Result<Vec<(SocketAddr, String)>> {
    let parse = |url: &String| {
        let rest = url.strip_prefix(scheme)?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        Some((host.to_socket_addrs().ok()?.next()?, format!("/{path}")))
    };
    let invalid = |url: &String| io::Error::other(format!("not {scheme}HOST:PORT/...: {url}"));
    urls.iter()
        .map(|url| parse(url).ok_or_else(|| invalid(url)))
        .collect()
}

fn memory(pids: &[u32]) -> u64 {
    pids.iter().map(|pid| resident(*pid)).sum()
}
