//! For tests: a cluster of one instance whose directory is in the test's hands, and whose commands read as
//! short texts.

use std::time::Duration;

use super::cluster::{Cluster, KeptCommands};
use crate::config::Config;
use crate::directory::log::LogOperation;
use crate::directory::{Lease, LeaseState, Load, Operation, OperationError, OperationResult, Row};
use crate::event::{Answer, Closure, Event, Handshake, Heard, Login, TripLost};
use crate::frame::{CloseCode, Payload};
use crate::id::{CallId, ConnectionKey, Epoch, InstanceId, OpId, PushId, UserId};
use crate::instance::Instance;
use crate::message::{Action, Audience, Push, PushedBy};
use crate::time::WallTime;

/// One instance, its directory, and a clock.
pub(crate) struct Rig {
    pub(crate) cluster: Cluster,
    pushes: u128,
}

pub(crate) const HERE: InstanceId = InstanceId::new(1);
pub(crate) const OTHER: InstanceId = InstanceId::new(2);

impl Rig {
    /// An instance without a directory link.
    pub(crate) fn new(config: Config) -> Self {
        Self {
            cluster: Cluster::of_one(config, KeptCommands::Texts(Vec::new())),
            pushes: 0,
        }
    }

    /// An instance that holds its lease, of epoch 1.
    pub(crate) fn up() -> Self {
        let mut rig = Self::new(Config::default());
        rig.link_up();
        rig
    }

    pub(crate) fn link_up(&mut self) -> Vec<String> {
        self.event(Event::DirectoryUp)
    }

    pub(crate) fn link_down(&mut self) -> Vec<String> {
        self.cluster.held.clear();
        self.event(Event::DirectoryDown)
    }

    pub(crate) fn instance(&self) -> &Instance {
        &self.cluster.instances[0]
    }

    /// Hands in an event and all that follows from it at once. Returns the commands, but for those
    /// to the directory and to operators.
    pub(crate) fn event(&mut self, event: Event) -> Vec<String> {
        self.cluster.event(0, event);
        self.said()
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, span: Duration) -> Vec<String> {
        self.cluster.pass(span);
        self.said()
    }

    pub(crate) fn pass_ms(&mut self, millis: u64) -> Vec<String> {
        self.pass(Duration::from_millis(millis))
    }

    /// The instance stands still for so long, and wakes up with all timers due.
    pub(crate) fn pause(&mut self, span: Duration) -> Vec<String> {
        self.cluster.at(self.cluster.now.mono + span);
        self.cluster.turn(0);
        self.cluster.settle_down();
        self.said()
    }

    fn said(&mut self) -> Vec<String> {
        match &mut self.cluster.record {
            KeptCommands::Texts(said) => std::mem::take(said),
            KeptCommands::Nothing | KeptCommands::All(_) => panic!("a rig records texts"),
        }
    }

    pub(crate) fn accept(&mut self, user: &str) -> ConnectionKey {
        self.accept_until(user, None)
    }

    pub(crate) fn accept_until(&mut self, user: &str, token: Option<Duration>) -> ConnectionKey {
        let expires = token.map(|token| {
            WallTime::from_millis(self.cluster.now.wall.as_millis() + token.as_millis() as u64)
        });
        let handshake = Handshake {
            expires,
            ..Handshake::new(UserId::new(user).expect("a user"))
        };
        self.cluster.accept(0, handshake).expect("taken")
    }

    /// A terminal that has not said who it is opens its connection.
    pub(crate) fn open_stranger(&mut self) -> ConnectionKey {
        let key = self.cluster.accept_stranger(0).expect("taken");
        assert_eq!(self.opened(key), [""; 0], "a stranger is told nothing");
        key
    }

    /// It says who it is.
    pub(crate) fn authenticated(&mut self, connection: ConnectionKey, user: &str) -> Vec<String> {
        let login = Login::new(UserId::new(user).expect("a user"));
        self.event(Event::Authenticated {
            connection,
            login: Box::new(login),
        })
    }

    pub(crate) fn opened(&mut self, connection: ConnectionKey) -> Vec<String> {
        self.event(Event::Opened { connection })
    }

    pub(crate) fn connect(&mut self, user: &str) -> ConnectionKey {
        let key = self.accept(user);
        self.opened(key);
        key
    }

    pub(crate) fn closed(&mut self, connection: ConnectionKey) -> Vec<String> {
        let closure = Closure::Abrupt;
        self.event(Event::Closed {
            connection,
            closure,
        })
    }

    pub(crate) fn heard(&mut self, connection: ConnectionKey, frame: Heard) -> Vec<String> {
        self.event(Event::Heard { connection, frame })
    }

