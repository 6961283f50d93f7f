//! What a request to the API that is wrong is answered, and who may send one.

use serde_json::json;
use switchboard_tests::api::{json_post, push};
use switchboard_tests::behaviour::{Behaviour, INSTANCES, ONE};
use switchboard_tests::behaviours;
use switchboard_tests::http::Request;
use switchboard_tests::matrix::Cell;
use switchboard_tests::patience::SILENCE;
use switchboard_tests::server::Server;
use switchboard_tests::settings::Settings;

pub(crate) const LIST: &[Behaviour] = behaviours![
    (INSTANCES, every_bad_request_has_its_documented_error),
    (ONE, a_push_to_the_empty_user_reaches_nobody),
    (ONE, a_chunked_body_has_the_same_limit),
    (ONE, a_refusal_can_be_read_by_whoever_is_still_sending),
    (ONE.embedded(), every_call_needs_a_key_if_there_are_keys),
    (ONE, requests_of_foreign_pages_are_refused),
];

const KEY: &str = "a-key-of-more-than-sixteen-bytes";

/// The status of an error, as the documentation lists them.
fn status_of(code: &str) -> u16 {
    match code {
        "not_found" => 404,
        "method_not_allowed" => 405,
        "too_large" => 413,
        "unknown_coding" | "unknown_charset" => 415,
        "unknown_transfer" => 501,
        _ => 400,
    }
}

/// H07, H45, H48: none of these is answered as if it had worked, and nobody gets anything.
fn every_bad_request_has_its_documented_error(cell: Cell) {
    let cluster = cell.start_with(2, |s| s.with("push_bytes", 1000).with("push_users", 10));
    let mut terminals = [cluster[0].terminal("ann"), cluster[1].terminal("ann")];
    let many: Vec<_> = (0..11).map(|n| format!("user-{n}")).collect();
    let users = |body: serde_json::Value| json_post("/v1/push", &body);
    let octets = |request: Request| request.header("Content-Type", "application/octet-stream");
    let cases = [
        ("not_found", Request::new("GET", "/v1/nothing")),
        ("not_found", Request::new("GET", "/nothing")),
        (
            "not_found",
            Request::new("POST", "/v1/users/ann/nothing").body("x"),
        ),
        (
            "method_not_allowed",
            Request::new("GET", "/v1/users/ann/push"),
        ),
        (
            "method_not_allowed",
            Request::new("PUT", "/v1/broadcast").body("x"),
        ),
        ("method_not_allowed", Request::new("POST", "/v1/instances")),
        (
            "method_not_allowed",
            Request::new("POST", "/v1/users/ann/connections"),
        ),
        (
            "bad_user",
            Request::new("POST", "/v1/users//push").body("x"),
        ),
        ("bad_user", push(&"u".repeat(129), "x")),
        (
            "bad_user",
            Request::new("POST", "/v1/users/a%00b/push").body("x"),
        ),
        (
            "bad_user",
            Request::new("POST", "/v1/users/%FF/push").body("x"),
        ),
        ("not_utf8", push("ann", vec![0xFF, 0xFE])),
        (
            "bad_connection",
            push("ann", "x").query("connection", "no-uuid"),
        ),
        ("bad_deadline", push("ann", "x").query("deadline", "soon")),
        ("bad_deadline", push("ann", "x").query("deadline", "1ms")),
        (
            "bad_query",
            push("ann", "x")
                .query("deadline", "1s")
                .query("deadline", "2s"),
        ),
        ("bad_query", push("ann", "x").query("dedline", "1s")),
        (
            "bad_idempotency_key",
            push("ann", "x").header("Idempotency-Key", "no-uuid"),
        ),
        ("too_large", push("ann", "x".repeat(1001))),
        ("too_large", octets(push("ann", vec![0; 1001]))),
        (
            "too_large",
            Request::new("POST", "/v1/broadcast").body("x".repeat(1001)),
        ),
        (
            "too_large",
            users(json!({"users": ["ann"], "text": "x".repeat(1001)})),
        ),
        ("bad_body", Request::new("POST", "/v1/push").body("no JSON")),
        ("bad_body", users(json!([]))),
        ("bad_body", users(json!({"text": "x"}))),
        ("no_users", users(json!({"users": [], "text": "x"}))),
        (
            "bad_user",
            users(json!({"users": ["ann", ""], "text": "x"})),
        ),
        ("bad_body", users(json!({"users": "ann", "text": "x"}))),
        ("bad_body", users(json!({"users": [7], "text": "x"}))),
        ("bad_body", users(json!({"users": ["ann"]}))),
        (
            "bad_body",
            users(json!({"users": ["ann"], "text": "x", "base64": "eA=="})),
        ),
        (
            "bad_body",
            users(json!({"users": ["ann"], "base64": "not base64!"})),
        ),
        (
            "bad_body",
            users(json!({"users": ["ann"], "text": "x", "txet": "y"})),
        ),
        ("too_many_users", users(json!({"users": many, "text": "x"}))),
        (
            "bad_connection",
            Request::new("DELETE", "/v1/users/ann/connections/no-uuid"),
        ),
        ("bad_user", Request::new("GET", "/v1/users//connections")),
        ("method_not_allowed", Request::new("GET", "/v1/kick")),
        ("bad_user", json_post("/v1/kick", &json!({"user": ""}))),
        ("bad_body", json_post("/v1/kick", &json!({}))),
        ("bad_body", json_post("/v1/connections", &json!(["ann"]))),
        (
            "bad_query",
            json_post("/v1/connections?user=ann", &json!({"user": "ann"})),
        ),
        (
            "bad_connection",
            json_post("/v1/kick", &json!({"user": "ann", "connections": []})),
        ),
        (
            "bad_connection",
            users(json!({"users": ["ann"], "connections": ["7"], "text": "x"})),
        ),
        (
            "bad_body",
            users(json!({"users": ["ann", "bob"], "connections": [NOBODYS], "text": "x"})),
        ),
    ]
    .into_iter()
    .chain(codings());

    for (code, request) in cases {
        let response = cluster[0].api().send(request.clone());
        let answer = (response.status, response.error_code());
        let documented = (status_of(code), code.to_owned());
        assert_eq!(answer, documented, "{request:?}: {}", response.text());
        let says_methods = response.header("allow").is_some();
        assert_eq!(says_methods, code == "method_not_allowed", "{request:?}");
    }
    for terminal in &mut terminals {
        terminal.expect_silence(SILENCE);
    }
}

