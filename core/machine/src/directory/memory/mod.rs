//! The directory in memory.

use std::hash::{Hash as _, Hasher};

use super::{DirectorySettings, Operation, OperationResult, Reply, Row, SeenLease, keys, layout};
use crate::base::flaws::Flaws;
use crate::channel::Channel;
use crate::directory::log::{ChannelRows, LogPart};
use crate::id::{ConnectionId, Epoch, InstanceId, TopicId};
use crate::key::Key;
use crate::position::Position;
use crate::time::Instant;

mod expiring;
mod hooks;
mod kept_topics;
mod leases;
mod log;
mod topics;

use expiring::{Expires, Expiring};
use kept_topics::UserTopics;
use leases::Leases;
use log::Logs;
use topics::TopicTable;

/// A directory in memory. It answers every operation as Redis does.
///
/// It is the directory of an installation of one process, and the content of the simulator's Redis:
/// a clone of it is a replica or a backup, [`Self::wipe`] a restart without persistence.
///
/// The caller's clock takes the place of the server's. Everything here is relative to the `now` that
/// is handed in; a clock that goes backwards prolongs leases, as it does on Redis.
#[derive(Clone, Debug)]
pub struct MemoryDirectory {
    settings: DirectorySettings,
    rows: Expiring<KeptRows>,
    topics: TopicTable,
    user_topics: UserTopics,
    leases: Leases,
    logs: Logs,
    flaws: Flaws,
}

impl MemoryDirectory {
    /// An empty directory. The settings' key prefix has no effect.
    pub const fn new(settings: DirectorySettings) -> Self {
        Self {
            rows: Expiring::new(),
            topics: TopicTable::new(&settings),
            user_topics: UserTopics::new(&settings),
            leases: Leases::new(settings.lease),
            logs: Logs::new(&settings),
            settings,
            flaws: Flaws::NONE,
        }
    }

    /// The same directory with bugs.
    #[cfg(feature = "flaws")]
    #[doc(hidden)]
    pub fn with_flaws(self, flaws: Flaws) -> Self {
        Self {
            flaws,
            leases: self.leases.with_flaws(flaws),
            logs: self.logs.with_flaws(flaws),
            ..self
        }
    }

    /// Executes one operation at the moment `now`.
    ///
    /// # Errors
    ///
    /// The outcome is what a server's would be. Memory refuses nothing but an append to a log whose
    /// offsets are used up.
    pub fn execute(&mut self, now: Instant, operation: &Operation) -> OperationResult {
        Ok(match operation {
            Operation::Register {
                key,
                connection,
                row,
            } => self.register(now, key, *connection, *row),
            Operation::Unregister {
                key,
                connection,
                instance,
            } => {
                let reply = self.remove(now, key, *connection, |row| row.instance == *instance);
                if !hooks::keeps_other_rows(self.flaws) {
                    self.rows.remove(key);
                }
                reply
            }
            Operation::Lookup { key } => Reply::Rows {
                rows: rows_under(&self.rows, now, key),
                malformed: 0,
            },
            Operation::RemoveRow {
                key,
                connection,
                row,
            } => {
                let expected = layout::kept(*row);
                let flaws = self.flaws;
                self.remove(now, key, *connection, |row| {
                    hooks::is_what_was_read(flaws, row, &expected)
                })
            }
            Operation::EnterTopic {
                topic,
                instance,
                epoch,
            } => self.topics.enter(now, topic, *instance, *epoch),
            Operation::LeaveTopic {
                topic,
                instance,
                epoch,
            } => (self.topics).leave(self.flaws, now, topic, *instance, *epoch),
            Operation::KeepTopic {
                key,
                topic,
                keeping,
            } => self.user_topics.keep(now, key, topic, *keeping),
            Operation::LookupTopic { topic } => Reply::TopicRows {
                rows: self.topics.of(now, topic),
                malformed: 0,
            },
            Operation::View => self.leases.view(now),
            Operation::Claim {
                instance,
                lease,
                load,
            } => self.leases.claim(now, *instance, lease, *load),
            Operation::Renew {
                instance,
                expected,
                lease,
                load,
            } => self.leases.renew(now, *instance, expected, lease, *load),
            Operation::Release { instance, expected } => {
                self.leases.release(now, *instance, expected)
            }
            Operation::ReadLease { instance } => Reply::Lease(self.leases.get(*instance).cloned()),
            Operation::Log { channel, operation } => {
                let rows = || match channel {
                    Channel::User(user) => {
                        ChannelRows::Terminals(rows_under(&self.rows, now, &user.clone().into()))
                    }
                    Channel::Topic(topic) => ChannelRows::Instances(self.topics.of(now, topic)),
                };
                Reply::Log(self.logs.execute(now, channel, operation, rows)?)
            }
        })
    }

