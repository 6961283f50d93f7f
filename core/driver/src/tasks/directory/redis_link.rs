//! The link to Redis: established, kept in order, given up, and established anew.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::Duration;

use async_channel::Receiver;
use futures_util::StreamExt as _;
use futures_util::future::{Either, poll_fn, select};
use futures_util::stream::FuturesOrdered;
use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::{Pipeline, RedisError};
use switchboard_core::command::RoundTrip;
use switchboard_core::directory::redis::Request;
use switchboard_core::directory::{DirectorySettings, OperationResult};
use switchboard_core::event::Event;
use switchboard_core::id::OpId;
use switchboard_core::time::Instant;
use tracing::warn;

use super::backoff::Backoff;
use super::primary::{CONNECT, Primary, Standing, standing};
use super::trouble::Trouble;
use super::{DirectoryContext, DirectoryOrder, convert, lost, mark};
use crate::alarm::Alarm;
use crate::clock;
use crate::directory::RedisUrl;
use crate::runtime::{Runtime, race};

/// How often a link in use is asked whether it still leads to the same run of the same primary: a
/// demoted one answers reads as before, and a proxy may have switched to another server without a
/// sign. Well below the lease.
const CHECK: Duration = Duration::from_secs(3);

/// A link whose oldest round trip is not answered for so many `directory_timeout`s is dead: core
/// has given up that trip and repeated it, and nothing came of either.
const SILENCE: u32 = 4;

/// How often the directory link of an instance was established.
pub(super) type LinksOpened = Rc<Cell<u64>>;

/// Serves one instance for as long as it lives.
pub(super) async fn run<R: Runtime>(
    context: DirectoryContext,
    url: RedisUrl,
    links: LinksOpened,
    orders: Receiver<DirectoryOrder>,
) {
    let mut backoff = Backoff::new();
    let mut link = RedisLink { context, orders };
    loop {
        let settings = link.context.settings.clone();
        let connecting = race(Primary::agreed::<R>(&url, &settings), async {
            R::sleep(CONNECT).await;
            Err(Trouble::Unreachable("no answer".to_owned()))
        });
        let Some(connected) = link.while_down(connecting).await else {
            return;
        };
        let this = link.context.instance;
        let trouble = match connected {
            Ok(primary) => {
                link.context.troubles.end(this, &url);
                backoff = Backoff::new();
                links.set(links.get() + 1);
                match link.serve::<R>(primary, &url).await {
                    LinkServed::Until(why) => Trouble::Lost(why),
                    LinkServed::InstanceEnded => return,
                }
            }
            Err(trouble) => trouble,
        };
        link.context.troubles.tell(this, &url, &trouble);
        if link
            .while_down(R::sleep(backoff.next_pause()))
            .await
            .is_none()
        {
            return;
        }
    }
}

struct RedisLink {
    context: DirectoryContext,
    orders: Receiver<DirectoryOrder>,
}

/// How serving a link ended.
enum LinkServed {
    /// The link is to be established anew, for this reason.
    Until(String),
    /// Nobody needs it any more.
    InstanceEnded,
}

/// What was sent and has ended: `Err` ends the link with it.
type TripEnd = Result<Answered, String>;

enum Answered {
    Trip(OpId, Vec<OperationResult>),
    /// A question of the link's own: it is still the same primary.
    Check,
}

impl RedisLink {
    /// Waits while there is no link: what is asked meanwhile is lost at once. `None` once the
    /// instance has ended.
    async fn while_down<T>(&mut self, wait: impl Future<Output = T>) -> Option<T> {
        let mut wait = pin!(wait);
        loop {
            match select(wait.as_mut(), pin!(self.orders.recv())).await {
                Either::Left((output, _)) => return Some(output),
                Either::Right((Ok(DirectoryOrder::Execute(trip)), _)) => {
                    self.report(lost(trip.op)).await
                }
                Either::Right((Ok(DirectoryOrder::Reset), _)) => {}
                Either::Right((Err(_), _)) => return None,
            }
        }
    }

    /// Serves one link until it is lost.
    async fn serve<R: Runtime>(&mut self, primary: Primary, url: &RedisUrl) -> LinkServed {
        self.report(Event::DirectoryUp).await;
        let mut replaced = pin!(primary.replaced::<R>(url));
        let mut line = Line::new(primary);
        let silence = self.context.timeout * SILENCE;
        let mut silent = Alarm::<R>::default();
        let served = loop {
            let order = async { Happened::Order(self.orders.recv().await.ok()) };
            let replaced = async {
                replaced.as_mut().await;
                Happened::Replaced
            };
            let order = race(order, replaced);
            let happened = match line.waiting_since() {
                None => order.await,
                Some(since) => {
                    let answer = async {
                        match line.sent.next().await {
                            Some(ended) => Happened::Ended(ended),
                            None => Happened::Silence,
                        }
                    };
                    let silent = async {
                        poll_fn(|cx| silent.poll_at(since + silence, cx)).await;
                        Happened::Silence
                    };
                    // Answers are polled first: what was answered is reported before the link is
                    // given up.
                    race(answer, race(order, silent)).await
                }
            };
            match happened {
                Happened::Ended(Ok(Answered::Trip(op, outcomes))) => {
                    line.under_way.pop_front();
                    let outcomes = Ok(outcomes);
                    self.report(Event::Directory { op, outcomes }).await;
                }
                Happened::Ended(Ok(Answered::Check)) => {
                    line.under_way.pop_front();
                }
                Happened::Ended(Err(why)) => break LinkServed::Until(why),
                Happened::Silence => break LinkServed::Until("no answer".to_owned()),
                Happened::Replaced => {
                    break LinkServed::Until("the Sentinels lead to another primary".to_owned());
                }
                Happened::Order(Some(DirectoryOrder::Execute(trip))) => {
                    line.send(trip, &self.context.settings)
                }
                Happened::Order(Some(DirectoryOrder::Reset)) => {
                    break LinkServed::Until("the server is not what it was".to_owned());
                }
                Happened::Order(None) => break LinkServed::InstanceEnded,
            }
        };
        for op in line.under_way.into_iter().filter_map(|(op, _)| op) {
            self.report(lost(op)).await;
        }
        self.report(Event::DirectoryDown).await;
        served
    }

