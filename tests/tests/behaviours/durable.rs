//! Durable pushes: terminals that follow their log, over reconnects, killed servers and a Redis that loses it.

use serde_json::json;
use switchboard_tests::api::{Receipt, json_post, push};
use switchboard_tests::behaviour::{Behaviour, INSTANCES, ONE, PROCESSES};
use switchboard_tests::behaviours;
use switchboard_tests::cluster::Cluster;
use switchboard_tests::http::Request;
use switchboard_tests::matrix::Cell;
use switchboard_tests::patience::{SILENCE, eventually};
use switchboard_tests::terminal::{Frame, Terminal};

use crate::traffic::after_settling;

pub(crate) const LIST: &[Behaviour] = behaviours![
    (
        INSTANCES,
        a_follower_gets_each_record_once_and_other_terminals_a_plain_push
    ),
    (INSTANCES, a_terminal_follows_by_its_subprotocol),
    (INSTANCES, a_follower_that_returns_anywhere_misses_nothing),
    (INSTANCES, a_log_keeps_what_the_settings_say),
    (INSTANCES, a_push_has_its_log_keep_other_than_usual),
    (INSTANCES, a_durable_push_to_several_is_a_record_of_each),
    (ONE, what_only_users_have_is_not_durable_for_others),
    (
        INSTANCES.single_redis(),
        a_durable_push_that_may_do_without_redis_goes_out_plain
    ),
    (
        INSTANCES.sentinel(),
        a_receipt_says_whether_a_replica_has_the_record
    ),
    (
        ONE.sentinel(),
        whatever_becomes_of_the_link_for_replicas_no_receipt_is_wrong
    ),
    (
        ONE.sentinel(),
        a_redis_that_forbids_to_wait_for_a_replica_costs_no_push
    ),
    (
        ONE.single_redis(),
        where_there_is_no_replica_no_receipt_says_that_one_has_the_record
    ),
    (INSTANCES, the_last_records_come_before_what_is_pushed),
    (INSTANCES, a_repeat_is_the_same_record),
    (ONE, a_position_that_was_never_told_is_a_gap),
    (ONE, what_cannot_be_asked_of_a_log_is_refused),
    (
        ONE,
        a_follower_that_reads_slowly_catches_up_and_is_not_closed
    ),
    (PROCESSES, followers_of_a_killed_server_go_on_at_another_one),
    (
        INSTANCES.single_redis(),
        a_follower_is_told_when_redis_has_lost_its_log
    ),
    (
        INSTANCES.single_redis(),
        a_durable_push_without_redis_is_refused_and_followers_stay
    ),
];

fn durable(cluster: &Cluster, via: usize, user: &str, text: &str) -> Receipt {
    (cluster[via].api()).receipt(push(user, text).query("durable", "true"))
}

fn follow(cluster: &Cluster, at: usize, user: &str) -> Terminal {
    cluster[at].connect().user(user).query("log", "1").open()
}

fn resume(cluster: &Cluster, at: usize, user: &str, after: &str) -> Terminal {
    let connect = cluster[at].connect().user(user);
    connect.query("after", after).open()
}

/// Order and content are those of the log, for whoever follows it; whoever does not gets what was pushed, as it
/// is.
fn a_follower_gets_each_record_once_and_other_terminals_a_plain_push(cell: Cell) {
    let cluster = cell.start(2);
    let mut ann = follow(&cluster, 0, "ann");
    assert_eq!(ann.log["resumed"], false);
    let mut plain = cluster[1].terminal("ann");
    assert!(plain.log.is_null());
    for number in 0..10 {
        let text = number.to_string();
        let receipt = durable(&cluster, number % 2, "ann", &text);
        receipt.expect_written(2);
        assert_eq!(receipt.logged, ann.expect_record(&text));
        plain.expect_text(&text);
    }
    cluster[1].api().push("ann", "plain").expect_written(2);
    ann.expect_text("plain");
    plain.expect_text("plain");
}