    /// The rows that have not expired, in the order of keys and connections.
    pub fn rows(&self, now: Instant) -> impl Iterator<Item = (&Key, ConnectionId, &Row)> {
        (self.rows.standing(now))
            .flat_map(|(key, kept)| kept.rows.iter().map(move |(id, row)| (key, *id, row)))
    }

    /// The topics of which the terminals of users are to be members, in the order of users and topics.
    pub fn user_topics(&self, now: Instant) -> impl Iterator<Item = (&Key, &[TopicId])> {
        self.user_topics.standing(now)
    }

    /// Loses the topics of a user without a sign, as a server that evicts keys does. Returns whether there were any.
    pub fn evict_user_topics(&mut self, now: Instant, key: &Key) -> bool {
        self.user_topics.evict(now, key)
    }

    /// What instances say of topics, unless it has expired, in the order of topics and instances.
    pub fn topic_rows(&self, now: Instant) -> impl Iterator<Item = (&TopicId, InstanceId, Epoch)> {
        self.topics.rows(now)
    }

    /// The leases, those that have expired too, in the order of instances.
    pub fn leases(&self, now: Instant) -> impl ExactSizeIterator<Item = SeenLease> {
        self.leases.seen(now)
    }

    /// The floors of the leases that have not expired, in the order of instances: a row is live if its
    /// epoch is not below that of its instance.
    pub fn floors(&self, now: Instant) -> impl Iterator<Item = (InstanceId, Epoch)> {
        self.leases.floors(now)
    }

    /// The row of one connection, unless it has expired.
    pub fn row(&self, now: Instant, key: &Key, connection: ConnectionId) -> Option<Row> {
        let kept = self.rows.get(now, key)?;
        let at = kept.position(connection).ok()?;
        Some(kept.rows[at].1)
    }

    /// The lease of one instance, expired or not.
    pub fn lease(&self, now: Instant, instance: InstanceId) -> Option<SeenLease> {
        self.leases.seen_one(now, instance)
    }

    /// How many rows there are that have not expired. Counts them.
    pub fn len(&self, now: Instant) -> usize {
        let rows = self.rows.standing(now);
        rows.map(|(_, kept)| kept.rows.len()).sum()
    }

    /// Whether there is neither a lease that has not expired nor a row that has not expired, of a connection or
    /// of a topic. Logs and topics of users outlast both.
    pub fn is_empty(&self, now: Instant) -> bool {
        self.leases.floors(now).next().is_none()
            && self.rows.standing(now).next().is_none()
            && self.topics.standing(now).next().is_none()
    }

    /// The last position of a log, unless there is none or it has ended.
    pub fn head(&self, now: Instant, channel: &Channel) -> Option<Position> {
        self.logs.head(now, channel)
    }

    /// All that is kept of a log, unless there is none or it has ended.
    pub fn log(&self, now: Instant, channel: &Channel) -> Option<LogPart> {
        self.logs.kept(now, channel)
    }

