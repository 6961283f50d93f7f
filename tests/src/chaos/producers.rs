//! Producers of durable pushes as good ones are: a push whose outcome is unknown is repeated under its id, at
//! whatever server, until it is known.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use serde_json::Value;
use uuid::Uuid;

use super::channel::Channel;
use super::position::Position;
use super::{Grounds, Plan};
use crate::api::{Api, Publisher, Receipt, push};
use crate::http::{Request, Response};
use crate::random::Random;

/// A push, and what was said of it.
#[derive(Clone, Debug)]
pub(super) struct Push {
    pub(super) to: Channel,
    pub(super) id: Uuid,
    pub(super) text: String,
    /// Whoever pushes wants to know whether a replica has the record.
    pub(super) for_replica: bool,
    pub(super) attempts: Vec<Attempt>,
}

/// It was handed in once.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) server: usize,
    pub(super) sent: Duration,
    pub(super) answered: Duration,
    pub(super) said: Said,
}

/// What the answer was.
#[derive(Clone, Debug)]
pub(super) enum Said {
    Logged {
        position: Position,
        /// A replica has it as well.
        replicated: bool,
    },
    Expired,
    Unknown,
    Refused,
    /// This status and code, which means that nothing was sent.
    Error(u16, String),
    /// There was none.
    Nothing(String),
}

impl Push {
    fn request(&self) -> Request {
        let text = self.text.as_str();
        let request = match self.to {
            Channel::User(_) => push(&self.to.to_string(), text),
            Channel::Topic(_) => {
                let path = format!("/v1/topics/{}/push", self.to);
                let request = Request::new("POST", path).body(text);
                request.query("retain", KEPT)
            }
        };
        let request = if self.for_replica {
            request.query("durability", "replica")
        } else {
            request
        };
        request
            .query("durable", "true")
            .query("deadline", DEADLINE)
            .header("Idempotency-Key", self.id.to_string())
    }

    /// What is known of it in the end.
    pub(super) fn outcome(&self) -> Option<&Said> {
        let last = &self.attempts.last()?.said;
        matches!(last, Said::Logged { .. } | Said::Expired).then_some(last)
    }
}

/// Threads that hand in pushes. Many of them wait for the deadline of one whose terminals died.
const THREADS: usize = 96;
/// The deadline of each.
const DEADLINE: &str = "1s";
/// The pause before a repeat, at most.
const PAUSE: Duration = Duration::from_secs(1);
/// One of so many pushes is for a topic.
const TO_TOPICS: usize = 10;
/// One of so many waits for a replica.
const FOR_REPLICAS: usize = 4;
/// Records that the log of a topic keeps: enough for all that come from one reading of the logs to the next.
const KEPT: &str = "1000";
/// When a push is given up: repeats are told for two minutes.
const PATIENCE: Duration = Duration::from_secs(100);

pub(super) struct Producers {
    place: Arc<Grounds>,
    seed: u64,
    users: usize,
    topics: usize,
    rate: f64,
    /// Pushes that have begun.
    next: AtomicUsize,
    /// All new ones have begun.
    ending: AtomicBool,
    waiting: Mutex<BTreeMap<(Instant, usize), Push>>,
    known: Mutex<Vec<Push>>,
}

impl Producers {
    pub(super) fn new(plan: &Plan, place: &Arc<Grounds>) -> Self {
        Self {
            place: Arc::clone(place),
            seed: plan.seed,
            users: plan.users,
            topics: plan.topics,
            rate: plan.rate,
            next: AtomicUsize::new(0),
            ending: AtomicBool::new(false),
            waiting: Mutex::default(),
            known: Mutex::default(),
        }
    }

