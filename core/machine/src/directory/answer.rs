//! What a server's answers mean.

use std::time::Duration;

use bytes::Bytes;

use super::layout;
use super::{Operation, OperationError, OperationResult, Reply, Row, SeenLease};
use crate::id::{ConnectionId, Epoch, InstanceId, TopicId};

/// What the server answered, whatever client received it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// There is nothing.
    Nil,
    /// A signed number of 64 bits.
    Int(i64),
    /// A string of bytes.
    Bulk(Bytes),
    /// A status such as `OK`.
    Status(String),
    /// A list; a map is a list of keys and values in turn, or of pairs.
    Array(Vec<Self>),
    /// An error, with its code as the first word.
    Error(String),
}

impl Operation {
    /// What the server's answer to this operation means.
    ///
    /// # Errors
    ///
    /// If the server answered an error, or something that the operation cannot have as an answer.
    /// A row or a lease that cannot be understood is no error where others stand beside it: it is
    /// left out and counted.
    pub fn decode(&self, answer: Value) -> OperationResult {
        if let Value::Error(error) = answer {
            return Err(refusal(error));
        }
        let reply = match self {
            Self::Register { .. } if matches!(answer, Value::Array(_)) => registered_with(&answer),
            Self::KeepTopic { .. } => flag(&answer).map(Reply::TopicKept),
            Self::Register { .. } | Self::EnterTopic { .. } => flag(&answer).map(|written| {
                if written {
                    Reply::Registered
                } else {
                    Reply::Superseded
                }
            }),
            Self::Unregister { .. } | Self::RemoveRow { .. } | Self::LeaveTopic { .. } => {
                flag(&answer).map(Reply::Removed)
            }
            Self::LookupTopic { .. } => {
                topic_rows(&answer).map(|(rows, malformed)| Reply::TopicRows { rows, malformed })
            }
            Self::Lookup { .. } => {
                rows(&answer).map(|(rows, malformed)| Reply::Rows { rows, malformed })
            }
            Self::View => leases(&answer),
            Self::Claim { .. } => claimed(&answer),
            Self::Renew { .. } => {
                flag(&answer).map(|renewed| if renewed { Reply::Renewed } else { Reply::Lost })
            }
            Self::Release { .. } => flag(&answer).map(Reply::Released),
            Self::ReadLease { .. } => lease(&answer),
            Self::Log { channel, operation } => operation.decode(channel, &answer).map(Reply::Log),
        };
        reply.ok_or_else(|| OperationError::Malformed(excerpt(&answer)))
    }
}

/// How much of an answer that makes no sense is reported.
const EXCERPT_CHARS: usize = 200;

fn refusal(error: String) -> OperationError {
    match error.split(' ').next() {
        Some("READONLY" | "LOADING" | "MASTERDOWN" | "CLUSTERDOWN") => {
            OperationError::NotPrimary(error)
        }
        Some(_) | None => OperationError::Refused(error),
    }
}

fn excerpt(answer: &Value) -> String {
    format!("{answer:?}").chars().take(EXCERPT_CHARS).collect()
}

fn flag(answer: &Value) -> Option<bool> {
    match answer {
        Value::Int(0) => Some(false),
        Value::Int(1) => Some(true),
        Value::Nil
        | Value::Int(_)
        | Value::Bulk(_)
        | Value::Status(_)
        | Value::Array(_)
        | Value::Error(_) => None,
    }
}

/// The rows, and how many entries could not be understood.
pub(super) fn rows(answer: &Value) -> Option<(Vec<(ConnectionId, Row)>, u32)> {
    let (mut rows, malformed) = understood(array(answer)?, |field, value| {
        Some((layout::parse_connection(field)?, layout::parse_row(value)?))
    })?;
    rows.sort_unstable_by_key(|(connection, _)| *connection);
    Some((rows, malformed))
}

/// The topics of a user. What is none was written by hand, and is left out.
fn registered_with(answer: &Value) -> Option<Reply> {
    let names = array(answer)?.iter().filter_map(|name| match name {
        Value::Bulk(name) => TopicId::new(std::str::from_utf8(name).ok()?).ok(),
        Value::Nil | Value::Int(_) | Value::Status(_) | Value::Array(_) | Value::Error(_) => None,
    });
    let mut topics: Vec<_> = names.collect();
    topics.sort_unstable();
    Some(match topics.is_empty() {
        true => Reply::Registered,
        false => Reply::RegisteredWith(topics),
    })
}

/// The instances with members of a topic, and how many entries could not be understood.
pub(super) fn topic_rows(answer: &Value) -> Option<(Vec<(InstanceId, Epoch)>, u32)> {
    let (mut rows, malformed) = understood(array(answer)?, |field, value| {
        let instance = layout::parse_instance(field)?;
        Some((instance, layout::parse_epoch(value)?))
    })?;
    rows.sort_unstable_by_key(|(instance, _)| *instance);
    Some((rows, malformed))
}

