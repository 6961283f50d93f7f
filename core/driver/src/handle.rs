//! What the application asks of a running server.

mod logs;
mod topics;

use std::collections::BTreeMap;
use std::fmt;
use std::future::pending;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_channel::oneshot;
use futures_util::StreamExt as _;
use futures_util::future::{Either, join_all, select};
use futures_util::stream::FuturesUnordered;
use switchboard_core::config::{Config, ConfigError};
use switchboard_core::event::Answer;
use switchboard_core::frame::CloseCode;
use switchboard_core::id::{ConnectionId, InstanceId, TopicId, UserId};
use switchboard_core::logs::LogRefused;
use switchboard_core::message::{
    Action, Audience, Connections, InstanceInfo, ListOrder, Push, PushRefused, PushedBy, Receipt,
};

use crate::admission::{Admission, Admitted};
use crate::figures::{Answers, Figures, SilentInstance, Snapshot};
use crate::inbox::Input;
use crate::members::{Member, Shared};
use crate::permits::Service;
use crate::settings::Settings;

/// A running server, to be cloned and called from any thread and any runtime.
///
/// # Dropped futures
///
/// A call is a message to an instance and a wait for its answer. A future that is dropped before it has
/// been polled has done nothing. Dropped while it waits for room in the instance's inbox, which is full
/// only under overload, it has done nothing either. Dropped later it leaves the message behind, and only
/// the answer is lost:
///
/// - a push ([`Handle::push`], [`Handle::kick`], [`Handle::join`], [`Handle::leave`]) is delivered all the same. A caller
///   of [`Handle::push`] that must know what came of it hands it in again under the same id: while that is remembered
///   (`Config::repeat_memory`), no terminal gets it twice, and there is a receipt;
/// - a push that is handed in ([`Handle::hand_in`]) is with its instance once that call has returned. A [`Handed`] that
///   is dropped, or its [`Handed::receipt`], loses the receipt and nothing else;
/// - a question ([`Handle::connections`], [`Handle::followers`], [`Handle::members`], [`Handle::users`],
///   [`Handle::read_log`], [`Handle::log_head`], [`Handle::instances`], [`Handle::snapshots`]) is answered
///   to nobody, and so are those with a timer ([`Handle::connections_until`], [`Handle::snapshots_until`]).
///   [`Handle::figures_until`] asks each instance twice: what has not been asked then is not asked any more;
/// - a log ([`Handle::delete_log`]) is deleted all the same. A log that is read ([`Handle::read_log`]) for the first
///   time begins all the same;
/// - a drain ([`Handle::drain`]) goes on at the instances that were told;
/// - a handshake ([`Handle::connect`]) ends: if the instance has accepted the terminal already, it is told
///   that the terminal is gone.
///
/// When the server ends, all of them end: with [`CallError::Stopped`] or without an answer, none is left
/// waiting.
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
    /// Nothing was done with the log of a user.
    #[error(transparent)]
    Log(#[from] LogRefused),
    /// The server has stopped.
    #[error("the server has stopped")]
    Stopped,
}

