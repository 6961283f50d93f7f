//! A receipt says what became of a push, and a repeat does nothing twice.

use std::thread;
use std::time::Duration;

use switchboard_tests::api::push;
use switchboard_tests::behaviour::{Behaviour, INSTANCES, ONE, PROCESSES};
use switchboard_tests::behaviours;
use switchboard_tests::http::Request;
use switchboard_tests::matrix::Cell;
use switchboard_tests::patience::{SILENCE, eventually};
use switchboard_tests::terminal::Terminal;
use uuid::{Uuid, uuid};

pub(crate) const LIST: &[Behaviour] = behaviours![
    (INSTANCES, a_repeat_is_about_those_who_are_connected_then),
    (
        INSTANCES,
        a_repeat_at_the_same_instance_is_not_written_twice_and_reports_the_first_outcome
    ),
    (
        INSTANCES,
        a_repeat_at_another_instance_is_not_written_twice_and_reports_the_first_outcome
    ),
    (
        INSTANCES,
        simultaneous_repeats_at_all_instances_are_written_once
    ),
    (
        INSTANCES,
        a_repeat_reaches_a_terminal_that_has_come_meanwhile
    ),
    (ONE, equal_bodies_without_a_key_are_different_pushes),
    (
        INSTANCES,
        a_push_to_a_terminal_that_has_gone_does_not_say_written
    ),
    (
        PROCESSES,
        a_stalled_instance_makes_its_terminals_unreachable_and_delays_nobody_else
    ),
    (PROCESSES, a_receipt_does_not_wait_beyond_its_deadline),
    (ONE, deadlines_out_of_range_are_refused),
    (PROCESSES, a_push_over_a_link_that_was_idle_succeeds),
    (INSTANCES, a_repeated_broadcast_is_not_written_twice),
    (
        PROCESSES,
        a_broadcast_names_the_instance_that_did_not_answer
    ),
];

const PUSH: Uuid = uuid!("6f9619ff-8b86-4011-b42d-00c04fc964ff");

#[track_caller]
fn expect_once(terminals: &mut [Terminal]) {
    for terminal in terminals {
        terminal.expect_text("once");
        terminal.expect_silence(SILENCE);
    }
}

/// H49: the caller that repeats a push after a lost answer does no harm.
fn a_repeat_at_the_same_instance_is_not_written_twice_and_reports_the_first_outcome(cell: Cell) {
    let cluster = cell.start(2);
    let mut terminals = [cluster[0].terminal("ann"), cluster[1].terminal("ann")];
    let request = push("ann", "once").header("Idempotency-Key", PUSH.to_string());

    let first = cluster[0].api().receipt(request.clone());
    let repeat = cluster[0].api().receipt(request);

    first.expect_written(2);
    assert_eq!(first.push, PUSH);
    repeat.expect_written(2);
    assert_eq!(repeat.push, PUSH);
    assert_eq!(first.connections(), repeat.connections());
    expect_once(&mut terminals);
}

/// H41, H49: whoever has gone is not called offline by the first push, and not named by its repeat;
/// whoever has come since gets it.
fn a_repeat_is_about_those_who_are_connected_then(cell: Cell) {
    let cluster = cell.start(2);
    let gone = cluster[0].terminal("ann");
    let request = push("ann", "once").header("Idempotency-Key", PUSH.to_string());
    cluster[1].api().receipt(request.clone()).expect_written(1);

    gone.close();
    eventually("it has gone", || {
        cluster[1].api().connections("ann").connections.is_empty()
    });
    let repeat = cluster[1].api().receipt(request.clone());
    assert_eq!((repeat.total(), repeat.degraded), (0, false), "{repeat:?}");

    let mut came = cluster[0].terminal("ann");
    cluster[1].api().receipt(request.clone()).expect_written(1);
    came.expect_text("once");
    cluster[0].api().receipt(request).expect_written(1);
    came.expect_silence(SILENCE);
}

