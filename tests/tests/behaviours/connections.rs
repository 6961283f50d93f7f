//! The life of a terminal's connection.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use switchboard_tests::api::InstanceInfo;
use switchboard_tests::behaviour::{Behaviour, INSTANCES, ONE, PROCESSES};
use switchboard_tests::behaviours;
use switchboard_tests::cluster::Cluster;
use switchboard_tests::matrix::Cell;
use switchboard_tests::patience::{SILENCE, eventually, throughout};
use switchboard_tests::raw::opcode;
use switchboard_tests::sockets::descriptors;
use switchboard_tests::terminal::{Ending, Frame, Terminal};

pub(crate) const LIST: &[Behaviour] = behaviours![
    (
        INSTANCES,
        two_terminals_that_connect_at_the_same_instant_are_both_reachable
    ),
    (INSTANCES, the_hello_comes_first_although_pushes_never_pause),
    (INSTANCES, a_push_after_the_hello_always_arrives),
    (
        INSTANCES,
        pushes_reach_every_staying_terminal_once_while_others_come_and_go
    ),
    (ONE, messages_that_nobody_takes_are_answered_as_dropped),
    (
        PROCESSES,
        the_list_of_connections_is_the_same_at_every_instance
    ),
    (ONE, a_close_is_echoed_and_the_socket_ends),
    (ONE, an_empty_close_is_echoed),
    (INSTANCES, a_terminal_that_goes_abruptly_is_unregistered),
    (
        ONE.in_redis(),
        many_abrupt_ends_leave_no_descriptor_and_no_row
    ),
    (
        INSTANCES,
        a_terminal_that_answers_no_ping_is_closed_and_unregistered
    ),
    (ONE, a_terminal_that_talks_but_sends_no_pong_stays),
    (ONE, a_ping_from_a_terminal_is_answered),
    (
        ONE,
        messages_and_pings_of_a_terminal_cause_no_work_in_the_directory
    ),
    (
        PROCESSES,
        a_user_cannot_have_more_connections_than_the_limit
    ),
    (ONE, an_instance_cannot_have_more_connections_than_the_limit),
    (ONE.in_redis(), every_row_has_an_expiry),
    (
        INSTANCES.in_redis(),
        a_malformed_row_does_not_hide_the_others
    ),
    (
        INSTANCES.in_redis(),
        a_lease_with_an_impossible_epoch_is_taken_back
    ),
];

/// H11: both are registered, both are served, on one instance and on two.
fn two_terminals_that_connect_at_the_same_instant_are_both_reachable(cell: Cell) {
    const ROUNDS: usize = 10;
    let cluster = cell.start(2);
    for round in 0..ROUNDS {
        let user = format!("user-{round}");
        let mut terminals: Vec<Terminal> = thread::scope(|scope| {
            let handles: Vec<_> = [0, 0, 0, 1, 1]
                .map(|instance| {
                    let (server, user) = (&cluster[instance], &user);
                    scope.spawn(move || server.terminal(user))
                })
                .into_iter()
                .collect();
            handles
                .into_iter()
                .map(|h| h.join().expect("it connects"))
                .collect()
        });

        cluster[round % 2]
            .api()
            .push(&user, "both")
            .expect_written(5);

        for terminal in &mut terminals {
            terminal.expect_text("both");
        }
        assert_eq!(cluster[1].api().connections(&user).connections.len(), 5);
    }
}

