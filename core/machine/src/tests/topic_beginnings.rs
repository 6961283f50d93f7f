//! Terminals that were greeted, and members of topics, before it is known where they begin to follow; and pushes to many
//! topics.

use std::collections::VecDeque;
use std::time::Duration;

use super::topic_logs::{ask, connect, durable_push, told, topic};
use super::{followers, pair};
use crate::config::Config;
use crate::directory::log::LogOperation;
use crate::directory::{Operation, OperationResult};
use crate::event::{Event, Follow, Handshake};
use crate::id::{ConnectionId, ConnectionKey, UserId};
use crate::message::{Action, Audience, Counts, Durable, Push};
use crate::testing::cluster::{Cluster, Server, frame, user};
use crate::testing::rig::refused;
use crate::topic::{TopicFollow, TopicJoin, TopicRights, TopicWish};

const SECOND: Duration = Duration::from_secs(1);

/// A terminal of the first instance that was told that it is a member of `news`.
fn member(cluster: &mut Cluster) -> (ConnectionKey, ConnectionId) {
    let (ann, id) = connect(cluster, 0, "ann");
    let wish = TopicWish::Join(topic("news"));
    cluster.event(
        0,
        Event::Topic {
            connection: ann,
            wish,
        },
    );
    cluster.pass(SECOND);
    assert_eq!(told(cluster, id), ["joined news"]);
    (ann, id)
}

/// A terminal that joins and follows at once. Its row is written, and the log is not read.
fn joins_and_waits_for_its_log(cluster: &mut Cluster) -> ConnectionId {
    let (ann, id) = connect(cluster, 0, "ann");
    cluster.server = Server::Waits;
    ask(cluster, 0, ann, "news", Follow::default());
    let row = executed(cluster, 0);
    happen(cluster, 0, row);
    id
}

/// The directory executes what one instance has asked and waits. Returns the answers to come.
pub(super) fn executed(cluster: &mut Cluster, of: usize) -> Vec<Event> {
    let held = std::mem::take(&mut cluster.held);
    let (of_this, others): (VecDeque<_>, _) = held.into_iter().partition(|(index, _)| *index == of);
    cluster.held = others;
    let answers = of_this.into_iter().map(|(_, trip)| Event::Directory {
        op: trip.op,
        outcomes: Ok(cluster.outcomes(&trip, |_| None)),
    });
    answers.collect()
}

fn refuses_reads(operation: &Operation) -> Option<OperationResult> {
    let Operation::Log {
        operation: LogOperation::Read { .. },
        ..
    } = operation
    else {
        return None;
    };
    refused()
}

pub(super) fn happen(cluster: &mut Cluster, index: usize, events: Vec<Event>) {
    for event in events {
        cluster.event(index, event);
    }
    cluster.settle_down();
}

/// What the second instance appends is delivered when the first one has read the log.
fn deliver_behind_the_read(cluster: &mut Cluster) {
    let appended = executed(cluster, 1);
    let read = executed(cluster, 0);
    happen(cluster, 0, read);
    happen(cluster, 1, appended);
    cluster.answer_held();
    cluster.pass(SECOND * 5);
}

/// It was told that it is a member, and gets what is pushed from then on, also while it is not known where it begins.
#[test]
fn a_member_that_begins_to_follow_misses_nothing_that_comes_before_its_log_is_read() {
    let mut cluster = pair();
    let (ann, id) = member(&mut cluster);
    cluster.server = Server::Waits;
    ask(&mut cluster, 0, ann, "news", Follow::default());
    for (number, text) in [(1, "one"), (2, "two")] {
        cluster.call_push(1, durable_push("news", text, number, Durable::default()));
        let answers = executed(&mut cluster, 1);
        happen(&mut cluster, 1, answers);
    }
    cluster.answer_held();
    cluster.pass(SECOND * 5);
    assert_eq!(
        told(&cluster, id)[1..],
        [
            "joined news ?",
            "log news Anew",
            "record news one",
            "record news two"
        ]
    );
}

