//! The directory link of an instance: to a directory in this process, or to Redis.

mod convert;
mod primary;
mod probe;
mod redis_link;
mod redis_url;
mod trouble;

use std::fmt;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_channel::{Receiver, Sender};
use switchboard_core::command::RoundTrip;
use switchboard_core::config::ClusterSecret;
use switchboard_core::directory::DirectorySettings;
use switchboard_core::directory::memory::MemoryDirectory;
use switchboard_core::event::{Event, TripLost};

use crate::clock;
use crate::damper::{Cause, damped};
use crate::members::Input;
use crate::runtime::Runtime;
use crate::settings::{DirectoryChoice, Settings};
use crate::task;
use crate::worker::Local;

pub use probe::{Findings, examine};
pub use redis_url::{InvalidRedisUrl, RedisUrl};
pub(crate) use trouble::Troubles;

/// A directory in the memory of this process. Clones are the same directory: give one to several
/// servers of a process, and they are a cluster, with a secret of its own. It executes by the
/// settings of the server that used it first.
#[derive(Clone)]
pub struct EmbeddedDirectory(Arc<Embedded>);

struct Embedded {
    directory: Mutex<Option<MemoryDirectory>>,
    secret: ClusterSecret,
}

impl Default for EmbeddedDirectory {
    fn default() -> Self {
        let secret = ClusterSecret::new(&crate::random_bytes::<32>())
            .expect("32 bytes are enough for a secret");
        Self(Arc::new(Embedded {
            directory: Mutex::default(),
            secret,
        }))
    }
}

impl fmt::Debug for EmbeddedDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmbeddedDirectory")
    }
}

impl EmbeddedDirectory {
    /// What the servers that share this directory prove to each other, unless they were given
    /// something else.
    pub(crate) fn secret(&self) -> &ClusterSecret {
        &self.0.secret
    }

    fn execute(&self, settings: &DirectorySettings, trip: &RoundTrip) -> Event {
        let now = clock::mono();
        let directory = self.0.directory.lock();
        let mut directory = directory.unwrap_or_else(PoisonError::into_inner);
        let directory = directory.get_or_insert_with(|| MemoryDirectory::new(settings.clone()));
        let outcomes = trip
            .operations
            .iter()
            .map(|operation| directory.execute(now, operation));
        Event::Directory {
            op: trip.op,
            outcomes: Ok(outcomes.collect()),
        }
    }
}

/// Round trips that are under way to Redis, at most. Core gives them up after
/// `directory_timeout`, so that more than this only wait while the link is stuck.
const TRIPS: usize = 4096;

/// What an instance's thread sees of its directory link.
pub(crate) enum DirectoryLink {
    Embedded {
        directory: EmbeddedDirectory,
        settings: DirectorySettings,
    },
    Redis(Sender<Order>),
}

/// What the task of a Redis link is told.
pub(crate) enum Order {
    Execute(RoundTrip),
    Reset,
}

impl DirectoryLink {
    pub(crate) fn open<R: Runtime>(local: &Rc<Local>) -> Self {
        let settings = directory_settings(&local.shared.settings);
        match &local.shared.settings.directory {
            DirectoryChoice::Embedded(directory) => Self::Embedded {
                directory: directory.clone(),
                settings,
            },
            DirectoryChoice::Redis(url) => {
                let (sender, orders) = async_channel::bounded(TRIPS);
                R::spawn(keep::<R>(Rc::clone(local), url.clone(), settings, orders));
                Self::Redis(sender)
            }
        }
    }

    /// What is known at once.
    pub(crate) fn first_event(&self) -> Option<Event> {
        match self {
            Self::Embedded { .. } => Some(Event::DirectoryUp),
            Self::Redis(_) => None,
        }
    }

    /// Sends a round trip; the event, if it has ended already.
    pub(crate) fn execute(&self, trip: RoundTrip) -> Option<Event> {
        match self {
            Self::Embedded {
                directory,
                settings,
            } => Some(directory.execute(settings, &trip)),
            Self::Redis(sender) => {
                let op = trip.op;
                let sent = sender.try_send(Order::Execute(trip));
                sent.err().map(|_| lost(op))
            }
        }
    }

    /// Establishes the link anew.
    pub(crate) fn reset(&self) -> Vec<Event> {
        match self {
            Self::Embedded { .. } => vec![Event::DirectoryDown, Event::DirectoryUp],
            Self::Redis(sender) => {
                // If the queue is full, the link is stuck and given up soon.
                let _ = sender.try_send(Order::Reset);
                Vec::new()
            }
        }
    }
}

/// Serves the link to Redis for as long as the instance lives. A bug in it, or in the library that it
/// uses, ends one link and not all that follow.
async fn keep<R: Runtime>(
    local: Rc<Local>,
    url: RedisUrl,
    settings: DirectorySettings,
    orders: Receiver<Order>,
) {
    /// A bug that comes back at once leaves the thread to others.
    const PAUSE: Duration = Duration::from_secs(1);
    while !orders.is_closed() {
        let (local, settings) = (Rc::clone(&local), settings.clone());
        let inbox = local.inbox.clone();
        let link = redis_link::run::<R>(local, url.clone(), settings, orders.clone());
        if let Err(cause) = task::caught(link).await {
            damped!(
                ERROR,
                Cause::all("the directory link panicked"),
                cause,
                "the directory link has panicked: this is a bug"
            );
            // It fails only when the instance has ended.
            let _ = inbox.send(Input::Event(Event::DirectoryDown)).await;
            R::sleep(PAUSE).await;
        }
    }
}

/// Makes TLS work where the link needs it.
pub(crate) fn prepare(url: &RedisUrl) {
    if url.is_encrypted() {
        // redis-rs panics without a provider. If there is one already, the embedder chose it.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

/// Warns, in a task of its own, of a directory server that may throw rows away.
pub(crate) fn warn_of_eviction<R: Runtime>(directory: &DirectoryChoice) {
    if let DirectoryChoice::Redis(url) = directory {
        let url = url.clone();
        task::spawn::<R>("look at the eviction policy", async move {
            redis_link::warn_of_eviction(&url).await;
        });
    }
}

fn lost(op: switchboard_core::id::OpId) -> Event {
    Event::Directory {
        op,
        outcomes: Err(TripLost),
    }
}

fn directory_settings(settings: &Settings) -> DirectorySettings {
    DirectorySettings {
        prefix: settings.prefix.clone(),
        lease: settings.core.lease,
        row_expiry: settings.core.row_expiry,
    }
}