const NOBODYS: &str = "0b0e9f32-5f0e-4a53-8b0a-6e1c1f6f7a11";

/// Bodies that would have to be decoded: as they stand, nobody meant them.
fn codings() -> Vec<(&'static str, Request)> {
    let body = json!({"users": ["ann"], "text": "x"});
    let of_each = |code, header: &str, value: &str| {
        [
            push("ann", "x"),
            Request::new("POST", "/v1/broadcast").body("x"),
            json_post("/v1/push", &body),
            json_post("/v1/kick", &json!({"user": "ann"})),
            json_post("/v1/connections", &json!({"user": "ann"})),
        ]
        .map(|request| (code, request.header(header, value)))
    };
    let chunked = Request::new("POST", "/v1/broadcast")
        .header("Transfer-Encoding", "gzip, chunked")
        .header("Content-Length", "")
        .body("1\r\nx\r\n0\r\n\r\n");
    [
        of_each("unknown_coding", "Content-Encoding", "gzip"),
        of_each("unknown_coding", "Content-Encoding", "identity, deflate"),
        of_each(
            "unknown_charset",
            "Content-Type",
            "text/plain; charset=latin1",
        ),
    ]
    .concat()
    .into_iter()
    .chain([("unknown_transfer", chunked)])
    .collect()
}

/// H07: a path without a user is nobody's path.
fn a_push_to_the_empty_user_reaches_nobody(cell: Cell) {
    let cluster = cell.start(1);
    let mut terminal = cluster[0].terminal("ann");

    for target in [
        "/v1/users//push",
        "/v1/users/push",
        "/v1/users/%20/push",
        "/v1/users/*/push",
    ] {
        let _ = cluster[0]
            .api()
            .send(Request::new("POST", target).body("for whom?"));
    }

    terminal.expect_silence(SILENCE);
}

