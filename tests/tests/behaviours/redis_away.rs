//! Redis fails in every way that it has, and comes back.

use std::thread;
use std::time::Duration;

use switchboard_test_redis::RedisServer;
use switchboard_tests::api::{json_post, push};
use switchboard_tests::behaviour::{Behaviour, ONE, PROCESSES};
use switchboard_tests::behaviours;
use switchboard_tests::cluster::Cluster;
use switchboard_tests::matrix::Cell;
use switchboard_tests::patience::{SILENCE, eventually, eventually_some};
use switchboard_tests::relay::Relay;

use crate::traffic::{
    after_settling, everybody_is_reached_while, nobody_is_missed_while, settlings,
};

pub(crate) const LIST: &[Behaviour] = behaviours![
    (
        PROCESSES.single_redis(),
        redis_restarted_empty_misses_nobody_without_saying_so
    ),
    (
        PROCESSES.single_redis(),
        redis_stopped_and_started_empty_misses_nobody_without_saying_so
    ),
    (
        PROCESSES.single_redis(),
        redis_paused_for_longer_than_a_lease_misses_nobody_without_saying_so
    ),
    (
        PROCESSES.single_redis(),
        a_wiped_redis_misses_nobody_without_saying_so
    ),
    (
        PROCESSES.single_redis(),
        flushed_scripts_miss_nobody_without_saying_so
    ),
    (
        PROCESSES.single_redis(),
        redis_demoted_in_place_misses_nobody_without_saying_so
    ),
    (
        PROCESSES.single_redis(),
        redis_out_of_memory_for_longer_than_leases_misses_nobody
    ),
    (
        PROCESSES.single_redis(),
        redis_without_its_replica_misses_nobody
    ),
    (
        PROCESSES.single_redis(),
        redis_with_a_full_disk_misses_nobody
    ),
    (
        PROCESSES.single_redis(),
        short_deadlines_are_kept_while_redis_hangs
    ),
    (
        PROCESSES.single_redis(),
        pushes_without_redis_reach_known_instances_and_say_degraded
    ),
    (
        ONE.single_redis(),
        a_process_without_redis_lists_the_terminals_of_all_its_workers
    ),
    (
        PROCESSES.single_redis(),
        a_terminal_that_connects_without_redis_is_served_and_registered_later
    ),
    (
        PROCESSES.single_redis(),
        a_terminal_that_goes_without_redis_leaves_no_row
    ),
    (
        ONE.single_redis(),
        a_server_without_redis_is_live_and_serves
    ),
    (ONE.single_redis(), a_server_recovers_by_itself_each_time),
    (
        PROCESSES.single_redis(),
        a_server_that_alone_is_cut_off_from_redis_sends_its_terminals_elsewhere
    ),
    (
        ONE.single_redis(),
        pushes_that_wait_for_redis_are_limited_per_user_and_in_all
    ),
];

/// H14, H15, H38: all are reachable again without a reconnect, and no push without `degraded` has
/// missed anybody meanwhile.
fn redis_restarted_empty_misses_nobody_without_saying_so(cell: Cell) {
    nobody_is_missed_while(cell.start(3), |cluster, traffic| {
        for _ in 0..3 {
            traffic.flows();
            after_settling(cluster, |cluster| cluster.redis_mut().start_again());
        }
    });
}

/// H14, H15, H38: the same with a while in which nobody listens there.
fn redis_stopped_and_started_empty_misses_nobody_without_saying_so(cell: Cell) {
    nobody_is_missed_while(cell.start(2), |cluster, traffic| {
        traffic.flows();
        after_settling(cluster, |cluster| {
            cluster.redis_mut().stop();
            thread::sleep(LONGER_THAN_A_LEASE);
            cluster.redis_mut().start_again();
        });
    });
}

/// H14, H38: a Redis that hangs is no worse than one that is away.
fn redis_paused_for_longer_than_a_lease_misses_nobody_without_saying_so(cell: Cell) {
    nobody_is_missed_while(cell.start(2), |cluster, traffic| {
        traffic.flows();
        after_settling(cluster, |cluster| {
            cluster.redis().pause();
            thread::sleep(LONGER_THAN_A_LEASE);
            cluster.redis().resume();
        });
    });
}

