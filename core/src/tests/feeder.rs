//! Feeds one instance, and checks what comes out of it.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher as _;
use std::time::Duration;

use super::steps::{Answering, Step};
use crate::command::{Command, Outbox, RoundTrip};
use crate::config::{ClusterSecret, Config, Identity, SlowConsumer};
use crate::directory::memory::MemoryDirectory;
use crate::directory::{self, DirectorySettings, OperationError, Reply};
use crate::event::{Closure, Event, Handshake, Heard, LinkFailure, Notice, TripLost};
use crate::frame::{CloseCode, Payload};
use crate::id::{
    CallId, ConnectionId, ConnectionKey, Epoch, InstanceId, LinkKey, OpId, PushId, UserId,
};
use crate::instance::Instance;
use crate::message::{Action, Push};
use crate::rng::Seed;
use crate::slots::Key as _;
use crate::time::{Instant, Now, WallTime};
use crate::wire::Batch;
use bytes::Bytes;

pub(super) const HERE: InstanceId = InstanceId::new(1);

/// The instance, and what its caller knows.
#[derive(Clone, Debug)]
pub(super) struct Feeder {
    pub(super) now: Now,
    pub(super) instance: Instance,
    pub(super) directory: MemoryDirectory,
    pub(super) commands: Vec<Command>,
    pub(super) connections: Vec<(ConnectionKey, ConnectionId)>,
    pub(super) open: BTreeSet<ConnectionKey>,
    pub(super) flushing: BTreeSet<ConnectionKey>,
    pub(super) forgotten: BTreeSet<ConnectionKey>,
    pub(super) noticed: BTreeMap<ConnectionKey, bool>,
    pub(super) trips: Vec<RoundTrip>,
    pub(super) ops: BTreeSet<OpId>,
    pub(super) links: Vec<LinkKey>,
    pub(super) gone_links: BTreeSet<LinkKey>,
    pub(super) writing: BTreeSet<LinkKey>,
    pub(super) last_batch: BTreeMap<LinkKey, Bytes>,
    pub(super) calls: u64,
    /// Calls without an answer, and when it is due.
    pub(super) waiting: BTreeMap<CallId, Instant>,
}

fn config() -> Config {
    Config {
        queue_frames: 3,
        queue_bytes: 64,
        push_bytes: 40,
        push_users: 3,
        pushes: 8,
        pushes_per_user: 3,
        receipt_terminals: 3,
        broadcast_rate: 1000,
        broadcasts: 2,
        repeat_entries: 4,
        link_queue_bytes: 1000,
        links: 4,
        connections: 6,
        connections_per_user: 3,
        slow_consumer: SlowConsumer::DropOldest,
        ..Config::default()
    }
}

