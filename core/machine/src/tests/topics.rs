//! Topics: who is a member, what members are told, and how pushes find them.

use std::time::Duration;

use super::pair;
use crate::config::Config;
use crate::directory::{Keeping, Operation};
use crate::event::{Event, Handshake};
use crate::id::{CallId, ConnectionId, ConnectionKey, PushId, TopicId, UserId};
use crate::message::{Action, Audience, ListOrder, Push, PushRefused};
use crate::testing::cluster::{Cluster, Server, Told, frame, user};
use crate::topic::{TopicRights, TopicWish};

const SECOND: Duration = Duration::from_secs(1);

fn topic(name: &str) -> TopicId {
    TopicId::new(name).expect("a topic")
}

fn topics(names: &[&str]) -> Audience {
    Audience::Topics {
        topics: names.iter().map(|name| topic(name)).collect(),
        except: None,
    }
}

/// Connects a terminal with these topics in its token.
fn connect(
    cluster: &mut Cluster,
    instance: usize,
    user: &str,
    claim: &[&str],
) -> (ConnectionKey, ConnectionId) {
    let rights = TopicRights::of_claim(claim.iter().copied()).expect("names");
    let handshake = Handshake {
        topics: Some(rights.into()),
        ..Handshake::new(UserId::new(user).expect("a user"))
    };
    let key = cluster.accept(instance, handshake).expect("taken");
    let id = cluster.instances[instance]
        .connection_id(key)
        .expect("there");
    cluster.event(instance, Event::Opened { connection: key });
    (key, id)
}

fn wish(cluster: &mut Cluster, instance: usize, connection: ConnectionKey, wish: TopicWish) {
    cluster.event(instance, Event::Topic { connection, wish });
}

fn join(cluster: &mut Cluster, instance: usize, connection: ConnectionKey, name: &str) {
    wish(cluster, instance, connection, TopicWish::Join(topic(name)));
}

fn leave(cluster: &mut Cluster, instance: usize, connection: ConnectionKey, name: &str) {
    wish(cluster, instance, connection, TopicWish::Leave(topic(name)));
}

/// What a terminal was told.
fn told(cluster: &Cluster, connection: ConnectionId) -> Vec<String> {
    let received = cluster.received.get(&connection).into_iter().flatten();
    received
        .map(|outgoing| Told(outgoing).to_string())
        .collect()
}

/// The instances with members of a topic, as the directory has it.
fn rows(cluster: &Cluster, name: &str) -> Vec<u64> {
    let rows = cluster.directory.topic_rows(cluster.now.mono);
    rows.filter(|(of, ..)| **of == topic(name))
        .map(|(_, instance, _)| instance.get())
        .collect()
}

/// Who has answered, and how many terminals each has written to.
fn written(cluster: &Cluster, call: CallId) -> Vec<(u64, u64)> {
    let instances = cluster.receipt(call).instances.iter();
    instances
        .map(|one| (one.instance.get(), one.counts.written))
        .collect()
}

#[test]
fn a_push_reaches_members_wherever_they_are_and_nobody_else() {
    let mut cluster = Cluster::new(&Config::default(), 3);
    let (_, ann) = connect(&mut cluster, 0, "ann", &["news"]);
    let (_, bob) = connect(&mut cluster, 1, "bob", &["news"]);
    let (_, zoe) = connect(&mut cluster, 1, "zoe", &[]);
    assert_eq!(told(&cluster, bob), ["hello", "joined news"]);
    assert_eq!(rows(&cluster, "news"), [1, 2]);
    let call = cluster.push(2, topics(&["news"]), "extra", 1);
    assert_eq!(written(&cluster, call), [(1, 1), (2, 1)]);
    assert!(!cluster.receipt(call).degraded);
    for id in [ann, bob] {
        assert_eq!(cluster.texts(id), ["extra"]);
    }
    assert_eq!(told(&cluster, zoe), ["hello"]);
    let except = Audience::Topics {
        topics: vec![topic("news")],
        except: Some(ann),
    };
    let call = cluster.push(0, except, "from ann", 2);
    assert_eq!(cluster.receipt(call).counts.written, 1);
    assert_eq!(cluster.texts(ann), ["extra"]);
    assert_eq!(cluster.texts(bob), ["extra", "from ann"]);
}

