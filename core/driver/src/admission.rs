//! Who may come in. It can be changed while the server runs, and what is changed counts from the next
//! request on.

use std::fmt;
use std::sync::Arc;

use switchboard_core::config::ConfigError;

use crate::Authenticator;
use crate::api::{ApiHosts, Keys};
use crate::auth::AuthKind;
use crate::origin::Origins;
use crate::settings::{self, Settings};

/// Who may come in at a running server: [`Handle::admission`](crate::Handle::admission) says what
/// counts, and [`Handle::admit`](crate::Handle::admit) changes it.
#[derive(Clone, Default)]
pub struct Admission {
    /// Says who a terminal belongs to.
    pub authenticator: Option<Arc<dyn Authenticator>>,
    /// As [`Settings::origins`].
    pub origins: Vec<String>,
    /// As [`Settings::api_keys`].
    pub api_keys: Vec<String>,
    /// As [`Settings::api_hosts`].
    pub api_hosts: Vec<String>,
}

impl Admission {
    /// What a server is started with.
    pub(crate) fn of(settings: &Settings, authenticator: Option<Arc<dyn Authenticator>>) -> Self {
        Self {
            authenticator,
            origins: settings.origins.clone(),
            api_keys: settings.api_keys.clone(),
            api_hosts: settings.api_hosts.clone(),
        }
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission")
            .field("origins", &self.origins)
            .field("api_keys", &self.api_keys.len())
            .field("api_hosts", &self.api_hosts)
            .finish_non_exhaustive()
    }
}

/// The same, as it is asked at each request.
pub(crate) struct Admitted {
    pub(crate) admission: Admission,
    pub(crate) origins: Origins,
    pub(crate) keys: Keys,
    pub(crate) hosts: ApiHosts,
}

impl Admitted {
    /// Reads what was set.
    ///
    /// # Errors
    ///
    /// Names the first field that does not fit, and what would.
    pub(crate) fn new(admission: Admission) -> Result<Self, ConfigError> {
        settings::check_api_keys(&admission.api_keys)?;
        Ok(Self {
            origins: Origins::new(&admission.origins)?,
            keys: Keys::new(&admission.api_keys),
            hosts: ApiHosts::new(&admission.api_hosts)?,
            admission,
        })
    }

    /// What terminals must send.
    pub(crate) fn kind(&self) -> AuthKind {
        let authenticator = self.admission.authenticator.as_ref();
        authenticator.map_or(AuthKind::Custom, |authenticator| authenticator.kind())
    }
}
