//! Topics with many members that follow the log, and terminals that follow many logs.

use std::time::Duration;

use super::pair;
use super::topic_beginnings::{executed, happen};
use super::topic_logs::{
    append, ask, connect, durable, durable_push, follower, told, topic, written,
};
use crate::config::Config;
use crate::directory::log::{LogOperation, LogReply};
use crate::directory::{Operation, OperationError, OperationResult, Reply};
use crate::event::{Event, Follow};
use crate::id::{ConnectionId, ConnectionKey};
use crate::message::{Audience, Durable, Push, PushedBy};
use crate::testing::cluster::{Cluster, Server, frame};
use crate::topic::TopicWish;

const SECOND: Duration = Duration::from_secs(1);

/// More than are served at once.
const MANY: usize = 300;

/// So many members of the topic `news` at the first instance that follow its log.
fn many(cluster: &mut Cluster) -> Vec<(ConnectionKey, ConnectionId)> {
    let member = |number| format!("user{number}");
    let members =
        (0..MANY).map(|number| follower(cluster, 0, &member(number), "news", Follow::default()));
    members.collect()
}

/// A walk over them takes longer than records are held back.
fn slow_walks() -> Config {
    Config {
        broadcast_rate: 2_000,
        ..Config::default()
    }
}

/// Records that they were told, in this order.
fn expect_records(cluster: &Cluster, ids: &[(ConnectionKey, ConnectionId)], texts: &[&str]) {
    let expected: Vec<_> = texts
        .iter()
        .map(|text| format!("record news {text}"))
        .collect();
    for (_, id) in ids {
        assert_eq!(told(cluster, *id)[1..], expected);
    }
}

/// A topic with more members than are served at once is walked over, and each follower gets its records in their order, without
/// reading the log for that.
#[test]
fn a_large_topic_is_served_in_steps() {
    let mut cluster = Cluster::new(&slow_walks(), 2);
    let ids = many(&mut cluster);
    let reads = cluster.instances[0].stats().log_reads;
    let calls = [1, 2, 3].map(|number| {
        let text = number.to_string();
        cluster.hand_in(1, durable_push("news", &text, number, Durable::default()))
    });
    let served = |cluster: &Cluster| {
        let served = ids.iter().filter(|(_, id)| told(cluster, *id).len() > 1);
        served.count()
    };
    let mut steps = Vec::new();
    while steps.last() != Some(&MANY) {
        cluster.pass(SECOND / 50);
        steps.push(served(&cluster));
        assert!(steps.len() < 100, "it is never over");
    }
    // None of them serves all.
    steps.dedup();
    assert!(steps.len() >= 3, "{steps:?}");
    cluster.pass(SECOND);
    for call in calls {
        assert_eq!(cluster.receipt(call).counts, written(MANY as u64));
    }
    expect_records(&cluster, &ids, &["1", "2", "3"]);
    assert_eq!(cluster.instances[0].stats().log_reads, reads);
}

/// Those to whom the walk has not come get the record by it, and do not read the log for it all at once.
#[test]
fn a_record_that_is_delivered_again_while_its_walk_goes_on_costs_no_read() {
    let mut cluster = Cluster::new(&slow_walks(), 2);
    let ids = many(&mut cluster);
    let reads = cluster.instances[0].stats().log_reads;
    for instance in [1, 1, 0] {
        cluster.hand_in(instance, durable_push("news", "1", 1, Durable::default()));
        cluster.pass(SECOND / 50);
    }
    assert_ne!(cluster.instances[0].tables().broadcasts, 0);
    cluster.pass(SECOND);
    expect_records(&cluster, &ids, &["1"]);
    assert_eq!(cluster.instances[0].stats().log_reads, reads);
}

