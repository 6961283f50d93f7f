//! How often one may do something: so many times in a second.

use std::hash::Hasher;
use std::time::Duration;

use crate::base::fingerprint::Fingerprint;
use crate::time::Instant;

/// The time over which it is counted.
const SPAN: Duration = Duration::from_secs(1);

/// Counts what is done in spans of a second, each of which begins with the first that is done after the one before.
#[derive(Clone, Copy, Debug)]
pub struct ActPace {
    since: Instant,
    done: u32,
}

impl ActPace {
    /// Nothing was done.
    pub const NEW: Self = Self {
        since: Instant::START,
        done: 0,
    };

    /// Counts one more. Returns whether it is beyond so many in a second.
    pub fn is_exceeded(&mut self, now: Instant, most: u32) -> bool {
        if now.since(self.since) >= SPAN {
            *self = Self {
                since: now,
                done: 0,
            };
        }
        self.done = self.done.saturating_add(1);
        self.done > most
    }
}

impl Fingerprint for ActPace {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        if now.since(self.since) < SPAN {
            (self.since, u64::from(self.done)).fingerprint(now, hasher);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_too_often_may_be_done_again_a_second_later() {
        let mut pace = ActPace::NEW;
        let at = |millis| Instant::START + Duration::from_millis(millis);
        let mut exceeded = |millis| pace.is_exceeded(at(millis), 2);
        assert_eq!([5000, 5100, 5900].map(&mut exceeded), [false, false, true]);
        assert_eq!([6000, 6100, 6100].map(exceeded), [false, false, true]);
    }
}