#[test]
fn a_member_that_begins_to_follow_misses_nothing_that_was_on_its_way() {
    let mut cluster = pair();
    let (ann, id) = member(&mut cluster);
    cluster.server = Server::Waits;
    ask(&mut cluster, 0, ann, "news", Follow::default());
    let call = cluster.call_push(1, durable_push("news", "one", 1, Durable::default()));
    deliver_behind_the_read(&mut cluster);
    assert_eq!(
        told(&cluster, id)[1..],
        ["joined news ?", "log news Anew", "one"]
    );
    let written = Counts {
        written: 1,
        ..Counts::default()
    };
    assert_eq!(cluster.receipt(call).counts, written);
}

/// Two of them, of which the first comes last.
#[test]
fn a_member_that_begins_to_follow_misses_none_of_two_that_were_on_their_way() {
    let mut cluster = pair();
    let (ann, id) = member(&mut cluster);
    cluster.server = Server::Waits;
    ask(&mut cluster, 0, ann, "news", Follow::default());
    let mut appended = Vec::new();
    for (number, text) in [(1, "one"), (2, "two")] {
        let instance = usize::from(number == 2);
        let push = durable_push("news", text, number, Durable::default());
        cluster.call_push(instance, push);
        let read_or_append = executed(&mut cluster, instance);
        appended.push((instance, read_or_append));
    }
    for (instance, answers) in appended.into_iter().rev() {
        happen(&mut cluster, instance, answers);
    }
    cluster.answer_held();
    cluster.pass(SECOND * 5);
    let told = told(&cluster, id);
    for text in ["one", "two"] {
        let times = told.iter().filter(|told| told.ends_with(text)).count();
        assert_eq!(times, 1, "{text} in {told:?}");
    }
}

/// The second of them comes before the log is read, and the first one when the member has been told the second.
#[test]
fn a_member_that_begins_to_follow_misses_none_that_comes_behind_its_successor() {
    let mut cluster = pair();
    let (ann, id) = member(&mut cluster);
    cluster.server = Server::Waits;
    ask(&mut cluster, 0, ann, "news", Follow::default());
    cluster.call_push(1, durable_push("news", "one", 1, Durable::default()));
    let first = executed(&mut cluster, 1);
    cluster.call_push(0, durable_push("news", "two", 2, Durable::default()));
    let mut read_and_second = executed(&mut cluster, 0);
    read_and_second.reverse();
    happen(&mut cluster, 0, read_and_second);
    cluster.answer_held();
    happen(&mut cluster, 1, first);
    cluster.answer_held();
    cluster.pass(SECOND * 5);
    assert_eq!(
        told(&cluster, id)[1..],
        ["joined news ?", "log news Anew", "record news two", "one"]
    );
}

/// The same of the terminal's own log: it was greeted, and not told where it begins.
#[test]
fn a_terminal_that_was_greeted_misses_nothing_that_was_on_its_way_when_its_log_is_read() {
    let mut cluster = pair();
    cluster.refuse(refuses_reads, [0]);
    let (_, ann) = followers::follow(&mut cluster, 0, "ann", Follow::default());
    cluster.pass(Config::default().hello_grace + SECOND);
    assert_eq!(followers::told(&cluster, ann), ["hello ?"]);
    cluster.refuses = None;
    cluster.server = Server::Waits;
    cluster.pass(Config::LOG_READ_PAUSE * 8);
    let push = Push {
        durable: Some(Durable::default()),
        ..frame(user("ann"), "one", 1)
    };
    let call = cluster.call_push(1, push);
    deliver_behind_the_read(&mut cluster);
    assert_eq!(
        followers::told(&cluster, ann),
        ["hello ?", "log Anew", "one"]
    );
    assert_eq!(cluster.receipt(call).counts.written, 1);
}

/// Nobody has told it that it is a member.
#[test]
fn one_that_joins_and_follows_at_once_gets_nothing_that_stands_where_it_begins() {
    let mut cluster = pair();
    let id = joins_and_waits_for_its_log(&mut cluster);
    cluster.call_push(1, durable_push("news", "one", 1, Durable::default()));
    deliver_behind_the_read(&mut cluster);
    assert_eq!(told(&cluster, id), ["joined news Anew"]);
}

