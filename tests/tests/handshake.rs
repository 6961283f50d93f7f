//! Who may connect, and what a handshake that is wrong is answered.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use serde_json::json;
use switchboard_tests::cluster::Cluster;
use switchboard_tests::http::Request;
use switchboard_tests::patience::{SILENCE, eventually};
use switchboard_tests::raw::{exchange, masked_frame, opcode, status};
use switchboard_tests::server::{Options, Server};
use switchboard_tests::terminal::{Connect, Ending, Terminal};
use switchboard_tests::token::{hs256, seconds_from_now, signed, unsigned};
use tempfile::TempDir;

const SECRET: &[u8] = b"a secret of at least thirty-two bytes";

/// H07: an empty user owns nothing, and neither does one that is too long or holds control bytes.
#[test]
fn a_user_id_that_is_none_is_refused() {
    let cluster = Cluster::start(1);
    for query in [
        "",
        "?user=",
        "?user=%00",
        "?user=a%0Ab",
        "?user=%FF",
        "?other=ann",
    ] {
        let response = Connect::at(cluster[0].terminals(), &format!("/connect{query}")).refused();
        assert_eq!(response.status, 400, "{query}: {}", response.text());
        let _ = response.error_code();
    }
    let too_long = "u".repeat(129);
    assert_eq!(cluster[0].connect().user(&too_long).refused().status, 400);
}

/// H01: two users in one request is no user.
#[test]
fn a_handshake_that_names_two_users_is_refused() {
    let cluster = Cluster::start(1);
    let response = cluster[0].connect().user("ann").user("bob").refused();
    assert_eq!(response.status, 400, "{}", response.text());
}

/// H01: with tokens, nothing but the token says who connects.
#[test]
fn identity_headers_and_parameters_do_not_override_the_token() {
    let jwt = Jwt::start(|o| o);
    let mut victim = jwt.connect("victim");
    let mut terminal = jwt
        .server
        .connect()
        .bearer(&jwt.token("mallory"))
        .user("victim")
        .header("X-User", "victim")
        .header("X-User-Id", "victim")
        .header("X-Forwarded-User", "victim")
        .header("X-Auth-Request-User", "victim")
        .open();

    jwt.server
        .api()
        .push("victim", "for the victim")
        .expect_written(1);
    jwt.server
        .api()
        .push("mallory", "for mallory")
        .expect_written(1);

    terminal.expect_text("for mallory");
    victim.expect_text("for the victim");
}

/// H02, H03: the terminals' port offers terminals nothing but a connection.
#[test]
fn the_terminals_port_has_no_api() {
    let cluster = Cluster::start(1);
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
        assert_eq!(response.status, 404, "{request:?}: {}", response.text());
        let _ = response.error_code();
    }
    terminal.expect_silence(SILENCE);
}

/// H04: a page of another site cannot connect with its visitor's credentials.
#[test]
fn a_foreign_origin_is_refused_by_name() {
    let cluster = Cluster::with(1, |o| o.with("--origins", "https://app.example.com"));
    for origin in [
        "https://evil.example",
        "null",
        "http://127.0.0.1.evil.example",
    ] {
        let response = cluster[0]
            .connect()
            .user("ann")
            .header("Origin", origin)
            .refused();
        assert_eq!(response.status, 403, "{origin}");
        let message = response.error_message();
        assert!(
            message.contains(origin) && message.contains("--origins"),
            "{message}"
        );
    }
    for origin in ["https://app.example.com", "http://127.0.0.1:9999"] {
        cluster[0]
            .connect()
            .user("ann")
            .header("Origin", origin)
            .open();
    }
}

/// Every way of handing over a token, and what the server answers to it.
#[test]
fn a_token_is_taken_from_header_and_subprotocol() {
    let jwt = Jwt::start(|o| o);
    let token = jwt.token("ann");

    let by_header = jwt.server.connect().bearer(&token).open();
    let offered = format!("switchboard.v1, bearer.{token}");
    let by_subprotocol = jwt
        .server
        .connect()
        .header("Sec-WebSocket-Protocol", offered)
        .open();

    assert_eq!(by_header.protocol, None);
    assert_eq!(by_subprotocol.protocol.as_deref(), Some("switchboard.v1"));
    jwt.server.api().push("ann", "both").expect_written(2);
    let by_query = jwt.server.connect().query("token", &token).refused();
    assert_eq!(
        by_query.status, 401,
        "the query is not asked without --token-in-query"
    );
}

