//! Servers that die or stall without a word.

use std::thread;
use std::time::Duration;

use switchboard_tests::api::push;
use switchboard_tests::behaviour::{Behaviour, PROCESSES};
use switchboard_tests::behaviours;
use switchboard_tests::matrix::Cell;
use switchboard_tests::patience::{SILENCE, eventually};
use switchboard_tests::server::Server;

pub(crate) const LIST: &[Behaviour] = behaviours![
    (
        PROCESSES.in_redis(),
        a_killed_server_disappears_with_its_connections
    ),
    (
        PROCESSES,
        a_killed_server_delays_nobody_and_its_terminals_are_not_called_served
    ),
    (PROCESSES, pushes_to_others_do_not_notice_a_killed_server),
    (
        PROCESSES.in_redis(),
        a_stranger_at_a_recycled_address_gets_no_delivery
    ),
    (
        PROCESSES,
        a_server_restarted_at_the_same_address_is_a_new_instance
    ),
    (
        PROCESSES,
        a_server_that_stalled_for_longer_than_its_lease_is_reachable_again
    ),
    (PROCESSES, a_server_that_stalled_for_a_moment_loses_nothing),
    (PROCESSES, a_server_with_another_secret_gets_no_delivery),
    (
        PROCESSES,
        an_address_that_leads_nowhere_or_elsewhere_is_told
    ),
];

/// H32, H33: gone from everyone's view by itself, with all its connections; a push reads its rows
/// and clears them away, and leaves those of others alone.
fn a_killed_server_disappears_with_its_connections(cell: Cell) {
    let mut cluster = cell.start(3);
    let _lost = [cluster[0].terminal("ann"), cluster[0].terminal("ann")];
    let mut stays = cluster[1].terminal("ann");
    cluster[0].sigkill();

    for survivor in [1, 2] {
        eventually("its lease has run out", || {
            cluster[survivor].api().instances().len() == 2
        });
        eventually("it is looked for in vain, and listed no more", || {
            let list = cluster[survivor].api().connections("ann");
            assert!(list.degraded || list.uuids() == [stays.uuid], "{list:?}");
            !list.degraded
        });
    }
    eventually("a push is without a doubt again", || {
        let receipt = cluster[2].api().push("ann", "who is left?");
        assert_eq!(receipt.outcome(stays.uuid), Some("written"));
        !receipt.degraded && receipt.failed == 0
    });
    eventually(
        "the dead rows are cleared away, the live one is not",
        || cluster.rows().len() == 1,
    );
    stays.expect_text("who is left?");
}

/// H40, H41, H43: until then its terminals are called unreachable, and nobody waits for it.
fn a_killed_server_delays_nobody_and_its_terminals_are_not_called_served(cell: Cell) {
    let mut cluster = cell.start_with(4, |s| s.with("lease", "20s").with("isolation", "20s"));
    let here = cluster[2].terminal("ann").follow();
    let there = cluster[3].terminal("ann").follow();
    let lost = [cluster[0].terminal("ann"), cluster[1].terminal("ann")];
    cluster[0].sigkill();
    cluster[1].sigkill();

    let mut publisher = cluster[2].api().publisher();
    for n in 0..20 {
        publisher.send(push("ann", n.to_string()).query("deadline", "5s"));
        let receipt = publisher.receipt();
        for uuid in [here.uuid, there.uuid] {
            assert_eq!(receipt.outcome(uuid), Some("written"), "{receipt:?}");
        }
        for terminal in &lost {
            let outcome = receipt.outcome(terminal.uuid);
            assert_eq!(outcome, Some("unreachable"), "{receipt:?}");
        }
    }
    let expected: Vec<_> = (0..20).map(|n| n.to_string()).collect();
    for terminal in [here, there] {
        terminal.await_frames(20);
        assert_eq!(terminal.texts(), expected);
    }
}

/// H33, H43: pushes to other users do not notice that a server has died.
fn pushes_to_others_do_not_notice_a_killed_server(cell: Cell) {
    let mut cluster = cell.start(3);
    let _lost = cluster[0].terminal("ann");
    let other = cluster[1].terminal("bob").follow();
    cluster[0].sigkill();

    thread::scope(|scope| {
        let api = cluster[2].api();
        let stuck = scope.spawn(move || api.push("ann", "to the dead"));
        for n in 0..50 {
            let receipt = cluster[2].api().push("bob", &n.to_string());
            assert_eq!(receipt.outcome(other.uuid), Some("written"));
        }
        let receipt = stuck.join().expect("a receipt");
        assert_eq!(receipt.written, 0, "{receipt:?}");
    });
    other.await_frames(50);
}

