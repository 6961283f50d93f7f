//! Lists in pages: members of topics, and users with a connection.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::request::Parts;
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::ser::{Serialize, SerializeMap, Serializer};
use switchboard_core::config::Config;
use switchboard_core::id::UserId;
use switchboard_core::message::{
    Action, Audience, ConnectionInfo, Connections, FollowerStand, InstanceOutcome, ListOrder,
    Listed, Push, PushedBy, Receipt,
};
use switchboard_core::position::Position;
use switchboard_driver::{new_push_id, query};

use super::error::ApiError;
use super::parameter::{number, once};
use super::reply::{self, Item, List, json};
use super::request::{self, Known};
use super::{Call, PATIENCE, SNAPSHOTS, in_time};

/// Names in a page, unless the caller says otherwise.
const PAGE: u32 = 100;

/// Users whose connections are asked for at a time: a request leaves room in an inbox for others.
const AT_ONCE: usize = 32;

/// Which page of a list is asked for.
pub(super) struct Asked {
    pub(super) order: ListOrder,
    pub(super) limit: u32,
    pub(super) deadline: Duration,
}

impl Asked {
    /// Of terminals.
    ///
    /// # Errors
    ///
    /// If a parameter is unknown, given twice, or cannot be read.
    pub(super) fn members(parts: &Parts) -> Result<Self, ApiError> {
        let query = Query::read(parts, Known::Members)?;
        let after = query
            .after
            .as_deref()
            .map(request::connection)
            .transpose()?;
        Ok(query.asks(ListOrder::Connections { after }))
    }

    /// Of users.
    ///
    /// # Errors
    ///
    /// As of members; or if it is not about those with a connection, since others are not known.
    fn users(parts: &Parts) -> Result<Self, ApiError> {
        let query = Query::read(parts, Known::Users)?;
        if query.online.as_deref() != Some("true") {
            return Err(ApiError::OnlineUsers);
        }
        let after = query.after.as_deref().map(UserId::new).transpose()?;
        Ok(query.asks(ListOrder::Users { after }))
    }
}

/// A query as it was read.
#[derive(Default)]
struct Query {
    after: Option<String>,
    limit: Option<u32>,
    online: Option<String>,
    deadline: Option<Duration>,
}

impl Query {
    fn read(parts: &Parts, known: Known) -> Result<Self, ApiError> {
        let mut read = Self::default();
        for pair in query::pairs(parts.uri.query()) {
            let (name, value) = pair.map_err(ApiError::BadQuery)?;
            match (name.as_ref(), known) {
                ("after", _) => once("after", &mut read.after, value.into_owned())?,
                ("limit", _) => number("limit", &value, &mut read.limit)?,
                ("deadline", _) => {
                    once("deadline", &mut read.deadline, request::deadline(&value)?)?;
                }
                ("online", Known::Users) => {
                    once("online", &mut read.online, value.into_owned())?;
                }
                _ => return Err(request::unknown(&name, known)),
            }
        }
        Ok(read)
    }

    fn asks(self, order: ListOrder) -> Asked {
        Asked {
            order,
            limit: self.limit.unwrap_or(PAGE),
            deadline: self.deadline.unwrap_or(Config::DEADLINE_DEFAULT),
        }
    }
}

