//! The directory link of an instance: to a directory in this process, or to Redis.

mod backoff;
mod mark;
mod primary;
mod probe;
mod redis_link;
mod replica_link;
mod sentinels;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;
use switchboard_core::command::{RoundTrip, TripKind};
use switchboard_core::directory::DirectorySettings;
use switchboard_core::event::{Event, TripLost};
use switchboard_core::id::InstanceId;

use crate::directory::{DirectoryChoice, EmbeddedDirectory, RedisUrl};
use crate::inbox::Reports;
use crate::log::{Cause, damped};
use crate::queue::{Giver, Taker, queue};
use crate::runtime::Runtime;
use crate::task;

use redis_link::LinksOpened;

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

/// Round trips that wait for a replica, at most: the one that is served, and the one that the instance has asked for
/// since it gave that up.
const TRIPS_FOR_REPLICA: usize = 2;

/// What an instance's thread sees of its directory link.
pub(crate) enum DirectoryLink {
    Embedded {
        directory: EmbeddedDirectory,
        settings: DirectorySettings,
    },
    Redis {
        orders: Giver<DirectoryOrder>,
        for_replica: Giver<RoundTrip>,
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
                let (orders, ordered) = queue(TRIPS);
                let (for_replica, waiting) = queue(TRIPS_FOR_REPLICA);
                R::spawn(keep_links::<R>(context, url.clone(), ordered, waiting));
                Self::Redis {
                    orders,
                    for_replica,
                }
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
            Self::Redis {
                orders,
                for_replica,
            } => {
                let op = trip.op;
                let is_sent = match trip.kind {
                    TripKind::Ordered => orders.try_give(DirectoryOrder::Execute(trip)).is_ok(),
                    TripKind::ForReplica => for_replica.try_give(trip).is_ok(),
                };
                (!is_sent).then(|| lost(op))
            }
        }
    }

    /// Establishes the link anew.
    pub(crate) fn reset(&self) -> Vec<Event> {
        match self {
            Self::Embedded { .. } => vec![Event::DirectoryDown, Event::DirectoryUp],
            Self::Redis { orders, .. } => {
                // If the queue is full, the link is stuck and given up soon.
                let _ = orders.try_give(DirectoryOrder::Reset);
                Vec::new()
            }
        }
    }
}

/// Serves both links to Redis for as long as the instance lives.
async fn keep_links<R: Runtime>(
    context: DirectoryContext,
    url: RedisUrl,
    orders: Taker<DirectoryOrder>,
    for_replica: Taker<RoundTrip>,
) {
    let links = LinksOpened::default();
    let link = || redis_link::run::<R>(context.clone(), url.clone(), links.clone(), orders.clone());
    let replica_link = || {
        let trips = for_replica.clone();
        replica_link::run::<R>(context.clone(), url.clone(), links.clone(), trips)
    };
    let is_down = async || {
        // It fails only when the instance has ended.
        let _ = context.reports.send(Event::DirectoryDown).await;
    };
    let first = keep::<R>("directory", || orders.is_closed(), link, is_down);
    let second = keep::<R>(
        "replica",
        || for_replica.is_closed(),
        replica_link,
        async || {},
    );
    join(first, second).await;
}

/// Serves one link. A bug in it ends it and not all that follow.
async fn keep<R: Runtime>(
    link: &'static str,
    is_over: impl Fn() -> bool,
    serve: impl AsyncFn(),
    panicked: impl AsyncFn(),
) {
    /// A bug that comes back at once leaves the thread to others.
    const PAUSE: Duration = Duration::from_secs(1);
    while !is_over() {
        if let Err(cause) = task::caught(serve()).await {
            damped!(
                ERROR,
                Cause::one("a directory link panicked", link),
                link,
                cause,
                "a directory link has panicked: this is a bug"
            );
            panicked().await;
            R::sleep(PAUSE).await;
        }
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
