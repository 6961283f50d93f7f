//! `dead-rows`: whoever reads a dead row removes it.

use std::collections::BTreeMap;

use switchboard_core::directory::Row;
use switchboard_core::id::{Epoch, InstanceId, TopicId};
use switchboard_core::message::Audience;
use switchboard_core::time::Instant;

use super::allowance::{concerns, recovery};
use crate::checker::{Checker, Watch};
use crate::ledger::Part;
use crate::observed::{HandIn, Observed, Topic};

/// When a push has its receipt without doubt, the rows of its users, or of its topics, are gone that are of an
/// instance whose lease had expired long before.
#[derive(Clone, Debug, Default)]
pub struct DeadRows {
    /// When instances ended.
    gone: BTreeMap<InstanceId, Instant>,
    /// What is to be gone when a call comes.
    read: Vec<DeadRead>,
}

/// What a push has read that is dead.
#[derive(Clone, Debug)]
struct DeadRead {
    hand_in: HandIn,
    /// Each with its session.
    rows: Vec<(usize, Row)>,
    /// What instances say of topics.
    topics: Vec<(TopicId, InstanceId, Epoch)>,
}

impl Checker for DeadRows {
    fn name(&self) -> &'static str {
        "dead-rows"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Lives, Topic::Pushes]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        match event {
            Observed::Gone(life) => {
                let instance = watch.scene().instance_of(*life);
                self.gone.insert(instance, watch.now());
            }
            Observed::Answered { hand_in, receipt } if !receipt.degraded => {
                self.read(watch, *hand_in);
            }
            _ => {}
        }
    }

    fn on_deadline(&mut self, what: u64, watch: &mut Watch<'_>) {
        let DeadRead {
            hand_in,
            rows,
            topics,
        } = &self.read[what as usize];
        let scene = watch.scene();
        let handed_in = &scene.pushes()[hand_in.push].times()[hand_in.time];
        let host = handed_in.life.host;
        let from = handed_in.at.before(recovery(scene.config()));
        let disturbed = watch.excuse(from, watch.now(), |excuse| {
            let part = excuse.kind.part();
            matches!(part, Part::Directory | Part::Process) && concerns(excuse, host)
        });
        if disturbed.is_some() || !scene.lives(handed_in.life) {
            return;
        }
        let left = (topics.iter()).find(|(topic, instance, epoch)| {
            (scene.topic_rows()).any(|row| row == (topic, *instance, *epoch))
        });
        if let Some((topic, instance, _)) = left {
            return watch.violated(format!(
                "push {} has read that {instance:?} has members of {topic:?}, which is gone, and left it there",
                hand_in.push
            ));
        }
        match rows.iter().find(|(session, row)| scene.row_of(*session) == Some(*row)) {
            None => watch.held(),
            Some((session, row)) => watch.violated(format!(
                "push {} has read the row of session {session} at {:?}, which is gone, and left it there",
                hand_in.push, row.instance
            )),
        }
    }
}

impl DeadRows {
    /// A push has read the rows of its users.
    fn read(&mut self, watch: &mut Watch<'_>, hand_in: HandIn) {
        let scene = watch.scene();
        let published = &scene.pushes()[hand_in.push];
        if *published.to() == Audience::Everyone {
            return;
        }
        let long_ago = (published.times()[hand_in.time].at).before(scene.config().lease * 2);
        let is_gone =
            |instance: &InstanceId| self.gone.get(instance).is_some_and(|at| *at < long_ago);
        let dead: Vec<(usize, Row)> = (scene.rows())
            .filter(|(_, row)| is_gone(&row.instance))
            .filter_map(|(connection, row)| Some((scene.session_of(connection)?, row)))
            .filter(|(session, _)| published.is_for(scene.sessions()[*session].user()))
            .collect();
        let of_push = |topic: &TopicId| match published.to() {
            Audience::Topics { topics, .. } => topics.contains(topic),
            Audience::User(_)
            | Audience::Users(_)
            | Audience::Connections { .. }
            | Audience::Everyone => false,
        };
        let topics: Vec<_> = (scene.topic_rows())
            .filter(|(topic, instance, _)| is_gone(instance) && of_push(topic))
            .map(|(topic, instance, epoch)| (topic.clone(), instance, epoch))
            .collect();
        if !dead.is_empty() || !topics.is_empty() {
            let removed = watch.now() + scene.config().directory_timeout * 2;
            watch.call_at(removed, self.read.len() as u64);
            self.read.push(DeadRead {
                hand_in,
                rows: dead,
                topics,
            });
        }
    }
}
