//! A terminal that does not read, or that sends much: it costs what its queue may hold, and nobody
//! else anything.

use std::collections::BTreeMap;

use serde_json::Value;
use switchboard_tests::api::{Receipt, push};
use switchboard_tests::behaviour::{Behaviour, INSTANCES};
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
    // time for closing ran out, without one.
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
        let request = push("slow", n.to_string()).query("deadline", "200ms");
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

/// Reads until all messages are answered, in answers that never go back. Gives what came between.
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