/// H21: the hello is the first frame, whatever is pushed while the terminal connects.
fn the_hello_comes_first_although_pushes_never_pause(cell: Cell) {
    const CONNECTS: usize = 100;
    let cluster = cell.start(2);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for instance in 0..2 {
            let (api, done) = (cluster[instance].api(), &done);
            scope.spawn(move || {
                let mut publisher = api.publisher();
                while !done.load(Ordering::Relaxed) {
                    publisher.push("ann", "a payload");
                }
            });
        }
        for _ in 0..CONNECTS {
            // Opening asserts that the first frame is the hello.
            let mut terminal = cluster[0].terminal("ann");
            assert_eq!(terminal.recv(), Frame::Text("a payload".to_owned()));
            terminal.close();
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// H21: a hello without `degraded` means that every push from then on arrives.
fn a_push_after_the_hello_always_arrives(cell: Cell) {
    const CONNECTS: usize = 50;
    let cluster = cell.start(2);
    let mut publisher = cluster[1].api().publisher();
    for n in 0..CONNECTS {
        let user = format!("user-{n}");
        let mut terminal = cluster[0].terminal(&user);
        publisher.push(&user, "hello").expect_written(1);
        terminal.expect_text("hello");
    }
}

/// H12: while others of the same user come and go, those that stay get each push exactly once.
fn pushes_reach_every_staying_terminal_once_while_others_come_and_go(cell: Cell) {
    const PUSHES: usize = 300;
    let cluster = cell.start(2);
    let stay: Vec<_> = (0..4)
        .map(|n| cluster[n % 2].terminal("ann").follow())
        .collect();
    let done = AtomicBool::new(false);

    thread::scope(|scope| {
        for instance in 0..2 {
            let (server, done) = (&cluster[instance], &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let first = server.terminal("ann");
                    let second = server.terminal("ann");
                    first.reset();
                    second.close();
                }
            });
        }
        let mut publisher = cluster[0].api().publisher();
        for n in 0..PUSHES {
            let receipt = publisher.push("ann", &n.to_string());
            for terminal in &stay {
                assert_eq!(
                    receipt.outcome(terminal.uuid),
                    Some("written"),
                    "{receipt:?}"
                );
            }
        }
        done.store(true, Ordering::Relaxed);
    });

    let expected: Vec<_> = (0..PUSHES).map(|n| n.to_string()).collect();
    for terminal in stay {
        terminal.await_frames(PUSHES);
        assert_eq!(terminal.texts(), expected);
    }
}

/// A server without an application has no use for what a terminal sends. It says so each time, if the
/// terminal waits for that.
fn messages_that_nobody_takes_are_answered_as_dropped(cell: Cell) {
    let cluster = cell.start(1);
    let mut terminal = cluster[0].terminal("ann");

    for n in 1..=3 {
        match n {
            1 => terminal.send_text("one"),
            2 => terminal.send_binary(b"two"),
            _ => terminal.send_text(""),
        }
        let answer = terminal.recv();
        let json: serde_json::Value = serde_json::from_str(answer.text()).expect("JSON");
        assert_eq!(json, serde_json::json!({"switchboard": {"dropped": n}}));
    }
}

/// A list names every connection, from whatever instance it is asked.
fn the_list_of_connections_is_the_same_at_every_instance(cell: Cell) {
    let cluster = cell.start(3);
    let terminals: Vec<_> = (0..4).map(|n| cluster[n % 2].terminal("ann")).collect();
    let mut expected: Vec<_> = terminals.iter().map(|t| t.uuid).collect();
    expected.sort_unstable();

    for server in cluster.servers() {
        let list = server.api().connections("ann");
        assert!(!list.degraded);
        assert_eq!(list.uuids(), expected);
    }
    let of_first: Vec<_> = cluster[2].api().connections("ann").connections;
    let instances: std::collections::BTreeSet<_> = of_first.iter().map(|c| &c.instance).collect();
    assert_eq!(instances.len(), 2, "two instances hold them");
    assert!(cluster[2].api().connections("bob").connections.is_empty());
}

/// H17, H18: a clean close is answered with a Close frame of the same code, then the socket ends.
fn a_close_is_echoed_and_the_socket_ends(cell: Cell) {
    let cluster = cell.start(1);
    let terminal = cluster[0].terminal("ann");

    assert!(matches!(terminal.close(), Ending::Closed(1000, _)));

    let mut raw = cluster[0].connect().user("ann").raw();
    raw.read_frame().expect("the hello");
    raw.send(opcode::CLOSE, &3000_u16.to_be_bytes())
        .expect("the connection lives");
    assert_eq!(raw.close_code().expect("the echo"), 3000);
    assert!(raw.has_ended());
}

/// H18: a Close frame without a code is a clean close too.
fn an_empty_close_is_echoed(cell: Cell) {
    let cluster = cell.start(1);
    let mut raw = cluster[0].connect().user("ann").raw();
    raw.read_frame().expect("the hello");

    raw.send(opcode::CLOSE, &[]).expect("the connection lives");

    let (kind, _) = raw.read_frame().expect("the echo");
    assert_eq!(kind, opcode::CLOSE);
    assert!(raw.has_ended());
}

