//! The HTTP API, as a publisher uses it.

use std::io;
use std::net::SocketAddr;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::http::{HttpStream, Request, Response, encode};

/// One server's API. Each request has a TCP connection of its own; see [`Publisher`] for the
/// opposite.
#[derive(Clone, Debug)]
pub struct Api {
    address: SocketAddr,
    key: Option<String>,
}

impl Api {
    /// The API at an address.
    pub const fn new(address: SocketAddr) -> Self {
        Self { address, key: None }
    }

    /// The same, with an API key.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self {
            address: self.address,
            key: Some(key.to_owned()),
        }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a request.
    ///
    /// # Errors
    ///
    /// If the server is not there, or ends the connection without an answer.
    pub fn try_send(&self, request: Request) -> io::Result<Response> {
        let mut stream = HttpStream::open(self.address)?;
        stream.send(&self.authorized(request).header("Connection", "close"))?;
        stream.receive()
    }

    /// Sends a request.
    ///
    /// # Panics
    ///
    /// If there is no answer.
    #[track_caller]
    pub fn send(&self, request: Request) -> Response {
        self.try_send(request).expect("the API answers")
    }

    /// A `GET`.
    ///
    /// # Panics
    ///
    /// If there is no answer.
    #[track_caller]
    pub fn get(&self, target: &str) -> Response {
        self.send(Request::new("GET", target))
    }

    /// Pushes a text to a user.
    ///
    /// # Panics
    ///
    /// If it is refused.
    #[track_caller]
    pub fn push(&self, user: &str, text: &str) -> Receipt {
        accepted(&self.send(push(user, text)))
    }

    /// Sends a request that a receipt answers.
    ///
    /// # Panics
    ///
    /// If it is refused.
    #[track_caller]
    pub fn receipt(&self, request: Request) -> Receipt {
        accepted(&self.send(request))
    }

    /// Pushes a text to several users.
    ///
    /// # Panics
    ///
    /// If it is refused.
    #[track_caller]
    pub fn push_users(&self, users: &[&str], text: &str) -> Receipt {
        self.receipt(json_post(
            "/v1/push",
            &json!({"users": users, "text": text}),
        ))
    }

    /// Pushes a text to everyone.
    ///
    /// # Panics
    ///
    /// If it is refused.
    #[track_caller]
    pub fn broadcast(&self, text: &str) -> Receipt {
        self.receipt(Request::new("POST", "/v1/broadcast").body(text))
    }

    /// Pushes a text to a topic.
    ///
    /// # Panics
    ///
    /// If it is refused.
    #[track_caller]
    pub fn push_topic(&self, topic: &str, text: &str) -> Receipt {
        let target = format!("/v1/topics/{}/push", encode(topic));
        self.receipt(Request::new("POST", target).body(text))
    }

    /// Has a user join a topic, with terminals that connect later as well.
    ///
    /// # Panics
    ///
    /// If it is refused.
    #[track_caller]
    pub fn join(&self, topic: &str, user: &str) -> Membership {
        accepted(&self.send(Request::new("PUT", membership(topic, user))))
    }

    /// Has a user leave a topic, with terminals that connect later as well.
    ///
    /// # Panics
    ///
    /// If it is refused.
    #[track_caller]
    pub fn leave(&self, topic: &str, user: &str) -> Membership {
        accepted(&self.send(Request::new("DELETE", membership(topic, user))))
    }

    /// How many members a topic has, and where its log stands.
    ///
    /// # Panics
    ///
    /// If the answer is another one.
    #[track_caller]
    pub fn topic(&self, topic: &str) -> TopicState {
        accepted(&self.get(&format!("/v1/topics/{}", encode(topic))))
    }

    /// The members of a topic; `query` says which of them, as `limit=10`.
    ///
    /// # Panics
    ///
    /// If it is refused.
    #[track_caller]
    pub fn members(&self, topic: &str, query: &str) -> Members {
        let topic = encode(topic);
        accepted(&self.get(&format!("/v1/topics/{topic}/members?{query}")))
    }

    /// A user's connections.
    ///
    /// # Panics
    ///
    /// If it is refused.
    #[track_caller]
    pub fn connections(&self, user: &str) -> Connections {
        accepted(&self.get(&format!("/v1/users/{}/connections", encode(user))))
    }

    /// The connections of a user, with where they stand in the log of the user.
    ///
    /// # Panics
    ///
    /// If it is refused.
    #[track_caller]
    pub fn connections_in_log(&self, user: &str) -> Value {
        let target = format!("/v1/users/{}/connections?log=true", encode(user));
        accepted(&self.get(&target))
    }

    /// Ends all connections of a user.
    ///
    /// # Panics
    ///
    /// If it is refused.
    #[track_caller]
    pub fn kick(&self, user: &str) -> Receipt {
        let target = format!("/v1/users/{}/connections", encode(user));
        self.receipt(Request::new("DELETE", target))
    }

    /// Ends one connection of a user.
    ///
    /// # Panics
    ///
    /// If it is refused.
    #[track_caller]
    pub fn kick_one(&self, user: &str, connection: Uuid) -> Receipt {
        let target = format!("/v1/users/{}/connections/{connection}", encode(user));
        self.receipt(Request::new("DELETE", target))
    }

    /// What is kept of a user's log; `query` says which records, as `after=POSITION`.
    ///
    /// # Panics
    ///
    /// If it is refused.
    #[track_caller]
    pub fn log(&self, user: &str, query: &str) -> LogPage {
        accepted(&self.get(&format!("/v1/users/{}/log?{query}", encode(user))))
    }

    /// Records of a topic's log.
    ///
    /// # Panics
    ///
    /// If they are refused.
    #[track_caller]
    pub fn topic_log(&self, topic: &str) -> LogPage {
        accepted(&self.get(&format!("/v1/topics/{}/log", encode(topic))))
    }

    /// All instances that this server sees.
    ///
    /// # Panics
    ///
    /// If it is refused.
    #[track_caller]
    pub fn instances(&self) -> Vec<InstanceInfo> {
        let answer: Instances = accepted(&self.get("/v1/instances"));
        answer.instances
    }

    /// The sum of a metric over all its labels.
    ///
    /// # Panics
    ///
    /// If the server does not report it.
    #[track_caller]
    pub fn metric(&self, name: &str) -> f64 {
        self.metric_of(name, "")
    }

    /// The sum of a metric over the samples with this label, as `code="no_token"`.
    ///
    /// # Panics
    ///
    /// If the server does not report it.
    #[track_caller]
    pub fn metric_of(&self, name: &str, label: &str) -> f64 {
        let text = self.get("/metrics").text();
        let values: Vec<f64> = text
            .lines()
            .filter(|line| line.contains(label))
            .filter_map(|line| {
                let rest = line.strip_prefix(name)?;
                let is_whole_name = rest.starts_with([' ', '{']);
                is_whole_name.then(|| rest.rsplit(' ').next()?.parse().ok())?
            })
            .collect();
        assert!(!values.is_empty(), "no metric {name} in\n{text}");
        values.iter().sum()
    }

    /// Whether `/health/ready` answers 200.
    pub fn is_ready(&self) -> bool {
        self.try_send(Request::new("GET", "/health/ready"))
            .is_ok_and(|response| response.status == 200)
    }

    /// A publisher on one connection.
    ///
    /// # Panics
    ///
    /// If the server is not there.
    #[track_caller]
    pub fn publisher(&self) -> Publisher {
        self.try_publisher().expect("the API listens")
    }

    /// A publisher on one connection.
    ///
    /// # Errors
    ///
    /// If the server is not there.
    pub fn try_publisher(&self) -> io::Result<Publisher> {
        Ok(Publisher {
            stream: HttpStream::open(self.address)?,
            api: self.clone(),
        })
    }

    fn authorized(&self, request: Request) -> Request {
        match &self.key {
            Some(key) => request.header("Authorization", format!("Bearer {key}")),
            None => request,
        }
    }
}

