//! Messages as JSON: one object a line, several in a frame. What Protobuf has as bytes is JSON itself.

use bytes::Bytes;
use switchboard_core::frame::Payload;

use serde::Serialize;

use super::message::{Command, ConnectRequest, ConnectResult, Reply};
use super::{COMMANDS_MAX, Malformed};

/// The commands of a frame, in their order.
pub(super) fn decode(frame: &[u8]) -> Result<Vec<Command>, Malformed> {
    let lines = frame.split(|byte| *byte == b'\n');
    let mut lines = lines
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty());
    let commands = lines.by_ref().take(COMMANDS_MAX).map(command);
    let commands = commands.collect::<Result<_, _>>()?;
    match lines.next() {
        None => Ok(commands),
        Some(_) => Err(Malformed),
    }
}

fn command(line: &[u8]) -> Result<Command, Malformed> {
    // A list would be taken for the values of an object without their names.
    if !line.starts_with(b"{") {
        return Err(Malformed);
    }
    serde_json::from_slice(line).map_err(|_| Malformed)
}

/// What a terminal says first that says nothing else. Nothing at all: it has nothing to say about itself.
pub(super) fn connect(frame: &[u8]) -> Result<ConnectRequest, Malformed> {
    match frame.trim_ascii() {
        b"" => Ok(ConnectRequest::default()),
        line if line.starts_with(b"{") => serde_json::from_slice(line).map_err(|_| Malformed),
        _ => Err(Malformed),
    }
}

/// A frame that says this.
pub(super) fn encode(reply: &Reply) -> Payload {
    line(reply)
}

/// A frame that says this to a terminal that only listens: the push itself, and the answer to its connect as if it
/// were one.
pub(super) fn encode_one_way(reply: &Reply) -> Payload {
    #[derive(Serialize)]
    struct Connected<'a> {
        connect: &'a ConnectResult,
    }
    match (&reply.connect, &reply.push) {
        (Some(connect), _) => line(&Connected { connect }),
        (None, Some(push)) => line(push),
        (None, None) => line(&Reply::default()),
    }
}

fn line(said: &impl Serialize) -> Payload {
    let mut line = serde_json::to_vec(said).unwrap_or_default();
    // Outside of texts a line break is white space, and within them it is not JSON. It would end the line.
    for byte in &mut line {
        if matches!(*byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    let line = Bytes::from(line);
    Payload::text(line.clone()).unwrap_or_else(|_| Payload::binary(line))
}

/// Bytes of a text in JSON.
pub(super) fn text_len(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 2,
        0..32 => 6,
        32.. => 1,
    };
    text.bytes().map(escaped).sum::<usize>() + 2
}

/// Bytes that are JSON where they are JSON; another text as a text, and other bytes in base64.
pub(super) mod data {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};
    use serde_json::value::RawValue;
    use switchboard_core::frame::{FrameKind, Payload};

    /// Bytes that JSON has no place for.
    #[derive(serde::Serialize)]
    struct Binary {
        base64: String,
    }

    pub(in super::super) fn serialize<S: Serializer>(
        data: &[u8],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        if let Ok(json) = serde_json::from_slice::<&RawValue>(data) {
            return json.serialize(serializer);
        }
        match std::str::from_utf8(data) {
            Ok(text) => text.serialize(serializer),
            Err(_) => binary(data).serialize(serializer),
        }
    }

    fn binary(data: &[u8]) -> Binary {
        Binary {
            base64: BASE64_STANDARD.encode(data),
        }
    }

    /// The JSON that stands for bytes, whatever they are.
    pub(in super::super) fn of_binary(data: &[u8]) -> Vec<u8> {
        serde_json::to_vec(&binary(data)).unwrap_or_default()
    }

    /// Bytes of the JSON that stands for a payload.
    pub(in super::super) fn len(payload: &Payload) -> usize {
        let bytes = payload.bytes();
        match (payload.kind(), std::str::from_utf8(bytes)) {
            (FrameKind::Text, Ok(text)) => match serde_json::from_str::<&RawValue>(text) {
                // What is around it is left out.
                Ok(json) => json.get().len(),
                Err(_) => super::text_len(text),
            },
            (FrameKind::Binary, _) | (FrameKind::Text, Err(_)) => {
                bytes.len().div_ceil(3) * 4 + r#"{"base64":""}"#.len()
            }
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Box::<str>::from(json).into_string().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{Publication, Push};
    use super::*;

    #[test]
    fn commands_of_a_frame_are_bounded() {
        assert!(decode("{}\n".repeat(COMMANDS_MAX).as_bytes()).is_ok());
        assert!(decode("{}\n".repeat(COMMANDS_MAX + 1).as_bytes()).is_err());
        // Each that a client says and that waits has this, whatever it says.
        assert!(COMMANDS_MAX * size_of::<Command>() <= 53 << 10);
    }

    fn encoded(data: &[u8]) -> String {
        let publication = Publication {
            data: data.to_vec(),
            offset: 7,
            ..Publication::default()
        };
        let reply = Reply {
            push: Some(Push {
                channel: "#ann".to_owned(),
                publication: Some(publication),
                ..Push::default()
            }),
            ..Reply::default()
        };
        String::from_utf8(encode(&reply).bytes().to_vec()).expect("JSON is text")
    }

    #[test]
    fn data_is_json_as_it_stands_or_a_text_or_bytes_that_say_so() {
        for (data, shown) in [
            (&br#"{"a": [1, "x"]}"#[..], r#"{"a": [1, "x"]}"#),
            (b"5", "5"),
            (b"hello", r#""hello""#),
            (b"", r#""""#),
            (b"two\nlines", r#""two\nlines""#),
            (b"{\n \"a\":\r\n1}", "{  \"a\":  1}"),
            (b"\xff\x00", r#"{"base64":"/wA="}"#),
        ] {
            let expected =
                format!(r##"{{"push":{{"channel":"#ann","pub":{{"data":{shown},"offset":7}}}}}}"##);
            assert_eq!(encoded(data), expected);
        }
    }

    #[test]
    fn a_ping_is_an_empty_object() {
        assert_eq!(encode(&Reply::default()).bytes(), "{}");
    }

    #[test]
    fn a_frame_has_a_command_on_each_line() {
        let frame = br##"{"id":1,"connect":{"token":"t","subs":{"#ann":{"recover":true}}}}
{"id":2,"rpc":{"method":"m","data":{"a": 1}},"unknown":[{}]}

{}
"##;
        let commands = decode(frame).expect("three commands");
        assert_eq!(commands.len(), 3);
        let connect = commands[0].connect.as_ref().expect("it is one");
        assert_eq!(connect.token, "t");
        assert!(connect.subs["#ann"].recover);
        let rpc = commands[1].rpc.as_ref().expect("it is one");
        assert_eq!(rpc.data, br#"{"a": 1}"#);
        assert_eq!(commands[2], Command::default());
    }

    #[test]
    fn what_is_no_json_is_malformed() {
        for frame in [
            &b"{"[..],
            b"[]",
            b"5",
            b"{\"id\":-1}",
            b"{\"id\":1,\"connect\":5}",
            b"{}\nx",
            b"\xff",
        ] {
            assert!(decode(frame).is_err(), "{frame:?}");
        }
    }
}
