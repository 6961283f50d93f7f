//! A server that is told to end lets everybody down gently.

use std::os::unix::process::ExitStatusExt;
use std::thread;

use switchboard_tests::cluster::Cluster;
use switchboard_tests::patience::{SILENCE, eventually};
use switchboard_tests::terminal::Ending;

const SERVICE_RESTART: u16 = 1012;

/// H53: terminals are told to go elsewhere, rows and lease are removed, and the exit is clean.
#[test]
fn sigterm_closes_every_terminal_with_1012_and_ends_cleanly() {
    let mut cluster = Cluster::with(2, |o| o.with("--drain", "1s"));
    let terminals: Vec<_> = (0..20)
        .map(|n| cluster[0].terminal(&format!("user-{n}")).follow())
        .collect();
    let stays = cluster[1].terminal("ann");
    cluster[0].sigterm();

    for terminal in &terminals {
        assert_eq!(terminal.await_ending().code(), Some(SERVICE_RESTART));
    }
    assert!(cluster[0].wait_exit().success());

    let rows = cluster.rows();
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0].1, stays.uuid.to_string());
    // A lease that is released is gone at once, rather than after its time.
    let leases: Vec<String> = cluster.redis.command(&["HKEYS", "sb:instances"]);
    assert_eq!(leases.len(), 1);
    eventually("the other knows", || {
        cluster[1].api().instances().len() == 1
    });
    cluster[1].api().push("ann", "no doubt").expect_written(1);
}

/// H53: from the first moment on, new terminals are sent elsewhere, while the listener stays open.
#[test]
fn a_draining_server_refuses_new_terminals_with_a_time_to_retry() {
    let cluster = Cluster::with(2, |o| o.with("--drain", "2s").with("--drain-delay", "1s"));
    let _terminals: Vec<_> = (0..4).map(|_| cluster[0].terminal("ann")).collect();
    assert!(cluster[0].api().is_ready());
    cluster[0].sigterm();

    eventually("it is not ready", || {
        cluster[0].api().get("/health/ready").status == 503
    });
    let response = cluster[0].connect().user("bob").refused();

    assert_eq!(response.status, 503, "{}", response.text());
    let retry: u64 = response
        .header("retry-after")
        .and_then(|t| t.parse().ok())
        .expect("seconds");
    assert!(retry >= 1);
    let _ = response.error_code();
    assert_eq!(cluster[0].api().get("/health/live").status, 200);
    let draining = |i: &switchboard_tests::api::InstanceInfo| i.state == "draining";
    eventually("others see that it drains", || {
        cluster[1].api().instances().iter().any(draining)
    });
}

/// H53: during the delay nothing changes for those who are there.
#[test]
fn deliveries_are_accepted_until_the_last_terminal_is_gone() {
    let mut cluster = Cluster::with(2, |o| o.with("--drain", "1s").with("--drain-delay", "1s"));
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
#[test]
fn terminals_are_closed_over_the_time_of_the_drain() {
    const TERMINALS: usize = 20;
    let cluster = Cluster::with(1, |o| o.with("--drain", "3s"));
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
#[test]
fn a_second_signal_ends_the_server_at_once() {
    let mut cluster = Cluster::with(1, |o| o.with("--drain", "1h").with("--drain-delay", "1h"));
    let terminal = cluster[0].terminal("ann").follow();
    cluster[0].sigterm();
    eventually("it drains", || !cluster[0].api().is_ready());
    thread::sleep(SILENCE);
    assert_eq!(terminal.ending(), None);

    cluster[0].sigterm();

    let status = cluster[0].wait_exit();
    assert!(!status.success() || status.signal().is_some(), "{status}");
    terminal.await_ending();
}

/// SIGINT is the same order from a keyboard.
#[test]
fn sigint_drains_too() {
    let mut cluster = Cluster::with(1, |o| o.with("--drain", "500ms"));
    let terminal = cluster[0].terminal("ann").follow();
    cluster[0].sigint();

    assert_eq!(terminal.await_ending().code(), Some(SERVICE_RESTART));
    assert!(cluster[0].wait_exit().success());
}

/// H53: a server without terminals has nothing to wait for.
#[test]
fn an_empty_server_ends_without_waiting_for_the_drain() {
    let mut cluster = Cluster::with(1, |o| o.with("--drain", "1h"));
    cluster[0].sigterm();
    assert!(cluster[0].wait_exit().success());
}

/// H16, H53: a terminal that never reads does not hold up the end.
#[test]
fn a_terminal_that_never_reads_does_not_hold_up_the_drain() {
    let mut cluster = Cluster::with(1, |o| {
        o.with("--drain", "500ms").with("--close-timeout", "500ms")
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
#[test]
fn a_drain_without_redis_ends() {
    let mut cluster = Cluster::with(1, |o| o.with("--drain", "500ms"));
    let terminal = cluster[0].terminal("ann").follow();
    cluster.redis.stop();
    cluster[0].sigterm();

    assert_eq!(terminal.await_ending().code(), Some(SERVICE_RESTART));
    cluster[0].wait_exit();
}

/// H53: a rollout: everybody reconnects elsewhere and misses nothing that was pushed afterwards.
#[test]
fn a_rolling_restart_leaves_everybody_reachable() {
    let mut cluster = Cluster::with(2, |o| o.with("--drain", "500ms"));
    for round in 0..2 {
        let mut terminal = cluster[round].terminal("ann");
        let next = cluster.add(|o| o);
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
