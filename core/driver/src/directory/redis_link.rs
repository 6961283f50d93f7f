//! The link to Redis: established, kept in order, given up, and established anew.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use async_channel::Receiver;
use futures_util::StreamExt as _;
use futures_util::future::{Either, select};
use futures_util::stream::FuturesOrdered;
use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Client, RedisError};
use switchboard_core::command::RoundTrip;
use switchboard_core::directory::redis::Request;
use switchboard_core::directory::{DirectorySettings, Outcome};
use switchboard_core::event::Event;
use switchboard_core::id::OpId;
use switchboard_core::time::Instant;
use tracing::{info, warn};

use super::redis_url::{RedisUrl, Sentinel, Target};
use super::{Order, convert, lost};
use crate::backoff::Backoff;
use crate::clock;
use crate::members::Input;
use crate::runtime::Runtime;
use crate::task::race;
use crate::worker::Local;

/// How long establishing a link may take: name look-up, TCP, TLS, login, scripts.
const CONNECT: Duration = Duration::from_secs(3);

/// A link whose oldest round trip is not answered for so many `directory_timeout`s is dead: core
/// has given up that trip and repeated it, and nothing came of either.
const SILENCE: u32 = 4;

/// Serves one instance for as long as it lives.
pub(super) async fn run<R: Runtime>(
    local: Rc<Local>,
    url: RedisUrl,
    settings: DirectorySettings,
    orders: Receiver<Order>,
) {
    let mut backoff = Backoff::new();
    let mut link = Link {
        local,
        settings,
        orders,
    };
    loop {
        let connecting = race(async { Some(connect(&url).await) }, async {
            R::sleep(CONNECT).await;
            None
        });
        let Some(connected) = link.while_down(connecting).await else {
            return;
        };
        match connected {
            Some(Ok(connection)) => {
                info!(this = %link.local.me.id, %url, "directory link is up");
                backoff = Backoff::new();
                if link.serve::<R>(connection).await.is_none() {
                    return;
                }
                warn!(this = %link.local.me.id, %url, "directory link is lost");
            }
            Some(Err(why)) => {
                warn!(this = %link.local.me.id, %url, why, "directory link cannot be established")
            }
            None => warn!(this = %link.local.me.id, %url, "directory server does not answer"),
        }
        if link
            .while_down(R::sleep(backoff.next_pause()))
            .await
            .is_none()
        {
            return;
        }
    }
}

struct Link {
    local: Rc<Local>,
    settings: DirectorySettings,
    orders: Receiver<Order>,
}

/// A round trip that ended: its answers, or the link with it.
type Ended = (OpId, Result<Vec<Outcome>, RedisError>);

impl Link {
    /// Waits while there is no link: what is asked meanwhile is lost at once. `None` once the
    /// instance has ended.
    async fn while_down<T>(&mut self, wait: impl Future<Output = T>) -> Option<T> {
        let mut wait = pin!(wait);
        loop {
            match select(wait.as_mut(), pin!(self.orders.recv())).await {
                Either::Left((output, _)) => return Some(output),
                Either::Right((Ok(Order::Execute(trip)), _)) => self.report(lost(trip.op)).await,
                Either::Right((Ok(Order::Reset), _)) => {}
                Either::Right((Err(_), _)) => return None,
            }
        }
    }

    /// Serves one connection until it is lost. `None` once the instance has ended.
    async fn serve<R: Runtime>(&mut self, connection: MultiplexedConnection) -> Option<()> {
        self.report(Event::DirectoryUp).await;
        let mut trips = FuturesOrdered::new();
        let mut under_way: VecDeque<(OpId, Instant)> = VecDeque::new();
        let silence = self.local.shared.settings.core.directory_timeout * SILENCE;
        let alive = loop {
            let order = async { Happened::Order(self.orders.recv().await.ok()) };
            let Some(&(_, since)) = under_way.front() else {
                match order.await {
                    Happened::Order(Some(Order::Execute(trip))) => {
                        under_way.push_back((trip.op, clock::mono()));
                        trips.push_back(execute(connection.clone(), trip, &self.settings));
                    }
                    Happened::Order(Some(Order::Reset)) => break true,
                    _ => break false,
                }
                continue;
            };
            let answer = async {
                match trips.next().await {
                    Some(ended) => Happened::Ended(ended),
                    None => Happened::Silence,
                }
            };
            let silent = async {
                R::sleep((since + silence).since(clock::mono())).await;
                Happened::Silence
            };
            // Answers are polled first: what was answered is reported before the link is given up.
            match race(answer, race(order, silent)).await {
                Happened::Ended((op, Ok(outcomes))) => {
                    under_way.pop_front();
                    let outcomes = Ok(outcomes);
                    self.report(Event::Directory { op, outcomes }).await;
                }
                Happened::Ended((_, Err(_)))
                | Happened::Silence
                | Happened::Order(Some(Order::Reset)) => break true,
                Happened::Order(Some(Order::Execute(trip))) => {
                    under_way.push_back((trip.op, clock::mono()));
                    trips.push_back(execute(connection.clone(), trip, &self.settings));
                }
                Happened::Order(None) => break false,
            }
        };
        for (op, _) in under_way {
            self.report(lost(op)).await;
        }
        self.report(Event::DirectoryDown).await;
        alive.then_some(())
    }

    async fn report(&self, event: Event) {
        // It fails only when the instance has ended.
        let _ = self.local.inbox.send(Input::Event(event)).await;
    }
}

