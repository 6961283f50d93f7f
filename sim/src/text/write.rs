//! Items, as they are printed.

use std::fmt::{self, Display};

use super::redis::Next;
use super::words::{HOW_CLOSED, MOMENTS, SENT, Span, name_of};
use crate::schedule::{Act, ClockStep, Host, HowKilled, NewAddress, Sent, To};

impl Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect {
                client,
                at,
                user,
                token,
            } => {
                let at = OneOrAll(*at, "anywhere");
                write!(f, "client {client} connects {at} as {user}")?;
                match token {
                    Some(token) => write!(f, " for {}", Span(*token)),
                    None => Ok(()),
                }
            }
            Self::Move { client, at, how } => {
                let at = OneOrAll(*at, "anywhere");
                write!(f, "client {client} moves {at} {}", name_of(HOW_CLOSED, how))
            }
            Self::Send { client, what } => match what {
                Sent::Messages(count) => write!(f, "client {client} sends {count} messages"),
                what => write!(f, "client {client} sends {}", name_of(SENT, what)),
            },
            Self::Close { client, how } => {
                write!(f, "client {client} closes {}", name_of(HOW_CLOSED, how))
            }
            Self::StopReading { client } => write!(f, "client {client} stops reading"),
            Self::Read { client } => write!(f, "client {client} reads"),
            Self::ReadSlowly { client, every } => {
                write!(f, "client {client} reads every {}", Span(*every))
            }
            Self::Storm { at } => write!(f, "storm {}", OneOrAll(*at, "everywhere")),
            Self::BlindBalancer(span) => write!(f, "balancer blind {}", Span(*span)),
            Self::AllLeave => f.write_str("clients leave"),
            Self::Push { at, to, name } => write!(f, "push {at} {to} {name}"),
            Self::Kick { at, to, name } => write!(f, "kick {at} {to} {name}"),
            Self::Repeat { at, name } => write!(f, "repeat {at} {name}"),
            Self::Pause { host, span } => write!(f, "pause {host} {}", Span(*span)),
            Self::Kill { host, how } => match how {
                HowKilled::Reset => write!(f, "kill {host}"),
                HowKilled::Silent => write!(f, "kill {host} silent"),
            },
            Self::KillMidBatch {
                host,
                how,
                commands,
            } => {
                let silent = match how {
                    HowKilled::Reset => "",
                    HowKilled::Silent => " silent",
                };
                write!(f, "kill {host}{silent} after {commands} commands")
            }
            Self::StepClock { host, step } => match step {
                ClockStep::Forward(by) => write!(f, "clock {host} +{}", Span(*by)),
                ClockStep::Back(by) => write!(f, "clock {host} -{}", Span(*by)),
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
            Self::Deploy {
                delay,
                spread,
                deadline,
            } => {
                let (delay, spread, deadline) = (Span(*delay), Span(*spread), Span(*deadline));
                write!(f, "deploy {delay} {spread} {deadline}")
            }
            Self::Redis(act) => write!(f, "redis {act}"),
            Self::NextTrip {
                host,
                operation,
                fault,
            } => write!(f, "redis {host} next {}", Next(*operation, *fault)),
            Self::Cut { from, to, both } => write!(f, "cut {from} {} {to}", arrow(*both)),
            Self::Clog { from, to, both } => write!(f, "clog {from} {} {to}", arrow(*both)),
            Self::Mend { from, to, both } => write!(f, "mend {from} {} {to}", arrow(*both)),
            Self::HalfOpen { from, to, both } => {
                write!(f, "half-open {from} {} {to}", arrow(*both))
            }
            Self::RefuseDials { from, to, span } => {
                write!(f, "refuse {from} -> {to} {}", Span(*span))
            }
            Self::Reset { one, other } => write!(f, "reset {one} <-> {other}"),
            Self::LinkLatency(latency) => write!(f, "links latency {}", Span(*latency)),
            Self::On {
                moment,
                of,
                after,
                act,
            } => {
                write!(f, "on {} of {of} ", name_of(MOMENTS, moment))?;
                if !after.is_zero() {
                    write!(f, "after {} ", Span(*after))?;
                }
                write!(f, "{act}")
            }
            Self::Heal => f.write_str("heal"),
            Self::ExpectConverged => f.write_str("expect converged"),
            Self::ExpectAtRest => f.write_str("expect at-rest"),
        }
    }
}

impl Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => f.write_str(user),
            Self::Users(users) => f.write_str(&users.join(",")),
            Self::Everyone => f.write_str("everyone"),
        }
    }
}

const fn arrow(both: bool) -> &'static str {
    if both { "<->" } else { "->" }
}

/// One instance, or the word for all of them.
struct OneOrAll(Option<Host>, &'static str);

impl Display for OneOrAll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(host) => host.fmt(f),
            None => f.write_str(self.1),
        }
    }
}