/// Where the query is somebody else's, the subprotocol says it.
fn a_terminal_follows_by_its_subprotocol(cell: Cell) {
    let cluster = cell.start(2);
    let offering = |protocols: &str| {
        let connect = cluster[0].connect().user("ann");
        connect.header("Sec-WebSocket-Protocol", protocols)
    };
    let mut ann = offering("switchboard.v2, switchboard.v1").open();
    assert_eq!(ann.protocol.as_deref(), Some("switchboard.v2"));
    assert_eq!(ann.log["resumed"], false);
    let mut without = offering("switchboard.v2").query("log", "0").open();
    assert!(without.log.is_null());
    durable(&cluster, 1, "ann", "once").expect_written(2);
    let held = ann.expect_record("once");
    without.expect_text("once");

    durable(&cluster, 1, "ann", "again");
    let mut back = offering("switchboard.v2").query("after", &held).open();
    assert_eq!(back.log["resumed"], true);
    back.expect_record("again");
}

fn a_log_keeps_what_the_settings_say(cell: Cell) {
    let cluster = cell.start_with(2, |s| s.with("log_records", 2).with("log_bytes", 9));
    for text in ["first", "a", "b"] {
        durable(&cluster, 0, "ann", text);
    }
    assert_eq!(cluster[1].api().log("ann", "").texts(), ["a", "b"]);
    durable(&cluster, 0, "ann", "12345678");
    assert_eq!(cluster[1].api().log("ann", "").texts(), ["b", "12345678"]);
    durable(&cluster, 0, "ann", "longer than nine");
    assert_eq!(
        cluster[1].api().log("ann", "").texts(),
        ["longer than nine"]
    );
}

fn a_push_has_its_log_keep_other_than_usual(cell: Cell) {
    let cluster = cell.start_with(2, |s| {
        s.with("log_records_max", 200).with("log_age_max", "20m")
    });
    let request = |retain: &str| {
        let request = push("ann", retain).query("durable", "true");
        request.query("retain", retain)
    };
    for retain in ["3", "20m,200", "1"] {
        cluster[0].api().receipt(request(retain));
    }
    assert_eq!(cluster[1].api().log("ann", "").texts(), ["1"]);
    cluster[1].api().receipt(request("1s"));
    eventually("it is over", || {
        cluster[0].api().log("ann", "").records.is_empty()
    });

    for retain in ["201", "21m", "0", "0s", "1s,201", "1d", "-1"] {
        let answer = cluster[0].api().send(request(retain));
        answer.expect_error(400, "bad_retain");
    }
    let plain = push("ann", "x").query("retain", "1");
    (cluster[0].api().send(plain)).expect_error(400, "bad_retain");
    assert!(cluster[0].api().log("ann", "").records.is_empty());
}

/// Each user has a log of his own, and the receipt names the place in each.
fn a_durable_push_to_several_is_a_record_of_each(cell: Cell) {
    let cluster = cell.start(2);
    let mut ann = follow(&cluster, 0, "ann");
    let mut bob = follow(&cluster, 1, "bob");
    let mut plain = cluster[1].terminal("bob");
    let to_all = json!({"users": ["ann", "bob", "eve", "ann"], "base64": "AP8="});
    let request = json_post("/v1/push", &to_all).query("durable", "true");
    let receipt = cluster[0].api().receipt(request);
    receipt.expect_written(3);
    for user in ["ann", "bob", "eve"] {
        let page = cluster[1].api().log(user, "");
        assert_eq!(page.records.len(), 1, "{user}");
        assert_eq!(receipt.logged[user], page.head, "{user}");
        assert_eq!(page.records[0].base64.as_deref(), Some("AP8="));
    }
    for follower in [&mut ann, &mut bob] {
        follower.expect_word("message");
        assert_eq!(follower.recv(), Frame::Binary(vec![0, 255]));
    }
    assert_eq!(plain.recv(), Frame::Binary(vec![0, 255]));

    let to_one = json!({"users": ["ann"], "text": "one"});
    let request = json_post("/v1/push", &to_one).query("durable", "true");
    let receipt = cluster[1].api().receipt(request);
    assert_eq!(receipt.logged, ann.expect_record("one"));
}

/// A connection ends, and everyone is nobody who could come back: neither has a log.
fn what_only_users_have_is_not_durable_for_others(cell: Cell) {
    let cluster = cell.start(1);
    let ann = cluster[0].terminal("ann");
    let api = cluster[0].api();
    let uuid = ann.uuid.to_string();
    let some = json!({"users": ["ann"], "connections": [uuid], "text": "x"});
    let request = json_post("/v1/push", &some).query("durable", "true");
    api.send(request).expect_error(400, "not_durable");
    let request = push("ann", "x").query("durable", "true");
    let request = request.query("connection", &uuid);
    api.send(request).expect_error(400, "not_durable");
    for (method, target) in [
        ("POST", "/v1/broadcast?durable=true"),
        ("DELETE", "/v1/users/ann/connections?durable=true"),
    ] {
        let request = Request::new(method, target).body("x");
        api.send(request).expect_error(400, "bad_query");
    }
    assert!(api.log("ann", "").records.is_empty());
}

