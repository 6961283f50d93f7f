//! A terminal that does not read, or that sends much: it costs what its queue may hold, and nobody
//! else anything.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use switchboard_tests::api::{Receipt, push};
use switchboard_tests::behaviour::{Behaviour, INSTANCES, ONE};
use switchboard_tests::behaviours;
use switchboard_tests::cluster::Cluster;
use switchboard_tests::matrix::Cell;
use switchboard_tests::patience::eventually;
use switchboard_tests::raw::{RawTerminal, masked_frame, opcode};

pub(crate) const LIST: &[Behaviour] = behaviours![
    (INSTANCES, a_terminal_that_never_reads_is_closed),
    (
        INSTANCES,
        a_terminal_that_never_reads_loses_the_oldest_frames
    ),
    (INSTANCES, a_terminal_that_never_reads_gets_no_new_frames),
    (INSTANCES, a_terminal_that_never_reads_delays_nobody),
    (INSTANCES, a_frame_that_waits_is_reported_as_queued),
    (INSTANCES, a_burst_of_messages_closes_nobody),
    (INSTANCES, a_burst_of_messages_displaces_no_push),
    (INSTANCES, a_terminal_that_takes_pushes_slowly_stays),
    (ONE, a_terminal_that_sends_a_message_slowly_stays),
    (
        INSTANCES,
        a_terminal_that_takes_no_more_is_given_up_in_the_middle_of_a_push
    ),
];

/// Large, so that a few fill what the kernel's buffers and the queue hold.
const BODY: usize = 256 * 1024;

/// More bytes than all buffers on the way and the queue together.
const PUSHES: usize = 64;

/// H23, H24, H26: with the policy `close` the slow terminal is let go, and is told why.
fn a_terminal_that_never_reads_is_closed(cell: Cell) {
    let cluster = cluster(cell, "close");
    let mut slow = silent(&cluster);

    let receipts = push_until(&cluster, |receipt| receipt.total() == 0);

    assert!(
        outcomes(&receipts).contains_key("overflow"),
        "{:?}",
        outcomes(&receipts)
    );
    assert!(cluster[0].api().connections("slow").connections.is_empty());
    // What it finds in its buffers, when it reads at last, ends with the code for this or, if the
    // time for closing expired, without one.
    if let Ok(code) = slow.close_code() {
        assert_eq!(code, 4003);
    }
    assert!(slow.has_ended());
}

/// H23, H24: with `drop-oldest` the connection stays and the newest frames are kept.
fn a_terminal_that_never_reads_loses_the_oldest_frames(cell: Cell) {
    let cluster = cluster(cell, "drop-oldest");
    let mut slow = silent(&cluster);

    push_all(&cluster);

    assert_eq!(cluster[0].api().connections("slow").connections.len(), 1);
    let numbers = read_until_last(&cluster, &mut slow);
    assert!(numbers.len() < PUSHES, "something was dropped");
    assert!(
        numbers.is_sorted_by(|a, b| a < b),
        "what is kept is in order: {numbers:?}"
    );
    assert_eq!(
        *numbers.get(numbers.len() - 2).expect("some were kept"),
        PUSHES - 1
    );
}

/// H23, H24, H41: with `drop-newest` the connection stays, the oldest frames are kept, and the
/// receipts say which were not.
fn a_terminal_that_never_reads_gets_no_new_frames(cell: Cell) {
    let cluster = cluster(cell, "drop-newest");
    let mut slow = silent(&cluster);

    let receipts = push_all(&cluster);

    assert_eq!(cluster[0].api().connections("slow").connections.len(), 1);
    let outcomes: Vec<_> = receipts
        .iter()
        .map(|receipt| receipt.terminals[0].outcome.as_str())
        .collect();
    assert!(outcomes.contains(&"overflow"), "the queue has a limit");
    let numbers = read_until_last(&cluster, &mut slow);
    assert!(
        numbers.is_sorted_by(|a, b| a < b),
        "what is kept is in order: {numbers:?}"
    );
    for (n, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            "written" | "queued" => assert!(numbers.contains(&n), "{n} was accepted"),
            // On a busy machine the owner's answer may come too late.
            "unreachable" => {}
            _ => assert!(!numbers.contains(&n), "{n}: {outcome}"),
        }
    }
}

/// H23: publishers to others, and other terminals of the same user, are not delayed by it.
fn a_terminal_that_never_reads_delays_nobody(cell: Cell) {
    let cluster = cluster(cell, "drop-newest");
    let _slow = silent(&cluster);
    let sibling = cluster[0].terminal("slow").follow();
    let other = cluster[0].terminal("other").follow();

    push_all(&cluster);
    let receipt = cluster[1].api().receipt(push("other", "at once"));

    receipt.expect_written(1);
    other.await_frames(1);
    sibling.await_frames(PUSHES);
    let expected: Vec<_> = (0..PUSHES).collect();
    let numbers: Vec<_> = sibling
        .texts()
        .iter()
        .map(|text| number(text.as_bytes()))
        .collect();
    assert_eq!(numbers, expected);
}

