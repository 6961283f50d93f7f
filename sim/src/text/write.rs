//! Items, as they are printed.

use std::fmt::{self, Display};

use super::redis::Next;
use super::words::{HOW_CLOSED, Span, name_of};
use crate::schedule::{Act, HowKilled, NewAddress, To};

impl Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { client, at, user } => match at {
                Some(at) => write!(f, "client {client} connects {at} as {user}"),
                None => write!(f, "client {client} connects anywhere as {user}"),
            },
            Self::Close { client, how } => {
                write!(f, "client {client} closes {}", name_of(HOW_CLOSED, how))
            }
            Self::StopReading { client } => write!(f, "client {client} stops reading"),
            Self::Read { client } => write!(f, "client {client} reads"),
            Self::AllLeave => f.write_str("clients leave"),
            Self::Push { at, to, name } => match to {
                To::User(user) => write!(f, "push {at} {user} {name}"),
                To::Users(users) => write!(f, "push {at} {} {name}", users.join(",")),
                To::Everyone => write!(f, "push {at} everyone {name}"),
            },
            Self::Repeat { at, name } => write!(f, "repeat {at} {name}"),
            Self::Pause { host, span } => write!(f, "pause {host} {}", Span(*span)),
            Self::Kill { host, how } => match how {
                HowKilled::Reset => write!(f, "kill {host}"),
                HowKilled::Silent => write!(f, "kill {host} silent"),
            },
            Self::Restart { host, address } => match address {
                NewAddress::Same => write!(f, "restart {host}"),
                NewAddress::New => write!(f, "restart {host} new-address"),
                NewAddress::Of(other) => write!(f, "restart {host} address-of {other}"),
            },
            Self::Drain {
                host,
                delay,
                spread,
            } => write!(f, "drain {host} {} {}", Span(*delay), Span(*spread)),
            Self::Redis(act) => write!(f, "redis {act}"),
            Self::NextTrip {
                host,
                operation,
                fault,
            } => write!(f, "redis {host} next {}", Next(*operation, *fault)),
            Self::Cut { from, to, both } => {
                let arrow = if *both { "<->" } else { "->" };
                write!(f, "cut {from} {arrow} {to}")
            }
            Self::Reset { one, other } => write!(f, "reset {one} <-> {other}"),
            Self::LinkLatency(latency) => write!(f, "links latency {}", Span(*latency)),
            Self::Heal => f.write_str("heal"),
            Self::ExpectConverged => f.write_str("expect converged"),
            Self::ExpectAtRest => f.write_str("expect at-rest"),
        }
    }
}
