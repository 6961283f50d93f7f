//! What the executable does with what it is told, before it serves.

use std::fs;
use std::process::Stdio;

use switchboard_tests::api::push;
use switchboard_tests::behaviour::{Behaviour, COMMAND_LINE};
use switchboard_tests::behaviours;
use switchboard_tests::command_line::{Demo, run, run_with};
use switchboard_tests::matrix::Cell;
use switchboard_tests::terminal::Connect;
use tempfile::TempDir;

pub(crate) const LIST: &[Behaviour] = behaviours![
    (COMMAND_LINE, the_command_alone_prints_help_and_exits_with_2),
    (COMMAND_LINE, the_demo_pushes_between_two_servers),
    (COMMAND_LINE, a_setting_that_does_not_fit_is_named),
    (
        COMMAND_LINE,
        all_bad_settings_are_named_at_once_wherever_they_are_from
    ),
    (
        COMMAND_LINE,
        settings_come_from_flag_variable_and_file_in_this_order
    ),
    (COMMAND_LINE, a_taken_port_is_an_error),
    (
        COMMAND_LINE,
        an_api_off_loopback_without_keys_is_refused_at_start
    ),
    (COMMAND_LINE, open_authentication_is_a_choice_off_loopback),
];

const COULD_NOT_START: i32 = 1;
const WRONG_USAGE: i32 = 2;

/// The command alone explains itself and does nothing.
fn the_command_alone_prints_help_and_exits_with_2(cell: Cell) {
    let adapter = cell.fleet.adapter(0);
    let output = run(adapter, &[]);
    assert_eq!(output.status.code(), Some(WRONG_USAGE));
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(text.contains("serve") && text.contains("demo"), "{text}");

    for arguments in [&["--help"][..], &["serve", "--help"], &["--version"]] {
        assert!(run(adapter, arguments).status.success(), "{arguments:?}");
    }
}

/// The main job by one command: two servers, a terminal at each, a push through either.
fn the_demo_pushes_between_two_servers(cell: Cell) {
    let adapter = cell.fleet.adapter(0);
    let demo = Demo::start(adapter);
    assert_eq!(demo.apis.len(), 2, "{}", demo.text);
    assert_eq!(demo.terminals.len(), 2, "{}", demo.text);
    assert_eq!(demo.text.matches("curl ").count(), 7, "{}", demo.text);
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
    let [near, far] = &demo.apis[..] else {
        panic!("there are two");
    };
    let joined = near.join("news", "ann");
    assert_eq!((joined.kept, joined.written), (Some(true), 2), "{joined:?}");
    let receipt = far.push_topic("news", "members");
    assert_eq!((receipt.written, receipt.failed), (2, 0), "{receipt:?}");
    for terminal in &mut terminals {
        terminal.expect_topic("joined", "news");
        terminal.expect_text("members");
    }
    assert_eq!(near.members("news", "").count, 2);

    let follower = Connect::to(demo.terminals[0]).user("ben").query("log", "1");
    let mut follower = follower.open();
    near.receipt(push("ben", "before").query("durable", "true"));
    let held = follower.expect_record("before");
    drop(follower);
    near.receipt(push("ben", "meanwhile").query("durable", "true"));
    let back = Connect::to(demo.terminals[1]).user("ben");
    back.query("after", &held).open().expect_record("meanwhile");
    assert_eq!(far.log("ben", "").texts(), ["before", "meanwhile"]);
    // The ports of the first are taken: others are found.
    assert_eq!(Demo::start(adapter).apis.len(), 2);
}

/// H35, H45: a setting that does not fit is named, and what would fit is said.
fn a_setting_that_does_not_fit_is_named(cell: Cell) {
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
        (&["--origins", "https://a*.example.com"], "--origins"),
        (&["--api-hosts", "http://a"], "--api-hosts"),
        (&["--public-url", "nowhere"], "--public-url"),
        (&["--no-such-flag"], "--no-such-flag"),
    ];
    for (arguments, named) in cases {
        let error = complaint(cell, arguments, WRONG_USAGE);
        assert!(
            error.contains(named),
            "{arguments:?} should name {named}: {error}"
        );
    }
}

