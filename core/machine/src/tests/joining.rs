//! Terminals that are about to be members of a topic: what is pushed to them comes behind the word that they are.

use std::time::Duration;

use super::pair;
use crate::config::Config;
use crate::event::{Event, Handshake};
use crate::frame::CloseCode;
use crate::id::{CallId, ConnectionId, ConnectionKey, TopicId, UserId};
use crate::message::{Action, Audience, Push};
use crate::testing::cluster::{Cluster, Server, Told, frame, user};
use crate::topic::{TopicRights, TopicWish};

fn topic(name: &str) -> TopicId {
    TopicId::new(name).expect("a topic")
}

fn topics(names: &[&str]) -> Audience {
    Audience::Topics {
        topics: names.iter().map(|name| topic(name)).collect(),
        except: None,
    }
}

/// Ann, at the first of two instances. The directory answers all but what it is told of topics that she joins.
fn ann_waits(members_of: &[&str], joins: &[&str]) -> (Cluster, ConnectionKey, ConnectionId) {
    let mut cluster = pair();
    let rights = TopicRights::of_claim(members_of.iter().copied().chain(["*"])).expect("names");
    let handshake = Handshake {
        topics: Some(rights.into()),
        ..Handshake::new(UserId::new("ann").expect("a user"))
    };
    let key = cluster.accept(0, handshake).expect("taken");
    let id = cluster.instances[0].connection_id(key).expect("there");
    cluster.event(0, Event::Opened { connection: key });
    cluster.server = Server::Waits;
    for name in joins {
        wish(&mut cluster, key, TopicWish::JoinAllowed(topic(name)));
    }
    cluster.server = Server::Answers;
    (cluster, key, id)
}

fn wish(cluster: &mut Cluster, connection: ConnectionKey, wish: TopicWish) {
    cluster.event(0, Event::Topic { connection, wish });
}

/// Begins a push at her instance.
fn push(cluster: &mut Cluster, to: Audience, text: &str, id: u128) -> CallId {
    cluster.call_push(0, frame(to, text, id))
}

/// What she was told, with the texts of pushes.
fn told(cluster: &Cluster, connection: ConnectionId) -> Vec<String> {
    let received = cluster.received.get(&connection).into_iter().flatten();
    received
        .map(|outgoing| Told(outgoing).to_string())
        .collect()
}

/// C3.3: clients drop what is published to a channel before their subscription to it is answered.
#[test]
fn what_is_pushed_to_a_topic_comes_behind_the_word_that_one_is_a_member() {
    let (mut cluster, _, ann) = ann_waits(&[], &["news"]);
    push(&mut cluster, topics(&["news"]), "first", 1);
    push(&mut cluster, topics(&["news"]), "second", 2);
    assert_eq!(told(&cluster, ann), ["hello"]);
    cluster.answer_held();
    assert_eq!(told(&cluster, ann)[1], "joined news");
    assert_eq!(cluster.texts(ann), ["first", "second"]);
}

#[test]
fn a_receipt_counts_as_written_what_was_written_behind_that_word() {
    let (mut cluster, _, ann) = ann_waits(&[], &["news"]);
    let call = push(&mut cluster, topics(&["news"]), "first", 1);
    assert!(!cluster.answers.contains_key(&call));
    cluster.answer_held();
    cluster.pass(Duration::from_secs(1));
    assert_eq!(cluster.texts(ann), ["first"]);
    assert_eq!(cluster.receipt(call).counts.written, 1);
}

/// Pushes that one instance is handed for one terminal keep their order.
#[test]
fn what_comes_later_waits_too() {
    let (mut cluster, _, ann) = ann_waits(&["sport"], &["news"]);
    push(&mut cluster, topics(&["news"]), "first", 1);
    push(&mut cluster, topics(&["sport", "news"]), "second", 2);
    push(&mut cluster, topics(&["sport"]), "third", 3);
    assert_eq!(told(&cluster, ann), ["hello", "joined sport"]);
    cluster.answer_held();
    assert_eq!(cluster.texts(ann), ["first", "second", "third"]);
}

/// It is told of the topic that it knows.
#[test]
fn a_member_of_another_topic_that_a_push_names_waits_for_nothing() {
    let (mut cluster, _, ann) = ann_waits(&["sport"], &["news"]);
    push(&mut cluster, topics(&["news", "sport"]), "goal", 1);
    assert_eq!(cluster.texts(ann), ["goal"]);
    cluster.answer_held();
    assert_eq!(told(&cluster, ann).last().expect("told"), "joined news");
}

#[test]
fn a_degraded_member_gets_what_has_waited_at_the_end_of_its_patience() {
    let (mut cluster, _, ann) = ann_waits(&[], &["news"]);
    push(&mut cluster, topics(&["news"]), "first", 1);
    cluster.pass(Config::default().hello_grace / 2);
    assert_eq!(told(&cluster, ann), ["hello"]);
    cluster.pass(Config::default().hello_grace);
    assert_eq!(told(&cluster, ann)[1], "joined news degraded");
    assert_eq!(cluster.texts(ann), ["first"]);
}

#[test]
fn who_leaves_before_that_word_gets_what_is_not_for_that_topic() {
    let (mut cluster, key, ann) = ann_waits(&["sport"], &["news"]);
    let call = push(&mut cluster, topics(&["news"]), "news", 1);
    push(&mut cluster, topics(&["sport"]), "sport", 2);
    wish(&mut cluster, key, TopicWish::Leave(topic("news")));
    assert_eq!(cluster.texts(ann), ["sport"]);
    assert_eq!(told(&cluster, ann).last().expect("told"), "left news");
    cluster.answer_held();
    cluster.pass(Duration::from_secs(1));
    let counts = cluster.receipt(call).counts;
    assert_eq!((counts.written, counts.gone), (0, 1));
}

/// Nothing that nobody will ever write keeps a connection open.
#[test]
fn who_is_told_to_end_before_that_word_ends_at_once() {
    let (mut cluster, _, ann) = ann_waits(&[], &["news"]);
    let call = push(&mut cluster, topics(&["news"]), "news", 1);
    let kick = Push {
        action: Action::Close(CloseCode::Kicked),
        ..frame(user("ann"), "", 2)
    };
    cluster.call_push(0, kick);
    cluster.answer_held();
    assert_eq!(cluster.closed.get(&ann), Some(&CloseCode::Kicked));
    assert_eq!(cluster.texts(ann), [""; 0]);
    assert_eq!(cluster.receipt(call).counts.gone, 1);
}