/// Nobody waits for a log that he can do without; the receipt says that there is none.
fn a_durable_push_that_may_do_without_redis_goes_out_plain(cell: Cell) {
    let mut cluster = cell.start(2);
    let mut ann = follow(&cluster, 1, "ann");
    let request = |text: &str| {
        let request = push("ann", text).query("durable", "true");
        request.query("log", "optional")
    };
    let receipt = cluster[0].api().receipt(request("kept"));
    assert_eq!(receipt.logged, ann.expect_record("kept"));

    cluster.redis_mut().stop();
    let mut sent = 0;
    eventually("the server knows it", || {
        let request = request(&sent.to_string()).query("deadline", "300ms");
        let receipt = cluster[0].api().receipt(request);
        sent += 1;
        receipt.logged.is_null() && receipt.degraded && receipt.written == 1
    });
    ann.expect_text(&(sent - 1).to_string());
    cluster.redis_mut().start_again();
    cluster.await_all_up();
}

fn for_replica(text: &str) -> Request {
    let request = push("ann", text).query("durable", "true");
    request.query("durability", "replica")
}

/// Terminals do not wait for the replica, and neither do other pushes and the lease.
fn a_receipt_says_whether_a_replica_has_the_record(cell: Cell) {
    let mut cluster = cell.start(2);
    let mut ann = follow(&cluster, 1, "ann");
    let of_two = json!({"users": ["ann", "bob"], "text": "to two"});
    let of_two = json_post("/v1/push", &of_two).query("durable", "true");
    let of_two = of_two.query("durability", "replica");
    let receipt = cluster[0].api().receipt(of_two);
    assert_eq!(receipt.replicated, json!({"ann": true, "bob": true}));
    ann.expect_record("to two");
    let receipt = cluster[0].api().receipt(for_replica("has it"));
    assert_eq!(
        (&receipt.replicated, receipt.degraded),
        (&json!(true), false)
    );
    ann.expect_record("has it");

    cluster.replicated().other().pause();
    let mut waiting = cluster[0].api().publisher();
    waiting.send(for_replica("stalled"));
    let position = ann.expect_record("stalled");
    cluster[0].api().push("ann", "meanwhile").expect_written(1);
    ann.expect_text("meanwhile");
    let receipt = waiting.receipt();
    assert_eq!(receipt.logged, position);
    assert_eq!((&receipt.replicated, receipt.written), (&json!(false), 1));
    assert!(!receipt.degraded, "nobody was missed");

    let metric = |name| cluster[0].api().metric(name);
    let asked = metric("switchboard_log_replicas_asked_total");
    assert_eq!(asked, 4.0);
    assert_eq!(metric("switchboard_log_replicated_total"), asked - 1.0);

    cluster.replicated().other().resume();
    eventually("the replica has caught up", || {
        cluster[0].api().receipt(for_replica("again")).replicated == true
    });
    assert!(
        durable(&cluster, 0, "ann", "asks for none")
            .replicated
            .is_null()
    );

    // The second link goes where the first one goes, to a primary that took over.
    after_settling(&mut cluster, |cluster| cluster.replicated().swap());
    cluster.replicated().mend();
    eventually("the new primary has a replica", || {
        cluster[0]
            .api()
            .receipt(for_replica("once more"))
            .replicated
            == true
    });
}

