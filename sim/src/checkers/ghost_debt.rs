//! `ghost-debt`: a row that readers take for live has a connection.

use std::collections::BTreeMap;
use std::time::Duration;

use switchboard_core::time::Instant;

use super::allowance::{differs, given_up, leases_last_longer};
use crate::checker::{Checker, Watch};
use crate::observed::{Life, Observed, Topic};

/// Once a connection has ended its row is gone, or dead, within the lease.
#[derive(Clone, Debug, Default)]
pub struct GhostDebt {
    /// When instances ended.
    gone: BTreeMap<Life, Instant>,
}

/// What an instance sent last is executed within so long, whatever was slow.
const ON_ITS_WAY: Duration = Duration::from_secs(5);

impl Checker for GhostDebt {
    fn name(&self) -> &'static str {
        "ghost-debt"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Lives, Topic::Time]
    }

    /// Several times what the swarm shows.
    fn excused_at_most(&self) -> f64 {
        0.015
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        match event {
            Observed::Gone(life) => {
                self.gone.insert(*life, watch.now());
                return;
            }
            Observed::Tick => {}
            _ => return,
        }
        let scene = watch.scene();
        let given_up = given_up(scene.config());
        let mut ghosts = Vec::new();
        for (connection, row) in scene.each_live_row() {
            let Some(session) = scene.session_of(connection) else {
                let instance = row.instance;
                return watch.violated(format!("{instance:?} has a row of nobody's connection"));
            };
            ghosts.extend((scene.sessions()[session].ended()).map(|ended| (session, ended)));
        }
        ghosts.sort_unstable();
        for (session, ended) in ghosts {
            let this = &scene.sessions()[session];
            // Of an instance that is gone nobody removes it: it dies with the lease.
            let gone = this.life().and_then(|life| self.gone.get(&life));
            let dies = gone.map(|gone| *gone + (scene.config().lease + ON_ITS_WAY));
            let limit = dies.map_or(ended + given_up, |dies| dies.max(ended + given_up));
            if watch.now() <= limit {
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
