//! Lookups that are slow, terminals that move, rows that are not true.

use std::time::Duration;

use super::{outcomes, pair};
use crate::config::Config;
use crate::directory::{Operation, Reply, Row};
use crate::event::Event;
use crate::id::{ConnectionId, Epoch, InstanceId, UserId};
use crate::message::{Counts, Outcome};
use crate::testing::cluster::{Cluster, Server, user};
use crate::time::WallTime;

const SECOND: Duration = Duration::from_secs(1);

fn ann() -> UserId {
    UserId::new("ann").expect("a user")
}

/// A row that nobody has written in this way.
fn plant(cluster: &mut Cluster, connection: u128, instance: u64, epoch: u64) -> ConnectionId {
    let connection = ConnectionId::new(uuid::Uuid::from_u128(connection));
    let operation = Operation::Register {
        key: ann().into(),
        connection,
        row: Row {
            instance: InstanceId::new(instance),
            epoch: Epoch::new(epoch),
            connected: WallTime::from_millis(1),
        },
    };
    let reply = cluster.directory.execute(cluster.now.mono, &operation);
    assert_eq!(reply, Ok(Reply::Registered));
    connection
}

fn rows(cluster: &Cluster) -> usize {
    cluster.directory.len(cluster.now.mono)
}

/// H50: what was handed in while a lookup was under way comes in order, at all terminals.
#[test]
fn pushes_pipelined_during_a_slow_lookup_arrive_in_order() {
    let mut cluster = pair();
    let (_, here) = cluster.connect(0, "ann");
    let (_, there) = cluster.connect(1, "ann");
    cluster.server = Server::Waits;
    let calls: Vec<_> = (0..20)
        .map(|number| cluster.push_user(0, "ann", &number.to_string()))
        .collect();
    let trips = cluster.instances[0].stats().trips;
    cluster.answer_held();
    let expected: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    assert_eq!(cluster.texts(here), expected);
    assert_eq!(cluster.texts(there), expected);
    for call in calls {
        assert_eq!(cluster.receipt(call).counts.written, 2);
    }
    let after = cluster.instances[0].stats().trips - trips;
    assert_eq!(after, 1, "those that waited share one lookup");
}

/// H50: users do not wait for each other.
#[test]
fn a_push_of_another_user_does_not_wait() {
    let mut cluster = pair();
    cluster.connect(1, "ann");
    let (_, bob) = cluster.connect(0, "bob");
    cluster.server = Server::Waits;
    cluster.push_user(0, "ann", "hello");
    cluster.push_user(0, "bob", "hello");
    assert_eq!(
        cluster.texts(bob),
        ["hello"],
        "local terminals are served at once"
    );
}

/// H12: a terminal that moved while the push was on its way is found at its new instance, under
/// its new name, and the row of the old one is removed.
#[test]
fn a_terminal_that_has_moved_is_found_by_the_second_lookup() {
    let mut cluster = Cluster::new(&Config::default(), 3);
    let (old_key, old) = cluster.connect(1, "ann");
    // The directory has not heard of the end yet.
    cluster.server = Server::Waits;
    cluster.disconnect(1, old_key);
    cluster.server = Server::Answers;
    let (_, new) = cluster.connect(2, "ann");
    assert_eq!(rows(&cluster), 2);
    let call = cluster.push_user(0, "ann", "hello");
    let mut found = outcomes(&cluster, call);
    found.sort_unstable_by_key(|(_, outcome)| *outcome != Outcome::Gone);
    assert_eq!(found, [(old, Outcome::Gone), (new, Outcome::Written)]);
    assert_eq!(cluster.texts(new), ["hello"]);
    assert_eq!(
        rows(&cluster),
        1,
        "by comparison, before its owner removed it"
    );
    cluster.answer_held();
    assert_eq!(rows(&cluster), 1);
}

