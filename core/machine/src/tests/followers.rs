//! Followers of logs: what they are told, over reconnects, links that break and a directory that loses records.

use std::time::Duration;

use super::pair;
use crate::config::Config;
use crate::directory::Operation;
use crate::directory::log::LogOperation;
use crate::event::{Closure, Event, Follow, Handshake};
use crate::frame::{HelloLog, Outgoing};
use crate::id::{CallId, ConnectionId, ConnectionKey, UserId};
use crate::message::{Durable, InLog, Push};
use crate::position::Position;
use crate::testing::cluster::{Cluster, Server, frame, user};

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn follow(
    cluster: &mut Cluster,
    instance: usize,
    name: &str,
    follow: Follow,
) -> (ConnectionKey, ConnectionId) {
    let handshake = Handshake {
        follow: Some(follow),
        ..Handshake::new(UserId::new(name).expect("a user"))
    };
    let key = cluster.accept(instance, handshake).expect("taken");
    let id = cluster.instances[instance]
        .connection_id(key)
        .expect("there");
    cluster.event(instance, Event::Opened { connection: key });
    (key, id)
}

fn after(position: Position) -> Follow {
    Follow {
        after: vec![position],
        behind: None,
        history: 0,
    }
}

pub(super) fn durable(
    cluster: &mut Cluster,
    instance: usize,
    name: &str,
    text: &str,
    id: u128,
) -> CallId {
    let push = Push {
        durable: Some(Durable::default()),
        ..frame(user(name), text, id)
    };
    let call = cluster.hand_in(instance, push);
    cluster.pass(SECOND);
    call
}

pub(super) fn position(cluster: &Cluster, call: CallId) -> Position {
    match cluster.receipt(call).logged[0].logged {
        InLog::At(position) => position,
        other @ (InLog::Expired | InLog::Unknown | InLog::Refused | InLog::Unlogged) => {
            panic!("{other:?}")
        }
    }
}

/// What a terminal was told, as short texts.
pub(super) fn told(cluster: &Cluster, connection: ConnectionId) -> Vec<String> {
    (cluster.received.get(&connection).into_iter().flatten())
        .map(|outgoing| match outgoing {
            Outgoing::Hello { log, .. } => match log {
                HelloLog::NotAsked => "hello".to_owned(),
                HelloLog::Unknown => "hello ?".to_owned(),
                HelloLog::At(attached) => format!("hello {:?}", attached.recovery),
            },
            Outgoing::Log(attached) => format!("log {:?}", attached.recovery),
            Outgoing::Record(pushed) => {
                let text = pushed.payload().bytes();
                format!("record {}", String::from_utf8_lossy(text))
            }
            Outgoing::Pushed(pushed) => String::from_utf8_lossy(pushed.payload().bytes()).into(),
            Outgoing::Gap(_) => "gap".to_owned(),
            Outgoing::Back(_) => "back".to_owned(),
            Outgoing::Received(_) => "received".to_owned(),
            Outgoing::Joined { topic, .. } => format!("joined {topic}"),
            Outgoing::Left(topic) => format!("left {topic}"),
            Outgoing::NotJoined(topic, _) => format!("not joined {topic}"),
            Outgoing::NotWatched(topic, _) => format!("not watched {topic}"),
            Outgoing::Presence(presence) => format!("presence {}", presence.topic),
            Outgoing::TopicLog(topic, _) => format!("log of {topic}"),
        })
        .collect()
}

#[test]
fn a_follower_gets_each_record_once_and_others_get_a_plain_push() {
    let mut cluster = pair();
    let (_, ann) = follow(&mut cluster, 0, "ann", Follow::default());
    let (_, plain) = cluster.connect(1, "ann");
    for number in 0..3 {
        let via = number % 2;
        let call = durable(
            &mut cluster,
            via,
            "ann",
            &number.to_string(),
            number as u128,
        );
        let receipt = cluster.receipt(call);
        assert_eq!((receipt.counts.written, receipt.degraded), (2, false));
    }
    assert_eq!(
        told(&cluster, ann),
        ["hello Anew", "record 0", "record 1", "record 2"]
    );
    assert_eq!(told(&cluster, plain), ["hello", "0", "1", "2"]);
}

/// H57: what was pushed meanwhile is there at another instance as well.
#[test]
fn a_follower_that_returns_anywhere_goes_on_behind_what_it_holds() {
    let mut cluster = pair();
    let (key, _) = follow(&mut cluster, 0, "ann", Follow::default());
    let first = durable(&mut cluster, 1, "ann", "one", 1);
    let held = position(&cluster, first);
    cluster.disconnect(0, key);
    let missed = durable(&mut cluster, 1, "ann", "two", 2);
    assert_eq!(
        cluster.receipt(missed).counts,
        crate::message::Counts::default()
    );
    let (_, again) = follow(&mut cluster, 1, "ann", after(held));
    durable(&mut cluster, 0, "ann", "three", 3);
    assert_eq!(
        told(&cluster, again),
        ["hello Resumed", "record two", "record three"]
    );
}

