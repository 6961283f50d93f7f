//! Commands of a terminal whose own connection carries nothing to the server: it sends them on others, to whatever
//! instance.

use std::str::FromStr as _;

use prost::Message as _;
use switchboard_core::frame::Payload;
use switchboard_core::id::InstanceId;

use super::message::Relayed;

/// Commands, and whose they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// The instance that has the terminal.
    pub instance: InstanceId,
    /// What that instance has told the terminal, and nobody else, to name itself by.
    pub session: String,
    /// A frame of the terminal.
    pub frame: Payload,
}

impl Relay {
    /// Reads the body of a request. `None`: it is none.
    pub fn read(body: &[u8], is_protobuf: bool) -> Option<Self> {
        let Relayed {
            node,
            session,
            data,
        } = match is_protobuf {
            true => Relayed::decode(body).ok()?,
            false => serde_json::from_slice(body).ok()?,
        };
        let frame = match is_protobuf {
            true => Payload::binary(data.into()),
            false => serde_json::from_slice::<String>(&data).ok()?.into(),
        };
        Some(Self {
            instance: InstanceId::from_str(&node).ok()?,
            session,
            frame,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_instance_and_session() {
        let expected = |frame| Relay {
            instance: InstanceId::new(7),
            session: "s".to_owned(),
            frame,
        };
        let json = br#"{"session":"s","node":"0000000000000007","data":"{\"id\":2}\n{}"}"#;
        let text = Payload::from("{\"id\":2}\n{}".to_owned());
        assert_eq!(Relay::read(json, false), Some(expected(text)));
        let protobuf = Relayed {
            node: "0000000000000007".to_owned(),
            session: "s".to_owned(),
            data: vec![0],
        };
        let bytes = Payload::binary(vec![0].into());
        assert_eq!(
            Relay::read(&protobuf.encode_to_vec(), true),
            Some(expected(bytes))
        );
    }

    #[test]
    fn what_is_no_request_is_none() {
        for body in [
            &b""[..],
            b"{}",
            b"5",
            br#"{"session":"s","node":"7","data":""}"#,
            br#"{"session":"s","node":"0000000000000007","data":{}}"#,
        ] {
            assert_eq!(Relay::read(body, false), None);
        }
        assert_eq!(Relay::read(b"\xff", true), None);
    }
}
