//! Terminals that follow their log as good clients do: they hold on to the last positions, and when their
//! connection has ended they come back at another server, after a random pause that grows.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};
use tungstenite::Message;
use uuid::Uuid;

use super::position::Position;
use super::random::Random;
use super::{Place, Plan};
use crate::socket::{Socket, open};

/// All terminals, served by two threads.
pub(super) struct Terminals {
    seats: Vec<Arc<Seat>>,
    // Its threads serve the terminals.
    runtime: Runtime,
}

/// What a terminal saw, in its order.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) user: usize,
    pub(super) number: usize,
    pub(super) events: Vec<(Duration, Event)>,
}

#[derive(Clone, Debug)]
pub(super) enum Event {
    /// It asks a server for what comes after these, newest first; for what comes from here on, if it has none.
    Connects {
        server: usize,
        after: Vec<Position>,
    },
    /// It is told where it stands, which the hello says, or a frame of its own behind that.
    Stands {
        position: Position,
        resumed: bool,
        expired: bool,
    },
    /// The hello does not say where it stands.
    Greeted,
    /// A record has come.
    Record {
        position: Position,
        push: Uuid,
        text: String,
    },
    Gap(Position),
    Back(Position),
    /// The connection has ended, or did not come about.
    Ended(String),
    /// A frame that nobody sends it.
    Stray(String),
}

/// Positions that a terminal holds on to.
const HELD: usize = 8;

impl Terminals {
    /// They connect one after the other.
    pub(super) fn start(plan: &Plan, place: &Arc<Place>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("threads can be started");
        let mut random = Random::new(plan.seed, "terminals", 0);
        let mut seats = Vec::new();
        for user in 0..plan.users {
            for _ in 0..=random.below(3) {
                let seat = Arc::new(Seat::new(user, seats.len()));
                let random = Random::new(plan.seed, "terminal", seats.len());
                let life = Life {
                    seat: Arc::clone(&seat),
                    place: Arc::clone(place),
                    random,
                    held: VecDeque::new(),
                };
                seats.push(seat);
                runtime.spawn(life.lives());
            }
        }
        Self { seats, runtime }
    }

    pub(super) fn len(&self) -> usize {
        self.seats.len()
    }

    pub(super) fn users(&self) -> Vec<String> {
        let users = self.seats.last().map_or(0, |seat| seat.user + 1);
        (0..users).map(user_name).collect()
    }

    /// Where those stand that are connected and know it, with their users.
    pub(super) fn standing(&self) -> impl Iterator<Item = (usize, Position)> {
        let seats = self.seats.iter();
        seats.filter_map(|seat| Some((seat.user, seat.state(|state| state.at)?)))
    }

    /// Records that have come.
    pub(super) fn records(&self) -> usize {
        let records = |seat: &Arc<Seat>| seat.state(|state| state.records);
        self.seats.iter().map(records).sum()
    }

    /// Ends all connections. Returns what each has seen.
    pub(super) fn stop(self) -> Vec<Told> {
        self.runtime.shutdown_timeout(Duration::from_secs(10));
        let seats = self.seats.iter();
        seats
            .map(|seat| Told {
                user: seat.user,
                number: seat.number,
                events: seat.state(|state| std::mem::take(&mut state.events)),
            })
            .collect()
    }
}

/// The name of a user.
pub(super) fn user_name(user: usize) -> String {
    format!("user-{user}")
}

struct Seat {
    user: usize,
    number: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    events: Vec<(Duration, Event)>,
    /// Where it stands, while it is connected and knows it.
    at: Option<Position>,
    records: usize,
}

impl Seat {
    fn new(user: usize, number: usize) -> Self {
        Self {
            user,
            number,
            state: Mutex::default(),
        }
    }

    fn state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One terminal over all its connections.
struct Life {
    seat: Arc<Seat>,
    place: Arc<Place>,
    random: Random,
    /// Positions that it has, newest first.
    held: VecDeque<Position>,
}

/// The longest pause of a client that cannot connect.
const PAUSE: Duration = Duration::from_secs(10);
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// For how long a terminal stays connected, at most.
const STAYS: Duration = Duration::from_secs(60);
/// For how long it is away when it leaves by itself, at most.
const AWAY: Duration = Duration::from_secs(5);

impl Life {
    async fn lives(mut self) {
        let mut server = None;
        let mut pause = Duration::from_secs(1);
        let mut attempts = 0;
        loop {
            sleep(self.random.time(pause)).await;
            let (index, addresses) = self.place.any(&mut self.random, server);
            server = Some(index);
            let after: Vec<_> = self.held.iter().copied().collect();
            let asked = match after.as_slice() {
                [] => "log=1".to_owned(),
                after => {
                    let after: Vec<_> = after.iter().map(|p| format!("after={p}")).collect();
                    after.join("&")
                }
            };
            let user = user_name(self.seat.user);
            let query = format!("user={user}&{asked}");
            self.note(Event::Connects {
                server: index,
                after,
            });
            let opened = timeout(HANDSHAKE, open(addresses.terminals, &query)).await;
            let (why, greeted) = match opened {
                Ok(Ok(socket)) => self.is_connected(socket).await,
                Ok(Err(error)) => (error, false),
                Err(_) => ("the handshake took too long".to_owned(), false),
            };
            let left = why == LEFT;
            self.note(Event::Ended(why));
            attempts = if greeted { 0 } else { attempts + 1 };
            pause = if left {
                AWAY
            } else {
                PAUSE.min(Duration::from_secs(1) * (1 << attempts.min(4)))
            };
        }
    }

