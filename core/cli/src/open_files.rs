//! The limit of open files: each terminal is one, and so is every other socket.

use switchboard_driver::{Settings, Sockets};

/// Terminals below which a server is hardly meant to have no more.
const FEW: usize = 256;

/// Raises the limit as far as it goes, holds the listeners to what fits, and says so if fewer terminals
/// fit than may connect.
pub(crate) fn raise_limit(settings: &mut Settings, connections_given: bool) {
    let limit = match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => limit,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files cannot be raised: `ulimit -n` shows it");
            return;
        }
    };
    let workers = workers_meant(settings.process.workers);
    let descriptors = usize::try_from(limit).unwrap_or(usize::MAX);
    settings.sockets = Sockets::within(descriptors, workers);
    let terminals = settings.sockets.terminals;
    let connections = settings.core.connections;
    if connections.saturating_mul(workers) <= terminals {
        return;
    }
    if connections_given || terminals < FEW {
        tracing::warn!(
            limit,
            connections,
            workers,
            "open files are limited: {terminals} terminals fit, fewer than `connections` allows; \
             raise the limit (`ulimit -Hn`, or LimitNOFILE= of systemd)"
        );
    } else {
        tracing::info!(limit, "open files are limited: {terminals} terminals fit");
    }
}

/// As many as the setting means.
fn workers_meant(setting: usize) -> usize {
    match setting {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    }
}
