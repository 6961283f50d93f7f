//! The protocol of Centrifuge's clients: commands of the client are answered by replies, and pushes come between
//! them. It is the same in two encodings.
//!
//! A terminal is subscribed by the server to two channels: `#` and its user has what is pushed to its user, and is
//! recovered from the log; [`EVERYONE`] has what is pushed to everyone. Every other channel is the topic of that name,
//! of which a terminal becomes a member by its token, through the API or by itself; with a history it is recovered as well. A position is its offset alone, with one
//! epoch for all: clients keep no more of it.

#[cfg(test)]
mod any_bytes;
mod code;
mod json;
mod message;
mod protobuf;
mod relayed;
mod session;

use std::borrow::Cow;
use std::collections::BTreeMap;

use switchboard_core::frame::{CloseCode, FrameKind, FrameSize, Outgoing, Payload, Pushed};
use switchboard_core::id::{PushId, TopicId, UserId};
use switchboard_core::position::Position;

use crate::{Codec, Farewell, Following, Frames, Said};
use message::{Command, Publication, Push, Reply};
pub use relayed::Relay;
pub use session::{
    Answered, Errand, LoginRefused, Names, Question, Session, Settings, SubscriptionEnd, Told,
    TopicMembers,
};

/// In JSON. Clients offer no subprotocol: they choose it by the path.
pub(crate) const JSON_CODEC: Codec = Codec {
    subprotocol: None,
    following: Following::UnlessDeclined,
    changes_payloads: true,
    size: size_in_json,
    encode: |outgoing| encode(Encoding::Json, outgoing),
    decode: Said::Message,
    // Its session says it.
    of_token: |_| None,
    farewell,
    session: Some(Encoding::Json),
};

/// In Protobuf.
pub(crate) const PROTOBUF_CODEC: Codec = Codec {
    subprotocol: Some("centrifuge-protobuf"),
    size: size_in_protobuf,
    encode: |outgoing| encode(Encoding::Protobuf, outgoing),
    session: Some(Encoding::Protobuf),
    ..JSON_CODEC
};

/// In JSON, to terminals that only listen.
pub(crate) const ONE_WAY_CODEC: Codec = Codec {
    encode: |outgoing| encode(Encoding::OneWay, outgoing),
    session: Some(Encoding::OneWay),
    ..JSON_CODEC
};

/// The channel of what is pushed to everyone. It is that of no user: none has a name without a letter.
pub const EVERYONE: &str = "#";

/// The epoch of each channel that is recovered. A log has none: its positions are never used again.
const EPOCH: &str = "1";

/// Bytes of a push beside its payload and the name of its channel, about: in JSON, with an offset and an id.
const AROUND: usize = 128;

/// How messages become bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    Protobuf,
    /// JSON to a terminal that says nothing but who it is.
    OneWay,
}

/// Commands of one frame, at most: more than subscriptions fit into a frame, and 53 KiB as they are read if they say
/// nothing.
const COMMANDS_MAX: usize = 512;

/// A frame that is no command, or has too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Malformed;

impl Encoding {
    /// Whether a push that has no position has to repeat that of the last record: what is left out is zero in
    /// Protobuf, and a client that goes by that loses its position.
    pub(crate) const fn repeats_positions(self) -> bool {
        match self {
            Self::Json | Self::OneWay => false,
            Self::Protobuf => true,
        }
    }

    /// Whether terminals say nothing but who they are.
    const fn is_one_way(self) -> bool {
        match self {
            Self::Json | Self::Protobuf => false,
            Self::OneWay => true,
        }
    }

    fn decode(self, frame: &Payload) -> Result<Vec<Command>, Malformed> {
        match self {
            Self::Json => json::decode(frame.bytes()),
            Self::Protobuf => protobuf::decode(frame.bytes()),
            Self::OneWay => json::connect(frame.bytes()).map(|connect| {
                let connect = Some(connect.into());
                let command = Command {
                    id: 1,
                    connect,
                    ..Command::default()
                };
                vec![command]
            }),
        }
    }

    fn encode(self, reply: &Reply) -> Payload {
        match self {
            Self::Json => json::encode(reply),
            Self::Protobuf => protobuf::encode(reply),
            Self::OneWay => json::encode_one_way(reply),
        }
    }

    /// A publication of a record, or of a push that is none.
    fn publication(self, push: PushId, offset: u64, payload: &Payload) -> Publication {
        let bytes = payload.bytes();
        let data: Cow<'_, [u8]> = match (self, payload.kind()) {
            (Self::Json | Self::OneWay, FrameKind::Binary) => json::data::of_binary(bytes).into(),
            (Self::Json | Self::OneWay, FrameKind::Text) | (Self::Protobuf, _) => {
                Cow::Borrowed(bytes)
            }
        };
        Publication {
            data: data.into_owned(),
            offset,
            tags: BTreeMap::from([("id".to_owned(), push.to_string())]),
        }
    }
}

/// The channel of what is pushed to a user.
fn of_user(user: &UserId) -> String {
    format!("#{user}")
}

fn encode(encoding: Encoding, outgoing: Outgoing) -> Frames {
    match outgoing {
        Outgoing::Pushed(pushed) | Outgoing::Record(pushed) => {
            let offset = pushed.position().map_or(0, Position::offset);
            Frames::One(published(encoding, &pushed, offset))
        }
        // A session says these, or nobody does.
        Outgoing::Hello { .. }
        | Outgoing::Log(_)
        | Outgoing::Gap(_)
        | Outgoing::Back(_)
        | Outgoing::Received(_)
        | Outgoing::Joined { .. }
        | Outgoing::Left(_)
        | Outgoing::NotJoined(..)
        | Outgoing::NotWatched(..)
        | Outgoing::Presence(_)
        | Outgoing::TopicLog(..) => Frames::None,
    }
}