/// What holds no more of a position than its offset goes on where that is known.
#[test]
fn a_follower_that_brings_an_offset_alone_goes_on_behind_it() {
    let mut cluster = pair();
    let first = durable(&mut cluster, 0, "ann", "one", 1);
    durable(&mut cluster, 1, "ann", "two", 2);
    let offset = position(&cluster, first).offset();
    let behind = |offset| Follow {
        behind: Some(offset),
        ..Follow::default()
    };
    let (_, known) = follow(&mut cluster, 1, "ann", behind(offset));
    let (_, unknown) = follow(&mut cluster, 1, "ann", behind(offset + 1));
    cluster.pass(SECOND);
    assert_eq!(told(&cluster, known), ["hello Resumed", "record two"]);
    let all = ["hello Lost", "record one", "record two"];
    assert_eq!(told(&cluster, unknown), all);
}

/// H61: the repeat is the record that stands there.
#[test]
fn a_repeat_of_a_durable_push_is_delivered_and_written_once() {
    let mut cluster = pair();
    let (_, ann) = follow(&mut cluster, 0, "ann", Follow::default());
    let first = durable(&mut cluster, 0, "ann", "one", 1);
    let again = durable(&mut cluster, 1, "ann", "one", 1);
    assert_eq!(position(&cluster, first), position(&cluster, again));
    assert_eq!(cluster.receipt(again).counts.written, 1);
    assert_eq!(told(&cluster, ann), ["hello Anew", "record one"]);
}

/// H60: and the terminal is told so.
#[test]
fn a_position_that_the_log_does_not_know_is_a_gap_and_all_that_is_kept_follows() {
    let mut cluster = pair();
    durable(&mut cluster, 0, "ann", "one", 1);
    let unknown = Position::new(1, 1).expect("in range");
    let (_, ann) = follow(&mut cluster, 1, "ann", after(unknown));
    cluster.pass(SECOND);
    assert_eq!(told(&cluster, ann), ["hello Lost", "record one"]);
}

/// H58, H59: a failover loses the last record. One follower brings it, falls into a gap, and is given all that is kept; the other
/// one goes back to the record before, which it was sent, whatever the first one is given meanwhile.
#[test]
fn a_step_back_does_not_depend_on_what_other_followers_of_the_log_are_sent() {
    let mut cluster = pair();
    let (_, ann) = follow(&mut cluster, 0, "ann", Follow::default());
    for number in 0..20 {
        durable(&mut cluster, 0, "ann", &number.to_string(), number);
    }
    let copy = cluster.directory.clone();
    let last = durable(&mut cluster, 0, "ann", "lost", 20);
    let last = position(&cluster, last);
    cluster.directory = copy;

    let (_, returns) = follow(&mut cluster, 0, "ann", after(last));
    cluster.pass(Config::default().log_check * 2);

    let told_ann = told(&cluster, ann);
    assert_eq!(told_ann[told_ann.len() - 2..], ["record lost", "back"]);
    let told_other = told(&cluster, returns);
    assert_eq!(
        (told_other[0].as_str(), told_other.len()),
        ("hello Lost", 21)
    );
}

#[test]
fn the_last_records_are_history_for_a_terminal_without_a_position() {
    let mut cluster = pair();
    for number in 0..5 {
        durable(&mut cluster, 0, "ann", &number.to_string(), number);
    }
    let asked = Follow {
        after: Vec::new(),
        behind: None,
        history: 2,
    };
    let (_, ann) = follow(&mut cluster, 1, "ann", asked);
    assert_eq!(told(&cluster, ann), ["hello Anew", "record 3", "record 4"]);
}

/// H62: it is not closed, and nothing is kept for it but in the log.
#[test]
fn a_follower_that_does_not_read_falls_behind_and_catches_up() {
    let config = Config {
        queue_frames: 2,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 2);
    let (_, ann) = follow(&mut cluster, 0, "ann", Follow::default());
    cluster.stalled.insert(ann);
    for number in 0..50 {
        durable(&mut cluster, 1, "ann", &number.to_string(), number);
    }
    cluster.read_again();
    cluster.pass(SECOND);
    let told = told(&cluster, ann);
    let records: Vec<_> = (0..50).map(|number| format!("record {number}")).collect();
    assert_eq!(told[1..], records);
}

/// H63: reads are bounded, whoever comes back at the same time.
#[test]
fn followers_that_come_at_once_are_read_for_a_few_at_a_time() {
    let config = Config {
        log_replays: 2,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 1);
    cluster.server = Server::Waits;
    let names = ["ann", "bob", "cem", "dan", "eve"];
    let ids = names.map(|name| follow(&mut cluster, 0, name, Follow::default()).1);
    let asked = cluster.held.iter().flat_map(|(_, trip)| &trip.operations);
    let reads = asked.filter(|operation| is_read(operation)).count();
    assert_eq!(reads, 2);
    cluster.server = Server::Answers;
    cluster.answer_held();
    cluster.settle_down();
    for id in ids {
        assert_eq!(told(&cluster, id), ["hello Anew"]);
    }
}

