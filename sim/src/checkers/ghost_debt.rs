//! `ghost-debt`: a row that readers take for live has a connection.

use super::allowance::{differs, leases_last_longer};
use crate::checker::{Checker, Watch};
use crate::observed::Observed;

/// Once a connection has ended its row is gone, or dead, within the lease.
#[derive(Clone, Copy, Debug)]
pub struct GhostDebt;

impl Checker for GhostDebt {
    fn name(&self) -> &'static str {
        "ghost-debt"
    }

    /// Several times what the swarm shows.
    fn excused_at_most(&self) -> f64 {
        0.005
    }

    fn on_event(&mut self, event: &Observed<'_>, watch: &mut Watch<'_>) {
        let Observed::Tick = event else {
            return;
        };
        let world = watch.world();
        // Until the lease of a dead instance has run out, or a socket that nobody reads is given up.
        let config = world.config();
        let limit = config.lease + config.close_timeout + config.directory_timeout * 3;
        for id in world.live_rows().keys() {
            let Some(session) = world.session_of(*id) else {
                continue;
            };
            let this = &world.sessions()[session];
            let Some(ended) = this.ended() else {
                continue;
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
