//! How schedules are written.

use std::fmt::{self, Display};
use std::time::Duration;

use crate::schedule::{
    Act, ClockStep, ErrorReply, Host, HowClosed, HowKilled, Item, NewAddress, OperationKind,
    RedisAct, Schedule, ScheduleError, To, TripFault,
};

/// Instances of one world, at most.
const MAX_INSTANCES: usize = 64;

pub(crate) fn parse(text: &str) -> Result<Schedule, ScheduleError> {
    let mut schedule = Schedule {
        seed: 0,
        instances: 0,
        lease: Duration::from_secs(10),
        items: Vec::new(),
    };
    let mut begun = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        let problem = match (begun, words.as_slice()) {
            (_, []) => Ok(()),
            (false, words) => {
                begun = true;
                head(&mut schedule, words)
            }
            (true, [at, words @ ..]) => span(at).and_then(|at| {
                let act = act(words, schedule.instances)?;
                schedule.items.push(Item { at, act });
                Ok(())
            }),
        };
        problem.map_err(|problem| ScheduleError {
            line: index + 1,
            problem,
        })?;
    }
    if !begun {
        return Err(ScheduleError {
            line: 1,
            problem: "the first line must be `switchboard-sim 1 seed S instances N`".to_owned(),
        });
    }
    Ok(schedule)
}

pub(crate) fn print(schedule: &Schedule, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Schedule {
        seed,
        instances,
        lease,
        items,
    } = schedule;
    let lease = Span(*lease);
    writeln!(
        f,
        "switchboard-sim 1  seed {seed:#x}  instances {instances}  lease {lease}"
    )?;
    for item in items {
        writeln!(f, "{}  {}", Span(item.at), item.act)?;
    }
    Ok(())
}

type Read<T> = Result<T, String>;

fn head(schedule: &mut Schedule, words: &[&str]) -> Read<()> {
    let ["switchboard-sim", "1", settings @ ..] = words else {
        return Err("a schedule begins with `switchboard-sim 1`".to_owned());
    };
    let (pairs, []) = settings.as_chunks::<2>() else {
        return Err("each setting has a name and a value".to_owned());
    };
    for [name, value] in pairs {
        match *name {
            "seed" => schedule.seed = number(value)?,
            "instances" => schedule.instances = number(value)? as usize,
            "lease" => schedule.lease = span(value)?,
            other => return Err(format!("there is no setting `{other}`")),
        }
    }
    if schedule.instances == 0 || schedule.instances > MAX_INSTANCES {
        return Err(format!("`instances` must be from 1 to {MAX_INSTANCES}"));
    }
    if schedule.lease < Duration::from_secs(1) {
        return Err("`lease` must be at least 1s".to_owned());
    }
    Ok(())
}

fn act(words: &[&str], instances: usize) -> Read<Act> {
    let host = |word: &str| host(word, instances);
    Ok(match words {
        ["client", client, rest @ ..] => return client_act(client, rest, instances),
        ["clients", "leave"] => Act::AllLeave,
        ["push", at, rest @ .., name] => Act::Push {
            at: host(at)?,
            to: to(rest)?,
            name: (*name).to_owned(),
        },
        ["repeat", at, name] => Act::Repeat {
            at: host(at)?,
            name: (*name).to_owned(),
        },
        ["pause", at, time] => Act::Pause {
            host: host(at)?,
            span: span(time)?,
        },
        ["kill", at] => Act::Kill {
            host: host(at)?,
            how: HowKilled::Reset,
        },
        ["kill", at, "silent"] => Act::Kill {
            host: host(at)?,
            how: HowKilled::Silent,
        },
        ["restart", at] => Act::Restart {
            host: host(at)?,
            address: NewAddress::Same,
        },
        ["restart", at, "new-address"] => Act::Restart {
            host: host(at)?,
            address: NewAddress::New,
        },
        ["restart", at, "address-of", other] => Act::Restart {
            host: host(at)?,
            address: NewAddress::Of(host(other)?),
        },
        ["drain", at, delay, spread] => Act::Drain {
            host: host(at)?,
            delay: span(delay)?,
            spread: span(spread)?,
        },
        ["redis", at, "next", operation, fault @ ..] => Act::NextTrip {
            host: host(at)?,
            operation: from_table(OPERATIONS, operation)?,
            fault: trip_fault(fault)?,
        },
        ["redis", rest @ ..] => Act::Redis(redis_act(rest)?),
        ["cut", from, arrow @ ("->" | "<->"), to] => Act::Cut {
            from: host(from)?,
            to: host(to)?,
            both: *arrow == "<->",
        },
        ["reset", one, "<->", other] => Act::Reset {
            one: host(one)?,
            other: host(other)?,
        },
        ["links", "latency", time] => Act::LinkLatency(span(time)?),
        ["heal"] => Act::Heal,
        ["expect", "converged"] => Act::ExpectConverged,
        ["expect", "at-rest"] => Act::ExpectAtRest,
        other => return Err(format!("not an item: `{}`", other.join(" "))),
    })
}

