//! Messages of the protocol in Protobuf, made of JSON and read as JSON, by the numbers of their fields.

use serde_json::{Map, Value, json};

/// A field: its number, its name in JSON, and what it is.
struct Field(u32, &'static str, Kind);

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Number,
    Flag,
    /// Bytes that are JSON.
    Data,
    Message(&'static [Field]),
    List(&'static [Field]),
    /// A map from texts to messages.
    Map(&'static [Field]),
    Texts,
}

use Kind::{Data, Flag, List, Message, Number, Text, Texts};

const COMMAND: &[Field] = &[
    Field(1, "id", Number),
    Field(4, "connect", Message(CONNECT)),
    Field(5, "subscribe", Message(SUBSCRIBE)),
    Field(6, "unsubscribe", Message(CHANNEL)),
    Field(7, "publish", Message(CHANNEL)),
    Field(8, "presence", Message(CHANNEL)),
    Field(9, "presence_stats", Message(CHANNEL)),
    Field(10, "history", Message(HISTORY)),
    Field(11, "ping", Message(&[])),
    Field(12, "send", Message(&[Field(1, "data", Data)])),
    Field(
        13,
        "rpc",
        Message(&[Field(1, "data", Data), Field(2, "method", Text)]),
    ),
    Field(14, "refresh", Message(&[Field(1, "token", Text)])),
    Field(
        15,
        "sub_refresh",
        Message(&[Field(1, "channel", Text), Field(2, "token", Text)]),
    ),
];

const CONNECT: &[Field] = &[
    Field(1, "token", Text),
    Field(3, "subs", Kind::Map(SUBSCRIBE)),
];

const SUBSCRIBE: &[Field] = &[
    Field(1, "channel", Text),
    Field(2, "token", Text),
    Field(3, "recover", Flag),
    Field(6, "epoch", Text),
    Field(7, "offset", Number),
    Field(11, "join_leave", Flag),
];

const CHANNEL: &[Field] = &[Field(1, "channel", Text), Field(2, "data", Data)];

const HISTORY: &[Field] = &[
    Field(1, "channel", Text),
    Field(7, "limit", Number),
    Field(
        8,
        "since",
        Message(&[Field(1, "offset", Number), Field(2, "epoch", Text)]),
    ),
    Field(9, "reverse", Flag),
];

const REPLY: &[Field] = &[
    Field(1, "id", Number),
    Field(
        2,
        "error",
        Message(&[
            Field(1, "code", Number),
            Field(2, "message", Text),
            Field(3, "temporary", Flag),
        ]),
    ),
    Field(4, "push", Message(PUSH)),
    Field(
        5,
        "connect",
        Message(&[
            Field(1, "client", Text),
            Field(2, "version", Text),
            Field(3, "expires", Flag),
            Field(4, "ttl", Number),
            Field(6, "subs", Kind::Map(SUBSCRIBED)),
            Field(7, "ping", Number),
            Field(8, "pong", Flag),
            Field(9, "session", Text),
            Field(10, "node", Text),
        ]),
    ),
    Field(6, "subscribe", Message(SUBSCRIBED)),
    Field(7, "unsubscribe", Message(&[])),
    Field(8, "publish", Message(&[])),
    Field(
        9,
        "presence",
        Message(&[Field(1, "presence", Kind::Map(INFO))]),
    ),
    Field(
        10,
        "presence_stats",
        Message(&[
            Field(1, "num_clients", Number),
            Field(2, "num_users", Number),
        ]),
    ),
    Field(
        11,
        "history",
        Message(&[
            Field(1, "publications", List(PUBLICATION)),
            Field(2, "epoch", Text),
            Field(3, "offset", Number),
        ]),
    ),
    Field(14, "refresh", Message(REFRESHED)),
    Field(
        15,
        "sub_refresh",
        Message(&[Field(1, "expires", Flag), Field(2, "ttl", Number)]),
    ),
];

const PUSH: &[Field] = &[
    Field(2, "channel", Text),
    Field(4, "pub", Message(PUBLICATION)),
    Field(5, "join", Message(&[Field(1, "info", Message(INFO))])),
    Field(6, "leave", Message(&[Field(1, "info", Message(INFO))])),
    Field(
        7,
        "unsubscribe",
        Message(&[Field(2, "code", Number), Field(3, "reason", Text)]),
    ),
    Field(
        9,
        "subscribe",
        Message(&[
            Field(1, "recoverable", Flag),
            Field(4, "epoch", Text),
            Field(5, "offset", Number),
            Field(6, "positioned", Flag),
        ]),
    ),
    Field(
        11,
        "disconnect",
        Message(&[Field(1, "code", Number), Field(2, "reason", Text)]),
    ),
];

const PUBLICATION: &[Field] = &[
    Field(4, "data", Data),
    Field(5, "info", Message(INFO)),
    Field(6, "offset", Number),
    Field(7, "tags", Texts),
];

const INFO: &[Field] = &[Field(1, "user", Text), Field(2, "client", Text)];

const SUBSCRIBED: &[Field] = &[
    Field(1, "expires", Flag),
    Field(2, "ttl", Number),
    Field(3, "recoverable", Flag),
    Field(6, "epoch", Text),
    Field(8, "recovered", Flag),
    Field(9, "offset", Number),
    Field(10, "positioned", Flag),
    Field(12, "was_recovering", Flag),
];

const REFRESHED: &[Field] = &[
    Field(1, "client", Text),
    Field(2, "version", Text),
    Field(3, "expires", Flag),
    Field(4, "ttl", Number),
];

/// A frame with one command.
pub(super) fn command(command: &Value) -> Vec<u8> {
    delimited(&message(COMMAND, command))
}

/// The replies of a frame.
pub(super) fn replies(frame: &[u8]) -> Vec<Value> {
    let mut rest = frame;
    let mut replies = Vec::new();
    while !rest.is_empty() {
        replies.push(read(REPLY, take(&mut rest)));
    }
    replies
}

/// The first reply of some, if it has come all.
pub(super) fn next_reply(bytes: &mut Vec<u8>) -> Option<Value> {
    // A length that has not come all ends with a byte that says so.
    bytes.iter().find(|byte| **byte & 0x80 == 0)?;
    let mut rest = bytes.as_slice();
    let length = take_varint(&mut rest) as usize;
    let reply = read(REPLY, rest.get(..length)?);
    let read = bytes.len() - rest.len() + length;
    bytes.drain(..read);
    Some(reply)
}

/// Commands on another connection than that of their client.
pub(super) fn relayed(node: &str, session: &str, commands: &[u8]) -> Vec<u8> {
    let parts = [node.as_bytes(), session.as_bytes(), commands];
    let fields = parts.into_iter().zip(1_u64..);
    fields
        .flat_map(|(bytes, number)| [varint(number << 3 | 2), delimited(bytes)].concat())
        .collect()
}

fn message(fields: &[Field], value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in value.as_object().expect("an object") {
        let field = fields.iter().find(|field| field.1 == name);
        let Field(number, _, kind) = field.unwrap_or_else(|| panic!("no field `{name}`"));
        for (wire, content) in parts(*kind, value) {
            bytes.extend(varint(u64::from(*number) << 3 | u64::from(wire)));
            bytes.extend(content);
        }
    }
    bytes
}

/// The wire type and the bytes of each part of a field.
fn parts(kind: Kind, value: &Value) -> Vec<(u8, Vec<u8>)> {
    let text = |value: &Value| value.as_str().expect("a text").as_bytes().to_vec();
    let entry = |name: &str, value: Vec<u8>| {
        let mut entry = varint(1 << 3 | 2);
        entry.extend(delimited(name.as_bytes()));
        entry.extend(varint(2 << 3 | 2));
        entry.extend(delimited(&value));
        (2, delimited(&entry))
    };
    let object = || value.as_object().expect("an object").iter();
    match kind {
        Number => {
            let number = value
                .as_u64()
                .or_else(|| value.as_i64().map(|number| number as u64));
            vec![(0, varint(number.expect("a number")))]
        }
        Flag => vec![(0, varint(u64::from(value.as_bool().expect("a flag"))))],
        Text => vec![(2, delimited(&text(value)))],
        Data => vec![(2, delimited(value.to_string().as_bytes()))],
        Message(fields) => vec![(2, delimited(&message(fields, value)))],
        List(fields) => {
            let list = value.as_array().expect("a list").iter();
            list.map(|value| (2, delimited(&message(fields, value))))
                .collect()
        }
        Kind::Map(fields) => object()
            .map(|(name, value)| entry(name, message(fields, value)))
            .collect(),
        Texts => object()
            .map(|(name, value)| entry(name, text(value)))
            .collect(),
    }
}

fn read(fields: &[Field], mut bytes: &[u8]) -> Value {
    let mut object = Map::new();
    while !bytes.is_empty() {
        let key = take_varint(&mut bytes);
        let field = fields.iter().find(|field| u64::from(field.0) == key >> 3);
        let number = if key & 7 == 0 {
            take_varint(&mut bytes)
        } else {
            0
        };
        let content = if key & 7 == 2 { take(&mut bytes) } else { &[] };
        let Some(Field(_, name, kind)) = field else {
            panic!("no field {} in {object:?}", key >> 3);
        };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        let before = object.remove(*name);
        let value = match *kind {
            Number => json!(number),
            Flag => json!(number == 1),
            Text => json!(text(content)),
            Data => serde_json::from_slice(content).unwrap_or_else(|_| json!(text(content))),
            Message(fields) => read(fields, content),
            List(fields) => {
                let mut list = before.unwrap_or_else(|| json!([]));
                list.as_array_mut()
                    .expect("a list")
                    .push(read(fields, content));
                list
            }
            Kind::Map(_) | Texts => {
                let mut map = before.unwrap_or_else(|| json!({}));
                let (name, value) = entry(*kind, content);
                map[name] = value;
                map
            }
        };
        object.insert((*name).to_owned(), value);
    }
    Value::Object(object)
}

/// Name and value of an entry of a map.
fn entry(kind: Kind, bytes: &[u8]) -> (String, Value) {
    const NAME: Field = Field(1, "name", Text);
    let entry = match kind {
        Kind::Map(fields) => read(&[NAME, Field(2, "value", Message(fields))], bytes),
        _ => read(&[NAME, Field(2, "value", Text)], bytes),
    };
    let name = entry["name"].as_str().expect("a name").to_owned();
    (
        name,
        entry.get("value").cloned().unwrap_or_else(|| json!({})),
    )
}

fn delimited(bytes: &[u8]) -> Vec<u8> {
    let mut delimited = varint(bytes.len() as u64);
    delimited.extend(bytes);
    delimited
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn take<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let length = take_varint(bytes) as usize;
    let (taken, rest) = bytes.split_at(length);
    *bytes = rest;
    taken
}

fn take_varint(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for place in 0.. {
        let (byte, rest) = bytes.split_first().expect("one more byte");
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            break;
        }
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let subs = json!({"#ann": {"recover": true, "offset": 300, "epoch": "1"}});
        let connect = json!({"id": 1, "connect": {"token": "t", "subs": subs}});
        assert_eq!(read(COMMAND, &message(COMMAND, &connect)), connect);
        let publication = json!({"data": {"a": [1]}, "offset": 7, "tags": {"id": "x"}});
        let reply = json!({"id": 2, "history": {"publications": [publication, {"offset": 1}]}});
        let frame = [delimited(&message(REPLY, &reply)), vec![0]].concat();
        assert_eq!(replies(&frame), [reply, json!({})]);
    }
}
