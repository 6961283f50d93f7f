//! Settings that instances can be run with in virtual time.

use std::time::Duration;

use switchboard_core::config::{Config, ConfigError};

use crate::schedule::MAX_TIME;

/// Checks that the settings fit together, and that times can be reckoned with that follow from them.
///
/// # Errors
///
/// Names the first field that does not fit, and what would.
pub(crate) fn check(config: &Config) -> Result<(), ConfigError> {
    let too_long = |(_, time): &(_, Duration)| *time >= MAX_TIME;
    match durations(config).into_iter().find(too_long) {
        Some((field, _)) => Err(ConfigError {
            field,
            rule: "must be below 1000000000s: no time of a schedule is as long",
        }),
        None => config.validate(),
    }
}

/// All times of the settings, each with the name of its field.
fn durations(config: &Config) -> [(&'static str, Duration); 15] {
    let Config {
        lease,
        lease_renewal,
        view_interval,
        row_expiry,
        sweep,
        directory_timeout,
        settle_rate: _,
        isolation,
        hello_grace,
        handshake_timeout,
        ping_interval,
        ping_timeout,
        close_timeout,
        queue_bytes: _,
        queue_frames: _,
        slow_consumer: _,
        connections_per_user: _,
        connections: _,
        push_bytes: _,
        push_users: _,
        pushes: _,
        pushes_per_user: _,
        receipt_terminals: _,
        broadcast_rate: _,
        broadcasts: _,
        repeat_memory,
        repeat_entries: _,
        link_queue_bytes: _,
        link_timeout,
        link_heartbeat,
        links: _,
    } = config;
    [
        ("lease", *lease),
        ("lease_renewal", *lease_renewal),
        ("view_interval", *view_interval),
        ("row_expiry", *row_expiry),
        ("sweep", *sweep),
        ("directory_timeout", *directory_timeout),
        ("isolation", *isolation),
        ("hello_grace", *hello_grace),
        ("handshake_timeout", *handshake_timeout),
        ("ping_interval", *ping_interval),
        ("ping_timeout", *ping_timeout),
        ("close_timeout", *close_timeout),
        ("repeat_memory", *repeat_memory),
        ("link_timeout", *link_timeout),
        ("link_heartbeat", *link_heartbeat),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Schedule;
    use crate::trial::Trial;

    #[test]
    fn a_time_that_is_too_long_is_named() {
        type Field = fn(&mut Config) -> &mut Duration;
        let fields: [(&str, Field); 4] = [
            ("lease", |config| &mut config.lease),
            ("lease_renewal", |config| &mut config.lease_renewal),
            ("hello_grace", |config| &mut config.hello_grace),
            ("link_heartbeat", |config| &mut config.link_heartbeat),
        ];
        for (name, field) in fields {
            for time in [MAX_TIME, Duration::MAX] {
                let mut config = Config::default();
                *field(&mut config) = time;
                let error = Trial::new().with_config(config).unwrap_err();
                assert_eq!(error.field, name);
            }
        }
    }

    #[test]
    fn settings_that_do_not_fit_together_are_named() {
        let config = Config {
            lease_renewal: Duration::from_secs(6),
            ..Config::default()
        };
        assert_eq!(check(&config).unwrap_err().field, "lease_renewal");
    }

    #[test]
    fn times_that_are_just_short_enough_can_be_run() {
        let longest = MAX_TIME - Duration::from_nanos(1);
        let config = Config {
            lease: longest,
            lease_renewal: longest / 2,
            view_interval: longest / 2,
            row_expiry: longest,
            sweep: longest / 2,
            directory_timeout: longest / 2,
            isolation: longest,
            hello_grace: longest,
            handshake_timeout: longest,
            ping_interval: longest,
            ping_timeout: longest,
            close_timeout: longest,
            repeat_memory: longest,
            link_timeout: longest,
            link_heartbeat: longest,
            ..Config::default()
        };
        let trial = Trial::watched_by(Vec::new()).with_config(config).unwrap();
        let text = "switchboard-sim 1  seed 1  instances 2\n\
                    1s client c1 connects i1 as ann\n2s push i2 ann m1\n3s cut i1 <-> i2\n\
                    3s client c1 closes clean\n3s redis down\n4s push i2 everyone m2\n\
                    5s kill i1 silent\n6s heal\n60s heal";
        let schedule = Schedule::parse(text).unwrap();
        assert_eq!(trial.run(&schedule).violation, None);
    }
}
