//! What was published: the pushes, and each time that one was handed in.

mod questions;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use switchboard_core::channel::Channel;
use switchboard_core::config::Config;
use switchboard_core::directory::log::Retention;
use switchboard_core::event::Answer;
use switchboard_core::frame::{CloseCode, Payload};
use switchboard_core::id::{CallId, PushId, TopicId, UserId};
use switchboard_core::message::{
    Action, Audience, ChannelLog, Durability, Durable, InLog, Push, PushedBy, Until,
};
use switchboard_core::position::Position;
use switchboard_core::time::Instant;

use crate::context::Context;
use crate::fingerprint::{Fingerprint, Print, fingerprint};
use crate::hosts::Hosts;
use crate::ledger::{FaultKind, Scope};
use crate::observed::{HandIn, Life, Observed};
use crate::schedule::Moment;
use crate::vocabulary::happening::Input;
use crate::vocabulary::push::{content_of, id_of};

pub use questions::{Asked, Question};

/// How a push is kept in the log of each user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct KeptInLogs {
    /// What the log keeps with it.
    pub retention: Retention,
    /// When followers count.
    pub until: Until,
    /// Who has to have it.
    pub durability: Durability,
}

/// A push of the schedule, and how its hand-ins ended.
#[derive(Clone, Debug)]
pub struct Published {
    id: PushId,
    action: Action,
    to: Audience,
    durable: Option<KeptInLogs>,
    /// It says of terminals that come later as well which topic they join, or do not.
    keeps: bool,
    by: PushedBy,
    within: Duration,
    times: Vec<HandedIn>,
}

impl Published {
    /// What an application hands in and does not want kept, with the default deadline.
    fn new(name: &str, to: Audience, action: Action) -> Self {
        Self {
            id: id_of(name),
            action,
            to,
            durable: None,
            keeps: false,
            by: PushedBy::Application,
            within: Config::DEADLINE_DEFAULT,
            times: Vec::new(),
        }
    }
}

// A moment looks at whom a push is for; how many times it was handed in is a part of its noise.
impl Fingerprint for Published {
    fn fingerprint(&self, to: &mut Print) {
        let Self {
            id,
            action,
            to: audience,
            durable,
            keeps,
            by,
            within,
            times,
        } = self;
        (*id, times.len()).fingerprint(to);
        to.word(&(action, audience, durable, keeps, by, within));
    }
}

/// One time that a push was handed in.
#[derive(Clone, Debug)]
pub struct HandedIn {
    /// The instance at which it was handed in.
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
    pub progress: HandInProgress,
    /// What its receipt says of the log of each user.
    pub logged: Vec<ChannelLog>,
}

impl HandedIn {
    /// Whether its receipt says that it is kept in the log of a user, and where.
    pub fn logged_at(&self, channel: &Channel) -> Option<Position> {
        let logged = self.logged.iter().find(|log| log.channel == *channel)?;
        match logged.logged {
            InLog::At(position) => Some(position),
            InLog::Expired | InLog::Unknown | InLog::Refused | InLog::Unlogged => None,
        }
    }
}

/// How far a push is that was handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandInProgress {
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
    /// The same for all times that it is handed in.
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
            Action::Close(_) | Action::Join(_) | Action::Leave(_) | Action::List { .. } => None,
        }
    }

    /// Which terminals it is for.
    pub const fn to(&self) -> &Audience {
        &self.to
    }

    /// The topics that it is for.
    pub fn topics(&self) -> &[TopicId] {
        match &self.to {
            Audience::Topics { topics, .. } => topics,
            Audience::User(_)
            | Audience::Users(_)
            | Audience::Connections { .. }
            | Audience::Everyone => &[],
        }
    }

    /// How it is kept, if it is durable.
    pub const fn durable(&self) -> Option<KeptInLogs> {
        self.durable
    }

    /// Whether it says of terminals that come later as well which topic they join, or do not.
    pub const fn keeps(&self) -> bool {
        self.keeps
    }

    /// Whether its answer comes as soon as it has its place in a log: a terminal has published it, and waits for no member.
    pub fn is_answered_when_logged(&self) -> bool {
        self.by == PushedBy::Terminal && self.durable.is_some()
    }

    /// How long after that an answer is to be there, each time.
    pub const fn deadline(&self) -> Duration {
        self.within
    }

    /// The times that it was handed in.
    pub fn times(&self) -> &[HandedIn] {
        &self.times
    }

    /// When it was first handed in. An instance that is paused takes it in later, and a repeat may come before it.
    pub fn first(&self) -> Instant {
        let times = self.times.iter().map(|handed_in| handed_in.at);
        times.min().unwrap_or(Instant::from_nanos(0))
    }

    /// The users that it names: none, if it is for everyone.
    pub fn users(&self) -> &[UserId] {
        match &self.to {
            Audience::User(user) | Audience::Connections { user, .. } => std::slice::from_ref(user),
            Audience::Users(users) => users,
            Audience::Topics { .. } | Audience::Everyone => &[],
        }
    }

    /// Whether it is for this user.
    pub fn is_for(&self, user: &UserId) -> bool {
        self.to == Audience::Everyone || self.users().contains(user)
    }
}

