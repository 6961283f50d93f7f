//! Receipts and other answers as JSON.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use switchboard_core::channel::Channel;
use switchboard_core::directory::LeaseState;
use switchboard_core::message::{
    ChannelLog, ConnectionInfo, Connections, Counts, InLog, InstanceInfo, InstanceOutcome, Receipt,
    TerminalOutcome,
};
use switchboard_core::time::WallTime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use switchboard_driver::{SilentInstance, Snapshot};

/// A receipt, terminal by terminal.
pub(crate) struct ByTerminal<'a>(pub(crate) &'a Receipt);

/// A receipt, instance by instance.
pub(crate) struct ByInstance<'a>(pub(crate) &'a Receipt);

/// The connections of a user.
pub(crate) struct ConnectionList<'a>(pub(crate) &'a Connections);

/// The instances of a cluster.
pub(crate) struct InstanceList<'a>(pub(crate) &'a [InstanceInfo]);

/// Whether a balancer should send terminals here, and why not.
pub(crate) struct Readiness<'a> {
    pub(crate) ready: bool,
    /// Why nobody can be let in yet, if that is so.
    pub(crate) logins: Option<&'a str>,
    pub(crate) instances: &'a [Snapshot],
    /// Those that did not answer.
    pub(crate) silent: &'a [SilentInstance],
}

/// An answer with a JSON body.
pub(crate) fn json(status: StatusCode, content: &impl Serialize) -> Response<Full<Bytes>> {
    /// What a receipt for a few terminals needs.
    const CAPACITY: usize = 512;
    let mut body = Vec::with_capacity(CAPACITY);
    serde_json::to_writer(&mut body, content).expect("a vector takes all, and all keys are texts");
    // For those who read it in a shell.
    body.push(b'\n');
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A receipt as an answer, terminal by terminal.
pub(super) fn terminals(receipt: &Receipt) -> Response<Full<Bytes>> {
    json(StatusCode::OK, &ByTerminal(receipt))
}

/// An answer with a body of this kind.
pub(super) fn text(kind: &'static str, content: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(content.into()));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

impl Serialize for ByTerminal<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = head(self.0, serializer)?;
        map.serialize_entry("terminals", &List(&self.0.terminals))?;
        if self.0.truncated {
            map.serialize_entry("truncated", &true)?;
        }
        map.end()
    }
}

impl Serialize for ByInstance<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = head(self.0, serializer)?;
        map.serialize_entry("instances", &List(&self.0.instances))?;
        map.end()
    }
}

impl Serialize for ConnectionList<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("degraded", &self.0.degraded)?;
        map.serialize_entry("connections", &List(&self.0.connections))?;
        map.end()
    }
}

impl Serialize for InstanceList<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("instances", &List(self.0))?;
        map.end()
    }
}

impl Serialize for Readiness<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("ready", &self.ready)?;
        if let Some(reason) = self.reason() {
            map.serialize_entry("reason", &reason)?;
        }
        map.serialize_entry("instances", &List(self.instances))?;
        map.end()
    }
}

impl Readiness<'_> {
    fn reason(&self) -> Option<Cow<'_, str>> {
        if self.ready {
            return None;
        }
        if let Some(SilentInstance { instance, .. }) = self.silent.first() {
            return Some(format!("instance {instance} does not answer").into());
        }
        if let Some(why) = self.logins {
            return Some(why.into());
        }
        let unready = self.instances.iter().find(|instance| !instance.ready);
        Some(Cow::Borrowed(match unready {
            Some(instance) => why(instance),
            None => "the server starts or stops",
        }))
    }
}

fn why(instance: &Snapshot) -> &'static str {
    match (instance.gauges.directory, instance.gauges.epoch) {
        (true, _) => "an instance takes no terminals: it starts, settles, drains or is full",
        (false, 0) => {
            "an instance has no lease: the directory (Redis) is away, or it has just started"
        }
        (false, _) => {
            "an instance takes no terminals: it has drained, or is cut off from the directory (Redis)"
        }
    }
}