    /// Whether another directory, of equal settings, has the same log: one that was the same
    /// before both executed something else.
    pub fn has_same_log(&self, other: &Self, now: Instant, channel: &Channel) -> bool {
        self.logs.same(&other.logs, now, channel)
    }

    /// The names of the keys that a server with this content has.
    pub fn names(&self, now: Instant) -> Vec<Vec<u8>> {
        let settings = &self.settings;
        let leases = self.leases.seen(now).next();
        let rows = self.rows.standing(now);
        let logs = self.logs.standing(now).flat_map(|(channel, standing)| {
            let [head, records, pushes] = keys::log(settings, channel);
            let records = standing.records.then_some(records);
            let pushes = standing.pushes.then_some(pushes);
            [Some(head), records, pushes].into_iter().flatten()
        });
        let topics = self.topics.standing(now);
        (leases.map(|_| keys::instances(settings)).into_iter())
            .chain(rows.map(|(key, _)| keys::rows(settings, key)))
            .chain(topics.map(|topic| keys::topic(settings, topic)))
            .chain((self.user_topics.standing(now)).map(|(key, _)| keys::topics(settings, key)))
            .chain(logs)
            .collect()
    }

    /// Loses everything, as a server that restarts without persistence does.
    pub fn wipe(&mut self) {
        self.rows.clear();
        self.topics.clear();
        self.user_topics.clear();
        self.leases.clear();
        self.logs.clear();
    }

    /// Loses the rows under one key without a sign, as a server that evicts keys does. Returns whether
    /// there were any.
    pub fn evict(&mut self, now: Instant, key: &Key) -> bool {
        let evicted = self.rows.remove(key);
        evicted.is_some_and(|kept| kept.expires > now)
    }

    /// Loses what instances say of a topic without a sign, as a server that evicts keys does. Returns whether
    /// anything was said.
    pub fn evict_topic(&mut self, now: Instant, topic: &TopicId) -> bool {
        self.topics.evict(now, topic)
    }

    /// Loses a log without a sign, with all that is remembered of it, as a server that evicts keys
    /// does. Returns whether there was one.
    pub fn evict_log(&mut self, now: Instant, channel: &Channel) -> bool {
        self.logs.evict(now, channel)
    }

    /// Loses all leases without a sign, as a server that evicts keys does.
    pub fn evict_leases(&mut self) {
        self.leases.clear();
    }

    /// Loses one lease.
    #[cfg(test)]
    pub(crate) fn evict_lease(&mut self, instance: InstanceId) {
        self.leases.remove(instance);
    }

    /// Drops rows, and what of logs, has expired. Nobody can tell, but for those whose clock goes back
    /// from here on: a server does the same by itself, within moments.
    pub fn expire(&mut self, now: Instant) {
        self.rows.drop_expired(now);
        self.topics.drop_expired(now);
        self.user_topics.drop_expired(now);
        self.logs.drop_expired(now);
    }

    /// Hashes everything that decides future answers, with times relative to `now`: directories of
    /// equal settings and fingerprints answer the same from here on.
    pub fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.rows
            .fingerprint(now, hasher, |kept, hasher| kept.rows.hash(hasher));
        self.topics.fingerprint(now, hasher);
        self.user_topics.fingerprint(now, hasher);
        self.leases.fingerprint(now, hasher);
        self.logs.fingerprint(now, hasher);
    }
}

#[derive(Clone, Debug)]
struct KeptRows {
    /// When all of them expire.
    expires: Instant,
    /// In the order of their ids, never empty.
    rows: Vec<(ConnectionId, Row)>,
}

impl Expires for KeptRows {
    fn expires(&self) -> Instant {
        self.expires
    }

    /// They expire together.
    fn drop_expired(&mut self, _: Instant) {}
}

impl KeptRows {
    fn position(&self, connection: ConnectionId) -> Result<usize, usize> {
        self.rows.binary_search_by_key(&connection, |(id, _)| *id)
    }
}

