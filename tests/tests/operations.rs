//! What an operator sees: command line, settings, health, metrics, log, status page.

use std::fs;

use switchboard_tests::cluster::Cluster;
use switchboard_tests::http::Request;
use switchboard_tests::patience::eventually;
use switchboard_tests::redis::RedisServer;
use switchboard_tests::server::{Demo, Options, Server, run};
use switchboard_tests::terminal::Connect;
use tempfile::TempDir;

/// The command alone explains itself and does nothing.
#[test]
fn the_command_alone_prints_help_and_exits_with_2() {
    let output = run(&[], &[]);
    assert_eq!(output.status.code(), Some(2));
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(text.contains("serve") && text.contains("demo"), "{text}");

    for arguments in [&["--help"][..], &["serve", "--help"], &["--version"]] {
        assert!(run(arguments, &[]).status.success(), "{arguments:?}");
    }
}

/// The main job by one command: two servers, a terminal at each, a push through either.
#[test]
fn the_demo_pushes_between_two_servers() {
    let demo = Demo::start();
    assert_eq!(demo.apis.len(), 2, "{}", demo.text);
    assert_eq!(demo.terminals.len(), 2, "{}", demo.text);
    assert_eq!(demo.text.matches("curl ").count(), 2, "{}", demo.text);
    let mut terminals: Vec<_> = demo
        .terminals
        .iter()
        .map(|address| Connect::to(*address).user("ann").open())
        .collect();

    for api in &demo.apis {
        let receipt = api.push("ann", "hello");
        assert_eq!((receipt.written, receipt.failed), (2, 0), "{receipt:?}");
        for terminal in &mut terminals {
            terminal.expect_text("hello");
        }
        assert_eq!(api.get("/").status, 200);
    }
    // The ports of the first are taken: others are found.
    assert_eq!(Demo::start().apis.len(), 2);
}

/// H35, H45: a setting that does not fit is named, and what would fit is said.
#[test]
fn a_setting_that_does_not_fit_is_named() {
    let folder = TempDir::new().expect("a temporary folder");
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::write(&path, content).expect("the folder is writable");
        path.display().to_string()
    };
    let unknown = file("unknown.toml", "lease = \"2s\"\nleese = \"2s\"\n");
    let wrong = file("wrong.toml", "queue_frames = \"many\"\n");
    let broken = file("broken.toml", "lease = \n");
    let short = file("short", "short");
    let cases: &[(&[&str], &str)] = &[
        (&["--lease", "soon"], "--lease"),
        (&["--lease", "10"], "--lease"),
        (&["--lease", "18446744073709551616s"], "--lease"),
        (&["--lease", "10ms"], "lease"),
        (&["--lease-renewal", "9s"], "lease-renewal"),
        (&["--slow-consumer", "panic"], "--slow-consumer"),
        (&["--queue-bytes", "1"], "queue-bytes"),
        (&["--listen", "nowhere"], "--listen"),
        (&["--advertise", "0.0.0.0:8082"], "--advertise"),
        (&["--peer", "0.0.0.0:0"], "--advertise"),
        (&["--redis", "http://example.com"], "--redis"),
        (&["--redis", "redis://127.0.0.1:1"], "cluster-secret"),
        (
            &[
                "--redis",
                "redis://127.0.0.1:1",
                "--cluster-secret-file",
                &short,
            ],
            "16",
        ),
        (
            &[
                "--redis",
                "redis://127.0.0.1:1",
                "--cluster-secret-file",
                "/nonexistent",
            ],
            "/nonexistent",
        ),
        (&["--auth", "magic"], "--auth"),
        (&["--auth", "jwt"], "--jwt-secret-file"),
        (&["--auth", "jwt", "--jwt-secret-file", &short], "32"),
        (&["--api-key-file", &short], "16"),
        (&["--config", "/nonexistent.toml"], "/nonexistent.toml"),
        (&["--config", &unknown], "leese"),
        (&["--config", &wrong], "queue_frames"),
        (&["--config", &broken], "line 1"),
        (&["--no-such-flag"], "--no-such-flag"),
    ];
    for (arguments, named) in cases {
        // Free ports, unless the case is about them.
        let mut all = vec!["serve"];
        for (flag, value) in [
            ("--listen", "127.0.0.1:0"),
            ("--api", "127.0.0.1:0"),
            ("--peer", "127.0.0.1:0"),
        ] {
            if !arguments.contains(&flag) {
                all.extend([flag, value]);
            }
        }
        all.extend(*arguments);
        let output = run(&all, &[]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(
            error.contains(named),
            "{arguments:?} should name {named}: {error}"
        );
        assert!(!error.contains("panicked"), "{arguments:?}: {error}");
    }
}