/// H28: a wipe without a restart: the rows and the leases are gone, no connection breaks.
fn a_wiped_redis_misses_nobody_without_saying_so(cell: Cell) {
    nobody_is_missed_while(cell.start(3), |cluster, traffic| {
        for _ in 0..3 {
            traffic.flows();
            after_settling(cluster, |cluster| {
                cluster.redis().command::<()>(&["FLUSHALL"]);
            });
        }
    });
}

/// H38: scripts that are flushed are loaded again for all, by the first who misses one.
fn flushed_scripts_miss_nobody_without_saying_so(cell: Cell) {
    nobody_is_missed_while(cell.start(2), |cluster, traffic| {
        for _ in 0..2 {
            traffic.flows();
            let before = settlings(cluster);
            cluster.redis().command::<()>(&["SCRIPT", "FLUSH"]);
            eventually("somebody notices and settles", || {
                settlings(cluster) != before
            });
            cluster.await_all_up();
        }
    });
}

/// H38: a Redis that becomes a replica while connections to it live refuses writes, and is used again
/// when it is the primary.
fn redis_demoted_in_place_misses_nobody_without_saying_so(cell: Cell) {
    // Nobody listens there: it keeps what it has.
    const PRIMARY: &[&str] = &["REPLICAOF", "127.0.0.1", "1"];
    nobody_is_missed_while(cell.start(2), |cluster, traffic| {
        traffic.flows();
        after_settling(cluster, |cluster| {
            cluster.redis().command::<()>(PRIMARY);
            thread::sleep(LONGER_THAN_A_LEASE);
            cluster.redis().command::<()>(&["REPLICAOF", "NO", "ONE"]);
        });
    });
}

/// H38: a Redis that refuses writes and answers reads is no worse than one that is away: leases expire
/// in everybody's view, and nobody is dead of that, neither meanwhile nor when writes are taken again.
fn redis_out_of_memory_for_longer_than_leases_misses_nobody(cell: Cell) {
    writes_are_refused(
        cell,
        |redis| redis.command::<()>(&["CONFIG", "SET", "maxmemory", "1mb"]),
        |redis| redis.command::<()>(&["CONFIG", "SET", "maxmemory", "0"]),
    );
}

/// H38: the same with `min-replicas-to-write`, which a failover wants.
fn redis_without_its_replica_misses_nobody(cell: Cell) {
    writes_are_refused(
        cell,
        |redis| redis.command::<()>(&["CONFIG", "SET", "min-replicas-to-write", "1"]),
        |redis| redis.command::<()>(&["CONFIG", "SET", "min-replicas-to-write", "0"]),
    );
}

/// H38: the same when it cannot save.
fn redis_with_a_full_disk_misses_nobody(cell: Cell) {
    writes_are_refused(cell, RedisServer::fail_to_save, RedisServer::save_again);
}

#[track_caller]
fn writes_are_refused(cell: Cell, refuse: impl Fn(&RedisServer), take: impl Fn(&RedisServer)) {
    everybody_is_reached_while(cell.start(3), |cluster, traffic| {
        traffic.flows();
        after_settling(cluster, |cluster| {
            refuse(cluster.redis());
            // The doubt that comes with the first refusals lasts for a lease, and leases for another.
            thread::sleep(LONGER_THAN_A_LEASE * 3);
            take(cluster.redis());
        });
        traffic.flows();
    });
}

/// H38, H46: pushes whose deadline is shorter than the time for which a lookup is waited for reach the
/// terminals of all servers, however many of them wait for the same user.
fn short_deadlines_are_kept_while_redis_hangs(cell: Cell) {
    const PUSHES: usize = 5;
    let cluster = cell.start(2);
    let terminals = [0, 1].map(|at| cluster[at].terminal("ann").follow());
    for server in cluster.servers() {
        server.api().push("ann", "before").expect_written(2);
    }
    cluster.redis().pause();

    thread::scope(|scope| {
        for n in 0..PUSHES {
            let api = cluster[0].api();
            let push = json_post("/v1/users/ann/push?deadline=600ms", &serde_json::json!(n));
            scope.spawn(move || assert!(api.receipt(push).degraded));
        }
    });
    for terminal in &terminals {
        terminal.await_frames(1 + PUSHES);
    }

    cluster.redis().resume();
}

