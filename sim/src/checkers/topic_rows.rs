//! `topic-rows`: after the faults the directory says of topics what is so, and at rest nothing.

use std::collections::{BTreeMap, BTreeSet};

use switchboard_core::directory::Operation;
use switchboard_core::id::{InstanceId, TopicId};
use switchboard_core::time::Instant;

use super::allowance::{differs, not_yet_noticed};
use super::convergence::REMOVED;
use crate::checker::{Checker, Scene, Watch};
use crate::ledger::{Excuse, FaultKind, Scope};
use crate::observed::{Change, Observed, Quiescence, Topic};

/// Where the schedule expects it, the instances that the directory names for a topic are those that have told
/// a terminal there that it is a member. And nothing is written but when that changes, and once in the time of a sweep,
/// as long as nothing is wrong.
#[derive(Clone, Debug, Default)]
pub struct TopicRows {
    /// When a row was last written although it said so already.
    swept: BTreeMap<(TopicId, InstanceId), Instant>,
}

impl Checker for TopicRows {
    fn name(&self) -> &'static str {
        "topic-rows"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Directory]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        let Observed::Executed(executed) = event else {
            return;
        };
        let Change::Topic { before, after } = executed.change else {
            return;
        };
        let (instance, topic) = match &executed.operation {
            Operation::EnterTopic {
                instance, topic, ..
            }
            | Operation::LeaveTopic {
                instance, topic, ..
            } => (*instance, topic),
            Operation::Register { .. }
            | Operation::Unregister { .. }
            | Operation::RemoveRow { .. }
            | Operation::KeepTopic { .. }
            | Operation::LookupTopic { .. }
            | Operation::Lookup { .. }
            | Operation::View
            | Operation::Claim { .. }
            | Operation::Renew { .. }
            | Operation::Release { .. }
            | Operation::ReadLease { .. }
            | Operation::Log { .. } => return,
        };
        // A sweep removes nothing.
        let enters = matches!(executed.operation, Operation::EnterTopic { .. });
        // What is dead is taken back by everybody who reads it.
        if before != after || instance != watch.scene().instance_of(executed.life) {
            return watch.held();
        }
        match differs(watch, executed.life).or_else(|| evicted(watch, instance)) {
            Some(excuse) => watch.excused(excuse),
            None if enters && self.is_sweep(watch, topic, instance) => watch.held(),
            None => watch.violated(format!(
                "i{} asks for what is so already, and nothing was wrong: {:?}",
                executed.life.host + 1,
                executed.operation
            )),
        }
    }

    fn at_quiescence(&mut self, quiescence: Quiescence, watch: &mut Watch<'_>) {
        let scene = watch.scene();
        let rows: BTreeSet<_> = (scene.topic_rows())
            .filter(|(topic, instance, _)| scene.is_entered(topic, *instance))
            .map(|(topic, instance, _)| (topic.clone(), instance))
            .collect();
        let members = match quiescence {
            Quiescence::Converged => members(scene),
            Quiescence::AtRest => BTreeSet::new(),
        };
        if let Some((topic, instance)) = members.difference(&rows).next() {
            if let Some(excuse) = evicted(watch, *instance) {
                return watch.excused(excuse);
            }
            return watch.violated(format!(
                "{instance:?} has members of {topic:?}, and no row says so"
            ));
        }
        let converged = quiescence == Quiescence::Converged;
        let left_over = rows.difference(&members);
        let mut left_over = left_over
            .filter(|(topic, instance)| !(converged && just_left(watch, topic, *instance)));
        if let Some((topic, instance)) = left_over.next() {
            watch.violated(format!(
                "{instance:?} has no members of {topic:?}, and a row says so"
            ));
        } else if !rows.is_empty() || quiescence == Quiescence::AtRest {
            watch.held();
        }
    }
}

impl TopicRows {
    /// Whether it may be the sweep that has come to a row. It comes to all connections first, which takes a part of its
    /// time.
    fn is_sweep(&mut self, watch: &Watch<'_>, topic: &TopicId, instance: InstanceId) -> bool {
        let now = watch.now();
        let sweep = watch.scene().config().sweep;
        let last = self.swept.insert((topic.clone(), instance), now);
        now >= Instant::START + sweep / 8 && last.is_none_or(|last| now >= last + sweep / 2)
    }
}

/// Whether a member of a topic at an instance has ended or left just now, or has gone without a sign, so that the row
/// is still to be removed.
fn just_left(watch: &Watch<'_>, topic: &TopicId, instance: InstanceId) -> bool {
    let (scene, since) = (watch.scene(), watch.now().before(REMOVED));
    let mut sessions = scene.sessions().iter().enumerate();
    sessions.any(|(number, session)| {
        let is_here = session.life().map(|life| scene.instance_of(life)) == Some(instance);
        let standing = session.standing(topic);
        let has_ended = session.ended().is_some_and(|ended| ended >= since);
        let lately = standing.may_have_been(since) && (has_ended || standing.has_left_since(since));
        is_here && (lately || !session.is_open() && not_yet_noticed(watch, number).is_some())
    })
}

/// What an instance says of topics was thrown away, and until just now it has not said all of it again.
fn evicted(watch: &Watch<'_>, instance: InstanceId) -> Option<Excuse> {
    watch.excuse(watch.now(), watch.now(), |excuse| {
        let is_of = |host| {
            let life = watch.scene().host(host).map(|host| host.life());
            life.is_some_and(|life| watch.scene().instance_of(life) == instance)
        };
        excuse.kind == FaultKind::RedisEvictedTopic
            && matches!(excuse.scope, Scope::Instance(host) if is_of(host))
    })
}

/// The instances with members of each topic, as these were told.
fn members(scene: Scene<'_>) -> BTreeSet<(TopicId, InstanceId)> {
    let open = scene.sessions().iter().filter(|session| session.is_open());
    open.flat_map(|session| {
        let instance = session.life().map(|life| scene.instance_of(life));
        let told = session
            .topics()
            .filter(|(_, standing)| standing.told().is_some());
        told.filter_map(move |(topic, _)| Some((topic.clone(), instance?)))
    })
    .collect()
}
