//! What is asked of instances beside pushes.

use switchboard_core::channel::Channel;
use switchboard_core::event::{Answer, Event};
use switchboard_core::id::{CallId, UserId};
use switchboard_core::logs::{LogQuery, LogRequest};
use switchboard_core::time::Instant;

use super::Publishing;
use crate::context::Context;
use crate::fingerprint::{Fingerprint, Print};
use crate::hosts::Hosts;
use crate::observed::{Life, Observed};
use crate::schedule::LogOf;
use crate::vocabulary::happening::Input;

/// A question that an application has asked of an instance.
#[derive(Clone, Debug)]
pub struct Question {
    life: Life,
    what: Asked,
    put: Instant,
    at: Instant,
    reachable: Vec<usize>,
    answered: bool,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The connections of a user.
    Connections(UserId),
    /// What a log keeps.
    Log(Channel),
    /// That a log be deleted.
    Deletion(Channel),
    /// The instances of the cluster.
    Instances,
}

/// The number before that of the first question among all calls: there are fewer pushes.
const BEFORE: u64 = 1 << 32;

impl Question {
    /// The instance that is asked.
    pub const fn life(&self) -> Life {
        self.life
    }

    /// What is asked.
    pub const fn what(&self) -> &Asked {
        &self.what
    }

    /// When it was put: what came to the instance before was taken before.
    pub const fn put(&self) -> Instant {
        self.put
    }

    /// When the instance took it; before that, when it was on its way.
    pub const fn at(&self) -> Instant {
        self.at
    }

    /// The sessions of its user that were there when the instance took it.
    pub fn reachable(&self) -> &[usize] {
        &self.reachable
    }

    /// Whether it was answered.
    pub const fn is_answered(&self) -> bool {
        self.answered
    }
}

// That it was answered is of the past.
impl Fingerprint for Question {
    fn fingerprint(&self, to: &mut Print) {
        let Self {
            life,
            what,
            put: _,
            at: _,
            reachable: _,
            answered: _,
        } = self;
        life.fingerprint(to);
        to.word(what);
    }
}

impl Publishing {
    /// All questions, in the order in which they were asked.
    pub(crate) fn questions(&self) -> &[Question] {
        &self.questions
    }

    /// An instance is asked for something of a user.
    pub(crate) fn ask_of(
        &mut self,
        cx: &mut Context,
        hosts: &mut Hosts,
        host: usize,
        user: &str,
        what: impl FnOnce(UserId) -> Asked,
    ) {
        if let Ok(user) = UserId::new(user) {
            self.ask(cx, hosts, host, what(user));
        }
    }

    /// An instance is asked for something of a log.
    pub(crate) fn ask_log(
        &mut self,
        cx: &mut Context,
        hosts: &mut Hosts,
        host: usize,
        of: &LogOf,
        what: impl FnOnce(Channel) -> Asked,
    ) {
        if let Some(channel) = of.channel() {
            self.ask(cx, hosts, host, what(channel));
        }
    }

    /// An instance is asked for something.
    pub(crate) fn ask(&mut self, cx: &mut Context, hosts: &mut Hosts, host: usize, what: Asked) {
        let life = hosts.life(host);
        self.questions.push(Question {
            life,
            what,
            put: cx.now,
            at: cx.now,
            reachable: Vec::new(),
            answered: false,
        });
        hosts.input(cx, life, Input::Question(self.questions.len() - 1));
    }

    /// An instance takes a question, while these sessions of its user are there.
    pub(crate) fn asked(
        &mut self,
        cx: &mut Context,
        number: usize,
        reachable: Vec<usize>,
    ) -> Event {
        let question = &mut self.questions[number];
        question.at = cx.now;
        question.reachable = reachable;
        let call = CallId::new(BEFORE + 1 + number as u64);
        let event = match &question.what {
            Asked::Connections(user) => Event::Connections {
                call,
                user: user.clone(),
            },
            Asked::Log(channel) => Event::Log {
                call,
                channel: channel.clone(),
                request: LogRequest::Read(LogQuery::default()),
            },
            Asked::Deletion(channel) => Event::Log {
                call,
                channel: channel.clone(),
                request: LogRequest::Delete,
            },
            Asked::Instances => Event::Instances { call },
        };
        cx.observe(Observed::Asked { question: number });
        event
    }

    /// An instance answers a call. Returns whether that was a question.
    pub(crate) fn told(&mut self, cx: &mut Context, call: CallId, answer: &Answer) -> bool {
        let number = (call.get().checked_sub(BEFORE + 1)).map(|number| number as usize);
        let Some((number, question)) =
            number.and_then(|number| Some((number, self.questions.get_mut(number)?)))
        else {
            return false;
        };
        cx.observe(Observed::Told {
            question: number,
            answer: Box::new(answer.clone()),
        });
        question.answered = true;
        true
    }
}
