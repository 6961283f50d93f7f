//! For tests: one instance whose directory is a toy in the test's hands, and whose commands read as
//! short texts.

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::rng::Seed;
use crate::command::{Command, Outbox, RoundTrip};
use crate::config::{ClusterSecret, Config, Identity};
use crate::directory::memory::MemoryDirectory;
use crate::directory::{
    DirectorySettings, Lease, LeaseState, Load, Operation, OperationError, OperationResult, Row,
};
use crate::event::{Answer, Closure, Event, Handshake, Heard, Life, Notice, TripLost};
use crate::frame::{CloseCode, Messages, Outgoing, Payload};
use crate::id::{CallId, ConnectionKey, Epoch, InstanceId, OpId, PushId, UserId};
use crate::instance::Instance;
use crate::message::{Action, Audience, Push};
use crate::time::{Instant, Now, WallTime};

/// What becomes of round trips.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    /// They are executed and answered at once.
    Answers,
    /// They wait for the test.
    Waits,
    /// They are executed, and their answers are lost.
    Mute,
}

/// One instance, its directory, and a clock.
pub(crate) struct Rig {
    pub(crate) now: Now,
    pub(crate) instance: Instance,
    pub(crate) directory: MemoryDirectory,
    pub(crate) server: Server,
    /// Sockets write at once.
    pub(crate) writes: bool,
    /// What probes find. `None`: they are not answered.
    pub(crate) life: Option<Life>,
    pub(crate) trips: VecDeque<RoundTrip>,
    pub(crate) answers: Vec<Answer>,
    pushes: u128,
}

pub(crate) const HERE: InstanceId = InstanceId::new(1);
pub(crate) const OTHER: InstanceId = InstanceId::new(2);

impl Rig {
    /// An instance without a directory link.
    pub(crate) fn new(config: Config) -> Self {
        let now = Now {
            mono: Instant::from_nanos(3_600_000_000_000),
            wall: WallTime::from_millis(1_700_000_000_000),
        };
        let directory = MemoryDirectory::new(DirectorySettings {
            prefix: "sb:".to_owned(),
            lease: config.lease,
            row_expiry: config.row_expiry,
        });
        let identity = Identity {
            instance: HERE,
            address: "here:1".to_owned(),
            secret: ClusterSecret::new(b"0123456789abcdef").expect("long enough"),
        };
        Self {
            now,
            instance: Instance::new(config, identity, Seed::new([7; 32]), now).expect("fits"),
            directory,
            server: Server::Answers,
            writes: true,
            life: Some(Life::NotShown),
            trips: VecDeque::new(),
            answers: Vec::new(),
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
        self.trips.clear();
        self.event(Event::DirectoryDown)
    }

    /// Hands in an event and all that follows from it at once. Returns the commands, but for those
    /// to the directory and to operators.
    pub(crate) fn event(&mut self, event: Event) -> Vec<String> {
        let mut said = Vec::new();
        self.hand_in(event, &mut said);
        said
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, span: Duration) -> Vec<String> {
        let until = self.now.mono + span;
        let mut said = Vec::new();
        while let Some((at, _)) = self.instance.next_timeout().filter(|(at, _)| *at <= until) {
            self.jump_to(at.max(self.now.mono));
            self.turn(&mut said);
        }
        self.jump_to(until);
        said
    }

    pub(crate) fn pass_ms(&mut self, millis: u64) -> Vec<String> {
        self.pass(Duration::from_millis(millis))
    }

    /// The instance stands still for so long, and wakes up with all timers due.
    pub(crate) fn pause(&mut self, span: Duration) -> Vec<String> {
        self.jump_to(self.now.mono + span);
        let mut said = Vec::new();
        self.turn(&mut said);
        said
    }

    fn jump_to(&mut self, mono: Instant) {
        let passed = mono.since(self.now.mono).as_millis() as u64;
        self.now = Now {
            mono,
            wall: WallTime::from_millis(self.now.wall.as_millis() + passed),
        };
    }

    pub(crate) fn accept(&mut self, user: &str) -> ConnectionKey {
        self.accept_until(user, None)
    }

    pub(crate) fn accept_until(&mut self, user: &str, token: Option<Duration>) -> ConnectionKey {
        let expires = token.map(|token| {
            WallTime::from_millis(self.now.wall.as_millis() + token.as_millis() as u64)
        });
        let handshake = Handshake {
            expires,
            ..Handshake::new(UserId::new(user).expect("a user"))
        };
        (self.instance.accept(self.now, handshake)).expect("taken")
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
        };
        let call = CallId::new(self.pushes as u64);
        self.event(Event::Push { call, push })
    }

