//! `orphan-debt`: a greeted connection is in the directory.

use super::allowance::{differs, evicted, may_be_closing};
use crate::checker::{Checker, Watch};
use crate::observed::Observed;

/// Whoever was greeted, without `degraded`, has a live row, but for what a fault explains.
#[derive(Clone, Copy, Debug)]
pub struct OrphanDebt;

impl Checker for OrphanDebt {
    fn name(&self) -> &'static str {
        "orphan-debt"
    }

    /// Twice what the swarm shows.
    fn excused_at_most(&self) -> f64 {
        0.05
    }

    fn on_event(&mut self, event: &Observed<'_>, watch: &mut Watch<'_>) {
        let Observed::Tick = event else {
            return;
        };
        let rows = watch.world().live_rows();
        for (session, this) in watch.world().sessions().iter().enumerate() {
            let (Some(id), Some(life), Some((_, false))) =
                (this.connection(), this.life(), this.greeted())
            else {
                continue;
            };
            if !this.is_open() {
                continue;
            }
            if rows.contains_key(&id) {
                watch.held();
            } else if let Some(excuse) =
                differs(watch, life).or_else(|| evicted(watch, session, watch.now()))
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
