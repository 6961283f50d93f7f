//! Settling: writing all local rows again under a new epoch, newest first.
//!
//! It follows every claim. When all rows are written the floor rises to the epoch, and whatever a
//! lost, late or half-executed operation has left behind is dead from there on, by comparison.

use std::collections::VecDeque;
use std::hash::Hasher;
use std::time::Duration;

use crate::base::fingerprint::Fingerprint;
use crate::base::flaws::Flaw;
use crate::command::{Log, Outbox};
use crate::context;
use crate::id::ConnectionKey;
use crate::instance::{Instance, Once};
use crate::membership::purpose::Purpose;
use crate::membership::trips::Completion;
use crate::terminals::connection::RowState;
use crate::terminals::registry::Age;
use crate::time::{Instant, Now};

/// The time between two batches of rows.
pub(crate) const STEP: Duration = Duration::from_millis(50);
/// Connections younger than this may be in the tail that a failover loses: a replica that lags
/// further behind is not promoted by any sensible configuration.
const YOUNG: Duration = Duration::from_secs(60);
/// The pace is halved this often at most when batches time out: a sixty-fourth of it goes on.
const SLOWEST: u32 = 6;

/// How far settling is.
#[derive(Clone, Debug)]
pub(crate) struct Settling {
    /// All connections of this age or younger have been visited.
    visited: Age,
    /// Rows that were given up and wait to be written once more.
    again: VecDeque<ConnectionKey>,
    /// Rows visited and not yet written.
    open: usize,
    /// How often the pace was halved.
    slowed: u32,
    /// When the next batch may leave.
    next: Instant,
}

/// What may be missing from the directory until rows are written again. It outlives a settling
/// that is interrupted: the next claim may well replace what this one wrote, and the rows that this
/// one had not come to are still not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Everything: the claim did not replace what was last acknowledged.
    Everything,
    /// The rows of connections accepted after this moment: the claim replaced exactly what was last
    /// acknowledged.
    Tail { after: Instant },
    /// Nothing.
    Nothing,
}

impl Missing {
    /// What a failover can have taken from a directory that still knows a renewal asked then.
    pub(crate) fn tail_after(renewed: Instant) -> Self {
        Self::Tail {
            after: renewed.before(YOUNG),
        }
    }

    /// What is missing if both this and the other is.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Everything, _) | (_, Self::Everything) => Self::Everything,
            (Self::Nothing, missing) | (missing, Self::Nothing) => missing,
            (Self::Tail { after }, Self::Tail { after: other }) => Self::Tail {
                after: after.min(other),
            },
        }
    }
}

impl Instance {
    /// The lease was claimed: all rows are to be written under its epoch.
    pub(crate) fn begin_settling(&mut self, now: Now, lost: Missing, out: &mut Outbox) {
        self.base.stats.settlings += 1;
        out.log(Log::Claimed {
            epoch: self.membership.keeper.epoch(),
            rows: self.terminals.registry.present(),
        });
        self.membership.keeper.missing = self.membership.keeper.missing.and(lost);
        self.membership.keeper.settling = Some(Settling {
            visited: Age::YOUNGEST,
            again: VecDeque::new(),
            open: 0,
            slowed: 0,
            next: now.mono,
        });
        if self.base.flaws.has(Flaw::FloorRaisedEarly) {
            self.membership.keeper.floor = self.membership.keeper.epoch();
        }
        self.settle_due(now, out);
    }

    /// The lease is no longer held: its settling means nothing.
    pub(crate) fn stop_settling(&mut self) {
        self.membership.keeper.settling = None;
    }

    /// Writes the next batch of rows, if it is time, and ends settling when all are written.
    pub(crate) fn settle_due(&mut self, now: Now, out: &mut Outbox) {
        let Some(settling) = &self.membership.keeper.settling else {
            return;
        };
        if settling.next > now.mono {
            let at = settling.next;
            self.arm_once(Once::Settle, at);
            return;
        }
        let budget = self.settle_budget(settling.slowed);
        let more = self.settle_batch(budget);
        let Some(settling) = &mut self.membership.keeper.settling else {
            return;
        };
        if more {
            settling.next = now.mono + STEP;
            let at = settling.next;
            self.arm_once(Once::Settle, at);
            return;
        }
        if settling.open == 0 && settling.again.is_empty() {
            self.membership.keeper.settling = None;
            if !self.base.flaws.has(Flaw::FloorNeverRaised) {
                self.membership.keeper.floor = self.membership.keeper.epoch();
            }
            self.membership.lease_due = true;
            out.log(Log::Settled {
                epoch: self.membership.keeper.epoch(),
            });
        }
    }

