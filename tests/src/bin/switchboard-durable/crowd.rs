//! Terminals that are many, and count what they get.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use switchboard_tests::socket::open;
use tokio::runtime::Runtime;
use tokio::time::sleep;
use tungstenite::Message;

use crate::place::Place;

/// Terminals that are many, served by one thread.
pub(crate) struct Crowd {
    runtime: Runtime,
    servers: Vec<SocketAddr>,
    texts: Arc<AtomicUsize>,
    greeted: Arc<AtomicUsize>,
}

/// The time from one terminal to the next where nobody says otherwise.
pub(crate) const ONE_BY_ONE: Duration = Duration::from_micros(500);

/// The pause of a terminal that could not connect.
const AGAIN: Duration = Duration::from_secs(1);

impl Crowd {
    pub(crate) fn new(place: &Place) -> Self {
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
    pub(crate) fn connect(&self, queries: Vec<String>, apart: Duration) {
        let expected = self.greeted.load(Ordering::Relaxed) + queries.len();
        for (number, query) in queries.into_iter().enumerate() {
            let server = self.servers[number % self.servers.len()];
            let (texts, greeted) = (Arc::clone(&self.texts), Arc::clone(&self.greeted));
            let due = apart * u32::try_from(number).expect("not so many");
            self.runtime.spawn(async move {
                sleep(due).await;
                let mut socket = loop {
                    match open(server, &query).await {
                        Ok(socket) => break socket,
                        // A server that is busy for longer than a handshake may take.
                        Err(_) => sleep(AGAIN).await,
                    }
                };
                let mut first = true;
                while let Some(Ok(message)) = socket.next().await {
                    if matches!(message, Message::Text(_)) {
                        let counter = if first { &greeted } else { &texts };
                        counter.fetch_add(1, Ordering::Relaxed);
                        first = false;
                    }
                }
            });
        }
        wait_for(|| self.greeted.load(Ordering::Relaxed) >= expected);
    }

    /// Waits until so many text frames have come in all, hellos aside.
    pub(crate) fn await_texts(&self, expected: usize) {
        wait_for(|| self.texts.load(Ordering::Relaxed) >= expected);
    }

    pub(crate) fn texts(&self) -> usize {
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
