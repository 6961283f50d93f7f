//! Items of the directory, as they are read and printed.

use std::fmt::{self, Display};

use super::words::{Read, Span, Table, from_table, name_of, span};
use crate::schedule::{Act, ErrorReply, Host, OperationKind, RedisAct, TripFault};

pub(super) fn redis_act(words: &[&str]) -> Read<RedisAct> {
    Ok(match words {
        ["down"] => RedisAct::Down,
        ["up"] => RedisAct::Up,
        ["restart-empty"] => RedisAct::RestartEmpty,
        ["failover", lost] => RedisAct::Failover(span(lost)?),
        ["refuses", error, time] => RedisAct::Refuse(from_table(ERRORS, error)?, span(time)?),
        ["latency", time] => RedisAct::Latency(span(time)?),
        other => return Err(format!("redis cannot `{}`", other.join(" "))),
    })
}

/// What follows on `redis i1 next`.
pub(super) fn redis_next(host: Host, words: &[&str]) -> Read<Act> {
    let [operation, fault @ ..] = words else {
        return Err("`redis i1 next` wants an operation and what happens to it".to_owned());
    };
    Ok(Act::NextTrip {
        host,
        operation: from_table(OPERATIONS, operation)?,
        fault: trip_fault(fault)?,
    })
}

fn trip_fault(words: &[&str]) -> Read<TripFault> {
    match words {
        ["refused", error] => Ok(TripFault::Refused(from_table(ERRORS, error)?)),
        [fault] => from_table(TRIP_FAULTS, fault),
        other => Err(format!("a trip cannot end `{}`", other.join(" "))),
    }
}

/// What is printed behind `redis i1 next`.
pub(super) struct Next(pub(super) OperationKind, pub(super) TripFault);

impl Display for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name_of(OPERATIONS, &self.0))?;
        match self.1 {
            TripFault::Refused(error) => write!(f, " refused {}", name_of(ERRORS, &error)),
            fault => write!(f, " {}", name_of(TRIP_FAULTS, &fault)),
        }
    }
}

impl Display for RedisAct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down => f.write_str("down"),
            Self::Up => f.write_str("up"),
            Self::RestartEmpty => f.write_str("restart-empty"),
            Self::Failover(lost) => write!(f, "failover {}", Span(*lost)),
            Self::Refuse(error, span) => {
                write!(f, "refuses {} {}", name_of(ERRORS, error), Span(*span))
            }
            Self::Latency(latency) => write!(f, "latency {}", Span(*latency)),
        }
    }
}

const ERRORS: Table<ErrorReply> = &[
    ("READONLY", ErrorReply::ReadOnly),
    ("LOADING", ErrorReply::Loading),
    ("OOM", ErrorReply::OutOfMemory),
];

const TRIP_FAULTS: Table<TripFault> = &[
    ("request-lost", TripFault::RequestLost),
    ("reply-lost", TripFault::ReplyLost),
    ("late", TripFault::Late),
    ("torn", TripFault::Torn),
    ("stray", TripFault::Stray),
];

const OPERATIONS: Table<OperationKind> = &[
    ("any", OperationKind::Any),
    ("register", OperationKind::Register),
    ("unregister", OperationKind::Unregister),
    ("lookup", OperationKind::Lookup),
    ("remove-row", OperationKind::RemoveRow),
    ("view", OperationKind::View),
    ("claim", OperationKind::Claim),
    ("renew", OperationKind::Renew),
    ("release", OperationKind::Release),
    ("read-lease", OperationKind::ReadLease),
];