#[test]
fn a_topic_without_members_is_no_error() {
    let mut cluster = pair();
    let call = cluster.push(0, topics(&["nobody"]), "hello", 1);
    let receipt = cluster.receipt(call);
    assert!(receipt.instances.is_empty() && !receipt.degraded);
}

#[test]
fn the_directory_is_written_for_the_first_member_and_the_last_alone() {
    let mut cluster = pair();
    let members: Vec<_> = (0..20)
        .map(|number| connect(&mut cluster, 0, &format!("user{number}"), &["news"]).0)
        .collect();
    let before = cluster.instances[0].stats().operations;
    for member in &members[1..] {
        leave(&mut cluster, 0, *member, "news");
        join(&mut cluster, 0, *member, "news");
    }
    assert_eq!(cluster.instances[0].stats().operations, before);
    for member in &members {
        cluster.disconnect(0, *member);
    }
    cluster.pass(SECOND);
    assert_eq!(rows(&cluster, "news"), [] as [u64; 0]);
    assert!(cluster.instances[0].is_at_rest());
}

#[test]
fn a_terminal_joins_what_it_may_and_leaves() {
    let mut cluster = pair();
    let (ann, id) = connect(&mut cluster, 0, "ann", &["room-*"]);
    join(&mut cluster, 0, ann, "room-1");
    join(&mut cluster, 0, ann, "news");
    join(&mut cluster, 0, ann, "room-1");
    leave(&mut cluster, 0, ann, "room-1");
    leave(&mut cluster, 0, ann, "room-1");
    assert_eq!(
        told(&cluster, id),
        [
            "hello",
            "joined room-1",
            "not joined news NotAllowed",
            "joined room-1",
            "left room-1",
            "left room-1",
        ]
    );
    assert_eq!(rows(&cluster, "room-1"), [] as [u64; 0]);
    assert_eq!(cluster.instances[0].stats().topic_joins_refused, 1);
}

/// By a token for the one topic, as protocols have them.
#[test]
fn a_terminal_joins_what_somebody_else_allows() {
    let mut cluster = pair();
    let (ann, id) = connect(&mut cluster, 0, "ann", &[]);
    let allowed = TopicWish::JoinAllowed(topic("news"));
    wish(&mut cluster, 0, ann, allowed);
    join(&mut cluster, 0, ann, "sport");
    let expected = ["hello", "joined news", "not joined sport NotAllowed"];
    assert_eq!(told(&cluster, id), expected);
}

#[test]
fn what_is_asked_for_before_the_hello_is_done_behind_it() {
    let mut cluster = pair();
    cluster.server = Server::Waits;
    let (ann, id) = connect(&mut cluster, 0, "ann", &["*"]);
    join(&mut cluster, 0, ann, "news");
    join(&mut cluster, 0, ann, "sport");
    leave(&mut cluster, 0, ann, "sport");
    cluster.answer_held();
    assert_eq!(told(&cluster, id)[..1], ["hello"]);
    let mut rest = told(&cluster, id)[1..].to_vec();
    rest.sort();
    assert_eq!(rest, ["joined news", "left sport"]);
}

#[test]
fn topics_and_joins_of_a_terminal_are_limited() {
    let config = Config {
        connection_topics: 2,
        topic_joins: 4,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 1);
    let (ann, id) = connect(&mut cluster, 0, "ann", &["*"]);
    for name in ["a", "b", "c", "a", "b"] {
        join(&mut cluster, 0, ann, name);
    }
    let expected = [
        "hello",
        "joined a",
        "joined b",
        "not joined c TooMany",
        "joined a",
        "not joined b TooFast",
    ];
    assert_eq!(told(&cluster, id), expected);
    cluster.pass(SECOND);
    join(&mut cluster, 0, ann, "b");
    assert_eq!(
        told(&cluster, id).last().map(String::as_str),
        Some("joined b")
    );
}

