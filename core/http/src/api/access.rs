//! What the API of a server is told, and what it checks of each caller.

use std::fmt;

use http::request::Parts;
use switchboard_core::config::ConfigError;

use super::error::ApiError;
use super::guard::{self, ApiHosts, ApiKeys};
use super::{public_url, route};

/// What the API of a server is told.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ApiSettings {
    /// The API's part of the table of settings.
    pub config: ApiConfig,
    /// Keys, one of which `/v1` needs. Without one it is open.
    pub api_keys: Vec<String>,
}

switchboard_core::settings! {
    /// Settings of the HTTP API.
    #[derive(Eq)]
    #[allow(rustdoc::bare_urls, reason = "doc comments of settings are what `--help` prints")]
    pub struct ApiConfig {
        "HTTP API" {
            /// Host names under which the API answers, beside IP addresses and localhost.
            api_hosts: Vec<String> as List = Vec::new(),
                rule: |api| ApiHosts::new(&api.api_hosts).is_ok(), ApiHosts::RULE,
                reload: Taken;

            /// URL under which terminals reach this server, for the status page: wss://example.com/connect
            /// [default: the host of the page, at the port where the server listens]
            public_url: Option<String> as Text("URL") = None,
                rule: |api| api.public_url.as_deref().is_none_or(public_url::is_one), public_url::RULE,
                example: "wss://push.example.com/connect";
        }
    }
}

/// What checks each caller, made of [`ApiSettings`] that fit.
pub struct AccessCheck {
    keys: ApiKeys,
    hosts: ApiHosts,
}

impl ApiSettings {
    /// Everything that does not fit, and what would.
    pub fn misfits(&self) -> Vec<ConfigError> {
        let mut misfits = self.config.misfits();
        misfits.extend(guard::check_keys(&self.api_keys).err());
        misfits
    }

    /// What checks each caller as these settings say.
    ///
    /// # Errors
    ///
    /// Names the first field that does not fit, and what would.
    pub fn access(&self) -> Result<AccessCheck, ConfigError> {
        guard::check_keys(&self.api_keys)?;
        Ok(AccessCheck {
            keys: ApiKeys::new(&self.api_keys),
            hosts: ApiHosts::new(&self.config.api_hosts)?,
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

/// Keys are secrets: it says how many there are.
impl fmt::Debug for ApiSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiSettings")
            .field("config", &self.config)
            .field("api_keys", &self.api_keys.len())
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
