//! Answers as JSON, but for [receipts](super::receipt).

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use switchboard_core::directory::LeaseState;
use switchboard_core::message::{ConnectionInfo, Connections, InstanceInfo, Receipt};
use switchboard_core::time::WallTime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use switchboard_driver::{SilentInstance, Snapshot};

use super::receipt::{ByTerminal, Json};

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
pub(crate) fn json(status: StatusCode, content: &impl Json) -> Response<Full<Bytes>> {
    /// What a receipt for a few terminals needs.
    const CAPACITY: usize = 512;
    let mut body = Vec::with_capacity(CAPACITY);
    content.write_to(&mut body);
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
    use switchboard_core::id::{ConnectionId, Epoch, InstanceId};
    use switchboard_core::stats::{Gauges, Stats};
    use uuid::Uuid;

    use super::*;

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

    fn text(content: &impl Serialize) -> String {
        serde_json::to_string(content).expect("it can be written")
    }
}
