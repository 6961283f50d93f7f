//! A push reaches the terminals that it is for, on whatever instance they are.

use std::thread;

use serde_json::json;
use switchboard_tests::api::{json_post, push};
use switchboard_tests::behaviour::{Behaviour, INSTANCES, PROCESSES};
use switchboard_tests::behaviours;
use switchboard_tests::http::Request;
use switchboard_tests::matrix::Cell;
use switchboard_tests::patience::SILENCE;
use switchboard_tests::terminal::Frame;

pub(crate) const LIST: &[Behaviour] = behaviours![
    (
        INSTANCES,
        a_user_on_three_instances_gets_a_push_from_a_fourth
    ),
    (
        INSTANCES,
        a_push_to_a_user_without_terminals_reaches_nobody_and_says_so
    ),
    (
        INSTANCES,
        a_user_gets_a_push_from_the_instance_that_holds_the_terminal
    ),
    (
        INSTANCES,
        sequential_pushes_arrive_in_order_at_every_terminal
    ),
    (
        INSTANCES,
        pipelined_pushes_arrive_in_order_at_every_terminal
    ),
    (
        INSTANCES,
        concurrent_publishers_on_several_instances_deliver_intact_frames
    ),
    (
        INSTANCES,
        a_binary_body_arrives_byte_for_byte_as_a_binary_frame
    ),
    (INSTANCES, a_text_body_arrives_byte_for_byte_as_a_text_frame),
    (INSTANCES, a_body_of_the_largest_size_arrives),
    (INSTANCES, user_ids_are_opaque),
    (
        INSTANCES,
        a_narrowed_push_reaches_only_the_named_connections
    ),
    (
        INSTANCES,
        a_narrowed_push_does_not_reach_another_users_connection
    ),
    (
        INSTANCES,
        a_push_to_a_list_of_users_reaches_each_of_their_terminals_once
    ),
    (INSTANCES, a_push_to_a_list_of_users_can_be_binary),
    (INSTANCES, a_push_to_a_thousand_users_counts_every_terminal),
    (
        PROCESSES,
        a_broadcast_reaches_everyone_and_counts_by_instance
    ),
    (INSTANCES, a_broadcast_can_be_binary),
    (
        INSTANCES,
        a_receipt_of_many_terminals_is_cut_and_still_counts_them
    ),
];

/// H25, H40, H42: the receipt names each terminal of the user, and only those.
fn a_user_on_three_instances_gets_a_push_from_a_fourth(cell: Cell) {
    let cluster = cell.start(4);
    let mut terminals: Vec<_> = (0..3).map(|i| cluster[i].terminal("ann")).collect();
    let mut other = cluster[0].terminal("bob");

    let receipt = cluster[3].api().push("ann", "hello, ann");

    receipt.expect_written(3);
    let mut expected: Vec<_> = terminals.iter().map(|t| t.uuid).collect();
    expected.sort_unstable();
    assert_eq!(receipt.connections(), expected);
    assert!(
        receipt
            .terminals
            .iter()
            .all(|t| t.user == "ann" && t.outcome == "written")
    );
    for terminal in &mut terminals {
        terminal.expect_text("hello, ann");
        terminal.expect_silence(SILENCE / 3);
    }
    other.expect_silence(SILENCE);
}

/// H42: nobody there is a result, and it is not called a success at some terminal.
fn a_push_to_a_user_without_terminals_reaches_nobody_and_says_so(cell: Cell) {
    let cluster = cell.start(2);

    let receipt = cluster[0].api().push("nobody", "hello?");

    receipt.expect_written(0);
    assert!(receipt.terminals.is_empty());
}

/// A terminal of the instance that publishes is served like any other.
fn a_user_gets_a_push_from_the_instance_that_holds_the_terminal(cell: Cell) {
    let cluster = cell.start(2);
    let mut here = cluster[0].terminal("ann");
    let mut there = cluster[1].terminal("ann");

    cluster[0].api().push("ann", "both").expect_written(2);

    here.expect_text("both");
    there.expect_text("both");
}

/// H50: one publisher's pushes for a user arrive in its order, wherever the terminals are.
fn sequential_pushes_arrive_in_order_at_every_terminal(cell: Cell) {
    const PUSHES: usize = 1000;
    let cluster = cell.start(2);
    let here = cluster[0].terminal("ann").follow();
    let there = cluster[1].terminal("ann").follow();

    let mut publisher = cluster[0].api().publisher();
    for n in 0..PUSHES {
        publisher.push("ann", &n.to_string()).expect_written(2);
    }

    let expected: Vec<_> = (0..PUSHES).map(|n| n.to_string()).collect();
    for terminal in [here, there] {
        terminal.await_frames(PUSHES);
        assert_eq!(terminal.texts(), expected);
    }
}

