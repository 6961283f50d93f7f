//! What a receipt says of each audience, and when.

use std::time::Duration;

use super::{outcomes, pair};
use crate::config::{Config, SlowConsumer};
use crate::event::{Answer, Event};
use crate::frame::{CloseCode, Payload};
use crate::id::{ConnectionId, PushId, UserId};
use crate::message::{Action, Audience, Counts, Outcome, Push, PushRefused};
use crate::testing::cluster::{Cluster, Server, frame, user};

const SECOND: Duration = Duration::from_secs(1);

fn users(names: &[&str]) -> Audience {
    Audience::Users(
        names
            .iter()
            .map(|name| UserId::new(name).expect("a user"))
            .collect(),
    )
}

fn only(name: &str, connections: &[ConnectionId]) -> Audience {
    Audience::Connections {
        user: UserId::new(name).expect("a user"),
        connections: connections.to_vec(),
    }
}

fn refusal(cluster: &mut Cluster, push: Push) -> PushRefused {
    let call = cluster.call_push(0, push);
    match &cluster.answers[&call] {
        Answer::Push(Err(refused)) => *refused,
        answer @ (Answer::Push(Ok(_))
        | Answer::Connections(_)
        | Answer::Log(_)
        | Answer::Relayed(_)
        | Answer::Instances(_)) => panic!("not refused: {answer:?}"),
    }
}

/// H42: nobody there is a result, and it says so.
#[test]
fn a_user_without_terminals_gets_an_empty_receipt_that_is_not_degraded() {
    let mut cluster = pair();
    let call = cluster.push_user(0, "nobody", "hello");
    let receipt = cluster.receipt(call);
    assert_eq!(
        (receipt.counts, receipt.degraded),
        (Counts::default(), false)
    );
    assert!(receipt.terminals.is_empty());
}

/// H12: a user who is named twice is served once, an absent one not at all, all others in full.
#[test]
fn a_list_of_users_reaches_each_terminal_of_each_once() {
    let mut cluster = pair();
    let (_, ann) = cluster.connect(0, "ann");
    let (_, ann_too) = cluster.connect(1, "ann");
    let (_, bob) = cluster.connect(1, "bob");
    let (_, eve) = cluster.connect(1, "eve");
    let call = cluster.push(0, users(&["ann", "bob", "ann", "nobody"]), "hello", 1);
    assert_eq!(cluster.receipt(call).counts.written, 3);
    for id in [ann, ann_too, bob] {
        assert_eq!(cluster.texts(id), ["hello"]);
    }
    assert_eq!(cluster.texts(eve), [""; 0]);
}

