//! Members of topics that follow the topics' logs, and durable pushes to topics.

use std::collections::BTreeMap;
use std::time::Duration;

use super::pair;
use crate::config::Config;
use crate::directory::log::{Content, LogOperation, LogReply, Retention};
use crate::directory::{Operation, OperationError, OperationResult, Reply};
use crate::event::{Answer, Event, Follow, Handshake};
use crate::frame::{HelloLog, LogNews, Outgoing, Payload};
use crate::id::{CallId, ConnectionId, ConnectionKey, Epoch, InstanceId, PushId, TopicId, UserId};
use crate::logs::{LogAnswer, LogQuery, LogRefused, LogRequest};
use crate::message::{
    Audience, ChannelLog, Counts, Durability, Durable, InLog, Push, PushRefused, PushedBy, Until,
    WithoutLog,
};
use crate::position::{Nonce, Position};
use crate::testing::cluster::{Cluster, Server, Told, frame, user};
use crate::topic::{TopicFollow, TopicJoin, TopicRights, TopicWish};

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn topic(name: &str) -> TopicId {
    TopicId::new(name).expect("a topic")
}

pub(super) fn to(name: &str) -> Audience {
    Audience::Topics {
        topics: vec![topic(name)],
        except: None,
    }
}

/// Connects a terminal that may join any topic.
pub(super) fn connect(
    cluster: &mut Cluster,
    instance: usize,
    user: &str,
) -> (ConnectionKey, ConnectionId) {
    let rights = TopicRights::of_claim(["*"]).expect("a pattern");
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

pub(super) fn ask(
    cluster: &mut Cluster,
    instance: usize,
    connection: ConnectionKey,
    name: &str,
    follow: Follow,
) {
    let follow = TopicFollow {
        topic: topic(name),
        join: TopicJoin::ByRight,
        ask: follow,
    };
    let follow = TopicWish::Follow(follow.into());
    wish(cluster, instance, connection, follow);
}

/// Connects a terminal that joins a topic and follows its log.
pub(super) fn follower(
    cluster: &mut Cluster,
    instance: usize,
    user: &str,
    name: &str,
    follow: Follow,
) -> (ConnectionKey, ConnectionId) {
    let (key, id) = connect(cluster, instance, user);
    ask(cluster, instance, key, name, follow);
    (key, id)
}

fn after(position: Position) -> Follow {
    Follow {
        after: vec![position],
        ..Follow::default()
    }
}

pub(super) fn durable_push(name: &str, text: &str, id: u128, durable: Durable) -> Push {
    Push {
        durable: Some(durable),
        ..frame(to(name), text, id)
    }
}

pub(super) fn durable(
    cluster: &mut Cluster,
    instance: usize,
    name: &str,
    text: &str,
    id: u128,
) -> CallId {
    let push = durable_push(name, text, id, Durable::default());
    let call = cluster.hand_in(instance, push);
    cluster.pass(SECOND);
    call
}

/// What a terminal was told, but for its hello.
pub(super) fn told(cluster: &Cluster, connection: ConnectionId) -> Vec<String> {
    let received = cluster.received.get(&connection).into_iter().flatten();
    let texts = received.map(|outgoing| Told(outgoing).to_string());
    texts.skip(1).collect()
}

/// Where a push stands in the log of its topic.
fn logged(cluster: &Cluster, call: CallId) -> InLog {
    let [log] = &cluster.receipt(call).logged[..] else {
        panic!("one log: {:?}", cluster.receipt(call));
    };
    log.logged
}

fn position(cluster: &Cluster, call: CallId) -> Position {
    match logged(cluster, call) {
        InLog::At(position) => position,
        other @ (InLog::Expired | InLog::Unknown | InLog::Refused | InLog::Unlogged) => {
            panic!("{other:?}")
        }
    }
}

pub(super) fn written(written: u64) -> Counts {
    Counts {
        written,
        ..Counts::default()
    }
}

#[test]
fn members_that_follow_get_records_and_others_plain_pushes() {
    let mut cluster = Cluster::new(&Config::default(), 3);
    let (_, ann) = follower(&mut cluster, 0, "ann", "news", Follow::default());
    let (_, bob) = follower(&mut cluster, 1, "bob", "news", Follow::default());
    let (zoe, plain) = connect(&mut cluster, 1, "zoe");
    wish(&mut cluster, 1, zoe, TopicWish::Join(topic("news")));
    let call = durable(&mut cluster, 2, "news", "one", 1);
    let receipt = cluster.receipt(call);
    assert_eq!((receipt.degraded, receipt.counts), (false, written(3)));
    let instances = receipt.instances.iter();
    let instances: Vec<_> = instances
        .map(|one| (one.instance.get(), one.counts.written))
        .collect();
    assert_eq!(instances, [(1, 1), (2, 2)]);
    assert_eq!(receipt.logged[0].channel.topic(), Some(&topic("news")));
    durable(&mut cluster, 0, "news", "two", 2);
    for id in [ann, bob] {
        let expected = ["joined news Anew", "record news one", "record news two"];
        assert_eq!(told(&cluster, id), expected);
    }
    assert_eq!(told(&cluster, plain), ["joined news", "one", "two"]);
}

/// A user and a topic of one name have two logs, and a terminal may follow both.
#[test]
fn logs_of_a_user_and_of_a_topic_have_nothing_in_common() {
    let mut cluster = pair();
    let handshake = Handshake {
        follow: Some(Follow::default()),
        topics: Some(TopicRights::of_claim(["*"]).expect("a pattern").into()),
        ..Handshake::new(UserId::new("ann").expect("a user"))
    };
    let key = cluster.accept(0, handshake).expect("taken");
    let id = cluster.instances[0].connection_id(key).expect("there");
    cluster.event(0, Event::Opened { connection: key });
    ask(&mut cluster, 0, key, "ann", Follow::default());
    ask(&mut cluster, 0, key, "news", Follow::default());
    durable(&mut cluster, 1, "ann", "to the topic", 1);
    let own = Push {
        durable: Some(Durable::default()),
        ..frame(user("ann"), "to the user", 2)
    };
    cluster.call_push(1, own);
    durable(&mut cluster, 1, "news", "to another", 3);
    wish(&mut cluster, 0, key, TopicWish::Leave(topic("ann")));
    durable(&mut cluster, 1, "ann", "to nobody", 4);
    assert_eq!(
        told(&cluster, id),
        [
            "joined ann Anew",
            "joined news Anew",
            "record ann to the topic",
            "record to the user",
            "record news to another",
            "left ann",
        ]
    );
    cluster.disconnect(0, key);
    cluster.pass(SECOND);
    assert!(cluster.instances[0].is_at_rest());
}

#[test]
fn a_member_that_was_away_goes_on_where_it_was_at_another_instance() {
    let mut cluster = pair();
    let (ann, _) = follower(&mut cluster, 0, "ann", "news", Follow::default());
    let one = durable(&mut cluster, 0, "news", "one", 1);
    let held = position(&cluster, one);
    cluster.disconnect(0, ann);
    let two = durable(&mut cluster, 0, "news", "two", 2);
    assert_eq!(cluster.receipt(two).counts, Counts::default());
    durable(&mut cluster, 1, "news", "three", 3);
    let (_, back) = follower(&mut cluster, 1, "ann", "news", after(held));
    durable(&mut cluster, 0, "news", "four", 4);
    assert_eq!(
        told(&cluster, back),
        [
            "joined news Resumed",
            "record news two",
            "record news three",
            "record news four",
        ]
    );
    let strange = Position::new(1, 1).expect("in range");
    let (_, lost) = follower(&mut cluster, 1, "bob", "news", after(strange));
    let all = ["one", "two", "three", "four"].map(|text| format!("record news {text}"));
    let words = told(&cluster, lost);
    assert_eq!(words[0], "joined news Lost");
    assert_eq!(words[1..], all);
    let history = Follow {
        history: 1,
        ..Follow::default()
    };
    let (_, new) = follower(&mut cluster, 0, "eve", "news", history);
    let expected = ["joined news Anew", "record news four"];
    assert_eq!(told(&cluster, new), expected);
}

/// T3: the row is written first, and what is read of the log comes behind it.
#[test]
fn a_member_is_told_when_the_row_is_written_and_the_log_is_read() {
    let mut cluster = pair();
    let (ann, id) = connect(&mut cluster, 0, "ann");
    cluster.server = Server::Waits;
    ask(&mut cluster, 0, ann, "news", Follow::default());
    cluster.pass(SECOND / 2);
    assert_eq!(told(&cluster, id), [""; 0]);
    cluster.answer_held();
    assert_eq!(told(&cluster, id), ["joined news Anew"]);
}

fn has_no_rows(operation: &Operation) -> Option<OperationResult> {
    let refused = || Err(OperationError::Refused("OOM".to_owned()));
    matches!(operation, Operation::EnterTopic { .. }).then(refused)
}

/// A record that comes before the row is written is read behind it, and told behind the membership.
#[test]
fn a_member_is_told_no_record_before_it_is_told_that_it_is_one() {
    let mut cluster = pair();
    let (_, other) = follower(&mut cluster, 1, "bob", "news", Follow::default());
    let held = durable(&mut cluster, 1, "news", "zero", 7);
    let held = position(&cluster, held);
    cluster.refuse(has_no_rows, [0]);
    let (_, id) = follower(&mut cluster, 0, "ann", "news", after(held));
    durable(&mut cluster, 0, "news", "one", 1);
    assert_eq!(told(&cluster, id), [""; 0]);
    cluster.pass(SECOND * 2);
    let degraded = [
        "joined news degraded ?",
        "log news Resumed",
        "record news one",
    ];
    assert_eq!(told(&cluster, id), degraded);
    let (ann, id) = connect(&mut cluster, 0, "eve");
    ask(&mut cluster, 0, ann, "news", after(held));
    let two = durable(&mut cluster, 0, "news", "two", 2);
    // It waits for the row, and gets it from the log.
    assert_eq!(cluster.receipt(two).counts.kept, 1);
    cluster.refuses = None;
    cluster.pass(SECOND * 2);
    let words = told(&cluster, id);
    assert_eq!(
        words[1..],
        ["log news Resumed", "record news one", "record news two"]
    );
    let all = [
        "joined news Anew",
        "record news zero",
        "record news one",
        "record news two",
    ];
    assert_eq!(told(&cluster, other), all);
}

#[test]
fn a_degraded_member_is_told_later_where_it_stands() {
    let mut cluster = pair();
    let (ann, id) = connect(&mut cluster, 0, "ann");
    cluster.event(0, Event::DirectoryDown);
    ask(&mut cluster, 0, ann, "news", Follow::default());
    cluster.pass(SECOND * 2);
    assert_eq!(told(&cluster, id), ["joined news degraded ?"]);
    cluster.event(0, Event::DirectoryUp);
    cluster.pass(SECOND);
    durable(&mut cluster, 1, "news", "one", 1);
    let expected = ["joined news degraded ?", "log news Anew", "record news one"];
    assert_eq!(told(&cluster, id), expected);
}

/// A member begins to follow, and a follower begins anew.
#[test]
fn a_member_that_asks_for_the_log_begins_there() {
    let mut cluster = pair();
    let (ann, id) = connect(&mut cluster, 0, "ann");
    wish(&mut cluster, 0, ann, TopicWish::Join(topic("news")));
    let one = durable(&mut cluster, 1, "news", "one", 1);
    ask(&mut cluster, 0, ann, "news", Follow::default());
    durable(&mut cluster, 1, "news", "two", 2);
    let from_one = after(position(&cluster, one));
    ask(&mut cluster, 0, ann, "news", from_one);
    wish(&mut cluster, 0, ann, TopicWish::Join(topic("news")));
    assert_eq!(
        told(&cluster, id),
        [
            "joined news",
            "one",
            "joined news ?",
            "log news Anew",
            "record news two",
            "joined news ?",
            "log news Resumed",
            "record news two",
            "joined news",
        ]
    );
}

/// A record that comes before its predecessor waits for it; one that never comes is read.
#[test]
fn what_a_member_was_not_told_it_reads_when_the_next_record_comes() {
    let mut cluster = pair();
    let (_, id) = follower(&mut cluster, 0, "ann", "news", Follow::default());
    durable(&mut cluster, 1, "news", "one", 1);
    // Somebody else's instance has appended it, and died before it could deliver it.
    append(&mut cluster, "news", "two", 2);
    durable(&mut cluster, 1, "news", "three", 3);
    let expected = ["one", "two", "three"].map(|text| format!("record news {text}"));
    assert_eq!(told(&cluster, id)[1..], expected);
}

/// Its protocol has ended the subscription at a gap, of which its instance has not heard.
#[test]
fn a_record_that_is_withheld_from_a_terminal_is_not_said_to_be_written() {
    let mut cluster = pair();
    let (ann, id) = follower(&mut cluster, 0, "ann", "news", Follow::default());
    cluster.pass(SECOND);
    cluster.writes = false;
    let calls = [(1, "one"), (2, "two"), (3, "three")].map(|(number, text)| {
        cluster.call_push(0, durable_push("news", text, number, Durable::default()))
    });
    let is_written = || Event::Written { connection: ann };
    // Two and three are with the driver then, and two is sent.
    cluster.event(0, is_written());
    let Some(Outgoing::Record(three)) = cluster.received[&id].last().cloned() else {
        panic!("a record");
    };
    let withheld = Event::Withheld {
        connection: ann,
        topic: topic("news"),
        from: three.position().expect("it has one").offset(),
    };
    cluster.event(0, withheld);
    cluster.event(0, is_written());
    let kept = Counts {
        kept: 1,
        ..Counts::default()
    };
    let counts = calls.map(|call| cluster.receipt(call).counts);
    assert_eq!(counts, [written(1), written(1), kept]);
}

/// T5: the head is compared behind each writing of the topic's row, and once in a while in any case.
#[test]
fn what_nobody_has_told_is_found_in_a_settling_and_by_the_check() {
    let mut cluster = pair();
    let (_, id) = follower(&mut cluster, 0, "ann", "news", Follow::default());
    append(&mut cluster, "news", "one", 1);
    cluster.pass(SECOND);
    assert_eq!(told(&cluster, id).len(), 1);
    let at = cluster.now;
    cluster.instances[0].lose_lease(at);
    cluster.pass(SECOND * 5);
    assert_eq!(told(&cluster, id)[1..], ["record news one"]);
    append(&mut cluster, "news", "two", 2);
    cluster.pass(SECOND * 90);
    assert_eq!(told(&cluster, id)[2..], ["record news two"]);
}

/// Many followers of one log compare where they stand with one look at its head.
#[test]
fn many_members_that_miss_nothing_cost_one_look_at_the_head() {
    let mut cluster = pair();
    let ids: Vec<_> = (0..40)
        .map(|number| {
            follower(
                &mut cluster,
                0,
                &format!("user{number}"),
                "news",
                Follow::default(),
            )
            .1
        })
        .collect();
    durable(&mut cluster, 1, "news", "one", 1);
    let reads = cluster.instances[0].stats().log_reads;
    let at = cluster.now;
    cluster.instances[0].lose_lease(at);
    cluster.pass(SECOND * 5);
    assert_eq!(cluster.instances[0].stats().log_reads, reads);
    append(&mut cluster, "news", "two", 2);
    let at = cluster.now;
    cluster.instances[0].lose_lease(at);
    cluster.pass(SECOND * 5);
    for id in ids {
        let expected = ["joined news Anew", "record news one", "record news two"];
        assert_eq!(told(&cluster, id), expected);
    }
}

#[test]
fn a_receipt_waits_for_the_confirmations_of_those_who_follow() {
    let mut cluster = pair();
    let (ann, ann_id) = follower(&mut cluster, 0, "ann", "news", Follow::default());
    let (bob, _) = follower(&mut cluster, 1, "bob", "news", Follow::default());
    let (zoe, _) = connect(&mut cluster, 1, "zoe");
    wish(&mut cluster, 1, zoe, TopicWish::Join(topic("news")));
    let until_acked = Durable {
        until: Until::Acked,
        ..Durable::default()
    };
    let call = cluster.hand_in(1, durable_push("news", "one", 1, until_acked));
    cluster.pass(SECOND / 10);
    assert!(!cluster.answers.contains_key(&call));
    let record = last_record(&cluster, ann_id);
    let ack = TopicWish::Ack(topic("news"), record);
    wish(&mut cluster, 0, ann, ack.clone());
    // The log of another topic, and that of the user, have nothing to do with it.
    wish(&mut cluster, 1, bob, TopicWish::Ack(topic("other"), record));
    cluster.pass(SECOND / 10);
    assert!(!cluster.answers.contains_key(&call));
    wish(&mut cluster, 1, bob, ack);
    let counts = Counts {
        acked: 2,
        ..written(1)
    };
    assert_eq!(cluster.receipt(call).counts, counts);
    assert_eq!(position(&cluster, call), record);
    // Nobody confirms the next one: what is known at the deadline is that it is written.
    let call = cluster.hand_in(1, durable_push("news", "two", 2, until_acked));
    cluster.pass(SECOND * 10);
    assert_eq!(cluster.receipt(call).counts, written(3));
    for instance in &cluster.instances {
        assert_eq!(instance.tables().inbound, 0);
    }
}

/// A member that leaves confirms nothing: whoever waits for it is told what is known.
#[test]
fn nobody_waits_for_the_confirmation_of_one_who_leaves() {
    let mut cluster = pair();
    let (ann, _) = follower(&mut cluster, 0, "ann", "news", Follow::default());
    let until_acked = Durable {
        until: Until::Acked,
        ..Durable::default()
    };
    let call = cluster.hand_in(1, durable_push("news", "one", 1, until_acked));
    cluster.pass(SECOND / 10);
    wish(&mut cluster, 0, ann, TopicWish::Leave(topic("news")));
    assert_eq!(cluster.receipt(call).counts, written(1));
}

/// What was read for it before it asked anew says nothing of what it brings now, even if another follower keeps the
/// topic's log at the instance.
#[test]
fn a_terminal_that_asks_anew_takes_no_answer_to_its_earlier_read() {
    for leaves in [false, true] {
        let mut cluster = pair();
        follower(&mut cluster, 0, "bob", "news", Follow::default());
        let first = durable(&mut cluster, 1, "news", "one", 1);
        durable(&mut cluster, 1, "news", "two", 2);
        let (ann, id) = connect(&mut cluster, 0, "ann");
        wish(&mut cluster, 0, ann, TopicWish::Join(topic("news")));
        cluster.server = Server::Waits;
        ask(&mut cluster, 0, ann, "news", Follow::default());
        if leaves {
            wish(&mut cluster, 0, ann, TopicWish::Leave(topic("news")));
        }
        let one = position(&cluster, first);
        ask(&mut cluster, 0, ann, "news", after(one));
        cluster.server = Server::Answers;
        cluster.answer_held();
        cluster.pass(SECOND);
        let told = told(&cluster, id);
        assert_eq!(
            told.last().map(String::as_str),
            Some("record news two"),
            "{told:?}"
        );
        assert!(!told.iter().any(|told| told.contains("Anew")), "{told:?}");
    }
}

#[test]
fn a_repeat_is_one_record_and_is_told_once() {
    let mut cluster = pair();
    let (_, id) = follower(&mut cluster, 0, "ann", "news", Follow::default());
    let (zoe, plain) = connect(&mut cluster, 0, "zoe");
    wish(&mut cluster, 0, zoe, TopicWish::Join(topic("news")));
    let first = durable(&mut cluster, 0, "news", "one", 1);
    let again = durable(&mut cluster, 1, "news", "one", 1);
    assert_eq!(position(&cluster, first), position(&cluster, again));
    assert_eq!(cluster.receipt(again).counts, written(2));
    assert_eq!(told(&cluster, id), ["joined news Anew", "record news one"]);
    assert_eq!(told(&cluster, plain), ["joined news", "one"]);
}

/// A failover has lost a record, and a repeat of its push is another record: followers are told that they stand where
/// they were before, and get it under its id.
#[test]
fn a_repeat_that_has_become_another_record_reaches_those_who_follow() {
    let mut cluster = pair();
    let (_, id) = follower(&mut cluster, 0, "ann", "news", Follow::default());
    durable(&mut cluster, 1, "news", "one", 1);
    let before = cluster.directory.clone();
    durable(&mut cluster, 1, "news", "two", 2);
    cluster.directory = before;
    let again = durable(&mut cluster, 1, "news", "two", 2);
    assert!(matches!(logged(&cluster, again), InLog::At(_)));
    assert_eq!(
        told(&cluster, id)[1..],
        [
            "record news one",
            "record news two",
            "back news",
            "record news two"
        ]
    );
}

#[test]
fn a_durable_push_to_a_topic_needs_the_directory_or_says_so() {
    let mut cluster = pair();
    let (_, id) = follower(&mut cluster, 0, "ann", "news", Follow::default());
    cluster.event(0, Event::DirectoryDown);
    let refused = durable_push("news", "one", 1, Durable::default());
    let refused = cluster.call_push(0, refused);
    let expected = Answer::Push(Err(PushRefused::DirectoryAway));
    assert_eq!(cluster.answers.get(&refused), Some(&expected));
    let optional = Durable {
        without_log: WithoutLog::Plain,
        ..Durable::default()
    };
    let call = cluster.hand_in(0, durable_push("news", "two", 2, optional));
    cluster.pass(SECOND * 10);
    let receipt = cluster.receipt(call);
    assert_eq!(logged(&cluster, call), InLog::Unlogged);
    assert!(receipt.degraded && receipt.counts.written == 1);
    assert_eq!(told(&cluster, id), ["joined news Anew", "two"]);
    // A topic that is named twice is one.
    let twice = Push {
        durable: Some(optional),
        ..several(&["news", "other", "news"], "three", 3)
    };
    let call = cluster.hand_in(0, twice);
    cluster.pass(SECOND * 10);
    assert_eq!(cluster.receipt(call).logged.len(), 2);
}

/// An append that is not answered is asked again under its id, and is one record in the end.
#[test]
fn an_append_that_was_not_answered_is_asked_for_again() {
    let mut cluster = pair();
    let (_, id) = follower(&mut cluster, 1, "ann", "news", Follow::default());
    cluster.server = Server::Waits;
    let call = cluster.hand_in(0, durable_push("news", "one", 1, Durable::default()));
    cluster.event(0, Event::DirectoryDown);
    cluster.server = Server::Answers;
    cluster.event(0, Event::DirectoryUp);
    cluster.pass(SECOND * 2);
    assert!(matches!(logged(&cluster, call), InLog::At(_)));
    assert_eq!(told(&cluster, id), ["joined news Anew", "record news one"]);
    // One that is never answered is said to be unknown, at the deadline.
    cluster.server = Server::Waits;
    let call = cluster.hand_in(0, durable_push("news", "two", 2, Durable::default()));
    cluster.pass(SECOND * 31);
    assert_eq!(logged(&cluster, call), InLog::Unknown);
    assert!(cluster.receipt(call).degraded);
    cluster.server = Server::Answers;
    cluster.answer_held();
    cluster.pass(SECOND * 120);
    assert_eq!(told(&cluster, id)[2..], ["record news two"]);
}

/// A push to topics, of which each has a log.
pub(super) fn several(names: &[&str], text: &str, id: u128) -> Push {
    let to = Audience::Topics {
        topics: names.iter().map(|name| topic(name)).collect(),
        except: None,
    };
    Push {
        durable: Some(Durable::default()),
        ..frame(to, text, id)
    }
}

/// Where a push stands in each log, by the names of the topics.
fn logs(cluster: &Cluster, call: CallId) -> BTreeMap<String, InLog> {
    let logged = cluster.receipt(call).logged.iter();
    let name = |log: &ChannelLog| log.channel.topic().expect("a topic").as_str().to_owned();
    logged.map(|log| (name(log), log.logged)).collect()
}

#[test]
fn a_durable_push_to_several_topics_is_a_record_of_each() {
    let mut cluster = Cluster::new(&Config::default(), 3);
    let (ann, both) = follower(&mut cluster, 0, "ann", "news", Follow::default());
    ask(&mut cluster, 0, ann, "other", Follow::default());
    let (_, one) = follower(&mut cluster, 1, "bob", "other", Follow::default());
    let (zoe, plain) = connect(&mut cluster, 1, "zoe");
    for name in ["news", "other", "third"] {
        wish(&mut cluster, 1, zoe, TopicWish::Join(topic(name)));
    }
    cluster.pass(SECOND);
    // One that is named twice is one.
    let names = ["other", "news", "third", "other"];
    let call = cluster.call_push(2, several(&names, "one", 1));
    cluster.pass(SECOND);
    let at = logs(&cluster, call);
    assert_eq!(at.keys().collect::<Vec<_>>(), ["news", "other", "third"]);
    assert!(at.values().all(|log| matches!(log, InLog::At(_))), "{at:?}");
    let receipt = cluster.receipt(call);
    assert!(!receipt.degraded);
    // Each instance is named once. A member is counted for each log that it follows, and once for the others.
    let instances = receipt.instances.iter();
    let instances: Vec<_> = instances
        .map(|one| (one.instance.get(), one.counts.written))
        .collect();
    assert_eq!(instances, [(1, 2), (2, 2)]);
    let expected = [
        "joined news Anew",
        "joined other Anew",
        "record news one",
        "record other one",
    ];
    assert_eq!(told(&cluster, both), expected);
    assert_eq!(
        told(&cluster, one),
        ["joined other Anew", "record other one"]
    );
    // A member that follows none of them gets it once.
    let words = told(&cluster, plain);
    assert_eq!(words[3..], ["one"]);
    // A repeat is told where they stand, and reaches nobody.
    let again = cluster.call_push(0, several(&names, "one", 1));
    cluster.pass(SECOND);
    assert_eq!(logs(&cluster, again), logs(&cluster, call));
    assert_eq!(cluster.receipt(again).counts, cluster.receipt(call).counts);
    assert_eq!(told(&cluster, plain).len(), 4);
    assert_eq!(told(&cluster, both).len(), 4);
}

fn has_no_log_of_other(operation: &Operation) -> Option<OperationResult> {
    let is_other = matches!(operation, Operation::Log {
        channel,
        operation: LogOperation::Append { .. },
    } if channel.topic() == Some(&topic("other")));
    is_other.then(|| Err(OperationError::Refused("OOM".to_owned())))
}

/// What is wrong with one log is said of that one.
#[test]
fn a_log_that_is_refused_keeps_a_push_from_no_other_log() {
    let mut cluster = pair();
    let (_, ann) = follower(&mut cluster, 0, "ann", "news", Follow::default());
    let (bob, other) = connect(&mut cluster, 0, "bob");
    wish(&mut cluster, 0, bob, TopicWish::Join(topic("other")));
    cluster.refuse(has_no_log_of_other, [1]);
    let call = cluster.call_push(1, several(&["news", "other"], "one", 1));
    cluster.pass(SECOND * 10);
    let at = logs(&cluster, call);
    assert!(matches!(at["news"], InLog::At(_)), "{at:?}");
    assert_eq!(at["other"], InLog::Refused);
    assert!(cluster.receipt(call).degraded);
    assert_eq!(cluster.receipt(call).counts, written(1));
    assert_eq!(told(&cluster, ann)[1..], ["record news one"]);
    assert_eq!(told(&cluster, other), ["joined other"]);
    // The repeat is a record there as well, and is told to those who have not got it.
    cluster.refuses = None;
    let again = cluster.call_push(1, several(&["news", "other"], "one", 1));
    cluster.pass(SECOND);
    assert!(
        logs(&cluster, again)
            .values()
            .all(|log| matches!(log, InLog::At(_)))
    );
    assert_eq!(told(&cluster, ann)[1..], ["record news one"]);
    assert_eq!(told(&cluster, other), ["joined other", "one"]);
}

/// What is not known at the deadline is said of each log, and nothing is left of it.
#[test]
fn a_push_to_several_logs_is_answered_at_its_deadline() {
    let mut cluster = pair();
    follower(&mut cluster, 0, "ann", "news", Follow::default());
    cluster.server = Server::Waits;
    let call = cluster.hand_in(1, several(&["news", "other"], "one", 1));
    cluster.pass(SECOND * 31);
    let unknown = |name: &str| (name.to_owned(), InLog::Unknown);
    let expected = BTreeMap::from([unknown("news"), unknown("other")]);
    assert_eq!(logs(&cluster, call), expected);
    assert!(cluster.receipt(call).degraded);
    assert_eq!(cluster.instances[1].tables().topic_pushes, 0);
}

/// It is not known in time whether an instance lives that has members: those that follow do not wait for a check.
#[test]
fn a_record_whose_rows_are_not_judged_in_time_is_named_to_their_instances() {
    let mut cluster = pair();
    let (_, id) = follower(&mut cluster, 0, "ann", "news", Follow::default());
    cluster.pass(SECOND);
    let stranger = Operation::EnterTopic {
        topic: topic("news"),
        instance: InstanceId::new(99),
        epoch: Epoch::new(1),
    };
    let entered = cluster.directory.execute(cluster.now.mono, &stranger);
    entered.expect("it is a row");
    cluster.server = Server::Waits;
    let push = Push {
        deadline: SECOND * 3 / 2,
        ..durable_push("news", "one", 1, Durable::default())
    };
    let call = cluster.hand_in(1, push);
    // It is a record when it has waited for as long as the directory has, but not for as long as the view may take.
    cluster.pass(SECOND * 7 / 10);
    cluster.answer_held_and(Server::Waits);
    cluster.pass(SECOND * 85 / 100);
    assert!(matches!(logged(&cluster, call), InLog::At(_)));
    assert!(cluster.receipt(call).degraded);
    assert_eq!(told(&cluster, id), ["joined news Anew"]);
    cluster.answer_held();
    cluster.pass(SECOND * 2);
    assert_eq!(told(&cluster, id), ["joined news Anew", "record news one"]);
}

/// A repeat that waits for confirmations asks for those that were given to nobody, and a repeat that does not tells of those
/// that were given.
#[test]
fn a_repeat_tells_of_confirmations_and_asks_for_them_once_more() {
    let mut cluster = pair();
    let (ann, id) = follower(&mut cluster, 0, "ann", "news", Follow::default());
    let (_, _) = follower(&mut cluster, 0, "bob", "news", Follow::default());
    let (zoe, plain) = connect(&mut cluster, 0, "zoe");
    wish(&mut cluster, 0, zoe, TopicWish::Join(topic("news")));
    let until_acked = Durable {
        until: Until::Acked,
        ..Durable::default()
    };
    let first = durable(&mut cluster, 1, "news", "one", 1);
    assert_eq!(cluster.receipt(first).counts, written(3));
    let again = cluster.hand_in(1, durable_push("news", "one", 1, until_acked));
    cluster.pass(SECOND / 10);
    assert!(!cluster.answers.contains_key(&again));
    let ack = TopicWish::Ack(topic("news"), position(&cluster, first));
    wish(&mut cluster, 0, ann, ack);
    cluster.pass(SECOND * 10);
    let confirmed = Counts {
        acked: 1,
        ..written(2)
    };
    assert_eq!(cluster.receipt(again).counts, confirmed);
    // A caller that does not wait is told as well, over a link and here.
    for instance in [0, 1] {
        let call = durable(&mut cluster, instance, "news", "one", 1);
        assert_eq!(cluster.receipt(call).counts, confirmed, "{instance}");
    }
    assert_eq!(told(&cluster, id)[1..], ["record news one"]);
    assert_eq!(told(&cluster, plain)[1..], ["one"]);
    assert_eq!(cluster.instances[0].tables().inbound, 0);
}

/// What was confirmed stays so when who has confirmed follows no longer.
#[test]
fn a_repeat_tells_of_confirmations_of_those_that_have_gone() {
    let mut cluster = pair();
    let (ann, _) = follower(&mut cluster, 0, "ann", "news", Follow::default());
    let (_, _) = follower(&mut cluster, 0, "bob", "news", Follow::default());
    let until_acked = Durable {
        until: Until::Acked,
        ..Durable::default()
    };
    let first = cluster.hand_in(1, durable_push("news", "one", 1, Durable::default()));
    cluster.pass(SECOND / 10);
    let at = position(&cluster, first);
    let waits = cluster.hand_in(1, durable_push("news", "one", 1, until_acked));
    cluster.pass(SECOND / 10);
    wish(&mut cluster, 0, ann, TopicWish::Ack(topic("news"), at));
    cluster.pass(SECOND * 10);
    let confirmed = Counts {
        acked: 1,
        ..written(1)
    };
    assert_eq!(cluster.receipt(waits).counts, confirmed);
    cluster.disconnect(0, ann);
    for until in [until_acked, Durable::default(), until_acked] {
        let again = cluster.hand_in(0, durable_push("news", "one", 1, until));
        cluster.pass(SECOND * 10);
        assert_eq!(cluster.receipt(again).counts, confirmed);
    }
}

/// So does a repeat that comes while the first one is under way, and has to wait for it.
#[test]
fn a_repeat_that_waits_for_the_first_one_asks_for_confirmations_then() {
    let mut cluster = pair();
    let (ann, id) = follower(&mut cluster, 0, "ann", "news", Follow::default());
    cluster.stalled.insert(id);
    let first = cluster.hand_in(1, durable_push("news", "one", 1, Durable::default()));
    cluster.pass(SECOND / 10);
    let until_acked = Durable {
        until: Until::Acked,
        ..Durable::default()
    };
    let again = cluster.hand_in(1, durable_push("news", "one", 1, until_acked));
    cluster.pass(SECOND / 10);
    cluster.read_again();
    cluster.pass(SECOND / 10);
    assert_eq!(cluster.receipt(first).counts, written(1));
    assert!(!cluster.answers.contains_key(&again));
    let ack = TopicWish::Ack(topic("news"), position(&cluster, first));
    wish(&mut cluster, 0, ann, ack);
    cluster.pass(SECOND / 10);
    let confirmed = Counts {
        acked: 1,
        ..Counts::default()
    };
    assert_eq!(cluster.receipt(again).counts, confirmed);
}

/// What is left out of a plain push is no hole in a log.
#[test]
fn a_connection_that_is_left_out_gets_the_record_if_it_follows() {
    let mut cluster = pair();
    let (_, ann) = follower(&mut cluster, 0, "ann", "news", Follow::default());
    let (zoe, plain) = connect(&mut cluster, 0, "zoe");
    wish(&mut cluster, 0, zoe, TopicWish::Join(topic("news")));
    for (number, except) in [(1, ann), (2, plain)] {
        let to = Audience::Topics {
            topics: vec![topic("news")],
            except: Some(except),
        };
        let push = Push {
            durable: Some(Durable::default()),
            ..frame(to, &format!("{number}"), number)
        };
        cluster.hand_in(1, push);
        cluster.pass(SECOND);
    }
    let records = ["joined news Anew", "record news 1", "record news 2"];
    assert_eq!(told(&cluster, ann), records);
    assert_eq!(told(&cluster, plain), ["joined news", "1"]);
}

#[test]
fn an_application_reads_and_deletes_the_log_of_a_topic() {
    let mut cluster = pair();
    let (_, id) = follower(&mut cluster, 0, "ann", "news", Follow::default());
    durable(&mut cluster, 0, "news", "one", 1);
    durable(&mut cluster, 0, "news", "two", 2);
    let Ok(LogAnswer::Page(page)) = answer(&mut cluster, LogRequest::Read(LogQuery::default()))
    else {
        panic!("a page");
    };
    assert_eq!(page.records.len(), 2);
    let head = answer(&mut cluster, LogRequest::Head);
    assert_eq!(head, Ok(LogAnswer::Head(Some(page.head))));
    let deleted = answer(&mut cluster, LogRequest::Delete);
    assert_eq!(deleted, Ok(LogAnswer::Deleted { records: 2 }));
    durable(&mut cluster, 0, "news", "three", 3);
    let expected = ["gap news", "record news three"];
    assert_eq!(told(&cluster, id)[3..], expected);
}

#[test]
fn a_receipt_says_whether_a_replica_has_the_record_of_a_topic() {
    let mut cluster = pair();
    let (_, _) = follower(&mut cluster, 0, "ann", "news", Follow::default());
    let replica = Durable {
        durability: Durability::Replica,
        ..Durable::default()
    };
    let call = cluster.hand_in(1, durable_push("news", "one", 1, replica));
    cluster.pass(SECOND * 10);
    let receipt = cluster.receipt(call);
    // Memory has no replicas.
    assert_eq!(receipt.logged[0].replicated, Some(false));
    assert_eq!(receipt.counts, written(1));
}

/// A follower that is slow is not closed, and gets from the log what its queue had no room for.
#[test]
fn a_member_that_is_slow_gets_the_rest_when_it_reads() {
    let config = Config {
        queue_frames: 4,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 2);
    let (_, id) = follower(&mut cluster, 0, "ann", "news", Follow::default());
    cluster.stalled.insert(id);
    for number in 1..=9 {
        durable(&mut cluster, 1, "news", &number.to_string(), number);
    }
    cluster.read_again();
    cluster.pass(SECOND);
    let records: Vec<_> = (1..=9)
        .map(|number| format!("record news {number}"))
        .collect();
    assert_eq!(told(&cluster, id)[1..], records);
}

/// A publication says nothing of who has it: its receipt waits for nobody.
#[test]
fn a_terminal_that_publishes_is_told_at_once_that_it_is_a_record() {
    let mut cluster = Cluster::new(&Config::default(), 2);
    let (_, slow) = follower(&mut cluster, 0, "ann", "news", Follow::default());
    cluster.stalled.insert(slow);
    // What it reads first fills its way.
    durable(&mut cluster, 1, "news", "before", 1);
    let publication = Push {
        by: PushedBy::Terminal,
        deadline: Config::PUBLICATION_DEADLINE,
        ..durable_push("news", "published", 2, Durable::default())
    };
    let call = cluster.hand_in(1, publication);
    cluster.pass(SECOND / 2);
    let receipt = cluster.receipt(call).clone();
    assert!(
        matches!(logged(&cluster, call), InLog::At(_)),
        "{receipt:?}"
    );
    assert_eq!(receipt.counts, Counts::default());
    cluster.pass(SECOND);
    // It is answered once.
    assert_eq!(*cluster.receipt(call), receipt);
    cluster.read_again();
    cluster.pass(SECOND);
    assert_eq!(
        told(&cluster, slow).last().map(String::as_str),
        Some("record news published")
    );
}

/// Somebody appends a record, and tells nobody.
pub(super) fn append(cluster: &mut Cluster, name: &str, text: &str, id: u128) {
    let operation = LogOperation::Append {
        push: PushId::new(uuid::Uuid::from_u128(id)),
        content: Content::of(&Payload::from(text.to_owned())),
        nonce: Nonce::new(1),
        retention: Retention::default(),
    };
    let channel = topic(name).into();
    let operation = Operation::Log { channel, operation };
    let appended = cluster.directory.execute(cluster.now.mono, &operation);
    assert!(matches!(
        appended,
        Ok(Reply::Log(LogReply::Appended { .. }))
    ));
}

/// Asks an instance about the log of the topic `news`.
fn answer(cluster: &mut Cluster, request: LogRequest) -> Result<LogAnswer, LogRefused> {
    let call = CallId::new(1_000 + cluster.answers.len() as u64);
    let channel = topic("news").into();
    let asked = Event::Log {
        call,
        channel,
        request,
    };
    cluster.event(1, asked);
    match cluster.answers.get(&call) {
        Some(Answer::Log(answer)) => answer.clone(),
        other => panic!("{other:?}"),
    }
}

/// The position of the last record that a terminal was told, and that the words before it fit.
fn last_record(cluster: &Cluster, connection: ConnectionId) -> Position {
    let mut last = None;
    for outgoing in &cluster.received[&connection] {
        match outgoing {
            Outgoing::Record(pushed) => last = pushed.position(),
            Outgoing::Joined { log, .. } => {
                assert!(matches!(log.as_deref(), None | Some(HelloLog::At(_))));
            }
            Outgoing::TopicLog(_, news) => assert!(!matches!(**news, LogNews::Gap(_))),
            Outgoing::Hello { .. }
            | Outgoing::Log(_)
            | Outgoing::Gap(_)
            | Outgoing::Back(_)
            | Outgoing::Pushed(_)
            | Outgoing::Left(_)
            | Outgoing::NotJoined(..)
            | Outgoing::NotWatched(..)
            | Outgoing::Presence(_)
            | Outgoing::Received(_) => {}
        }
    }
    last.expect("a record")
}

/// A token may name more topics than one may join in a second, and an application may join a terminal to as many: it follows
/// the logs of all.
#[test]
fn who_follows_as_a_member_is_never_too_fast() {
    let config = Config {
        topic_joins: 2,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 1);
    let names: Vec<_> = (1..=9).map(|number| format!("room-{number}")).collect();
    let rights = TopicRights {
        joins: names.iter().map(|name| topic(name)).collect(),
        may_join: Vec::new(),
    };
    let handshake = Handshake {
        topics: Some(rights.into()),
        ..Handshake::new(UserId::new("ann").expect("a user"))
    };
    let key = cluster.accept(0, handshake).expect("taken");
    let id = cluster.instances[0].connection_id(key).expect("there");
    cluster.event(0, Event::Opened { connection: key });
    let follow = |name: &str| {
        let follow = TopicFollow {
            topic: topic(name),
            join: TopicJoin::AsMember,
            ask: Follow::default(),
        };
        TopicWish::Follow(follow.into())
    };
    for name in &names {
        wish(&mut cluster, 0, key, follow(name));
    }
    cluster.pass(SECOND);
    for (number, name) in (0..).zip(&names) {
        durable(&mut cluster, 0, name, name, number);
    }
    let received = cluster.received.get(&id).into_iter().flatten();
    let records = received.filter(|outgoing| matches!(outgoing, Outgoing::Record(_)));
    assert_eq!(records.count(), names.len());
    // It makes nobody a member.
    wish(&mut cluster, 0, key, follow("other"));
    let last = cluster.received[&id]
        .last()
        .map(|last| Told(last).to_string());
    assert_eq!(last.as_deref(), Some("not joined other NotAllowed"));
}
