//! The one description of an instance's settings.

use std::fmt;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::directory::DirectorySettings;
use crate::directory::log::Retention;
use crate::id::InstanceId;

pub use crate::base::duration;

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

crate::settings! {
    /// Settings of an instance. Every table and queue has its limit here.
    ///
    /// Durations are written as `500ms`, `10s`, `30m` or `2h`; sizes are in bytes.
    pub struct Config {
        "Connections of an instance" {
            /// Connections at an instance, at most.
            connections: usize as Count = 1_000_000,
                rule: |config| config.connections > 0, "must be above zero";

            /// Connections of one user at an instance, at most.
            connections_per_user: usize as Count = 1024,
                rule: |config| config.connections_per_user > 0, "must be above zero";

            /// Bytes that wait for one terminal, at most, as they are sent. One push may exceed it by what
            /// encoding adds.
            // An instance that takes a push promises that it fits at all of them.
            queue_bytes: usize as Bytes = 4 << 20,
                scope: Cluster(4),
                rule: |config| config.queue_bytes >= config.push_bytes,
                    "must be at least `push_bytes`, or the largest push could never be written";

            /// Frames that wait for one terminal, at most.
            queue_frames: usize as Count = 1024,
                rule: |config| config.queue_frames >= 2, "must be at least 2";

            /// When a terminal's queue is full: `close` its connection, `drop-oldest` or `drop-newest` frame.
            slow_consumer: SlowConsumer as OneOf("POLICY", SlowConsumer::CHOICES) = SlowConsumer::Close;

            /// The time from a request to its open connection, at most.
            #[serde(with = "duration")]
            handshake_timeout: Duration as Time = secs(5),
                rule: |config| !config.handshake_timeout.is_zero(), "must be above zero";

            /// Connections whose terminals have not said who they are, at most, in percent of `connections`; and
            /// 10000 in any case. It concerns terminals that say so behind the handshake, in their first frame.
            authenticating_percent: u8 as Count = 10,
                rule: |config| (1..=100).contains(&config.authenticating_percent),
                    "must be between 1 and 100";

            /// How long a terminal may take to say who it is, behind the handshake.
            #[serde(with = "duration")]
            authentication_timeout: Duration as Time = secs(10),
                rule: |config| !config.authentication_timeout.is_zero(), "must be above zero";

            /// The time between two pings to a terminal, at most; jitter shortens it by up to a quarter.
            #[serde(with = "duration")]
            ping_interval: Duration as Time = secs(25),
                rule: |config| config.ping_interval >= millis(10), "must be at least 10ms";

            /// How long after a ping, or after the last sign of life since, there must be another one: a
            /// frame of any kind.
            #[serde(with = "duration")]
            ping_timeout: Duration as Time = secs(10),
                rule: |config| config.ping_timeout >= millis(10), "must be at least 10ms";

            /// How long a closing handshake may take before the socket is dropped.
            #[serde(with = "duration")]
            close_timeout: Duration as Time = secs(5);

            /// How long a terminal waits for its row in the directory before it is greeted as degraded.
            #[serde(with = "duration")]
            hello_grace: Duration as Time = secs(1);
        }

        "Topics" {
            /// Topics of which one terminal may be a member, at most.
            connection_topics: usize as Count = 128,
                rule: |config| (1..=10_000).contains(&config.connection_topics),
                    "must be between 1 and 10000";

            /// Terminals of one instance that may be members of one topic, at most.
            // As many as a topic is made for. What a member costs is bounded by the connections that there may be.
            topic_members: usize as Count = 1_000_000,
                rule: |config| config.topic_members > 0, "must be above zero";

            /// Joins that one terminal may ask for in a second, at most, and as many questions about topics.
            topic_joins: u32 as Count = 200,
                rule: |config| config.topic_joins > 0, "must be above zero";

            /// What one terminal may publish to topics in a second, at most.
            topic_publications: u32 as Count = 20,
                rule: |config| config.topic_publications > 0, "must be above zero";

            /// Topics that one push may name, at most.
            push_topics: usize as Count = 100,
                rule: |config| (1..=1000).contains(&config.push_topics), "must be between 1 and 1000";

            /// Topics whose members one terminal may watch, at most.
            watched_topics: usize as Count = 16,
                rule: |config| config.watched_topics > 0, "must be above zero";

            /// Readings of topics that are watched, in a second, of an instance, at most. Each topic is read once a
            /// second, four times while somebody is in doubt, or less often if there are more.
            presence_rate: u32 as Count = 1000,
                rule: |config| config.presence_rate > 0, "must be above zero";

            /// How long a user may be away from a topic before those who watch its members are told that it has left.
            #[serde(with = "duration")]
            presence_grace: Duration as Time = secs(5);
        }

        "Pushes" {
            /// The largest payload of a push, in bytes, as it is handed in.
            // An instance that takes a push promises that it fits at all of them.
            push_bytes: usize as Bytes = 1 << 20,
                scope: Cluster(3),
                rule: |config| config.push_bytes > 0 && config.push_bytes <= 16 << 20,
                    "must be between 1 byte and 16 MiB";

            /// Users, or connections of one user, whom one push may name, at most.
            push_users: usize as Count = 1000,
                rule: |config| config.push_users > 0, "must be above zero";

            /// Pushes that wait for their receipt at an instance, at most.
            pushes: usize as Count = 100_000,
                rule: |config| config.pushes > 0, "must be above zero";

            /// Pushes for one user that wait at an instance, or have ended and stand behind one that waits,
            /// at most.
            pushes_per_user: usize as Count = 1024,
                rule: |config| config.pushes_per_user > 0, "must be above zero";

            /// Terminals that a receipt lists, at most; its counts stay true beyond that.
            receipt_terminals: usize as Count = 1000;

            /// Frames per second of all broadcasts at an instance, and of pushes to large topics; a third as many while
            /// other pushes come.
            broadcast_rate: u32 as Count = 50_000,
                rule: |config| config.broadcast_rate > 0, "must be above zero";

            /// Broadcasts that wait to be written at an instance, at most.
            broadcasts: usize as Count = 64,
                rule: |config| config.broadcasts > 0, "must be above zero";

            /// How long an instance remembers what it wrote, to recognise repeats.
            // A push is recognised as long as its owner remembers it.
            #[serde(with = "duration")]
            repeat_memory: Duration as Time = secs(120),
                scope: Cluster(2);

            /// Pairs of push and connection by which an instance recognises repeats, at most.
            repeat_entries: usize as Count = 100_000;
        }

        "Logs of durable pushes" {
            /// How many records a log keeps at most, unless the push says otherwise. The oldest give way.
            log_records: u32 as Count = 100,
                rule: |config| (1..=config.log_records_max).contains(&config.log_records),
                    "must be above zero and at most `log_records_max`";

            /// The largest number of records that a push may ask a log to keep.
            log_records_max: u32 as Count = 1000,
                rule: |config| config.log_records_max <= 100_000, "must be at most 100000";

            /// How long a log keeps a record, unless the push says otherwise. Terminals that return later are told
            /// that they have missed something.
            #[serde(with = "duration")]
            log_age: Duration as Time = secs(600),
                rule: |config| (secs(1)..=config.log_age_max).contains(&config.log_age),
                    "must be at least 1s and at most `log_age_max`";

            /// The longest time for which a push may ask a log to keep its records.
            #[serde(with = "duration")]
            log_age_max: Duration as Time = secs(24 * 3600);

            /// How many bytes the payloads of a log's records have at most. Beyond that the oldest records give way;
            /// the last one stays, however large it is.
            log_bytes: usize as Bytes = 1 << 20,
                rule: |config| (1..=1 << 30).contains(&config.log_bytes),
                    "must be between 1 byte and 1 GiB";

            /// The time in which the head of each log that is followed is compared with where its followers
            /// stand. It bounds how long a follower can miss a record that came to its log without any sign.
            #[serde(with = "duration")]
            log_check: Duration as Time = secs(60),
                rule: |config| config.log_check >= secs(1), "must be at least 1s";

            /// How many reads of logs are under way for followers of an instance at most. Each reads up to 20
            /// records or 64 KiB, and the other followers wait until it is their turn.
            log_replays: usize as Count = 64,
                rule: |config| config.log_replays > 0, "must be above zero";

            /// How long the directory remembers the positions of a log after its last record. A terminal that returns
            /// later is told that something may be missing, and is sent all that is kept. The positions of a log
            /// that is followed are always remembered.
            // One that is followed is read in a fourth of this time, which prolongs its life. The instance that
            // writes to it last, or reads it, says when it expires.
            #[serde(with = "duration")]
            log_expiry: Duration as Time = DirectorySettings::USED_LOG,
                scope: Cluster(6),
                rule: |config| config.log_expiry >= config.log_age_max.max(4 * config.log_check),
                    "must be at least `log_age_max` and four times `log_check`";

            /// How long the directory remembers the position of a log to which nothing was ever written, after the
            /// last terminal that follows it has gone. Of the log of a topic 10 min at most, or four rounds of checks
            /// if these take longer.
            #[serde(with = "duration")]
            unused_log_expiry: Duration as Time = DirectorySettings::UNUSED_LOG,
                scope: Cluster(7),
                rule: |config| config.unused_log_expiry >= 4 * config.log_check,
                    "must be at least four times `log_check`";
        }

        "Links between instances" {
            /// Links of an instance, at most.
            links: usize as Count = 4096,
                rule: |config| config.links > 0, "must be above zero";

            /// Bytes that wait for one peer, at most.
            link_queue_bytes: usize as Bytes = 64 << 20,
                rule: |config| config.link_queue_bytes >= 2 * config.push_bytes,
                    "must be at least twice `push_bytes`";

            /// When an attempt to open a link is given up.
            #[serde(with = "duration")]
            link_timeout: Duration as Time = secs(1),
                rule: |config| !config.link_timeout.is_zero(), "must be above zero";

            /// The time between two heartbeats on a link; a link that is silent for three of them is dead.
            /// The longer of its two ends' times counts.
            // The longer one counts, so that unequal ones break no link.
            #[serde(with = "duration")]
            link_heartbeat: Duration as Time = secs(3),
                scope: Cluster(5),
                rule: |config| !config.link_heartbeat.is_zero(), "must be above zero";
        }

        "Directory and lease" {
            /// How long a lease lasts without renewal: a crashed instance is gone from everyone's view after
            /// this time.
            // Doubt about an instance lasts for one lease of the instance that doubts.
            #[serde(with = "duration")]
            lease: Duration as Time = secs(10),
                scope: Cluster(0),
                rule: |config| config.lease >= secs(1), "must be at least 1s";

            /// The time between two renewals of the lease.
            #[serde(with = "duration")]
            lease_renewal: Duration as Time = secs(3),
                rule: |config| config.lease_renewal * 2 <= config.lease && !config.lease_renewal.is_zero(),
                    "must be above zero and at most half of `lease`";

            /// The time between two readings of all leases.
            #[serde(with = "duration")]
            view_interval: Duration as Time = secs(1),
                rule: |config| config.view_interval * 2 <= config.lease && !config.view_interval.is_zero(),
                    "must be above zero and at most half of `lease`";

            /// When the rows of a user expire unless they are written again. It bounds garbage and never
            /// decides who is alive.
            // The instance that writes a row last says when all rows of its user expire.
            #[serde(with = "duration")]
            row_expiry: Duration as Time = secs(2 * 3600),
                scope: Cluster(1);

            /// The time in which every row is written again although nothing has happened. It bounds how
            /// long a row can be missing that the directory lost without any sign.
            #[serde(with = "duration")]
            sweep: Duration as Time = secs(30 * 60),
                rule: |config| config.sweep * 2 <= config.row_expiry && config.sweep >= secs(1),
                    "must be at least 1s and at most half of `row_expiry`";

            /// When a round trip to the directory is given up.
            #[serde(with = "duration")]
            directory_timeout: Duration as Time = secs(1),
                rule: |config| (millis(10)..=config.lease / 2).contains(&config.directory_timeout),
                    "must be at least 10ms and at most half of `lease`";

            /// Rows per second that all instances together write while they settle, after the directory was
            /// away.
            settle_rate: u32 as Count = 20_000,
                rule: |config| config.settle_rate > 0, "must be above zero";

            /// How long an instance may be without its lease, while a peer says that the directory works,
            /// before it sends its terminals elsewhere.
            #[serde(with = "duration")]
            isolation: Duration as Time = secs(20),
                rule: |config| config.isolation >= config.lease, "must be at least `lease`";
        }
    }
}