/// A publisher that keeps its HTTP connection, and may send requests before earlier ones are
/// answered.
#[derive(Debug)]
pub struct Publisher {
    stream: HttpStream,
    api: Api,
}

impl Publisher {
    /// Pushes a text to a user and waits for the receipt.
    ///
    /// # Panics
    ///
    /// If it is refused, or there is no answer.
    #[track_caller]
    pub fn push(&mut self, user: &str, text: &str) -> Receipt {
        self.send(push(user, text));
        self.receipt()
    }

    /// Sends a request and waits for the answer, whatever it is.
    ///
    /// # Errors
    ///
    /// If the connection is broken.
    pub fn try_send(&mut self, request: Request) -> io::Result<Response> {
        self.stream.send(&self.api.authorized(request))?;
        self.stream.receive()
    }

    /// Sends a request without waiting for the answer.
    ///
    /// # Panics
    ///
    /// If the connection is broken.
    #[track_caller]
    pub fn send(&mut self, request: Request) {
        let request = self.api.authorized(request);
        self.stream.send(&request).expect("the connection lives");
    }

    /// Reads the next answer.
    ///
    /// # Panics
    ///
    /// If it is not a receipt.
    #[track_caller]
    pub fn receipt(&mut self) -> Receipt {
        accepted(&self.stream.receive().expect("the API answers"))
    }
}

