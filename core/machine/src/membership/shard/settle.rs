//! Settling: writing all local rows again under a new epoch, newest first.
//!
//! It follows every claim. Topics come first, of which there is a row each. When all rows are written the floor rises to the epoch, and whatever a
//! lost, late or half-executed operation has left behind is dead from there on, by comparison.

use std::collections::VecDeque;
use std::hash::{Hash as _, Hasher};
use std::time::Duration;

use super::Shard;
use super::rows::{RowState, is_wanted};
use crate::base::alarm::Alarm;
use crate::base::fingerprint::Fingerprint;
use crate::command::Log;
use crate::config::Config;
use crate::context::Context;
use crate::id::TopicId;
use crate::membership::hooks;
use crate::membership::trips::Completion;
use crate::membership::view::View;
use crate::stats::Tables;
use crate::terminals::Terminals;
use crate::time::Instant;
use crate::vocabulary::missing::Missing;
use crate::vocabulary::purpose::{MembershipPurpose, Purpose};
use crate::vocabulary::terminal::{Age, RowOf};
use crate::vocabulary::timer::MembershipTimer;

/// The time between two batches of rows.
pub(super) const STEP: Duration = Config::SETTLE_STEP;
/// Connections younger than this may be in the tail that a failover loses.
const YOUNG: Duration = Config::FAILOVER_TAIL;

/// What the directory may lack of this instance, and how far it is made good.
#[derive(Clone, Debug)]
pub(super) struct Settlement {
    /// Rows are being written again.
    settling: Option<Settling>,
    /// What of this instance may be missing from the directory.
    missing: Missing,
    /// Terminals greeted as degraded whose row is not written yet.
    degraded: usize,
    alarm: Alarm,
}

/// How far settling is.
#[derive(Clone, Debug)]
struct Settling {
    /// How far the topics are, which come before all connections.
    topics: VisitedTopics,
    /// All connections of this age or younger have been visited.
    visited: Age,
    /// Rows that were given up and wait to be written once more.
    again: VecDeque<RowOf>,
    /// Rows visited and not yet written.
    open: usize,
    /// How often the pace was halved.
    slowed: u32,
    /// When the next batch may leave.
    next: Instant,
}

/// Which topics a settling has visited.
#[derive(Clone, Debug)]
enum VisitedTopics {
    /// Those up to this one, in their order.
    UpTo(Option<TopicId>),
    /// All have been visited.
    All,
}

