//! Which terminals may come in. It can be changed while the server runs, and what is changed counts from
//! the next handshake on.

use std::fmt;
use std::sync::Arc;

use switchboard_core::config::ConfigError;

use crate::login::Authenticator;
use crate::request::origin::Origins;
use crate::settings::Settings;

/// Which terminals may come in at a running server: [`Handle::admission`](crate::Handle::admission)
/// says what counts, and [`Handle::admit`](crate::Handle::admit) changes it.
#[derive(Clone, Default)]
pub struct Admission {
    /// Says who a terminal belongs to.
    pub authenticator: Option<Arc<dyn Authenticator>>,
    /// As [`ProcessConfig::origins`](crate::ProcessConfig::origins).
    pub origins: Vec<String>,
}

impl Admission {
    /// Why nobody can be let in yet, if that is so.
    pub fn unready(&self) -> Option<&'static str> {
        self.authenticator.as_ref()?.unready()
    }

    /// What a server is started with.
    pub(crate) fn of(settings: &Settings, authenticator: Option<Arc<dyn Authenticator>>) -> Self {
        Self {
            authenticator,
            origins: settings.process.origins.clone(),
        }
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission")
            .field("origins", &self.origins)
            .finish_non_exhaustive()
    }
}

/// The same, as it is asked at each handshake.
pub(crate) struct Admitted {
    pub(crate) admission: Admission,
    pub(crate) origins: Origins,
}

impl Admitted {
    /// Reads what was set.
    ///
    /// # Errors
    ///
    /// Names the first field that does not fit, and what would.
    pub(crate) fn new(admission: Admission) -> Result<Self, ConfigError> {
        Ok(Self {
            origins: Origins::new(&admission.origins)?,
            admission,
        })
    }
}
