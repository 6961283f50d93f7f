//! Redis fails in every way that it has, and comes back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use switchboard_tests::api::{Receipt, push};
use switchboard_tests::cluster::Cluster;
use switchboard_tests::patience::{SILENCE, eventually};
use switchboard_tests::terminal::Follower;
use uuid::Uuid;

/// H14, H15, H38: all are reachable again without a reconnect, and no push without `degraded` has
/// missed anybody meanwhile.
#[test]
fn redis_restarted_empty_misses_nobody_without_saying_so() {
    let mut cluster = Cluster::start(3);
    let terminals = three_of_ann(&cluster);
    let audit = Audit::default();

    thread::scope(|scope| {
        let publishers: Vec<_> = (0..3).map(|i| cluster[i].api()).collect();
        for (n, api) in publishers.into_iter().enumerate() {
            let (audit, uuids) = (&audit, uuids(&terminals));
            scope.spawn(move || audit.publish(&api, n, &uuids));
        }
        for _ in 0..3 {
            thread::sleep(Duration::from_millis(300));
            cluster.redis.start_again();
            cluster.await_all_up();
        }
        audit.stop();
    });

    expect_reachable(&cluster, &terminals);
    audit.check(&terminals);
}

/// H14, H15, H38: the same with a while in which nobody listens there.
#[test]
fn redis_stopped_and_started_empty_misses_nobody_without_saying_so() {
    let mut cluster = Cluster::start(2);
    let terminals = three_of_ann(&cluster);
    let audit = Audit::default();

    thread::scope(|scope| {
        let publishers: Vec<_> = (0..2).map(|i| cluster[i].api()).collect();
        for (n, api) in publishers.into_iter().enumerate() {
            let (audit, uuids) = (&audit, uuids(&terminals));
            scope.spawn(move || audit.publish(&api, n, &uuids));
        }
        thread::sleep(Duration::from_millis(300));
        cluster.redis.stop();
        // Longer than a lease.
        thread::sleep(Duration::from_secs(3));
        cluster.redis.start_again();
        cluster.await_all_up();
        audit.stop();
    });

    expect_reachable(&cluster, &terminals);
    audit.check(&terminals);
}

/// H14, H38: a Redis that hangs is no worse than one that is away.
#[test]
fn redis_paused_for_longer_than_a_lease_misses_nobody_without_saying_so() {
    let mut cluster = Cluster::start(2);
    let terminals = three_of_ann(&cluster);
    let audit = Audit::default();

    thread::scope(|scope| {
        let publishers: Vec<_> = (0..2).map(|i| cluster[i].api()).collect();
        for (n, api) in publishers.into_iter().enumerate() {
            let (audit, uuids) = (&audit, uuids(&terminals));
            scope.spawn(move || audit.publish(&api, n, &uuids));
        }
        thread::sleep(Duration::from_millis(300));
        cluster.redis.pause();
        thread::sleep(Duration::from_secs(3));
        cluster.redis.resume();
        cluster.await_all_up();
        audit.stop();
    });

    expect_reachable(&cluster, &terminals);
    audit.check(&terminals);
}

/// H28: a wipe without a restart: the rows and the leases are gone, no connection breaks.
#[test]
fn a_wiped_redis_misses_nobody_without_saying_so() {
    let mut cluster = Cluster::start(3);
    let terminals = three_of_ann(&cluster);
    let audit = Audit::default();

    thread::scope(|scope| {
        let publishers: Vec<_> = (0..3).map(|i| cluster[i].api()).collect();
        for (n, api) in publishers.into_iter().enumerate() {
            let (audit, uuids) = (&audit, uuids(&terminals));
            scope.spawn(move || audit.publish(&api, n, &uuids));
        }
        for _ in 0..3 {
            thread::sleep(Duration::from_millis(300));
            let _: String = cluster.redis.command(&["FLUSHALL"]);
            cluster.await_all_up();
        }
        audit.stop();
    });

    expect_reachable(&cluster, &terminals);
    audit.check(&terminals);
}