#[test]
fn members_of_a_topic_at_an_instance_are_limited() {
    let config = Config {
        topic_members: 1,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 2);
    let (ann, ann_id) = connect(&mut cluster, 0, "ann", &["*"]);
    let (bob, bob_id) = connect(&mut cluster, 0, "bob", &["*"]);
    let (eve, eve_id) = connect(&mut cluster, 1, "eve", &["*"]);
    join(&mut cluster, 0, ann, "news");
    join(&mut cluster, 0, bob, "news");
    join(&mut cluster, 0, bob, "sport");
    join(&mut cluster, 1, eve, "news");
    join(&mut cluster, 0, ann, "news");
    let expected = ["hello", "not joined news Full", "joined sport"];
    assert_eq!(told(&cluster, bob_id), expected);
    assert_eq!(
        told(&cluster, ann_id),
        ["hello", "joined news", "joined news"]
    );
    assert_eq!(told(&cluster, eve_id), ["hello", "joined news"]);
    let levels = cluster.instances[0].levels();
    let level = levels.iter().find(|level| level.setting == "topic_members");
    assert_eq!(level.map(|level| (level.used, level.limit)), Some((1, 1)));
    let call = cluster.push_user(0, "bob", "x");
    assert_eq!(cluster.receipt(call).counts.written, 1);
}

/// T3: what was told must hold for pushes from anywhere.
#[test]
fn a_terminal_is_told_that_it_has_joined_when_the_directory_knows() {
    let mut cluster = pair();
    let (ann, id) = connect(&mut cluster, 0, "ann", &["*"]);
    cluster.server = Server::Waits;
    join(&mut cluster, 0, ann, "news");
    cluster.pass(Config::default().hello_grace / 2);
    assert_eq!(told(&cluster, id), ["hello"]);
    cluster.answer_held();
    assert_eq!(told(&cluster, id), ["hello", "joined news"]);
}

#[test]
fn a_terminal_is_a_degraded_member_while_the_directory_is_away() {
    let mut cluster = pair();
    let (ann, id) = connect(&mut cluster, 0, "ann", &["*"]);
    cluster.event(0, Event::DirectoryDown);
    join(&mut cluster, 0, ann, "news");
    cluster.pass(2 * SECOND);
    assert_eq!(told(&cluster, id), ["hello", "joined news degraded"]);
    let call = cluster.push(0, topics(&["news"]), "here", 1);
    assert_eq!(cluster.receipt(call).counts.written, 1);
    assert!(cluster.receipt(call).degraded);
    cluster.event(0, Event::DirectoryUp);
    cluster.pass(2 * SECOND);
    let call = cluster.push(1, topics(&["news"]), "from afar", 2);
    assert_eq!(written(&cluster, call), [(1, 1)]);
    assert_eq!(cluster.texts(id), ["here", "from afar"]);
    assert!(cluster.instances[0].is_at_rest_but_for(1));
}

/// T4: unlike a connection's, the row of a topic is wanted again.
#[test]
fn a_topic_that_gets_members_while_its_row_is_removed_is_written_again() {
    let mut cluster = pair();
    let (ann, id) = connect(&mut cluster, 0, "ann", &["*"]);
    join(&mut cluster, 0, ann, "news");
    cluster.server = Server::Waits;
    leave(&mut cluster, 0, ann, "news");
    join(&mut cluster, 0, ann, "news");
    cluster.answer_held();
    assert_eq!(rows(&cluster, "news"), [1]);
    let expected = ["hello", "joined news", "left news", "joined news"];
    assert_eq!(told(&cluster, id), expected);
    let call = cluster.push(1, topics(&["news"]), "hello", 1);
    assert_eq!(written(&cluster, call), [(1, 1)]);
}

/// T1: a removal that floats must not take away what was written since.
#[test]
fn a_row_is_removed_under_the_epoch_of_its_writing() {
    let mut cluster = pair();
    let (ann, _) = connect(&mut cluster, 0, "ann", &["*"]);
    join(&mut cluster, 0, ann, "news");
    cluster.server = Server::Waits;
    leave(&mut cluster, 0, ann, "news");
    let floating = cluster.held.pop_back().expect("a removal");
    cluster.event(0, Event::DirectoryDown);
    cluster.server = Server::Answers;
    cluster.event(0, Event::DirectoryUp);
    cluster.pass(SECOND);
    join(&mut cluster, 0, ann, "news");
    cluster.pass(SECOND);
    let now = cluster.now.mono;
    for operation in &floating.1.operations {
        let _late = cluster.directory.execute(now, operation);
    }
    assert_eq!(rows(&cluster, "news"), [1]);
}