/// Flags come before variables, and those before the file.
#[test]
fn settings_come_from_flag_variable_and_file_in_this_order() {
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("switchboard.toml");
    fs::write(
        &file,
        "connections_per_user = 1\nconnections = 3\nframe_bytes = 125\n",
    )
    .expect("writable");
    let options = Options::for_tests()
        .with("--config", file.display().to_string())
        .environment("SWITCHBOARD_CONNECTIONS_PER_USER", "2")
        .environment("SWITCHBOARD_CONNECTIONS", "2")
        .with("--connections", "4");
    let server = Server::start(&options);

    let _two = [server.terminal("ann"), server.terminal("ann")];
    assert_eq!(
        server.connect().user("ann").refused().status,
        429,
        "two by the variable"
    );
    let mut bob = server.terminal("bob");
    let _four = server.terminal("cid");
    assert_eq!(
        server.connect().user("dan").refused().status,
        503,
        "four by the flag"
    );
    bob.send_text(&"x".repeat(126));
    assert_eq!(bob.ended().code(), Some(1009), "125 bytes by the file");
}

/// A port that is taken is an error that names the flag, not a second listener.
#[test]
fn a_taken_port_is_an_error() {
    let server = Server::start(&Options::for_tests());
    let taken = server.terminals().to_string();
    let output = run(
        &[
            "serve",
            "--listen",
            &taken,
            "--api",
            "127.0.0.1:0",
            "--peer",
            "127.0.0.1:0",
        ],
        &[],
    );
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains(&taken), "{error}");
}

/// The secret may come from the environment.
#[test]
fn the_cluster_secret_can_be_a_variable() {
    let redis = RedisServer::start();
    let options = Options::for_tests()
        .with("--redis", redis.url())
        .environment(
            "SWITCHBOARD_CLUSTER_SECRET",
            "a secret of at least sixteen bytes",
        );
    let servers = [Server::start(&options), Server::start(&options)];
    let mut terminal = servers[0].terminal("ann");

    eventually("they are one cluster", || {
        servers[1].api().instances().len() == 2
    });
    let receipt = servers[1].api().push("ann", "hello");

    assert_eq!(receipt.written, 1, "{receipt:?}");
    terminal.expect_text("hello");
}

/// A directory that forgets under pressure is worth a warning.
#[test]
fn an_evicting_redis_is_warned_of() {
    let redis =
        RedisServer::start_with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let options = Options::for_tests()
        .with("--redis", redis.url())
        .environment(
            "SWITCHBOARD_CLUSTER_SECRET",
            "a secret of at least sixteen bytes",
        );
    let server = Server::start(&options);

    eventually("the log warns", || {
        server.log().contains("maxmemory-policy")
    });
}

/// A Redis with a password.
#[test]
fn redis_with_a_password_works_and_the_password_is_not_logged() {
    let password = "s3cret-of-redis";
    let redis = RedisServer::start();
    let user = [
        "ACL",
        "SETUSER",
        "sb",
        "on",
        &format!(">{password}"),
        "~*",
        "&*",
        "+@all",
    ];
    let _: String = redis.command(&user);
    let _: String = redis.command(&["ACL", "SETUSER", "default", "off"]);
    let url = format!("redis://sb:{password}@127.0.0.1:{}", redis.port());
    let options = Options::for_tests()
        .with("--redis", url)
        .with("--log-level", "trace")
        .environment(
            "SWITCHBOARD_CLUSTER_SECRET",
            "a secret of at least sixteen bytes",
        );
    let server = Server::start(&options);
    let _terminal = server.terminal("ann");

    server.api().push("ann", "hello").expect_written(1);

    assert!(!server.log().contains(password));
}