impl MemoryDirectory {
    fn register(&mut self, now: Instant, key: &Key, connection: ConnectionId, row: Row) -> Reply {
        self.rows.sweep(now);
        let row = layout::kept(row);
        let expires = now + self.settings.row_expiry;
        let kept = self.rows.entry(key).or_insert_with(|| KeptRows {
            expires,
            rows: Vec::with_capacity(1),
        });
        if kept.expires <= now {
            kept.rows.clear();
        }
        match kept.position(connection) {
            Ok(at) => {
                let standing = &mut kept.rows[at].1;
                let higher = hooks::outranks(self.flaws, standing, &row);
                let other = standing.instance != row.instance;
                if standing.epoch.is_counted() && (other || higher) {
                    return Reply::Superseded;
                }
                *standing = row;
            }
            Err(at) => kept.rows.insert(at, (connection, row)),
        }
        kept.expires = expires;
        self.user_topics.of_registered(now, key)
    }

    fn remove(
        &mut self,
        now: Instant,
        key: &Key,
        connection: ConnectionId,
        matches: impl FnOnce(&Row) -> bool,
    ) -> Reply {
        let Some(kept) = self.rows.get_mut(now, key) else {
            return Reply::Removed(false);
        };
        let Ok(at) = kept.position(connection) else {
            return Reply::Removed(false);
        };
        if !matches(&kept.rows[at].1) {
            return Reply::Removed(false);
        }
        kept.rows.remove(at);
        if kept.rows.is_empty() {
            self.rows.remove(key);
        }
        Reply::Removed(true)
    }
}