impl Missing {
    /// What a failover can have taken from a directory that still knows a renewal asked then.
    pub(super) fn tail_after(renewed: Instant) -> Self {
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

impl Settlement {
    pub(super) const fn new() -> Self {
        Self {
            settling: None,
            missing: Missing::Nothing,
            degraded: 0,
            alarm: Alarm::UNSET,
        }
    }

    pub(super) const fn is_running(&self) -> bool {
        self.settling.is_some()
    }

    /// The lease is no longer held: its settling means nothing.
    pub(super) fn stop(&mut self) {
        self.settling = None;
    }

    /// Whether rows of this instance may be missing from the directory.
    pub(super) fn lacks_rows(&self) -> bool {
        self.degraded > 0 || self.missing != Missing::Nothing
    }

    /// Counts what is in its tables.
    pub(super) fn count(&self, tables: &mut Tables) {
        let settling = self.settling.as_ref();
        tables.rows_again = settling.map_or(0, |settling| settling.again.len());
        tables.degraded = self.degraded;
    }

    /// A trip has timed out: if it wrote rows, the directory is slower than the pace.
    pub(super) fn timed_out(&mut self, ended: &[Completion<Purpose>]) {
        let writes = |ended: &Completion<_>| {
            matches!(
                ended.purpose(),
                Purpose::Membership(MembershipPurpose::Register { .. })
            )
        };
        if let Some(settling) = &mut self.settling
            && ended.iter().any(writes)
        {
            settling.slowed = (settling.slowed + 1).min(Config::SETTLE_HALVINGS);
        }
    }

    pub(super) const fn alarm(&self) -> Alarm {
        self.alarm
    }
}

impl Shard {
    /// A terminal was greeted as degraded: others have to ask for it.
    pub(in crate::membership) const fn degraded(&mut self) {
        self.settlement.degraded += 1;
        self.lease.note_change();
    }

    /// The row of a degraded terminal is written, or the terminal has ended.
    pub(in crate::membership) const fn degradation_ended(&mut self) {
        self.settlement.degraded -= 1;
        self.lease.note_change();
    }

    /// The lease was claimed: all rows are to be written under its epoch.
    pub(in crate::membership) fn begin_settling(
        &mut self,
        cx: &mut Context<'_>,
        view: &View,
        terminals: &Terminals,
        lost: Missing,
    ) {
        cx.stats.settlings += 1;
        cx.out.log(Log::Claimed {
            epoch: self.lease.epoch(),
            rows: terminals.present(),
        });
        self.settlement.missing = self.settlement.missing.and(lost);
        self.settlement.settling = Some(Settling {
            topics: if hooks::settles_topics(cx.flaws) {
                VisitedTopics::UpTo(None)
            } else {
                VisitedTopics::All
            },
            visited: Age::YOUNGEST,
            again: VecDeque::new(),
            open: 0,
            slowed: 0,
            next: cx.now.mono,
        });
        if !hooks::floor_waits_for_rows(cx.flaws) {
            self.lease.raise_floor();
        }
        self.settle(cx, view, terminals);
    }

    pub(in crate::membership) fn settle_due(
        &mut self,
        cx: &mut Context<'_>,
        view: &View,
        terminals: &Terminals,
    ) {
        if self.settlement.alarm.rings(cx.now.mono) {
            self.settle(cx, view, terminals);
        }
    }

    /// Writes the next batch of rows, if it is time, and ends settling when all are written.
    fn settle(&mut self, cx: &mut Context<'_>, view: &View, terminals: &Terminals) {
        let Some(settling) = &self.settlement.settling else {
            return;
        };
        if settling.next > cx.now.mono {
            cx.set(
                &mut self.settlement.alarm,
                settling.next,
                MembershipTimer::Settle,
            );
            return;
        }
        let budget = budget(cx, view, settling.slowed);
        let more = self.settle_batch(cx, terminals, budget);
        let Some(settling) = &mut self.settlement.settling else {
            return;
        };
        if more {
            settling.next = cx.now.mono + STEP;
            cx.set(
                &mut self.settlement.alarm,
                settling.next,
                MembershipTimer::Settle,
            );
            return;
        }
        if settling.open == 0 {
            self.settlement.settling = None;
            if hooks::floor_rises_once_settled(cx.flaws) {
                self.lease.raise_floor();
            }
            self.lease.note_change();
            cx.out.log(Log::Settled {
                epoch: self.lease.epoch(),
            });
        }
    }

    /// Writes up to `budget` rows. Returns whether there are more that can be written now or soon.
    fn settle_batch(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &Terminals,
        mut budget: usize,
    ) -> bool {
        while budget > 0 {
            let again =
                (self.settlement.settling.as_mut()).and_then(|settling| settling.again.pop_front());
            let Some(of) = again else { break };
            budget -= 1;
            if is_wanted(terminals, &of) && self.rows.state(&of) == RowState::Due {
                self.write_row(cx, terminals, &of);
            }
        }
        // None waits to be written once more if there is any budget left. Visiting is cheap, and most rows of a short
        // settling need nothing: a bound of its own.
        for _ in 0..budget.saturating_mul(8) {
            if budget == 0 {
                break;
            }
            if let Some(topic) = self.next_unsettled_topic() {
                let of = RowOf::Topic(topic);
                if is_wanted(terminals, &of) && self.needs_settling(self.rows.state(&of)) {
                    budget -= 1;
                    self.visit(cx, terminals, &of);
                }
                continue;
            }
            let Some(settling) = &mut self.settlement.settling else {
                return false;
            };
            let Some((age, key)) = terminals.next_older(settling.visited) else {
                if settling.open == 0 {
                    self.settlement.missing = Missing::Nothing;
                }
                return false;
            };
            let Some(connection) = terminals.get(key) else {
                // It has not said whose it is, and has no row.
                settling.visited = age;
                continue;
            };
            if let Missing::Tail { after } = self.settlement.missing
                && connection.accepted < after
            {
                if settling.open > 0 {
                    // The young ones first: others need not ask by key any more then.
                    return true;
                }
                self.settlement.missing = Missing::Nothing;
                self.lease.note_change();
            }
            settling.visited = age;
            let of = RowOf::Connection(key);
            if !connection.wants_row() || !self.needs_settling(self.rows.state(&of)) {
                continue;
            }
            budget -= 1;
            self.visit(cx, terminals, &of);
        }
        true
    }

    /// The next topic of a settling. A topic that gets members later is written under the present epoch anyway.
    fn next_unsettled_topic(&mut self) -> Option<TopicId> {
        let settling = self.settlement.settling.as_mut()?;
        let VisitedTopics::UpTo(after) = &settling.topics else {
            return None;
        };
        let next = self.rows.topics.next(after.as_ref()).cloned();
        settling.topics = match &next {
            Some(topic) => VisitedTopics::UpTo(Some(topic.clone())),
            None => VisitedTopics::All,
        };
        next
    }

    /// Whether a row that should be there is not known to be written under the present epoch.
    fn needs_settling(&self, row: RowState) -> bool {
        match row {
            RowState::Written { epoch } => Some(epoch) != self.lease.held_epoch(),
            RowState::Absent | RowState::Due | RowState::Writing { .. } => true,
            RowState::Removing => false,
        }
    }

    fn visit(&mut self, cx: &mut Context<'_>, terminals: &Terminals, of: &RowOf) {
        self.rows.await_settled(of, self.lease.epoch());
        if let Some(settling) = &mut self.settlement.settling {
            settling.open += 1;
        }
        match self.rows.state(of) {
            // It ends first. If it is of an earlier epoch it proves nothing, and another follows.
            RowState::Writing { .. } => {}
            RowState::Absent | RowState::Due | RowState::Written { .. } | RowState::Removing => {
                self.write_row(cx, terminals, of);
            }
        }
    }

    /// A row that settling waits for is written, or is not wanted any more.
    pub(super) fn settled_one(&mut self, cx: &mut Context<'_>, of: &RowOf) {
        if self.rows.take_unsettled(of) != Some(self.lease.epoch()) {
            return;
        }
        if let Some(settling) = &mut self.settlement.settling {
            settling.open -= 1;
            if settling.open == 0 {
                cx.set(
                    &mut self.settlement.alarm,
                    settling.next,
                    MembershipTimer::Settle,
                );
            }
        }
    }

    /// A row's outcome is unknown: it is written once more, within the pace.
    pub(super) fn settle_again(&mut self, cx: &mut Context<'_>, terminals: &Terminals, of: RowOf) {
        let Some(settling) = &mut self.settlement.settling else {
            self.write_row(cx, terminals, &of);
            return;
        };
        settling.again.push_back(of);
        cx.set(
            &mut self.settlement.alarm,
            settling.next,
            MembershipTimer::Settle,
        );
    }
}

/// Rows of one batch: this instance's share of the cluster's budget.
pub(super) fn budget(cx: &Context<'_>, view: &View, slowed: u32) -> usize {
    let share = cx.config.settle_rate as usize / (view.alive() + 1);
    let steps = (Duration::from_secs(1).as_millis() / STEP.as_millis()) as usize;
    ((share / steps) >> slowed).max(1)
}

impl Fingerprint for Settlement {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.settling.fingerprint(now, hasher);
        self.missing.fingerprint(now, hasher);
        self.degraded.fingerprint(now, hasher);
    }
}

impl Fingerprint for Settling {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        match &self.topics {
            VisitedTopics::UpTo(topic) => topic.hash(hasher),
            VisitedTopics::All => hasher.write_u8(1),
        }
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
