//! Processor time of servers and of Redis.

use std::time::Duration;

use serde::Serialize;
use switchboard_tests::sockets::processor_time;

use crate::LoadOptions;

/// What the processes that were named have used, up to a moment or between two; zero of those that were not.
#[derive(Clone, Copy)]
pub(crate) struct Spent {
    pub(crate) servers: Duration,
    redis: Duration,
}

impl Spent {
    pub(crate) fn until_now(options: &LoadOptions) -> Self {
        Self {
            servers: options.pid.iter().map(|pid| processor_time(*pid)).sum(),
            redis: options.redis_pid.map_or(Duration::ZERO, processor_time),
        }
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            servers: self.servers.saturating_sub(earlier.servers),
            redis: self.redis.saturating_sub(earlier.redis),
        }
    }
}

/// Seconds of processor time in each part of a run.
#[derive(Serialize)]
pub(crate) struct SecondsOfParts {
    connecting: Seconds,
    idle: Seconds,
    pushing: Seconds,
}

#[derive(Serialize)]
struct Seconds {
    servers: f64,
    redis: f64,
}

impl SecondsOfParts {
    pub(crate) fn of(connecting: Spent, idle: Spent, pushing: Spent) -> Self {
        let seconds = |spent: Spent| Seconds {
            servers: spent.servers.as_secs_f64(),
            redis: spent.redis.as_secs_f64(),
        };
        Self {
            connecting: seconds(connecting),
            idle: seconds(idle),
            pushing: seconds(pushing),
        }
    }
}
