//! Receipts as JSON, written as text: most of one is names of ours, ids and numbers, in which nothing needs an escape.

use serde::Serialize;
use switchboard_core::channel::Channel;
use switchboard_core::message::{
    ChannelLog, Counts, InLog, InstanceOutcome, Receipt, TerminalOutcome,
};
use uuid::Uuid;

/// What is written as JSON.
pub(crate) trait Json {
    /// Writes it behind this text.
    fn write_to(&self, text: &mut Vec<u8>);
}

impl<T: Serialize> Json for T {
    fn write_to(&self, text: &mut Vec<u8>) {
        serde_json::to_writer(text, self).expect("a vector takes all, and all keys are texts");
    }
}

/// A receipt, terminal by terminal.
pub(crate) struct ByTerminal<'a>(pub(crate) &'a Receipt);

/// A receipt, instance by instance.
pub(crate) struct ByInstance<'a>(pub(crate) &'a Receipt);

impl Json for ByTerminal<'_> {
    fn write_to(&self, text: &mut Vec<u8>) {
        let mut object = head(self.0, text);
        list(object.name("terminals"), &self.0.terminals, terminal);
        if self.0.truncated {
            object.entry("truncated", &true);
        }
        object.end();
    }
}

impl Json for ByInstance<'_> {
    fn write_to(&self, text: &mut Vec<u8>) {
        let mut object = head(self.0, text);
        list(object.name("instances"), &self.0.instances, instance);
        object.end();
    }
}

fn head<'a>(receipt: &Receipt, text: &'a mut Vec<u8>) -> Object<'a> {
    let mut object = Object::begin(text);
    object.id("push", receipt.push.uuid());
    object.entry("degraded", &receipt.degraded);
    match receipt.logged.as_slice() {
        [] => {}
        [one] => logged(object.name("logged"), one.logged),
        several => {
            let mut logs = Object::begin(object.name("logged"));
            for log in several {
                logged(logs.named(name(&log.channel)), log.logged);
            }
            logs.end();
        }
    }
    match receipt.logged.as_slice() {
        logs if logs.iter().all(|log| log.replicated.is_none()) => {}
        [one] => object.entry("replicated", &one.replicated),
        several => replicated(object.name("replicated"), several),
    }
    if let Some(kept) = receipt.kept {
        object.entry("kept", &kept);
    }
    counts(&mut object, &receipt.counts);
    object
}

/// A position, or why there is none.
fn logged(text: &mut Vec<u8>, logged: InLog) {
    match logged {
        InLog::At(position) => format_args!("{position}").write_to(text),
        InLog::Expired => "expired".write_to(text),
        InLog::Unknown => "unknown".write_to(text),
        InLog::Refused => "refused".write_to(text),
        InLog::Unlogged => ().write_to(text),
    }
}

/// Whether a replica has the records of several, by their names. What is no record is left out.
fn replicated(text: &mut Vec<u8>, records: &[ChannelLog]) {
    let mut object = Object::begin(text);
    for log in records {
        if let Some(replicated) = log.replicated {
            replicated.write_to(object.named(name(&log.channel)));
        }
    }
    object.end();
}

/// A push has logs of one kind.
fn name(channel: &Channel) -> &str {
    match channel {
        Channel::User(user) => user.as_str(),
        Channel::Topic(topic) => topic.as_str(),
    }
}

fn counts(object: &mut Object<'_>, counts: &Counts) {
    object.entry("written", &counts.written);
    object.entry("queued", &counts.queued);
    if counts.kept > 0 {
        object.entry("kept", &counts.kept);
    }
    if counts.acked > 0 {
        object.entry("acked", &counts.acked);
    }
    object.entry("failed", &counts.failed());
}

fn terminal(text: &mut Vec<u8>, terminal: &TerminalOutcome) {
    let mut object = Object::begin(text);
    object.entry("user", &terminal.user.as_str());
    object.id("connection", terminal.connection.uuid());
    object.plain("outcome", terminal.outcome.name());
    object.end();
}

fn instance(text: &mut Vec<u8>, outcome: &InstanceOutcome) {
    let mut object = Object::begin(text);
    object.entry("instance", &format_args!("{}", outcome.instance));
    object.entry("answered", &outcome.answered);
    counts(&mut object, &outcome.counts);
    object.end();
}

fn list<T>(text: &mut Vec<u8>, items: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    text.push(b'[');
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            text.push(b',');
        }
        write(text, item);
    }
    text.push(b']');
}

/// An object that is written, field by field.
struct Object<'a> {
    text: &'a mut Vec<u8>,
    is_empty: bool,
}

impl<'a> Object<'a> {
    fn begin(text: &'a mut Vec<u8>) -> Self {
        text.push(b'{');
        let is_empty = true;
        Self { text, is_empty }
    }

    /// Begins a field. The name is one of ours, without anything to escape: its value is to follow.
    fn name(&mut self, name: &'static str) -> &mut Vec<u8> {
        self.separate();
        self.text.push(b'"');
        self.text.extend_from_slice(name.as_bytes());
        self.text.extend_from_slice(b"\":");
        self.text
    }

    /// Begins a field of any name: its value is to follow.
    fn named(&mut self, name: &str) -> &mut Vec<u8> {
        self.separate();
        name.write_to(self.text);
        self.text.push(b':');
        self.text
    }

    fn separate(&mut self) {
        if !std::mem::take(&mut self.is_empty) {
            self.text.push(b',');
        }
    }

