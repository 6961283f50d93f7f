//! With tokens, who connects is what the token says, for as long as it says so.

use serde_json::{Value, json};
use switchboard_tests::behaviour::{Behaviour, ONE};
use switchboard_tests::behaviours;
use switchboard_tests::cluster::Cluster;
use switchboard_tests::matrix::Cell;
use switchboard_tests::patience::{SILENCE, eventually};
use switchboard_tests::server::Server;
use switchboard_tests::settings::Settings;
use switchboard_tests::terminal::{Ending, Terminal};
use switchboard_tests::token::{KeyKind, Signer, hs256, seconds_from_now, signed, unsigned};

pub(crate) const LIST: &[Behaviour] = behaviours![
    (
        ONE,
        identity_headers_and_parameters_do_not_override_the_token
    ),
    (ONE, a_token_is_taken_from_header_and_subprotocol),
    (ONE, a_token_in_the_query_needs_the_flag_and_is_not_logged),
    (ONE, a_token_that_does_not_count_is_refused),
    (ONE, a_public_key_fixes_the_algorithm_of_tokens),
    (ONE, tokens_of_all_keys_of_a_rotation_count),
    (ONE, a_handshake_with_two_tokens_is_refused),
    (ONE, an_expired_token_closes_the_connection),
    (ONE, a_terminal_that_renews_its_token_in_time_stays),
    (ONE, a_new_token_that_does_not_count_changes_nothing),
    (ONE, a_refusal_is_not_held_against_the_next_attempt),
    (ONE, the_log_says_why_a_token_is_refused_and_not_the_token),
];

const SECRET: &[u8] = b"a secret of at least thirty-two bytes";

/// H01: with tokens, nothing but the token says who connects.
fn identity_headers_and_parameters_do_not_override_the_token(cell: Cell) {
    let jwt = Jwt::start(cell);
    let mut victim = jwt.connect("victim");
    let mut terminal = jwt
        .server()
        .connect()
        .bearer(&jwt.token("mallory"))
        .user("victim")
        .header("X-User", "victim")
        .header("X-User-Id", "victim")
        .header("X-Forwarded-User", "victim")
        .header("X-Auth-Request-User", "victim")
        .open();

    jwt.server()
        .api()
        .push("victim", "for the victim")
        .expect_written(1);
    jwt.server()
        .api()
        .push("mallory", "for mallory")
        .expect_written(1);

    terminal.expect_text("for mallory");
    victim.expect_text("for the victim");
}

/// Browsers show nobody the answer to a handshake: whoever runs the server sees in the log what is wrong.
fn the_log_says_why_a_token_is_refused_and_not_the_token(cell: Cell) {
    let jwt = Jwt::start(cell);
    let claims = json!({"sub": "ann", "exp": seconds_from_now(600)});
    let forged = hs256(b"another secret of thirty-two bytes..", &claims);
    jwt.server()
        .connect()
        .bearer(&forged)
        .refused()
        .expect_error(401, "invalid_token");
    jwt.server().await_log("the token's signature is wrong");

    let mut terminal = jwt.connect("ann");
    let others = jwt.token("bob");
    terminal.send_text(&renewal(&others));
    jwt.server().await_log("the token is of another user");
    let log = jwt.server().log();
    assert!(!log.contains(&forged) && !log.contains(&others), "{log}");
}

/// Every way of handing over a token, and what the server answers to it.
fn a_token_is_taken_from_header_and_subprotocol(cell: Cell) {
    let jwt = Jwt::start(cell);
    let token = jwt.token("ann");

    let by_header = jwt.server().connect().bearer(&token).open();
    let offered = format!("switchboard.v1, bearer.{token}");
    let by_subprotocol = jwt
        .server()
        .connect()
        .header("Sec-WebSocket-Protocol", offered)
        .open();

    assert_eq!(by_header.protocol, None);
    assert_eq!(by_subprotocol.protocol.as_deref(), Some("switchboard.v1"));
    jwt.server().api().push("ann", "both").expect_written(2);
    let by_query = jwt.server().connect().query("token", &token).refused();
    assert_eq!(
        by_query.status, 401,
        "the query is not asked without --token-in-query"
    );
}

/// H05: a token in the query is an explicit choice, and is never logged.
fn a_token_in_the_query_needs_the_flag_and_is_not_logged(cell: Cell) {
    let jwt = Jwt::start_with(cell, |s| {
        s.with("token_in_query", true).with("log_level", "trace")
    });
    let token = jwt.token("ann");
    let wrong = format!("{token}wrong");

    let mut terminal = jwt.server().connect().query("token", &token).open();
    jwt.server().connect().query("token", &wrong).refused();
    jwt.server().connect().bearer(&wrong).refused();
    jwt.server()
        .api()
        .push("ann", "a payload that is nobody's business")
        .expect_written(1);
    terminal.expect_text("a payload that is nobody's business");
    terminal.close();

    jwt.server().await_log("a terminal is gone");
    let log = jwt.server().log();
    let signature = token.rsplit('.').next().expect("three parts");
    assert!(!log.contains(signature), "the token is in the log");
    assert!(
        !log.contains("nobody's business"),
        "a payload is in the log"
    );
}

