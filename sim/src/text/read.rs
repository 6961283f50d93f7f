//! Items, as they are read: the first word says which form the others have.

use switchboard_core::message::PushedBy;

use super::forms::{first_words, forms};
use super::redis::{WRITE_ERRORS, redis_act, redis_next};
use super::words::{
    HOW_CLOSED, LIES, MOMENTS, Read, SENT, from_table, host, names, number32, span,
};
use crate::schedule::{
    Act, Brings, ClockStep, Durability, Enrolment, FailedUpgrade, Host, HowKilled, LateLogin,
    LogOf, MAX_NESTED, NewAddress, Sent, StrangerWords, To, TopicAct, too_nested,
};

pub(super) fn act(words: &[&str], instances: usize) -> Read<Act> {
    nested(words, instances, MAX_NESTED)
}

/// An item in which so many wait for each other, at most.
fn nested(words: &[&str], instances: usize, depth: usize) -> Read<Act> {
    let host = |word: &str| host(word, instances);
    let [first, rest @ ..] = words else {
        return Err(format!("an item begins with one of {}", first_words()));
    };
    match (*first, rest) {
        ("client", [client, rest @ ..]) => client_act(client, rest, instances),
        ("clients", ["leave"]) => Ok(Act::AllLeave),
        ("push", words) => push(words, instances),
        ("kick", [at, to @ .., name]) if !to.is_empty() => Ok(Act::Kick {
            at: host(at)?,
            to: audience(to)?,
            name: (*name).to_owned(),
        }),
        ("log", [at, of @ ..]) => Ok(Act::ReadLog {
            at: host(at)?,
            of: log_of(of)?,
        }),
        ("delete-log", [at, of @ ..]) => Ok(Act::DeleteLog {
            at: host(at)?,
            of: log_of(of)?,
        }),
        ("join", [at, rest @ ..]) => enrol(host(at)?, rest, Enrolment::Join),
        ("leave", [at, rest @ ..]) => enrol(host(at)?, rest, Enrolment::Leave),
        ("where", [at, user]) => Ok(Act::Where {
            at: host(at)?,
            user: (*user).to_owned(),
        }),
        ("instances", [at]) => Ok(Act::Instances { at: host(at)? }),
        ("repeat", [at, name]) => Ok(Act::Repeat {
            at: host(at)?,
            name: (*name).to_owned(),
        }),
        ("storm", [at]) => Ok(Act::Storm {
            at: one_or_all(at, "everywhere", instances)?,
        }),
        ("balancer", ["blind", time]) => Ok(Act::BlindBalancer(span(time)?)),
        ("pause" | "kill" | "restart" | "drain" | "clock", [at, rest @ ..]) => {
            instance_act(first, host(at)?, rest, instances)
        }
        ("deploy", [delay, spread, deadline]) => Ok(Act::Deploy {
            delay: span(delay)?,
            spread: span(spread)?,
            deadline: span(deadline)?,
        }),
        ("redis", [at, "away", time]) => Ok(Act::RedisAway {
            host: host(at)?,
            span: span(time)?,
        }),
        ("redis", [at, "refused", error, time]) => Ok(Act::RedisRefuses {
            host: host(at)?,
            error: from_table(WRITE_ERRORS, error)?,
            span: span(time)?,
        }),
        ("redis", [at, "next", rest @ ..]) => redis_next(host(at)?, rest),
        ("redis", rest) => match redis_act(rest)? {
            Some(act) => Ok(Act::Redis(act)),
            None => wrong("redis"),
        },
        ("cut" | "clog" | "mend" | "half-open" | "reset" | "refuse", rest) => {
            between(first, rest, instances)
        }
        ("stranger", [at, words @ ..]) => stranger(host(at)?, words, instances),
        ("peer", [from, "->", to, lie, time]) => Ok(Act::Lie {
            from: host(from)?,
            to: host(to)?,
            lie: from_table(LIES, lie)?,
            span: span(time)?,
        }),
        ("links", ["latency", time]) => Ok(Act::LinkLatency(span(time)?)),
        ("on", rest) => on(rest, instances, depth),
        ("heal", []) => Ok(Act::Heal),
        ("expect", ["converged"]) => Ok(Act::ExpectConverged),
        ("expect", ["at-rest"]) => Ok(Act::ExpectAtRest),
        (first, _) => wrong(first),
    }
}

