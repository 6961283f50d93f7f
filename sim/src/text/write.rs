//! Items, as they are printed.

use std::fmt::{self, Display};
use std::time::Duration;

use switchboard_core::message::PushedBy;

use super::redis::{Next, WRITE_ERRORS};
use super::words::{HOW_CLOSED, LIES, MOMENTS, SENT, Span, name_of};
use crate::schedule::{
    Act, Brings, ClockStep, Durability, Enrolment, FailedUpgrade, Host, HowClosed, HowKilled,
    LateLogin, LogOf, Moment, NewAddress, Sent, StrangerWords, To, TopicAct,
};

impl Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect {
                client,
                at,
                user,
                token,
            } => connects(f, client, *at, user, *token),
            Self::Move { client, at, how } => moves(f, client, *at, *how),
            Self::Follow {
                client,
                history,
                brings,
            } => follows(f, client, *history, *brings),
            Self::LogIn { client, login } => match login {
                LateLogin::After(span) => {
                    write!(f, "client {client} logs in after {}", Span(*span))
                }
                LateLogin::Wrongly(span) => {
                    write!(f, "client {client} logs in wrongly after {}", Span(*span))
                }
                LateLogin::Never => write!(f, "client {client} logs in never"),
            },
            Self::Prolong { client, token } => {
                write!(f, "client {client} prolongs {}", Span(*token))
            }
            Self::FailUpgrade {
                client,
                at,
                user,
                how,
            } => {
                let at = OneOrAll(*at, "anywhere");
                let how = match how {
                    FailedUpgrade::Ends => "fails",
                    FailedUpgrade::Hangs => "hangs",
                };
                write!(f, "client {client} {how} {at} as {user}")
            }
            Self::Forget { client, positions } => write!(f, "client {client} forgets {positions}"),
            Self::Confirm { client, nth: 1 } => write!(f, "client {client} confirms"),
            Self::Confirm { client, nth } => write!(f, "client {client} confirms {nth}"),
            Self::OfTopic { client, does } => write!(f, "client {client} {does}"),
            Self::Enrol {
                at,
                user,
                topic,
                name,
                how,
                durable,
            } => {
                let durable = if *durable { " durable" } else { "" };
                write!(f, "{how} {at} {user} {topic} {name}{durable}")
            }
            Self::Send { client, what } => write!(f, "client {client} sends {what}"),
            Self::Close { client, how } => closes(f, client, *how),
            Self::StopReading { client } => write!(f, "client {client} stops reading"),
            Self::Read { client } => write!(f, "client {client} reads"),
            Self::ReadSlowly { client, every } => {
                write!(f, "client {client} reads every {}", Span(*every))
            }
            Self::Storm { at } => write!(f, "storm {}", OneOrAll(*at, "everywhere")),
            Self::BlindBalancer(span) => write!(f, "balancer blind {}", Span(*span)),
            Self::AllLeave => f.write_str("clients leave"),
            Self::Push {
                at,
                to,
                name,
                durable,
                by,
                within,
            } => {
                let durable = match durable {
                    Durability::Plain => "",
                    Durability::Written => " durable",
                    Durability::Confirmed => " durable confirmed",
                    Durability::Replicated => " durable replicated",
                };
                let by = match by {
                    PushedBy::Application => "",
                    PushedBy::Terminal => " published",
                };
                write!(f, "push {at} {to} {name}{durable}{by}")?;
                match within {
                    Some(within) => write!(f, " within {}", Span(*within)),
                    None => Ok(()),
                }
            }
            Self::Kick { at, to, name } => write!(f, "kick {at} {to} {name}"),
            Self::Where { at, user } => write!(f, "where {at} {user}"),
            Self::ReadLog { at, of } => write!(f, "log {at} {of}"),
            Self::DeleteLog { at, of } => write!(f, "delete-log {at} {of}"),
            Self::Instances { at } => write!(f, "instances {at}"),
            Self::Repeat { at, name } => write!(f, "repeat {at} {name}"),
            Self::Pause { host, span } => write!(f, "pause {host} {}", Span(*span)),
            Self::Kill { host, how } => write!(f, "kill {host}{}", Silently(*how)),
            Self::KillMidBatch {
                host,
                how,
                commands,
            } => write!(f, "kill {host}{} after {commands} commands", Silently(*how)),
            Self::StepClock { host, step } => write!(f, "clock {host} {step}"),
            Self::Restart { host, address } => write!(f, "restart {host}{}", At(*address)),
            Self::Drain {
                host,
                delay,
                spread,
            } => write!(f, "drain {host} {} {}", Span(*delay), Span(*spread)),
            Self::Deploy {
                delay,
                spread,
                deadline,
            } => deploys(f, *delay, *spread, *deadline),
            Self::Redis(act) => write!(f, "redis {act}"),
            Self::RedisAway { host, span } => write!(f, "redis {host} away {}", Span(*span)),
            Self::RedisRefuses { host, error, span } => {
                let error = name_of(WRITE_ERRORS, error);
                write!(f, "redis {host} refused {error} {}", Span(*span))
            }
            Self::NextTrip {
                host,
                operation,
                fault,
            } => write!(f, "redis {host} next {}", Next(*operation, *fault)),
            Self::Cut { from, to, both } => write!(f, "cut {}", Way(*from, *to, *both)),
            Self::Clog { from, to, both } => write!(f, "clog {}", Way(*from, *to, *both)),
            Self::Mend { from, to, both } => write!(f, "mend {}", Way(*from, *to, *both)),
            Self::HalfOpen { from, to, both } => {
                write!(f, "half-open {}", Way(*from, *to, *both))
            }
            Self::RefuseDials { from, to, span } => {
                write!(f, "refuse {from} -> {to} {}", Span(*span))
            }
            Self::Reset { one, other } => write!(f, "reset {one} <-> {other}"),
            Self::Stranger { at, says } => match says {
                StrangerWords::Nonsense => write!(f, "stranger {at} nonsense"),
                StrangerWords::Misdirected(of) => write!(f, "stranger {at} misdirects {of}"),
                StrangerWords::Replayed(of) => write!(f, "stranger {at} replays {of}"),
                StrangerWords::Unproven(of) => write!(f, "stranger {at} skips-proof {of}"),
                StrangerWords::Posing(of) => write!(f, "stranger {at} poses-as {of}"),
            },
            Self::Lie {
                from,
                to,
                lie,
                span,
            } => write!(
                f,
                "peer {from} -> {to} {} {}",
                name_of(LIES, lie),
                Span(*span)
            ),
            Self::LinkLatency(latency) => write!(f, "links latency {}", Span(*latency)),
            Self::On {
                moment,
                of,
                after,
                act,
            } => waits(f, *moment, of, *after, act),
            Self::Heal => f.write_str("heal"),
            Self::ExpectConverged => f.write_str("expect converged"),
            Self::ExpectAtRest => f.write_str("expect at-rest"),
        }
    }
}