/// H01, H06: every token that does not count is refused with 401 and a challenge.
fn a_token_that_does_not_count_is_refused(cell: Cell) {
    let jwt = Jwt::start_with(cell, |s| {
        s.with("jwt_audience", vec!["push"])
            .with("jwt_issuer", vec!["us"])
    });
    let good = json!({"sub": "ann", "exp": seconds_from_now(600), "aud": "push", "iss": "us"});
    let with = |field: &str, value: Value| {
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
        (
            "milliseconds",
            with("exp", json!(seconds_from_now(600) * 1000)),
        ),
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
        let response = jwt.server().connect().bearer(&token).refused();
        let code = match what {
            "empty" => "no_token",
            "expired" => "token_expired",
            _ => "invalid_token",
        };
        assert_eq!(response.status, 401, "{what}: {}", response.text());
        assert_eq!(response.error_code(), code, "{what}");
        assert!(response.header("www-authenticate").is_some(), "{what}");
        assert!(!response.error_message().contains(SECRET_TEXT), "{what}");
    }
    let nothing = jwt.server().connect().refused();
    nothing.expect_error(401, "no_token");
    jwt.server().connect().bearer(&hs256(SECRET, &good)).open();
}

/// H01: a key fixes its algorithm, and only tokens that were signed with it count.
fn a_public_key_fixes_the_algorithm_of_tokens(cell: Cell) {
    let claims = json!({"sub": "ann", "exp": seconds_from_now(600)});
    for kind in [KeyKind::Rsa, KeyKind::P256, KeyKind::Ed25519] {
        let signer = Signer::new(kind);
        let cluster = cell.start_with(1, |s| {
            s.with("auth", "jwt")
                .with_file("jwt_public_key_file", signer.public_pem())
        });

        let mut terminal = cluster[0].connect().bearer(&signer.sign(&claims)).open();

        cluster[0].api().push("ann", "hello").expect_written(1);
        terminal.expect_text("hello");
        // The public key is no secret: as one it opens nothing.
        let by_public_key = hs256(signer.public_pem().as_bytes(), &claims);
        let others = [KeyKind::Rsa, KeyKind::P256, KeyKind::Ed25519].map(Signer::new);
        for token in others
            .map(|other| other.sign(&claims))
            .into_iter()
            .chain([by_public_key])
        {
            let response = cluster[0].connect().bearer(&token).refused();
            assert_eq!(response.status, 401, "{kind:?}: {token}");
            assert_eq!(response.error_code(), "invalid_token", "{kind:?}: {token}");
        }
    }
}

/// H01: while a key takes the place of another, tokens of both count, and a token that names its key
/// counts with that one alone.
fn tokens_of_all_keys_of_a_rotation_count(cell: Cell) {
    let claims = json!({"sub": "ann", "exp": seconds_from_now(600)});
    let [old, new, stranger] = [KeyKind::P256, KeyKind::P256, KeyKind::P256].map(Signer::new);
    let other_kind = Signer::new(KeyKind::Ed25519);
    let file = format!(
        "{}kid: new\n{}{}",
        old.public_pem(),
        new.public_pem(),
        other_kind.public_pem()
    );
    let cluster = cell.start_with(1, |s| {
        s.with("auth", "jwt")
            .with_file("jwt_public_key_file", &*file)
    });

    let good = [
        old.sign(&claims),
        old.sign_as("old", &claims),
        new.sign(&claims),
        new.sign_as("new", &claims),
        other_kind.sign_as("unknown", &claims),
    ];
    let _terminals = good.map(|token| cluster[0].connect().bearer(&token).open());

    for token in [
        old.sign_as("new", &claims),
        new.sign_as("old", &claims),
        stranger.sign(&claims),
        stranger.sign_as("new", &claims),
    ] {
        let response = cluster[0].connect().bearer(&token).refused();
        response.expect_error(401, "invalid_token");
    }
}

/// H01: two tokens in one request: it is not clear who speaks.
fn a_handshake_with_two_tokens_is_refused(cell: Cell) {
    let jwt = Jwt::start_with(cell, |s| s.with("token_in_query", true));
    let (ann, bob) = (jwt.token("ann"), jwt.token("bob"));
    assert_eq!(
        jwt.server()
            .connect()
            .bearer(&ann)
            .bearer(&bob)
            .refused()
            .status,
        400
    );
    assert_eq!(
        jwt.server()
            .connect()
            .bearer(&ann)
            .query("token", &bob)
            .refused()
            .status,
        400
    );
}

