//! The link over which Redis is asked to wait for a replica. A connection that waits answers nothing else: so there
//! is a second one, opened when it is wanted for the first time.

use std::time::Duration;

use async_channel::Receiver;
use redis::aio::MultiplexedConnection;
use switchboard_core::command::RoundTrip;
use switchboard_core::directory::redis::{Request, Value};
use switchboard_core::directory::{DirectorySettings, OperationError, OperationResult};
use switchboard_core::event::Event;
use tracing::debug;

use super::primary::Primary;
use super::trouble::Trouble;
use super::{DirectoryContext, convert, redis_link};
use crate::directory::RedisUrl;
use crate::runtime::{Runtime, race};

/// Replicas that are waited for.
const REPLICAS: i64 = 1;

/// Serves one instance for as long as it lives.
pub(super) async fn run<R: Runtime>(
    context: DirectoryContext,
    url: RedisUrl,
    trips: Receiver<RoundTrip>,
) {
    let mut link = ReplicaLink {
        url,
        settings: context.settings,
        wait: context.replica_wait,
        primary: None,
    };
    while let Ok(trip) = trips.recv().await {
        let late = async {
            R::sleep(context.timeout).await;
            Err(Trouble::Unreachable("no answer".to_owned()))
        };
        let outcomes = race(link.confirm::<R>(&trip), late).await;
        let outcomes = outcomes.unwrap_or_else(|trouble| {
            debug!(this = %context.instance, ?trouble, "no replica can be asked for");
            // An answer that is under way is not to be taken for that of a later trip.
            link.primary = None;
            let refused = OperationError::Refused(trouble.reason().to_owned());
            trip.operations
                .iter()
                .map(|_| Err(refused.clone()))
                .collect()
        });
        let answer = Event::Directory {
            op: trip.op,
            outcomes: Ok(outcomes),
        };
        // It fails only when the instance has ended.
        let _ = context.reports.send(answer).await;
    }
}

struct ReplicaLink {
    url: RedisUrl,
    settings: DirectorySettings,
    /// How long Redis waits.
    wait: Duration,
    primary: Option<Primary>,
}

impl ReplicaLink {
    /// Executes a trip. The connection may have ended since it was used last: then once more over a new one.
    async fn confirm<R: Runtime>(
        &mut self,
        trip: &RoundTrip,
    ) -> Result<Vec<OperationResult>, Trouble> {
        if let Some(primary) = &mut self.primary
            && let Ok(outcomes) =
                ask(&mut primary.connection, trip, &self.settings, self.wait).await
        {
            return Ok(outcomes);
        }
        let primary = Primary::agreed::<R>(&self.url, &self.settings).await?;
        let primary = self.primary.insert(primary);
        ask(&mut primary.connection, trip, &self.settings, self.wait).await
    }
}

/// Asks for all records, then once for a replica: what it has then, it has of all of them.
async fn ask(
    connection: &mut MultiplexedConnection,
    trip: &RoundTrip,
    settings: &DirectorySettings,
    wait: Duration,
) -> Result<Vec<OperationResult>, Trouble> {
    let operations = &trip.operations;
    let mut requests: Vec<Request> = operations
        .iter()
        .map(|operation| operation.request(settings))
        .collect();
    requests.push(Request::Command {
        name: "WAIT",
        args: [
            REPLICAS,
            i64::try_from(wait.as_millis()).unwrap_or(i64::MAX),
        ]
        .map(|number| number.to_string().into_bytes())
        .into(),
    });
    let answers = redis_link::send(connection, &requests).await?;
    let mut answers: Vec<Value> = answers.into_iter().map(convert::value).collect();
    let replicas = answers.pop().unwrap_or(Value::Nil);
    let error = answers
        .iter()
        .chain([&replicas])
        .find_map(|answer| match answer {
            Value::Error(error) => Some(error.clone()),
            Value::Nil | Value::Int(_) | Value::Bulk(_) | Value::Status(_) | Value::Array(_) => {
                None
            }
        });
    if let Some(error) = error {
        return Err(Trouble::Unreachable(error));
    }
    let outcomes = operations
        .iter()
        .zip(answers)
        .map(|(operation, read)| operation.decode(Value::Array(vec![read, replicas.clone()])));
    Ok(outcomes.collect())
}
