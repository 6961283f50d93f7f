//! What was published, what should come of it, and what did.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use switchboard_core::config::Config;
use switchboard_core::event::Answer;
use switchboard_core::frame::Payload;
use switchboard_core::id::{CallId, ConnectionId, PushId, UserId};
use switchboard_core::message::{Action, Audience, Outcome, Push, Receipt};
use switchboard_core::time::Instant;
use uuid::Uuid;

use crate::ledger::{Excuse, FaultKind, Scope};
use crate::queue::{Happening, Input, Life};
use crate::report::Invariant;
use crate::schedule::To;
use crate::world::World;

/// What the checkers remember.
#[derive(Clone, Debug, Default)]
pub(crate) struct Oracle {
    /// The session of each connection.
    pub(crate) connections: BTreeMap<ConnectionId, usize>,
    /// Frames that should have reached a terminal.
    pub(crate) expected: u64,
    /// Those that did not, and had an excuse.
    pub(crate) excused: u64,
    pub(crate) receipts: u64,
    pushes: Vec<Published>,
    by_name: BTreeMap<String, usize>,
    by_content: BTreeMap<Bytes, usize>,
    calls: BTreeMap<CallId, (usize, usize)>,
    /// Pushes handed in so far.
    sequence: u64,
}

/// One push.
#[derive(Clone, Debug)]
struct Published {
    id: PushId,
    payload: Payload,
    to: Audience,
    times: Vec<HandedIn>,
}

/// One time that it was handed in.
#[derive(Clone, Debug)]
struct HandedIn {
    life: Life,
    at: Instant,
    sequence: u64,
    /// Sessions that had been greeted, and were open.
    expected: Vec<usize>,
    answered: bool,
    /// Nothing is expected of it.
    void: bool,
}

/// How much later than its deadline a receipt may be seen: the publisher's turn.
const SLACK: Duration = Duration::from_millis(5);
/// What Switchboard's own frames begin with.
const OWN: &[u8] = br#"{"switchboard":"#;

impl World {
    pub(crate) fn publish(&mut self, host: usize, to: &To, name: &str) {
        if self.oracle.by_name.contains_key(name) {
            return;
        }
        let user = |name: &String| UserId::new(name).ok();
        let to = match to {
            To::User(name) => user(name).map(Audience::User),
            To::Users(names) => Some(Audience::Users(names.iter().filter_map(user).collect())),
            To::Everyone => Some(Audience::Everyone),
        };
        let Some(to) = to else {
            return;
        };
        let index = self.oracle.pushes.len();
        let content = Bytes::copy_from_slice(format!("content of {name}").as_bytes());
        self.oracle.by_name.insert(name.to_owned(), index);
        self.oracle.by_content.insert(content.clone(), index);
        self.oracle.pushes.push(Published {
            id: PushId::new(Uuid::from_u128(index as u128 + 1)),
            payload: Payload::binary(content),
            to,
            times: Vec::new(),
        });
        self.hand_in(host, index);
    }

    pub(crate) fn repeat(&mut self, host: usize, name: &str) {
        if let Some(&index) = self.oracle.by_name.get(name) {
            self.hand_in(host, index);
        }
    }

    fn hand_in(&mut self, host: usize, push: usize) {
        let life = self.life(host);
        if !self.lives(life) {
            return;
        }
        let times = &mut self.oracle.pushes[push].times;
        let time = times.len();
        times.push(HandedIn {
            life,
            at: self.now,
            sequence: 0,
            expected: Vec::new(),
            answered: false,
            void: false,
        });
        self.input(life, Input::Push(push, time));
    }

    /// An instance takes a push.
    pub(crate) fn handed_in(&mut self, life: Life, push: usize, time: usize) -> (CallId, Push) {
        self.oracle.sequence += 1;
        let sequence = self.oracle.sequence;
        let call = CallId::new(sequence);
        self.oracle.calls.insert(call, (push, time));
        let published = &self.oracle.pushes[push];
        // A repeat reaches nobody who came after the first time.
        let first = published.times[0].at;
        let expected: Vec<usize> = (self.sessions.iter().enumerate())
            .filter(|(_, session)| {
                session.is_open()
                    && matches!(session.greeted, Some((at, false)) if at <= first)
                    && is_for(&published.to, &session.user)
            })
            .map(|(index, _)| index)
            .collect();
        let published = &mut self.oracle.pushes[push];
        published.times[time] = HandedIn {
            life,
            at: self.now,
            sequence,
            expected,
            answered: false,
            void: false,
        };
        let push_due = Happening::PushDue(push, time);
        let deadline = Config::DEADLINE_DEFAULT;
        self.queue.put(self.now + deadline + SLACK, push_due);
        let push = Push {
            id: published.id,
            to: published.to.clone(),
            action: Action::Frame(published.payload.clone()),
            deadline,
        };
        (call, push)
    }

