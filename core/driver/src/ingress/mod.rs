//! The way in: listeners, and HTTP on their sockets until the upgrade.

mod handshake;
mod http;
mod listener;
mod refusals;

use std::sync::Arc;

use crate::api::ApiService;
use crate::members::{Member, Shared};

pub(crate) use http::serve;
pub(crate) use listener::{Door, accept};

/// What is served from one thread.
pub(crate) struct Ingress {
    pub(crate) shared: Arc<Shared>,
    /// The instance of the thread: terminals that come here are its.
    pub(crate) me: Arc<Member>,
    /// What answers at the API's listener.
    pub(crate) api: Option<Arc<dyn ApiService>>,
}
