//! `check`: what is wrong before a server is started, and its exit status.

use std::process::Stdio;

use switchboard_tests::behaviour::{Behaviour, COMMAND_LINE, INSTANCES, PROCESSES};
use switchboard_tests::behaviours;
use switchboard_tests::cluster::Cluster;
use switchboard_tests::command_line::{run, run_with};
use switchboard_tests::matrix::Cell;
use switchboard_tests::patience::eventually;

pub(crate) const LIST: &[Behaviour] = behaviours![
    (
        PROCESSES.in_redis(),
        a_good_cluster_passes_with_its_instances
    ),
    (
        PROCESSES.in_redis(),
        an_instance_that_cannot_be_reached_is_named
    ),
    (
        PROCESSES.in_redis(),
        a_secret_and_settings_that_are_not_those_of_the_others_are_found
    ),
    (
        INSTANCES.single_redis(),
        a_redis_that_refuses_writes_or_may_evict_is_told
    ),
    (COMMAND_LINE, what_is_wrong_is_an_exit_status),
    (COMMAND_LINE, a_variable_that_is_misspelt_is_told),
];

const WELL: Option<i32> = Some(0);
const WRONG: Option<i32> = Some(1);
const WRONG_USAGE: Option<i32> = Some(2);

/// Each instance is asked for a link, at the address that it says.
fn a_good_cluster_passes_with_its_instances(cell: Cell) {
    let cluster = cell.start(2);
    let (status, text) = check(cell, &cluster);
    assert_eq!(status, WELL, "{text}");
    for instance in cluster[0].api().instances() {
        let line = format!(
            "ok       peers: {} takes links at {}",
            instance.instance, instance.address
        );
        assert!(text.contains(&line), "{text}");
    }
    assert!(!text.contains("error"), "{text}");
    let refused = cluster[0].api().metric("switchboard_peers_refused_total");
    assert_eq!(refused, 0.0, "nobody is alarmed by a check");
}

/// A lease alone is no proof that others can reach its owner.
fn an_instance_that_cannot_be_reached_is_named(cell: Cell) {
    let mut cluster = cell.start_with(2, |s| s.with("lease", "1m").with("isolation", "1m"));
    let gone = cluster[1].peer();
    cluster[1].sigkill();
    let (status, text) = check(cell, &cluster);
    assert_eq!(status, WRONG, "{text}");
    let line = text.lines().find(|line| line.starts_with("error"));
    let line = line.unwrap_or_else(|| panic!("no error in {text}"));
    assert!(
        line.contains("peers") && line.contains(&gone.to_string()),
        "{text}"
    );
}

/// A link that opens is none yet: what is said first over it shows whether there would be one.
fn a_secret_and_settings_that_are_not_those_of_the_others_are_found(cell: Cell) {
    let cluster = cell.start(1);
    let other = |change: &str, value: &str| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let settings = cluster.settings().clone();
        let settings = match change {
            "secret" => settings.with_file("cluster_secret_file", value),
            setting => settings.with(setting, value),
        };
        let file = settings.write(folder.path()).display().to_string();
        let output = run(cell.fleet.adapter(0), &["check", "--config", &file]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text)
    };
    let (status, text) = other("secret", "a secret of somebody else");
    assert_eq!(status, WRONG, "{text}");
    assert!(text.contains("has another cluster secret"), "{text}");

    let (status, text) = other("push_bytes", "3MiB");
    assert_eq!(status, WELL, "{text}");
    assert!(
        text.contains("warning  peers") && text.contains("push_bytes"),
        "{text}"
    );
    let refused = cluster[0].api().metric("switchboard_peers_refused_total");
    assert_eq!(refused, 0.0, "nobody is alarmed by a check");
}

/// It answers reads: without a write nothing would be noticed.
fn a_redis_that_refuses_writes_or_may_evict_is_told(cell: Cell) {
    let cluster = cell.start(1);
    let set = |name: &str, value: &str| -> String {
        cluster.redis().command(&["CONFIG", "SET", name, value])
    };
    set("maxmemory-policy", "allkeys-lru");
    let (status, text) = check(cell, &cluster);
    assert_eq!(status, WELL, "{text}");
    assert!(
        text.contains("warning  redis") && text.contains("noeviction"),
        "{text}"
    );

    set("min-replicas-to-write", "1");
    eventually("it refuses writes", || check(cell, &cluster).0 == WRONG);
    let (_, text) = check(cell, &cluster);
    assert!(text.contains("refuses to write"), "{text}");
}

/// A script can tell a fault of the settings from one of what they name.
fn what_is_wrong_is_an_exit_status(cell: Cell) {
    let adapter = cell.fleet.adapter(0);
    let free = [
        "--listen=127.0.0.1:0",
        "--api=127.0.0.1:0",
        "--peer=127.0.0.1:0",
    ];
    for (arguments, expected, hint) in [
        (&[][..], WELL, "redis: none is set"),
        (&["--lease=10"], WRONG_USAGE, "--lease"),
        (&["--auth=jwt"], WRONG_USAGE, "--jwt-secret-file"),
        (
            &["--redis=redis://127.0.0.1:1"],
            WRONG_USAGE,
            "--cluster-secret-file",
        ),
        (
            &["--jwks-url=http://127.0.0.1:1", "--auth=jwt"],
            WRONG_USAGE,
            "--jwks-url",
        ),
        (&["--listen=192.0.2.1:80", "--auth=open"], WRONG, "--listen"),
    ] {
        let ports = free.into_iter().filter(|port| {
            let flag = port.split('=').next().unwrap_or_default();
            !arguments.iter().any(|argument| argument.starts_with(flag))
        });
        let all: Vec<_> = ["check"]
            .into_iter()
            .chain(ports)
            .chain(arguments.iter().copied())
            .collect();
        let output = run(adapter, &all);
        let text =
            String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), expected, "{arguments:?}: {text}");
        assert!(text.contains(hint), "{arguments:?}: {text}");
    }
}

/// It would be ignored.
fn a_variable_that_is_misspelt_is_told(cell: Cell) {
    let arguments = [
        "check",
        "--listen=127.0.0.1:0",
        "--api=127.0.0.1:0",
        "--peer=127.0.0.1:0",
    ];
    let misspelt = [("SWITCHBOARD_LEESE", "9s")];
    let output = run_with(cell.fleet.adapter(0), &arguments, &misspelt, Stdio::null());
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), WELL, "{text}");
    assert!(
        text.contains("SWITCHBOARD_LEESE") && text.contains("did you mean SWITCHBOARD_LEASE?"),
        "{text}"
    );
}

/// What `check` says of the settings of the first server.
fn check(cell: Cell, cluster: &Cluster) -> (Option<i32>, String) {
    let file = cluster[0].settings_file().display().to_string();
    let output = run(cell.fleet.adapter(1), &["check", "--config", &file]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), text)
}
