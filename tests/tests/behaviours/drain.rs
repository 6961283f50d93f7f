//! A server that is told to end lets everybody down gently.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use switchboard_tests::behaviour::{Behaviour, ONE, PROCESSES};
use switchboard_tests::behaviours;
use switchboard_tests::matrix::Cell;
use switchboard_tests::patience::{SILENCE, eventually, throughout};
use switchboard_tests::terminal::Ending;

pub(crate) const LIST: &[Behaviour] = behaviours![
    (
        PROCESSES.in_redis(),
        sigterm_closes_every_terminal_with_1012_and_ends_cleanly
    ),
    (
        PROCESSES,
        a_draining_server_refuses_new_terminals_with_a_time_to_retry
    ),
    (
        PROCESSES,
        deliveries_are_accepted_until_the_last_terminal_is_gone
    ),
    (ONE, terminals_are_closed_over_the_time_of_the_drain),
    (ONE, a_second_signal_ends_the_server_at_once),
    (ONE, sigint_drains_too),
    (ONE, an_empty_server_ends_without_waiting_for_the_drain),
    (
        ONE.in_redis(),
        a_terminal_that_never_reads_does_not_hold_up_the_drain
    ),
    (ONE.single_redis(), a_drain_without_redis_ends),
    (
        PROCESSES.in_redis(),
        a_server_that_ends_without_terminals_leaves_no_doubt
    ),
    (ONE.single_redis(), whatever_hangs_the_end_comes),
    (ONE.single_redis(), a_server_that_starts_can_be_ended),
    (PROCESSES, a_rolling_restart_leaves_everybody_reachable),
];

const SERVICE_RESTART: u16 = 1012;

/// H53: terminals are told to go elsewhere, rows and lease are removed, and the exit is clean.
fn sigterm_closes_every_terminal_with_1012_and_ends_cleanly(cell: Cell) {
    let mut cluster = cell.start_with(2, |s| s.with("drain", "1s"));
    let terminals: Vec<_> = (0..20)
        .map(|n| cluster[0].terminal(&format!("user-{n}")).follow())
        .collect();
    let stays = cluster[1].terminal("ann");
    cluster[0].sigterm();

    for terminal in &terminals {
        assert_eq!(
            terminal.await_ending(),
            Ending::Closed(SERVICE_RESTART, "service restart".to_owned())
        );
    }
    assert!(cluster[0].wait_exit().success());

    let rows = cluster.rows();
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0].1, stays.uuid.to_string());
    eventually("the other knows", || {
        cluster[1].api().instances().len() == 1
    });
    cluster[1].api().push("ann", "no doubt").expect_written(1);
}

/// H53: a server to which nobody is connected ends before anybody has seen it drain. That is no wipe.
fn a_server_that_ends_without_terminals_leaves_no_doubt(cell: Cell) {
    let mut cluster = cell.start_with(3, |s| s.with("workers", 2));
    let _terminal = cluster[1].terminal("ann");
    cluster[0].sigterm();
    assert!(cluster[0].wait_exit().success());

    eventually("the others know", || {
        cluster[1].api().push("ann", "no doubt").expect_written(1);
        [1, 2]
            .iter()
            .all(|&at| cluster[at].api().instances().len() == 4)
    });
    for at in [1, 2] {
        cluster[at].api().push("ann", "no doubt").expect_written(1);
        assert!(
            !cluster[at].log().contains("wiped"),
            "{}",
            cluster[at].log()
        );
    }
}

