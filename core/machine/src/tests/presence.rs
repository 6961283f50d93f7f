//! Presence: what those members of a topic are told of the others who have asked.

use std::time::Duration;

use crate::config::Config;
use crate::event::{Closure, Event, Handshake};
use crate::id::{ConnectionId, ConnectionKey, TopicId, UserId};
use crate::message::{Action, Audience, Push};
use crate::testing::cluster::{Cluster, Told};
use crate::topic::{TopicRights, TopicWish};

const SECOND: Duration = Duration::from_secs(1);

fn topic() -> TopicId {
    TopicId::new("news").expect("a topic")
}

/// Connects a terminal that is a member by its token.
fn member(cluster: &mut Cluster, at: usize, user: &str) -> (ConnectionKey, ConnectionId) {
    connect(cluster, at, user, "news")
}

/// Connects a terminal with this in its token.
fn connect(
    cluster: &mut Cluster,
    at: usize,
    user: &str,
    claim: &str,
) -> (ConnectionKey, ConnectionId) {
    let rights = TopicRights::of_claim([claim]).expect("a name");
    let handshake = Handshake {
        topics: Some(rights.into()),
        ..Handshake::new(UserId::new(user).expect("a user"))
    };
    let key = cluster.accept(at, handshake).expect("taken");
    let id = cluster.instances[at].connection_id(key).expect("there");
    cluster.event(at, Event::Opened { connection: key });
    (key, id)
}

fn watch(cluster: &mut Cluster, at: usize, connection: ConnectionKey) {
    let wish = TopicWish::Watch(topic());
    cluster.event(at, Event::Topic { connection, wish });
}

fn close(cluster: &mut Cluster, at: usize, connection: ConnectionKey) {
    let closure = Closure::Clean;
    let closed = Event::Closed {
        connection,
        closure,
    };
    cluster.event(at, closed);
}

/// What a terminal was told since the last time, hello and answers left out.
fn news(cluster: &mut Cluster, connection: ConnectionId) -> Vec<String> {
    let received = cluster.received.remove(&connection).unwrap_or_default();
    let told = received.iter().map(|outgoing| Told(outgoing).to_string());
    told.filter(|text| text.starts_with("news #")).collect()
}

#[test]
fn a_watcher_gets_a_snapshot_and_then_what_changes_wherever_that_is() {
    let mut cluster = Cluster::new(&Config::default(), 3);
    let (ann, ann_id) = member(&mut cluster, 0, "ann");
    member(&mut cluster, 1, "bob");
    cluster.pass(SECOND);
    assert!(news(&mut cluster, ann_id).is_empty(), "it has not asked");
    watch(&mut cluster, 0, ann);
    cluster.pass(SECOND / 10);
    assert_eq!(news(&mut cluster, ann_id), ["news #1: ann bob"]);
    let (eve, _) = member(&mut cluster, 2, "eve");
    cluster.pass(2 * SECOND);
    assert_eq!(news(&mut cluster, ann_id), ["news #2: +eve"]);
    close(&mut cluster, 2, eve);
    cluster.pass(3 * SECOND);
    assert!(news(&mut cluster, ann_id).is_empty(), "it may come back");
    cluster.pass(4 * SECOND);
    assert_eq!(news(&mut cluster, ann_id), ["news #3: -eve"]);
    watch(&mut cluster, 0, ann);
    cluster.pass(SECOND / 10);
    assert_eq!(news(&mut cluster, ann_id), ["news #3: ann bob"]);
}

#[test]
fn who_returns_in_time_or_has_another_terminal_has_not_left() {
    let mut cluster = Cluster::new(&Config::default(), 2);
    let (ann, ann_id) = member(&mut cluster, 0, "ann");
    let (bob, _) = member(&mut cluster, 1, "bob");
    let (eve, _) = member(&mut cluster, 1, "eve");
    member(&mut cluster, 0, "eve");
    watch(&mut cluster, 0, ann);
    cluster.pass(SECOND);
    assert_eq!(news(&mut cluster, ann_id), ["news #1: ann bob eve"]);
    close(&mut cluster, 1, bob);
    close(&mut cluster, 1, eve);
    cluster.pass(4 * SECOND);
    member(&mut cluster, 0, "bob");
    cluster.pass(20 * SECOND);
    assert!(news(&mut cluster, ann_id).is_empty());
}

