//! What happens to terminals, for the application.

use switchboard_core::event::Disconnected;
use switchboard_core::frame::Payload;
use switchboard_core::id::{ConnectionId, UserId};

/// Something that happened to a terminal. `Connected` comes first, `Disconnected` last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TerminalEvent {
    /// A terminal was greeted.
    Connected {
        /// Whose.
        user: UserId,
        /// Which.
        connection: ConnectionId,
        /// What its login named.
        session: Option<String>,
    },
    /// A terminal sent a message.
    Message {
        /// Whose.
        user: UserId,
        /// Which.
        connection: ConnectionId,
        /// What it sent.
        payload: Payload,
    },
    /// A greeted terminal is gone.
    Disconnected {
        /// Whose.
        user: UserId,
        /// Which.
        connection: ConnectionId,
        /// What its login named.
        session: Option<String>,
        /// Why.
        reason: Disconnected,
    },
}

/// The stream of what happens at a server. While it is full, terminals are not read.
#[derive(Debug)]
pub struct Events {}

impl Events {
    /// Waits for the next one. `None` once the server has ended.
    #[allow(clippy::todo)]
    pub async fn next(&mut self) -> Option<TerminalEvent> {
        todo!()
    }
}
