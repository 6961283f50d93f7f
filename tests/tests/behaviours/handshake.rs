//! What a handshake is answered that asks for too much, or for something else.

use switchboard_tests::behaviour::{Behaviour, ONE};
use switchboard_tests::behaviours;
use switchboard_tests::http::{HttpStream, Request};
use switchboard_tests::matrix::Cell;
use switchboard_tests::patience::SILENCE;
use switchboard_tests::raw::{exchange, status};
use switchboard_tests::terminal::Connect;

pub(crate) const LIST: &[Behaviour] = behaviours![
    (ONE, a_user_id_that_is_none_is_refused),
    (ONE, a_handshake_that_names_two_users_is_refused),
    (ONE, the_terminals_port_has_no_api),
    (ONE, a_foreign_origin_is_refused_by_name),
    (ONE, the_host_of_the_target_counts_and_not_the_header),
    (ONE, the_key_that_the_rfc_prints_is_taken),
    (ONE, pages_below_a_listed_name_may_connect),
    (
        ONE,
        a_request_that_is_no_handshake_is_answered_with_an_error
    ),
];

/// H07: an empty user owns nothing, and neither does one that is too long or holds control bytes.
fn a_user_id_that_is_none_is_refused(cell: Cell) {
    let cluster = cell.start(1);
    for query in [
        "",
        "?user=",
        "?user=%00",
        "?user=a%0Ab",
        "?user=%FF",
        "?other=ann",
    ] {
        let response = Connect::at(cluster[0].terminals(), &format!("/connect{query}")).refused();
        response.expect_error(400, "bad_request");
    }
    let too_long = "u".repeat(129);
    assert_eq!(cluster[0].connect().user(&too_long).refused().status, 400);
}

/// H01: two users in one request is no user.
fn a_handshake_that_names_two_users_is_refused(cell: Cell) {
    let cluster = cell.start(1);
    let response = cluster[0].connect().user("ann").user("bob").refused();
    assert_eq!(response.status, 400, "{}", response.text());
}

/// H02, H03: the terminals' port offers terminals nothing but a connection.
fn the_terminals_port_has_no_api(cell: Cell) {
    let cluster = cell.start(1);
    let mut terminal = cluster[0].terminal("ann");
    let api = switchboard_tests::api::Api::new(cluster[0].terminals());
    let requests = [
        Request::new("POST", "/v1/users/ann/push").body("x"),
        Request::new("POST", "/v1/push").body("{}"),
        Request::new("POST", "/v1/broadcast").body("x"),
        Request::new("GET", "/v1/users/ann/connections"),
        Request::new("DELETE", "/v1/users/ann/connections"),
        Request::new("GET", "/v1/instances"),
        Request::new("GET", "/metrics"),
        Request::new("GET", "/"),
    ];
    for request in requests {
        let response = api.send(request.clone());
        response.expect_error(404, "not_found");
    }
    terminal.expect_silence(SILENCE);
}

/// H04: a page of another site cannot connect with its visitor's credentials.
fn a_foreign_origin_is_refused_by_name(cell: Cell) {
    let cluster = cell.start_with(1, |s| s.with("origins", vec!["https://app.example.com"]));
    for (origin, can_be_listed) in [
        ("https://evil.example", true),
        ("null", false),
        ("http://127.0.0.1.evil.example", true),
    ] {
        let response = cluster[0]
            .connect()
            .user("ann")
            .header("Origin", origin)
            .refused();
        assert_eq!(response.status, 403, "{origin}");
        let message = response.error_message();
        assert!(message.contains(origin), "{message}");
        assert_eq!(message.contains("--origins"), can_be_listed, "{message}");
    }
    for origin in ["https://app.example.com", "http://127.0.0.1:9999"] {
        cluster[0]
            .connect()
            .user("ann")
            .header("Origin", origin)
            .open();
    }
}