fn wrong<T>(first: &str) -> Read<T> {
    Err(match forms(first) {
        Some(forms) => format!("write {forms}"),
        None => format!("`{first}` is none of {}", first_words()),
    })
}

fn push(words: &[&str], instances: usize) -> Read<Act> {
    let (words, within) = match words {
        [words @ .., "within", time] => (words, Some(span(time)?)),
        words => (words, None),
    };
    let (words, by) = match words {
        [words @ .., "published"] => (words, PushedBy::Terminal),
        words => (words, PushedBy::Application),
    };
    let (words, durable) = match words {
        [words @ .., "durable"] => (words, Durability::Written),
        [words @ .., "durable", "confirmed"] => (words, Durability::Confirmed),
        [words @ .., "durable", "replicated"] => (words, Durability::Replicated),
        words => (words, Durability::Plain),
    };
    match words {
        [at, to @ .., name] if !to.is_empty() => Ok(Act::Push {
            at: host(at, instances)?,
            to: audience(to)?,
            name: (*name).to_owned(),
            durable,
            by,
            within,
        }),
        _ => wrong("push"),
    }
}

fn instance_act(first: &str, host: Host, words: &[&str], instances: usize) -> Read<Act> {
    Ok(match (first, words) {
        ("pause", [time]) => Act::Pause {
            host,
            span: span(time)?,
        },
        ("kill", ["silent", "after", count, "commands"]) => Act::KillMidBatch {
            host,
            how: HowKilled::Silent,
            commands: number32(count)?,
        },
        ("kill", ["after", count, "commands"]) => Act::KillMidBatch {
            host,
            how: HowKilled::Reset,
            commands: number32(count)?,
        },
        ("kill", ["silent"]) => Act::Kill {
            host,
            how: HowKilled::Silent,
        },
        ("kill", []) => Act::Kill {
            host,
            how: HowKilled::Reset,
        },
        ("restart", []) => Act::Restart {
            host,
            address: NewAddress::Same,
        },
        ("restart", ["new-address"]) => Act::Restart {
            host,
            address: NewAddress::New,
        },
        ("restart", ["address-of", other]) => Act::Restart {
            host,
            address: NewAddress::Of(self::host(other, instances)?),
        },
        ("drain", [delay, spread]) => Act::Drain {
            host,
            delay: span(delay)?,
            spread: span(spread)?,
        },
        ("clock", [step]) => Act::StepClock {
            host,
            step: match step.split_at_checked(1) {
                Some(("+", time)) => ClockStep::Forward(span(time)?),
                Some(("-", time)) => ClockStep::Back(span(time)?),
                _ => return wrong(first),
            },
        },
        _ => return wrong(first),
    })
}

/// What concerns the links between two instances.
fn between(first: &str, words: &[&str], instances: usize) -> Read<Act> {
    let [from, arrow @ ("->" | "<->"), to, rest @ ..] = words else {
        return wrong(first);
    };
    let (from, to) = (host(from, instances)?, host(to, instances)?);
    let both = *arrow == "<->";
    Ok(match (first, both, rest) {
        ("cut", _, []) => Act::Cut { from, to, both },
        ("clog", _, []) => Act::Clog { from, to, both },
        ("mend", _, []) => Act::Mend { from, to, both },
        ("half-open", _, []) => Act::HalfOpen { from, to, both },
        ("reset", true, []) => Act::Reset {
            one: from,
            other: to,
        },
        ("refuse", false, [time]) => Act::RefuseDials {
            from,
            to,
            span: span(time)?,
        },
        _ => return wrong(first),
    })
}

