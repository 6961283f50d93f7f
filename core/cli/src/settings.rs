//! What a server process is told beside the settings of its instances.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use switchboard_core::config::duration;
use switchboard_driver::Settings;

/// Settings of the process. Those of an instance are [`switchboard_core::config::Config`];
/// both stand side by side in one file. What each means is said in [`super::options`].
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "said once, where the flags are")]
pub(crate) struct ServerSettings {
    pub(crate) listen: SocketAddr,
    pub(crate) api: SocketAddr,
    pub(crate) peer: SocketAddr,
    pub(crate) advertise: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) workers: usize,

    pub(crate) redis: Option<String>,
    pub(crate) prefix: String,
    pub(crate) cluster_secret_file: Option<PathBuf>,

    pub(crate) auth: Option<Auth>,
    pub(crate) jwt_secret_file: Option<PathBuf>,
    pub(crate) jwt_public_key_file: Option<PathBuf>,
    pub(crate) jwks_url: Option<String>,
    pub(crate) jwks_file: Option<PathBuf>,
    pub(crate) jwks_ca_file: Option<PathBuf>,
    #[serde(with = "duration")]
    pub(crate) jwks_refresh: Duration,
    #[serde(with = "duration")]
    pub(crate) jwks_pause: Duration,
    #[serde(with = "duration")]
    pub(crate) jwks_timeout: Duration,
    pub(crate) jwt_audience: Vec<String>,
    pub(crate) jwt_issuer: Vec<String>,
    pub(crate) jwt_allow_unexpiring: bool,
    pub(crate) token_in_query: bool,
    pub(crate) origins: Vec<String>,

    pub(crate) api_key_file: Option<PathBuf>,
    pub(crate) api_hosts: Vec<String>,
    pub(crate) public_url: Option<String>,

    #[serde(with = "duration")]
    pub(crate) drain: Duration,
    #[serde(with = "duration")]
    pub(crate) drain_delay: Duration,

    pub(crate) log: LogFormat,
    pub(crate) log_level: Level,

    pub(crate) frame_bytes: usize,
    pub(crate) header_bytes: usize,
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
            api_hosts: Vec::new(),
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
pub(crate) enum Auth {
    /// To whom it says: ?user=NAME
    Open,
    /// To the `sub` of a signed token
    Jwt,
}

/// The log's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    /// Lines for people
    Human,
    /// One JSON object a line
    Json,
}

/// The least level that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Level {
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
