//! What a server is told: the settings of its process as a table, and beside them what a program that
//! embeds one hands over as values.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::Deserialize;
use switchboard_core::config::{ClusterSecret, Config, ConfigError};
use switchboard_core::directory::DirectorySettings;
use switchboard_protocol::{Namespaces, centrifuge};

use crate::directory::{DirectoryChoice, EmbeddedDirectory};
use crate::request::origin::Origins;
use crate::sockets::Sockets;

/// Settings of a server: one process with one or more instances.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Settings of each instance.
    #[serde(flatten)]
    pub core: Config,
    /// Settings of the process.
    #[serde(flatten)]
    pub process: ProcessConfig,
    /// Where it is written down which connection lives on which instance.
    #[serde(skip)]
    pub directory: DirectoryChoice,
    /// What members of the cluster prove to each other. Required with Redis; an embedded directory
    /// brings a random one along.
    #[serde(skip)]
    pub cluster_secret: Option<ClusterSecret>,
    /// Sockets that the listeners hold at the same time, at most.
    #[serde(skip)]
    pub sockets: Sockets,
}

switchboard_core::settings! {
    /// Settings of a process: what its instances have together.
    ///
    /// An embedding program that leaves `listen` at `None` brings its terminals through
    /// [`Handle::connect`](crate::Handle::connect); `api` needs a [`Builder::api`](crate::Builder::api).
    #[allow(rustdoc::bare_urls, reason = "doc comments of settings are what `--help` prints")]
    pub struct ProcessConfig {
        "Listeners" {
            /// Where terminals connect, at /connect. Port 0 takes a free one.
            listen: Option<SocketAddr> as Address = None;

            /// Where the HTTP API, metrics, health and status page are.
            api: Option<SocketAddr> as Address = None;

            /// Where other instances connect.
            peer: SocketAddr as Address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
                rule: |process| process.advertise.is_some() || !process.peer.ip().is_unspecified(),
                    "must not be an unspecified address, which other instances cannot dial, unless `advertise` \
                     says under which one they reach this machine";

            /// What other instances dial [default: the peer address in use]
            advertise: Option<String> as Text("HOST:PORT") = None,
                rule: |process| process.advertise.as_deref().is_none_or(is_dialable),
                    "must be HOST:PORT, with which other instances reach this machine: neither an unspecified \
                     address nor port 0",
                example: "10.0.0.7:8082";

            /// Name of this server in metrics (label `node`), the same after each start
            /// [default: what other instances dial]
            name: Option<String> as Text("NAME") = None,
                rule: |process| process.name.as_deref().is_none_or(is_name),
                    "must have 1 to 128 bytes, and no control characters",
                example: "web1";

            /// Instances in this process, each with a thread of its own; 0: one for each core.
            workers: usize as Count = 1,
                rule: |process| process.workers <= Settings::WORKERS_MAX, "must be at most 256";
        }

        "Cluster" {
            /// What every key in Redis begins with.
            prefix: String as Text("TEXT") = DirectorySettings::PREFIX.to_owned(),
                rule: |process| is_prefix(&process.prefix),
                    "must not be empty and must hold neither spaces nor braces",
                behind: "redis";

            /// Over how many partitions the keys in Redis are spread. All servers must have the same: one
            /// with another number than stands in Redis does not use it.
            partitions: u16 as Count = DirectorySettings::PARTITIONS,
                rule: |process| (1..=DirectorySettings::PARTITIONS_MAX).contains(&process.partitions),
                    "must be between 1 and 9999",
                behind: "prefix";
        }

        "Who may connect" {
            /// Origins whose pages may connect, beside those of the same host: https://example.com,... A
            /// bare host name stands for all its schemes and ports, *.example.com for all names below that
            /// one.
            origins: Vec<String> as List = Vec::new(),
                rule: |process| Origins::new(&process.origins).is_ok(), Origins::RULE,
                reload: Taken;

            /// How long a terminal that can renew its token stays connected after that has expired.
            // Clients begin to renew it at that moment.
            #[serde(with = "switchboard_core::config::duration")]
            refresh_grace: Duration as Time = Duration::from_secs(25);
        }

        "Topics" {
            /// What terminals may do in topics whose names begin so, beside what their tokens allow:
            /// PREFIX=ACT+ACT,... with `presence` (members see who they are) and, for clients of Centrifuge,
            /// `subscribe` (any of them), `publish` (members), `history` (they recover what they have missed and
            /// read it, and what they publish is a record; `history:5m:50` says what logs keep) and `join_leave`
            /// (members are told who comes and leaves). With `publish_any`, `presence_any` and `history_any` any of them may publish, ask and
            /// read, and not members alone. The longest beginning counts, and an empty one stands for all topics.
            namespaces: Vec<String> as List = Vec::new(),
                rule: |process| Namespaces::new(&process.namespaces).is_ok(), Namespaces::RULE;
        }

        "Connections of an instance" {
            /// The largest message that a terminal may send, in bytes.
            frame_bytes: usize as Bytes = 64 << 10,
                rule: |process| (125..=16 << 20).contains(&process.frame_bytes),
                    "must be between 125 bytes and 16 MiB",
                behind: "connections_per_user";

            /// The largest head of an HTTP request, in bytes.
            header_bytes: usize as Bytes = 16 << 10,
                rule: |process| (8 << 10..=1 << 20).contains(&process.header_bytes),
                    "must be between 8 KiB and 1 MiB",
                behind: "frame_bytes";
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            core: Config::default(),
            process: ProcessConfig::default(),
            directory: DirectoryChoice::Embedded(EmbeddedDirectory::default()),
            cluster_secret: None,
            sockets: Sockets::default(),
        }
    }
}

