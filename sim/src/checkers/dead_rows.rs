//! `dead-rows`: whoever reads a dead row removes it.

use std::collections::BTreeMap;

use switchboard_core::directory::Row;
use switchboard_core::id::InstanceId;
use switchboard_core::message::Audience;
use switchboard_core::time::Instant;

use super::allowance::{concerns, recovery};
use crate::checker::{Checker, Watch};
use crate::ledger::Part;
use crate::observed::{HandIn, Observed, Topic};

/// When a push has its receipt without doubt, the rows of its users are gone that are of an instance whose lease
/// had run out long before.
#[derive(Clone, Debug, Default)]
pub struct DeadRows {
    /// When instances ended.
    gone: BTreeMap<InstanceId, Instant>,
    /// Rows that are to be gone when a call comes, each with its session.
    read: Vec<(HandIn, Vec<(usize, Row)>)>,
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
        let (hand_in, rows) = &self.read[what as usize];
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
        let is_dead = |row: &Row| {
            self.gone
                .get(&row.instance)
                .is_some_and(|at| *at < long_ago)
        };
        let dead: Vec<(usize, Row)> = (scene.rows())
            .filter(|(_, row)| is_dead(row))
            .filter_map(|(connection, row)| Some((scene.session_of(connection)?, row)))
            .filter(|(session, _)| published.is_for(scene.sessions()[*session].user()))
            .collect();
        if !dead.is_empty() {
            let removed = watch.now() + scene.config().directory_timeout * 2;
            watch.call_at(removed, self.read.len() as u64);
            self.read.push((hand_in, dead));
        }
    }
}
