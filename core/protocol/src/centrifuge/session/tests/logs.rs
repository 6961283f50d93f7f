//! Topics with a history, and those whose members are told of each other, in both encodings.

use prost::Message as _;
use switchboard_core::frame::{LogNews, Presence, PresenceNews};
use switchboard_core::topic::{TopicFollow, TopicJoin};

use super::super::super::code::INSUFFICIENT_STATE;
use super::super::super::message::{
    ClientInfo, HistoryResult, MemberNews, SubscribeResult, Unsubscribe,
};
use super::*;

const ENCODINGS: [Encoding; 2] = [Encoding::Json, Encoding::Protobuf];

/// A session of a terminal that says this, whatever its encoding.
fn hears(session: &mut Session, text: &str) {
    let command: Command = serde_json::from_str(text).expect("a command");
    let frame = match session.encoding {
        Encoding::Json | Encoding::OneWay => Payload::from(text.to_owned()),
        Encoding::Protobuf => Payload::binary(command.encode_length_delimited_to_vec().into()),
    };
    session.hear(&frame);
}

/// A session that waits for its login, with what it has brought.
fn logging_in(encoding: Encoding, subs: &str) -> Session {
    let rules = settings(&["room:=history+publish", "hall:=join_leave"]);
    let mut session = Session::new(encoding, rules, None);
    let connect = format!(r#"{{"id":1,"connect":{{"token":"t","subs":{{{subs}}}}}}}"#);
    hears(&mut session, &connect);
    assert_eq!(errands(&mut session), [Errand::LogIn("t".to_owned())]);
    session
}

/// A session that is served, and may join what it likes.
fn served(encoding: Encoding) -> Session {
    let mut session = logging_in(encoding, "");
    session.logged_in(ann(), None, Vec::new());
    session.told(&hello(at(5, Recovery::Anew)));
    session
}

fn follows(name: &str, join: TopicJoin, behind: Option<u64>) -> Errand {
    let ask = Follow {
        behind,
        ..Follow::default()
    };
    let topic = topic(name);
    Errand::Topic(TopicWish::Follow(TopicFollow { topic, join, ask }.into()))
}

fn joined(name: &str, log: Option<HelloLog>) -> Outgoing {
    Outgoing::Joined {
        topic: topic(name),
        degraded: false,
        log: log.map(Box::new),
    }
}

fn news(name: &str, news: LogNews) -> Outgoing {
    Outgoing::TopicLog(topic(name), news.into())
}

fn subscribed_at(offset: u64, was_recovering: bool, recovered: bool) -> SubscribeResult {
    SubscribeResult {
        recoverable: true,
        positioned: true,
        epoch: EPOCH.to_owned(),
        offset,
        was_recovering,
        recovered,
        ..SubscribeResult::default()
    }
}

fn reply(session: &Session, id: u32, result: SubscribeResult) -> Told {
    Told::Frame(session.encoding.encode(&Reply {
        id,
        subscribe: Some(result),
        ..Reply::default()
    }))
}

fn push(session: &Session, name: &str, push: Push) -> Payload {
    session.encoding.encode(&Reply {
        push: Some(Push {
            channel: name.to_owned(),
            ..push
        }),
        ..Reply::default()
    })
}

fn unsubscribed(session: &Session, name: &str) -> Told {
    let (code, reason) = INSUFFICIENT_STATE;
    let reason = reason.to_owned();
    let unsubscribe = Unsubscribe { code, reason };
    Told::Frame(push(
        session,
        name,
        Push {
            unsubscribe: Some(unsubscribe),
            ..Push::default()
        },
    ))
}

fn subscribe(id: u32, brought: &str) -> String {
    format!(r#"{{"id":{id},"subscribe":{{"channel":"room:1"{brought}}}}}"#)
}

#[test]
fn a_terminal_goes_on_behind_the_offset_that_it_brings() {
    for encoding in ENCODINGS {
        for (brought, behind, log, told) in [
            ("", None, at(7, Recovery::Anew), (7, false, false)),
            (
                r#","recover":true,"offset":4,"epoch":"1""#,
                Some(4),
                at(4, Recovery::Resumed),
                (4, true, true),
            ),
            (
                r#","recover":true,"offset":4"#,
                Some(4),
                at(6, Recovery::Lost),
                (6, true, false),
            ),
            // It is of another server.
            (
                r#","recover":true,"offset":4,"epoch":"x""#,
                Some(0),
                at(6, Recovery::Lost),
                (6, true, false),
            ),
            // It keeps what it holds, and cannot be told that nothing is missing.
            (
                r#","recover":true,"offset":4,"epoch":"1""#,
                Some(4),
                HelloLog::Unknown,
                (4, true, false),
            ),
            ("", None, HelloLog::Unknown, (0, false, false)),
        ] {
            let mut session = served(encoding);
            hears(&mut session, &subscribe(2, brought));
            let asked = follows("room:1", TopicJoin::ByRight, behind);
            assert_eq!(errands(&mut session), [asked]);
            let (offset, was_recovering, recovered) = told;
            let expected = reply(
                &session,
                2,
                subscribed_at(offset, was_recovering, recovered),
            );
            assert_eq!(session.told(&joined("room:1", Some(log))), expected);
            // Records that it has missed follow.
            assert!(session.is_sent(Some(&topic("room:1")), offset + 1));
        }
    }
}

/// Clients that keep a state of their own load it anew then.
#[test]
fn a_client_that_wants_to_be_refused_is_refused_if_something_is_missing() {
    for encoding in ENCODINGS {
        for (brought, log, is_refused) in [
            (r#""offset":4"#, at(6, Recovery::Lost), true),
            (r#""offset":4"#, HelloLog::Unknown, true),
            (r#""offset":4"#, at(4, Recovery::Resumed), false),
            // It has nothing, and is given what there is.
            (r#""epoch":"""#, at(6, Recovery::Lost), false),
            // It has something of another server.
            (r#""epoch":"x""#, at(6, Recovery::Lost), true),
        ] {
            let mut session = served(encoding);
            let brought = format!(r#","flag":3,"recover":true,{brought}"#);
            hears(&mut session, &subscribe(2, &brought));
            errands(&mut session);
            let told = session.told(&joined("room:1", Some(log)));
            let refusal = session.refusal(2, ErrorCode::UnrecoverablePosition);
            assert_eq!(told == Told::Frame(refusal), is_refused, "{told:?}");
            let room = topic("room:1");
            assert_eq!(session.is_sent(Some(&room), 7), !is_refused);
            let leaves = is_refused.then(|| Errand::Topic(TopicWish::Lapse(room.clone())));
            assert_eq!(errands(&mut session), Vec::from_iter(leaves));
            // It may ask again.
            let left = session.told(&Outgoing::Left(room));
            hears(&mut session, &subscribe(3, ""));
            if is_refused {
                assert_eq!(left, Told::Nothing);
                let asked = follows("room:1", TopicJoin::ByRight, None);
                assert_eq!(errands(&mut session), [asked]);
            }
        }
    }
}

/// Anybody who has logged in may say any number of these.
#[test]
fn what_a_subscription_brings_is_forgotten_with_the_refusal_of_its_token() {
    let brings = r#","token":"t","recover":true,"offset":4,"epoch":"1""#;
    let mut session = served(Encoding::Json);
    for refused in [
        LoginRefused::Invalid,
        LoginRefused::Expired,
        LoginRefused::Unavailable,
    ] {
        hears(&mut session, &subscribe(2, brings));
        let judge = Errand::JudgeSubscription("t".to_owned(), ann(), topic("room:1"));
        assert_eq!(errands(&mut session), [judge]);
        assert!(session.subscription_judged(Err(refused)).is_some());
        assert!(session.subscriptions.logs.is_empty());
    }
    // The application has it join meanwhile, and it does not go on where only the client says that it was.
    hears(&mut session, &subscribe(3, brings));
    errands(&mut session);
    session.told(&joined("room:1", None));
    let refused = session.subscription_judged(Ok(None));
    let error = session.refusal(3, ErrorCode::AlreadySubscribed);
    assert_eq!(refused, Some(Errand::Tell(error)));
    let asked = follows("room:1", TopicJoin::AsMember, None);
    assert_eq!(errands(&mut session), [asked]);
    session.told(&Outgoing::Left(topic("room:1")));
    hears(&mut session, &subscribe(4, brings));
    errands(&mut session);
    let accepted = session.subscription_judged(Ok(None));
    let asked = follows("room:1", TopicJoin::Allowed, Some(4));
    assert_eq!(accepted, Some(asked));
}

/// It may be subscribed to two.
#[test]
fn of_what_a_login_brings_no_more_is_kept_than_it_may_be_subscribed_to() {
    let of = |n: u32| format!(r#""room:{n}":{{"recover":true,"offset":4}}"#);
    let brought: Vec<_> = (1..=5).map(of).collect();
    let mut session = logging_in(Encoding::Json, &brought.join(","));
    let looked_for = session.looks_for(&[4, 5, 6].map(|n| topic(&format!("room:{n}"))));
    let looked_for: Vec<_> = (looked_for.iter())
        .map(|(topic, behind)| (topic.as_str(), *behind))
        .collect();
    assert_eq!(looked_for, [("room:4", Some(4)), ("room:5", Some(4))]);
    session.logged_in(ann(), None, vec![topic("room:1")]);
    let kept: Vec<_> = session.subscriptions.logs.keys().cloned().collect();
    assert_eq!(kept, [topic("room:1"), topic("room:2"), topic("room:3")]);
}

#[test]
fn a_topic_without_a_history_is_not_followed() {
    let mut session = served(Encoding::Json);
    let text = r#"{"id":2,"subscribe":{"channel":"chat","recover":true,"offset":4}}"#;
    hears(&mut session, text);
    let wish = TopicWish::Join(topic("chat"));
    assert_eq!(errands(&mut session), [Errand::Topic(wish)]);
    // It may have missed something.
    let stand = SubscribeResult {
        was_recovering: true,
        ..SubscribeResult::default()
    };
    let expected = reply(&session, 2, stand);
    assert_eq!(session.told(&joined("chat", None)), expected);
}

/// What comes behind a gap would have a client go on behind that, and never know.
#[test]
fn a_terminal_that_has_missed_something_subscribes_again_and_is_sent_nothing_meanwhile() {
    for encoding in ENCODINGS {
        let room = topic("room:1");
        let mut session = served(encoding);
        hears(&mut session, &subscribe(2, ""));
        errands(&mut session);
        session.told(&joined("room:1", Some(at(7, Recovery::Anew))));
        assert!(session.is_sent(Some(&room), 8));
        let gap = news("room:1", LogNews::Gap(position(12)));
        let expected = unsubscribed(&session, "room:1");
        assert_eq!(session.told(&gap), expected);
        assert!(session.is_due());
        assert!(!session.is_sent(Some(&room), 13));
        // It is told nothing of that twice.
        assert_eq!(session.told(&gap), Told::Nothing);
        let again = subscribe(3, r#","recover":true,"offset":8,"epoch":"1""#);
        hears(&mut session, &again);
        let lapses = Errand::Topic(TopicWish::Lapse(room.clone()));
        assert_eq!(errands(&mut session), [lapses]);
        assert_eq!(session.told(&Outgoing::Left(room.clone())), Told::Nothing);
        let asked = follows("room:1", TopicJoin::ByRight, Some(8));
        assert_eq!(errands(&mut session), [asked]);
        let expected = reply(&session, 3, subscribed_at(12, true, false));
        let log = Some(at(12, Recovery::Lost));
        assert_eq!(session.told(&joined("room:1", log)), expected);
        assert!(session.is_sent(Some(&room), 13));
    }
}

#[test]
fn a_membership_by_the_application_does_not_end_where_something_is_missing() {
    for encoding in ENCODINGS {
        let mut session = served(encoding);
        hears(&mut session, &subscribe(2, ""));
        errands(&mut session);
        session.told(&joined("room:1", Some(at(7, Recovery::Anew))));
        session.told(&news("room:1", LogNews::Gap(position(12))));
        let lapses = Errand::Topic(TopicWish::Lapse(topic("room:1")));
        assert_eq!(errands(&mut session), [lapses]);
        // It has made it a member meanwhile.
        let still = session.told(&joined("room:1", None));
        assert_eq!(still, Told::Close(CloseCode::PositionLost));
    }
}

#[test]
fn what_the_log_has_lost_behind_a_terminal_is_no_gap() {
    let mut session = served(Encoding::Json);
    hears(&mut session, &subscribe(2, ""));
    errands(&mut session);
    session.told(&joined("room:1", Some(at(7, Recovery::Anew))));
    let back = news("room:1", LogNews::Back(position(6)));
    assert_eq!(session.told(&back), Told::Nothing);
    assert_eq!(errands(&mut session), []);
}

fn page(after: Option<u64>) -> LogPage {
    LogPage {
        head: position(9),
        base: position(3),
        after: after.map(position),
        records: Vec::new(),
    }
}

/// What the reply to `connect` says of a topic that the token names, and from where it is followed.
#[test]
fn a_terminal_is_told_at_its_login_where_it_stands_in_the_logs_of_topics() {
    let room = topic("room:1");
    for encoding in ENCODINGS {
        for (subs, page, told, behind) in [
            ("", Some(page(Some(9))), Some((9, false, false)), Some(9)),
            (
                r#""room:1":{"recover":true,"offset":4,"epoch":"1"}"#,
                Some(page(Some(4))),
                Some((4, true, true)),
                Some(4),
            ),
            (
                r#""room:1":{"recover":true,"offset":2,"epoch":"1"}"#,
                Some(page(None)),
                Some((3, true, false)),
                Some(2),
            ),
            (
                r#""room:1":{"recover":true,"offset":2,"epoch":"1"}"#,
                None,
                Some((2, true, false)),
                Some(2),
            ),
            ("", None, None, None),
        ] {
            let mut session = logging_in(encoding, subs);
            let joins = [topic("chat"), room.clone()];
            let brought = behind.filter(|_| !subs.is_empty());
            assert_eq!(session.looks_for(&joins), [(room.clone(), brought)]);
            if let Some(page) = page {
                session.found(room.clone(), page);
            }
            session.logged_in(ann(), None, joins.to_vec());
            let asked = follows("room:1", TopicJoin::AsMember, behind);
            assert_eq!(errands(&mut session), [asked]);
            let Told::Frame(frame) = session.told(&hello(at(5, Recovery::Anew))) else {
                panic!("a reply");
            };
            let stand = told.map_or_else(unplaced, |(offset, was_recovering, recovered)| {
                subscribed_at(offset, was_recovering, recovered)
            });
            assert_eq!(
                sub_of(encoding, &frame, "room:1"),
                stand_of(encoding, &stand)
            );
            // One that was not told where it begins is told so.
            let attached = Attached {
                position: position(9),
                recovery: Recovery::Anew,
            };
            let said = session.told(&joined("room:1", Some(HelloLog::At(attached))));
            let placed = Push {
                subscribe: Some(Subscribe {
                    recoverable: true,
                    epoch: EPOCH.to_owned(),
                    offset: 9,
                    positioned: true,
                }),
                ..Push::default()
            };
            let expected = match told {
                Some(_) => Told::Nothing,
                None => Told::Frame(push(&session, "room:1", placed)),
            };
            assert_eq!(said, expected);
        }
    }
}

fn stand_of(encoding: Encoding, result: &SubscribeResult) -> Value {
    match encoding {
        Encoding::Json | Encoding::OneWay => serde_json::to_value(result).expect("JSON"),
        Encoding::Protobuf => json!(result.encode_to_vec()),
    }
}

/// What a reply to `connect` says of a channel.
fn sub_of(encoding: Encoding, frame: &Payload, channel: &str) -> Value {
    match encoding {
        Encoding::Json | Encoding::OneWay => value(frame)["connect"]["subs"][channel].take(),
        Encoding::Protobuf => {
            let reply = Reply::decode_length_delimited(frame.bytes().clone()).expect("a reply");
            json!(reply.connect.expect("a result").subs[channel].encode_to_vec())
        }
    }
}

#[test]
fn what_was_found_at_the_login_and_is_lost_since_has_the_terminal_come_back() {
    let room = topic("room:1");
    for lost in [
        joined("room:1", Some(at(9, Recovery::Lost))),
        news("room:1", LogNews::Gap(position(12))),
    ] {
        let mut session = logging_in(Encoding::Json, "");
        session.found(room.clone(), page(Some(9)));
        session.logged_in(ann(), None, vec![room.clone()]);
        errands(&mut session);
        session.told(&hello(at(5, Recovery::Anew)));
        let told = session.told(&lost);
        assert_eq!(told, Told::Close(CloseCode::PositionLost));
    }
}

#[test]
fn a_topic_that_the_application_joins_is_followed_from_where_the_terminal_was() {
    for encoding in ENCODINGS {
        let brought = r#""room:1":{"recover":true,"offset":4,"epoch":"1"}"#;
        for (subs, behind) in [("", None), (brought, Some(4))] {
            let mut session = logging_in(encoding, subs);
            session.logged_in(ann(), None, Vec::new());
            session.told(&hello(at(5, Recovery::Anew)));
            let at_once = push(
                &session,
                "room:1",
                Push {
                    subscribe: Some(Subscribe::default()),
                    ..Push::default()
                },
            );
            assert_eq!(session.told(&joined("room:1", None)), Told::Frame(at_once));
            let asked = follows("room:1", TopicJoin::AsMember, behind);
            assert_eq!(errands(&mut session), [asked]);
            let unknown = joined("room:1", Some(HelloLog::Unknown));
            assert_eq!(session.told(&unknown), Told::Nothing);
            let attached = Attached {
                position: position(4),
                recovery: Recovery::Anew,
            };
            let placed = session.told(&news("room:1", LogNews::At(attached)));
            assert!(matches!(placed, Told::Frame(_)), "{placed:?}");
        }
    }
}

#[test]
fn a_wish_that_comes_too_fast_ends_no_subscription() {
    let room = topic("room:1");
    let too_fast = Outgoing::NotJoined(room.clone(), NotJoined::TooFast);
    let mut session = logging_in(Encoding::Json, "");
    session.logged_in(ann(), None, vec![room.clone()]);
    session.told(&hello(at(5, Recovery::Anew)));
    // It would be told of no record.
    let told = session.told(&too_fast);
    assert_eq!(told, Told::Close(CloseCode::PositionLost));
    let mut session = logging_in(Encoding::Json, "");
    session.logged_in(ann(), None, vec![room]);
    session.told(&hello(at(5, Recovery::Anew)));
    session.told(&joined("room:1", Some(at(9, Recovery::Anew))));
    assert_eq!(session.told(&too_fast), Told::Nothing);
}

#[test]
fn what_is_published_where_there_is_a_history_is_a_record_or_an_error() {
    for encoding in ENCODINGS {
        let mut session = served(encoding);
        hears(&mut session, &subscribe(2, ""));
        errands(&mut session);
        session.told(&joined("room:1", Some(at(7, Recovery::Anew))));
        let publish = r#"{"id":3,"publish":{"channel":"room:1","data":[1]}}"#;
        for (answered, is_error) in [(Answered::Published, false), (Answered::Unknown, true)] {
            hears(&mut session, publish);
            let payload = Payload::from("[1]".to_owned());
            let published = Errand::PublishDurably(topic("room:1"), payload, None);
            assert_eq!(errands(&mut session), [published]);
            let reply = session.answered(answered);
            let expected = match is_error {
                false => session.encoding.encode(&acts::published(3)),
                true => session.refusal(3, ErrorCode::Internal),
            };
            assert_eq!(reply, Some(Errand::Tell(expected)));
        }
    }
}

#[test]
fn the_log_keeps_what_its_namespace_says() {
    let mut session = live_with(&["few:=publish_any+history:2"]);
    says(
        &mut session,
        r#"{"id":2,"publish":{"channel":"few:1","data":1}}"#,
    );
    let [Errand::PublishDurably(_, _, Some(kept))] = errands(&mut session)[..] else {
        panic!("it is a record");
    };
    let expected = Retention {
        records: 2,
        ..Retention::default()
    };
    assert_eq!(kept, expected);
}

#[test]
fn members_read_the_history_of_a_topic_and_others_do_not() {
    for encoding in ENCODINGS {
        let mut session = served(encoding);
        let history = r#"{"id":3,"history":{"channel":"room:1","limit":2,"since":{"offset":4}}}"#;
        let refused = |session: &mut Session, text: &str, error| {
            hears(session, text);
            let expected = session.refusal(3, error);
            assert_eq!(errands(session), [Errand::Tell(expected)]);
        };
        refused(&mut session, history, ErrorCode::PermissionDenied);
        let of_chat = r#"{"id":3,"history":{"channel":"chat","limit":2}}"#;
        refused(&mut session, of_chat, ErrorCode::NotAvailable);
        hears(&mut session, &subscribe(2, ""));
        errands(&mut session);
        session.told(&joined("room:1", Some(at(7, Recovery::Anew))));
        hears(&mut session, history);
        let query = LogQuery {
            behind: Some(4),
            limit: 2,
            ..LogQuery::default()
        };
        let question = Question::Log(topic("room:1").into(), query);
        assert_eq!(errands(&mut session), [Errand::Ask(question)]);
        let found = LogPage {
            records: vec![record(5), record(6)],
            ..page(Some(4))
        };
        let publication = |offset: u64| {
            let payload = Payload::from(offset.to_string());
            encoding.publication(PushId::new(Uuid::nil()), offset, &payload)
        };
        let expected = session.encoding.encode(&Reply {
            id: 3,
            history: Some(HistoryResult {
                publications: vec![publication(5), publication(6)],
                epoch: EPOCH.to_owned(),
                offset: 9,
            }),
            ..Reply::default()
        });
        let answer = session.answered(Answered::Log(found));
        assert_eq!(answer, Some(Errand::Tell(expected)));
        let both = r#"{"id":3,"history":{"channel":"room:1","since":{"offset":4},"reverse":true}}"#;
        refused(&mut session, both, ErrorCode::NotAvailable);
    }
}

fn presence(name: &str, news: PresenceNews) -> Outgoing {
    let topic = topic(name);
    let sequence = 7;
    Outgoing::Presence(
        Presence {
            topic,
            sequence,
            degraded: false,
            news,
        }
        .into(),
    )
}

#[test]
fn a_member_is_told_who_comes_and_leaves_and_of_itself_first() {
    for encoding in ENCODINGS {
        let mut session = served(encoding);
        let user = |name: &str| UserId::new(name).expect("a user");
        hears(&mut session, r#"{"id":2,"subscribe":{"channel":"hall:1"}}"#);
        errands(&mut session);
        session.told(&joined("hall:1", None));
        let wish = TopicWish::WatchAsMember(topic("hall:1"));
        assert_eq!(errands(&mut session), [Errand::Topic(wish)]);
        // It is told again that it is a member.
        session.told(&joined("hall:1", None));
        assert_eq!(errands(&mut session), []);
        let info = |name: &str, client: &str| {
            let (user, client) = (name.to_owned(), client.to_owned());
            Some(MemberNews {
                info: Some(ClientInfo { user, client }),
            })
        };
        let join = |session: &Session, name, client: &str| {
            let join = info(name, client);
            push(
                session,
                "hall:1",
                Push {
                    join,
                    ..Push::default()
                },
            )
        };
        let there = || PresenceNews::Users(vec![user("ann"), user("bob")]);
        let own = join(&session, "ann", &client().to_string());
        let told = session.told(&presence("hall:1", there()));
        assert_eq!(told, Told::Frames(vec![own]));
        // Whoever has missed a change is told all anew, which is no news of anybody.
        let told = session.told(&presence("hall:1", there()));
        assert_eq!(told, Told::Nothing);
        let changed = PresenceNews::Changed {
            joined: vec![user("ann"), user("zoe")],
            left: vec![user("bob")],
        };
        let leave = info("bob", "");
        let left = push(
            &session,
            "hall:1",
            Push {
                leave,
                ..Push::default()
            },
        );
        let expected = vec![join(&session, "zoe", ""), left];
        let told = session.told(&presence("hall:1", changed));
        assert_eq!(told, Told::Frames(expected));
        // Nobody has asked in this one.
        let told = session.told(&presence("room:1", there()));
        assert_eq!(told, Told::Nothing);
    }
}

/// By default a terminal is told of the members of 16 topics.
#[test]
fn a_terminal_that_is_not_told_who_is_there_stays_subscribed() {
    let names: Vec<_> = (1..=17).map(|n| format!("hall:{n}")).collect();
    let mut session = served(Encoding::Json);
    let watch = |name: &str| Errand::Topic(TopicWish::WatchAsMember(topic(name)));
    for name in &names {
        session.told(&joined(name, None));
        assert_eq!(errands(&mut session), [watch(name)]);
    }
    let (late, refused) = (&names[15], &names[16]);
    for (name, why) in [(late, NotJoined::TooFast), (refused, NotJoined::TooMany)] {
        let not_watched = Outgoing::NotWatched(topic(name), why);
        assert_eq!(session.told(&not_watched), Told::Nothing);
        assert!(session.subscriptions.is_by_server(&topic(name)));
    }
    assert_eq!(errands(&mut session), []);
    session.ping(WallTime::from_millis(0));
    assert!(session.is_due());
    assert_eq!(errands(&mut session), [watch(late)]);
    session.ping(WallTime::from_millis(0));
    assert_eq!(errands(&mut session), []);
}

#[test]
fn a_late_word_of_members_refuses_no_subscription() {
    let hall = r#""subscribe":{"channel":"hall:1"}}"#;
    let mut session = served(Encoding::Json);
    hears(&mut session, &format!(r#"{{"id":2,{hall}"#));
    errands(&mut session);
    session.told(&joined("hall:1", None));
    errands(&mut session);
    // The application takes it out, and it comes back before its question is answered.
    session.told(&Outgoing::Left(topic("hall:1")));
    hears(&mut session, &format!(r#"{{"id":3,{hall}"#));
    errands(&mut session);
    let late = Outgoing::NotWatched(topic("hall:1"), NotJoined::NotAllowed);
    assert_eq!(session.told(&late), Told::Nothing);
    let expected = reply(&session, 3, SubscribeResult::default());
    assert_eq!(session.told(&joined("hall:1", None)), expected);
    let asks = TopicWish::WatchAsMember(topic("hall:1"));
    assert_eq!(errands(&mut session), [Errand::Topic(asks)]);
}

/// A client that takes a zero for an offset goes on where it was.
#[test]
fn in_protobuf_a_push_without_a_position_repeats_that_of_the_last_record_of_its_topic() {
    let protocol = crate::Protocol::CentrifugeProtobuf;
    let mut session = served(Encoding::Protobuf);
    hears(&mut session, &subscribe(2, ""));
    errands(&mut session);
    session.told(&joined("room:1", Some(at(7, Recovery::Anew))));
    assert!(session.is_sent(Some(&topic("room:1")), 8));
    let plain = |name| {
        let payload = Payload::from("x".to_owned());
        Outgoing::Pushed(Pushed::to_topic(
            PushId::new(Uuid::nil()),
            topic(name),
            payload,
        ))
    };
    let rules = &session.settings.namespaces;
    assert!(protocol.is_said_by_session(&plain("room:1"), rules));
    assert!(!protocol.is_said_by_session(&plain("chat"), rules));
    let Told::Frame(frame) = session.told(&plain("room:1")) else {
        panic!("a frame");
    };
    let told = Reply::decode_length_delimited(frame.bytes().clone()).expect("a push");
    let publication = told.push.and_then(|push| push.publication);
    assert_eq!(publication.map(|publication| publication.offset), Some(8));
}
