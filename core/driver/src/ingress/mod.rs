//! The way in: listeners, and HTTP on their sockets until they are handed over.

mod apis;
mod centrifuge;
mod emulation;
mod http;
mod listener;
mod peers;
mod refusals;
mod serve;
mod takeover;
mod terminals;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::admission::Admitted;
use crate::api::ApiService;
use crate::events::Queue;
use crate::handle::Handle;
use crate::members::{Member, Shared};
use crate::permits::{ByteBudget, Dropped, Service};
use crate::session_names::SessionNames;

pub(crate) use listener::Door;
pub(crate) use serve::serve;

/// What serves sockets on one thread.
pub(crate) struct Ingress {
    /// The instance of the thread: terminals that come here are its.
    me: Arc<Member>,
    /// The instances of the process: links are for these.
    members: Vec<Arc<Member>>,
    /// What answers at the API's listener, and what it asks.
    api: Option<(Arc<dyn ApiService>, Handle)>,
    /// The application's events.
    events: Option<Arc<Queue>>,
    admitted: Arc<ArcSwap<Admitted>>,
    dropped: Arc<Dropped>,
    heads: [Arc<ByteBudget>; 3],
    header_bytes: usize,
    /// The largest message that a terminal may send.
    frame_bytes: usize,
    handshake_timeout: Duration,
    session_names: SessionNames,
}

impl Ingress {
    /// Of an instance's thread.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        me: Arc<Member>,
        api: Option<Arc<dyn ApiService>>,
    ) -> Self {
        let handle = || Handle {
            shared: Arc::clone(shared),
        };
        Self {
            me,
            members: shared.members.clone(),
            api: api.map(|service| (service, handle())),
            events: shared.events.clone(),
            admitted: Arc::clone(&shared.admitted),
            dropped: Arc::clone(&shared.dropped),
            heads: shared.heads.clone(),
            header_bytes: shared.settings.process.header_bytes,
            frame_bytes: shared.settings.process.frame_bytes,
            handshake_timeout: shared.settings.core.handshake_timeout,
            session_names: shared.session_names.clone(),
        }
    }

    /// What has come of heads that are not complete, at the listener of a service.
    fn heads(&self, service: Service) -> &Arc<ByteBudget> {
        &self.heads[service as usize]
    }
}
