//! What several invariants allow for.

use std::time::Duration;

use switchboard_core::config::Config;

use crate::checker::Watch;
use crate::ledger::{Excuse, FaultKind, Scope};

/// How long after a fault of the directory rows may still be missing or left over.
pub(super) fn recovery(config: &Config) -> Duration {
    config.lease + config.directory_timeout * 2
}

/// Whether an instance may have given up a connection although its Close frame still waits:
/// because it drains, because the terminal is too slow or kicked, or because its token has run out.
pub(super) fn may_be_closing(watch: &Watch<'_>, session: usize) -> bool {
    let now = watch.now();
    let holder = watch.world().sessions()[session].life();
    let holder = holder.map(|life| Scope::Instance(life.host));
    watch
        .excuse(now, now, |excuse| match excuse.kind {
            FaultKind::Drain => Some(excuse.scope) == holder,
            FaultKind::SlowReader | FaultKind::Kicked | FaultKind::TokenExpired => {
                excuse.scope == Scope::Session(session)
            }
            _ => false,
        })
        .is_some()
}

/// What explains that the directory and an instance differ.
pub(super) fn differs(watch: &Watch<'_>, host: usize) -> Option<Excuse> {
    let from = watch.now().before(recovery(watch.world().config()));
    watch.excuse(from, watch.now(), |excuse| {
        let here = match excuse.scope {
            Scope::All => true,
            Scope::Instance(other) => other == host,
            Scope::Between(..) | Scope::Session(_) => false,
        };
        let paused = [FaultKind::Pause, FaultKind::LongPause].contains(&excuse.kind);
        here && (excuse.kind.is_of_directory() || paused)
    })
}

/// The eviction of a session's row, if it has not been written again: the sweep does that.
pub(super) fn evicted(watch: &Watch<'_>, session: usize) -> Option<Excuse> {
    let config = watch.world().config();
    let swept = config.sweep + recovery(config);
    let now = watch.now();
    watch.excuse(now, now, |excuse| {
        excuse.kind == FaultKind::RedisEvicted
            && excuse.scope == Scope::Session(session)
            && now <= excuse.from + swept
    })
}

/// A clock of the directory that jumped back: leases last longer by as much.
pub(super) fn leases_last_longer(watch: &Watch<'_>) -> Option<Excuse> {
    let from = watch.now().before(recovery(watch.world().config()));
    watch.excuse(from, watch.now(), |excuse| {
        excuse.kind == FaultKind::RedisClockBack
    })
}
