//! Pauses between attempts.

use std::time::Duration;

/// Pauses that double, each drawn at random between half and all of its span, so that instances
/// that lost the same server do not come back in step.
pub(crate) struct Backoff {
    span: Duration,
}

impl Backoff {
    /// The first pause, at most. Most interruptions are restarts, and are over in a second.
    const FIRST: Duration = Duration::from_millis(50);
    /// The longest pause. It bounds how much later than the server its clients are back.
    const LAST: Duration = Duration::from_secs(2);

    pub(crate) const fn new() -> Self {
        Self { span: Self::FIRST }
    }

    pub(crate) fn next_pause(&mut self) -> Duration {
        let span = self.span;
        self.span = (span * 2).min(Self::LAST);
        drawn_pause(span)
    }
}

/// A pause that is drawn at random between half and all of its span.
pub(super) fn drawn_pause(span: Duration) -> Duration {
    let part = f64::from(u16::from_le_bytes(crate::random_bytes())) / f64::from(u16::MAX);
    span / 2 + (span / 2).mul_f64(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_never_vanish() {
        let mut backoff = Backoff::new();
        let pauses: Vec<Duration> = (0..20).map(|_| backoff.next_pause()).collect();
        assert!(pauses[0] >= Backoff::FIRST / 2 && pauses[0] <= Backoff::FIRST);
        for pause in &pauses[10..] {
            assert!(
                *pause >= Backoff::LAST / 2 && *pause <= Backoff::LAST,
                "{pause:?}"
            );
        }
    }
}
