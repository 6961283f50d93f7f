//! The plain protocol: whoever pushes chooses the frames.

use switchboard_core::event::Follow;
use switchboard_core::frame::{
    Attached, FrameKind, FrameSize, HelloLog, LogNews, Messages, NotJoined, Outgoing, Payload,
    Presence, PresenceNews, Pushed, Recovery,
};
use switchboard_core::id::{ConnectionId, TopicId, UserId};
use switchboard_core::position::Position;
use switchboard_core::topic::{TopicFollow, TopicJoin, TopicWish};

use crate::{Codec, Farewell, Following, Frames, OfToken, Said, Token};

pub(crate) const CODEC: Codec = Codec {
    subprotocol: Some("switchboard.v1"),
    following: Following::IfAsked,
    changes_payloads: false,
    size,
    encode,
    decode,
    of_token: |said| Some(of_token(said)),
    farewell: |code| Farewell {
        number: code.number(),
        reason: code.reason(),
    },
    session: None,
};

/// The same frames, for terminals that follow the log of their user.
pub(crate) const LOG_CODEC: Codec = Codec {
    subprotocol: Some("switchboard.v2"),
    following: Following::UnlessDeclined,
    ..CODEC
};

/// A record is announced by a frame of its own.
fn size(pushed: &Pushed, transport: FrameSize) -> usize {
    let announced = (pushed.position()).map(|position| transport(&message(pushed, position)));
    announced.unwrap_or(0) + transport(pushed.payload())
}