/// H06: a connection ends with its token, and not before.
fn an_expired_token_closes_the_connection(cell: Cell) {
    let jwt = Jwt::start(cell);
    let claims = json!({"sub": "ann", "exp": seconds_from_now(3)});
    let mut short = jwt
        .server()
        .connect()
        .bearer(&hs256(SECRET, &claims))
        .open();
    let mut long = jwt.connect("bob");

    assert_eq!(
        short.ended(),
        Ending::Closed(4002, "token expired".to_owned())
    );

    eventually("it is not listed", || {
        jwt.server().api().connections("ann").connections.is_empty()
    });
    long.expect_silence(SILENCE);
}

/// H06: it is told in time, and another token counts from then on.
fn a_terminal_that_renews_its_token_in_time_stays(cell: Cell) {
    let jwt = Jwt::start_with(cell, |s| {
        s.with("ping_interval", "1s").with("ping_timeout", "2s")
    });
    let ends = seconds_from_now(8);
    let mut terminal = jwt.until("ann", ends);
    let told = told_of_token(&mut terminal);
    assert!(
        (1..=4).contains(&told["ends_in"].as_i64().expect("in seconds")),
        "{told}"
    );

    terminal.send_text(&renewal(&jwt.token("ann")));
    let told = told_of_token(&mut terminal);
    assert_eq!(told["renewed"], true, "{told}");
    assert!(
        (500..=600).contains(&told["ends_in"].as_i64().expect("in seconds")),
        "{told}"
    );
    // It reads meanwhile, and so answers pings.
    while seconds_from_now(0) <= ends + 1 {
        terminal.expect_silence(SILENCE);
    }
    jwt.server()
        .api()
        .push("ann", "still there")
        .expect_written(1);
    terminal.expect_text("still there");
}

/// H01, H06: of whatever is wrong with it, and of whomever it is.
fn a_new_token_that_does_not_count_changes_nothing(cell: Cell) {
    let jwt = Jwt::start(cell);
    let mut terminal = jwt.until("ann", seconds_from_now(5));
    let expired = json!({"sub": "ann", "exp": seconds_from_now(-3600)});
    for (token, code) in [
        ("wrong".to_owned(), "invalid_token"),
        (jwt.token("bob"), "invalid_token"),
        (hs256(SECRET, &expired), "token_expired"),
    ] {
        terminal.send_text(&renewal(&token));
        assert_eq!(told_of_token(&mut terminal), json!({"refused": code}));
    }
    assert_eq!(
        terminal.ended(),
        Ending::Closed(4002, "token expired".to_owned())
    );
}

fn renewal(token: &str) -> String {
    json!({"switchboard": {"token": token}}).to_string()
}

/// What the next frame says of the token.
#[track_caller]
fn told_of_token(terminal: &mut Terminal) -> Value {
    let frame = terminal.recv();
    let mut said: Value = serde_json::from_str(frame.text()).expect("JSON");
    said["switchboard"]["token"].take()
}

/// A connection that was refused can be followed by one that is not, without a pause.
fn a_refusal_is_not_held_against_the_next_attempt(cell: Cell) {
    let jwt = Jwt::start(cell);
    for _ in 0..20 {
        jwt.server().connect().bearer("wrong").refused();
    }
    let terminal = jwt.connect("ann");
    assert!(matches!(terminal.close(), Ending::Closed(1000, _)));
}

const SECRET_TEXT: &str = "a secret of at least";

/// A server that takes tokens.
struct Jwt(Cluster);

impl Jwt {
    #[track_caller]
    fn start(cell: Cell) -> Self {
        Self::start_with(cell, |settings| settings)
    }

    #[track_caller]
    fn start_with(cell: Cell, configure: impl FnOnce(Settings) -> Settings) -> Self {
        Self(cell.start_with(1, |s| {
            configure(s.with("auth", "jwt").with_file("jwt_secret_file", SECRET))
        }))
    }

    fn server(&self) -> &Server {
        &self.0[0]
    }

    fn token(&self, user: &str) -> String {
        hs256(SECRET, &json!({"sub": user, "exp": seconds_from_now(600)}))
    }

    /// A terminal whose token ends then.
    #[track_caller]
    fn until(&self, user: &str, exp: i64) -> Terminal {
        let token = hs256(SECRET, &json!({"sub": user, "exp": exp}));
        self.server().connect().bearer(&token).open()
    }

    #[track_caller]
    fn connect(&self, user: &str) -> Terminal {
        self.server().connect().bearer(&self.token(user)).open()
    }
}
