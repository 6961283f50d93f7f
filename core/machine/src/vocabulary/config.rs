//! The one description of an instance's settings.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::InstanceId;

/// Settings of an instance. Every table and queue has its limit here.
///
/// Durations are written as `500ms`, `10s`, `30m` or `2h`; sizes are in bytes.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long a lease lasts without renewal: a crashed instance is gone from everyone's view
    /// after this time.
    #[serde(with = "duration")]
    pub lease: Duration,
    /// The time between two renewals of the lease.
    #[serde(with = "duration")]
    pub lease_renewal: Duration,
    /// The time between two readings of all leases.
    #[serde(with = "duration")]
    pub view_interval: Duration,
    /// When the rows of a user expire unless they are written again. It bounds garbage and never
    /// decides who is alive.
    #[serde(with = "duration")]
    pub row_expiry: Duration,
    /// The time in which every row is written again although nothing has happened. It bounds how
    /// long a row can be missing that the directory lost without any sign.
    #[serde(with = "duration")]
    pub sweep: Duration,
    /// When a round trip to the directory is given up.
    #[serde(with = "duration")]
    pub directory_timeout: Duration,
    /// Rows per second that all instances together write while they settle.
    pub settle_rate: u32,
    /// How long an instance may be without its lease, while a peer says that the directory works,
    /// before it sends its terminals elsewhere.
    #[serde(with = "duration")]
    pub isolation: Duration,

    /// How long a terminal waits for its row before it is greeted as degraded.
    #[serde(with = "duration")]
    pub hello_grace: Duration,
    /// The time from the acceptance of a handshake to the open WebSocket.
    #[serde(with = "duration")]
    pub handshake_timeout: Duration,
    /// The time between two pings to a terminal, at most; jitter shortens it by up to a quarter.
    #[serde(with = "duration")]
    pub ping_interval: Duration,
    /// How long after a ping, or after the last sign of life since, a frame of any kind must have
    /// come, or another sign of life.
    #[serde(with = "duration")]
    pub ping_timeout: Duration,
    /// How long a closing handshake may take before the socket is dropped.
    #[serde(with = "duration")]
    pub close_timeout: Duration,
    /// Bytes of payload that wait for one terminal, at most.
    pub queue_bytes: usize,
    /// Frames that wait for one terminal, at most.
    pub queue_frames: usize,
    /// What happens when a terminal's queue is full.
    pub slow_consumer: SlowConsumer,
    /// Connections of one user at this instance, at most.
    pub connections_per_user: usize,
    /// Connections at this instance, at most.
    pub connections: usize,

    /// The largest payload of a push, in bytes.
    pub push_bytes: usize,
    /// Users, or connections of one user, whom one push may name, at most.
    pub push_users: usize,
    /// Pushes that wait for their receipt at this instance, at most.
    pub pushes: usize,
    /// Pushes for one user that wait at this instance, or have ended and stand behind one that
    /// waits, at most.
    pub pushes_per_user: usize,
    /// Terminals that a receipt lists, at most. Its counts stay true beyond that.
    pub receipt_terminals: usize,
    /// Frames per second of all broadcasts at this instance.
    pub broadcast_rate: u32,
    /// Broadcasts that wait to be written at this instance, at most.
    pub broadcasts: usize,
    /// How long an instance remembers what it wrote, to recognise repeats.
    #[serde(with = "duration")]
    pub repeat_memory: Duration,
    /// Pairs of push and connection that it remembers, at most.
    pub repeat_entries: usize,

    /// Bytes that wait for one peer, at most.
    pub link_queue_bytes: usize,
    /// When an attempt to open a link is given up.
    #[serde(with = "duration")]
    pub link_timeout: Duration,
    /// The time between two heartbeats on a link; a link that is silent for three of them is dead. The
    /// longer of its two ends' times counts.
    #[serde(with = "duration")]
    pub link_heartbeat: Duration,
    /// Links of this instance, at most.
    pub links: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(10),
            lease_renewal: Duration::from_secs(3),
            view_interval: Duration::from_secs(1),
            row_expiry: Duration::from_secs(2 * 3600),
            sweep: Duration::from_secs(30 * 60),
            directory_timeout: Duration::from_secs(1),
            settle_rate: 20_000,
            isolation: Duration::from_secs(20),
            hello_grace: Duration::from_secs(1),
            handshake_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            queue_bytes: 4 << 20,
            queue_frames: 1024,
            slow_consumer: SlowConsumer::Close,
            connections_per_user: 1024,
            connections: 1_000_000,
            push_bytes: 1 << 20,
            push_users: 1000,
            pushes: 100_000,
            pushes_per_user: 1024,
            receipt_terminals: 1000,
            broadcast_rate: 50_000,
            broadcasts: 64,
            repeat_memory: Duration::from_secs(120),
            repeat_entries: 100_000,
            link_queue_bytes: 64 << 20,
            link_timeout: Duration::from_secs(1),
            link_heartbeat: Duration::from_secs(3),
            links: 4096,
        }
    }
}