fn client_act(client: &str, words: &[&str], instances: usize) -> Read<Act> {
    let client = client.to_owned();
    Ok(match words {
        ["connects", at, "as", user] => Act::Connect {
            client,
            at: match *at {
                "anywhere" => None,
                at => Some(host(at, instances)?),
            },
            user: (*user).to_owned(),
        },
        ["closes", how] => Act::Close {
            client,
            how: from_table(HOW_CLOSED, how)?,
        },
        ["stops", "reading"] => Act::StopReading { client },
        ["reads"] => Act::Read { client },
        other => return Err(format!("a client cannot `{}`", other.join(" "))),
    })
}

fn to(words: &[&str]) -> Read<To> {
    match words {
        ["everyone"] => Ok(To::Everyone),
        [users] if users.contains(',') => {
            Ok(To::Users(users.split(',').map(ToOwned::to_owned).collect()))
        }
        [user] => Ok(To::User((*user).to_owned())),
        other => Err(format!("a push is not for `{}`", other.join(" "))),
    }
}

fn redis_act(words: &[&str]) -> Read<RedisAct> {
    Ok(match words {
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
        ["evicts", "leases"] => RedisAct::EvictLeases,
        ["clock", step] => RedisAct::Clock(clock_step(step)?),
        ["flushes-scripts"] => RedisAct::FlushScripts,
        ["refuses", error, time] => RedisAct::Refuse(from_table(ERRORS, error)?, span(time)?),
        ["latency", time] => RedisAct::Latency(span(time)?),
        other => return Err(format!("redis cannot `{}`", other.join(" "))),
    })
}

fn trip_fault(words: &[&str]) -> Read<TripFault> {
    match words {
        ["refused", error] => Ok(TripFault::Refused(from_table(ERRORS, error)?)),
        [fault] => from_table(TRIP_FAULTS, fault),
        other => Err(format!("a trip cannot end `{}`", other.join(" "))),
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

type Table<T> = &'static [(&'static str, T)];

const HOW_CLOSED: Table<HowClosed> = &[
    ("clean", HowClosed::Clean),
    ("sudden", HowClosed::Sudden),
    ("silent", HowClosed::Silent),
];

const ERRORS: Table<ErrorReply> = &[
    ("READONLY", ErrorReply::ReadOnly),
    ("LOADING", ErrorReply::Loading),
    ("OOM", ErrorReply::OutOfMemory),
    ("BUSY", ErrorReply::Busy),
    ("CLUSTERDOWN", ErrorReply::ClusterDown),
    ("MASTERDOWN", ErrorReply::MasterDown),
    ("MOVED", ErrorReply::Moved),
    ("ASK", ErrorReply::Ask),
    ("NOSCRIPT", ErrorReply::NoScript),
];

const TRIP_FAULTS: Table<TripFault> = &[
    ("request-lost", TripFault::RequestLost),
    ("reply-lost", TripFault::ReplyLost),
    ("late", TripFault::Late),
    ("reply-late", TripFault::ReplyLate),
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

fn from_table<T: Copy>(table: Table<T>, word: &str) -> Read<T> {
    (table.iter().find(|(name, _)| *name == word))
        .map(|(_, value)| *value)
        .ok_or_else(|| {
            let names: Vec<_> = table.iter().map(|(name, _)| *name).collect();
            format!("`{word}` is none of {}", names.join(", "))
        })
}

fn name_of<T: PartialEq>(table: Table<T>, value: &T) -> &'static str {
    (table.iter().find(|(_, other)| other == value)).map_or("", |(name, _)| name)
}