impl Settings {
    /// Instances that one process may hold.
    pub const WORKERS_MAX: usize = 256;

    /// What the instances prove to each other.
    pub(crate) fn secret(&self) -> Result<ClusterSecret, ConfigError> {
        match (&self.cluster_secret, &self.directory) {
            (Some(secret), _) => Ok(secret.clone()),
            (None, DirectoryChoice::Embedded(directory)) => Ok(directory.secret().clone()),
            (None, DirectoryChoice::Redis(_)) => Err(ConfigError {
                field: "cluster_secret",
                rule: "is required with Redis: all instances of the cluster must share it",
            }),
        }
    }

    /// What an instance's operations of the directory go by.
    pub fn directory_settings(&self) -> DirectorySettings {
        DirectorySettings {
            prefix: self.process.prefix.clone(),
            partitions: self.process.partitions,
            ..self.core.directory()
        }
    }

    /// Terminals of an instance that have not said who they are, at most, by the sockets that there are for all.
    pub(crate) fn strangers(&self) -> usize {
        let percent = usize::from(self.core.authenticating_percent);
        let share = self.sockets.terminals / 100 * percent;
        (share / self.process.workers.max(1)).max(1)
    }

    /// What the sessions of terminals have in common.
    pub(crate) fn sessions(&self) -> centrifuge::Settings {
        centrifuge::Settings {
            ping_interval: self.core.ping_interval,
            refresh_grace: self.process.refresh_grace,
            namespaces: self.namespaces(),
            retention: self.core.retention(),
            connection_topics: self.core.connection_topics,
        }
    }

    /// Those that are none are noticed when the settings are checked.
    fn namespaces(&self) -> Namespaces {
        Namespaces::new(&self.process.namespaces).unwrap_or_default()
    }

    /// No push may say otherwise.
    fn histories_are_allowed(&self) -> Result<(), ConfigError> {
        let namespaces = self.namespaces();
        let mut all = namespaces.retentions(self.core.retention());
        match all.all(|retention| self.core.allows(retention)) {
            true => Ok(()),
            false => Err(ConfigError {
                field: "namespaces",
                rule: Namespaces::HISTORY_RULE,
            }),
        }
    }