impl Call<'_> {
    /// Has terminals listed by the instances that they are at.
    pub(super) async fn listed<T: Future<Output = ()>>(
        self,
        to: Audience,
        Asked {
            order,
            limit,
            deadline,
        }: Asked,
        sleep: impl Fn(Duration) -> T,
    ) -> Result<Receipt, ApiError> {
        let push = Push {
            id: new_push_id(),
            to,
            action: Action::List { order, limit },
            deadline,
            durable: None,
            by: PushedBy::Application,
        };
        let late = sleep(deadline + PATIENCE);
        in_time(self.server.push(push), late).await
    }

    /// Users with a connection, in pages.
    pub(super) async fn users<T: Future<Output = ()>>(
        self,
        parts: &Parts,
        sleep: impl Fn(Duration) -> T,
    ) -> Result<Response<Full<Bytes>>, ApiError> {
        let asked = Asked::users(parts)?;
        let limit = asked.limit;
        let receipt = self.listed(Audience::Everyone, asked, sleep).await?;
        let receipt = &receipt;
        Ok(json(StatusCode::OK, &Users { receipt, limit }))
    }

    /// The connections of a user, with where those stand that follow its log.
    pub(super) async fn followed<T: Future<Output = ()>>(
        self,
        user: UserId,
        sleep: impl Fn(Duration) -> T,
    ) -> Result<Response<Full<Bytes>>, ApiError> {
        let others = async { sleep(SNAPSHOTS).await };
        let connections = self.server.connections_until(user.clone(), others);
        let connections = in_time(connections, sleep(self.question())).await?;
        let asked = Asked {
            order: ListOrder::Followers { user },
            limit: Action::LIST_MAX,
            deadline: SNAPSHOTS,
        };
        let stands = self.listed(Audience::Everyone, asked, sleep).await?;
        let connections = &connections;
        Ok(json(
            StatusCode::OK,
            &Followed {
                connections,
                stands: &stands,
            },
        ))
    }

    /// The connections of several users.
    pub(super) async fn connections_of<T: Future<Output = ()>>(
        self,
        users: Vec<UserId>,
        sleep: impl Fn(Duration) -> T,
    ) -> Result<Response<Full<Bytes>>, ApiError> {
        let sleep = &sleep;
        let connections = async |user: UserId| {
            let others = async { sleep(SNAPSHOTS).await };
            let asked = self.server.connections_until(user.clone(), others);
            Ok((user, asked.await?))
        };
        let answers = stream::iter(users).map(connections);
        let answers = answers.buffered(AT_ONCE).try_collect();
        let connections: Vec<(UserId, Connections)> =
            in_time(answers, sleep(self.question())).await?;
        Ok(json(StatusCode::OK, &ConnectionsByUser(&connections)))
    }
}

/// How many members a topic has, by instance, and where its log stands.
pub(super) struct TopicState<'a> {
    pub(super) receipt: &'a Receipt,
    /// Where it stands; or that there is no log. `None`: that is not known.
    pub(super) head: Option<Option<Position>>,
}

/// A page of the members of a topic.
pub(super) struct Members<'a> {
    pub(super) receipt: &'a Receipt,
    pub(super) limit: u32,
}

/// A page of users.
struct Users<'a> {
    receipt: &'a Receipt,
    limit: u32,
}

/// Users with their connections.
struct ConnectionsByUser<'a>(&'a [(UserId, Connections)]);

/// The connections of a user, with where they stand in its log.
struct Followed<'a> {
    connections: &'a Connections,
    stands: &'a Receipt,
}

/// One of them, which may not follow the log.
struct FollowedConnection<'a>(&'a ConnectionInfo, Option<&'a FollowerStand>);

/// Where it stands.
struct Stand<'a>(&'a FollowerStand);

/// What an instance counted.
struct Counted<'a>(&'a InstanceOutcome);

impl Serialize for TopicState<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { receipt, head } = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("degraded", &(receipt.degraded || head.is_none()))?;
        map.serialize_entry("count", &receipt.counts.written)?;
        match head {
            Some(head) => map.serialize_entry("head", head)?,
            // As a receipt says it.
            None => map.serialize_entry("head", "unknown")?,
        }
        map.serialize_entry("instances", &List(&counted(receipt)))?;
        map.end()
    }
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let receipt = self.receipt;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("degraded", &receipt.degraded)?;
        map.serialize_entry("count", &receipt.counts.written)?;
        map.serialize_entry("members", &List(&receipt.listed))?;
        let next = next(receipt, self.limit).and_then(|last| last.connection);
        map.serialize_entry("next", &next.map(|connection| connection.uuid()))?;
        map.serialize_entry("instances", &List(&counted(receipt)))?;
        map.end()
    }
}

impl Serialize for Users<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let receipt = self.receipt;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("degraded", &receipt.degraded)?;
        let users: Vec<_> = receipt.listed.iter().map(|one| one.user.as_str()).collect();
        map.serialize_entry("users", &users)?;
        let next = next(receipt, self.limit).map(|last| last.user.as_str());
        map.serialize_entry("next", &next)?;
        map.serialize_entry("instances", &List(&counted(receipt)))?;
        map.end()
    }
}

