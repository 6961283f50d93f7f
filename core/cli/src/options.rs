//! The settings as flags and variables.
//!
//! Each field is one setting. Its name is that of the setting in the file; the flag has dashes for
//! underscores, and the variable is in capitals behind `SWITCHBOARD_`. The doc comment is what
//! `--help` says; [`with_variables_and_defaults`] adds the rest.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Arg, Args, Command};
use serde::Serialize;

use crate::settings::{Auth, Level, LogFormat};
use crate::values::{address, boolean, count, size, time, written_size};

/// All settings of a server. What is `None` was not given.
#[derive(Args, Debug, Default, Serialize)]
pub(crate) struct Options {
    #[command(flatten)]
    #[serde(flatten)]
    listeners: Listeners,
    #[command(flatten)]
    #[serde(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    #[serde(flatten)]
    terminals: Terminals,
    #[command(flatten)]
    #[serde(flatten)]
    api: Api,
    #[command(flatten)]
    #[serde(flatten)]
    stopping: Stopping,
    #[command(flatten)]
    #[serde(flatten)]
    logging: Logging,
    #[command(flatten)]
    #[serde(flatten)]
    connections: Connections,
    #[command(flatten)]
    #[serde(flatten)]
    pushes: Pushes,
    #[command(flatten)]
    #[serde(flatten)]
    links: Links,
    #[command(flatten)]
    #[serde(flatten)]
    directory: Directory,
}

#[derive(Args, Debug, Default, Serialize)]
#[command(next_help_heading = "Listeners")]
struct Listeners {
    /// Where terminals connect, at /connect. Port 0 takes a free one
    #[arg(long, value_name = "IP:PORT", value_parser = address)]
    listen: Option<SocketAddr>,
    /// Where the HTTP API, metrics, health and status page are
    #[arg(long, value_name = "IP:PORT", value_parser = address)]
    api: Option<SocketAddr>,
    /// Where other instances connect
    #[arg(long, value_name = "IP:PORT", value_parser = address)]
    peer: Option<SocketAddr>,
    /// What other instances dial [default: the peer address in use]
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// Name of this server in metrics (label `node`), the same after each start
    /// [default: what other instances dial]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Instances in this process, each with a thread of its own; 0: one for each core
    #[arg(long, value_name = "N", value_parser = count)]
    workers: Option<u32>,
}

#[derive(Args, Debug, Default, Serialize)]
#[command(next_help_heading = "Cluster")]
struct Cluster {
    /// Redis 7.0 or newer as the directory of all instances: redis://host:port/db, rediss://... with
    /// TLS, or redis+sentinel://host:port,host:port/master/db; user:password@ goes before the hosts.
    /// Sentinels with a login of their own: ...?sentinel_user=NAME&sentinel_password=PASSWORD.
    /// Without it the directory is in this process, and the process is a cluster of its own
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    /// What every key in Redis begins with
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    /// File with the secret that all instances share, at least 16 bytes; required with --redis,
    /// unless the variable SWITCHBOARD_CLUSTER_SECRET holds it
    #[arg(long, value_name = "FILE")]
    cluster_secret_file: Option<PathBuf>,
}

#[derive(Args, Debug, Default, Serialize)]
#[command(next_help_heading = "Who may connect")]
struct Terminals {
    /// Who a terminal belongs to: `open` believes ?user=NAME, `jwt` a signed token's `sub`
    /// [default: open on loopback; elsewhere there is none]
    #[arg(long, value_name = "HOW")]
    auth: Option<Auth>,
    /// File with the secret of HS256 tokens, at least 32 bytes
    #[arg(long, value_name = "FILE")]
    jwt_secret_file: Option<PathBuf>,
    /// PEM file with the public key of RS256, ES256 or EdDSA tokens; its type fixes the algorithm.
    /// Several keys count side by side; a line `kid: NAME` before one says which tokens are its own
    #[arg(long, value_name = "FILE")]
    jwt_public_key_file: Option<PathBuf>,
    /// Address of the JSON Web Key Set with the public keys that tokens are signed with, by kid:
    /// https://..., or http://... on this machine. A token with an unknown kid has it fetched again
    #[arg(long, value_name = "URL")]
    jwks_url: Option<String>,
    /// File with a JSON Web Key Set
    #[arg(long, value_name = "FILE")]
    jwks_file: Option<PathBuf>,
    /// PEM file with the authorities that vouch for --jwks-url, in place of the machine's
    #[arg(long, value_name = "FILE")]
    jwks_ca_file: Option<PathBuf>,
    /// The time between two fetches of the keys
    #[arg(long, value_name = "TIME", value_parser = time)]
    jwks_refresh: Option<String>,
    /// The time after a fetch before tokens with an unknown kid cause another one
    #[arg(long, value_name = "TIME", value_parser = time)]
    jwks_pause: Option<String>,
    /// When a fetch is given up; below --handshake-timeout
    #[arg(long, value_name = "TIME", value_parser = time)]
    jwks_timeout: Option<String>,
    /// Audiences of which a token must name one (`aud`)
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    jwt_audience: Option<Vec<String>>,
    /// Issuers of which a token must name one (`iss`)
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    jwt_issuer: Option<Vec<String>>,
    /// Take tokens without `exp`; with it, a connection ends when its token does
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = boolean)]
    jwt_allow_unexpiring: Option<bool>,
    /// Take tokens from ?token= as well. URLs end up in logs: prefer header or subprotocol
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = boolean)]
    token_in_query: Option<bool>,
    /// Origins whose pages may connect, beside those of the same host: https://example.com,... A bare
    /// host name stands for all its schemes and ports, *.example.com for all names below that one
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    origins: Option<Vec<String>>,
}

