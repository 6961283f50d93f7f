//! Frames as a terminal's transport writes them, made once for all terminals of a push.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use switchboard_core::frame::{FrameKind, Payload};

use super::{TransportKind, event};

/// A frame as a transport writes it.
#[derive(Clone, Debug)]
pub(crate) struct Carried {
    pub(super) kind: FrameKind,
    /// Those of the frame, or of the event that it has become.
    pub(super) bytes: Bytes,
}

/// Makes events of frames. Terminals that get the same frame get the same bytes, also those that are slower
/// than others: what it was made into is known as long as one of them has it.
#[derive(Default)]
pub(crate) struct Carriage {
    /// By where a frame lies, how long it is, and of which kind.
    events: HashMap<(usize, usize, FrameKind), Event>,
}

/// Events that are remembered at most. What is forgotten is made once more.
const REMEMBERED: usize = 1024;

struct Event {
    /// While it is held no other frame lies where it does.
    _frame: Payload,
    bytes: Weak<Vec<u8>>,
}

/// What terminals share of an event.
struct SharedEvent(Arc<Vec<u8>>);

impl AsRef<[u8]> for SharedEvent {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Carried {
    /// A frame that is for one terminal alone.
    pub(crate) fn alone(transport: TransportKind, frame: Payload) -> Self {
        let bytes = match transport {
            TransportKind::WebSocket | TransportKind::HttpStream => frame.bytes().clone(),
            TransportKind::EventStream => event::of_frame(&frame).into(),
        };
        let kind = frame.kind();
        Self { kind, bytes }
    }
}

impl Carriage {
    /// A frame for a terminal of this transport.
    pub(crate) fn carried(&mut self, transport: TransportKind, frame: Payload) -> Carried {
        let kind = frame.kind();
        let bytes = match transport {
            TransportKind::WebSocket | TransportKind::HttpStream => frame.bytes().clone(),
            TransportKind::EventStream => Bytes::from_owner(SharedEvent(self.event(frame))),
        };
        Carried { kind, bytes }
    }

    /// Lets go of what no terminal has any more.
    pub(crate) fn rest(&mut self) {
        self.events
            .retain(|_, event| event.bytes.strong_count() > 0);
    }

    fn event(&mut self, frame: Payload) -> Arc<Vec<u8>> {
        let place = (frame.bytes().as_ptr().addr(), frame.len(), frame.kind());
        let known = self.events.get(&place);
        if let Some(bytes) = known.and_then(|event| event.bytes.upgrade()) {
            return bytes;
        }
        if self.events.len() >= REMEMBERED {
            self.events.clear();
        }
        let bytes = Arc::new(event::of_frame(&frame));
        let event = Event {
            _frame: frame,
            bytes: Arc::downgrade(&bytes),
        };
        self.events.insert(place, event);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_of_a_push_share_its_bytes_as_long_as_one_of_them_has_it() {
        let frames = [
            Payload::from("two\nlines".to_owned()),
            Payload::binary(Bytes::from_static(b"\0\xff")),
        ];
        for transport in TransportKind::ALL {
            for frame in &frames {
                let mut carriage = Carriage::default();
                let mut carried = || carriage.carried(transport, frame.clone());
                let (first, second) = (carried(), carried());
                carriage.rest();
                let late = carriage.carried(transport, frame.clone());
                for other in [second, late] {
                    assert_eq!(other.bytes.as_ptr(), first.bytes.as_ptr(), "{transport:?}");
                    assert_eq!(other.bytes, first.bytes);
                }
            }
        }
    }

    #[test]
    fn what_no_terminal_has_is_forgotten_and_equal_places_are_told_apart() {
        let mut carriage = Carriage::default();
        let whole = Bytes::from_static(b"abc");
        let frames = [
            Payload::binary(whole.clone()),
            Payload::binary(whole.slice(..2)),
            Payload::text(whole).expect("a text"),
        ];
        let events = frames.map(|frame| carriage.carried(TransportKind::EventStream, frame).bytes);
        let expected = [
            "event: binary\ndata: YWJj\n\n",
            "event: binary\ndata: YWI=\n\n",
            "data: abc\n\n",
        ];
        assert_eq!(events, expected);
        drop(events);
        carriage.rest();
        assert!(carriage.events.is_empty());
        for number in 0..=REMEMBERED {
            let frame = Payload::from(format!("{number}"));
            carriage.carried(TransportKind::EventStream, frame);
        }
        assert!(carriage.events.len() <= REMEMBERED);
    }
}
