//! Items, as they are read.

use super::redis::{redis_act, redis_next};
use super::words::{HOW_CLOSED, Read, from_table, host, span};
use crate::schedule::{Act, HowKilled, NewAddress, To};

pub(super) fn act(words: &[&str], instances: usize) -> Read<Act> {
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
        ["redis", at, "next", rest @ ..] => redis_next(host(at)?, rest)?,
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
