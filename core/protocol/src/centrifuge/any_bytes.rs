//! Both codecs, and what they are given: bytes of any kind, and messages that are nearly right.
//!
//! `.ci/fuzz` looks for longer.

use proptest::prelude::*;
use prost::Message as _;
use switchboard_core::frame::{FrameKind, Payload};

use super::message::{
    ChannelRequest, Command, ConnectRequest, HistoryRequest, Publication, PublishRequest, Push,
    Relayed, Reply, StreamPosition, SubscribeRequest,
};
use super::{COMMANDS_MAX, Encoding, Relay, json, protobuf};

/// A byte that is changed, cut off or doubled somewhere makes most of a frame right.
#[derive(Clone, Debug)]
struct Damage {
    at: prop::sample::Index,
    byte: u8,
    what: u8,
}

impl Damage {
    fn done_to(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        if bytes.is_empty() {
            return bytes;
        }
        let at = self.at.index(bytes.len());
        match self.what % 4 {
            0 => bytes[at] = self.byte,
            1 => bytes.truncate(at),
            2 => bytes.insert(at, self.byte),
            _ => bytes.extend_from_within(at..),
        }
        bytes
    }
}

fn damage() -> impl Strategy<Value = Vec<Damage>> {
    let one = (any::<prop::sample::Index>(), any::<u8>(), any::<u8>());
    let one = one.prop_map(|(at, byte, what)| Damage { at, byte, what });
    prop::collection::vec(one, 0..4)
}

fn commands() -> impl Strategy<Value = Vec<Command>> {
    prop::collection::vec((any::<u32>(), "[#a-z:]{0,8}", any::<u64>(), 0..7u8), 0..5).prop_map(
        |all| {
            all.into_iter()
                .map(|(id, channel, number, kind)| command(id, channel, number, kind))
                .collect()
        },
    )
}

fn command(id: u32, channel: String, number: u64, kind: u8) -> Command {
    let mut command = Command {
        id,
        ..Command::default()
    };
    match kind {
        0 => {
            let sub = SubscribeRequest {
                recover: true,
                offset: number,
                ..SubscribeRequest::default()
            };
            let subs = [(channel, sub)].into();
            let token = "t".to_owned();
            command.connect = Some(ConnectRequest { token, subs }.into());
        }
        1 => {
            let subscribe = SubscribeRequest {
                channel,
                ..SubscribeRequest::default()
            };
            command.subscribe = Some(subscribe.into());
        }
        2 => command.presence = Some(ChannelRequest { channel }.into()),
        3 => {
            let data = number.to_string().into_bytes();
            command.publish = Some(PublishRequest { channel, data }.into());
        }
        4 => {
            let since = Some(StreamPosition {
                offset: number,
                epoch: "1".to_owned(),
            });
            let history = HistoryRequest {
                channel,
                since,
                ..HistoryRequest::default()
            };
            command.history = Some(history.into());
        }
        5 => command.unsubscribe = Some(ChannelRequest { channel }.into()),
        _ => {}
    }
    command
}

/// As a client writes it.
fn as_json(command: &Command) -> String {
    let channel = |request: &ChannelRequest| serde_json::json!({"channel": request.channel});
    let mut value = serde_json::json!({"id": command.id});
    if let Some(connect) = &command.connect {
        let subs = connect.subs.iter().map(|(name, sub)| {
            (
                name.clone(),
                serde_json::json!({"recover": sub.recover, "offset": sub.offset}),
            )
        });
        let subs: serde_json::Map<_, _> = subs.collect();
        value["connect"] = serde_json::json!({"token": connect.token, "subs": subs});
    }
    if let Some(subscribe) = &command.subscribe {
        value["subscribe"] = serde_json::json!({"channel": subscribe.channel});
    }
    if let Some(publish) = &command.publish {
        let data: serde_json::Value = serde_json::from_slice(&publish.data).expect("a number");
        value["publish"] = serde_json::json!({"channel": publish.channel, "data": data});
    }
    if let Some(history) = &command.history {
        let since = history
            .since
            .as_ref()
            .map(|since| serde_json::json!({"offset": since.offset, "epoch": since.epoch}));
        value["history"] = serde_json::json!({"channel": history.channel, "since": since});
    }
    if let Some(request) = &command.presence {
        value["presence"] = channel(request);
    }
    if let Some(request) = &command.unsubscribe {
        value["unsubscribe"] = channel(request);
    }
    value.to_string()
}

fn frames(commands: &[Command]) -> [Vec<u8>; 2] {
    let lines: Vec<_> = commands.iter().map(as_json).collect();
    let messages = commands
        .iter()
        .map(|command| command.encode_length_delimited_to_vec());
    [
        lines.join("\n").into_bytes(),
        messages.collect::<Vec<_>>().concat(),
    ]
}

