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
    let rights = TopicRights::of_claim(["news"]).expect("a name");
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