/// The pace of broadcasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BroadcastPace {
    /// Terminals that are served in one step, of all broadcasts.
    pub terminals: u32,
    /// The time between two steps.
    pub step: Duration,
}

/// The pace at which topics are read that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresencePace {
    /// Topics that are read in one step.
    pub readings: u32,
    /// The time between two steps.
    pub step: Duration,
}

impl Config {
    /// Bytes of the largest batch that instances send each other, whatever their settings: the
    /// largest payload that any may allow (16 MiB), and as much again for the names of those who
    /// get it, which is a thousand users with nearly a thousand connections each.
    pub const BATCH_BYTES_MAX: usize = 32 << 20;
    /// The most connections whose terminals have not said who they are: it takes a login milliseconds, and a stranger
    /// may hold its place for as long as it is given.
    pub const STRANGERS_MAX: usize = 10_000;
    /// The shortest deadline of a push.
    pub const DEADLINE_MIN: Duration = Duration::from_millis(10);
    /// The longest deadline of a push.
    pub const DEADLINE_MAX: Duration = Duration::from_secs(30);
    /// The deadline of a push whose caller names none.
    pub const DEADLINE_DEFAULT: Duration = Duration::from_secs(3);
    /// An instance answers a delivery so long before the push's deadline, so that the answer arrives in
    /// time. To a publisher that is further away it answers earlier; if less than twice as much is left,
    /// when half of that is over, or when the answer has to leave.
    pub const ANSWER_MARGIN: Duration = Duration::from_millis(100);
    /// What it leaves at least for the delivery's way here and the answer's way back, in round trips of
    /// the link, of which the shortest counts: a way is slower at times.
    pub const ANSWER_ROUND_TRIPS: u32 = 2;
    /// A link is dead when nothing came over it for so many heartbeats.
    pub const SILENT_HEARTBEATS: u32 = 3;
    /// Round trips to the directory under way, at most. What comes meanwhile shares the next one.
    pub const TRIPS_IN_FLIGHT: usize = 16;
    /// Words about topics that wait for a terminal, at most: as many as it may have topics, and so many more, for joining and
    /// for leaving each. One that asks without end and reads nothing is closed.
    pub const fn topic_words(&self) -> usize {
        2 * self.connection_topics.saturating_add(8)
    }

