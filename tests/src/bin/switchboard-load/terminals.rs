//! The terminals of a run, and what they got.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use async_tungstenite::WebSocketStream;
use async_tungstenite::tokio::TokioAdapter;
use futures_util::StreamExt;
use serde_json::json;
use switchboard_tests::terminal::Connect;
use switchboard_tests::token::{hs256, seconds_from_now};
use tokio::net::TcpStream;
use tungstenite::Message;
use tungstenite::protocol::{Role, WebSocketConfig};

use crate::{LoadOptions, addresses};

/// One payload as a terminal got it.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    publisher: u32,
    number: u32,
    micros: u32,
}

/// What each terminal got, in its order.
type Arrivals = Arc<Vec<Mutex<Vec<Arrival>>>>;

/// All terminals, served by one thread.
pub(crate) struct LoadTerminals {
    arrivals: Arrivals,
    frames: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
    // Its thread serves the terminals.
    runtime: tokio::runtime::Runtime,
}

impl LoadTerminals {
    /// Connects them all, and returns when each has its hello.
    pub(crate) fn connect(options: &LoadOptions, begin: Instant) -> io::Result<Self> {
        let servers = addresses(&options.ws, "ws://")?;
        // One thread; what it does per frame is less than what a server does.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let arrivals: Arrivals =
            Arc::new((0..options.terminals).map(|_| Mutex::default()).collect());
        let terminals = Self {
            arrivals,
            frames: Arc::default(),
            ended: Arc::default(),
            runtime,
        };
        let next = AtomicUsize::new(0);
        let greeted = Arc::new(AtomicUsize::new(0));
        thread::scope(|scope| {
            let connecting: Vec<_> = (0..CONNECTORS)
                .map(|_| {
                    scope
                        .spawn(|| terminals.connect_some(options, &servers, &next, begin, &greeted))
                })
                .collect();
            connecting.into_iter().try_for_each(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err(io::Error::other("a bug")))
            })
        })?;
        let end = Instant::now() + STALLED_AFTER;
        while greeted.load(Ordering::Relaxed) < options.terminals {
            if Instant::now() > end {
                return Err(io::Error::other("some terminals get no hello"));
            }
            thread::sleep(POLL);
        }
        Ok(terminals)
    }

    fn connect_some(
        &self,
        options: &LoadOptions,
        servers: &[(SocketAddr, String)],
        next: &AtomicUsize,
        begin: Instant,
        greeted: &Arc<AtomicUsize>,
    ) -> io::Result<()> {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= options.terminals {
                return Ok(());
            }
            let (server, path) = &servers[index % servers.len()];
            let connect = identify(
                options,
                Connect::at(*server, path),
                index / options.per_user,
            );
            let (response, stream, unread) = connect.handshake()?;
            if response.status != 101 {
                let text = format!(
                    "terminal {index} is refused: {} {}",
                    response.status,
                    response.text()
                );
                return Err(io::Error::other(text));
            }
            stream.set_read_timeout(None)?;
            stream.set_nonblocking(true)?;
            let seat = LoadSeat {
                arrivals: Arc::clone(&self.arrivals),
                index,
                frames: Arc::clone(&self.frames),
                ended: Arc::clone(&self.ended),
                greeted: Arc::clone(greeted),
                begin,
            };
            self.runtime.spawn(seat.serve(stream, unread));
        }
    }

    /// Waits until as many frames have come as receipts say, or nothing comes any more.
    pub(crate) fn await_frames(&self, expected: usize) {
        let mut before = self.frames.load(Ordering::Relaxed);
        let mut end = Instant::now() + STALLED_AFTER;
        while before < expected && Instant::now() < end {
            thread::sleep(POLL);
            let frames = self.frames.load(Ordering::Relaxed);
            if frames > before {
                (before, end) = (frames, Instant::now() + STALLED_AFTER);
            }
        }
        let ended = self.ended.load(Ordering::Relaxed);
        if ended > 0 {
            eprintln!("switchboard-load: {ended} terminals were disconnected");
        }
    }

    pub(crate) fn check(&self) -> Checked {
        let mut checked = Checked::default();
        for arrivals in self.arrivals.iter() {
            let arrivals = arrivals.lock().unwrap_or_else(PoisonError::into_inner);
            let mut keys: Vec<_> = arrivals.iter().map(|a| (a.publisher, a.number)).collect();
            let mut last = BTreeMap::new();
            for (publisher, number) in &keys {
                let before = last.insert(*publisher, *number);
                checked.out_of_order += usize::from(before > Some(*number));
            }
            checked.frames += keys.len();
            keys.sort_unstable();
            keys.dedup();
            checked.different += keys.len();
            checked.latencies.extend(arrivals.iter().map(|a| a.micros));
        }
        checked
    }
}

#[derive(Default)]
pub(crate) struct Checked {
    pub(crate) frames: usize,
    pub(crate) different: usize,
    pub(crate) out_of_order: usize,
    pub(crate) latencies: Vec<u32>,
}

/// One terminal's place in the tables.
struct LoadSeat {
    arrivals: Arrivals,
    index: usize,
    frames: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
    greeted: Arc<AtomicUsize>,
    begin: Instant,
}

impl LoadSeat {
    async fn serve(self, stream: std::net::TcpStream, unread: Vec<u8>) {
        // Small buffers: there are many terminals, and their frames are small.
        let config = WebSocketConfig::default()
            .read_buffer_size(4096)
            .write_buffer_size(0);
        if let Ok(stream) = TcpStream::from_std(stream) {
            let stream = TokioAdapter::new(stream);
            let mut socket =
                WebSocketStream::from_partially_read(stream, unread, Role::Client, Some(config))
                    .await;
            while let Some(Ok(message)) = socket.next().await {
                match message {
                    Message::Text(text) => self.take(&text),
                    Message::Close(_) => break,
                    Message::Binary(_)
                    | Message::Ping(_)
                    | Message::Pong(_)
                    | Message::Frame(_) => {}
                }
            }
        }
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    fn take(&self, text: &str) {
        let Some(arrival) = read_payload(text, self.begin) else {
            self.greeted.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let mut own = self.arrivals[self.index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        own.push(arrival);
        self.frames.fetch_add(1, Ordering::Relaxed);
    }
}

/// Threads that connect terminals: enough to keep a server busy with handshakes.
const CONNECTORS: usize = 16;

/// When a run is over although frames are missing.
const STALLED_AFTER: Duration = Duration::from_secs(10);

const POLL: Duration = Duration::from_millis(5);

fn identify(options: &LoadOptions, connect: Connect, user: usize) -> Connect {
    let user = format!("user-{user}");
    match &options.jwt_secret {
        Some(secret) => {
            let claims = json!({"sub": user, "exp": seconds_from_now(3600)});
            connect.bearer(&hs256(secret.as_bytes(), &claims))
        }
        None => connect.user(&user),
    }
}

/// `None` for what is not one of our payloads, as the hello.
fn read_payload(text: &str, begin: Instant) -> Option<Arrival> {
    let mut parts = text.split(' ');
    let publisher = parts.next()?.parse().ok()?;
    let number = parts.next()?.parse().ok()?;
    let sent: u128 = parts.next()?.parse().ok()?;
    let micros = begin.elapsed().as_micros().saturating_sub(sent);
    Some(Arrival {
        publisher,
        number,
        micros: u32::try_from(micros).unwrap_or(u32::MAX),
    })
}
