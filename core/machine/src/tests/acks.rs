//! Confirmations of records by their followers, and pushes that wait for them.

use std::time::Duration;

use super::followers::{durable, follow, position, told};
use super::{outcomes, pair};
use crate::config::Config;
use crate::event::{Event, Follow, Heard};
use crate::frame::Outgoing;
use crate::id::{CallId, ConnectionId, ConnectionKey, UserId};
use crate::message::{Action, Audience, Durable, FollowerStand, ListOrder, Outcome, Push, Until};
use crate::position::Position;
use crate::testing::cluster::{Cluster, frame, user};

const SECOND: Duration = Duration::from_secs(1);

/// A push that waits for two seconds until its followers have confirmed it.
fn confirmed_push(name: &str, text: &str, id: u128) -> Push {
    Push {
        durable: Some(Durable {
            until: Until::Acked,
            ..Durable::default()
        }),
        deadline: 2 * SECOND,
        ..frame(user(name), text, id)
    }
}

fn hand_in(cluster: &mut Cluster, instance: usize, push: Push) -> CallId {
    let call = cluster.hand_in(instance, push);
    cluster.pass(SECOND / 10);
    call
}

fn ack(cluster: &mut Cluster, instance: usize, connection: ConnectionKey, position: Position) {
    let frame = Heard::Ack(position);
    cluster.event(instance, Event::Heard { connection, frame });
    cluster.pass(SECOND / 10);
}

/// The position of the last record of the log, as its follower was told it.
fn last_position(cluster: &Cluster, connection: ConnectionId) -> Position {
    let told = cluster.received[&connection].iter().rev();
    let mut records = told.filter_map(|outgoing| match outgoing {
        Outgoing::Record(pushed) => pushed.position(),
        Outgoing::Hello { .. }
        | Outgoing::Log(_)
        | Outgoing::Gap(_)
        | Outgoing::Back(_)
        | Outgoing::Pushed(_)
        | Outgoing::Joined { .. }
        | Outgoing::Left(_)
        | Outgoing::NotJoined(..)
        | Outgoing::NotWatched(..)
        | Outgoing::Presence(_)
        | Outgoing::TopicLog(..)
        | Outgoing::Received(_) => None,
    });
    records.next().expect("a record")
}

#[test]
fn a_receipt_waits_until_all_followers_have_confirmed() {
    let mut cluster = pair();
    let (first, ann) = follow(&mut cluster, 0, "ann", Follow::default());
    let (second, other) = follow(&mut cluster, 1, "ann", Follow::default());
    let (_, plain) = cluster.connect(1, "ann");
    let call = hand_in(&mut cluster, 0, confirmed_push("ann", "one", 1));
    let record = last_position(&cluster, ann);
    assert!(!cluster.answers.contains_key(&call));
    ack(&mut cluster, 0, first, record);
    assert!(!cluster.answers.contains_key(&call));
    ack(&mut cluster, 1, second, record);
    let mut expected = [
        (ann, Outcome::Acked),
        (other, Outcome::Acked),
        (plain, Outcome::Written),
    ];
    let mut found = outcomes(&cluster, call);
    expected.sort_unstable_by_key(|(connection, _)| *connection);
    found.sort_unstable_by_key(|(connection, _)| *connection);
    assert_eq!(found, expected);
    let counts = cluster.receipt(call).counts;
    assert_eq!((counts.acked, counts.written), (2, 1));
    assert!(!cluster.receipt(call).degraded);
}

#[test]
fn what_nobody_confirms_is_written_at_the_deadline() {
    let mut cluster = pair();
    let (_, ann) = follow(&mut cluster, 1, "ann", Follow::default());
    let call = hand_in(&mut cluster, 0, confirmed_push("ann", "one", 1));
    cluster.pass(SECOND);
    assert!(!cluster.answers.contains_key(&call));
    cluster.pass(SECOND);
    assert_eq!(outcomes(&cluster, call), [(ann, Outcome::Written)]);
}

