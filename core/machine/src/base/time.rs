//! Time as the core sees it: handed in by the caller, never read from a clock.

use std::ops::Add;
use std::time::Duration;

/// A moment on the caller's monotonic clock, in nanoseconds since that clock's start.
///
/// Two instants compare only if they come from the same clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The start of the clock.
    pub const START: Self = Self(0);
    /// Later than anything that happens: "never".
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment `nanos` nanoseconds after the clock's start.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whether it is this moment by now, or later. What lasts until a moment is over when that has come: so it is for
    /// every deadline, lease and doubt.
    pub(crate) const fn has_come(self, now: Self) -> bool {
        self.0 <= now.0
    }

    /// The time since `earlier`, or zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The moment `span` before this one, or the clock's start.
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(span)))
    }

    /// The first moment from this one on that is a whole number of steps after the clock's start.
    pub(crate) fn next_step(self, step: Duration) -> Self {
        let step = nanos(step).max(1);
        self.0
            .checked_next_multiple_of(step)
            .map_or(Self::NEVER, Self)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates: a deadline too far away to express is "never".
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_come_in_it_and_not_before() {
        let [before, moment, after] = [6, 7, 8].map(Instant::from_nanos);
        let has_come = [before, moment, after].map(|now| moment.has_come(now));
        assert_eq!(has_come, [false, true, true]);
        assert!(!Instant::NEVER.has_come(after));
    }
}

/// A moment on the wall clock, in milliseconds since the Unix epoch.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct WallTime(u64);

impl WallTime {
    /// The moment `millis` milliseconds after the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }
}

/// Both clocks at one moment. Deadlines use `mono` alone; `wall` serves what people and tokens
/// state in calendar time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The caller's monotonic clock. It never goes back.
    pub mono: Instant,
    /// The wall clock. It may step.
    pub wall: WallTime,
}