impl Handle {
    /// Hands in a push and waits for its receipt. Pushes for one user, for users of whom the
    /// first is the same, or for topics of which the first by name is the same, reach each terminal in the order in
    /// which they were handed in here.
    ///
    /// # Errors
    ///
    /// If it is refused, or the server has stopped.
    pub fn push(&self, push: Push) -> impl Future<Output = Result<Receipt, CallError>> + use<'_> {
        let handed_in = self.hand_in(push);
        async { handed_in.await?.receipt().await }
    }

    /// Hands in a push, and does not wait for its receipt. Pushes of a user of which each is handed in when the one
    /// before it is keep their order.
    ///
    /// # Errors
    ///
    /// If the instance has stopped.
    pub fn hand_in(&self, push: Push) -> impl Future<Output = Result<Handed, CallError>> + use<'_> {
        let first = match &push.to {
            Audience::User(user) | Audience::Connections { user, .. } => Some(user.as_bytes()),
            Audience::Users(users) => users.first().map(UserId::as_bytes),
            Audience::Topics { topics, .. } => topics.iter().min().map(TopicId::as_bytes),
            Audience::Everyone => None,
        };
        let member = self.shared.publisher(first);
        // A future holds what it is made with to its end, and there may be many.
        let push = Box::new(push);
        async {
            let (answer, answered) = oneshot::channel();
            let sent = member.inbox.send(Input::Push(push, answer.into())).await;
            sent.map_err(|_| CallError::Stopped)?;
            Ok(Handed(answered))
        }
    }

    /// The connections of a user, on all instances. While the directory cannot tell, the answer is
    /// degraded and lists what the instances of this process know.
    ///
    /// # Errors
    ///
    /// If it is refused, or the server has stopped.
    pub async fn connections(&self, user: UserId) -> Result<Connections, CallError> {
        self.connections_until(user, pending()).await
    }

    /// As [`Handle::connections`]. While the directory cannot tell, the other instances of this
    /// process are waited for until a timer expires, which starts when it is polled.
    ///
    /// # Errors
    ///
    /// As [`Handle::connections`].
    pub async fn connections_until(
        &self,
        user: UserId,
        timer: impl Future<Output = ()>,
    ) -> Result<Connections, CallError> {
        let publisher = self.shared.publisher(Some(user.as_bytes()));
        let first = connections_by(publisher, user.clone()).await?;
        if !first.degraded {
            return Ok(first);
        }
        let other = async |_, member: &Member| match member.id == publisher.id {
            true => None,
            false => connections_by(member, user.clone()).await.ok(),
        };
        // An instance that does not answer adds nothing to what is incomplete anyway.
        let others = self.ask_all(timer, other).await;
        Ok(merged(first, others.answers.into_iter()))
    }

    /// Where the terminals of a user stand that follow its log: the receipt's list. All instances are asked; if one
    /// does not answer, the receipt is degraded.
    ///
    /// # Errors
    ///
    /// As [`Handle::push`].
    pub async fn followers(&self, user: UserId) -> Result<Receipt, CallError> {
        self.push(Push {
            id: crate::new_push_id(),
            to: Audience::Everyone,
            action: Action::List {
                order: ListOrder::Followers { user },
                limit: Action::LIST_MAX,
            },
            deadline: Config::DEADLINE_DEFAULT,
            durable: None,
            by: PushedBy::Application,
        })
        .await
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
            durable: None,
            by: PushedBy::Application,
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
            Answer::Push(_) | Answer::Connections(_) | Answer::Log(_) | Answer::Relayed(_) => {
                Err(mixed_up())
            }
        }
    }

    /// The figures of this server's instances. An instance that has stopped has none. It waits for
    /// all.
    pub async fn snapshots(&self) -> Vec<Snapshot> {
        self.snapshots_until(pending()).await.answers
    }

    /// As [`Handle::snapshots`], of those who answer until a timer expires.
    pub async fn snapshots_until(&self, timer: impl Future<Output = ()>) -> Answers<Snapshot> {
        let snapshot = async |_, member: &Member| ask_for(member, Input::Snapshot).await;
        self.ask_all(timer, snapshot).await
    }

    /// All figures of this server's instances, for a scraper, of those who answer until a timer expires.
    pub async fn figures_until(&self, timer: impl Future<Output = ()>) -> Answers<Figures> {
        let figures = async |worker, member: &Member| {
            Some(Figures {
                worker,
                snapshot: ask_for(member, Input::Snapshot).await?,
                levels: ask_for(member, Input::Levels).await?,
                refused: member.refusals.counts(),
            })
        };
        self.ask_all(timer, figures).await
    }

    /// Asks all instances at once. One that has stopped is not waited for.
    async fn ask_all<T>(
        &self,
        timer: impl Future<Output = ()>,
        ask: impl AsyncFn(usize, &Member) -> Option<T>,
    ) -> Answers<T> {
        let members = &self.shared.members;
        let mut asked: FuturesUnordered<_> = (members.iter().enumerate())
            .map(async |(worker, member)| (worker, ask(worker, member).await))
            .collect();
        let mut answered = BTreeMap::new();
        let mut timer = pin!(timer);
        while let Either::Left((Some((worker, answer)), _)) =
            select(asked.next(), timer.as_mut()).await
        {
            answered.insert(worker, answer);
        }
        let silent = members.iter().enumerate();
        let silent = silent.filter(|(worker, _)| !answered.contains_key(worker));
        let silent = silent.map(|(worker, member)| SilentInstance {
            worker,
            instance: member.id,
        });
        Answers {
            silent: silent.collect(),
            answers: answered.into_values().flatten().collect(),
        }
    }

    /// What the server was started with. The rules of admission may have changed since:
    /// [`Handle::admission`].
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// The server's name, the same after each start if [`ProcessConfig::name`](crate::ProcessConfig::name) says one; else what other
    /// instances dial.
    pub fn name(&self) -> &str {
        let name = self.shared.settings.process.name.as_deref();
        name.unwrap_or(&self.shared.addresses.advertised)
    }

    /// Where terminals connect, if the server listens for them itself.
    pub fn terminals_addr(&self) -> Option<SocketAddr> {
        self.shared.addresses.terminals
    }

    /// Connections that were closed unanswered because there was no room for them, by listener.
    pub fn connections_dropped(&self) -> [(&'static str, u64); 3] {
        let dropped = &self.shared.dropped;
        Service::ALL.map(|service| (service.name(), dropped.of(service)))
    }

    /// The rules of admission at present.
    pub fn admission(&self) -> Admission {
        self.shared.admitted.load().admission.clone()
    }

    /// Changes who may come in, from the next request on. Connections that are there stay.
    ///
    /// # Errors
    ///
    /// Names the field that does not fit, and what would. Nothing has changed then.
    pub fn admit(&self, admission: Admission) -> Result<(), ConfigError> {
        if self.shared.settings.process.listen.is_some() && admission.authenticator.is_none() {
            return Err(ConfigError {
                field: "authenticator",
                rule: "is required where terminals connect",
            });
        }
        self.shared
            .admitted
            .store(Arc::new(Admitted::new(admission)?));
        Ok(())
    }

    /// Whether a balancer should send terminals here: all instances are ready, and so is the
    /// [authenticator](crate::Authenticator::unready).
    pub fn is_ready(&self) -> bool {
        if self.admission().unready().is_some() {
            return false;
        }
        let members = &self.shared.members;
        members
            .iter()
            .all(|member| member.ready.load(Ordering::Relaxed) && !member.inbox.is_closed())
    }

    /// Ends gently: no new terminals from this moment; those that are there are closed after
    /// `delay`, evenly over `spread`. Returns when all are gone and the directory knows. A second
    /// call may only shorten it.
    pub async fn drain(&self, delay: Duration, spread: Duration) {
        let drain = |drained| Input::Drain {
            delay,
            spread,
            drained,
        };
        // An instance that has stopped is drained.
        let drains = (self.shared.members.iter()).map(|member| ask_for(member, drain));
        join_all(drains).await;
    }
}