/// H39: the prefix lets several clusters share one Redis.
#[test]
fn clusters_with_different_prefixes_do_not_see_each_other() {
    let cluster = Cluster::start(1);
    let other = Server::start(&cluster.options().clone().with("--prefix", "other:"));
    let mut theirs = other.terminal("ann");
    let mut ours = cluster[0].terminal("ann");

    cluster[0].api().push("ann", "ours").expect_written(1);

    ours.expect_text("ours");
    theirs.expect_silence(switchboard_tests::patience::SILENCE);
    assert_eq!(other.api().instances().len(), 1);
}

/// H54: health, readiness and figures are there without a key, and the figures are true.
#[test]
fn health_and_metrics_tell_what_happens() {
    let cluster = Cluster::start(2);
    let api = cluster[0].api();
    let terminals = [cluster[0].terminal("ann"), cluster[0].terminal("bob")];

    assert_eq!(api.get("/health/live").status, 200);
    assert_eq!(api.get("/health/ready").status, 200);
    let metrics = api.get("/metrics");
    assert_eq!(metrics.status, 200);
    assert!(
        metrics
            .header("content-type")
            .is_some_and(|t| t.contains("text")),
        "{metrics:?}"
    );
    assert!((api.metric("switchboard_connections") - 2.0).abs() < 0.5);
    let pushes = api.metric("switchboard_pushes_total");
    api.push("ann", "one").expect_written(1);
    api.push("bob", "two").expect_written(1);
    assert!((api.metric("switchboard_pushes_total") - pushes - 2.0).abs() < 0.5);
    assert!(api.metric("switchboard_bugs_total").abs() < 0.5);
    drop(terminals);
    eventually("the gauge falls", || {
        api.metric("switchboard_connections") < 0.5
    });
}

/// H54: `/v1/instances` shows each instance with its load, the same at every server.
#[test]
fn instances_are_listed_with_their_load() {
    let cluster = Cluster::start(3);
    let _terminals: Vec<_> = (0..5)
        .map(|n| cluster[1].terminal(&format!("user-{n}")))
        .collect();

    for server in cluster.servers() {
        eventually("the load is published", || {
            let instances = server.api().instances();
            instances.len() == 3
                && instances.iter().filter(|i| i.this).count() == 1
                && instances.iter().any(|i| {
                    i.address == cluster[1].peer().to_string()
                        && i.connections == 5
                        && i.state == "up"
                })
        });
    }
}

/// H54: a status page that needs nothing from elsewhere.
#[test]
fn the_status_page_is_complete_in_itself() {
    let server = Server::start(&Options::for_tests());
    let page = server.api().get("/");

    assert_eq!(page.status, 200);
    assert!(
        page.header("content-type")
            .is_some_and(|t| t.starts_with("text/html"))
    );
    let text = page.text();
    assert!(text.contains("Switchboard"));
    for foreign in ["src=\"http", "href=\"http", "@import", "//cdn"] {
        assert!(!text.contains(foreign), "{foreign}");
    }
}

/// H55: the log can be read by machines, line by line, and is quiet by default.
#[test]
fn the_log_can_be_json() {
    let server = Server::start(&Options::for_tests().with("--log", "json"));
    let mut terminal = server.terminal("ann");
    for _ in 0..20 {
        server.api().push("ann", "hello").expect_written(1);
        terminal.expect_text("hello");
    }

    let log = server.log();
    assert!(!log.is_empty());
    for line in log.lines() {
        let entry: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let level = entry["level"].as_str().unwrap_or_default().to_uppercase();
        assert!(["INFO", "WARN"].contains(&level.as_str()), "{line}");
    }
    assert!(log.lines().count() < 20, "nothing is logged per message");
}

/// The embedded directory is one process, and the server says so.
#[test]
fn a_server_without_redis_says_that_it_is_alone() {
    let server = Server::start(&Options::for_tests());
    assert!(server.log().contains("--redis"), "{}", server.log());
    let mut terminal = server.terminal("ann");
    server.api().push("ann", "alone").expect_written(1);
    terminal.expect_text("alone");
    assert_eq!(
        server
            .api()
            .send(Request::new("GET", "/v1/instances"))
            .status,
        200
    );
}
