//! How far away the other end of a link is.
//!
//! The handshake is measured, and then each heartbeat: it says when it left and how long the other's last
//! one has been here, so that either end learns how long both ways took, whatever lay between them. The
//! shortest counts: a longer one holds a moment's stall of an instance or of the network, and one slow
//! handshake would shorten the time that terminals have for as long as the link lives.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use crate::base::fingerprint::Fingerprint;
use crate::peers::wire::{Echo, Pulse};
use crate::time::Instant;

/// What is known of a link's round trip.
#[derive(Clone, Debug)]
pub(super) struct RoundTripTime {
    /// When our Hello left, or the link began. Moments in our heartbeats count from here.
    since: Instant,
    /// The shortest of those that were measured.
    shortest: Option<Duration>,
    /// What the other end's last heartbeat said of the moment when it left, and when it came.
    heard: Option<(u64, Instant)>,
}

impl RoundTripTime {
    /// Nothing is known, and our Hello leaves.
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            since: now,
            shortest: None,
            heard: None,
        }
    }

    /// Our Hello is answered.
    pub(super) fn greeted(&mut self, now: Instant) {
        self.took(now.since(self.since));
    }

    /// What our next heartbeat says.
    pub(super) fn pulse(&self, now: Instant) -> Pulse {
        Pulse {
            sent: micros(now.since(self.since)),
            echo: self.heard.map(|(sent, came)| Echo {
                sent,
                held: micros(now.since(came)),
            }),
        }
    }

    /// A heartbeat has come that says so.
    pub(super) fn heard(&mut self, now: Instant, pulse: Pulse) {
        self.heard = Some((pulse.sent, now));
        if let Some(Echo { sent, held }) = pulse.echo {
            let elsewhere = Duration::from_micros(sent.saturating_add(held));
            // It is the peer's word: what cannot be is not believed.
            if let Some(round_trip) = now.since(self.since).checked_sub(elsewhere) {
                self.took(round_trip);
            }
        }
    }

    /// How long what is said takes to be answered. Zero before that is known.
    pub(super) fn shortest(&self) -> Duration {
        self.shortest.unwrap_or_default()
    }

    fn took(&mut self, round_trip: Duration) {
        let shortest = self.shortest.unwrap_or(round_trip);
        self.shortest = Some(shortest.min(round_trip));
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

impl Fingerprint for RoundTripTime {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.since.fingerprint(now, hasher);
        self.shortest.hash(hasher);
        self.heard.map(|(sent, _)| sent).hash(hasher);
        self.heard.map(|(_, came)| came).fingerprint(now, hasher);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Instant {
        Instant::from_nanos(1_000_000 * millis)
    }

    #[test]
    fn the_shortest_round_trip_counts_however_long_heartbeats_are_apart() {
        // Their clocks differ by an hour.
        let (mut here, mut there) = (RoundTripTime::new(at(0)), RoundTripTime::new(at(3_600_000)));
        here.greeted(at(800));
        there.heard(at(3_601_020), here.pulse(at(1000)));
        here.heard(at(4100), there.pulse(at(3_604_080)));
        assert_eq!(here.shortest(), Duration::from_millis(40));
        there.heard(at(3_607_500), here.pulse(at(7000)));
        assert_eq!(there.shortest(), Duration::from_millis(520));
        here.heard(at(8000), there.pulse(at(3_607_500)));
        assert_eq!(here.shortest(), Duration::from_millis(40));
    }

    /// H36: whatever a peer claims, nothing overflows, and nothing takes less than no time.
    #[test]
    fn a_claim_that_cannot_be_is_not_believed() {
        let mut here = RoundTripTime::new(at(0));
        here.greeted(at(50));
        for (sent, held) in [(u64::MAX, u64::MAX), (0, 2_000_001), (2_000_001, 0)] {
            let echo = Some(Echo { sent, held });
            here.heard(at(2000), Pulse { sent: 0, echo });
            assert_eq!(here.shortest(), Duration::from_millis(50));
        }
    }
}
