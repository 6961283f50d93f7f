//! What the application asks of a running server.

use std::time::Duration;

use switchboard_core::frame::CloseCode;
use switchboard_core::id::{ConnectionId, InstanceId, UserId};
use switchboard_core::message::{Action, Audience, Connections, InstanceInfo, Push, PushRefused, Receipt};
use switchboard_core::stats::{Gauges, Stats};

use crate::login::Login;

/// A running server, to be cloned and called from any thread and any runtime.
#[derive(Clone, Debug)]
pub struct Handle {}

/// Why a call has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The instance refused; nothing was written.
    #[error(transparent)]
    Refused(#[from] PushRefused),
    /// The server has stopped.
    #[error("the server has stopped")]
    Stopped,
}

/// One instance's figures.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot {
    /// Which.
    pub instance: InstanceId,
    /// Counters since its start.
    pub stats: Stats,
    /// What it holds.
    pub gauges: Gauges,
    /// Whether a balancer should send terminals to it.
    pub ready: bool,
}

/// The body of an answer to a handshake.
pub type ConnectBody = http_body_util::Full<bytes::Bytes>;

#[allow(unused_variables, clippy::todo)]
impl Handle {
    /// Hands in a push and waits for its receipt. Pushes for one user reach each terminal in the
    /// order in which they were handed in at this server.
    ///
    /// # Errors
    ///
    /// If it is refused, or the server has stopped.
    pub async fn push(&self, push: Push) -> Result<Receipt, CallError> {
        todo!()
    }

    /// The connections of a user, on all instances.
    ///
    /// # Errors
    ///
    /// If it is refused, or the server has stopped.
    pub async fn connections(&self, user: UserId) -> Result<Connections, CallError> {
        todo!()
    }

    /// Ends a user's connections, or one of them, on whatever instance, with close code 4001.
    ///
    /// # Errors
    ///
    /// As [`Handle::push`].
    pub async fn kick(&self, user: UserId, connection: Option<ConnectionId>) -> Result<Receipt, CallError> {
        let to = match connection {
            Some(connection) => Audience::Connections {
                user,
                connections: vec![connection],
            },
            None => Audience::User(user),
        };
        self.push(Push {
            id: crate::new_push_id(),
            to,
            action: Action::Close(CloseCode::Kicked),
            deadline: switchboard_core::config::Config::DEADLINE_DEFAULT,
        })
        .await
    }

    /// All instances of the cluster.
    ///
    /// # Errors
    ///
    /// If the server has stopped.
    pub async fn instances(&self) -> Result<Vec<InstanceInfo>, CallError> {
        todo!()
    }

    /// The figures of this server's instances.
    pub async fn snapshots(&self) -> Vec<Snapshot> {
        todo!()
    }

    /// Whether a balancer should send terminals here: all instances are ready.
    pub fn is_ready(&self) -> bool {
        todo!()
    }

    /// Ends gently: no new terminals from this moment; those that are there are closed after
    /// `delay`, evenly over `spread`. Returns when all are gone.
    pub async fn drain(&self, delay: Duration, spread: Duration) {
        todo!()
    }

    /// Answers a WebSocket handshake of any hyper-based server, and serves the terminal once the
    /// response is sent. The caller has checked origin and login.
    pub async fn connect<B>(&self, request: http::Request<B>, login: Login) -> http::Response<ConnectBody> {
        todo!()
    }
}