#[test]
fn the_members_of_a_crashed_instance_leave_once_when_its_lease_has_run_out() {
    let config = Config::default();
    let mut cluster = Cluster::new(&config, 3);
    let (ann, ann_id) = member(&mut cluster, 0, "ann");
    for user in ["bob", "eve"] {
        member(&mut cluster, 1, user);
    }
    member(&mut cluster, 2, "eve");
    watch(&mut cluster, 0, ann);
    cluster.pass(SECOND);
    assert_eq!(news(&mut cluster, ann_id), ["news #1: ann bob eve"]);
    cluster.down[1] = true;
    cluster.cut(0, 1);
    cluster.cut(2, 1);
    cluster.pass(config.lease / 2);
    assert!(
        news(&mut cluster, ann_id).is_empty(),
        "nobody knows who is there"
    );
    cluster.pass(2 * config.lease);
    assert_eq!(news(&mut cluster, ann_id), ["news #2: -bob"]);
    cluster.pass(2 * config.lease);
    assert!(news(&mut cluster, ann_id).is_empty());
}

/// The grace of those who are missing begins when the doubt is over, which nobody says.
#[test]
fn a_topic_is_read_more_often_while_somebody_is_in_doubt() {
    let config = Config::default();
    let mut cluster = Cluster::new(&config, 2);
    let (ann, _) = member(&mut cluster, 0, "ann");
    member(&mut cluster, 1, "bob");
    watch(&mut cluster, 0, ann);
    let readings = |cluster: &mut Cluster| {
        let before = cluster.instances[0].stats().presence_readings;
        cluster.pass(2 * SECOND);
        cluster.instances[0].stats().presence_readings - before
    };
    let certain = readings(&mut cluster);
    cluster.down[1] = true;
    cluster.cut(0, 1);
    cluster.pass(SECOND);
    let in_doubt = readings(&mut cluster);
    assert!((1..=3).contains(&certain), "{certain}");
    assert!((6..=9).contains(&in_doubt), "{in_doubt}");
}

#[test]
fn of_a_large_topic_the_number_of_its_members_is_told_once_a_second() {
    let mut cluster = Cluster::new(&Config::default(), 2);
    let (ann, ann_id) = member(&mut cluster, 0, "ann");
    for n in 0..Config::PRESENCE_NAMED_MAX {
        member(&mut cluster, 1, &format!("user{n}"));
    }
    watch(&mut cluster, 0, ann);
    cluster.pass(SECOND / 2);
    assert_eq!(news(&mut cluster, ann_id), ["news #1: 201"]);
    let (last, _) = member(&mut cluster, 1, "last");
    member(&mut cluster, 1, "and another");
    cluster.pass(SECOND);
    assert_eq!(news(&mut cluster, ann_id), ["news #2: 203"]);
    close(&mut cluster, 1, last);
    cluster.pass(5 * SECOND);
    assert_eq!(news(&mut cluster, ann_id), ["news #3: 202"]);
}

#[test]
fn nobody_reads_a_topic_that_nobody_watches() {
    let mut cluster = Cluster::new(&Config::default(), 1);
    let (ann, ann_id) = member(&mut cluster, 0, "ann");
    let (bob, bob_id) = member(&mut cluster, 0, "bob");
    for connection in [ann, bob] {
        watch(&mut cluster, 0, connection);
    }
    cluster.pass(SECOND / 10);
    for id in [ann_id, bob_id] {
        assert_eq!(news(&mut cluster, id), ["news #1: ann bob"]);
    }
    let leave = TopicWish::Leave(topic());
    let left = Event::Topic {
        connection: ann,
        wish: leave,
    };
    cluster.event(0, left);
    cluster.pass(10 * SECOND);
    assert!(news(&mut cluster, ann_id).is_empty());
    assert_eq!(news(&mut cluster, bob_id), ["news #2: -ann"]);
    assert_eq!(cluster.instances[0].tables().watched_topics, 1);
    close(&mut cluster, 0, bob);
    cluster.pass(2 * SECOND);
    assert_eq!(cluster.instances[0].tables().watched_topics, 0);
}

#[test]
fn whom_an_application_has_made_a_member_may_ask_who_the_others_are() {
    let mut cluster = Cluster::new(&Config::default(), 1);
    let (ann, ann_id) = cluster.connect(0, "ann");
    watch(&mut cluster, 0, ann);
    cluster.pass(SECOND);
    assert!(news(&mut cluster, ann_id).is_empty());
    let to = Audience::User(UserId::new("ann").expect("a user"));
    let push = crate::testing::cluster::frame(to, "", 1);
    let action = Action::Join(topic());
    cluster.call_push(0, Push { action, ..push });
    watch(&mut cluster, 0, ann);
    cluster.pass(SECOND);
    assert_eq!(news(&mut cluster, ann_id), ["news #1: ann"]);
}