/// H13, H26, H29: every way of going takes the row along, for good.
fn a_terminal_that_goes_abruptly_is_unregistered(cell: Cell) {
    let cluster = cell.start(2);
    for user in ["reset", "closed", "dropped"] {
        let terminal = cluster[0].terminal(user);
        assert_eq!(cluster[1].api().connections(user).connections.len(), 1);
        match user {
            "reset" => terminal.reset(),
            "closed" => drop(terminal.close()),
            _ => drop(terminal),
        }
        eventually("the row is gone", || {
            cluster[1].api().connections(user).connections.is_empty()
        });
    }
    throughout(SILENCE, "no row comes back", || {
        ["reset", "closed", "dropped"]
            .iter()
            .all(|user| cluster[1].api().connections(user).connections.is_empty())
    });
    eventually("the server holds no connection", || {
        cluster[0].api().metric("switchboard_connections") == 0.0
    });
}

/// H13, H16: nothing stays behind of terminals that have gone: no descriptor, no row.
fn many_abrupt_ends_leave_no_descriptor_and_no_row(cell: Cell) {
    const CONNECTS: usize = 200;
    let cluster = cell.start(1);
    let server = &cluster[0];
    server.terminal("warm").close();
    eventually("the warm-up has ended", || {
        server.api().metric("switchboard_connections") == 0.0
    });
    let before = descriptors(server.pid());

    for n in 0..CONNECTS {
        let terminal = server.terminal(&format!("user-{n}"));
        match n % 3 {
            0 => terminal.reset(),
            1 => drop(terminal),
            _ => drop(terminal.close()),
        }
    }

    // The API's own connections come and go, hence the margin.
    const MARGIN: usize = 8;
    eventually("the descriptors are free again", || {
        descriptors(server.pid()) <= before + MARGIN
    });
    eventually("no row is left", || cluster.user_keys().is_empty());
}

/// H13, H27: a peer that is half-open answers no ping, and is removed.
fn a_terminal_that_answers_no_ping_is_closed_and_unregistered(cell: Cell) {
    let cluster = cell.start_with(2, |s| {
        s.with("ping_interval", "300ms").with("ping_timeout", "2s")
    });
    let mut silent = cluster[0].connect().user("silent").raw();
    silent.read_frame().expect("the hello");
    let answering = cluster[0].terminal("answering").follow();

    eventually("the silent terminal is removed", || {
        cluster[1]
            .api()
            .connections("silent")
            .connections
            .is_empty()
    });

    assert_eq!(silent.close_code().expect("a Close frame"), 4004);
    assert_eq!(answering.ending(), None, "a terminal that answers stays");
    cluster[1]
        .api()
        .push("answering", "still there")
        .expect_written(1);
    drop(silent);
    let reason = "reason=\"ping_timeout\"";
    eventually("its end is counted", || {
        let gone = "switchboard_terminals_gone_total";
        cluster[0].api().metric_of(gone, reason) >= 1.0
    });
}

/// H27: a frame of any kind is a sign of life, not only a pong.
fn a_terminal_that_talks_but_sends_no_pong_stays(cell: Cell) {
    let cluster = cell.start_with(1, |s| {
        s.with("ping_interval", "300ms")
            .with("ping_timeout", "1500ms")
    });
    let mut raw = cluster[0].connect().user("ann").raw();

    for _ in 0..25 {
        raw.send(opcode::TEXT, b"I am here")
            .expect("the connection lives");
        thread::sleep(Duration::from_millis(200));
    }

    assert_eq!(cluster[0].api().connections("ann").connections.len(), 1);
}

/// A ping of the terminal's is answered with its own bytes.
fn a_ping_from_a_terminal_is_answered(cell: Cell) {
    let cluster = cell.start(1);
    let mut raw = cluster[0].connect().user("ann").raw();
    raw.read_frame().expect("the hello");

    raw.send(opcode::PING, b"are you there?")
        .expect("the connection lives");

    assert_eq!(
        raw.read_frame().expect("a pong"),
        (opcode::PONG, b"are you there?".to_vec())
    );
}

/// H37: a chatty terminal costs the directory nothing.
fn messages_and_pings_of_a_terminal_cause_no_work_in_the_directory(cell: Cell) {
    const MESSAGES: usize = 2000;
    let cluster = cell.start(1);
    let mut raw = cluster[0].connect().user("ann").raw();
    raw.read_frame().expect("the hello");
    let before = cluster[0]
        .api()
        .metric("switchboard_directory_operations_total");

    for n in 0..MESSAGES {
        let kind = if n % 2 == 0 {
            opcode::PING
        } else {
            opcode::TEXT
        };
        raw.send(kind, b"chatter").expect("the connection lives");
        raw.read_frame().expect("an answer");
    }

    let operations = cluster[0]
        .api()
        .metric("switchboard_directory_operations_total")
        - before;
    // Leases are renewed and read meanwhile.
    assert!(
        operations < MESSAGES as f64 / 10.0,
        "{operations} operations"
    );
}