const fn is_read(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::Log {
            operation: LogOperation::Read { .. },
            ..
        }
    )
}

#[test]
fn the_lag_is_of_the_follower_that_has_been_without_for_the_longest_time() {
    let config = Config {
        queue_frames: 2,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 2);
    let (slow_key, slow) = follow(&mut cluster, 0, "ann", Follow::default());
    follow(&mut cluster, 0, "ann", Follow::default());
    let lag = |cluster: &Cluster| cluster.instances[0].gauges(cluster.now).follower_lag;
    cluster.pass(SECOND);
    assert_eq!(lag(&cluster), Duration::ZERO);
    cluster.stalled.insert(slow);
    for number in 0..10 {
        durable(&mut cluster, 1, "ann", &number.to_string(), number);
    }
    let before = lag(&cluster);
    assert!((SECOND..10 * SECOND).contains(&before), "{before:?}");
    cluster.pass(10 * SECOND);
    assert_eq!(lag(&cluster), before + 10 * SECOND);
    cluster.event(
        0,
        Event::Closed {
            connection: slow_key,
            closure: Closure::Abrupt,
        },
    );
    assert_eq!(lag(&cluster), Duration::ZERO);
}

#[test]
fn a_follower_that_has_caught_up_lags_no_longer() {
    let config = Config {
        queue_frames: 2,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 2);
    let (_, ann) = follow(&mut cluster, 0, "ann", Follow::default());
    cluster.stalled.insert(ann);
    for number in 0..10 {
        durable(&mut cluster, 1, "ann", &number.to_string(), number);
    }
    cluster.read_again();
    cluster.pass(SECOND);
    let gauges = cluster.instances[0].gauges(cluster.now);
    assert_eq!(gauges.follower_lag, Duration::ZERO);
}

#[test]
fn bytes_of_records_are_kept_until_their_retention_is_over() {
    let mut cluster = pair();
    durable(&mut cluster, 1, "ann", "12345", 1);
    durable(&mut cluster, 1, "ann", "12345", 1);
    durable(&mut cluster, 1, "bob", "123", 2);
    let kept =
        |cluster: &Cluster, at: usize| cluster.instances[at].gauges(cluster.now).log_kept_bytes;
    assert_eq!((kept(&cluster, 0), kept(&cluster, 1)), (0, 8));
    cluster.pass(2 * Config::default().log_age);
    assert_eq!(kept(&cluster, 1), 0);
}

#[test]
fn a_record_that_waits_for_a_terminal_that_does_not_read_is_not_written() {
    let mut cluster = pair();
    let (_, ann) = follow(&mut cluster, 0, "ann", Follow::default());
    cluster.stalled.insert(ann);
    let first = durable(&mut cluster, 0, "ann", "one", 1);
    let again = durable(&mut cluster, 1, "ann", "one", 1);
    cluster.pass(Config::DEADLINE_DEFAULT);
    assert_eq!(cluster.receipt(first).counts.queued, 1);
    assert_eq!(cluster.receipt(again).counts.kept, 1);
}

/// A record waits for no lookup, and what waits for one is not given up for that.
#[test]
fn a_plain_push_whose_lookup_is_slow_comes_behind_a_later_record() {
    let mut cluster = pair();
    let (_, plain) = cluster.connect(1, "ann");
    let (_, ann) = follow(&mut cluster, 1, "ann", Follow::default());
    cluster.server = Server::Waits;
    let slow = cluster.push_user(0, "ann", "slow");
    cluster.server = Server::Answers;
    durable(&mut cluster, 0, "ann", "kept", 7);
    cluster.answer_held();
    assert_eq!(told(&cluster, plain), ["hello", "kept", "slow"]);
    assert_eq!(told(&cluster, ann), ["hello Anew", "record kept", "slow"]);
    assert_eq!(cluster.receipt(slow).counts.written, 2);
}

#[test]
fn a_record_at_which_a_terminal_begins_is_not_written_to_it() {
    let mut cluster = pair();
    durable(&mut cluster, 0, "ann", "one", 1);
    let (_, ann) = follow(&mut cluster, 1, "ann", Follow::default());
    let again = durable(&mut cluster, 0, "ann", "one", 1);
    assert_eq!(cluster.receipt(again).counts.kept, 1);
    assert_eq!(told(&cluster, ann), ["hello Anew"]);
}

/// Reading the log again and again prolongs the life of the position at which its follower stands.
#[test]
fn a_follower_of_a_log_with_short_lives_is_told_of_no_gap() {
    let config = Config {
        log_check: SECOND,
        log_age: SECOND,
        log_age_max: SECOND,
        log_expiry: 4 * SECOND,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 2);
    let (_, ann) = follow(&mut cluster, 1, "ann", Follow::default());
    durable(&mut cluster, 0, "ann", "one", 1);
    cluster.pass(60 * SECOND);
    durable(&mut cluster, 0, "ann", "two", 2);
    let expected = ["hello Anew", "record one", "record two"];
    assert_eq!(told(&cluster, ann), expected);
}