    /// Repeats of a push that wait for what becomes of the first one at a terminal, at most. An honest caller repeats a push
    /// a few times.
    pub const REPEATS_WAITING: usize = 16;
    /// What waits for a replica of the directory does so for this fraction of `directory_timeout`: the rest is for the
    /// way.
    const REPLICA_WAIT: u32 = 2;
    /// How long a log is not read for a follower after a read of it that failed. Each further failure doubles it, up to
    /// [`LOG_READ_PAUSE_MAX`](Self::LOG_READ_PAUSE_MAX).
    pub const LOG_READ_PAUSE: Duration = Duration::from_millis(250);
    /// How long a log is not read for a follower after reads that failed, at most.
    pub const LOG_READ_PAUSE_MAX: Duration = Duration::from_secs(16);
    /// Records of one log that are held back for its followers at an instance, at most.
    pub const RECORDS_HELD: usize = 8;
    /// Bytes of their payloads, at most.
    pub const BYTES_HELD: usize = 64 << 10;
    /// The time between two batches of rows that are written again under a new epoch.
    pub const SETTLE_STEP: Duration = Duration::from_millis(50);
    /// How often the pace of settling is halved at most when batches time out: a sixty-fourth of it goes on.
    pub const SETTLE_HALVINGS: u32 = 6;
    /// The writes that a failover of the directory may lose are those of this time: a replica that lags
    /// further behind is not promoted by any sensible configuration.
    pub const FAILOVER_TAIL: Duration = Duration::from_secs(60);
    /// What the directory has refused is tried again after this time.
    pub const DIRECTORY_RETRY: Duration = Duration::from_millis(250);
    /// An instance that is cut off from the directory sends its terminals elsewhere over this time.
    pub const ISOLATED_SPREAD: Duration = Duration::from_secs(10);
    /// The time between two steps in which a drain closes terminals.
    pub const DRAIN_STEP: Duration = Duration::from_millis(20);
    /// By how much slower broadcasts go while other pushes come.
    pub const BROADCAST_YIELD: u32 = 3;
    /// The time between two steps in which broadcasts are written, unless their rate is lower. Not less than a tick of
    /// the timers: what else there is to do waits for as many terminals as one step serves.
    pub const BROADCAST_STEP: Duration = Duration::from_millis(1);
    /// For how long what is told to many leaves two thirds of its pace to other pushes when one has come.
    pub const BROADCAST_YIELDS_FOR: Duration = Duration::from_millis(100);
    /// The time between two readings of the members of a topic for those of them that watch it.
    pub const PRESENCE_PERIOD: Duration = Duration::from_secs(1);
    /// Such a reading waits so long for the directory and for other instances, at most.
    pub const PRESENCE_DEADLINE: Duration = Duration::from_secs(2);
    /// Members of a topic above which those that watch it are told of their number alone.
    pub const PRESENCE_NAMED_MAX: u32 = 200;
    /// Frames of terminals of other instances that an instance passes on and that were not answered, at most. With 64 KiB
    /// each they are a fourth of what may wait for one peer.
    pub const RELAYS: usize = 256;
    /// How long it waits for the answer to each.
    pub const RELAY_DEADLINE: Duration = Duration::from_secs(2);
    /// What terminals publish and that has no receipt, at an instance, at most. It is few beside `pushes`, and with 64 KiB
    /// each half of what may wait for one peer: both are the application's.
    pub const PUBLICATIONS: usize = 512;
    /// The deadline of what a terminal publishes. A member that reads slowly keeps the place of a publication for so long.
    pub const PUBLICATION_DEADLINE: Duration = Duration::from_secs(1);
    /// Of the broadcasts that wait to be written at an instance this fraction may be what terminals publish.
    const PUBLISHED_BROADCASTS: usize = 4;
    /// A push waits for the directory for this fraction of its deadline: the rest is for the way to others
    /// and back.
    pub const HURRIES_AFTER: u32 = 3;
    /// After a failed dial the next one waits this long, and deliveries fail at once.
    pub const DIAL_COOLDOWN: Duration = Duration::from_millis(250);

