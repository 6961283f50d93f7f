//! What a server process is told beside the settings of its instances.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::Settings;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use switchboard_core::config::duration;

/// Settings of the process. Those of an instance are [`switchboard_core::config::Config`];
/// both stand side by side in one file. What each means is said in [`super::options`].
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "said once, where the flags are")]
pub(super) struct ServerSettings {
    pub(super) listen: SocketAddr,
    pub(super) api: SocketAddr,
    pub(super) peer: SocketAddr,
    pub(super) advertise: Option<String>,
    pub(super) name: Option<String>,
    pub(super) workers: usize,

    pub(super) redis: Option<String>,
    pub(super) prefix: String,
    pub(super) cluster_secret_file: Option<PathBuf>,

    pub(super) auth: Option<Auth>,
    pub(super) jwt_secret_file: Option<PathBuf>,
    pub(super) jwt_public_key_file: Option<PathBuf>,
    pub(super) jwks_url: Option<String>,
    pub(super) jwks_file: Option<PathBuf>,
    pub(super) jwks_ca_file: Option<PathBuf>,
    #[serde(with = "duration")]
    pub(super) jwks_refresh: Duration,
    #[serde(with = "duration")]
    pub(super) jwks_pause: Duration,
    #[serde(with = "duration")]
    pub(super) jwks_timeout: Duration,
    pub(super) jwt_audience: Vec<String>,
    pub(super) jwt_issuer: Vec<String>,
    pub(super) jwt_allow_unexpiring: bool,
    pub(super) token_in_query: bool,
    pub(super) origins: Vec<String>,

    pub(super) api_key_file: Option<PathBuf>,
    pub(super) api_hosts: Vec<String>,
    pub(super) public_url: Option<String>,

    #[serde(with = "duration")]
    pub(super) drain: Duration,
    #[serde(with = "duration")]
    pub(super) drain_delay: Duration,

    pub(super) log: LogFormat,
    pub(super) log_level: Level,

    pub(super) frame_bytes: usize,
    pub(super) header_bytes: usize,
}

impl Default for ServerSettings {
    fn default() -> Self {
        let driver = Settings::default();
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            listen: loopback(8080),
            api: loopback(8081),
            peer: loopback(8082),
            advertise: None,
            name: None,
            workers: 0,
            redis: None,
            prefix: driver.prefix,
            cluster_secret_file: None,
            auth: None,
            jwt_secret_file: None,
            jwt_public_key_file: None,
            jwks_url: None,
            jwks_file: None,
            jwks_ca_file: None,
            jwks_refresh: Duration::from_secs(600),
            jwks_pause: Duration::from_secs(10),
            jwks_timeout: Duration::from_secs(3),
            jwt_audience: Vec::new(),
            jwt_issuer: Vec::new(),
            jwt_allow_unexpiring: false,
            token_in_query: false,
            origins: driver.origins,
            api_key_file: None,
            api_hosts: driver.api_hosts,
            public_url: None,
            drain: Duration::from_secs(10),
            drain_delay: Duration::ZERO,
            log: LogFormat::Human,
            log_level: Level::Info,
            frame_bytes: driver.frame_bytes,
            header_bytes: driver.header_bytes,
        }
    }
}

/// Who a terminal belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Auth {
    /// To whom it says: ?user=NAME
    Open,
    /// To the `sub` of a signed token
    Jwt,
}

/// The log's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum LogFormat {
    /// Lines for people
    Human,
    /// One JSON object a line
    Json,
}

/// The least level that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Level {
    /// What needs somebody at once
    Error,
    /// And what is not as it should be
    Warn,
    /// And what an operator wants to have seen
    Info,
    /// And what happens to connections and links
    Debug,
    /// And every message, without its payload
    Trace,
}
