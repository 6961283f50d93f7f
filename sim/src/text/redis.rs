//! Items of the directory, as they are read and printed.

use std::fmt::{self, Display};

use super::read::log_of;
use super::words::{Read, Span, Table, from_table, name_of, names, span};
use crate::schedule::{Act, ClockStep, ErrorReply, Host, OperationKind, RedisAct, TripFault};

/// What follows on `redis`; `None` if that has none of its forms.
pub(super) fn redis_act(words: &[&str]) -> Read<Option<RedisAct>> {
    Ok(Some(match words {
        ["down"] => RedisAct::Down,
        ["up"] => RedisAct::Up,
        ["restart-empty"] => RedisAct::RestartEmpty,
        ["saves"] => RedisAct::Save,
        ["restart"] => RedisAct::Restart,
        ["failover", lost] => RedisAct::Failover {
            lost: span(lost)?,
            former: None,
        },
        ["failover", lost, "former", former] => RedisAct::Failover {
            lost: span(lost)?,
            former: Some(span(former)?),
        },
        ["evicts", "rows", user] => RedisAct::EvictRows((*user).to_owned()),
        ["evicts", "log", of @ ..] => RedisAct::EvictLog(log_of(of)?),
        ["evicts", "leases"] => RedisAct::EvictLeases,
        ["evicts", "topic", topic] => RedisAct::EvictTopic((*topic).to_owned()),
        ["clock", step] => RedisAct::Clock(clock_step(step)?),
        ["flushes-scripts"] => RedisAct::FlushScripts,
        ["refuses", error, time] => RedisAct::Refuse(from_table(ERRORS, error)?, span(time)?),
        ["latency", time] => RedisAct::Latency(span(time)?),
        _ => return Ok(None),
    }))
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
        [fault] if *fault != "refused" => from_table(TRIP_FAULTS, fault)
            .map_err(|problem| format!("{problem}, nor `refused ERROR`")),
        _ => Err(format!(
            "what happens to a trip is one of {}, or `refused ERROR` with one of {}",
            names(TRIP_FAULTS),
            names(ERRORS)
        )),
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

fn clock_step(word: &str) -> Read<ClockStep> {
    if let Some(ahead) = word.strip_prefix('+') {
        return Ok(ClockStep::Forward(span(ahead)?));
    }
    match word.strip_prefix('-') {
        Some(back) => Ok(ClockStep::Back(span(back)?)),
        None => Err(format!("`{word}` is not a step such as +3s or -250ms")),
    }
}

impl Display for RedisAct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down => f.write_str("down"),
            Self::Up => f.write_str("up"),
            Self::RestartEmpty => f.write_str("restart-empty"),
            Self::Save => f.write_str("saves"),
            Self::Restart => f.write_str("restart"),
            Self::Failover { lost, former: None } => write!(f, "failover {}", Span(*lost)),
            Self::Failover {
                lost,
                former: Some(former),
            } => write!(f, "failover {} former {}", Span(*lost), Span(*former)),
            Self::EvictRows(user) => write!(f, "evicts rows {user}"),
            Self::EvictLog(of) => write!(f, "evicts log {of}"),
            Self::EvictTopic(topic) => write!(f, "evicts topic {topic}"),
            Self::EvictLeases => f.write_str("evicts leases"),
            Self::Clock(ClockStep::Forward(span)) => write!(f, "clock +{}", Span(*span)),
            Self::Clock(ClockStep::Back(span)) => write!(f, "clock -{}", Span(*span)),
            Self::FlushScripts => f.write_str("flushes-scripts"),
            Self::Refuse(error, span) => {
                write!(f, "refuses {} {}", name_of(ERRORS, error), Span(*span))
            }
            Self::Latency(latency) => write!(f, "latency {}", Span(*latency)),
        }
    }
}

/// Those of [`ErrorReply::OF_WRITES`].
pub(super) const WRITE_ERRORS: Table<ErrorReply> = &[
    ("OOM", ErrorReply::OutOfMemory),
    ("NOREPLICAS", ErrorReply::NoReplicas),
    ("MISCONF", ErrorReply::Misconfigured),
];

pub(super) const ERRORS: Table<ErrorReply> = &[
    ("READONLY", ErrorReply::ReadOnly),
    ("LOADING", ErrorReply::Loading),
    ("OOM", ErrorReply::OutOfMemory),
    ("BUSY", ErrorReply::Busy),
    ("CLUSTERDOWN", ErrorReply::ClusterDown),
    ("MASTERDOWN", ErrorReply::MasterDown),
    ("MOVED", ErrorReply::Moved),
    ("ASK", ErrorReply::Ask),
    ("NOREPLICAS", ErrorReply::NoReplicas),
    ("MISCONF", ErrorReply::Misconfigured),
    ("NOSCRIPT", ErrorReply::NoScript),
];

pub(super) const TRIP_FAULTS: Table<TripFault> = &[
    ("request-lost", TripFault::RequestLost),
    ("reply-lost", TripFault::ReplyLost),
    ("late", TripFault::Late),
    ("reply-late", TripFault::ReplyLate),
    ("torn", TripFault::Torn),
    ("stray", TripFault::Stray),
];

pub(super) const OPERATIONS: Table<OperationKind> = &[
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
    ("append", OperationKind::Append),
    ("read-log", OperationKind::ReadLog),
    ("read-head", OperationKind::ReadHead),
    ("confirm", OperationKind::Confirm),
    ("delete-log", OperationKind::DeleteLog),
    ("enter-topic", OperationKind::EnterTopic),
    ("leave-topic", OperationKind::LeaveTopic),
    ("lookup-topic", OperationKind::LookupTopic),
    ("keep-topic", OperationKind::KeepTopic),
];