/// H53: from the first moment on, new terminals are sent elsewhere, while the listener stays open.
fn a_draining_server_refuses_new_terminals_with_a_time_to_retry(cell: Cell) {
    let cluster = cell.start_with(2, |s| s.with("drain", "2s").with("drain_delay", "1s"));
    let _terminals: Vec<_> = (0..4).map(|_| cluster[0].terminal("ann")).collect();
    assert!(cluster[0].api().is_ready());
    cluster[0].sigterm();

    eventually("it is not ready", || {
        cluster[0].api().get("/health/ready").status == 503
    });
    let response = cluster[0].connect().user("bob").refused();

    response.expect_error(503, "unavailable");
    let retry: u64 = response
        .header("retry-after")
        .and_then(|t| t.parse().ok())
        .expect("seconds");
    assert!(retry >= 1);
    assert_eq!(cluster[0].api().get("/health/live").status, 200);
    let draining = |i: &switchboard_tests::api::InstanceInfo| i.state == "draining";
    eventually("others see that it drains", || {
        cluster[1].api().instances().iter().any(draining)
    });
}

/// H53: during the delay nothing changes for those who are there.
fn deliveries_are_accepted_until_the_last_terminal_is_gone(cell: Cell) {
    let mut cluster = cell.start_with(2, |s| s.with("drain", "1s").with("drain_delay", "1s"));
    let terminals: Vec<_> = (0..3)
        .map(|_| cluster[0].terminal("ann").follow())
        .collect();
    cluster[0].sigterm();
    eventually("it drains", || !cluster[0].api().is_ready());

    // From elsewhere and from the draining server itself.
    for api in [cluster[1].api(), cluster[0].api()] {
        let receipt = api.push("ann", "while it drains");
        assert_eq!((receipt.written, receipt.failed), (3, 0), "{receipt:?}");
    }

    // Each push while they go reaches exactly those that the receipt calls written.
    let mut written = vec![2; terminals.len()];
    while cluster[0].exited().is_none() {
        let receipt = cluster[1].api().push("ann", "while they go");
        for (terminal, count) in terminals.iter().zip(&mut written) {
            *count += usize::from(receipt.outcome(terminal.uuid) == Some("written"));
        }
        if receipt.total() == 0 {
            break;
        }
    }
    for (terminal, count) in terminals.iter().zip(written) {
        assert_eq!(terminal.await_ending().code(), Some(SERVICE_RESTART));
        assert_eq!(terminal.frames().len(), count);
    }
    assert!(cluster[0].wait_exit().success());
}

/// H53: terminals go one after another, not all at once.
fn terminals_are_closed_over_the_time_of_the_drain(cell: Cell) {
    const TERMINALS: usize = 20;
    let cluster = cell.start_with(1, |s| s.with("drain", "3s"));
    let terminals: Vec<_> = (0..TERMINALS)
        .map(|_| cluster[0].terminal("ann").follow())
        .collect();
    let ended = || terminals.iter().filter(|t| t.ending().is_some()).count();
    cluster[0].sigterm();

    let mut seen = std::collections::BTreeSet::new();
    eventually("all are closed", || {
        let count = ended();
        seen.insert(count);
        count == TERMINALS
    });

    assert!(seen.len() > TERMINALS / 4, "they went in groups: {seen:?}");
}

/// H53: a second signal is an order.
fn a_second_signal_ends_the_server_at_once(cell: Cell) {
    let mut cluster = cell.start_with(1, |s| s.with("drain", "1h").with("drain_delay", "1h"));
    let terminal = cluster[0].terminal("ann").follow();
    cluster[0].sigterm();
    eventually("it drains", || !cluster[0].api().is_ready());
    throughout(SILENCE, "nobody is closed", || terminal.ending().is_none());

    cluster[0].sigterm();

    let status = cluster[0].wait_exit();
    assert!(!status.success() || status.signal().is_some(), "{status}");
    terminal.await_ending();
}

/// SIGINT is the same order from a keyboard.
fn sigint_drains_too(cell: Cell) {
    let mut cluster = cell.start_with(1, |s| s.with("drain", "500ms"));
    let terminal = cluster[0].terminal("ann").follow();
    cluster[0].sigint();

    assert_eq!(terminal.await_ending().code(), Some(SERVICE_RESTART));
    assert!(cluster[0].wait_exit().success());
}

/// H53: a server without terminals has nothing to wait for.
fn an_empty_server_ends_without_waiting_for_the_drain(cell: Cell) {
    let mut cluster = cell.start_with(1, |s| s.with("drain", "1h"));
    cluster[0].sigterm();
    assert!(cluster[0].wait_exit().success());
}

