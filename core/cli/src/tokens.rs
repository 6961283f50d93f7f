//! Who may connect, as the settings say.

use std::path::Path;
use std::sync::Arc;

use switchboard_core::config::Config;
use switchboard_driver::Authenticator;
use switchboard_http::auth::{
    Expiry, Jwks, JwksError, JwksSettings, Jwt, JwtKey, JwtSettings, Open, QueryToken,
};

use crate::assemble::{Unfit, secret_file, unfit};
use crate::load::Origins;
use crate::settings::{Auth, ServerSettings};

/// Settings that do nothing unless tokens are asked for.
const ABOUT_TOKENS: [&str; 8] = [
    "jwt_secret_file",
    "jwt_public_key_file",
    "jwks_file",
    "jwks_url",
    "jwt_audience",
    "jwt_issuer",
    "jwt_allow_unexpiring",
    "token_in_query",
];

/// Settings that do nothing unless keys are fetched.
const ABOUT_FETCHES: [&str; 4] = ["jwks_ca_file", "jwks_refresh", "jwks_pause", "jwks_timeout"];

/// Where keys are.
enum Source<'a> {
    Secret(&'a Path),
    Public(&'a Path),
    Published(&'a Path),
    Address(&'a str),
}

/// How keys at an address are fetched.
#[derive(Clone, Copy)]
pub(crate) enum Fetching<'a> {
    /// It is begun: a server starts although its identity provider is away.
    Begun,
    /// It is waited for, so that an address without keys can be refused. Those that were fetched are
    /// fetched on, if the settings are the same.
    Awaited(Option<&'a JwtSettings>),
}

/// What says to which user a terminal belongs, and what it believes if that is tokens. H03, H04: nobody is
/// believed without a check unless somebody chose that.
///
/// # Errors
///
/// Names the setting, and says what would do.
pub(crate) fn authenticator(
    server: &ServerSettings,
    core: &Config,
    origins: &Origins,
    fetching: Fetching<'_>,
) -> Result<(Arc<dyn Authenticator>, Option<JwtSettings>), Unfit> {
    let sources = sources(server);
    let auth = match server.auth {
        Some(auth) => auth,
        None if !sources.is_empty() => {
            return Err(Unfit(
                "there is a key for tokens, but --auth is not given: add --auth jwt".to_owned(),
            ));
        }
        None if server.listen.ip().is_loopback() => Auth::Open,
        None => {
            return Err(Unfit(format!(
                "{}: others can reach {}, so choose who may connect: --auth jwt with \
                 --jwt-secret-file, --jwt-public-key-file, --jwks-url or --jwks-file, or --auth open to \
                 believe every name",
                origins.place("listen"),
                server.listen
            )));
        }
    };
    match auth {
        Auth::Open => {
            let about = ABOUT_TOKENS.into_iter().chain(ABOUT_FETCHES);
            needless(about, origins, "does nothing unless --auth is jwt")?;
            Ok((Arc::new(Open), None))
        }
        Auth::Jwt => {
            let (setting, source) = only(&sources, origins)?;
            if !matches!(source, Source::Address(_)) {
                needless(ABOUT_FETCHES, origins, "does nothing without --jwks-url")?;
            }
            let key = match source {
                Source::Secret(path) => JwtKey::Secret(secret_file(path, setting, origins)?),
                Source::Public(path) => JwtKey::PublicPem(file(path, setting, origins)?),
                Source::Published(path) => JwtKey::Published(file(path, setting, origins)?),
                Source::Address(url) => {
                    let settings = fetches(url, server, core, origins)?;
                    JwtKey::Fetched(fetched(settings, origins, fetching)?)
                }
            };
            let settings = JwtSettings {
                key,
                audience: server.jwt_audience.clone(),
                issuer: server.jwt_issuer.clone(),
                expiry: match server.jwt_allow_unexpiring {
                    true => Expiry::Optional,
                    false => Expiry::Required,
                },
                query_token: match server.token_in_query {
                    true => QueryToken::Accepted,
                    false => QueryToken::Ignored,
                },
            };
            let jwt =
                Jwt::new(&settings).map_err(|error| unfit(setting, origins, &error.to_string()))?;
            Ok((Arc::new(jwt), Some(settings)))
        }
    }
}

/// The settings that name keys, and what they say.
fn sources(server: &ServerSettings) -> Vec<(&'static str, Source<'_>)> {
    let secret = server.jwt_secret_file.as_deref();
    let public = server.jwt_public_key_file.as_deref();
    let published = server.jwks_file.as_deref();
    let all = [
        ("jwt_secret_file", secret.map(Source::Secret)),
        ("jwt_public_key_file", public.map(Source::Public)),
        ("jwks_file", published.map(Source::Published)),
        ("jwks_url", server.jwks_url.as_deref().map(Source::Address)),
    ];
    let given = all.into_iter();
    given
        .filter_map(|(setting, source)| Some((setting, source?)))
        .collect()
}

/// The one setting that names keys.
fn only<'a>(
    sources: &'a [(&'static str, Source<'a>)],
    origins: &Origins,
) -> Result<(&'static str, &'a Source<'a>), Unfit> {
    match sources {
        [] => Err(Unfit(
            "--auth jwt needs a key: --jwt-secret-file for HS256, --jwt-public-key-file for RS256, ES256 \
             or EdDSA, or --jwks-url or --jwks-file for the keys that an identity provider publishes".to_owned(),
        )),
        [(setting, source)] => Ok((setting, source)),
        [(first, _), (second, _), ..] => {
            let what = format!("and {} exclude each other: keep one", origins.place(second));
            Err(unfit(first, origins, &what))
        }
    }
}

/// How keys are fetched from an address.
fn fetches(
    url: &str,
    server: &ServerSettings,
    core: &Config,
    origins: &Origins,
) -> Result<JwksSettings, Unfit> {
    if server.jwks_timeout.is_zero() || server.jwks_timeout >= core.handshake_timeout {
        let rule = "must be above zero and below `handshake_timeout`";
        return Err(unfit("jwks_timeout", origins, rule));
    }
    let authorities = match &server.jwks_ca_file {
        Some(path) => Some(file(path, "jwks_ca_file", origins)?),
        None => None,
    };
    Ok(JwksSettings {
        url: url.to_owned(),
        authorities,
        refresh: server.jwks_refresh,
        pause: server.jwks_pause,
        timeout: server.jwks_timeout,
    })
}

fn fetched(
    settings: JwksSettings,
    origins: &Origins,
    fetching: Fetching<'_>,
) -> Result<Jwks, Unfit> {
    let own_authorities = settings.authorities.is_some();
    let refused = |error: JwksError| {
        let setting = match error {
            JwksError::Authorities(_) if own_authorities => "jwks_ca_file",
            _ => "jwks_url",
        };
        unfit(setting, origins, &error.to_string())
    };
    let before = match fetching {
        Fetching::Begun => return Jwks::start(settings).map_err(refused),
        Fetching::Awaited(before) => before.map(|jwt| &jwt.key),
    };
    if let Some(JwtKey::Fetched(jwks)) = before
        && *jwks.settings() == settings
    {
        // If it fails, the log says so, and the keys that are known count on.
        let _ = jwks.refresh();
        return Ok(jwks.clone());
    }
    let jwks = Jwks::start(settings).map_err(refused)?;
    jwks.fetched().map_err(refused)?;
    Ok(jwks)
}

fn needless(
    settings: impl IntoIterator<Item = &'static str>,
    origins: &Origins,
    why: &str,
) -> Result<(), Unfit> {
    let given = settings
        .into_iter()
        .find(|setting| origins.is_given(setting));
    given.map_or(Ok(()), |setting| Err(unfit(setting, origins, why)))
}

fn file(path: &Path, setting: &str, origins: &Origins) -> Result<Vec<u8>, Unfit> {
    std::fs::read(path)
        .map_err(|error| unfit(setting, origins, &format!("{}: {error}", path.display())))
}