/// What a terminal has published stands before what the application pushes then, and goes before it.
#[test]
fn records_keep_their_order_on_a_large_topic_whoever_has_pushed_them() {
    let mut cluster = Cluster::new(&slow_walks(), 2);
    let ids = many(&mut cluster);
    let reads = cluster.instances[0].stats().log_reads;
    // The second waits for the first, so that what does not wait for it would go before it.
    for (number, text) in [(1, "one"), (2, "two")] {
        let published = Push {
            by: PushedBy::Terminal,
            ..durable_push("news", text, number, Durable::default())
        };
        cluster.hand_in(0, published);
    }
    cluster.hand_in(0, durable_push("news", "three", 3, Durable::default()));
    cluster.pass(SECOND * 10);
    expect_records(&cluster, &ids, &["one", "two", "three"]);
    assert_eq!(cluster.instances[0].stats().log_reads, reads);
}

/// Deliveries of several instances come in any order: their walks are in that of the log. Only members that were visited before
/// an earlier record came may have to read.
#[test]
fn records_of_several_publishers_cost_members_of_a_large_topic_hardly_a_read() {
    for seed in 0..8 {
        let mut cluster = Cluster::new(&slow_walks(), 3);
        let ids = many(&mut cluster);
        let reads = cluster.instances[0].stats().log_reads;
        cluster.shuffle = Some(seed);
        for number in 1..=6 {
            let push = durable_push("news", "text", number, Durable::default());
            cluster.hand_in(1 + number as usize % 2, push);
        }
        cluster.pass(SECOND * 10);
        expect_records(&cluster, &ids, &["text"; 6]);
        let reads = cluster.instances[0].stats().log_reads - reads;
        assert!(reads < MANY as u64 / 20, "seed {seed}: {reads} reads");
    }
}

/// Of a record that came before its predecessor only those read the log to whom it came.
#[test]
fn only_those_who_were_visited_read_what_they_may_lack() {
    let mut cluster = Cluster::new(&slow_walks(), 2);
    let ids = many(&mut cluster);
    let before = cluster.instances[0].stats().log_reads;
    append(&mut cluster, "news", "lost", 7);
    cluster.hand_in(1, durable_push("news", "next", 1, Durable::default()));
    // Those visited by then give up what they hold; the walk is half way.
    cluster.pass(SECOND / 15);
    let reads = cluster.instances[0].stats().log_reads - before;
    assert!((1..MANY as u64).contains(&reads), "{reads} reads");
    cluster.pass(SECOND * 10);
    expect_records(&cluster, &ids, &["lost", "next"]);
    let reads = cluster.instances[0].stats().log_reads - before;
    assert!(reads <= MANY as u64, "{reads} reads");
}

/// All members of a large topic go at once, while their logs are read or wait for that.
#[test]
fn nothing_is_left_of_many_members_that_go_while_they_wait_for_the_log() {
    let mut cluster = pair();
    let ids = many(&mut cluster);
    durable(&mut cluster, 1, "news", "one", 1);
    cluster.event(0, Event::DirectoryDown);
    for (key, _) in &ids {
        ask(&mut cluster, 0, *key, "news", Follow::default());
    }
    assert_eq!(cluster.instances[0].tables().reads, MANY);
    for (key, _) in &ids[1..] {
        cluster.disconnect(0, *key);
    }
    assert_eq!(cluster.instances[0].tables().reads, 1);
    assert_eq!(cluster.instances[0].tables().followers, 1);
    cluster.event(0, Event::DirectoryUp);
    cluster.pass(SECOND);
    durable(&mut cluster, 1, "news", "two", 2);
    let last = told(&cluster, ids[0].1);
    assert_eq!(last.last().map(String::as_str), Some("record news two"));
}

