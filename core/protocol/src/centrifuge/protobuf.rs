//! Messages as Protobuf: each behind its length, several in a frame.

use bytes::Buf as _;
use prost::Message as _;
use switchboard_core::frame::Payload;

use super::message::{Command, Reply};
use super::{COMMANDS_MAX, Malformed};

/// The commands of a frame, in their order.
pub(super) fn decode(mut frame: &[u8]) -> Result<Vec<Command>, Malformed> {
    let mut commands = Vec::new();
    while frame.has_remaining() {
        if commands.len() == COMMANDS_MAX {
            return Err(Malformed);
        }
        let command = Command::decode_length_delimited(&mut frame).map_err(|_| Malformed)?;
        commands.push(command);
    }
    Ok(commands)
}

/// A frame that says this.
pub(super) fn encode(reply: &Reply) -> Payload {
    Payload::binary(reply.encode_length_delimited_to_vec().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ping_is_a_length_of_zero() {
        assert_eq!(encode(&Reply::default()).bytes(), &b"\0"[..]);
    }

    #[test]
    fn a_frame_has_commands_behind_their_lengths() {
        // `{"id":1,"connect":{"token":"t"}}`, then nothing, then `{"id":2,"ping":{}}`.
        let frame = b"\x07\x08\x01\x22\x03\x0a\x01t\x00\x04\x08\x02\x5a\x00";
        let commands = decode(frame).expect("three commands");
        assert_eq!(commands.len(), 3);
        assert_eq!(commands[0].connect.as_ref().expect("it is one").token, "t");
        assert_eq!(commands[1], Command::default());
        assert!(commands[2].ping.is_some());
    }

    #[test]
    fn commands_of_a_frame_are_bounded() {
        assert!(decode(&[0; COMMANDS_MAX]).is_ok());
        assert!(decode(&[0; COMMANDS_MAX + 1]).is_err());
    }

    #[test]
    fn what_is_cut_off_is_malformed() {
        for frame in [&b"\x05\x08"[..], b"\xff", b"\x02\x22\x05", b"\x01\xff"] {
            assert!(decode(frame).is_err(), "{frame:?}");
        }
    }
}
