//! What a terminal says and what comes of it, in JSON.

mod logs;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};
use switchboard_core::frame::{NotJoined, Pushed};
use switchboard_core::id::PushId;
use switchboard_core::logs::LoggedPush;
use switchboard_core::topic::TopicJoin;
use uuid::Uuid;

use super::*;
use crate::Frames;

fn settings(namespaces: &[&str]) -> Arc<Settings> {
    let namespaces: Vec<_> = namespaces.iter().map(|entry| (*entry).to_owned()).collect();
    Arc::new(Settings {
        ping_interval: Duration::from_secs(25),
        refresh_grace: Duration::from_secs(25),
        namespaces: Namespaces::new(&namespaces).expect("rules"),
        retention: Retention::default(),
        connection_topics: 2,
    })
}

fn fresh() -> Session {
    Session::new(Encoding::Json, settings(&[]), None)
}

fn ann() -> UserId {
    UserId::new("ann").expect("a user")
}

fn topic(name: &str) -> TopicId {
    TopicId::new(name).expect("a topic")
}

fn client() -> ConnectionId {
    ConnectionId::new(Uuid::from_u128(7))
}

fn position(offset: u64) -> Position {
    Position::new(offset, 9).expect("in range")
}

fn hello(log: HelloLog) -> Outgoing {
    Outgoing::Hello {
        connection: client(),
        degraded: false,
        log,
    }
}

fn at(offset: u64, recovery: Recovery) -> HelloLog {
    HelloLog::At(Attached {
        position: position(offset),
        recovery,
    })
}

fn says(session: &mut Session, text: &str) {
    session.hear(&Payload::from(text.to_owned()));
}

/// All that is to be done.
fn errands(session: &mut Session) -> Vec<Errand> {
    let next = || match session.next_errand() {
        // It is said again and again.
        Some(errand @ Errand::Close(_)) => Some((errand, true)),
        errand => Some((errand?, false)),
    };
    let mut all = Vec::new();
    for (errand, is_last) in std::iter::from_fn(next) {
        all.push(errand);
        if is_last {
            break;
        }
    }
    all
}

fn value(frame: &Payload) -> Value {
    serde_json::from_slice(frame.bytes()).expect("JSON")
}

fn told(session: &mut Session, outgoing: &Outgoing) -> Value {
    match session.told(outgoing) {
        Told::Frame(frame) => value(&frame),
        other => panic!("{other:?}"),
    }
}

fn record(offset: u64) -> LoggedPush {
    LoggedPush {
        position: position(offset),
        push: PushId::new(Uuid::nil()),
        payload: Some(Payload::from(offset.to_string())),
    }
}

fn told_by(errand: Option<Errand>) -> Value {
    match errand {
        Some(Errand::Tell(frame)) => value(&frame),
        other => panic!("{other:?}"),
    }
}

/// What the terminal is told, as the only thing that is done.
fn answered(session: &mut Session, text: &str) -> Value {
    says(session, text);
    match &*errands(session) {
        [Errand::Tell(frame)] => value(frame),
        other => panic!("{other:?}"),
    }
}

fn error_of(session: &mut Session, text: &str) -> u64 {
    let code = answered(session, text)["error"]["code"].clone();
    code.as_u64().expect("an error")
}

/// A session that is served.
fn live() -> Session {
    live_with(&[])
}