/// H50: also when the publisher does not wait for the receipts.
fn pipelined_pushes_arrive_in_order_at_every_terminal(cell: Cell) {
    const PUSHES: usize = 1000;
    let cluster = cell.start(3);
    let terminals: Vec<_> = (0..3)
        .map(|i| cluster[i].terminal("ann").follow())
        .collect();

    let mut publisher = cluster[2].api().publisher();
    for batch in 0..PUSHES / 50 {
        for n in batch * 50..(batch + 1) * 50 {
            publisher.send(push("ann", n.to_string()));
        }
        for _ in 0..50 {
            publisher.receipt().expect_written(3);
        }
    }

    let expected: Vec<_> = (0..PUSHES).map(|n| n.to_string()).collect();
    for terminal in terminals {
        terminal.await_frames(PUSHES);
        assert_eq!(terminal.texts(), expected);
    }
}

/// H22, H50: frames of many publishers are never mixed up within each other, none is lost, none
/// comes twice, and each publisher's own order holds.
fn concurrent_publishers_on_several_instances_deliver_intact_frames(cell: Cell) {
    const PUBLISHERS: usize = 6;
    const PUSHES: usize = 100;
    let cluster = cell.start(3);
    let terminals: Vec<_> = (0..3)
        .map(|i| cluster[i].terminal("ann").follow())
        .collect();

    thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let api = cluster[publisher % 3].api();
            scope.spawn(move || {
                let mut connection = api.publisher();
                for n in 0..PUSHES {
                    connection
                        .push("ann", &body(publisher, n))
                        .expect_written(3);
                }
            });
        }
    });

    for terminal in terminals {
        terminal.await_frames(PUBLISHERS * PUSHES);
        let texts = terminal.texts();
        assert_eq!(texts.len(), PUBLISHERS * PUSHES);
        for publisher in 0..PUBLISHERS {
            let prefix = format!("{publisher}/");
            let of_publisher: Vec<_> = texts.iter().filter(|t| t.starts_with(&prefix)).collect();
            let expected: Vec<_> = (0..PUSHES).map(|n| body(publisher, n)).collect();
            assert!(of_publisher.into_iter().eq(expected.iter()));
        }
    }
}

/// H51: a binary body is a binary frame with exactly its bytes, here and on another instance.
fn a_binary_body_arrives_byte_for_byte_as_a_binary_frame(cell: Cell) {
    let cluster = cell.start(2);
    let mut here = cluster[0].terminal("ann");
    let mut there = cluster[1].terminal("ann");
    let body: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();

    let request = push("ann", body.clone()).header("Content-Type", "application/octet-stream");
    cluster[0].api().receipt(request).expect_written(2);

    assert_eq!(here.recv(), Frame::Binary(body.clone()));
    assert_eq!(there.recv(), Frame::Binary(body));
}

/// H51: whatever the text holds, nothing is escaped, trimmed or wrapped on the way.
fn a_text_body_arrives_byte_for_byte_as_a_text_frame(cell: Cell) {
    let cluster = cell.start(2);
    let mut terminal = cluster[1].terminal("ann");
    let lookalike = r#"{"switchboard":{"hello":{"uuid":"no"}}}"#;
    let texts = [
        "",
        " \r\n\t",
        "{\"a\": 1 }",
        "\u{0} \u{1F600} äöü \u{FEFF}",
        "\"\\",
        lookalike,
    ];

    for text in texts {
        let request = push("ann", text).header("Content-Type", "application/json");
        cluster[0].api().receipt(request).expect_written(1);
    }

    for text in texts {
        terminal.expect_text(text);
    }
}

/// The largest body that the limit allows goes through whole.
fn a_body_of_the_largest_size_arrives(cell: Cell) {
    const LARGEST: usize = 1 << 20;
    let cluster = cell.start(2);
    let terminal = cluster[1].terminal("ann").follow();

    cluster[0]
        .api()
        .push("ann", &"x".repeat(LARGEST))
        .expect_written(1);

    terminal.await_frames(1);
    assert_eq!(terminal.texts()[0].len(), LARGEST);
}

/// A user id is opaque: whatever it holds, it is one user, and no other's prefix or pattern.
fn user_ids_are_opaque(cell: Cell) {
    let cluster = cell.start(2);
    let longest = "u".repeat(128);
    let users = [
        "ann",
        "ann/...//bob",
        "a b+c%20d",
        "*",
        "{ann}",
        "ünï",
        "sb:{p0417}u:ann",
        "?#&=",
        &longest,
    ];
    let mut terminals: Vec<_> = users.iter().map(|user| cluster[1].terminal(user)).collect();

    for user in users {
        let receipt = cluster[0].api().push(user, &format!("for {user}"));
        receipt.expect_written(1);
        assert_eq!(receipt.terminals[0].user, user);
    }

    for (user, terminal) in users.iter().zip(&mut terminals) {
        terminal.expect_text(&format!("for {user}"));
        terminal.expect_silence(SILENCE / 10);
    }
}

/// A push that names connections reaches those, and no other of the same user.
fn a_narrowed_push_reaches_only_the_named_connections(cell: Cell) {
    let cluster = cell.start(3);
    let mut named = [cluster[0].terminal("ann"), cluster[1].terminal("ann")];
    let mut spared = [cluster[0].terminal("ann"), cluster[2].terminal("ann")];

    let request = push("ann", "for two")
        .query("connection", &named[0].uuid.to_string())
        .query("connection", &named[1].uuid.to_string());
    let receipt = cluster[2].api().receipt(request);

    receipt.expect_written(2);
    for terminal in &mut named {
        terminal.expect_text("for two");
    }
    for terminal in &mut spared {
        terminal.expect_silence(SILENCE);
    }
}

