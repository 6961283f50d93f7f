//! The one description of a server's settings.

use std::net::{Ipv4Addr, SocketAddr};

use serde::Deserialize;
use switchboard_core::config::{ClusterSecret, Config, ConfigError};
use switchboard_core::directory::DirectorySettings;

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
    /// Where terminals connect: `GET /connect`. `None` if they come through
    /// [`Handle::connect`](crate::Handle::connect) alone.
    pub terminals: Option<SocketAddr>,
    /// Where the API listens. Needs [`Builder::api`](crate::Builder::api).
    pub api: Option<SocketAddr>,
    /// Where other instances connect.
    pub peer: SocketAddr,
    /// What other instances dial, as `host:port`. Without it, the peer address in use.
    pub advertise: Option<String>,
    /// The server's name in metrics, the same after each start. Without it, what other instances
    /// dial.
    pub name: Option<String>,
    /// Where it is written down which connection lives on which instance.
    #[serde(skip)]
    pub directory: DirectoryChoice,
    /// What every key in the directory begins with.
    pub prefix: String,
    /// What members of the cluster prove to each other. Required with Redis; an embedded directory
    /// brings a random one along.
    #[serde(skip)]
    pub cluster_secret: Option<ClusterSecret>,
    /// Instances in this process, each with a thread of its own. 0: one for each core.
    pub workers: usize,
    /// The largest message that a terminal may send, in bytes.
    pub frame_bytes: usize,
    /// The largest head of an HTTP request, in bytes.
    pub header_bytes: usize,
    /// Sockets that the listeners hold at the same time, at most.
    #[serde(skip)]
    pub sockets: Sockets,
    /// Origins, beside the server's own host, whose pages may connect: `https://example.com`.
    pub origins: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            core: Config::default(),
            terminals: None,
            api: None,
            peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            advertise: None,
            name: None,
            directory: DirectoryChoice::Embedded(EmbeddedDirectory::default()),
            prefix: "sb:".to_owned(),
            cluster_secret: None,
            workers: 1,
            frame_bytes: 64 << 10,
            header_bytes: 16 << 10,
            sockets: Sockets::default(),
            origins: Vec::new(),
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
            prefix: self.prefix.clone(),
            lease: self.core.lease,
            row_expiry: self.core.row_expiry,
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
        let rules: &[(bool, &'static str, &'static str)] = &[
            (
                self.advertise.is_some() || !self.peer.ip().is_unspecified(),
                "advertise",
                "is required if `peer` is an unspecified address: other instances cannot dial it",
            ),
            (
                self.advertise.as_deref().is_none_or(is_dialable),
                "advertise",
                "must be `host:port`, neither unspecified nor with port 0",
            ),
            (
                self.name.as_deref().is_none_or(is_name),
                "name",
                "must have 1 to 128 bytes, and no control characters",
            ),
            (
                !self.prefix.is_empty() && !self.prefix.contains(char::is_whitespace),
                "prefix",
                "must not be empty and must hold no space",
            ),
            (
                self.workers <= Self::WORKERS_MAX,
                "workers",
                "must be at most 256",
            ),
            (
                (125..=16 << 20).contains(&self.frame_bytes),
                "frame_bytes",
                "must be between 125 bytes and 16 MiB",
            ),
            (
                (8 << 10..=1 << 20).contains(&self.header_bytes),
                "header_bytes",
                "must be between 8 KiB and 1 MiB",
            ),
        ];
        let mut misfits = self.core.misfits();
        misfits.extend(self.secret().err());
        misfits.extend(ConfigError::broken(rules));
        misfits.extend(Origins::new(&self.origins).err());
        misfits
    }
}

fn is_name(name: &str) -> bool {
    (1..=128).contains(&name.len()) && !name.contains(char::is_control)
}

fn is_dialable(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else {
        return false;
    };
    let unspecified = matches!(host, "0.0.0.0" | "[::]");
    let clean = !host.is_empty() && !address.contains(char::is_whitespace);
    clean && !unspecified && port.parse::<u16>().is_ok_and(|port| port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_instance_and_process_stand_side_by_side_and_a_wrong_name_is_noticed() {
        let read = |text| serde_json::from_str::<Settings>(text);
        let settings = read(r#"{"connections": 7, "workers": 3}"#).expect("both are settings");
        assert_eq!((settings.core.connections, settings.workers), (7, 3));
        assert!(read(r#"{"worker": 3}"#).is_err());
    }
}
