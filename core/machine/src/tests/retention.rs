//! What a push says about logs: how much they keep, and what becomes of it without them.

use std::time::Duration;

use super::pair;
use crate::config::Config;
use crate::directory::log::Retention;
use crate::event::{Answer, Event, Follow, Handshake};
use crate::id::{CallId, UserId};
use crate::logs::{LogAnswer, LogPage, LogQuery, LogRequest};
use crate::message::{Audience, Durable, InLog, Push, PushRefused, Until, WithoutLog};
use crate::testing::cluster::{Cluster, frame, user};

const SECOND: Duration = Duration::from_secs(1);

fn pushed(cluster: &mut Cluster, to: Audience, text: &str, durable: Durable) -> CallId {
    let id = cluster.answers.len() as u128 + 1;
    let push = Push {
        durable: Some(durable),
        ..frame(to, text, id)
    };
    let call = cluster.call_push(0, push);
    cluster.pass(SECOND);
    call
}

fn retain(records: u32, age: Duration) -> Durable {
    Durable {
        retention: Some(Retention {
            records,
            age,
            ..Retention::default()
        }),
        ..Durable::default()
    }
}

/// What is kept of the log of ann.
fn kept(cluster: &mut Cluster) -> Vec<String> {
    let call = CallId::new(1_000 + cluster.answers.len() as u64);
    let user = UserId::new("ann").expect("a user");
    let request = LogRequest::Read(LogQuery::default());
    let asked = Event::Log {
        call,
        channel: user.into(),
        request,
    };
    cluster.event(0, asked);
    let Some(Answer::Log(Ok(LogAnswer::Page(LogPage { records, .. })))) =
        cluster.answers.get(&call)
    else {
        panic!("no page");
    };
    let payloads = records.iter().flat_map(|record| &record.payload);
    let texts = payloads.map(|payload| String::from_utf8_lossy(payload.bytes()).into_owned());
    texts.collect()
}

/// A repeat whose first time was not answered adds nothing behind what came meanwhile.
#[test]
fn a_value_that_is_kept_alone_is_not_brought_back_by_its_repeat() {
    let mut cluster = pair();
    let last_value = retain(1, 60 * SECOND);
    for text in ["one", "two", "three", "four"] {
        pushed(&mut cluster, user("ann"), text, last_value);
    }
    let again = Push {
        durable: Some(last_value),
        ..frame(user("ann"), "one", 1)
    };
    let call = cluster.hand_in(1, again);
    cluster.pass(SECOND);
    assert_eq!(cluster.receipt(call).logged[0].logged, InLog::Expired);
    assert_eq!(kept(&mut cluster), ["four"]);
}

#[test]
fn a_push_has_its_log_keep_more_or_less_than_usual() {
    let config = Config {
        log_records: 2,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 1);
    for text in ["a", "b", "c"] {
        pushed(&mut cluster, user("ann"), text, Durable::default());
    }
    assert_eq!(kept(&mut cluster), ["b", "c"]);
    let minute = 60 * SECOND;
    pushed(&mut cluster, user("ann"), "d", retain(4, minute));
    pushed(&mut cluster, user("ann"), "e", retain(4, minute));
    assert_eq!(kept(&mut cluster), ["b", "c", "d", "e"]);
    pushed(&mut cluster, user("ann"), "f", retain(1, minute));
    assert_eq!(kept(&mut cluster), ["f"]);
    cluster.pass(minute);
    assert!(kept(&mut cluster).is_empty());
}

/// H45, H46: nobody fills the directory by what he asks for.
#[test]
fn a_push_that_has_its_log_keep_more_than_is_allowed_is_refused() {
    let config = Config::default();
    let mut cluster = Cluster::new(&config, 1);
    let much = |bytes| Durable {
        retention: Some(Retention {
            bytes,
            ..Retention::default()
        }),
        ..Durable::default()
    };
    for durable in [
        retain(0, SECOND),
        retain(config.log_records_max + 1, SECOND),
        retain(1, Duration::ZERO),
        retain(1, config.log_age_max + SECOND),
        much(u32::MAX),
    ] {
        let call = pushed(&mut cluster, user("ann"), "a", durable);
        let refused = Answer::Push(Err(PushRefused::Retention {
            records: config.log_records_max,
            seconds: config.log_age_max.as_secs(),
        }));
        assert_eq!(cluster.answers[&call], refused);
    }
    let most = retain(config.log_records_max, config.log_age_max);
    let call = pushed(&mut cluster, user("ann"), "a", most);
    assert!(!cluster.receipt(call).degraded);
}

/// H41: a caller that would rather have it sent than kept says so, and is told.
#[test]
fn a_push_that_may_do_without_its_log_goes_out_plain_while_that_is_away() {
    let mut cluster = pair();
    let handshake = Handshake {
        follow: Some(Follow::default()),
        ..Handshake::new(UserId::new("ann").expect("a user"))
    };
    let key = cluster.accept(0, handshake).expect("taken");
    let ann = cluster.instances[0].connection_id(key).expect("there");
    cluster.event(0, Event::Opened { connection: key });
    let optional = Durable {
        until: Until::Acked,
        without_log: WithoutLog::Plain,
        ..Durable::default()
    };

    cluster.event(0, Event::DirectoryDown);
    let away = pushed(&mut cluster, user("ann"), "a", Durable::default());
    let refused = Answer::Push(Err(PushRefused::DirectoryAway));
    assert_eq!(cluster.answers[&away], refused);
    let names = ["ann", "bob"].map(|name| UserId::new(name).expect("a user"));
    let both = Audience::Users(names.to_vec());
    let sent = pushed(&mut cluster, both, "b", optional);
    let receipt = cluster.receipt(sent);
    assert_eq!((receipt.degraded, receipt.counts.written), (true, 1));
    let logged = receipt
        .logged
        .iter()
        .map(|log| (log.channel.user(), log.logged));
    let expected = names.iter().map(|name| (Some(name), InLog::Unlogged));
    assert!(logged.eq(expected));
    assert_eq!(cluster.texts(ann), ["b"]);

    cluster.event(0, Event::DirectoryUp);
    cluster.pass(3 * SECOND);
    let kept = pushed(
        &mut cluster,
        user("ann"),
        "c",
        Durable {
            until: Until::Written,
            ..optional
        },
    );
    let logged = cluster.receipt(kept).logged[0].logged;
    assert!(matches!(logged, InLog::At(_)), "{logged:?}");
    assert_eq!(cluster.texts(ann), ["b", "c"]);
}
