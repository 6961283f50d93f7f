//! `orphan-debt`: a greeted connection is in the directory.

use super::allowance::{evicted, loses_rows, may_be_closing};
use crate::checker::{Checker, Watch};
use crate::observed::{Observed, Topic};

/// A terminal that was greeted, without `degraded`, has a live row, but for what a fault explains.
#[derive(Clone, Copy, Debug)]
pub struct OrphanDebt;

impl Checker for OrphanDebt {
    fn name(&self) -> &'static str {
        "orphan-debt"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Time]
    }

    /// Twice what the swarm shows.
    fn excused_at_most(&self) -> f64 {
        0.05
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        let Observed::Tick = event else {
            return;
        };
        let scene = watch.scene();
        let mut has_row = vec![false; scene.sessions().len()];
        for (connection, _) in scene.each_live_row() {
            if let Some(session) = scene.session_of(connection) {
                has_row[session] = true;
            }
        }
        for (session, this) in scene.sessions().iter().enumerate() {
            if !this.is_open() {
                continue;
            }
            let (Some(life), Some((_, false))) = (this.life(), this.greeted()) else {
                continue;
            };
            if has_row[session] {
                watch.held();
            } else if let Some(excuse) =
                loses_rows(watch, life).or_else(|| evicted(watch, session, watch.now()))
            {
                watch.excused(excuse);
            } else if !may_be_closing(watch, session) {
                watch.violated(format!(
                    "session {session} of {} at i{} was greeted and has no live row",
                    this.user(),
                    life.host + 1
                ));
            }
        }
    }
}