/// H16, H53: a terminal that never reads does not hold up the end.
fn a_terminal_that_never_reads_does_not_hold_up_the_drain(cell: Cell) {
    let mut cluster = cell.start_with(1, |s| {
        s.with("drain", "500ms").with("close_timeout", "500ms")
    });
    let mut silent = cluster[0].connect().user("ann").receive_buffer(4096).raw();
    silent.read_frame().expect("the hello");
    for _ in 0..100 {
        let request = switchboard_tests::api::push("ann", "x".repeat(32 * 1024));
        cluster[0].api().receipt(request.query("deadline", "20ms"));
    }
    cluster[0].sigterm();

    assert!(cluster[0].wait_exit().success());
    assert!(cluster.rows().is_empty());
}

/// H53: without Redis the drain ends too, and the lease dies by itself.
fn a_drain_without_redis_ends(cell: Cell) {
    let mut cluster = cell.start_with(1, |s| s.with("drain", "500ms"));
    let terminal = cluster[0].terminal("ann").follow();
    cluster.redis_mut().stop();
    cluster[0].sigterm();

    assert_eq!(terminal.await_ending().code(), Some(SERVICE_RESTART));
    assert!(cluster[0].wait_exit().success());
}

/// H53: terminals that are half open, pushes that wait for long and a Redis that answers nothing add
/// no more than what is documented.
fn whatever_hangs_the_end_comes(cell: Cell) {
    // A push may wait for longer than the whole drain.
    const DEADLINE: &str = "30s";
    let mut cluster = cell.start_with(1, |s| {
        s.with("drain", "500ms").with("close_timeout", "500ms")
    });
    let half_open: Vec<_> = (0..3)
        .map(|_| cluster[0].connect().user("ann").raw())
        .collect();
    cluster.redis().pause();
    let mut publisher = cluster[0].api().publisher();
    let push = switchboard_tests::api::push("bob", "waits");
    publisher.send(push.query("deadline", DEADLINE));
    eventually("it waits", || {
        cluster[0].api().metric("switchboard_pushes_pending") >= 1.0
    });
    cluster[0].sigterm();

    assert!(cluster[0].wait_exit().success());
    cluster.redis().resume();
    drop(half_open);
}

/// H53: at whatever moment of its start.
fn a_server_that_starts_can_be_ended(cell: Cell) {
    let cluster = cell.start(1);
    for hangs in [false, true] {
        if hangs {
            cluster.redis().pause();
        }
        for moment in 0..20 {
            let mut server = cluster.begin_stranger(|s| s);
            // Not a time that is waited for, but the moment that is tried.
            std::thread::sleep(Duration::from_millis(moment));
            server.sigterm();
            let status = server.wait_exit();
            // Before it listens for signals the system ends it.
            let ended = status.success() || status.signal() == Some(15);
            assert!(ended, "{moment} ms: {status}\n{}", server.log());
        }
    }
    cluster.redis().resume();
}

/// H53: a rollout: everybody reconnects elsewhere and misses nothing that was pushed afterwards.
fn a_rolling_restart_leaves_everybody_reachable(cell: Cell) {
    let mut cluster = cell.start_with(2, |s| s.with("drain", "500ms"));
    for round in 0..2 {
        let mut terminal = cluster[round].terminal("ann");
        let next = cluster.add(|s| s);
        cluster[round].sigterm();
        assert!(matches!(
            terminal.ended(),
            Ending::Closed(SERVICE_RESTART, _)
        ));
        let mut again = cluster[next].terminal("ann");
        eventually("exactly the new connection is reached", || {
            let receipt = cluster[next].api().push("ann", "after the rollout");
            assert_eq!(receipt.outcome(again.uuid), Some("written"), "{receipt:?}");
            receipt.total() == 1
        });
        again.expect_text("after the rollout");
        assert!(cluster[round].wait_exit().success());
    }
}
