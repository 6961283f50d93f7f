//! What becomes of an instance's own lease, as its round trips and their answers show.

use std::time::Duration;

use switchboard_core::id::OpId;
use switchboard_core::time::Instant;

use crate::boundary::{LeaseStep, TripOutline};

/// The lease of one instance.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OwnLease {
    pub(super) step: Option<LeaseAttempt>,
    /// When it was last asked for, or given back, with success, and when that was answered.
    pub(super) granted: Option<(Instant, Instant)>,
}

/// What was asked for last.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeaseAttempt {
    pub(super) op: OpId,
    place: usize,
    pub(super) step: LeaseStep,
    pub(super) at: Instant,
    pub(super) outcome: StepOutcome,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StepOutcome {
    /// Nothing so far.
    Asked,
    /// The directory did it.
    Granted,
    /// The directory says that something else stands there.
    Lost,
    /// It refused it then.
    Refused(Instant),
    /// The round trip was given up, or its link was.
    Unknown,
}

impl OwnLease {
    /// A round trip leaves.
    pub(super) const fn ask(&mut self, now: Instant, trip: &TripOutline) {
        if let Some((place, step)) = trip.lease {
            self.step = Some(LeaseAttempt {
                op: trip.op,
                place,
                step,
                at: now,
                outcome: StepOutcome::Asked,
            });
        }
    }

    /// A round trip is answered. `known`: what has become of it, as it was in time, and its link is not given up for what
    /// else it was answered. `lasts`: a lease, which is lost if its renewal is asked for when it has expired.
    pub(super) fn answered(
        &mut self,
        now: Instant,
        lasts: Duration,
        op: OpId,
        known: bool,
        done: bool,
        refused: u64,
    ) {
        let Some(step) = self.step.as_mut().filter(|step| step.op == op) else {
            return;
        };
        let held = (self.granted).is_some_and(|(asked, _)| step.at < asked + lasts);
        step.outcome = if !known {
            StepOutcome::Unknown
        } else if refused & 1 << step.place.min(63) != 0 {
            StepOutcome::Refused(now)
        } else if done && (held || step.step.claims()) {
            self.granted = Some((step.at, now));
            StepOutcome::Granted
        } else {
            StepOutcome::Lost
        };
    }
}
