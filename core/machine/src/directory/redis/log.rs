//! Logs on Redis.
//!
//! | key | type | content |
//! |---|---|---|
//! | `<prefix>{pNNNN}m:<user>` | STRING | head, base, bytes kept |
//! | `<prefix>{pNNNN}h:<user>` | LIST | the records; they expire as a whole |
//! | `<prefix>{pNNNN}d:<user>` | LIST | the ids of the last pushes, the newest last |
//!
//! Those of a topic are called `tm:`, `th:` and `td:`.
//!
//! The first one *is* the log: without it the others count for nothing, and are removed before it begins
//! anew. Records have the server's time as their offset, so that their age needs no field.

use super::super::log::{
    ChannelRows, LogOperation, LogPart, LogReply, LogStart, Logged, Place, no_offsets,
};
use super::super::{DirectorySettings, answer, keys, records};
use super::{Request, Script, Value, millis, text};
use crate::channel::Channel;
use crate::position::Position;

/// What all scripts of logs begin with.
macro_rules! log_script {
    ($name:literal) => {
        concat!(
            "local NO_OFFSETS = '",
            no_offsets!(),
            "'\n",
            include_str!("../scripts/log.lua"),
            include_str!(concat!("../scripts/", $name))
        )
    };
}

pub(super) const APPEND: &str = log_script!("append.lua");
pub(super) const READ: &str = log_script!("read_log.lua");
pub(super) const CONFIRM: &str = log_script!("confirm.lua");
pub(super) const DELETE: &str = log_script!("delete_log.lua");

impl LogOperation {
    /// What to ask the server for this operation of a log.
    pub(super) fn request(&self, settings: &DirectorySettings, channel: &Channel) -> Request {
        let [meta, records, pushes] = keys::log(settings, channel);
        match self {
            Self::Append {
                push,
                content,
                nonce,
                retention,
            } => Request::Eval {
                script: Script::Append,
                keys: vec![meta, records, pushes, keys::rows_of(settings, channel)],
                args: vec![
                    records::push_bytes(*push),
                    records::content_bytes(content),
                    records::nonce_bytes(*nonce),
                    text(&retention.records()),
                    text(&retention.bytes),
                    text(&retention.age_micros()),
                    millis(retention.age),
                    text(&retention.pushes()),
                    millis(settings.repeat_memory),
                    millis(settings.used_log),
                ],
            },
            Self::Read {
                start,
                records: limit,
                bytes,
                nonce,
            } => Request::Eval {
                script: Script::ReadLog,
                keys: vec![meta, records, pushes],
                args: vec![
                    records::nonce_bytes(*nonce),
                    millis(settings.unused(channel)),
                    millis(settings.used_log),
                    text(limit),
                    text(bytes),
                    last(start),
                    positions(start),
                ],
            },
            Self::Confirm { position, push } => Request::Eval {
                script: Script::Confirm,
                keys: vec![meta, records, pushes],
                args: vec![
                    records::position_bytes(*position).into(),
                    records::push_bytes(*push),
                    millis(settings.used_log),
                ],
            },
            Self::Head => Request::Command {
                name: "GET",
                args: vec![meta],
            },
            Self::Delete { nonce } => Request::Eval {
                script: Script::DeleteLog,
                keys: vec![meta, records, pushes],
                args: vec![records::nonce_bytes(*nonce), millis(settings.used_log)],
            },
        }
    }

    /// What the server's answer to this operation means. `None` if the operation cannot have it.
    pub(in super::super) fn decode(&self, channel: &Channel, answer: &Value) -> Option<LogReply> {
        match self {
            Self::Append { .. } => appended(channel, answer),
            Self::Read { .. } => part(answer),
            Self::Confirm { .. } => confirmed(answer),
            Self::Head => head(answer),
            Self::Delete { .. } => deleted(answer),
        }
    }
}

fn last(start: &LogStart) -> Vec<u8> {
    text(match start {
        LogStart::Last(records) => records,
        LogStart::After(_) | LogStart::Behind(_) => &0,
    })
}

