//! A process of terminals that are many: it is told on its standard input who connects where, and says on its standard
//! output how far they are.

use std::env;
use std::io::{self, BufRead as _, Write as _};
use std::net::SocketAddr;
use std::pin::pin;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{Either, pending, select};
use rustix::process::nice;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::{Instant, Interval, interval_at, sleep, sleep_until};
use tungstenite::Message;

use crate::process::ends_with_its_parent;
use crate::socket::open_at;

/// Terminals of one process: descriptors are limited by process, to 20,000 in many places.
pub(super) const HERD: usize = 9500;

/// What makes this executable a process of terminals.
const VARIABLE: &str = "SWITCHBOARD_HERD";
/// How much a process of terminals gives way to servers.
const NICENESS: i32 = 10;
/// Handshakes of one process at a time: more would only take longer than a server allows.
const HANDSHAKES: usize = 64;
/// The pause of a terminal that could not connect.
const AGAIN: Duration = Duration::from_secs(1);

/// A terminal that is to connect.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Newcomer {
    pub(super) server: SocketAddr,
    pub(super) speaks: Speaks,
    pub(super) query: String,
    /// So long after it was told.
    pub(super) due: Duration,
    pub(super) says: Says,
}

/// The protocol of terminals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Speaks {
    /// The plain one.
    Plain,
    /// That of Centrifuge's clients, in JSON.
    Centrifuge,
}

impl Speaks {
    const fn path(self) -> &'static str {
        match self {
            Self::Plain => "/connect",
            Self::Centrifuge => "/connection/websocket",
        }
    }

    /// What a terminal says before it is greeted.
    const fn first(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Centrifuge => Some(r#"{"id":1,"connect":{}}"#),
        }
    }

    /// Whether a text is a ping, which is answered by the same.
    fn is_ping(self, text: &str) -> bool {
        self == Self::Centrifuge && text == "{}"
    }
}

/// What a terminal says when it is greeted, and later.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Says {
    /// It only listens.
    Nothing,
    /// It joins a topic.
    Joins(String),
    /// It joins a topic, then leaves and joins it in turns, so far apart.
    JoinsAndLeaves {
        /// The topic that it joins and leaves in turns.
        topic: String,
        /// From one to the next.
        apart: Duration,
    },
}

/// How far the terminals of a process are.
#[derive(Debug, Default)]
struct Progress {
    greeted: AtomicUsize,
    texts: AtomicUsize,
}

/// A process of terminals, which ends when it is dropped.
#[derive(Debug)]
pub(super) struct Herd {
    child: Child,
    input: ChildStdin,
    progress: Arc<Progress>,
    /// How many were told to connect.
    pub(super) terminals: usize,
}

impl Herd {
    /// Starts this executable once more.
    pub(super) fn start() -> Self {
        let executable = env::current_exe().expect("this is an executable");
        let mut command = Command::new(executable);
        command.env(VARIABLE, "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        ends_with_its_parent(&mut command);
        let mut child = command.spawn().expect("it runs, as it does here");
        let input = child.stdin.take().expect("it is piped");
        let output = child.stdout.take().expect("it is piped");
        let progress = Arc::new(Progress::default());
        let told = Arc::clone(&progress);
        thread::spawn(move || {
            for line in io::BufReader::new(output).lines().map_while(Result::ok) {
                let counts = line.split_once(' ').map(|(greeted, texts)| {
                    let count = |text: &str| text.parse().expect("a count");
                    (count(greeted), count(texts))
                });
                let (greeted, texts) = counts.expect("two counts");
                told.greeted.store(greeted, Ordering::Relaxed);
                told.texts.store(texts, Ordering::Relaxed);
            }
        });
        Self {
            child,
            input,
            progress,
            terminals: 0,
        }
    }

    /// Has the process connect these terminals, beside those that it has.
    pub(super) fn connect(&mut self, newcomers: &[Newcomer]) {
        let mut line = serde_json::to_vec(newcomers).expect("it can be written");
        line.push(b'\n');
        self.input.write_all(&line).expect("the process lives");
        self.terminals += newcomers.len();
    }

    /// How many have their hello, and have joined what they join at once.
    pub(super) fn greeted(&self) -> usize {
        self.progress.greeted.load(Ordering::Relaxed)
    }

    /// How many text frames have come behind that.
    pub(super) fn texts(&self) -> usize {
        self.progress.texts.load(Ordering::Relaxed)
    }
}

impl Drop for Herd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves terminals and ends the process, if it was started for that: an executable that uses crowds calls it first.
pub fn serve_herd_if_asked() {
    if env::var_os(VARIABLE).is_none() {
        return;
    }
    let _ = nice(NICENESS);
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a thread can be started");
    let progress = Arc::new(Progress::default());
    let told = Arc::clone(&progress);
    thread::spawn(move || tell(&told));
    let turns = Arc::new(Semaphore::new(HANDSHAKES));
    for line in io::stdin().lines().map_while(Result::ok) {
        let newcomers: Vec<Newcomer> = serde_json::from_str(&line).expect("terminals");
        let now = Instant::now();
        for newcomer in newcomers {
            let life = lives(newcomer, now, Arc::clone(&turns), Arc::clone(&progress));
            runtime.spawn(life);
        }
    }
    std::process::exit(0);
}

/// Says how far they are whenever that has changed.
fn tell(progress: &Progress) {
    const PERIOD: Duration = Duration::from_millis(2);
    let mut last = (0, 0);
    loop {
        thread::sleep(PERIOD);
        let now = (
            progress.greeted.load(Ordering::Relaxed),
            progress.texts.load(Ordering::Relaxed),
        );
        if now != last {
            println!("{} {}", now.0, now.1);
            last = now;
        }
    }
}

/// A terminal, until its connection ends.
async fn lives(newcomer: Newcomer, now: Instant, turns: Arc<Semaphore>, progress: Arc<Progress>) {
    let Newcomer {
        server,
        speaks,
        query,
        due,
        says,
    } = newcomer;
    sleep_until(now + due).await;
    let mut socket = loop {
        let turn = turns.acquire().await;
        let opened = open_at(server, speaks.path(), &query).await;
        drop(turn);
        match opened {
            Ok(socket) => break socket,
            // A server that is busy for longer than a handshake may take.
            Err(_) => sleep(AGAIN).await,
        }
    };
    if let Some(first) = speaks.first()
        && socket.send(Message::text(first)).await.is_err()
    {
        return;
    }
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
        let Message::Text(text) = message else {
            continue;
        };
        if speaks.is_ping(&text) {
            if socket.send(Message::Text(text)).await.is_err() {
                return;
            }
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
            progress.greeted.fetch_add(1, Ordering::Relaxed);
        } else if heard > there {
            progress.texts.fetch_add(1, Ordering::Relaxed);
        }
    }
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
                let first = Instant::now() + *apart;
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