/// H49: also when a balancer sends the repeat elsewhere.
fn a_repeat_at_another_instance_is_not_written_twice_and_reports_the_first_outcome(cell: Cell) {
    let cluster = cell.start(3);
    let mut terminals = [cluster[0].terminal("ann"), cluster[1].terminal("ann")];
    let request = push("ann", "once").header("Idempotency-Key", PUSH.to_string());

    for instance in 0..3 {
        let receipt = cluster[instance].api().receipt(request.clone());
        receipt.expect_written(2);
        assert_eq!(receipt.push, PUSH);
    }

    expect_once(&mut terminals);
}

/// H49: repeats that are under way at the same time.
fn simultaneous_repeats_at_all_instances_are_written_once(cell: Cell) {
    let cluster = cell.start(3);
    let mut terminal = cluster[0].terminal("ann");
    let request = push("ann", "once").header("Idempotency-Key", PUSH.to_string());

    thread::scope(|scope| {
        for instance in 0..3 {
            let (api, request) = (cluster[instance].api(), request.clone());
            scope.spawn(move || api.receipt(request).expect_written(1));
        }
    });

    terminal.expect_text("once");
    terminal.expect_silence(SILENCE);
}

/// H49: a terminal that came after the first attempt gets the repeat, the others do not.
fn a_repeat_reaches_a_terminal_that_has_come_meanwhile(cell: Cell) {
    let cluster = cell.start(2);
    let mut early = cluster[0].terminal("ann");
    let request = push("ann", "once").header("Idempotency-Key", PUSH.to_string());
    cluster[1].api().receipt(request.clone()).expect_written(1);
    let mut late = cluster[1].terminal("ann");

    cluster[0].api().receipt(request).expect_written(2);

    early.expect_text("once");
    early.expect_silence(SILENCE);
    late.expect_text("once");
}

/// H49, H52: a broadcast too has an id, by which every instance knows it.
fn a_repeated_broadcast_is_not_written_twice(cell: Cell) {
    let cluster = cell.start(2);
    let mut terminals = [cluster[0].terminal("ann"), cluster[1].terminal("bob")];
    let request = Request::new("POST", "/v1/broadcast")
        .header("Idempotency-Key", PUSH.to_string())
        .body("once");

    for instance in [0, 0, 1] {
        let receipt = cluster[instance].api().receipt(request.clone());
        receipt.expect_written(2);
        assert_eq!(receipt.push, PUSH);
    }

    expect_once(&mut terminals);
}

/// H48, H52: an instance that is silent is named, and the others are counted.
fn a_broadcast_names_the_instance_that_did_not_answer(cell: Cell) {
    let cluster = cell.start_with(3, |s| s.with("lease", "20s").with("isolation", "20s"));
    let mut terminals = [0, 1, 2].map(|i| cluster[i].terminal("ann"));
    cluster[2].api().broadcast("before").expect_written(3);
    let instances = cluster[0].api().instances();
    let silent = instances.iter().find(|i| i.this).expect("it sees itself");
    cluster[0].sigstop();

    let receipt = cluster[2].api().receipt(
        Request::new("POST", "/v1/broadcast")
            .query("deadline", "1s")
            .body("during"),
    );

    cluster[0].sigcont();
    assert_eq!((receipt.written, receipt.failed), (2, 0), "{receipt:?}");
    assert_eq!(receipt.instances.len(), 3, "{receipt:?}");
    for instance in &receipt.instances {
        assert_eq!(instance.answered, instance.instance != silent.instance);
    }
    for terminal in &mut terminals[1..] {
        terminal.expect_text("before");
        terminal.expect_text("during");
    }
}

/// Pushes without a key of the caller's are different pushes, even with the same body.
fn equal_bodies_without_a_key_are_different_pushes(cell: Cell) {
    let cluster = cell.start(1);
    let mut terminal = cluster[0].terminal("ann");

    let first = cluster[0].api().push("ann", "again");
    let second = cluster[0].api().push("ann", "again");

    assert_ne!(first.push, second.push);
    terminal.expect_text("again");
    terminal.expect_text("again");
}

