//! Terminals that follow logs, and what each has seen of each of them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Runtime;
use uuid::Uuid;

use super::channel::Channel;
use super::life::Life;
use super::position::Position;
use super::{Grounds, Plan};
use crate::random::Random;

/// All terminals, served by two threads.
pub(super) struct Terminals {
    /// Those of one terminal stand together: first that of its user.
    seats: Vec<Arc<Seat>>,
    // Its threads serve the terminals.
    runtime: Runtime,
}

/// What a terminal saw of a log, in its order.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) channel: Channel,
    /// Of the terminal, in the order in which they were started.
    pub(super) number: usize,
    pub(super) events: Vec<(Duration, Event)>,
}

#[derive(Clone, Debug)]
pub(super) enum Event {
    /// It asks a server for what comes after these, newest first; for what comes from here on, if it has none.
    Asks {
        server: usize,
        after: Vec<Position>,
    },
    /// It is told where it stands, which the answer says, or a frame of its own behind that.
    Stands {
        position: Position,
        resumed: bool,
        expired: bool,
    },
    /// The answer does not say where it stands.
    Greeted,
    /// A record has come.
    Record {
        position: Position,
        push: Uuid,
        text: String,
    },
    Gap(Position),
    Back(Position),
    /// It has left the topic.
    Left,
    /// The connection has ended, or did not come about.
    Ended(String),
    /// A frame that nobody sends it.
    Stray(String),
}

impl Event {
    /// Whether a server says it, of a log that is followed.
    pub(super) const fn is_told(&self) -> bool {
        match self {
            Self::Stands { .. }
            | Self::Greeted
            | Self::Record { .. }
            | Self::Gap(_)
            | Self::Back(_) => true,
            Self::Asks { .. } | Self::Left | Self::Ended(_) | Self::Stray(_) => false,
        }
    }
}

/// Topics whose logs a terminal follows beside that of its user, at most.
const TOPICS: usize = 2;

impl Terminals {
    /// They connect one after the other.
    pub(super) fn start(plan: &Plan, place: &Arc<Grounds>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("threads can be started");
        let mut random = Random::new(plan.seed, "terminals", 0);
        let mut seats = Vec::new();
        let mut number = 0;
        for user in 0..plan.users {
            for _ in 0..=random.below(3) {
                let mut channels = vec![Channel::User(user)];
                channels.extend(some_topics(&mut random, plan.topics));
                let seat = |channel| Arc::new(Seat::new(channel, number));
                let of_terminal: Vec<_> = channels.into_iter().map(seat).collect();
                let random = Random::new(plan.seed, "terminal", number);
                let life = Life::new(user, &of_terminal, Arc::clone(place), random);
                runtime.spawn(life.lives());
                seats.extend(of_terminal);
                number += 1;
            }
        }
        Self { seats, runtime }
    }

    /// How many logs are followed, once for each terminal that does.
    pub(super) fn followed(&self) -> usize {
        self.seats.len()
    }

    /// Where those stand that are connected and know it, with whose log it is.
    pub(super) fn standing(&self) -> impl Iterator<Item = (Channel, Position)> {
        let seats = self.seats.iter();
        seats.filter_map(|seat| Some((seat.channel, seat.state(|state| state.at)?)))
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
                channel: seat.channel,
                number: seat.number,
                events: seat.state(|state| std::mem::take(&mut state.events)),
            })
            .collect()
    }
}

/// Some of so many topics, each once.
fn some_topics(random: &mut Random, topics: usize) -> Vec<Channel> {
    let mut chosen = Vec::new();
    for _ in 0..random.below(TOPICS + 1).min(topics) {
        let topic = Channel::Topic(random.below(topics));
        if !chosen.contains(&topic) {
            chosen.push(topic);
        }
    }
    chosen
}

/// What a terminal has seen of a log, while it lives.
pub(super) struct Seat {
    pub(super) channel: Channel,
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
    fn new(channel: Channel, number: usize) -> Self {
        Self {
            channel,
            number,
            state: Mutex::default(),
        }
    }

    /// It has seen this, and has the position where it stands if it is connected and knows that.
    pub(super) fn note(&self, now: Duration, event: Event, position: Option<Position>) {
        self.state(|state| {
            state.at = match &event {
                Event::Asks { .. } | Event::Greeted | Event::Left | Event::Ended(_) => None,
                Event::Stands { .. } | Event::Record { .. } | Event::Gap(_) | Event::Back(_) => {
                    position
                }
                Event::Stray(_) => state.at,
            };
            state.records += usize::from(matches!(event, Event::Record { .. }));
            state.events.push((now, event));
        });
    }

    /// Whether it is connected and knows where it stands.
    pub(super) fn stands(&self) -> bool {
        self.state(|state| state.at.is_some())
    }

    fn state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