/// T5: what a directory has lost is written again with the rows of connections.
#[test]
fn settling_writes_all_topics() {
    let mut cluster = pair();
    let names: Vec<_> = (0..30).map(|number| format!("room-{number}")).collect();
    let (ann, id) = connect(&mut cluster, 0, "ann", &["*"]);
    for name in &names {
        join(&mut cluster, 0, ann, name);
    }
    cluster.event(0, Event::DirectoryDown);
    cluster.event(1, Event::DirectoryDown);
    cluster.directory.wipe();
    cluster.event(0, Event::DirectoryUp);
    cluster.event(1, Event::DirectoryUp);
    cluster.pass(30 * SECOND);
    for (number, name) in (0..).zip(&names) {
        assert_eq!(rows(&cluster, name), [1], "{name}");
        let call = cluster.push(1, topics(&[name]), name, number);
        assert!(!cluster.receipt(call).degraded);
    }
    assert_eq!(cluster.texts(id), names);
}

#[test]
fn a_member_of_two_topics_gets_a_push_to_both_once() {
    let mut cluster = pair();
    let (_, ann) = connect(&mut cluster, 1, "ann", &["news", "sport"]);
    let (_, bob) = connect(&mut cluster, 1, "bob", &["sport"]);
    let call = cluster.push(0, topics(&["sport", "news", "sport"]), "goal", 1);
    assert_eq!(written(&cluster, call), [(2, 2)]);
    assert_eq!(cluster.texts(ann), ["goal"]);
    assert_eq!(cluster.texts(bob), ["goal"]);
}

#[test]
fn a_repeat_of_a_push_to_a_topic_writes_nothing() {
    let mut cluster = pair();
    let (_, ann) = connect(&mut cluster, 1, "ann", &["news"]);
    for via in [0, 1, 0] {
        let call = cluster.push(via, topics(&["news"]), "once", 7);
        assert_eq!(written(&cluster, call), [(2, 1)]);
    }
    assert_eq!(cluster.texts(ann), ["once"]);
}

#[test]
fn pushes_keep_their_order_whatever_their_topics_and_sizes_are() {
    let config = Config {
        broadcast_rate: 5000,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 2);
    let members: Vec<_> = (0..300)
        .map(|number| connect(&mut cluster, 1, &format!("user{number}"), &["large"]).1)
        .collect();
    let (_, both) = connect(&mut cluster, 1, "both", &["large", "small"]);
    let (_, other) = connect(&mut cluster, 1, "other", &["other"]);
    for (id, (name, text)) in (1..).zip([("large", "1"), ("small", "2"), ("other", "3")]) {
        let push = frame(topics(&[name]), text, id);
        cluster.hand_in(0, push);
    }
    let last = cluster.hand_in(0, frame(topics(&["large", "small"]), "4", 4));
    cluster.push_user(0, "user0", "at once");
    // What is small or for others does not wait for what is large.
    assert_eq!(cluster.texts(other), ["3"]);
    assert!(cluster.texts(members[0]).contains(&"at once".to_owned()));
    cluster.pass(SECOND);
    assert_eq!(written(&cluster, last), [(2, 301)]);
    for member in members {
        let texts = cluster.texts(member);
        let order: Vec<_> = texts.iter().filter(|text| *text != "at once").collect();
        assert_eq!(order, ["1", "4"]);
    }
    let texts = cluster.texts(both);
    let at = |text: &str| {
        texts
            .iter()
            .position(|other| other == text)
            .expect("it came")
    };
    assert!(at("1") < at("4") && at("2") < at("4"));
}

#[test]
fn an_application_makes_terminals_of_a_user_members() {
    let mut cluster = pair();
    let (_, here) = cluster.connect(0, "ann");
    let (_, there) = cluster.connect(1, "ann");
    let act = |cluster: &mut Cluster, id, action| {
        let push = Push {
            action,
            ..frame(user("ann"), "", id)
        };
        let call = cluster.call_push(0, push);
        cluster.receipt(call).counts.written
    };
    assert_eq!(act(&mut cluster, 1, Action::Join(topic("news"))), 2);
    assert_eq!(told(&cluster, there), ["hello", "joined news"]);
    let call = cluster.push(0, topics(&["news"]), "hello", 2);
    assert_eq!(written(&cluster, call), [(1, 1), (2, 1)]);
    assert_eq!(act(&mut cluster, 3, Action::Leave(topic("news"))), 2);
    assert_eq!(
        told(&cluster, here).last().map(String::as_str),
        Some("left news")
    );
    assert_eq!(rows(&cluster, "news"), [] as [u64; 0]);
}

