//! What terminals of Centrifuge's protocol cost, beside plain ones in the same run.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use switchboard_tests::adapter::Adapter;
use switchboard_tests::http::Request;
use switchboard_tests::measure::{
    Crowd, ONE_BY_ONE, Speaks, Testbed, is_within, median, serve_herd_if_asked,
};

/// Measures what terminals of Centrifuge's protocol cost in JSON, beside plain ones in the same run.
///
/// It starts all that it needs: two servers of this workspace and a Redis, for each measurement anew. What is measured
/// is processor time, memory and ratios, and what counts is an idle machine.
#[derive(Debug, Parser)]
#[command(name = "switchboard-centrifuge", version)]
struct CentrifugeOptions {
    /// The servers' runtime: tokio or smol
    #[arg(long = "servers", default_value_t = Adapter::Tokio)]
    adapter: Adapter,
    /// Idle terminals whose memory is read, of each kind
    #[arg(long, default_value_t = 5000)]
    idle: usize,
    /// Terminals of each kind that are pushed to
    #[arg(long, default_value_t = 10_000)]
    terminals: usize,
    /// Turns of each kind of push
    #[arg(long, default_value_t = 15)]
    turns: usize,
    /// Exit with 1 if a terminal takes over 1 KiB more memory than a plain one, or a delivery over 1.15 times its processor time
    #[arg(long)]
    check: bool,
    /// Only these: memory, broadcast
    only: Vec<String>,
}

/// Bytes that an idle terminal may take beside those of a plain one.
const MORE_MEMORY: i64 = 1024;
/// Times the processor time of a delivery to a plain terminal that one may take.
const MORE_TIME: f64 = 1.15;

fn main() -> ExitCode {
    serve_herd_if_asked();
    let options = CentrifugeOptions::parse();
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|o| o == name);
    let mut holds = true;
    if wanted("memory") {
        let more = memory(options.adapter, options.idle);
        holds &= is_within(more <= MORE_MEMORY, &format!("{MORE_MEMORY:+} B"));
    }
    if wanted("broadcast") {
        let times = broadcast(options.adapter, options.terminals, options.turns);
        holds &= is_within(times <= MORE_TIME, &format!("{MORE_TIME} times"));
    }
    match holds || !options.check {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Returns how many bytes more a terminal takes than a plain one.
fn memory(adapter: Adapter, terminals: usize) -> i64 {
    println!("resident memory of both servers for an idle terminal, of {terminals}:");
    let plain = idle(adapter, terminals, Speaks::Plain);
    let centrifuge = idle(adapter, terminals, Speaks::Centrifuge);
    println!("  plain      {plain} B");
    println!(
        "  Centrifuge {centrifuge} B, {:+} B, {:.2} times",
        centrifuge - plain,
        centrifuge as f64 / plain as f64
    );
    centrifuge - plain
}

/// What each of so many terminals adds to servers that have had some already.
fn idle(adapter: Adapter, terminals: usize, speaks: Speaks) -> i64 {
    let place = Testbed::start(adapter);
    let crowd = Crowd::new(&place).speaking(speaks);
    let queries = |from: usize, to: usize| (from..to).map(|user| format!("user=user-{user}"));
    // Those that come first pay for tables and threads.
    crowd.connect(queries(0, terminals / 10).collect(), ONE_BY_ONE);
    let before = place.settled_memory();
    let others = queries(terminals / 10, terminals + terminals / 10);
    crowd.connect(others.collect(), ONE_BY_ONE);
    let after = place.settled_memory();
    (after as i64 - before as i64) / terminals as i64
}

/// From one terminal to the next while they connect.
const APART: Duration = Duration::from_micros(400);
/// Pushes in a turn: the kernel counts processor time in hundredths of a second.
const PUSHES: usize = 5;
/// Bytes of a push.
const BYTES: usize = 100;

/// Returns how many times the processor time of a plain delivery one takes.
fn broadcast(adapter: Adapter, terminals: usize, turns: usize) -> f64 {
    println!(
        "broadcasts of {BYTES} B to {terminals} terminals of each kind, on two servers each, in turns:"
    );
    let kinds = [Speaks::Plain, Speaks::Centrifuge].map(|speaks| {
        let place = Testbed::start(adapter);
        let crowd = Crowd::new(&place).speaking(speaks);
        let queries = (0..terminals).map(|user| format!("user=user-{user}"));
        crowd.connect(queries.collect(), APART);
        (place, crowd)
    });
    let mut micros = [Vec::new(), Vec::new()];
    // The first turn fills caches.
    for turn in 0..=turns {
        for (kind, (place, crowd)) in kinds.iter().enumerate() {
            let before = place.processor_time();
            for _ in 0..PUSHES {
                let texts = crowd.texts();
                push(place, turn);
                crowd.await_texts(texts + terminals);
            }
            let spent = place.processor_time() - before;
            if turn > 0 {
                micros[kind].push(spent.as_secs_f64() * 1e6 / (PUSHES * terminals) as f64);
            }
        }
    }
    let [plain, centrifuge] = micros.map(|turns| median(&turns));
    println!("  processor time of both servers for a delivery (medians of {turns}):");
    println!(
        "    plain {plain:.2} us, Centrifuge {centrifuge:.2} us: {:.2} times",
        centrifuge / plain
    );
    centrifuge / plain
}

fn push(place: &Testbed, number: usize) {
    let api = place.servers[number % place.servers.len()].api();
    let around = r#"{"text":""}"#.len();
    let body = format!(r#"{{"text":"{}"}}"#, "x".repeat(BYTES - around));
    let request = Request::new("POST", "/v1/broadcast").body(body);
    let answer = api.send(request.query("deadline", "30s"));
    assert_eq!(answer.status, 200, "{}", answer.text());
}