fn leases(answer: &Value) -> Option<Reply> {
    let (clock, entries) = array(answer)?.split_first()?;
    let Value::Int(clock) = clock else {
        return None;
    };
    let clock = u64::try_from(*clock).ok()?;
    let (mut leases, malformed) = understood(entries, |field, value| {
        let entry = layout::parse_entry(value)?;
        let remaining = entry
            .deadline
            .checked_sub(clock)
            .filter(|&millis| millis > 0);
        Some(SeenLease {
            instance: layout::parse_instance(field)?,
            lease: entry.lease,
            load: entry.load,
            remaining: remaining.map(Duration::from_millis),
        })
    })?;
    leases.sort_unstable_by_key(|seen| seen.instance);
    Some(Reply::Leases { leases, malformed })
}

fn claimed(answer: &Value) -> Option<Reply> {
    let [taken, standing] = array(answer)? else {
        return None;
    };
    match (flag(taken)?, standing) {
        (true, Value::Nil) => Some(Reply::Claimed { replaced: None }),
        (true, Value::Bulk(entry)) => Some(Reply::Claimed {
            replaced: layout::parse_entry(entry).map(|entry| entry.lease),
        }),
        (false, Value::Bulk(epoch)) => Some(Reply::ClaimRefused {
            epoch: layout::parse_epoch(epoch)?,
        }),
        (true | false, _) => None,
    }
}

fn lease(answer: &Value) -> Option<Reply> {
    match answer {
        Value::Nil => Some(Reply::Lease(None)),
        Value::Bulk(entry) => Some(Reply::Lease(Some(layout::parse_entry(entry)?.lease))),
        Value::Int(_) | Value::Status(_) | Value::Array(_) | Value::Error(_) => None,
    }
}

pub(super) fn array(answer: &Value) -> Option<&[Value]> {
    match answer {
        Value::Array(items) => Some(items),
        Value::Nil | Value::Int(_) | Value::Bulk(_) | Value::Status(_) | Value::Error(_) => None,
    }
}

/// Reads the fields of a HASH, and counts those that `read` cannot understand. `None` if the answer
/// does not have the shape of a HASH at all.
fn understood<T>(
    items: &[Value],
    read: impl Fn(&[u8], &[u8]) -> Option<T>,
) -> Option<(Vec<T>, u32)> {
    let mut read_items = Vec::with_capacity(items.len().div_ceil(2));
    let mut malformed = 0;
    let mut take = |field: &Value, value: &Value| {
        let (Value::Bulk(field), Value::Bulk(value)) = (field, value) else {
            return None;
        };
        match read(field, value) {
            Some(item) => read_items.push(item),
            None => malformed += 1,
        }
        Some(())
    };
    match items.first() {
        Some(Value::Array(_)) => {
            for item in items {
                let [field, value] = pair(item)?;
                take(field, value)?;
            }
        }
        Some(_) | None => {
            let (fields, []) = items.as_chunks::<2>() else {
                return None;
            };
            for [field, value] in fields {
                take(field, value)?;
            }
        }
    }
    Some((read_items, malformed))
}

