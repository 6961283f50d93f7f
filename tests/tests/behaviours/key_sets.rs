//! Keys of tokens as identity providers publish them: in a file, and at an address.

use std::fs;

use serde_json::{Value, json};
use switchboard_tests::behaviour::{Behaviour, COMMAND_LINE, ONE};
use switchboard_tests::behaviours;
use switchboard_tests::certificate::Certificate;
use switchboard_tests::cluster::Cluster;
use switchboard_tests::command_line::run;
use switchboard_tests::http::Request;
use switchboard_tests::key_server::KeyServer;
use switchboard_tests::matrix::Cell;
use switchboard_tests::patience::{SILENCE, eventually};
use switchboard_tests::server::Server;
use switchboard_tests::settings::Settings;
use switchboard_tests::token::{KeyKind, Signer, seconds_from_now, signed};

pub(crate) const LIST: &[Behaviour] = behaviours![
    (ONE, a_set_is_fetched_over_https_if_its_authority_is_trusted),
    (ONE, a_new_key_counts_once_a_token_names_it),
    (ONE, a_removed_key_counts_until_the_next_fetch),
    (ONE, an_outage_closes_nobody_and_keeps_the_last_keys),
    (ONE, a_server_starts_without_its_provider),
    (ONE, a_provider_that_hangs_is_given_up),
    (ONE, a_token_may_name_a_key_that_is_published_without_a_name),
    (
        ONE,
        a_token_that_names_no_key_waits_for_those_that_are_published_now
    ),
    (ONE, tokens_cause_no_more_fetches_than_the_pause_allows),
    (
        ONE,
        a_key_that_was_looked_for_in_vain_is_not_looked_for_again
    ),
    (ONE, a_shared_secret_in_a_set_never_counts),
    (ONE, a_set_in_a_file_is_read_again_at_a_hangup),
    (COMMAND_LINE, an_address_that_cannot_be_trusted_is_refused),
];

const UNAUTHORIZED: u16 = 401;
const UNAVAILABLE: u16 = 503;
const SWITCHED: u16 = 101;

/// H01: what comes over the network counts if its sender has proven itself.
fn a_set_is_fetched_over_https_if_its_authority_is_trusted(cell: Cell) {
    let certificate = Certificate::for_loopback();
    let provider = KeyServer::https(&certificate);
    let signer = Signer::new(KeyKind::Rsa);
    provider.publish(&[signer.jwk("one")]);
    let authority = fs::read(certificate.authority()).expect("it was written");

    let trusting = start(cell, &provider, |s| s.with_file("jwks_ca_file", authority));
    assert_eq!(
        status(&trusting, &signer.sign_as("one", &claims())),
        SWITCHED
    );
    let other = Certificate::for_loopback();
    let other = fs::read(other.authority()).expect("it was written");
    let distrusting = start_unready(cell, &provider, |s| s.with_file("jwks_ca_file", other));
    let refused = distrusting
        .connect()
        .bearer(&signer.sign_as("one", &claims()))
        .refused();
    assert_eq!(refused.status, UNAVAILABLE);
    distrusting.await_log("certificate");
}

/// A rotation needs nobody who tells the servers.
fn a_new_key_counts_once_a_token_names_it(cell: Cell) {
    let provider = KeyServer::http();
    let (old, new) = (Signer::new(KeyKind::P256), Signer::new(KeyKind::Rsa));
    provider.publish(&[old.jwk("old")]);
    let cluster = start(cell, &provider, |s| s);
    assert_eq!(status(&cluster, &old.sign_as("old", &claims())), SWITCHED);

    provider.publish(&[old.jwk("old"), new.jwk("new")]);

    let token = new.sign_as("new", &claims());
    eventually("the new key counts", || {
        status(&cluster, &token) == SWITCHED
    });
    assert_eq!(status(&cluster, &old.sign_as("old", &claims())), SWITCHED);
    // The name of one key does not help a token of another.
    let forged = old.sign_as("new", &claims());
    assert_eq!(status(&cluster, &forged), UNAUTHORIZED);
}

