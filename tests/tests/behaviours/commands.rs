//! Commands that ask a running server, and those that help to set one up.

use std::io::{Read, Seek, SeekFrom, Write};
use std::net::TcpListener;
use std::process::{Output, Stdio};
use std::thread;

use serde_json::{Value, json};
use switchboard_tests::behaviour::{Behaviour, COMMAND_LINE, INSTANCES, ONE, PROCESSES};
use switchboard_tests::behaviours;
use switchboard_tests::cluster::Cluster;
use switchboard_tests::command_line::{run, run_with};
use switchboard_tests::http::Request;
use switchboard_tests::matrix::Cell;
use switchboard_tests::patience::eventually;
use switchboard_tests::server::Server;
use switchboard_tests::settings::Settings;
use switchboard_tests::terminal::{Ending, Frame};
use tempfile::{NamedTempFile, tempfile};

pub(crate) const LIST: &[Behaviour] = behaviours![
    (INSTANCES, a_push_prints_its_receipt),
    (ONE, a_push_of_standard_input_arrives_byte_for_byte),
    (
        ONE,
        a_push_that_nobody_gets_is_told_apart_from_one_that_fails
    ),
    (
        PROCESSES.single_redis(),
        nobody_is_called_offline_while_that_is_not_known
    ),
    (ONE, a_repeated_push_prints_the_first_outcome),
    (INSTANCES, where_a_user_is_connected_is_listed),
    (INSTANCES, a_kick_ends_one_connection_or_all),
    (INSTANCES, a_log_is_printed_and_removed),
    (ONE, a_push_waits_for_confirmations_if_it_is_told_to),
    (ONE, a_durable_push_says_what_the_log_keeps_of_it),
    (
        PROCESSES.single_redis(),
        a_durable_push_goes_out_without_redis_if_it_may
    ),
    (INSTANCES, a_topic_is_joined_pushed_to_listed_and_left),
    (INSTANCES, the_instances_are_listed),
    (ONE, the_json_of_the_api_is_printed_as_it_came),
    (ONE.embedded(), an_api_with_keys_is_asked_with_one),
    (ONE, who_cannot_be_asked_is_said_with_what_to_do),
    (ONE, a_token_of_the_command_line_connects),
    (COMMAND_LINE, a_token_needs_a_secret),
    (COMMAND_LINE, the_sample_file_is_one),
];

const DONE: Option<i32> = Some(0);
const REFUSED: Option<i32> = Some(1);
const WRONG_USAGE: Option<i32> = Some(2);
const IN_DOUBT: Option<i32> = Some(3);
const KEY: &str = "a key of the API that is long enough";

/// The receipt is for people: counts, and each terminal.
fn a_push_prints_its_receipt(cell: Cell) {
    let cluster = cell.start(2);
    let mut terminals = [cluster[0].terminal("ann"), cluster[1].terminal("ann")];
    let mut bob = cluster[0].terminal("bob");

    let output = ask(cell, &cluster, &["push", "ann", "hello"]);

    assert_eq!(output.status.code(), DONE, "{output:?}");
    let text = printed(&output);
    assert!(
        text.starts_with("written 2, queued 0, failed 0\n"),
        "{text}"
    );
    for terminal in &mut terminals {
        terminal.expect_text("hello");
        let row = row(&text, &terminal.uuid.to_string());
        assert_eq!(row, [terminal.uuid.to_string().as_str(), "written"]);
    }
    let one = bob.uuid.to_string();
    let output = ask(
        cell,
        &cluster,
        &["push", "bob", "--connection", &one, "you"],
    );
    assert_eq!(output.status.code(), DONE, "{output:?}");
    bob.expect_text("you");
}

/// What is not on the command line is not changed either: no line end is added or lost.
fn a_push_of_standard_input_arrives_byte_for_byte(cell: Cell) {
    let cluster = cell.start(1);
    let mut terminal = cluster[0].terminal("ann & bob/§");
    let content = b"two\nlines\n\0\xff";

    let output = ask_with(
        cell,
        &cluster,
        &["push", "ann & bob/§", "-", "--binary"],
        content,
    );

    assert_eq!(output.status.code(), DONE, "{output:?}");
    assert_eq!(terminal.recv(), Frame::Binary(content.to_vec()));
    let output = ask_with(cell, &cluster, &["push", "ann & bob/§", "-"], content);
    assert_eq!(output.status.code(), REFUSED, "{output:?}");
    assert!(complaint(&output).contains("not_utf8"), "{output:?}");
}

