//! Faults, operations and places in words.

use switchboard_core::directory::Operation;
use switchboard_core::time::Instant;

use super::history::{History, RowState};
use crate::context::BEGIN;
use crate::ledger::{Excuse, FaultKind, Ledger, Scope};
use crate::observed::Life;

/// A moment, in seconds from the start of the schedule.
pub(super) fn moment(at: Instant) -> String {
    format!("{:.6} s", at.since(BEGIN).as_secs_f64())
}

/// An instance as schedules and traces call it.
pub(super) fn instance(life: Life) -> String {
    format!("{:?}", life.place())
}

pub(super) fn process(host: usize) -> String {
    format!("i{}", host + 1)
}

/// A session: the client's name, and whose it is.
pub(super) fn session(history: &History, session: usize) -> String {
    let facts = &history.sessions[session];
    let (client, user) = (&facts.client, &facts.user);
    let earlier = history.sessions[..session].iter();
    match earlier.filter(|other| other.client == *client).count() {
        0 => format!("{client} of {user}"),
        before => format!("connection {} of {client} of {user}", before + 1),
    }
}

pub(super) fn fault_in_words(fault: &Excuse) -> String {
    let what = kind(fault.kind);
    let whose = match fault.scope {
        Scope::All => String::new(),
        Scope::Instance(host) => format!(", {}", process(host)),
        Scope::Between(one, other) => format!(", {} and {}", process(one), process(other)),
        Scope::Session(session) => format!(", session {session}"),
    };
    let from = moment(fault.from);
    match fault.until {
        Ledger::OPEN => format!("{what}{whose}, from {from} on"),
        until if until == fault.from => format!("{what}{whose}, at {from}"),
        until => format!("{what}{whose}, from {from} to {}", moment(until)),
    }
}

const fn kind(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Kill => "an instance was killed",
        FaultKind::Start => "an instance had just started",
        FaultKind::Pause => "an instance stood still",
        FaultKind::LongPause => "an instance stood still for as long as its lease",
        FaultKind::Drain => "an instance was told to end",
        FaultKind::RedisDown => "the directory could not be reached",
        FaultKind::RedisWiped => "the directory lost everything",
        FaultKind::RedisFailover => "the directory lost its last writes in a failover",
        FaultKind::RedisRestored => "the directory went back to an old snapshot",
        FaultKind::RedisSplit => "an instance went on with the former primary",
        FaultKind::RedisLongSplit => {
            "an instance went on with the former primary for as long as a lease"
        }
        FaultKind::RedisEvicted => "the directory threw rows away",
        FaultKind::RedisEvictedTopic => "the directory threw away who has members of a topic",
        FaultKind::RedisLostLog => "the directory threw a log away",
        FaultKind::RedisLostLeases => "the directory threw the leases away",
        FaultKind::RedisClock => "the directory's clock jumped",
        FaultKind::RedisClockBack => "the directory's clock went back",
        FaultKind::RedisScripts => "the directory forgot its scripts, and the link was lost",
        FaultKind::RedisRefuses => "the directory refused to serve",
        FaultKind::RedisLags => {
            "the directory took so long that two round trips may exceed a hello's grace"
        }
        FaultKind::RedisSlow => "the directory was slow",
        FaultKind::RedisAway => "the directory could not be reached from one instance",
        FaultKind::RedisTrip => "a round trip to the directory went wrong",
        FaultKind::Cut => "nothing passed between two instances",
        FaultKind::LinkReset => "a link broke",
        FaultKind::HalfOpen => "the links between two instances carried nothing, unnoticed",
        FaultKind::Clog => "what was written into a link did not leave",
        FaultKind::DialsRefused => "a link could not be opened",
        FaultKind::LinkSlow => "links were slow",
        FaultKind::LinkLate => "a batch was under way for longer than an answer may be",
        FaultKind::SlowReader => "a terminal did not read",
        FaultKind::Overflowed => "a terminal's queue was full",
        FaultKind::Kicked => "a terminal was told to end",
        FaultKind::TokenExpired => "a token had run out",
        FaultKind::Storm => "sockets were reset",
        FaultKind::SuddenEnd => "a client reset its connection",
        FaultKind::SilentEnd => "a client went without a sign",
        FaultKind::Unopened => "a client's handshake did not end",
        FaultKind::HalfOpenClient => "a client connected again and left its connection half open",
        FaultKind::Moved => "a client moved",
        FaultKind::Misbehaved => "a client sent what is refused",
        FaultKind::WallClock => "the wall clock was set",
        FaultKind::BlindBalancer => "the balancer chose who takes no connections",
        FaultKind::Repeated => "a push was handed in once more",
        FaultKind::Deployed => "an instance was drained by a deployment",
        FaultKind::KilledMidBatch => "an instance was killed within a batch",
        FaultKind::RecycledAddress => "an instance took over another's address",
        FaultKind::NotMe => "somebody else answered at an address",
        FaultKind::Stranger => "a stranger said something on a link",
        FaultKind::PeerLied => "an instance misbehaved on its links to another",
        FaultKind::AtMoment => "something happened at a moment for which it had waited",
    }
}

/// What an operation does to rows.
pub(super) fn operation(history: &History, operation: &Operation) -> String {
    let of = |connection| match history.session_of(connection) {
        Some(number) => format!("the row of {}", session(history, number)),
        None => "the row of a connection that nobody has".to_owned(),
    };
    match operation {
        Operation::Register { connection, .. } => format!("writes {}", of(*connection)),
        Operation::Unregister { connection, .. } => format!("removes {}", of(*connection)),
        Operation::RemoveRow { connection, .. } => {
            format!(
                "removes {}, which it has read for dead or was told is gone",
                of(*connection)
            )
        }
        Operation::Lookup { key } => format!("reads the rows of {}", key.user()),
        Operation::View => "reads the leases".to_owned(),
        Operation::Claim { .. } => "claims its lease".to_owned(),
        Operation::Renew { .. } => "renews its lease".to_owned(),
        Operation::Release { .. } => "gives its lease back".to_owned(),
        Operation::ReadLease { .. } => "reads a lease".to_owned(),
        Operation::EnterTopic { topic, .. } => format!("says that it has members of {topic}"),
        Operation::LeaveTopic { topic, .. } => format!("takes back that it has members of {topic}"),
        Operation::KeepTopic { key, topic, .. } => {
            format!("says whether {} is kept in {topic}", key.user())
        }
        Operation::LookupTopic { topic } => format!("reads who has members of {topic}"),
        Operation::Log { channel, .. } => format!("does something with the log of {channel}"),
    }
}

pub(super) const fn row_state(state: RowState) -> &'static str {
    match state {
        RowState::Live => "live",
        RowState::NoLease => "dead: its instance has no lease",
        RowState::LeaseRunOut => "dead: the lease of its instance has run out",
        RowState::BelowFloor => "dead: its epoch is below the floor of its instance",
    }
}
