//! What clients of the Centrifuge protocol and their server say to each other: its messages, as Protobuf numbers
//! them and as JSON names them. Those that nobody asks for here are left out, and ignored where they come.

use std::collections::BTreeMap;

use prost::Message;
use serde::{Deserialize, Serialize};

/// What a client says: one request. Nothing in it at all is the answer to a ping. A frame may have hundreds that say next
/// to nothing, and each is as large as a pointer for each kind of request.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub(super) struct Command {
    #[prost(uint32, tag = "1")]
    pub(super) id: u32,
    #[prost(message, optional, boxed, tag = "4")]
    pub(super) connect: Option<Box<ConnectRequest>>,
    #[prost(message, optional, boxed, tag = "5")]
    pub(super) subscribe: Option<Box<SubscribeRequest>>,
    #[prost(message, optional, boxed, tag = "6")]
    pub(super) unsubscribe: Option<Box<ChannelRequest>>,
    #[prost(message, optional, boxed, tag = "7")]
    pub(super) publish: Option<Box<PublishRequest>>,
    #[prost(message, optional, boxed, tag = "8")]
    pub(super) presence: Option<Box<ChannelRequest>>,
    #[prost(message, optional, boxed, tag = "9")]
    pub(super) presence_stats: Option<Box<ChannelRequest>>,
    #[prost(message, optional, boxed, tag = "10")]
    pub(super) history: Option<Box<HistoryRequest>>,
    #[prost(message, optional, boxed, tag = "11")]
    pub(super) ping: Option<Box<Empty>>,
    #[prost(message, optional, boxed, tag = "12")]
    pub(super) send: Option<Box<SendRequest>>,
    #[prost(message, optional, boxed, tag = "13")]
    pub(super) rpc: Option<Box<RpcRequest>>,
    #[prost(message, optional, boxed, tag = "14")]
    pub(super) refresh: Option<Box<RefreshRequest>>,
    #[prost(message, optional, boxed, tag = "15")]
    pub(super) sub_refresh: Option<Box<SubRefreshRequest>>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub(super) struct ConnectRequest {
    #[prost(string, tag = "1")]
    pub(super) token: String,
    #[prost(btree_map = "string, message", tag = "3")]
    pub(super) subs: BTreeMap<String, SubscribeRequest>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub(super) struct SubscribeRequest {
    #[prost(string, tag = "1")]
    pub(super) channel: String,
    #[prost(string, tag = "2")]
    pub(super) token: String,
    #[prost(bool, tag = "3")]
    pub(super) recover: bool,
    #[prost(string, tag = "6")]
    pub(super) epoch: String,
    #[prost(uint64, tag = "7")]
    pub(super) offset: u64,
    /// [`REFUSED_UNRECOVERED`](Self::REFUSED_UNRECOVERED), and others that have no meaning here.
    #[prost(int64, tag = "14")]
    pub(super) flag: i64,
}

impl SubscribeRequest {
    /// The client keeps a state of its own, which it loads anew if something is missing: it wants to be refused then.
    pub(super) const REFUSED_UNRECOVERED: i64 = 2;
}

/// Any request of which the channel is all that counts here.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub(super) struct ChannelRequest {
    #[prost(string, tag = "1")]
    pub(super) channel: String,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub(super) struct PublishRequest {
    #[prost(string, tag = "1")]
    pub(super) channel: String,
    #[prost(bytes = "vec", tag = "2")]
    #[serde(with = "super::json::data")]
    pub(super) data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub(super) struct SubRefreshRequest {
    #[prost(string, tag = "1")]
    pub(super) channel: String,
    #[prost(string, tag = "2")]
    pub(super) token: String,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub(super) struct HistoryRequest {
    #[prost(string, tag = "1")]
    pub(super) channel: String,
    #[prost(int32, tag = "7")]
    pub(super) limit: i32,
    #[prost(message, optional, tag = "8")]
    pub(super) since: Option<StreamPosition>,
    #[prost(bool, tag = "9")]
    pub(super) reverse: bool,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub(super) struct StreamPosition {
    #[prost(uint64, tag = "1")]
    pub(super) offset: u64,
    #[prost(string, tag = "2")]
    pub(super) epoch: String,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub(super) struct SendRequest {
    #[prost(bytes = "vec", tag = "1")]
    #[serde(with = "super::json::data")]
    pub(super) data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub(super) struct RpcRequest {
    #[prost(bytes = "vec", tag = "1")]
    #[serde(with = "super::json::data")]
    pub(super) data: Vec<u8>,
    #[prost(string, tag = "2")]
    pub(super) method: String,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub(super) struct RefreshRequest {
    #[prost(string, tag = "1")]
    pub(super) token: String,
}

/// Commands of a terminal that come on another connection than its own. In JSON they are a text.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub(super) struct Relayed {
    #[prost(string, tag = "1")]
    pub(super) node: String,
    #[prost(string, tag = "2")]
    pub(super) session: String,
    #[prost(bytes = "vec", tag = "3")]
    #[serde(with = "super::json::data")]
    pub(super) data: Vec<u8>,
}

/// A request or a result in which nothing is said.
#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
pub(super) struct Empty {}

/// What the server says: the answer to a command, by its id; or a push. Nothing in it at all is a ping.
#[derive(Clone, PartialEq, Message, Serialize)]
pub(super) struct Reply {
    #[prost(uint32, tag = "1")]
    #[serde(skip_serializing_if = "is_default")]
    pub(super) id: u32,
    #[prost(message, optional, tag = "2")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<Error>,
    #[prost(message, optional, tag = "4")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) push: Option<Push>,
    #[prost(message, optional, tag = "5")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) connect: Option<ConnectResult>,
    #[prost(message, optional, tag = "6")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) subscribe: Option<SubscribeResult>,
    #[prost(message, optional, tag = "7")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unsubscribe: Option<Empty>,
    #[prost(message, optional, tag = "8")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) publish: Option<Empty>,
    #[prost(message, optional, tag = "9")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) presence: Option<PresenceResult>,
    #[prost(message, optional, tag = "10")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) presence_stats: Option<PresenceStatsResult>,
    #[prost(message, optional, tag = "11")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) history: Option<HistoryResult>,
    #[prost(message, optional, tag = "14")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refresh: Option<RefreshResult>,
    #[prost(message, optional, tag = "15")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sub_refresh: Option<SubRefreshResult>,
}

/// Both code and message are always there: clients read them without asking.
#[derive(Clone, PartialEq, Message, Serialize)]
pub(super) struct Error {
    #[prost(uint32, tag = "1")]
    pub(super) code: u32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(bool, tag = "3")]
    #[serde(skip_serializing_if = "is_default")]
    pub(super) temporary: bool,
}

#[derive(Clone, PartialEq, Message, Serialize)]
pub(super) struct Push {
    #[prost(string, tag = "2")]
    #[serde(skip_serializing_if = "is_default")]
    pub(super) channel: String,
    #[prost(message, optional, tag = "4")]
    #[serde(rename = "pub", skip_serializing_if = "Option::is_none")]
    pub(super) publication: Option<Publication>,
    #[prost(message, optional, tag = "5")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) join: Option<MemberNews>,
    #[prost(message, optional, tag = "6")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) leave: Option<MemberNews>,
    #[prost(message, optional, tag = "7")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unsubscribe: Option<Unsubscribe>,
    #[prost(message, optional, tag = "9")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) subscribe: Option<Subscribe>,
    #[prost(message, optional, tag = "11")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) disconnect: Option<Disconnect>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
pub(super) struct Publication {
    #[prost(bytes = "vec", tag = "4")]
    #[serde(with = "super::json::data")]
    pub(super) data: Vec<u8>,
    #[prost(uint64, tag = "6")]
    #[serde(skip_serializing_if = "is_default")]
    pub(super) offset: u64,
    #[prost(btree_map = "string, string", tag = "7")]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) tags: BTreeMap<String, String>,
}

/// One that has come or has left.
#[derive(Clone, PartialEq, Message, Serialize)]
pub(super) struct MemberNews {
    #[prost(message, optional, tag = "1")]
    pub(super) info: Option<ClientInfo>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
pub(super) struct Subscribe {
    #[prost(bool, tag = "1")]
    #[serde(skip_serializing_if = "is_default")]
    pub(super) recoverable: bool,
    #[prost(string, tag = "4")]
    #[serde(skip_serializing_if = "is_default")]
    pub(super) epoch: String,
    #[prost(uint64, tag = "5")]
    #[serde(skip_serializing_if = "is_default")]
    pub(super) offset: u64,
    #[prost(bool, tag = "6")]
    #[serde(skip_serializing_if = "is_default")]
    pub(super) positioned: bool,
}

/// Both code and reason are always there: clients read them without asking.
#[derive(Clone, PartialEq, Message, Serialize)]
pub(super) struct Unsubscribe {
    #[prost(uint32, tag = "2")]
    pub(super) code: u32,
    #[prost(string, tag = "3")]
    pub(super) reason: String,
}

/// Both code and reason are always there: clients read them without asking.
#[derive(Clone, PartialEq, Message, Serialize)]
pub(super) struct Disconnect {
    #[prost(uint32, tag = "1")]
    pub(super) code: u32,
    #[prost(string, tag = "2")]
    pub(super) reason: String,
}

#[derive(Clone, PartialEq, Message, Serialize)]
pub(super) struct ConnectResult {
    #[prost(string, tag = "1")]
    pub(super) client: String,
    #[prost(string, tag = "2")]
    pub(super) version: String,
    #[prost(bool, tag = "3")]
    #[serde(skip_serializing_if = "is_default")]
    pub(super) expires: bool,
    #[prost(uint32, tag = "4")]
    #[serde(skip_serializing_if = "is_default")]
    pub(super) ttl: u32,
    #[prost(btree_map = "string, message", tag = "6")]
    pub(super) subs: BTreeMap<String, SubscribeResult>,
    #[prost(uint32, tag = "7")]
    #[serde(skip_serializing_if = "is_default")]
    pub(super) ping: u32,
    #[prost(bool, tag = "8")]
    #[serde(skip_serializing_if = "is_default")]
    pub(super) pong: bool,
    /// What names the terminal in a [`Relayed`].
    #[prost(string, tag = "9")]
    #[serde(skip_serializing_if = "is_default")]
    pub(super) session: String,
    #[prost(string, tag = "10")]
    #[serde(skip_serializing_if = "is_default")]
    pub(super) node: String,
}

#[derive(Clone, PartialEq, Message, Serialize)]
pub(super) struct SubscribeResult {
    #[prost(bool, tag = "1")]
    #[serde(skip_serializing_if = "is_default")]
    pub(super) expires: bool,
    #[prost(uint32, tag = "2")]
    #[serde(skip_serializing_if = "is_default")]
    pub(super) ttl: u32,
    #[prost(bool, tag = "3")]
    #[serde(skip_serializing_if = "is_default")]
    pub(super) recoverable: bool,
    #[prost(string, tag = "6")]
    #[serde(skip_serializing_if = "is_default")]
    pub(super) epoch: String,
    #[prost(bool, tag = "8")]
    #[serde(skip_serializing_if = "is_default")]
    pub(super) recovered: bool,
    #[prost(uint64, tag = "9")]
    #[serde(skip_serializing_if = "is_default")]
    pub(super) offset: u64,
    #[prost(bool, tag = "10")]
    #[serde(skip_serializing_if = "is_default")]
    pub(super) positioned: bool,
    #[prost(bool, tag = "12")]
    #[serde(skip_serializing_if = "is_default")]
    pub(super) was_recovering: bool,
}

#[derive(Clone, PartialEq, Message, Serialize)]
pub(super) struct PresenceResult {
    #[prost(btree_map = "string, message", tag = "1")]
    pub(super) presence: BTreeMap<String, ClientInfo>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
pub(super) struct ClientInfo {
    #[prost(string, tag = "1")]
    pub(super) user: String,
    #[prost(string, tag = "2")]
    pub(super) client: String,
}

#[derive(Clone, PartialEq, Message, Serialize)]
pub(super) struct PresenceStatsResult {
    #[prost(uint32, tag = "1")]
    pub(super) num_clients: u32,
    #[prost(uint32, tag = "2")]
    pub(super) num_users: u32,
}

#[derive(Clone, PartialEq, Message, Serialize)]
pub(super) struct HistoryResult {
    #[prost(message, repeated, tag = "1")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) publications: Vec<Publication>,
    #[prost(string, tag = "2")]
    pub(super) epoch: String,
    #[prost(uint64, tag = "3")]
    pub(super) offset: u64,
}

#[derive(Clone, PartialEq, Message, Serialize)]
pub(super) struct RefreshResult {
    #[prost(string, tag = "1")]
    pub(super) client: String,
    #[prost(string, tag = "2")]
    pub(super) version: String,
    #[prost(bool, tag = "3")]
    #[serde(skip_serializing_if = "is_default")]
    pub(super) expires: bool,
    #[prost(uint32, tag = "4")]
    #[serde(skip_serializing_if = "is_default")]
    pub(super) ttl: u32,
}

#[derive(Clone, PartialEq, Message, Serialize)]
pub(super) struct SubRefreshResult {
    #[prost(bool, tag = "1")]
    #[serde(skip_serializing_if = "is_default")]
    pub(super) expires: bool,
    #[prost(uint32, tag = "2")]
    #[serde(skip_serializing_if = "is_default")]
    pub(super) ttl: u32,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
