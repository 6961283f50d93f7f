//! When nothing can have changed for the checkers that look at the whole world: they need not look.

use std::time::Duration;

use switchboard_core::config::Config;
use switchboard_core::directory::SeenLease;
use switchboard_core::time::Instant;

use crate::ledger::{Ledger, Part};
use crate::observed::{Change, Observed};

/// What has changed last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calm {
    changed: Instant,
    /// Leases that had not expired at the last tick.
    leases: usize,
    told: Instant,
}

/// Time is told so often in any case: rows expire without a sign.
const AT_LEAST: Duration = Duration::from_secs(60);

impl Calm {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            changed: now,
            leases: 0,
            told: now,
        }
    }

    /// Notes that what happened may change how the directory and the connections compare.
    pub(super) fn note(&mut self, now: Instant, event: &Observed) {
        let changes = match event {
            Observed::Executed(executed) => match &executed.change {
                Change::None => false,
                Change::Row { before, after } => before != after,
                Change::Topic { before, after } => before != after,
                Change::Lease { before, after } => terms(before.as_ref()) != terms(after.as_ref()),
            },
            Observed::Started(_)
            | Observed::Gone(_)
            | Observed::Livelocked(_)
            | Observed::Connecting { .. }
            | Observed::Accepted { .. }
            | Observed::Refused { .. }
            | Observed::NobodyThere { .. }
            | Observed::Greeted { .. }
            | Observed::Ended { .. }
            | Observed::SeenClose { .. }
            | Observed::NotMe { .. } => true,
            Observed::FaultBegan(entry) | Observed::FaultEnded(entry) => {
                entry.kind.part() != Part::NoExcuse
            }
            Observed::Turned(_)
            | Observed::Viewed { .. }
            | Observed::Written { .. }
            | Observed::Seen { .. }
            | Observed::LogHeard { .. }
            | Observed::Confirmed { .. }
            | Observed::Heard { .. }
            | Observed::Wished { .. }
            | Observed::Asked { .. }
            | Observed::Told { .. }
            | Observed::Given { .. }
            | Observed::Closing { .. }
            | Observed::Closed { .. }
            | Observed::Noticed { .. }
            | Observed::HandedIn(_)
            | Observed::Answered { .. }
            | Observed::PushRefused { .. }
            | Observed::Logged { .. }
            | Observed::StrangerSaid { .. }
            | Observed::Met { .. }
            | Observed::Carried { .. }
            | Observed::Took { .. }
            | Observed::Gave { .. }
            | Observed::Tick => false,
        };
        if changes {
            self.changed = now;
        }
    }

    /// Whether checkers must be told that time passes: something changed not long ago, or an excuse
    /// has just ended. Asked at each tick, with the number of leases that have not expired.
    pub(super) fn must_tell_time(
        &mut self,
        now: Instant,
        leases: usize,
        config: &Config,
        ledger: &Ledger,
    ) -> bool {
        if leases != std::mem::replace(&mut self.leases, leases) {
            self.changed = now;
        }
        // What is wrong is so at the latest when everything has had the time to be noticed.
        let noticed = (config.lease + config.directory_timeout) * 3 + config.close_timeout;
        let excused = (ledger.entries().iter())
            .filter(|entry| entry.kind.part() != Part::NoExcuse)
            .map(|entry| entry.until)
            .max();
        let must = self.changed + noticed >= now
            || excused.is_some_and(|until| until + noticed >= now)
            || self.told + AT_LEAST <= now;
        if must {
            self.told = now;
        }
        must
    }
}

/// What a lease says of rows.
fn terms(seen: Option<&SeenLease>) -> impl PartialEq {
    seen.map(|seen| (seen.lease.epoch, seen.lease.floor, seen.remaining.is_some()))
}