/// A push that is handed in.
#[derive(Debug)]
pub struct Handed(oneshot::Receiver<Answer>);

impl Handed {
    /// Waits for the receipt of the push. Without it the push is delivered all the same.
    ///
    /// # Errors
    ///
    /// If the instance refused it, or has stopped.
    pub async fn receipt(self) -> Result<Receipt, CallError> {
        match self.0.await {
            Ok(Answer::Push(result)) => Ok(result?),
            Ok(
                Answer::Connections(_) | Answer::Log(_) | Answer::Instances(_) | Answer::Relayed(_),
            ) => Err(mixed_up()),
            Err(oneshot::Canceled) => Err(CallError::Stopped),
        }
    }
}

/// `None` if the instance has stopped.
async fn ask_for<T>(member: &Member, input: impl FnOnce(oneshot::Sender<T>) -> Input) -> Option<T> {
    let (answer, answered) = oneshot::channel();
    member.inbox.send(input(answer)).await.ok()?;
    answered.await.ok()
}

async fn ask(
    member: &Member,
    input: impl FnOnce(oneshot::Sender<Answer>) -> Input,
) -> Result<Answer, CallError> {
    ask_for(member, input).await.ok_or(CallError::Stopped)
}

async fn connections_by(member: &Member, user: UserId) -> Result<Connections, CallError> {
    match ask(member, |answer| Input::Connections(user, answer.into())).await? {
        Answer::Connections(result) => Ok(result?),
        Answer::Push(_) | Answer::Log(_) | Answer::Instances(_) | Answer::Relayed(_) => {
            Err(mixed_up())
        }
    }
}

/// What any of the lists has, each connection once. It stays degraded: it may still lack those of
/// other processes.
fn merged(first: Connections, others: impl Iterator<Item = Connections>) -> Connections {
    let mut list = first;
    list.connections
        .extend(others.flat_map(|other| other.connections));
    list.connections
        .sort_unstable_by_key(|info| info.connection);
    list.connections.dedup_by_key(|info| info.connection);
    list
}

fn mixed_up() -> CallError {
    debug_assert!(false, "an answer is of the kind of its call");
    CallError::Stopped
}

#[cfg(test)]
mod tests {
    use switchboard_core::message::ConnectionInfo;
    use switchboard_core::time::WallTime;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_several_instances_know_of_a_user_is_listed_once_and_in_order() {
        let whole = merged(list(&[3, 1]), [list(&[2, 3]), list(&[])].into_iter());
        assert_eq!(whole, list(&[1, 2, 3]));
    }

    fn list(connections: &[u128]) -> Connections {
        let info = |id: &u128| ConnectionInfo {
            connection: ConnectionId::new(Uuid::from_u128(*id)),
            instance: InstanceId::new(1),
            connected: WallTime::from_millis(0),
        };
        Connections {
            degraded: true,
            connections: connections.iter().map(info).collect(),
        }
    }
}