/// A user who is offline is no error, and a script can tell the outcomes apart.
fn a_push_that_nobody_gets_is_told_apart_from_one_that_fails(cell: Cell) {
    let cluster = cell.start_with(1, |s| {
        s.with("push_bytes", 65_536)
            .with("queue_bytes", 65_536)
            .with("slow_consumer", "drop-newest")
    });
    let output = ask(cell, &cluster, &["push", "nobody", "hello"]);
    assert_eq!(output.status.code(), DONE, "{output:?}");
    assert!(printed(&output).contains("nobody is offline"), "{output:?}");

    // What it does not read fills the sockets, and then its queue.
    let _deaf = cluster[0].connect().user("ann").receive_buffer(4096).raw();
    let payload = "x".repeat(60_000);
    let mut publisher = cluster[0].api().publisher();
    eventually("its queue is full", || {
        publisher.push("ann", &payload).failed > 0
    });
    let output = ask(cell, &cluster, &["push", "ann", &payload]);
    assert_eq!(output.status.code(), IN_DOUBT, "{output:?}");
    assert!(printed(&output).contains("overflow"), "{output:?}");
}

/// A server without its directory, and a push to some connections only, know nothing of the user.
fn nobody_is_called_offline_while_that_is_not_known(cell: Cell) {
    let cluster = cell.start(1);
    let id = "0b0e9f32-5f0e-4a53-8b0a-6e1c1f6f7a11";
    for arguments in [
        &["push", "ann", "x", "--connection", id],
        &["push", "ann", "x", "--id", id],
    ] {
        let output = ask(cell, &cluster, arguments);
        assert_eq!(output.status.code(), DONE, "{output:?}");
        assert!(
            printed(&output).contains("nobody was reached"),
            "{output:?}"
        );
    }

    cluster.redis().pause();
    eventually("the server is in doubt", || {
        cluster[0].api().push("ann", "x").degraded
    });
    for (arguments, hint) in [
        (&["push", "ann", "x"][..], "nobody was reached"),
        (&["kick", "ann"], "nobody was reached"),
        (&["kick", "ann", id], "nobody was reached"),
        (&["where", "ann"], "no connection of ann is known"),
    ] {
        let output = ask(cell, &cluster, arguments);
        assert_eq!(output.status.code(), IN_DOUBT, "{output:?}");
        let text = printed(&output);
        assert!(text.contains(hint) && !text.contains("offline"), "{text}");
    }
}

/// An id of the caller's makes a push one that can be repeated.
fn a_repeated_push_prints_the_first_outcome(cell: Cell) {
    let cluster = cell.start(1);
    let mut terminal = cluster[0].terminal("ann");
    let id = "0b0e9f32-5f0e-4a53-8b0a-6e1c1f6f7a11";
    for _ in 0..2 {
        let output = ask(cell, &cluster, &["push", "ann", "once", "--id", id]);
        assert!(printed(&output).starts_with("written 1,"), "{output:?}");
    }
    ask(cell, &cluster, &["push", "ann", "last"]);
    terminal.expect_text("once");
    terminal.expect_text("last");
}

/// Each connection, and the address of the instance that holds it.
fn where_a_user_is_connected_is_listed(cell: Cell) {
    let cluster = cell.start(2);
    let terminals = [cluster[0].terminal("ann"), cluster[1].terminal("ann")];

    let text = printed(&ask(cell, &cluster, &["where", "ann"]));

    let instances = cluster[0].api().instances();
    for terminal in &terminals {
        let row = row(&text, &terminal.uuid.to_string());
        let instance = instances
            .iter()
            .find(|known| known.instance == row[1])
            .expect("it is one of the cluster");
        assert_eq!(row[2], instance.address, "{text}");
        assert!(row[3].ends_with('Z'), "{text}");
    }
    let text = printed(&ask(cell, &cluster, &["where", "bob"]));
    assert_eq!(text, "bob is offline\n");
}