/// A body of unknown length is read up to the limit and no further.
fn a_chunked_body_has_the_same_limit(cell: Cell) {
    let cluster = cell.start_with(1, |s| s.with("push_bytes", 1000));
    let chunked = |bytes: usize| {
        let body = format!("{bytes:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(bytes));
        let head = "POST /v1/users/ann/push HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
        let answer = switchboard_tests::raw::exchange(
            cluster[0].api().address(),
            format!("{head}{body}").as_bytes(),
        );
        switchboard_tests::raw::status(&answer.expect("it listens"))
    };
    assert_eq!(chunked(1000), Some(200));
    assert_eq!(chunked(1001), Some(413));
}

/// H09: many clients send a whole body before they read. They learn why it was refused, and that the
/// connection is not to be used again.
fn a_refusal_can_be_read_by_whoever_is_still_sending(cell: Cell) {
    const LARGE: usize = 4 << 20;
    let cluster = cell.start_with(1, |s| s.with("push_bytes", 1000));
    let refused = |request: Request| {
        let mut publisher = cluster[0].api().publisher();
        let response = publisher.try_send(request).expect("the answer arrives");
        let connection = response.header("connection").map(str::to_owned);
        (response.status, connection)
    };
    let close = Some("close".to_owned());
    let nowhere = |method| Request::new(method, "/v1/nothing");

    assert_eq!(
        refused(push("ann", "x".repeat(LARGE))),
        (413, close.clone())
    );
    assert_eq!(
        refused(nowhere("POST").body("x".repeat(LARGE))),
        (404, close)
    );
    assert_eq!(refused(nowhere("GET")), (404, None));
}

/// H02, H03: with keys, all of `/v1` needs one.
fn every_call_needs_a_key_if_there_are_keys(cell: Cell) {
    let keys = format!("# two keys\n{KEY}\nanother-key-of-sixteen-bytes\n");
    // Its harness would ask without a key.
    let server = Server::start(
        cell.fleet.adapter(0),
        &Settings::for_tests().with_file("api_key_file", keys),
    );
    let mut terminal = server.terminal("ann");
    let api = server.api();
    let calls = || {
        [
            push("ann", "x"),
            json_post("/v1/push", &json!({"users": ["ann"], "text": "x"})),
            Request::new("POST", "/v1/broadcast").body("x"),
            Request::new("GET", "/v1/users/ann/connections"),
            Request::new("GET", "/v1/instances"),
        ]
    };
    for request in calls() {
        let without = api.send(request.clone());
        without.expect_error(401, "no_key");
        assert!(without.header("www-authenticate").is_some());
        for wrong in ["", "wrong", &KEY[..KEY.len() - 1], &format!("{KEY}x")] {
            let answer = api.with_key(wrong).send(request.clone());
            let code = if wrong.is_empty() {
                "no_key"
            } else {
                "wrong_key"
            };
            answer.expect_error(401, code);
        }
        let basic = request
            .clone()
            .header("Authorization", format!("Basic {KEY}"));
        assert_eq!(api.send(basic).status, 401);
    }
    let kick = Request::new("DELETE", "/v1/users/ann/connections");
    assert_eq!(api.send(kick).status, 401);
    terminal.expect_silence(SILENCE);

    for request in calls() {
        assert_eq!(
            api.with_key(KEY).send(request.clone()).status,
            200,
            "{request:?}"
        );
    }
    assert_eq!(
        api.with_key("another-key-of-sixteen-bytes")
            .send(push("ann", "x"))
            .status,
        200
    );
    // What balancers and collectors ask for has no secrets.
    for open in ["/metrics", "/health/live", "/health/ready", "/"] {
        assert_eq!(api.get(open).status, 200, "{open}");
    }
}

/// H04: a page in the operator's browser cannot push, even where no key is asked for.
fn requests_of_foreign_pages_are_refused(cell: Cell) {
    let cluster = cell.start_with(1, |s| s.with("api_hosts", vec!["push.internal"]));
    let server = &cluster[0];
    let port = server.api().address().port();
    let mut terminal = server.terminal("ann");
    let refused = [
        ("foreign_origin", "Origin", "https://evil.example"),
        ("foreign_origin", "Origin", "null"),
        ("cross_site", "Sec-Fetch-Site", "cross-site"),
        ("foreign_host", "Host", "evil.example"),
        ("foreign_host", "Host", "127.0.0.1.evil.example"),
    ];
    for (code, header, value) in refused {
        let response = server.api().send(push("ann", "x").header(header, value));
        response.expect_error(403, code);
    }
    terminal.expect_silence(SILENCE);

    let accepted = [
        push("ann", "x").header("Origin", format!("http://127.0.0.1:{port}")),
        push("ann", "x").header("Sec-Fetch-Site", "same-origin"),
        push("ann", "x").header("Host", format!("localhost:{port}")),
        push("ann", "x").header("Host", "push.internal"),
    ];
    for request in accepted {
        assert_eq!(
            server.api().send(request.clone()).status,
            200,
            "{request:?}"
        );
        terminal.expect_text("x");
    }
}