    /// How long the directory waits for a replica, at most.
    pub fn replica_wait(&self) -> Duration {
        self.directory_timeout / Self::REPLICA_WAIT
    }

    /// What the operations of an instance with these settings go by, with keys as usual.
    pub fn directory(&self) -> DirectorySettings {
        DirectorySettings {
            prefix: DirectorySettings::PREFIX.to_owned(),
            partitions: DirectorySettings::PARTITIONS,
            lease: self.lease,
            row_expiry: self.row_expiry,
            repeat_memory: self.repeat_memory,
            used_log: self.log_expiry,
            unused_log: self.unused_log_expiry,
            unused_topic_log: self.unused_topic_log_expiry(),
        }
    }

    /// How long the directory remembers the position of a topic's log to which nothing was ever written. One that is followed
    /// is read in a fourth of this time, which prolongs its life.
    pub(crate) fn unused_topic_log_expiry(&self) -> Duration {
        let shortest = DirectorySettings::UNUSED_TOPIC_LOG.max(4 * self.log_check);
        self.unused_log_expiry.min(shortest)
    }

    /// Broadcasts that wait to be written at an instance and that terminals have published, at most.
    pub fn published_broadcasts(&self) -> usize {
        self.broadcasts.div_ceil(Self::PUBLISHED_BROADCASTS)
    }