/// Positions one after the other, or an offset alone.
fn positions(start: &LogStart) -> Vec<u8> {
    match start {
        LogStart::Behind(offset) => records::offset_bytes(*offset),
        LogStart::Last(_) => Vec::new(),
        LogStart::After(positions) => (positions.iter().take(LogOperation::POSITIONS))
            .flat_map(|position| records::position_bytes(*position))
            .collect(),
    }
}

fn appended(channel: &Channel, answer: &Value) -> Option<LogReply> {
    let [became, position, before, rows] = answer::array(answer)? else {
        return None;
    };
    let place = || {
        Some(Place {
            position: place_of(position)?,
            before: place_of(before)?,
        })
    };
    let Value::Int(became) = became else {
        return None;
    };
    let logged = match became {
        1 => Logged::New(place()?),
        2 => Logged::Repeated(place()?),
        3 => Logged::Expired,
        _ => return None,
    };
    let (rows, malformed) = match channel {
        Channel::User(_) => {
            let (rows, malformed) = answer::rows(rows)?;
            (ChannelRows::Terminals(rows), malformed)
        }
        Channel::Topic(_) => {
            let (rows, malformed) = answer::topic_rows(rows)?;
            (ChannelRows::Instances(rows), malformed)
        }
    };
    Some(LogReply::Appended {
        logged,
        rows,
        malformed,
    })
}

/// What is no record is one of no known kind, at its own position or at that of the record before: to leave
/// it out would leave a hole that nobody is told of.
fn part(answer: &Value) -> Option<LogReply> {
    let [head, base, after, records] = answer::array(answer)? else {
        return None;
    };
    let is_known = *after != Value::Nil;
    let after = if is_known {
        Some(place_of(after)?)
    } else {
        None
    };
    let (head, base) = (place_of(head)?, place_of(base)?);
    let mut last = after.unwrap_or(base);
    let mut read = Vec::new();
    for record in answer::array(records)? {
        let bytes = bulk(record)?;
        let record = records::parse_record(bytes).unwrap_or_else(|| {
            records::unreadable(records::parse_first_position(bytes).unwrap_or(last))
        });
        last = record.position;
        read.push(record);
    }
    Some(LogReply::Part(LogPart {
        head,
        base,
        after,
        records: read,
    }))
}

/// What the log answered, and what the server said that was asked to wait for a replica.
fn confirmed(answer: &Value) -> Option<LogReply> {
    let [Value::Int(known), Value::Int(replicas)] = answer::array(answer)? else {
        return None;
    };
    Some(LogReply::Confirmed {
        known: *known == 1,
        replicas: u32::try_from(*replicas).ok()?,
    })
}

fn head(answer: &Value) -> Option<LogReply> {
    let is_there = *answer != Value::Nil;
    let head = if is_there {
        records::parse_head(bulk(answer)?)
    } else {
        None
    };
    Some(LogReply::Head(head))
}

fn deleted(answer: &Value) -> Option<LogReply> {
    let Value::Int(records) = answer else {
        return None;
    };
    let records = u32::try_from(*records).ok()?;
    Some(LogReply::Deleted { records })
}

fn place_of(answer: &Value) -> Option<Position> {
    records::parse_position(bulk(answer)?)
}

