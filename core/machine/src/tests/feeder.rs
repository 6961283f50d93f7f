//! One instance that is fed, and a caller that checks what comes out of it.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher as _;

use super::steps::Step;
use crate::base::rng::Seed;
use crate::command::{Command, Outbox, RoundTrip};
use crate::config::{ClusterSecret, Config, Identity, SlowConsumer};
use crate::directory::DirectorySettings;
use crate::directory::memory::MemoryDirectory;
use crate::event::{Closure, Event, LinkFailure, Notice};
use crate::frame::{CloseCode, Payload};
use crate::id::{CallId, ConnectionId, ConnectionKey, InstanceId, LinkKey, OpId, PushId, UserId};
use crate::instance::Instance;
use crate::message::Action;
use crate::time::{Instant, Now, WallTime};
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
    proven: BTreeSet<LinkKey>,
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
            proven: BTreeSet::new(),
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
        let pushes = self.instance.stats().pushes;
        *self.instance.stats_mut() = crate::stats::Stats {
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
                Command::LinkProven { link } => {
                    assert!(self.proven.insert(link), "proven twice");
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
                | Command::Probe { .. }
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
        for level in self.instance.levels() {
            assert!(level.used <= level.limit, "{level:?}");
        }
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
