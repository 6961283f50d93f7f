//! `joins-end`: each wish to join a topic is answered, and a member is degraded for a reason.

use std::collections::BTreeMap;
use std::time::Duration;

use switchboard_core::channel::Channel;
use switchboard_core::frame::Outgoing;
use switchboard_core::id::TopicId;
use switchboard_core::message::{Action, Outcome, Receipt};
use switchboard_core::time::Instant;
use switchboard_core::topic::TopicWish;

use super::allowance::closing;
use super::connect_ends::{WAYS, not_in_time};
use super::topic_members::{may_be_member, may_be_told_to_leave};
use crate::checker::{Checker, Watch};
use crate::ledger::{Excuse, FaultKind, Part, Scope};
use crate::observed::{HandIn, Observed, Topic};

/// A terminal that wants to join a topic is told within the grace of the hello that it has, or that it has not; a
/// member is told that it is degraded only if something was wrong; and one that a receipt names as a member is told so.
#[derive(Clone, Debug, Default)]
pub struct JoinsEnd {
    /// When each terminal was last told something of each topic.
    told: BTreeMap<(usize, TopicId), Instant>,
    /// When it was last told that it is no member. An application's join that is taken back before the directory knows
    /// of it ends with that.
    refused: BTreeMap<(usize, TopicId), Instant>,
    /// What is looked at when a call comes.
    wishes: Vec<Wish>,
}

/// A wish to join.
#[derive(Clone, Debug)]
struct Wish {
    session: usize,
    topic: TopicId,
    since: Instant,
    by: By,
}

/// Who wants a terminal to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// It itself. It waits for so long, and for its hello before.
    Terminal,
    /// An application, which was told that it has, and has first wanted it then.
    Application { first: Instant },
}

/// What a turn takes.
const TURN: Duration = Duration::from_millis(5);

impl Checker for JoinsEnd {
    fn name(&self) -> &'static str {
        "joins-end"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Words, Topic::Pushes]
    }

    /// They are words that say `degraded`.
    fn excused_at_most(&self) -> f64 {
        0.2
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        match event {
            Observed::Wished {
                session,
                wish:
                    TopicWish::Join(topic) | TopicWish::JoinAllowed(topic) | TopicWish::Watch(topic),
            } => {
                let within = watch.scene().config().hello_grace * 2 + WAYS;
                self.call(watch, *session, topic, (By::Terminal, within));
            }
            Observed::Given { session, outgoing } => self.given(watch, *session, outgoing),
            Observed::Answered { hand_in, receipt } => self.answered(watch, *hand_in, receipt),
            _ => {}
        }
    }

    fn on_deadline(&mut self, what: u64, watch: &mut Watch<'_>) {
        let Wish {
            session,
            topic,
            since,
            by,
        } = &self.wishes[what as usize];
        let this = &watch.scene().sessions()[*session];
        let standing = this.standing(topic);
        let told = self.told.get(&(*session, topic.clone()));
        let is_told = match by {
            By::Terminal => told.is_some_and(|told| told >= since),
            // Somebody else may take back in one turn what was answered in it, before the directory knows.
            By::Application { .. } => {
                let refused = self.refused.get(&(*session, topic.clone()));
                standing.told().is_some() || refused.is_some_and(|refused| refused >= since)
            }
        };
        // What it wants may cross what an application does.
        let crossed = match by {
            By::Terminal => *since,
            By::Application { .. } => since.before(WAYS),
        };
        if is_told || standing.has_left_since(crossed) {
            return watch.held();
        }
        if !this.is_open() {
            return;
        }
        let wakes = (this.life()).and_then(|life| watch.scene().host(life.host));
        let wakes = wakes.map(|host| host.paused_until());
        let within = watch.scene().config().hello_grace * 2 + WAYS;
        if let By::Application { first } = by
            && this.greeted().is_some_and(|(at, _)| at >= *first)
            && may_be_told_to_leave(watch, *session, topic)
        {
            // It was taken back before the terminal was greeted, which was told of neither.
            return watch.held();
        }
        if let Some(wakes) = wakes.filter(|wakes| *wakes + within > watch.now()) {
            return watch.call_at(wakes + within, what);
        }
        // What waits for a terminal that does not read is given later, and not to one whose end has begun.
        let unread = |excuse: &Excuse| {
            excuse.kind.part() == Part::Terminal && excuse.scope == Scope::Session(*session)
        };
        // It is told when its log was read, if it has asked for that; and behind the word of another topic that it
        // joins meanwhile.
        if let By::Application { .. } = by
            && watch.now() < *since + within
        {
            let of_topic = Channel::Topic(topic.clone());
            let scene = watch.scene();
            let joins = |other: &TopicId| {
                other != topic
                    && may_be_member(scene, *session, other, *since)
                    && this
                        .standing(other)
                        .told()
                        .is_none_or(|(at, _)| at > *since)
            };
            let by_itself = this.topics().any(|(other, _)| joins(other));
            let by_others = (scene.pushes().iter())
                .any(|push| matches!(push.action(), Action::Join(other) if joins(other)));
            if !this.asks_of(&of_topic).is_empty() || by_itself || by_others {
                return watch.call_at(*since + within, what);
            }
        }
        let excuse =
            (watch.excuse(*since, watch.now(), unread)).or_else(|| closing(watch, *session));
        match excuse {
            Some(excuse) => watch.excused(excuse),
            None => watch.violated(format!(
                "session {session} of {} is not told what became of its wish to join {topic:?}",
                this.user()
            )),
        }
    }
}