fn head<S: Serializer>(receipt: &Receipt, serializer: S) -> Result<S::SerializeMap, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    map.serialize_entry("push", &receipt.push.uuid())?;
    map.serialize_entry("degraded", &receipt.degraded)?;
    match receipt.logged.as_slice() {
        [] => {}
        [one] => map.serialize_entry("logged", &InLogText(one.logged))?,
        several => map.serialize_entry("logged", &ByName(several))?,
    }
    match receipt.logged.as_slice() {
        logs if logs.iter().all(|log| log.replicated.is_none()) => {}
        [one] => map.serialize_entry("replicated", &one.replicated)?,
        several => map.serialize_entry("replicated", &ReplicatedByName(several))?,
    }
    if let Some(kept) = receipt.kept {
        map.serialize_entry("kept", &kept)?;
    }
    counts(&mut map, &receipt.counts)?;
    Ok(map)
}

/// A position, or why there is none.
struct InLogText(InLog);

impl Serialize for InLogText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            InLog::At(position) => serializer.collect_str(&position),
            InLog::Expired => serializer.serialize_str("expired"),
            InLog::Unknown => serializer.serialize_str("unknown"),
            InLog::Refused => serializer.serialize_str("refused"),
            InLog::Unlogged => serializer.serialize_none(),
        }
    }
}

/// The logs of several users, or of topics, by their names.
struct ByName<'a>(&'a [ChannelLog]);

impl Serialize for ByName<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let logs = self.0.iter();
        serializer.collect_map(logs.map(|log| (name(&log.channel), InLogText(log.logged))))
    }
}

/// Whether a replica has the records of several users, by their names. What is no record is left out.
struct ReplicatedByName<'a>(&'a [ChannelLog]);

impl Serialize for ReplicatedByName<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let records = self.0.iter();
        let records = records.filter_map(|log| Some((name(&log.channel), log.replicated?)));
        serializer.collect_map(records)
    }
}

/// A push has logs of one kind.
fn name(channel: &Channel) -> &str {
    match channel {
        Channel::User(user) => user.as_str(),
        Channel::Topic(topic) => topic.as_str(),
    }
}

fn counts<M: SerializeMap>(map: &mut M, counts: &Counts) -> Result<(), M::Error> {
    map.serialize_entry("written", &counts.written)?;
    map.serialize_entry("queued", &counts.queued)?;
    if counts.kept > 0 {
        map.serialize_entry("kept", &counts.kept)?;
    }
    if counts.acked > 0 {
        map.serialize_entry("acked", &counts.acked)?;
    }
    map.serialize_entry("failed", &counts.failed())
}

/// A list of what each has a form of its own here.
pub(super) struct List<'a, T>(pub(super) &'a [T]);

/// One of them.
pub(super) struct Item<'a, T>(pub(super) &'a T);

impl<'a, T> Serialize for List<'a, T>
where
    Item<'a, T>: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for item in self.0 {
            list.serialize_element(&Item(item))?;
        }
        list.end()
    }
}

impl Serialize for Item<'_, TerminalOutcome> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("user", self.0.user.as_str())?;
        map.serialize_entry("connection", &self.0.connection.uuid())?;
        map.serialize_entry("outcome", self.0.outcome.name())?;
        map.end()
    }
}

impl Serialize for Item<'_, InstanceOutcome> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("instance", &format_args!("{}", self.0.instance))?;
        map.serialize_entry("answered", &self.0.answered)?;
        counts(&mut map, &self.0.counts)?;
        map.end()
    }
}

impl Serialize for Item<'_, ConnectionInfo> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        connection(&mut map, self.0)?;
        map.end()
    }
}

/// What is said of a connection.
pub(super) fn connection<M: SerializeMap>(
    map: &mut M,
    info: &ConnectionInfo,
) -> Result<(), M::Error> {
    map.serialize_entry("connection", &info.connection.uuid())?;
    map.serialize_entry("instance", &format_args!("{}", info.instance))?;
    map.serialize_entry("connected", &calendar(info.connected))
}

impl Serialize for Item<'_, InstanceInfo> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("instance", &format_args!("{}", self.0.instance))?;
        map.serialize_entry("address", &self.0.lease.address)?;
        map.serialize_entry("state", state(self.0.lease.state))?;
        map.serialize_entry("epoch", &self.0.lease.epoch.get())?;
        map.serialize_entry("connections", &self.0.load.connections)?;
        map.serialize_entry("pushes", &self.0.load.pushes)?;
        map.serialize_entry("this", &self.0.this)?;
        map.end()
    }
}

