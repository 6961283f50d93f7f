//! What a terminal is told, as frames; and what its frames mean.
//!
//! The state machine says what is meant ([`Outgoing`]); a [`Protocol`] says which frame that is. How frames
//! get to the terminal is a transport's business, and the driver's.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use switchboard_core::frame::{CloseCode, EncodedSize, FrameSize, Outgoing, Payload, Pushed};
use switchboard_core::position::Position;
use switchboard_core::topic::TopicWish;

pub mod centrifuge;
mod namespaces;
mod plain;

pub use namespaces::{InvalidNamespace, Namespaces};

/// The protocols that terminals speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// A push is a frame as it was handed in; Switchboard's own frames are text, and JSON. Each frame of a
    /// terminal is a message, but for those that confirm records, and those that join and leave topics.
    #[default]
    Plain,
    /// As `Plain`. Its terminals follow the log of their user, unless they say otherwise.
    PlainLog,
    /// That of Centrifuge's clients, in JSON.
    CentrifugeJson,
    /// The same, in Protobuf.
    CentrifugeProtobuf,
    /// What Centrifuge's clients are told, in JSON, for those that only listen.
    CentrifugeOneWay,
}

/// Protocols among which a terminal chooses that connects at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// The handshake says who the terminal is.
    Plain,
    /// Its first frame says so. Each terminal has a [session](centrifuge::Session).
    Centrifuge,
    /// The same, and it says nothing else.
    CentrifugeOneWay,
}

/// How a terminal is told why its connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Farewell {
    /// The number by which it decides what to do.
    pub number: u16,
    /// What a person reads of it.
    pub reason: &'static str,
}

/// When the terminals of a protocol follow the log of their user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Following {
    /// If they ask for it.
    IfAsked,
    /// Unless they decline it.
    UnlessDeclined,
}

/// What makes a protocol. Each has a file, and one of these in it.
struct Codec {
    /// The WebSocket subprotocol by which terminals choose it. `None`: it is that of terminals that choose none.
    subprotocol: Option<&'static str>,
    /// When its terminals follow the log of their user.
    following: Following,
    /// Whether the frame of a push is another than its payload.
    changes_payloads: bool,
    /// How large a push is over a transport that makes so many bytes of a frame.
    size: fn(&Pushed, FrameSize) -> usize,
    /// The frames that tell a terminal this.
    encode: fn(Outgoing) -> Frames,
    /// What a frame from a terminal means.
    decode: fn(Payload) -> Said,
    /// How a terminal is told of its token. `None`: its protocol has other words for that.
    of_token: fn(OfToken) -> Option<Payload>,
    /// How a terminal is told why its connection ends.
    farewell: fn(CloseCode) -> Farewell,
    /// How messages become bytes, if each terminal has a session.
    session: Option<centrifuge::Encoding>,
}

/// The frames by which a terminal is told something, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frames {
    /// The protocol has no word for it.
    None,
    /// It is said in this one frame.
    One(Payload),
    /// What it is, and its content.
    Two(Payload, Payload),
}

impl Frames {
    /// The frame with the content.
    pub fn content(self) -> Option<Payload> {
        match self {
            Self::None => None,
            Self::One(frame) | Self::Two(_, frame) => Some(frame),
        }
    }
}

impl IntoIterator for Frames {
    type Item = Payload;
    type IntoIter =
        std::iter::Chain<std::option::IntoIter<Payload>, std::option::IntoIter<Payload>>;

    fn into_iter(self) -> Self::IntoIter {
        let (first, last) = match self {
            Self::None => (None, None),
            Self::One(frame) => (None, Some(frame)),
            Self::Two(first, last) => (Some(first), Some(last)),
        };
        first.into_iter().chain(last)
    }
}

/// What a terminal is told of the token by which it is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfToken {
    /// The connection ends with it, in so many seconds.
    Ends(u32),
    /// It counts instead of the one before. The connection ends in so many seconds, or not by itself.
    Renewed(Option<u32>),
    /// It does not count, by this code: the connection ends as it would have.
    Refused(&'static str),
}

/// What a terminal says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A message for the application.
    Message(Payload),
    /// It has the record of its log at this position, and all that it was told before.
    Ack(Position),
    /// It wants to join or to leave a topic.
    Topic(TopicWish),
    /// It has a new token.
    Token(Token),
}

