//! Topics with many members that follow the log, and terminals that follow many logs.

use std::time::Duration;

use super::pair;
use super::topic_logs::{ask, connect, durable, durable_push, follower, told, topic};
use crate::config::Config;
use crate::event::{Event, Follow};
use crate::id::{ConnectionId, ConnectionKey};
use crate::message::{Durable, Push, PushedBy};
use crate::testing::cluster::Cluster;
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

/// What a terminal has published stands before what the application pushes then, and goes before it.
#[test]
fn records_keep_their_order_on_a_large_topic_whoever_has_pushed_them() {
    let mut cluster = pair();
    let ids = many(&mut cluster);
    let reads = cluster.instances[0].stats().log_reads;
    let published = Push {
        by: PushedBy::Terminal,
        ..durable_push("news", "one", 1, Durable::default())
    };
    cluster.hand_in(0, published);
    cluster.hand_in(0, durable_push("news", "two", 2, Durable::default()));
    cluster.pass(SECOND * 10);
    expect_records(&cluster, &ids, &["one", "two"]);
    assert_eq!(cluster.instances[0].stats().log_reads, reads);
}

/// Deliveries of several instances come in any order: their walks are in that of the log.
#[test]
fn records_of_several_publishers_cost_members_of_a_large_topic_no_reads() {
    for seed in 0..8 {
        let mut cluster = Cluster::new(&Config::default(), 3);
        let ids = many(&mut cluster);
        let reads = cluster.instances[0].stats().log_reads;
        cluster.shuffle = Some(seed);
        for number in 1..=6 {
            let push = durable_push("news", "text", number, Durable::default());
            cluster.hand_in(1 + number as usize % 2, push);
        }
        cluster.pass(SECOND * 10);
        expect_records(&cluster, &ids, &["text"; 6]);
        assert_eq!(cluster.instances[0].stats().log_reads, reads, "seed {seed}");
    }
}

/// Of a record that came before its predecessor only those read the log to whom it came.
#[test]
fn only_those_who_were_visited_read_what_they_may_lack() {
    let mut cluster = pair();
    let ids = many(&mut cluster);
    let reads = cluster.instances[0].stats().log_reads;
    super::topic_logs::append(&mut cluster, "news", "lost", 7);
    cluster.hand_in(1, durable_push("news", "next", 1, Durable::default()));
    cluster.pass(SECOND * 10);
    expect_records(&cluster, &ids, &["lost", "next"]);
    let reads = cluster.instances[0].stats().log_reads - reads;
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