#[test]
fn a_user_is_a_member_with_terminals_that_connect_later() {
    let mut cluster = pair();
    let (_, now) = cluster.connect(1, "ann");
    let keep = |cluster: &mut Cluster, id, action| {
        let push = Push {
            action,
            ..frame(user("ann"), "", id).durable()
        };
        let call = cluster.call_push(0, push);
        cluster.receipt(call).kept
    };
    let news = || topic("news");
    assert_eq!(keep(&mut cluster, 1, Action::Join(news())), Some(true));
    let (_, later) = cluster.connect(0, "ann");
    for id in [now, later] {
        assert_eq!(told(&cluster, id), ["hello", "joined news"]);
    }
    assert_eq!(keep(&mut cluster, 2, Action::Leave(news())), Some(true));
    let (_, last) = cluster.connect(0, "ann");
    assert_eq!(told(&cluster, last), ["hello"]);
    for number in 0..Config::default().connection_topics {
        let id = 10 + number as u128;
        let kept = keep(&mut cluster, id, Action::Join(topic(&number.to_string())));
        assert_eq!(kept, Some(true));
    }
    assert_eq!(keep(&mut cluster, 3, Action::Join(news())), Some(false));
}

/// What its instance has not heard of the directory says with the next writing of the row, also of a topic that was taken
/// back before, or in which there was no room.
/// An application has all of ann's terminals join a topic, or leave it, those to come as well.
fn keep_for_ann(cluster: &mut Cluster, id: u128, action: Action) {
    let push = Push {
        action,
        ..frame(user("ann"), "", id).durable()
    };
    cluster.call_push(0, push);
}

#[test]
fn a_terminal_joins_what_is_kept_and_was_missed_when_its_row_is_written_again() {
    let config = Config {
        connection_topics: 2,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 2);
    let (_, ann) = cluster.connect(1, "ann");
    // Its instance hears nothing of these.
    let missed = |cluster: &mut Cluster, name: &str| {
        let operation = Operation::KeepTopic {
            key: UserId::new("ann").expect("a user").into(),
            topic: topic(name),
            keeping: Keeping::Kept { most: 128 },
        };
        let kept = cluster.directory.execute(cluster.now.mono, &operation);
        assert!(kept.is_ok(), "{kept:?}");
    };
    keep_for_ann(&mut cluster, 1, Action::Join(topic("news")));
    keep_for_ann(&mut cluster, 2, Action::Leave(topic("news")));
    missed(&mut cluster, "news");
    assert_eq!(told(&cluster, ann), ["hello", "joined news", "left news"]);
    cluster.pass(config.sweep * 3);
    assert_eq!(told(&cluster, ann)[3..], ["joined news"]);
    for name in ["b", "c"] {
        missed(&mut cluster, name);
    }
    cluster.pass(config.sweep * 2);
    let last = |cluster: &Cluster| told(cluster, ann).pop();
    assert_eq!(last(&cluster).as_deref(), Some("not joined c TooMany"));
    keep_for_ann(&mut cluster, 3, Action::Leave(topic("news")));
    cluster.pass(config.sweep * 2);
    assert_eq!(last(&cluster).as_deref(), Some("joined c"));
}

/// A directory that has lost what it kept, as one that was restarted empty, takes no membership from those who are connected:
/// its silence does not end one. Who was missed by a leave hears of it by the next one.
#[test]
fn a_terminal_leaves_what_its_user_has_left_when_it_hears_of_it() {
    let config = Config::default();
    let mut cluster = Cluster::new(&config, 2);
    let (_, ann) = cluster.connect(1, "ann");
    keep_for_ann(&mut cluster, 1, Action::Join(topic("news")));
    cluster.pass(config.sweep * 2);
    // Its instance hears nothing of this.
    let operation = Operation::KeepTopic {
        key: UserId::new("ann").expect("a user").into(),
        topic: topic("news"),
        keeping: Keeping::Dropped,
    };
    let ended = cluster.directory.execute(cluster.now.mono, &operation);
    assert!(ended.is_ok(), "{ended:?}");
    cluster.pass(config.sweep * 3);
    assert_eq!(told(&cluster, ann), ["hello", "joined news"]);
    keep_for_ann(&mut cluster, 2, Action::Leave(topic("news")));
    assert_eq!(told(&cluster, ann)[2..], ["left news"]);
}