fn bulk(answer: &Value) -> Option<&bytes::Bytes> {
    match answer {
        Value::Bulk(bytes) => Some(bytes),
        Value::Nil | Value::Int(_) | Value::Status(_) | Value::Array(_) | Value::Error(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::directory::log::{Content, Record, Retention};
    use crate::directory::{Operation, OperationError, Reply};
    use crate::id::{PushId, UserId};
    use crate::position::Nonce;

    /// One round trip, one slot: record, limits and rows are one request.
    #[test]
    fn an_append_is_one_request_of_one_partition() {
        let Request::Eval { script, keys, args } = ask(append()) else {
            panic!("a script");
        };
        assert_eq!(script, Script::Append);
        let expected = ["m:ann", "h:ann", "d:ann", "u:ann"].map(|key| format!("sb:{{p0417}}{key}"));
        assert_eq!(keys, expected.map(String::into_bytes));
        let expected = [
            &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7][..],
            b"\x01hello",
            &[0, 0, 0x10, 1],
            b"100",
            b"1048576",
            b"600000000",
            b"600000",
            b"1000",
            b"120000",
            b"2592000000",
        ];
        assert_eq!(args, expected);
    }

    /// H36: what is no record hides no other, and is told of.
    #[test]
    fn a_damaged_record_is_one_of_no_known_kind_at_its_position_or_at_the_one_before() {
        let record = |content: &[u8]| {
            let position = records::position_bytes(position(2));
            Value::Bulk([&position, content].concat().into())
        };
        let whole = record(&[[0; 16].as_slice(), b"\x00text"].concat());
        let (cut, gone) = (record(b"cut"), Value::Bulk("junk".into()));
        let records_of = |records: Vec<Value>| {
            let (one, two) = (bytes(position(1)), bytes(position(2)));
            let answer = Value::Array(vec![two, one.clone(), one, Value::Array(records)]);
            match decode(read(LogStart::After(vec![position(1)])), answer) {
                Ok(LogReply::Part(part)) => part.records,
                other => panic!("{other:?}"),
            }
        };
        let found = records_of(vec![gone.clone(), whole, cut, gone]);
        let found: Vec<_> = (found.iter())
            .map(|record| (record.position, record.content.flags))
            .collect();
        let unknown = |number| (position(number), Content::UNKNOWN);
        let expected = [unknown(1), (position(2), 0), unknown(2), unknown(2)];
        assert_eq!(found, expected);
    }

    /// As cheap as it can be: it is asked for each follower, for ever.
    #[test]
    fn a_look_at_the_head_is_a_plain_command() {
        let expected = Request::Command {
            name: "GET",
            args: vec![b"sb:{p0417}m:ann".to_vec()],
        };
        assert_eq!(ask(LogOperation::Head), expected);
    }

    #[test]
    fn a_read_names_sixteen_positions_at_most() {
        let read = read(LogStart::After(vec![position(1); 17]));
        let Request::Eval { args, .. } = ask(read) else {
            panic!("a script");
        };
        assert_eq!(args[6].len(), 16 * 12);
    }

    #[test]
    fn answers_are_what_scripts_say() {
        let [one, two] = [position(1), position(2)];
        let place = Place {
            position: two,
            before: one,
        };
        let rows = || Value::Array(Vec::new());
        for (became, logged) in [(1, Logged::New(place)), (2, Logged::Repeated(place))] {
            let answer = Value::Array(vec![Value::Int(became), bytes(two), bytes(one), rows()]);
            assert_eq!(decode(append(), answer), Ok(appended_as(logged)));
        }
        let answer = Value::Array(vec![Value::Int(3), Value::Nil, Value::Nil, rows()]);
        assert_eq!(decode(append(), answer), Ok(appended_as(Logged::Expired)));

        let record = Record {
            position: two,
            push: push(),
            content: content(),
        };
        let stored = [
            &records::position_bytes(two)[..],
            &records::push_bytes(push()),
            b"\x01hello",
        ];
        let stored = Value::Bulk(stored.concat().into());
        for (after, known) in [(bytes(one), Some(one)), (Value::Nil, None)] {
            let records = Value::Array(vec![stored.clone()]);
            let answer = Value::Array(vec![bytes(two), bytes(one), after, records]);
            let part = LogPart {
                head: two,
                base: one,
                after: known,
                records: vec![record.clone()],
            };
            let read = read(LogStart::Last(1));
            assert_eq!(decode(read, answer), Ok(LogReply::Part(part)));
        }

        assert_eq!(
            decode(LogOperation::Head, Value::Nil),
            Ok(LogReply::Head(None))
        );
        let delete = LogOperation::Delete { nonce: NONCE };
        let deleted = LogReply::Deleted { records: 3 };
        assert_eq!(decode(delete, Value::Int(3)), Ok(deleted));
    }

    proptest! {
        /// H36: no answer makes the reader panic, and what it takes is of the operation's kind.
        #[test]
        fn an_answer_of_another_shape_is_malformed(seeds: Vec<u8>) {
            let is_near = seeds.len() % 2 == 0;
            let mut seeds = seeds.into_iter();
            let shape = if is_near {
                // Four values, as most scripts answer.
                Value::Array((0..4).map(|_| answer(&mut seeds, 2)).collect())
            } else {
                answer(&mut seeds, 0)
            };
            let reads = read(LogStart::Last(1));
            let delete = LogOperation::Delete { nonce: NONCE };
            for operation in [append(), reads, LogOperation::Head, delete] {
                match (decode(operation.clone(), shape.clone()), operation) {
                    (Ok(LogReply::Appended { .. }), LogOperation::Append { .. })
                    | (Ok(LogReply::Part(_)), LogOperation::Read { .. })
                    | (Ok(LogReply::Head(_)), LogOperation::Head)
                    | (Ok(LogReply::Deleted { .. }), LogOperation::Delete { .. })
                    | (Err(_), _) => {}
                    (reply, operation) => panic!("{operation:?}: {reply:?}"),
                }
            }
        }
    }

    /// A shape near those that scripts answer, or another one.
    fn answer(seeds: &mut std::vec::IntoIter<u8>, depth: u8) -> Value {
        let mut seed = || seeds.next().unwrap_or_default();
        match seed() % 9 {
            0 => Value::Nil,
            1 => Value::Int(i64::from(seed() % 6) - 1),
            2 => Value::Int(i64::MAX - i64::from(seed())),
            3 => Value::Bulk(vec![seed(); usize::from(seed() % 40)].into()),
            4 => bytes(position(seed().into())),
            5 => Value::Status("OK".to_owned()),
            6 => Value::Error("NO".to_owned()),
            _ if depth == 3 => Value::Array(Vec::new()),
            count => {
                let count = count - 3;
                Value::Array((0..count).map(|_| answer(seeds, depth + 1)).collect())
            }
        }
    }

    const NONCE: Nonce = Nonce::new(0x1001);

    fn ask(operation: LogOperation) -> Request {
        let (channel, settings) = (ann(), DirectorySettings::for_tests());
        Operation::Log { channel, operation }.request(&settings)
    }

    fn decode(operation: LogOperation, answer: Value) -> Result<LogReply, OperationError> {
        let channel = ann();
        let Reply::Log(reply) = (Operation::Log { channel, operation }).decode(answer)? else {
            panic!("the reply of a log");
        };
        Ok(reply)
    }

    fn append() -> LogOperation {
        LogOperation::Append {
            push: push(),
            content: content(),
            nonce: NONCE,
            retention: Retention::default(),
        }
    }

    fn read(start: LogStart) -> LogOperation {
        LogOperation::Read {
            start,
            records: 20,
            bytes: 1 << 16,
            nonce: NONCE,
        }
    }

    fn appended_as(logged: Logged) -> LogReply {
        LogReply::Appended {
            logged,
            rows: ChannelRows::Terminals(Vec::new()),
            malformed: 0,
        }
    }

    fn content() -> Content {
        Content {
            flags: 1,
            bytes: Bytes::from_static(b"hello"),
        }
    }

    fn push() -> PushId {
        PushId::new(Uuid::from_u128(7))
    }

    fn position(offset: u64) -> Position {
        Position::new(offset, 9).expect("it is in range")
    }

    fn bytes(position: Position) -> Value {
        Value::Bulk(Bytes::copy_from_slice(&records::position_bytes(position)))
    }

    fn ann() -> Channel {
        UserId::new("ann").expect("a valid user").into()
    }
}
