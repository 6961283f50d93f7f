//! What a terminal is told, as frames.
//!
//! The state machine says what is meant ([`Outgoing`]); a [`Protocol`] says which frame that is. How frames
//! get to the terminal is a transport's business, and the driver's.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

use switchboard_core::frame::{EncodedSize, Outgoing, Payload};

mod plain;

/// The protocols that terminals speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// A push is a frame as it was handed in; Switchboard's own frames are text, and JSON.
    #[default]
    Plain,
}

impl Protocol {
    /// How large pushes are after encoding. It is what limits count.
    pub const fn size(self) -> EncodedSize {
        match self {
            Self::Plain => EncodedSize::UNCHANGED,
        }
    }

    /// The frame that tells a terminal this.
    pub fn encode(self, outgoing: &Outgoing) -> Payload {
        match self {
            Self::Plain => plain::encode(outgoing),
        }
    }
}

/// Encodes each push once for all its terminals of a protocol, which come one after the other: their frames
/// share the bytes.
#[derive(Debug, Default)]
pub struct Encoder {
    last: Option<Encoded>,
}

/// What the last push has become.
#[derive(Debug)]
struct Encoded {
    protocol: Protocol,
    /// What it was. While it is held nothing else has its address.
    payload: Payload,
    frame: Payload,
}

impl Encoder {
    /// The frame that tells a terminal this in its protocol.
    pub fn encode(&mut self, protocol: Protocol, outgoing: &Outgoing) -> Payload {
        match outgoing {
            Outgoing::Pushed(payload) => self.once(protocol, payload, || protocol.encode(outgoing)),
            Outgoing::Hello { .. } | Outgoing::Received(_) => protocol.encode(outgoing),
        }
    }

    /// Lets go of the last push: nothing more is sent for a while.
    pub fn rest(&mut self) {
        self.last = None;
    }

    fn once(
        &mut self,
        protocol: Protocol,
        payload: &Payload,
        encode: impl FnOnce() -> Payload,
    ) -> Payload {
        if let Some(last) = &self.last
            && last.protocol == protocol
            && is_shared(&last.payload, payload)
        {
            return last.frame.clone();
        }
        let frame = encode();
        // A frame that is the payload itself is shared already.
        if !is_shared(&frame, payload) {
            self.last = Some(Encoded {
                protocol,
                payload: payload.clone(),
                frame: frame.clone(),
            });
        }
        frame
    }
}

/// Whether both are the same bytes in memory.
fn is_shared(one: &Payload, other: &Payload) -> bool {
    let place = |payload: &Payload| (payload.bytes().as_ptr(), payload.len(), payload.kind());
    place(one) == place(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_is_encoded_once_for_all_its_terminals() {
        let mut encoder = Encoder::default();
        let mut encoded = 0;
        let mut frame_of = |encoder: &mut Encoder, payload: &Payload| {
            encoder.once(Protocol::Plain, payload, || {
                encoded += 1;
                Payload::from(format!("frame {encoded}"))
            })
        };
        let push = Payload::from("one".to_owned());
        let frames = [&push, &push.clone()].map(|payload| frame_of(&mut encoder, payload));
        assert!(is_shared(&frames[0], &frames[1]));
        let repeated = Payload::from("one".to_owned());
        let other = frame_of(&mut encoder, &repeated);
        assert!(!is_shared(&frames[0], &other));
        encoder.rest();
        let again = frame_of(&mut encoder, &repeated);
        assert!(!is_shared(&other, &again));
        assert_eq!(encoded, 3);
    }

    #[test]
    fn a_payload_that_is_its_own_frame_is_not_kept() {
        let mut encoder = Encoder::default();
        let push = Payload::from("one".to_owned());
        let frame = encoder.encode(Protocol::Plain, &Outgoing::Pushed(push.clone()));
        assert!(is_shared(&frame, &push));
        assert!(encoder.last.is_none());
    }
}
