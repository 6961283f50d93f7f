//! Settings that all instances of a cluster should have alike. They are compared when two of them
//! open a link. What differs is told, by name, and nothing is refused for it: while a setting is
//! rolled out both values are there.

use std::time::Duration;

use crate::config::{Config, duration};
use crate::difference::Difference;

/// The settings of one instance, each as a whole number, in the order of [`SETTINGS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Alike(pub(crate) [u64; SETTINGS.len()]);

/// What a setting counts.
enum Unit {
    Millis,
    Bytes,
}

/// Why each must be equal: doubt about an instance lasts for one lease of whoever doubts; whoever
/// writes a row last says when all rows of its user expire; a push is recognised as long as its
/// owner remembers it; and who takes a push promises that it fits everywhere. For how long a link
/// may be silent the longer time counts, so that unequal ones break no link.
const SETTINGS: [(&str, Unit); 6] = [
    ("lease", Unit::Millis),
    ("row_expiry", Unit::Millis),
    ("repeat_memory", Unit::Millis),
    ("push_bytes", Unit::Bytes),
    ("queue_bytes", Unit::Bytes),
    ("link_heartbeat", Unit::Millis),
];

impl Alike {
    pub(crate) fn of(config: &Config) -> Self {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self([
            millis(config.lease),
            millis(config.row_expiry),
            millis(config.repeat_memory),
            config.push_bytes as u64,
            config.queue_bytes as u64,
            millis(config.link_heartbeat),
        ])
    }

    /// The time between two heartbeats.
    pub(crate) const fn link_heartbeat(&self) -> Duration {
        let [.., millis] = self.0;
        Duration::from_millis(millis)
    }

    pub(crate) fn differences(&self, theirs: &Self) -> Vec<Difference> {
        let values = self.0.into_iter().zip(theirs.0);
        (SETTINGS.iter().zip(values))
            .filter(|(_, (ours, theirs))| ours != theirs)
            .map(|((setting, unit), (ours, theirs))| Difference {
                setting,
                ours: unit.write(ours),
                theirs: unit.write(theirs),
            })
            .collect()
    }
}

impl Unit {
    fn write(&self, value: u64) -> String {
        match self {
            Self::Millis => duration::format(Duration::from_millis(value)),
            Self::Bytes => value.to_string(),
        }
    }
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
}