impl Feeder {
    pub(super) fn new() -> Self {
        let now = Now {
            mono: Instant::from_nanos(1_000_000_000),
            wall: WallTime::from_millis(1_700_000_000_000),
        };
        let identity = Identity {
            instance: HERE,
            address: "here:1".to_owned(),
            secret: secret(),
        };
        let config = config();
        let directory = MemoryDirectory::new(DirectorySettings {
            prefix: "sb:".to_owned(),
            lease: config.lease,
            row_expiry: config.row_expiry,
        });
        Self {
            now,
            instance: Instance::new(config, identity, Seed::new([3; 32]), now).expect("fits"),
            directory,
            commands: Vec::new(),
            connections: Vec::new(),
            open: BTreeSet::new(),
            flushing: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            noticed: BTreeMap::new(),
            trips: Vec::new(),
            ops: BTreeSet::new(),
            links: Vec::new(),
            gone_links: BTreeSet::new(),
            writing: BTreeSet::new(),
            last_batch: BTreeMap::new(),
            calls: 0,
            waiting: BTreeMap::new(),
        }
    }

    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.instance.fingerprint(self.now, &mut hasher);
        hasher.finish()
    }

    pub(super) fn falsify_statistics(&mut self) {
        // Pushes are published with the lease, for people.
        let pushes = self.instance.stats.pushes;
        self.instance.stats = crate::stats::Stats {
            accepted: 99,
            frames: 99,
            repeats: 99,
            trips: 99,
            pushes,
            ..crate::stats::Stats::default()
        };
    }

    pub(super) fn take(&mut self, step: &Step) {
        self.happen(step);
        self.turn();
        self.check();
    }

    /// Everybody goes, and time passes.
    pub(super) fn end(&mut self) {
        for connection in std::mem::take(&mut self.open) {
            self.event(Event::Closed {
                connection,
                closure: Closure::Abrupt,
            });
        }
        for link in self.links.clone() {
            if self.gone_links.insert(link) {
                let failure = LinkFailure::Broken;
                self.event(Event::LinkDown { link, failure });
            }
        }
        self.event(Event::DirectoryDown);
        self.happen(&Step::Wait { millis: 60_000 });
        self.turn();
        self.check();
        assert!(
            self.waiting.is_empty(),
            "calls without an answer: {:?}",
            self.waiting
        );
        let accepted: BTreeSet<_> = self.connections.iter().map(|(key, _)| *key).collect();
        assert_eq!(self.forgotten, accepted, "each connection is forgotten");
        assert!(
            self.noticed.values().all(|connected| !connected),
            "each is reported gone"
        );
        assert!(self.instance.is_at_rest(), "{:#?}", self.instance);
    }

    fn happen(&mut self, step: &Step) {
        match step {
            Step::Accept { user, expires } => self.accept(*user, *expires),
            Step::Opened { connection } => {
                if let Some(connection) = self.connection(*connection) {
                    self.event(Event::Opened { connection });
                }
            }
            Step::Heard {
                connection,
                message,
            } => {
                if let Some(connection) = self.connection(*connection) {
                    let frame = if *message {
                        Heard::Message
                    } else {
                        Heard::Control
                    };
                    self.event(Event::Heard { connection, frame });
                }
            }
            Step::Written { connection } => {
                if let Some(connection) = self.connection(*connection)
                    && self.flushing.remove(&connection)
                {
                    self.event(Event::Written { connection });
                }
            }
            Step::Closed {
                connection,
                violation,
            } => {
                if let Some(connection) = self.connection(*connection) {
                    let closure = match violation {
                        true => Closure::Violation(CloseCode::TooLarge),
                        false => Closure::Clean,
                    };
                    self.open.remove(&connection);
                    self.flushing.remove(&connection);
                    self.event(Event::Closed {
                        connection,
                        closure,
                    });
                }
            }
            Step::Stray {
                slot,
                generation,
                kind,
            } => self.stray(*slot, *generation, *kind),
            Step::DirectoryUp => self.event(Event::DirectoryUp),
            Step::DirectoryDown => self.event(Event::DirectoryDown),
            Step::Answer { trip, how } => self.answer(*trip, how),
            Step::Link => self.open_links(),
            Step::Serve => self.serve(),
            Step::Plant {
                instance,
                epoch,
                state,
                user,
                connection,
            } => {
                self.plant(*instance, *epoch, *state, *user, *connection);
            }
            Step::Wipe => self.directory.wipe(),
            Step::AcceptLink => self.links.extend(self.instance.accept_link(self.now)),
            Step::LinkUp { link } => {
                if let Some(link) = self.link(*link) {
                    self.event(Event::LinkUp { link });
                }
            }
            Step::Prove { link, peer, honest } => self.prove(*link, *peer, *honest),
            Step::Bytes { link, bytes } => self.receive(*link, bytes.clone().into()),
            Step::Say { link, messages } => {
                let mut batch = Batch::new();
                for said in messages {
                    batch.push(&self.message(said));
                }
                self.receive(*link, batch.take());
            }
            Step::LinkWritten { link } => {
                if let Some(link) = self.link(*link)
                    && self.writing.remove(&link)
                {
                    self.event(Event::LinkWritten { link });
                }
            }
            Step::LinkDown { link, not_me } => {
                if let Some(link) = self.link(*link) {
                    let failure = if *not_me {
                        LinkFailure::NotMe
                    } else {
                        LinkFailure::Broken
                    };
                    self.gone_links.insert(link);
                    self.event(Event::LinkDown { link, failure });
                }
            }
            Step::Push {
                id,
                to,
                kick,
                bytes,
                millis,
            } => {
                let deadline = Duration::from_millis((*millis).into());
                let push = Push {
                    id: push_id(*id),
                    to: self.audience(to),
                    action: action(*kick, *bytes),
                    deadline,
                };
                let call = self.call(deadline.min(Config::DEADLINE_MAX));
                self.event(Event::Push { call, push });
            }
            Step::Connections { user } => {
                // A lookup and a reading of the leases, each behind what waits.
                let call = self.call(Duration::from_secs(30));
                let user = user_id(*user);
                self.event(Event::Connections { call, user });
            }
            Step::Instances => {
                let call = self.call(Duration::ZERO);
                self.event(Event::Instances { call });
            }
            Step::Drain { delay, spread } => self.event(Event::Drain {
                delay: Duration::from_millis((*delay).into()),
                spread: Duration::from_millis((*spread).into()),
            }),
            Step::Wait { millis } => {
                let span = Duration::from_millis((*millis).into());
                self.now.mono = self.now.mono + span;
                let wall = self.now.wall.as_millis() + u64::from(*millis);
                self.now.wall = WallTime::from_millis(wall);
            }
        }
    }

    fn accept(&mut self, user: u8, expires: Option<u16>) {
        let expires = expires
            .map(|millis| WallTime::from_millis(self.now.wall.as_millis() + u64::from(millis)));
        let user = user_id(user);
        if let Ok(key) = self.instance.accept(self.now, Handshake { user, expires }) {
            let id = self.instance.connection_id(key).expect("just accepted");
            self.connections.push((key, id));
            self.open.insert(key);
        }
    }

    fn stray(&mut self, slot: u32, generation: u32, kind: u8) {
        let connection = ConnectionKey::new(slot + 100, generation);
        let link = LinkKey::new(slot + 100, generation);
        let failure = LinkFailure::Broken;
        let closure = Closure::Clean;
        self.event(match kind % 8 {
            0 => Event::Opened { connection },
            1 => Event::Heard {
                connection,
                frame: Heard::Message,
            },
            2 => Event::Written { connection },
            3 => Event::Closed {
                connection,
                closure,
            },
            4 => Event::LinkUp { link },
            5 => Event::LinkWritten { link },
            6 => Event::LinkDown { link, failure },
            _ => Event::Directory {
                op: OpId::new(generation.into()),
                outcomes: Err(TripLost),
            },
        });
    }

    fn answer(&mut self, trip: usize, how: &Answering) {
        if self.trips.is_empty() {
            return;
        }
        let trip = self.trips.remove(trip % self.trips.len());
        let mut outcomes: Vec<directory::Outcome> = (trip.operations.iter())
            .map(|operation| self.directory.execute(self.now.mono, operation))
            .collect();
        let text = || "-ERR".to_owned();
        match how {
            Answering::Truly => {}
            Answering::Lost => {
                let op = trip.op;
                self.event(Event::Directory {
                    op,
                    outcomes: Err(TripLost),
                });
                return;
            }
            Answering::Short => {
                outcomes.pop();
            }
            Answering::NotPrimary => outcomes[0] = Err(OperationError::NotPrimary(text())),
            Answering::Refused => outcomes.fill(Err(OperationError::Refused(text()))),
            Answering::Wrongly(number) => outcomes.fill(Ok(reply(*number))),
        }
        let op = trip.op;
        self.event(Event::Directory {
            op,
            outcomes: Ok(outcomes),
        });
    }

    /// The directory, the sockets and the links do what they were told.
    fn serve(&mut self) {
        for _ in 0..4 {
            while !self.trips.is_empty() {
                self.answer(0, &Answering::Truly);
                self.turn();
            }
            for connection in self.open.clone() {
                self.event(Event::Opened { connection });
            }
            for connection in std::mem::take(&mut self.flushing) {
                self.event(Event::Written { connection });
            }
            for link in std::mem::take(&mut self.writing) {
                self.event(Event::LinkWritten { link });
            }
            self.turn();
        }
    }

    pub(super) fn receive(&mut self, link: usize, batch: Bytes) {
        if let Some(link) = self.link(link) {
            self.event(Event::LinkReceived { link, batch });
        }
    }

    fn connection(&self, number: usize) -> Option<ConnectionKey> {
        let count = self.connections.len();
        (count > 0).then(|| self.connections[number % count].0)
    }

    pub(super) fn link(&self, number: usize) -> Option<LinkKey> {
        // The youngest first: the others have often gone.
        let count = self.links.len();
        (count > 0).then(|| self.links[count - 1 - number % count])
    }

    fn call(&mut self, within: Duration) -> CallId {
        self.calls += 1;
        let call = CallId::new(self.calls);
        // Timers are served within two of their ticks.
        let due = self.now.mono + within + Duration::from_millis(3);
        self.waiting.insert(call, due);
        call
    }

    pub(super) fn event(&mut self, event: Event) {
        let mut out = Outbox::new();
        self.instance.handle(self.now, event, &mut out);
        self.execute(&mut out);
    }

    pub(super) fn turn(&mut self) {
        for _ in 0..10_000 {
            if self
                .instance
                .next_timeout()
                .is_none_or(|(at, _)| at > self.now.mono)
            {
                return;
            }
            let mut out = Outbox::new();
            self.instance.handle_timeout(self.now, &mut out);
            self.execute(&mut out);
        }
        panic!("busy without end: {:?}", self.instance.next_timeout());
    }

    fn execute(&mut self, out: &mut Outbox) {
        for command in out.drain() {
            self.commands.push(command.clone());
            match command {
                Command::Flush { connection } => {
                    assert!(self.flushing.insert(connection), "a second Flush");
                }
                Command::Close { connection, .. } | Command::Abort { connection } => {
                    self.flushing.remove(&connection);
                }
                Command::Forget { connection } => {
                    assert!(
                        !self.open.contains(&connection),
                        "forgotten before it was closed"
                    );
                    assert!(self.forgotten.insert(connection), "forgotten twice");
                }
                Command::Directory(trip) => {
                    assert!(
                        self.ops.insert(trip.op),
                        "an operation's number is used twice"
                    );
                    self.trips.push(*trip);
                }
                Command::Dial { link, .. } => self.links.push(link),
                Command::LinkWrite { link, batch } => {
                    assert!(self.writing.insert(link), "a second LinkWrite");
                    self.last_batch.insert(link, batch);
                }
                Command::LinkClose { link } => {
                    self.gone_links.insert(link);
                    self.writing.remove(&link);
                }
                Command::Answer { call, .. } => {
                    assert!(self.waiting.remove(&call).is_some(), "answered twice");
                }
                Command::Notify(notice) => match *notice {
                    Notice::Connected { connection, .. } => {
                        assert_eq!(self.noticed.insert(connection, true), None);
                    }
                    Notice::Disconnected { connection, .. } => {
                        assert_eq!(self.noticed.insert(connection, false), Some(true));
                    }
                },
                Command::Send { .. }
                | Command::Ping { .. }
                | Command::DirectoryReset
                | Command::Log(_)
                | Command::Drained => {}
            }
        }
    }

    fn check(&self) {
        for (call, due) in &self.waiting {
            assert!(*due > self.now.mono, "{call:?} is not answered");
        }
        assert_eq!(self.instance.stats().bugs, 0);
        self.instance.check_limits();
    }
}