    /// Rows of one batch: this instance's share of the cluster's budget.
    pub(crate) fn settle_budget(&self, slowed: u32) -> usize {
        let share = self.base.config.settle_rate as usize / (self.membership.view.alive() + 1);
        let steps = (Duration::from_secs(1).as_millis() / STEP.as_millis()) as usize;
        ((share / steps) >> slowed).max(1)
    }

    /// Writes up to `budget` rows. Returns whether there are more that can be written now or soon.
    fn settle_batch(&mut self, budget: usize) -> bool {
        let mut budget = budget;
        while budget > 0 {
            let again = (self.membership.keeper.settling.as_mut())
                .and_then(|settling| settling.again.pop_front());
            let Some(key) = again else { break };
            budget -= 1;
            let due = (self.terminals.registry.get(key)).is_some_and(|connection| {
                connection.wants_row() && connection.row == RowState::Due
            });
            if due {
                self.write_row(key);
            }
        }
        // Visiting is cheap, and most rows of a short settling need nothing: a bound of its own.
        let mut visits = budget.saturating_mul(8);
        while budget > 0 && visits > 0 {
            visits -= 1;
            let Some(settling) = &mut self.membership.keeper.settling else {
                return false;
            };
            let Some((age, key)) = self.terminals.registry.next_older(settling.visited) else {
                if settling.open + settling.again.len() == 0 {
                    self.membership.keeper.missing = Missing::Nothing;
                }
                return !settling.again.is_empty();
            };
            let Some(connection) = self.terminals.registry.get(key) else {
                return false;
            };
            if let Missing::Tail { after } = self.membership.keeper.missing
                && connection.accepted < after
            {
                if settling.open + settling.again.len() > 0 {
                    // The young ones first: others need not ask by user any more then.
                    return true;
                }
                self.membership.keeper.missing = Missing::Nothing;
                self.membership.lease_due = true;
            }
            settling.visited = age;
            if !connection.wants_row() || !self.needs_settling(connection.row) {
                continue;
            }
            budget -= 1;
            self.visit(key);
        }
        true
    }

    fn visit(&mut self, key: ConnectionKey) {
        let epoch = self.membership.keeper.epoch();
        let Some(connection) = self.terminals.registry.get_mut(key) else {
            return;
        };
        connection.unsettled = Some(epoch);
        if let Some(settling) = &mut self.membership.keeper.settling {
            settling.open += 1;
        }
        match connection.row {
            // It ends first. If it is of an earlier epoch it proves nothing, and another follows.
            RowState::Writing { .. } => {}
            RowState::Absent | RowState::Due | RowState::Written { .. } | RowState::Removing => {
                self.write_row(key)
            }
        }
    }

    /// A row that settling waits for is written, or its connection has ended.
    pub(crate) fn settled_one(&mut self, key: ConnectionKey) {
        let Some(connection) = self.terminals.registry.get_mut(key) else {
            return;
        };
        if connection.unsettled.take() != Some(self.membership.keeper.epoch()) {
            return;
        }
        if let Some(settling) = &mut self.membership.keeper.settling {
            settling.open -= 1;
            if settling.open == 0 {
                let at = settling.next;
                self.arm_once(Once::Settle, at);
            }
        }
    }

    /// A row's outcome is unknown: it is written once more, within the pace.
    pub(crate) fn settle_again(&mut self, key: ConnectionKey) {
        let Some(settling) = &mut self.membership.keeper.settling else {
            self.write_row(key);
            return;
        };
        settling.again.push_back(key);
        let at = settling.next;
        self.arm_once(Once::Settle, at);
    }

    /// A batch timed out: the directory is slower than the pace.
    pub(crate) fn settling_timed_out(&mut self, ended: &[Completion<context::Purpose>]) {
        let writes = |ended: &Completion<_>| {
            matches!(
                ended.purpose,
                context::Purpose::Membership(Purpose::Register { .. })
            )
        };
        if let Some(settling) = &mut self.membership.keeper.settling
            && ended.iter().any(writes)
        {
            settling.slowed = (settling.slowed + 1).min(SLOWEST);
        }
    }
}

impl Fingerprint for Settling {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.visited.fingerprint(now, hasher);
        self.again.fingerprint(now, hasher);
        self.open.fingerprint(now, hasher);
        self.slowed.fingerprint(now, hasher);
        self.next.fingerprint(now, hasher);
    }
}

impl Fingerprint for Missing {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        match self {
            Self::Everything => hasher.write_u8(0),
            Self::Nothing => hasher.write_u8(1),
            Self::Tail { after } => {
                hasher.write_u8(2);
                after.fingerprint(now, hasher);
            }
        }
    }
}