/// What was under way at the deadline of a push has arrived then.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// All that was published. A push's place is its number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Publishing {
    pushes: Vec<Published>,
    by_name: BTreeMap<String, usize>,
    by_content: BTreeMap<Bytes, usize>,
    calls: BTreeMap<CallId, HandIn>,
    questions: Vec<Question>,
    /// Pushes taken so far.
    sequence: u64,
}

fingerprint!(Publishing { pushes, by_name, sequence, questions } without { by_content, calls });

impl Publishing {
    /// All pushes, in the order in which they were first handed in.
    pub(crate) fn pushes(&self) -> &[Published] {
        &self.pushes
    }

    /// The push that has this content.
    pub(crate) fn of_content(&self, content: &Bytes) -> Option<usize> {
        self.by_content.get(content).copied()
    }

    /// What is handed in.
    pub(crate) fn hand_in(&self, hand_in: HandIn) -> &HandedIn {
        &self.pushes[hand_in.push].times[hand_in.time]
    }

    /// A push is handed in for the first time, if its name is a new one.
    pub(crate) fn publish(
        &mut self,
        cx: &mut Context,
        hosts: &mut Hosts,
        host: usize,
        to: Audience,
        name: &str,
        (durable, by, within): (Option<KeptInLogs>, PushedBy, Duration),
    ) {
        let content = Bytes::from(content_of(name));
        let push = Published {
            durable,
            by,
            within,
            ..Published::new(name, to, Action::Frame(Payload::binary(content)))
        };
        self.hand_in_first(cx, hosts, host, name, push);
    }

    /// The terminals of users are told to end.
    pub(crate) fn kick(
        &mut self,
        cx: &mut Context,
        hosts: &mut Hosts,
        host: usize,
        to: Audience,
        name: &str,
    ) {
        let push = Published::new(name, to, Action::Close(CloseCode::Kicked));
        self.hand_in_first(cx, hosts, host, name, push);
    }

    /// The terminals of a user are told to join a topic, or to leave it.
    pub(crate) fn enrol(
        &mut self,
        cx: &mut Context,
        hosts: &mut Hosts,
        host: usize,
        (user, name): (&str, &str),
        (action, keeps): (Action, bool),
    ) {
        let Ok(user) = UserId::new(user) else {
            return;
        };
        let push = Published {
            keeps,
            ..Published::new(name, Audience::User(user), action)
        };
        self.hand_in_first(cx, hosts, host, name, push);
    }

    /// Whether a push that does this to the terminals of a user can still be on its way to them.
    pub(crate) fn is_under_way(&self, now: Instant, user: &UserId, action: &Action) -> bool {
        self.pushes.iter().any(|push| {
            let lately = |time: &HandedIn| match time.progress {
                HandInProgress::OnItsWay => true,
                HandInProgress::Taken | HandInProgress::Answered => {
                    time.at + (Config::DEADLINE_DEFAULT + ON_ITS_WAY) > now
                }
                HandInProgress::Refused => false,
            };
            push.action == *action && push.is_for(user) && push.times.iter().any(lately)
        })
    }

    /// A push is handed in once more.
    pub(crate) fn repeat(&mut self, cx: &mut Context, hosts: &mut Hosts, host: usize, name: &str) {
        if let Some(&push) = self.by_name.get(name) {
            self.hand_in_at(cx, hosts, host, push);
        }
    }

