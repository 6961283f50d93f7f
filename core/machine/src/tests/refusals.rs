//! A directory that answers and takes no writes, and one that a single instance cannot reach.

use std::time::Duration;

use crate::command::Log;
use crate::config::Config;
use crate::event::Event;
use crate::id::{ConnectionId, InstanceId, UserId};
use crate::instance::Instance;
use crate::message::{Counts, Outcome};
use crate::testing::cluster::Cluster;
use crate::testing::rig::{is_register, no_replicas, out_of_memory, refused};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// One terminal of a user of its own at each of three instances.
fn three() -> (Cluster, Vec<ConnectionId>) {
    let mut cluster = Cluster::new(&Config::default(), 3);
    let terminals = (0..3).map(|at| cluster.connect(at, USERS[at]).1).collect();
    cluster.pass(seconds(2));
    (cluster, terminals)
}

const USERS: [&str; 3] = ["ann", "bob", "cem"];

/// A push at each instance for each user reaches the terminals that are connected. Returns whether one
/// was undegraded.
#[track_caller]
fn all_reach_all(cluster: &mut Cluster, when: &str) -> bool {
    let mut undegraded = false;
    for at in 0..3 {
        for user in USERS {
            let held = holders(cluster, user);
            let call = cluster.push_user(at, user, "x");
            let receipt = cluster.receipt(call);
            let missed = receipt.counts.written != held && !(held == 0 && receipt.degraded);
            assert!(!missed, "{user} from {at}, {when}: {receipt:?}");
            undegraded |= !receipt.degraded;
        }
    }
    undegraded
}

/// How many terminals of a user are connected and greeted.
fn holders(cluster: &Cluster, user: &str) -> u64 {
    let key = UserId::new(user).expect("a user").into();
    let greeted = |instance: &Instance| instance.terminals().greeted_of(&key).count() as u64;
    cluster.instances.iter().map(greeted).sum()
}

/// Leases expire while the view is still read: nobody is dead of that, whoever cannot renew. When
/// writes are taken again, whoever claims first must not take the others for dead.
#[test]
fn refused_writes_lose_nobody_however_long_they_are_refused_and_whoever_is_refused() {
    for refuses in [out_of_memory, no_replicas] {
        for refused in [vec![0, 1, 2], vec![1], vec![0, 2]] {
            let (mut cluster, _) = three();
            cluster.refuse(refuses, refused.clone());
            for second in 0..130 {
                cluster.pass(seconds(1));
                all_reach_all(
                    &mut cluster,
                    &format!("{second} s after writes were refused"),
                );
            }
            cluster.refuse(refuses, []);
            for step in 0..500 {
                cluster.pass(Duration::from_millis(20));
                all_reach_all(&mut cluster, &format!("{step} steps after they were taken"));
            }
            cluster.pass(seconds(15));
            assert!(all_reach_all(&mut cluster, "at the end"));
            let present: u64 = USERS.iter().map(|user| holders(&cluster, user)).sum();
            assert_eq!(
                cluster.directory.rows(cluster.now.mono).count() as u64,
                present
            );
        }
    }
}

/// The same, and nobody had a link when it began.
#[test]
fn an_instance_whose_lease_runs_out_is_looked_for() {
    let (mut cluster, terminals) = three();
    cluster.refuse(out_of_memory, [1]);
    assert_eq!(cluster.link_ends(), 0);
    cluster.pass(seconds(20));
    let call = cluster.push_user(0, "bob", "x");
    let receipt = cluster.receipt(call);
    assert_eq!((receipt.counts.written, receipt.degraded), (1, true));
    assert_eq!(cluster.texts(terminals[1]), ["x"]);
}

/// Terminals that it holds are reached until they have moved, those included whose rows it could not
/// write.
#[test]
fn an_instance_that_alone_is_cut_off_from_the_directory_is_asked() {
    let (mut cluster, _) = three();
    cluster.event(1, Event::DirectoryDown);
    cluster.connect(1, "dora");
    cluster.pass(seconds(15));
    for second in 0..60 {
        cluster.pass(seconds(1));
        for at in [0, 2] {
            for user in ["bob", "dora"] {
                let held = holders(&cluster, user);
                let call = cluster.push_user(at, user, "x");
                let receipt = cluster.receipt(call);
                let told = receipt.degraded || held == 0;
                assert!(
                    receipt.counts.written == held && told,
                    "{second} s: {receipt:?}"
                );
            }
        }
    }
}

/// A lease that expires with its instance is not doubted for long: the dial that looks for it fails.
#[test]
fn a_crashed_instance_is_dead_when_its_lease_has_run_out() {
    let (mut cluster, _) = three();
    all_reach_all(&mut cluster, "at first");
    cluster.down[1] = true;
    cluster.cut(0, 1);
    cluster.cut(2, 1);
    cluster.pass(seconds(12));
    let call = cluster.push_user(0, "bob", "x");
    let receipt = cluster.receipt(call);
    assert_eq!(
        (receipt.counts, receipt.degraded),
        (Counts::default(), false)
    );
    cluster.pass(seconds(120));
    assert!(cluster.dials < 40, "{}", cluster.dials);
}