/// H05: a token in the query is an explicit choice, and is never logged.
#[test]
fn a_token_in_the_query_needs_the_flag_and_is_not_logged() {
    let jwt = Jwt::start(|o| o.switch("--token-in-query").with("--log-level", "trace"));
    let token = jwt.token("ann");
    let wrong = format!("{token}wrong");

    let mut terminal = jwt.server.connect().query("token", &token).open();
    jwt.server.connect().query("token", &wrong).refused();
    jwt.server.connect().bearer(&wrong).refused();
    jwt.server
        .api()
        .push("ann", "a payload that is nobody's business")
        .expect_written(1);
    terminal.expect_text("a payload that is nobody's business");
    terminal.close();

    let log = jwt.server.log();
    assert!(!log.is_empty());
    let signature = token.rsplit('.').next().expect("three parts");
    assert!(!log.contains(signature), "the token is in the log");
    assert!(
        !log.contains("nobody's business"),
        "a payload is in the log"
    );
}

/// H01, H06: every token that does not count is refused with 401 and a challenge.
#[test]
fn a_token_that_does_not_count_is_refused() {
    let jwt = Jwt::start(|o| o.with("--jwt-audience", "push").with("--jwt-issuer", "us"));
    let good = json!({"sub": "ann", "exp": seconds_from_now(600), "aud": "push", "iss": "us"});
    let with = |field: &str, value: serde_json::Value| {
        let mut claims = good.clone();
        claims[field] = value;
        hs256(SECRET, &claims)
    };
    let without = |field: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().expect("an object").remove(field);
        hs256(SECRET, &claims)
    };
    let cases = [
        ("empty", String::new()),
        ("nonsense", "nonsense".to_owned()),
        (
            "another secret",
            hs256(b"another secret of thirty-two bytes!!", &good),
        ),
        ("expired", with("exp", json!(seconds_from_now(-3600)))),
        ("not valid yet", with("nbf", json!(seconds_from_now(3600)))),
        ("no expiry", without("exp")),
        ("no subject", without("sub")),
        ("empty subject", with("sub", json!(""))),
        ("subject is no text", with("sub", json!(7))),
        ("control character", with("sub", json!("a\u{0}b"))),
        ("another audience", with("aud", json!("mail"))),
        ("no audience", without("aud")),
        ("another issuer", with("iss", json!("them"))),
        (
            "unsigned",
            format!("{}.", unsigned(&json!({"alg": "none"}), &good)),
        ),
        (
            "another algorithm",
            signed(&json!({"alg": "HS512"}), SECRET, &good),
        ),
        (
            "key's algorithm denied",
            signed(&json!({"alg": "RS256"}), SECRET, &good),
        ),
    ];

    for (what, token) in cases {
        let response = jwt.server.connect().bearer(&token).refused();
        assert_eq!(response.status, 401, "{what}: {}", response.text());
        assert!(response.header("www-authenticate").is_some(), "{what}");
        assert!(!response.error_message().contains(SECRET_TEXT), "{what}");
    }
    let nothing = jwt.server.connect().refused();
    assert_eq!(nothing.status, 401);
    jwt.server.connect().bearer(&hs256(SECRET, &good)).open();
}

/// H01: two tokens in one request: it is not clear who speaks.
#[test]
fn a_handshake_with_two_tokens_is_refused() {
    let jwt = Jwt::start(|o| o.switch("--token-in-query"));
    let (ann, bob) = (jwt.token("ann"), jwt.token("bob"));
    assert_eq!(
        jwt.server
            .connect()
            .bearer(&ann)
            .bearer(&bob)
            .refused()
            .status,
        400
    );
    assert_eq!(
        jwt.server
            .connect()
            .bearer(&ann)
            .query("token", &bob)
            .refused()
            .status,
        400
    );
}

/// H06: a connection ends with its token, and not before.
#[test]
fn an_expired_token_closes_the_connection() {
    let jwt = Jwt::start(|o| o);
    let claims = json!({"sub": "ann", "exp": seconds_from_now(3)});
    let mut short = jwt.server.connect().bearer(&hs256(SECRET, &claims)).open();
    let mut long = jwt.connect("bob");

    assert_eq!(short.ended().code(), Some(4002));

    eventually("it is not listed", || {
        jwt.server.api().connections("ann").connections.is_empty()
    });
    long.expect_silence(SILENCE);
}

/// H10: a handshake that never ends holds its socket for the handshake's time and no longer.
#[test]
fn a_slow_handshake_is_cut_off() {
    let cluster = Cluster::with(1, |o| o.with("--handshake-timeout", "500ms"));
    for address in [cluster[0].terminals(), cluster[0].peer()] {
        for begin in ["", "GET /connect?user=ann HTTP/1.1\r\nHost: x\r\n"] {
            let answer = exchange(address, begin.as_bytes()).expect("the socket is closed");
            assert!(matches!(status(&answer), None | Some(408)), "{address}");
        }
    }
    cluster[0].terminal("ann");
}

