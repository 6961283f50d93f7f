//! `ghost-debt`: a row that readers take for live has a connection.

use super::allowance::{differs, leases_last_longer};
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

    /// Twice what the swarm shows.
    fn excused_at_most(&self) -> f64 {
        0.06
    }

    fn on_event(&mut self, event: &Observed<'_>, watch: &mut Watch<'_>) {
        let Observed::Tick = event else {
            return;
        };
        let world = watch.world();
        // Until a socket that nobody reads is given up, and the lease of a dead instance has run out.
        let config = world.config();
        let given_up = config.close_timeout + config.directory_timeout * 3;
        let mut ghosts: Vec<_> = (world.each_live_row())
            .filter_map(|(connection, _)| {
                let session = world.session_of(connection)?;
                let ended = world.sessions()[session].ended()?;
                Some((connection, session, ended))
            })
            .collect();
        ghosts.sort_unstable();
        for (_, session, ended) in ghosts {
            let this = &world.sessions()[session];
            let lives = this.life().is_some_and(|life| world.lives(life));
            let limit = if lives {
                given_up
            } else {
                given_up + config.lease
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