    async fn report(&self, event: Event) {
        // It fails only when the instance has ended.
        let _ = self.context.reports.send(event).await;
    }
}

enum Happened {
    Order(Option<DirectoryOrder>),
    Ended(TripEnd),
    Silence,
    Replaced,
}

/// One connection and what was sent over it.
struct Line {
    primary: Primary,
    sent: FuturesOrdered<Pin<Box<dyn Future<Output = TripEnd>>>>,
    /// The trips whose answers are awaited, in the order in which they were sent, and `None` for a
    /// question of the link's own.
    under_way: VecDeque<(Option<OpId>, Instant)>,
    checked: Instant,
}

impl Line {
    fn new(primary: Primary) -> Self {
        Self {
            primary,
            sent: FuturesOrdered::new(),
            under_way: VecDeque::new(),
            checked: clock::mono(),
        }
    }

    fn waiting_since(&self) -> Option<Instant> {
        self.under_way.front().map(|&(_, since)| since)
    }

    /// Sends a trip, and before it the question whether this is still the same primary with the same
    /// layout, if that was not asked for a while. The instance reads its view every second, so that it is asked in time.
    fn send(&mut self, trip: RoundTrip, settings: &DirectorySettings) {
        let now = clock::mono();
        if now.since(self.checked) >= CHECK {
            self.checked = now;
            self.under_way.push_back((None, now));
            let primary = &self.primary;
            let check = check(
                primary.connection.clone(),
                primary.run.clone(),
                settings.clone(),
            );
            self.sent.push_back(Box::pin(check));
        }
        self.under_way.push_back((Some(trip.op), now));
        let trip = execute(self.primary.connection.clone(), trip, settings);
        self.sent.push_back(Box::pin(trip));
    }
}

/// Asks whether the link still leads to that run of a primary, and whether the mark of the layout is
/// there: whoever empties the server takes it away without a sign.
async fn check(
    mut connection: MultiplexedConnection,
    run: Option<String>,
    settings: DirectorySettings,
) -> TripEnd {
    match standing(&mut connection).await {
        Ok(Standing::Primary { run: found }) if found == run => {}
        Ok(Standing::Primary { .. }) => {
            return Err("it leads to another server, or a new run".to_owned());
        }
        Ok(Standing::Replica) => return Err("the server has become a replica".to_owned()),
        Err(error) => return Err(error.to_string()),
    }
    let heeded = mark::leave_or_heed(&mut connection, &settings).await;
    heeded.map_err(|trouble| trouble.reason().to_owned())?;
    Ok(Answered::Check)
}

/// Sends a round trip as one pipeline. The future owns all it needs; it sends when it is polled
/// for the first time, and those of one link are polled in their order.
///
/// A script that the server does not know (somebody flushed them) ends the link. To load it and to
/// send the request again would run that request after later ones of the same connection: a repeated
/// register after its unregister leaves the row of a connection that is gone. What ends with a link
/// is repeated by the instance, under a new epoch; and every new link loads the scripts first.
fn execute(
    mut connection: MultiplexedConnection,
    trip: RoundTrip,
    settings: &DirectorySettings,
) -> impl Future<Output = TripEnd> + use<> {
    let requests: Vec<Request> = trip
        .operations
        .iter()
        .map(|operation| operation.request(settings))
        .collect();
    async move {
        let answers = send(&mut connection, &requests)
            .await
            .map_err(|error| error.to_string())?;
        if answers.iter().any(convert::is_unknown_script) {
            return Err("the server has lost the scripts".to_owned());
        }
        let outcomes = trip.operations.iter().zip(answers);
        let outcomes = outcomes.map(|(operation, answer)| operation.decode(convert::value(answer)));
        Ok(Answered::Trip(trip.op, outcomes.collect()))
    }
}

pub(super) async fn send(
    connection: &mut MultiplexedConnection,
    requests: &[Request],
) -> Result<Vec<redis::Value>, RedisError> {
    let mut pipeline = Pipeline::with_capacity(requests.len());
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

/// Warns of a server that may throw rows away.
pub(crate) async fn warn_of_eviction<R: Runtime>(url: &RedisUrl) {
    let Ok(mut primary) = Primary::connect::<R>(url).await else {
        return;
    };
    // A server may forbid the question; then nothing is known, and nothing is said.
    let answer: Result<Vec<String>, RedisError> = redis::cmd("CONFIG")
        .arg("GET")
        .arg("maxmemory-policy")
        .query_async(&mut primary.connection)
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