/// H04: a name with a star stands for those below it, and for no other.
fn pages_below_a_listed_name_may_connect(cell: Cell) {
    let listed = vec![
        "https://*.example.com",
        "*.tools.example",
        "https://a.example:443",
    ];
    let cluster = cell.start_with(1, |s| s.with("origins", listed));
    for (origin, passes) in [
        ("https://app.example.com", true),
        ("https://preview.app.example.com", true),
        ("https://example.com", false),
        ("http://app.example.com", false),
        ("https://app.example.com.evil.example", false),
        ("https://evilexample.com", false),
        ("http://x.tools.example:3000", true),
        ("https://a.example", true),
    ] {
        let connect = cluster[0].connect().user("ann").header("Origin", origin);
        match (connect.try_open(), passes) {
            (Ok(_), true) => {}
            (Err(response), false) => response.expect_error(403, "foreign_origin"),
            (answer, _) => panic!("{origin}: {answer:?}"),
        }
    }
}

/// H04: an absolute target names its host (RFC 9112, section 3.2.2).
fn the_host_of_the_target_counts_and_not_the_header(cell: Cell) {
    let cluster = cell.start(1);
    let own = "http://127.0.0.1:1";
    for (host, header, expected) in [
        ("127.0.0.1", "evil.example", 101),
        ("evil.example", "127.0.0.1", 403),
        ("user@127.0.0.1", "127.0.0.1", 403),
    ] {
        let target = format!("http://{host}/connect?user=ann");
        let connect = Connect::at(cluster[0].terminals(), &target);
        let connect = connect.header("Host", header).header("Origin", own);
        let (response, ..) = connect.handshake().expect("it answers");
        assert_eq!(response.status, expected, "{target} {header}");
    }
    let api = cluster[0].api();
    for (host, header, expected) in [
        ("127.0.0.1", "evil.example", 200),
        ("evil.example", "127.0.0.1", 403),
    ] {
        let request = Request::new("GET", format!("http://{host}/v1/instances"));
        let response = api.send(request.header("Host", header));
        assert_eq!(
            response.status,
            expected,
            "{host} {header}: {}",
            response.text()
        );
    }
}

/// Agents send keys whose last symbol has bits that say nothing, as the one of RFC 6455, section 4.1.
fn the_key_that_the_rfc_prints_is_taken(cell: Cell) {
    let cluster = cell.start(1);
    let mut stream = HttpStream::open(cluster[0].terminals()).expect("it listens");
    let handshake = Request::new("GET", "/connect?user=ann")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "AQIDBAUGBwgJCgsMDQ4PEC==");
    stream.send(&handshake).expect("it reads");
    let response = stream.receive().expect("it answers");
    assert_eq!(response.status, 101, "{}", response.text());
    let accept = response.header("sec-websocket-accept");
    assert_eq!(accept, Some("OfS0wDaT5NoxF2gqm7Zj2YtetzM="));
}

/// H20: what is no WebSocket handshake gets an HTTP error that says what is missing.
fn a_request_that_is_no_handshake_is_answered_with_an_error(cell: Cell) {
    let cluster = cell.start(1);
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let version = "Sec-WebSocket-Version: 13\r\n";
    let target = "/connect?user=ann";
    let get = format!("GET {target} HTTP/1.1");
    let cases = [
        (&*get, String::new(), 400, "bad_handshake"),
        (&*get, format!("{upgrade}{version}"), 400, "bad_handshake"),
        (&*get, format!("{upgrade}{key}"), 400, "bad_handshake"),
        (
            &*get,
            format!("{upgrade}{key}Sec-WebSocket-Version: 8\r\n"),
            426,
            "websocket_version",
        ),
        (
            &*get,
            format!("{upgrade}{version}Sec-WebSocket-Key: c2hvcnQ=\r\n"),
            400,
            "bad_handshake",
        ),
        (
            &format!("POST {target} HTTP/1.1"),
            format!("{upgrade}{key}{version}"),
            405,
            "method_not_allowed",
        ),
        (
            "GET /other?user=ann HTTP/1.1",
            format!("{upgrade}{key}{version}"),
            404,
            "not_found",
        ),
    ];
    for (line, headers, expected, code) in cases {
        let request = format!("{line}\r\nHost: 127.0.0.1\r\nConnection: close\r\n{headers}\r\n");
        let answer = exchange(cluster[0].terminals(), request.as_bytes()).expect("it listens");
        let text = String::from_utf8_lossy(&answer);
        assert_eq!(status(&answer), Some(expected), "{request}{text}");
        let code = format!(r#""code":"{code}""#);
        assert!(text.contains(&code), "{request}{text}");
    }
}
