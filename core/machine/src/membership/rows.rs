//! The rows of local connections: written, kept true, removed.

use std::collections::VecDeque;
use std::hash::Hasher;
use std::time::Duration;

use crate::base::fingerprint::Fingerprint;
use crate::base::flaws::Flaw;
use crate::command::Outbox;
use crate::directory::{Operation, Row};
use crate::frame::CloseCode;
use crate::id::{ConnectionKey, Epoch};
use crate::instance::{Instance, Once};
use crate::membership::purpose::Purpose;
use crate::membership::settle;
use crate::membership::trips::Unknown;
use crate::terminals::connection::{RowState, Waiting};
use crate::terminals::registry::Age;
use crate::time::{Instant, Now};

/// When an operation is tried again that the directory refused. It refuses for lack of memory or
/// during a long script: neither passes at once, and terminals wait.
const RETRY: Duration = Duration::from_millis(250);
/// The time between two steps of the sweep.
const SWEEP_STEP: Duration = Duration::from_secs(1);

/// Rows that are written again for no special reason, and rows that were refused.
#[derive(Clone, Debug)]
pub(crate) struct Upkeep {
    /// Refused rows, in the order of their next try.
    refused: VecDeque<(Instant, ConnectionKey)>,
    /// The oldest connection that the sweep has not come to.
    swept: Age,
    /// What the steps of the sweep have added up to, less the rows written for it.
    owed: usize,
}

impl Upkeep {
    pub(crate) const fn new() -> Self {
        Self {
            refused: VecDeque::new(),
            swept: Age::OLDEST,
            owed: 0,
        }
    }
}

impl Instance {
    /// Writes a connection's row under the present epoch, if the lease is held; if not, the
    /// settling that follows the next claim does.
    pub(crate) fn write_row(&mut self, key: ConnectionKey) {
        let Some(connection) = self.terminals.registry.get_mut(key) else {
            return;
        };
        let early = self.base.flaws.has(Flaw::RowBeforeClaim) && self.membership.keeper.is_linked();
        let epoch = self
            .membership
            .keeper
            .held_epoch()
            .or(early.then_some(self.membership.keeper.epoch()));
        let Some(epoch) = epoch else {
            connection.row = RowState::Due;
            return;
        };
        connection.row = RowState::Writing { epoch };
        let operation = Operation::Register {
            key: connection.user.clone().into(),
            connection: connection.id,
            row: Row {
                instance: self.base.identity.instance,
                epoch,
                connected: connection.connected,
            },
        };
        let purpose = Purpose::Register {
            connection: key,
            epoch,
        };
        self.membership.trips.ask(operation, purpose.into());
    }

    /// Removes the row of a connection whose presence has ended. While the directory is away there
    /// is nothing to do: what it may hold is of an epoch that the next claim leaves behind.
    pub(crate) fn remove_row(&mut self, key: ConnectionKey) {
        let linked = self.membership.keeper.is_linked();
        let Some(connection) = self.terminals.registry.get_mut(key) else {
            return;
        };
        match connection.row {
            RowState::Absent | RowState::Removing => {}
            // The write ends first.
            RowState::Writing { .. } => {}
            RowState::Due | RowState::Written { .. } => {
                if !linked {
                    connection.row = RowState::Absent;
                    return;
                }
                connection.row = RowState::Removing;
                let operation = Operation::Unregister {
                    key: connection.user.clone().into(),
                    connection: connection.id,
                    instance: self.base.identity.instance,
                };
                self.membership
                    .trips
                    .ask(operation, Purpose::Unregister { connection: key }.into());
            }
        }
    }

