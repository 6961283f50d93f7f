//! The directory link of an instance: to a directory in this process, or to Redis.

mod backoff;
mod convert;
mod mark;
mod primary;
mod probe;
mod redis_link;
mod replica_link;
mod sentinels;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use switchboard_core::command::RoundTrip;
use switchboard_core::directory::DirectorySettings;
use switchboard_core::event::{Event, TripLost};
use switchboard_core::id::InstanceId;

use crate::directory::{DirectoryChoice, EmbeddedDirectory, RedisUrl};
use crate::inbox::Reports;
use crate::log::{Cause, damped};
use crate::runtime::Runtime;
use crate::task;

pub use probe::{Findings, examine_directory};
pub(crate) use trouble::Troubles;

/// What a directory link needs of its instance and its process.
#[derive(Clone)]
pub(crate) struct DirectoryContext {
    pub(crate) instance: InstanceId,
    pub(crate) reports: Reports,
    pub(crate) settings: DirectorySettings,
    /// When the instance gives a round trip up.
    pub(crate) timeout: Duration,
    /// How long Redis waits for a replica.
    pub(crate) replica_wait: Duration,
    /// What the operator was told already.
    pub(crate) troubles: Arc<Troubles>,
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
    Redis {
        orders: Sender<DirectoryOrder>,
        /// Trips that wait for a replica, of which there is one at a time.
        waiting: Sender<RoundTrip>,
    },
}

/// What the task of a Redis link is told.
pub(crate) enum DirectoryOrder {
    Execute(RoundTrip),
    Reset,
}

impl DirectoryLink {
    pub(crate) fn open<R: Runtime>(directory: &DirectoryChoice, context: DirectoryContext) -> Self {
        match directory {
            DirectoryChoice::Embedded(directory) => Self::Embedded {
                directory: directory.clone(),
                settings: context.settings,
            },
            DirectoryChoice::Redis(url) => {
                let (orders, ordered) = async_channel::bounded(TRIPS);
                let (waiting, waited) = async_channel::bounded(TRIPS);
                R::spawn(keep_replica_link::<R>(context.clone(), url.clone(), waited));
                R::spawn(keep::<R>(context, url.clone(), ordered));
                Self::Redis { orders, waiting }
            }
        }
    }

    /// What is known at once.
    pub(crate) fn first_event(&self) -> Option<Event> {
        match self {
            Self::Embedded { .. } => Some(Event::DirectoryUp),
            Self::Redis { .. } => None,
        }
    }

    /// Sends a round trip; the event, if it has ended already.
    pub(crate) fn execute(&self, trip: RoundTrip) -> Option<Event> {
        match self {
            Self::Embedded {
                directory,
                settings,
            } => Some(directory.execute(settings, &trip)),
            Self::Redis { waiting, .. } if trip.waits => {
                // The instance gives up what has found no place.
                let _ = waiting.try_send(trip);
                None
            }
            Self::Redis { orders, .. } => {
                let op = trip.op;
                let sent = orders.try_send(DirectoryOrder::Execute(trip));
                sent.err().map(|_| lost(op))
            }
        }
    }

    /// Establishes the link anew.
    pub(crate) fn reset(&self) -> Vec<Event> {
        match self {
            Self::Embedded { .. } => vec![Event::DirectoryDown, Event::DirectoryUp],
            Self::Redis { orders, .. } => {
                // If the queue is full, the link is stuck and given up soon.
                let _ = orders.try_send(DirectoryOrder::Reset);
                Vec::new()
            }
        }
    }
}

/// Serves the link to Redis for as long as the instance lives. A bug in it, or in the library that it
/// uses, ends one link and not all that follow.
async fn keep<R: Runtime>(
    context: DirectoryContext,
    url: RedisUrl,
    orders: Receiver<DirectoryOrder>,
) {
    /// A bug that comes back at once leaves the thread to others.
    const PAUSE: Duration = Duration::from_secs(1);
    while !orders.is_closed() {
        let link = redis_link::run::<R>(context.clone(), url.clone(), orders.clone());
        if let Err(cause) = task::caught(link).await {
            damped!(
                ERROR,
                Cause::all("the directory link panicked"),
                cause,
                "the directory link has panicked: this is a bug"
            );
            // It fails only when the instance has ended.
            let _ = context.reports.send(Event::DirectoryDown).await;
            R::sleep(PAUSE).await;
        }
    }
}

/// Serves the link on which Redis waits for replicas, as [`keep`] does the other one.
async fn keep_replica_link<R: Runtime>(
    context: DirectoryContext,
    url: RedisUrl,
    trips: Receiver<RoundTrip>,
) {
    while !trips.is_closed() {
        let link = replica_link::run::<R>(context.clone(), url.clone(), trips.clone());
        if let Err(cause) = task::caught(link).await {
            damped!(
                ERROR,
                Cause::all("the link that waits for replicas panicked"),
                cause,
                "the link that waits for replicas has panicked: this is a bug"
            );
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
            redis_link::warn_of_eviction::<R>(&url).await;
        });
    }
}

fn lost(op: switchboard_core::id::OpId) -> Event {
    Event::Directory {
        op,
        outcomes: Err(TripLost),
    }
}