/// The request of a push to a user.
pub fn push(user: &str, body: impl Into<Vec<u8>>) -> Request {
    Request::new("POST", format!("/v1/users/{}/push", encode(user))).body(body)
}

/// The path of a user as a member of a topic.
pub fn membership(topic: &str, user: &str) -> String {
    format!("/v1/topics/{}/users/{}", encode(topic), encode(user))
}

/// A request with a JSON body.
pub fn json_post(target: &str, body: &Value) -> Request {
    Request::new("POST", target)
        .header("Content-Type", "application/json")
        .body(body.to_string())
}

/// What became of a push.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Receipt {
    /// The id of the push, of the caller's or the server's choice.
    pub push: Uuid,
    /// Terminals may have been missed that the receipt does not name.
    pub degraded: bool,
    /// Terminals whose frame is with the operating system.
    pub written: u64,
    /// Terminals whose owner has the frame.
    pub queued: u64,
    /// Terminals that get the record by way of their log.
    #[serde(default)]
    pub kept: u64,
    /// Terminals that have confirmed it.
    #[serde(default)]
    pub acked: u64,
    /// Of a durable push: its position, or why there is none; of one to several users, by user.
    #[serde(default)]
    pub logged: Value,
    /// Of one that waits for a replica: whether that has the record; of one to several users, by user.
    #[serde(default)]
    pub replicated: Value,
    /// Terminals that got nothing.
    pub failed: u64,
    /// What became of each terminal, as many as a receipt lists.
    #[serde(default)]
    pub terminals: Vec<TerminalOutcome>,
    /// There are more than listed.
    #[serde(default)]
    pub truncated: bool,
    /// For a broadcast: the instances.
    #[serde(default)]
    pub instances: Vec<InstanceOutcome>,
}

impl Receipt {
    /// Terminals of all outcomes.
    pub const fn total(&self) -> u64 {
        self.written + self.queued + self.failed
    }

    /// The outcome at one terminal.
    pub fn outcome(&self, connection: Uuid) -> Option<&str> {
        self.terminals
            .iter()
            .find(|terminal| terminal.connection == connection)
            .map(|terminal| terminal.outcome.as_str())
    }

    /// The connections that it names, in order.
    pub fn connections(&self) -> Vec<Uuid> {
        let mut connections: Vec<_> = self.terminals.iter().map(|t| t.connection).collect();
        connections.sort_unstable();
        connections
    }

    /// Written to so many terminals, to no other and without a doubt.
    ///
    /// # Panics
    ///
    /// If it is otherwise.
    #[track_caller]
    pub fn expect_written(&self, terminals: u64) {
        let all = (self.written, self.queued, self.failed, self.degraded);
        assert_eq!(all, (terminals, 0, 0, false), "{self:?}");
    }
}

/// What became of a push at one terminal.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TerminalOutcome {
    /// The user that the terminal belongs to.
    pub user: String,
    /// The UUID of its connection, as in the terminal's hello.
    pub connection: Uuid,
    /// `written`, `acked`, `queued`, `kept`, `gone`, `overflow`, `too_large` or `unreachable`.
    pub outcome: String,
}

