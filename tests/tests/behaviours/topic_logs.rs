//! Durable pushes to topics: members that follow the log, over reconnects to any server and the end of one.

use serde_json::{Value, json};
use switchboard_tests::api::{Receipt, json_post, push};
use switchboard_tests::behaviour::{Behaviour, INSTANCES, ONE, PROCESSES};
use switchboard_tests::behaviours;
use switchboard_tests::cluster::Cluster;
use switchboard_tests::http::Request;
use switchboard_tests::matrix::Cell;
use switchboard_tests::patience::SILENCE;
use switchboard_tests::terminal::Terminal;

pub(crate) const LIST: &[Behaviour] = behaviours![
    (
        INSTANCES,
        members_follow_the_log_of_a_topic_and_others_get_plain_pushes
    ),
    (
        INSTANCES,
        a_member_that_returns_anywhere_misses_nothing_of_its_topic
    ),
    (
        INSTANCES,
        a_push_to_a_topic_waits_for_those_who_follow_to_confirm_it
    ),
    (INSTANCES, the_log_of_a_topic_is_read_and_deleted),
    (
        INSTANCES,
        a_durable_push_to_several_topics_is_a_record_of_each
    ),
    (ONE, a_user_and_a_topic_of_one_name_have_two_logs),
    (
        PROCESSES.in_redis(),
        members_of_a_killed_server_go_on_at_another_one
    ),
];

fn durable(cluster: &Cluster, via: usize, topic: &str, text: &str) -> Receipt {
    let path = format!("/v1/topics/{topic}/push");
    let request = Request::new("POST", path).body(text);
    (cluster[via].api()).receipt(request.query("durable", "true"))
}

/// A terminal that joins a topic with its log, and where it stands.
fn follow(
    cluster: &Cluster,
    at: usize,
    user: &str,
    topic: &str,
    after: Option<&str>,
) -> (Terminal, Value) {
    let mut terminal = cluster[at].terminal(user);
    terminal.follow_topic(topic, after);
    let told = terminal.expect_topic("joined", topic);
    assert_eq!(told["degraded"], Value::Null, "{told}");
    assert!(told["log"]["position"].is_string(), "{told}");
    (terminal, told["log"].clone())
}

fn members_follow_the_log_of_a_topic_and_others_get_plain_pushes(cell: Cell) {
    let cluster = cell.start(3);
    let (mut ann, stands) = follow(&cluster, 0, "ann", "news", None);
    assert_eq!(stands["resumed"], false);
    let (mut bob, _) = follow(&cluster, 1, "bob", "news", None);
    let mut plain = cluster[2].terminal("eve");
    plain.join("news");
    assert_eq!(plain.expect_topic("joined", "news")["log"], Value::Null);
    for number in 0..6 {
        let text = number.to_string();
        let receipt = durable(&cluster, number % 3, "news", &text);
        assert_eq!((receipt.written, receipt.failed), (3, 0), "{receipt:?}");
        assert!(!receipt.degraded && receipt.terminals.is_empty());
        for member in [&mut ann, &mut bob] {
            let position = member.expect_record_of("news", &text);
            assert_eq!(receipt.logged, position);
        }
        plain.expect_text(&text);
    }
    cluster[1].api().push_topic("news", "plain");
    for member in [&mut ann, &mut bob, &mut plain] {
        member.expect_text("plain");
    }
    // A member begins to follow.
    plain.follow_topic("news", None);
    assert_eq!(plain.expect_topic("joined", "news")["log"], Value::Null);
    assert_eq!(plain.expect_topic("log", "news")["resumed"], false);
    durable(&cluster, 0, "news", "for all");
    for member in [&mut ann, &mut bob, &mut plain] {
        member.expect_record_of("news", "for all");
    }
    ann.leave("news");
    ann.expect_topic("left", "news");
    durable(&cluster, 1, "news", "for two").expect_written(2);
}

fn a_member_that_returns_anywhere_misses_nothing_of_its_topic(cell: Cell) {
    let cluster = cell.start(2);
    let (mut ann, _) = follow(&cluster, 0, "ann", "news", None);
    durable(&cluster, 1, "news", "one");
    let held = ann.expect_record_of("news", "one");
    ann.close();
    durable(&cluster, 0, "news", "two");
    durable(&cluster, 1, "news", "three");
    let (mut ann, stands) = follow(&cluster, 1, "ann", "news", Some(&held));
    assert_eq!(stands, json!({"position": held, "resumed": true}));
    for text in ["two", "three"] {
        ann.expect_record_of("news", text);
    }
    durable(&cluster, 0, "news", "four");
    ann.expect_record_of("news", "four");

    // A position that nobody was ever told is a gap.
    let strange = "00000000000001ffffffff";
    let (mut bob, stands) = follow(&cluster, 0, "bob", "news", Some(strange));
    assert_eq!(stands["reason"], "expired");
    for text in ["one", "two", "three", "four"] {
        bob.expect_record_of("news", text);
    }
}

