//! What is asked of the log of ann, and how its answers are read.

use std::time::Duration;

use switchboard_core::directory::log::{
    Content, LogOperation, LogPart, LogReply, LogStart, Logged, Place, Retention,
};
use switchboard_core::directory::{Operation, Reply};
use switchboard_core::id::PushId;
use switchboard_core::position::{Nonce, Position};
use uuid::Uuid;

use crate::key;
use crate::pair::{Pair, RedisDirectory};

/// Where the log of `key("ann")` is: head, records, pushes.
pub(super) const ANN: [&str; 3] = ["sb:{p0417}m:ann", "sb:{p0417}h:ann", "sb:{p0417}d:ann"];

/// No multiple of [`TICK`].
pub(super) const AGE: Duration = Duration::from_secs(2_000);

pub(super) fn server_micros(redis: &mut RedisDirectory) -> u64 {
    let (seconds, micros): (u64, u64) = redis.raw(&["TIME"]);
    seconds * 1_000_000 + micros
}

pub(super) fn of_ann(operation: LogOperation) -> Operation {
    let channel = key("ann").into();
    Operation::Log { channel, operation }
}

pub(super) fn append(number: u128) -> Operation {
    append_kept(number, retention())
}

pub(super) fn append_kept(number: u128, retention: Retention) -> Operation {
    append_with(number, Nonce::new(0x1234_5678 + number as u32), retention)
}

pub(super) fn append_with(number: u128, nonce: Nonce, retention: Retention) -> Operation {
    of_ann(LogOperation::Append {
        push: push(number),
        content: content(),
        nonce,
        retention,
    })
}

pub(super) fn start(start: LogStart) -> LogOperation {
    LogOperation::Read {
        start,
        records: 100,
        bytes: u32::MAX,
        nonce: Nonce::new(0xABCD),
    }
}

pub(super) fn push(number: u128) -> PushId {
    PushId::new(Uuid::from_u128(number))
}

/// Five bytes.
pub(super) fn content() -> Content {
    Content {
        flags: 1,
        bytes: b"hello"[..].into(),
    }
}

pub(super) fn retention() -> Retention {
    Retention {
        records: 100,
        bytes: 1 << 20,
        age: AGE,
    }
}

#[track_caller]
pub(super) fn added(pair: &mut Pair, number: u128) -> Place {
    new(pair.reply(&append(number)))
}

#[track_caller]
pub(super) fn new(reply: Reply) -> Place {
    match logged(reply) {
        Logged::New(place) => place,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
pub(super) fn logged(reply: Reply) -> Logged {
    match reply {
        Reply::Log(LogReply::Appended { logged, .. }) => logged,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
pub(super) fn read(pair: &mut Pair, from: LogStart) -> LogPart {
    part(pair.reply(&of_ann(start(from))))
}

#[track_caller]
pub(super) fn part(reply: Reply) -> LogPart {
    match reply {
        Reply::Log(LogReply::Part(part)) => part,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
pub(super) fn head(pair: &mut Pair) -> Option<Position> {
    match pair.reply(&of_ann(LogOperation::Head)) {
        Reply::Log(LogReply::Head(head)) => head,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
pub(super) fn delete(pair: &mut Pair) -> u32 {
    let nonce = Nonce::new(0xDE1E7E);
    match pair.reply(&of_ann(LogOperation::Delete { nonce })) {
        Reply::Log(LogReply::Deleted { records }) => records,
        other => panic!("{other:?}"),
    }
}