/// H53: an instance that is told to end while nobody is connected to it was not wiped.
#[test]
fn a_lease_that_was_given_back_is_no_loss() {
    let (mut cluster, _) = three();
    let fourth = cluster.start(&Config::default());
    cluster.pass(seconds(2));
    let (delay, spread) = (Duration::ZERO, Duration::ZERO);
    cluster.event(fourth, Event::Drain { delay, spread });
    for _ in 0..50 {
        cluster.pass(Duration::from_millis(100));
        let call = cluster.push_user(0, "bob", "x");
        assert!(!cluster.receipt(call).degraded);
    }
    assert!(cluster.drained[fourth]);
    let vanished = |log: &&(usize, Log)| matches!(log.1, Log::LeaseVanished { .. });
    assert_eq!(cluster.log.iter().find(vanished), None);
    cluster.pass(seconds(120));
    assert_eq!(cluster.directory.leases(cluster.now.mono).count(), 3);
}

/// An instance that cannot be reached while nobody can renew is not taken for gone.
#[test]
fn a_receipt_says_degraded_while_writes_are_refused() {
    let (mut cluster, _) = three();
    cluster.refuse(out_of_memory, [0, 1, 2]);
    cluster.pass(seconds(30));
    cluster.down[1] = true;
    cluster.cut(0, 1);
    cluster.cut(2, 1);
    let call = cluster.push_user(0, "bob", "x");
    cluster.pass(seconds(3));
    let receipt = cluster.receipt(call);
    let lost = receipt
        .terminals
        .iter()
        .all(|terminal| terminal.outcome == Outcome::Unreachable);
    assert!(receipt.degraded && lost, "{receipt:?}");
}

/// A terminal whose row cannot be written is found by those who have a link to its instance, before any
/// lease has expired: the instance says so.
#[test]
fn an_instance_whose_rows_cannot_be_written_says_so_on_its_links() {
    for alone in [
        |cluster: &mut Cluster| cluster.refuse(out_of_memory, [1]),
        |cluster: &mut Cluster| cluster.event(1, Event::DirectoryDown),
    ] {
        let (mut cluster, _) = three();
        all_reach_all(&mut cluster, "at first");
        alone(&mut cluster);
        let (_, dora) = cluster.connect(1, "dora");
        cluster.pass(Duration::from_millis(1100));
        let call = cluster.push_user(0, "dora", "x");
        let receipt = cluster.receipt(call);
        assert_eq!((receipt.counts.written, receipt.degraded), (1, true));
        assert_eq!(cluster.texts(dora), ["x"]);

        cluster.refuse(out_of_memory, []);
        cluster.event(1, Event::DirectoryUp);
        for _ in 0..30 {
            cluster.pass(Duration::from_millis(100));
            let call = cluster.push_user(0, "dora", "y");
            assert_eq!(cluster.receipt(call).counts.written, 1);
        }
        assert!(all_reach_all(&mut cluster, "at the end"));
    }
}

/// What the directory was slow to write is doubted until it is read, and no longer.
#[test]
fn the_word_of_an_instance_counts_until_its_lease_says_what_there_is_to_say() {
    let (mut cluster, _) = three();
    all_reach_all(&mut cluster, "at first");
    cluster.refuse(
        |operation| is_register(operation).then(refused).flatten(),
        [1],
    );
    cluster.connect(1, "dora");
    cluster.pass(seconds(5));
    let call = cluster.push_user(0, "dora", "x");
    let receipt = cluster.receipt(call);
    assert_eq!((receipt.counts.written, receipt.degraded), (1, true));
    cluster.refuse(out_of_memory, []);
    cluster.pass(seconds(5));
    let call = cluster.push_user(0, "dora", "x");
    let receipt = cluster.receipt(call);
    assert_eq!((receipt.counts.written, receipt.degraded), (1, false));
}

/// An instance that had a link once is no worse off than one that never had one.
#[test]
fn an_instance_whose_link_broke_before_its_lease_ran_out_is_looked_for() {
    let (mut cluster, _) = three();
    all_reach_all(&mut cluster, "at first");
    for at in [0, 2] {
        cluster.cut(at, 1);
    }
    cluster.settle_down();
    cluster.refuse(out_of_memory, [1]);
    for second in 0..15 {
        cluster.pass(seconds(1));
        all_reach_all(&mut cluster, &format!("{second} s after"));
        for at in [0, 2] {
            cluster.cut(at, 1);
        }
        cluster.settle_down();
        let run_out = cluster.instances[0]
            .membership()
            .view()
            .leases(cluster.now.mono)
            .count()
            < 2;
        let linked = cluster.instances[0]
            .peers()
            .said_by(InstanceId::new(2))
            .is_some();
        assert!(linked || !run_out, "nothing else shows that it lives");
    }
}

/// Doubt about an instance ends when nobody is left there, although its link stays and it has no lease.
#[test]
fn an_instance_without_lease_and_terminals_leaves_no_doubt() {
    let (mut cluster, _) = three();
    all_reach_all(&mut cluster, "at first");
    cluster.event(1, Event::DirectoryDown);
    cluster.pass(seconds(45));
    assert_eq!(holders(&cluster, "bob"), 0);
    let call = cluster.push_user(0, "bob", "x");
    assert!(!cluster.receipt(call).degraded);
    cluster.event(1, Event::DirectoryUp);
    cluster.pass(seconds(3));
    cluster.connect(1, "bob");
    let call = cluster.push_user(0, "bob", "x");
    assert_eq!(cluster.receipt(call).counts.written, 1);
}
