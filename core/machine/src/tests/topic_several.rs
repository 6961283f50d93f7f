//! Durable pushes to several topics at members of several of them: a record in the log of each, and a walk for each.

use std::time::Duration;

use super::pair;
use super::topic_beginnings::{executed, happen, members_of_several};
use super::topic_logs::{ask, connect, several, told, topic};
use crate::config::{Config, SlowConsumer};
use crate::event::{Event, Follow};
use crate::id::{CallId, ConnectionId, ConnectionKey};
use crate::message::Audience;
use crate::testing::cluster::{Cluster, Server, frame, user};
use crate::topic::TopicWish;

const SECOND: Duration = Duration::from_secs(1);

fn wish(cluster: &mut Cluster, connection: ConnectionKey, wish: TopicWish) {
    cluster.event(0, Event::Topic { connection, wish });
}

/// A terminal of the first instance that was told that it is a member of this topic.
fn member_of(cluster: &mut Cluster, name: &str) -> (ConnectionKey, ConnectionId) {
    let (ann, id) = connect(cluster, 0, "ann");
    wish(cluster, ann, TopicWish::Join(topic(name)));
    cluster.pass(SECOND);
    assert_eq!(told(cluster, id), [format!("joined {name}")]);
    (ann, id)
}

/// A push to two topics is handed in while a terminal is told of one of them, and waits for the directory to be told of the
/// other. Its records are written, the one first whose name is.
fn pushed_while_joining(cluster: &mut Cluster) -> CallId {
    let joins = std::mem::take(&mut cluster.held);
    let call = cluster.hand_in(0, several(&["a", "b"], "one", 1));
    cluster.settle_down();
    for (index, trip) in std::mem::replace(&mut cluster.held, joins) {
        let outcomes = Ok(cluster.outcomes(&trip, |_| None));
        let op = trip.op;
        happen(cluster, index, vec![Event::Directory { op, outcomes }]);
    }
    call
}

/// Whoever is told that it is a member gets what is pushed to it as one, whatever becomes of its other joins.
#[test]
fn a_member_gets_a_push_to_several_logs_although_it_leaves_one_before_it_is_told() {
    for (joined, joining) in [("a", "b"), ("b", "a")] {
        for follow in [None, Some(Follow::default())] {
            let mut cluster = pair();
            let (ann, id) = member_of(&mut cluster, joined);
            cluster.server = Server::Waits;
            match follow {
                Some(follow) => {
                    ask(&mut cluster, 0, ann, joining, follow);
                    let row = executed(&mut cluster, 0);
                    happen(&mut cluster, 0, row);
                }
                None => wish(&mut cluster, ann, TopicWish::Join(topic(joining))),
            }
            let call = pushed_while_joining(&mut cluster);
            wish(&mut cluster, ann, TopicWish::Leave(topic(joining)));
            cluster.answer_held();
            cluster.pass(SECOND);
            assert_eq!(cluster.texts(id), ["one"], "joining {joining}");
            let counts = cluster.receipt(call).counts;
            assert_eq!((counts.written, counts.gone), (1, 0), "joining {joining}");
        }
    }
}

/// Nor does it get it twice when it is told of both.
#[test]
fn a_member_gets_a_push_to_several_logs_once_although_it_joins_another_of_their_topics() {
    for (joined, joining) in [("a", "b"), ("b", "a")] {
        let mut cluster = pair();
        let (ann, id) = member_of(&mut cluster, joined);
        cluster.server = Server::Waits;
        wish(&mut cluster, ann, TopicWish::Join(topic(joining)));
        pushed_while_joining(&mut cluster);
        cluster.answer_held();
        cluster.pass(SECOND);
        assert_eq!(cluster.texts(id), ["one"], "joining {joining}");
        assert_eq!(told(&cluster, id).len(), 3, "joining {joining}");
    }
}