    /// They go on until the end, and with repeats beyond it.
    pub(super) fn start<'s>(&'s self, scope: &'s Scope<'s, '_>, end: Instant) {
        let begin = Instant::now();
        for number in 0..THREADS {
            scope.spawn(move || self.produce(number, begin, end));
        }
    }

    /// Pushes that have begun, that are known, and that wait to be repeated.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        (
            self.next.load(Ordering::Relaxed),
            known.len(),
            waiting.len(),
        )
    }

    /// All pushes, once all threads have ended.
    pub(super) fn end(self) -> Vec<Push> {
        (self.known.into_inner()).unwrap_or_else(PoisonError::into_inner)
    }

    fn produce(&self, number: usize, begin: Instant, end: Instant) {
        let mut random = Random::new(self.seed, "producer", number);
        let mut open = None;
        loop {
            let push = match self.due() {
                Some(push) => push,
                None if self.ending.load(Ordering::Relaxed) => {
                    if self.counts().2 == 0 {
                        return;
                    }
                    thread::sleep(Duration::from_millis(20));
                    continue;
                }
                None => {
                    let number = self.next.fetch_add(1, Ordering::Relaxed);
                    let due = begin + Duration::from_secs_f64(number as f64 / self.rate);
                    if due >= end {
                        self.next.fetch_sub(1, Ordering::Relaxed);
                        self.ending.store(true, Ordering::Relaxed);
                        continue;
                    }
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    self.new_push(number)
                }
            };
            self.hand_in(push, &mut random, &mut open);
        }
    }

    fn new_push(&self, number: usize) -> Push {
        let mut random = Random::new(self.seed, "push", number);
        let to = if self.topics > 0 && random.below(TO_TOPICS) == 0 {
            Channel::Topic(random.below(self.topics))
        } else {
            Channel::User(random.below(self.users))
        };
        Push {
            to,
            id: Uuid::from_u128(random.number()),
            text: number.to_string(),
            for_replica: random.below(FOR_REPLICAS) == 0,
            attempts: Vec::new(),
        }
    }

    /// One that is to be repeated.
    fn due(&self) -> Option<Push> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let first = waiting.first_entry()?;
        (first.key().0 <= Instant::now()).then(|| first.remove())
    }

    fn hand_in(&self, mut push: Push, random: &mut Random, open: &mut Option<(usize, Publisher)>) {
        // Now and then at another server; always, where the connection is gone.
        if random.below(4) == 0 {
            *open = None;
        }
        let sent = self.place.now();
        let (server, said) = self.ask(&push, random, open);
        push.attempts.push(Attempt {
            server,
            sent,
            answered: self.place.now(),
            said,
        });
        let first = push.attempts[0].sent;
        if push.outcome().is_some() || self.place.now() > first + PATIENCE {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.push(push);
        } else {
            let due = Instant::now() + random.time(PAUSE);
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            // Its text is its number, so that no two are the same.
            let number = push.text.parse().unwrap_or_default();
            waiting.insert((due, number), push);
        }
    }

    fn ask(
        &self,
        asked: &Push,
        random: &mut Random,
        open: &mut Option<(usize, Publisher)>,
    ) -> (usize, Said) {
        let (server, mut publisher) = match open.take() {
            Some(open) => open,
            None => {
                let (server, addresses) = self.place.any(random, None);
                match Api::new(addresses.api).try_publisher() {
                    Ok(publisher) => (server, publisher),
                    Err(error) => return (server, Said::Nothing(error.to_string())),
                }
            }
        };
        let said = match publisher.try_send(asked.request()) {
            Ok(response) => {
                let said = Said::of(&response);
                if !matches!(said, Said::Error(..)) {
                    *open = Some((server, publisher));
                }
                said
            }
            Err(error) => Said::nothing(&error),
        };
        (server, said)
    }
}

impl Said {
    fn of(response: &Response) -> Self {
        if response.status != 200 {
            return Self::Error(response.status, response.error_code());
        }
        let receipt: Receipt = serde_json::from_slice(&response.body).expect("a receipt");
        match receipt.logged {
            Value::String(text) if text == "unknown" => Self::Unknown,
            Value::String(text) if text == "expired" => Self::Expired,
            Value::String(text) if text == "refused" => Self::Refused,
            Value::String(text) => Self::Logged {
                position: text.parse().expect("a position"),
                replicated: receipt.replicated == true,
            },
            other => panic!("a receipt of a durable push says of its record: {other}"),
        }
    }

    fn nothing(error: &io::Error) -> Self {
        Self::Nothing(error.to_string())
    }
}
