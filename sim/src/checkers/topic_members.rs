//! `topic-members`: what is for a topic reaches its members, and nobody else.

use std::collections::{BTreeMap, BTreeSet};

use switchboard_core::config::Config;
use switchboard_core::frame::{Outgoing, Pushed};
use switchboard_core::id::TopicId;
use switchboard_core::message::{Action, Audience};
use switchboard_core::time::Instant;

use crate::checker::{Checker, Scene, Watch};
use crate::ledger::{FaultKind, Ledger, Scope};
use crate::observed::{Observed, Topic};
use crate::publishing::{HandInProgress, Published};
use crate::terminals::Session;

/// A terminal that gets a push to topics was a member of one of them at some time since it was handed in: by its token,
/// by its own wish where its token allows that, or because an application wanted it; and was not left out. It was told
/// before that it is a member of the topic for which it gets it.
#[derive(Clone, Debug, Default)]
pub struct TopicMembers {
    /// By session, the topics of which it was told that it is a member.
    told: BTreeMap<usize, BTreeSet<TopicId>>,
}

impl Checker for TopicMembers {
    fn name(&self) -> &'static str {
        "topic-members"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Frames, Topic::Words]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        if let Observed::Given { session, outgoing } = event {
            return self.given(watch, *session, outgoing);
        }
        if let Observed::Closed { session, .. } = event {
            self.told.remove(session);
        }
        let Observed::Written {
            session,
            push: Some(push),
            position,
            ..
        } = event
        else {
            return;
        };
        let scene = watch.scene();
        let published = &scene.pushes()[*push];
        let Audience::Topics { topics, except } = published.to() else {
            return;
        };
        let this = &scene.sessions()[*session];
        // A log is for all that follow it.
        if position.is_none() && except.is_some() && *except == this.connection() {
            return watch.violated(format!(
                "session {session} got push {push}, and was left out"
            ));
        }
        let first = published.first();
        if may_be_meant(scene, published, *session, first) {
            watch.held();
        } else {
            watch.violated(format!(
                "session {session} got push {push} to {topics:?}, and was no member"
            ));
        }
    }
}

impl TopicMembers {
    fn given(&mut self, watch: &mut Watch<'_>, session: usize, outgoing: &Outgoing) {
        match outgoing {
            Outgoing::Joined { topic, .. } => {
                self.told.entry(session).or_default().insert(topic.clone());
            }
            Outgoing::Left(topic) => {
                if let Some(told) = self.told.get_mut(&session) {
                    told.remove(topic);
                }
            }
            Outgoing::Pushed(pushed) | Outgoing::Record(pushed) => {
                self.pushed(watch, session, pushed);
            }
            Outgoing::Hello { .. }
            | Outgoing::Received(_)
            | Outgoing::NotJoined(..)
            | Outgoing::NotWatched(..)
            | Outgoing::Presence(_)
            | Outgoing::TopicLog(..)
            | Outgoing::Log(_)
            | Outgoing::Gap(_)
            | Outgoing::Back(_) => {}
        }
    }

    fn pushed(&self, watch: &mut Watch<'_>, session: usize, pushed: &Pushed) {
        let Some(topic) = pushed.topic() else {
            return;
        };
        let told = self.told.get(&session);
        if told.is_some_and(|told| told.contains(topic)) {
            watch.held();
        } else {
            watch.violated(format!(
                "session {session} got push {:?} to {topic}, and was not told that it is a member",
                pushed.push()
            ));
        }
    }
}

/// Whether a session may be one of those for whom a push is that was handed in at this moment.
pub(super) fn may_be_meant(
    scene: Scene<'_>,
    published: &Published,
    session: usize,
    since: Instant,
) -> bool {
    let this = &scene.sessions()[session];
    match published.to() {
        Audience::Topics { topics, .. } => {
            (topics.iter()).any(|topic| may_be_member(scene, session, topic, since))
        }
        Audience::Everyone => true,
        Audience::User(_) | Audience::Users(_) | Audience::Connections { .. } => {
            published.is_for(this.user())
        }
    }
}

/// Whether a session may have become a member of a topic since a moment.
pub(super) fn joins_since(session: &Session, topic: &TopicId, moment: Instant) -> bool {
    let standing = session.standing(topic);
    let was_told = standing.told().is_some_and(|(since, _)| since <= moment);
    standing.may_have_been(moment) && !was_told
}

/// Whether a session may have been a member of a topic at any time since a moment.
pub(super) fn may_be_member(
    scene: Scene<'_>,
    session: usize,
    topic: &TopicId,
    since: Instant,
) -> bool {
    scene.sessions()[session]
        .standing(topic)
        .may_have_been(since)
        || may_be_told_to_join(scene, session, topic, since)
}

/// Whether what an application has wanted of a member at a moment may be under way still, or what the member is told
/// of it: for longer than its deadline, until the instance that has the member goes on, and until the member reads.
fn may_be_under_way(scene: Scene<'_>, session: usize, wanted: Instant, now: Instant) -> bool {
    let lasts = Config::DEADLINE_DEFAULT + scene.config().hello_grace * 2;
    let holder = scene.sessions()[session].life();
    let wakes = holder.and_then(|life| Some(scene.host(life.host)?.paused_until()));
    let unread = scene.ledger().find(wanted, Ledger::OPEN, |excuse| {
        let here = excuse.kind == FaultKind::SlowReader && excuse.scope == Scope::Session(session);
        here && excuse.from <= wanted + lasts
    });
    let later = wakes.into_iter().chain(unread.map(|unread| unread.until));
    let put_off = later.filter(|until| wanted <= *until).max();
    put_off.unwrap_or(wanted) + lasts >= now
}

/// Whether an application has wanted a session to join a topic, lately or for good.
fn may_be_told_to_join(scene: Scene<'_>, session: usize, topic: &TopicId, since: Instant) -> bool {
    scene.pushes().iter().any(|push| {
        let lately = push.keeps()
            || (push.times().iter()).any(|time| may_be_under_way(scene, session, time.at, since));
        *push.action() == Action::Join(topic.clone())
            && push.is_for(scene.sessions()[session].user())
            && lately
    })
}

/// Whether an application wants a session to leave a topic.
pub(super) fn may_be_told_to_leave(watch: &Watch<'_>, session: usize, topic: &TopicId) -> bool {
    let scene = watch.scene();
    scene.pushes().iter().any(|push| {
        let lately = (push.times().iter()).any(|time| {
            time.progress != HandInProgress::OnItsWay
                && may_be_under_way(scene, session, time.at, watch.now())
        });
        *push.action() == Action::Leave(topic.clone())
            && push.is_for(scene.sessions()[session].user())
            && lately
    })
}