/// H38, H41: without Redis, pushes go to local terminals and to all known peers, and say that
/// somebody may be missing.
fn pushes_without_redis_reach_known_instances_and_say_degraded(cell: Cell) {
    let mut cluster = cell.start(2);
    let mut here = cluster[0].terminal("ann");
    let mut there = cluster[1].terminal("ann");
    cluster.redis_mut().stop();

    let receipt = cluster[0].api().push("ann", "without Redis");

    assert!(receipt.degraded, "{receipt:?}");
    assert_eq!((receipt.written, receipt.failed), (2, 0), "{receipt:?}");
    here.expect_text("without Redis");
    there.expect_text("without Redis");
    let nobody = cluster[0].api().push("nobody", "hello?");
    assert!(
        nobody.degraded,
        "it cannot be known that nobody is there: {nobody:?}"
    );
    assert!(cluster[0].api().connections("ann").degraded);
}

/// H38: without Redis a process lists what it knows by itself, whichever of its workers is asked.
fn a_process_without_redis_lists_the_terminals_of_all_its_workers(cell: Cell) {
    let mut cluster = cell.start_with(1, |s| s.with("workers", 3));
    let terminals: Vec<_> = (0..3).map(|_| cluster[0].terminal("ann")).collect();
    cluster.redis_mut().stop();

    let list = cluster[0].api().connections("ann");

    assert!(list.degraded);
    let mut connected: Vec<_> = terminals.iter().map(|terminal| terminal.uuid).collect();
    connected.sort_unstable();
    assert_eq!(list.uuids(), connected);
}

/// H19, H20, H38: a terminal that connects without Redis is greeted with a doubt, works locally,
/// and becomes reachable from everywhere without doing anything.
fn a_terminal_that_connects_without_redis_is_served_and_registered_later(cell: Cell) {
    let mut cluster = cell.start(2);
    cluster.redis_mut().stop();

    let mut terminal = cluster[0].connect().user("ann").open();
    assert!(terminal.degraded);
    terminal.send_text("I can talk");
    assert!(terminal.recv().text().contains("dropped"));
    let receipt = cluster[0].api().push("ann", "local");
    assert!(receipt.degraded);
    assert_eq!(receipt.outcome(terminal.uuid), Some("written"));
    terminal.expect_text("local");

    cluster.redis_mut().start_again();
    cluster.await_all_up();
    let receipt = cluster[1].api().push("ann", "from elsewhere");
    assert_eq!(receipt.outcome(terminal.uuid), Some("written"));
    terminal.expect_text("from elsewhere");
    eventually("the doubt is over", || {
        !cluster[1].api().push("ann", "again").degraded
    });
    // And what it leaves behind is nothing.
    terminal.close();
    eventually("its row is gone", || cluster.rows().is_empty());
}

/// H13, H29: a terminal that goes while Redis is away leaves no row behind when it is back.
fn a_terminal_that_goes_without_redis_leaves_no_row(cell: Cell) {
    let mut cluster = cell.start(2);
    let gone = cluster[0].terminal("ann");
    let stays = cluster[0].terminal("bob");
    cluster.redis().pause();
    gone.reset();
    let never_registered = cluster[0].connect().user("cid").open();
    assert!(never_registered.degraded);
    never_registered.reset();
    eventually("the server holds the other only", || {
        cluster[0].api().metric("switchboard_connections") == 1.0
    });

    cluster.redis().resume();
    cluster.await_all_up();

    eventually("only the one that stays is listed", || {
        let list = |user: &str| cluster[1].api().connections(user).uuids();
        list("ann").is_empty() && list("cid").is_empty() && list("bob") == [stays.uuid]
    });
}

/// H38: readiness and liveness tell apart what a restart mends and what it does not.
fn a_server_without_redis_is_live_and_serves(cell: Cell) {
    let mut cluster = cell.start(1);
    cluster.redis_mut().stop();

    await_directory_lost(&cluster);
    assert_eq!(cluster[0].api().get("/health/live").status, 200);
    assert!(cluster[0].api().is_ready(), "it serves on");
    let terminal = cluster[0].connect().user("ann").open();
    assert!(terminal.degraded);
}