/// H10: also one that sends a byte from time to time.
#[test]
fn a_trickling_handshake_is_cut_off() {
    let cluster = Cluster::with(1, |o| o.with("--handshake-timeout", "500ms"));
    let mut stream = TcpStream::connect(cluster[0].terminals()).expect("it listens");
    stream
        .write_all(b"GET /connect?user=ann HTTP/1.1\r\nHost: x\r\nX-Long: ")
        .expect("open");

    eventually("the trickle is cut off", || stream.write_all(b"a").is_err());
}

/// Idle sockets before their handshake do not keep others out.
#[test]
fn many_unfinished_handshakes_do_not_keep_others_out() {
    let cluster = Cluster::start(1);
    let idle: Vec<_> = (0..300)
        .map(|_| TcpStream::connect(cluster[0].terminals()).expect("it listens"))
        .collect();

    let terminal = cluster[0].terminal("ann");

    assert_eq!(idle.len(), 300);
    terminal.close();
}

/// H10: the head of a request has a limit.
#[test]
fn an_endless_head_is_refused() {
    let cluster = Cluster::start(1);
    for address in [cluster[0].terminals(), cluster[0].api().address()] {
        let head = format!(
            "GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n",
            "a".repeat(1 << 20)
        );
        let answer = exchange(address, head.as_bytes()).expect("it listens");
        assert!(
            matches!(status(&answer), None | Some(400 | 431)),
            "{:?}",
            status(&answer)
        );
    }
    cluster[0].terminal("ann");
}