impl Config {
    /// Bytes of the largest batch that instances send each other, whatever their settings: the
    /// largest payload that any may allow (16 MiB), and as much again for the names of those who
    /// get it, which is a thousand users with nearly a thousand connections each.
    pub const BATCH_BYTES_MAX: usize = 32 << 20;
    /// The shortest deadline of a push.
    pub const DEADLINE_MIN: Duration = Duration::from_millis(10);
    /// The longest deadline of a push.
    pub const DEADLINE_MAX: Duration = Duration::from_secs(30);
    /// The deadline of a push whose caller names none.
    pub const DEADLINE_DEFAULT: Duration = Duration::from_secs(3);
    /// A link is dead when nothing came over it for so many heartbeats.
    pub const SILENT_HEARTBEATS: u32 = 3;
    /// The time between two batches of rows that are written again under a new epoch.
    pub const SETTLE_STEP: Duration = Duration::from_millis(50);
    /// The writes that a failover of the directory may lose are those of this time: a replica that lags
    /// further behind is not promoted by any sensible configuration.
    pub const FAILOVER_TAIL: Duration = Duration::from_secs(60);
    /// After a failed dial the next one waits this long, and deliveries fail at once.
    pub const DIAL_COOLDOWN: Duration = Duration::from_millis(250);

    /// Checks that the settings fit together.
    ///
    /// # Errors
    ///
    /// Names the first field that does not fit, and what would.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.misfits().first().map_or(Ok(()), |error| Err(*error))
    }

    /// Everything that does not fit together, a field each, and what would.
    pub fn misfits(&self) -> Vec<ConfigError> {
        let second = Duration::from_secs(1);
        let rules: &[(bool, &'static str, &'static str)] = &[
            (self.lease >= second, "lease", "must be at least 1s"),
            (
                self.lease_renewal * 2 <= self.lease && !self.lease_renewal.is_zero(),
                "lease_renewal",
                "must be above zero and at most half of `lease`",
            ),
            (
                self.view_interval * 2 <= self.lease && !self.view_interval.is_zero(),
                "view_interval",
                "must be above zero and at most half of `lease`",
            ),
            (
                self.sweep * 2 <= self.row_expiry && self.sweep >= second,
                "sweep",
                "must be at least 1s and at most half of `row_expiry`",
            ),
            (
                self.directory_timeout >= Duration::from_millis(10)
                    && self.directory_timeout <= self.lease / 2,
                "directory_timeout",
                "must be at least 10ms and at most half of `lease`",
            ),
            (self.settle_rate > 0, "settle_rate", "must be above zero"),
            (
                self.isolation >= self.lease,
                "isolation",
                "must be at least `lease`",
            ),
            (
                !self.handshake_timeout.is_zero(),
                "handshake_timeout",
                "must be above zero",
            ),
            (
                self.ping_interval >= Duration::from_millis(10),
                "ping_interval",
                "must be at least 10ms",
            ),
            (
                self.ping_timeout >= Duration::from_millis(10),
                "ping_timeout",
                "must be at least 10ms",
            ),
            (
                self.queue_bytes >= self.push_bytes,
                "queue_bytes",
                "must be at least `push_bytes`, or the largest push could never be written",
            ),
            (self.queue_frames >= 2, "queue_frames", "must be at least 2"),
            (
                self.connections_per_user > 0,
                "connections_per_user",
                "must be above zero",
            ),
            (self.connections > 0, "connections", "must be above zero"),
            (
                self.push_bytes > 0 && self.push_bytes <= 16 << 20,
                "push_bytes",
                "must be between 1 byte and 16 MiB",
            ),
            (self.push_users > 0, "push_users", "must be above zero"),
            (self.pushes > 0, "pushes", "must be above zero"),
            (
                self.pushes_per_user > 0,
                "pushes_per_user",
                "must be above zero",
            ),
            (
                self.broadcast_rate > 0,
                "broadcast_rate",
                "must be above zero",
            ),
            (self.broadcasts > 0, "broadcasts", "must be above zero"),
            (
                self.link_queue_bytes >= 2 * self.push_bytes,
                "link_queue_bytes",
                "must be at least twice `push_bytes`",
            ),
            (
                !self.link_timeout.is_zero(),
                "link_timeout",
                "must be above zero",
            ),
            (
                !self.link_heartbeat.is_zero(),
                "link_heartbeat",
                "must be above zero",
            ),
            (self.links > 0, "links", "must be above zero"),
        ];
        ConfigError::broken(rules).collect()
    }
}

