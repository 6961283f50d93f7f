//! The link over which Redis is asked to wait for a replica. A connection that waits answers nothing else: so there
//! is a second one, opened when it is wanted for the first time.
//!
//! It leads to where the directory link leads: whenever that is established anew, so is this one. There is one trip at a
//! time, and the instance has given up each that it did not have answered by the time the next one comes.

use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use switchboard_core::command::RoundTrip;
use switchboard_core::directory::log::LogReply;
use switchboard_core::directory::redis::Value;
use switchboard_core::directory::{DirectorySettings, OperationResult, Reply};
use switchboard_core::event::Event;

use super::backoff::Backoff;
use super::primary::{CONNECT, Primary};
use super::redis_link::LinksOpened;
use super::trouble::Trouble;
use super::{DirectoryContext, lost};
use crate::directory::RedisUrl;
use crate::log::{Cause, damped};
use crate::queue::Taker;
use crate::redis::{Connection, accepted, words};
use crate::runtime::{Runtime, race};

/// Replicas that are waited for. One is what a failover needs.
const REPLICAS: &str = "1";

/// Serves one instance for as long as it lives.
pub(super) async fn run<R: Runtime>(
    context: DirectoryContext,
    url: RedisUrl,
    links: LinksOpened,
    trips: Taker<RoundTrip>,
) {
    let mut link = ReplicaLink::<R> {
        context,
        url,
        links,
        connection: None,
    };
    let mut backoff = Backoff::new();
    while let Some(trip) = trips.take().await {
        let op = trip.op;
        let answer = match link.serve(trip, &trips).await {
            Ok(answer) => {
                backoff = Backoff::new();
                answer
            }
            Err(trouble) => {
                link.connection = None;
                link.tell(&trouble);
                link.report(lost(op)).await;
                // What is asked meanwhile waits for the next attempt.
                R::sleep(backoff.next_pause()).await;
                continue;
            }
        };
        link.report(answer).await;
    }
}

struct ReplicaLink<R: Runtime> {
    context: DirectoryContext,
    url: RedisUrl,
    links: LinksOpened,
    connection: Option<Following<R>>,
}

/// A connection, and which directory link there was when it was opened.
struct Following<R: Runtime> {
    opened_with: u64,
    primary: Primary<R>,
}

impl<R: Runtime> ReplicaLink<R> {
    /// Has a trip answered. A connection that was used before may have ended since: then over a new one.
    async fn serve(
        &mut self,
        mut trip: RoundTrip,
        trips: &Taker<RoundTrip>,
    ) -> Result<Event, Trouble> {
        self.connection
            .take_if(|connection| connection.opened_with != self.links.get());
        if self.connection.is_some()
            && let Ok(answer) = self.ask(&trip).await
        {
            return Ok(answer);
        }
        let opened_with = self.links.get();
        let connecting = race(
            Primary::<R>::agreed(&self.url, &self.context.settings),
            no_answer::<R, _>(CONNECT),
        );
        self.connection = Some(Following {
            opened_with,
            primary: connecting.await?,
        });
        // The instance has given up all but the last.
        while let Some(later) = trips.try_take() {
            trip = later;
        }
        self.ask(&trip).await
    }

    /// Asks over the connection that there is.
    async fn ask(&mut self, trip: &RoundTrip) -> Result<Event, Trouble> {
        let Some(Following { primary, .. }) = &mut self.connection else {
            return Err(Trouble::Unreachable("there is no connection".to_owned()));
        };
        let (settings, wait) = (&self.context.settings, self.context.replica_wait);
        let asked = ask(&mut primary.connection, trip, settings, wait);
        let outcomes = race(asked, no_answer::<R, _>(self.context.timeout)).await?;
        // It may be a former primary, which does not know that it is none.
        if outcomes.iter().any(is_unknown) {
            self.connection = None;
        }
        Ok(Event::Directory {
            op: trip.op,
            outcomes: Ok(outcomes),
        })
    }

    fn tell(&self, trouble: &Trouble) {
        damped!(
            WARN, Cause::all("no replica can be asked for"),
            this = %self.context.instance, url = %self.url, why = trouble.reason(),
            "no replica of the directory can be asked for: receipts do not say that one has a record"
        );
    }

    async fn report(&self, event: Event) {
        // It fails only when the instance has ended.
        let _ = self.context.reports.send(event).await;
    }
}

async fn no_answer<R: Runtime, T>(after: Duration) -> Result<T, Trouble> {
    R::sleep(after).await;
    Err(Trouble::Unreachable("no answer".to_owned()))
}

/// Whether the server does not know a record.
fn is_unknown(outcome: &OperationResult) -> bool {
    matches!(
        outcome,
        Ok(Reply::Log(LogReply::Confirmed { known: false, .. }))
    )
}

/// Asks for all records, then once for a replica: what it has then, it has of all of them.
async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S>,
    trip: &RoundTrip,
    settings: &DirectorySettings,
    wait: Duration,
) -> Result<Vec<OperationResult>, Trouble> {
    let operations = &trip.operations;
    for operation in operations {
        connection.request(&operation.request(settings));
    }
    let wait = wait.as_millis().to_string();
    connection.command(words(&["WAIT", REPLICAS, &wait]));
    let mut answers = Vec::with_capacity(operations.len());
    for _ in operations {
        answers.push(accepted(connection.next().await?)?);
    }
    let replicas = accepted(connection.next().await?)?;
    let outcomes = operations
        .iter()
        .zip(answers)
        .map(|(operation, known)| operation.decode(Value::Array(vec![known, replicas.clone()])));
    Ok(outcomes.collect())
}
