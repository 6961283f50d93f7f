//! This instance at one Redis: the link to it, the lease that it keeps there, the rows that it writes
//! there, and whether the two are in step.
//!
//! What a Redis loses, it loses alone: a lease vouches for the rows that stand beside it, and the
//! epoch and the floor of a shard say nothing about another. So all that depends on them is here.

mod lease;
mod rows;
mod settle;
mod topic_rows;

use std::hash::Hasher;
use std::time::Duration;

use crate::base::alarm::Alarm;
use crate::base::fingerprint::Fingerprint;
use crate::config::Config;
use crate::context::Context;
use crate::directory::{Lease, LeaseState, Load, Operation, OperationResult};
use crate::event::TripLost;
use crate::id::{Epoch, OpId, TopicId};
use crate::membership::trips::{Completion, RoundTrips, TripEnd};
use crate::membership::view::View;
use crate::stats::{Stats, Tables};
use crate::terminals::Terminals;
use crate::time::{Instant, Now};
use crate::vocabulary::departure::Departure;
use crate::vocabulary::purpose::{MembershipPurpose, Purpose};
use crate::vocabulary::service::Service;

use lease::LeaseHolder;
use rows::Rows;
pub(in crate::membership) use rows::is_wanted;
use settle::Settlement;

/// When an operation is tried again that the directory refused. It refuses for lack of memory or
/// during a long script: neither passes at once, and terminals wait.
const RETRY: Duration = Config::DIRECTORY_RETRY;

/// This instance at one Redis.
#[derive(Clone, Debug)]
pub(crate) struct Shard {
    trips: RoundTrips<Purpose>,
    lease: LeaseHolder,
    rows: Rows,
    settlement: Settlement,
    /// Since when the lease is not held while a peer says that the directory works.
    cut_off: Option<Instant>,
}

/// The figures that this instance publishes with its lease.
pub(super) fn load(terminals: &Terminals, stats: &Stats) -> Load {
    Load {
        connections: terminals.present() as u64,
        pushes: stats.pushes,
    }
}

impl Shard {
    pub(super) const fn new(now: Now) -> Self {
        Self {
            trips: RoundTrips::new(),
            lease: LeaseHolder::new(now),
            rows: Rows::new(),
            settlement: Settlement::new(),
            cut_off: None,
        }
    }

    /// Asks for an operation with the next round trip.
    pub(super) fn ask(&mut self, operation: Operation, purpose: impl Into<Purpose>) {
        self.trips.ask(operation, purpose.into());
    }

    /// Asks for an operation with the next round trip, before another one that waits for it.
    pub(super) fn ask_before(
        &mut self,
        other: &Operation,
        operation: Operation,
        purpose: impl Into<Purpose>,
    ) {
        self.trips.ask_before(other, operation, purpose.into());
    }

    /// Asks for an operation that waits for a replica.
    pub(super) fn ask_replica(&mut self, operation: Operation, purpose: impl Into<Purpose>) {
        self.trips.ask_replica(operation, purpose.into());
    }

    /// Asks for the leases of all instances.
    pub(super) fn ask_view(&mut self) {
        self.trips
            .ask_first(Operation::View, MembershipPurpose::View.into());
    }

    /// Starts as many round trips as may be under way.
    pub(super) fn flush(&mut self, cx: &mut Context<'_>) {
        let evidence = self.lease.held_epoch().map(|epoch| {
            let instance = cx.identity.instance;
            let operation = Operation::ReadLease { instance };
            (operation, MembershipPurpose::OwnLease { epoch }.into())
        });
        self.trips.flush(cx, || evidence.clone());
    }

    pub(super) fn trip_answered(
        &mut self,
        cx: &mut Context<'_>,
        op: OpId,
        outcomes: Result<Vec<OperationResult>, TripLost>,
    ) -> TripEnd<Purpose> {
        self.trips.answered(cx, op, outcomes)
    }

    /// A trip's deadline has come. Returns what ends with it.
    pub(super) fn trip_due(&mut self, cx: &mut Context<'_>, op: OpId) -> Vec<Completion<Purpose>> {
        let ended = self.trips.due(cx, op);
        self.settlement.timed_out(&ended);
        ended
    }