/// H45: a file and a variable are read as strictly as a flag, and say as much; and nobody has to start
/// the server once for each mistake.
fn all_bad_settings_are_named_at_once_wherever_they_are_from(cell: Cell) {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("settings.toml");
    let file = "queue_bytes = \"4MB\"\nlisten = \"here\"\nsweep = 30\norigin = []\nlinks = \n";
    fs::write(&path, file).expect("the folder is writable");
    let path = path.display().to_string();
    let in_file = [
        "line 1: `queue_bytes`: `4MB` is not a size",
        "line 2: `listen`: `here` is not an address",
        "line 3: `sweep`: `30` is not a duration",
        "line 4: there is no setting `origin`: did you mean `origins`?",
        "line 5: ",
    ];
    let elsewhere = [
        "--lease: `soon` is not a duration",
        "SWITCHBOARD_PUSHES: `many` is not a number",
        "SWITCHBOARD_LOG: `loud` is none of human, json",
    ];
    let variables = [
        ("SWITCHBOARD_PUSHES", "many"),
        ("SWITCHBOARD_LOG", "loud"),
        ("SWITCHBOARD_CONFIG", &*path),
    ];
    let named = |arguments: &[&str], variables: &[(&str, &str)], expected: &[&str]| {
        let output = run_with(cell.fleet.adapter(0), arguments, variables, Stdio::null());
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(WRONG_USAGE), "{error}");
        for complaint in expected {
            assert_eq!(error.matches(complaint).count(), 1, "{complaint}: {error}");
        }
        let count = format!("{} settings cannot be used:", expected.len());
        assert!(error.contains(&count), "{error}");
    };
    named(&["serve", "--config", &path], &[], &in_file);
    let all = [&in_file[..], &elsewhere].concat();
    for command in ["serve", "check"] {
        named(&[command, "--lease", "soon"], &variables, &all);
    }
    named(
        &["serve", "--lease-renewal=9s", "--api=0.0.0.0:0"],
        &[("SWITCHBOARD_FRAME_BYTES", "1")],
        &["--lease-renewal: ", "--api: ", "SWITCHBOARD_FRAME_BYTES: "],
    );
}

/// Flags come before variables, and those before the file.
fn settings_come_from_flag_variable_and_file_in_this_order(cell: Cell) {
    let cluster = cell.start_with(1, |s| {
        s.with("connections_per_user", 1)
            .with("connections", 3)
            .with("frame_bytes", 125)
            .variable("SWITCHBOARD_CONNECTIONS_PER_USER", "2")
            .variable("SWITCHBOARD_CONNECTIONS", "2")
            .flag("--connections", "4")
    });
    let server = &cluster[0];

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

/// A port that is taken is an error that names it and the flag, not a second listener.
fn a_taken_port_is_an_error(cell: Cell) {
    let cluster = cell.start(1);
    let taken = cluster[0].terminals().to_string();
    let error = complaint(cell, &["--listen", &taken], COULD_NOT_START);
    assert!(
        error.contains(&taken) && error.contains("--listen"),
        "{error}"
    );
}

/// H03: an API for everybody's network needs keys.
fn an_api_off_loopback_without_keys_is_refused_at_start(cell: Cell) {
    let error = complaint(cell, &["--api", "0.0.0.0:0"], WRONG_USAGE);
    assert!(error.contains("--api-key-file"), "{error}");
}

/// Off loopback no default says who may connect.
fn open_authentication_is_a_choice_off_loopback(cell: Cell) {
    let error = complaint(cell, &["--listen", "0.0.0.0:0"], WRONG_USAGE);
    assert!(error.contains("--auth"), "{error}");
}

/// What a server says that does not start with these flags, and ends with this status. Its ports are
/// free unless they are among them.
#[track_caller]
fn complaint(cell: Cell, flags: &[&str], status: i32) -> String {
    let mut arguments = vec!["serve"];
    for port in ["--listen", "--api", "--peer"] {
        if !flags.contains(&port) {
            arguments.extend([port, "127.0.0.1:0"]);
        }
    }
    arguments.extend(flags);
    let output = run(cell.fleet.adapter(0), &arguments);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{flags:?}: {error}");
    assert!(!error.contains("panicked"), "{flags:?}: {error}");
    error
}
