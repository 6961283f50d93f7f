//! The terminals that are connected here: their lives, their table, what waits for each.

mod connection;
mod hooks;
mod outbound;
mod registry;
mod topic_logs;
mod topics;

use std::collections::VecDeque;
use std::hash::Hasher;

use crate::base::fingerprint::Fingerprint;
use crate::base::rng::SeededHash;
use crate::config::Config;
use crate::context::Context;
use crate::id::{ConnectionId, ConnectionKey, UserId};
use crate::key::Key;
use crate::stats::{Gauges, Level, Tables};
use crate::time::Instant;
use crate::vocabulary::delivery::FrameOutcome;
use crate::vocabulary::terminal::{Age, Terminal};
use crate::vocabulary::timer::TerminalsTimer;

use connection::Connection;
pub(crate) use outbound::NoRoom;
use registry::Registry;
use topics::Topics;

/// The terminals of this instance.
#[derive(Clone, Debug)]
pub(crate) struct Terminals {
    registry: Registry,
    /// Connections that have not said who they are, at most, whatever the settings say.
    strangers: usize,
    topics: Topics,
    /// Connections with frames to write at the end of the turn.
    unflushed: Vec<ConnectionKey>,
    /// What became of frames, until whoever has their tickets takes it. There is none between calls
    /// of the instance.
    outcomes: VecDeque<FrameOutcome>,
}

impl Terminals {
    pub(crate) fn new(hash: &SeededHash) -> Self {
        Self {
            registry: Registry::new(hash),
            strangers: usize::MAX,
            topics: Topics::new(hash),
            unflushed: Vec::new(),
            outcomes: VecDeque::new(),
        }
    }

    /// The world has room for no more than so many that have not said who they are.
    pub(crate) const fn limit_strangers(&mut self, most: usize) {
        self.strangers = most;
    }

    /// A connection that is not forgotten, and that has said who it is.
    pub(crate) fn get(&self, connection: ConnectionKey) -> Option<Terminal<'_>> {
        self.registry.get(connection)?.terminal()
    }

    /// The name of a connection that is not forgotten.
    pub(crate) fn id(&self, connection: ConnectionKey) -> Option<ConnectionId> {
        Some(self.registry.get(connection)?.id)
    }

    /// How far a connection is that is not forgotten, for people.
    pub(crate) fn state(&self, connection: ConnectionKey) -> Option<&'static str> {
        Some(self.registry.get(connection)?.state())
    }

    /// Whether a batch of a connection is with the driver.
    #[cfg(test)]
    pub(crate) fn is_writing(&self, connection: ConnectionKey) -> bool {
        (self.registry.get(connection)).is_some_and(|connection| connection.outbound.is_writing())
    }

    /// A present connection that is found by this key, by its name.
    pub(crate) fn find(&self, connection: ConnectionId, key: &Key) -> Option<ConnectionKey> {
        let found = self.registry.find(connection)?;
        let is_its = self.registry.get(found)?.key.as_ref() == Some(key);
        is_its.then_some(found)
    }

    /// The greeted connections that are found by a key, oldest first.
    pub(crate) fn greeted_of(&self, key: &Key) -> impl Iterator<Item = Terminal<'_>> {
        (self.registry.of(key).iter())
            .filter_map(|connection| self.registry.get(*connection))
            .filter(|connection| connection.is_live())
            .filter_map(Connection::terminal)
    }

    /// The youngest present connection that is older than `age`, and has said who it is.
    pub(crate) fn next_older(&self, age: Age) -> Option<(Age, ConnectionKey)> {
        self.registry.next_older(age)
    }

    /// The oldest present connection that is at least as young as `age`, and has said who it is.
    pub(crate) fn next_younger(&self, age: Age) -> Option<(Age, ConnectionKey)> {
        self.registry.next_younger(age)
    }

    /// Connections, those included whose end has begun.
    pub(crate) fn len(&self) -> usize {
        self.registry.len()
    }

    /// Connections whose end has not begun.
    pub(crate) fn present(&self) -> usize {
        self.registry.present()
    }

    /// Users with a greeted terminal, in the order of their names: those behind this one.
    pub(crate) fn online(&self, after: Option<&UserId>) -> impl Iterator<Item = &UserId> {
        self.registry.online(after)
    }

    /// How many they are in all.
    pub(crate) fn users_online(&self) -> usize {
        self.registry.users_online()
    }

    /// Writes down what there is to see of them.
    pub(crate) fn gauge(&self, gauges: &mut Gauges) {
        gauges.connections = self.len();
        gauges.users = self.registry.users();
        self.gauge_topics(gauges);
        gauges.authenticating = self.registry.strangers();
    }

    /// How full its tables and queues are; of the queues, the fullest.
    pub(crate) fn levels(&self, config: &Config) -> [Level; 4] {
        let waiting = (self.registry.iter()).map(|(_, connection)| &connection.outbound);
        let (frames, bytes) = waiting.fold((0, 0), |(frames, bytes): (usize, usize), queue| {
            (frames.max(queue.frames()), bytes.max(queue.bytes()))
        });
        [
            Level {
                setting: "connections",
                used: self.len(),
                limit: config.connections,
            },
            Level {
                setting: "queue_frames",
                used: frames,
                limit: config.queue_frames,
            },
            Level {
                setting: "queue_bytes",
                used: bytes,
                limit: config.queue_bytes,
            },
            Level {
                setting: "topic_members",
                used: self.topics.most_members(),
                limit: config.topic_members,
            },
        ]
    }

    /// Counts what is in its tables.
    pub(crate) fn count(&self, tables: &mut Tables) {
        self.registry.count(tables);
        self.count_topics(tables);
        let waiting = (self.registry.iter()).map(|(_, connection)| connection.outbound.len());
        tables.outbound = waiting.sum();
    }

    /// Whether something has become of a frame that nobody has taken.
    pub(crate) fn has_outcomes(&self) -> bool {
        !self.outcomes.is_empty()
    }

    /// What became of a frame, oldest first.
    pub(crate) fn next_outcome(&mut self) -> Option<FrameOutcome> {
        self.outcomes.pop_front()
    }

    /// Does what is due.
    pub(crate) fn timer_due(
        &mut self,
        cx: &mut Context<'_>,
        TerminalsTimer(connection): TerminalsTimer,
    ) {
        self.connection_due(cx, connection);
    }

    /// Hands the driver what was queued in this turn.
    pub(crate) fn end_turn(&mut self, cx: &mut Context<'_>) {
        let mut connections = std::mem::take(&mut self.unflushed);
        for connection in connections.drain(..) {
            self.flush(cx, connection);
        }
        self.unflushed = connections;
    }

    /// Whether nothing waits for the end of the turn.
    pub(crate) fn turn_is_over(&self) -> bool {
        debug_assert!(self.outcomes.is_empty(), "an outcome was not taken");
        self.unflushed.is_empty()
    }

    pub(crate) fn fingerprint_turn(&self, now: Instant, hasher: &mut impl Hasher) {
        self.unflushed.fingerprint(now, hasher);
    }

    /// `row` hashes what is known of the row of a connection, which somebody else knows.
    pub(crate) fn fingerprint<H: Hasher>(
        &self,
        now: Instant,
        hasher: &mut H,
        row: impl Fn(ConnectionKey, &mut H),
    ) {
        self.registry.fingerprint(now, hasher, row);
    }
}
