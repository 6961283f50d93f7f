//! Settings that all instances of a cluster should have alike. They are compared when two of them
//! open a link. What differs is told, by name, and nothing is refused for it: while a setting is
//! rolled out both values are there.

use std::time::Duration;

use crate::config::Config;
use crate::difference::Difference;
use crate::settings::{Scope, Setting, SettingTable};

/// The settings of one instance, each as a whole number, in the order of [`SETTINGS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Alike(pub(in crate::peers) [u64; SETTINGS.len()]);

/// The settings of the cluster, in their order on the wire.
const SETTINGS: [Setting; count()] = in_order();

impl Alike {
    pub(crate) fn of(config: &Config) -> Self {
        let mut values = [0; SETTINGS.len()];
        for (setting, number) in Config::SETTINGS.iter().zip(config.numbers()) {
            if let (Scope::Cluster(place), Some(number)) = (setting.scope, number) {
                values[place] = number;
            }
        }
        Self(values)
    }

    /// The time between two heartbeats.
    pub(crate) const fn link_heartbeat(&self) -> Duration {
        const PLACE: usize = place_of("link_heartbeat");
        Duration::from_millis(self.0[PLACE])
    }

    pub(crate) fn differences(&self, theirs: &Self) -> Vec<Difference> {
        let values = self.0.into_iter().zip(theirs.0);
        (SETTINGS.iter().zip(values))
            .filter(|(_, (ours, theirs))| ours != theirs)
            .map(|(setting, (ours, theirs))| Difference {
                setting: setting.name,
                ours: setting.unit.written(ours),
                theirs: setting.unit.written(theirs),
            })
            .collect()
    }
}

const fn count() -> usize {
    let (mut count, mut at) = (0, 0);
    while at < Config::SETTINGS.len() {
        if matches!(Config::SETTINGS[at].scope, Scope::Cluster(_)) {
            count += 1;
        }
        at += 1;
    }
    count
}

/// Puts each at its place. It does not compile if two have the same, if there is a gap,
/// or if one is no number.
const fn in_order() -> [Setting; count()] {
    let mut settings = [Config::SETTINGS[0]; count()];
    let mut taken = [false; count()];
    let mut at = 0;
    while at < Config::SETTINGS.len() {
        if let Scope::Cluster(place) = Config::SETTINGS[at].scope {
            assert!(!taken[place], "two settings have the same place");
            let unit = Config::SETTINGS[at].unit;
            assert!(unit.is_number(), "only numbers are compared");
            taken[place] = true;
            settings[place] = Config::SETTINGS[at];
        }
        at += 1;
    }
    settings
}

/// The place of a setting. It does not compile if none has this name.
const fn place_of(name: &str) -> usize {
    let mut place = 0;
    while !is_same(SETTINGS[place].name, name) {
        place += 1;
    }
    place
}

const fn is_same(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.as_bytes(), other.as_bytes());
    while let ([first, rest @ ..], [other_first, other_rest @ ..]) = (one, other) {
        if *first != *other_first {
            return false;
        }
        (one, other) = (rest, other_rest);
    }
    one.is_empty() && other.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named_with_both_values_as_they_are_written() {
        let config = Config::default();
        let other = Config {
            lease: Duration::from_millis(2500),
            push_bytes: 8 << 20,
            link_heartbeat: Duration::from_secs(60),
            ..Config::default()
        };
        let (ours, theirs) = (Alike::of(&config), Alike::of(&other));
        assert_eq!(ours.differences(&ours), []);
        let differences: Vec<_> = (ours.differences(&theirs).iter())
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            differences,
            [
                "lease is 10s here and 2500ms there",
                "push_bytes is 1048576 here and 8388608 there",
                "link_heartbeat is 3s here and 1m there",
            ]
        );
        assert_eq!(theirs.link_heartbeat(), other.link_heartbeat);
    }

    /// Another order, or another number of them, is another version of the protocol between instances.
    #[test]
    fn the_order_on_the_wire_is_that_of_the_version() {
        let names = SETTINGS.map(|setting| setting.name);
        assert_eq!(
            names,
            [
                "lease",
                "row_expiry",
                "repeat_memory",
                "push_bytes",
                "queue_bytes",
                "link_heartbeat",
                "log_expiry",
                "unused_log_expiry",
            ]
        );
    }
}