/// H30: only the row that was read is removed, not one that was written in the meantime.
#[test]
fn a_row_that_has_changed_since_it_was_read_is_not_removed() {
    let mut cluster = pair();
    let epoch = 1;
    let connection = plant(&mut cluster, 77, 2, epoch);
    cluster.server = Server::Waits;
    let call = cluster.push_user(0, "ann", "hello");
    cluster.answer_held();
    assert_eq!(outcomes(&cluster, call), [(connection, Outcome::Gone)]);
    assert_eq!(rows(&cluster), 0);
    let removal = Operation::RemoveRow {
        key: ann().into(),
        connection,
        row: Row {
            instance: InstanceId::new(2),
            epoch: Epoch::new(epoch),
            connected: WallTime::from_millis(1),
        },
    };
    plant(&mut cluster, 77, 2, epoch + 1);
    let reply = cluster.directory.execute(cluster.now.mono, &removal);
    assert_eq!(reply, Ok(Reply::Removed(false)));
}

/// H32, H33: rows of an instance without a lease are skipped, and removed by whoever reads them.
#[test]
fn rows_of_an_instance_without_a_lease_are_dead_and_removed() {
    let mut cluster = pair();
    plant(&mut cluster, 77, 99, 1);
    let (_, id) = cluster.connect(1, "ann");
    let call = cluster.push_user(0, "ann", "hello");
    assert_eq!(outcomes(&cluster, call), [(id, Outcome::Written)]);
    assert!(!cluster.receipt(call).degraded);
    assert_eq!(rows(&cluster), 1);
}

/// H30: an instance that has started since the last reading is looked up before it is called dead.
#[test]
fn an_instance_that_the_view_does_not_know_is_looked_up() {
    let mut cluster = pair();
    let third = cluster.start(&Config::default());
    let (_, id) = cluster.connect(third, "ann");
    let call = cluster.push_user(0, "ann", "hello");
    assert!(outcomes(&cluster, call).contains(&(id, Outcome::Written)));
    assert_eq!(rows(&cluster), 1);
}

/// H32: rows of an epoch that a settled lease has left behind are dead.
#[test]
fn rows_below_the_floor_are_dead_and_removed() {
    let mut cluster = pair();
    plant(&mut cluster, 77, 2, 0);
    let call = cluster.push_user(0, "ann", "hello");
    assert_eq!(cluster.receipt(call).counts, Counts::default());
    assert_eq!(rows(&cluster), 0);
}

/// H38: without the directory a push goes to local terminals and, by user, to every known peer,
/// for as long as that lasts, and says that it may have missed somebody.
#[test]
fn without_the_directory_every_known_peer_is_asked_by_user() {
    for away in [0, 5, 60, 3600] {
        let mut cluster = Cluster::new(&Config::default(), 3);
        let (_, here) = cluster.connect(0, "ann");
        let (_, there) = cluster.connect(1, "ann");
        cluster.connect(2, "bob");
        cluster.server = Server::Away;
        for index in 0..3 {
            cluster.event(index, Event::DirectoryDown);
        }
        cluster.pass(away * SECOND);
        let call = cluster.push_user(0, "ann", "hello");
        let receipt = cluster.receipt(call);
        assert_eq!(
            (receipt.counts.written, receipt.degraded),
            (2, true),
            "after {away} s"
        );
        assert_eq!(
            (cluster.texts(here).len(), cluster.texts(there).len()),
            (1, 1)
        );
        let call = cluster.push(0, crate::message::Audience::Everyone, "all", 5);
        cluster.pass(SECOND);
        let receipt = cluster.receipt(call);
        assert_eq!(
            (receipt.counts.written, receipt.degraded),
            (3, true),
            "after {away} s"
        );
    }
}

