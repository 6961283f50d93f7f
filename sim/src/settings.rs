//! Settings that instances can be run with in virtual time.

use std::time::Duration;

use switchboard_core::config::{Config, ConfigError, SlowConsumer};
use switchboard_core::frame::{Outgoing, Payload};
use switchboard_core::settings::{SettingTable, Unit};
use switchboard_protocol::Protocol;

use crate::schedule::{MAX_TIME, Schedule};

/// What all clients speak.
pub(crate) const PROTOCOL: Protocol = Protocol::Plain;

/// The content of what a client is told.
pub(crate) fn content(outgoing: &Outgoing) -> Payload {
    let content = PROTOCOL.encode(outgoing.clone()).content();
    content.expect("the plain protocol has a frame for all that is meant")
}

/// The base of the delay on the way to the directory, and back, by default.
pub(crate) const REDIS_LATENCY: Duration = Duration::from_micros(200);
/// The base of the delay between instances by default.
pub(crate) const LINK_LATENCY: Duration = Duration::from_micros(300);

/// Checks that the settings fit together, and that times can be reckoned with that follow from them.
///
/// # Errors
///
/// Names the first field that does not fit, and what would.
pub(crate) fn check(config: &Config) -> Result<(), ConfigError> {
    let values = Config::SETTINGS.iter().zip(config.numbers());
    let mut times = values.filter(|(setting, _)| setting.unit == Unit::Time);
    let is_too_long = |millis| Duration::from_millis(millis) >= MAX_TIME;
    match times.find(|(_, millis)| millis.is_some_and(is_too_long)) {
        Some((setting, _)) => Err(ConfigError {
            field: setting.name,
            rule: "must be below 1000000000s: no time of a schedule is as long",
        }),
        None => config.validate(),
    }
}

/// Rows that are settled in a second, by all instances together: few, so that a handful of
/// connections takes as many steps as a hundred thousand do otherwise.
const SETTLE_RATE: u32 = 40;

/// The default settings, with all that hangs on the lease in proportion, and small limits if the
/// schedule wants them.
pub(crate) fn of_schedule(schedule: &Schedule) -> Config {
    let lease = schedule.lease;
    let defaults = match schedule.tight {
        None => Config::default(),
        Some(policy) => tight(policy),
    };
    Config {
        lease,
        lease_renewal: lease * 3 / 10,
        view_interval: lease / 10,
        isolation: lease * 2,
        directory_timeout: defaults.directory_timeout.min(lease / 2),
        settle_rate: SETTLE_RATE,
        repeat_entries: (schedule.remembers).map_or(defaults.repeat_entries, |most| most as usize),
        broadcast_rate: schedule.broadcast_rate.unwrap_or(defaults.broadcast_rate),
        log_check: schedule.log.check.unwrap_or(defaults.log_check),
        ..defaults
    }
}

/// The largest payload where limits are tight: a push with a short name is smaller.
pub(crate) const TIGHT_PUSH_BYTES: usize = 64;

/// Users whom a push may name where limits are tight.
pub(crate) const TIGHT_PUSH_USERS: usize = 3;

/// Limits that a few terminals and a burst of pushes reach.
fn tight(slow_consumer: SlowConsumer) -> Config {
    Config {
        slow_consumer,
        queue_frames: 4,
        queue_bytes: 256,
        push_bytes: TIGHT_PUSH_BYTES,
        push_users: TIGHT_PUSH_USERS,
        connections: 40,
        connections_per_user: 10,
        pushes: 12,
        pushes_per_user: 8,
        receipt_terminals: 20,
        // Enough for all that were there before, of which some are still dialled.
        links: 24,
        link_queue_bytes: 4096,
        connection_topics: 2,
        topic_members: 3,
        ..Config::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_do_not_fit_together_are_named() {
        let config = Config {
            lease_renewal: Duration::from_secs(6),
            ..Config::default()
        };
        assert_eq!(check(&config).unwrap_err().field, "lease_renewal");
    }
}