/// H20: what is no WebSocket handshake gets an HTTP error that says what is missing.
#[test]
fn a_request_that_is_no_handshake_is_answered_with_an_error() {
    let cluster = Cluster::start(1);
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let version = "Sec-WebSocket-Version: 13\r\n";
    let target = "/connect?user=ann";
    let cases = [
        (
            "no upgrade",
            format!("GET {target} HTTP/1.1\r\n"),
            String::new(),
            vec![400, 426],
        ),
        (
            "no key",
            format!("GET {target} HTTP/1.1\r\n"),
            format!("{upgrade}{version}"),
            vec![400],
        ),
        (
            "no version",
            format!("GET {target} HTTP/1.1\r\n"),
            format!("{upgrade}{key}"),
            vec![400, 426],
        ),
        (
            "version 8",
            format!("GET {target} HTTP/1.1\r\n"),
            format!("{upgrade}{key}Sec-WebSocket-Version: 8\r\n"),
            vec![400, 426],
        ),
        (
            "short key",
            format!("GET {target} HTTP/1.1\r\n"),
            format!("{upgrade}{version}Sec-WebSocket-Key: c2hvcnQ=\r\n"),
            vec![400],
        ),
        (
            "method",
            format!("POST {target} HTTP/1.1\r\n"),
            format!("{upgrade}{key}{version}"),
            vec![405],
        ),
        (
            "path",
            "GET /other?user=ann HTTP/1.1\r\n".to_owned(),
            format!("{upgrade}{key}{version}"),
            vec![404],
        ),
    ];
    for (what, line, headers, expected) in cases {
        let request = format!("{line}Host: 127.0.0.1\r\nConnection: close\r\n{headers}\r\n");
        let answer = exchange(cluster[0].terminals(), request.as_bytes()).expect("it listens");
        let status = status(&answer).expect("HTTP");
        let text = String::from_utf8_lossy(&answer);
        assert!(expected.contains(&status), "{what}: {text}");
        assert!(text.contains(r#""error""#), "{what}: {text}");
    }
}

/// Bytes that are no HTTP at all do no harm.
#[test]
fn bytes_that_are_no_protocol_do_no_harm() {
    let cluster = Cluster::start(1);
    let mut terminal = cluster[0].terminal("ann");
    let garbage: [&[u8]; 4] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00\x01\x02\x03\r\n\r\n",
        b"HELLO\r\n\r\n",
        b"GET\r\n\r\nGET / HTTP/9.9\r\n\r\n",
    ];
    for bytes in garbage {
        for address in [
            cluster[0].terminals(),
            cluster[0].api().address(),
            cluster[0].peer(),
        ] {
            let answer = exchange(address, bytes).expect("it listens");
            assert!(
                matches!(status(&answer), None | Some(400..=499 | 505)),
                "{bytes:?}"
            );
        }
    }
    cluster[0]
        .api()
        .push("ann", "all is well")
        .expect_written(1);
    terminal.expect_text("all is well");
}

/// H09: with the code for it, and only that connection.
#[test]
fn a_frame_that_is_too_large_closes_its_connection() {
    let cluster = Cluster::with(1, |o| o.with("--frame-bytes", "1000"));
    let mut other = cluster[0].terminal("ann");
    let mut largest = cluster[0].terminal("ann");
    largest.send_text(&"x".repeat(1000));
    assert!(largest.recv().text().contains("received"));

    let mut too_large = cluster[0].terminal("ann");
    too_large.send_text(&"x".repeat(1001));
    assert_eq!(too_large.ended().code(), Some(1009));

    // A header that promises too much is enough, and so are fragments that add up.
    let mut promise = cluster[0].connect().user("ann").raw();
    promise
        .write(&[
            0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0,
        ])
        .expect("open");
    assert!(matches!(promise.close_code(), Ok(1002 | 1009)));
    let mut fragments = cluster[0].connect().user("ann").raw();
    fragments
        .write(&masked_frame(opcode::TEXT, &[b'x'; 600]))
        .expect("open");
    fragments
        .write(&masked_frame(opcode::CONTINUATION, &[b'x'; 600]))
        .expect("open");
    assert_eq!(fragments.close_code().expect("a Close frame"), 1009);

    other.expect_silence(SILENCE);
}

/// H18, H20: a terminal that breaks the protocol gets a Close frame with the code for it.
#[test]
fn a_terminal_that_breaks_the_protocol_is_closed_with_a_code() {
    const PROTOCOL_ERROR: u16 = 1002;
    const INVALID_PAYLOAD: u16 = 1007;
    let cluster = Cluster::start(1);
    let other = cluster[0].terminal("ann").follow();
    let cases = [
        ("not masked", vec![0x81, 0x01, b'x'], PROTOCOL_ERROR),
        ("unknown opcode", masked_frame(0x83, b""), PROTOCOL_ERROR),
        ("reserved bit", masked_frame(0xC1, b"x"), PROTOCOL_ERROR),
        (
            "fragmented ping",
            masked_frame(opcode::PING, b""),
            PROTOCOL_ERROR,
        ),
        (
            "long ping",
            masked_frame(0x80 | opcode::PING, &[0; 126]),
            PROTOCOL_ERROR,
        ),
        (
            "nothing to continue",
            masked_frame(0x80 | opcode::CONTINUATION, b"x"),
            PROTOCOL_ERROR,
        ),
        (
            "text that is not UTF-8",
            masked_frame(0x80 | opcode::TEXT, &[0xFF, 0xFE]),
            INVALID_PAYLOAD,
        ),
    ];
    for (what, bytes, code) in cases {
        let mut raw = cluster[0].connect().user("ann").raw();
        raw.write(&bytes).expect("open");
        assert_eq!(
            raw.close_code().unwrap_or_else(|e| panic!("{what}: {e}")),
            code,
            "{what}"
        );
        assert!(raw.has_ended(), "{what}");
    }
    assert_eq!(other.ending(), None);
    eventually("only the other is left", || {
        cluster[0].api().connections("ann").uuids() == [other.uuid]
    });
}

/// Off loopback there is no default of who may connect.
#[test]
fn open_authentication_is_a_choice_off_loopback() {
    let output = switchboard_tests::server::run(
        &[
            "serve",
            "--listen",
            "0.0.0.0:0",
            "--api",
            "127.0.0.1:0",
            "--peer",
            "127.0.0.1:0",
        ],
        &[],
    );
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("--auth"), "{error}");
}

/// A connection that was refused can be followed by one that is not, without a pause.
#[test]
fn a_refusal_is_not_held_against_the_next_attempt() {
    let jwt = Jwt::start(|o| o);
    for _ in 0..20 {
        jwt.server.connect().bearer("wrong").refused();
    }
    let terminal = jwt.connect("ann");
    thread::sleep(Duration::from_millis(10));
    assert!(matches!(terminal.close(), Ending::Closed(1000, _)));
}

const SECRET_TEXT: &str = "a secret of at least";

/// A server that takes tokens, on the embedded directory.
struct Jwt {
    server: Server,
    _folder: TempDir,
}

impl Jwt {
    #[track_caller]
    fn start(configure: impl FnOnce(Options) -> Options) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let file = folder.path().join("secret");
        fs::write(&file, SECRET).expect("the folder is writable");
        let options = Options::for_tests()
            .with("--auth", "jwt")
            .with("--jwt-secret-file", file.display().to_string());
        Self {
            server: Server::start(&configure(options)),
            _folder: folder,
        }
    }

    fn token(&self, user: &str) -> String {
        hs256(SECRET, &json!({"sub": user, "exp": seconds_from_now(600)}))
    }

    #[track_caller]
    fn connect(&self, user: &str) -> Terminal {
        self.server.connect().bearer(&self.token(user)).open()
    }
}