#[test]
fn a_confirmation_is_of_all_that_was_told_before_and_of_nothing_else() {
    let mut cluster = pair();
    let (key, ann) = follow(&mut cluster, 1, "ann", Follow::default());
    let calls = [1, 2, 3].map(|number| {
        let push = confirmed_push("ann", &number.to_string(), number);
        hand_in(&mut cluster, 0, push)
    });
    let unknown = Position::new(1, 1).expect("in range");
    ack(&mut cluster, 1, key, unknown);
    assert!(cluster.answers.is_empty());
    let last = last_position(&cluster, ann);
    ack(&mut cluster, 1, key, last);
    for call in calls {
        assert_eq!(outcomes(&cluster, call), [(ann, Outcome::Acked)]);
    }
    ack(&mut cluster, 1, key, last);
    let stats = cluster.instances[1].stats();
    assert_eq!((stats.log_acked, stats.log_acks_dropped), (3, 2));
}

#[test]
fn a_terminal_that_does_not_follow_confirms_nothing() {
    let mut cluster = pair();
    let (key, plain) = cluster.connect(0, "ann");
    let call = hand_in(&mut cluster, 0, confirmed_push("ann", "one", 1));
    assert_eq!(outcomes(&cluster, call), [(plain, Outcome::Written)]);
    let record = position(&cluster, call);
    ack(&mut cluster, 0, key, record);
    assert_eq!(cluster.instances[0].stats().log_acks_dropped, 1);
}

/// What it was sent on another connection it says in vain: the receipt of that is over.
#[test]
fn a_connection_confirms_what_was_sent_on_it() {
    let mut cluster = pair();
    let (key, ann) = follow(&mut cluster, 0, "ann", Follow::default());
    let first = hand_in(&mut cluster, 1, confirmed_push("ann", "one", 1));
    let record = last_position(&cluster, ann);
    cluster.disconnect(0, key);
    assert_eq!(outcomes(&cluster, first), [(ann, Outcome::Written)]);
    let after = Follow {
        after: vec![record],
        behind: None,
        history: 0,
    };
    let (key, _) = follow(&mut cluster, 1, "ann", after);
    ack(&mut cluster, 1, key, record);
    let stats = cluster.instances[1].stats();
    assert_eq!((stats.log_acked, stats.log_acks_dropped), (0, 1));
}

/// What comes by way of the log is confirmed as well.
#[test]
fn a_receipt_waits_for_a_follower_that_reads_slowly() {
    let config = Config {
        queue_frames: 2,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 2);
    let (key, ann) = follow(&mut cluster, 0, "ann", Follow::default());
    cluster.stalled.insert(ann);
    for number in 0..5 {
        cluster.hand_in(1, confirmed_push("ann", "before", number));
    }
    let call = hand_in(&mut cluster, 1, confirmed_push("ann", "last", 9));
    cluster.read_again();
    cluster.pass(SECOND / 2);
    assert_eq!(
        told(&cluster, ann).last().map(String::as_str),
        Some("record last")
    );
    assert!(!cluster.answers.contains_key(&call));
    let record = last_position(&cluster, ann);
    ack(&mut cluster, 0, key, record);
    assert_eq!(outcomes(&cluster, call), [(ann, Outcome::Acked)]);
}

#[test]
fn a_repeat_of_what_is_confirmed_is_confirmed() {
    let mut cluster = pair();
    let (key, ann) = follow(&mut cluster, 0, "ann", Follow::default());
    let first = durable(&mut cluster, 1, "ann", "one", 1);
    let record = position(&cluster, first);
    ack(&mut cluster, 0, key, record);
    let again = hand_in(&mut cluster, 1, confirmed_push("ann", "one", 1));
    assert_eq!(outcomes(&cluster, again), [(ann, Outcome::Acked)]);
}

