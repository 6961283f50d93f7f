//! SIGHUP: what a running server takes of its settings, and what it says of the rest.

use serde_json::json;
use switchboard_tests::behaviour::{Behaviour, COMMAND_LINE, ONE};
use switchboard_tests::behaviours;
use switchboard_tests::command_line::Demo;
use switchboard_tests::http::Request;
use switchboard_tests::matrix::Cell;
use switchboard_tests::patience::{SILENCE, eventually};
use switchboard_tests::server::Server;
use switchboard_tests::settings::Settings;
use switchboard_tests::token::{KeyKind, Signer, hs256, seconds_from_now};

pub(crate) const LIST: &[Behaviour] = behaviours![
    (ONE.embedded(), a_hangup_takes_new_keys_of_the_api),
    (ONE, a_hangup_takes_new_keys_of_tokens_and_closes_nobody),
    (ONE, a_hangup_takes_origins_and_log_level),
    (ONE, a_faulty_file_leaves_all_as_it_was),
    (
        ONE.embedded(),
        what_is_safe_is_judged_by_the_addresses_in_force
    ),
    (ONE, what_needs_a_restart_is_said_at_each_hangup),
    (ONE, a_hangup_ends_no_drain),
    (COMMAND_LINE, a_hangup_ends_the_demo),
];

const OLD: &str = "an old key of the API that is long enough";
const NEW: &str = "a new key of the API that is long enough";
const READ_AGAIN: &str = "the settings were read again";

/// A key that was removed opens nothing any more, also on connections that are open.
fn a_hangup_takes_new_keys_of_the_api(cell: Cell) {
    // The harness of a cluster would ask without a key.
    let settings = Settings::for_tests().with_file("api_key_file", format!("{OLD}\n"));
    let server = Server::start(cell.fleet.adapter(0), &settings);
    let (old, new) = (server.api().with_key(OLD), server.api().with_key(NEW));
    let mut publisher = old.publisher();
    assert_eq!(new.get("/v1/instances").status, 401);

    server.reload(&settings.with_file("api_key_file", format!("{NEW}\n")));

    eventually("the new key counts", || {
        new.get("/v1/instances").status == 200
    });
    let get = Request::new("GET", "/v1/instances");
    let answer = publisher
        .try_send(get)
        .expect("the connection is still there");
    assert_eq!(answer.status, 401, "the old key");
    server.await_log("api_key_file");
    assert!(!server.log().contains("long enough"), "a key is in the log");
}

/// Tokens of a removed key count no more, and the terminal that came with one stays.
fn a_hangup_takes_new_keys_of_tokens_and_closes_nobody(cell: Cell) {
    let (old, new) = (Signer::new(KeyKind::P256), Signer::new(KeyKind::Ed25519));
    let claims = json!({"sub": "ann", "exp": seconds_from_now(600)});
    let cluster = cell.start_with(1, |s| {
        s.with("auth", "jwt")
            .with_file("jwt_public_key_file", old.public_pem())
    });
    let server = &cluster[0];
    let mut terminal = server.connect().bearer(&old.sign(&claims)).open();
    let status = |signer: &Signer| {
        let opened = server.connect().bearer(&signer.sign(&claims)).try_open();
        opened.map_or_else(|refusal| refusal.status, |_| 101)
    };
    assert_eq!(status(&new), 401);

    let both = [old.public_pem(), new.public_pem()].concat();
    server.reload(
        &cluster
            .settings()
            .clone()
            .with_file("jwt_public_key_file", both),
    );
    eventually("the new key counts", || status(&new) == 101);
    assert_eq!(
        status(&old),
        101,
        "both count while one takes the place of the other"
    );

    let secret = "a secret of at least thirty-two bytes";
    let by_secret = cluster
        .settings()
        .clone()
        .without("jwt_public_key_file")
        .with_file("jwt_secret_file", secret);
    server.reload(&by_secret);
    eventually("the old keys count no more", || status(&old) == 401);
    server
        .connect()
        .bearer(&hs256(secret.as_bytes(), &claims))
        .open();

    terminal.expect_silence(SILENCE);
    assert!(server.api().push("ann", "still here").written >= 1);
    terminal.expect_text("still here");
}

/// Pages of a site that was added, and lines of a level that was not written before.
fn a_hangup_takes_origins_and_log_level(cell: Cell) {
    let cluster = cell.start_with(1, |s| {
        s.with("origins", vec!["https://old.example"])
            .with("log_level", "error")
    });
    let server = &cluster[0];
    let mut terminal = server.terminal("ann");
    let status = |origin: &str| {
        let connect = server.connect().user("bob").header("Origin", origin);
        connect
            .try_open()
            .map_or_else(|refusal| refusal.status, |_| 101)
    };
    assert_eq!(status("https://new.example"), 403);

    let settings = cluster.settings().clone();
    server.reload(
        &settings
            .with("origins", vec!["https://new.example"])
            .with("log_level", "info"),
    );

    server.await_log(READ_AGAIN);
    server.await_log("log_level, origins");
    assert_eq!(status("https://new.example"), 101);
    assert_eq!(status("https://old.example"), 403);
    terminal.expect_silence(SILENCE);
}