    /// A push of a name that is a new one.
    fn hand_in_first(
        &mut self,
        cx: &mut Context,
        hosts: &mut Hosts,
        host: usize,
        name: &str,
        published: Published,
    ) {
        if self.by_name.contains_key(name) {
            return;
        }
        let push = self.pushes.len();
        self.by_name.insert(name.to_owned(), push);
        if let Action::Frame(payload) = &published.action {
            self.by_content.insert(payload.bytes().clone(), push);
        }
        self.pushes.push(published);
        self.hand_in_at(cx, hosts, host, push);
    }

    fn hand_in_at(&mut self, cx: &mut Context, hosts: &mut Hosts, host: usize, push: usize) {
        if !hosts.runs(host) {
            return;
        }
        let life = hosts.life(host);
        let time = self.pushes[push].times.len();
        if time > 0 {
            cx.borne(FaultKind::Repeated, Scope::Instance(host));
        }
        self.pushes[push].times.push(HandedIn {
            life,
            at: cx.now,
            sequence: 0,
            reachable: Vec::new(),
            progress: HandInProgress::OnItsWay,
            logged: Vec::new(),
        });
        hosts.input(cx, life, Input::Push(HandIn { push, time }));
    }

    /// An instance takes a push, while these sessions can be reached.
    pub(crate) fn taken(
        &mut self,
        cx: &mut Context,
        life: Life,
        hand_in: HandIn,
        reachable: Vec<usize>,
    ) -> (CallId, Push) {
        self.sequence += 1;
        let sequence = self.sequence;
        let call = CallId::new(sequence);
        self.calls.insert(call, hand_in);
        let published = &mut self.pushes[hand_in.push];
        published.times[hand_in.time] = HandedIn {
            life,
            at: cx.now,
            sequence,
            reachable,
            progress: HandInProgress::Taken,
            logged: Vec::new(),
        };
        let push = Push {
            id: published.id,
            to: published.to.clone(),
            action: published.action.clone(),
            deadline: published.within,
            durable: match published.durable {
                Some(KeptInLogs {
                    retention,
                    until,
                    durability,
                }) => Some(Durable {
                    retention: Some(retention),
                    until,
                    durability,
                    ..Durable::default()
                }),
                None => published.keeps.then(Durable::default),
            },
            by: published.by,
        };
        cx.observe(Observed::HandedIn(hand_in));
        (call, push)
    }

    /// An instance answers a push. Returns which, and how far it is with that: see
    /// [`settle`](Self::settle).
    pub(crate) fn answered(
        &self,
        cx: &mut Context,
        call: CallId,
        answer: &Answer,
    ) -> Option<(HandIn, HandInProgress)> {
        let hand_in = *self.calls.get(&call)?;
        let progress = match answer {
            Answer::Push(Ok(receipt)) => {
                let receipt = Box::new(receipt.clone());
                cx.observe(Observed::Answered { hand_in, receipt });
                HandInProgress::Answered
            }
            Answer::Push(Err(refused)) => {
                let refused = *refused;
                cx.observe(Observed::PushRefused { hand_in, refused });
                HandInProgress::Refused
            }
            Answer::Connections(_) | Answer::Log(_) | Answer::Instances(_) | Answer::Relayed(_) => {
                return None;
            }
        };
        Some((hand_in, progress))
    }

    /// A push that was answered waits no more: whoever was told of the answer saw it wait.
    pub(crate) fn settle(
        &mut self,
        cx: &mut Context,
        hand_in: HandIn,
        progress: HandInProgress,
        answer: &Answer,
    ) {
        let handed_in = &mut self.pushes[hand_in.push].times[hand_in.time];
        handed_in.progress = progress;
        if let Answer::Push(Ok(receipt)) = answer {
            handed_in.logged.clone_from(&receipt.logged);
        }
        self.moment(cx, Moment::Receipt, hand_in.push);
    }

    /// A moment of a push has come.
    pub(crate) fn moment(&self, cx: &mut Context, moment: Moment, push: usize) {
        cx.moment(moment, |name| self.by_name.get(name) == Some(&push));
    }

    /// The rows of a user have been read for an instance: a moment of each push has come that it has
    /// taken for this user, and not answered.
    pub(crate) fn moment_of_lookup(&self, cx: &mut Context, life: Life, user: &UserId) {
        cx.moment(Moment::Lookup, |name| {
            self.by_name.get(name).is_some_and(|&push| {
                let published = &self.pushes[push];
                let here =
                    |time: &HandedIn| time.life == life && time.progress == HandInProgress::Taken;
                published.is_for(user) && published.times.iter().any(here)
            })
        });
    }
}