/// H34: whoever listens at a dead server's address is asked who it is, and refuses what is not
/// for it.
fn a_stranger_at_a_recycled_address_gets_no_delivery(cell: Cell) {
    let mut cluster = cell.start_with(2, |s| s.with("lease", "20s").with("isolation", "20s"));
    let dead = cluster[0].terminal("ann");
    cluster[1].api().push("ann", "warm").expect_written(1);
    let address = cluster[0].peer();
    cluster[0].sigkill();
    let stranger = cluster.add(|s| s.with("peer", address.to_string()));
    assert_eq!(cluster[stranger].peer(), address);
    let mut anns_new = cluster[stranger].terminal("ann");
    let mut bob = cluster[stranger].terminal("bob");
    let rows = cluster.rows();

    let receipt = cluster[1].api().push("ann", "for whom?");

    assert_eq!(
        receipt.outcome(anns_new.uuid),
        Some("written"),
        "{receipt:?}"
    );
    assert_eq!(
        receipt.outcome(dead.uuid),
        Some("unreachable"),
        "{receipt:?}"
    );
    anns_new.expect_text("for whom?");
    anns_new.expect_silence(SILENCE);
    bob.expect_silence(SILENCE);
    assert_eq!(cluster.rows(), rows, "a stranger's refusal removes no row");
}

/// A server that starts at the address of one that died serves its own terminals at once.
fn a_server_restarted_at_the_same_address_is_a_new_instance(cell: Cell) {
    let mut cluster = cell.start(2);
    let address = cluster[0].peer();
    let lost = cluster[0].terminal("ann");
    let before: Vec<_> = cluster[1]
        .api()
        .instances()
        .into_iter()
        .map(|i| i.instance)
        .collect();
    cluster[0].sigkill();
    let again = cluster.add(|s| s.with("peer", address.to_string()));
    let mut terminal = cluster[again].terminal("ann");

    eventually("the push reaches the new connection only", || {
        let receipt = cluster[1].api().push("ann", "again");
        assert_eq!(
            receipt.outcome(terminal.uuid),
            Some("written"),
            "{receipt:?}"
        );
        receipt.outcome(lost.uuid).is_none()
    });

    terminal.expect_text("again");
    let after = cluster[1].api().instances();
    assert!(
        after
            .iter()
            .any(|i| i.address == address.to_string() && !before.contains(&i.instance))
    );
}

/// H29, H33: a server that stalled for longer than its lease comes back with new rows, and is
/// reachable without its terminals doing anything.
fn a_server_that_stalled_for_longer_than_its_lease_is_reachable_again(cell: Cell) {
    let mut cluster = cell.start(2);
    let terminal = cluster[0].terminal("ann").follow();
    cluster[0].sigstop();
    eventually("its lease has run out", || {
        cluster[1].api().instances().len() == 1
    });
    // A reader clears its rows away, as those of the dead.
    let _ = cluster[1].api().push("ann", "missed");

    cluster[0].sigcont();
    cluster.await_all_up();

    eventually("a push reaches it without a doubt", || {
        let receipt = cluster[1].api().push("ann", "back");
        receipt.outcome(terminal.uuid) == Some("written") && !receipt.degraded
    });
    assert_eq!(terminal.ending(), None);
    assert_eq!(cluster[1].api().connections("ann").uuids(), [terminal.uuid]);
}

/// A short stall changes nothing at all.
fn a_server_that_stalled_for_a_moment_loses_nothing(cell: Cell) {
    let mut cluster = cell.start(2);
    let mut terminal = cluster[0].terminal("ann");
    cluster[0].sigstop();
    thread::sleep(Duration::from_millis(500));
    cluster[0].sigcont();

    cluster.await_all_up();

    eventually("a push is without a doubt", || {
        let receipt = cluster[1].api().push("ann", "still here");
        receipt.written == 1 && !receipt.degraded
    });
    terminal.expect_text("still here");
}

/// Pushes to its terminals are unreachable until it dials by itself: the log says what to look at.
fn an_address_that_leads_nowhere_or_elsewhere_is_told(cell: Cell) {
    let cluster = cell.start(1);
    let own = cluster[0].peer().to_string();
    for (user, address, told) in [
        ("ann", "127.0.0.1:1", "another instance cannot be dialled"),
        (
            "bob",
            &own,
            "another server is at the address of an instance",
        ),
    ] {
        let elsewhere = cluster.stranger(|s| s.with("advertise", address));
        let terminal = elsewhere.terminal(user);
        let receipt = cluster[0].api().push(user, "are you there?");
        let outcome = receipt.outcome(terminal.uuid);
        assert_eq!(outcome, Some("unreachable"), "{receipt:?}");
        cluster[0].await_log(told);
    }
}

/// A server with another secret is no member, and gets nothing.
fn a_server_with_another_secret_gets_no_delivery(cell: Cell) {
    let cluster = cell.start(1);
    let stranger =
        cluster.stranger(|s| s.with_file("cluster_secret_file", "a secret of somebody else"));
    let mut theirs = stranger.terminal("ann");
    let mut ours = cluster[0].terminal("ann");

    let receipt = cluster[0].api().push("ann", "for members");

    assert_eq!(receipt.outcome(ours.uuid), Some("written"), "{receipt:?}");
    assert_eq!(
        receipt.outcome(theirs.uuid),
        Some("unreachable"),
        "{receipt:?}"
    );
    ours.expect_text("for members");
    theirs.expect_silence(SILENCE);
    let refused = |server: &Server| server.api().metric("switchboard_peers_refused_total");
    eventually("each of them counts a refused peer", || {
        let _ = cluster[0].api().push("ann", "for members");
        refused(&stranger) > 0.0 && refused(&cluster[0]) > 0.0
    });
    cluster[0].await_log("does not know this cluster's secret");
    stranger.await_log("without a proof that it knows this cluster's secret");
}
