//! One instance that is fed, and a caller that checks what comes out of it.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher as _;

use super::steps::Step;
use crate::config::{Config, SlowConsumer};
use crate::event::{Closure, Event, LinkFailure};
use crate::frame::{CloseCode, Payload};
use crate::id::{CallId, ConnectionId, ConnectionKey, LinkKey, PushId, UserId};
use crate::instance::Instance;
use crate::message::Action;
use crate::testing::cluster::{Cluster, KeptCommands, Server};
use crate::time::Instant;
use bytes::Bytes;

/// The instance, and what its caller knows.
#[derive(Clone, Debug)]
pub(super) struct Feeder {
    pub(super) cluster: Cluster,
    pub(super) connections: Vec<(ConnectionKey, ConnectionId)>,
    pub(super) open: BTreeSet<ConnectionKey>,
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
        let mut cluster = Cluster::of_one(config(), KeptCommands::All(Vec::new()));
        cluster.server = Server::Waits;
        cluster.writes = false;
        cluster.life = None;
        Self {
            cluster,
            connections: Vec::new(),
            open: BTreeSet::new(),
            calls: 0,
            waiting: BTreeMap::new(),
        }
    }

    pub(super) fn instance(&self) -> &Instance {
        &self.cluster.instances[0]
    }

    pub(super) const fn commands(&self) -> &KeptCommands {
        &self.cluster.record
    }

    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.instance().fingerprint(self.cluster.now, &mut hasher);
        hasher.finish()
    }

    pub(super) fn falsify_statistics(&mut self) {
        // Pushes are published with the lease, for people.
        let pushes = self.instance().stats().pushes;
        *self.cluster.instances[0].stats_mut() = crate::stats::Stats {
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
        for link in self.links().to_vec() {
            if !self.is_gone(link) {
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
        let accepted: BTreeSet<_> = self.connections.iter().map(|(key, _)| (0, *key)).collect();
        let cluster = &self.cluster;
        assert_eq!(
            cluster.contract.forgotten, accepted,
            "each connection is forgotten"
        );
        assert!(
            cluster
                .contract
                .noticed
                .values()
                .all(|connected| !connected),
            "each is reported gone"
        );
        assert!(self.instance().is_at_rest(), "{:#?}", self.instance());
    }

    /// The instance takes an event, and no turn: others may come first.
    pub(super) fn event(&mut self, event: Event) {
        self.cluster.take(0, event);
    }

    pub(super) fn turn(&mut self) {
        self.cluster.turn(0);
    }

    /// Links that were accepted or dialled.
    pub(super) fn links(&self) -> &[LinkKey] {
        &self.cluster.loose_dials
    }

    pub(super) fn is_gone(&self, link: LinkKey) -> bool {
        self.cluster.loose_closed.contains(&link)
    }

    /// What the instance wrote last on a link.
    pub(super) fn last_batch(&self, link: LinkKey) -> Option<&Bytes> {
        let mut written = self.cluster.loose.iter().rev();
        let last = written.find(|(to, _)| *to == link)?;
        Some(&last.1)
    }

    fn check(&mut self) {
        let answers = &self.cluster.answers;
        self.waiting.retain(|call, due| {
            let answered = answers.contains_key(call);
            assert!(
                answered || *due > self.cluster.now.mono,
                "{call:?} is not answered"
            );
            !answered
        });
        assert_eq!(answers.len() + self.waiting.len(), self.calls as usize);
        assert_eq!(self.instance().stats().bugs, 0);
        for level in self.instance().levels() {
            assert!(level.used <= level.limit, "{level:?}");
        }
    }
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
