//! Why a server does not start, and why it ends.

use std::io;
use std::net::SocketAddr;

use switchboard_core::config::ConfigError;
use switchboard_core::id::InstanceId;

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting does not fit.
    #[error(transparent)]
    Settings(#[from] ConfigError),
    /// An address cannot be listened at.
    #[error("cannot listen at {address} (`{field}`): {error}")]
    Listen {
        /// The field of the settings that has the address.
        field: &'static str,
        /// The address as it was set, before a port was chosen for 0.
        address: SocketAddr,
        /// What the operating system said.
        error: io::Error,
    },
    /// `listen` is set, and nobody says who a terminal belongs to.
    #[error("`listen` needs an authenticator")]
    NoAuthenticator,
    /// `api` is set, and nothing answers there.
    #[error("`api` needs a service that answers")]
    NoApi,
    /// The operating system refuses something.
    #[error("cannot {doing}: {error}")]
    System {
        /// What was tried, as it continues *cannot*.
        doing: &'static str,
        /// What the operating system said.
        error: io::Error,
    },
}

/// A part of the server died of a bug; all of it has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Died {
    /// An instance, or what brings sockets to it.
    #[error("instance {instance} has died: {cause}")]
    Instance {
        /// The id of the instance.
        instance: InstanceId,
        /// What the panic said.
        cause: String,
    },
    /// What accepts at the listeners.
    #[error("the listeners have died: {cause}")]
    Listeners {
        /// What the panic said.
        cause: String,
    },
}