/// What the provider has withdrawn is not kept for ever.
fn a_removed_key_counts_until_the_next_fetch(cell: Cell) {
    let provider = KeyServer::http();
    let (old, new) = (Signer::new(KeyKind::P256), Signer::new(KeyKind::P256));
    provider.publish(&[old.jwk("old")]);
    let cluster = start(cell, &provider, |s| s.with("jwks_refresh", "100ms"));
    let token = old.sign_as("old", &claims());
    let mut terminal = cluster[0].connect().bearer(&token).open();

    provider.publish(&[new.jwk("new")]);

    eventually("the old key counts no more", || {
        status(&cluster, &token) == UNAUTHORIZED
    });
    assert_eq!(status(&cluster, &new.sign_as("new", &claims())), SWITCHED);
    terminal.expect_silence(SILENCE);
}

/// H06: terminals that are in stay, and those whose key is known come in. Nobody is told that their token is wrong
/// while that is not known.
fn an_outage_closes_nobody_and_keeps_the_last_keys(cell: Cell) {
    let provider = KeyServer::http();
    let (old, new) = (Signer::new(KeyKind::P256), Signer::new(KeyKind::P256));
    provider.publish(&[old.jwk("old")]);
    let cluster = start(cell, &provider, |s| s.with("jwks_refresh", "100ms"));
    let (known, unknown) = (old.sign_as("old", &claims()), new.sign_as("new", &claims()));
    let mut terminal = cluster[0].connect().bearer(&known).open();

    for fail in [KeyServer::go_away, nonsense] {
        fail(&provider);
        let before = provider.requests();
        eventually("it is asked in vain", || provider.requests() > before + 1);
        assert_eq!(status(&cluster, &known), SWITCHED);
        assert_eq!(status(&cluster, &unknown), UNAVAILABLE);
    }
    cluster[0].await_log("cannot be fetched");
    let log = cluster[0].log();
    assert_eq!(log.matches("cannot be fetched").count(), 1, "{log}");
    terminal.expect_silence(SILENCE);

    provider.publish(&[new.jwk("new")]);
    eventually("it is back", || status(&cluster, &unknown) == SWITCHED);
}

/// A provider that is away when all servers start again keeps none of them from it. Until its keys are known no
/// balancer sends terminals there, which all would get 503, and a rollout ends before the last good server is gone. Once
/// they are known, nothing that becomes of the provider makes a server unready.
fn a_server_starts_without_its_provider(cell: Cell) {
    let provider = KeyServer::http();
    provider.go_away();
    let signer = Signer::new(KeyKind::P256);
    let server = start_unready(cell, &provider, |s| s.with("jwks_refresh", "100ms"));
    let token = signer.sign_as("one", &claims());

    let refused = server.connect().bearer(&token).refused();
    refused.expect_error(UNAVAILABLE, "unavailable");
    assert!(refused.header("retry-after").is_some());
    let answer = server.api().send(Request::new("GET", "/health/ready"));
    assert_eq!(answer.status, UNAVAILABLE, "{answer:?}");
    assert!(answer.text().contains("no key of tokens"), "{answer:?}");
    assert_eq!(server.api().metric("switchboard_ready"), 0.0);

    provider.publish(&[signer.jwk("one")]);
    eventually("it is asked again", || {
        status_at(&server, &token) == SWITCHED
    });
    assert!(server.api().is_ready());
    assert_eq!(server.api().metric("switchboard_ready"), 1.0);

    provider.go_away();
    let before = provider.requests();
    eventually("it is asked in vain", || provider.requests() > before + 1);
    assert!(server.api().is_ready());
}

/// The handshake is answered before its own time is over.
fn a_provider_that_hangs_is_given_up(cell: Cell) {
    let provider = KeyServer::http();
    provider.hang();
    let signer = Signer::new(KeyKind::P256);
    let server = start_unready(cell, &provider, |s| s.with("jwks_timeout", "300ms"));
    let token = signer.sign_as("one", &claims());
    assert_eq!(status_at(&server, &token), UNAVAILABLE);
    provider.publish(&[signer.jwk("one")]);
    eventually("it is asked again", || {
        status_at(&server, &token) == SWITCHED
    });
}

