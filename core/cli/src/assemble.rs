//! From what was set to what is started: secrets are read, and what is unsafe is refused.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use switchboard_core::config::ClusterSecret;
use switchboard_driver::directory::{EmbeddedDirectory, RedisUrl};
use switchboard_driver::{Authenticator, DirectoryChoice, ProcessConfig, Settings, Sockets};
use switchboard_http::auth::JwtSettings;
use switchboard_http::{ApiAccess, ApiSettings};

use crate::complaints::Complaints;
use crate::load::{Loaded, Origins};
use crate::secrets;
use crate::settings::ServerSettings;
use crate::tokens::{Fetching, authenticator};

/// What a server is started with.
pub(crate) struct Parts {
    pub(crate) settings: Settings,
    pub(crate) api: ApiSettings,
    pub(crate) authenticator: Arc<dyn Authenticator>,
    /// What it believes, if that is tokens.
    pub(crate) jwt: Option<JwtSettings>,
    /// For complaints that come as late as the start.
    pub(crate) origins: Origins,
}

/// A combination of settings that cannot be, or must not. It says what to do.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unfit(pub(crate) String);

/// Where the cluster's secret is.
pub(crate) enum Secret<F> {
    /// In a file, or in a variable of the environment, which this reads.
    Read(F),
    /// This one.
    Known(Option<ClusterSecret>),
}

/// Checks the settings as a whole, and reads the files that they name.
///
/// # Errors
///
/// Names each setting that does not fit, and says what would do.
pub(crate) fn assemble(
    loaded: Loaded,
    secret: Secret<impl Fn(&str) -> Option<String>>,
    fetching: Fetching<'_>,
) -> Result<Parts, Complaints> {
    let Loaded {
        server,
        process,
        core,
        origins,
    } = loaded;
    let mut complaints = Complaints::default();
    let own_misfits = server.misfits();
    let authenticator = complaints.note(authenticator(&server, &core, &origins, fetching));
    let api_keys = complaints.note(api_keys(&server, &origins));
    let advertise = complaints.note(advertise(&server, &process, &origins));
    let secret = match secret {
        Secret::Read(variable) => complaints.note(cluster_secret(&server, &origins, variable)),
        Secret::Known(secret) => Some(secret),
    };
    let directory = complaints.note(directory(&server, &origins, secret.as_ref()));
    // Of what is missing here something was said already.
    let said = [
        ("advertise", advertise.is_none()),
        ("cluster_secret", secret.is_none()),
    ];
    let settings = Settings {
        core,
        process,
        terminals: Some(server.listen),
        api: Some(server.api),
        peer: server.peer,
        directory: directory
            .unwrap_or_else(|| DirectoryChoice::Embedded(EmbeddedDirectory::default())),
        cluster_secret: secret.flatten(),
        workers: server.workers,
        sockets: Sockets::default(),
    };
    let api = ApiSettings {
        access: ApiAccess {
            api_keys: api_keys.unwrap_or_default(),
            api_hosts: server.api_hosts,
        },
        public_url: server.public_url,
    };
    let misfits = [own_misfits, settings.misfits(), api.misfits()];
    for misfit in misfits.into_iter().flatten() {
        if !said.contains(&(misfit.field, true)) {
            complaints.add(origins.complaint(&misfit));
        }
    }
    match authenticator {
        Some((authenticator, jwt)) if complaints.is_empty() => Ok(Parts {
            settings,
            api,
            authenticator,
            jwt,
            origins,
        }),
        _ => Err(complaints),
    }
}

/// H02, H03: off loopback the API has keys.
fn api_keys(server: &ServerSettings, origins: &Origins) -> Result<Vec<String>, Unfit> {
    match &server.api_key_file {
        Some(path) => secrets::read_keys(path)
            .map_err(|error| unfit("api_key_file", origins, &error.to_string())),
        None if server.api.ip().is_loopback() => Ok(Vec::new()),
        None => Err(Unfit(format!(
            "{}: others can reach {}, so the API needs keys: write one into a file \
             (`openssl rand -hex 32`) and name it with --api-key-file",
            origins.place("api"),
            server.api
        ))),
    }
}

/// H34, H35: what others dial is an address at which they can find this server.
fn advertise(
    server: &ServerSettings,
    process: &ProcessConfig,
    origins: &Origins,
) -> Result<(), Unfit> {
    let Some(address) = &process.advertise else {
        return if server.peer.ip().is_unspecified() {
            Err(Unfit(format!(
                "{}: other instances cannot dial {}: say under which address they reach this \
                 machine, with --advertise HOST:PORT",
                origins.place("peer"),
                server.peer
            )))
        } else {
            Ok(())
        };
    };
    let unspecified = address
        .parse::<SocketAddr>()
        .is_ok_and(|address| address.ip().is_unspecified())
        || address
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.is_unspecified());
    if unspecified {
        return Err(unfit(
            "advertise",
            origins,
            &format!(
                "other instances cannot dial {address}: name this machine as they see it, as HOST:PORT"
            ),
        ));
    }
    Ok(())
}

/// What the instances prove to each other, if somebody chose something.
fn cluster_secret(
    server: &ServerSettings,
    origins: &Origins,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<ClusterSecret>, Unfit> {
    let given = variable(secrets::CLUSTER_SECRET);
    let (setting, bytes) = match (&server.cluster_secret_file, given) {
        (Some(_), Some(_)) => {
            return Err(unfit(
                "cluster_secret_file",
                origins,
                "and the variable SWITCHBOARD_CLUSTER_SECRET exclude each other: keep one",
            ));
        }
        (Some(path), None) => {
            let setting = "cluster_secret_file";
            (setting, secret_file(path, setting, origins)?)
        }
        (None, Some(text)) => (secrets::CLUSTER_SECRET, text.trim_end().as_bytes().to_vec()),
        (None, None) => return Ok(None),
    };
    let secret = secrets::cluster(&bytes);
    secret
        .map(Some)
        .map_err(|error| unfit(setting, origins, &error.to_string()))
}

/// Where the directory is. Of a `secret` that is `None` something was said already.
fn directory(
    server: &ServerSettings,
    origins: &Origins,
    secret: Option<&Option<ClusterSecret>>,
) -> Result<DirectoryChoice, Unfit> {
    let Some(url) = &server.redis else {
        return Ok(DirectoryChoice::Embedded(EmbeddedDirectory::default()));
    };
    let url: RedisUrl = url
        .parse()
        .map_err(|error| unfit("redis", origins, &format!("{error}")))?;
    if secret.is_some_and(Option::is_none) {
        return Err(unfit(
            "redis",
            origins,
            "the instances of a cluster share a secret: write one into a file (`openssl rand -hex 32`) \
             and name it with --cluster-secret-file, or put it into SWITCHBOARD_CLUSTER_SECRET",
        ));
    }
    Ok(DirectoryChoice::Redis(url))
}

pub(crate) fn secret_file(path: &Path, setting: &str, origins: &Origins) -> Result<Vec<u8>, Unfit> {
    secrets::read(path).map_err(|error| unfit(setting, origins, &error.to_string()))
}

pub(crate) fn unfit(setting: &str, origins: &Origins, what: &str) -> Unfit {
    if setting == secrets::CLUSTER_SECRET {
        return Unfit(format!("{setting}: {what}"));
    }
    Unfit(format!("{}: {what}", origins.place(setting)))
}
