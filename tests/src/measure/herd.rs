//! Terminals that are many, and count what they get.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::socket::open;
use futures_util::StreamExt as _;
use futures_util::future::{Either, pending, select};
use tokio::runtime::Runtime;
use tokio::time::{Interval, interval_at, sleep};
use tungstenite::Message;

use super::testbed::Testbed;

/// Terminals that are many, served by one thread.
#[derive(Debug)]
pub struct Crowd {
    runtime: Runtime,
    servers: Vec<SocketAddr>,
    texts: Arc<AtomicUsize>,
    greeted: Arc<AtomicUsize>,
}

/// The time from one terminal to the next where nobody says otherwise.
pub const ONE_BY_ONE: Duration = Duration::from_micros(500);

/// The pause of a terminal that could not connect.
const AGAIN: Duration = Duration::from_secs(1);

/// What a terminal says when it is greeted, and later.
#[derive(Clone, Debug)]
pub enum Says {
    /// Nothing.
    Nothing,
    /// It joins a topic.
    Joins(String),
    /// It joins a topic, then leaves and joins it in turns, so far apart.
    JoinsAndLeaves {
        /// The topic.
        topic: String,
        /// From one to the next.
        apart: Duration,
    },
}

impl Says {
    fn at_hello(&self) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Joins(topic) | Self::JoinsAndLeaves { topic, .. } => Some(wish("join", topic)),
        }
    }

    fn ticks(&self) -> Ticks {
        Ticks(match self {
            Self::Nothing | Self::Joins(_) => None,
            Self::JoinsAndLeaves { topic, apart } => {
                let first = tokio::time::Instant::now() + *apart;
                Some((topic.clone(), interval_at(first, *apart), true))
            }
        })
    }
}

fn wish(verb: &str, topic: &str) -> String {
    format!(r#"{{"switchboard":{{"{verb}":"{topic}"}}}}"#)
}

/// What a terminal says as time goes by: to which topic, when, and whether it leaves next.
struct Ticks(Option<(String, Interval, bool)>);

impl Ticks {
    async fn next(&mut self) -> String {
        let Some((topic, interval, leaves)) = &mut self.0 else {
            return pending().await;
        };
        interval.tick().await;
        let verb = if *leaves { "leave" } else { "join" };
        *leaves = !*leaves;
        wish(verb, topic)
    }
}

impl Crowd {
    /// Nobody so far.
    pub fn new(place: &Testbed) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a thread can be started");
        Self {
            runtime,
            servers: place.servers.iter().map(|s| s.terminals()).collect(),
            texts: Arc::default(),
            greeted: Arc::default(),
        }
    }

    /// Connects terminals with these queries, so far apart, to the servers in turns. Returns when each has its hello.
    pub fn connect(&self, queries: Vec<String>, apart: Duration) {
        self.connect_saying(queries, apart, |_| Says::Nothing);
    }

    /// The same. Each says something when it is greeted, by its number; those that join a topic count as there when
    /// they have joined.
    pub fn connect_saying(
        &self,
        queries: Vec<String>,
        apart: Duration,
        says: impl Fn(usize) -> Says,
    ) {
        let expected = self.greeted.load(Ordering::Relaxed) + queries.len();
        for (number, query) in queries.into_iter().enumerate() {
            let server = self.servers[number % self.servers.len()];
            let (texts, greeted) = (Arc::clone(&self.texts), Arc::clone(&self.greeted));
            let due = apart * u32::try_from(number).expect("not so many");
            let says = says(number);
            self.runtime.spawn(async move {
                sleep(due).await;
                let mut socket = loop {
                    match open(server, &query).await {
                        Ok(socket) => break socket,
                        // A server that is busy for longer than a handshake may take.
                        Err(_) => sleep(AGAIN).await,
                    }
                };
                let mut heard = 0;
                let there = match &says {
                    Says::Nothing => 1,
                    Says::Joins(_) | Says::JoinsAndLeaves { .. } => 2,
                };
                let mut ticks = says.ticks();
                loop {
                    let message = match select(socket.next(), pin!(ticks.next())).await {
                        Either::Left((message, _)) => message,
                        Either::Right((wish, _)) => {
                            if socket.send(Message::text(wish)).await.is_err() {
                                return;
                            }
                            continue;
                        }
                    };
                    let Some(Ok(message)) = message else { return };
                    if !matches!(message, Message::Text(_)) {
                        continue;
                    }
                    heard += 1;
                    if heard == 1
                        && let Some(join) = says.at_hello()
                        && socket.send(Message::text(join)).await.is_err()
                    {
                        return;
                    }
                    if heard == there {
                        greeted.fetch_add(1, Ordering::Relaxed);
                    } else if heard > there {
                        texts.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        wait_for(|| self.greeted.load(Ordering::Relaxed) >= expected);
    }

    /// Waits until so many text frames have come in all, hellos aside.
    pub fn await_texts(&self, expected: usize) {
        wait_for(|| self.texts.load(Ordering::Relaxed) >= expected);
    }

    /// Text frames that have come in all, but for hellos and the answers to first joins.
    pub fn texts(&self) -> usize {
        self.texts.load(Ordering::Relaxed)
    }
}

/// Measurements take longer than what tests wait for.
fn wait_for(holds: impl Fn() -> bool) {
    const PATIENCE: Duration = Duration::from_secs(180);
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "what was expected has not come");
        thread::sleep(Duration::from_millis(5));
    }
}
