//! What an operator sees: secrets, Redis in every form, health, metrics, status page.

use std::collections::HashSet;

use switchboard_tests::behaviour::{Behaviour, ONE, PROCESSES};
use switchboard_tests::behaviours;
use switchboard_tests::certificate::Certificate;
use switchboard_tests::cluster::Cluster;
use switchboard_tests::directory::Directory;
use switchboard_tests::http::Request;
use switchboard_tests::matrix::Cell;
use switchboard_tests::patience::{SILENCE, eventually};
use switchboard_tests::redis::RedisServer;
use switchboard_tests::server::Server;
use switchboard_tests::settings::Settings;

pub(crate) const LIST: &[Behaviour] = behaviours![
    (PROCESSES, the_cluster_secret_can_be_a_variable),
    (ONE.single_redis(), an_evicting_redis_is_warned_of),
    (
        PROCESSES.single_redis(),
        redis_with_a_password_works_and_the_password_is_not_logged
    ),
    (
        ONE.single_redis(),
        a_login_that_redis_refuses_is_told_without_its_password
    ),
    (
        PROCESSES.single_redis(),
        redis_over_tls_works_if_its_authority_is_trusted
    ),
    (
        ONE.single_redis(),
        redis_over_tls_is_not_used_if_its_authority_is_not_trusted
    ),
    (
        PROCESSES.in_redis(),
        clusters_with_different_prefixes_do_not_see_each_other
    ),
    (ONE, health_and_metrics_tell_what_happens),
    (ONE, metrics_say_which_server_and_worker_they_are_of),
    (ONE, each_scraper_gets_the_format_that_it_asks_for),
    (ONE, metrics_show_how_full_queues_are),
    (ONE, metrics_have_whatever_alerts_and_dashboard_ask_for),
    (PROCESSES, instances_are_listed_with_their_load),
    (ONE, the_status_page_is_complete_in_itself),
    (ONE.embedded(), a_server_without_redis_says_that_it_is_alone),
];

/// The secret may come from the environment.
fn the_cluster_secret_can_be_a_variable(cell: Cell) {
    let cluster = cell.start_with(2, |s| {
        s.without("cluster_secret_file").variable(
            "SWITCHBOARD_CLUSTER_SECRET",
            "a secret of at least sixteen bytes",
        )
    });
    let mut terminal = cluster[0].terminal("ann");

    cluster[1].api().push("ann", "hello").expect_written(1);

    terminal.expect_text("hello");
}

/// A directory that forgets under pressure is worth a warning.
fn an_evicting_redis_is_warned_of(cell: Cell) {
    let redis =
        RedisServer::start_with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let cluster = Cluster::start_on(Directory::Redis(redis), cell.fleet, 1, |s| s);

    cluster[0].await_log("maxmemory-policy");
}

/// H39: a Redis with a login, which is nobody else's business.
fn redis_with_a_password_works_and_the_password_is_not_logged(cell: Cell) {
    const PASSWORD: &str = "s3cret-of-redis";
    let redis = RedisServer::start();
    let secret = format!(">{PASSWORD}");
    let _: String = redis.command(&["ACL", "SETUSER", "sb", "on", &secret, "~*", "&*", "+@all"]);
    let _: String = redis.command(&["ACL", "SETUSER", "default", "off"]);
    let url = format!("redis://sb:{PASSWORD}@127.0.0.1:{}", redis.port());
    let cluster = Cluster::start_on(Directory::Redis(redis), cell.fleet, 2, |s| {
        s.with("redis", url).with("log_level", "trace")
    });
    let _terminal = cluster[0].terminal("ann");

    cluster[1].api().push("ann", "hello").expect_written(1);

    for server in cluster.servers() {
        server.await_log("settled");
        let log = server.log();
        assert!(!log.contains(PASSWORD), "the password is in the log");
    }
}