/// Somebody who does not know the secret.
fn stranger(at: Host, words: &[&str], instances: usize) -> Read<Act> {
    let says = match words {
        ["nonsense"] => StrangerWords::Nonsense,
        ["misdirects", of] => StrangerWords::Misdirected(host(of, instances)?),
        ["replays", of] => StrangerWords::Replayed(host(of, instances)?),
        ["skips-proof", of] => StrangerWords::Unproven(host(of, instances)?),
        ["poses-as", of] => StrangerWords::Posing(host(of, instances)?),
        _ => return wrong("stranger"),
    };
    Ok(Act::Stranger { at, says })
}

/// An item that waits for a moment.
fn on(words: &[&str], instances: usize, depth: usize) -> Read<Act> {
    let depth = depth.checked_sub(1).ok_or_else(too_nested)?;
    let [moment, rest @ ..] = words else {
        return wrong("on");
    };
    let moment = from_table(MOMENTS, moment)?;
    let (of, after, rest) = match rest {
        ["of", of, "after", after, rest @ ..] => (of, span(after)?, rest),
        ["of", of, rest @ ..] => (of, std::time::Duration::ZERO, rest),
        _ => return wrong("on"),
    };
    Ok(Act::On {
        moment,
        of: (*of).to_owned(),
        after,
        act: Box::new(nested(rest, instances, depth)?),
    })
}

fn client_act(client: &str, words: &[&str], instances: usize) -> Read<Act> {
    let client = client.to_owned();
    Ok(match words {
        ["connects", at, "as", user, rest @ ..] => Act::Connect {
            client,
            at: one_or_all(at, "anywhere", instances)?,
            user: (*user).to_owned(),
            token: match rest {
                [] => None,
                ["for", time] => Some(span(time)?),
                _ => return wrong("client"),
            },
        },
        ["moves", at, how] => Act::Move {
            client,
            at: one_or_all(at, "anywhere", instances)?,
            how: from_table(HOW_CLOSED, how)?,
        },
        ["closes", how] => Act::Close {
            client,
            how: from_table(HOW_CLOSED, how)?,
        },
        ["follows", rest @ ..] => {
            let (history, brings) = match rest {
                [] => (0, Brings::Positions(1)),
                ["history", history] => (number32(history)?, Brings::Positions(1)),
                ["bringing", brings] => (0, self::brings(brings)?),
                ["history", history, "bringing", brings] => {
                    (number32(history)?, self::brings(brings)?)
                }
                _ => return wrong("client"),
            };
            Act::Follow {
                client,
                history,
                brings,
            }
        }
        ["confirms"] => Act::Confirm { client, nth: 1 },
        ["confirms", nth] => Act::Confirm {
            client,
            nth: number32(nth)?,
        },
        ["logs", "in", login @ ..] => Act::LogIn {
            client,
            login: match login {
                ["after", after] => LateLogin::After(span(after)?),
                ["wrongly", "after", after] => LateLogin::Wrongly(span(after)?),
                ["never"] => LateLogin::Never,
                _ => return wrong("client"),
            },
        },
        ["prolongs", token] => Act::Prolong {
            client,
            token: span(token)?,
        },
        [how @ ("fails" | "hangs"), at, "as", user] => Act::FailUpgrade {
            client,
            at: one_or_all(at, "anywhere", instances)?,
            user: (*user).to_owned(),
            how: match *how {
                "fails" => FailedUpgrade::Ends,
                _ => FailedUpgrade::Hangs,
            },
        },
        ["forgets", positions] => Act::Forget {
            client,
            positions: number32(positions)?,
        },
        ["claims", claim] => Act::OfTopic {
            client,
            does: TopicAct::Claim(listed(claim)),
        },
        ["joins", topic] => Act::OfTopic {
            client,
            does: TopicAct::Join((*topic).to_owned()),
        },
        ["joins", topic, "log"] => Act::OfTopic {
            client,
            does: TopicAct::Follow {
                topic: (*topic).to_owned(),
                history: 0,
            },
        },
        ["joins", topic, "history", history] => Act::OfTopic {
            client,
            does: TopicAct::Follow {
                topic: (*topic).to_owned(),
                history: number32(history)?,
            },
        },
        ["confirms", nth, "of", topic] => Act::OfTopic {
            client,
            does: TopicAct::Confirm {
                topic: (*topic).to_owned(),
                nth: number32(nth)?,
            },
        },
        ["watches", topic] => Act::OfTopic {
            client,
            does: TopicAct::Watch((*topic).to_owned()),
        },
        ["leaves", topic] => Act::OfTopic {
            client,
            does: TopicAct::Leave((*topic).to_owned()),
        },
        ["sends", count, "messages"] => Act::Send {
            client,
            what: Sent::Messages(number32(count)?),
        },
        ["sends", count, "unwanted"] => Act::Send {
            client,
            what: Sent::Unwanted(number32(count)?),
        },
        ["sends", what] => Act::Send {
            client,
            what: from_table(SENT, what)
                .map_err(|_| format!("a client sends N messages, N unwanted, {}", names(SENT)))?,
        },
        ["stops", "reading"] => Act::StopReading { client },
        ["reads"] => Act::Read { client },
        ["reads", "every", time] => Act::ReadSlowly {
            client,
            every: span(time)?,
        },
        _ => return wrong("client"),
    })
}

