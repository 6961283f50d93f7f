//! `hello-means-reachable`: a terminal that was greeted gets each push that starts later, unless a
//! fault lies on the way. `joined-means-reachable`: so does a member of a topic each push to that.

use std::time::Duration;

use switchboard_core::config::Config;
use switchboard_core::message::{Action, Audience};

use super::allowance::{append_was_late, comes_by_the_log, evicted, evicted_topic, on_the_way};
use super::knowledge::Knowledge;
use crate::checker::{Checker, Watch};
use crate::observed::{HandIn, Observed, Topic};
use crate::publishing::{HandInProgress, HandedIn, Published};
use crate::terminals::Session;

/// Each push reaches all terminals that were greeted before it began.
///
/// A loss is explained only by a fault on the way of this very push, at its time: the publisher ended,
/// it or the holder stood still, the links between these two were disturbed, the terminal did not
/// read. What happens to the directory explains none, as long as the publisher has been told of the
/// holder and the holder's lease has not expired: then the holder is asked by user.
#[derive(Clone, Debug)]
pub struct MeansReachable {
    promise: Promise,
    knowledge: Knowledge,
}

/// What a terminal was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Promise {
    /// That it is connected: it gets what is for its user, and what is for everyone.
    Hello,
    /// That it has joined: it gets what is for the topic, until it leaves.
    Joined,
}

impl MeansReachable {
    /// Of what is for users.
    pub fn hello() -> Self {
        Self {
            promise: Promise::Hello,
            knowledge: Knowledge::default(),
        }
    }

    /// Of what is for topics.
    pub fn joined() -> Self {
        Self {
            promise: Promise::Joined,
            ..Self::hello()
        }
    }
}

/// How long a push takes, when nothing is lost.
const ON_ITS_WAY: Duration = Duration::from_millis(500);
/// How much later than its deadline a push may still be written: the publisher's turn.
const SLACK: Duration = Duration::from_millis(5);

impl Checker for MeansReachable {
    fn name(&self) -> &'static str {
        match self.promise {
            Promise::Hello => "hello-means-reachable",
            Promise::Joined => "joined-means-reachable",
        }
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Directory, Topic::Pushes, Topic::Faults]
    }

    /// Half as much again as the swarm loses.
    fn excused_at_most(&self) -> f64 {
        0.18
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        self.knowledge.take_in(event, watch);
        if let Observed::HandedIn(hand_in) = event
            && self.is_of(&watch.scene().pushes()[hand_in.push])
        {
            let due = watch.now() + Config::DEADLINE_DEFAULT + SLACK;
            watch.call_at(due, hand_in.as_number());
        }
    }

    fn on_deadline(&mut self, what: u64, watch: &mut Watch<'_>) {
        let scene = watch.scene();
        let hand_in = HandIn::from_number(what);
        let published = &scene.pushes()[hand_in.push];
        let handed_in = &published.times()[hand_in.time];
        let publisher = handed_in.life;
        let ended = !scene.lives(publisher);
        match handed_in.progress {
            HandInProgress::Refused => return,
            HandInProgress::OnItsWay | HandInProgress::Taken if !ended => {
                // It stands still, or `receipt-complete` says what is wrong.
                let wakes = scene.host(publisher.host).map(|host| host.paused_until());
                if let Some(wakes) = wakes.filter(|wakes| *wakes + SLACK > watch.now()) {
                    watch.call_at(wakes + SLACK, what);
                }
                return;
            }
            HandInProgress::OnItsWay | HandInProgress::Taken | HandInProgress::Answered => {}
        }
        // A terminal that left before the deadline has missed it if there was time for a lost lookup and a new
        // link; one that was to leave has left.
        let missed_after = match published.action() {
            Action::Frame(_) => {
                let config = scene.config();
                handed_in.at + (config.directory_timeout + config.link_timeout + ON_ITS_WAY)
            }
            Action::Close(_) => watch.now(),
            // Nothing is written but the word of the topic: see `receipt-true`.
            Action::Join(_) | Action::Leave(_) | Action::List { .. } => return,
        };
        for &session in &handed_in.reachable {
            let this = &scene.sessions()[session];
            let left = this.ended().is_some_and(|ended| ended < missed_after);
            if left || this.is_silent() {
                continue;
            }
            if this.has_written(published.id()) {
                watch.held();
                continue;
            }
            if has_left(published, handed_in, this) {
                continue;
            }
            let Some(holder) = this.life() else {
                continue;
            };
            if comes_by_the_log(published, handed_in, this) {
                continue;
            }
            let excuse = on_the_way(watch, handed_in, session)
                .or_else(|| append_was_late(watch, published, handed_in))
                .or_else(|| evicted(watch, session, handed_in.at))
                .or_else(|| evicted_topic(watch, published, session, handed_in.at))
                .or_else(|| {
                    let publisher = self.knowledge.publisher(watch, hand_in);
                    self.knowledge.ignorance(watch, publisher, holder)
                });
            match excuse {
                Some(excuse) => watch.excused(excuse),
                None => watch.violated(format!(
                    "push {} at i{} did not reach session {session} of {}",
                    hand_in.push,
                    publisher.host + 1,
                    this.user()
                )),
            }
        }
    }

    fn is_decisive(&self) -> bool {
        self.promise == Promise::Hello
    }
}

impl MeansReachable {
    /// Whether it is about such a push.
    fn is_of(&self, published: &Published) -> bool {
        match published.to() {
            Audience::Topics { .. } => self.promise == Promise::Joined,
            Audience::User(_)
            | Audience::Users(_)
            | Audience::Connections { .. }
            | Audience::Everyone => self.promise == Promise::Hello,
        }
    }
}

/// Whether a member has begun to leave one of the topics since the push was handed in: it may have been one of
/// that alone.
fn has_left(published: &Published, handed_in: &HandedIn, session: &Session) -> bool {
    match published.to() {
        Audience::Topics { topics, .. } => {
            (topics.iter()).any(|topic| session.standing(topic).has_left_since(handed_in.at))
        }
        Audience::User(_)
        | Audience::Users(_)
        | Audience::Connections { .. }
        | Audience::Everyone => false,
    }
}