/// A terminal that connects while its user becomes a member is one, whichever comes first.
#[test]
fn a_terminal_that_connects_while_its_user_joins_is_a_member() {
    for seed in 0..200 {
        let mut cluster = pair();
        cluster.shuffle = Some(seed);
        let push = Push {
            action: Action::Join(topic("news")),
            ..frame(user("ann"), "", 1).durable()
        };
        cluster.hand_in(0, push);
        let (_, ann) = cluster.connect_on_the_way(1, "ann");
        cluster.pass(SECOND);
        let told = told(&cluster, ann);
        assert!(told.contains(&"joined news".to_owned()), "{seed}: {told:?}");
    }
}

#[test]
fn members_and_users_are_listed_in_pages() {
    let mut cluster = pair();
    let mut members = Vec::new();
    for number in 0..10 {
        let name = format!("user{}", number / 2);
        members.push(connect(&mut cluster, number % 2, &name, &["news"]).1);
    }
    connect(&mut cluster, 0, "zoe", &[]);
    let list = |cluster: &mut Cluster, to, id, order| {
        let push = Push {
            action: Action::List { order, limit: 4 },
            ..frame(to, "", id)
        };
        let call = cluster.call_push(1, push);
        let receipt = cluster.receipt(call);
        assert!(!receipt.degraded);
        (receipt.counts.written, receipt.listed.clone())
    };
    let mut listed = Vec::new();
    let mut after = None;
    for id in 0..3 {
        let order = ListOrder::Connections { after };
        let (all, page) = list(&mut cluster, topics(&["news"]), id, order);
        assert_eq!(all, 10);
        after = page.last().and_then(|last| last.connection);
        listed.extend(page.into_iter().filter_map(|one| one.connection));
    }
    members.sort_unstable();
    assert_eq!(listed, members);
    let order = ListOrder::Users {
        after: Some(UserId::new("user2").expect("a user")),
    };
    let (_, page) = list(&mut cluster, Audience::Everyone, 9, order);
    let users: Vec<_> = page.iter().map(|one| one.user.as_str()).collect();
    assert_eq!(users, ["user3", "user4", "zoe"]);
    let none = Push {
        action: Action::List {
            order: ListOrder::Users { after: None },
            limit: 0,
        },
        ..frame(Audience::Everyone, "", 1)
    };
    let call = cluster.call_push(0, none);
    let refused = crate::event::Answer::Push(Err(PushRefused::List));
    assert_eq!(cluster.answers.get(&call), Some(&refused));
}

#[test]
fn a_crashed_instance_has_no_members() {
    let mut cluster = pair();
    connect(&mut cluster, 0, "ann", &["news"]);
    let (_, bob) = connect(&mut cluster, 1, "bob", &["news"]);
    cluster.down[0] = true;
    cluster.cut(0, 1);
    cluster.pass(2 * Config::default().lease);
    let call = cluster.push(1, topics(&["news"]), "left", 1);
    cluster.pass(SECOND);
    assert_eq!(written(&cluster, call), [(2, 1)]);
    assert!(!cluster.receipt(call).degraded);
    assert_eq!(cluster.texts(bob), ["left"]);
    assert_eq!(rows(&cluster, "news"), [2]);
}

#[test]
fn a_directory_that_hangs_costs_a_push_no_member() {
    let mut cluster = pair();
    let (_, ann) = connect(&mut cluster, 1, "ann", &["news"]);
    cluster.server = Server::Waits;
    let first = cluster.push(0, topics(&["news"]), "1", 1);
    let second = cluster.push(0, topics(&["news"]), "2", 2);
    cluster.pass(Config::DEADLINE_DEFAULT);
    for call in [first, second] {
        assert_eq!(cluster.receipt(call).counts.written, 1);
        assert!(cluster.receipt(call).degraded);
    }
    assert_eq!(cluster.texts(ann), ["1", "2"]);
}