/// Redis forgets the scripts, ends the connection over which it is asked to wait, or all of them, or is demoted while
/// it waits.
fn whatever_becomes_of_the_link_for_replicas_no_receipt_is_wrong(cell: Cell) {
    let mut cluster = cell.start(1);
    let mut ann = follow(&cluster, 0, "ann");
    let replicated = |cluster: &Cluster, text: &str| {
        let receipt = cluster[0].api().receipt(for_replica(text));
        assert!(receipt.logged.is_string(), "{receipt:?}");
        receipt.replicated == true
    };
    assert!(replicated(&cluster, "first"));
    ann.expect_record("first");

    let primary = cluster.replicated().primary();
    primary.command::<()>(&["SCRIPT", "FLUSH"]);
    assert!(replicated(&cluster, "scripts forgotten"));
    ann.expect_record("scripts forgotten");

    let primary = cluster.replicated().primary();
    let clients: String = primary.command(&["CLIENT", "LIST", "TYPE", "normal"]);
    let waiting = clients.lines().find(|line| line.contains("cmd=wait"));
    let waiting = waiting.and_then(|line| {
        line.split_whitespace()
            .find_map(|field| field.strip_prefix("id="))
    });
    let waiting = waiting.expect("it was asked to wait over this connection last");
    primary.command::<()>(&["CLIENT", "KILL", "ID", waiting]);
    assert!(replicated(&cluster, "one connection ended"));
    ann.expect_record("one connection ended");

    after_settling(&mut cluster, |cluster| {
        let primary = cluster.replicated().primary();
        primary.command::<()>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    });
    assert!(replicated(&cluster, "all connections ended"));
    ann.expect_record("all connections ended");

    cluster.replicated().other().pause();
    let mut waiting = cluster[0].api().publisher();
    waiting.send(for_replica("demoted"));
    ann.expect_record("demoted");
    let replicated = cluster.replicated();
    let replica = replicated.other().port().to_string();
    replicated
        .primary()
        .command::<()>(&["REPLICAOF", "127.0.0.1", &replica]);
    let receipt = waiting.receipt();
    assert_ne!(receipt.replicated, true, "{receipt:?}");
    assert_eq!(receipt.written, 1);
}

/// That the server's user may not run WAIT is not the primary's fault, nor that of those who push.
fn a_redis_that_forbids_to_wait_for_a_replica_costs_no_push(cell: Cell) {
    let mut cluster = cell.start(1);
    let mut ann = follow(&cluster, 0, "ann");
    let primary = cluster.replicated().primary();
    primary.command::<()>(&["ACL", "SETUSER", "default", "-wait"]);
    for text in ["one", "two"] {
        let receipt = cluster[0].api().receipt(for_replica(text));
        assert_eq!(receipt.replicated, json!(false));
        assert_eq!(receipt.logged, ann.expect_record(text));
        assert!(!receipt.degraded, "{receipt:?}");
    }
    eventually("the log says why", || {
        let log = cluster[0].log();
        log.contains("no replica of the directory can be asked for") && log.contains("NOPERM")
    });
    let primary = cluster.replicated().primary();
    primary.command::<()>(&["ACL", "SETUSER", "default", "+wait"]);
    eventually("it is asked again", || {
        cluster[0].api().receipt(for_replica("three")).replicated == true
    });
}

fn where_there_is_no_replica_no_receipt_says_that_one_has_the_record(cell: Cell) {
    let cluster = cell.start(1);
    let receipt = cluster[0].api().receipt(for_replica("alone"));
    assert!(receipt.logged.is_string());
    assert_eq!(receipt.replicated, json!(false));
}

/// H57: at none of the instances.
fn a_follower_that_returns_anywhere_misses_nothing(cell: Cell) {
    let cluster = cell.start(2);
    let mut ann = follow(&cluster, 0, "ann");
    durable(&cluster, 1, "ann", "first");
    let mut held = ann.expect_record("first");
    for round in 0..3 {
        drop(ann);
        let missed = [format!("{round} a"), format!("{round} b")];
        for text in &missed {
            durable(&cluster, 0, "ann", text);
        }
        ann = resume(&cluster, round % 2, "ann", &held);
        assert_eq!(
            (&ann.log["resumed"], &ann.log["position"]),
            (&true.into(), &held.into())
        );
        ann.expect_record(&missed[0]);
        held = ann.expect_record(&missed[1]);
    }
    ann.expect_silence(SILENCE);
}

fn the_last_records_come_before_what_is_pushed(cell: Cell) {
    let cluster = cell.start(2);
    for number in 0..5 {
        durable(&cluster, 0, "ann", &number.to_string());
    }
    let mut ann = cluster[1]
        .connect()
        .user("ann")
        .query("history", "2")
        .open();
    durable(&cluster, 0, "ann", "5");
    for text in ["3", "4", "5"] {
        ann.expect_record(text);
    }
}

/// H49, H61: a repeat under the same id is the same record, and is written once.
fn a_repeat_is_the_same_record(cell: Cell) {
    let cluster = cell.start(2);
    let mut ann = follow(&cluster, 0, "ann");
    let id = "0b0e9f32-5f0e-4a53-8b0a-6e1c1f6f7a11";
    let request = || {
        let request = push("ann", "once").query("durable", "true");
        request.header("idempotency-key", id)
    };
    let first = cluster[0].api().receipt(request());
    let again = cluster[1].api().receipt(request());
    assert_eq!(first.logged, again.logged);
    again.expect_written(1);
    ann.expect_record("once");
    ann.expect_silence(SILENCE);
}