#[derive(Args, Debug, Default, Serialize)]
#[command(next_help_heading = "HTTP API")]
struct Api {
    /// File with the keys of the API, one a line, at least 16 bytes each; required if --api is
    /// not on loopback
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Host names under which the API answers, beside IP addresses and localhost
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    api_hosts: Option<Vec<String>>,
    /// URL under which terminals reach this server, for the status page: wss://example.com/connect
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
}

#[derive(Args, Debug, Default, Serialize)]
#[command(next_help_heading = "Stopping")]
struct Stopping {
    /// SIGTERM or SIGINT: the time over which terminals are closed, evenly
    #[arg(long, value_name = "TIME", value_parser = time)]
    drain: Option<String>,
    /// How long before that the balancer is told, while terminals stay
    #[arg(long, value_name = "TIME", value_parser = time)]
    drain_delay: Option<String>,
}

#[derive(Args, Debug, Default, Serialize)]
#[command(next_help_heading = "Log, on standard error")]
pub(crate) struct Logging {
    /// Its form
    #[arg(long, value_name = "FORM")]
    pub(crate) log: Option<LogFormat>,
    /// The least level that is written
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log_level: Option<Level>,
}

#[derive(Args, Debug, Default, Serialize)]
#[command(next_help_heading = "Connections of an instance")]
struct Connections {
    /// Connections at an instance, at most
    #[arg(long, value_name = "N", value_parser = count)]
    connections: Option<u32>,
    /// Connections of a user at an instance, at most
    #[arg(long, value_name = "N", value_parser = count)]
    connections_per_user: Option<u32>,
    /// The largest message that a terminal may send
    #[arg(long, value_name = "BYTES", value_parser = size)]
    frame_bytes: Option<u32>,
    /// The largest head of an HTTP request
    #[arg(long, value_name = "BYTES", value_parser = size)]
    header_bytes: Option<u32>,
    /// Bytes of payload that wait for one terminal, at most
    #[arg(long, value_name = "BYTES", value_parser = size)]
    queue_bytes: Option<u32>,
    /// Frames that wait for one terminal, at most
    #[arg(long, value_name = "N", value_parser = count)]
    queue_frames: Option<u32>,
    /// When a terminal's queue is full: `close` its connection, `drop-oldest` or `drop-newest` frame
    #[arg(long, value_name = "POLICY", value_parser = ["close", "drop-oldest", "drop-newest"])]
    slow_consumer: Option<String>,
    /// The time from a request to its open WebSocket, at most
    #[arg(long, value_name = "TIME", value_parser = time)]
    handshake_timeout: Option<String>,
    /// The time between two pings to a terminal, at most; jitter shortens it by up to a quarter
    #[arg(long, value_name = "TIME", value_parser = time)]
    ping_interval: Option<String>,
    /// How long after a ping, or the last sign of life since, there must be another one
    #[arg(long, value_name = "TIME", value_parser = time)]
    ping_timeout: Option<String>,
    /// How long a closing handshake may take before the socket is dropped
    #[arg(long, value_name = "TIME", value_parser = time)]
    close_timeout: Option<String>,
    /// How long a terminal waits for its entry in the directory before it is greeted as degraded
    #[arg(long, value_name = "TIME", value_parser = time)]
    hello_grace: Option<String>,
}

