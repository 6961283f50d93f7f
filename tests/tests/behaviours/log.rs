//! The log: what it says, how much of it, and what becomes of it when nobody reads it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::ChildStderr;
use std::time::Instant;

use serde_json::Value;
use switchboard_tests::behaviour::{Behaviour, COMMAND_LINE, ONE};
use switchboard_tests::behaviours;
use switchboard_tests::matrix::Cell;
use switchboard_tests::patience::{eventually, eventually_some};
use switchboard_tests::raw::opcode;
use switchboard_tests::server::Server;
use switchboard_tests::settings::Settings;
use switchboard_tests::terminal::Connect;
use uuid::Uuid;

pub(crate) const LIST: &[Behaviour] = behaviours![
    (ONE, the_log_can_be_json),
    (ONE, the_log_tells_the_life_of_each_connection),
    (
        ONE,
        refused_handshakes_are_counted_and_told_once_an_interval
    ),
    (ONE, a_handshake_that_takes_too_long_is_counted_and_told),
    (COMMAND_LINE, a_log_that_nobody_reads_stops_nothing),
    (COMMAND_LINE, a_server_ends_although_nobody_reads_its_log),
    (
        COMMAND_LINE,
        strangers_at_the_peers_port_write_one_line_an_interval
    ),
    (
        ONE.single_redis(),
        a_redis_that_refuses_writes_is_told_once_an_interval
    ),
];

/// H55: the log can be read by machines, line by line, and is quiet by default.
fn the_log_can_be_json(cell: Cell) {
    let cluster = cell.start_with(1, |s| s.with("log", "json"));
    let server = &cluster[0];
    let mut terminal = server.terminal("ann");
    for _ in 0..20 {
        server.api().push("ann", "hello").expect_written(1);
        terminal.expect_text("hello");
    }

    server.await_log("settled");
    let entries = entries(server);
    for entry in &entries {
        let level = entry["level"].as_str().unwrap_or_default().to_uppercase();
        assert!(["INFO", "WARN"].contains(&level.as_str()), "{entry}");
    }
    assert!(entries.len() < 20, "nothing is logged per message");
}

/// H54, H55: what happens to connections is there at `debug`, messages at `trace`; never what is in
/// them, nor the query string.
fn the_log_tells_the_life_of_each_connection(cell: Cell) {
    const SECRET: &str = "nobody-else-reads-this";
    let cluster = cell.start_with(1, |s| s.with("log", "json").with("log_level", "trace"));
    let server = &cluster[0];
    let lines = || entries(server);
    let gone = |uuid: Uuid| {
        eventually_some("its end is told", || {
            lines()
                .into_iter()
                .find(|line| line["uuid"] == uuid.to_string() && line["reason"].is_string())
        })
    };

    let mut stays = server.terminal("ann");
    stays.send_text(SECRET);
    stays.recv();
    server.api().push("ann", SECRET).expect_written(1);
    stays.expect_text(SECRET);
    let uuid = stays.uuid;
    stays.close();
    let end = gone(uuid);
    assert_eq!(
        (&end["user"], &end["reason"]),
        (&"ann".into(), &"by_terminal".into())
    );
    assert_eq!(
        (&end["messages"], &end["frames"]),
        (&1.into(), &3.into()),
        "{end}"
    );
    assert_eq!(end["bytes"], SECRET.len(), "those of pushes: {end}");
    assert!(end["lived_ms"].is_u64(), "{end}");

    let kicked = server.terminal("bob");
    let uuid = kicked.uuid;
    server.api().kick("bob");
    drop(kicked);
    assert_eq!(gone(uuid)["reason"], "kicked");
    assert_eq!(server.connect().refused().status, 400);

    for text in [
        "a terminal is accepted",
        "a terminal is greeted",
        "a message came",
        "a push is handed in",
        "a push has its receipt",
        "a frame is sent",
        "a handshake is refused",
    ] {
        server.await_log(text);
    }
    let log = server.log();
    // Neither payloads nor what requests say.
    for said in [SECRET, "user=ann", "user=bob"] {
        assert!(!log.contains(said), "{said} in {log}");
    }
    for (reason, count) in [("by_terminal", 1.0), ("kicked", 1.0), ("lost", 0.0)] {
        let label = format!("reason=\"{reason}\"");
        let counted = server
            .api()
            .metric_of("switchboard_terminals_gone_total", &label);
        assert_eq!(counted, count, "{reason}");
    }
}

/// H04, H54, H55: an operator sees who is kept out and why, and strangers do not fill the log.
fn refused_handshakes_are_counted_and_told_once_an_interval(cell: Cell) {
    const STRANGERS: u64 = 50;
    let begin = Instant::now();
    let cluster = cell.start_with(1, |s| s.with("log", "json"));
    let server = &cluster[0];
    for _ in 0..STRANGERS {
        let page = server
            .connect()
            .user("ann")
            .header("Origin", "https://elsewhere.example");
        assert_eq!(page.refused().status, 403);
    }

    let foreign = "code=\"foreign_origin\"";
    let counted = server
        .api()
        .metric_of("switchboard_terminals_refused_total", foreign);
    assert_eq!(counted, STRANGERS as f64);
    let lines = || told(server, &["a handshake is refused", "handshakes refused"]);
    eventually("each of them is in the count", || {
        lines().iter().sum::<u64>() == STRANGERS
    });
    assert_few(&lines(), begin);
    let all = entries(server);
    let first = all.iter().find(|line| line["code"] == "foreign_origin");
    let first = first.expect("it is told");
    assert_eq!(first["status"], 403);
    assert_eq!(first["origin"], "\"https://elsewhere.example\"");
}