    /// In which steps broadcasts are written.
    pub fn broadcast_pace(&self) -> BroadcastPace {
        let (terminals, step) = steps(self.broadcast_rate);
        BroadcastPace { terminals, step }
    }

    /// In which steps topics are read that are watched.
    pub fn presence_pace(&self) -> PresencePace {
        let (readings, step) = steps(self.presence_rate);
        PresencePace { readings, step }
    }

    /// Connections whose terminals have not said who they are, at most.
    pub fn strangers(&self) -> usize {
        let share = self.connections / 100 * usize::from(self.authenticating_percent)
            + self.connections % 100 * usize::from(self.authenticating_percent) / 100;
        share.clamp(1, Self::STRANGERS_MAX)
    }

    /// What a log keeps, unless the push says otherwise.
    pub fn retention(&self) -> Retention {
        Retention {
            records: self.log_records,
            bytes: u32::try_from(self.log_bytes).unwrap_or(u32::MAX),
            age: self.log_age,
        }
    }

    /// Whether a push may have a log keep so much.
    pub fn allows(&self, retention: Retention) -> bool {
        (1..=self.log_records_max).contains(&retention.records)
            && (secs(1)..=self.log_age_max).contains(&retention.age)
            && usize::try_from(retention.bytes).is_ok_and(|bytes| bytes <= self.log_bytes)
    }