/// What it asks crosses what the application does.
#[test]
fn one_that_the_application_has_removed_is_made_no_member_by_what_a_member_asks() {
    let mut cluster = pair();
    let (ann, id) = connect(&mut cluster, 0, "ann");
    for (number, action) in [
        (1, Action::Join(topic("news"))),
        (2, Action::Leave(topic("news"))),
    ] {
        let push = Push {
            action,
            ..frame(user("ann"), "", number)
        };
        cluster.call_push(0, push);
        cluster.pass(SECOND);
    }
    let follow = TopicFollow {
        topic: topic("news"),
        join: TopicJoin::AsMember,
        ask: Follow::default(),
    };
    let wish = TopicWish::Follow(follow.into());
    cluster.event(
        0,
        Event::Topic {
            connection: ann,
            wish,
        },
    );
    cluster.pass(SECOND);
    let told = told(&cluster, id);
    assert_eq!(told[..2], ["joined news", "left news"]);
    assert!(told[2].contains("not"), "{told:?}");
    assert_eq!(cluster.instances[0].tables().members, 0);
}

/// It is a member as soon as it knows where it begins.
#[test]
fn an_application_is_told_of_a_member_that_waits_for_its_log() {
    let mut cluster = pair();
    let id = joins_and_waits_for_its_log(&mut cluster);
    let join = Push {
        action: Action::Join(topic("news")),
        ..frame(user("ann"), "", 1)
    };
    let call = cluster.call_push(0, join);
    cluster.answer_held();
    assert_eq!(told(&cluster, id), ["joined news Anew"]);
    assert_eq!(cluster.receipt(call).counts.written, 1);
}

/// So many members of as many topics each, of the first instance.
pub(super) fn members_of_several(
    cluster: &mut Cluster,
    members: usize,
    topics: &[&str],
) -> Vec<(ConnectionKey, ConnectionId)> {
    let one = |number| {
        let rights = TopicRights::of_claim(topics.iter().copied()).expect("names");
        let handshake = Handshake {
            topics: Some(rights.into()),
            ..Handshake::new(UserId::new(&format!("user{number}")).expect("a user"))
        };
        let key = cluster.accept(0, handshake).expect("taken");
        let id = cluster.instances[0].connection_id(key).expect("there");
        cluster.event(0, Event::Opened { connection: key });
        (key, id)
    };
    (0..members).map(one).collect()
}

/// It has a walk for each of them.
#[test]
fn a_durable_push_to_several_large_topics_takes_the_room_of_one() {
    let config = Config {
        broadcasts: 2,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 2);
    let names = ["a", "b", "c", "d", "e"];
    let members = members_of_several(&mut cluster, 200, &names);
    cluster.pass(SECOND);
    let push = Push {
        durable: Some(Durable::default()),
        ..frame(
            Audience::Topics {
                topics: names.map(topic).to_vec(),
                except: None,
            },
            "one",
            1,
        )
    };
    let call = cluster.call_push(1, push);
    cluster.pass(SECOND * 5);
    assert_eq!(cluster.receipt(call).counts.overflow, 0);
    for (_, id) in members {
        let texts = cluster.texts(id);
        assert_eq!(texts, ["one"]);
    }
    assert_eq!(cluster.instances[0].tables().broadcasts, 0);
}

/// Its receipt has said that it is queued.
#[test]
fn nothing_is_kept_of_a_push_to_members_for_one_that_does_not_read() {
    let mut cluster = pair();
    let members = members_of_several(&mut cluster, 200, &["news"]);
    let (_, slow) = members[0];
    cluster.pass(SECOND);
    cluster.stalled.insert(slow);
    let calls = [1, 2, 3].map(|number| {
        let text = number.to_string();
        cluster.call_push(1, durable_push("news", &text, number, Durable::default()))
    });
    cluster.pass(SECOND * 10);
    for call in calls {
        let counts = &cluster.receipt(call).counts;
        assert_eq!((counts.written, counts.queued), (199, 1));
    }
    assert_eq!(cluster.instances[0].tables().inbound, 0);
}