/// The last of a page that is full: more may come behind it.
fn next(receipt: &Receipt, limit: u32) -> Option<&Listed> {
    let is_full = receipt.listed.len() >= limit as usize;
    is_full.then(|| receipt.listed.last()).flatten()
}

fn counted(receipt: &Receipt) -> Vec<Counted<'_>> {
    receipt.instances.iter().map(Counted).collect()
}

impl Serialize for Item<'_, Listed> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("user", self.0.user.as_str())?;
        if let Some(connection) = self.0.connection {
            map.serialize_entry("connection", &connection.uuid())?;
        }
        map.end()
    }
}

impl Serialize for Item<'_, Counted<'_>> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Counted(outcome) = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("instance", &format_args!("{}", outcome.instance))?;
        map.serialize_entry("answered", &outcome.answered)?;
        map.serialize_entry("count", &outcome.counts.written)?;
        map.end()
    }
}

impl Serialize for Followed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            connections,
            stands,
        } = self;
        let stand = |connection| {
            let mut listed = stands.listed.iter();
            let found = listed.find(|one| one.connection == Some(connection));
            found.and_then(|one| one.follows.as_ref())
        };
        let all = connections.connections.iter();
        let all: Vec<_> = all
            .map(|info| FollowedConnection(info, stand(info.connection)))
            .collect();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("degraded", &(connections.degraded || stands.degraded))?;
        map.serialize_entry("connections", &List(&all))?;
        map.end()
    }
}

impl Serialize for Item<'_, FollowedConnection<'_>> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let FollowedConnection(info, stand) = self.0;
        let mut map = serializer.serialize_map(None)?;
        reply::connection(&mut map, info)?;
        map.serialize_entry("log", &stand.map(Stand))?;
        map.end()
    }
}

impl Serialize for Stand<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("at", &self.0.at)?;
        map.serialize_entry("sent", &self.0.sent)?;
        map.serialize_entry("acked", &self.0.acked)?;
        map.end()
    }
}

impl Serialize for ConnectionsByUser<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let degraded = self.0.iter().any(|(_, connections)| connections.degraded);
        map.serialize_entry("degraded", &degraded)?;
        map.serialize_entry("users", &List(self.0))?;
        map.end()
    }
}

