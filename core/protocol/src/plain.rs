//! The plain protocol: whoever pushes chooses the frames.

use switchboard_core::frame::{Messages, Outgoing, Payload};
use switchboard_core::id::ConnectionId;

use crate::{Codec, Said};

pub(crate) const CODEC: Codec = Codec {
    subprotocol: "switchboard.v1",
    changes_payloads: false,
    size: |pushed, transport| transport(pushed.payload()),
    encode,
    decode: Said::Message,
};

fn encode(outgoing: Outgoing) -> Payload {
    match outgoing {
        Outgoing::Hello {
            connection,
            degraded,
        } => hello(connection, degraded),
        Outgoing::Pushed(pushed) => pushed.payload().clone(),
        Outgoing::Received(messages) => received(messages),
    }
}

fn hello(connection: ConnectionId, degraded: bool) -> Payload {
    let flag = if degraded { r#","degraded":true"# } else { "" };
    own(format!(r#""hello":{{"uuid":"{connection}"{flag}}}"#))
}

fn received(Messages { received, dropped }: Messages) -> Payload {
    own(match (received, dropped) {
        (received, 0) => format!(r#""received":{received}"#),
        (0, dropped) => format!(r#""dropped":{dropped}"#),
        (received, dropped) => format!(r#""received":{received},"dropped":{dropped}"#),
    })
}

/// A frame of Switchboard's own.
fn own(content: String) -> Payload {
    Payload::from(format!(r#"{{"switchboard":{{{content}}}}}"#))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use switchboard_core::frame::Pushed;
    use switchboard_core::id::PushId;
    use uuid::Uuid;

    use super::*;

    fn text(outgoing: Outgoing) -> String {
        let frame = encode(outgoing);
        String::from_utf8(frame.bytes().to_vec()).expect("own frames are text")
    }

    #[test]
    fn a_hello_names_the_terminal_and_says_whether_pushes_may_miss_it() {
        let hello = |degraded| {
            text(Outgoing::Hello {
                connection: ConnectionId::new(Uuid::from_u128(7)),
                degraded,
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
            let frame = encode(Outgoing::Pushed(Pushed::new(push, None, payload.clone())));
            assert_eq!(frame, payload);
            assert_eq!(frame.bytes().as_ptr(), payload.bytes().as_ptr());
        }
    }

    #[test]
    fn a_frame_of_a_terminal_is_a_message_whatever_it_looks_like() {
        for frame in [r#"{"switchboard":{"received":3}}"#, ""] {
            let frame = Payload::from(frame.to_owned());
            assert_eq!((CODEC.decode)(frame.clone()), Said::Message(frame));
        }
    }
}
