//! The rows of local connections: written, kept true, removed.
//!
//! A row goes its own way beside its connection: it can still be under way when the socket has gone,
//! and a terminal is greeted without one when the directory is away. When both have gone the
//! connection is forgotten.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use super::settle::{self, STEP};
use super::{RETRY, Shard};
use crate::base::alarm::Alarm;
use crate::base::fingerprint::Fingerprint;
use crate::base::slots::Beside;
use crate::context::Context;
use crate::directory::{Operation, Row};
use crate::id::{ConnectionKey, Epoch};
use crate::membership::hooks;
use crate::membership::trips::Unknown;
use crate::membership::view::View;
use crate::terminals::Terminals;
use crate::time::Instant;
use crate::vocabulary::effect::Effect;
use crate::vocabulary::purpose::MembershipPurpose;
use crate::vocabulary::terminal::{Age, RowNews};
use crate::vocabulary::timer::MembershipTimer;

/// The time between two steps of the sweep.
const SWEEP_STEP: Duration = Duration::from_secs(1);

/// What is known of the rows of all connections, those that are written again for no special reason,
/// and those that were refused.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    table: Beside<ConnectionKey, KnownRow>,
    /// Refused rows, in the order of their next try.
    refused: VecDeque<(Instant, ConnectionKey)>,
    /// The oldest connection that the sweep has not come to.
    swept: Age,
    /// What the steps of the sweep have added up to, less the rows written for it.
    owed: usize,
    sweep: Alarm,
    retry: Alarm,
}

/// What is known of a connection's row.
#[derive(Clone, Copy, Debug, Default)]
struct KnownRow {
    state: RowState,
    /// The settling of this epoch waits for it.
    unsettled: Option<Epoch>,
}

/// How far a connection's row is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum RowState {
    /// There is none.
    #[default]
    Absent,
    /// It must be written, or removed once its connection has ended, and nothing is under way: it
    /// waits for a claim, for settling or for another try.
    Due,
    /// It is being written.
    Writing {
        /// Under this epoch.
        epoch: Epoch,
    },
    /// It is written.
    Written {
        /// Under this epoch.
        epoch: Epoch,
    },
    /// It is being removed.
    Removing,
}

impl Rows {
    pub(super) const fn new() -> Self {
        Self {
            table: Beside::new(),
            refused: VecDeque::new(),
            swept: Age::OLDEST,
            owed: 0,
            sweep: Alarm::UNSET,
            retry: Alarm::UNSET,
        }
    }

    pub(super) fn state(&self, key: ConnectionKey) -> RowState {
        self.table.get(key).state
    }

    fn set(&mut self, key: ConnectionKey, state: RowState) {
        self.table.get_mut(key).state = state;
    }

    /// The settling of this epoch waits for a row.
    pub(super) fn await_settled(&mut self, key: ConnectionKey, epoch: Epoch) {
        self.table.get_mut(key).unsettled = Some(epoch);
    }

    /// Which settling has waited for a row, if any has.
    pub(super) fn take_unsettled(&mut self, key: ConnectionKey) -> Option<Epoch> {
        // A key that is out of date finds nothing.
        self.table.get(key).unsettled?;
        self.table.get_mut(key).unsettled.take()
    }

    pub(super) fn begin_sweep(&mut self, cx: &mut Context<'_>) {
        cx.set(&mut self.sweep, cx.now.mono, MembershipTimer::Sweep);
    }

    /// Rows that were refused and are tried again.
    pub(super) fn refused(&self) -> usize {
        self.refused.len()
    }

    /// Of the sweep, and of refused rows.
    pub(super) const fn alarms(&self) -> [Alarm; 2] {
        [self.sweep, self.retry]
    }
}

impl Shard {
    /// Writes a connection's row under the present epoch, if the lease is held; if not, the
    /// settling that follows the next claim does.
    pub(in crate::membership) fn write_row(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &Terminals,
        key: ConnectionKey,
    ) {
        let Some(connection) = terminals.get(key) else {
            return;
        };
        if connection.follows && hooks::reads_logs_behind_rows(cx.flaws) {
            cx.emit(Effect::RowAsked(key));
        }
        let latest = self.is_linked().then_some(self.lease.epoch());
        let epoch = hooks::epoch_of_rows(cx.flaws, self.lease.held_epoch(), latest);
        let Some(epoch) = epoch else {
            self.rows.set(key, RowState::Due);
            return;
        };
        self.rows.set(key, RowState::Writing { epoch });
        let operation = Operation::Register {
            key: connection.key.clone(),
            connection: connection.id,
            row: Row {
                instance: cx.identity.instance,
                epoch,
                connected: connection.connected,
            },
        };
        let purpose = MembershipPurpose::Register {
            connection: key,
            epoch,
        };
        self.trips.ask(operation, purpose.into());
    }