/// A setting that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {rule}")]
pub struct ConfigError {
    /// The field's name.
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

/// What happens to a terminal that does not read as fast as frames come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SlowConsumer {
    /// Its connection is closed; the frames that waited are reported as overflow.
    Close,
    /// The frames that have waited longest give way.
    DropOldest,
    /// The new frame is not taken.
    DropNewest,
}

/// Who an instance is.
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

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSecret(..)")
    }
}

/// Durations as people write them: a whole number and `ms`, `s`, `m` or `h`.
pub mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de};

    /// Reads `500ms`, `10s`, `30m` or `2h`.
    ///
    /// # Errors
    ///
    /// If the text is anything else.
    pub fn parse(text: &str) -> Result<Duration, InvalidDuration> {
        let invalid = || InvalidDuration(text.to_owned());
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| invalid())?;
        let millis = match unit {
            "ms" => Some(number),
            "s" => number.checked_mul(1000),
            "m" => number.checked_mul(60_000),
            "h" => number.checked_mul(3_600_000),
            _ => None,
        };
        millis.map(Duration::from_millis).ok_or_else(invalid)
    }

    /// For serde's `with`.
    ///
    /// # Errors
    ///
    /// As [`parse`].
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).map_err(de::Error::custom)
    }

    /// Writes a duration as [`parse`] reads it, in the largest unit that divides it. What is below
    /// a millisecond is cut off.
    pub fn format(duration: Duration) -> String {
        let millis = duration.as_millis();
        if millis == 0 {
            return "0s".to_owned();
        }
        let units = [(3_600_000, "h"), (60_000, "m"), (1000, "s")];
        match units
            .into_iter()
            .find(|(unit, _)| millis.is_multiple_of(*unit))
        {
            Some((unit, name)) => format!("{}{name}", millis / unit),
            None => format!("{millis}ms"),
        }
    }

    /// For serde's `with`.
    ///
    /// # Errors
    ///
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format(*duration))
    }

    /// A text that is not a duration.
    #[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
    #[error("`{0}` is not a duration: write a whole number and ms, s, m or h, as in 500ms or 10s")]
    pub struct InvalidDuration(String);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_fit_together() {
        assert_eq!(Config::default().validate(), Ok(()));
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

    /// H45: no text overflows into "no timeout at all".
    #[test]
    fn durations_are_read_strictly() {
        assert_eq!(duration::parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration::parse("2h"), Ok(Duration::from_secs(7200)));
        for text in [
            "",
            "5",
            "s",
            "-1s",
            "1.5s",
            "1 s",
            "99999999999999999999s",
            "9999999999999999999h",
        ] {
            assert!(duration::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn durations_are_written_as_they_are_read() {
        for text in ["0s", "1ms", "1500ms", "1s", "90s", "2m", "2h"] {
            let parsed = duration::parse(text).expect("a duration");
            assert_eq!(duration::format(parsed), text);
        }
    }
}
