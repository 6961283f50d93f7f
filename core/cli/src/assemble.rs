//! From what was set to what is started: secrets are read, and what is unsafe is refused.

use std::sync::Arc;

use switchboard_core::config::ClusterSecret;
use switchboard_driver::directory::{EmbeddedDirectory, RedisUrl};
use switchboard_driver::{AuthKind, Authenticator, DirectoryChoice, Settings, Sockets};
use switchboard_http::ApiSettings;
use switchboard_http::auth::{JwtKey, JwtSettings};

use crate::catalogue::Tables;
use crate::complaints::Complaints;
use crate::load::Loaded;
use crate::origins::{Origins, Unfit};
use crate::secrets;
use crate::settings::{ServerSettings, reachable};
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

/// Where the cluster's secret is.
pub(crate) enum Secret<F> {
    /// In a file, or in a variable of the environment, which this reads.
    Read(F),
    /// The one in force. `None`: there is none, as with a single server.
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
    let Loaded { tables, origins } = loaded;
    let mut complaints = Complaints::default();
    let authenticator = complaints.note(authenticator(&tables, &origins, fetching));
    let api_keys = complaints.note(api_keys(&tables, &origins));
    let misfits = tables.misfits();
    let Tables {
        server,
        api,
        process,
        core,
        tokens: _,
        fetches: _,
    } = tables;
    let secret = match secret {
        Secret::Read(variable) => complaints.note(cluster_secret(&server, &origins, variable)),
        Secret::Known(secret) => Some(secret),
    };
    let directory = complaints.note(directory(&server, &origins, secret.as_ref()));
    let settings = Settings {
        core,
        process,
        directory: directory
            .unwrap_or_else(|| DirectoryChoice::Embedded(EmbeddedDirectory::default())),
        cluster_secret: secret.flatten(),
        sockets: Sockets::default(),
    };
    let api = ApiSettings {
        config: api,
        api_keys: api_keys.unwrap_or_default(),
    };
    for misfit in misfits {
        complaints.add(origins.complaint(&misfit));
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

impl Parts {
    /// Says so if more may connect than is often meant: everybody as anybody, or whoever has a token of
    /// the identity provider, whatever it is for.
    pub(crate) fn warn_if_open(&self) {
        if let Some(jwt) = &self.jwt
            && matches!(jwt.key, JwtKey::Published(_) | JwtKey::Fetched(_))
            && jwt.audience.is_empty()
        {
            tracing::warn!(
                "any token of the identity provider is a login here, whatever it was given for: \
                 --jwt-audience says which are meant"
            );
        }
        let listen = reachable(self.settings.process.listen);
        if self.authenticator.kind() == AuthKind::Open && listen.is_some() {
            tracing::warn!("--auth open: whoever reaches the server can connect as anybody");
        }
    }
}

/// H02, H03: off loopback the API has keys.
fn api_keys(tables: &Tables, origins: &Origins) -> Result<Vec<String>, Unfit> {
    match (&tables.server.api_key_file, reachable(tables.process.api)) {
        (Some(path), _) => {
            secrets::read_keys(path).map_err(|error| origins.unfit("api_key_file", error))
        }
        (None, None) => Ok(Vec::new()),
        (None, Some(address)) => {
            let what = format!(
                "others can reach {address}, so the API needs keys: write one into a file \
                 (`openssl rand -hex 32`) and name it with --api-key-file"
            );
            Err(origins.unfit("api", what))
        }
    }
}

/// What the instances prove to each other, if somebody chose something.
fn cluster_secret(
    server: &ServerSettings,
    origins: &Origins,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<ClusterSecret>, Unfit> {
    const FILE: &str = "cluster_secret_file";
    let given = variable(secrets::CLUSTER_SECRET);
    let (place, bytes) = match (&server.cluster_secret_file, given) {
        (Some(_), Some(_)) => {
            return Err(Unfit(format!(
                "{} and the variable SWITCHBOARD_CLUSTER_SECRET exclude each other: keep one",
                origins.place(FILE)
            )));
        }
        (Some(path), None) => {
            let read = secrets::read(path).map_err(|error| origins.unfit(FILE, error));
            (origins.place(FILE), read?)
        }
        (None, Some(text)) => (
            secrets::CLUSTER_SECRET.to_owned(),
            text.trim_end().as_bytes().to_vec(),
        ),
        (None, None) => return Ok(None),
    };
    let secret = secrets::cluster(&bytes);
    secret
        .map(Some)
        .map_err(|error| Unfit(format!("{place}: {error}")))
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
    let url: RedisUrl = url.parse().map_err(|error| origins.unfit("redis", error))?;
    if secret.is_some_and(Option::is_none) {
        let what = "the instances of a cluster share a secret: write one into a file (`openssl rand -hex 32`) \
             and name it with --cluster-secret-file, or put it into SWITCHBOARD_CLUSTER_SECRET";
        return Err(origins.unfit("redis", what));
    }
    Ok(DirectoryChoice::Redis(url))
}