/// A token, which nobody prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Protocol {
    /// Each protocol once, in the order of the variants.
    pub const ALL: [Self; 5] = [
        Self::Plain,
        Self::PlainLog,
        Self::CentrifugeJson,
        Self::CentrifugeProtobuf,
        Self::CentrifugeOneWay,
    ];

    const fn codec(self) -> &'static Codec {
        match self {
            Self::Plain => &plain::CODEC,
            Self::PlainLog => &plain::LOG_CODEC,
            Self::CentrifugeJson => &centrifuge::JSON_CODEC,
            Self::CentrifugeProtobuf => &centrifuge::PROTOBUF_CODEC,
            Self::CentrifugeOneWay => &centrifuge::ONE_WAY_CODEC,
        }
    }

    /// The WebSocket subprotocol by which terminals choose it. `None`: terminals speak it that choose nothing.
    pub const fn subprotocol(self) -> Option<&'static str> {
        self.codec().subprotocol
    }

    /// The protocol of a WebSocket subprotocol, among those of a family.
    pub fn of_subprotocol(family: Family, name: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|protocol| protocol.family() == family && protocol.subprotocol() == Some(name))
    }

    /// The protocol of terminals that choose none.
    pub const fn usual(family: Family) -> Self {
        match family {
            Family::Plain => Self::Plain,
            Family::Centrifuge => Self::CentrifugeJson,
            Family::CentrifugeOneWay => Self::CentrifugeOneWay,
        }
    }

    /// Those that it stands beside.
    pub const fn family(self) -> Family {
        match self {
            Self::Plain | Self::PlainLog => Family::Plain,
            Self::CentrifugeJson | Self::CentrifugeProtobuf => Family::Centrifuge,
            Self::CentrifugeOneWay => Family::CentrifugeOneWay,
        }
    }

    /// Whether each terminal has a session, whose first frame says who it is.
    pub const fn has_sessions(self) -> bool {
        self.codec().session.is_some()
    }

    /// A new session of a terminal, if its protocol has any. What it says comes on other connections than its own if
    /// it has names for these.
    pub fn session(
        self,
        settings: &Arc<centrifuge::Settings>,
        names: Option<centrifuge::Names>,
    ) -> Option<centrifuge::Session> {
        let encoding = self.codec().session?;
        Some(centrifuge::Session::new(
            encoding,
            Arc::clone(settings),
            names,
        ))
    }

    /// Whether it takes the session of a terminal to say this: it is not the same for all to whom it is said.
    pub fn is_said_by_session(self, outgoing: &Outgoing, namespaces: &Namespaces) -> bool {
        let Some(encoding) = self.codec().session else {
            return false;
        };
        match outgoing {
            Outgoing::Record(_) => false,
            Outgoing::Pushed(pushed) if encoding.repeats_positions() => match pushed.topic() {
                Some(topic) => namespaces.is_recovered(topic),
                None => pushed.key().is_some(),
            },
            Outgoing::Pushed(_) => false,
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
            | Outgoing::TopicLog(..) => true,
        }
    }

    /// How a terminal is told why its connection ends.
    pub fn farewell(self, code: CloseCode) -> Farewell {
        (self.codec().farewell)(code)
    }

    /// The frame that tells a terminal this of its token. `None`: there is none.
    pub fn of_token(self, said: OfToken) -> Option<Payload> {
        (self.codec().of_token)(said)
    }

    /// When its terminals follow the log of their user.
    pub const fn following(self) -> Following {
        self.codec().following
    }

    /// How large pushes are after encoding, over a transport that makes so many bytes of a frame. It is what
    /// limits count.
    pub const fn size(self, transport: FrameSize) -> EncodedSize {
        EncodedSize::new(self.codec().size, transport)
    }

    /// The frames that tell a terminal this.
    pub fn encode(self, outgoing: Outgoing) -> Frames {
        (self.codec().encode)(outgoing)
    }

    /// What a frame from a terminal means.
    pub fn decode(self, frame: Payload) -> Said {
        (self.codec().decode)(frame)
    }
}

/// Pushes that an [`Encoder`] remembers at most. More than terminals are told between two rests, as a rule;
/// what is forgotten is encoded once more.
const REMEMBERED: usize = 1024;

/// Encodes each [push](Pushed) once for all its terminals of a protocol, in whatever order they come: their
/// frames share the bytes.
#[derive(Debug, Default)]
pub struct Encoder {
    /// By protocol, and by the push's identity.
    encoded: HashMap<(Protocol, usize), Encoded>,
}

/// What a push has become.
#[derive(Debug)]
struct Encoded {
    /// While it is held no other push has its identity.
    _push: Pushed,
    frames: Frames,
}

impl Encoder {
    /// The frames that tell a terminal this in its protocol.
    pub fn encode(&mut self, protocol: Protocol, outgoing: Outgoing) -> Frames {
        match outgoing {
            Outgoing::Pushed(push) if protocol.codec().changes_payloads => {
                self.once(protocol, push, |push| {
                    protocol.encode(Outgoing::Pushed(push))
                })
            }
            Outgoing::Record(push) => self.once(protocol, push, |push| {
                protocol.encode(Outgoing::Record(push))
            }),
            Outgoing::Hello { .. }
            | Outgoing::Pushed(_)
            | Outgoing::Log(_)
            | Outgoing::Gap(_)
            | Outgoing::Back(_)
            | Outgoing::Joined { .. }
            | Outgoing::Left(_)
            | Outgoing::NotJoined(..)
            | Outgoing::NotWatched(..)
            | Outgoing::Presence(_)
            | Outgoing::TopicLog(..)
            | Outgoing::Received(_) => protocol.encode(outgoing),
        }
    }