/// H60: what is kept follows, and the terminal is told that something may be missing.
fn a_position_that_was_never_told_is_a_gap(cell: Cell) {
    let cluster = cell.start(1);
    durable(&cluster, 0, "ann", "kept");
    let mut ann = resume(&cluster, 0, "ann", "00000000000001ffffffff");
    assert_eq!(
        (&ann.log["resumed"], &ann.log["reason"]),
        (&false.into(), &"expired".into())
    );
    ann.expect_record("kept");
}

/// H45: bad input is refused, with what to do.
fn what_cannot_be_asked_of_a_log_is_refused(cell: Cell) {
    let cluster = cell.start(1);
    for (name, value) in [
        ("log", "yes"),
        ("after", "7"),
        ("after", ""),
        ("history", "-1"),
    ] {
        let connect = cluster[0].connect().user("ann").query(name, value);
        connect.refused().expect_error(400, "bad_log");
    }
    let api = cluster[0].api();
    let uuid = "0b0e9f32-5f0e-4a53-8b0a-6e1c1f6f7a11";
    let request = push("ann", "x").query("durable", "yes");
    api.send(request).expect_error(400, "bad_durable");
    let request = push("ann", "x").query("durable", "true");
    let request = request.query("connection", uuid);
    api.send(request).expect_error(400, "not_durable");
}

/// H16, H62: what does not fit into its queue it reads from the log, when it reads again.
fn a_follower_that_reads_slowly_catches_up_and_is_not_closed(cell: Cell) {
    const RECORDS: usize = 60;
    let cluster = cell.start_with(1, |s| s.with("queue_frames", 4));
    let connect = cluster[0].connect().user("ann").query("log", "1");
    let mut ann = connect.receive_buffer(4096).open();
    let text = |number: usize| format!("{number} {}", "x".repeat(8192));
    for number in 0..RECORDS {
        (cluster[0].api()).receipt(
            (push("ann", text(number)).query("durable", "true")).query("deadline", "20ms"),
        );
    }
    for number in 0..RECORDS {
        ann.expect_record(&text(number));
    }
}

/// H32, H57: terminals of a server that dies without a word come back at another one, and have missed nothing.
fn followers_of_a_killed_server_go_on_at_another_one(cell: Cell) {
    let mut cluster = cell.start(2);
    let mut ann = follow(&cluster, 0, "ann");
    durable(&cluster, 1, "ann", "before");
    let held = ann.expect_record("before");
    cluster[0].sigkill();
    ann.ended();
    let receipt = (cluster[1].api()).receipt(
        (push("ann", "while it is dead").query("durable", "true")).query("deadline", "500ms"),
    );
    assert!(receipt.logged.is_string(), "{receipt:?}");

    let mut ann = resume(&cluster, 1, "ann", &held);
    ann.expect_record("while it is dead");
    durable(&cluster, 1, "ann", "after");
    ann.expect_record("after");
}

/// H58, H60: a Redis that comes back empty has lost the log: followers are told, and go on with what comes.
fn a_follower_is_told_when_redis_has_lost_its_log(cell: Cell) {
    let mut cluster = cell.start(2);
    let mut ann = follow(&cluster, 0, "ann");
    durable(&cluster, 1, "ann", "before");
    ann.expect_record("before");
    cluster.redis_mut().start_again();
    cluster.await_all_up();

    ann.expect_word("gap");
    eventually("a durable push is taken again", || {
        let request = push("ann", "after").query("durable", "true");
        cluster[1].api().send(request).status == 200
    });
    ann.expect_record("after");
}

/// Nothing is sent that may not be kept; followers stay connected and miss nothing of what comes later.
fn a_durable_push_without_redis_is_refused_and_followers_stay(cell: Cell) {
    let mut cluster = cell.start(2);
    let mut ann = follow(&cluster, 0, "ann");
    cluster.redis_mut().stop();
    eventually("the server knows it", || {
        let request = push("ann", "lost").query("durable", "true");
        let request = request.query("deadline", "100ms");
        cluster[1].api().send(request).status == 503
    });
    cluster.redis_mut().start_again();
    cluster.await_all_up();
    ann.expect_word("gap");
}