/// H25, H41: a push never says "written" of a terminal that has gone.
fn a_push_to_a_terminal_that_has_gone_does_not_say_written(cell: Cell) {
    let cluster = cell.start(2);
    let gone = cluster[0].terminal("ann");
    let mut stays = cluster[1].terminal("ann");
    let uuid = gone.uuid;
    gone.reset();

    eventually("a push no longer counts the terminal that has gone", || {
        let receipt = cluster[1].api().push("ann", "who is there?");
        assert_eq!(receipt.outcome(stays.uuid), Some("written"), "{receipt:?}");
        receipt.outcome(uuid).is_none()
    });
    stays.expect_text("who is there?");
}

/// H25, H41, H46: a stalled owner is reported as such when the deadline has come, and not before
/// the others are served.
fn a_stalled_instance_makes_its_terminals_unreachable_and_delays_nobody_else(cell: Cell) {
    let cluster = cell.start_with(3, |s| s.with("lease", "20s").with("isolation", "20s"));
    let stalled = cluster[0].terminal("ann");
    let mut well = cluster[1].terminal("ann");
    cluster[2].api().push("ann", "before").expect_written(2);
    well.expect_text("before");
    cluster[0].sigstop();

    let request = push("ann", "during").query("deadline", "1500ms");
    let receipt = thread::scope(|scope| {
        let api = cluster[2].api();
        let answer = scope.spawn(move || api.receipt(request));
        well.expect_text("during");
        answer.join().expect("the receipt comes")
    });

    assert_eq!(receipt.outcome(well.uuid), Some("written"), "{receipt:?}");
    assert_eq!(
        receipt.outcome(stalled.uuid),
        Some("unreachable"),
        "{receipt:?}"
    );
    assert_eq!((receipt.written, receipt.failed), (1, 1));
    cluster[0].sigcont();
}

/// H45, H46: a receipt comes by the deadline of its own push, not by another's.
fn a_receipt_does_not_wait_beyond_its_deadline(cell: Cell) {
    let cluster = cell.start_with(2, |s| s.with("lease", "20s").with("isolation", "20s"));
    let _stalled = cluster[0].terminal("ann");
    cluster[1].api().push("ann", "warm").expect_written(1);
    cluster[0].sigstop();

    thread::scope(|scope| {
        let api = cluster[1].api();
        let patient = push("ann", "patient").query("deadline", "6s");
        let patient = scope.spawn(move || api.receipt(patient));
        let hasty = push("ann", "hasty").query("deadline", "200ms");
        let receipt = cluster[1].api().receipt(hasty);

        assert_eq!((receipt.written, receipt.failed), (0, 1), "{receipt:?}");
        assert!(!patient.is_finished(), "the other's deadline is far away");
        assert_eq!(patient.join().expect("a receipt").failed, 1);
    });
    cluster[0].sigcont();
}

/// H45, H46: every deadline in range is accepted, every other one refused with an error.
fn deadlines_out_of_range_are_refused(cell: Cell) {
    let cluster = cell.start(1);
    let api = cluster[0].api();
    let _terminal = cluster[0].terminal("ann");

    // What the receipt of the shortest one says depends on the machine.
    api.receipt(push("ann", "x").query("deadline", "10ms"));
    for deadline in ["3s", "30s"] {
        api.receipt(push("ann", "x").query("deadline", deadline))
            .expect_written(1);
    }
    let refused = [
        "9ms",
        "0s",
        "31s",
        "1h",
        "-1s",
        "",
        "5",
        "1.5s",
        "18446744073709551616s",
        "9223372036854775807h",
    ];
    for deadline in refused {
        let response = api.send(push("ann", "x").query("deadline", deadline));
        response.expect_error(400, "bad_deadline");
    }
}

/// H44: a link that has been idle is as good as a fresh one.
fn a_push_over_a_link_that_was_idle_succeeds(cell: Cell) {
    const SEVERAL_HEARTBEATS: Duration = Duration::from_secs(2);
    let cluster = cell.start_with(2, |s| s.with("link_heartbeat", "200ms"));
    let mut terminal = cluster[0].terminal("ann");
    cluster[1].api().push("ann", "first").expect_written(1);

    thread::sleep(SEVERAL_HEARTBEATS);
    cluster[1].api().push("ann", "second").expect_written(1);

    terminal.expect_text("first");
    terminal.expect_text("second");
}
