//! Logs that are refused or damaged, and followers that are told of much at once: none holds up another, and each
//! comes to an end.

use std::time::Duration;

use super::followers::{durable, follow, told};
use super::pair;
use crate::config::Config;
use crate::directory::log::{
    Content, LogOperation, LogPart, LogReply, LogStart, Logged, Record, Retention,
};
use crate::directory::{Operation, OperationResult, Reply};
use crate::event::Follow;
use crate::frame::Payload;
use crate::id::{PushId, UserId};
use crate::position::{Nonce, Position};
use crate::testing::cluster::Cluster;
use crate::testing::rig::refused;

const SECOND: Duration = Duration::from_secs(1);

/// Refuses to read the log of `bad`.
fn refuses_bad(operation: &Operation) -> Option<OperationResult> {
    let Operation::Log {
        channel,
        operation: LogOperation::Read { .. },
    } = operation
    else {
        return None;
    };
    let user = channel.user()?;
    (user.as_str() == "bad").then(refused)?
}

/// Says that nothing follows the first position, and that it is not the head.
fn damaged(operation: &Operation) -> Option<OperationResult> {
    let Operation::Log {
        operation: LogOperation::Read { start, .. },
        ..
    } = operation
    else {
        return None;
    };
    let head = at(9);
    let after = match start {
        LogStart::After(positions) => positions.first().copied().filter(|after| *after == head),
        LogStart::Last(_) | LogStart::Behind(_) => None,
    };
    Some(Ok(Reply::Log(LogReply::Part(LogPart {
        head,
        base: at(1),
        after: after.or(Some(at(1))),
        records: Vec::new(),
    }))))
}

/// Answers one record that is none, at the head.
fn unknown_kind(operation: &Operation) -> Option<OperationResult> {
    let damaged = damaged(operation)?;
    let Ok(Reply::Log(LogReply::Part(part))) = damaged else {
        return None;
    };
    let record = Record {
        position: part.head,
        push: PushId::new(uuid::Uuid::nil()),
        content: Content {
            flags: Content::UNKNOWN,
            bytes: bytes::Bytes::new(),
        },
    };
    let records = match part.after == Some(part.head) {
        true => Vec::new(),
        false => vec![record],
    };
    Some(Ok(Reply::Log(LogReply::Part(LogPart { records, ..part }))))
}

fn at(number: u64) -> Position {
    Position::new(number, 0).expect("in range")
}

#[test]
fn a_log_that_is_refused_holds_up_no_other() {
    let mut cluster = pair();
    cluster.refuse(refuses_bad, [0, 1]);
    let (_, bad) = follow(&mut cluster, 0, "bad", Follow::default());
    let (_, good) = follow(&mut cluster, 0, "good", Follow::default());
    assert_eq!(told(&cluster, good), ["hello Anew"]);
    assert_eq!(told(&cluster, bad), [""; 0]);
    cluster.pass(60 * SECOND);
    let failed = cluster.instances[0].stats().log_reads_failed;
    assert!(
        (5..20).contains(&failed),
        "{failed} reads of a log that is refused"
    );
    cluster.refuses = None;
    cluster.pass(20 * SECOND);
    assert_eq!(told(&cluster, bad), ["hello ?", "log Anew"]);
}

#[test]
fn what_is_no_record_is_a_gap_and_is_not_read_for_ever() {
    for damage in [damaged, unknown_kind] {
        let mut cluster = pair();
        cluster.refuse(damage, [0]);
        let (_, ann) = follow(&mut cluster, 0, "ann", Follow::default());
        cluster.pass(SECOND);
        assert_eq!(told(&cluster, ann), ["hello Anew", "gap"]);
        let stats = cluster.instances[0].stats();
        assert!(stats.log_reads < 5, "{} reads", stats.log_reads);
        assert!(stats.malformed_entries > 0);
    }
}

