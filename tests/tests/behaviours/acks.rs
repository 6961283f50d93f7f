//! Terminals confirm what they were told of their log, and pushes wait for that.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use switchboard_tests::api::{Receipt, push};
use switchboard_tests::behaviour::{Behaviour, INSTANCES, ONE, PROCESSES};
use switchboard_tests::behaviours;
use switchboard_tests::cluster::Cluster;
use switchboard_tests::http::Request;
use switchboard_tests::matrix::Cell;
use switchboard_tests::patience::{SILENCE, eventually};
use switchboard_tests::terminal::Terminal;
use uuid::Uuid;

pub(crate) const LIST: &[Behaviour] = behaviours![
    (
        INSTANCES,
        a_push_waits_until_all_terminals_that_follow_have_confirmed_it
    ),
    (INSTANCES, what_nobody_confirms_is_written_at_the_deadline),
    (
        ONE,
        a_confirmation_is_of_all_that_came_before_on_its_connection_and_of_nothing_else
    ),
    (PROCESSES, the_terminals_of_a_killed_server_confirm_nothing),
    (ONE, a_push_that_is_not_durable_cannot_be_confirmed),
    (
        INSTANCES,
        connections_say_where_they_stand_in_their_log_and_what_they_have_confirmed
    ),
];

fn confirmed_push(user: &str, text: &str) -> Request {
    let request = push(user, text).query("durable", "true");
    request.query("until", "acked")
}

fn follow(cluster: &Cluster, at: usize, user: &str) -> Terminal {
    cluster[at].connect().user(user).query("log", "1").open()
}