    pub(crate) fn push(&mut self, user: &str, text: &str) -> Vec<String> {
        let payload = Payload::text(text.to_owned().into()).expect("UTF-8");
        self.act(user, Action::Frame(payload))
    }

    pub(crate) fn kick(&mut self, user: &str) -> Vec<String> {
        self.act(user, Action::Close(CloseCode::Kicked))
    }

    fn act(&mut self, user: &str, action: Action) -> Vec<String> {
        self.pushes += 1;
        let push = Push {
            id: PushId::new(uuid::Uuid::from_u128(self.pushes)),
            to: Audience::User(UserId::new(user).expect("a user")),
            action,
            deadline: Config::DEADLINE_DEFAULT,
            durable: None,
            by: PushedBy::Application,
        };
        let call = CallId::new(self.pushes as u64);
        self.event(Event::Push { call, push })
    }

    /// What the last call that has an answer was answered.
    pub(crate) fn last_answer(&self) -> Option<&Answer> {
        self.cluster.answers.values().next_back()
    }

    /// Whether the receipt of the last push that has one says `degraded`.
    pub(crate) fn last_receipt_is_degraded(&self) -> bool {
        match self.last_answer() {
            Some(Answer::Push(Ok(receipt))) => receipt.degraded,
            other => panic!("no receipt: {other:?}"),
        }
    }

    /// Operations that wait for an answer, evidence and views left out.
    pub(crate) fn asked(&self) -> Vec<String> {
        let trips = self.cluster.held.iter();
        let operations = trips.flat_map(|(_, trip)| &trip.operations);
        operations.filter_map(describe).collect()
    }

    /// Executes and answers all round trips that wait; those that follow wait.
    pub(crate) fn answer(&mut self) -> Vec<String> {
        self.answer_but(|_| None)
    }

    /// The same, but for some operations with another outcome, which are not executed.
    pub(crate) fn answer_but(
        &mut self,
        other: impl Fn(&Operation) -> Option<OperationResult>,
    ) -> Vec<String> {
        for (_, trip) in std::mem::take(&mut self.cluster.held) {
            let outcomes = self.cluster.outcomes(&trip, &other);
            self.end_trip(trip.op, Ok(outcomes));
        }
        self.said()
    }

    /// Executes the round trips that wait. Their answers are lost.
    pub(crate) fn execute_unanswered(&mut self) {
        for (_, trip) in std::mem::take(&mut self.cluster.held) {
            drop(self.cluster.outcomes(&trip, |_| None));
        }
    }

    /// The link breaks before any round trip that waits is answered.
    pub(crate) fn lose_trips(&mut self) -> Vec<String> {
        for (_, trip) in std::mem::take(&mut self.cluster.held) {
            self.end_trip(trip.op, Err(TripLost));
        }
        self.said()
    }

    fn end_trip(&mut self, op: OpId, outcomes: Result<Vec<OperationResult>, TripLost>) {
        self.cluster.event(0, Event::Directory { op, outcomes });
    }

    /// What the own lease says: its epoch, its floor and its state.
    pub(crate) fn lease(&self) -> (u64, u64, LeaseState) {
        let mut leases = self.cluster.directory.leases(self.cluster.now.mono);
        let seen = leases.find(|seen| seen.instance == HERE).expect("a lease");
        (
            seen.lease.epoch.get(),
            seen.lease.floor.get(),
            seen.lease.state,
        )
    }

    /// The directory's clock goes back: the own lease lasts longer by so much.
    pub(crate) fn prolong_lease(&mut self, by: Duration) {
        let mut leases = self.cluster.directory.leases(self.cluster.now.mono);
        let seen = leases.find(|seen| seen.instance == HERE).expect("a lease");
        drop(leases);
        let renewal = Operation::Renew {
            instance: HERE,
            expected: seen.lease.clone(),
            lease: seen.lease,
            load: seen.load,
        };
        // What is executed before its lease has expired, at any moment, counts from there.
        let mut until = self.cluster.now.mono;
        while until < self.cluster.now.mono + by {
            until = until + Duration::from_secs(1);
            drop(self.cluster.directory.execute(until, &renewal));
        }
    }

    /// The epochs of the rows in the directory.
    pub(crate) fn row_epochs(&self) -> Vec<u64> {
        (self.cluster.directory.rows(self.cluster.now.mono))
            .map(|(_, _, row)| row.epoch.get())
            .collect()
    }