/// H23, H25: a frame that is not with the operating system by the deadline is not called written.
fn a_frame_that_waits_is_reported_as_queued(cell: Cell) {
    let cluster = cell.start_with(2, |s| {
        s.with("queue_bytes", 67108864).with("queue_frames", 100000)
    });
    let _slow = silent(&cluster);

    let receipts = push_until(&cluster, |receipt| receipt.queued == 1);

    let last = receipts.last().expect("at least one");
    assert_eq!(
        (last.written, last.queued, last.failed),
        (0, 1, 0),
        "{last:?}"
    );
}

/// Messages that a terminal sends at once: more than frames may wait for it.
const MESSAGES: usize = 5000;

/// H24: a phone that sends what it has kept while it was offline, and reads all the time, stays.
fn a_burst_of_messages_closes_nobody(cell: Cell) {
    let cluster = cell.start_with(2, |s| s.with("queue_frames", 8));
    let mut phone = cluster[0].connect().user("phone").raw();
    phone.read_frame().expect("the hello");

    phone.write(&burst()).expect("it is read");

    assert!(read_answers(&mut phone).is_empty());
    cluster[1]
        .api()
        .push("phone", "all is well")
        .expect_written(1);
}

/// H24: one that reads nothing meanwhile loses no push by what it sends.
fn a_burst_of_messages_displaces_no_push(cell: Cell) {
    let cluster = cell.start_with(2, |s| {
        s.with("slow_consumer", "drop-oldest")
            .with("queue_frames", 8)
    });
    let mut slow = silent(&cluster);
    // Their answers fill what is left of the buffers on the way.
    let sent: Vec<_> = (0..4).collect();
    for n in &sent {
        slow.write(&burst()).expect("it is read");
        let request = push("slow", n.to_string()).query("deadline", "1s");
        let receipt = cluster[1].api().receipt(request);
        assert_eq!(receipt.failed, 0, "{receipt:?}");
        slow.write(&burst()).expect("it is read");
    }

    let mut numbers = Vec::new();
    while numbers.len() < sent.len() {
        let (_, payload) = slow.read_frame().expect("an answer or a push");
        if !payload.starts_with(b"{") {
            numbers.push(number(&payload));
        }
    }
    assert_eq!(numbers, sent);
}

fn burst() -> Vec<u8> {
    masked_frame(0x80 | opcode::TEXT, b"kept").repeat(MESSAGES)
}

/// Reads until all messages are answered, in answers that never go back. Returns what came between.
fn read_answers(phone: &mut RawTerminal) -> Vec<Vec<u8>> {
    let mut others = Vec::new();
    let mut answered = 0;
    while answered < MESSAGES as u64 {
        let (_, payload) = phone.read_frame().expect("it stays connected");
        let frame: Value = serde_json::from_slice(&payload).unwrap_or_default();
        let Some(dropped) = frame["switchboard"]["dropped"].as_u64() else {
            others.push(payload);
            continue;
        };
        assert!(dropped > answered, "{dropped} after {answered}");
        answered = dropped;
    }
    assert_eq!(answered, MESSAGES as u64);
    others
}

/// What a slow line carries in a moment.
const TRICKLE: usize = 16 * 1024;
const MOMENT: Duration = Duration::from_millis(50);

/// Pings often, and gives up soon: within a fraction of the time that the tests below trickle.
fn impatient(cell: Cell, instances: usize) -> Cluster {
    cell.start_with(instances, |s| {
        s.with("ping_interval", "300ms").with("ping_timeout", "2s")
    })
}

/// H23, H27: pings wait behind two pushes for several times as long as an answer may take; bytes are
/// taken all the time.
fn a_terminal_that_takes_pushes_slowly_stays(cell: Cell) {
    const BYTES: usize = 1 << 20;
    let cluster = impatient(cell, 2);
    let mut slow = silent(&cluster);

    std::thread::scope(|scope| {
        for body in ["a", "b"] {
            let api = cluster[1].api();
            scope
                .spawn(move || assert_eq!(api.receipt(push("slow", body.repeat(BYTES))).failed, 0));
        }
        let mut taken = 0;
        while taken < 2 * BYTES {
            std::thread::sleep(MOMENT);
            taken += slow.trickle(TRICKLE).expect("it stays connected");
        }
    });

    let mut bodies = Vec::new();
    while bodies.len() < 2 {
        match slow.read_frame().expect("it stays connected") {
            (opcode::PING, payload) => slow.send(opcode::PONG, &payload).expect("it is there"),
            (_, payload) => {
                assert!(payload.len() == BYTES && payload.iter().all(|byte| *byte == payload[0]));
                bodies.push(payload[0]);
            }
        }
    }
    bodies.sort_unstable();
    assert_eq!(bodies, [b'a', b'b']);
    cluster[1]
        .api()
        .push("slow", "all is well")
        .expect_written(1);
}

