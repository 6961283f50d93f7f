//! What was published: the pushes, and each time that one was handed in.

use std::collections::BTreeMap;

use bytes::Bytes;
use switchboard_core::config::{Config, SlowConsumer};
use switchboard_core::event::Answer;
use switchboard_core::frame::{CloseCode, Payload};
use switchboard_core::id::{CallId, ConnectionId, PushId, UserId};
use switchboard_core::message::{Action, Audience, Outcome, Push, Receipt};
use switchboard_core::time::Instant;
use uuid::Uuid;

use crate::fingerprint::{Fingerprint, Print, fingerprint};
use crate::ledger::{FaultKind, Scope};
use crate::noise;
use crate::observed::{HandIn, Life, Observed};
use crate::queue::Input;
use crate::schedule::{Moment, To};
use crate::world::World;

/// A push.
#[derive(Clone, Debug)]
pub struct Published {
    id: PushId,
    action: Action,
    to: Audience,
    times: Vec<HandedIn>,
}

// A moment looks at whom a push is for; how many times it was handed in is a part of its noise.
impl Fingerprint for Published {
    fn fingerprint(&self, to: &mut Print) {
        let Self {
            id,
            action,
            to: audience,
            times,
        } = self;
        (*id, times.len()).fingerprint(to);
        to.word(&(action, audience));
    }
}

/// One time that a push was handed in.
#[derive(Clone, Debug)]
pub struct HandedIn {
    /// Where.
    pub life: Life,
    /// When the instance took it; before that, when it was on its way.
    pub at: Instant,
    /// Counts all pushes that instances took, in their order.
    pub sequence: u64,
    /// Sessions of its audience that were open when the instance took it, and had been greeted before
    /// the push was handed in for the first time: without `degraded`, or so long before the first time
    /// that their rows were written meanwhile.
    pub reachable: Vec<usize>,
    /// How far it is.
    pub progress: Progress,
}

/// How far a push is that was handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The instance has not taken it yet.
    OnItsWay,
    /// It was taken.
    Taken,
    /// It was answered with a receipt.
    Answered,
    /// It was refused.
    Refused,
}

impl Published {
    /// Its id.
    pub const fn id(&self) -> PushId {
        self.id
    }

    /// What its terminals get: a frame, or the end of their connection.
    pub const fn action(&self) -> &Action {
        &self.action
    }

    /// Its content, if it has one.
    pub const fn payload(&self) -> Option<&Payload> {
        match &self.action {
            Action::Frame(payload) => Some(payload),
            Action::Close(_) => None,
        }
    }

    /// Whom it is for.
    pub const fn to(&self) -> &Audience {
        &self.to
    }

    /// The times that it was handed in.
    pub fn times(&self) -> &[HandedIn] {
        &self.times
    }

    /// The users that it names: none, if it is for everyone.
    pub fn users(&self) -> &[UserId] {
        match &self.to {
            Audience::User(user) | Audience::Connections { user, .. } => std::slice::from_ref(user),
            Audience::Users(users) => users,
            Audience::Everyone => &[],
        }
    }

    /// Whether it is for this user.
    pub fn is_for(&self, user: &UserId) -> bool {
        self.to == Audience::Everyone || self.users().contains(user)
    }
}

/// All that was published.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    /// The session of each connection.
    pub(crate) connections: BTreeMap<ConnectionId, usize>,
    pub(crate) pushes: Vec<Published>,
    by_name: BTreeMap<String, usize>,
    by_content: BTreeMap<Bytes, usize>,
    calls: BTreeMap<CallId, HandIn>,
    /// Pushes taken so far.
    sequence: u64,
}

fingerprint!(Record { pushes, by_name, sequence } without { connections, by_content, calls });

impl Record {
    /// Whether a push has this name.
    pub(crate) fn is_called(&self, push: usize, name: &str) -> bool {
        self.by_name.get(name) == Some(&push)
    }
}

/// What Switchboard's own frames begin with.
const OWN: &[u8] = br#"{"switchboard":"#;

