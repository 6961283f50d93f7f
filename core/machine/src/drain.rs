//! The end of an instance, and the isolation of one that is cut off from the directory.
//!
//! Both send terminals elsewhere, evenly over a span. What is to be done is returned: the wings
//! that it concerns are not touched from here.
//!
//! ```text
//! none -> ordered -> releasing -> done
//!  |  ^      ^
//!  v  |      |
//! isolated --+
//! ```

use std::hash::Hasher;
use std::time::Duration;

use crate::base::alarm::Alarm;
use crate::base::fingerprint::Fingerprint;
use crate::command::Log;
use crate::config::Config;
use crate::context::Context;
use crate::time::Instant;
use crate::vocabulary::departure::Departure;
use crate::vocabulary::timer::DrainTimer;

/// The time between two steps of a drain.
const STEP: Duration = Config::DRAIN_STEP;
/// Terminals closed in one step, at most, so that a step stays short.
pub(crate) const STEP_TERMINALS: usize = 1024;

/// Whether terminals are being sent away, and how far that is.
#[derive(Clone, Debug)]
pub(crate) struct Drain {
    stage: DrainStage,
    /// The next step.
    step: Alarm,
}

#[derive(Clone, Debug)]
enum DrainStage {
    /// Terminals are not sent away.
    None,
    /// They are, because the directory cannot be reached from here while it can from elsewhere.
    Isolated { pace: Pace },
    /// They are, because the application wants the instance to end.
    Ordered {
        pace: Pace,
        /// When the last terminal was told, or the drain was ordered.
        told: Instant,
    },
    /// They have gone; the lease is being given back. It is not waited for after this moment.
    Releasing { until: Instant },
    /// The instance has ended.
    Done,
}

/// Closes terminals evenly over a span.
#[derive(Clone, Debug)]
struct Pace {
    from: Instant,
    spread: Duration,
    /// Terminals when the first was closed.
    total: Option<usize>,
}

/// What follows from a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing, before the next step.
    None,
    /// Publishers are told what is known, peers that this instance goes, and the lease is given
    /// back.
    Release,
    /// The instance ends: whatever was asked is answered, and links are closed.
    End,
}

impl Pace {
    const fn new(from: Instant, spread: Duration) -> Self {
        Self {
            from,
            spread,
            total: None,
        }
    }

    /// How many terminals may be left at this moment.
    fn left(&mut self, now: Instant, present: usize) -> usize {
        if now < self.from {
            return present;
        }
        let total = *self.total.get_or_insert(present);
        let elapsed = now.since(self.from).as_nanos();
        let spread = self.spread.as_nanos();
        if elapsed >= spread {
            return 0;
        }
        let left = (total as u128 * (spread - elapsed)).div_ceil(spread);
        usize::try_from(left).unwrap_or(present)
    }
}

impl Drain {
    pub(crate) const fn new() -> Self {
        Self {
            stage: DrainStage::None,
            step: Alarm::UNSET,
        }
    }

    /// Whether a handshake can succeed.
    pub(crate) const fn takes_terminals(&self) -> bool {
        match self.stage {
            DrainStage::None => true,
            DrainStage::Isolated { .. }
            | DrainStage::Ordered { .. }
            | DrainStage::Releasing { .. }
            | DrainStage::Done => false,
        }
    }

    /// How far the end of the instance is. An isolated one is to stay.
    pub(crate) const fn departure(&self) -> Departure {
        match self.stage {
            DrainStage::None | DrainStage::Isolated { .. } => Departure::None,
            DrainStage::Ordered { .. } => Departure::Announced,
            DrainStage::Releasing { .. } => Departure::Releasing,
            DrainStage::Done => Departure::Done,
        }
    }

    /// Orders the end: terminals are told between `delay` and `delay + spread` from now. A second
    /// order counts if it ends sooner. Returns whether the lease has something else to say.
    pub(crate) fn order(
        &mut self,
        cx: &mut Context<'_>,
        delay: Duration,
        spread: Duration,
    ) -> bool {
        let now = cx.now.mono;
        let pace = Pace::new(now + delay, spread);
        match &mut self.stage {
            DrainStage::None | DrainStage::Isolated { .. } => {
                self.stage = DrainStage::Ordered { pace, told: now };
            }
            DrainStage::Ordered { pace: former, .. } => {
                if pace.from + pace.spread < former.from + former.spread {
                    *former = pace;
                }
            }
            DrainStage::Releasing { .. } | DrainStage::Done => return false,
        }
        cx.set(&mut self.step, now, DrainTimer);
        true
    }