enum Happened {
    Order(Option<Order>),
    Ended(Ended),
    Silence,
}

/// Sends a round trip as one pipeline. The future owns all it needs; it sends when it is polled
/// for the first time, and those of one link are polled in their order.
fn execute(
    mut connection: MultiplexedConnection,
    trip: RoundTrip,
    settings: &DirectorySettings,
) -> impl Future<Output = Ended> + use<> {
    let requests: Vec<Request> = trip
        .operations
        .iter()
        .map(|operation| operation.request(settings))
        .collect();
    async move {
        let answers = match ask(&mut connection, &requests).await {
            Ok(answers) => answers,
            Err(error) => return (trip.op, Err(error)),
        };
        let outcomes = trip.operations.iter().zip(answers);
        let outcomes = outcomes.map(|(operation, answer)| operation.decode(convert::value(answer)));
        (trip.op, Ok(outcomes.collect()))
    }
}

async fn ask(
    connection: &mut MultiplexedConnection,
    requests: &[Request],
) -> Result<Vec<redis::Value>, RedisError> {
    let mut answers = send(connection, requests.iter()).await?;
    let unknown: Vec<usize> = (0..answers.len())
        .filter(|&index| convert::is_unknown_script(&answers[index]))
        .collect();
    if unknown.is_empty() {
        return Ok(answers);
    }
    // Somebody flushed the scripts. Those requests were not executed: load, and send them again.
    load(connection).await?;
    let again = send(connection, unknown.iter().map(|&index| &requests[index])).await?;
    for (index, answer) in unknown.into_iter().zip(again) {
        answers[index] = answer;
    }
    Ok(answers)
}

async fn send(
    connection: &mut MultiplexedConnection,
    requests: impl Iterator<Item = &Request>,
) -> Result<Vec<redis::Value>, RedisError> {
    let mut pipeline = redis::pipe();
    pipeline.ignore_errors();
    for request in requests {
        pipeline.add_command(convert::command(request));
    }
    let count = pipeline.len();
    let answers = connection.req_packed_commands(&pipeline, 0, count).await?;
    if answers.len() == count {
        return Ok(answers);
    }
    Err(RedisError::from((
        redis::ErrorKind::Parse,
        "the pipeline was not answered in full",
    )))
}

async fn load(connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
    convert::load_scripts().query_async(connection).await
}

/// A link to a primary, with the scripts loaded.
async fn connect(url: &RedisUrl) -> Result<MultiplexedConnection, String> {
    let mut connection = match url.target() {
        Target::Server(url) => open(url).await?,
        Target::Sentinel(sentinel) => open_master(sentinel).await?,
    };
    load(&mut connection)
        .await
        .map_err(|error| describe(&error))?;
    Ok(connection)
}

async fn open(url: &str) -> Result<MultiplexedConnection, String> {
    // Deadlines are core's: an answer that comes late is told, and its link is not torn for it.
    let config = AsyncConnectionConfig::new()
        .set_response_timeout(None)
        .set_connection_timeout(Some(CONNECT));
    let client = Client::open(url).map_err(|error| describe(&error))?;
    let connection = client.get_multiplexed_async_connection_with_config(&config);
    connection.await.map_err(|error| describe(&error))
}

/// The master that the first Sentinel names that knows it, if it says itself that it is one.
async fn open_master(sentinel: &Sentinel) -> Result<MultiplexedConnection, String> {
    let mut why = String::new();
    for host in &sentinel.hosts {
        match ask_sentinel(host, sentinel).await {
            Ok(connection) => return Ok(connection),
            Err(error) => why = format!("by Sentinel {host}: {error}"),
        }
    }
    Err(why)
}

async fn ask_sentinel(host: &str, sentinel: &Sentinel) -> Result<MultiplexedConnection, String> {
    let mut watcher = open(&format!("redis://{host}")).await?;
    let named: Option<(String, u16)> = redis::cmd("SENTINEL")
        .arg("get-master-addr-by-name")
        .arg(&sentinel.master)
        .query_async(&mut watcher)
        .await
        .map_err(|error| describe(&error))?;
    let Some((host, port)) = named else {
        return Err("it watches no master of that name".to_owned());
    };
    let mut connection = open(&sentinel.master_url(&host, port)).await?;
    let role: redis::Value = redis::cmd("ROLE")
        .query_async(&mut connection)
        .await
        .map_err(|error| describe(&error))?;
    match role {
        redis::Value::Array(items) if matches!(items.first(), Some(redis::Value::BulkString(role)) if role == b"master") => {
            Ok(connection)
        }
        _ => Err(format!("{host}:{port} is not a master")),
    }
}

/// What is said of an error: never the URL, which may hold a password.
fn describe(error: &RedisError) -> String {
    error.to_string()
}

/// Warns of a server that may throw rows away.
pub(crate) async fn warn_of_eviction(url: &RedisUrl) {
    let Ok(mut connection) = connect(url).await else {
        return;
    };
    // A server may forbid the question; then nothing is known, and nothing is said.
    let answer: Result<Vec<String>, RedisError> = redis::cmd("CONFIG")
        .arg("GET")
        .arg("maxmemory-policy")
        .query_async(&mut connection)
        .await;
    if let Some(policy) = answer.ok().and_then(|pair| pair.into_iter().nth(1))
        && policy != "noeviction"
    {
        warn!(
            policy,
            "the directory server's maxmemory-policy may evict rows: terminals are missed until the \
             next sweep; set it to noeviction"
        );
    }
}