impl Serialize for Item<'_, Snapshot> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("instance", &format_args!("{}", self.0.instance))?;
        map.serialize_entry("ready", &self.0.ready)?;
        if !self.0.ready {
            map.serialize_entry("reason", why(self.0))?;
        }
        map.serialize_entry("directory", &self.0.gauges.directory)?;
        map.serialize_entry("connections", &self.0.gauges.connections)?;
        map.end()
    }
}

const fn state(state: LeaseState) -> &'static str {
    match state {
        LeaseState::Up => "up",
        LeaseState::Settling => "settling",
        LeaseState::Draining => "draining",
        LeaseState::Released => "released",
    }
}

/// A moment as RFC 3339 writes it, in UTC; `None` if it is beyond the calendar.
fn calendar(moment: WallTime) -> Option<String> {
    let nanos = i128::from(moment.as_millis()) * 1_000_000;
    let date = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?;
    date.format(&Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use switchboard_core::directory::{Lease, Load};
    use switchboard_core::id::{ConnectionId, Epoch, InstanceId, PushId, UserId};
    use switchboard_core::message::Outcome;
    use switchboard_core::stats::{Gauges, Stats};
    use uuid::Uuid;

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

    #[test]
    fn connections_and_instances_are_listed() {
        let connections = Connections {
            degraded: false,
            connections: vec![ConnectionInfo {
                connection: ConnectionId::new(Uuid::from_u128(2)),
                instance: InstanceId::new(10),
                connected: WallTime::from_millis(1_700_000_000_123),
            }],
        };
        let expected = r#"{"degraded":false,"connections":[{"connection":"00000000-0000-0000-0000-000000000002","instance":"000000000000000a","connected":"2023-11-14T22:13:20.123Z"}]}"#;
        assert_eq!(text(&ConnectionList(&connections)), expected);

        let instances = [InstanceInfo {
            instance: InstanceId::new(10),
            lease: Lease {
                epoch: Epoch::new(2),
                floor: Epoch::new(2),
                beat: 7,
                state: LeaseState::Settling,
                address: "10.0.0.7:8082".to_owned(),
            },
            load: Load {
                connections: 5,
                pushes: 6,
            },
            this: true,
        }];
        let expected = r#"{"instances":[{"instance":"000000000000000a","address":"10.0.0.7:8082","state":"settling","epoch":2,"connections":5,"pushes":6,"this":true}]}"#;
        assert_eq!(text(&InstanceList(&instances)), expected);
    }

    /// H54: the answer to whether the server is ready says why it is not.
    #[test]
    fn readiness_says_why_not() {
        let snapshot = |ready, directory| Snapshot {
            instance: InstanceId::new(10),
            stats: Stats::default(),
            gauges: Gauges {
                directory,
                ..Gauges::default()
            },
            ready,
            transports: [("websocket", 0), ("event_stream", 0), ("http_stream", 0)],
        };
        let ready = Readiness {
            ready: true,
            logins: None,
            instances: &[snapshot(true, true)],
            silent: &[],
        };
        let expected = r#"{"ready":true,"instances":[{"instance":"000000000000000a","ready":true,"directory":true,"connections":0}]}"#;
        assert_eq!(text(&ready), expected);
        let mut drained = snapshot(false, false);
        drained.gauges.epoch = 3;
        for (instances, word) in [
            (
                vec![snapshot(true, true), snapshot(false, false)],
                "has no lease",
            ),
            (vec![snapshot(true, true), drained], "has drained"),
            (vec![snapshot(false, true)], "drains"),
            (Vec::new(), "stops"),
        ] {
            let unready = Readiness {
                ready: false,
                logins: None,
                instances: &instances,
                silent: &[],
            };
            let reason = unready.reason().expect("it is not ready");
            assert!(reason.contains(word), "{reason}");
        }
        let unready = Readiness {
            ready: false,
            logins: Some("no key"),
            instances: &[snapshot(false, true)],
            silent: &[],
        };
        assert_eq!(unready.reason().as_deref(), Some("no key"));
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

    fn text(content: &impl Serialize) -> String {
        serde_json::to_string(content).expect("it can be written")
    }
}
