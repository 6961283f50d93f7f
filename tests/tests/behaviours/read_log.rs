//! Logs without a terminal: read and deleted through the API.

use serde_json::{Value, json};
use switchboard_tests::api::{json_post, push};
use switchboard_tests::behaviour::{Behaviour, INSTANCES, ONE, PROCESSES};
use switchboard_tests::behaviours;
use switchboard_tests::cluster::Cluster;
use switchboard_tests::http::Request;
use switchboard_tests::matrix::Cell;
use switchboard_tests::patience::eventually;

pub(crate) const LIST: &[Behaviour] = behaviours![
    (INSTANCES, a_log_is_read_page_by_page_at_any_server),
    (INSTANCES, texts_and_bytes_are_told_apart_in_a_log),
    (
        INSTANCES,
        a_position_that_a_log_does_not_know_is_told_with_where_to_go_on
    ),
    (INSTANCES, a_log_that_is_deleted_is_a_gap_for_its_followers),
    (ONE, a_log_is_of_a_user_in_the_body_as_well),
    (ONE, what_cannot_be_read_of_a_log_is_refused),
    (
        PROCESSES.single_redis(),
        a_log_without_redis_is_away_and_comes_back
    ),
];

fn durable(cluster: &Cluster, via: usize, user: &str, text: &str) -> String {
    let request = push(user, text).query("durable", "true");
    let receipt = cluster[via].api().receipt(request);
    receipt.logged.as_str().expect("a position").to_owned()
}

fn a_log_is_read_page_by_page_at_any_server(cell: Cell) {
    let cluster = cell.start(2);
    let [one, other] = [0, 1].map(|at| cluster[at].api());
    let empty = one.log("ann", "");
    assert_eq!((empty.records.len(), empty.more), (0, false));
    assert_eq!(empty.after.as_ref(), Some(&empty.head));

    let positions: Vec<_> = (0..5)
        .map(|number| durable(&cluster, number % 2, "ann", &number.to_string()))
        .collect();
    let mut after = empty.head;
    for (api, texts, more) in [
        (&other, &["0", "1"][..], true),
        (&one, &["2", "3"], true),
        (&other, &["4"], false),
    ] {
        let page = api.log("ann", &format!("after={after}&limit=2"));
        assert_eq!((page.texts(), page.more), (texts.to_vec(), more));
        assert_eq!(page.after.as_ref(), Some(&after));
        assert_eq!(&page.head, &positions[4]);
        after.clone_from(&page.records.last().expect("a record").position);
    }
    assert_eq!(after, positions[4]);
    assert_eq!(one.log("ann", "").texts(), ["0", "1", "2", "3", "4"]);
    assert_eq!(one.log("ann", "history=2").texts(), ["3", "4"]);
    assert!(one.log("bob", "").records.is_empty());
}

fn texts_and_bytes_are_told_apart_in_a_log(cell: Cell) {
    let cluster = cell.start(1);
    let api = cluster[0].api();
    let id = "0b0e9f32-5f0e-4a53-8b0a-6e1c1f6f7a11";
    let text = push("ann", "h\"\n\u{fc}").query("durable", "true");
    api.receipt(text.header("Idempotency-Key", id));
    let binary = push("ann", [0, 255]).query("durable", "true");
    api.receipt(binary.header("Content-Type", "application/octet-stream"));

    let [text, binary] = &api.log("ann", "").records[..] else {
        panic!("two records");
    };
    assert_eq!(text.push.to_string(), id);
    assert_eq!(
        (text.text.as_deref(), text.base64.as_deref()),
        (Some("h\"\n\u{fc}"), None)
    );
    assert_eq!(
        (binary.text.as_deref(), binary.base64.as_deref()),
        (None, Some("AP8="))
    );
}

/// Nothing is left out silently.
fn a_position_that_a_log_does_not_know_is_told_with_where_to_go_on(cell: Cell) {
    let cluster = cell.start(2);
    durable(&cluster, 0, "ann", "kept");
    let api = cluster[1].api();
    let page = api.log("ann", "after=00000000000001ffffffff");
    assert_eq!(
        (page.after, page.reason.as_deref(), page.records.len()),
        (None, Some("expired"), 0)
    );
    let page = api.log("ann", &format!("after={}", page.base));
    assert_eq!(page.texts(), ["kept"]);
}

fn a_log_that_is_deleted_is_a_gap_for_its_followers(cell: Cell) {
    let cluster = cell.start(2);
    let mut ann = cluster[0].connect().user("ann").query("log", "1").open();
    durable(&cluster, 1, "ann", "before");
    let held = ann.expect_record("before");

    let deleted = (cluster[1].api()).send(Request::new("DELETE", "/v1/users/ann/log"));
    assert_eq!(
        (deleted.status, deleted.json()),
        (200, json!({"records": 1}))
    );
    let page = cluster[0].api().log("ann", &format!("after={held}"));
    assert_eq!(
        (page.after, page.reason.as_deref()),
        (None, Some("expired"))
    );

    durable(&cluster, 1, "ann", "after");
    ann.expect_word("gap");
    ann.expect_record("after");
}

/// H07: what stands in a body nothing on the way takes for a part of a path.
fn a_log_is_of_a_user_in_the_body_as_well(cell: Cell) {
    let cluster = cell.start(1);
    let api = cluster[0].api();
    durable(&cluster, 0, "a/b", "x");
    let named = |target: &str| api.send(json_post(target, &json!({"user": "a/b"}))).json();
    let texts = |page: Value| page["records"][0]["text"].clone();
    assert_eq!(texts(named("/v1/log?limit=1")), "x");
    assert_eq!(named("/v1/delete-log"), json!({"records": 1}));
    assert_eq!(texts(named("/v1/log")), Value::Null);
}

/// H45: bad input is refused, with what to do.
fn what_cannot_be_read_of_a_log_is_refused(cell: Cell) {
    let cluster = cell.start(1);
    let api = cluster[0].api();
    for (query, code) in [
        ("after=7", "bad_position"),
        ("limit=0", "bad_limit"),
        ("limit=1001", "bad_limit"),
        ("history=some", "bad_limit"),
        ("before=7", "bad_query"),
    ] {
        let answer = api.get(&format!("/v1/users/ann/log?{query}"));
        answer.expect_error(400, code);
    }
    let answer = api.send(Request::new("DELETE", "/v1/users/ann/log?limit=1"));
    answer.expect_error(400, "bad_query");
    api.get("/v1/users/../log").expect_error(400, "bad_user");
}

/// H41: what Redis has is not there without it, which is said.
fn a_log_without_redis_is_away_and_comes_back(cell: Cell) {
    let mut cluster = cell.start(1);
    cluster.redis_mut().stop();
    eventually("the server knows it", || {
        let answer = cluster[0].api().get("/v1/users/ann/log");
        assert_eq!(answer.status, 503, "{}", answer.text());
        answer.json()["error"]["code"] == "directory_away"
    });
    cluster.redis_mut().start_again();
    eventually("the log is read", || {
        cluster[0].api().get("/v1/users/ann/log").status == 200
    });
}