/// H10, H54: a client that does not get on with its handshake is closed, and that is no secret.
fn a_handshake_that_takes_too_long_is_counted_and_told(cell: Cell) {
    let cluster = cell.start_with(1, |s| s.with("handshake_timeout", "300ms"));
    let server = &cluster[0];
    // One that is refused is counted as that alone, however long its client stays.
    let mut refused = TcpStream::connect(server.terminals()).expect("it listens");
    let request = b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n";
    refused.write_all(request).expect("it is open");
    refused.read_exact(&mut [0; 12]).expect("it is answered");
    let _silent = TcpStream::connect(server.terminals()).expect("it listens");
    let _stranger = TcpStream::connect(server.peer()).expect("it listens");

    let late = "code=\"handshake_timeout\"";
    eventually("both are told, and the terminal is counted", || {
        let counted = "switchboard_terminals_refused_total";
        let log = server.log();
        let told = log.matches("a handshake was not complete in time").count();
        server.api().metric_of(counted, late) > 0.5 && told == 2
    });
    let all = server.api().metric("switchboard_terminals_refused_total");
    assert!(all < 2.5, "{all} are counted, and there were two");
}

/// H55: whoever reads the log is slow or stopped: pushes go on, and what is missing from the log is
/// said there, and counted.
fn a_log_that_nobody_reads_stops_nothing(cell: Cell) {
    let (server, log) = unheard(cell);
    let mut terminal = server.terminal("ann");

    server.api().push("ann", "still there").expect_written(1);

    terminal.expect_text("still there");
    let told = BufReader::new(log)
        .lines()
        .map_while(Result::ok)
        .find(|line| line.contains("lines of the log were dropped"));
    assert!(told.is_some(), "the log does not say that it has a gap");
}

/// H53, H55: a supervisor that has stopped reading does not keep the process from ending.
fn a_server_ends_although_nobody_reads_its_log(cell: Cell) {
    let (mut server, log) = unheard(cell);

    server.sigterm();

    assert!(server.wait_exit().success());
    drop(log);
}

/// H55: whoever reaches the peers' port can have the server write as little as anybody else.
fn strangers_at_the_peers_port_write_one_line_an_interval(cell: Cell) {
    const STRANGERS: u64 = 60;
    let begin = Instant::now();
    let server = Server::start(
        cell.fleet.adapter(0),
        &Settings::for_tests().with("log", "json"),
    );
    let instance = server.api().instances()[0].instance.clone();
    for _ in 0..STRANGERS {
        let mut stranger = Connect::at(server.peer(), &format!("/link/{instance}")).raw();
        let _ = stranger.send(opcode::BINARY, b"let me in");
        assert!(stranger.has_ended(), "it is let go");
    }

    let lines = || {
        told(
            &server,
            &["a peer broke the links", "peers that broke the protocol"],
        )
    };
    eventually("each of them is in the count", || {
        lines().iter().sum::<u64>() == STRANGERS
    });
    assert_few(&lines(), begin);
}

/// H38, H55: a fault that each terminal and push meets is told once, with a count.
fn a_redis_that_refuses_writes_is_told_once_an_interval(cell: Cell) {
    const TERMINALS: usize = 40;
    let begin = Instant::now();
    let cluster = cell.start_with(1, |s| s.with("log", "json").with("hello_grace", "100ms"));
    let _: String = cluster
        .redis()
        .command(&["CONFIG", "SET", "maxmemory", "1"]);
    let terminals: Vec<_> = (0..TERMINALS)
        .map(|n| cluster[0].connect().user(&format!("user-{n}")).open())
        .collect();

    let lines = || {
        let refused = ["refused an operation", "operations refused"];
        told(&cluster[0], &refused)
    };
    eventually("each of them is in the count", || {
        lines().iter().sum::<u64>() >= TERMINALS as u64
    });
    assert_few(&lines(), begin);
    drop(terminals);
}

/// A server that has had more to say than anybody has read.
fn unheard(cell: Cell) -> (Server, ChildStderr) {
    let settings = Settings::for_tests().with("log_level", "trace");
    let (server, log) = Server::start_unheard(cell.fleet.adapter(0), &settings);
    let mut publisher = server.api().publisher();
    eventually("lines are dropped", || {
        for _ in 0..500 {
            publisher.push("nobody", "hello").expect_written(0);
        }
        server.api().metric("switchboard_log_lines_dropped_total") > 0.5
    });
    (server, log)
}

/// The lines of its log, which is in JSON.
fn entries(server: &Server) -> Vec<Value> {
    let entry = |line| serde_json::from_str(line).expect("each line is JSON");
    server.log().lines().map(entry).collect()
}

/// How often each line with one of these texts says that it happened: once, and what is untold.
fn told(server: &Server, texts: &[&str]) -> Vec<u64> {
    let told = |entry: Value| {
        let message = entry["message"].as_str()?;
        let untold = entry["untold"].as_u64().unwrap_or(0);
        let itself = u64::from(!message.ends_with("not told one by one"));
        let is_one = texts.iter().any(|text| message.contains(text));
        is_one.then_some(untold + itself)
    };
    entries(server).into_iter().filter_map(told).collect()
}

/// One line at once, and then one an interval of ten seconds.
fn assert_few(lines: &[u64], begin: Instant) {
    let intervals = begin.elapsed().as_secs() / 10;
    assert!(lines.len() as u64 <= 2 + intervals, "{lines:?}");
}
