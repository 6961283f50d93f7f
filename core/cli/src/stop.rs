//! How long a server takes to stop.

use std::time::Duration;

use switchboard_core::config::Config;

use crate::load::Loaded;

/// How a server stops.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    /// How long terminals stay after the balancer is told.
    pub(crate) delay: Duration,
    /// The time over which they are closed.
    pub(crate) spread: Duration,
    /// How long the instances may take beyond that.
    pub(crate) rest: Duration,
}

impl Stop {
    /// As the settings say.
    pub(crate) fn of(loaded: &Loaded) -> Self {
        let server = &loaded.tables.server;
        Self::new(server.drain_delay, server.drain, &loaded.tables.core)
    }

    /// What is told to instances with these settings. After the last terminal is told, its closing
    /// handshake may take its time, its row is removed, which is tried twice, and then the lease.
    pub(crate) fn new(delay: Duration, spread: Duration, config: &Config) -> Self {
        let rest = config
            .close_timeout
            .saturating_add(config.directory_timeout.saturating_mul(3));
        Self {
            delay,
            spread,
            rest,
        }
    }

    /// When the process ends, whatever is left.
    pub(crate) fn longest(&self) -> Duration {
        let stop = self.delay.saturating_add(self.spread);
        stop.saturating_add(self.rest).saturating_add(MARGIN)
    }
}

/// What processor time, and threads that are stuck, may add.
const MARGIN: Duration = Duration::from_secs(1);
