//! The directory as the instances of a world reach it: the model of Redis, and the way to it.

mod execute;
mod faults;
mod link;
mod trips;

use std::collections::BTreeSet;

use switchboard_core::channel::Channel;
use switchboard_core::directory::log::LogPart;
use switchboard_core::directory::memory::MemoryDirectory;
use switchboard_core::directory::{Row, SeenLease};
use switchboard_core::id::{ConnectionId, Epoch, InstanceId, TopicId};
use switchboard_core::key::Key;
use switchboard_core::position::Position;
use switchboard_core::time::Instant;

use crate::fingerprint::{Fingerprint, Print};
use crate::noise::Latency;
use crate::redis::{ChainLink, Redis};
use crate::settings::REDIS_LATENCY;

use link::DirectoryLink;

pub(crate) use trips::Arrival;

/// The servers of the directory, and each instance's link to them.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    redis: Redis,
    /// The base of the delay on the way to it, and back.
    latency: Latency,
    /// The link of each process.
    links: Vec<DirectoryLink>,
    /// What processes have said of topics and the primary has thrown away, until they say it again, or have no members.
    evicted: BTreeSet<(usize, TopicId)>,
}

// Links are fed with the processes whose they are.
impl Fingerprint for Directory {
    fn fingerprint(&self, to: &mut Print) {
        let Self {
            redis,
            latency,
            links: _,
            // It is for the ledger.
            evicted: _,
        } = self;
        redis.fingerprint(to);
        latency.fingerprint(to);
    }
}

impl Directory {
    /// With this content, and links for so many processes, none of which is open.
    pub(crate) fn new(content: MemoryDirectory, hosts: usize) -> Self {
        Self {
            redis: Redis::holding(content),
            latency: Latency::new(REDIS_LATENCY),
            links: vec![DirectoryLink::default(); hosts],
            evicted: BTreeSet::new(),
        }
    }

    /// All rows that the primary knows, live or dead.
    pub(crate) fn rows(&self, now: Instant) -> impl Iterator<Item = (ConnectionId, Row)> {
        (self.redis.primary().rows(self.redis.clock(now)))
            .map(|(_, connection, row)| (connection, *row))
    }

    /// The rows that readers take for live: their instance's lease has not expired, and their epoch
    /// is not below its floor.
    pub(crate) fn live_rows(&self, now: Instant) -> impl Iterator<Item = (ConnectionId, Row)> {
        let clock = self.redis.clock(now);
        let floors: Vec<_> = self.redis.primary().floors(clock).collect();
        self.rows(now).filter(move |(_, row)| {
            let is_above = |(instance, floor): &_| *instance == row.instance && row.epoch >= *floor;
            floors.iter().any(is_above)
        })
    }

    /// The row of one connection, live or dead.
    pub(crate) fn row(&self, now: Instant, key: &Key, connection: ConnectionId) -> Option<Row> {
        let clock = self.redis.clock(now);
        self.redis.primary().row(clock, key, connection)
    }

    /// What the primary keeps of a log.
    pub(crate) fn log(&self, now: Instant, channel: &Channel) -> Option<LogPart> {
        self.redis.primary().log(self.redis.clock(now), channel)
    }

    /// The last position of a log at the primary, if there is one.
    pub(crate) fn head(&self, now: Instant, channel: &Channel) -> Option<Position> {
        self.redis.primary().head(self.redis.clock(now), channel)
    }

    /// All records of the history of a log in which the primary is.
    pub(crate) fn chain(&self, now: Instant, channel: &Channel) -> &[ChainLink] {
        let chain = self.redis.chain(channel);
        // A log that has just begun has none.
        let last = chain.last().map(|link| link.position);
        if last == self.head(now, channel) {
            chain
        } else {
            &[]
        }
    }

    /// Those records of a log at the primary whose pushes may be remembered.
    pub(crate) fn remembered(&self, now: Instant, channel: &Channel) -> &[ChainLink] {
        self.redis.remembered(now, channel)
    }

    /// All leases, those that have expired too.
    pub(crate) fn leases(&self, now: Instant) -> impl Iterator<Item = SeenLease> {
        self.redis.primary().leases(self.redis.clock(now))
    }

    /// How many leases have not expired.
    pub(crate) fn live_leases(&self, now: Instant) -> usize {
        let clock = self.redis.clock(now);
        self.redis.primary().floors(clock).count()
    }

    /// The lease of one instance, if the directory has it, expired or not.
    pub(crate) fn lease(&self, now: Instant, instance: InstanceId) -> Option<SeenLease> {
        let clock = self.redis.clock(now);
        self.redis.primary().lease(clock, instance)
    }

    /// Whether a row is live by the directory as it is at this moment.
    pub(crate) fn is_live(&self, now: Instant, row: Row) -> bool {
        self.lease(now, row.instance)
            .is_some_and(|seen| seen.remaining.is_some() && row.epoch >= seen.lease.floor)
    }

    /// What the primary says of topics: which instances have members, each under which epoch.
    pub(crate) fn topic_rows(
        &self,
        now: Instant,
    ) -> impl Iterator<Item = (&TopicId, InstanceId, Epoch)> {
        self.redis.primary().topic_rows(self.redis.clock(now))
    }

    /// The epoch under which an instance said that it has members of a topic.
    pub(crate) fn entered(
        &self,
        now: Instant,
        topic: &TopicId,
        instance: InstanceId,
    ) -> Option<Epoch> {
        let mut rows = self.topic_rows(now);
        let row = rows.find(|(of, at, _)| *of == topic && *at == instance);
        row.map(|(_, _, epoch)| epoch)
    }

    /// Whether readers take it for true that an instance has members of a topic.
    pub(crate) fn is_entered(&self, now: Instant, topic: &TopicId, instance: InstanceId) -> bool {
        let lease = self.lease(now, instance);
        let live = lease.filter(|seen| seen.remaining.is_some());
        let epoch = self.entered(now, topic, instance);
        live.zip(epoch)
            .is_some_and(|(seen, epoch)| epoch >= seen.lease.floor)
    }

    /// Whether a process's link leads to the present primary.
    pub(crate) fn asks_primary(&self, host: usize) -> bool {
        self.links[host].server() == Some(self.redis.at_primary().server())
    }

    /// Feeds the link of one process to a print.
    pub(crate) fn fingerprint_link(&self, host: usize, to: &mut Print) {
        self.links[host].fingerprint(to);
    }
}
