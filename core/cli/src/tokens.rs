//! Who may connect, as the settings say.

use std::path::Path;
use std::sync::Arc;

use switchboard_core::settings::{Setting, SettingTable as _};
use switchboard_driver::Authenticator;
use switchboard_http::auth::{
    Expiry, Jwks, JwksError, JwksSettings, Jwt, JwtKey, JwtSettings, Open, QueryToken,
};

use crate::catalogue::Tables;
use crate::origins::{Origins, Unfit};
use crate::secrets;
use crate::settings::{Auth, FetchSettings, TokenSettings, reachable};

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
    tables: &Tables,
    origins: &Origins,
    fetching: Fetching<'_>,
) -> Result<(Arc<dyn Authenticator>, Option<JwtSettings>), Unfit> {
    let sources = sources(&tables.tokens);
    match chosen(tables, !sources.is_empty(), origins)? {
        Auth::Open => {
            let why = "does nothing unless --auth is jwt";
            needless(TokenSettings::SETTINGS, origins, why)?;
            needless(FetchSettings::SETTINGS, origins, why)?;
            Ok((Arc::new(Open), None))
        }
        Auth::Jwt => {
            let (setting, source) = only(&sources, origins)?;
            if !matches!(source, Source::Address(_)) {
                let why = "does nothing without --jwks-url";
                needless(FetchSettings::SETTINGS, origins, why)?;
            }
            let settings = JwtSettings {
                key: key(source, setting, tables, origins, fetching)?,
                audience: tables.tokens.jwt_audience.clone(),
                issuer: tables.tokens.jwt_issuer.clone(),
                expiry: match tables.tokens.jwt_allow_unexpiring {
                    true => Expiry::Optional,
                    false => Expiry::Required,
                },
                query_token: match tables.tokens.token_in_query {
                    true => QueryToken::Accepted,
                    false => QueryToken::Ignored,
                },
            };
            let jwt = Jwt::new(&settings).map_err(|error| origins.unfit(setting, error))?;
            Ok((Arc::new(jwt), Some(settings)))
        }
    }
}

/// Whom a terminal belongs to: as somebody chose, unless nobody but this machine can connect.
fn chosen(tables: &Tables, has_key: bool, origins: &Origins) -> Result<Auth, Unfit> {
    match (tables.server.auth, reachable(tables.process.listen)) {
        (Some(auth), _) => Ok(auth),
        (None, _) if has_key => Err(Unfit(
            "there is a key for tokens, but --auth is not given: add --auth jwt".to_owned(),
        )),
        (None, None) => Ok(Auth::Open),
        (None, Some(address)) => {
            let what = format!(
                "others can reach {address}, so choose who may connect: --auth jwt with \
                 --jwt-secret-file, --jwt-public-key-file, --jwks-url or --jwks-file, or --auth open to \
                 believe every name"
            );
            Err(origins.unfit("listen", what))
        }
    }
}

/// The settings that name keys, and what they say.
fn sources(tokens: &TokenSettings) -> Vec<(&'static str, Source<'_>)> {
    let secret = tokens.jwt_secret_file.as_deref();
    let public = tokens.jwt_public_key_file.as_deref();
    let published = tokens.jwks_file.as_deref();
    let all = [
        ("jwt_secret_file", secret.map(Source::Secret)),
        ("jwt_public_key_file", public.map(Source::Public)),
        ("jwks_file", published.map(Source::Published)),
        ("jwks_url", tokens.jwks_url.as_deref().map(Source::Address)),
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
            let (first, second) = (origins.place(first), origins.place(second));
            Err(Unfit(format!("{first} and {second} exclude each other: keep one")))
        }
    }
}

/// The key that a source has.
fn key(
    source: &Source<'_>,
    setting: &str,
    tables: &Tables,
    origins: &Origins,
    fetching: Fetching<'_>,
) -> Result<JwtKey, Unfit> {
    Ok(match source {
        Source::Secret(path) => {
            let secret = secrets::read(path).map_err(|error| origins.unfit(setting, error));
            JwtKey::Secret(secret?)
        }
        Source::Public(path) => JwtKey::PublicPem(file(path, setting, origins)?),
        Source::Published(path) => JwtKey::Published(file(path, setting, origins)?),
        Source::Address(url) => {
            let settings = fetches(url, tables, origins)?;
            JwtKey::Fetched(fetched(settings, origins, fetching)?)
        }
    })
}

/// How keys are fetched from an address.
fn fetches(url: &str, tables: &Tables, origins: &Origins) -> Result<JwksSettings, Unfit> {
    let fetches = &tables.fetches;
    if fetches.jwks_timeout.is_zero() || fetches.jwks_timeout >= tables.core.handshake_timeout {
        let rule = "must be above zero and below `handshake_timeout`";
        return Err(origins.unfit("jwks_timeout", rule));
    }
    let authorities = match &fetches.jwks_ca_file {
        Some(path) => Some(file(path, "jwks_ca_file", origins)?),
        None => None,
    };
    Ok(JwksSettings {
        url: url.to_owned(),
        authorities,
        refresh: fetches.jwks_refresh,
        pause: fetches.jwks_pause,
        timeout: fetches.jwks_timeout,
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
        origins.unfit(setting, error)
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

/// Refuses settings that were given and do nothing.
fn needless(settings: &[Setting], origins: &Origins, why: &str) -> Result<(), Unfit> {
    let mut settings = settings.iter();
    match settings.find(|setting| origins.is_given(setting.name)) {
        Some(setting) => Err(origins.unfit(setting.name, why)),
        None => Ok(()),
    }
}

fn file(path: &Path, setting: &str, origins: &Origins) -> Result<Vec<u8>, Unfit> {
    std::fs::read(path)
        .map_err(|error| origins.unfit(setting, format_args!("{}: {error}", path.display())))
}