/// A terminal that is slow and follows many logs has them read one after the other, and each has its turn.
#[test]
fn a_slow_terminal_has_one_of_its_logs_read_at_a_time() {
    const LOGS: usize = 40;
    let config = Config {
        queue_frames: 4,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 2);
    let (key, id) = connect(&mut cluster, 0, "ann");
    let name = |number: usize| format!("t{number}");
    for number in 0..LOGS {
        ask(&mut cluster, 0, key, &name(number), Follow::default());
    }
    cluster.pass(SECOND);
    cluster.stalled.insert(id);
    for round in 0..3 {
        for number in 0..LOGS {
            let text = round.to_string();
            let push = durable_push(
                &name(number),
                &text,
                (round * LOGS + number + 1) as u128,
                Durable::default(),
            );
            cluster.hand_in(1, push);
        }
        cluster.pass(SECOND);
    }
    let reads = cluster.instances[0].stats().log_reads;
    cluster.read_again();
    cluster.pass(SECOND);
    let words = told(&cluster, id);
    let of_each = (0..LOGS).map(|number| {
        let begin = format!("record {} ", name(number));
        let texts = words.iter().filter_map(|word| word.strip_prefix(&begin));
        texts.collect::<Vec<_>>()
    });
    for texts in of_each {
        assert_eq!(texts, ["0", "1", "2"]);
    }
    // Each read brings something, or finds that there is no more.
    let reads = cluster.instances[0].stats().log_reads - reads;
    assert!(reads <= (LOGS * 4) as u64, "{reads} reads");
}

/// A log that its terminal leaves while it has the turn gives it to the next one.
#[test]
fn the_turn_of_a_log_that_is_left_is_the_next_ones() {
    let config = Config {
        queue_frames: 2,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 2);
    let (key, id) = connect(&mut cluster, 0, "ann");
    for name in ["a", "b", "c"] {
        ask(&mut cluster, 0, key, name, Follow::default());
    }
    cluster.pass(SECOND);
    cluster.stalled.insert(id);
    for (number, name) in [(1, "a"), (2, "b"), (3, "c"), (4, "a"), (5, "b"), (6, "c")] {
        durable(&mut cluster, 1, name, "text", number);
    }
    cluster.event(0, Event::DirectoryDown);
    cluster.read_again();
    // Whichever has it waits for the link.
    assert_eq!(cluster.instances[0].tables().reads, 1);
    for name in ["a", "b"] {
        let wish = TopicWish::Leave(topic(name));
        cluster.event(
            0,
            Event::Topic {
                connection: key,
                wish,
            },
        );
    }
    cluster.event(0, Event::DirectoryUp);
    cluster.pass(SECOND);
    let words = told(&cluster, id);
    assert_eq!(
        words.iter().filter(|word| *word == "record c text").count(),
        2,
        "{words:?}"
    );
}

fn has_no_head(operation: &Operation) -> Option<OperationResult> {
    let is_head = matches!(
        operation,
        Operation::Log {
            operation: LogOperation::Head,
            ..
        }
    );
    is_head.then(|| Err(OperationError::Refused("busy".to_owned())))
}

/// A head that is compared because members may have missed something is asked for until it is told.
#[test]
fn the_head_of_a_log_in_doubt_is_asked_for_until_it_is_told() {
    let mut cluster = pair();
    let ids = many(&mut cluster);
    append(&mut cluster, "news", "one", 1);
    cluster.refuse(has_no_head, [0]);
    let at = cluster.now;
    cluster.instances[0].lose_lease(at);
    cluster.pass(SECOND * 5);
    assert_eq!(told(&cluster, ids[0].1).len(), 1);
    cluster.refuses = None;
    // Long before its turn comes among all logs.
    cluster.pass(SECOND * 3);
    expect_records(&cluster, &ids, &["one"]);
}

/// However often there is reason for doubt meanwhile, each log has one question ahead, and none when nobody follows it.
#[test]
fn doubts_about_a_log_that_cannot_be_read_do_not_add_up() {
    let mut cluster = pair();
    let ids = many(&mut cluster);
    cluster.refuse(has_no_head, [0]);
    for _ in 0..10 {
        let at = cluster.now;
        cluster.instances[0].lose_lease(at);
        cluster.pass(SECOND);
        let reads = cluster.instances[0].tables().reads;
        assert!(reads <= 1, "{reads}");
    }
    for (key, _) in ids {
        cluster.disconnect(0, key);
    }
    cluster.pass(SECOND);
    assert_eq!(cluster.instances[0].tables().reads, 0);
}

