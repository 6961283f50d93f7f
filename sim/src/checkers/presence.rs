//! `presence-true`: what a member is told of the others is so. `no-double-leave`: each coming and going is told once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use switchboard_core::config::Config;
use switchboard_core::frame::{Outgoing, Presence, PresenceNews};
use switchboard_core::id::{TopicId, UserId};
use switchboard_core::time::Instant;
use switchboard_core::topic::TopicWish;

use super::lateness::stood_still;
use super::topic_members::may_be_told_to_leave;
use crate::checker::{Checker, Scene, Watch};
use crate::ledger::{Excuse, FaultKind, Part, Scope};
use crate::observed::{Observed, Quiescence, Topic};
use crate::terminals::Session;

/// A snapshot and the changes since are what is so, within some seconds of the last change and of the last fault; and
/// nobody is said to have left who is there, or was until a grace ago.
///
/// What nobody watches is not read any more.
///
/// A fault explains that somebody is said to have left only if it took his instance's standing in the directory, or
/// what the directory knows: an instance that does not answer has all its members.
#[derive(Clone, Debug, Default)]
pub struct PresenceTrue {
    told: ToldWatchers,
    /// When somebody was last seen to be a member who is none any more.
    last_there: BTreeMap<(TopicId, UserId), Instant>,
    /// When the first session of a user became a member.
    came: BTreeMap<(TopicId, UserId), Instant>,
    /// When something last changed in a topic.
    changed: BTreeMap<TopicId, Instant>,
    /// Sessions that have wanted to watch a topic, and when that ended.
    watching: BTreeMap<(usize, TopicId), Option<Instant>>,
}

/// Of a topic a watcher gets a snapshot first. Each change has the next sequence, a user that comes was not there, and
/// one that leaves was.
#[derive(Clone, Debug, Default)]
pub struct NoDoubleLeave(ToldWatchers);

/// What sessions know of the topics that they watch.
#[derive(Clone, Debug, Default)]
struct ToldWatchers(BTreeMap<(usize, TopicId), Known>);

#[derive(Clone, Debug)]
struct Known {
    sequence: u64,
    /// `None`: how many they are is known alone.
    users: Option<BTreeSet<UserId>>,
}

/// How long a change takes to be told, beside the grace: two readings, the second of which may wait for its deadline.
const WITHIN: Duration =
    (Config::PRESENCE_PERIOD.saturating_mul(2)).saturating_add(Config::PRESENCE_DEADLINE);

impl ToldWatchers {
    /// Takes in what a session is told. Returns what is wrong with that.
    fn told(&mut self, session: usize, presence: &Presence) -> Result<(), String> {
        let of = (session, presence.topic.clone());
        let sequence = presence.sequence;
        let (joined, left) = match &presence.news {
            PresenceNews::Users(users) => {
                let users = Some(users.iter().cloned().collect());
                self.0.insert(of, Known { sequence, users });
                return Ok(());
            }
            PresenceNews::Count(_) => {
                let users = None;
                self.0.insert(of, Known { sequence, users });
                return Ok(());
            }
            PresenceNews::Changed { joined, left } => (joined, left),
        };
        let Some(known) = self.0.get_mut(&of) else {
            return Err("has no snapshot".to_owned());
        };
        let expected = known.sequence + 1;
        known.sequence = sequence;
        let Some(users) = &mut known.users else {
            return Err("knows how many there are, and no names".to_owned());
        };
        let again = joined.iter().find(|user| !users.insert((*user).clone()));
        let gone = left.iter().find(|user| !users.remove(*user));
        match (again, gone) {
            _ if sequence != expected => Err(format!("expects {expected}")),
            (Some(user), _) => Err(format!("knows that {user} is there")),
            (None, Some(user)) => Err(format!("knows that {user} is not there")),
            (None, None) => Ok(()),
        }
    }

    /// A session is told that it is no member. What was queued before that comes before it, though the client has left.
    fn leave(&mut self, session: usize, topic: &TopicId) {
        self.0.remove(&(session, topic.clone()));
    }

    fn take_in(&mut self, event: &Observed) -> Option<(usize, Result<(), String>)> {
        let Observed::Given { session, outgoing } = event else {
            return None;
        };
        match outgoing {
            Outgoing::Presence(presence) => Some((*session, self.told(*session, presence))),
            Outgoing::Left(topic) => {
                self.leave(*session, topic);
                None
            }
            _ => None,
        }
    }
}

impl Checker for NoDoubleLeave {
    fn name(&self) -> &'static str {
        "no-double-leave"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Words]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        match self.0.take_in(event) {
            None => {}
            Some((_, Ok(()))) => watch.held(),
            Some((session, Err(what))) => {
                watch.violated(format!("session {session} is told {event:?}, and {what}"));
            }
        }
    }
}