/// What became of a broadcast at one instance.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct InstanceOutcome {
    /// The id of the instance: sixteen hexadecimal digits.
    pub instance: String,
    /// Whether it answered.
    pub answered: bool,
    /// Terminals whose frame is with the operating system.
    pub written: u64,
    /// Terminals whose frame waits.
    pub queued: u64,
    /// Terminals that got nothing.
    pub failed: u64,
}

/// What became of a join or a leave.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Membership {
    /// Terminals may have been missed.
    pub degraded: bool,
    /// Whether it counts for terminals that connect later; nothing where it does not.
    pub kept: Option<bool>,
    /// Terminals that have joined or left.
    pub written: u64,
    /// Terminals that have not.
    pub failed: u64,
}

/// How many members a topic has, and where its log stands.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TopicState {
    /// Some members may be missing, or it is not known where the log stands.
    pub degraded: bool,
    /// How many members there are in all.
    pub count: u64,
    /// The position of the last record, or `unknown`; nothing, if there is no log.
    pub head: Option<String>,
    /// The instances that were asked.
    pub instances: Vec<Counted>,
}

/// A page of the members of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Members {
    /// Some may be missing.
    pub degraded: bool,
    /// How many there are in all.
    pub count: u64,
    /// Those of the page.
    pub members: Vec<Member>,
    /// The last of them, if there may be more.
    pub next: Option<Uuid>,
    /// The instances that were asked.
    pub instances: Vec<Counted>,
}

/// A terminal that is a member.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Member {
    /// The user that it belongs to.
    pub user: String,
    /// The UUID of its connection.
    pub connection: Uuid,
}

/// How many an instance counted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Counted {
    /// The id of the instance: sixteen hexadecimal digits.
    pub instance: String,
    /// Whether it answered.
    pub answered: bool,
    /// Its members, or users.
    pub count: u64,
}

/// Records of a user's log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LogPage {
    /// The position of the last record of the log.
    pub head: String,
    /// The position before the oldest record that is kept.
    pub base: String,
    /// The position before the first of these records; nothing if it is not known.
    pub after: Option<String>,
    /// Why it is not known.
    pub reason: Option<String>,
    /// There are more behind these.
    pub more: bool,
    /// The records.
    pub records: Vec<LogRecord>,
}

/// A record of a log: a push that was appended.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LogRecord {
    /// Where it stands.
    pub position: String,
    /// The id of the push.
    pub push: Uuid,
    /// What was pushed, if it is a text.
    pub text: Option<String>,
    /// What was pushed, if it is not.
    pub base64: Option<String>,
}

impl LogPage {
    /// The texts of the records.
    pub fn texts(&self) -> Vec<&str> {
        (self.records.iter())
            .filter_map(|record| record.text.as_deref())
            .collect()
    }
}

/// A user's connections.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Connections {
    /// Some may be missing.
    pub degraded: bool,
    /// Those that are known.
    pub connections: Vec<ConnectionInfo>,
}

impl Connections {
    /// Their UUIDs, in order.
    pub fn uuids(&self) -> Vec<Uuid> {
        let mut uuids: Vec<_> = self.connections.iter().map(|c| c.connection).collect();
        uuids.sort_unstable();
        uuids
    }
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ConnectionInfo {
    /// Its UUID.
    pub connection: Uuid,
    /// The id of the instance that holds it: sixteen hexadecimal digits.
    pub instance: String,
    /// When it connected, as RFC 3339 has it.
    pub connected: Value,
}

#[derive(Deserialize)]
struct Instances {
    instances: Vec<InstanceInfo>,
}

/// One instance, as another one sees it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct InstanceInfo {
    /// The id of the instance: sixteen hexadecimal digits.
    pub instance: String,
    /// `up`, `settling` or `draining`.
    pub state: String,
    /// What others dial.
    pub address: String,
    /// The epoch of its lease.
    pub epoch: u64,
    /// Connections that it holds.
    pub connections: u64,
    /// Whether it is the one that answered.
    pub this: bool,
}

#[track_caller]
fn accepted<T: DeserializeOwned>(response: &Response) -> T {
    assert_eq!(response.status, 200, "{}", response.text());
    serde_json::from_slice(&response.body)
        .unwrap_or_else(|error| panic!("{error}: {}", response.text()))
}