/// Members that follow the log get a record whatever walks there are: it is not lost on them.
#[test]
fn members_that_follow_are_not_said_to_fail_where_no_walk_has_room() {
    let config = Config {
        broadcasts: 1,
        broadcast_rate: 200,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 2);
    let ids = many(&mut cluster);
    let before = Push {
        deadline: SECOND,
        ..frame(Audience::Everyone, "before", 1)
    };
    cluster.hand_in(0, before);
    cluster.pass(SECOND / 10);
    let call = cluster.hand_in(1, durable_push("news", "one", 2, Durable::default()));
    cluster.pass(SECOND * 20);
    let counts = cluster.receipt(call).counts;
    assert_eq!(
        (counts.kept, counts.failed()),
        (MANY as u64, 0),
        "{counts:?}"
    );
    for (_, id) in &ids {
        assert!(told(&cluster, *id).contains(&"record news one".to_owned()));
    }
}

/// A log of a topic to which nobody has written is not kept for long: terminals choose the names of topics.
#[test]
fn the_log_of_a_topic_without_records_ends_soon_unless_it_is_followed() {
    let mut cluster = pair();
    let (ann, id) = follower(&mut cluster, 0, "ann", "news", Follow::default());
    let (bob, _) = follower(&mut cluster, 0, "bob", "other", Follow::default());
    cluster.disconnect(0, bob);
    let head = |cluster: &Cluster, name: &str| {
        let operation = Operation::Log {
            channel: topic(name).into(),
            operation: LogOperation::Head,
        };
        let mut directory = cluster.directory.clone();
        match directory.execute(cluster.now.mono, &operation) {
            Ok(Reply::Log(LogReply::Head(head))) => head,
            other => panic!("{other:?}"),
        }
    };
    let begun = head(&cluster, "news");
    assert!(begun.is_some() && head(&cluster, "other").is_some());
    for _ in 0..40 {
        cluster.pass(SECOND * 60);
    }
    assert_eq!(head(&cluster, "other"), None);
    assert_eq!(head(&cluster, "news"), begun);
    durable(&mut cluster, 1, "news", "one", 1);
    assert_eq!(told(&cluster, id), ["joined news Anew", "record news one"]);
    cluster.disconnect(0, ann);
    cluster.pass(SECOND);
    assert!(cluster.instances[0].is_at_rest());
}

/// The order in which one publisher pushes to a topic is kept at members that do not follow: a record goes before those
/// that stand behind it in the log, but not before what its own publisher has sent before it.
#[test]
fn a_record_goes_before_no_plain_push_that_was_sent_before_it() {
    let mut cluster = Cluster::new(&slow_walks(), 3);
    let members: Vec<_> = (0..MANY)
        .map(|number| {
            let (key, id) = connect(&mut cluster, 0, &format!("user{number}"));
            let wish = TopicWish::Join(topic("news"));
            let connection = key;
            cluster.event(0, Event::Topic { connection, wish });
            id
        })
        .collect();
    cluster.pass(SECOND);
    // What the second publisher has asked is executed, and answered later.
    cluster.server = Server::Waits;
    let plain = Audience::Topics {
        topics: vec![topic("news")],
        except: None,
    };
    cluster.push(1, plain, "plain", 1);
    cluster.call_push(1, durable_push("news", "first", 2, Durable::default()));
    let answers = executed(&mut cluster, 1);
    cluster.server = Server::Answers;
    cluster.call_push(2, durable_push("news", "second", 3, Durable::default()));
    happen(&mut cluster, 1, answers);
    cluster.pass(SECOND * 5);
    for id in members {
        let texts = cluster.texts(id);
        let place = |of| texts.iter().position(|text| text == of);
        assert_eq!(texts.len(), 3);
        assert!(place("plain") < place("first"), "{texts:?}");
    }
}