#[derive(Args, Debug, Default, Serialize)]
#[command(next_help_heading = "Pushes")]
struct Pushes {
    /// The largest payload of a push
    #[arg(long, value_name = "BYTES", value_parser = size)]
    push_bytes: Option<u32>,
    /// Users whom one push may name, at most
    #[arg(long, value_name = "N", value_parser = count)]
    push_users: Option<u32>,
    /// Pushes that wait for their receipt at an instance, at most
    #[arg(long, value_name = "N", value_parser = count)]
    pushes: Option<u32>,
    /// Pushes for one user that wait at an instance, at most
    #[arg(long, value_name = "N", value_parser = count)]
    pushes_per_user: Option<u32>,
    /// Terminals that a receipt lists, at most; its counts stay true beyond that
    #[arg(long, value_name = "N", value_parser = count)]
    receipt_terminals: Option<u32>,
    /// Frames per second of all broadcasts at an instance
    #[arg(long, value_name = "N", value_parser = count)]
    broadcast_rate: Option<u32>,
    /// Broadcasts that wait to be written at an instance, at most
    #[arg(long, value_name = "N", value_parser = count)]
    broadcasts: Option<u32>,
    /// How long an instance remembers what it wrote, to recognise repeats
    #[arg(long, value_name = "TIME", value_parser = time)]
    repeat_memory: Option<String>,
    /// Pairs of push and connection that it remembers, at most
    #[arg(long, value_name = "N", value_parser = count)]
    repeat_entries: Option<u32>,
}

#[derive(Args, Debug, Default, Serialize)]
#[command(next_help_heading = "Links between instances")]
struct Links {
    /// Links of an instance, at most
    #[arg(long, value_name = "N", value_parser = count)]
    links: Option<u32>,
    /// Bytes that wait for one peer, at most
    #[arg(long, value_name = "BYTES", value_parser = size)]
    link_queue_bytes: Option<u32>,
    /// When an attempt to open a link is given up
    #[arg(long, value_name = "TIME", value_parser = time)]
    link_timeout: Option<String>,
    /// The time between two heartbeats; a link that is silent for three of them is dead
    #[arg(long, value_name = "TIME", value_parser = time)]
    link_heartbeat: Option<String>,
}

#[derive(Args, Debug, Default, Serialize)]
#[command(next_help_heading = "Directory and lease")]
struct Directory {
    /// How long a lease lasts without renewal: then a crashed instance is gone for everyone
    #[arg(long, value_name = "TIME", value_parser = time)]
    lease: Option<String>,
    /// The time between two renewals of the lease
    #[arg(long, value_name = "TIME", value_parser = time)]
    lease_renewal: Option<String>,
    /// The time between two readings of all leases
    #[arg(long, value_name = "TIME", value_parser = time)]
    view_interval: Option<String>,
    /// When the entries of a user expire unless written again; it bounds garbage, nothing else
    #[arg(long, value_name = "TIME", value_parser = time)]
    row_expiry: Option<String>,
    /// The time in which every entry is written again although nothing has happened
    #[arg(long, value_name = "TIME", value_parser = time)]
    sweep: Option<String>,
    /// When a round trip to the directory is given up
    #[arg(long, value_name = "TIME", value_parser = time)]
    directory_timeout: Option<String>,
    /// Entries per second that all instances together write after the directory was away
    #[arg(long, value_name = "N", value_parser = count)]
    settle_rate: Option<u32>,
    /// How long an instance may be without its lease, while a peer says that the directory works,
    /// before it sends its terminals elsewhere
    #[arg(long, value_name = "TIME", value_parser = time)]
    isolation: Option<String>,
}

/// Gives each setting's flag its variable, and says its default.
pub(crate) fn with_variables_and_defaults(
    command: Command,
    defaults: &toml::Table,
    settings: &[&str],
) -> Command {
    command.mut_args(|arg| {
        let id = arg.get_id().to_string();
        if !settings.contains(&id.as_str()) {
            return arg;
        }
        let arg = arg.env(variable(&id)).hide_env_values(true);
        let is_size = arg
            .get_value_names()
            .is_some_and(|names| names.iter().any(|name| name == "BYTES"));
        match defaults.get(&id).and_then(|value| written(value, is_size)) {
            Some(default) => with_default(arg, &default),
            None => arg,
        }
    })
}

/// The variable of a setting.
pub(crate) fn variable(setting: &str) -> String {
    format!("SWITCHBOARD_{}", setting.to_uppercase())
}

/// The flag of a setting.
pub(crate) fn flag(setting: &str) -> String {
    format!("--{}", setting.replace('_', "-"))
}

fn with_default(arg: Arg, default: &str) -> Arg {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    arg.help(format!("{help} [default: {default}]"))
}

/// A default as one would write it; `None` if it is that there is nothing.
fn written(value: &toml::Value, is_size: bool) -> Option<String> {
    match value {
        toml::Value::Integer(bytes) if is_size => Some(written_size(*bytes)),
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(true) => Some("true".to_owned()),
        _ => None,
    }
}