/// A connection's UUID opens nothing under another user's name.
fn a_narrowed_push_does_not_reach_another_users_connection(cell: Cell) {
    let cluster = cell.start(2);
    let mut bob = cluster[1].terminal("bob");

    let request = push("ann", "secret").query("connection", &bob.uuid.to_string());
    let receipt = cluster[0].api().receipt(request);

    assert_eq!(receipt.written + receipt.queued, 0, "{receipt:?}");
    bob.expect_silence(SILENCE);
}

/// H52: each terminal of each named user once, and no other.
fn a_push_to_a_list_of_users_reaches_each_of_their_terminals_once(cell: Cell) {
    let cluster = cell.start(3);
    let mut named = [
        cluster[0].terminal("ann"),
        cluster[1].terminal("ann"),
        cluster[1].terminal("bob"),
        cluster[2].terminal("cid"),
    ];
    let mut spared = cluster[1].terminal("dan");

    let receipt = cluster[0]
        .api()
        .push_users(&["ann", "bob", "ann", "cid", "nobody"], "all");

    receipt.expect_written(4);
    for terminal in &mut named {
        terminal.expect_text("all");
        assert_eq!(receipt.outcome(terminal.uuid), Some("written"));
        terminal.expect_silence(SILENCE / 4);
    }
    spared.expect_silence(SILENCE);
}

/// Binary goes to a list of users as base64 in JSON, and arrives as bytes.
fn a_push_to_a_list_of_users_can_be_binary(cell: Cell) {
    let cluster = cell.start(2);
    let mut terminal = cluster[1].terminal("ann");

    let body = json!({"users": ["ann"], "base64": "AAEC/w=="});
    cluster[0]
        .api()
        .receipt(json_post("/v1/push", &body))
        .expect_written(1);

    assert_eq!(terminal.recv(), Frame::Binary(vec![0, 1, 2, 255]));
}

/// H52: the counts stay true for an audience of the largest size.
fn a_push_to_a_thousand_users_counts_every_terminal(cell: Cell) {
    const CONNECTED: usize = 60;
    let cluster = cell.start(2);
    let names: Vec<_> = (0..1000).map(|n| format!("user-{n}")).collect();
    let users: Vec<_> = names.iter().map(String::as_str).collect();
    let mut terminals: Vec<_> = users
        .iter()
        .take(CONNECTED)
        .enumerate()
        .map(|(n, user)| cluster[n % 2].terminal(user))
        .collect();

    let receipt = cluster[0].api().push_users(&users, "to a thousand");

    receipt.expect_written(CONNECTED as u64);
    assert_eq!(receipt.terminals.len(), CONNECTED);
    for terminal in &mut terminals {
        terminal.expect_text("to a thousand");
    }
}

/// H41, H52: every terminal of every instance, with the counts of each instance.
fn a_broadcast_reaches_everyone_and_counts_by_instance(cell: Cell) {
    let cluster = cell.start(3);
    let mut terminals: Vec<_> = (0..6)
        .map(|n| cluster[n % 2].terminal(&format!("user-{n}")))
        .collect();

    let receipt = cluster[2].api().broadcast("everyone");

    receipt.expect_written(6);
    assert_eq!(receipt.instances.len(), 3, "{receipt:?}");
    assert!(receipt.instances.iter().all(|i| i.answered));
    let mut counts: Vec<_> = receipt.instances.iter().map(|i| i.written).collect();
    counts.sort_unstable();
    assert_eq!(counts, [0, 3, 3]);
    for terminal in &mut terminals {
        terminal.expect_text("everyone");
    }
}

/// A broadcast may be binary, like any push.
fn a_broadcast_can_be_binary(cell: Cell) {
    let cluster = cell.start(2);
    let mut terminal = cluster[1].terminal("ann");

    let request = Request::new("POST", "/v1/broadcast")
        .header("Content-Type", "application/octet-stream")
        .body([0xFF, 0x00]);
    cluster[0].api().receipt(request).expect_written(1);

    assert_eq!(terminal.recv(), Frame::Binary(vec![0xFF, 0x00]));
}

/// A receipt that would be endless is cut, and its counts stay true.
fn a_receipt_of_many_terminals_is_cut_and_still_counts_them(cell: Cell) {
    let cluster = cell.start_with(2, |s| s.with("receipt_terminals", 3));
    let terminals: Vec<_> = (0..5).map(|n| cluster[n % 2].terminal("ann")).collect();

    let receipt = cluster[0].api().push("ann", "many");

    receipt.expect_written(terminals.len() as u64);
    assert!(receipt.truncated);
    assert_eq!(receipt.terminals.len(), 3);
}

fn body(publisher: usize, n: usize) -> String {
    // Lengths around the limits of the short frame header.
    format!("{publisher}/{n}/{}", "x".repeat(n * 7 % 300))
}