fn encode(outgoing: Outgoing) -> Frames {
    match outgoing {
        Outgoing::Hello {
            connection,
            degraded,
            log,
        } => Frames::One(hello(connection, degraded, log)),
        Outgoing::Pushed(pushed) => Frames::One(pushed.payload().clone()),
        Outgoing::Record(pushed) => record(&pushed),
        Outgoing::Log(attached) => Frames::One(news(None, LogNews::At(attached))),
        Outgoing::Gap(position) => Frames::One(news(None, LogNews::Gap(position))),
        Outgoing::Back(position) => Frames::One(news(None, LogNews::Back(position))),
        Outgoing::TopicLog(topic, said) => Frames::One(news(Some(&topic), *said)),
        Outgoing::Joined {
            topic,
            degraded,
            log,
        } => {
            let flag = if degraded { r#","degraded":true"# } else { "" };
            let topic = quoted(&topic);
            let log = stand_told(log.map_or(HelloLog::NotAsked, |log| *log));
            Frames::One(own(format!(r#""joined":{{"topic":{topic}{flag}{log}}}"#)))
        }
        Outgoing::Left(topic) => {
            let topic = quoted(&topic);
            Frames::One(own(format!(r#""left":{{"topic":{topic}}}"#)))
        }
        Outgoing::NotJoined(topic, why) | Outgoing::NotWatched(topic, why) => {
            let why = match why {
                NotJoined::NotAllowed => "not_allowed",
                NotJoined::TooMany => "too_many",
                NotJoined::TooFast => "too_fast",
                NotJoined::Full => "full",
            };
            let topic = quoted(&topic);
            let content = format!(r#""refused":{{"topic":{topic},"reason":"{why}"}}"#);
            Frames::One(own(content))
        }
        Outgoing::Presence(told) => Frames::One(presence(&told)),
        Outgoing::Received(messages) => Frames::One(received(messages)),
    }
}

/// Who the members of a topic are, or what has changed of them.
fn presence(told: &Presence) -> Payload {
    let users = |users: &[UserId]| {
        let users: Vec<_> = users.iter().map(UserId::as_str).collect();
        serde_json::Value::from(users)
    };
    let topic = quoted(&told.topic);
    let sequence = told.sequence;
    let degraded = if told.degraded {
        r#""degraded":true,"#
    } else {
        ""
    };
    let news = match &told.news {
        PresenceNews::Users(all) => format!(r#""users":{}"#, users(all)),
        PresenceNews::Count(count) => format!(r#""count":{count}"#),
        PresenceNews::Changed { joined, left } => {
            format!(r#""joined":{},"left":{}"#, users(joined), users(left))
        }
    };
    own(format!(
        r#""presence":{{"topic":{topic},"sequence":{sequence},{degraded}{news}}}"#
    ))
}

/// A topic as a JSON string.
fn quoted(topic: &TopicId) -> serde_json::Value {
    topic.as_str().into()
}

/// The payload as it was handed in, behind the frame that says what it is.
fn record(pushed: &Pushed) -> Frames {
    let payload = pushed.payload().clone();
    match pushed.position() {
        Some(position) => Frames::Two(message(pushed, position), payload),
        None => Frames::One(payload),
    }
}

fn message(pushed: &Pushed, position: Position) -> Payload {
    let (topic, push) = (named(pushed.topic()), pushed.push());
    own(format!(
        r#""message":{{{topic}"position":"{position}","id":"{push}"}}"#
    ))
}

/// Where a follower stands in the log of its user, or in that of a topic.
fn news(topic: Option<&TopicId>, said: LogNews) -> Payload {
    let topic = named(topic);
    own(match said {
        LogNews::At(attached) => format!(r#""log":{{{topic}{}}}"#, stand(attached)),
        LogNews::Gap(position) => format!(r#""gap":{{{topic}"position":"{position}"}}"#),
        LogNews::Back(position) => format!(r#""back":{{{topic}"position":"{position}"}}"#),
    })
}

/// Whose log is meant, before what is said of it. Nothing, if it is that of the user.
fn named(topic: Option<&TopicId>) -> String {
    topic.map_or_else(String::new, |topic| {
        format!(r#""topic":{},"#, quoted(topic))
    })
}

fn hello(connection: ConnectionId, degraded: bool, log: HelloLog) -> Payload {
    let flag = if degraded { r#","degraded":true"# } else { "" };
    let log = stand_told(log);
    own(format!(r#""hello":{{"uuid":"{connection}"{flag}{log}}}"#))
}

/// Where a follower begins, behind what else it is told.
fn stand_told(log: HelloLog) -> String {
    match log {
        HelloLog::NotAsked => String::new(),
        HelloLog::Unknown => r#","log":null"#.to_owned(),
        HelloLog::At(attached) => format!(r#","log":{{{}}}"#, stand(attached)),
    }
}

/// Where a follower begins.
fn stand(Attached { position, recovery }: Attached) -> String {
    let recovery = match recovery {
        Recovery::Anew => r#""resumed":false"#,
        Recovery::Resumed => r#""resumed":true"#,
        Recovery::Lost => r#""resumed":false,"reason":"expired""#,
    };
    format!(r#""position":"{position}",{recovery}"#)
}

fn received(Messages { received, dropped }: Messages) -> Payload {
    own(match (received, dropped) {
        (received, 0) => format!(r#""received":{received}"#),
        (0, dropped) => format!(r#""dropped":{dropped}"#),
        (received, dropped) => format!(r#""received":{received},"dropped":{dropped}"#),
    })
}

fn of_token(said: OfToken) -> Payload {
    own(match said {
        OfToken::Ends(seconds) => format!(r#""token":{{"ends_in":{seconds}}}"#),
        OfToken::Renewed(None) => r#""token":{"renewed":true}"#.to_owned(),
        OfToken::Renewed(Some(seconds)) => {
            format!(r#""token":{{"renewed":true,"ends_in":{seconds}}}"#)
        }
        OfToken::Refused(code) => format!(r#""token":{{"refused":"{code}"}}"#),
    })
}

/// Bytes of a frame that confirms a record, at most: more than enough for one that was made readable.
const ACK_MAX: usize = 128;

/// Bytes of a frame with a token, at most: more than servers let through as a header.
const TOKEN_MAX: usize = 16 << 10;

fn decode(frame: Payload) -> Said {
    if let Some(position) = ack(&frame) {
        return Said::Ack(position);
    }
    match wish(&frame) {
        Some(said) => said,
        None => Said::Message(frame),
    }
}

/// What `{"switchboard":{"join":"TOPIC"}}`, the same with more that is asked, `{"switchboard":{"leave":"TOPIC"}}`,
/// `{"switchboard":{"ack":{"topic":"TOPIC","position":"POSITION"}}}` and `{"switchboard":{"token":"TOKEN"}}` want. `None`
/// for every other frame.
fn wish(frame: &Payload) -> Option<Said> {
    match frame.kind() {
        FrameKind::Text if frame.len() <= TOKEN_MAX => {}
        FrameKind::Text | FrameKind::Binary => return None,
    }
    // Most messages are not worth a parser.
    let text = std::str::from_utf8(frame.bytes()).ok()?.trim_start();
    let inside = text.strip_prefix('{')?.trim_start();
    inside.strip_prefix(r#""switchboard""#)?;
    let frame: serde_json::Map<_, _> = serde_json::from_str(text).ok()?;
    let wish = only(&frame)?.as_object()?;
    if wish.contains_key("join") {
        return join(wish).map(Said::Topic);
    }
    if let Some(of) = wish.get("ack").and_then(|of| of.as_object()) {
        let topic = TopicId::new(of.get("topic")?.as_str()?).ok()?;
        let position = of.get("position")?.as_str()?.parse().ok()?;
        let is_ack = wish.len() == 1 && of.len() == 2;
        return is_ack.then_some(Said::Topic(TopicWish::Ack(topic, position)));
    }
    let what = only(wish)?.as_str()?;
    let topic = || TopicId::new(what).ok();
    match wish.keys().next()?.as_str() {
        "leave" => Some(Said::Topic(TopicWish::Leave(topic()?))),
        "token" => Some(Said::Token(Token(what.to_owned()))),
        _ => None,
    }
}

/// A join, of which more may be asked: who the members are (`"presence":true`), and the log of the topic (`"log":true`,
/// `"after":["POSITION"]` or `"history":7`). `None`, if something else is.
fn join(wish: &serde_json::Map<String, serde_json::Value>) -> Option<TopicWish> {
    let mut topic = None;
    let mut join = TopicJoin::ByRight;
    let mut follow = None;
    for (name, value) in wish {
        match name.as_str() {
            "join" => topic = Some(TopicId::new(value.as_str()?).ok()?),
            "presence" if value.as_bool()? => join = TopicJoin::Watching,
            "log" if value.as_bool()? => {
                follow.get_or_insert_with(Follow::default);
            }
            "history" => {
                let history = u32::try_from(value.as_u64()?).ok()?;
                follow.get_or_insert_with(Follow::default).history = history;
            }
            "after" => {
                let after: Option<Vec<Position>> = (value.as_array()?.iter())
                    .map(|position| position.as_str()?.parse().ok())
                    .collect();
                let after = after.filter(|after| after.len() <= Follow::AFTER_MAX)?;
                follow.get_or_insert_with(Follow::default).after = after;
            }
            _ => return None,
        }
    }
    let topic = topic?;
    Some(match (follow, join) {
        (Some(ask), _) => TopicWish::Follow(TopicFollow { topic, join, ask }.into()),
        (None, TopicJoin::Watching) => TopicWish::Watch(topic),
        (None, TopicJoin::ByRight | TopicJoin::Allowed | TopicJoin::AsMember) => {
            TopicWish::Join(topic)
        }
    })
}

/// The one value of an object that has no other.
fn only(object: &serde_json::Map<String, serde_json::Value>) -> Option<&serde_json::Value> {
    (object.len() == 1).then(|| object.values().next())?
}

/// The position in `{"switchboard":{"ack":"POSITION"}}`, whatever white space there is. `None` for every other frame.
fn ack(frame: &Payload) -> Option<Position> {
    match frame.kind() {
        FrameKind::Text if frame.len() <= ACK_MAX => {}
        FrameKind::Text | FrameKind::Binary => return None,
    }
    // There is none within the names and the position.
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let mut bytes = frame.bytes().to_vec();
    bytes.retain(|byte| !is_space(byte));
    let text = std::str::from_utf8(&bytes).ok()?;
    let text = text.strip_prefix(r#"{"switchboard":{"ack":""#)?;
    text.strip_suffix(r#""}}"#)?.parse().ok()
}

/// A frame of Switchboard's own.
fn own(content: String) -> Payload {
    Payload::from(format!(r#"{{"switchboard":{{{content}}}}}"#))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use switchboard_core::frame::{Pushed, SharedPresence};
    use switchboard_core::id::PushId;
    use uuid::Uuid;

    use super::*;

    fn text(outgoing: Outgoing) -> String {
        let Frames::One(frame) = encode(outgoing) else {
            panic!("two frames");
        };
        String::from_utf8(frame.bytes().to_vec()).expect("own frames are text")
    }

    #[test]
    fn a_hello_names_the_terminal_and_says_whether_pushes_may_miss_it() {
        let hello = |degraded| {
            text(Outgoing::Hello {
                connection: ConnectionId::new(Uuid::from_u128(7)),
                degraded,
                log: HelloLog::NotAsked,
            })
        };
        let uuid = "00000000-0000-0000-0000-000000000007";
        assert_eq!(
            hello(false),
            format!(r#"{{"switchboard":{{"hello":{{"uuid":"{uuid}"}}}}}}"#)
        );
        assert_eq!(
            hello(true),
            format!(r#"{{"switchboard":{{"hello":{{"uuid":"{uuid}","degraded":true}}}}}}"#)
        );
    }

    #[test]
    fn an_answer_counts_messages_by_what_became_of_them() {
        let answer = |received, dropped| text(Outgoing::Received(Messages { received, dropped }));
        assert_eq!(answer(3, 0), r#"{"switchboard":{"received":3}}"#);
        assert_eq!(answer(0, 2), r#"{"switchboard":{"dropped":2}}"#);
        assert_eq!(
            answer(3, 2),
            r#"{"switchboard":{"received":3,"dropped":2}}"#
        );
    }

    #[test]
    fn a_push_is_a_frame_as_it_was_handed_in_and_its_terminals_share_the_bytes() {
        for payload in [
            Payload::from("text".to_owned()),
            Payload::binary(Bytes::from_static(&[0, 255])),
        ] {
            let push = PushId::new(Uuid::from_u128(7));
            let pushed = Pushed::new(push, None, payload.clone());
            assert_eq!(size(&pushed, Payload::len), payload.len());
            let Frames::One(frame) = encode(Outgoing::Pushed(pushed)) else {
                panic!("two frames");
            };
            assert_eq!(frame, payload);
            assert_eq!(frame.bytes().as_ptr(), payload.bytes().as_ptr());
        }
    }

    #[test]
    fn a_record_is_announced_and_follows_as_it_was_handed_in() {
        let position = Position::new(0x5_0000, 7).expect("in range");
        let payload = Payload::binary(Bytes::from_static(&[0, 255]));
        let push = PushId::new(Uuid::from_u128(7));
        let channel = UserId::new("ann").expect("a user").into();
        let pushed = Pushed::record(push, channel, position, payload.clone());
        let Frames::Two(announced, frame) = encode(Outgoing::Record(pushed.clone())) else {
            panic!("one frame");
        };
        assert_eq!(size(&pushed, Payload::len), announced.len() + payload.len());
        let announced = String::from_utf8(announced.bytes().to_vec()).expect("text");
        let expected =
            format!(r#"{{"switchboard":{{"message":{{"position":"{position}","id":"{push}"}}}}}}"#);
        assert_eq!((announced, frame), (expected, payload));
    }

    #[test]
    fn a_follower_is_told_where_it_stands() {
        let position = Position::new(1, 2).expect("in range");
        let attached = |recovery| Attached { position, recovery };
        let hello = |log| {
            text(Outgoing::Hello {
                connection: ConnectionId::new(Uuid::nil()),
                degraded: false,
                log,
            })
        };
        let uuid = Uuid::nil();
        for (log, said) in [
            (HelloLog::Unknown, "null".to_owned()),
            (
                HelloLog::At(attached(Recovery::Anew)),
                format!(r#"{{"position":"{position}","resumed":false}}"#),
            ),
            (
                HelloLog::At(attached(Recovery::Resumed)),
                format!(r#"{{"position":"{position}","resumed":true}}"#),
            ),
            (
                HelloLog::At(attached(Recovery::Lost)),
                format!(r#"{{"position":"{position}","resumed":false,"reason":"expired"}}"#),
            ),
        ] {
            assert_eq!(
                hello(log),
                format!(r#"{{"switchboard":{{"hello":{{"uuid":"{uuid}","log":{said}}}}}}}"#)
            );
        }
        assert_eq!(
            text(Outgoing::Gap(position)),
            format!(r#"{{"switchboard":{{"gap":{{"position":"{position}"}}}}}}"#)
        );
        assert_eq!(
            text(Outgoing::Back(position)),
            format!(r#"{{"switchboard":{{"back":{{"position":"{position}"}}}}}}"#)
        );
        assert_eq!(
            text(Outgoing::Log(attached(Recovery::Resumed))),
            format!(r#"{{"switchboard":{{"log":{{"position":"{position}","resumed":true}}}}}}"#)
        );
    }

    #[test]
    fn a_terminal_confirms_a_record_by_its_position() {
        let position = Position::new(0x5_0000, 7).expect("in range");
        for frame in [
            format!(r#"{{"switchboard":{{"ack":"{position}"}}}}"#),
            format!(r#"{{"switchboard": {{"ack": "{position}"}}}}"#),
            format!("{{\n  \"switchboard\": {{\r\n\t\"ack\": \"{position}\"\n  }}\n}}\n"),
        ] {
            assert_eq!(decode(Payload::from(frame)), Said::Ack(position));
        }
    }

    #[test]
    fn a_terminal_is_told_of_its_topics() {
        let topic = || TopicId::new(r#"a "b""#).expect("a topic");
        let joined = |degraded| {
            let topic = topic();
            text(Outgoing::Joined {
                topic,
                degraded,
                log: None,
            })
        };
        let name = r#""a \"b\"""#;
        assert_eq!(
            joined(false),
            format!(r#"{{"switchboard":{{"joined":{{"topic":{name}}}}}}}"#)
        );
        assert_eq!(
            joined(true),
            format!(r#"{{"switchboard":{{"joined":{{"topic":{name},"degraded":true}}}}}}"#)
        );
        assert_eq!(
            text(Outgoing::Left(topic())),
            format!(r#"{{"switchboard":{{"left":{{"topic":{name}}}}}}}"#)
        );
        assert_eq!(
            text(Outgoing::NotJoined(topic(), NotJoined::TooMany)),
            format!(r#"{{"switchboard":{{"refused":{{"topic":{name},"reason":"too_many"}}}}}}"#)
        );
    }

    fn news_of(name: &str) -> TopicId {
        TopicId::new(name).expect("a topic")
    }

    #[test]
    fn what_is_said_of_the_log_of_a_topic_names_the_topic() {
        let position = Position::new(1, 2).expect("in range");
        let attached = Attached {
            position,
            recovery: Recovery::Resumed,
        };
        let joined = |log| {
            text(Outgoing::Joined {
                topic: news_of("news"),
                degraded: false,
                log: Some(Box::new(log)),
            })
        };
        let own = |content: String| format!(r#"{{"switchboard":{{{content}}}}}"#);
        assert_eq!(
            joined(HelloLog::Unknown),
            own(r#""joined":{"topic":"news","log":null}"#.to_owned())
        );
        let stand = format!(r#""position":"{position}","resumed":true"#);
        assert_eq!(
            joined(HelloLog::At(attached)),
            own(format!(r#""joined":{{"topic":"news","log":{{{stand}}}}}"#))
        );
        let told = |said| text(Outgoing::TopicLog(news_of("n\"s"), Box::new(said)));
        let topic = r#""topic":"n\"s""#;
        assert_eq!(
            told(LogNews::At(attached)),
            own(format!(r#""log":{{{topic},{stand}}}"#))
        );
        for (said, word) in [
            (LogNews::Gap(position), "gap"),
            (LogNews::Back(position), "back"),
        ] {
            let expected = own(format!(r#""{word}":{{{topic},"position":"{position}"}}"#));
            assert_eq!(told(said), expected);
        }
        let push = PushId::new(Uuid::from_u128(7));
        let payload = Payload::from("text".to_owned());
        let pushed = Pushed::record(push, news_of("news").into(), position, payload.clone());
        let Frames::Two(announced, frame) = encode(Outgoing::Record(pushed.clone())) else {
            panic!("one frame");
        };
        assert_eq!(size(&pushed, Payload::len), announced.len() + payload.len());
        let announced = String::from_utf8(announced.bytes().to_vec()).expect("text");
        let expected = own(format!(
            r#""message":{{"topic":"news","position":"{position}","id":"{push}"}}"#
        ));
        assert_eq!((announced, frame), (expected, payload));
    }

    #[test]
    fn a_terminal_asks_for_the_log_of_a_topic_and_confirms_its_records() {
        let position = Position::new(1, 2).expect("in range");
        let other = Position::new(3, 4).expect("in range");
        let log = Follow::default();
        let history = Follow {
            history: 7,
            ..Follow::default()
        };
        let after = Follow {
            after: vec![other, position],
            ..Follow::default()
        };
        let positions = format!(r#""after":["{other}","{position}"]"#);
        for (asked, join, ask) in [
            (r#""log":true"#, TopicJoin::ByRight, log.clone()),
            (r#""log":true,"presence":true"#, TopicJoin::Watching, log),
            (r#""history":7"#, TopicJoin::ByRight, history),
            (&positions, TopicJoin::ByRight, after),
        ] {
            let frame = format!(r#"{{"switchboard":{{"join":"news",{asked}}}}}"#);
            let topic = news_of("news");
            let wish = TopicWish::Follow(TopicFollow { topic, join, ask }.into());
            assert_eq!(decode(Payload::from(frame)), Said::Topic(wish));
        }
        let frame =
            format!(r#"{{"switchboard":{{"ack":{{"topic":"news","position":"{position}"}}}}}}"#);
        let ack = TopicWish::Ack(news_of("news"), position);
        assert_eq!(decode(Payload::from(frame)), Said::Topic(ack));
    }

    #[test]
    fn a_member_that_asks_is_told_who_the_others_are() {
        let user = |name| UserId::new(name).expect("a user");
        let told_so = |degraded, news| {
            text(Outgoing::Presence(SharedPresence::new(Presence {
                topic: TopicId::new("news").expect("a topic"),
                sequence: 7,
                degraded,
                news,
            })))
        };
        let told = |news| told_so(false, news);
        let own = |rest| {
            format!(r#"{{"switchboard":{{"presence":{{"topic":"news","sequence":7,{rest}}}}}}}"#)
        };
        assert_eq!(
            told(PresenceNews::Users(vec![user("ann"), user("b\"b")])),
            own(r#""users":["ann","b\"b"]"#)
        );
        assert_eq!(told(PresenceNews::Count(201)), own(r#""count":201"#));
        let doubtful = told_so(true, PresenceNews::Count(201));
        assert_eq!(doubtful, own(r#""degraded":true,"count":201"#));
        let changed = PresenceNews::Changed {
            joined: vec![user("eve")],
            left: Vec::new(),
        };
        assert_eq!(told(changed), own(r#""joined":["eve"],"left":[]"#));
        let wish = r#"{"switchboard":{"join":"news","presence":true}}"#.to_owned();
        let topic = TopicId::new("news").expect("a topic");
        let said = decode(Payload::from(wish));
        assert_eq!(said, Said::Topic(TopicWish::Watch(topic)));
    }

    #[test]
    fn a_terminal_joins_and_leaves_topics_by_their_names() {
        let longest = "\u{e9}".repeat(TopicId::MAX_BYTES / 2);
        let escaped = longest.replace('\u{e9}', "\\u00e9");
        for (frame, name) in [
            (r#"{"switchboard":{"join":"news"}}"#.to_owned(), "news"),
            (
                "\n{ \"switchboard\" : { \"join\" : \"a b\" } }\n".to_owned(),
                "a b",
            ),
            (
                format!(r#"{{"switchboard":{{"join":"{escaped}"}}}}"#),
                &longest,
            ),
        ] {
            let topic = TopicId::new(name).expect("a topic");
            let leave = frame.replace("join", "leave");
            let said = decode(Payload::from(frame));
            assert_eq!(said, Said::Topic(TopicWish::Join(topic.clone())));
            let said = decode(Payload::from(leave));
            assert_eq!(said, Said::Topic(TopicWish::Leave(topic)));
        }
    }

    #[test]
    fn a_terminal_renews_its_token_and_is_told_what_it_is_worth() {
        let token = "x".repeat(8000);
        let frame = format!(r#"{{ "switchboard": {{"token": "{token}"}} }}"#);
        assert_eq!(decode(Payload::from(frame)), Said::Token(Token(token)));
        for (said, frame) in [
            (OfToken::Ends(40), r#"{"ends_in":40}"#),
            (
                OfToken::Renewed(Some(600)),
                r#"{"renewed":true,"ends_in":600}"#,
            ),
            (OfToken::Renewed(None), r#"{"renewed":true}"#),
            (
                OfToken::Refused("token_expired"),
                r#"{"refused":"token_expired"}"#,
            ),
        ] {
            let expected = format!(r#"{{"switchboard":{{"token":{frame}}}}}"#);
            assert_eq!(of_token(said), Payload::from(expected));
        }
    }

    #[test]
    fn every_other_frame_of_a_terminal_is_a_message() {
        let position = Position::new(0x5_0000, 7).expect("in range");
        let ack = format!(r#"{{"switchboard":{{"ack":"{position}"}}}}"#);
        let longer = format!("{ack}{}", " ".repeat(ACK_MAX));
        let binary = Payload::binary(ack.into_bytes().into());
        let texts = [
            "",
            r#"{"switchboard":{"received":3}}"#,
            r#"{"switchboard":{"ack":"7"}}"#,
            r#"{"switchboard":{"ack":7}}"#,
            r#"{"switchboard":{"join":""}}"#,
            r#"{"switchboard":{"join":7}}"#,
            r#"{"switchboard":{"join":"a","leave":"a"}}"#,
            r#"{"switchboard":{"join":"a"},"more":1}"#,
            r#"{"switchboard":{"join":"a","presence":false}}"#,
            r#"{"switchboard":{"leave":"a","presence":true}}"#,
            r#"{"switchboard":{"join":"a","log":false}}"#,
            r#"{"switchboard":{"join":"a","after":["7"]}}"#,
            r#"{"switchboard":{"join":"a","history":-1}}"#,
            r#"{"switchboard":{"join":"a","log":true,"leave":"a"}}"#,
            r#"{"switchboard":{"ack":{"topic":"a","position":"7"}}}"#,
            r#"{"switchboard":{"ack":{"topic":"a"}}}"#,
            r#"{"switchboard":{"hello":"a"}}"#,
            r#"{"switchboard":{"join":"a"}"#,
            r#"{"switchboard":{"token":7}}"#,
            &format!(
                r#"{{"switchboard":{{"token":"{}"}}}}"#,
                "x".repeat(TOKEN_MAX)
            ),
            &longer,
        ];
        let texts = texts.map(|text| Payload::from(text.to_owned()));
        for frame in texts.into_iter().chain([binary]) {
            assert_eq!(decode(frame.clone()), Said::Message(frame));
        }
    }
}