    /// Lets go of all pushes: nothing more is sent for a while.
    pub fn rest(&mut self) {
        self.encoded.clear();
    }

    fn once(
        &mut self,
        protocol: Protocol,
        push: Pushed,
        encode: impl FnOnce(Pushed) -> Frames,
    ) -> Frames {
        let origin = (protocol, push.identity());
        if let Some(encoded) = self.encoded.get(&origin) {
            return encoded.frames.clone();
        }
        if self.encoded.len() >= REMEMBERED {
            self.rest();
        }
        let frames = encode(push.clone());
        let encoded = Encoded {
            _push: push,
            frames: frames.clone(),
        };
        self.encoded.insert(origin, encoded);
        frames
    }
}

#[cfg(test)]
mod tests {
    use switchboard_core::id::PushId;
    use uuid::Uuid;

    use super::*;

    /// Whether both are the same bytes in memory.
    fn is_shared(one: &Frames, other: &Frames) -> bool {
        let (Frames::One(one), Frames::One(other)) = (one, other) else {
            return false;
        };
        let place = |payload: &Payload| (payload.bytes().as_ptr(), payload.len(), payload.kind());
        place(one) == place(other)
    }

    fn push(number: u128, payload: &Payload) -> Pushed {
        Pushed::new(PushId::new(Uuid::from_u128(number)), None, payload.clone())
    }

    /// Two pushes may have the same bytes, if whoever hands them in shares them: what is known of each
    /// differs all the same.
    #[test]
    fn a_push_is_encoded_once_for_all_its_terminals() {
        let mut encoder = Encoder::default();
        let mut encoded = 0;
        let mut frame_of = |encoder: &mut Encoder, push: &Pushed| {
            encoder.once(Protocol::Plain, push.clone(), |_| {
                encoded += 1;
                Frames::One(Payload::from(format!("frame {encoded}")))
            })
        };
        let payload = Payload::from("one".to_owned());
        let [one, other] = [1, 2].map(|number| push(number, &payload));
        // Two pushes to two terminals, one terminal after the other.
        let frames =
            [&one, &other, &one.clone(), &other.clone()].map(|push| frame_of(&mut encoder, push));
        assert!(is_shared(&frames[0], &frames[2]) && is_shared(&frames[1], &frames[3]));
        assert!(!is_shared(&frames[0], &frames[1]));
        encoder.rest();
        let again = frame_of(&mut encoder, &one);
        assert!(!is_shared(&frames[0], &again));
        assert_eq!(encoded, 3);
    }

    #[test]
    fn a_payload_that_is_its_own_frame_is_not_kept() {
        let mut encoder = Encoder::default();
        let payload = Payload::from("one".to_owned());
        let told = Outgoing::Pushed(push(1, &payload));
        let frames = encoder.encode(Protocol::Plain, told);
        assert!(is_shared(&frames, &Frames::One(payload)));
        assert!(encoder.encoded.is_empty());
    }

    #[test]
    fn a_protocol_is_chosen_by_its_subprotocol_within_its_family() {
        for protocol in Protocol::ALL {
            let family = protocol.family();
            match protocol.subprotocol() {
                Some(name) => {
                    let chosen = |family| Protocol::of_subprotocol(family, name);
                    assert_eq!(chosen(family), Some(protocol));
                    for other in [Family::Plain, Family::Centrifuge, Family::CentrifugeOneWay] {
                        assert!(other == family || chosen(other).is_none());
                    }
                }
                None => assert_eq!(Protocol::usual(family), protocol),
            }
        }
        let plain = |name| Protocol::of_subprotocol(Family::Plain, name);
        assert_eq!(plain("bearer.token"), None);
        let second = plain("switchboard.v2").expect("it is one");
        assert_eq!(second.following(), Following::UnlessDeclined);
        assert_eq!(Protocol::default().following(), Following::IfAsked);
    }

    #[test]
    fn what_is_remembered_has_a_limit() {
        let mut encoder = Encoder::default();
        let payload = Payload::from("one".to_owned());
        for number in 0..=REMEMBERED as u128 {
            encoder.once(Protocol::Plain, push(number, &payload), |_| {
                Frames::One(Payload::from("frame".to_owned()))
            });
        }
        assert_eq!(encoder.encoded.len(), 1);
    }
}