    /// The directory has worked elsewhere and not here since a moment: the instance sends its
    /// terminals elsewhere when that lasts.
    pub(crate) fn consider_isolation(&mut self, cx: &mut Context<'_>, since: Instant) {
        let now = cx.now.mono;
        if now >= since + cx.config.isolation && matches!(self.stage, DrainStage::None) {
            cx.out.log(Log::Isolated);
            let pace = Pace::new(now, Config::ISOLATED_SPREAD);
            self.stage = DrainStage::Isolated { pace };
            cx.set(&mut self.step, now, DrainTimer);
        }
    }

    /// The lease is held again.
    pub(crate) fn end_isolation(&mut self, cx: &mut Context<'_>) {
        if matches!(self.stage, DrainStage::Isolated { .. }) {
            cx.out.log(Log::Rejoined);
            self.stage = DrainStage::None;
        }
    }

    /// A timer is due. Returns how many of the `present` terminals may be left: the oldest of the
    /// others are told to leave, [`STEP_TERMINALS`] at most. Then comes [`Self::proceed`]. `None`
    /// if no step is due.
    pub(crate) fn timer_due(
        &mut self,
        cx: &mut Context<'_>,
        _: DrainTimer,
        present: usize,
    ) -> Option<usize> {
        let now = cx.now.mono;
        if !self.step.rings(now) {
            return None;
        }
        match &mut self.stage {
            DrainStage::None | DrainStage::Done => None,
            DrainStage::Isolated { pace } => Some(pace.left(now, present)),
            DrainStage::Ordered { pace, told } => {
                let left = pace.left(now, present);
                if present > left {
                    *told = now;
                }
                Some(left)
            }
            DrainStage::Releasing { .. } => Some(present),
        }
    }

    /// The terminals of a step were told. `is_behind`: more are present than there should be.
    /// `open`: connections, pushes and deliveries that are left. `is_released`: the lease is given
    /// back, and nothing waits for the directory.
    pub(crate) fn proceed(
        &mut self,
        cx: &mut Context<'_>,
        is_behind: bool,
        open: usize,
        is_released: bool,
    ) -> Progress {
        let now = cx.now.mono;
        let mut next = now + STEP;
        let mut progress = Progress::None;
        match &self.stage {
            DrainStage::None | DrainStage::Done => return Progress::None,
            DrainStage::Isolated { .. } => {}
            DrainStage::Ordered { pace, told } => {
                if is_behind {
                    // The rest is told as soon as others have had their turn.
                    next = now;
                }
                let ends = pace.from + pace.spread;
                // Rows that cannot be removed die with the lease.
                let patience = cx.config.close_timeout + 2 * cx.config.directory_timeout;
                let is_impatient = now >= ends.max(*told) + patience;
                if now >= pace.from && (open == 0 || is_impatient) {
                    self.stage = DrainStage::Releasing {
                        until: now + cx.config.directory_timeout,
                    };
                    progress = Progress::Release;
                }
            }
            DrainStage::Releasing { until } => {
                if is_released || *until <= now {
                    self.stage = DrainStage::Done;
                    return Progress::End;
                }
            }
        }
        cx.set(&mut self.step, next, DrainTimer);
        progress
    }

    /// Its timers of which there is one.
    pub(crate) const fn alarms(&self) -> [Alarm; 1] {
        [self.step]
    }
}

impl Fingerprint for Drain {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        match &self.stage {
            DrainStage::None => hasher.write_u8(0),
            DrainStage::Isolated { pace } => {
                hasher.write_u8(1);
                pace.fingerprint(now, hasher);
            }
            DrainStage::Ordered { pace, told } => {
                hasher.write_u8(2);
                pace.fingerprint(now, hasher);
                told.fingerprint(now, hasher);
            }
            DrainStage::Releasing { until } => {
                hasher.write_u8(3);
                until.fingerprint(now, hasher);
            }
            DrainStage::Done => hasher.write_u8(4),
        }
    }
}

impl Fingerprint for Pace {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.from.fingerprint(now, hasher);
        hasher.write_u128(self.spread.as_nanos());
        self.total.fingerprint(now, hasher);
    }
}