/// H52: a large audience is one delivery to each instance, and all of it is reported.
#[test]
fn many_users_at_one_instance_share_one_delivery() {
    let mut cluster = pair();
    let names: Vec<String> = (0..50).map(|number| format!("user{number}")).collect();
    for name in &names {
        cluster.connect(1, name);
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    cluster.push(0, users(&names[..1]), "opens the link", 1);
    let before = cluster.batches;
    let call = cluster.push(0, users(&names), "hello", 2);
    assert_eq!(cluster.receipt(call).counts.written, 50);
    assert_eq!(cluster.batches - before, 2, "one there, one back");
}

#[test]
fn a_push_to_some_connections_touches_no_other() {
    let mut cluster = pair();
    let (_, one) = cluster.connect(0, "ann");
    let (_, two) = cluster.connect(1, "ann");
    let (_, three) = cluster.connect(1, "ann");
    let call = cluster.push(0, only("ann", &[two, two, one]), "hello", 1);
    assert_eq!(cluster.receipt(call).counts.written, 2);
    assert_eq!(
        (cluster.texts(one), cluster.texts(two)),
        (vec!["hello".to_owned()], vec!["hello".to_owned()])
    );
    assert_eq!(cluster.texts(three), [""; 0]);
}

/// H01: a connection's name does not reach it under another user's.
#[test]
fn a_connection_of_another_user_is_not_touched() {
    let mut cluster = pair();
    let (_, bob) = cluster.connect(0, "bob");
    let (_, bob_too) = cluster.connect(1, "bob");
    let call = cluster.push(0, only("ann", &[bob, bob_too]), "hello", 1);
    assert_eq!(cluster.receipt(call).counts, Counts::default());
    assert_eq!(
        (cluster.texts(bob).len(), cluster.texts(bob_too).len()),
        (0, 0)
    );
}

/// H25: what cannot be done is refused, and nothing of it happens.
#[test]
fn a_push_beyond_a_limit_is_refused() {
    let config = Config {
        push_bytes: 10,
        push_users: 2,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 1);
    let (_, ann) = cluster.connect(0, "ann");
    let large = frame(user("ann"), "elevenbytes", 1);
    assert_eq!(
        refusal(&mut cluster, large),
        PushRefused::TooLarge {
            bytes: 11,
            limit: 10
        }
    );
    assert_eq!(
        refusal(&mut cluster, frame(users(&[]), "x", 2)),
        PushRefused::NoUsers
    );
    let many = frame(users(&["a", "b", "c"]), "x", 3);
    assert_eq!(
        refusal(&mut cluster, many),
        PushRefused::TooManyUsers { users: 3, limit: 2 }
    );
    let many = frame(only("ann", &[ann; 3]), "x", 3);
    assert_eq!(
        refusal(&mut cluster, many),
        PushRefused::TooManyConnections {
            connections: 3,
            limit: 2
        }
    );
    for deadline in [
        Duration::ZERO,
        Duration::from_millis(9),
        31 * SECOND,
        Duration::MAX,
    ] {
        let push = Push {
            deadline,
            ..frame(user("ann"), "x", 4)
        };
        assert_eq!(refusal(&mut cluster, push), PushRefused::Deadline);
    }
    assert_eq!(cluster.texts(ann), [""; 0]);
    assert!(cluster.instances[0].is_at_rest_but_for(1));
}

/// H24: what waits is bounded, in all and for each user.
#[test]
fn pushes_beyond_what_may_wait_are_refused_until_receipts_are_complete() {
    let config = Config {
        pushes: 3,
        pushes_per_user: 2,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 1);
    cluster.server = Server::Waits;
    let first = cluster.push_user(0, "ann", "1");
    cluster.push_user(0, "ann", "2");
    assert_eq!(
        refusal(&mut cluster, frame(user("ann"), "3", 3)),
        PushRefused::UserOverloaded
    );
    cluster.push_user(0, "bob", "1");
    assert_eq!(
        refusal(&mut cluster, frame(user("eve"), "1", 4)),
        PushRefused::Overloaded
    );
    cluster.answer_held();
    cluster.receipt(first);
    let call = cluster.push_user(0, "ann", "3");
    cluster.receipt(call);
}

#[test]
fn a_long_receipt_is_cut_and_its_counts_stay_true() {
    let config = Config {
        receipt_terminals: 2,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 2);
    for _ in 0..3 {
        cluster.connect(0, "ann");
        cluster.connect(1, "ann");
    }
    let call = cluster.push_user(0, "ann", "hello");
    let receipt = cluster.receipt(call);
    assert_eq!(
        (
            receipt.counts.written,
            receipt.terminals.len(),
            receipt.truncated
        ),
        (6, 2, true)
    );
}

/// H23: a terminal that does not read delays nobody, and its owner says that it has the frame.
#[test]
fn a_frame_that_is_not_written_by_the_deadline_is_queued() {
    let mut cluster = pair();
    let (_, slow) = cluster.connect(1, "ann");
    let (_, quick) = cluster.connect(0, "ann");
    cluster.stalled.insert(slow);
    let call = cluster.push_user(0, "ann", "hello");
    assert_eq!(cluster.texts(quick), ["hello"]);
    assert!(!cluster.answers.contains_key(&call), "before the deadline");
    cluster.pass(Config::DEADLINE_DEFAULT);
    let mut expected = [(slow, Outcome::Queued), (quick, Outcome::Written)];
    let mut found = outcomes(&cluster, call);
    expected.sort_unstable_by_key(|(id, _)| *id);
    found.sort_unstable_by_key(|(id, _)| *id);
    assert_eq!(found, expected);
    assert!(!cluster.receipt(call).degraded);
    cluster.read_again();
}

/// H24, H25: a full queue has an outcome, by its policy.
#[test]
fn a_full_queue_is_reported_as_overflow_by_each_policy() {
    for (policy, expected) in [
        (
            SlowConsumer::DropNewest,
            [Outcome::Written, Outcome::Written, Outcome::Overflow],
        ),
        (
            SlowConsumer::DropOldest,
            [Outcome::Written, Outcome::Overflow, Outcome::Written],
        ),
        (
            SlowConsumer::Close,
            [Outcome::Written, Outcome::Overflow, Outcome::Overflow],
        ),
    ] {
        let config = Config {
            queue_frames: 2,
            slow_consumer: policy,
            ..Config::default()
        };
        let mut cluster = Cluster::new(&config, 2);
        let (_, slow) = cluster.connect(1, "ann");
        cluster.stalled.insert(slow);
        let calls: Vec<_> = (1..4)
            .map(|number| cluster.push_user(0, "ann", &number.to_string()))
            .collect();
        cluster.read_again();
        cluster.pass(SECOND);
        let found: Vec<_> = calls
            .iter()
            .map(|call| outcomes(&cluster, *call)[0].1)
            .collect();
        match policy {
            // What was being written when the connection was closed is lost with it or not; the
            // socket of this test reports its end as clean, without the write.
            SlowConsumer::Close => assert_eq!(found[1..], expected[1..]),
            SlowConsumer::DropNewest | SlowConsumer::DropOldest => assert_eq!(found, expected),
        }
    }
}

/// H06: a kick reaches a terminal at whatever instance, with a receipt.
#[test]
fn a_kick_closes_the_terminal_and_its_receipt_says_so() {
    let mut cluster = pair();
    let (_, here) = cluster.connect(0, "ann");
    let (_, there) = cluster.connect(1, "ann");
    let kick = Push {
        action: Action::Close(CloseCode::Kicked),
        ..frame(only("ann", &[there]), "", 1)
    };
    let call = cluster.call_push(0, kick.clone());
    assert_eq!(outcomes(&cluster, call), [(there, Outcome::Written)]);
    assert_eq!(cluster.closed.get(&there), Some(&CloseCode::Kicked));
    assert_eq!(cluster.closed.get(&here), None);
    let call = cluster.call_push(
        0,
        Push {
            to: user("ann"),
            ..kick
        },
    );
    assert_eq!(outcomes(&cluster, call), [(here, Outcome::Written)]);
}

/// H23: what waits is written before the end of the connection, and both are in their receipts.
#[test]
fn a_kick_does_not_overtake_the_frames_before_it() {
    let mut cluster = pair();
    let (_, ann) = cluster.connect(1, "ann");
    cluster.stalled.insert(ann);
    let first = cluster.push_user(0, "ann", "1");
    let second = cluster.push_user(0, "ann", "2");
    let kick = Push {
        action: Action::Close(CloseCode::Kicked),
        ..frame(user("ann"), "", 9)
    };
    let kick = cluster.call_push(0, kick);
    cluster.read_again();
    for call in [first, second, kick] {
        assert_eq!(outcomes(&cluster, call), [(ann, Outcome::Written)]);
    }
    assert_eq!(cluster.texts(ann), ["1", "2"]);
}

/// H26: a frame whose connection ends before it is written is gone, not written.
#[test]
fn a_frame_of_a_connection_that_ends_is_gone() {
    let mut cluster = pair();
    let (key, ann) = cluster.connect(1, "ann");
    cluster.stalled.insert(ann);
    let call = cluster.push_user(0, "ann", "hello");
    cluster.disconnect(1, key);
    cluster.pass(SECOND);
    assert_eq!(outcomes(&cluster, call), [(ann, Outcome::Gone)]);
}

/// H49: a repeat at another instance writes nothing and reports what became of the first.
#[test]
fn a_repeat_at_another_instance_reports_the_first_outcome() {
    let mut cluster = Cluster::new(&Config::default(), 3);
    let (_, ann) = cluster.connect(1, "ann");
    let first = cluster.push(0, user("ann"), "hello", 7);
    let again = cluster.push(2, user("ann"), "hello", 7);
    let at_the_owner = cluster.push(1, user("ann"), "hello", 7);
    for call in [first, again, at_the_owner] {
        assert_eq!(outcomes(&cluster, call), [(ann, Outcome::Written)]);
    }
    assert_eq!(cluster.texts(ann), ["hello"]);
    assert_eq!(cluster.instances[1].stats().repeats, 2);
}

/// H49: a repeat of what is not over is told when it is.
#[test]
fn a_repeat_of_a_pending_push_waits_for_it() {
    let mut cluster = Cluster::new(&Config::default(), 3);
    let (_, ann) = cluster.connect(1, "ann");
    cluster.stalled.insert(ann);
    let first = cluster.push(0, user("ann"), "hello", 7);
    let again = cluster.push(2, user("ann"), "hello", 7);
    let same = cluster.push(0, user("ann"), "hello", 7);
    assert!(
        cluster
            .answers
            .keys()
            .all(|call| ![first, again, same].contains(call))
    );
    cluster.read_again();
    for call in [first, again, same] {
        assert_eq!(outcomes(&cluster, call), [(ann, Outcome::Written)]);
    }
    assert_eq!(cluster.texts(ann), ["hello"]);
}

#[test]
fn a_repeat_of_an_overflow_reports_the_overflow() {
    let config = Config {
        queue_frames: 2,
        slow_consumer: SlowConsumer::DropNewest,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 2);
    let (_, ann) = cluster.connect(1, "ann");
    cluster.stalled.insert(ann);
    cluster.push(0, user("ann"), "1", 1);
    cluster.push(0, user("ann"), "2", 2);
    let first = cluster.push(0, user("ann"), "3", 3);
    cluster.read_again();
    let again = cluster.push(1, user("ann"), "3", 3);
    for call in [first, again] {
        assert_eq!(outcomes(&cluster, call), [(ann, Outcome::Overflow)]);
    }
    assert_eq!(cluster.texts(ann), ["1", "2"]);
}

/// H45, H46: the receipt is there at the deadline although nobody has answered anything.
#[test]
fn the_receipt_is_complete_at_the_deadline() {
    let mut cluster = pair();
    let (_, ann) = cluster.connect(1, "ann");
    cluster.push_user(0, "ann", "opens the link");
    cluster.mute.insert((0, 1));
    let call = cluster.push_user(0, "ann", "hello");
    let everyone = cluster.push(0, Audience::Everyone, "hello", 9);
    cluster.pass(Config::DEADLINE_DEFAULT + Duration::from_millis(5));
    assert_eq!(outcomes(&cluster, call), [(ann, Outcome::Unreachable)]);
    let receipt = cluster.receipt(everyone);
    let answered: Vec<_> = receipt
        .instances
        .iter()
        .map(|outcome| outcome.answered)
        .collect();
    assert_eq!((answered, receipt.degraded), (vec![true, false], true));
    assert!(
        cluster.instances[0].is_at_rest(),
        "nothing waits for an answer beyond the receipt"
    );
    cluster.mute.clear();
    cluster.pass(20 * SECOND);
}

/// H08: an application that hands in nonsense gets one answer for each call.
#[test]
fn each_call_is_answered_once() {
    let mut cluster = pair();
    let payload = Payload::binary(bytes::Bytes::new());
    let push = Push {
        id: PushId::new(uuid::Uuid::nil()),
        to: only("ann", &[]),
        action: Action::Frame(payload),
        deadline: Config::DEADLINE_MIN,
        durable: None,
        by: crate::message::PushedBy::Application,
    };
    for _ in 0..3 {
        cluster.hand_in(0, push.clone());
    }
    cluster.event(0, Event::DirectoryDown);
    cluster.pass(SECOND);
    assert_eq!(cluster.answers.len(), 3);
}