    pub(crate) fn answered(&mut self, life: Life, call: CallId, answer: Answer) {
        let Some(&(push, time)) = self.oracle.calls.get(&call) else {
            return;
        };
        let handed_in = &mut self.oracle.pushes[push].times[time];
        if std::mem::replace(&mut handed_in.answered, true) {
            let what = format!("push {push} was answered twice");
            self.violated(Invariant::ReceiptComplete, what);
            return;
        }
        match answer {
            Answer::Push(Ok(receipt)) => {
                self.oracle.receipts += 1;
                self.check_truth(push, &receipt);
                self.check_silent_misses(life, push, time, &receipt);
            }
            Answer::Push(Err(_)) => handed_in.void = true,
            Answer::Connections(_) | Answer::Instances(_) => {}
        }
    }

    fn check_truth(&mut self, push: usize, receipt: &Receipt) {
        for terminal in &receipt.terminals {
            let id = terminal.connection;
            let published = &self.oracle.pushes[push];
            let Some(session) = self.oracle.connections.get(&id) else {
                let what = format!("the receipt of push {push} names {id:?}, which never was");
                return self.violated(Invariant::ReceiptTrue, what);
            };
            let this = &self.sessions[*session];
            let true_outcome = match terminal.outcome {
                Outcome::Written => this.written.contains(&published.id),
                Outcome::Gone => {
                    let holder = this.life.map_or(0, |life| life.host);
                    !this.is_open() || self.may_be_closing(*session, holder)
                }
                Outcome::Queued | Outcome::Overflow | Outcome::Unreachable => true,
            };
            let of_user = this.user == terminal.user && is_for(&published.to, &this.user);
            if !true_outcome || !of_user {
                let what = format!(
                    "the receipt of push {push} says {terminal:?} of session {session} of {}",
                    this.user
                );
                return self.violated(Invariant::ReceiptTrue, what);
            }
        }
    }

    /// A receipt that is not degraded names every terminal that was there all the time.
    fn check_silent_misses(&mut self, life: Life, push: usize, time: usize, receipt: &Receipt) {
        let published = &self.oracle.pushes[push];
        if receipt.degraded || receipt.truncated || published.to == Audience::Everyone {
            return;
        }
        let handed_in = &published.times[time];
        for &session in &handed_in.expected {
            let this = &self.sessions[session];
            let named = (receipt.terminals.iter()).any(|t| Some(t.connection) == this.id);
            if named || !this.is_open() {
                continue;
            }
            let from = handed_in.at.before(self.config.lease * 2);
            let holder = this.life.map_or(life.host, |life| life.host);
            // What an instance that drains, or a reader that is too slow, is about to lose is no
            // terminal any more, although its Close frame waits.
            let excuse = (self.ledger).find(from, self.now, |excuse| match excuse.kind {
                FaultKind::LongPause | FaultKind::RedisLongSplit => [life.host, holder]
                    .map(Scope::Instance)
                    .contains(&excuse.scope),
                FaultKind::Drain => excuse.scope == Scope::Instance(holder),
                FaultKind::SlowReader | FaultKind::RedisEvicted => {
                    excuse.scope == Scope::Session(session)
                }
                // It reads what the others do not write.
                FaultKind::RedisSplit => {
                    excuse.scope == Scope::Instance(life.host) && excuse.until >= handed_in.at
                }
                _ => false,
            });
            if excuse.is_none() && !self.is_blind(life.host, from) {
                let what = format!(
                    "the receipt of push {push} at i{} is not degraded and does not name session \
                     {session} of {}",
                    life.host + 1,
                    this.user
                );
                return self.violated(Invariant::ReceiptComplete, what);
            }
        }
    }

    /// Whether an instance started when the directory had just failed: whose lease is missing or has
    /// run out is nobody whom it knows and could doubt.
    fn is_blind(&self, host: usize, from: Instant) -> bool {
        let started = |excuse: &Excuse| {
            excuse.kind == FaultKind::Start && excuse.scope == Scope::Instance(host)
        };
        let lost = |excuse: &Excuse| excuse.kind.is_of_directory() && excuse.scope == Scope::All;
        self.ledger.find(from, self.now, started).is_some()
            && self.ledger.find(from, self.now, lost).is_some()
    }