    /// Checks that the settings fit together.
    ///
    /// # Errors
    ///
    /// Names the first field that does not fit, and what would.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.misfits().first().map_or(Ok(()), |error| Err(*error))
    }
}

/// How much is done in one step of what is done so often in a second, and the time between two: one that is not below that
/// of [broadcasts](Config::BROADCAST_STEP).
fn steps(rate: u32) -> (u32, Duration) {
    let second = secs(1);
    let most = (second.as_nanos() / Config::BROADCAST_STEP.as_nanos()) as u32;
    let in_one = rate.div_ceil(most).max(1);
    (in_one, second * in_one / rate.max(1))
}

/// A setting that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {rule}")]
pub struct ConfigError {
    /// The field of the settings that does not fit, by its name in Rust.
    pub field: &'static str,
    /// The rule that it breaks.
    pub rule: &'static str,
}

impl ConfigError {
    /// Those of some rules that do not hold: whether one does, its field, and what it says.
    pub fn broken(rules: &[(bool, &'static str, &'static str)]) -> impl Iterator<Item = Self> {
        let broken = rules.iter().filter(|(holds, ..)| !holds);
        broken.map(|&(_, field, rule)| Self { field, rule })
    }
}

crate::choice! {
    /// What happens to a terminal that does not read as fast as frames come.
    pub enum SlowConsumer {
        /// Its connection is closed; the frames that waited are reported as overflow.
        Close = "close",
        /// The frames that have waited longest give way.
        DropOldest = "drop-oldest",
        /// The new frame is not taken.
        DropNewest = "drop-newest",
    }
}

/// Id and address of an instance, and the secret of its cluster.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Random, new at every start.
    pub instance: InstanceId,
    /// What other instances dial, as `host:port`.
    pub address: String,
    /// What members of the cluster prove to each other.
    pub secret: ClusterSecret,
}

/// The secret that all instances of a cluster share.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterSecret(Box<[u8]>);

impl ClusterSecret {
    /// The fewest bytes that a secret may have.
    pub const MIN_BYTES: usize = 16;

    /// The secret of these bytes.
    ///
    /// # Errors
    ///
    /// If there are fewer than [`Self::MIN_BYTES`].
    pub fn new(bytes: &[u8]) -> Result<Self, ConfigError> {
        if bytes.len() < Self::MIN_BYTES {
            return Err(ConfigError {
                field: "cluster_secret",
                rule: "must have at least 16 bytes",
            });
        }
        Ok(Self(bytes.into()))
    }

    /// What proves to every instance that one of the cluster has said this. It says nothing to the handshake of links.
    pub fn sign(&self, message: &[u8]) -> [u8; 32] {
        self.mac(message).finalize().into_bytes().into()
    }

    /// Whether an instance of the cluster has said this, in a time that does not depend on where a wrong proof differs.
    pub fn has_signed(&self, message: &[u8], signature: &[u8; 32]) -> bool {
        self.mac(message).verify(&(*signature).into()).is_ok()
    }

    fn mac(&self, message: &[u8]) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(b"a message beside links: ");
        mac.update(message);
        mac
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_fit_together() {
        assert_eq!(Config::default().validate(), Ok(()));
        assert_eq!(Config::default().retention(), Retention::default());
    }

    #[test]
    fn a_setting_that_does_not_fit_is_named() {
        let config = Config {
            lease_renewal: Duration::from_secs(6),
            ..Config::default()
        };
        let error = config
            .validate()
            .expect_err("renewal is longer than half of the lease");
        assert_eq!(error.field, "lease_renewal");
    }
}