fn ack(terminal: &mut Terminal, position: &str) {
    // As Python writes JSON.
    terminal.send_text(&format!(r#"{{"switchboard": {{"ack": "{position}"}}}}"#));
}

/// Hands in a push, and has this done before its receipt is there.
fn receipt_of(cluster: &Cluster, request: Request, meanwhile: impl FnOnce()) -> Receipt {
    thread::scope(|scope| {
        let api = cluster[0].api();
        let receipt = scope.spawn(move || api.receipt(request));
        meanwhile();
        receipt.join().expect("it is answered")
    })
}

/// The last confirmation ends the waiting, and terminals that do not follow need none.
fn a_push_waits_until_all_terminals_that_follow_have_confirmed_it(cell: Cell) {
    let cluster = cell.start(2);
    let mut here = follow(&cluster, 0, "ann");
    let mut there = follow(&cluster, 1, "ann");
    let mut plain = cluster[1].terminal("ann");
    // Without the confirmations it would take as long.
    let request = confirmed_push("ann", "read this").query("deadline", "30s");
    let receipt = receipt_of(&cluster, request, || {
        for terminal in [&mut here, &mut there] {
            let position = terminal.expect_record("read this");
            ack(terminal, &position);
        }
    });
    plain.expect_text("read this");
    assert_eq!(receipt.outcome(here.uuid), Some("acked"), "{receipt:?}");
    assert_eq!(receipt.outcome(there.uuid), Some("acked"), "{receipt:?}");
    assert_eq!(receipt.outcome(plain.uuid), Some("written"), "{receipt:?}");
    assert_eq!((receipt.acked, receipt.written), (2, 1), "{receipt:?}");
    assert!(receipt.logged.is_string() && !receipt.degraded);
}

fn what_nobody_confirms_is_written_at_the_deadline(cell: Cell) {
    let cluster = cell.start(2);
    let mut ann = follow(&cluster, 1, "ann");
    let request = confirmed_push("ann", "one").query("deadline", "500ms");
    let asked = Instant::now();
    let receipt = cluster[0].api().receipt(request);
    // One that waits for nothing is there as soon as the frame is written.
    let waited = asked.elapsed() >= Duration::from_millis(500) / 2;
    assert!(waited, "{receipt:?}");
    receipt.expect_written(1);
    ann.expect_record("one");
}

/// What is none of its records, it confirms in vain, and is served on.
fn a_confirmation_is_of_all_that_came_before_on_its_connection_and_of_nothing_else(cell: Cell) {
    let cluster = cell.start(1);
    let api = cluster[0].api();
    let durable = |text: &str| {
        let receipt = api.receipt(push("ann", text).query("durable", "true"));
        receipt.logged.as_str().expect("a position").to_owned()
    };
    let of_another_connection = durable("before");
    let mut ann = follow(&cluster, 0, "ann");
    ack(&mut ann, &of_another_connection);
    ack(&mut ann, "00000000000001ffffffff");
    let [first, last] = ["one", "two"].map(|text| {
        let position = durable(text);
        assert_eq!(position, ann.expect_record(text));
        position
    });
    ack(&mut ann, &last);
    ack(&mut ann, &first);
    eventually("all confirmations are counted", || {
        let [acked, dropped] = ["acked", "acks_dropped"]
            .map(|name| api.metric(&format!("switchboard_log_{name}_total")));
        (acked, dropped) == (2.0, 3.0)
    });
    let repeated = api.receipt(
        confirmed_push("ann", "three")
            .header("idempotency-key", UUID)
            .query("deadline", "100ms"),
    );
    assert_eq!(repeated.written, 1, "{repeated:?}");
    let third = ann.expect_record("three");
    ack(&mut ann, &third);
    // No message, and so no answer.
    ann.expect_silence(SILENCE);
    let again = confirmed_push("ann", "three").header("idempotency-key", UUID);
    let again = api.receipt(again.query("deadline", "30s"));
    assert_eq!(again.outcome(ann.uuid), Some("acked"), "{again:?}");
    ann.expect_silence(SILENCE);
}

const UUID: &str = "0b0e9f32-5f0e-4a53-8b0a-6e1c1f6f7a11";

/// H32: nobody is said to have confirmed who cannot be asked.
fn the_terminals_of_a_killed_server_confirm_nothing(cell: Cell) {
    let mut cluster = cell.start(2);
    let mut ann = follow(&cluster, 1, "ann");
    let uuid = ann.uuid;
    let request = confirmed_push("ann", "one").query("deadline", "2s");
    let receipt = thread::scope(|scope| {
        let api = cluster[0].api();
        let receipt = scope.spawn(move || api.receipt(request));
        ann.expect_record("one");
        cluster[1].sigkill();
        receipt.join().expect("it is answered")
    });
    assert_eq!(receipt.outcome(uuid), Some("unreachable"), "{receipt:?}");
    assert_eq!(receipt.acked, 0);
    assert!(receipt.logged.is_string());
}

/// H45: it is refused, with what to do.
fn a_push_that_is_not_durable_cannot_be_confirmed(cell: Cell) {
    let cluster = cell.start(1);
    let api = cluster[0].api();
    for request in [
        push("ann", "x").query("until", "acked"),
        push("ann", "x")
            .query("durable", "false")
            .query("until", "acked"),
        push("ann", "x")
            .query("durable", "true")
            .query("until", "read"),
    ] {
        api.send(request).expect_error(400, "bad_until");
    }
    let request = push("ann", "x").query("until", "written");
    assert_eq!(api.send(request).status, 200);
}

/// Wherever they are; and one that does not follow says nothing of it.
fn connections_say_where_they_stand_in_their_log_and_what_they_have_confirmed(cell: Cell) {
    let cluster = cell.start(2);
    let mut there = follow(&cluster, 1, "ann");
    let plain = cluster[0].terminal("ann");
    for text in ["one", "two"] {
        let receipt = cluster[0]
            .api()
            .receipt(push("ann", text).query("durable", "true"));
        assert!(receipt.logged.is_string(), "{receipt:?}");
    }
    let first = there.expect_record("one");
    let second = there.expect_record("two");
    ack(&mut there, &first);
    eventually("the confirmation has come", || {
        let list = cluster[0].api().connections_in_log("ann");
        let of = |uuid: Uuid| {
            let all = list["connections"].as_array().expect("a list");
            let mut all = all.iter();
            let one = all.find(|one| one["connection"] == json!(uuid));
            one.map(|one| one["log"].clone())
        };
        list["degraded"] == false
            && of(there.uuid) == Some(json!({"at": second, "sent": 2, "acked": 1}))
            && of(plain.uuid) == Some(Value::Null)
    });
}