/// H38: a directory that does not answer is one that is away, once the lookup has timed out.
#[test]
fn after_a_lookup_timeout_every_known_peer_is_asked_by_user() {
    for away in [0, 5, 60] {
        let mut cluster = pair();
        let (_, id) = cluster.connect(1, "ann");
        cluster.server = Server::Away;
        cluster.pass(away * SECOND);
        let call = cluster.push_user(0, "ann", "hello");
        cluster.pass(Config::default().directory_timeout + SECOND);
        assert_eq!(
            outcomes(&cluster, call),
            [(id, Outcome::Written)],
            "after {away} s"
        );
        assert!(cluster.receipt(call).degraded);
        let call = cluster.push(0, crate::message::Audience::Everyone, "all", 5);
        cluster.pass(SECOND);
        let receipt = cluster.receipt(call);
        assert_eq!(receipt.counts.written, 1, "after {away} s");
        assert!(away < 10 || receipt.degraded, "after {away} s");
    }
}

/// A wiped directory has lost rows: those who may hold them are asked by user until they have
/// noticed.
#[test]
fn after_a_wipe_nobody_is_missed() {
    let mut cluster = Cluster::new(&Config::default(), 3);
    let (_, id) = cluster.connect(1, "ann");
    cluster.directory.wipe();
    let mut calls = Vec::new();
    for number in 0..40 {
        calls.push((number, cluster.push_user(0, "ann", "x")));
        cluster.pass(SECOND / 5);
    }
    cluster.pass(5 * SECOND);
    for (number, call) in calls {
        let receipt = cluster.receipt(call);
        assert!(
            receipt.counts.written == 1 || receipt.degraded,
            "{number}: {receipt:?}"
        );
    }
    assert!(cluster.texts(id).len() >= 39, "{}", cluster.texts(id).len());
    let call = cluster.push_user(0, "ann", "x");
    assert_eq!(
        (outcomes(&cluster, call), cluster.receipt(call).degraded),
        (vec![(id, Outcome::Written)], false)
    );
}

/// H50: a second lookup does not serve whom a later push has served: order before completeness.
#[test]
fn a_second_lookup_does_not_overtake_a_later_push() {
    for shuffle in 0..300 {
        let mut cluster = Cluster::new(&Config::default(), 3);
        cluster.push_user(0, "nobody", "x");
        let (key, _) = cluster.connect(1, "ann");
        cluster.shuffle = Some(shuffle);
        cluster.hand_in(0, crate::testing::cluster::frame(user("ann"), "1", 1));
        cluster.enqueue(
            1,
            Event::Closed {
                connection: key,
                closure: crate::event::Closure::Abrupt,
            },
        );
        for _ in 0..shuffle % 7 {
            cluster.step();
        }
        let (_, new) = cluster.connect_on_the_way(2, "ann");
        cluster.hand_in(0, crate::testing::cluster::frame(user("ann"), "2", 2));
        for _ in 0..shuffle % 5 {
            cluster.step();
        }
        cluster.hand_in(0, crate::testing::cluster::frame(user("ann"), "3", 3));
        cluster.settle_down();
        cluster.pass(4 * SECOND);
        let texts = cluster.texts(new);
        assert!(texts.is_sorted(), "{shuffle}: {texts:?}");
        assert_eq!(cluster.answers.len(), 4);
    }
}

/// H50: a second lookup that fails does not ask by user where a later push has been.
#[test]
fn a_failed_second_lookup_does_not_overtake_a_later_push() {
    let mut cluster = pair();
    let (old, _) = cluster.connect(1, "ann");
    cluster.push_user(0, "ann", "opens the link");
    cluster.server = Server::Waits;
    cluster.disconnect(1, old);
    cluster.server = Server::Answers;
    cluster.mute.insert((1, 0));
    let first = cluster.push_user(0, "ann", "1");
    let (_, new) = cluster.connect(1, "ann");
    cluster.push_user(0, "ann", "2");
    cluster.server = Server::Away;
    cluster.mute.clear();
    cluster.cut(0, 1);
    cluster.settle_down();
    cluster.pass(4 * SECOND);
    assert_eq!(cluster.texts(new), ["2"]);
    assert_eq!(
        (
            cluster.receipt(first).counts.gone,
            cluster.receipt(first).degraded
        ),
        (1, true)
    );
}