    /// Another instance claims a lease.
    pub(crate) fn other_claims(&mut self, epoch: u64, state: LeaseState) {
        let operation = Operation::Claim {
            instance: OTHER,
            lease: other_lease(epoch, state),
            load: Load::default(),
        };
        drop(
            self.cluster
                .directory
                .execute(self.cluster.now.mono, &operation),
        );
    }

    /// Another instance changes what its lease says.
    pub(crate) fn other_renews(&mut self, expected: Lease, lease: Lease) {
        let operation = Operation::Renew {
            instance: OTHER,
            expected,
            lease,
            load: Load::default(),
        };
        drop(
            self.cluster
                .directory
                .execute(self.cluster.now.mono, &operation),
        );
    }

    pub(crate) fn is_doubtful(&self, instance: InstanceId) -> bool {
        let now = self.cluster.now.mono;
        self.instance()
            .membership()
            .view()
            .doubtful(now, now)
            .contains(&instance)
    }
}

pub(crate) fn other_lease(epoch: u64, state: LeaseState) -> Lease {
    let floor = match state {
        LeaseState::Up | LeaseState::Draining | LeaseState::Released => epoch,
        LeaseState::Settling => epoch - 1,
    };
    Lease {
        epoch: Epoch::new(epoch),
        floor: Epoch::new(floor),
        beat: 0,
        state,
        address: "other:1".to_owned(),
    }
}

/// The answer of a server that is out of memory, to what writes.
#[expect(clippy::wildcard_enum_match_arm, reason = "the rest is not a write")]
pub(crate) fn out_of_memory(operation: &Operation) -> Option<OperationResult> {
    match operation {
        Operation::Register { .. }
        | Operation::EnterTopic { .. }
        | Operation::KeepTopic { .. }
        | Operation::Claim { .. }
        | Operation::Renew { .. } => refused(),
        _ => None,
    }
}

/// Refuses what a primary without enough replicas refuses: all that would write.
pub(crate) fn no_replicas(operation: &Operation) -> Option<OperationResult> {
    match operation {
        Operation::Lookup { .. }
        | Operation::LookupTopic { .. }
        | Operation::View
        | Operation::ReadLease { .. }
        | Operation::Log {
            operation: LogOperation::Head,
            ..
        } => None,
        Operation::Log {
            operation:
                LogOperation::Append { .. }
                | LogOperation::Read { .. }
                | LogOperation::Confirm { .. }
                | LogOperation::Delete { .. },
            ..
        }
        | Operation::Register { .. }
        | Operation::Unregister { .. }
        | Operation::RemoveRow { .. }
        | Operation::EnterTopic { .. }
        | Operation::LeaveTopic { .. }
        | Operation::KeepTopic { .. }
        | Operation::Claim { .. }
        | Operation::Renew { .. }
        | Operation::Release { .. } => refused(),
    }
}

pub(crate) fn refused() -> Option<OperationResult> {
    Some(Err(OperationError::Refused(
        "OOM command not allowed".to_owned(),
    )))
}

pub(crate) fn is_register(operation: &Operation) -> bool {
    matches!(operation, Operation::Register { .. })
}

pub(crate) fn is_unregister(operation: &Operation) -> bool {
    matches!(operation, Operation::Unregister { .. })
}

fn describe(operation: &Operation) -> Option<String> {
    let row = |row: &Row| row.epoch.get();
    Some(match operation {
        Operation::Register {
            key, row: written, ..
        } => format!("register {key} {}", row(written)),
        Operation::Unregister { key, .. } => format!("unregister {key}"),
        Operation::Lookup { key } => format!("lookup {key}"),
        Operation::RemoveRow { key, row: read, .. } => format!("remove {key} {}", row(read)),
        Operation::EnterTopic { topic, epoch, .. } => format!("enter {topic} {}", epoch.get()),
        Operation::LeaveTopic { topic, epoch, .. } => format!("leave {topic} {}", epoch.get()),
        Operation::KeepTopic { key, topic, .. } => format!("keep {topic} {key}"),
        Operation::LookupTopic { topic } => format!("look up topic {topic}"),
        Operation::Claim { lease, .. } => format!("claim {}", lease.epoch.get()),
        Operation::Renew { lease, .. } => format!("renew {}", lease.epoch.get()),
        Operation::Release { .. } => "release".to_owned(),
        Operation::Log { channel, operation } => match operation {
            LogOperation::Append { .. } => format!("append {channel}"),
            LogOperation::Read { .. } => format!("read log {channel}"),
            LogOperation::Confirm { .. } => format!("confirm {channel}"),
            LogOperation::Head => format!("read head {channel}"),
            LogOperation::Delete { .. } => format!("delete log {channel}"),
        },
        Operation::View | Operation::ReadLease { .. } => return None,
    })
}