fn pair(item: &Value) -> Option<[&Value; 2]> {
    match array(item)? {
        [field, value] => Some([field, value]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::directory::{Lease, LeaseState, Load};
    use crate::id::UserId;
    use crate::key::Key;
    use crate::time::WallTime;

    const ROW: &str = "00000000000000a1 0000000000000002 000000000003";
    const LEASE: &str = "5000 7 8 0000000000000002 0000000000000001 7 settling 127.0.0.1:9";

    #[test]
    fn rows_come_in_the_order_of_connections_whatever_the_shape() {
        let expected = Ok(Reply::Rows {
            rows: vec![(connection(1), row()), (connection(2), row())],
            malformed: 0,
        });
        let [one, two] = [uuid(1), uuid(2)];
        let flat = bulks(&[&two, ROW, &one, ROW]);
        let pairs = Value::Array(vec![bulks(&[&two, ROW]), bulks(&[&one, ROW])]);
        assert_eq!(lookup().decode(flat), expected);
        assert_eq!(lookup().decode(pairs), expected);
    }

    /// H36: a row that nobody understands hides no other.
    #[test]
    fn malformed_rows_are_skipped_and_counted() {
        let [one, two] = [uuid(1), uuid(2)];
        let answer = bulks(&[&one, "127.0.0.1:8080|1700000000", "no uuid", ROW, &two, ROW]);
        let expected = Reply::Rows {
            rows: vec![(connection(2), row())],
            malformed: 2,
        };
        assert_eq!(lookup().decode(answer), Ok(expected));
    }

    /// H36
    #[test]
    fn malformed_leases_are_skipped_and_counted() {
        let mut answer = vec![Value::Int(4_000)];
        for text in [
            "00000000000000a1",
            LEASE,
            "00000000000000a2",
            "up",
            "who",
            LEASE,
        ] {
            answer.push(bulk(text));
        }
        let expected = Reply::Leases {
            leases: vec![SeenLease {
                instance: InstanceId::new(0xA1),
                lease: lease(),
                load: Load {
                    connections: 7,
                    pushes: 8,
                },
                remaining: Some(Duration::from_secs(1)),
            }],
            malformed: 2,
        };
        assert_eq!(Operation::View.decode(Value::Array(answer)), Ok(expected));
    }

    #[test]
    fn a_lease_at_its_deadline_has_run_out() {
        for clock in [5_000, 5_001] {
            let answer = Value::Array(vec![
                Value::Int(clock),
                bulk("00000000000000a1"),
                bulk(LEASE),
            ]);
            let Ok(Reply::Leases { leases, .. }) = Operation::View.decode(answer) else {
                panic!("the leases");
            };
            assert_eq!(leases[0].remaining, None);
        }
    }

    #[test]
    fn a_claim_tells_what_it_replaced_or_what_stands_in_the_way() {
        let claim = Operation::Claim {
            instance: InstanceId::new(0xA1),
            lease: lease(),
            load: Load::default(),
        };
        let answer =
            |taken, standing| claim.decode(Value::Array(vec![Value::Int(taken), standing]));
        let replaced = Some(lease());
        assert_eq!(answer(1, Value::Nil), Ok(Reply::Claimed { replaced: None }));
        assert_eq!(
            answer(1, bulk("garbage")),
            Ok(Reply::Claimed { replaced: None })
        );
        assert_eq!(answer(1, bulk(LEASE)), Ok(Reply::Claimed { replaced }));
        let epoch = Epoch::new(9);
        assert_eq!(
            answer(0, bulk("0000000000000009")),
            Ok(Reply::ClaimRefused { epoch })
        );
        assert!(matches!(
            answer(0, Value::Nil),
            Err(OperationError::Malformed(_))
        ));
    }

    #[test]
    fn a_server_that_is_no_primary_is_told_from_one_that_refuses() {
        for code in ["READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN"] {
            let error = format!("{code} and why");
            assert_eq!(
                lookup().decode(Value::Error(error.clone())),
                Err(OperationError::NotPrimary(error))
            );
        }
        for error in [
            "OOM command not allowed",
            "BUSY",
            "NOPERM",
            "READONLYISH",
            "",
        ] {
            assert_eq!(
                lookup().decode(Value::Error(error.to_owned())),
                Err(OperationError::Refused(error.to_owned()))
            );
        }
    }

    /// H36: no answer makes the reader panic.
    #[test]
    fn an_answer_of_another_shape_is_malformed() {
        let odd = [
            Value::Nil,
            Value::Int(2),
            Value::Status("OK".to_owned()),
            bulks(&["one"]),
            Value::Array(vec![Value::Int(-1)]),
            Value::Array(vec![bulks(&["one", "two"]), bulks(&["three"])]),
            Value::Array(vec![Value::Nil, Value::Nil]),
        ];
        for answer in odd {
            for operation in [lookup(), Operation::View] {
                let outcome = operation.decode(answer.clone());
                assert!(
                    matches!(outcome, Err(OperationError::Malformed(_))),
                    "{outcome:?}"
                );
            }
        }
        for answer in [Value::Int(1), bulk("garbage"), bulks(&[LEASE])] {
            let outcome = read_lease().decode(answer);
            assert!(
                matches!(outcome, Err(OperationError::Malformed(_))),
                "{outcome:?}"
            );
        }
    }

    fn lookup() -> Operation {
        Operation::Lookup { key: ann() }
    }

    fn read_lease() -> Operation {
        Operation::ReadLease {
            instance: InstanceId::new(0xA1),
        }
    }

    fn ann() -> Key {
        UserId::new("ann").unwrap().into()
    }

    fn uuid(number: u128) -> String {
        Uuid::from_u128(number).to_string()
    }

    fn connection(number: u128) -> ConnectionId {
        ConnectionId::new(Uuid::from_u128(number))
    }

    fn row() -> Row {
        Row {
            instance: InstanceId::new(0xA1),
            epoch: Epoch::new(2),
            connected: WallTime::from_millis(3),
        }
    }

    fn lease() -> Lease {
        Lease {
            epoch: Epoch::new(2),
            floor: Epoch::new(1),
            beat: 7,
            state: LeaseState::Settling,
            address: "127.0.0.1:9".to_owned(),
        }
    }

    fn bulk(text: &str) -> Value {
        Value::Bulk(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn bulks(texts: &[&str]) -> Value {
        Value::Array(texts.iter().map(|text| bulk(text)).collect())
    }
}
