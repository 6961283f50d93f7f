//! Terminals that are many, and count what they get.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::herd::{HERD, Herd, Newcomer, Says, Speaks};
use super::testbed::Testbed;
use crate::server::Server;

/// Terminals that are many, in processes of their own, which give way to servers.
#[derive(Debug)]
pub struct Crowd {
    servers: Vec<SocketAddr>,
    speaks: Speaks,
    herds: Mutex<Vec<Herd>>,
}

/// The time from one terminal to the next where nobody says otherwise.
pub const ONE_BY_ONE: Duration = Duration::from_micros(500);

impl Crowd {
    /// Nobody so far. They connect to all servers in turns.
    pub fn new(place: &Testbed) -> Self {
        Self::of(&place.servers)
    }

    /// The same. They connect to these servers in turns.
    pub fn of(servers: &[Server]) -> Self {
        Self {
            servers: servers.iter().map(Server::terminals).collect(),
            speaks: Speaks::Plain,
            herds: Mutex::default(),
        }
    }

    /// The same, speaking this protocol. Without it they speak the plain one.
    #[must_use]
    pub fn speaking(self, speaks: Speaks) -> Self {
        Self { speaks, ..self }
    }

    /// Connects terminals with these queries, so far apart. Returns when each has its hello.
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
        let expected = self.sum(Herd::greeted) + queries.len();
        let queries = queries.into_iter().enumerate();
        let mut newcomers: Vec<_> = queries
            .map(|(number, query)| Newcomer {
                server: self.servers[number % self.servers.len()],
                speaks: self.speaks,
                query,
                due: apart * u32::try_from(number).expect("not so many"),
                says: says(number),
            })
            .collect();
        let mut herds = self.herds();
        while !newcomers.is_empty() {
            let has_room = herds.last().is_some_and(|herd| herd.terminals < HERD);
            if !has_room {
                herds.push(Herd::start());
            }
            let herd = herds.last_mut().expect("there is one");
            let room = (HERD - herd.terminals).min(newcomers.len());
            let rest = newcomers.split_off(room);
            herd.connect(&newcomers);
            newcomers = rest;
        }
        drop(herds);
        wait_for("terminals are connected", expected, || {
            self.sum(Herd::greeted)
        });
    }

    /// Waits until so many text frames have come in all, hellos aside.
    pub fn await_texts(&self, expected: usize) {
        wait_for("frames have come", expected, || self.texts());
    }

    /// Text frames that have come in all, but for hellos and the answers to first joins.
    pub fn texts(&self) -> usize {
        self.sum(Herd::texts)
    }

    fn sum(&self, of: fn(&Herd) -> usize) -> usize {
        self.herds().iter().map(of).sum()
    }

    fn herds(&self) -> MutexGuard<'_, Vec<Herd>> {
        self.herds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a wait looks that takes long, on a terminal.
const STYLE: &str = "  {pos} of {len} {msg} {bar:30}";

/// Waits until a count is reached.
///
/// # Panics
///
/// If it stands still for long: measurements take longer than what tests wait for.
fn wait_for(what: &'static str, expected: usize, count: impl Fn() -> usize) {
    const PATIENCE: Duration = Duration::from_secs(90);
    /// A wait that is shorter is not shown.
    const SHOWN: Duration = Duration::from_secs(1);
    let begin = Instant::now();
    let (mut last, mut moved) = (0, begin);
    let mut bar = None;
    loop {
        let reached = count();
        if reached >= expected {
            break;
        }
        if reached != last {
            (last, moved) = (reached, Instant::now());
        }
        assert!(
            moved.elapsed() < PATIENCE,
            "{reached} of {expected} {what}, and no more come"
        );
        if begin.elapsed() > SHOWN {
            let bar = bar.get_or_insert_with(|| begin_bar(what, expected));
            bar.set_position(reached as u64);
        }
        thread::sleep(Duration::from_millis(2));
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

fn begin_bar(what: &'static str, expected: usize) -> ProgressBar {
    let bar = ProgressBar::new(expected as u64).with_message(what);
    if let Ok(style) = ProgressStyle::with_template(STYLE) {
        bar.set_style(style);
    }
    bar
}