fn live_with(namespaces: &[&str]) -> Session {
    let mut session = Session::new(Encoding::Json, settings(namespaces), None);
    says(&mut session, r#"{"id":1,"connect":{"token":"t"}}"#);
    assert_eq!(errands(&mut session), [Errand::LogIn("t".to_owned())]);
    session.logged_in(ann(), None, vec![topic("news")]);
    told(&mut session, &hello(at(5, Recovery::Anew)));
    session
}

#[test]
fn a_terminal_is_served_when_it_has_said_who_it_is_and_is_greeted() {
    let mut session = fresh();
    says(
        &mut session,
        "{\"id\":1,\"connect\":{\"token\":\"t\"}}\n{\"id\":2,\"rpc\":{\"data\":1}}",
    );
    assert_eq!(errands(&mut session), [Errand::LogIn("t".to_owned())]);
    assert!(session.is_busy(), "a command waits");
    let follow = session.logged_in(ann(), Some(60), Vec::new());
    assert_eq!(follow, Follow::default());
    assert_eq!(errands(&mut session), []);
    let reply = told(&mut session, &hello(at(5, Recovery::Anew)));
    let expected = json!({"id": 1, "connect": {
        "client": client().to_string(), "version": VERSION, "expires": true, "ttl": 60, "ping": 25, "pong": true,
        "subs": {
            "#": {"epoch": "1"},
            "#ann": {"recoverable": true, "positioned": true, "epoch": "1", "offset": 5},
        },
    }});
    assert_eq!(reply, expected);
    let [Errand::Tell(frame)] = &*errands(&mut session) else {
        panic!("the command that waited is answered");
    };
    assert_eq!(value(frame)["error"]["code"], 108);
    assert!(!session.is_busy());
}

/// Nobody knows who it is, and clients say much at once: an empty command is a few bytes, and far more when it is read.
#[test]
fn what_comes_with_a_login_takes_no_more_memory_than_it_has_bytes_until_that_is_answered() {
    let said = |lines: &[&str]| {
        let mut session = fresh();
        says(&mut session, &lines.join("\n"));
        session
    };
    let rpc = r#"{"id":2,"rpc":{}}"#;
    let many = [rpc; super::super::COMMANDS_MAX - 1];
    let connect = r##"{"id":1,"connect":{"subs":{"#ann":{},"a":{},"#bob":{"recover":true}}}}"##;
    let mut session = said(&[&[connect], &many[..]].concat());
    errands(&mut session);
    assert_eq!(session.commands.len(), 0);
    assert!(session.is_busy());
    let Stage::LoggingIn { brought, .. } = &session.stage else {
        panic!("it logs in");
    };
    assert_eq!(brought.len(), 1);
    session.logged_in(ann(), None, Vec::new());
    assert_eq!(errands(&mut session), []);
    assert_eq!(session.commands.len(), 0);
    told(&mut session, &hello(at(5, Recovery::Anew)));
    assert_eq!(errands(&mut session).len(), many.len());
    assert!(!session.is_busy());
    // What is no command ends the connection before that.
    let mut session = said(&[connect, "no JSON"]);
    assert_eq!(
        errands(&mut session),
        [Errand::Close(CloseCode::ProtocolError)]
    );
}

/// It may be subscribed to two: of the others it would get nothing.
#[test]
fn a_terminal_is_told_of_the_topics_alone_that_it_joins_by_its_token() {
    let mut session = fresh();
    says(&mut session, r#"{"id":1,"connect":{}}"#);
    errands(&mut session);
    let named: Vec<_> = ["c", "b", "a", "d"].map(topic).into();
    session.logged_in(ann(), None, named);
    let reply = told(&mut session, &hello(at(5, Recovery::Anew)));
    let subs = reply["connect"]["subs"].as_object().expect("channels");
    let names: Vec<_> = subs.keys().map(String::as_str).collect();
    assert_eq!(names, ["#", "#ann", "b", "c"]);
    // The instance says so of the first that is one too many, which was named to nobody.
    let too_many = Outgoing::NotJoined(topic("a"), NotJoined::TooMany);
    assert_eq!(session.told(&too_many), Told::Nothing);
}

#[test]
fn a_terminal_recovers_if_nothing_is_missing() {
    for (epoch, log, behind, sub) in [
        (
            "1",
            at(5, Recovery::Resumed),
            5,
            json!({"recoverable": true, "positioned": true, "epoch": "1", "offset": 5,
                "recovered": true, "was_recovering": true}),
        ),
        (
            "1",
            at(4, Recovery::Lost),
            5,
            json!({"recoverable": true, "positioned": true, "epoch": "1", "offset": 4,
                "was_recovering": true}),
        ),
        (
            "1",
            HelloLog::Unknown,
            5,
            json!({"recoverable": true, "positioned": true, "epoch": "1", "offset": 5,
                "was_recovering": true}),
        ),
        (
            "another",
            at(4, Recovery::Lost),
            0,
            json!({"recoverable": true, "positioned": true, "epoch": "1", "offset": 4,
                "was_recovering": true}),
        ),
    ] {
        let mut session = fresh();
        let sub_asked = json!({"recover": true, "offset": 5, "epoch": epoch});
        let asked = json!({"id": 3, "connect": {"subs": {"#ann": sub_asked}}});
        says(&mut session, &asked.to_string());
        errands(&mut session);
        let follow = session.logged_in(ann(), None, Vec::new());
        assert_eq!(follow.behind, Some(behind));
        let reply = told(&mut session, &hello(log));
        assert_eq!(reply["connect"]["subs"]["#ann"], sub);
    }
}

#[test]
fn a_terminal_learns_later_where_it_stands_if_nobody_could_say() {
    let mut session = fresh();
    says(&mut session, r#"{"id":1,"connect":{}}"#);
    assert_eq!(errands(&mut session), [Errand::LogIn(String::new())]);
    session.logged_in(ann(), None, Vec::new());
    let reply = told(&mut session, &hello(HelloLog::Unknown));
    assert_eq!(reply["connect"]["subs"]["#ann"], json!({"epoch": "1"}));
    let attached = Attached {
        position: position(8),
        recovery: Recovery::Anew,
    };
    assert_eq!(
        told(&mut session, &Outgoing::Log(attached)),
        json!({"push": {"channel": "#ann",
            "subscribe": {"recoverable": true, "positioned": true, "epoch": "1", "offset": 8}}})
    );
}

#[test]
fn a_terminal_that_is_not_believed_is_told_so_or_closed_and_not_heard_any_more() {
    for (refused, expected) in [
        (LoginRefused::Missing, Ok((101, None, 3500))),
        (LoginRefused::Malformed, Ok((107, None, 3501))),
        (LoginRefused::Expired, Ok((109, None, 3005))),
        (LoginRefused::Unavailable, Ok((100, Some(true), 3004))),
        (LoginRefused::Invalid, Err(3500)),
        (LoginRefused::Forbidden, Err(3507)),
    ] {
        let mut session = fresh();
        says(
            &mut session,
            "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"rpc\":{\"data\":1}}",
        );
        errands(&mut session);
        let frame = session.not_logged_in(refused);
        let reply = frame.map(|frame| value(&frame));
        says(&mut session, "no JSON");
        let closed = match &*errands(&mut session) {
            [Errand::Close(code)] => session.farewell(*code),
            other => panic!("{other:?}"),
        };
        let number = closed.1.number;
        let found = match reply {
            Some(reply) => Ok((
                reply["error"]["code"].as_u64().expect("a code"),
                reply["error"]["temporary"].as_bool(),
                number,
            )),
            None => Err(number),
        };
        assert_eq!(found, expected);
        // It was answered, or is told why it is closed.
        assert_eq!(closed.0.is_some(), expected.is_err());
    }
}

/// H36
#[test]
fn what_is_out_of_order_ends_the_connection() {
    let closed = [Errand::Close(CloseCode::ProtocolError)];
    for first in [
        "no JSON",
        "{}",
        r#"{"id":1,"rpc":{}}"#,
        r#"{"connect":{}}"#,
        r#"{"send":{"data":1}}"#,
    ] {
        let mut session = fresh();
        says(&mut session, first);
        assert_eq!(errands(&mut session), closed, "{first}");
    }
    for later in [
        r#"{"id":2,"connect":{}}"#,
        r#"{"rpc":{"data":1}}"#,
        r#"{"id":2,"refresh":{}}"#,
        "{}",
        "{",
    ] {
        let mut session = live();
        says(&mut session, later);
        assert_eq!(errands(&mut session), closed, "{later}");
    }
}

#[test]
fn a_terminal_whose_transport_pings_it_is_told_of_no_ping_and_says_no_pong() {
    let mut session = fresh().pinged_by_transport();
    says(&mut session, r#"{"id":1,"connect":{"token":"t"}}"#);
    errands(&mut session);
    session.logged_in(ann(), None, Vec::new());
    let connected = told(&mut session, &hello(at(5, Recovery::Anew)))["connect"].take();
    assert_eq!(
        (&connected["ping"], &connected["pong"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(session.ping(WallTime::from_millis(0)), None);
    says(&mut session, "{}");
    assert_eq!(
        errands(&mut session),
        [Errand::Close(CloseCode::ProtocolError)]
    );
}

#[test]
fn a_pong_answers_one_ping() {
    let mut session = live();
    let ping = session.ping(WallTime::from_millis(0)).expect("a ping");
    assert_eq!(ping.bytes(), "{}");
    says(&mut session, "{}");
    assert_eq!(errands(&mut session), []);
    says(&mut session, "{}");
    assert_eq!(
        errands(&mut session),
        [Errand::Close(CloseCode::ProtocolError)]
    );
}

/// What a terminal says that names itself comes on other connections: it need not answer pings.
#[test]
fn a_terminal_is_told_how_to_name_itself() {
    let names = Names {
        session: "s".to_owned(),
        node: "n".to_owned(),
    };
    for (names, expected) in [
        (Some(names), json!([null, "s", "n"])),
        (None, json!([true, null, null])),
    ] {
        let mut session = Session::new(Encoding::Json, settings(&[]), names);
        says(&mut session, r#"{"id":1,"connect":{}}"#);
        errands(&mut session);
        session.logged_in(ann(), None, Vec::new());
        let reply = told(&mut session, &hello(HelloLog::NotAsked));
        let connect = &reply["connect"];
        let found = json!([connect["pong"], connect["session"], connect["node"]]);
        assert_eq!(found, expected);
    }
}

#[test]
fn who_only_listens_is_told_pushes_and_says_who_it_is() {
    let one_way = || Session::new(Encoding::OneWay, settings(&[]), None);
    let mut session = one_way();
    says(
        &mut session,
        r##"{"token":"t","subs":{"#ann":{"recover":true,"offset":5}}}"##,
    );
    assert_eq!(errands(&mut session), [Errand::LogIn("t".to_owned())]);
    let follow = session.logged_in(ann(), None, Vec::new());
    assert_eq!(follow.behind, Some(5));
    let connected = told(&mut session, &hello(at(7, Recovery::Resumed)));
    assert_eq!(connected["connect"]["client"], client().to_string());
    assert_eq!(connected["connect"]["pong"], Value::Null);
    assert_eq!(connected["connect"]["subs"]["#ann"]["recovered"], true);
    says(&mut session, "whatever it is");
    assert_eq!(errands(&mut session), []);
    let ping = session.ping(WallTime::from_millis(0)).expect("a ping");
    assert_eq!(value(&ping), json!({}));
    let farewell = session.farewell(CloseCode::Kicked).0.expect("it is told");
    assert_eq!(
        value(&farewell),
        json!({"disconnect": {"code": 3503, "reason": "force disconnect"}})
    );
    let mut late = one_way();
    says(&mut late, "");
    errands(&mut late);
    let (told, _) = late.farewell(CloseCode::NotAuthenticated);
    let told = value(&told.expect("it is told"));
    assert_eq!(told["disconnect"]["code"], 3004);
    for (refused, code) in [
        (LoginRefused::Missing, CloseCode::InvalidToken),
        (LoginRefused::Expired, CloseCode::TokenExpired),
        (LoginRefused::Unavailable, CloseCode::ServiceRestart),
    ] {
        let mut session = one_way();
        says(&mut session, "");
        assert_eq!(errands(&mut session), [Errand::LogIn(String::new())]);
        assert_eq!(session.not_logged_in(refused), None);
        assert_eq!(errands(&mut session), [Errand::Close(code)]);
    }
}

#[test]
fn a_terminal_renews_its_token() {
    let mut session = live();
    says(&mut session, r#"{"id":4,"refresh":{"token":"new"}}"#);
    says(&mut session, r#"{"id":5,"rpc":{}}"#);
    assert_eq!(
        errands(&mut session),
        [Errand::Refresh("new".to_owned(), ann())]
    );
    let reply = value(&session.refreshed(Some(9)).expect("an answer"));
    let expected = json!({"client": client().to_string(), "version": VERSION,
        "expires": true, "ttl": 9});
    assert_eq!(reply, json!({"id": 4, "refresh": expected}));
    assert_eq!(errands(&mut session).len(), 1, "what came behind it");
}

/// An error would be the end for a client.
#[test]
fn a_terminal_that_renews_an_expired_token_is_to_connect_anew() {
    let mut session = live();
    says(&mut session, r#"{"id":6,"refresh":{"token":"old"}}"#);
    errands(&mut session);
    assert_eq!(session.not_logged_in(LoginRefused::Expired), None);
    let closed = Errand::Close(CloseCode::TokenExpired);
    assert_eq!(errands(&mut session), [closed]);
}

#[test]
fn a_terminal_is_told_when_its_token_expires_if_it_has_sent_one() {
    for (connect, expires) in [
        (json!({"token": "t"}), json!(true)),
        (json!({}), Value::Null),
    ] {
        let mut session = fresh();
        says(
            &mut session,
            &json!({"id": 1, "connect": connect}).to_string(),
        );
        errands(&mut session);
        session.logged_in(ann(), Some(60), Vec::new());
        let reply = told(&mut session, &hello(at(5, Recovery::Anew)));
        assert_eq!(reply["connect"]["expires"], expires);
    }
}

#[test]
fn a_terminal_joins_a_topic_and_leaves_it() {
    let mut session = live();
    let chat = topic("chat");
    says(&mut session, r#"{"id":2,"subscribe":{"channel":"chat"}}"#);
    assert_eq!(
        errands(&mut session),
        [Errand::Topic(TopicWish::Join(chat.clone()))]
    );
    let again = r#"{"id":3,"subscribe":{"channel":"chat"}}"#;
    let joined = Outgoing::Joined {
        topic: chat.clone(),
        degraded: false,
        log: None,
    };
    assert_eq!(
        told(&mut session, &joined),
        json!({"id": 2, "subscribe": {}})
    );
    assert_eq!(session.told(&joined), Told::Nothing);
    assert_eq!(error_of(&mut session, again), 105);
    says(&mut session, r#"{"id":5,"unsubscribe":{"channel":"chat"}}"#);
    assert_eq!(
        errands(&mut session),
        [Errand::Topic(TopicWish::Leave(chat.clone()))]
    );
    let left = Outgoing::Left(chat);
    assert_eq!(
        told(&mut session, &left),
        json!({"id": 5, "unsubscribe": {}})
    );
    assert_eq!(session.told(&left), Told::Nothing);
    assert_eq!(
        answered(&mut session, r#"{"id":6,"unsubscribe":{"channel":"chat"}}"#),
        json!({"id": 6, "unsubscribe": {}})
    );
}

/// Clients do not wait for the answer to what they said before of a topic.
#[test]
fn what_is_said_at_once_of_a_topic_is_answered_in_its_order() {
    let mut session = live();
    let chat = topic("chat");
    let (join, leave) = (
        Errand::Topic(TopicWish::Join(chat.clone())),
        Errand::Topic(TopicWish::Leave(chat.clone())),
    );
    let joined = Outgoing::Joined {
        topic: chat.clone(),
        degraded: false,
        log: None,
    };
    says(
        &mut session,
        "{\"id\":2,\"subscribe\":{\"channel\":\"chat\"}}\n\
         {\"id\":3,\"unsubscribe\":{\"channel\":\"chat\"}}\n\
         {\"id\":4,\"subscribe\":{\"channel\":\"chat\"}}\n\
         {\"id\":5,\"subscribe\":{\"channel\":\"chat\"}}\n\
         {\"id\":6,\"subscribe\":{\"channel\":\"other\"}}",
    );
    let other = Errand::Topic(TopicWish::Join(topic("other")));
    assert_eq!(errands(&mut session), [join.clone(), other]);
    assert!(!session.is_busy(), "what waits holds up nothing else");
    assert_eq!(told(&mut session, &joined)["id"], 2);
    assert_eq!(errands(&mut session), [leave]);
    assert_eq!(told(&mut session, &Outgoing::Left(chat))["id"], 3);
    assert_eq!(errands(&mut session), [join]);
    assert_eq!(told(&mut session, &joined)["id"], 4);
    let refused = errands(&mut session);
    let [Errand::Tell(refusal)] = &*refused else {
        panic!("{refused:?}");
    };
    let refusal = value(refusal);
    assert_eq!(
        (&refusal["id"], &refusal["error"]["code"]),
        (&json!(5), &json!(105))
    );
}

#[test]
fn what_waits_for_an_answer_is_bounded() {
    let mut session = live();
    for id in 2..200 {
        let command = json!({"id": id, "subscribe": {"channel": "chat"}});
        says(&mut session, &command.to_string());
        errands(&mut session);
        if session.is_busy() {
            assert_eq!(id, 130);
            return;
        }
    }
    panic!("all are kept");
}

#[test]
fn a_terminal_that_does_not_become_a_member_is_told_why() {
    for (why, code) in [
        (NotJoined::NotAllowed, 103),
        (NotJoined::TooMany, 106),
        (NotJoined::TooFast, 111),
        (NotJoined::Full, 106),
    ] {
        let mut session = live();
        says(&mut session, r#"{"id":2,"subscribe":{"channel":"chat"}}"#);
        errands(&mut session);
        let refused = Outgoing::NotJoined(topic("chat"), why);
        let reply = told(&mut session, &refused);
        assert_eq!(
            (&reply["id"], &reply["error"]["code"]),
            (&json!(2), &json!(code))
        );
        // It may ask again.
        says(&mut session, r#"{"id":3,"subscribe":{"channel":"chat"}}"#);
        assert_eq!(errands(&mut session).len(), 1);
    }
}

/// An application takes back what is not a membership yet.
#[test]
fn a_subscription_that_is_taken_back_while_it_is_asked_for_is_refused() {
    let mut session = live();
    says(&mut session, r#"{"id":2,"subscribe":{"channel":"chat"}}"#);
    errands(&mut session);
    let reply = told(&mut session, &Outgoing::Left(topic("chat")));
    assert_eq!(
        (&reply["id"], &reply["error"]["code"]),
        (&json!(2), &json!(103))
    );
}

#[test]
fn the_server_subscribes_and_unsubscribes() {
    let mut session = live();
    let of_token = Outgoing::Joined {
        topic: topic("news"),
        degraded: true,
        log: None,
    };
    assert_eq!(
        session.told(&of_token),
        Told::Nothing,
        "the hello has said so"
    );
    let by_api = Outgoing::Joined {
        topic: topic("chat"),
        degraded: false,
        log: None,
    };
    assert_eq!(
        told(&mut session, &by_api),
        json!({"push": {"channel": "chat", "subscribe": {}}})
    );
    let unsubscribe = r#"{"id":2,"unsubscribe":{"channel":"chat"}}"#;
    assert_eq!(error_of(&mut session, unsubscribe), 103);
    for name in ["chat", "news"] {
        assert_eq!(
            told(&mut session, &Outgoing::Left(topic(name))),
            json!({"push": {"channel": name,
                "unsubscribe": {"code": 2000, "reason": "server unsubscribe"}}})
        );
    }
}

fn subscribed(session: &mut Session, name: &str) {
    let topic = topic(name);
    session.told(&Outgoing::Joined {
        topic,
        degraded: false,
        log: None,
    });
}

#[test]
fn members_publish_and_see_who_is_there_where_that_is_allowed() {
    let mut session = live_with(&["chat:=publish+presence", "open:=subscribe"]);
    let publish = r#"{"id":2,"publish":{"channel":"chat:1","data":{"a":1}}}"#;
    let presence = r#"{"id":3,"presence":{"channel":"chat:1"}}"#;
    assert_eq!(error_of(&mut session, publish), 103, "it is no member");
    assert_eq!(error_of(&mut session, presence), 103);
    subscribed(&mut session, "chat:1");
    says(&mut session, publish);
    let payload = Payload::from(r#"{"a":1}"#.to_owned());
    let expected = Errand::Publish(topic("chat:1"), payload);
    assert_eq!(errands(&mut session), [expected]);
    let reply = told_by(session.answered(Answered::Published));
    assert_eq!(reply, json!({"id": 2, "publish": {}}));
    says(&mut session, publish);
    errands(&mut session);
    let reply = told_by(session.answered(Answered::Overloaded));
    assert_eq!(
        (&reply["error"]["code"], &reply["error"]["temporary"]),
        (&json!(111), &json!(true))
    );
    let empty = r#"{"id":2,"publish":{"channel":"chat:1"}}"#;
    assert_eq!(error_of(&mut session, empty), 107);

    let members = || {
        Answered::Members(TopicMembers {
            listed: vec![
                (client(), ann()),
                (ConnectionId::new(Uuid::from_u128(8)), ann()),
            ],
            clients: 2,
        })
    };
    let stats = r#"{"id":4,"presence_stats":{"channel":"chat:1"}}"#;
    let many = || {
        Answered::Members(TopicMembers {
            listed: vec![(client(), ann())],
            clients: 2,
        })
    };
    let asked = [Errand::Ask(Question::Members(topic("chat:1")))];
    says(&mut session, presence);
    assert_eq!(errands(&mut session), asked);
    let reply = told_by(session.answered(members()));
    let info = |client: &str| json!({"user": "ann", "client": client});
    let [one, two] = [client(), ConnectionId::new(Uuid::from_u128(8))].map(|id| id.to_string());
    let expected = json!({(&one): info(&one), (&two): info(&two)});
    assert_eq!(reply["presence"]["presence"], expected);
    says(&mut session, stats);
    assert_eq!(errands(&mut session), asked);
    let reply = told_by(session.answered(members()));
    assert_eq!(
        reply["presence_stats"],
        json!({"num_clients": 2, "num_users": 1})
    );

    // More than are listed.
    for (command, answered, code) in [
        (presence, many(), 108),
        (stats, many(), 108),
        (presence, Answered::Unknown, 100),
    ] {
        says(&mut session, command);
        errands(&mut session);
        let error = told_by(session.answered(answered))["error"].take();
        assert_eq!(error["code"], code);
    }

    says(&mut session, r#"{"id":5,"subscribe":{"channel":"open:1"}}"#);
    let open = topic("open:1");
    assert_eq!(
        errands(&mut session),
        [Errand::Topic(TopicWish::JoinAllowed(open))]
    );
    subscribed(&mut session, "open:1");
    for (command, code) in [
        (r#"{"id":6,"publish":{"channel":"open:1","data":1}}"#, 103),
        (r#"{"id":6,"presence":{"channel":"open:1"}}"#, 108),
    ] {
        assert_eq!(error_of(&mut session, command), code, "{command}");
    }
}

/// A namespace that lets anybody publish says nothing of reading, and the other way round.
#[test]
fn whoever_is_connected_does_what_anybody_may_do() {
    let mut session = live_with(&[
        "write:=publish_any",
        "seen:=presence_any",
        "read:=history_any",
        "all:=publish_any+presence_any+history_any",
    ]);
    let acts = ["publish", "presence", "presence_stats", "history"];
    for (name, allowed) in [
        ("write:1", &acts[..1]),
        ("seen:1", &acts[1..3]),
        ("read:1", &acts[3..]),
        ("all:1", &acts[..]),
    ] {
        for act in acts {
            let request = json!({"id": 2, act: {"channel": name, "data": 1}}).to_string();
            says(&mut session, &request);
            let all = errands(&mut session);
            let [errand] = &all[..] else {
                panic!("{name}: {all:?}");
            };
            let is_done = match errand {
                Errand::Publish(to, _) => {
                    act == "publish" && *to == topic(name) && name == "write:1"
                }
                // What is read anywhere is a record.
                Errand::PublishDurably(to, _, _) => act == "publish" && *to == topic(name),
                Errand::Ask(Question::Members(of)) => {
                    act.starts_with("presence") && *of == topic(name)
                }
                Errand::Ask(Question::Log(of, _)) => act == "history" && *of == topic(name).into(),
                Errand::Tell(_) => false,
                other => panic!("{name}: {other:?}"),
            };
            assert_eq!(
                is_done,
                allowed.contains(&act),
                "{act} of {name}: {errand:?}"
            );
            if is_done {
                session.answered(Answered::Unknown);
            }
        }
        // None of it makes it a member.
        let subscribe = json!({"id": 3, "subscribe": {"channel": name}}).to_string();
        says(&mut session, &subscribe);
        let wished = errands(&mut session);
        let is_by_right = match &wished[..] {
            [Errand::Topic(TopicWish::Join(_))] => true,
            [Errand::Topic(TopicWish::Follow(follow))] => follow.join == TopicJoin::ByRight,
            _ => false,
        };
        assert!(is_by_right, "{name}: {wished:?}");
    }
}

#[test]
fn a_token_for_a_topic_allows_it_until_it_runs_out() {
    let subscribe = r#"{"id":2,"subscribe":{"channel":"chat","token":"t"}}"#;
    let judged = || {
        [Errand::JudgeSubscription(
            "t".to_owned(),
            ann(),
            topic("chat"),
        )]
    };
    for (refused, code) in [
        (LoginRefused::Expired, 109),
        (LoginRefused::Invalid, 103),
        (LoginRefused::Forbidden, 103),
        (LoginRefused::Unavailable, 100),
    ] {
        let mut session = live();
        says(&mut session, subscribe);
        assert_eq!(errands(&mut session), judged());
        let reply = told_by(session.subscription_judged(Err(refused)));
        assert_eq!(reply["error"]["code"], code);
    }
    let end = |seconds: u64| SubscriptionEnd {
        at: WallTime::from_millis(1000 * seconds),
        ttl: 60,
    };
    let mut session = live();
    says(&mut session, subscribe);
    errands(&mut session);
    let join = session.subscription_judged(Ok(Some(end(60))));
    assert_eq!(
        join,
        Some(Errand::Topic(TopicWish::JoinAllowed(topic("chat"))))
    );
    let joined = Outgoing::Joined {
        topic: topic("chat"),
        degraded: false,
        log: None,
    };
    let reply = told(&mut session, &joined);
    assert_eq!(
        reply,
        json!({"id": 2, "subscribe": {"expires": true, "ttl": 60}})
    );

    says(
        &mut session,
        r#"{"id":3,"sub_refresh":{"channel":"chat","token":"t"}}"#,
    );
    assert_eq!(errands(&mut session), judged());
    let reply = told_by(session.subscription_judged(Ok(Some(end(120)))));
    assert_eq!(
        reply,
        json!({"id": 3, "sub_refresh": {"expires": true, "ttl": 60}})
    );

    session.ping(WallTime::from_millis(144_000));
    assert_eq!(errands(&mut session), [], "its client may renew it");
    session.ping(WallTime::from_millis(145_000));
    assert!(session.is_due());
    assert_eq!(
        errands(&mut session),
        [Errand::Topic(TopicWish::Lapse(topic("chat")))]
    );
    assert!(!session.is_due());
    let push = told(&mut session, &Outgoing::Left(topic("chat")));
    let expected = json!({"code": 2501, "reason": "subscription expired"});
    assert_eq!(push["push"]["unsubscribe"], expected);
}

/// An instance that stands still, or a directory that is slow, makes no token count for ever.
#[test]
fn a_token_that_runs_out_before_its_topic_is_joined_ends_what_comes_of_it() {
    let mut session = live();
    let subscribe = r#"{"id":2,"subscribe":{"channel":"chat","token":"t"}}"#;
    says(&mut session, subscribe);
    errands(&mut session);
    let at = WallTime::from_millis(1000);
    session.subscription_judged(Ok(Some(SubscriptionEnd { at, ttl: 1 })));
    let later = WallTime::from_millis(1_000_000);
    session.ping(later);
    assert_eq!(errands(&mut session), []);
    let joined = Outgoing::Joined {
        topic: topic("chat"),
        degraded: false,
        log: None,
    };
    let reply = told(&mut session, &joined);
    assert_eq!(reply["subscribe"], json!({"expires": true, "ttl": 1}));
    session.ping(later);
    let lapse = [Errand::Topic(TopicWish::Lapse(topic("chat")))];
    assert_eq!(errands(&mut session), lapse);
}

#[test]
fn a_token_that_is_renewed_in_the_moment_of_its_end_counts() {
    let mut session = live();
    says(&mut session, r#"{"id":2,"subscribe":{"channel":"chat"}}"#);
    errands(&mut session);
    subscribed(&mut session, "chat");
    let end = |seconds: u64| {
        Ok(Some(SubscriptionEnd {
            at: WallTime::from_millis(1000 * seconds),
            ttl: 60,
        }))
    };
    let renew = r#"{"id":4,"sub_refresh":{"channel":"chat","token":"t"}}"#;
    says(&mut session, renew);
    errands(&mut session);
    session.subscription_judged(end(1));
    says(&mut session, renew);
    errands(&mut session);
    session.ping(WallTime::from_millis(100_000));
    let renewed = told_by(session.subscription_judged(end(1000)));
    assert_eq!(renewed["sub_refresh"]["expires"], true);
    assert_eq!(errands(&mut session), []);
}

/// What the application does with a terminal does not end with a token that was judged meanwhile.
#[test]
fn a_topic_that_the_application_joins_is_not_one_by_a_token() {
    let subscribe = r#"{"id":2,"subscribe":{"channel":"chat","token":"t"}}"#;
    let renew = r#"{"id":3,"sub_refresh":{"channel":"chat","token":"t"}}"#;
    let end = Some(SubscriptionEnd {
        at: WallTime::from_millis(1000),
        ttl: 60,
    });
    let joined = Outgoing::Joined {
        topic: topic("chat"),
        degraded: false,
        log: None,
    };
    let runs_out = WallTime::from_millis(1_000_000);
    let code = |errand| told_by(errand)["error"]["code"].take();

    // While the token is judged.
    let mut session = live();
    says(&mut session, subscribe);
    errands(&mut session);
    told(&mut session, &joined);
    assert_eq!(code(session.subscription_judged(Ok(end))), 105);
    session.ping(runs_out);
    assert_eq!(errands(&mut session), []);
    // And removes it while another one is.
    says(&mut session, renew);
    errands(&mut session);
    told(&mut session, &Outgoing::Left(topic("chat")));
    assert_eq!(code(session.subscription_judged(Ok(end))), 103);

    // Behind it: the instance knows by what the terminal is a member.
    says(&mut session, subscribe);
    errands(&mut session);
    session.subscription_judged(Ok(end));
    told(&mut session, &joined);
    assert_eq!(session.told(&joined), Told::Nothing);
    session.ping(runs_out);
    let lapse = [Errand::Topic(TopicWish::Lapse(topic("chat")))];
    assert_eq!(errands(&mut session), lapse);
    assert_eq!(session.told(&joined), Told::Nothing);
    let again = r#"{"id":4,"subscribe":{"channel":"chat"}}"#;
    assert_eq!(error_of(&mut session, again), 105);
}

#[test]
fn what_there_is_not_is_answered() {
    let mut session = live();
    for (command, code) in [
        (r##"{"id":2,"subscribe":{"channel":"#ann"}}"##, 105),
        (r##"{"id":2,"subscribe":{"channel":"#"}}"##, 105),
        (r##"{"id":2,"subscribe":{"channel":"#bob"}}"##, 103),
        (r##"{"id":2,"unsubscribe":{"channel":"#ann"}}"##, 103),
        (r##"{"id":2,"publish":{"channel":"#ann","data":1}}"##, 103),
        (r#"{"id":2,"publish":{"channel":"chat","data":1}}"#, 103),
        (r##"{"id":2,"presence":{"channel":"#bob"}}"##, 103),
        (r##"{"id":2,"publish":{"channel":"#bob","data":1}}"##, 103),
        (r##"{"id":2,"history":{"channel":"#"}}"##, 108),
        (r#"{"id":2,"presence":{"channel":"chat"}}"#, 108),
        (
            r#"{"id":2,"sub_refresh":{"channel":"chat","token":"t"}}"#,
            103,
        ),
        (r#"{"id":2,"ping":{}}"#, 108),
        (r#"{"id":2}"#, 108),
    ] {
        assert_eq!(error_of(&mut session, command), code, "{command}");
    }
    let long = "x".repeat(256);
    let command = json!({"id": 2, "subscribe": {"channel": long}}).to_string();
    assert_eq!(error_of(&mut session, &command), 107);
}

#[test]
fn nobody_is_subscribed_to_what_cannot_be() {
    let long = "x".repeat(256);
    for channel in ["#bob", "chat", &long] {
        let mut session = live();
        let command = json!({"id": 2, "unsubscribe": {"channel": channel}}).to_string();
        assert!(
            answered(&mut session, &command)["unsubscribe"].is_object(),
            "{channel}"
        );
    }
    let mut session = live();
    says(&mut session, r#"{"id":2,"subscribe":{"channel":""}}"#);
    assert_eq!(
        errands(&mut session),
        [Errand::Close(CloseCode::ProtocolError)]
    );
}

#[test]
fn history_is_read_as_it_is_asked_for() {
    let all = u32::MAX;
    for (request, behind, history, limit) in [
        (json!({"limit": -1}), None, all, 1000),
        (json!({"limit": 0}), None, 0, 1),
        (json!({"limit": 7}), None, all, 7),
        (json!({"limit": 7, "reverse": true}), None, 7, 7),
        (json!({"limit": -1, "reverse": true}), None, 1000, 1000),
        (json!({"limit": 0, "reverse": true}), None, 0, 1),
        (
            json!({"limit": 7, "since": {"offset": 5, "epoch": "1"}}),
            Some(5),
            all,
            7,
        ),
        (
            json!({"limit": 7, "since": {"offset": 0, "epoch": "1"}}),
            None,
            all,
            7,
        ),
    ] {
        let mut session = live();
        let mut asked = request.clone();
        asked["channel"] = json!("#ann");
        says(
            &mut session,
            &json!({"id": 2, "history": asked}).to_string(),
        );
        let query = LogQuery {
            after: Vec::new(),
            behind,
            history,
            limit,
        };
        assert_eq!(
            errands(&mut session),
            [Errand::Ask(Question::Log(ann().into(), query))],
            "{request}"
        );
    }
    let mut session = live();
    let other = r##"{"id":2,"history":{"channel":"#ann","since":{"offset":5,"epoch":"x"}}}"##;
    assert_eq!(error_of(&mut session, other), 112);
}

#[test]
fn history_is_answered_in_either_direction() {
    let page = LogPage {
        head: position(9),
        base: position(1),
        after: Some(position(7)),
        records: vec![record(8), record(9)],
    };
    for (reverse, expected) in [(false, [8, 9]), (true, [9, 8])] {
        let mut session = live();
        let asked = json!({"channel": "#ann", "limit": 2, "reverse": reverse});
        says(
            &mut session,
            &json!({"id": 2, "history": asked}).to_string(),
        );
        errands(&mut session);
        let reply = told_by(session.answered(Answered::Log(page.clone())));
        let data: Vec<_> = (reply["history"]["publications"]
            .as_array()
            .expect("a list")
            .iter())
        .map(|publication| publication["data"].as_u64().expect("a number"))
        .collect();
        assert_eq!(data, expected);
        assert_eq!(reply["history"]["offset"], 9);
    }
    let mut session = live();
    says(&mut session, r##"{"id":2,"history":{"channel":"#ann"}}"##);
    errands(&mut session);
    let unknown = LogPage {
        after: None,
        ..page
    };
    let reply = told_by(session.answered(Answered::Log(unknown)));
    assert_eq!(reply["error"]["code"], 112);
}

/// An answer that is cut off has the oldest: they are not what is asked for.
#[test]
fn the_newest_records_are_asked_for_until_they_fit_an_answer() {
    let mut session = live();
    let asked = r##"{"id":2,"history":{"channel":"#ann","limit":100,"reverse":true}}"##;
    says(&mut session, asked);
    errands(&mut session);
    let page = |records: &[u64]| LogPage {
        head: position(9),
        base: position(1),
        after: Some(position(1)),
        records: records.iter().copied().map(record).collect(),
    };
    let cut = session.answered(Answered::Log(page(&[2, 3, 4])));
    let query = LogQuery {
        history: 50,
        limit: 50,
        ..LogQuery::default()
    };
    assert_eq!(cut, Some(Errand::Ask(Question::Log(ann().into(), query))));
    let reply = told_by(session.answered(Answered::Log(page(&[7, 8, 9]))));
    let publications = reply["history"]["publications"].as_array();
    let offsets = publications
        .expect("a list")
        .iter()
        .map(|each| &each["offset"]);
    assert!(offsets.eq(&[json!(9), json!(8), json!(7)]));
    let older = json!({"channel": "#ann", "limit": 9, "reverse": true, "since": {"offset": 7, "epoch": "1"}});
    let older = json!({"id": 3, "history": older}).to_string();
    assert_eq!(error_of(&mut session, &older), 108);
}

/// By an error that is temporary a client comes again.
#[test]
fn a_login_that_ends_with_its_connection_is_answered() {
    let mut session = fresh();
    assert_eq!(session.farewell(CloseCode::NotAuthenticated).1.number, 3502);
    says(&mut session, r#"{"id":1,"connect":{"token":"t"}}"#);
    errands(&mut session);
    let answered = |session: &Session, code| {
        let (frame, farewell) = session.farewell(code);
        let reply = value(&frame.expect("it is told something"));
        assert_eq!(
            (&reply["id"], &reply["error"]["temporary"]),
            (&json!(1), &json!(true))
        );
        (reply["error"]["code"].clone(), farewell.number)
    };
    let late = answered(&session, CloseCode::NotAuthenticated);
    assert_eq!(late, (json!(100), 3004));
    session.logged_in(ann(), None, Vec::new());
    let too_many = answered(&session, CloseCode::TooManyConnections);
    assert_eq!(too_many, (json!(106), 3013));
}

#[test]
fn who_has_missed_something_is_closed_and_told_why_before() {
    let mut session = live();
    assert_eq!(
        session.told(&Outgoing::Gap(position(9))),
        Told::Close(CloseCode::PositionLost)
    );
    let (farewell, _) = session.farewell(CloseCode::PositionLost);
    assert_eq!(
        value(&farewell.expect("a push")),
        json!({"push": {"disconnect": {"code": 3010, "reason": "insufficient state"}}})
    );
    assert_eq!(session.farewell(CloseCode::SlowConsumer).0, None);
    assert_eq!(session.told(&Outgoing::Back(position(4))), Told::Nothing);
}

/// A client that takes a zero for an offset goes on where it was.
#[test]
fn in_protobuf_a_push_without_a_position_repeats_that_of_the_last_record() {
    let protocol = crate::Protocol::CentrifugeProtobuf;
    let mut session = protocol
        .session(&settings(&[]), None)
        .expect("it has sessions");
    // `{"id":1,"connect":{}}`
    session.hear(&Payload::binary(Bytes::from_static(
        b"\x04\x08\x01\x22\x00",
    )));
    errands(&mut session);
    session.logged_in(ann(), None, Vec::new());
    session.told(&hello(at(5, Recovery::Anew)));
    assert!(session.is_sent(None, 6));
    let payload = Payload::from("x".to_owned());
    let plain = |key| Outgoing::Pushed(Pushed::new(PushId::new(Uuid::nil()), key, payload.clone()));
    let own = plain(Some(ann().into()));
    assert!(protocol.is_said_by_session(&own, &Namespaces::default()));
    let Told::Frame(frame) = session.told(&own) else {
        panic!("a frame");
    };
    let Frames::One(shared) = protocol.encode(own) else {
        panic!("a frame");
    };
    // Field 6 of the publication, with the value 6.
    let has_offset = |frame: &Payload| frame.bytes().windows(2).any(|bytes| bytes == [0x30, 6]);
    assert!(has_offset(&frame) && !has_offset(&shared));
    assert!(!protocol.is_said_by_session(&plain(None), &Namespaces::default()));
}

proptest! {
    /// H36: no frame makes a session panic, and what it answers can be read.
    #[test]
    fn any_frame_is_answered_or_ends_the_connection(
        frames in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            "(\\{\"id\":[0-9]{1,3},\"(connect|subscribe|history|rpc|ping|send|refresh)\":\\{(\"channel\":\"#?[a-z]{0,3}\")?\\}\\}\n?){1,3}"
                .prop_map(String::into_bytes),
        ], 0..6),
        is_live: bool,
        is_json: bool,
    ) {
        let encoding = if is_json { Encoding::Json } else { Encoding::Protobuf };
        let rules = settings(&["=subscribe+publish_any+presence", "a=subscribe+history_any+join_leave"]);
        let mut session = Session::new(encoding, rules, None);
        if is_live {
            let connect: &[u8] = match encoding {
                Encoding::Json | Encoding::OneWay => br#"{"id":1,"connect":{}}"#,
                Encoding::Protobuf => b"\x04\x08\x01\x22\x00",
            };
            session.hear(&Payload::binary(Bytes::copy_from_slice(connect)));
            errands(&mut session);
            session.logged_in(ann(), None, Vec::new());
            session.told(&hello(at(5, Recovery::Anew)));
        }
        for frame in frames {
            session.hear(&Payload::binary(frame.into()));
            for errand in errands(&mut session) {
                match errand {
                    Errand::Tell(frame) if is_json => {
                        value(&frame);
                    }
                    Errand::LogIn(_) => {
                        session.logged_in(ann(), None, Vec::new());
                        session.told(&hello(HelloLog::Unknown));
                    }
                    Errand::Refresh(..) => {
                        session.refreshed(None);
                    }
                    Errand::Ask(..) => {
                        session.answered(Answered::Unknown);
                    }
                    Errand::Publish(..) | Errand::PublishDurably(..) => {
                        session.answered(Answered::Published);
                    }
                    Errand::JudgeSubscription(..) => {
                        session.subscription_judged(Ok(None));
                    }
                    Errand::Tell(_) | Errand::Message(_) | Errand::Topic(_) | Errand::Close(_) => {}
                }
            }
        }
    }
}