/// What a client that follows brings: a number of positions, or an offset.
fn brings(word: &str) -> Read<Brings> {
    match word {
        "offset" => Ok(Brings::Offset),
        number => Ok(Brings::Positions(number32(number)?)),
    }
}

/// One instance, or the word for all of them.
fn one_or_all(word: &str, all: &str, instances: usize) -> Read<Option<Host>> {
    if word == all {
        return Ok(None);
    }
    host(word, instances)
        .map(Some)
        .map_err(|problem| format!("{problem}, nor `{all}`"))
}

/// Terminals of a user join a topic, or leave it.
fn enrol(at: Host, words: &[&str], how: Enrolment) -> Read<Act> {
    let (user, topic, name, durable) = match words {
        [user, topic, name] => (user, topic, name, false),
        [user, topic, name, "durable"] => (user, topic, name, true),
        _ => {
            return wrong(match how {
                Enrolment::Join => "join",
                Enrolment::Leave => "leave",
            });
        }
    };
    Ok(Act::Enrol {
        at,
        user: (*user).to_owned(),
        topic: (*topic).to_owned(),
        name: (*name).to_owned(),
        how,
        durable,
    })
}

/// The words of a list.
fn listed(words: &str) -> Vec<String> {
    words.split(',').map(ToOwned::to_owned).collect()
}

/// Whose log is meant.
pub(super) fn log_of(words: &[&str]) -> Read<LogOf> {
    match words {
        ["of", topic] => Ok(LogOf::Topic((*topic).to_owned())),
        [user] => Ok(LogOf::User((*user).to_owned())),
        _ => Err("a log is that of a USER, or `of TOPIC`".to_owned()),
    }
}

fn audience(words: &[&str]) -> Read<To> {
    match words {
        ["everyone"] => Ok(To::Everyone),
        [users] if users.contains(',') => Ok(To::Users(listed(users))),
        [user] => Ok(To::User((*user).to_owned())),
        ["topics", topics] => Ok(To::Topics {
            topics: listed(topics),
            except: None,
        }),
        ["topics", topics, "except", client] => Ok(To::Topics {
            topics: listed(topics),
            except: Some((*client).to_owned()),
        }),
        other => Err(format!(
            "a push is for a user, for several as in alice,bob, for everyone or for topics, not for `{}`",
            other.join(" ")
        )),
    }
}
