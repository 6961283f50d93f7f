//! `no-duplicate`: a terminal gets a push once at most.

use std::collections::{BTreeMap, BTreeSet};

use switchboard_core::config::Config;
use switchboard_core::id::TopicId;
use switchboard_core::position::Position;
use switchboard_core::time::Instant;

use super::allowance::is_follower;
use super::topic_members::joins_since;
use crate::checker::{Checker, Scene, Watch};
use crate::observed::{Life, Observed, Topic};
use crate::publishing::Published;
use crate::terminals::Session;

/// However often and wherever a push is repeated: no connection gets it twice. Of a record counts the position,
/// until the terminal is told of a gap or goes back; what a log may repeat is for `one-payload` to say.
#[derive(Clone, Debug, Default)]
pub struct NoDuplicate {
    /// Sessions, and the pushes that each got.
    got: BTreeSet<(usize, usize)>,
    /// The positions that each session was told without a break, of each log.
    records: BTreeMap<(usize, Option<TopicId>), Vec<Position>>,
    /// When the memory of pushes of each instance was full last: what comes then has the place of the oldest.
    full: BTreeMap<Life, Instant>,
}

impl Checker for NoDuplicate {
    fn name(&self) -> &'static str {
        "no-duplicate"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Frames, Topic::Turns]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        let (session, push, topic, position) = match event {
            Observed::Turned(life) => return self.turned(watch.scene(), *life),
            Observed::Seen {
                session,
                push: Some(push),
                topic,
                position,
                ..
            } => (session, push, topic, position),
            Observed::LogHeard { session, topic, .. } => {
                self.records.remove(&(*session, topic.clone()));
                return;
            }
            _ => return,
        };
        if let Some(position) = position {
            let key = (*session, topic.clone());
            let records = self.records.entry(key).or_default();
            if records.contains(position) {
                watch.violated(format!("session {session} got record {position} twice"));
            } else {
                records.push(*position);
                watch.held();
            }
            return;
        }
        let scene = watch.scene();
        let (session, push) = (*session, *push);
        if self.got.insert((session, push))
            || may_meet_again(scene, session, push)
            || self.may_be_forgotten(scene, session, push)
        {
            watch.held();
        } else {
            watch.violated(format!("session {session} got push {push} twice"));
        }
    }
}

impl NoDuplicate {
    /// Looks whether the memory of pushes is full, where it can be.
    fn turned(&mut self, scene: Scene<'_>, life: Life) {
        let most = scene.config().repeat_entries;
        if most >= Config::default().repeat_entries {
            return;
        }
        let levels = scene.host(life.host).and_then(|host| host.levels());
        let mut memory = levels.into_iter().flatten();
        if memory.any(|level| level.setting == "repeat_entries" && level.used >= most) {
            self.full.insert(life, scene.now());
        }
    }

    /// Whether an instance may have forgotten a push that one of its terminals has got: its time is over; its memory was full
    /// since, and it is repeated, or the terminal is a member of one of its topics; or, as a member of several of its topics, so many others
    /// were to be remembered.
    fn may_be_forgotten(&self, scene: Scene<'_>, session: usize, push: usize) -> bool {
        let (this, published) = (&scene.sessions()[session], &scene.pushes()[push]);
        let (first, config) = (published.first(), scene.config());
        let Some(life) = this.life() else {
            return false;
        };
        let full = self.full.get(&life).is_some_and(|full| *full >= first);
        let is_of_several = are_several(this, published);
        first + config.repeat_memory <= scene.now()
            || full && (!is_of_several || published.times().len() > 1)
            || is_of_several && others_take_its_place(scene, life, published)
    }
}

/// Whether the walks of pushes to several topics have come to so many members of these that the oldest may be forgotten, and
/// others than this one are among them.
fn others_take_its_place(scene: Scene<'_>, life: Life, push: &Published) -> bool {
    // What was handed in a little earlier may come later.
    let since = push.first().before(Config::DEADLINE_DEFAULT);
    let later = scene.pushes().iter().filter(|other| {
        let lately = other.times().iter().any(|time| time.at >= since);
        lately && other.id() != push.id()
    });
    let others: usize = later
        .map(|other| members_of_several(scene, life, other))
        .sum();
    let all = others + members_of_several(scene, life, push);
    others > 0 && all > scene.config().repeat_entries
}

/// How many terminals of an instance may have been members of several topics of a push.
fn members_of_several(scene: Scene<'_>, life: Life, push: &Published) -> usize {
    let here = (scene.sessions().iter()).filter(|session| session.life() == Some(life));
    here.filter(|session| are_several(session, push)).count()
}

/// Whether a terminal may have been a member of several topics of a push.
fn are_several(session: &Session, push: &Published) -> bool {
    let topics = session.topics();
    let of = topics.filter(|(topic, _)| push.topics().contains(topic));
    of.count() > 1
}

/// Whether a terminal may get a push to the logs of several topics again: as a member of topics whose logs it does not follow,
/// beside the records of others, or of one that it joins while the push is on its way.
fn may_meet_again(scene: Scene<'_>, session: usize, push: usize) -> bool {
    let (this, published) = (&scene.sessions()[session], &scene.pushes()[push]);
    let first = published.first();
    let joins = |topic: &TopicId| joins_since(this, topic, first);
    published.durable().is_some()
        && published.topics().len() > 1
        && (is_follower(published, this) || published.topics().iter().any(joins))
}