fn a_push_to_a_topic_waits_for_those_who_follow_to_confirm_it(cell: Cell) {
    let cluster = cell.start(2);
    let (mut ann, _) = follow(&cluster, 0, "ann", "news", None);
    let mut plain = cluster[1].terminal("eve");
    plain.join("news");
    plain.expect_topic("joined", "news");
    let request = Request::new("POST", "/v1/topics/news/push").body("confirm this");
    let request = request.query("durable", "true").query("until", "acked");
    let mut asked = cluster[1].api().publisher();
    asked.send(request.query("deadline", "20s"));
    let position = ann.expect_record_of("news", "confirm this");
    let ack = json!({"switchboard": {"ack": {"topic": "news", "position": position}}});
    ann.send_text(&ack.to_string());
    let receipt = asked.receipt();
    assert_eq!((receipt.acked, receipt.written), (1, 1), "{receipt:?}");
    assert_eq!(receipt.logged, position);
}

fn the_log_of_a_topic_is_read_and_deleted(cell: Cell) {
    let cluster = cell.start(2);
    let state = |api: usize| cluster[api].api().topic("news");
    assert_eq!(state(0).head, None);
    let (mut ann, _) = follow(&cluster, 0, "ann", "news", None);
    for text in ["one", "two"] {
        durable(&cluster, 0, "news", text);
        ann.expect_record_of("news", text);
    }
    assert_eq!(cluster[1].api().topic_log("news").texts(), ["one", "two"]);
    let found = state(1);
    assert_eq!((found.degraded, found.count), (false, 1), "{found:?}");
    let [member] = &found.instances[..] else {
        panic!("one has a member: {found:?}");
    };
    assert!(member.answered && member.count == 1, "{found:?}");
    let head = cluster[0].api().topic_log("news").head;
    assert_eq!(found.head, Some(head));
    let named = json_post("/v1/log", &json!({"topic": "news"}));
    let page = cluster[0].api().send(named);
    assert_eq!(page.json()["records"][1]["text"], "two");
    let deleted = Request::new("DELETE", "/v1/topics/news/log");
    assert_eq!(cluster[1].api().send(deleted).status, 200);
    assert!(cluster[0].api().topic_log("news").records.is_empty());
    // What it held is in the log no more: it is told so with what comes next.
    durable(&cluster, 1, "news", "three");
    ann.expect_topic("gap", "news");
    ann.expect_record_of("news", "three");
}

fn a_durable_push_to_several_topics_is_a_record_of_each(cell: Cell) {
    let cluster = cell.start(2);
    let (mut ann, _) = follow(&cluster, 0, "ann", "news", None);
    ann.follow_topic("sport", None);
    ann.expect_topic("joined", "sport");
    let mut plain = cluster[1].terminal("eve");
    for topic in ["news", "sport"] {
        plain.join(topic);
        plain.expect_topic("joined", topic);
    }
    let push = || {
        let body = json!({"topics": ["sport", "news"], "text": "Goal"});
        let id = "5a1c1f6f-0b0e-4f32-8b0a-6e1c9e327a11";
        let request = json_post("/v1/push", &body).query("durable", "true");
        let answer = (cluster[1].api()).send(request.header("Idempotency-Key", id));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let receipt = push();
    let logged = &receipt["logged"];
    for topic in ["news", "sport"] {
        assert_eq!(logged[topic], ann.expect_record_of(topic, "Goal").as_str());
        assert_eq!(cluster[0].api().topic_log(topic).texts(), ["Goal"]);
    }
    assert_eq!(receipt["degraded"], false);
    plain.expect_text("Goal");
    // A repeat is told the same, and reaches nobody.
    assert_eq!(push()["logged"], *logged);
    plain.expect_silence(SILENCE);
    ann.expect_silence(SILENCE);
}

fn a_user_and_a_topic_of_one_name_have_two_logs(cell: Cell) {
    let cluster = cell.start(1);
    let mut ann = cluster[0].connect().user("ann").query("log", "1").open();
    ann.follow_topic("ann", None);
    ann.expect_topic("joined", "ann");
    durable(&cluster, 0, "ann", "to the topic");
    ann.expect_record_of("ann", "to the topic");
    let own = push("ann", "to the user");
    cluster[0].api().receipt(own.query("durable", "true"));
    ann.expect_record("to the user");
    assert_eq!(cluster[0].api().log("ann", "").texts(), ["to the user"]);
    assert_eq!(cluster[0].api().topic_log("ann").texts(), ["to the topic"]);
}

fn members_of_a_killed_server_go_on_at_another_one(cell: Cell) {
    let mut cluster = cell.start(2);
    let (mut ann, _) = follow(&cluster, 0, "ann", "news", None);
    durable(&cluster, 1, "news", "before");
    let held = ann.expect_record_of("news", "before");
    cluster[0].sigkill();
    ann.ended();
    let request = Request::new("POST", "/v1/topics/news/push").body("while it is dead");
    let request = request.query("durable", "true").query("deadline", "500ms");
    let receipt = cluster[1].api().receipt(request);
    assert!(receipt.logged.is_string(), "{receipt:?}");

    let (mut ann, stands) = follow(&cluster, 1, "ann", "news", Some(&held));
    assert_eq!(stands["resumed"], true);
    ann.expect_record_of("news", "while it is dead");
    durable(&cluster, 1, "news", "after");
    ann.expect_record_of("news", "after");
}
