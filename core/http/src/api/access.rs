//! What the API of a server is told, and what it checks of each caller.

use std::fmt;

use http::request::Parts;
use switchboard_core::config::ConfigError;

use super::error::ApiError;
use super::guard::{self, ApiHosts, ApiKeys};
use super::page::Page;
use super::route;

/// What the API of a server is told.
#[derive(Clone, Default)]
pub struct ApiSettings {
    /// What a caller must show.
    pub access: ApiAccess,
    /// The URL under which terminals reach the server, for the status page. Without it they connect to
    /// the host of the page, at the port at which the server listens.
    pub public_url: Option<String>,
}

/// What a caller of the API must show.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ApiAccess {
    /// Keys, one of which `/v1` needs. Without one it is open.
    pub api_keys: Vec<String>,
    /// Host names, beside IP addresses and `localhost`, under which the API answers.
    pub api_hosts: Vec<String>,
}

/// What checks each caller, made of an [`ApiAccess`] that fits.
pub struct AccessCheck {
    keys: ApiKeys,
    hosts: ApiHosts,
}

impl ApiSettings {
    /// Everything that does not fit, and what would.
    pub fn misfits(&self) -> Vec<ConfigError> {
        let access = &self.access;
        let page = Page::new(self.public_url.as_deref());
        [
            guard::check_keys(&access.api_keys).err(),
            ApiHosts::new(&access.api_hosts).err(),
            page.err(),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl ApiAccess {
    /// What checks this of each caller.
    ///
    /// # Errors
    ///
    /// Names the first field that does not fit, and what would.
    pub fn checked(&self) -> Result<AccessCheck, ConfigError> {
        guard::check_keys(&self.api_keys)?;
        Ok(AccessCheck {
            keys: ApiKeys::new(&self.api_keys),
            hosts: ApiHosts::new(&self.api_hosts)?,
        })
    }
}

impl AccessCheck {
    /// Whether a request may be answered, by its key and by the host that it is sent to.
    pub(super) fn check(&self, parts: &Parts) -> Result<(), ApiError> {
        self.hosts.check(parts)?;
        if route::needs_key(parts.uri.path()) {
            self.keys.check(&parts.headers)?;
        }
        Ok(())
    }

    /// Whether `/v1` needs a key.
    pub(super) fn needs_key(&self) -> bool {
        self.keys.are_set()
    }
}

impl fmt::Debug for ApiSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiSettings")
            .field("access", &self.access)
            .field("public_url", &self.public_url)
            .finish()
    }
}

/// Keys are secrets: it says how many there are.
impl fmt::Debug for ApiAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiAccess")
            .field("api_keys", &self.api_keys.len())
            .field("api_hosts", &self.api_hosts)
            .finish()
    }
}

/// Keys are secrets: it says whether there are any.
impl fmt::Debug for AccessCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessCheck")
            .field("keys", &self.keys.are_set())
            .field("hosts", &self.hosts)
            .finish()
    }
}
