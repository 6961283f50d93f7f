//! Clients that have ended their side of a connection and still read: what they asked for in full is
//! answered, at every listener.

use std::net::SocketAddr;

use switchboard_tests::api::{json_post, push};
use switchboard_tests::behaviour::{Behaviour, INSTANCES, ONE};
use switchboard_tests::behaviours;
use switchboard_tests::http::Request;
use switchboard_tests::matrix::Cell;
use switchboard_tests::raw::{exchange_half_closed, status};

pub(crate) const LIST: &[Behaviour] = behaviours![
    (
        INSTANCES,
        a_push_over_a_link_is_answered_although_its_client_sends_no_more
    ),
    (
        ONE,
        what_needs_no_other_instance_is_answered_although_its_client_sends_no_more
    ),
    (
        ONE,
        a_handshake_is_answered_although_its_client_sends_no_more
    ),
    (
        ONE,
        requests_behind_each_other_are_answered_although_no_more_come
    ),
    (ONE, a_body_that_breaks_off_is_told_so),
];

/// How often a request is sent whose answer may come before the end of the client's side.
const TIMES: usize = 20;

/// H25: whoever hands in a push learns what became of it.
fn a_push_over_a_link_is_answered_although_its_client_sends_no_more(cell: Cell) {
    let cluster = cell.start(2);
    let api = cluster[0].api().address();
    let here = cluster[0].terminal("ann").follow();
    let there = cluster[1].terminal("ann").follow();
    let bodies = [
        push("ann", "to one"),
        json_post(
            "/v1/push",
            &serde_json::json!({"users": ["ann", "bob"], "text": "to several"}),
        ),
        Request::new("POST", "/v1/broadcast").body("to everyone"),
    ];
    for request in bodies {
        let answer = ask(api, &request);
        assert_eq!(status(&answer), Some(200), "{request:?}");
        let text = String::from_utf8_lossy(&answer);
        assert!(text.contains(r#""written":2"#), "{text}");
    }
    here.await_frames(3);
    there.await_frames(3);

    let kick = Request::new("DELETE", "/v1/users/ann/connections");
    assert_eq!(status(&ask(api, &kick)), Some(200));
    for terminal in [here, there] {
        assert_eq!(terminal.await_ending().code(), Some(4001));
    }
}

/// Answers and errors of the API.
fn what_needs_no_other_instance_is_answered_although_its_client_sends_no_more(cell: Cell) {
    let cluster = cell.start(1);
    let api = cluster[0].api().address();
    let cases = [
        (200, Request::new("GET", "/health/live")),
        (200, Request::new("GET", "/health/ready")),
        (200, Request::new("GET", "/metrics")),
        (200, Request::new("GET", "/")),
        (200, Request::new("GET", "/v1/instances")),
        (200, Request::new("GET", "/v1/users/ann/connections")),
        (200, push("nobody", "x")),
        (404, Request::new("GET", "/nothing")),
        (405, Request::new("PUT", "/v1/broadcast").body("x")),
        (400, push("ann", vec![0xFF])),
    ];
    for (expected, request) in cases {
        for _ in 0..TIMES {
            let answer = ask(api, &request);
            assert_eq!(status(&answer), Some(expected), "{request:?}");
        }
    }
}

/// Terminals and peers: what is refused is told, and what is taken is switched.
fn a_handshake_is_answered_although_its_client_sends_no_more(cell: Cell) {
    let cluster = cell.start(1);
    let (terminals, peers) = (cluster[0].terminals(), cluster[0].peer());
    let instance = cluster[0].api().instances()[0].instance.clone();
    let cases = [
        (terminals, 101, upgrade("/connect?user=ann")),
        (terminals, 400, upgrade("/connect?user=")),
        (terminals, 400, Request::new("GET", "/connect?user=ann")),
        (
            terminals,
            403,
            upgrade("/connect?user=ann").header("Origin", "https://evil.example"),
        ),
        (terminals, 404, Request::new("GET", "/")),
        (
            terminals,
            405,
            Request::new("POST", "/connect?user=ann").body("x"),
        ),
        (peers, 101, upgrade(&format!("/link/{instance}"))),
        (peers, 400, Request::new("GET", format!("/link/{instance}"))),
        (peers, 404, Request::new("GET", "/")),
        (peers, 421, upgrade("/link/0000000000000001")),
    ];
    for (address, expected, request) in cases {
        for _ in 0..TIMES {
            let answer = ask(address, &request);
            assert_eq!(status(&answer), Some(expected), "{request:?}");
        }
    }
}

/// Pipelining: each of them, in their order.
fn requests_behind_each_other_are_answered_although_no_more_come(cell: Cell) {
    let cluster = cell.start(1);
    let api = cluster[0].api().address();
    let mut bytes = Vec::new();
    for request in [
        push("nobody", "x"),
        Request::new("GET", "/nothing"),
        Request::new("GET", "/health/live"),
    ] {
        bytes.extend(request.bytes(api));
    }
    let answer = exchange_half_closed(api, &bytes).expect("the connection ends");
    let text = String::from_utf8_lossy(&answer);
    let statuses: Vec<_> = text
        .match_indices("HTTP/1.1 ")
        .map(|(at, found)| &text[at + found.len()..][..3])
        .collect();
    assert_eq!(statuses, ["200", "404", "200"], "{text}");
}

/// H41: it is no push, and the client learns it.
fn a_body_that_breaks_off_is_told_so(cell: Cell) {
    let cluster = cell.start(1);
    let terminal = cluster[0].terminal("ann").follow();
    let request = push("ann", "half").header("Content-Length", "1000");
    let answer = ask(cluster[0].api().address(), &request);
    assert_eq!(status(&answer), Some(400));
    let text = String::from_utf8_lossy(&answer);
    assert!(text.contains(r#""code":"bad_body""#), "{text}");
    cluster[0].api().push("ann", "whole").expect_written(1);
    terminal.await_frames(1);
    assert_eq!(terminal.texts(), ["whole"]);
}

fn ask(address: SocketAddr, request: &Request) -> Vec<u8> {
    exchange_half_closed(address, &request.bytes(address)).expect("the connection ends")
}

fn upgrade(target: &str) -> Request {
    Request::new("GET", target)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}