/// H38, H41: without Redis, pushes go to local terminals and to all known peers, and say that
/// somebody may be missing.
#[test]
fn pushes_without_redis_reach_known_instances_and_say_degraded() {
    let mut cluster = Cluster::start(2);
    let mut here = cluster[0].terminal("ann");
    let mut there = cluster[1].terminal("ann");
    cluster.redis.stop();

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
#[test]
fn a_process_without_redis_lists_the_terminals_of_all_its_workers() {
    let mut cluster = Cluster::with(1, |o| o.with("--workers", "3"));
    let terminals: Vec<_> = (0..3).map(|_| cluster[0].terminal("ann")).collect();
    cluster.redis.stop();

    let list = cluster[0].api().connections("ann");

    assert!(list.degraded);
    let mut connected: Vec<_> = terminals.iter().map(|terminal| terminal.uuid).collect();
    connected.sort_unstable();
    assert_eq!(list.uuids(), connected);
}

/// H19, H20, H38: a terminal that connects without Redis is greeted with a doubt, works locally,
/// and becomes reachable from everywhere without doing anything.
#[test]
fn a_terminal_that_connects_without_redis_is_served_and_registered_later() {
    let mut cluster = Cluster::start(2);
    cluster.redis.stop();

    let mut terminal = cluster[0].connect().user("ann").open();
    assert!(terminal.degraded);
    terminal.send_text("I can talk");
    assert!(terminal.recv().text().contains("received"));
    let receipt = cluster[0].api().push("ann", "local");
    assert!(receipt.degraded);
    assert_eq!(receipt.outcome(terminal.uuid), Some("written"));
    terminal.expect_text("local");

    cluster.redis.start_again();
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
#[test]
fn a_terminal_that_goes_without_redis_leaves_no_row() {
    let mut cluster = Cluster::start(2);
    let gone = cluster[0].terminal("ann");
    let stays = cluster[0].terminal("bob");
    cluster.redis.pause();
    gone.reset();
    let never_registered = cluster[0].connect().user("cid").open();
    assert!(never_registered.degraded);
    never_registered.reset();
    thread::sleep(SILENCE);

    cluster.redis.resume();
    cluster.await_all_up();

    eventually("only the one that stays is listed", || {
        let list = |user: &str| cluster[1].api().connections(user).uuids();
        list("ann").is_empty() && list("cid").is_empty() && list("bob") == [stays.uuid]
    });
}

/// H38: readiness and liveness tell apart what a restart mends and what it does not.
#[test]
fn a_server_without_redis_is_live_and_serves() {
    let mut cluster = Cluster::start(1);
    cluster.redis.stop();

    thread::sleep(Duration::from_secs(1));

    assert_eq!(cluster[0].api().get("/health/live").status, 200);
    let terminal = cluster[0].connect().user("ann").open();
    assert!(terminal.degraded);
}

/// H38, H54: readiness comes back with Redis, and metrics show it.
#[test]
fn a_server_recovers_by_itself_each_time() {
    let mut cluster = Cluster::start(1);
    let mut terminal = cluster[0].terminal("ann");
    for round in 0..3 {
        cluster.redis.stop();
        thread::sleep(Duration::from_millis(400));
        cluster.redis.start_again();
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

fn three_of_ann(cluster: &Cluster) -> Vec<Follower> {
    let last = cluster.servers().len() - 1;
    let terminals = [0, 1, last].map(|i| cluster[i].terminal("ann").follow());
    // Links are open before anything happens to Redis.
    for server in cluster.servers() {
        server.api().push("ann", "before").expect_written(3);
    }
    terminals.into()
}

fn uuids(terminals: &[Follower]) -> Vec<Uuid> {
    terminals.iter().map(|terminal| terminal.uuid).collect()
}

/// Every server reaches every terminal, and none of them had to reconnect.
#[track_caller]
fn expect_reachable(cluster: &Cluster, terminals: &[Follower]) {
    for server in cluster.servers() {
        // Doubt may outlast the repair by a lease.
        eventually("an undoubted push reaches all", || {
            let receipt = server.api().push("ann", "afterwards");
            receipt.written == terminals.len() as u64 && !receipt.degraded
        });
    }
    for terminal in terminals {
        assert_eq!(terminal.ending(), None);
    }
    assert_eq!(cluster.rows().len(), terminals.len());
}

/// Pushes all the time, and compares what receipts said with what terminals got.
#[derive(Default)]
struct Audit {
    done: AtomicBool,
    receipts: std::sync::Mutex<BTreeMap<String, Receipt>>,
}

impl Audit {
    fn publish(&self, api: &switchboard_tests::api::Api, publisher: usize, uuids: &[Uuid]) {
        let mut connection = api.publisher();
        for n in 0.. {
            if self.done.load(Ordering::Relaxed) {
                return;
            }
            let text = format!("{publisher}/{n}");
            connection.send(push("ann", text.clone()));
            let receipt = connection.receipt();
            if !receipt.degraded {
                for uuid in uuids {
                    assert_eq!(
                        receipt.outcome(*uuid),
                        Some("written"),
                        "{text}: {receipt:?}"
                    );
                }
            }
            self.receipts
                .lock()
                .expect("no publisher panics")
                .insert(text, receipt);
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn stop(&self) {
        self.done.store(true, Ordering::Relaxed);
    }

    /// What a receipt calls written has come, once and in the order of its publisher.
    fn check(&self, terminals: &[Follower]) {
        let receipts = self.receipts.lock().expect("no publisher panics");
        assert!(receipts.values().any(|receipt| !receipt.degraded));
        for terminal in terminals {
            let written = |receipt: &&Receipt| receipt.outcome(terminal.uuid) == Some("written");
            let expected = receipts.values().filter(written).count();
            terminal.await_frames(expected);
            let mut last = BTreeMap::new();
            let mut came = 0;
            for text in terminal.texts() {
                let Some((publisher, n)) = text.split_once('/') else {
                    continue;
                };
                let n: u64 = n.parse().expect("a number");
                let before = last.insert(publisher.to_owned(), n);
                assert!(before < Some(n), "{text} after {before:?}");
                came += usize::from(written(&&receipts[&text]));
            }
            assert_eq!(came, expected, "what was called written has come");
        }
    }
}
