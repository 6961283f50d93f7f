//! `no-duplicate`: a terminal gets a push once at most.

use std::collections::{BTreeMap, BTreeSet};

use switchboard_core::id::TopicId;
use switchboard_core::position::Position;

use super::allowance::is_follower;
use super::topic_members::joins_since;
use crate::checker::{Checker, Scene, Watch};
use crate::observed::{Observed, Topic};

/// However often and wherever a push is repeated: no connection gets it twice. Of a record counts the position,
/// until the terminal is told of a gap or goes back; what a log may repeat is for `one-payload` to say.
#[derive(Clone, Debug, Default)]
pub struct NoDuplicate {
    /// Sessions, and the pushes that each got.
    got: BTreeSet<(usize, usize)>,
    /// The positions that each session was told without a break, of each log.
    records: BTreeMap<(usize, Option<TopicId>), Vec<Position>>,
}

impl Checker for NoDuplicate {
    fn name(&self) -> &'static str {
        "no-duplicate"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Frames]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        let (session, push, topic, position) = match event {
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
        if self.got.insert((*session, *push)) || may_meet_again(watch.scene(), *session, *push) {
            watch.held();
        } else {
            watch.violated(format!("session {session} got push {push} twice"));
        }
    }
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