    /// Whether the receipt of the last push that was answered says `degraded`.
    pub(crate) fn last_receipt_is_degraded(&self) -> bool {
        match self.answers.last() {
            Some(Answer::Push(Ok(receipt))) => receipt.degraded,
            other => panic!("no receipt: {other:?}"),
        }
    }

    /// Operations that wait for an answer, evidence and views left out.
    pub(crate) fn asked(&self) -> Vec<String> {
        let operations = self.trips.iter().flat_map(|trip| &trip.operations);
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
        let mut said = Vec::new();
        for trip in std::mem::take(&mut self.trips) {
            let outcomes = (trip.operations.iter())
                .map(|operation| {
                    other(operation)
                        .unwrap_or_else(|| self.directory.execute(self.now.mono, operation))
                })
                .collect();
            self.end_trip(trip.op, Ok(outcomes), &mut said);
        }
        said
    }

    /// Executes the round trips that wait. Their answers are lost.
    pub(crate) fn execute_unanswered(&mut self) {
        for trip in std::mem::take(&mut self.trips) {
            for operation in &trip.operations {
                drop(self.directory.execute(self.now.mono, operation));
            }
        }
    }

    /// The link breaks before any round trip that waits is answered.
    pub(crate) fn lose_trips(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        for trip in std::mem::take(&mut self.trips) {
            self.end_trip(trip.op, Err(TripLost), &mut said);
        }
        said
    }

    fn end_trip(
        &mut self,
        op: OpId,
        outcomes: Result<Vec<OperationResult>, TripLost>,
        said: &mut Vec<String>,
    ) {
        self.hand_in(Event::Directory { op, outcomes }, said);
    }

    /// What the own lease says: its epoch, its floor and its state.
    pub(crate) fn lease(&self) -> (u64, u64, LeaseState) {
        let mut leases = self.directory.leases(self.now.mono);
        let seen = leases.find(|seen| seen.instance == HERE).expect("a lease");
        (
            seen.lease.epoch.get(),
            seen.lease.floor.get(),
            seen.lease.state,
        )
    }

    /// The directory's clock goes back: the own lease lasts longer by so much.
    pub(crate) fn prolong_lease(&mut self, by: Duration) {
        let mut leases = self.directory.leases(self.now.mono);
        let seen = leases.find(|seen| seen.instance == HERE).expect("a lease");
        drop(leases);
        let renewal = Operation::Renew {
            instance: HERE,
            expected: seen.lease.clone(),
            lease: seen.lease,
            load: seen.load,
        };
        // What is executed before its lease has run out, at any moment, counts from there.
        let mut until = self.now.mono;
        while until < self.now.mono + by {
            until = until + Duration::from_secs(1);
            drop(self.directory.execute(until, &renewal));
        }
    }

    /// The epochs of the rows in the directory.
    pub(crate) fn row_epochs(&self) -> Vec<u64> {
        (self.directory.rows(self.now.mono))
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
        drop(self.directory.execute(self.now.mono, &operation));
    }

    /// Another instance changes what its lease says.
    pub(crate) fn other_renews(&mut self, expected: Lease, lease: Lease) {
        let operation = Operation::Renew {
            instance: OTHER,
            expected,
            lease,
            load: Load::default(),
        };
        drop(self.directory.execute(self.now.mono, &operation));
    }

    pub(crate) fn is_doubtful(&self, instance: InstanceId) -> bool {
        let now = self.now.mono;
        self.instance
            .membership()
            .view()
            .doubtful(now, now)
            .contains(&instance)
    }