impl World {
    pub(crate) fn publish(&mut self, host: usize, to: &To, name: &str) {
        let content = Bytes::from(Self::content(name));
        self.hand_in_first(host, to, name, Action::Frame(Payload::binary(content)));
    }

    /// The terminals of users are told to end.
    pub(crate) fn kick(&mut self, host: usize, to: &To, name: &str) {
        self.hand_in_first(host, to, name, Action::Close(CloseCode::Kicked));
    }

    fn hand_in_first(&mut self, host: usize, to: &To, name: &str, action: Action) {
        if self.record.by_name.contains_key(name) {
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
        let push = self.record.pushes.len();
        self.record.by_name.insert(name.to_owned(), push);
        if let Action::Frame(payload) = &action {
            let content = payload.bytes().clone();
            self.record.by_content.insert(content, push);
        }
        self.record.pushes.push(Published {
            id: PushId::new(Uuid::from_u128(noise::id_of_name(name))),
            action,
            to,
            times: Vec::new(),
        });
        self.hand_in(host, push);
    }

    /// Sessions that a push may end say so in the ledger: they may be closing from here on.
    fn excuse_kicked(&mut self, push: usize) {
        let published = &self.record.pushes[push];
        let Action::Close(_) = published.action else {
            return;
        };
        let kicked: Vec<usize> = (self.sessions.iter().enumerate())
            .filter(|(_, session)| session.is_open() && published.is_for(&session.user))
            .map(|(index, _)| index)
            .collect();
        let until = self.now + Config::DEADLINE_DEFAULT + self.config.close_timeout;
        for session in kicked {
            self.fault(FaultKind::Kicked, Scope::Session(session), until);
        }
    }

    /// The content of a push. No other's contains it.
    pub(crate) fn content(name: &str) -> String {
        format!("<content of {name}>")
    }

    /// Whether an instance has taken a push of this name for this user, and not answered it.
    pub(crate) fn is_under_way(&self, life: Life, user: &UserId, name: &str) -> bool {
        let Some(&push) = self.record.by_name.get(name) else {
            return false;
        };
        let published = &self.record.pushes[push];
        let here = |time: &HandedIn| time.life == life && time.progress == Progress::Taken;
        published.is_for(user) && published.times.iter().any(here)
    }

    pub(crate) fn repeat(&mut self, host: usize, name: &str) {
        if let Some(&push) = self.record.by_name.get(name) {
            self.hand_in(host, push);
        }
    }

    fn hand_in(&mut self, host: usize, push: usize) {
        let life = self.life(host);
        if !self.lives(life) {
            return;
        }
        let time = self.record.pushes[push].times.len();
        if time > 0 {
            self.borne(FaultKind::Repeated, Scope::Instance(host));
        }
        self.record.pushes[push].times.push(HandedIn {
            life,
            at: self.now,
            sequence: 0,
            reachable: Vec::new(),
            progress: Progress::OnItsWay,
        });
        self.input(life, Input::Push(HandIn { push, time }));
    }

    /// An instance takes a push.
    pub(crate) fn handed_in(&mut self, life: Life, hand_in: HandIn) -> (CallId, Push) {
        let HandIn { push, time } = hand_in;
        self.record.sequence += 1;
        let sequence = self.record.sequence;
        let call = CallId::new(sequence);
        self.record.calls.insert(call, hand_in);
        let published = &self.record.pushes[push];
        // A repeat reaches nobody who came after the first time.
        let first = published.times[0].at;
        let reachable: Vec<usize> = (self.sessions.iter().enumerate())
            .filter(|(number, session)| {
                let reachable = match session.greeted {
                    Some((at, false)) => at <= first,
                    Some((at, true)) => time == 0 && at <= first && self.has_live_row(*number),
                    None => false,
                };
                session.is_open() && reachable && published.is_for(&session.user)
            })
            .map(|(index, _)| index)
            .collect();
        let published = &mut self.record.pushes[push];
        published.times[time] = HandedIn {
            life,
            at: self.now,
            sequence,
            reachable,
            progress: Progress::Taken,
        };
        let handed_in = Push {
            id: published.id,
            to: published.to.clone(),
            action: published.action.clone(),
            deadline: Config::DEADLINE_DEFAULT,
        };
        self.observe(Observed::HandedIn(hand_in));
        self.excuse_kicked(push);
        self.moment_of_push(Moment::Push, push);
        (call, handed_in)
    }

    /// Whether the row of a session is written by the instance that holds it, and live.
    fn has_live_row(&self, session: usize) -> bool {
        let life = self.sessions[session].life;
        let row = self.row_of(session);
        row.is_some_and(|row| {
            self.is_live(row) && life.map(|life| self.instance_of(life)) == Some(row.instance)
        })
    }

    pub(crate) fn answered(&mut self, call: CallId, answer: &Answer) {
        let Some(&hand_in) = self.record.calls.get(&call) else {
            return;
        };
        let progress = match answer {
            Answer::Push(Ok(receipt)) => {
                self.observe(Observed::Answered { hand_in, receipt });
                self.excuse_overflowed(hand_in, receipt);
                Progress::Answered
            }
            Answer::Push(Err(refused)) => {
                let refused = *refused;
                self.observe(Observed::PushRefused { hand_in, refused });
                Progress::Refused
            }
            Answer::Connections(_) | Answer::Instances(_) => return,
        };
        self.record.pushes[hand_in.push].times[hand_in.time].progress = progress;
        self.moment_of_push(Moment::Receipt, hand_in.push);
    }

    /// Sessions whose queues were full, as a receipt says, miss that push, and are closed if that is the
    /// policy. If the receipt does not list them all it may be any of those that should have got it.
    fn excuse_overflowed(&mut self, hand_in: HandIn, receipt: &Receipt) {
        let listed: Vec<usize> = (receipt.terminals.iter())
            .filter(|terminal| terminal.outcome == Outcome::Overflow)
            .filter_map(|terminal| self.session_of(terminal.connection))
            .collect();
        let times = &self.record.pushes[hand_in.push].times;
        let any = if receipt.counts.overflow > listed.len() as u64 {
            times[hand_in.time].reachable.clone()
        } else {
            Vec::new()
        };
        let until = match self.config.slow_consumer {
            SlowConsumer::Close => self.now + self.config.close_timeout,
            SlowConsumer::DropOldest | SlowConsumer::DropNewest => self.now,
        };
        for session in listed.into_iter().chain(any) {
            self.fault(FaultKind::Overflowed, Scope::Session(session), until);
        }
    }

    /// A frame is with the operating system.
    pub(crate) fn frame_written(&mut self, session: usize, payload: &Payload) {
        let bytes = payload.bytes();
        if bytes.starts_with(OWN) {
            let hello = bytes.windows(7).any(|word| word == br#""hello""#);
            if hello && self.sessions[session].greeted.is_none() {
                let degraded = bytes.windows(10).any(|word| word == br#""degraded""#);
                self.sessions[session].greeted = Some((self.now, degraded));
                self.observe(Observed::Greeted { session, degraded });
                self.moment_of_session(Moment::Hello, session);
            }
            return;
        }
        let push = self.record.by_content.get(bytes).copied();
        if let Some(push) = push {
            let id = self.record.pushes[push].id;
            let since = self.sessions[session].written.entry(id);
            since.or_insert(self.now);
            self.moment_of_push(Moment::Write, push);
        }
        self.observe(Observed::Written {
            session,
            payload,
            push,
        });
    }

    /// A frame has reached a terminal.
    pub(crate) fn frame_seen(&mut self, session: usize, payload: &Payload) {
        if payload.bytes().starts_with(OWN) {
            return;
        }
        let push = self.record.by_content.get(payload.bytes()).copied();
        self.observe(Observed::Seen {
            session,
            payload,
            push,
        });
    }
}
