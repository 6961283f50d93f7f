//! What terminals see: payloads, Switchboard's own frames, close codes.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::ConnectionId;

/// The content of one frame. Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Payload {
    kind: FrameKind,
    bytes: Bytes,
}

/// Whether a frame is text or binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FrameKind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

impl Payload {
    /// A binary frame.
    pub const fn binary(bytes: Bytes) -> Self {
        Self {
            kind: FrameKind::Binary,
            bytes,
        }
    }

    /// A text frame.
    ///
    /// # Errors
    ///
    /// If the bytes are not UTF-8.
    pub fn text(bytes: Bytes) -> Result<Self, NotUtf8> {
        std::str::from_utf8(&bytes).map_err(|_| NotUtf8)?;
        Ok(Self::own(bytes))
    }

    /// A frame of the given kind.
    ///
    /// # Errors
    ///
    /// If it is to be text and the bytes are not UTF-8.
    pub fn new(kind: FrameKind, bytes: Bytes) -> Result<Self, NotUtf8> {
        match kind {
            FrameKind::Text => Self::text(bytes),
            FrameKind::Binary => Ok(Self::binary(bytes)),
        }
    }

    /// Text or binary.
    pub const fn kind(&self) -> FrameKind {
        self.kind
    }

    /// The content.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Bytes of the content.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it has no content.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    const fn own(bytes: Bytes) -> Self {
        Self {
            kind: FrameKind::Text,
            bytes,
        }
    }
}

impl fmt::Debug for Payload {
    /// Kind and size; payloads are nobody's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({} B)", self.kind, self.bytes.len())
    }
}

/// Bytes that were to be text and are not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a text frame must be UTF-8; send binary as application/octet-stream")]
pub struct NotUtf8;

/// The first frame a terminal gets.
pub(crate) fn hello(connection: ConnectionId, degraded: bool) -> Payload {
    let flag = if degraded { r#","degraded":true"# } else { "" };
    Payload::own(format!(r#"{{"switchboard":{{"hello":{{"uuid":"{connection}"{flag}}}}}}}"#).into())
}

/// How many messages a terminal has sent, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Messages {
    /// The application has them.
    pub(crate) received: u64,
    /// Nobody took them. They came after those that somebody did.
    pub(crate) dropped: u64,
}

/// The answer to all messages that a terminal has sent.
pub(crate) fn answer(Messages { received, dropped }: Messages) -> Payload {
    let counts = match (received, dropped) {
        (received, 0) => format!(r#""received":{received}"#),
        (0, dropped) => format!(r#""dropped":{dropped}"#),
        (received, dropped) => format!(r#""received":{received},"dropped":{dropped}"#),
    };
    Payload::own(format!(r#"{{"switchboard":{{{counts}}}}}"#).into())
}

/// Why a connection is closed by Switchboard, as the code of the Close frame (RFC 6455, section
/// 7.4; 4000 to 4999 are the application's own).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CloseCode {
    /// 1002: the terminal broke the WebSocket protocol.
    ProtocolError,
    /// 1007: a text frame was not UTF-8.
    InvalidPayload,
    /// 1009: a frame was larger than the limit.
    TooLarge,
    /// 1012: the instance goes away; connect again, you will reach another one.
    ServiceRestart,
    /// 4001: somebody ended this connection through the API.
    Kicked,
    /// 4002: the token has expired.
    TokenExpired,
    /// 4003: frames came faster than the terminal read them.
    SlowConsumer,
    /// 4004: nothing came from the terminal after a ping.
    PingTimeout,
}

impl CloseCode {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::ProtocolError,
        Self::InvalidPayload,
        Self::TooLarge,
        Self::ServiceRestart,
        Self::Kicked,
        Self::TokenExpired,
        Self::SlowConsumer,
        Self::PingTimeout,
    ];

    /// The number in the Close frame.
    pub const fn number(self) -> u16 {
        match self {
            Self::ProtocolError => 1002,
            Self::InvalidPayload => 1007,
            Self::TooLarge => 1009,
            Self::ServiceRestart => 1012,
            Self::Kicked => 4001,
            Self::TokenExpired => 4002,
            Self::SlowConsumer => 4003,
            Self::PingTimeout => 4004,
        }
    }

    /// Its name in metrics and log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ProtocolError => "protocol_error",
            Self::InvalidPayload => "invalid_payload",
            Self::TooLarge => "too_large",
            Self::ServiceRestart => "service_restart",
            Self::Kicked => "kicked",
            Self::TokenExpired => "token_expired",
            Self::SlowConsumer => "slow_consumer",
            Self::PingTimeout => "ping_timeout",
        }
    }

    /// The text in the Close frame.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::ProtocolError => "protocol error",
            Self::InvalidPayload => "text is not UTF-8",
            Self::TooLarge => "frame too large",
            Self::ServiceRestart => "service restart",
            Self::Kicked => "kicked",
            Self::TokenExpired => "token expired",
            Self::SlowConsumer => "slow consumer",
            Self::PingTimeout => "ping timeout",
        }
    }
}