#[test]
fn a_repeat_of_a_record_that_was_too_large_for_the_queue_is_not_called_written() {
    let small = Config {
        queue_bytes: 100,
        push_bytes: 100,
        ..Config::default()
    };
    let mut cluster = pair();
    let at = cluster.start(&small);
    let (_, ann) = follow(&mut cluster, at, "ann", Follow::default());
    let large = "x".repeat(200);
    let first = durable(&mut cluster, 0, "ann", &large, 1);
    assert_eq!(outcomes(&cluster, first), [(ann, Outcome::TooLarge)]);
    let again = durable(&mut cluster, 0, "ann", &large, 1);
    assert_eq!(outcomes(&cluster, again), [(ann, Outcome::Kept)]);
    assert_eq!(told(&cluster, ann), ["hello Anew", "gap"]);
}

/// It is found out when the log is read, behind what the terminal has taken so slowly.
#[test]
fn a_receipt_does_not_wait_for_a_record_that_is_too_large_for_the_queue() {
    let small = Config {
        queue_frames: 2,
        queue_bytes: 100,
        push_bytes: 100,
        ..Config::default()
    };
    let mut cluster = pair();
    let at = cluster.start(&small);
    let (_, ann) = follow(&mut cluster, at, "ann", Follow::default());
    cluster.stalled.insert(ann);
    for number in 0..5 {
        cluster.hand_in(0, confirmed_push("ann", "before", number));
    }
    let large = "x".repeat(200);
    let call = hand_in(&mut cluster, 0, confirmed_push("ann", &large, 9));
    assert!(!cluster.answers.contains_key(&call));
    cluster.read_again();
    cluster.pass(SECOND / 2);
    assert_eq!(outcomes(&cluster, call), [(ann, Outcome::TooLarge)]);
}

/// A receipt does not wait for what cannot come: the terminal may confirm what it was sent on this connection.
#[test]
fn a_record_that_a_follower_has_brought_is_not_waited_for() {
    let mut cluster = pair();
    let first = durable(&mut cluster, 0, "ann", "one", 1);
    let after = Follow {
        after: vec![position(&cluster, first)],
        behind: None,
        history: 0,
    };
    let (_, ann) = follow(&mut cluster, 1, "ann", after);
    let again = hand_in(&mut cluster, 0, confirmed_push("ann", "one", 1));
    assert_eq!(outcomes(&cluster, again), [(ann, Outcome::Written)]);
}

#[test]
fn a_record_behind_which_a_follower_begins_is_not_waited_for() {
    let mut cluster = pair();
    durable(&mut cluster, 0, "ann", "one", 1);
    let (_, ann) = follow(&mut cluster, 1, "ann", Follow::default());
    let again = hand_in(&mut cluster, 0, confirmed_push("ann", "one", 1));
    assert_eq!(outcomes(&cluster, again), [(ann, Outcome::Kept)]);
}

/// A list of followers says where each stands, at whatever instance it is, and what it has confirmed.
#[test]
fn followers_are_listed_with_where_they_stand() {
    let mut cluster = pair();
    let (_, ann) = follow(&mut cluster, 0, "ann", Follow::default());
    let (key, other) = follow(&mut cluster, 1, "ann", Follow::default());
    cluster.connect(1, "ann");
    follow(&mut cluster, 1, "bob", Follow::default());
    let first = durable(&mut cluster, 0, "ann", "one", 1);
    let second = durable(&mut cluster, 0, "ann", "two", 2);
    let record = position(&cluster, first);
    ack(&mut cluster, 1, key, record);
    let at = position(&cluster, second);
    let list = Push {
        action: Action::List {
            order: ListOrder::Followers {
                user: UserId::new("ann").expect("a user"),
            },
            limit: 10,
        },
        ..frame(Audience::Everyone, "", 9)
    };
    let call = hand_in(&mut cluster, 0, list);
    let receipt = cluster.receipt(call);
    assert!(!receipt.degraded);
    let stand = |acked| FollowerStand {
        at: Some(at),
        sent: 2,
        acked,
    };
    let mut expected = [(ann, stand(0)), (other, stand(1))];
    expected.sort_unstable_by_key(|(connection, _)| *connection);
    let found: Vec<_> = (receipt.listed.iter())
        .filter_map(|one| Some((one.connection?, one.follows?)))
        .collect();
    assert_eq!(found, expected);
}