fn connects(
    f: &mut fmt::Formatter<'_>,
    client: &str,
    at: Option<Host>,
    user: &str,
    token: Option<Duration>,
) -> fmt::Result {
    let at = OneOrAll(at, "anywhere");
    write!(f, "client {client} connects {at} as {user}")?;
    match token {
        Some(token) => write!(f, " for {}", Span(token)),
        None => Ok(()),
    }
}

fn moves(
    f: &mut fmt::Formatter<'_>,
    client: &str,
    at: Option<Host>,
    how: HowClosed,
) -> fmt::Result {
    let (at, how) = (OneOrAll(at, "anywhere"), name_of(HOW_CLOSED, &how));
    write!(f, "client {client} moves {at} {how}")
}

fn follows(f: &mut fmt::Formatter<'_>, client: &str, history: u32, brings: Brings) -> fmt::Result {
    write!(f, "client {client} follows")?;
    if history > 0 {
        write!(f, " history {history}")?;
    }
    match brings {
        Brings::Positions(1) => Ok(()),
        Brings::Positions(count) => write!(f, " bringing {count}"),
        Brings::Offset => f.write_str(" bringing offset"),
    }
}

fn closes(f: &mut fmt::Formatter<'_>, client: &str, how: HowClosed) -> fmt::Result {
    write!(f, "client {client} closes {}", name_of(HOW_CLOSED, &how))
}

fn deploys(
    f: &mut fmt::Formatter<'_>,
    delay: Duration,
    spread: Duration,
    deadline: Duration,
) -> fmt::Result {
    let (delay, spread, deadline) = (Span(delay), Span(spread), Span(deadline));
    write!(f, "deploy {delay} {spread} {deadline}")
}

fn waits(
    f: &mut fmt::Formatter<'_>,
    moment: Moment,
    of: &str,
    after: Duration,
    act: &Act,
) -> fmt::Result {
    write!(f, "on {} of {of} ", name_of(MOMENTS, &moment))?;
    if !after.is_zero() {
        write!(f, "after {} ", Span(after))?;
    }
    write!(f, "{act}")
}

impl Display for TopicAct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claim(claim) => write!(f, "claims {}", claim.join(",")),
            Self::Join(topic) => write!(f, "joins {topic}"),
            Self::Watch(topic) => write!(f, "watches {topic}"),
            Self::Follow { topic, history: 0 } => write!(f, "joins {topic} log"),
            Self::Follow { topic, history } => write!(f, "joins {topic} history {history}"),
            Self::Confirm { topic, nth } => write!(f, "confirms {nth} of {topic}"),
            Self::Leave(topic) => write!(f, "leaves {topic}"),
        }
    }
}

impl Display for LogOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => f.write_str(user),
            Self::Topic(topic) => write!(f, "of {topic}"),
        }
    }
}

impl Display for Enrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Join => "join",
            Self::Leave => "leave",
        })
    }
}

impl Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Messages(count) => write!(f, "{count} messages"),
            Self::Unwanted(count) => write!(f, "{count} unwanted"),
            Self::Malformed | Self::Oversized | Self::NotUtf8 => f.write_str(name_of(SENT, self)),
        }
    }
}

/// The word for that, and a space before it.
struct Silently(HowKilled);

impl Display for Silently {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            HowKilled::Reset => Ok(()),
            HowKilled::Silent => f.write_str(" silent"),
        }
    }
}

impl Display for ClockStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forward(by) => write!(f, "+{}", Span(*by)),
            Self::Back(by) => write!(f, "-{}", Span(*by)),
        }
    }
}

/// The words for that, and a space before them.
struct At(NewAddress);

impl Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            NewAddress::Same => Ok(()),
            NewAddress::New => f.write_str(" new-address"),
            NewAddress::Of(other) => write!(f, " address-of {other}"),
        }
    }
}

impl Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => f.write_str(user),
            Self::Users(users) => f.write_str(&users.join(",")),
            Self::Everyone => f.write_str("everyone"),
            Self::Topics { topics, except } => {
                write!(f, "topics {}", topics.join(","))?;
                match except {
                    Some(client) => write!(f, " except {client}"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// From one instance to another, and perhaps back.
struct Way(Host, Host, bool);

impl Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(from, to, both) = self;
        let arrow = if *both { "<->" } else { "->" };
        write!(f, "{from} {arrow} {to}")
    }
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
