//! What the application asks of a running server.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_channel::oneshot;
use switchboard_core::config::Config;
use switchboard_core::event::Answer;
use switchboard_core::frame::CloseCode;
use switchboard_core::id::{ConnectionId, InstanceId, UserId};
use switchboard_core::message::{
    Action, Audience, Connections, InstanceInfo, Push, PushRefused, Receipt,
};
use switchboard_core::stats::{Gauges, Stats};

use crate::connect;
use crate::login::Login;
use crate::members::{Input, Member, Shared};

/// A running server, to be cloned and called from any thread and any runtime.
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instances: Vec<InstanceId> =
            self.shared.members.iter().map(|member| member.id).collect();
        f.debug_struct("Handle")
            .field("instances", &instances)
            .finish()
    }
}

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

impl Handle {
    /// Hands in a push and waits for its receipt. Pushes for one user, or for users of whom the
    /// first is the same, reach each terminal in the order in which they were handed in here.
    ///
    /// # Errors
    ///
    /// If it is refused, or the server has stopped.
    pub async fn push(&self, push: Push) -> Result<Receipt, CallError> {
        let first = match &push.to {
            Audience::User(user) | Audience::Connections { user, .. } => Some(user),
            Audience::Users(users) => users.first(),
            Audience::Everyone => None,
        };
        let member = self.shared.publisher(first);
        match ask(member, |answer| Input::Push(Box::new(push), answer)).await? {
            Answer::Push(result) => Ok(result?),
            Answer::Connections(_) | Answer::Instances(_) => Err(mixed_up()),
        }
    }

    /// The connections of a user, on all instances.
    ///
    /// # Errors
    ///
    /// If it is refused, or the server has stopped.
    pub async fn connections(&self, user: UserId) -> Result<Connections, CallError> {
        let member = self.shared.publisher(Some(&user));
        match ask(member, |answer| Input::Connections(user, answer)).await? {
            Answer::Connections(result) => Ok(result?),
            Answer::Push(_) | Answer::Instances(_) => Err(mixed_up()),
        }
    }

    /// Ends a user's connections, or one of them, on whatever instance, with close code 4001.
    ///
    /// # Errors
    ///
    /// As [`Handle::push`].
    pub async fn kick(
        &self,
        user: UserId,
        connection: Option<ConnectionId>,
    ) -> Result<Receipt, CallError> {
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
            deadline: Config::DEADLINE_DEFAULT,
        })
        .await
    }

    /// All instances of the cluster.
    ///
    /// # Errors
    ///
    /// If the server has stopped.
    pub async fn instances(&self) -> Result<Vec<InstanceInfo>, CallError> {
        match ask(self.shared.publisher(None), Input::Instances).await? {
            Answer::Instances(instances) => Ok(instances),
            Answer::Push(_) | Answer::Connections(_) => Err(mixed_up()),
        }
    }

    /// The figures of this server's instances. An instance that has stopped has none.
    pub async fn snapshots(&self) -> Vec<Snapshot> {
        let mut snapshots = Vec::with_capacity(self.shared.members.len());
        for member in &self.shared.members {
            let (answer, answered) = oneshot::channel();
            if member.inbox.send(Input::Snapshot(answer)).await.is_ok() {
                snapshots.extend(answered.await.ok());
            }
        }
        snapshots
    }

    /// Whether a balancer should send terminals here: all instances are ready.
    pub fn is_ready(&self) -> bool {
        let members = &self.shared.members;
        members
            .iter()
            .all(|member| member.ready.load(Ordering::Relaxed) && !member.inbox.is_closed())
    }

    /// Ends gently: no new terminals from this moment; those that are there are closed after
    /// `delay`, evenly over `spread`. Returns when all are gone and the directory knows. A second
    /// call may only shorten it.
    pub async fn drain(&self, delay: Duration, spread: Duration) {
        let mut drains = Vec::with_capacity(self.shared.members.len());
        for member in &self.shared.members {
            let (drained, ended) = oneshot::channel();
            let drain = Input::Drain {
                delay,
                spread,
                drained,
            };
            // An instance that has stopped is drained.
            if member.inbox.send(drain).await.is_ok() {
                drains.push(ended);
            }
        }
        for ended in drains {
            // The sender is dropped when the instance is drained, or has stopped.
            let _ = ended.await;
        }
    }

    /// Answers a WebSocket handshake of any hyper-based server, and serves the terminal once the
    /// response is sent. The caller has checked origin and login.
    pub async fn connect<B>(
        &self,
        request: http::Request<B>,
        login: Login,
    ) -> http::Response<ConnectBody> {
        connect::connect(&self.shared, self.shared.emptiest(), request, login).await
    }
}

async fn ask(
    member: &Member,
    input: impl FnOnce(oneshot::Sender<Answer>) -> Input,
) -> Result<Answer, CallError> {
    let (answer, answered) = oneshot::channel();
    member
        .inbox
        .send(input(answer))
        .await
        .map_err(|_| CallError::Stopped)?;
    answered.await.map_err(|_| CallError::Stopped)
}

fn mixed_up() -> CallError {
    debug_assert!(false, "an answer is of the kind of its call");
    CallError::Stopped
}