/// H08: per user, at each instance.
fn a_user_cannot_have_more_connections_than_the_limit(cell: Cell) {
    let cluster = cell.start_with(2, |s| s.with("connections_per_user", 3));
    let mut terminals: Vec<_> = (0..3).map(|_| cluster[0].terminal("ann")).collect();

    let response = cluster[0].connect().user("ann").refused();
    response.expect_error(429, "too_many_connections");
    assert!(response.header("retry-after").is_some());

    // Others, and the same user elsewhere, are not concerned.
    cluster[0].terminal("bob");
    let _elsewhere = cluster[1].terminal("ann");
    // A place is free as soon as one has gone.
    terminals.pop().expect("three are there").close();
    let _again = eventually_open(&cluster, "ann");
}

/// H08: per instance.
fn an_instance_cannot_have_more_connections_than_the_limit(cell: Cell) {
    let cluster = cell.start_with(1, |s| s.with("connections", 4));
    let _terminals: Vec<_> = (0..4)
        .map(|n| cluster[0].terminal(&format!("user-{n}")))
        .collect();

    let response = cluster[0].connect().user("one-too-many").refused();

    response.expect_error(503, "unavailable");
    assert!(response.header("retry-after").is_some());
}

/// H28: rows expire if nobody is left who could remove them.
fn every_row_has_an_expiry(cell: Cell) {
    let cluster = cell.start(1);
    let _terminals: Vec<_> = (0..3)
        .map(|n| cluster[0].terminal(&format!("user-{n}")))
        .collect();

    let keys = cluster.user_keys();

    assert_eq!(keys.len(), 3);
    for key in keys {
        let seconds: i64 = cluster.redis().command(&["TTL", &key]);
        assert!(seconds > 0, "{key} never expires");
    }
}

/// H36: an epoch that nobody can have counted to, written by hand, is not counted on from: the next one
/// would be none.
fn a_lease_with_an_impossible_epoch_is_taken_back(cell: Cell) {
    let cluster = cell.start(2);
    let mut terminal = cluster[0].terminal("ann");
    let instances = || cluster[1].api().instances();
    for instance in instances() {
        let lease = "99999999999999 0 0 ffffffffffffffff 0000000000000001 7 up 127.0.0.1:9";
        let _: i64 =
            cluster
                .redis()
                .command(&["HSET", "sb:{p0000}instances", &instance.instance, lease]);
    }

    eventually("both hold their leases again", || {
        let seen = instances();
        let up = |i: &InstanceInfo| i.state == "up" && (2..100).contains(&i.epoch);
        seen.len() == 2 && seen.iter().all(up)
    });
    eventually("pushes are without a doubt", || {
        let receipt = cluster[1].api().push("ann", "still works");
        receipt.outcome(terminal.uuid) == Some("written") && !receipt.degraded
    });
    terminal.expect_text("still works");
}

/// H36: an entry that nobody can read does not stop a push, and does not hide the others.
fn a_malformed_row_does_not_hide_the_others(cell: Cell) {
    let cluster = cell.start(2);
    let mut terminal = cluster[0].terminal("ann");
    let key = cluster.user_keys().pop().expect("the user's rows");
    for (field, value) in [
        ("not-a-uuid", "x"),
        ("6f9619ff-8b86-4011-b42d-00c04fc964ff", "???"),
        ("", ""),
    ] {
        let _: i64 = cluster.redis().command(&["HSET", &key, field, value]);
    }

    let receipt = cluster[1].api().push("ann", "still works");

    assert_eq!(receipt.outcome(terminal.uuid), Some("written"));
    terminal.expect_text("still works");
    assert!(
        cluster[1]
            .api()
            .metric("switchboard_directory_malformed_entries_total")
            >= 1.0
    );
}

fn eventually_open(cluster: &Cluster, user: &str) -> Terminal {
    switchboard_tests::patience::eventually_some("a place is free", || {
        cluster[0].connect().user(user).try_open().ok()
    })
}