    /// Reads until the connection has ended. Returns why it has, and whether the server had said hello.
    async fn is_connected(&mut self, mut socket: Socket) -> (String, bool) {
        let mut until = Instant::now() + self.random.time(STAYS);
        let mut greeted = false;
        let mut announced = None;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let text = match timeout(left, socket.next()).await {
                Ok(Some(Ok(Message::Text(text)))) => text.as_str().to_owned(),
                Ok(Some(Ok(Message::Close(frame)))) => {
                    let code = frame.map_or(1005, |frame| frame.code.into());
                    return (format!("closed with {code}"), greeted);
                }
                Ok(Some(Ok(other))) if other.is_binary() => {
                    self.note(Event::Stray("a binary frame".to_owned()));
                    continue;
                }
                Ok(Some(Ok(_))) => continue,
                Ok(Some(Err(error))) => return (error.to_string(), greeted),
                Ok(None) => return ("it has ended".to_owned(), greeted),
                Err(_) if self.place.calm.load(Ordering::Relaxed) => {
                    until += STAYS;
                    continue;
                }
                Err(_) => {
                    // Some say goodbye, others are gone.
                    if self.random.below(2) == 0 {
                        let _ = timeout(HANDSHAKE, socket.close(None)).await;
                    }
                    return (LEFT.to_owned(), greeted);
                }
            };
            match announced.take() {
                Some((position, push)) => self.has(position, push, text),
                None => {
                    let heard = Heard::of(&text);
                    greeted |= matches!(heard, Heard::Stands { .. } | Heard::Greeted);
                    announced = self.hears(heard, text);
                }
            }
        }
    }

    /// A frame of the server's own. Returns the record that it announces.
    fn hears(&mut self, heard: Heard, text: String) -> Option<(Position, Uuid)> {
        match heard {
            Heard::Greeted => self.note(Event::Greeted),
            Heard::Stands {
                position,
                resumed,
                expired,
            } => {
                self.goes_on_from(position);
                self.note(Event::Stands {
                    position,
                    resumed,
                    expired,
                });
            }
            Heard::Gap(position) => {
                self.held.clear();
                self.goes_on_from(position);
                self.note(Event::Gap(position));
            }
            Heard::Back(position) => {
                self.goes_on_from(position);
                self.note(Event::Back(position));
            }
            Heard::Message(position, push) => return Some((position, push)),
            Heard::Other => self.note(Event::Stray(text)),
        }
        None
    }

    fn has(&mut self, position: Position, push: Uuid, text: String) {
        self.held.push_front(position);
        self.held.truncate(HELD);
        self.note(Event::Record {
            position,
            push,
            text,
        });
    }

    /// It stands at a position: what it has behind that counts no longer.
    fn goes_on_from(&mut self, position: Position) {
        while self.held.front().is_some_and(|held| *held != position) {
            self.held.pop_front();
        }
        if self.held.is_empty() {
            self.held.push_front(position);
        }
    }

    fn note(&self, event: Event) {
        let now = self.place.now();
        let at = match &event {
            Event::Connects { .. } | Event::Greeted | Event::Ended(_) => None,
            Event::Stands { .. } | Event::Record { .. } | Event::Gap(_) | Event::Back(_) => {
                self.held.front().copied()
            }
            Event::Stray(_) => self.seat.state(|state| state.at),
        };
        self.seat.state(|state| {
            state.at = at;
            state.records += usize::from(matches!(event, Event::Record { .. }));
            state.events.push((now, event));
        });
    }
}

/// Why a connection has ended that its terminal has left.
const LEFT: &str = "it has left";

/// What a text frame outside of a record is.
enum Heard {
    Greeted,
    Stands {
        position: Position,
        resumed: bool,
        expired: bool,
    },
    Message(Position, Uuid),
    Gap(Position),
    Back(Position),
    Other,
}

impl Heard {
    fn of(text: &str) -> Self {
        let frame: Value = serde_json::from_str(text).unwrap_or_default();
        Self::find(&frame["switchboard"]).unwrap_or(Self::Other)
    }

    fn find(own: &Value) -> Option<Self> {
        let (word, said) = own.as_object()?.iter().next()?;
        let position = |said: &Value| said["position"].as_str()?.parse().ok();
        let stands = |log: &Value| {
            Some(Self::Stands {
                position: position(log)?,
                resumed: log["resumed"].as_bool()?,
                expired: log["reason"] == "expired",
            })
        };
        match word.as_str() {
            "hello" if said["log"].is_null() => Some(Self::Greeted),
            "hello" => stands(&said["log"]),
            "log" => stands(said),
            "message" => {
                let push = said["id"].as_str()?.parse().ok()?;
                Some(Self::Message(position(said)?, push))
            }
            "gap" => position(said).map(Self::Gap),
            "back" => position(said).map(Self::Back),
            _ => None,
        }
    }
}