    /// Checks that the settings fit together.
    ///
    /// # Errors
    ///
    /// Names the first field that does not fit, and what would.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.misfits().first().map_or(Ok(()), |error| Err(*error))
    }

    /// Everything that does not fit together, and what would.
    pub fn misfits(&self) -> Vec<ConfigError> {
        let mut misfits = self.core.misfits();
        misfits.extend(self.secret().err());
        misfits.extend(self.process.misfits());
        misfits.extend(self.histories_are_allowed().err());
        misfits
    }
}

/// Redis Cluster places a key by what stands in its first braces: that is the partition's place.
fn is_prefix(prefix: &str) -> bool {
    let forbidden = |letter: char| letter.is_whitespace() || matches!(letter, '{' | '}');
    !prefix.is_empty() && !prefix.contains(forbidden)
}

fn is_name(name: &str) -> bool {
    (1..=128).contains(&name.len()) && !name.contains(char::is_control)
}

fn is_dialable(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else {
        return false;
    };
    let address_of_host = host.trim_start_matches('[').trim_end_matches(']');
    let unspecified = address_of_host
        .parse::<IpAddr>()
        .is_ok_and(|ip| ip.is_unspecified());
    let clean = !host.is_empty() && !address.contains(char::is_whitespace);
    clean && !unspecified && port.parse::<u16>().is_ok_and(|port| port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_instance_and_process_stand_side_by_side_and_a_wrong_name_is_noticed() {
        let read = |text| serde_json::from_str::<Settings>(text);
        let settings = read(r#"{"connections": 7, "workers": 3, "frame_bytes": 125}"#);
        let settings = settings.expect("all are settings");
        assert_eq!(
            (settings.core.connections, settings.process.workers),
            (7, 3)
        );
        assert_eq!(settings.process.frame_bytes, 125);
        assert!(read(r#"{"worker": 3}"#).is_err());
    }

    /// H08: so that those who say who they are find a place, whatever strangers do.
    #[test]
    fn strangers_have_a_share_of_the_sockets() {
        let settings = |terminals, workers| Settings {
            process: ProcessConfig {
                workers,
                ..ProcessConfig::default()
            },
            sockets: Sockets {
                terminals,
                ..Sockets::default()
            },
            ..Settings::default()
        };
        assert_eq!(settings(60_000, 1).strangers(), 6000);
        assert_eq!(settings(60_000, 4).strangers(), 1500);
        assert_eq!(settings(50, 4).strangers(), 1);
    }

    /// Each publication would be refused.
    #[test]
    fn a_history_keeps_no_more_than_a_push_may_ask_for() {
        for (history, is_allowed) in [
            ("history:1000", true),
            ("history:1001", false),
            ("history:0", false),
            ("history:24h", true),
            ("history_any:25h:5", false),
            ("history:1ms:5", false),
        ] {
            let process = ProcessConfig {
                namespaces: vec![format!("room:={history}")],
                ..ProcessConfig::default()
            };
            let settings = Settings {
                process,
                ..Settings::default()
            };
            let fields: Vec<_> = (settings.misfits().iter()).map(|it| it.field).collect();
            let expected: &[&str] = if is_allowed { &[] } else { &["namespaces"] };
            assert_eq!(fields, expected, "{history}");
        }
    }

    #[test]
    fn rules_name_the_limits_that_are_checked() {
        let misfits = |process| {
            let settings = Settings {
                process,
                ..Settings::default()
            };
            settings.misfits()
        };
        let workers = misfits(ProcessConfig {
            workers: Settings::WORKERS_MAX + 1,
            ..ProcessConfig::default()
        });
        let [error] = &workers[..] else {
            panic!("one does not fit: {workers:?}");
        };
        assert_eq!(
            error.rule,
            format!("must be at most {}", Settings::WORKERS_MAX)
        );
        let partitions = misfits(ProcessConfig {
            partitions: DirectorySettings::PARTITIONS_MAX + 1,
            ..ProcessConfig::default()
        });
        let [error] = &partitions[..] else {
            panic!("one does not fit: {partitions:?}");
        };
        let expected = format!(
            "must be between 1 and {}",
            DirectorySettings::PARTITIONS_MAX
        );
        assert_eq!(error.rule, expected);
    }
}
