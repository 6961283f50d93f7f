//! Durable pushes whose receipts wait for a replica of the directory.

use std::time::Duration;

use super::pair;
use crate::config::Config;
use crate::directory::log::{LogOperation, LogReply};
use crate::directory::{Operation, OperationResult, Reply};
use crate::event::{Answer, Event, Follow, Handshake, TripLost};
use crate::id::{CallId, UserId};
use crate::message::{Audience, Durability, Durable, InLog, Push, PushRefused, Receipt};
use crate::testing::cluster::{Cluster, Server, frame, user};

const MILLI: Duration = Duration::from_millis(1);

fn for_replica(to: Audience, id: u128) -> Push {
    let durable = Durable {
        durability: Durability::Replica,
        ..Durable::default()
    };
    Push {
        durable: Some(durable),
        ..frame(to, "a", id)
    }
}

fn pushed(cluster: &mut Cluster, to: Audience, id: u128) -> CallId {
    cluster.call_push(0, for_replica(to, id))
}

/// What a receipt says of the logs: whether they have it, and whether a replica does.
fn said(receipt: &Receipt) -> Vec<(bool, Option<bool>)> {
    let logs = receipt.logged.iter();
    logs.map(|log| (matches!(log.logged, InLog::At(_)), log.replicated))
        .collect()
}

/// Answers what waits for a replica.
fn confirmed(operation: &Operation, known: bool, replicas: u32) -> Option<OperationResult> {
    let waits = matches!(
        operation,
        Operation::Log {
            operation: LogOperation::Confirm { .. },
            ..
        }
    );
    waits.then_some(Ok(Reply::Log(LogReply::Confirmed { known, replicas })))
}

fn with_replica(operation: &Operation) -> Option<OperationResult> {
    confirmed(operation, true, 1)
}

/// What a primary says that took over without the record.
fn after_failover(operation: &Operation) -> Option<OperationResult> {
    confirmed(operation, false, 2)
}

/// H64: what the directory does not confirm is not said.
#[test]
fn a_receipt_says_whether_a_replica_has_the_record() {
    for (answers, replicated) in [
        (Some(with_replica as fn(&Operation) -> _), true),
        (Some(after_failover), false),
        // The directory in memory, of which there is no copy.
        (None, false),
    ] {
        let mut cluster = pair();
        if let Some(answers) = answers {
            cluster.refuse(answers, [0]);
        }
        let names = ["ann", "bob"].map(|name| UserId::new(name).expect("a user"));
        let call = pushed(&mut cluster, Audience::Users(names.to_vec()), 1);
        cluster.pass(MILLI);
        let receipt = cluster.receipt(call);
        assert_eq!(said(receipt), [(true, Some(replicated)); 2]);
        let stats = cluster.instances[0].stats();
        assert_eq!(stats.replicas_asked, 2);
        assert_eq!(stats.replicated, if replicated { 2 } else { 0 });
        // Nobody was missed.
        assert!(!receipt.degraded);
    }
}

#[test]
fn who_asks_for_no_replica_waits_for_none() {
    let mut cluster = pair();
    let call = cluster.call_push(0, frame(user("ann"), "a", 1).durable());
    let receipt = cluster.receipt(call);
    assert_eq!(said(receipt), [(true, None)]);
    assert!(!receipt.degraded);
}

/// Terminals do not wait for the replica, and neither do other pushes; the receipt does, until the directory has had its
/// time.
#[test]
fn nothing_but_the_receipt_waits_for_a_replica() {
    let mut cluster = pair();
    let handshake = Handshake {
        follow: Some(Follow::default()),
        ..Handshake::new(UserId::new("ann").expect("a user"))
    };
    let key = cluster.accept(0, handshake).expect("taken");
    let ann = cluster.instances[0].connection_id(key).expect("there");
    cluster.event(0, Event::Opened { connection: key });

    cluster.server = Server::WithoutReplica;
    let waiting = pushed(&mut cluster, user("ann"), 7);
    let plain = cluster.push_user(0, "ann", "b");
    let durable = cluster.call_push(0, frame(user("ann"), "c", 9).durable());
    assert_eq!(cluster.texts(ann), ["a", "b", "c"]);
    assert_eq!(cluster.receipt(plain).counts.written, 1);
    assert_eq!(cluster.receipt(durable).counts.written, 1);
    assert!(!cluster.answers.contains_key(&waiting));

    cluster.pass(Config::default().directory_timeout + 2 * MILLI);
    let receipt = cluster.receipt(waiting);
    assert_eq!(said(receipt), [(true, Some(false))]);
    assert_eq!(receipt.counts.written, 1);
}

/// What comes while a replica is asked for shares the next round trip, but for what has no time left.
#[test]
fn a_replica_is_asked_for_by_one_round_trip_at_a_time() {
    let mut cluster = pair();
    cluster.server = Server::WithoutReplica;
    let first = pushed(&mut cluster, user("ann"), 1);
    let [late, late_too] = [2, 3].map(|id| {
        let push = Push {
            deadline: Config::DEADLINE_MIN,
            ..for_replica(user("ann"), id)
        };
        cluster.call_push(0, push)
    });
    let last = pushed(&mut cluster, user("bob"), 4);
    cluster.pass(Config::DEADLINE_MIN + 2 * MILLI);
    for call in [late, late_too] {
        let receipt = cluster.receipt(call);
        assert_eq!(said(receipt), [(true, Some(false))]);
        assert!(receipt.degraded, "its deadline has come");
    }
    assert_eq!(asked_for(&cluster), [1]);

    cluster.refuse(with_replica, [0]);
    cluster.answer_held();
    for call in [first, last] {
        assert_eq!(said(cluster.receipt(call)), [(true, Some(true))]);
    }
    assert_eq!(cluster.instances[0].tables().awaited_replicas, 0);
}

/// The records that each round trip asks for that waits for a replica.
fn asked_for(cluster: &Cluster) -> Vec<usize> {
    let trips = cluster.held.iter();
    trips.map(|(_, trip)| trip.operations.len()).collect()
}

#[test]
fn a_receipt_waits_for_no_replica_when_the_link_to_it_or_to_the_directory_is_lost() {
    for of_its_own in [true, false] {
        let mut cluster = pair();
        cluster.server = Server::WithoutReplica;
        let call = pushed(&mut cluster, user("ann"), 1);
        let (_, trip) = cluster.held.pop_front().expect("a replica is asked for");
        let event = match of_its_own {
            true => Event::Directory {
                op: trip.op,
                outcomes: Err(TripLost),
            },
            false => Event::DirectoryDown,
        };
        cluster.event(0, event);
        assert_eq!(said(cluster.receipt(call)), [(true, Some(false))]);
        let linked = pushed(&mut cluster, user("bob"), 2);
        let refused = Answer::Push(Err(PushRefused::DirectoryAway));
        assert_eq!(cluster.answers.get(&linked) == Some(&refused), !of_its_own);
    }
}