    pub(crate) fn registered(
        &mut self,
        now: Now,
        key: ConnectionKey,
        epoch: Epoch,
        out: &mut Outbox,
    ) {
        let present = self.membership.keeper.held_epoch_at(now.mono) == Some(epoch)
            || (self.base.flaws.has(Flaw::RowBeforeClaim)
                && self.membership.keeper.epoch() == epoch);
        let Some(connection) = self.terminals.registry.get_mut(key) else {
            self.bug("a row was written for a connection that is forgotten");
            return;
        };
        connection.row = RowState::Written { epoch };
        if !connection.wants_row() {
            if self.base.flaws.has(Flaw::LateRegisterKept) {
                return self.unregistered(now, key, out);
            }
            self.remove_row(key);
            return;
        }
        if !present {
            // It proves nothing: the directory may have changed since, or the lease have run out.
            if self.membership.keeper.held_epoch() == Some(epoch) {
                connection.row = RowState::Due;
                self.try_later(now, key);
            } else {
                self.write_row(key);
            }
            return;
        }
        let cx = &mut self.base.context(now, out);
        self.terminals.row_written(cx, key);
        self.carry(now, out);
        self.settled_one(key);
    }

    /// A row of a higher epoch stands where one of `epoch` was to be written.
    pub(crate) fn superseded(
        &mut self,
        now: Now,
        key: ConnectionKey,
        epoch: Epoch,
        out: &mut Outbox,
    ) {
        let present = self.membership.keeper.held_epoch() == Some(epoch);
        let wanted =
            (self.terminals.registry.get(key)).is_some_and(|connection| connection.wants_row());
        if !present || !wanted {
            self.registered(now, key, epoch, out);
            return;
        }
        // Somebody else wrote a row under our id.
        self.base.stats.directory_refusals += 1;
        if let Some(connection) = self.terminals.registry.get_mut(key) {
            connection.row = RowState::Due;
        }
        let code = CloseCode::ServiceRestart;
        self.close(now, key, code, Waiting::Write, None, out);
    }

    pub(crate) fn register_unknown(
        &mut self,
        now: Now,
        key: ConnectionKey,
        unknown: Unknown,
        out: &mut Outbox,
    ) {
        let Some(connection) = self.terminals.registry.get_mut(key) else {
            self.bug("a row was asked for a connection that is forgotten");
            return;
        };
        connection.row = RowState::Due;
        let wanted = connection.wants_row();
        let unsettled = connection.unsettled == Some(self.membership.keeper.epoch());
        match (unknown, wanted) {
            (Unknown::TimedOut, true) if self.base.flaws.has(Flaw::LostRegisterNotRepeated) => {}
            (Unknown::TimedOut, true) if unsettled => self.settle_again(key),
            (Unknown::TimedOut, true) => self.write_row(key),
            (Unknown::TimedOut, false) => self.remove_row(key),
            (Unknown::LinkLost, true) => {}
            (Unknown::LinkLost, false) => {
                connection.row = RowState::Absent;
                self.forget_if_over(now, key, out);
            }
        }
    }

    pub(crate) fn register_refused(&mut self, now: Now, key: ConnectionKey, out: &mut Outbox) {
        let Some(connection) = self.terminals.registry.get_mut(key) else {
            self.bug("a row was asked for a connection that is forgotten");
            return;
        };
        connection.row = RowState::Due;
        if connection.wants_row() {
            self.try_later(now, key);
        } else {
            // Nothing was written now, but perhaps before.
            self.remove_row(key);
            self.forget_if_over(now, key, out);
        }
    }

    pub(crate) fn unregistered(&mut self, now: Now, key: ConnectionKey, out: &mut Outbox) {
        let Some(connection) = self.terminals.registry.get_mut(key) else {
            self.bug("a row was removed for a connection that is forgotten");
            return;
        };
        connection.row = RowState::Absent;
        self.forget_if_over(now, key, out);
    }

    pub(crate) fn unregister_unknown(
        &mut self,
        now: Now,
        key: ConnectionKey,
        unknown: Unknown,
        out: &mut Outbox,
    ) {
        match unknown {
            Unknown::TimedOut => {
                if let Some(connection) = self.terminals.registry.get_mut(key) {
                    connection.row = RowState::Due;
                }
                self.remove_row(key);
            }
            Unknown::LinkLost => self.unregistered(now, key, out),
        }
    }