    fn hand_in(&mut self, event: Event, said: &mut Vec<String>) {
        let mut out = Outbox::new();
        self.instance.handle(self.now, event, &mut out);
        self.execute(&mut out, said);
        self.turn(said);
    }

    fn turn(&mut self, said: &mut Vec<String>) {
        for _ in 0..100_000 {
            let due = self.instance.next_timeout();
            if due.is_none_or(|(at, _)| at > self.now.mono) {
                return;
            }
            let mut out = Outbox::new();
            self.instance.handle_timeout(self.now, &mut out);
            self.execute(&mut out, said);
        }
        panic!("the instance is busy without end");
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the rest is not for the outside"
    )]
    fn execute(&mut self, out: &mut Outbox, said: &mut Vec<String>) {
        let commands: Vec<Command> = out.drain().collect();
        let mut follow = Vec::new();
        for command in commands {
            said.extend(text(&command));
            match command {
                Command::Directory(trip) => match self.server {
                    Server::Waits => self.trips.push_back(*trip),
                    Server::Answers | Server::Mute => {
                        let outcomes = (trip.operations.iter())
                            .map(|operation| self.directory.execute(self.now.mono, operation))
                            .collect();
                        if self.server == Server::Answers {
                            let outcomes = Ok(outcomes);
                            follow.push(Event::Directory {
                                op: trip.op,
                                outcomes,
                            });
                        }
                    }
                },
                Command::Flush { connection } if self.writes => {
                    follow.push(Event::Written { connection })
                }
                Command::Probe { connection } => {
                    follow.extend(self.life.map(|life| Event::Probed { connection, life }));
                }
                Command::Answer { answer, .. } => self.answers.push(*answer),
                _ => {}
            }
        }
        for event in follow {
            self.hand_in(event, said);
        }
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
        Operation::Register { .. } | Operation::Claim { .. } | Operation::Renew { .. } => refused(),
        _ => None,
    }
}

/// Refuses what a primary without enough replicas refuses: all that would write.
pub(crate) fn no_replicas(operation: &Operation) -> Option<OperationResult> {
    match operation {
        Operation::Lookup { .. } | Operation::View | Operation::ReadLease { .. } => None,
        Operation::Register { .. }
        | Operation::Unregister { .. }
        | Operation::RemoveRow { .. }
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

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the rest is not of interest"
)]
fn text(command: &Command) -> Option<String> {
    Some(match command {
        Command::Send {
            connection,
            outgoing,
        } => {
            let what = match outgoing {
                Outgoing::Hello { degraded, .. } if *degraded => "hello-degraded".to_owned(),
                Outgoing::Hello { .. } => "hello".to_owned(),
                Outgoing::Pushed(pushed) => {
                    String::from_utf8_lossy(pushed.payload().bytes()).into_owned()
                }
                Outgoing::Received(Messages { received, dropped }) => {
                    format!("received {received} dropped {dropped}")
                }
            };
            format!("{what} {}", connection.slot())
        }
        Command::Flush { connection } => format!("flush {}", connection.slot()),
        Command::Ping { connection } => format!("ping {}", connection.slot()),
        Command::Probe { connection } => format!("probe {}", connection.slot()),
        Command::Close { connection, code } => {
            format!("close {} {}", connection.slot(), code.number())
        }
        Command::Abort { connection } => format!("abort {}", connection.slot()),
        Command::Forget { connection } => format!("forget {}", connection.slot()),
        Command::Notify(notice) => match &**notice {
            Notice::Connected { connection, .. } => format!("connected {}", connection.slot()),
            Notice::Disconnected { connection, .. } => {
                format!("disconnected {}", connection.slot())
            }
        },
        Command::DirectoryReset => "reset".to_owned(),
        Command::Dial { dial, .. } => format!("dial {}", dial.instance.get()),
        Command::Drained => "drained".to_owned(),
        _ => return None,
    })
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
        Operation::Claim { lease, .. } => format!("claim {}", lease.epoch.get()),
        Operation::Renew { lease, .. } => format!("renew {}", lease.epoch.get()),
        Operation::Release { .. } => "release".to_owned(),
        Operation::View | Operation::ReadLease { .. } => return None,
    })
}
