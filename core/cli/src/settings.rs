//! What the server `switchboard` is told beside the settings that any server has.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use switchboard_core::config::duration;
use switchboard_core::{choice, settings};
use switchboard_driver::ProcessConfig;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// The settings of the process, with the defaults of the server `switchboard`: unlike an embedded one it
/// listens at known ports, and uses the whole machine.
pub(crate) fn process_defaults() -> ProcessConfig {
    ProcessConfig {
        listen: Some(loopback(8080)),
        api: Some(loopback(8081)),
        peer: loopback(8082),
        workers: 0,
        ..ProcessConfig::default()
    }
}

/// An address that others than this machine can reach.
pub(crate) fn reachable(address: Option<SocketAddr>) -> Option<SocketAddr> {
    address.filter(|address| !address.ip().is_loopback())
}

settings! {
    /// Settings of the server `switchboard`. Those that any server has are the [`ProcessConfig`] of its
    /// process, the [`Config`](switchboard_core::config::Config) of its instances and the
    /// [`ApiConfig`](switchboard_http::ApiConfig); all stand side by side in one file.
    pub(crate) struct ServerSettings {
        "Cluster" {
            /// Redis 7.0 or newer as the directory of all instances: redis://host:port/db, rediss://...
            /// with TLS, or redis+sentinel://host:port,host:port/master/db; user:password@ goes before the
            /// hosts. Sentinels with a login of their own:
            /// ...?sentinel_user=NAME&sentinel_password=PASSWORD. Without it the directory is in this
            /// process, and the process is a cluster of its own.
            redis: Option<String> as Text("URL") = None,
                example: "redis://127.0.0.1:6379";

            /// File with the secret that all instances share, at least 16 bytes; required with --redis,
            /// unless the variable SWITCHBOARD_CLUSTER_SECRET holds it.
            cluster_secret_file: Option<PathBuf> as File = None,
                example: "/etc/switchboard/cluster-secret";
        }

        "Who may connect" {
            /// Who a terminal belongs to: `open` believes ?user=NAME, `jwt` a signed token's `sub`
            /// [default: open on loopback; elsewhere there is none]
            auth: Option<Auth> as OneOf("HOW", Auth::CHOICES) = None,
                example: "jwt",
                reload: Taken;
        }

        "HTTP API" {
            /// File with the keys of the API, one a line, at least 16 bytes each; required if --api is not
            /// on loopback.
            api_key_file: Option<PathBuf> as File = None,
                example: "/etc/switchboard/api-keys",
                reload: Taken;
        }

        "Stopping" {
            /// SIGTERM or SIGINT: the time over which terminals are closed, evenly.
            #[serde(with = "duration")]
            drain: Duration as Time = secs(10),
                reload: Taken;

            /// How long before that the balancer is told, while terminals stay.
            #[serde(with = "duration")]
            drain_delay: Duration as Time = Duration::ZERO,
                reload: Taken;
        }

        "Log, on standard error" {
            /// The form of the log's lines.
            log: LogFormat as OneOf("FORM", LogFormat::CHOICES) = LogFormat::Human;

            /// The least level that is written.
            log_level: Level as OneOf("LEVEL", Level::CHOICES) = Level::Info,
                reload: Taken;
        }
    }
}

settings! {
    /// Settings of signed tokens. They do nothing unless `auth` is `jwt`.
    pub(crate) struct TokenSettings {
        "Who may connect" {
            /// File with the secret of HS256 tokens, at least 32 bytes.
            jwt_secret_file: Option<PathBuf> as File = None,
                example: "/etc/switchboard/jwt-secret",
                reload: Taken;

            /// PEM file with the public key of RS256, ES256 or EdDSA tokens; its type fixes the algorithm.
            /// Several keys count side by side; a line `kid: NAME` before one says which tokens are its own.
            jwt_public_key_file: Option<PathBuf> as File = None,
                example: "/etc/switchboard/jwt-public.pem",
                reload: Taken;

            /// Audiences of which a token must name one (`aud`).
            jwt_audience: Vec<String> as List = Vec::new(),
                reload: Taken;

            /// Issuers of which a token must name one (`iss`).
            jwt_issuer: Vec<String> as List = Vec::new(),
                reload: Taken;

            /// Take tokens without `exp`; with it, a connection ends when its token does.
            jwt_allow_unexpiring: bool as Switch = false,
                reload: Taken;

            /// Take tokens from ?token= as well. URLs end up in logs: prefer header or subprotocol.
            token_in_query: bool as Switch = false,
                reload: Taken;

            /// Address of the JSON Web Key Set with the public keys that tokens are signed with, by kid:
            /// https://..., or http://... on this machine. A token with an unknown kid has it fetched again.
            jwks_url: Option<String> as Text("URL") = None,
                example: "https://id.example.com/.well-known/jwks.json",
                reload: Taken;

            /// File with a JSON Web Key Set.
            jwks_file: Option<PathBuf> as File = None,
                example: "/etc/switchboard/jwks.json",
                reload: Taken;
        }
    }
}

settings! {
    /// Settings of fetches of published keys. They do nothing without `jwks_url`.
    pub(crate) struct FetchSettings {
        "Who may connect" {
            /// PEM file with the authorities that vouch for --jwks-url, in place of the machine's.
            jwks_ca_file: Option<PathBuf> as File = None,
                example: "/etc/switchboard/authorities.pem",
                reload: Taken;

            /// The time between two fetches of the keys.
            #[serde(with = "duration")]
            jwks_refresh: Duration as Time = secs(600),
                rule: |fetch| fetch.jwks_refresh >= fetch.jwks_pause, "must be at least `jwks_pause`",
                reload: Taken;

            /// The time after a fetch before tokens with an unknown kid cause another one.
            #[serde(with = "duration")]
            jwks_pause: Duration as Time = secs(10),
                rule: |fetch| fetch.jwks_pause >= Duration::from_millis(100), "must be at least 100ms",
                reload: Taken;

            /// When a fetch is given up; below --handshake-timeout.
            #[serde(with = "duration")]
            jwks_timeout: Duration as Time = secs(3),
                reload: Taken;
        }
    }
}

choice! {
    /// Who a terminal belongs to.
    pub(crate) enum Auth {
        /// To whom it says: ?user=NAME
        Open = "open",
        /// To the `sub` of a signed token.
        Jwt = "jwt",
    }
}

choice! {
    /// The log's form.
    pub(crate) enum LogFormat {
        /// Lines for people.
        Human = "human",
        /// One JSON object a line.
        Json = "json",
    }
}

choice! {
    /// The least level that is logged.
    pub(crate) enum Level {
        /// What needs somebody at once.
        Error = "error",
        /// And what is not as it should be.
        Warn = "warn",
        /// And what an operator wants to have seen.
        Info = "info",
        /// And what happens to connections and links.
        Debug = "debug",
        /// And every message, without its payload.
        Trace = "trace",
    }
}