    pub(crate) fn unregister_refused(&mut self, now: Now, key: ConnectionKey) {
        if let Some(connection) = self.terminals.registry.get_mut(key) {
            connection.row = RowState::Due;
        }
        self.try_later(now, key);
    }

    /// Forgets a connection whose socket and row have both gone.
    pub(crate) fn forget_if_over(&mut self, now: Now, key: ConnectionKey, out: &mut Outbox) {
        let row = self.terminals.registry.get(key).map(|found| found.row);
        if row == Some(RowState::Absent) {
            let cx = &mut self.base.context(now, out);
            self.terminals.forget_if_gone(cx, key);
        }
    }

    fn try_later(&mut self, now: Now, key: ConnectionKey) {
        let at = now.mono + RETRY;
        self.membership.upkeep.refused.push_back((at, key));
        self.arm_once(Once::Refused, at);
    }

    /// There is no link to try refused rows again on. The next settling writes those that are wanted.
    pub(crate) fn drop_refused(&mut self, now: Now, out: &mut Outbox) {
        for (_, key) in std::mem::take(&mut self.membership.upkeep.refused) {
            let ended = (self.terminals.registry.get(key)).is_some_and(|connection| {
                !connection.wants_row() && connection.row == RowState::Due
            });
            if ended {
                self.remove_row(key);
                self.forget_if_over(now, key, out);
            }
        }
    }

    /// Tries refused rows again, within the pace of settling: a directory that takes nothing would
    /// be asked for everything, four times a second.
    pub(crate) fn refused_due(&mut self, now: Now) {
        let mut budget = self.settle_budget(0);
        while let Some(&(at, key)) = self.membership.upkeep.refused.front() {
            if budget == 0 {
                self.arm_once(Once::Refused, now.mono + settle::STEP);
                return;
            }
            budget -= 1;
            if at > now.mono {
                self.arm_once(Once::Refused, at);
                return;
            }
            self.membership.upkeep.refused.pop_front();
            let Some(connection) = self.terminals.registry.get_mut(key) else {
                continue;
            };
            match connection.row {
                RowState::Due if connection.wants_row() => self.write_row(key),
                RowState::Due => self.remove_row(key),
                // Something else has taken it up since.
                RowState::Absent
                | RowState::Writing { .. }
                | RowState::Written { .. }
                | RowState::Removing => {}
            }
        }
    }

    /// Writes the next part of all rows again.
    pub(crate) fn sweep_due(&mut self, now: Now) {
        self.arm_once(Once::Sweep, now.mono + SWEEP_STEP);
        if self.membership.keeper.held_epoch().is_none() || self.membership.keeper.is_settling() {
            return;
        }
        // Each step owes its part of all rows, and few rows have steps without any.
        let steps = (self.base.config.sweep.as_nanos() / SWEEP_STEP.as_nanos()).max(1) as usize;
        self.membership.upkeep.owed += self.terminals.registry.present();
        while self.membership.upkeep.owed >= steps {
            self.membership.upkeep.owed -= steps;
            let next = (self
                .terminals
                .registry
                .next_younger(self.membership.upkeep.swept))
            .or_else(|| self.terminals.registry.next_younger(Age::OLDEST));
            let Some((age, key)) = next else {
                return;
            };
            self.membership.upkeep.swept = age.younger();
            let row = self
                .terminals
                .registry
                .get(key)
                .map(|connection| connection.row);
            if let Some(RowState::Written { .. }) = row {
                self.write_row(key);
            }
        }
    }
}

impl Fingerprint for Upkeep {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.refused.fingerprint(now, hasher);
        self.swept.fingerprint(now, hasher);
        self.owed.fingerprint(now, hasher);
    }
}
