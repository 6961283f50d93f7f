//! The end of an instance, and the isolation of one that is cut off from the directory.

use std::hash::Hasher;
use std::time::Duration;

use crate::base::fingerprint::Fingerprint;
use crate::command::{Command, Log, Outbox};
use crate::frame::CloseCode;
use crate::instance::{Instance, Once};
use crate::terminals::connection::Waiting;
use crate::terminals::registry::Age;
use crate::time::{Instant, Now};

/// The time between two steps of a drain.
const STEP: Duration = Duration::from_millis(20);
/// The time over which an isolated instance sends its terminals elsewhere.
const ISOLATED_SPREAD: Duration = Duration::from_secs(10);

/// Whether terminals are being sent away.
#[derive(Clone, Debug)]
pub(crate) enum Drain {
    /// They are not.
    No,
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
pub(crate) struct Pace {
    from: Instant,
    spread: Duration,
    /// Terminals when the first was closed.
    total: Option<usize>,
}

impl Pace {
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

/// Terminals closed in one step, at most, so that a step stays short.
const STEP_TERMINALS: usize = 1024;

impl Instance {
    /// Whether a handshake can succeed.
    pub(crate) const fn takes_terminals(&self) -> bool {
        match self.drain {
            Drain::No => true,
            Drain::Isolated { .. }
            | Drain::Ordered { .. }
            | Drain::Releasing { .. }
            | Drain::Done => false,
        }
    }

    /// Whether the drain is over and nothing follows.
    pub(crate) const fn has_ended(&self) -> bool {
        match self.drain {
            Drain::Done => true,
            Drain::No
            | Drain::Isolated { .. }
            | Drain::Ordered { .. }
            | Drain::Releasing { .. } => false,
        }
    }

    pub(crate) fn drain(&mut self, now: Now, delay: Duration, spread: Duration) {
        let from = now.mono + delay;
        let ends = from + spread;
        match &mut self.drain {
            Drain::No | Drain::Isolated { .. } => {
                let pace = Pace {
                    from,
                    spread,
                    total: None,
                };
                self.drain = Drain::Ordered {
                    pace,
                    told: now.mono,
                };
            }
            Drain::Ordered { pace, .. } => {
                if ends < pace.from + pace.spread {
                    *pace = Pace {
                        from,
                        spread,
                        total: None,
                    };
                }
            }
            Drain::Releasing { .. } | Drain::Done => return,
        }
        self.membership.lease_due = true;
        self.arm_once(Once::Drain, now.mono);
    }

    pub(crate) fn drain_due(&mut self, now: Now, out: &mut Outbox) {
        let present = self.terminals.present();
        let mut next = now.mono + STEP;
        match &mut self.drain {
            Drain::No | Drain::Done => return,
            Drain::Isolated { pace } => {
                let left = pace.left(now.mono, present);
                self.send_away(now, left, out);
            }
            Drain::Ordered { pace, told } => {
                let left = pace.left(now.mono, present);
                if present > left {
                    *told = now.mono;
                }
                let begun = now.mono >= pace.from;
                let ends = pace.from + pace.spread;
                // Rows that cannot be removed die with the lease.
                let patience =
                    self.base.config.close_timeout + 2 * self.base.config.directory_timeout;
                let impatient = now.mono >= ends.max(*told) + patience;
                self.send_away(now, left, out);
                if self.terminals.present() > left {
                    // It is behind: the rest is told as soon as others have had their turn.
                    next = now.mono;
                }
                let rest = self.terminals.len() + self.publish.pushes.len() + self.deliver.len();
                if begun && (rest == 0 || impatient) {
                    self.release(now, out);
                }
            }
            Drain::Releasing { until } => {
                let given_back =
                    !self.membership.keeper.is_owed() && self.membership.trips.is_idle();
                if given_back || *until <= now.mono {
                    self.drain = Drain::Done;
                    // Nothing is asked from here on, and whatever was asked ends.
                    self.directory_down(now, out);
                    self.complete_receipts(now, out);
                    self.peers.close(&mut self.base.context(now, out));
                    out.push(Command::Drained);
                    return;
                }
            }
        }
        self.arm_once(Once::Drain, next);
    }

    fn release(&mut self, now: Now, out: &mut Outbox) {
        self.drain = Drain::Releasing {
            until: now.mono + self.base.config.directory_timeout,
        };
        self.membership.lease_due = true;
        self.deliver.answer_all();
        self.carry(now, out);
        (self.peers).say_goodbye(&mut self.base.context(now, out));
    }

    /// Closes the oldest terminals until so many are left.
    fn send_away(&mut self, now: Now, left: usize, out: &mut Outbox) {
        for _ in 0..STEP_TERMINALS {
            if self.terminals.present() <= left {
                return;
            }
            let Some((_, key)) = self.terminals.next_younger(Age::OLDEST) else {
                return;
            };
            let code = CloseCode::ServiceRestart;
            self.close(now, key, code, Waiting::Write, None, out);
        }
    }

    /// A peer says whether the directory works for it.
    pub(crate) fn directory_works_elsewhere(&mut self, now: Now, out: &mut Outbox) {
        if self.membership.keeper.has_lease(now.mono) {
            return;
        }
        // Not before a peer says so: when the directory comes back, somebody is the first.
        let since = *self.membership.keeper.cut_off.get_or_insert(now.mono);
        if now.mono >= since + self.base.config.isolation && matches!(self.drain, Drain::No) {
            out.log(Log::Isolated);
            self.drain = Drain::Isolated {
                pace: Pace {
                    from: now.mono,
                    spread: ISOLATED_SPREAD,
                    total: None,
                },
            };
            self.arm_once(Once::Drain, now.mono);
        }
    }

    /// The lease is held again.
    pub(crate) fn end_isolation(&mut self, out: &mut Outbox) {
        if matches!(self.drain, Drain::Isolated { .. }) {
            out.log(Log::Rejoined);
            self.drain = Drain::No;
        }
    }
}

impl Fingerprint for Drain {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        match self {
            Self::No => hasher.write_u8(0),
            Self::Isolated { pace } => {
                hasher.write_u8(1);
                pace.fingerprint(now, hasher);
            }
            Self::Ordered { pace, told } => {
                hasher.write_u8(2);
                pace.fingerprint(now, hasher);
                told.fingerprint(now, hasher);
            }
            Self::Releasing { until } => {
                hasher.write_u8(3);
                until.fingerprint(now, hasher);
            }
            Self::Done => hasher.write_u8(4),
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