impl Checker for PresenceTrue {
    fn name(&self) -> &'static str {
        "presence-true"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Words, Topic::Sessions, Topic::Time]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        self.watches(event, watch.now());
        let _judged_elsewhere = self.told.take_in(event);
        match event {
            Observed::Given { session, outgoing } => match outgoing {
                Outgoing::Presence(presence) => {
                    if let PresenceNews::Changed { left, .. } = &presence.news {
                        for user in left {
                            self.said_to_have_left(watch, *session, &presence.topic, user);
                        }
                    }
                }
                Outgoing::Joined { topic, .. } => self.begins(watch.scene(), *session, topic),
                Outgoing::Left(topic) => self.ends(watch.scene(), *session, topic),
                _ => {}
            },
            Observed::Wished {
                session,
                wish: TopicWish::Leave(topic),
            } => self.ends(watch.scene(), *session, topic),
            // It may leave before it is told that it is a member.
            Observed::Wished {
                session,
                wish:
                    TopicWish::Join(topic) | TopicWish::JoinAllowed(topic) | TopicWish::Watch(topic),
            } => self.begins(watch.scene(), *session, topic),
            Observed::Tick => self.are_watched(watch),
            Observed::Ended { session } => {
                let scene = watch.scene();
                let topics = scene.sessions()[*session].topics();
                for topic in topics.map(|(topic, _)| topic.clone()).collect::<Vec<_>>() {
                    self.ends(scene, *session, &topic);
                }
            }
            _ => {}
        }
    }

    fn at_quiescence(&mut self, quiescence: Quiescence, watch: &mut Watch<'_>) {
        match quiescence {
            Quiescence::Converged => {}
            Quiescence::AtRest => return,
        }
        let scene = watch.scene();
        let lasts = scene.config().presence_grace + WITHIN;
        for ((session, topic), known) in &self.told.0 {
            let this = &scene.sessions()[*session];
            let settled = (self.changed.get(topic)).is_none_or(|at| *at + lasts <= watch.now());
            // What waits for a terminal is told, whether it reads that or not.
            if !this.is_open() || this.standing(topic).told().is_none() || !settled {
                continue;
            }
            let there = members(scene, topic);
            // Instances whose word of the topic is thrown away are not asked, until they say it again.
            let evicted = || {
                watch.excuse(watch.now().before(lasts), watch.now(), |excuse| {
                    excuse.kind == FaultKind::RedisEvictedTopic
                })
            };
            match &known.users {
                Some(users) if *users != there => match evicted() {
                    Some(excuse) => watch.excused(excuse),
                    None => watch.violated(format!(
                        "session {session} is told that {users:?} are members of {topic:?}, who are {there:?}"
                    )),
                },
                Some(_) | None => watch.held(),
            }
        }
    }
}

impl PresenceTrue {
    /// Takes down who watches what.
    fn watches(&mut self, event: &Observed, now: Instant) {
        match event {
            Observed::Wished {
                session,
                wish: TopicWish::Watch(topic) | TopicWish::WatchAsMember(topic),
            } => {
                self.watching.insert((*session, topic.clone()), None);
            }
            // That it is told of it may be the answer to an earlier wish.
            Observed::Wished {
                session,
                wish: TopicWish::Leave(topic),
            } => {
                if let Some(until) = self.watching.get_mut(&(*session, topic.clone())) {
                    until.get_or_insert(now);
                }
            }
            Observed::Ended { session } => {
                let its = self
                    .watching
                    .iter_mut()
                    .filter(|((of, _), _)| of == session);
                its.for_each(|(_, until)| _ = until.get_or_insert(now));
            }
            _ => {}
        }
    }

    /// No instance reads topics that none of its terminals watches, but for one that has just ended that.
    fn are_watched(&self, watch: &mut Watch<'_>) {
        let scene = watch.scene();
        let lately = watch.now().before(WITHIN);
        for host in scene.hosts().filter(|host| host.runs()) {
            let Some(tables) = host.tables() else {
                continue;
            };
            if tables.watched_topics == 0 || stood_still(watch, host.number(), lately, watch.now())
            {
                continue;
            }
            let here = self.watching.iter().filter(|((session, _), until)| {
                let is_its = scene.sessions()[*session].life() == Some(host.life());
                is_its && until.is_none_or(|until| until >= lately)
            });
            let here: BTreeSet<_> = here.map(|((_, topic), _)| topic).collect();
            if tables.watched_topics > here.len() {
                watch.violated(format!(
                    "i{} reads the members of {} topics, and {} are watched",
                    host.number() + 1,
                    tables.watched_topics,
                    here.len()
                ));
            } else {
                watch.held();
            }
        }
    }

