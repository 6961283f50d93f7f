//! A timer of which there is one.

use std::hash::Hasher;

use crate::base::fingerprint::Fingerprint;
use crate::time::Instant;

/// When a timer of which there is one is due. Entries of the [wheel](crate::base::timer) stay where
/// they are when it is set to another moment; those that come out at the wrong one are told apart
/// here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alarm(Option<Instant>);

impl Alarm {
    pub(crate) const UNSET: Self = Self(None);

    /// Sets it, unless it is set to an earlier moment. Returns whether the wheel needs an entry.
    pub(crate) fn set(&mut self, at: Instant) -> bool {
        let earlier = self.0.is_none_or(|set| at < set);
        if earlier {
            self.0 = Some(at);
        }
        earlier
    }

    /// Whether it is set.
    pub(crate) const fn is_set(self) -> bool {
        self.0.is_some()
    }

    /// An entry came out of the wheel. Returns whether the alarm is due; it is unset then.
    pub(crate) fn rings(&mut self, now: Instant) -> bool {
        self.rings_for(now).is_some()
    }

    /// The same. Returns for which moment it was set, if it is due.
    pub(crate) fn rings_for(&mut self, now: Instant) -> Option<Instant> {
        self.0.take_if(|set| *set <= now)
    }
}

impl Fingerprint for Alarm {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.0.fingerprint(now, hasher);
    }
}