/// H27: no frame is complete for several times as long as an answer may take; bytes come all the
/// time.
fn a_terminal_that_sends_a_message_slowly_stays(cell: Cell) {
    let cluster = impatient(cell, 1);
    let mut slow = silent(&cluster);
    let message = masked_frame(0x80 | opcode::BINARY, &[7; 60_000]);

    for chunk in message.chunks(message.len() / 100) {
        std::thread::sleep(MOMENT);
        slow.write(chunk).expect("it stays connected");
    }

    let answered = std::iter::repeat_with(|| slow.read_frame().expect("it stays connected"))
        .find(|(kind, _)| *kind == opcode::TEXT);
    let (_, answer) = answered.expect("an answer");
    assert_eq!(answer, br#"{"switchboard":{"dropped":1}}"#);
}

/// H13, H23, H27: the operating systems on the way hold the rest of a push, and nobody takes it.
fn a_terminal_that_takes_no_more_is_given_up_in_the_middle_of_a_push(cell: Cell) {
    let cluster = impatient(cell, 2);
    let mut slow = silent(&cluster);
    let receipt = cluster[1].api().receipt(push("slow", "x".repeat(1 << 20)));
    assert_eq!(receipt.failed, 0, "{receipt:?}");
    slow.trickle(TRICKLE).expect("what has come");

    eventually("it is given up", || {
        cluster[1].api().connections("slow").connections.is_empty()
    });
    eventually("it is counted", || {
        let timeouts: f64 = (cluster.servers().iter())
            .map(|server| {
                server.api().metric_of(
                    "switchboard_terminals_gone_total",
                    r#"reason="ping_timeout""#,
                )
            })
            .sum();
        timeouts >= 1.0
    });
}

const LAST: usize = 999_999;

fn cluster(cell: Cell, policy: &str) -> Cluster {
    cell.start_with(2, |s| {
        s.with("slow_consumer", policy)
            .with("push_bytes", 300000)
            .with("queue_bytes", 1048576)
            .with("queue_frames", 64)
            .with("close_timeout", "1s")
    })
}

fn silent(cluster: &Cluster) -> RawTerminal {
    let mut raw = cluster[0].connect().user("slow").receive_buffer(4096).raw();
    raw.read_frame().expect("the hello");
    raw
}

fn body(n: usize) -> String {
    format!("{n}/{}", "x".repeat(BODY))
}

fn number(payload: &[u8]) -> usize {
    let digits: Vec<_> = payload
        .iter()
        .copied()
        .take_while(u8::is_ascii_digit)
        .collect();
    String::from_utf8_lossy(&digits)
        .parse()
        .expect("bodies begin with a number")
}

/// Pushes with a short deadline, so that those that wait do not hold up the test.
fn push_all(cluster: &Cluster) -> Vec<Receipt> {
    let mut publisher = cluster[1].api().publisher();
    (0..PUSHES)
        .map(|n| {
            publisher.send(push("slow", body(n)).query("deadline", "200ms"));
            publisher.receipt()
        })
        .collect()
}

fn push_until(cluster: &Cluster, mut done: impl FnMut(&Receipt) -> bool) -> Vec<Receipt> {
    const MOST: usize = 3 * PUSHES;
    let mut publisher = cluster[1].api().publisher();
    let mut receipts = Vec::new();
    for n in 0..MOST {
        publisher.send(push("slow", body(n)).query("deadline", "200ms"));
        receipts.push(publisher.receipt());
        if done(&receipts[n]) {
            return receipts;
        }
    }
    panic!("not after {MOST} pushes: {:?}", outcomes(&receipts));
}

/// The number of the next payload; pings may come between them.
fn next_number(slow: &mut RawTerminal) -> usize {
    loop {
        let (kind, payload) = slow.read_frame().expect("what waited");
        if kind == opcode::TEXT {
            return number(&payload);
        }
    }
}

/// Reads all that waits and then a last push, which has a place as soon as the terminal reads.
fn read_until_last(cluster: &Cluster, slow: &mut RawTerminal) -> Vec<usize> {
    let mut numbers = Vec::new();
    // Reading makes room for the last push, and reading on finds it.
    numbers.push(next_number(slow));
    std::thread::scope(|scope| {
        let api = cluster[1].api();
        scope.spawn(move || {
            eventually("there is room", || {
                let receipt = api.receipt(push("slow", LAST.to_string()));
                receipt.failed == 0
            });
        });
        while numbers.last() != Some(&LAST) {
            numbers.push(next_number(slow));
        }
    });
    numbers
}

fn outcomes(receipts: &[Receipt]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for terminal in receipts.iter().flat_map(|receipt| &receipt.terminals) {
        *counts.entry(terminal.outcome.clone()).or_default() += 1;
    }
    counts
}