/// A mistake in a file takes nothing away, and is said where it is.
fn a_faulty_file_leaves_all_as_it_was(cell: Cell) {
    let cluster = cell.start_with(1, |s| s.with("origins", vec!["https://old.example"]));
    let server = &cluster[0];
    let good = cluster.settings().clone();
    let connect = |origin: &str| {
        let connect = server.connect().user("ann").header("Origin", origin);
        connect.try_open().is_ok()
    };
    for (faulty, hint) in [
        (good.clone().with("leese", "5s"), "leese"),
        (
            good.clone().with("origins", vec!["https://a.example/path"]),
            "origins",
        ),
        (good.clone().with("auth", "jwt"), "--jwt-secret-file"),
        (good.clone().with_file("api_key_file", "short"), "16 bytes"),
    ] {
        server.reload(&faulty.with("log_level", "debug"));
        server.await_log(hint);
        assert!(connect("https://old.example"), "{hint}: the old origin");
        assert!(!connect("https://a.example"), "{hint}: a new one");
    }
    server.await_log("stays in force");
    server.reload(&good.with("origins", vec!["https://a.example"]));
    eventually("the next good file counts", || connect("https://a.example"));
}

/// H02, H03: a file that would be safe after a restart opens nothing before it.
fn what_is_safe_is_judged_by_the_addresses_in_force(cell: Cell) {
    let signer = Signer::new(KeyKind::Ed25519);
    let public = Settings::for_tests()
        .with("listen", "0.0.0.0:0")
        .with("api", "0.0.0.0:0")
        .with("auth", "jwt")
        .with_file("jwt_public_key_file", signer.public_pem())
        .with_file("api_key_file", format!("{OLD}\n"));
    let server = Server::start(cell.fleet.adapter(0), &public);
    let with_key = server.api().with_key(OLD);
    let opens = || server.connect().user("ann").try_open().is_ok();

    let near = public
        .with("listen", "127.0.0.1:0")
        .with("api", "127.0.0.1:0");
    let open = near.clone().without("auth").without("jwt_public_key_file");
    for (unsafe_now, hint) in [
        (open.clone().without("api_key_file"), "others can reach"),
        (open, "so choose who may connect"),
        (
            near.clone().without("api_key_file"),
            "so the API needs keys",
        ),
    ] {
        let refusals = || server.log().matches("stays in force").count();
        let before = refusals();
        server.reload(&unsafe_now);
        eventually("it is refused", || refusals() > before);
        server.await_log(hint);
        assert_eq!(server.api().get("/v1/instances").status, 401, "{hint}");
        assert_eq!(with_key.get("/v1/instances").status, 200, "{hint}");
        assert!(!opens(), "{hint}: nobody is believed without a token");
    }
    server.reload(&near);
    server.await_log("api, listen");
    assert_eq!(server.api().get("/v1/instances").status, 401);
    assert!(!opens());
}

/// What cannot be taken is named, until the server is started again.
fn what_needs_a_restart_is_said_at_each_hangup(cell: Cell) {
    let cluster = cell.start(1);
    let server = &cluster[0];
    let changed = cluster
        .settings()
        .clone()
        .with("queue_frames", 77)
        .with_file(
            "cluster_secret_file",
            "another secret of these test servers\n",
        );
    for times in 1..=2 {
        server.reload(&changed);
        eventually("it is said", || {
            server
                .log()
                .matches("cluster_secret_file, queue_frames")
                .count()
                == times
        });
    }
    server.terminal("ann");
}

/// H53: it is no second signal that ends at once.
fn a_hangup_ends_no_drain(cell: Cell) {
    let mut cluster = cell.start_with(1, |s| s.with("drain_delay", "1h").with("drain", "1s"));
    let mut terminal = cluster[0].terminal("ann");
    // How it stops is among what it takes.
    let patient = cluster.settings().clone().with("drain_delay", "2s");
    cluster[0].reload(&patient);
    cluster[0].await_log(READ_AGAIN);
    cluster[0].sigterm();
    cluster[0].await_log("draining");
    cluster[0].sighup();

    assert_eq!(terminal.ended().code(), Some(1012));
    assert!(cluster[0].wait_exit().success(), "it drains to its end");
}

/// It has no settings that could have changed, and nobody sees it whose window was closed.
fn a_hangup_ends_the_demo(cell: Cell) {
    let mut demo = Demo::start(cell.fleet.adapter(0));
    demo.sighup();
    assert!(demo.wait_exit().success(), "it drains to its end");
}