    /// A terminal's presence has ended: its row is not wanted.
    pub(in crate::membership) fn row_unwanted(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &Terminals,
        key: ConnectionKey,
    ) {
        self.settled_one(cx, key);
        self.remove_row(cx, terminals, key);
    }

    /// Removes the row of a connection whose presence has ended. While the directory is away there
    /// is nothing to do: what it may hold is of an epoch that the next claim leaves behind.
    fn remove_row(&mut self, cx: &Context<'_>, terminals: &Terminals, key: ConnectionKey) {
        let Some(connection) = terminals.get(key) else {
            return;
        };
        match self.rows.state(key) {
            RowState::Absent | RowState::Removing => {}
            // The write ends first.
            RowState::Writing { .. } => {}
            RowState::Due | RowState::Written { .. } => {
                if !self.is_linked() {
                    self.rows.set(key, RowState::Absent);
                    return;
                }
                self.rows.set(key, RowState::Removing);
                let operation = Operation::Unregister {
                    key: connection.key.clone(),
                    connection: connection.id,
                    instance: cx.identity.instance,
                };
                let purpose = MembershipPurpose::Unregister { connection: key };
                self.trips.ask(operation, purpose.into());
            }
        }
    }

    /// The directory has written a row.
    pub(in crate::membership) fn registered(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        key: ConnectionKey,
        epoch: Epoch,
    ) {
        let held = self.lease.held_epoch_at(cx.now.mono);
        let present = hooks::proves_a_row(cx.flaws, epoch, held, self.lease.epoch());
        let Some(connection) = terminals.get(key) else {
            cx.bug("a row was written for a connection that is forgotten");
            return;
        };
        self.rows.set(key, RowState::Written { epoch });
        if !connection.wants_row() {
            if hooks::removes_a_late_row(cx.flaws) {
                self.remove_row(cx, terminals, key);
            } else {
                self.unregistered(cx, terminals, key);
            }
            return;
        }
        if !present {
            // It proves nothing: the directory may have changed since, or the lease have run out.
            if self.lease.held_epoch() == Some(epoch) {
                self.rows.set(key, RowState::Due);
                self.try_later(cx, key);
            } else {
                self.write_row(cx, terminals, key);
            }
            return;
        }
        terminals.row_changed(cx, key, RowNews::Written);
        self.settled_one(cx, key);
    }

    /// A row of a higher epoch stands where one of `epoch` was to be written.
    pub(in crate::membership) fn superseded(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        key: ConnectionKey,
        epoch: Epoch,
    ) {
        let present = self.lease.held_epoch() == Some(epoch);
        let wanted = (terminals.get(key)).is_some_and(|connection| connection.wants_row());
        if !present || !wanted {
            self.registered(cx, terminals, key, epoch);
            return;
        }
        // Somebody else wrote a row under our id.
        cx.stats.directory_refusals += 1;
        self.rows.set(key, RowState::Due);
        terminals.row_changed(cx, key, RowNews::Taken);
    }

    pub(in crate::membership) fn register_unknown(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        key: ConnectionKey,
        unknown: Unknown,
    ) {
        let Some(connection) = terminals.get(key) else {
            cx.bug("a row was asked for a connection that is forgotten");
            return;
        };
        self.rows.set(key, RowState::Due);
        let unsettled = self.rows.table.get(key).unsettled == Some(self.lease.epoch());
        match (unknown, connection.wants_row()) {
            (Unknown::TimedOut, true) if !hooks::repeats_a_lost_register(cx.flaws) => {}
            (Unknown::TimedOut, true) if unsettled => self.settle_again(cx, terminals, key),
            (Unknown::TimedOut, true) => self.write_row(cx, terminals, key),
            (Unknown::TimedOut, false) => self.remove_row(cx, terminals, key),
            (Unknown::LinkLost, true) => {}
            (Unknown::LinkLost, false) => {
                self.rows.set(key, RowState::Absent);
                self.forget_if_over(cx, terminals, key);
            }
        }
    }

    pub(in crate::membership) fn register_refused(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        key: ConnectionKey,
    ) {
        let Some(connection) = terminals.get(key) else {
            cx.bug("a row was asked for a connection that is forgotten");
            return;
        };
        self.rows.set(key, RowState::Due);
        if connection.wants_row() {
            self.try_later(cx, key);
        } else {
            // Nothing was written now, but perhaps before.
            self.remove_row(cx, terminals, key);
            self.forget_if_over(cx, terminals, key);
        }
    }

    /// The directory has removed a row.
    pub(in crate::membership) fn unregistered(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        key: ConnectionKey,
    ) {
        if terminals.get(key).is_none() {
            cx.bug("a row was removed for a connection that is forgotten");
            return;
        }
        self.rows.set(key, RowState::Absent);
        self.forget_if_over(cx, terminals, key);
    }

