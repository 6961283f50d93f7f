//! Starting and stopping a server.

use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use switchboard_core::config::ConfigError;

use crate::login::Authenticator;
use crate::events::Events;
use crate::handle::Handle;
use crate::runtime::Runtime;
use crate::settings::Settings;

/// A server that is to be started.
pub struct Builder<R: Runtime> {
    settings: Settings,
    authenticator: Option<Arc<dyn Authenticator>>,
    events: Option<usize>,
    runtime: PhantomData<R>,
}

/// A running server. Dropping it ends it at once; see [`Server::drain`] and [`Server::shutdown`].
#[derive(Debug)]
pub struct Server {
    handle: Handle,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting does not fit.
    #[error(transparent)]
    Settings(#[from] ConfigError),
    /// An address cannot be listened at.
    #[error("cannot listen at {address} (`{field}`): {error}")]
    Listen {
        /// The setting.
        field: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// `terminals` is set, and nobody says who a terminal belongs to.
    #[error("`terminals` needs an authenticator")]
    NoAuthenticator,
    /// The operating system refuses something.
    #[error("cannot {doing}: {error}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// Why not.
        error: std::io::Error,
    },
}

/// An instance died of a bug; the server has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("instance {instance} has died: {cause}")]
pub struct InstanceDied {
    /// Which.
    pub instance: switchboard_core::id::InstanceId,
    /// What the panic said.
    pub cause: String,
}

impl<R: Runtime> Default for Builder<R> {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            authenticator: None,
            events: None,
            runtime: PhantomData,
        }
    }
}

#[allow(clippy::todo)]
impl<R: Runtime> Builder<R> {
    /// With these settings.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Who says who a terminal belongs to. Needed if [`Settings::terminals`] is set.
    #[must_use]
    pub fn authenticator(self, authenticator: impl Authenticator) -> Self {
        self.shared_authenticator(Arc::new(authenticator))
    }

    /// As [`Builder::authenticator`], of one that is shared.
    #[must_use]
    pub fn shared_authenticator(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        self.authenticator = Some(authenticator);
        self
    }

    /// Collects what happens to terminals, for [`Server::events`]. While `capacity` messages wait
    /// there, terminals are not read.
    #[must_use]
    pub fn events(mut self, capacity: usize) -> Self {
        self.events = Some(capacity);
        self
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// Names the setting that does not fit, or what the operating system refused.
    pub async fn start(self) -> Result<Server, StartError> {
        todo!()
    }
}

#[allow(unused_variables, clippy::todo)]
impl Server {
    /// What the application calls.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Where terminals connect.
    pub fn terminals_addr(&self) -> Option<SocketAddr> {
        todo!()
    }

    /// Where the HTTP API is.
    pub fn api_addr(&self) -> Option<SocketAddr> {
        todo!()
    }

    /// Where other instances connect.
    pub fn peer_addr(&self) -> SocketAddr {
        todo!()
    }

    /// What happens to terminals, if [`Builder::events`] was called; at the first call.
    pub fn events(&mut self) -> Option<Events> {
        todo!()
    }

    /// As [`Handle::drain`].
    pub async fn drain(&self, delay: Duration, spread: Duration) {
        self.handle.drain(delay, spread).await;
    }

    /// Waits until an instance dies of a bug. Never returns while all is well.
    pub async fn died(&self) -> InstanceDied {
        todo!()
    }

    /// Closes what is left, removes rows and lease, and ends. Returns when all threads have ended.
    pub async fn shutdown(self) {
        todo!()
    }
}