/// A directory that is slow, if a session has left a topic just before it joined it again: its row is written when it
/// was removed, and each takes a round trip.
fn two_trips(watch: &Watch<'_>, session: usize, topic: &TopicId) -> Option<Excuse> {
    let (scene, now) = (watch.scene(), watch.now());
    let config = scene.config();
    let since = now.before(config.hello_grace + config.directory_timeout);
    let standing = scene.sessions()[session].standing(topic);
    let lags = || watch.excuse(since, now, |excuse| excuse.kind == FaultKind::RedisLags);
    standing.has_left_since(since).then(lags).flatten()
}

impl JoinsEnd {
    fn call(
        &mut self,
        watch: &mut Watch<'_>,
        session: usize,
        topic: &TopicId,
        (by, within): (By, Duration),
    ) {
        watch.call_at(watch.now() + within, self.wishes.len() as u64);
        self.wishes.push(Wish {
            session,
            topic: topic.clone(),
            since: watch.now(),
            by,
        });
    }

    fn given(&mut self, watch: &mut Watch<'_>, session: usize, outgoing: &Outgoing) {
        let topic = match outgoing {
            Outgoing::Joined {
                topic, degraded, ..
            } => {
                if *degraded {
                    let excuse = not_in_time(watch, session);
                    match excuse.or_else(|| two_trips(watch, session, topic)) {
                        Some(excuse) => watch.excused(excuse),
                        None => watch.violated(format!(
                            "session {session} is a degraded member of {topic:?}, and nothing was wrong"
                        )),
                    }
                }
                topic
            }
            Outgoing::NotJoined(topic, _) => {
                self.refused.insert((session, topic.clone()), watch.now());
                topic
            }
            Outgoing::Left(topic) => topic,
            Outgoing::NotWatched(_, _)
            | Outgoing::Hello { .. }
            | Outgoing::Log(_)
            | Outgoing::Gap(_)
            | Outgoing::Back(_)
            | Outgoing::Received(_)
            | Outgoing::Presence(_)
            | Outgoing::TopicLog(..)
            | Outgoing::Pushed(_)
            | Outgoing::Record(_) => return,
        };
        self.told.insert((session, topic.clone()), watch.now());
    }

    /// An application is told of terminals that have joined.
    fn answered(&mut self, watch: &mut Watch<'_>, hand_in: HandIn, receipt: &Receipt) {
        let scene = watch.scene();
        let Action::Join(topic) = scene.pushes()[hand_in.push].action() else {
            return;
        };
        let joined = (receipt.terminals.iter())
            .filter(|terminal| terminal.outcome == Outcome::Written)
            .filter_map(|terminal| scene.session_of(terminal.connection));
        for session in joined {
            // A repeat is told what became of it the first time.
            let first = scene.pushes()[hand_in.push].first();
            let refused = self.refused.get(&(session, topic.clone()));
            let standing = scene.sessions()[session].standing(topic);
            if !standing.has_left_since(first) && refused.is_none_or(|refused| *refused < first) {
                self.call(watch, session, topic, (By::Application { first }, TURN));
            }
        }
    }
}