    pub(in crate::membership) fn unregister_unknown(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        key: ConnectionKey,
        unknown: Unknown,
    ) {
        match unknown {
            Unknown::TimedOut => {
                if terminals.get(key).is_some() {
                    self.rows.set(key, RowState::Due);
                }
                self.remove_row(cx, terminals, key);
            }
            Unknown::LinkLost => self.unregistered(cx, terminals, key),
        }
    }

    pub(in crate::membership) fn unregister_refused(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &Terminals,
        key: ConnectionKey,
    ) {
        if terminals.get(key).is_some() {
            self.rows.set(key, RowState::Due);
        }
        self.try_later(cx, key);
    }

    /// Forgets a connection whose socket and row have both gone.
    pub(in crate::membership) fn forget_if_over(
        &self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        key: ConnectionKey,
    ) {
        if self.rows.state(key) == RowState::Absent {
            terminals.row_changed(cx, key, RowNews::Absent);
        }
    }

    fn try_later(&mut self, cx: &mut Context<'_>, key: ConnectionKey) {
        let at = cx.now.mono + RETRY;
        self.rows.refused.push_back((at, key));
        cx.set(&mut self.rows.retry, at, MembershipTimer::Retry);
    }

    /// There is no link to try refused rows again on. The next settling writes those that are wanted.
    pub(in crate::membership) fn drop_refused(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
    ) {
        for (_, key) in std::mem::take(&mut self.rows.refused) {
            let ended = (terminals.get(key)).is_some_and(|connection| !connection.wants_row());
            if ended && self.rows.state(key) == RowState::Due {
                self.remove_row(cx, terminals, key);
                self.forget_if_over(cx, terminals, key);
            }
        }
    }

    /// Tries refused rows again, within the pace of settling: a directory that takes nothing would
    /// be asked for everything, four times a second.
    pub(in crate::membership) fn retry_due(
        &mut self,
        cx: &mut Context<'_>,
        view: &View,
        terminals: &Terminals,
    ) {
        if !self.rows.retry.rings(cx.now.mono) {
            return;
        }
        let mut budget = settle::budget(cx, view, 0);
        while let Some(&(at, key)) = self.rows.refused.front() {
            if budget == 0 {
                cx.set(
                    &mut self.rows.retry,
                    cx.now.mono + STEP,
                    MembershipTimer::Retry,
                );
                return;
            }
            budget -= 1;
            if at > cx.now.mono {
                cx.set(&mut self.rows.retry, at, MembershipTimer::Retry);
                return;
            }
            self.rows.refused.pop_front();
            let Some(connection) = terminals.get(key) else {
                continue;
            };
            match self.rows.state(key) {
                RowState::Due if connection.wants_row() => self.write_row(cx, terminals, key),
                RowState::Due => self.remove_row(cx, terminals, key),
                // Something else has taken it up since.
                RowState::Absent
                | RowState::Writing { .. }
                | RowState::Written { .. }
                | RowState::Removing => {}
            }
        }
    }

    /// Writes the next part of all rows again.
    pub(in crate::membership) fn sweep_due(&mut self, cx: &mut Context<'_>, terminals: &Terminals) {
        if !self.rows.sweep.rings(cx.now.mono) {
            return;
        }
        cx.set(
            &mut self.rows.sweep,
            cx.now.mono + SWEEP_STEP,
            MembershipTimer::Sweep,
        );
        if self.lease.held_epoch().is_none() || self.settlement.is_running() {
            return;
        }
        // Each step owes its part of all rows, and few rows have steps without any.
        let steps = (cx.config.sweep.as_nanos() / SWEEP_STEP.as_nanos()).max(1) as usize;
        self.rows.owed += terminals.present();
        while self.rows.owed >= steps {
            self.rows.owed -= steps;
            let next = (terminals.next_younger(self.rows.swept))
                .or_else(|| terminals.next_younger(Age::OLDEST));
            let Some((age, key)) = next else {
                return;
            };
            self.rows.swept = age.younger();
            if let RowState::Written { .. } = self.rows.state(key) {
                self.write_row(cx, terminals, key);
            }
        }
    }

    /// What is known of one connection's row.
    pub(in crate::membership) fn fingerprint_row(
        &self,
        now: Instant,
        key: ConnectionKey,
        hasher: &mut impl Hasher,
    ) {
        let KnownRow { state, unsettled } = self.rows.table.get(key);
        state.hash(hasher);
        unsettled.fingerprint(now, hasher);
    }
}

impl Fingerprint for Rows {
    /// What is known of one row is hashed with its connection.
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.refused.fingerprint(now, hasher);
        self.swept.fingerprint(now, hasher);
        self.owed.fingerprint(now, hasher);
    }
}