/// It is told so at once, or it would come back to the same place for ever.
#[test]
fn who_brings_an_offset_begins_behind_what_it_can_never_be_told() {
    for damage in [damaged, unknown_kind] {
        let mut cluster = pair();
        cluster.refuse(damage, [0]);
        let (_, ann) = follow(&mut cluster, 0, "ann", behind(at(1)));
        cluster.pass(SECOND);
        assert_eq!(told(&cluster, ann), ["hello Lost"]);
    }
    let large = "x".repeat(101);
    let mut cluster = pair();
    let at = cluster.start(&small());
    let mut held = Vec::new();
    for (number, text) in ["one", &large, &large, "four"].into_iter().enumerate() {
        held.push(append(&mut cluster, "ann", text, number as u128));
    }
    let (_, ann) = follow(&mut cluster, at, "ann", behind(held[0]));
    assert_eq!(told(&cluster, ann), ["hello Lost", "record four"]);
    let (_, ann) = follow(&mut cluster, at, "ann", behind(held[2]));
    assert_eq!(told(&cluster, ann), ["hello Resumed", "record four"]);
}

/// A terminal that keeps positions is told of the gap by a word of its own.
#[test]
fn who_brings_a_position_resumes_and_is_told_of_the_gap() {
    let mut cluster = pair();
    cluster.refuse(unknown_kind, [0]);
    let asked = Follow {
        after: vec![at(1)],
        ..Follow::default()
    };
    let (_, ann) = follow(&mut cluster, 0, "ann", asked);
    cluster.pass(SECOND);
    assert_eq!(told(&cluster, ann), ["hello Resumed", "gap"]);
}

/// Of an instance whose terminals get no more than a hundred bytes at once.
fn small() -> Config {
    Config {
        queue_bytes: 100,
        push_bytes: 100,
        ..Config::default()
    }
}

fn behind(position: Position) -> Follow {
    Follow {
        behind: Some(position.offset()),
        ..Follow::default()
    }
}

#[test]
fn a_terminal_that_does_not_read_is_told_of_a_few_gaps_at_a_time() {
    let mut cluster = pair();
    let at = cluster.start(&small());
    let (_, ann) = follow(&mut cluster, at, "ann", Follow::default());
    cluster.stalled.insert(ann);
    let large = "x".repeat(200);
    for number in 0..50 {
        durable(&mut cluster, 0, "ann", &large, number);
    }
    assert!(cluster.instances[at].tables().outbound < 20);
    cluster.read_again();
    for number in 50..60 {
        durable(&mut cluster, 0, "ann", "small", number);
    }
    let told = told(&cluster, ann);
    assert_eq!(told.iter().filter(|said| *said == "gap").count(), 50);
    assert_eq!(
        told.iter().filter(|said| *said == "record small").count(),
        10
    );
}

/// Logs that are followed since do not count as those that were there.
#[test]
fn all_logs_are_checked_at_once_that_were_followed_when_it_was_called_for() {
    let mut cluster = Cluster::new(&Config::default(), 2);
    // The walk has begun somewhere.
    for number in 0..300 {
        follow(&mut cluster, 0, &format!("b{number:03}"), Follow::default());
    }
    let (_, last) = follow(&mut cluster, 0, "z", Follow::default());
    let ann = cluster.connect(1, "ann");
    let call = cluster.push_user(0, "ann", "a link");
    assert_eq!(cluster.receipt(call).counts.written, 1, "{ann:?}");
    // Nobody is told of it.
    append(&mut cluster, "z", "missed", 1);
    cluster.cut(0, 1);
    cluster.settle_down();
    for number in 0..400 {
        follow(&mut cluster, 0, &format!("x{number:03}"), Follow::default());
    }
    cluster.pass(SECOND);
    assert_eq!(told(&cluster, last), ["hello Anew", "record missed"]);
}

/// Somebody else appends a record, and nobody is told of it.
fn append(cluster: &mut Cluster, user: &str, text: &str, number: u128) -> Position {
    let operation = LogOperation::Append {
        push: PushId::new(uuid::Uuid::from_u128(number)),
        content: Content::of(&Payload::from(text.to_owned())),
        nonce: Nonce::new(1),
        retention: Retention::default(),
    };
    let channel = UserId::new(user).expect("a user").into();
    let operation = Operation::Log { channel, operation };
    let appended = cluster.directory.execute(cluster.now.mono, &operation);
    let Ok(Reply::Log(LogReply::Appended {
        logged: Logged::New(place),
        ..
    })) = appended
    else {
        panic!("{appended:?}");
    };
    place.position
}