/// H39: the operator reads what is wrong with the login and what to do, and nobody else's secret; also where Redis has
/// no password at all, or does not know the command and repeats it.
fn a_login_that_redis_refuses_is_told_without_its_password(cell: Cell) {
    const PASSWORD: &str = "s3cret-of-redis";
    let with_password = || {
        let redis = RedisServer::start();
        let _: String = redis.command(&["CONFIG", "SET", "requirepass", "another-one"]);
        redis
    };
    let without_auth = || RedisServer::start_with(&["--rename-command", "AUTH", ""]);
    for (redis, login, why) in [
        (with_password(), format!(":{PASSWORD}@"), "WRONGPASS"),
        (with_password(), String::new(), "NOAUTH"),
        (
            RedisServer::start(),
            format!(":{PASSWORD}@"),
            "without any password",
        ),
        (
            without_auth(),
            format!("app:{PASSWORD}@"),
            "it knows no AUTH",
        ),
    ] {
        let url = format!("redis://{login}127.0.0.1:{}", redis.port());
        let settings = Settings::for_tests()
            .with("redis", &*url)
            .with("log_level", "trace")
            .with_file("cluster_secret_file", "a secret of this cluster");
        let server = Server::start_unready(cell.fleet.adapter(0), &settings);
        server.await_log("the directory server refuses the login");
        let log = server.log();
        assert!(log.contains(why), "{why}: {log}");
        assert!(!log.contains(PASSWORD), "the password is in the log");
    }
}

/// H39: a Redis behind TLS, with an authority of one's own, which the server finds where OpenSSL would.
fn redis_over_tls_works_if_its_authority_is_trusted(cell: Cell) {
    let certificate = Certificate::for_loopback();
    let (redis, url) = certificate.redis();
    let authority = certificate.authority().display().to_string();
    let cluster = Cluster::start_on(Directory::Redis(redis), cell.fleet, 2, |s| {
        s.with("redis", url.clone())
            .variable("SSL_CERT_FILE", authority)
    });
    let mut terminal = cluster[0].terminal("ann");

    cluster[1].api().push("ann", "hello").expect_written(1);

    terminal.expect_text("hello");
    assert_eq!(cluster.rows().len(), 1);
}

/// H39: a certificate of an unknown authority is no Redis of ours: nothing is written there.
fn redis_over_tls_is_not_used_if_its_authority_is_not_trusted(cell: Cell) {
    let (redis, url) = Certificate::for_loopback().redis();
    let other = Certificate::for_loopback();
    let authority = other.authority().display().to_string();
    let server = Server::start_unready(
        cell.fleet.adapter(0),
        &Settings::for_tests()
            .with_file("cluster_secret_file", "a secret of this test server")
            .with("redis", url)
            .variable("SSL_CERT_FILE", authority),
    );

    server.await_log("certificate");

    let terminal = server.connect().user("ann").open();
    assert!(terminal.degraded);
    assert!(!server.api().is_ready());
    assert_eq!(redis.command::<i64>(&["DBSIZE"]), 0);
}

/// H39: the prefix lets several clusters share one Redis.
fn clusters_with_different_prefixes_do_not_see_each_other(cell: Cell) {
    let cluster = cell.start(1);
    let other = cluster.stranger(|s| s.with("prefix", "other:"));
    let mut theirs = other.terminal("ann");
    let mut ours = cluster[0].terminal("ann");

    cluster[0].api().push("ann", "ours").expect_written(1);

    ours.expect_text("ours");
    theirs.expect_silence(SILENCE);
    assert_eq!(other.api().instances().len(), 1);
}

/// H54: health, readiness and figures are there without a key, and the figures are true.
fn health_and_metrics_tell_what_happens(cell: Cell) {
    let cluster = cell.start(1);
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
    assert!(api.metric("switchboard_http_requests_total") >= 2.0);
    assert!(api.metric("switchboard_push_duration_seconds_count") >= 2.0);
    assert!((api.metric("switchboard_build_info") - 1.0).abs() < 0.5);
    drop(terminals);
    eventually("the gauge falls", || {
        api.metric("switchboard_connections") < 0.5
    });
}