fn published(encoding: Encoding, pushed: &Pushed, offset: u64) -> Payload {
    let topic = pushed.topic().map(TopicId::to_string);
    let channel = topic.or_else(|| Some(of_user(pushed.key()?.user())));
    let publication = encoding.publication(pushed.push(), offset, pushed.payload());
    encoding.encode(&Reply {
        push: Some(Push {
            channel: channel.unwrap_or_else(|| EVERYONE.to_owned()),
            publication: Some(publication),
            ..Push::default()
        }),
        ..Reply::default()
    })
}

/// As large as a push becomes, about: to know better it would have to be encoded for each terminal. What the transport
/// adds to the payload it adds to its text as well.
fn size_in_json(pushed: &Pushed, transport: FrameSize) -> usize {
    let channel = json::text_len(channel_of(pushed));
    let payload = pushed.payload();
    let around = transport(payload).saturating_sub(payload.len());
    pushed.measured(json::data::len) + around + channel + AROUND
}

fn size_in_protobuf(pushed: &Pushed, transport: FrameSize) -> usize {
    transport(pushed.payload()) + channel_of(pushed).len() + AROUND
}

/// What the channel of a push is named after.
fn channel_of(pushed: &Pushed) -> &str {
    let topic = pushed.topic().map(TopicId::as_str);
    let user = || pushed.key().map(|key| key.user().as_str());
    topic.or_else(user).unwrap_or_default()
}

const fn farewell(code: CloseCode) -> Farewell {
    code::farewell(code)
}

#[cfg(test)]
mod tests {
    use switchboard_core::key::Key;
    use uuid::Uuid;

    use super::*;
    use crate::Protocol;

    fn push() -> PushId {
        PushId::new(Uuid::from_u128(7))
    }

    fn ann() -> Key {
        UserId::new("ann").expect("a user").into()
    }

    fn text(outgoing: Outgoing) -> String {
        let Frames::One(frame) = encode(Encoding::Json, outgoing) else {
            panic!("one frame");
        };
        assert_eq!(frame.kind(), FrameKind::Text);
        String::from_utf8(frame.bytes().to_vec()).expect("a text")
    }

    const ID: &str = r#""tags":{"id":"00000000-0000-0000-0000-000000000007"}"#;

    #[test]
    fn a_record_has_the_offset_of_its_position_and_other_pushes_have_none() {
        let payload = Payload::from(r#"{"a":1}"#.to_owned());
        let position = Position::new(5, 7).expect("in range");
        let record = Pushed::record(push(), (&ann()).into(), position, payload.clone());
        assert_eq!(
            text(Outgoing::Record(record)),
            format!(
                r##"{{"push":{{"channel":"#ann","pub":{{"data":{{"a":1}},"offset":5,{ID}}}}}}}"##
            )
        );
        let plain = Pushed::new(push(), Some(ann()), payload.clone());
        assert_eq!(
            text(Outgoing::Pushed(plain)),
            format!(r##"{{"push":{{"channel":"#ann","pub":{{"data":{{"a":1}},{ID}}}}}}}"##)
        );
        let everyone = Pushed::new(push(), None, payload);
        assert_eq!(
            text(Outgoing::Pushed(everyone)),
            format!(r##"{{"push":{{"channel":"#","pub":{{"data":{{"a":1}},{ID}}}}}}}"##)
        );
    }

    /// What waits for a terminal is bounded by the bytes of frames, whatever encoding makes of a payload.
    #[test]
    fn a_push_is_counted_as_large_as_its_frame() {
        let user = UserId::new(&"\"".repeat(100)).expect("a user");
        for payload in [
            Payload::binary(vec![0; 9000].into()),
            Payload::from("\u{1}".repeat(9000)),
            Payload::from("\"quotes\" and no JSON".repeat(300)),
            Payload::from(format!("[{}]", vec!["\"\\n\""; 3000].join(",\n"))),
            Payload::from(format!("{}5\n", " ".repeat(9000))),
            Payload::from(String::new()),
        ] {
            for protocol in [Protocol::CentrifugeJson, Protocol::CentrifugeProtobuf] {
                let pushed = Pushed::new(push(), Some(user.clone().into()), payload.clone());
                let counted = (protocol.codec().size)(&pushed, Payload::len);
                let Frames::One(frame) = protocol.encode(Outgoing::Pushed(pushed)) else {
                    panic!("one frame");
                };
                let span = frame.len()..=frame.len() + AROUND;
                assert!(span.contains(&counted), "{counted} of {span:?}");
            }
        }
    }

    #[test]
    fn bytes_are_bytes_in_protobuf_and_say_so_in_json() {
        let payload = Payload::binary((&b"5\xff"[..]).into());
        let pushed = || Outgoing::Pushed(Pushed::new(push(), Some(ann()), payload.clone()));
        assert!(text(pushed()).contains(r#""data":{"base64":"Nf8="}"#));
        let Frames::One(frame) = encode(Encoding::Protobuf, pushed()) else {
            panic!("one frame");
        };
        assert_eq!(frame.kind(), FrameKind::Binary);
        let found = frame
            .bytes()
            .windows(4)
            .any(|bytes| bytes == b"\x22\x025\xff");
        assert!(found, "field 4 has the two bytes");
    }
}