/// H38, H54: readiness comes back with Redis, and metrics show it.
fn a_server_recovers_by_itself_each_time(cell: Cell) {
    let mut cluster = cell.start(1);
    let mut terminal = cluster[0].terminal("ann");
    for round in 0..3 {
        cluster.redis_mut().stop();
        await_directory_lost(&cluster);
        cluster.redis_mut().start_again();
        cluster.await_all_up();
        eventually("it is ready", || cluster[0].api().is_ready());
        let text = round.to_string();
        eventually("a push is without a doubt", || {
            let receipt = cluster[0].api().push("ann", &text);
            assert_eq!(receipt.written, 1, "{receipt:?}");
            !receipt.degraded
        });
        terminal.expect_text(&text);
        while terminal.try_recv(SILENCE).is_some() {}
    }
    assert!(cluster[0].api().metric("switchboard_settlings_total") >= 3.0);
}

/// A server without Redis serves on; one that alone is without sends its terminals to the others,
/// and takes new ones when it has its directory again.
fn a_server_that_alone_is_cut_off_from_redis_sends_its_terminals_elsewhere(cell: Cell) {
    const SERVICE_RESTART: u16 = 1012;
    let mut cluster = cell.start_with(1, |s| s.with("isolation", "3s").with("drain", "500ms"));
    let relay = Relay::to(cluster.redis().port());
    let far = format!("redis://127.0.0.1:{}", relay.port());
    let cut_off = cluster.add(|s| s.with("redis", far));
    cluster.await_all_up();
    let stays = cluster[0].terminal("ann").follow();
    let goes = cluster[cut_off].terminal("ann").follow();
    // The link is there, on which the other says that the directory works.
    for server in cluster.servers() {
        server.api().push("ann", "before").expect_written(2);
    }

    relay.cut();

    assert_eq!(goes.await_ending().code(), Some(SERVICE_RESTART));
    let refused = cluster[cut_off].connect().user("ann").refused();
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(stays.ending(), None);

    relay.mend();

    let again = eventually_some("it takes terminals again", || {
        cluster[cut_off].connect().user("ann").try_open().ok()
    });
    eventually("they are reached without a doubt", || {
        let receipt = cluster[0].api().push("ann", "afterwards");
        receipt.outcome(again.uuid) == Some("written") && !receipt.degraded
    });
}

/// H46: what waits is bounded, for each user and in all, and whoever is turned away is told when to
/// come back.
fn pushes_that_wait_for_redis_are_limited_per_user_and_in_all(cell: Cell) {
    const WAITING: usize = 3;
    let cluster = cell.start_with(1, |s| {
        s.with("pushes_per_user", WAITING as i64)
            .with("pushes", 2 * WAITING as i64)
    });
    cluster.redis().pause();
    let push_to = |users: [&str; 3 * WAITING]| {
        thread::scope(|scope| {
            let answers = users.map(|user| {
                let api = cluster[0].api();
                scope.spawn(move || api.send(push(user, "waits")))
            });
            answers.map(|answer| answer.join().expect("the API answers"))
        })
    };

    let for_one = push_to(["ann"; 3 * WAITING]);
    let for_many = push_to(["a", "b", "c", "d", "e", "f", "g", "h", "i"]);
    cluster.redis().resume();

    for (answers, status, code) in [
        (for_one, 429, "user_overloaded"),
        (for_many, 503, "overloaded"),
    ] {
        let (taken, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.status == 200);
        assert!(!taken.is_empty() && !refused.is_empty(), "{answers:?}");
        for answer in refused {
            assert_eq!(answer.status, status, "{}", answer.text());
            assert_eq!(answer.error_code(), code);
            assert!(answer.header("retry-after").is_some());
        }
    }
}

#[track_caller]
fn await_directory_lost(cluster: &Cluster) {
    eventually("the server has noticed", || {
        cluster[0].api().metric("switchboard_directory_up") == 0.0
    });
}

/// Of the servers under test, whose lease is three seconds.
const LONGER_THAN_A_LEASE: Duration = Duration::from_secs(4);