pub(super) fn secret() -> ClusterSecret {
    ClusterSecret::new(b"0123456789abcdef").expect("long enough")
}

pub(super) fn user_id(number: u8) -> UserId {
    UserId::new(["ann", "bob", "eve", "joe"][number as usize % 4]).expect("a user")
}

pub(super) fn push_id(number: u8) -> PushId {
    PushId::new(uuid::Uuid::from_u128(u128::from(number % 16)))
}

pub(super) fn action(kick: bool, bytes: usize) -> Action {
    if kick {
        return Action::Close(CloseCode::Kicked);
    }
    Action::Frame(Payload::binary(vec![1; bytes].into()))
}

/// A reply that fits its operation by chance only.
fn reply(number: u8) -> Reply {
    match number % 10 {
        0 => Reply::Registered,
        1 => Reply::Removed(true),
        2 => Reply::Rows {
            rows: Vec::new(),
            malformed: 3,
        },
        3 => Reply::Leases {
            leases: Vec::new(),
            malformed: 1,
        },
        4 => Reply::Claimed { replaced: None },
        5 => Reply::ClaimRefused {
            epoch: Epoch::new(number.into()),
        },
        6 => Reply::Renewed,
        7 => Reply::Lost,
        8 => Reply::Superseded,
        _ => Reply::Lease(None),
    }
}
