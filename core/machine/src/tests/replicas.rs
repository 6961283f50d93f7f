//! Durable pushes whose receipts wait for a replica of the directory.

use std::time::Duration;

use super::pair;
use crate::directory::log::{LogOperation, LogReply};
use crate::directory::{Operation, OperationResult, Reply};
use crate::event::{Event, Follow, Handshake};
use crate::id::{CallId, UserId};
use crate::message::{Audience, Durability, Durable, InLog, Push, Receipt};
use crate::testing::cluster::{Cluster, Server, frame, user};

const MILLI: Duration = Duration::from_millis(1);

fn pushed(cluster: &mut Cluster, to: Audience) -> CallId {
    let durable = Durable {
        durability: Durability::Replica,
        ..Durable::default()
    };
    let id = cluster.answers.len() as u128 + 1;
    let push = Push {
        durable: Some(durable),
        ..frame(to, "a", id)
    };
    cluster.call_push(0, push)
}

/// What a receipt says of the logs: whether they have it, and whether a replica does.
fn said(receipt: &Receipt) -> Vec<(bool, Option<bool>)> {
    let logs = receipt.logged.iter();
    logs.map(|log| (matches!(log.logged, InLog::At(_)), log.replicated))
        .collect()
}

/// Answers what waits for a replica.
fn confirmed(operation: &Operation, kept: bool, replicas: u32) -> Option<OperationResult> {
    let waits = matches!(
        operation,
        Operation::Log {
            operation: LogOperation::Confirm { .. },
            ..
        }
    );
    waits.then_some(Ok(Reply::Log(LogReply::Confirmed { kept, replicas })))
}

fn with_replica(operation: &Operation) -> Option<OperationResult> {
    confirmed(operation, true, 1)
}

/// What a primary says that took over without the record.
fn after_failover(operation: &Operation) -> Option<OperationResult> {
    confirmed(operation, false, 2)
}

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
        let call = pushed(&mut cluster, Audience::Users(names.to_vec()));
        cluster.pass(MILLI);
        let receipt = cluster.receipt(call);
        assert_eq!(said(receipt), [(true, Some(replicated)); 2]);
        assert_eq!(receipt.degraded, !replicated);
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

/// Terminals do not wait for the replica, and neither do other pushes; the receipt does, until its deadline.
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
    let waiting = pushed(&mut cluster, user("ann"));
    let plain = cluster.push_user(0, "ann", "b");
    let durable = cluster.call_push(0, frame(user("ann"), "c", 9).durable());
    assert_eq!(cluster.texts(ann), ["a", "b", "c"]);
    assert_eq!(cluster.receipt(plain).counts.written, 1);
    assert_eq!(cluster.receipt(durable).counts.written, 1);
    assert!(!cluster.answers.contains_key(&waiting));

    cluster.pass(crate::config::Config::DEADLINE_DEFAULT);
    let receipt = cluster.receipt(waiting);
    assert_eq!(said(receipt), [(true, Some(false))]);
    assert!(receipt.degraded);
    assert_eq!(receipt.counts.written, 1);
}