    /// A push should have been answered and written by this moment.
    pub(crate) fn push_due(&mut self, push: usize, time: usize) {
        let handed_in = self.oracle.pushes[push].times[time].clone();
        let publisher = handed_in.life;
        if handed_in.void {
            return;
        }
        let ended = !self.lives(publisher);
        if !handed_in.answered && !ended {
            let wakes = self.processes[publisher.host].paused_until;
            if wakes + SLACK > self.now {
                let push_due = Happening::PushDue(push, time);
                self.queue.put(wakes + SLACK, push_due);
                return;
            }
            let what = format!(
                "push {push} at i{} has no receipt at its deadline",
                publisher.host + 1
            );
            return self.violated(Invariant::ReceiptComplete, what);
        }
        for &session in &handed_in.expected {
            if !self.sessions[session].is_open() {
                continue;
            }
            self.oracle.expected += 1;
            let id = self.oracle.pushes[push].id;
            if self.sessions[session].written.contains(&id) {
                continue;
            }
            if ended || self.excuse_for_loss(&handed_in, session).is_some() {
                self.oracle.excused += 1;
                continue;
            }
            let what = format!(
                "push {push} at i{} did not reach session {session} of {}",
                publisher.host + 1,
                self.sessions[session].user
            );
            self.violated(Invariant::HelloMeansReachable, what);
        }
    }

    /// What explains that a push did not reach a session.
    fn excuse_for_loss(&self, handed_in: &HandedIn, session: usize) -> Option<Excuse> {
        let publisher = handed_in.life.host;
        let holder = self.sessions[session].life.map_or(publisher, |l| l.host);
        let from = handed_in.at.before(self.config.lease);
        self.ledger
            .find(from, self.now, |excuse| match excuse.scope {
                // The start of somebody else is no excuse.
                Scope::All => true,
                Scope::Instance(host) => host == publisher || host == holder,
                Scope::Between(one, other) => {
                    [(one, other), (other, one)].contains(&(publisher, holder))
                }
                Scope::Session(slow) => slow == session,
            })
    }

    /// A frame is with the operating system.
    pub(crate) fn frame_written(&mut self, session: usize, payload: &Payload) {
        let bytes = payload.bytes();
        if bytes.starts_with(OWN) {
            let hello = bytes.windows(7).any(|word| word == br#""hello""#);
            if hello {
                let degraded = bytes.windows(10).any(|word| word == br#""degraded""#);
                let greeted = &mut self.sessions[session].greeted;
                *greeted = greeted.or(Some((self.now, degraded)));
            }
            return;
        }
        if let Some(&push) = self.oracle.by_content.get(bytes) {
            let id = self.oracle.pushes[push].id;
            self.sessions[session].written.insert(id);
        }
    }

    /// A frame has reached a terminal.
    pub(crate) fn frame_seen(&mut self, session: usize, payload: &Payload) {
        if payload.bytes().starts_with(OWN) {
            return;
        }
        let Some(&push) = self.oracle.by_content.get(payload.bytes()) else {
            let what = format!("session {session} got {:?}", payload.bytes());
            return self.violated(Invariant::NoCreation, what);
        };
        let published = &self.oracle.pushes[push];
        let this = &mut self.sessions[session];
        if !is_for(&published.to, &this.user) {
            let what = format!("session {session} of {} got push {push}", this.user);
            return self.violated(Invariant::Addressee, what);
        }
        if published.payload != *payload {
            let what = format!("session {session} got push {push} as another kind of frame");
            return self.violated(Invariant::NoCreation, what);
        }
        if !this.got.insert(published.id) {
            let what = format!("session {session} got push {push} twice");
            return self.violated(Invariant::NoDuplicate, what);
        }
        // What was handed in more than once may have come from either, and pushes to everyone have
        // a pace of their own.
        let [only] = published.times.as_slice() else {
            return;
        };
        if published.to == Audience::Everyone {
            return;
        }
        let before = this.last.insert(only.life, only.sequence);
        if before > Some(only.sequence) {
            let what = format!(
                "session {session} got push {push} of i{} after a later one",
                only.life.host + 1
            );
            self.violated(Invariant::Order, what);
        }
    }
}

fn is_for(to: &Audience, user: &UserId) -> bool {
    match to {
        Audience::User(addressee) => addressee == user,
        Audience::Connections {
            user: addressee, ..
        } => addressee == user,
        Audience::Users(users) => users.contains(user),
        Audience::Everyone => true,
    }
}