fn host(word: &str, instances: usize) -> Read<Host> {
    let number = word
        .strip_prefix('i')
        .and_then(|digits| digits.parse().ok());
    match number {
        Some(number) if (1..=instances).contains(&number) => Ok(Host(number - 1)),
        _ => Err(format!("`{word}` is none of i1 to i{instances}")),
    }
}

fn number(word: &str) -> Read<u64> {
    let parsed = match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => word.parse(),
    };
    parsed.map_err(|_| format!("`{word}` is not a number"))
}

/// Reads `3.000s` or `250ms`, to the microsecond.
fn span(word: &str) -> Read<Duration> {
    let invalid = || format!("`{word}` is not a time such as 3.000s or 250ms");
    let (digits, micros) = match word.strip_suffix("ms") {
        Some(digits) => (digits, 1000.0),
        None => (word.strip_suffix('s').ok_or_else(invalid)?, 1_000_000.0),
    };
    let value: f64 = digits.parse().map_err(|_| invalid())?;
    let micros = value * micros;
    if !(0.0..1e15).contains(&micros) {
        return Err(invalid());
    }
    Ok(Duration::from_micros(micros.round() as u64))
}

/// A time as [`span`] reads it.
struct Span(Duration);

impl Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.subsec_micros();
        if micros.is_multiple_of(1000) {
            write!(f, "{}.{:03}s", self.0.as_secs(), micros / 1000)
        } else {
            write!(f, "{}.{micros:06}s", self.0.as_secs())
        }
    }
}

impl Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "i{}", self.0 + 1)
    }
}

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
            } => {
                let operation = name_of(OPERATIONS, operation);
                match fault {
                    TripFault::Refused(error) => {
                        let error = name_of(ERRORS, error);
                        write!(f, "redis {host} next {operation} refused {error}")
                    }
                    fault => {
                        let fault = name_of(TRIP_FAULTS, fault);
                        write!(f, "redis {host} next {operation} {fault}")
                    }
                }
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY_ITEM: &str = "\
switchboard-sim 1  seed 0x5eed  instances 3  lease 10.000s
0.500s  client c1 connects i1 as alice
0.500250s  client c2 connects anywhere as bob
1.000s  client c1 closes sudden
1.000s  client c2 stops reading
1.100s  client c2 reads
2.000s  push i2 alice m1
2.000s  push i2 alice,bob m2
2.000s  push i3 everyone m3
2.100s  repeat i1 m1
3.000s  pause i1 25.000s
3.000s  kill i2
3.000s  kill i3 silent
4.000s  restart i2
4.000s  restart i3 new-address
4.000s  restart i3 address-of i2
5.000s  drain i1 1.000s 5.000s
6.000s  redis down
6.000s  redis up
6.000s  redis restart-empty
6.000s  redis saves
6.000s  redis restart
6.000s  redis failover 0.200s
6.000s  redis failover 0.200s former 2.000s
6.000s  redis evicts rows alice
6.000s  redis evicts leases
6.000s  redis clock +3.000s
6.000s  redis clock -0.250s
6.000s  redis flushes-scripts
6.000s  redis refuses READONLY 2.000s
6.000s  redis latency 0.050s
6.000s  redis refuses CLUSTERDOWN 0.500s
6.000s  redis i1 next register reply-lost
6.000s  redis i1 next renew reply-late
6.000s  redis i1 next lookup refused MOVED
6.000s  redis i1 next any refused OOM
7.000s  cut i1 -> i2
7.000s  cut i1 <-> i2
7.000s  reset i1 <-> i2
7.000s  links latency 0.100s
8.000s  heal
9.000s  expect converged
9.500s  clients leave
9.900s  expect at-rest
";

    #[test]
    fn what_is_printed_is_what_was_read() {
        let schedule = parse(EVERY_ITEM).unwrap();
        assert_eq!(schedule.to_string(), EVERY_ITEM);
    }

    #[test]
    fn an_error_names_its_line() {
        let error = parse("switchboard-sim 1 seed 1 instances 2\n\n1s pause i3 4s\n").unwrap_err();
        assert_eq!(error.to_string(), "line 3: `i3` is none of i1 to i2");
        let error = parse("switchboard-sim 1 seed 1 instances 2\n1s dance\n").unwrap_err();
        assert_eq!(error.to_string(), "line 2: not an item: `dance`");
        assert_eq!(parse("").unwrap_err().line, 1);
    }
}