    /// A session is said to be no member of a topic. That it was none before says nothing new; and a visit that is shorter
    /// than the time between two readings may be seen by none.
    fn ends(&mut self, scene: Scene<'_>, session: usize, topic: &TopicId) {
        let this = &scene.sessions()[session];
        let key = (topic.clone(), this.user().clone());
        let came = self.came.get(&key).copied();
        let was_short = came.is_some_and(|came| scene.now().since(came) < Config::PRESENCE_PERIOD);
        if !this.standing(topic).may_have_been(scene.now()) {
            return;
        }
        match was_short && self.last_there.contains_key(&key) {
            true => drop(self.changed.insert(topic.clone(), scene.now())),
            false => self.change(scene, session, topic),
        }
    }

    /// A session wants to be a member of a topic, or is told that it is one.
    fn begins(&mut self, scene: Scene<'_>, session: usize, topic: &TopicId) {
        let user = scene.sessions()[session].user();
        let is_there = |other: &Session| {
            other.user() == user && other.is_open() && other.standing(topic).told().is_some()
        };
        let others = scene.sessions().iter().enumerate();
        let mut others = others.filter(|(at, _)| *at != session);
        if !others.any(|(_, other)| is_there(other)) {
            self.came.insert((topic.clone(), user.clone()), scene.now());
        }
        self.changed.insert(topic.clone(), scene.now());
    }

    /// Something has changed between a session and a topic.
    fn change(&mut self, scene: Scene<'_>, session: usize, topic: &TopicId) {
        self.changed.insert(topic.clone(), scene.now());
        let user = scene.sessions()[session].user().clone();
        self.last_there.insert((topic.clone(), user), scene.now());
    }

    fn said_to_have_left(
        &self,
        watch: &mut Watch<'_>,
        session: usize,
        topic: &TopicId,
        user: &UserId,
    ) {
        let scene = watch.scene();
        let grace = scene.config().presence_grace;
        let now = watch.now();
        let is_there = |since: Instant| {
            let mut sessions = scene.sessions().iter().enumerate();
            let there = sessions.find(|(number, other)| {
                let told = other.standing(topic).told();
                // A degraded member may be missed.
                let told = told.is_some_and(|(at, degraded)| !degraded && at <= since);
                // That it has left is told behind what it does not read.
                let leaves = || may_be_told_to_leave(watch, *number, topic);
                other.user() == user && other.is_open() && told && !leaves()
            });
            there.map(|(_, other)| other)
        };
        let begun = now.before(grace + WITHIN);
        let lately = (self.last_there.get(&(topic.clone(), user.clone())))
            .is_some_and(|at| *at > now.before(grace))
            || is_there(now.before(WITHIN)).is_some();
        let there = is_there(begun);
        if there.is_none() && !lately {
            return watch.held();
        }
        let holder = there.and_then(|other| other.life()).map(|life| life.host);
        let excuse = watch.excuse(begun.before(scene.config().lease * 2), now, |excuse| {
            // What is thrown away of a topic is as if nobody there were a member.
            let is_evicted = excuse.kind == FaultKind::RedisEvictedTopic;
            (excuse.kind.is_fault() || is_evicted)
                && match there {
                    Some(_) => takes_standing(excuse, holder),
                    // He was missing before he left.
                    None => true,
                }
        });
        match excuse {
            Some(excuse) => watch.excused(excuse),
            None => watch.violated(format!(
                "session {session} is told that {user} has left {topic:?}, who was there until {:?} ago",
                match (there, self.last_there.get(&(topic.clone(), user.clone()))) {
                    (None, Some(at)) => now.since(*at),
                    (Some(_), _) | (None, None) => Duration::ZERO,
                }
            )),
        }
    }
}

/// Who is a member of a topic, as its terminals were told.
fn members(scene: Scene<'_>, topic: &TopicId) -> BTreeSet<UserId> {
    let members = (scene.sessions().iter())
        .filter(|session| session.is_open() && session.standing(topic).told().is_some());
    members.map(|session| session.user().clone()).collect()
}

/// Whether a fault may have taken an instance for dead, or what the directory knows of it.
fn takes_standing(excuse: &Excuse, holder: Option<usize>) -> bool {
    let is_its =
        |excuse: &Excuse| holder.is_some_and(|holder| excuse.scope == Scope::Instance(holder));
    match excuse.kind.part() {
        Part::Directory => excuse.kind != FaultKind::RedisTrip,
        Part::Process | Part::Life => is_its(excuse),
        Part::NoExcuse => excuse.kind == FaultKind::RedisEvictedTopic && is_its(excuse),
        Part::Links | Part::Terminal => false,
    }
}
