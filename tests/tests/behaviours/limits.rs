//! Every limit of HTTP is the documented one, and whoever goes beyond it is told.

use std::net::SocketAddr;

use switchboard_tests::behaviour::{Behaviour, ONE};
use switchboard_tests::behaviours;
use switchboard_tests::http::{HttpStream, Response};
use switchboard_tests::matrix::Cell;
use switchboard_tests::server::Server;

pub(crate) const LIST: &[Behaviour] = behaviours![
    (ONE, a_head_may_have_as_many_bytes_and_lines_as_documented),
    (ONE, what_is_no_request_is_answered_with_an_error),
    (ONE, a_second_request_that_is_none_is_answered_with_an_error),
    (ONE, a_refused_handshake_with_a_body_is_answered),
];

/// The documented limits of a head.
const LINES: usize = 100;
const BYTES: usize = 16 << 10;

/// The listeners, and a request that is answered in full on each.
fn listeners(server: &Server) -> [(SocketAddr, &'static str); 3] {
    let peer = server.peer();
    [
        (server.terminals(), "GET /nothing HTTP/1.1"),
        (server.api().address(), "GET /v1/nothing HTTP/1.1"),
        (peer, "GET /nothing HTTP/1.1"),
    ]
}

/// H09, H10: on each listener; what is within the limits is read.
fn a_head_may_have_as_many_bytes_and_lines_as_documented(cell: Cell) {
    let cluster = cell.start(1);
    for (address, line) in listeners(&cluster[0]) {
        let lines = |count: usize| {
            // `Host` is one of them.
            let more = "x: y\r\n".repeat(count - 1);
            format!("{line}\r\nHost: 127.0.0.1\r\n{more}\r\n")
        };
        let bytes = |count: usize| {
            let frame = format!("{line}\r\nHost: 127.0.0.1\r\nX: \r\n\r\n").len();
            let more = "y".repeat(count - frame);
            format!("{line}\r\nHost: 127.0.0.1\r\nX: {more}\r\n\r\n")
        };
        for (head, expected, code) in [
            (lines(LINES), 404, "not_found"),
            (lines(LINES + 1), 431, "head_too_large"),
            (bytes(BYTES - 1), 404, "not_found"),
            (bytes(2 * BYTES), 431, "head_too_large"),
            // More than the server's socket takes: it must not reset what is still coming.
            (bytes(1 << 20), 431, "head_too_large"),
        ] {
            let response = answer(address, head.as_bytes());
            response.expect_error(expected, code);
        }
    }
}

/// H20: whatever speaks something else is told so, on each listener.
fn what_is_no_request_is_answered_with_an_error(cell: Cell) {
    let cluster = cell.start(1);
    for (address, line) in listeners(&cluster[0]) {
        for wrong in [
            "hello\r\n\r\n".to_owned(),
            "GET / HTTP/1.1 now\r\n\r\n".to_owned(),
            "GET /a b HTTP/1.1\r\n\r\n".to_owned(),
            "GET / HTTP/9.9\r\n\r\n".to_owned(),
            "\x16\x03\x01\x02\x01\r\n\r\n".to_owned(),
            format!("{line}\r\nHost: a\r\nno colon\r\n\r\n"),
            format!("{line}\r\nHost: a\r\nbad name: x\r\n\r\n"),
            format!("{line}\r\nHost: a\r\nContent-Length: many\r\n\r\n"),
            format!("{line}\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
            format!("{line}\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n"),
        ] {
            let response = answer(address, wrong.as_bytes());
            response.expect_error(400, "bad_http");
            assert_eq!(response.header("connection"), Some("close"), "{wrong}");
        }
    }
}

/// The API answers many requests on one connection: also those behind the first are told.
fn a_second_request_that_is_none_is_answered_with_an_error(cell: Cell) {
    let cluster = cell.start(1);
    for (second, status, code) in [
        ("hello\r\n\r\n".to_owned(), 400, "bad_http"),
        (
            format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(LINES + 1)),
            431,
            "head_too_large",
        ),
        (
            format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(1 << 20)),
            431,
            "head_too_large",
        ),
    ] {
        let mut stream = HttpStream::open(cluster[0].api().address()).expect("it listens");
        let live = "GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
        stream.write(live.as_bytes()).expect("it reads");
        assert_eq!(stream.receive().expect("it answers").status, 200);
        // The answer may come before all is sent.
        let _ = stream.write(second.as_bytes());
        let response = stream.receive().expect("it answers");
        response.expect_error(status, code);
    }
}

/// H20: whoever is still sending what nobody reads is answered, and not reset.
fn a_refused_handshake_with_a_body_is_answered(cell: Cell) {
    const LARGE: usize = 4 << 20;
    let cluster = cell.start(1);
    let body = "x".repeat(LARGE);
    for (address, line, status) in [
        (cluster[0].terminals(), "POST /connect?user=ann", 405),
        (cluster[0].terminals(), "POST /v1/push", 404),
        (cluster[0].peer(), "POST /link/0", 404),
    ] {
        let head = format!("{line} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {LARGE}\r\n\r\n");
        let response = answer(address, format!("{head}{body}").as_bytes());
        assert_eq!(response.status, status, "{line}: {}", response.text());
        assert!(!response.error_code().is_empty());
    }
}

/// Sends bytes, as far as they are taken, and reads the answer.
#[track_caller]
fn answer(address: SocketAddr, bytes: &[u8]) -> Response {
    let mut stream = HttpStream::open(address).expect("it listens");
    let _ = stream.write(bytes);
    stream.receive().expect("it answers")
}