#[test]
fn a_push_that_topics_cannot_take_is_refused() {
    let mut cluster = pair();
    let many: Vec<_> = (0..101).map(|number| topic(&number.to_string())).collect();
    let to = |topics| Audience::Topics {
        topics,
        except: None,
    };
    let join = Action::Join(topic("news"));
    let cases = [
        (frame(to(vec![]), "", 1), PushRefused::NoTopics),
        (
            frame(to(many), "", 2),
            PushRefused::TooManyTopics {
                topics: 101,
                limit: 100,
            },
        ),
        (
            Push {
                action: join,
                ..Push::new(
                    PushId::new(uuid::Uuid::from_u128(4)),
                    Audience::Everyone,
                    crate::frame::Payload::from(String::new()),
                )
            },
            PushRefused::NotForTopics,
        ),
    ];
    for (push, refused) in cases {
        let call = cluster.call_push(0, push);
        let answer = crate::event::Answer::Push(Err(refused));
        assert_eq!(cluster.answers.get(&call), Some(&answer));
    }
}

/// The answers of memberships, in the order of their topics.
fn sorted(mut told: Vec<String>) -> Vec<String> {
    told.sort();
    told
}

#[test]
fn a_membership_that_somebody_allows_lapses_unless_there_is_more_to_it() {
    let mut cluster = pair();
    let (ann, id) = connect(&mut cluster, 0, "ann", &["room-*"]);
    for name in ["lapses", "room-1", "team"] {
        let allowed = TopicWish::JoinAllowed(topic(name));
        wish(&mut cluster, 0, ann, allowed);
    }
    join(&mut cluster, 0, ann, "room-1");
    let push = frame(user("ann"), "", 1);
    let action = Action::Join(topic("team"));
    cluster.call_push(1, Push { action, ..push });
    cluster.received.clear();
    for name in ["lapses", "room-1", "team", "never"] {
        wish(&mut cluster, 0, ann, TopicWish::Lapse(topic(name)));
    }
    let told = told(&cluster, id);
    assert_eq!(
        told,
        ["left lapses", "joined room-1", "joined team", "left never"]
    );
    for (name, members) in [("lapses", 0), ("room-1", 1), ("team", 1)] {
        let call = cluster.push(1, topics(&[name]), name, 2);
        assert_eq!(cluster.receipt(call).counts.written, members, "{name}");
    }
}

/// H06: what a token allows ends with it, also where the next one allows less.
#[test]
fn a_new_token_ends_what_it_does_not_allow_and_joins_what_it_names() {
    let mut cluster = pair();
    let (ann, id) = connect(&mut cluster, 0, "ann", &["news", "room-*"]);
    join(&mut cluster, 0, ann, "room-1");
    join(&mut cluster, 0, ann, "room-2");
    let allowed = TopicWish::JoinAllowed(topic("allowed"));
    wish(&mut cluster, 0, ann, allowed);
    let push = frame(user("ann"), "", 1);
    let action = Action::Join(topic("team"));
    cluster.call_push(1, Push { action, ..push });
    let renew = |cluster: &mut Cluster, claim: &[&str]| {
        cluster.received.clear();
        let rights = TopicRights::of_claim(claim.iter().copied()).expect("names");
        let refreshed = Event::Refreshed {
            connection: ann,
            expires: None,
            topics: (!rights.is_empty()).then(|| rights.into()),
        };
        cluster.event(0, refreshed);
        sorted(told(cluster, id))
    };
    let told = renew(&mut cluster, &["sport", "room-1"]);
    assert_eq!(told, ["joined sport", "left news", "left room-2"]);
    assert_eq!(renew(&mut cluster, &["sport", "room-1"]), [""; 0]);
    leave(&mut cluster, 0, ann, "sport");
    assert_eq!(
        renew(&mut cluster, &["sport", "room-*"]),
        [""; 0],
        "it has left"
    );
    assert_eq!(renew(&mut cluster, &[]), ["left room-1"]);
    cluster.received.clear();
    join(&mut cluster, 0, ann, "room-1");
    let refused = self::told(&cluster, id);
    assert_eq!(refused, ["not joined room-1 NotAllowed"]);
    for name in ["allowed", "team"] {
        let call = cluster.push(1, topics(&[name]), name, 2);
        assert_eq!(cluster.receipt(call).counts.written, 1, "{name}");
    }
}