/// A key without a name may be the one of each name: a token that was signed with it waits for no fetch.
fn a_token_may_name_a_key_that_is_published_without_a_name(cell: Cell) {
    let provider = KeyServer::http();
    let (nameless, named) = (Signer::new(KeyKind::P256), Signer::new(KeyKind::P256));
    let mut key = nameless.jwk("-");
    key.as_object_mut().expect("an object").remove("kid");
    provider.publish(&[key, named.jwk("named")]);
    let cluster = start(cell, &provider, |s| {
        s.with("jwks_pause", "1h").with("jwks_refresh", "1h")
    });
    assert_eq!(
        status(&cluster, &named.sign_as("named", &claims())),
        SWITCHED
    );

    provider.go_away();
    let known = nameless.sign_as("whatever", &claims());
    assert_eq!(status(&cluster, &known), SWITCHED);
    let unknown = Signer::new(KeyKind::P256).sign_as("whatever", &claims());
    assert_eq!(status(&cluster, &unknown), UNAVAILABLE);
    let another = nameless.sign_as("named", &claims());
    assert_eq!(
        status(&cluster, &another),
        UNAUTHORIZED,
        "that is another key"
    );
}

/// Its key may have been published since. Looking for that costs the provider one fetch in a while.
fn a_token_that_names_no_key_waits_for_those_that_are_published_now(cell: Cell) {
    let provider = KeyServer::http();
    let [old, new, other] = std::array::from_fn(|_| Signer::new(KeyKind::P256));
    provider.publish(&[old.jwk("old")]);
    let cluster = start(cell, &provider, |s| s.with("jwks_refresh", "1h"));
    assert_eq!(status(&cluster, &old.sign(&claims())), SWITCHED);

    provider.publish(&[new.jwk("new")]);
    let token = new.sign(&claims());
    eventually("its key is known", || {
        let status = status(&cluster, &token);
        assert_ne!(status, UNAUTHORIZED, "nobody has asked for its key");
        status == SWITCHED
    });
    let forged = other.sign(&claims());
    eventually("its key is known to be unknown", || {
        status(&cluster, &forged) == UNAUTHORIZED
    });
    let before = provider.requests();
    // Far longer than the pause.
    for _ in 0..20 {
        assert_eq!(status(&cluster, &forged), UNAUTHORIZED);
        std::thread::sleep(SILENCE / 10);
    }
    assert_eq!(provider.requests(), before);
    assert_eq!(status(&cluster, &token), SWITCHED);
}

/// H10: whoever invents keys has no power over the provider.
fn tokens_cause_no_more_fetches_than_the_pause_allows(cell: Cell) {
    let provider = KeyServer::http();
    let signer = Signer::new(KeyKind::P256);
    provider.publish(&[signer.jwk("one")]);
    let cluster = start(cell, &provider, |s| {
        s.with("jwks_pause", "1h").with("jwks_refresh", "1h")
    });
    assert_eq!(
        status(&cluster, &signer.sign_as("one", &claims())),
        SWITCHED
    );
    for n in 0..30 {
        let token = signer.sign_as(&format!("invented {n}"), &claims());
        assert_eq!(status(&cluster, &token), UNAVAILABLE);
    }
    assert_eq!(provider.requests(), 1, "at the start, and not since");
    assert_eq!(
        status(&cluster, &signer.sign_as("one", &claims())),
        SWITCHED
    );
}

/// A terminal that comes again and again with the token of a key that is gone costs one fetch.
fn a_key_that_was_looked_for_in_vain_is_not_looked_for_again(cell: Cell) {
    let provider = KeyServer::http();
    let signer = Signer::new(KeyKind::P256);
    provider.publish(&[signer.jwk("one")]);
    let cluster = start(cell, &provider, |s| s);
    let gone = signer.sign_as("gone", &claims());
    eventually("it is known to be unknown", || {
        status(&cluster, &gone) == UNAUTHORIZED
    });
    let before = provider.requests();
    // Far longer than the pause.
    for _ in 0..20 {
        assert_eq!(status(&cluster, &gone), UNAUTHORIZED);
        std::thread::sleep(SILENCE / 10);
    }
    assert_eq!(provider.requests(), before);
}

/// H01: a set is public, and so would the secret be.
fn a_shared_secret_in_a_set_never_counts(cell: Cell) {
    let provider = KeyServer::http();
    let signer = Signer::new(KeyKind::P256);
    // The text of the secret, in base64url.
    let secret = json!({"kty": "oct", "kid": "secret", "alg": "HS256",
        "k": "YSBzZWNyZXQgb2YgYXQgbGVhc3QgdGhpcnR5LXR3byBieXRlcw"});
    provider.publish(&[secret, signer.jwk("one")]);
    let cluster = start(cell, &provider, |s| s);
    let header = json!({"alg": "HS256", "kid": "secret"});
    let token = signed(&header, b"a secret of at least thirty-two bytes", &claims());
    eventually("it is refused for good", || {
        status(&cluster, &token) == UNAUTHORIZED
    });
    // Nor does a public key as one.
    let header = json!({"alg": "HS256", "kid": "one"});
    let token = signed(&header, signer.public_pem().as_bytes(), &claims());
    assert_eq!(status(&cluster, &token), UNAUTHORIZED);
    assert_eq!(
        status(&cluster, &signer.sign_as("one", &claims())),
        SWITCHED
    );
}