/// What is remembered of its members takes the room of nothing else, and is enough for all of them.
#[test]
fn a_push_to_several_logs_of_many_members_is_remembered_whole_and_pushes_nothing_out() {
    let config = Config {
        repeat_entries: 50,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 2);
    let members = members_of_several(&mut cluster, 300, &["a", "b"]);
    let (_, bob) = cluster.connect(0, "bob");
    cluster.pass(SECOND);
    cluster.push(1, user("bob"), "hello", 1);
    for number in [2, 3] {
        cluster.hand_in(1, several(&["a", "b"], &number.to_string(), number));
        cluster.pass(SECOND);
    }
    for (_, id) in members {
        assert_eq!(cluster.texts(id), ["2", "3"]);
    }
    // It is known yet.
    cluster.push(1, user("bob"), "hello", 1);
    cluster.pass(SECOND);
    assert_eq!(cluster.texts(bob), ["hello"]);
    // Of the earlier one nothing is kept: there is more of it than there may be.
    let remembered = cluster.instances[0].tables().remembered;
    assert!((300..350).contains(&remembered), "{remembered}");
    cluster.pass(config.repeat_memory + SECOND);
    cluster.push(1, user("bob"), "again", 4);
    cluster.push(1, user("bob"), "again", 5);
    let remembered = cluster.instances[0].tables().remembered;
    assert!(remembered < 50, "{remembered}");
}

/// Other pushes wait for few members only, in however many topics these are. Each gets what is pushed to its topic in order.
#[test]
fn a_push_to_several_logs_of_few_members_is_served_in_steps_if_they_are_many_together() {
    let names = ["a", "b", "c", "d"];
    for (members, in_steps) in [(30, false), (100, true)] {
        let mut cluster = pair();
        let ids: Vec<_> = (names.iter())
            .flat_map(|name| members_of_several(&mut cluster, members, &[name]))
            .collect();
        cluster.pass(SECOND);
        let served = |cluster: &Cluster| {
            let served = ids.iter().filter(|(_, id)| !cluster.texts(*id).is_empty());
            served.count()
        };
        let calls =
            [1, 2].map(|number| cluster.hand_in(1, several(&names, &number.to_string(), number)));
        cluster.settle_down();
        assert_eq!(served(&cluster) < ids.len(), in_steps, "{members} members");
        cluster.pass(SECOND);
        for (_, id) in &ids {
            assert_eq!(cluster.texts(*id), ["1", "2"]);
        }
        for call in calls {
            assert_eq!(cluster.receipt(call).counts.written, ids.len() as u64);
        }
        assert_eq!(cluster.instances[0].tables().broadcasts, 0);
    }
}

/// Where pushes have no room for their walks, those to few members are served all the same.
#[test]
fn a_push_to_several_logs_of_few_members_is_served_where_no_walk_has_room() {
    let config = Config {
        broadcasts: 1,
        broadcast_rate: 200,
        ..Config::default()
    };
    let names = ["a", "b", "c", "d"];
    let mut cluster = Cluster::new(&config, 2);
    let ids: Vec<_> = (names.iter())
        .flat_map(|name| members_of_several(&mut cluster, 100, &[name]))
        .collect();
    cluster.pass(SECOND);
    cluster.hand_in(0, frame(Audience::Everyone, "before", 1));
    cluster.pass(SECOND / 10);
    let call = cluster.hand_in(1, several(&names, "one", 2));
    cluster.pass(SECOND * 10);
    let counts = &cluster.receipt(call).counts;
    assert_eq!((counts.written, counts.failed()), (400, 0), "{counts:?}");
    for (_, id) in &ids {
        assert!(cluster.texts(*id).contains(&"one".to_owned()));
    }
}

/// What waits behind the word that a terminal is a member is dropped with all else when the terminal is closed for being slow,
/// and counts as that.
#[test]
fn what_waits_for_a_word_is_overflow_when_its_terminal_is_closed_as_slow() {
    let config = Config {
        queue_frames: 2,
        slow_consumer: SlowConsumer::Close,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 1);
    let (ann, _) = connect(&mut cluster, 0, "ann");
    cluster.pass(SECOND);
    cluster.server = Server::Waits;
    wish(&mut cluster, ann, TopicWish::Join(topic("news")));
    let row = std::mem::take(&mut cluster.held);
    assert_eq!(row.len(), 1);
    cluster.server = Server::Answers;
    let to = Audience::Topics {
        topics: vec![topic("news")],
        except: None,
    };
    let calls = [1, 2, 3].map(|id| cluster.push(0, to.clone(), "text", id));
    for call in calls {
        let counts = cluster.receipt(call).counts;
        assert_eq!((counts.overflow, counts.gone), (1, 0));
    }
    assert_eq!(cluster.instances[0].stats().overflows, 3);
}