    /// There is a new link: the lease is claimed, and each instance is doubted that may not have
    /// noticed what this one has.
    pub(super) fn claim_on_new_link(&mut self, cx: &mut Context<'_>, view: &mut View) {
        self.lease.link_up(cx, view);
    }

    /// Rows are written again from here on, a part of them at a time.
    pub(super) fn begin_sweep(&mut self, cx: &mut Context<'_>) {
        self.rows.begin_sweep(cx);
    }

    /// The link is gone. Returns what ends with it. Once those who asked for it know,
    /// [`drop_refused`](Self::drop_refused) follows.
    pub(super) fn link_down(&mut self) -> Vec<Completion<Purpose>> {
        self.lease.link_down();
        self.settlement.stop();
        self.trips.link_lost()
    }

    /// Whether a round trip can start.
    pub(super) fn is_due(&self) -> bool {
        self.trips.is_due()
    }

    /// Operations that wait for a round trip.
    pub(super) fn waiting(&self) -> usize {
        self.trips.waiting()
    }

    /// Counts what is in its tables.
    pub(super) fn count(&self, tables: &mut Tables) {
        tables.operations = self.trips.waiting();
        tables.trips = self.trips.under_way();
        tables.topic_rows = self.rows.topics.len();
        tables.refused_rows = self.rows.refused();
        self.settlement.count(tables);
    }

    /// The state of the lease, for people.
    pub(super) const fn lease_state(&self) -> &'static str {
        self.lease.state_name()
    }

    /// The states of the rows of topics, for people.
    pub(super) fn topic_states(&self) -> impl Iterator<Item = (&TopicId, &'static str)> {
        self.rows.topics.states()
    }

    /// Whether there is a link.
    pub(super) const fn is_linked(&self) -> bool {
        self.lease.is_linked()
    }

    /// Whether the lease is held and has not expired by this instance's own count.
    pub(super) fn has_lease(&self, now: Instant) -> bool {
        self.lease.held_epoch_at(now).is_some()
    }

    /// Whether the lease was ever held.
    pub(super) const fn has_held(&self) -> bool {
        self.lease.has_held()
    }

    pub(super) const fn epoch(&self) -> Epoch {
        self.lease.epoch()
    }

    /// What the lease should say may have changed: that is seen at the end of the turn.
    pub(super) const fn note_change(&mut self) {
        self.lease.note_change();
    }

    /// Whether nothing is owed to the directory, and nothing is asked of it.
    pub(super) fn is_released(&self) -> bool {
        !self.lease.is_owed() && self.trips.is_idle()
    }

    /// How the directory serves this instance.
    pub(super) fn service(&self, now: Instant) -> Service {
        match self.lease.held_at(now) {
            None => Service::None,
            Some(lease) => {
                let told = lease.state == LeaseState::Settling;
                if self.settlement.lacks_rows() && !told {
                    Service::Behind
                } else {
                    Service::Full
                }
            }
        }
    }

    /// What the lease should say.
    pub(super) fn desired(&self, departure: Departure, address: &str) -> Lease {
        (self.lease).desired(departure, self.settlement.lacks_rows(), address)
    }

    /// A peer says that the directory works for it. Returns since when the lease is not held although
    /// a peer says so. Not before one does: when the directory comes back, somebody is the first.
    pub(super) fn works_elsewhere(&mut self, now: Instant) -> Option<Instant> {
        if self.has_lease(now) {
            return None;
        }
        Some(*self.cut_off.get_or_insert(now))
    }

    /// The timers of which there is one: of the lease, of the sweep, of settling, of refused rows, and of
    /// members that are told of their topics.
    pub(super) const fn alarms(&self) -> [Alarm; 5] {
        let [sweep, retry, tell] = self.rows.alarms();
        [
            self.lease.alarm(),
            sweep,
            self.settlement.alarm(),
            retry,
            tell,
        ]
    }

    /// Operations that wait or are under way.
    #[cfg(test)]
    pub(super) fn open(&self) -> usize {
        self.trips.open()
    }
}

impl Fingerprint for Shard {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.rows.fingerprint(now, hasher);
        self.trips.fingerprint(now, hasher);
        self.lease.fingerprint(now, hasher);
        self.settlement.fingerprint(now, hasher);
        self.cut_off.fingerprint(now, hasher);
    }
}
