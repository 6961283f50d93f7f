//! `ghost-debt`: a row that readers take for live has a connection.

use super::allowance::{differs, given_up, leases_last_longer};
use crate::checker::{Checker, Watch};
use crate::observed::{Observed, Topic};

/// Once a connection has ended its row is gone, or dead, within the lease.
#[derive(Clone, Copy, Debug)]
pub struct GhostDebt;

impl Checker for GhostDebt {
    fn name(&self) -> &'static str {
        "ghost-debt"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Time]
    }

    /// Several times what the swarm shows.
    fn excused_at_most(&self) -> f64 {
        0.015
    }

    fn on_event(&mut self, event: &Observed<'_>, watch: &mut Watch<'_>) {
        let Observed::Tick = event else {
            return;
        };
        let world = watch.world();
        let given_up = given_up(world.config());
        let mut ghosts = Vec::new();
        for (connection, row) in world.each_live_row() {
            let Some(session) = world.session_of(connection) else {
                let instance = row.instance;
                return watch.violated(format!("{instance:?} has a row of nobody's connection"));
            };
            ghosts.extend((world.sessions()[session].ended()).map(|ended| (session, ended)));
        }
        ghosts.sort_unstable();
        for (session, ended) in ghosts {
            let this = &world.sessions()[session];
            let lives = this.life().is_some_and(|life| world.lives(life));
            // Of an instance that is gone nobody removes it: it dies with the lease.
            let limit = if lives {
                given_up
            } else {
                given_up + world.config().lease
            };
            if watch.now() <= ended + limit {
                watch.held();
                continue;
            }
            let excuse = this.life().and_then(|life| differs(watch, life));
            match excuse.or_else(|| leases_last_longer(watch)) {
                Some(excuse) => watch.excused(excuse),
                None => watch.violated(format!(
                    "session {session} of {} ended and has a live row",
                    this.user()
                )),
            }
        }
    }
}