fn rows_under(rows: &Expiring<KeptRows>, now: Instant, key: &Key) -> Vec<(ConnectionId, Row)> {
    let kept = rows.get(now, key);
    kept.map(|kept| kept.rows.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::hash_map::DefaultHasher;
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use crate::directory::{Lease, LeaseState, Load};
    use crate::id::{InstanceId, UserId};
    use crate::time::WallTime;

    const EXPIRY: Duration = Duration::from_secs(7200);

    #[test]
    fn rows_expire_together_and_each_register_prolongs_them() {
        let mut directory = directory();
        let half = Instant::START + EXPIRY / 2;
        register(&mut directory, Instant::START, "ann", 1);
        register(&mut directory, half, "ann", 2);
        assert_eq!(directory.len(half + EXPIRY / 2), 2);
        assert_eq!(directory.len(half + EXPIRY), 0);
        register(&mut directory, half + EXPIRY, "ann", 3);
        assert_eq!(directory.len(half + EXPIRY), 1);
    }

    #[test]
    fn expired_rows_that_nobody_asks_for_are_swept() {
        let mut directory = directory();
        for number in 0..100 {
            register(
                &mut directory,
                Instant::START,
                &format!("user{number}"),
                number,
            );
        }
        for _ in 0..=100 / expiring::SWEEP_KEYS {
            register(&mut directory, Instant::START + EXPIRY, "zoe", 1);
        }
        assert_eq!(directory.rows.kept(), 1);
    }

    #[test]
    fn the_sweep_leaves_rows_that_stand() {
        let mut directory = directory();
        for number in 0..100 {
            register(
                &mut directory,
                Instant::START,
                &format!("user{number}"),
                number,
            );
        }
        assert_eq!(directory.len(Instant::START), 100);
    }

    #[test]
    fn the_fingerprint_is_relative_to_the_moment() {
        let later = Instant::START + Duration::from_secs(5);
        let (mut early, mut late) = (directory(), directory());
        for (directory, now) in [(&mut early, Instant::START), (&mut late, later)] {
            register(directory, now, "ann", 1);
            claim(directory, now, 1);
        }
        assert_eq!(
            fingerprint(&early, Instant::START),
            fingerprint(&late, later)
        );
        assert_ne!(fingerprint(&early, later), fingerprint(&late, later));
    }

    #[test]
    fn the_fingerprint_leaves_out_what_nobody_can_read() {
        let mut directory = directory();
        register(&mut directory, Instant::START, "ann", 1);
        let end = Instant::START + EXPIRY;
        let unread = fingerprint(&directory, end);
        directory.wipe();
        assert_eq!(unread, fingerprint(&directory, end));
    }

    #[test]
    fn the_fingerprint_tells_leases_and_rows_apart() {
        let mut seen = vec![fingerprint(&directory(), Instant::START)];
        for (users, leases) in [(1_u64, 0_u64), (2, 0), (0, 1), (0, 2), (1, 1)] {
            let mut directory = directory();
            for number in 0..users {
                register(&mut directory, Instant::START, "ann", u128::from(number));
            }
            for number in 0..leases {
                claim(&mut directory, Instant::START, number);
            }
            seen.push(fingerprint(&directory, Instant::START));
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 6);
    }

    #[test]
    fn a_wiped_directory_is_empty() {
        let mut directory = directory();
        register(&mut directory, Instant::START, "ann", 1);
        claim(&mut directory, Instant::START, 1);
        assert!(!directory.is_empty(Instant::START));
        directory.wipe();
        assert!(directory.is_empty(Instant::START));
    }

    #[test]
    fn eviction_loses_one_key() {
        let mut directory = directory();
        register(&mut directory, Instant::START, "ann", 1);
        register(&mut directory, Instant::START, "bob", 2);
        let ann = UserId::new("ann").unwrap().into();
        assert!(directory.evict(Instant::START, &ann));
        assert!(!directory.evict(Instant::START, &ann));
        let left: Vec<_> = directory
            .rows(Instant::START)
            .map(|(key, ..)| key.user().as_str())
            .collect();
        assert_eq!(left, ["bob"]);
    }

    #[test]
    fn rows_that_were_dropped_when_they_had_expired_stay_gone_when_the_clock_goes_back() {
        let mut directory = directory();
        register(&mut directory, Instant::START, "ann", 1);
        directory.expire(Instant::START);
        assert_eq!(directory.len(Instant::START), 1);
        directory.expire(Instant::START + EXPIRY);
        assert_eq!(directory.len(Instant::START), 0);
    }

    #[test]
    fn eviction_of_the_leases_spares_the_rows() {
        let mut directory = directory();
        register(&mut directory, Instant::START, "ann", 1);
        claim(&mut directory, Instant::START, 1);
        directory.evict_leases();
        assert_eq!(directory.leases(Instant::START).count(), 0);
        assert_eq!(directory.len(Instant::START), 1);
    }

    fn directory() -> MemoryDirectory {
        MemoryDirectory::new(DirectorySettings {
            row_expiry: EXPIRY,
            ..DirectorySettings::for_tests()
        })
    }

    fn register(directory: &mut MemoryDirectory, now: Instant, user: &str, connection: u128) {
        let operation = Operation::Register {
            key: UserId::new(user).unwrap().into(),
            connection: ConnectionId::new(Uuid::from_u128(connection)),
            row: Row {
                instance: InstanceId::new(1),
                epoch: Epoch::new(1),
                connected: WallTime::from_millis(0),
            },
        };
        assert_eq!(directory.execute(now, &operation), Ok(Reply::Registered));
    }

    fn claim(directory: &mut MemoryDirectory, now: Instant, instance: u64) {
        let operation = Operation::Claim {
            instance: InstanceId::new(instance),
            lease: Lease {
                epoch: Epoch::new(1),
                floor: Epoch::ZERO,
                beat: 7,
                state: LeaseState::Settling,
                address: "127.0.0.1:1".to_owned(),
            },
            load: Load::default(),
        };
        assert_eq!(
            directory.execute(now, &operation),
            Ok(Reply::Claimed { replaced: None })
        );
    }

    fn fingerprint(directory: &MemoryDirectory, now: Instant) -> u64 {
        let mut hasher = DefaultHasher::new();
        directory.fingerprint(now, &mut hasher);
        hasher.finish()
    }
}