/// H40: what nobody can know is not told as if it were so.
#[test]
fn what_is_told_in_doubt_says_so_and_is_told_again_when_it_is_certain() {
    let config = Config::default();
    let mut cluster = Cluster::new(&config, 3);
    let (ann, ann_id) = member(&mut cluster, 0, "ann");
    member(&mut cluster, 1, "bob");
    watch(&mut cluster, 0, ann);
    cluster.pass(SECOND);
    assert_eq!(news(&mut cluster, ann_id), ["news #1: ann bob"]);
    cluster.down[1] = true;
    member(&mut cluster, 2, "eve");
    cluster.pass(5 * SECOND);
    assert_eq!(news(&mut cluster, ann_id), ["news #2?: +eve"]);
    watch(&mut cluster, 0, ann);
    assert_eq!(news(&mut cluster, ann_id), ["news #2?: ann bob eve"]);
    cluster.down[1] = false;
    cluster.pass(3 * SECOND);
    assert_eq!(news(&mut cluster, ann_id), ["news #3:"]);
    cluster.pass(10 * SECOND);
    assert!(news(&mut cluster, ann_id).is_empty());
}

#[test]
fn nobody_is_away_while_nobody_can_know() {
    let mut cluster = Cluster::new(&Config::default(), 2);
    let (ann, ann_id) = member(&mut cluster, 0, "ann");
    let (bob, _) = member(&mut cluster, 1, "bob");
    let (eve, _) = member(&mut cluster, 1, "eve");
    watch(&mut cluster, 0, ann);
    cluster.pass(SECOND);
    assert_eq!(news(&mut cluster, ann_id), ["news #1: ann bob eve"]);
    cluster.down[1] = true;
    cluster.pass(6 * SECOND);
    cluster.down[1] = false;
    close(&mut cluster, 1, bob);
    close(&mut cluster, 1, eve);
    cluster.pass(4 * SECOND);
    assert!(news(&mut cluster, ann_id).is_empty(), "it was for moments");
    member(&mut cluster, 0, "bob");
    cluster.pass(6 * SECOND);
    assert_eq!(news(&mut cluster, ann_id), ["news #2: -eve"]);
}

/// H24: terminals choose what is read for them, and not how much is read.
#[test]
fn the_more_topics_are_watched_the_less_often_each_is_read() {
    let config = Config {
        presence_rate: 2,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 1);
    let mut watchers = Vec::new();
    for number in 0..6 {
        let topic = TopicId::new(&format!("topic{number}")).expect("a topic");
        let (connection, id) = connect(&mut cluster, 0, "ann", "*");
        let wish = TopicWish::Watch(topic);
        cluster.event(0, Event::Topic { connection, wish });
        watchers.push(id);
    }
    let snapshots = |cluster: &Cluster| {
        let told = watchers.iter().filter_map(|id| cluster.received.get(id));
        let told = told.flatten().map(|outgoing| Told(outgoing).to_string());
        told.filter(|text| text.ends_with("#1: ann")).count()
    };
    cluster.pass(SECOND);
    assert!((2..=3).contains(&snapshots(&cluster)));
    cluster.pass(2 * SECOND);
    assert_eq!(snapshots(&cluster), 6);
    let stats = cluster.instances[0].stats();
    assert!((6..=7).contains(&stats.presence_readings));
    assert!(stats.presence_readings_late > 0);
}

#[test]
fn a_terminal_watches_few_topics() {
    let config = Config {
        watched_topics: 1,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 1);
    let (ann, ann_id) = connect(&mut cluster, 0, "ann", "*");
    let mut told_of = |wish: TopicWish| {
        cluster.received.clear();
        let connection = ann;
        cluster.event(0, Event::Topic { connection, wish });
        let told = cluster.received.get(&ann_id).into_iter().flatten();
        let told = told.map(|outgoing| Told(outgoing).to_string());
        told.collect::<Vec<_>>()
    };
    let other = TopicId::new("other").expect("a topic");
    let watch = || TopicWish::Watch(topic());
    assert_eq!(told_of(watch())[0], "joined news");
    let refused = ["not joined other TooMany"];
    assert_eq!(told_of(TopicWish::Watch(other.clone())), refused);
    let watch_other = || TopicWish::WatchAsMember(other.clone());
    assert_eq!(told_of(watch_other()), ["not watched other NotAllowed"]);
    assert_eq!(told_of(TopicWish::Join(other.clone())), ["joined other"]);
    // It is a member, and stays one.
    assert_eq!(told_of(watch_other()), ["not watched other TooMany"]);
    assert_eq!(told_of(TopicWish::Join(other.clone())), ["joined other"]);
    assert_eq!(told_of(watch())[0], "joined news");
    assert_eq!(told_of(TopicWish::Leave(topic())), ["left news"]);
    assert_eq!(told_of(watch_other())[0], "joined other");
}
