//! The limit of open files: each terminal is one.

use crate::Settings;

/// Files that are open beside terminals, about: listeners, links, directory, log.
const OTHERS: u64 = 64;

/// Raises the limit as far as it goes, and says so if fewer terminals fit than may connect.
pub(super) fn raise_limit(settings: &Settings, connections_given: bool) {
    let limit = match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => limit,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files cannot be raised: `ulimit -n` shows it");
            return;
        }
    };
    let workers = workers_meant(settings.workers);
    let terminals = (settings.core.connections as u64).saturating_mul(workers);
    if terminals.saturating_add(OTHERS) <= limit {
        return;
    }
    let (connections, terminals) = (settings.core.connections, limit.saturating_sub(OTHERS));
    if connections_given {
        tracing::warn!(
            limit,
            connections,
            workers,
            "open files are limited: about {terminals} terminals fit, fewer than `connections` allows; \
             raise the limit (`ulimit -Hn`, or LimitNOFILE= of systemd)"
        );
    } else {
        tracing::info!(
            limit,
            "open files are limited: about {terminals} terminals fit"
        );
    }
}

/// As many as the setting means.
fn workers_meant(setting: usize) -> u64 {
    match setting {
        0 => std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64),
        workers => workers as u64,
    }
}
