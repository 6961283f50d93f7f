//! The link to Redis: established, kept in order, given up, and established anew.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};
use switchboard_core::command::RoundTrip;
use switchboard_core::directory::redis::{Layout, Value};
use switchboard_core::directory::{DirectorySettings, OperationResult};
use switchboard_core::event::Event;
use switchboard_core::time::Instant;
use tracing::warn;

use super::backoff::Backoff;
use super::primary::{CONNECT, Primary, Standing};
use super::trouble::Trouble;
use super::{DirectoryContext, DirectoryOrder, lost, mark};
use crate::alarm::Alarm;
use crate::clock;
use crate::directory::RedisUrl;
use crate::queue::Taker;
use crate::redis::words;
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
    orders: Taker<DirectoryOrder>,
) {
    let mut backoff = Backoff::new();
    let mut link = RedisLink { context, orders };
    loop {
        let settings = link.context.settings.clone();
        let connecting = race(Primary::<R>::agreed(&url, &settings), async {
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
                match link.serve(primary, &url).await {
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
    orders: Taker<DirectoryOrder>,
}

/// How serving a link ended.
enum LinkServed {
    /// The link is to be established anew, for this reason.
    Until(String),
    /// Nobody needs it any more.
    InstanceEnded,
}

impl RedisLink {
    /// Waits while there is no link: what is asked meanwhile is lost at once. `None` once the
    /// instance has ended.
    async fn while_down<T>(&mut self, wait: impl Future<Output = T>) -> Option<T> {
        let mut wait = pin!(wait);
        loop {
            match select(wait.as_mut(), pin!(self.orders.take())).await {
                Either::Left((output, _)) => return Some(output),
                Either::Right((Some(DirectoryOrder::Execute(trip)), _)) => {
                    self.report(lost(trip.op)).await
                }
                Either::Right((Some(DirectoryOrder::Reset), _)) => {}
                Either::Right((None, _)) => return None,
            }
        }
    }

    /// Serves one link until it is lost.
    async fn serve<R: Runtime>(&mut self, primary: Primary<R>, url: &RedisUrl) -> LinkServed {
        self.report(Event::DirectoryUp).await;
        let mut replaced = pin!(primary.replaced(url));
        let mut line = Line::new(primary);
        let silence = self.context.timeout * SILENCE;
        let mut silent = Alarm::<R>::default();
        let served = loop {
            let since = line.waiting_since();
            let answer = async { Happened::Answer(line.next(&self.context.settings).await) };
            let order = async { Happened::Order(self.orders.take().await) };
            let replaced = async {
                replaced.as_mut().await;
                Happened::Replaced
            };
            let silent = async {
                match since {
                    Some(since) => poll_fn(|cx| silent.poll_at(since + silence, cx)).await,
                    None => std::future::pending().await,
                }
                Happened::Silence
            };
            // Answers are polled first: what was answered is reported before the link is given up.
            let happened = race(answer, race(race(order, replaced), silent)).await;
            match happened {
                Happened::Answer(Ok(event)) => self.report(event).await,
                Happened::Answer(Err(why)) => break LinkServed::Until(why),
                Happened::Silence => break LinkServed::Until("no answer".to_owned()),
                Happened::Replaced => {
                    break LinkServed::Until("the Sentinels lead to another primary".to_owned());
                }
                Happened::Order(Some(order)) => {
                    // What else waits is written with it.
                    let further = std::iter::from_fn(|| self.orders.try_take());
                    let mut orders = std::iter::once(order).chain(further);
                    let reset = orders.find_map(|order| match order {
                        DirectoryOrder::Execute(trip) => {
                            line.ask(trip, &self.context.settings);
                            None
                        }
                        DirectoryOrder::Reset => Some(()),
                    });
                    if reset.is_some() {
                        break LinkServed::Until("the server is not what it was".to_owned());
                    }
                }
                Happened::Order(None) => break LinkServed::InstanceEnded,
            }
        };
        for (asked, _) in line.under_way {
            if let Awaited::Trip { trip, .. } = asked {
                self.report(lost(trip.op)).await;
            }
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
    Answer(Result<Event, String>),
    Silence,
    Replaced,
}

/// One connection and what was asked over it.
struct Line<R: Runtime> {
    primary: Primary<R>,
    /// What is not answered in full, in the order in which it was asked, and since when.
    under_way: VecDeque<(Awaited, Instant)>,
    checked: Instant,
}

enum Awaited {
    /// A round trip of the instance, and what has become of the first of its operations.
    Trip {
        trip: RoundTrip,
        outcomes: Vec<OperationResult>,
    },
    /// What the server is, and what it has answered so far.
    Standing(Vec<Value>),
    /// Whether the mark of the layout is there: whoever empties the server takes it away without a sign.
    Mark,
    /// To leave the mark, as there is none.
    NewMark,
}

impl<R: Runtime> Line<R> {
    fn new(primary: Primary<R>) -> Self {
        Self {
            primary,
            under_way: VecDeque::new(),
            checked: clock::mono(),
        }
    }

    fn waiting_since(&self) -> Option<Instant> {
        self.under_way.front().map(|&(_, since)| since)
    }

    /// Asks for a round trip, and before it the question whether this is still the same primary with the same
    /// layout, if that was not asked for a while. The instance reads its view every second, so that it is asked in time.
    fn ask(&mut self, trip: RoundTrip, settings: &DirectorySettings) {
        let now = clock::mono();
        let connection = &mut self.primary.connection;
        if now.since(self.checked) >= CHECK {
            self.checked = now;
            for question in Standing::QUESTIONS {
                connection.command(words(question));
            }
            connection.request(&Layout::read(settings));
            self.under_way
                .push_back((Awaited::Standing(Vec::new()), now));
            self.under_way.push_back((Awaited::Mark, now));
        }
        for operation in &trip.operations {
            connection.request(&operation.request(settings));
        }
        let outcomes = Vec::with_capacity(trip.operations.len());
        self.under_way
            .push_back((Awaited::Trip { trip, outcomes }, now));
    }

    /// What became of the next round trip. If this is dropped before, nothing is lost.
    ///
    /// # Errors
    ///
    /// Says why the link has ended.
    async fn next(&mut self, settings: &DirectorySettings) -> Result<Event, String> {
        loop {
            let answer = self.primary.connection.next().await;
            let answer = answer.map_err(|error| error.to_string())?;
            if let Some(event) = self.answered(answer, settings)? {
                return Ok(event);
            }
        }
    }

    fn answered(
        &mut self,
        answer: Value,
        settings: &DirectorySettings,
    ) -> Result<Option<Event>, String> {
        let reason = |trouble: Trouble| trouble.reason().to_owned();
        let Some((asked, since)) = self.under_way.pop_front() else {
            return Err(format!("it says what it was not asked: {answer:?}"));
        };
        match asked {
            Awaited::Trip { trip, mut outcomes } => {
                // A script that the server does not know (somebody flushed them) ends the link. To load it and to
                // send the request again would run that request after later ones of the same connection: a repeated
                // register after its unregister leaves the row of a connection that is gone. What ends with a link
                // is repeated by the instance, under a new epoch; and every new link loads the scripts first.
                if is_unknown_script(&answer) {
                    self.under_way
                        .push_front((Awaited::Trip { trip, outcomes }, since));
                    return Err("the server has lost the scripts".to_owned());
                }
                outcomes.push(trip.operations[outcomes.len()].decode(answer));
                if outcomes.len() == trip.operations.len() {
                    let (op, outcomes) = (trip.op, Ok(outcomes));
                    return Ok(Some(Event::Directory { op, outcomes }));
                }
                self.under_way
                    .push_front((Awaited::Trip { trip, outcomes }, since));
            }
            Awaited::Standing(mut answers) => {
                answers.push(answer);
                if answers.len() < Standing::QUESTIONS.len() {
                    self.under_way
                        .push_front((Awaited::Standing(answers), since));
                    return Ok(None);
                }
                match Standing::understood(&answers) {
                    Standing::Primary { run } if run == self.primary.run => {}
                    Standing::Primary { .. } => {
                        return Err("it leads to another server, or a new run".to_owned());
                    }
                    Standing::Replica => return Err("the server has become a replica".to_owned()),
                }
            }
            Awaited::Mark => match mark::understood(answer).map_err(reason)? {
                Some(found) => mark::heed(Some(&found), settings).map_err(reason)?,
                None => {
                    self.primary.connection.request(&Layout::leave(settings));
                    self.under_way.push_back((Awaited::NewMark, clock::mono()));
                }
            },
            Awaited::NewMark => {
                let found = mark::understood(answer).map_err(reason)?;
                mark::heed(found.as_deref(), settings).map_err(reason)?;
            }
        }
        Ok(None)
    }
}

/// Whether a script was not executed because the server does not know it.
fn is_unknown_script(answer: &Value) -> bool {
    matches!(answer, Value::Error(error) if error.starts_with("NOSCRIPT"))
}

/// Warns of a server that may throw rows away.
pub(crate) async fn warn_of_eviction<R: Runtime>(url: &RedisUrl) {
    let asked = async { Primary::<R>::connect(url).await.ok()?.evicts().await };
    let silent = async {
        R::sleep(CONNECT).await;
        None
    };
    if let Some(policy) = race(asked, silent).await {
        warn!(
            policy,
            "the directory server's maxmemory-policy may evict rows: terminals are missed until the \
             next sweep; set it to noeviction"
        );
    }
}