/// A provider that cannot be asked has its keys handed over as a file.
fn a_set_in_a_file_is_read_again_at_a_hangup(cell: Cell) {
    let (old, new) = (Signer::new(KeyKind::P256), Signer::new(KeyKind::Rsa));
    let file = |keys: &[Value]| json!({"keys": keys}).to_string();
    let cluster = cell.start_with(1, |s| {
        s.with("auth", "jwt")
            .with_file("jwks_file", file(&[old.jwk("old")]))
    });
    assert_eq!(status(&cluster, &old.sign_as("old", &claims())), SWITCHED);
    let token = new.sign_as("new", &claims());
    assert_eq!(status(&cluster, &token), UNAUTHORIZED);

    let both = file(&[old.jwk("old"), new.jwk("new")]);
    cluster[0].reload(&cluster.settings().clone().with_file("jwks_file", both));
    eventually("the new key counts", || {
        status(&cluster, &token) == SWITCHED
    });

    cluster[0].reload(&cluster.settings().clone().with_file("jwks_file", file(&[])));
    cluster[0].await_log("stays in force");
    assert_eq!(status(&cluster, &token), SWITCHED);
}

/// Whoever can change keys on their way can be anybody.
fn an_address_that_cannot_be_trusted_is_refused(cell: Cell) {
    for (arguments, hint) in [
        (&["--jwks-url=http://id.example.com/keys"][..], "--jwks-url"),
        (&["--jwks-url=id.example.com"], "--jwks-url"),
        (
            &["--jwks-url=https://ann:secret@id.example.com"],
            "without a user",
        ),
        (
            &[
                "--jwks-url=https://a.example",
                "--jwks-ca-file=/nonexistent",
            ],
            "--jwks-ca-file",
        ),
        (
            &["--jwks-url=https://a.example", "--jwks-file=keys.json"],
            "exclude each other",
        ),
        (
            &["--jwks-url=http://127.0.0.1:1", "--jwks-timeout=1m"],
            "--jwks-timeout",
        ),
        (
            &["--jwks-file=keys.json", "--jwks-pause=1s"],
            "--jwks-pause",
        ),
    ] {
        let all = [&["serve", "--auth=jwt", "--api=127.0.0.1:0"], arguments].concat();
        let output = run(cell.fleet.adapter(0), &all);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(hint), "{arguments:?}: {text}");
    }
}

/// A server that takes the keys of this provider.
fn start(
    cell: Cell,
    provider: &KeyServer,
    configure: impl FnOnce(Settings) -> Settings,
) -> Cluster {
    cell.start_with(1, |s| {
        configure(
            s.with("auth", "jwt")
                .with("jwks_url", provider.url())
                .with("jwks_pause", "100ms"),
        )
    })
}

/// Such a server, which may not be ready.
fn start_unready(
    cell: Cell,
    provider: &KeyServer,
    configure: impl FnOnce(Settings) -> Settings,
) -> Server {
    let settings = Settings::for_tests()
        .with("auth", "jwt")
        .with("jwks_url", provider.url())
        .with("jwks_pause", "100ms");
    Server::start_unready(cell.fleet.adapter(0), &configure(settings))
}

fn nonsense(provider: &KeyServer) {
    provider.publish_nonsense(200, "<html>Please log in</html>");
}

fn claims() -> Value {
    json!({"sub": "ann", "exp": seconds_from_now(600)})
}

/// What a handshake with this token is answered.
#[track_caller]
fn status(cluster: &Cluster, token: &str) -> u16 {
    status_at(&cluster[0], token)
}

#[track_caller]
fn status_at(server: &Server, token: &str) -> u16 {
    let opened = server.connect().bearer(token).try_open();
    opened.map_or_else(|refusal| refusal.status, |_| SWITCHED)
}