/// A body of `/emulation` with a frame, in both encodings.
fn relays(session: String, frames: &[Vec<u8>; 2]) -> [Vec<u8>; 2] {
    let node = format!("{:016x}", 7);
    let [lines, messages] = frames;
    let data = String::from_utf8_lossy(lines);
    let json = serde_json::json!({"session": session, "node": node, "data": data});
    let protobuf = Relayed {
        node,
        session,
        data: messages.clone(),
    };
    [json.to_string().into_bytes(), protobuf.encode_to_vec()]
}

/// What is read of bytes, by all that read some.
fn read_by_all(bytes: &[u8]) -> Result<(), TestCaseError> {
    let decoded = [json::decode(bytes), protobuf::decode(bytes)];
    for commands in decoded.into_iter().flatten() {
        prop_assert!(commands.len() <= COMMANDS_MAX);
    }
    if let Ok(ConnectRequest { token, subs }) = json::connect(bytes) {
        prop_assert!(token.len() + subs.len() <= bytes.len());
    }
    for is_protobuf in [false, true] {
        if let Some(relay) = Relay::read(bytes, is_protobuf) {
            prop_assert!(relay.frame.len() + relay.session.len() <= bytes.len());
        }
    }
    Ok(())
}

proptest! {
    /// H36: no bytes make a codec panic, and what it makes of them is bounded.
    #[test]
    fn any_bytes_are_commands_or_malformed(bytes: Vec<u8>) {
        read_by_all(&bytes)?;
    }

    /// H36
    #[test]
    fn commands_are_read_as_they_were_said(commands in commands()) {
        let [lines, messages] = frames(&commands);
        prop_assert_eq!(json::decode(&lines).expect("commands"), commands.clone());
        prop_assert_eq!(protobuf::decode(&messages).expect("commands"), commands);
    }

    /// H36
    #[test]
    fn what_is_nearly_right_is_commands_or_malformed(commands in commands(), damages in damage()) {
        for frame in frames(&commands) {
            read_by_all(&damages.iter().fold(frame, |frame, damage| damage.done_to(frame)))?;
        }
    }

    /// H36: what is posted for a terminal is its frame and whose it is, or nothing.
    #[test]
    fn what_is_nearly_a_relay_is_one_or_none(
        commands in commands(),
        session: String,
        damages in damage(),
    ) {
        let frames = frames(&commands);
        let bodies = relays(session.clone(), &frames);
        for ((body, frame), is_protobuf) in bodies.iter().zip(&frames).zip([false, true]) {
            let relay = Relay::read(body, is_protobuf).expect("a relay");
            prop_assert_eq!((relay.session, relay.instance.get()), (session.clone(), 7));
            prop_assert_eq!(relay.frame.bytes(), &frame[..]);
        }
        for body in bodies {
            read_by_all(&damages.iter().fold(body, |body, damage| damage.done_to(body)))?;
        }
    }

    /// H36: so is what a terminal says that says nothing but who it is.
    #[test]
    fn what_is_nearly_a_login_is_one_or_malformed(
        token: String,
        names in prop::collection::vec("[#a-z:]{0,8}", 0..5),
        damages in damage(),
    ) {
        let sub = |name: &String| (name.clone(), serde_json::json!({"recover": true, "offset": 7}));
        let subs: serde_json::Map<_, _> = names.iter().map(sub).collect();
        let body = serde_json::json!({"token": token, "subs": subs}).to_string().into_bytes();
        let connect = json::connect(&body).expect("a login");
        prop_assert_eq!(connect.token, token);
        prop_assert_eq!(connect.subs.len(), subs.len());
        read_by_all(&damages.iter().fold(body, |body, damage| damage.done_to(body)))?;
    }

    /// H36: one line, whatever it carries, and as long as it was counted.
    #[test]
    fn any_payload_is_one_line_of_json(bytes: Vec<u8>, is_text: bool, name: String) {
        let payload = match is_text {
            true => Payload::from(String::from_utf8_lossy(&bytes).into_owned()),
            false => Payload::binary(bytes.into()),
        };
        let push = switchboard_core::id::PushId::new(uuid::Uuid::nil());
        let publication = Encoding::Json.publication(push, 1, &payload);
        let around = line(&name, Publication { data: b"1".to_vec(), ..publication.clone() }).len() - 1;
        let frame = line(&name, publication);
        prop_assert_eq!(frame.kind(), FrameKind::Text);
        prop_assert!(!frame.bytes().iter().any(|byte| matches!(byte, b'\n' | b'\r')));
        let read: serde_json::Value = serde_json::from_slice(frame.bytes()).expect("JSON");
        prop_assert_eq!(read["push"]["channel"].as_str().unwrap_or_default(), name);
        prop_assert_eq!(frame.len(), around + json::data::len(&payload));
    }
}

fn line(channel: &str, publication: Publication) -> Payload {
    Encoding::Json.encode(&Reply {
        push: Some(Push {
            channel: channel.to_owned(),
            publication: Some(publication),
            ..Push::default()
        }),
        ..Reply::default()
    })
}