/// H54: the labels are the same after a restart; Prometheus keeps `instance` for itself.
fn metrics_say_which_server_and_worker_they_are_of(cell: Cell) {
    let cluster = cell.start_with(1, |s| s.with("workers", 2).with("name", "web1"));
    let text = cluster[0].api().get("/metrics").text();

    for worker in 0..2 {
        let sample = format!("switchboard_connections{{node=\"web1\",worker=\"{worker}\"}} 0");
        assert!(text.lines().any(|line| line == sample), "{sample}:\n{text}");
    }
    assert!(!text.contains("instance=\""), "{text}");
    for instance in cluster[0].api().instances() {
        assert!(text.contains(&instance.instance), "{instance:?}:\n{text}");
    }

    let unnamed = cell.start(1);
    let node = format!("node=\"{}\"", unnamed[0].peer());
    let connections = unnamed[0].api().metric_of("switchboard_connections", &node);
    assert!(connections.abs() < 0.5);
}

/// H54: Prometheus gets what it asks for, and whoever asks for nothing what all of them read.
fn each_scraper_gets_the_format_that_it_asks_for(cell: Cell) {
    let cluster = cell.start(1);
    let scrape = |accept: Option<&str>| {
        let request = Request::new("GET", "/metrics");
        let request = match accept {
            Some(accept) => request.header("Accept", accept),
            None => request,
        };
        let response = cluster[0].api().send(request);
        let kind = response
            .header("content-type")
            .unwrap_or_default()
            .to_owned();
        (kind, response.text())
    };

    for accept in [None, Some("*/*"), Some("text/plain;version=0.0.4")] {
        let (kind, text) = scrape(accept);
        assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
        assert!(
            text.contains("# TYPE switchboard_pushes_total counter\n"),
            "{text}"
        );
        assert!(
            text.contains("# TYPE switchboard_build_info gauge\n"),
            "{text}"
        );
        assert!(!text.contains("# EOF"), "{text}");
    }
    let (kind, text) = scrape(Some("application/openmetrics-text;version=1.0.0,*/*;q=0.1"));
    assert!(
        kind.starts_with("application/openmetrics-text; version=1.0.0"),
        "{kind}"
    );
    assert!(
        text.contains("# TYPE switchboard_pushes counter\n"),
        "{text}"
    );
    assert!(text.ends_with("# EOF\n"), "{text}");
}

/// H54: they show that a limit comes near.
fn metrics_show_how_full_queues_are(cell: Cell) {
    let cluster = cell.start_with(1, |s| s.with("connections", 7));
    let api = cluster[0].api();
    let _terminals = [cluster[0].terminal("ann"), cluster[0].terminal("bob")];

    let of = |name, setting: &str| api.metric_of(name, &format!("setting=\"{setting}\""));
    let connections = (
        of("switchboard_level", "connections"),
        of("switchboard_level_limit", "connections"),
    );
    assert_eq!(connections, (2.0, 7.0));
    assert!(of("switchboard_level_limit", "queue_frames") > 0.5);
}

/// H54: a metric that is renamed is renamed in `deploy/` as well.
fn metrics_have_whatever_alerts_and_dashboard_ask_for(cell: Cell) {
    const ALERTS: &str = include_str!("../../../deploy/prometheus/alerts.yml");
    const DASHBOARD: &str = include_str!("../../../deploy/grafana/switchboard.json");
    let cluster = cell.start(1);
    let text = cluster[0].api().get("/metrics").text();
    let printed: HashSet<&str> = text
        .lines()
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();

    for file in [ALERTS, DASHBOARD] {
        let words = file.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
        let asked: HashSet<&str> = words
            .filter(|word| word.starts_with("switchboard_"))
            .collect();
        assert!(asked.len() > 10, "{asked:?}");
        for name in asked {
            assert!(printed.contains(name), "nobody prints {name}:\n{text}");
        }
    }
}

/// H54: `/v1/instances` shows each instance with its load, the same at every server.
fn instances_are_listed_with_their_load(cell: Cell) {
    let cluster = cell.start(3);
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
fn the_status_page_is_complete_in_itself(cell: Cell) {
    let cluster = cell.start(1);
    let page = cluster[0].api().get("/");

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

/// The embedded directory is one process, and the server says so.
fn a_server_without_redis_says_that_it_is_alone(cell: Cell) {
    let cluster = cell.start(1);
    cluster[0].await_log("--redis");
}