    fn entry(&mut self, name: &'static str, value: &impl Json) {
        value.write_to(self.name(name));
    }

    /// A text of ours, without anything to escape.
    fn plain(&mut self, name: &'static str, value: &'static str) {
        let text = self.name(name);
        text.push(b'"');
        text.extend_from_slice(value.as_bytes());
        text.push(b'"');
    }

    fn id(&mut self, name: &'static str, id: Uuid) {
        let text = self.name(name);
        text.push(b'"');
        let mut digits = Uuid::encode_buffer();
        text.extend_from_slice(id.hyphenated().encode_lower(&mut digits).as_bytes());
        text.push(b'"');
    }

    fn end(self) {
        self.text.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use switchboard_core::id::{ConnectionId, InstanceId, PushId, UserId};
    use switchboard_core::message::Outcome;
    use switchboard_core::position::Position;

    use super::*;

    /// H25, H42: the receipt says what became of each terminal, and zeros for a user without any.
    #[test]
    fn a_receipt_names_each_terminal() {
        let mut receipt = empty();
        let nobody = r#"{"push":"00000000-0000-0000-0000-000000000001","degraded":false,"written":0,"queued":0,"failed":0,"terminals":[]}"#;
        assert_eq!(text(&ByTerminal(&receipt)), nobody);

        receipt.counts.add(Outcome::Written);
        receipt.counts.add(Outcome::Gone);
        receipt.counts.add(Outcome::Overflow);
        receipt.degraded = true;
        receipt.truncated = true;
        receipt.terminals.push(TerminalOutcome {
            user: UserId::new("a\"b").expect("a good user"),
            connection: ConnectionId::new(Uuid::from_u128(2)),
            outcome: Outcome::Unreachable,
        });
        let full = r#"{"push":"00000000-0000-0000-0000-000000000001","degraded":true,"written":1,"queued":0,"failed":2,"terminals":[{"user":"a\"b","connection":"00000000-0000-0000-0000-000000000002","outcome":"unreachable"}],"truncated":true}"#;
        assert_eq!(text(&ByTerminal(&receipt)), full);
    }

    #[test]
    fn a_receipt_says_where_its_records_are() {
        let at = Position::new(7, 3).expect("in range");
        let log = |user, logged, replicated| ChannelLog {
            channel: UserId::new(user).expect("a good user").into(),
            logged,
            replicated,
        };
        let mut receipt = empty();
        receipt.counts.add(Outcome::Kept);
        receipt.counts.add(Outcome::Acked);
        let rest = r#""written":0,"queued":0,"kept":1,"acked":1,"failed":0,"terminals":[]}"#;
        for (logged, said) in [
            (InLog::At(at), format!(r#""{at}""#)),
            (InLog::Expired, r#""expired""#.to_owned()),
            (InLog::Unknown, r#""unknown""#.to_owned()),
            (InLog::Refused, r#""refused""#.to_owned()),
            (InLog::Unlogged, "null".to_owned()),
        ] {
            receipt.logged = vec![log("ada", logged, Some(false))];
            let written = text(&ByTerminal(&receipt));
            let expected = format!(r#""degraded":false,"logged":{said},"replicated":false,{rest}"#);
            assert!(written.ends_with(&expected), "{written}");
        }
        receipt.logged = vec![
            log("a\"d\\\u{2028}\u{e4}", InLog::At(at), None),
            log("bob", InLog::Unlogged, Some(true)),
        ];
        let written = text(&ByTerminal(&receipt));
        let ada = format!(r#""a\"d\\{}""#, "\u{2028}\u{e4}");
        let logs = format!(r#""logged":{{{ada}:"{at}","bob":null}}"#);
        let expected = format!(r#"{logs},"replicated":{{"bob":true}},{rest}"#);
        assert!(written.ends_with(&expected), "{written}");
    }

    /// What was joined is kept with the user, and has no frames that could be kept.
    #[test]
    fn a_receipt_says_whether_a_membership_is_kept() {
        let mut receipt = empty();
        receipt.kept = Some(true);
        let written = text(&ByTerminal(&receipt));
        let rest =
            r#""degraded":false,"kept":true,"written":0,"queued":0,"failed":0,"terminals":[]}"#;
        assert!(written.ends_with(rest), "{written}");
    }

    #[test]
    fn a_broadcast_names_each_instance() {
        let mut receipt = empty();
        receipt.instances.push(InstanceOutcome {
            instance: InstanceId::new(10),
            answered: true,
            counts: Counts {
                written: 3,
                overflow: 1,
                ..Counts::default()
            },
        });
        let expected = r#"{"push":"00000000-0000-0000-0000-000000000001","degraded":false,"written":0,"queued":0,"failed":0,"instances":[{"instance":"000000000000000a","answered":true,"written":3,"queued":0,"failed":1}]}"#;
        assert_eq!(text(&ByInstance(&receipt)), expected);
    }

    fn empty() -> Receipt {
        Receipt {
            kept: None,
            listed: Vec::new(),
            push: PushId::new(Uuid::from_u128(1)),
            degraded: false,
            logged: Vec::new(),
            counts: Counts::default(),
            terminals: Vec::new(),
            truncated: false,
            instances: Vec::new(),
        }
    }

    fn text(content: &impl Json) -> String {
        let mut text = Vec::new();
        content.write_to(&mut text);
        let parsed: serde_json::Value = serde_json::from_slice(&text).expect("it is JSON");
        assert!(parsed.is_object());
        String::from_utf8(text).expect("it is a text")
    }
}