/// One, and then the others.
fn a_kick_ends_one_connection_or_all(cell: Cell) {
    let cluster = cell.start(2);
    let first = cluster[0].terminal("ann").follow();
    let second = cluster[1].terminal("ann").follow();

    let output = ask(cell, &cluster, &["kick", "ann", &first.uuid.to_string()]);
    assert_eq!(output.status.code(), DONE, "{output:?}");
    assert!(printed(&output).starts_with("written 1,"), "{output:?}");
    assert_eq!(first.await_ending().code(), Some(4001));

    let again = ask(cell, &cluster, &["kick", "ann", &first.uuid.to_string()]);
    assert!(printed(&again).contains("no such connection"), "{again:?}");
    let output = ask(cell, &cluster, &["kick", "ann"]);
    assert!(printed(&output).starts_with("written 1,"), "{output:?}");
    assert_eq!(
        second.await_ending(),
        Ending::Closed(4001, "kicked".to_owned())
    );
}

/// The receipt counts the terminals that have confirmed the record.
fn a_push_waits_for_confirmations_if_it_is_told_to(cell: Cell) {
    let cluster = cell.start(1);
    let mut ann = cluster[0].connect().user("ann").query("log", "1").open();
    let acked = ["--until", "acked", "--deadline", "30s", "ann", "hello"];
    let durable = [["push", "--durable"].as_slice(), &acked].concat();
    let output = thread::scope(|scope| {
        let asked = scope.spawn(|| ask(cell, &cluster, &durable));
        let position = ann.expect_record("hello");
        ann.send_text(&format!(r#"{{"switchboard":{{"ack":"{position}"}}}}"#));
        asked.join().expect("it ends")
    });
    assert_eq!(output.status.code(), DONE, "{output:?}");
    let text = printed(&output);
    assert!(
        text.starts_with("written 0, queued 0, acked 1, failed 0\n"),
        "{text}"
    );
    // A script that has asked for a confirmation does not take a record without one for well.
    for (wanted, user) in [
        (&["--until", "acked", "--deadline", "300ms"][..], "ann"),
        (&["--until", "acked"], "nobody"),
    ] {
        let durable = [&["push", "--durable"], wanted, &[user, "hello"]].concat();
        let output = ask(cell, &cluster, &durable);
        assert_eq!(output.status.code(), IN_DOUBT, "{durable:?}: {output:?}");
        assert!(printed(&output).contains("in the log: "), "{output:?}");
    }
    let plain = [["push"].as_slice(), &acked].concat();
    let output = ask(cell, &cluster, &plain);
    assert_eq!(output.status.code(), WRONG_USAGE, "{output:?}");
}

/// The last push says for the whole log.
fn a_durable_push_says_what_the_log_keeps_of_it(cell: Cell) {
    let cluster = cell.start(1);
    let kept = |of: &str| cluster[0].api().log(of, "").records.len();
    for retain in [None, Some("1h"), Some("1h,2")] {
        let retain = retain.map(|what| ["--retain", what]);
        let push = ["push", "--durable", "ann", "hello"];
        let output = ask(
            cell,
            &cluster,
            &[&push, retain.as_slice().as_flattened()].concat(),
        );
        assert_eq!(output.status.code(), DONE, "{output:?}");
    }
    assert_eq!(kept("ann"), 2);
    let push = [
        "topic",
        "push",
        "--durable",
        "--retain",
        "1",
        "news",
        "hello",
    ];
    for _ in 0..2 {
        let output = ask(cell, &cluster, &push);
        assert_eq!(output.status.code(), DONE, "{output:?}");
    }
    let log = ask(cell, &cluster, &["topic", "log", "news"]);
    assert_eq!(printed(&log).matches("hello").count(), 1, "{log:?}");

    // What is no time and no number the server does not take, and of a plain push nothing is kept.
    let wrong = [
        "push",
        "--durable",
        "--retain",
        "for ever & a day",
        "ann",
        "hello",
    ];
    let output = ask(cell, &cluster, &wrong);
    assert_eq!(output.status.code(), REFUSED, "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("bad_retain"), "{said}");
    for of_log in [["--retain", "1h"], ["--log", "optional"]] {
        let output = ask(
            cell,
            &cluster,
            &[&["push", "ann", "hello"], &of_log[..]].concat(),
        );
        assert_eq!(output.status.code(), WRONG_USAGE, "{output:?}");
    }
}

/// Without a link to Redis there is no log, and who is connected may be told all the same.
fn a_durable_push_goes_out_without_redis_if_it_may(cell: Cell) {
    let mut cluster = cell.start(1);
    let mut ann = cluster[0].terminal("ann");
    cluster.redis_mut().stop();
    eventually("the server knows it", || {
        let request = Request::new("POST", "/v1/users/bob/push?durable=true").body("x");
        cluster[0].api().send(request).status == 503
    });
    let durable = ["push", "--durable", "ann", "hello"];
    let output = ask(cell, &cluster, &durable);
    assert_eq!(output.status.code(), REFUSED, "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("directory_away"), "{said}");

    let output = ask(
        cell,
        &cluster,
        &[&durable[..], &["--log", "optional"]].concat(),
    );
    assert_eq!(output.status.code(), IN_DOUBT, "{output:?}");
    let text = printed(&output);
    assert!(text.starts_with("written 1,"), "{text}");
    assert!(
        text.ends_with("\nnot in the log: it is a plain push, as there was no link to Redis\n"),
        "{text}"
    );
    ann.expect_text("hello");
}

/// What is pushed durably is shown, and is gone when it is removed.
fn a_log_is_printed_and_removed(cell: Cell) {
    let cluster = cell.start(2);
    let output = ask(cell, &cluster, &["push", "--durable", "ann", "hello"]);
    assert_eq!(output.status.code(), DONE, "{output:?}");
    let page = cluster[1].api().log("ann", "");
    let position = page.records[0].position.as_str();
    let text = printed(&output);
    assert!(
        text.ends_with(&format!("\nin the log: {position}\n")),
        "{text}"
    );

    let output = ask(cell, &cluster, &["log", "ann"]);
    assert_eq!(output.status.code(), DONE, "{output:?}");
    let push = page.records[0].push.to_string();
    let text = printed(&output);
    assert_eq!(row(&text, position), [position, push.as_str(), "hello"]);

    let output = ask(cell, &cluster, &["log", "ann", "--delete"]);
    assert_eq!(output.status.code(), DONE, "{output:?}");
    assert_eq!(printed(&output), "removed 1 records\n");
    let output = ask(cell, &cluster, &["log", "ann", "--after", position]);
    assert_eq!(output.status.code(), IN_DOUBT, "{output:?}");
    let text = printed(&output);
    assert!(text.contains("does not know this position"), "{text}");
}

/// The cluster at a glance.
fn the_instances_are_listed(cell: Cell) {
    let cluster = cell.start(2);
    let text = printed(&ask(cell, &cluster, &["instances"]));
    for instance in cluster[0].api().instances() {
        let row = row(&text, &instance.instance);
        assert_eq!(&row[1..3], [instance.address.as_str(), "up"], "{text}");
    }
}

/// For programs there is what the API says, and nothing else.
fn the_json_of_the_api_is_printed_as_it_came(cell: Cell) {
    let cluster = cell.start(1);
    let terminal = cluster[0].terminal("ann").follow();
    let json = |arguments: &[&str]| -> Value {
        let output = ask(cell, &cluster, &[arguments, &["--json"]].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    };
    let connection = json!(terminal.uuid);
    assert_eq!(
        json(&["where", "ann"])["connections"][0]["connection"],
        connection
    );
    assert_eq!(
        json(&["push", "ann", "x"])["terminals"][0]["connection"],
        connection
    );
    assert_eq!(json(&["instances"])["instances"][0]["this"], json!(true));
    assert_eq!(json(&["kick", "ann"])["written"], json!(1));
}

/// H03: the key is read from a file, as the server reads it, and is never shown.
fn an_api_with_keys_is_asked_with_one(cell: Cell) {
    let adapter = cell.fleet.adapter(0);
    // The harness of a cluster would ask without a key.
    let keys = format!("# ours\n{KEY}\n");
    let server = Server::start(
        adapter,
        &Settings::for_tests().with_file("api_key_file", keys),
    );
    let api = server.api().address().to_string();
    let file = |text: &str| {
        let mut file = NamedTempFile::new().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("it is writable");
        file
    };
    let (right, wrong) = (
        file(&format!("{KEY}\n")),
        file("another key that is long enough\n"),
    );
    let path = |file: &NamedTempFile| file.path().display().to_string();
    let ask = |arguments: &[&str], variables: &[(&str, &str)]| {
        let all = [&["instances", "--api", &api], arguments].concat();
        run_with(adapter, &all, variables, Stdio::null())
    };

    assert_eq!(ask(&["--key-file", &path(&right)], &[]).status.code(), DONE);
    let by_variable = ask(&[], &[("SWITCHBOARD_API_KEY_FILE", &path(&right))]);
    assert_eq!(by_variable.status.code(), DONE);
    for (output, hints) in [
        (ask(&[], &[]), ["no_key", "--key-file"]),
        (
            ask(&["--key-file", &path(&wrong)], &[]),
            ["wrong_key", &path(&wrong)],
        ),
        (
            ask(&["--key-file", "/nonexistent"], &[]),
            ["--key-file", "/nonexistent"],
        ),
    ] {
        assert_eq!(output.status.code(), REFUSED, "{output:?}");
        let text = complaint(&output);
        assert!(hints.iter().all(|hint| text.contains(hint)), "{text}");
        assert!(!text.contains("long enough"), "a key is shown: {text}");
    }
}

/// A caller that asks the wrong one is told what is there instead.
fn who_cannot_be_asked_is_said_with_what_to_do(cell: Cell) {
    let cluster = cell.start(1);
    let server = &cluster[0];
    let adapter = cell.fleet.adapter(0);
    let refused = |api: &str| {
        let output = run(adapter, &["instances", "--api", api]);
        assert_eq!(output.status.code(), REFUSED, "{api}: {output:?}");
        assert!(output.stdout.is_empty(), "{api}: {output:?}");
        complaint(&output)
    };
    let api = server.api().address();
    for (api, hint) in [
        (format!("https://{api}"), "http://"),
        (server.terminals().to_string(), "--api"),
        (server.peer().to_string(), "--api"),
        ("127.0.0.1:1".to_owned(), "nobody listens"),
        (something_else(), "HTTP"),
    ] {
        let text = refused(&api);
        assert!(text.contains(hint), "{api}: {text}");
    }
    let output = run(adapter, &["instances", "--api", "ftp://example.com"]);
    assert_eq!(output.status.code(), WRONG_USAGE, "{output:?}");
    let output = run(adapter, &["push", "", "to nobody"]);
    assert_eq!(output.status.code(), WRONG_USAGE, "{output:?}");
    let variable = [("SWITCHBOARD_API", api.to_string())];
    let variable = variable
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let output = run_with(adapter, &["instances"], &variable, Stdio::null());
    assert_eq!(output.status.code(), DONE, "{output:?}");
}

/// In development nothing but the server's own settings is needed to connect.
fn a_token_of_the_command_line_connects(cell: Cell) {
    let secret = "a secret of at least thirty-two bytes\n";
    let cluster = cell.start_with(1, |s| {
        s.with("auth", "jwt")
            .with("jwt_audience", vec!["push", "other"])
            .with("jwt_issuer", vec!["us"])
            .with_file("jwt_secret_file", secret)
    });
    let settings = cluster[0].settings_file().display().to_string();
    let token = |more: &[&str]| {
        let arguments = [&["token", "ann", "--config", &settings], more].concat();
        let output = run(cell.fleet.adapter(0), &arguments);
        assert_eq!(output.status.code(), DONE, "{output:?}");
        printed(&output)
    };

    let mut terminal = cluster[0].connect().bearer(token(&[]).trim()).open();

    cluster[0].api().push("ann", "hello").expect_written(1);
    terminal.expect_text("hello");
    let joins = token(&["--topics", "news,room-*"]);
    let _member = cluster[0].connect().bearer(joins.trim()).open();
    eventually("it is a member by its token", || {
        cluster[0].api().topic("news").count == 1
    });
}

/// Without the secret nobody can make one.
fn a_token_needs_a_secret(cell: Cell) {
    let adapter = cell.fleet.adapter(0);
    for (arguments, hint) in [
        (&["token", "ann"][..], "--jwt-secret-file"),
        (
            &["token", "ann", "--jwt-secret-file", "/nonexistent"],
            "/nonexistent",
        ),
    ] {
        let output = run(adapter, arguments);
        assert_eq!(output.status.code(), WRONG_USAGE, "{output:?}");
        assert!(complaint(&output).contains(hint), "{output:?}");
    }
}

/// What `config` prints is a settings file.
fn the_sample_file_is_one(cell: Cell) {
    let output = run(cell.fleet.adapter(0), &["config"]);
    assert_eq!(output.status.code(), DONE, "{output:?}");
    let text = printed(&output);
    assert!(text.parse::<toml::Table>().is_ok(), "{text}");
    let uncommented = text.replace("\n#lease = ", "\nlease = ");
    let settings: toml::Table = uncommented.parse().expect("TOML");
    assert_eq!(settings["lease"].as_str(), Some("10s"), "{text}");
}

/// A command, asked of the first server.
/// What becomes of a topic, of its members and of those to come, in words and tables.
fn a_topic_is_joined_pushed_to_listed_and_left(cell: Cell) {
    let cluster = cell.start(2);
    let mut terminal = cluster[1].terminal("ann & bob/§");
    let ask = |arguments: &[&str]| {
        let arguments = [&["topic"], arguments].concat();
        let output = ask(cell, &cluster, &arguments);
        assert_eq!(output.status.code(), DONE, "{output:?}");
        printed(&output)
    };
    let (topic, user) = ("news/to day", "ann & bob/§");
    let text = ask(&["members", topic]);
    assert_eq!(text, format!("no member of {topic} is known\n"));
    let text = ask(&["push", topic, "nobody"]);
    assert_eq!(text, format!("no member of {topic} is known\n"));
    let text = ask(&["join", topic, user]);
    let joined = "joined 1, queued 0, failed 0\nconnections to come as well\n";
    assert_eq!(text, joined);
    terminal.expect_topic("joined", topic);
    let text = ask(&["push", topic, "hello"]);
    assert!(
        text.starts_with("written 1, queued 0, failed 0\n"),
        "{text}"
    );
    terminal.expect_text("hello");
    let uuid = terminal.uuid.to_string();
    let text = ask(&["show", topic]);
    assert!(text.starts_with("1 member\nINSTANCE"), "{text}");
    assert!(text.ends_with("no log\n"), "{text}");
    let text = ask(&["members", topic, "--limit", "1"]);
    assert!(text.starts_with("1 member\n"), "{text}");
    assert_eq!(row(&text, &uuid)[1], "ann");
    assert!(text.contains(&format!("--after {uuid}")), "{text}");
    let text = ask(&["push", topic, "others", "--except", &uuid]);
    assert!(
        text.starts_with("written 0, queued 0, failed 0\n"),
        "{text}"
    );
    let text = ask(&["leave", topic, user, "--connection", &uuid]);
    assert_eq!(text, "left 1, queued 0, failed 0\n");
    terminal.expect_topic("left", topic);
}

fn ask(cell: Cell, cluster: &Cluster, arguments: &[&str]) -> Output {
    ask_with(cell, cluster, arguments, b"")
}

fn ask_with(cell: Cell, cluster: &Cluster, arguments: &[&str], input: &[u8]) -> Output {
    let api = cluster[0].api().address().to_string();
    let mut file = tempfile().expect("a temporary file");
    file.write_all(input)
        .and_then(|()| file.seek(SeekFrom::Start(0)))
        .expect("it is writable");
    let arguments = [arguments, &["--api", &api]].concat();
    run_with(cell.fleet.adapter(1), &arguments, &[], file)
}

/// Where a program is that speaks another protocol.
fn something_else() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("it is asked");
        client
            .write_all(b"+OK who are you?\r\n")
            .expect("it is there");
        // It ends when the client has read enough.
        let _ = client.read(&mut [0; 1024]);
        let _ = client.read(&mut [0; 1024]);
    });
    address.to_string()
}

/// The cells of the row that begins with this.
#[track_caller]
fn row<'a>(text: &'a str, begin: &str) -> Vec<&'a str> {
    let row = text.lines().find(|line| line.starts_with(begin));
    let row = row.unwrap_or_else(|| panic!("no row {begin} in\n{text}"));
    row.split_whitespace().collect()
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
