//! What a terminal is told, as frames.
//!
//! The state machine says what is meant ([`Outgoing`]); a [`Protocol`] says which frame that is. How frames
//! get to the terminal is a transport's business, and the driver's.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

use std::collections::HashMap;

use switchboard_core::frame::{EncodedSize, FrameKind, Outgoing, Payload};

mod plain;

/// The protocols that terminals speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// A push is a frame as it was handed in; Switchboard's own frames are text, and JSON.
    #[default]
    Plain,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::Plain];

    /// The WebSocket subprotocol by which terminals choose it.
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::Plain => "switchboard.v1",
        }
    }

    /// The protocol of a WebSocket subprotocol.
    pub fn of_subprotocol(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|protocol| protocol.subprotocol() == name)
    }

    /// Whether the frame of a push is another than its payload.
    const fn changes_payloads(self) -> bool {
        match self {
            Self::Plain => false,
        }
    }

    /// How large pushes are after encoding. It is what limits count.
    pub const fn size(self) -> EncodedSize {
        match self {
            Self::Plain => EncodedSize::UNCHANGED,
        }
    }

    /// The frame that tells a terminal this.
    pub fn encode(self, outgoing: Outgoing) -> Payload {
        match self {
            Self::Plain => plain::encode(outgoing),
        }
    }
}

/// Pushes that an [`Encoder`] remembers at most. More than terminals are told between two rests, as a rule;
/// what is forgotten is encoded once more.
const REMEMBERED: usize = 1024;

/// Encodes each push once for all its terminals of a protocol, in whatever order they come: their frames
/// share the bytes.
#[derive(Debug, Default)]
pub struct Encoder {
    encoded: HashMap<Origin, Encoded>,
}

/// Which push a frame was made of, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Origin {
    protocol: Protocol,
    kind: FrameKind,
    /// Where the payload begins in memory, and its bytes.
    address: usize,
    bytes: usize,
}

/// What a push has become.
#[derive(Debug)]
struct Encoded {
    /// While it is held nothing else has its address.
    _payload: Payload,
    frame: Payload,
}

impl Encoder {
    /// The frame that tells a terminal this in its protocol.
    pub fn encode(&mut self, protocol: Protocol, outgoing: Outgoing) -> Payload {
        match outgoing {
            Outgoing::Pushed(payload) if protocol.changes_payloads() => {
                self.once(protocol, payload, |payload| {
                    protocol.encode(Outgoing::Pushed(payload))
                })
            }
            Outgoing::Hello { .. } | Outgoing::Pushed(_) | Outgoing::Received(_) => {
                protocol.encode(outgoing)
            }
        }
    }

    /// Lets go of all pushes: nothing more is sent for a while.
    pub fn rest(&mut self) {
        self.encoded.clear();
    }

    fn once(
        &mut self,
        protocol: Protocol,
        payload: Payload,
        encode: impl FnOnce(Payload) -> Payload,
    ) -> Payload {
        let origin = Origin {
            protocol,
            kind: payload.kind(),
            address: payload.bytes().as_ptr().addr(),
            bytes: payload.len(),
        };
        if let Some(encoded) = self.encoded.get(&origin) {
            return encoded.frame.clone();
        }
        if self.encoded.len() >= REMEMBERED {
            self.rest();
        }
        let frame = encode(payload.clone());
        let encoded = Encoded {
            _payload: payload,
            frame: frame.clone(),
        };
        self.encoded.insert(origin, encoded);
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether both are the same bytes in memory.
    fn is_shared(one: &Payload, other: &Payload) -> bool {
        let place = |payload: &Payload| (payload.bytes().as_ptr(), payload.len(), payload.kind());
        place(one) == place(other)
    }

    #[test]
    fn a_push_is_encoded_once_for_all_its_terminals() {
        let mut encoder = Encoder::default();
        let mut encoded = 0;
        let mut frame_of = |encoder: &mut Encoder, payload: &Payload| {
            encoder.once(Protocol::Plain, payload.clone(), |_| {
                encoded += 1;
                Payload::from(format!("frame {encoded}"))
            })
        };
        let [one, alike] = [(); 2].map(|()| Payload::from("one".to_owned()));
        // Two pushes to two terminals, one terminal after the other.
        let frames = [&one, &alike, &one.clone(), &alike.clone()]
            .map(|payload| frame_of(&mut encoder, payload));
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
        let push = Payload::from("one".to_owned());
        let frame = encoder.encode(Protocol::Plain, Outgoing::Pushed(push.clone()));
        assert!(is_shared(&frame, &push));
        assert!(encoder.encoded.is_empty());
    }

    #[test]
    fn a_protocol_is_chosen_by_its_subprotocol() {
        for protocol in Protocol::ALL {
            assert_eq!(
                Protocol::of_subprotocol(protocol.subprotocol()),
                Some(protocol)
            );
        }
        assert_eq!(Protocol::of_subprotocol("bearer.token"), None);
    }

    #[test]
    fn what_is_remembered_has_a_limit() {
        let mut encoder = Encoder::default();
        for push in 0..=REMEMBERED {
            let payload = Payload::from(format!("push {push}"));
            encoder.once(Protocol::Plain, payload, |_| {
                Payload::from("frame".to_owned())
            });
        }
        assert_eq!(encoder.encoded.len(), 1);
    }
}