impl Serialize for Item<'_, (UserId, Connections)> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (user, list) = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("user", user.as_str())?;
        map.serialize_entry("connections", &List(&list.connections))?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use switchboard_core::id::{ConnectionId, InstanceId, PushId};
    use switchboard_core::message::Counts;
    use switchboard_core::time::WallTime;
    use uuid::Uuid;

    use super::*;

    const UUID: &str = "00000000-0000-0000-0000-000000000002";

    fn parts(query: &str) -> Parts {
        let request = Request::get(format!("/v1/users?{query}")).body(());
        request.expect("a request").into_parts().0
    }

    fn receipt() -> Receipt {
        Receipt {
            push: PushId::new(Uuid::nil()),
            degraded: true,
            kept: None,
            logged: Vec::new(),
            counts: Counts {
                written: 5,
                ..Counts::default()
            },
            terminals: Vec::new(),
            truncated: false,
            listed: Vec::new(),
            instances: Vec::new(),
        }
    }

    #[test]
    fn connections_that_follow_say_where_they_stand() {
        let id = |number| ConnectionId::new(Uuid::from_u128(number));
        let info = |number| ConnectionInfo {
            connection: id(number),
            instance: InstanceId::new(10),
            connected: WallTime::from_millis(0),
        };
        let connections = &Connections {
            degraded: false,
            connections: vec![info(2), info(3)],
        };
        let listed = vec![Listed {
            connection: Some(id(3)),
            user: UserId::new("ann").expect("a user"),
            follows: Some(FollowerStand {
                at: Position::new(1, 2),
                sent: 5,
                acked: 4,
            }),
        }];
        let stands = &Receipt {
            listed,
            ..receipt()
        };
        let all = serde_json::to_value(Followed {
            connections,
            stands,
        })
        .expect("it is JSON");
        assert_eq!(all["degraded"], stands.degraded);
        assert_eq!(all["connections"][0]["log"], serde_json::Value::Null);
        let stand = serde_json::json!({"at": "0000000000000100000002", "sent": 5, "acked": 4});
        assert_eq!(all["connections"][1]["log"], stand);
        assert_eq!(all["connections"][1]["connection"], UUID.replace('2', "3"));
    }

    #[test]
    fn a_page_begins_behind_the_last_of_the_one_before() {
        let first = Asked::members(&parts("")).expect("the first page");
        assert_eq!(first.order, ListOrder::Connections { after: None });
        assert_eq!(
            (first.limit, first.deadline),
            (100, Config::DEADLINE_DEFAULT)
        );
        let asked = format!("after={UUID}&limit=7&deadline=1s");
        let next = Asked::members(&parts(&asked)).expect("a page");
        let after = Some(ConnectionId::new(Uuid::from_u128(2)));
        assert_eq!(next.order, ListOrder::Connections { after });
        assert_eq!((next.limit, next.deadline), (7, Duration::from_secs(1)));
        let users = Asked::users(&parts("online=true&after=b%C3%B6b")).expect("a page");
        let after = Some(UserId::new("b\u{f6}b").expect("a user"));
        assert_eq!(users.order, ListOrder::Users { after });
    }

    #[test]
    fn a_page_that_cannot_be_asked_for_is_refused() {
        for (query, code) in [
            ("after=ann", "bad_connection"),
            ("limit=-1", "bad_limit"),
            ("limit=7&limit=7", "bad_query"),
            ("online=true", "bad_query"),
            ("deadline=1h", "bad_deadline"),
        ] {
            let error = Asked::members(&parts(query)).err().expect(query);
            assert_eq!(error.status().1, code, "{query}");
        }
        for (query, code) in [
            ("", "bad_query"),
            ("online=false", "bad_query"),
            ("online=true&after=", "bad_user"),
        ] {
            let error = Asked::users(&parts(query)).err().expect(query);
            assert_eq!(error.status().1, code, "{query}");
        }
    }

    #[test]
    fn a_page_says_where_the_next_one_begins_and_who_is_silent() {
        let instance = |id, answered, written| InstanceOutcome {
            instance: InstanceId::new(id),
            answered,
            counts: Counts {
                written,
                ..Counts::default()
            },
        };
        let receipt = Receipt {
            listed: vec![Listed {
                connection: Some(ConnectionId::new(Uuid::from_u128(2))),
                user: UserId::new("ann").expect("a user"),
                follows: None,
            }],
            instances: vec![instance(10, true, 5), instance(11, false, 0)],
            ..receipt()
        };
        let receipt = &receipt;
        let instances = r#""instances":[{"instance":"000000000000000a","answered":true,"count":5},{"instance":"000000000000000b","answered":false,"count":0}]"#;
        let member = format!(r#""members":[{{"user":"ann","connection":"{UUID}"}}]"#);
        for (limit, next) in [(1, format!("\"{UUID}\"")), (2, "null".to_owned())] {
            let expected =
                format!(r#"{{"degraded":true,"count":5,{member},"next":{next},{instances}}}"#);
            assert_eq!(text(&Members { receipt, limit }), expected);
        }
        let expected = format!(r#"{{"degraded":true,"users":["ann"],"next":"ann",{instances}}}"#);
        assert_eq!(text(&Users { receipt, limit: 1 }), expected);
    }

    #[test]
    fn a_topic_says_where_its_log_stands_or_that_this_is_not_known() {
        for (is_degraded, head, expected) in [
            (
                false,
                Some(Position::new(1, 2)),
                r#"false,"count":5,"head":"0000000000000100000002""#,
            ),
            (false, Some(None), r#"false,"count":5,"head":null"#),
            (true, Some(None), r#"true,"count":5,"head":null"#),
            (false, None, r#"true,"count":5,"head":"unknown""#),
        ] {
            let receipt = &Receipt {
                degraded: is_degraded,
                ..receipt()
            };
            let state = TopicState { receipt, head };
            let expected = format!(r#"{{"degraded":{expected},"instances":[]}}"#);
            assert_eq!(text(&state), expected);
        }
    }

    fn text(content: &impl Serialize) -> String {
        serde_json::to_string(content).expect("it can be written")
    }
}
