//! This instance's standing in the directory, and what it knows of the others.
//!
//! **Lease.** Each instance keeps one entry in the directory, its lease, and renews it before it
//! expires. Each connection has one row, which says where it lives. A row counts if the lease of its
//! instance has not expired and its epoch is not below the lease's floor, and nothing else decides:
//! no clock of the writer, no expiry of the row.
//!
//! **Epoch.** The directory may lose its newest writes, come back empty, or execute an operation long
//! after it was given up. So each time that an instance takes its lease, it takes it with a higher
//! epoch, and each row carries the epoch under which it was written. Nothing of a lower epoch ever
//! replaces something of a higher one: whatever still floats in the network can leave a row of an
//! old epoch behind, and no more.
//!
//! **Floor.** Such leftovers are made void in one step. When all rows are written under the present
//! epoch, the instance raises the floor of its lease to it, and rows of earlier epochs are dead from
//! there on, by comparison. It must not rise earlier: rows that are not written again yet would be
//! dead with the leftovers.
//!
//! **Settling** ([`shard`], `settle`) is what lies between the two: a claim under a new epoch, all rows
//! again, then the floor. It follows whenever the directory may have changed behind the instance's
//! back: after each new link, and after the lease was lost. Meanwhile the lease says `settling`.
//!
//! **Doubt** ([`view`]). A lookup cannot tell "the user is offline" from "the row was lost". So
//! an instance that may have terminals without rows is doubted, and asked by key beside those that
//! the rows name: an instance that settles, one whose lease vanished, and everybody after this instance's own
//! link or lease was lost, because others may not have noticed yet what it has.

mod hooks;
mod list;
mod shard;
pub(crate) mod trips;
pub(crate) mod view;

use std::hash::Hasher;

use crate::base::alarm::Alarm;
use crate::base::fingerprint::Fingerprint;
use crate::context::Context;
use crate::directory::{Operation, OperationResult, Reply, SeenLease};
use crate::event::TripLost;
use crate::id::{ConnectionKey, Epoch, InstanceId, OpId, TopicId};
use crate::stats::{Gauges, Tables};
use crate::terminals::Terminals;
use crate::time::{Instant, Now};
use crate::vocabulary::effect::Effect;
use crate::vocabulary::missing::Missing;
use crate::vocabulary::purpose::{MembershipPurpose, Purpose};
use crate::vocabulary::terminal::{RowOf, TerminalChange};
use crate::vocabulary::timer::MembershipTimer;

use crate::vocabulary::departure::Departure;
use crate::vocabulary::service::Service;
use crate::vocabulary::standing::{Doubt, Sight, Sign, Standing};
use shard::Shard;
use trips::{Completion, Conclusion, TripEnd, Unknown};
use view::View;

/// This instance's standing in the directory, and what it knows of the others.
///
/// The directory is one Redis, so there is one [`Shard`]. Every question goes through here, where
/// several would be told apart, by key.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    shard: Shard,
    view: View,
}

impl Membership {
    pub(crate) fn new(now: Now) -> Self {
        Self {
            shard: Shard::new(now),
            view: View::new(now),
        }
    }

    /// What rows of an instance are worth to a push that began at this moment.
    pub(crate) fn standing(
        &self,
        cx: &Context<'_>,
        instance: InstanceId,
        since: Instant,
    ) -> Standing {
        if instance == cx.identity.instance {
            // Whether the connection is here is seen when it is served.
            return Standing::Live {
                floor: Epoch::ZERO,
                doubtful: false,
            };
        }
        self.view.standing(instance, since, cx.now.mono)
    }

    /// Who may have terminals that no row names, for a push that began at this moment.
    pub(crate) fn doubt(&self, cx: &Context<'_>, since: Instant) -> Doubt {
        let now = cx.now.mono;
        let is_blind = !self.has_lease(now) || self.view.is_blind(since, now, cx.config.lease);
        let sight = if is_blind {
            Sight::Blind
        } else if self.view.asked().is_none_or(|asked| asked < since) {
            Sight::Earlier
        } else {
            Sight::Clear
        };
        Doubt {
            instances: self.view.doubtful(since, now),
            sight,
        }
    }

    /// Everybody who was alive when last read, however long ago that is, or was in doubt at some moment
    /// since. In the order of their ids.
    pub(crate) fn everybody(&self, cx: &Context<'_>, since: Instant) -> Vec<InstanceId> {
        self.view.everybody(since, cx.now.mono)
    }

    /// Where an instance is dialled, if it was in the last reading or is doubted.
    pub(crate) fn address(&self, instance: InstanceId) -> Option<&str> {
        self.view.address(instance)
    }

    /// What is known of the others.
    #[cfg(test)]
    pub(crate) const fn view(&self) -> &View {
        &self.view
    }

    /// Asks the directory for something.
    pub(crate) fn ask(&mut self, operation: Operation, purpose: impl Into<Purpose>) {
        self.shard.ask(operation, purpose);
    }

    /// Asks the directory for something, before another question that waits to be asked.
    pub(crate) fn ask_before(
        &mut self,
        other: &Operation,
        operation: Operation,
        purpose: impl Into<Purpose>,
    ) {
        self.shard.ask_before(other, operation, purpose);
    }

    /// Asks the directory for something that waits for a replica.
    pub(crate) fn ask_replica(&mut self, operation: Operation, purpose: impl Into<Purpose>) {
        self.shard.ask_replica(operation, purpose);
    }

    /// Operations that wait for a round trip.
    pub(crate) fn waiting(&self) -> usize {
        self.shard.waiting()
    }

    /// Whether there is a directory link.
    pub(crate) const fn is_linked(&self) -> bool {
        self.shard.is_linked()
    }

    /// Whether the lease is held and has not expired by this instance's own count.
    fn has_lease(&self, now: Instant) -> bool {
        self.shard.has_lease(now)
    }

    /// Whether the lease was ever held.
    pub(crate) const fn has_held(&self) -> bool {
        self.shard.has_held()
    }

    /// Writes down what there is to see of it.
    pub(crate) fn gauge(&self, now: Instant, gauges: &mut Gauges) {
        gauges.instances = self.view.alive() + 1;
        gauges.epoch = self.shard.epoch().get();
        gauges.directory = self.has_lease(now);
    }

    /// How the directory serves this instance.
    pub(crate) fn service(&self, now: Instant) -> Service {
        self.shard.service(now)
    }

    /// There is a new directory link. The former one is [down](Self::directory_down).
    pub(crate) fn directory_up(&mut self, cx: &mut Context<'_>) {
        self.shard.claim_on_new_link(cx, &mut self.view);
        self.view.begin(cx);
        self.shard.begin_sweep(cx);
    }

    /// The directory link is gone. Returns what ends with it; once those who asked for it know,
    /// [`drop_refused`](Self::drop_refused) follows.
    pub(crate) fn directory_down(&mut self) -> Vec<Completion<Purpose>> {
        self.view.link_lost();
        self.shard.link_down()
    }

    /// There is no link to try refused rows again on. The next settling writes those that are wanted.
    pub(crate) fn drop_refused(&mut self, cx: &mut Context<'_>, terminals: &mut Terminals) {
        self.shard.drop_refused(cx, terminals);
    }

    /// The answer to a round trip has come.
    pub(crate) fn trip_answered(
        &mut self,
        cx: &mut Context<'_>,
        op: OpId,
        outcomes: Result<Vec<OperationResult>, TripLost>,
    ) -> TripEnd<Purpose> {
        self.shard.trip_answered(cx, op, outcomes)
    }

    /// Does what is due. Returns the operations that end with it.
    pub(crate) fn timer_due(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        timer: MembershipTimer,
    ) -> Vec<Completion<Purpose>> {
        match timer {
            MembershipTimer::Trip(op) => return self.shard.trip_due(cx, op),
            MembershipTimer::Lease => self.shard.lease_due(cx.now.mono),
            MembershipTimer::View => {
                if self.view.is_due(cx) {
                    self.read_view(cx.turn);
                }
            }
            MembershipTimer::Sweep => self.shard.sweep_due(cx, terminals),
            MembershipTimer::Settle => self.shard.settle_due(cx, &self.view, terminals),
            MembershipTimer::Retry => self.shard.retry_due(cx, &self.view, terminals),
            MembershipTimer::Tell => self.shard.tell_due(cx, terminals),
        }
        Vec::new()
    }

    /// Asks for the others' leases, once a turn.
    pub(crate) fn read_view(&mut self, turn: u64) {
        if self.is_linked() && self.view.begin_reading(turn) {
            self.shard.ask_view();
        }
    }

    /// The others' leases have come. `said`: what an instance says on the link to it, if there is one.
    /// Returns the instances that are to be looked for.
    pub(crate) fn view_read(
        &mut self,
        cx: &mut Context<'_>,
        asked: Instant,
        leases: Vec<SeenLease>,
        said: impl Fn(InstanceId) -> Option<Service>,
    ) -> Vec<InstanceId> {
        self.view.read(cx, asked, leases, said)
    }

    /// All rows are to be written again.
    pub(crate) fn begin_settling(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &Terminals,
        missing: Missing,
    ) {
        self.shard
            .begin_settling(cx, &self.view, terminals, missing);
    }

    /// Claims, renews or releases the lease, if something has changed in this turn and it is time.
    pub(crate) fn tend_lease(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &Terminals,
        departure: Departure,
    ) {
        self.shard.tend_lease(cx, terminals, departure);
    }

    /// Starts as many round trips as may be under way.
    pub(crate) fn flush(&mut self, cx: &mut Context<'_>) {
        self.shard.flush(cx);
    }

    /// Whether nothing waits for the end of the turn.
    pub(crate) const fn turn_is_over(&self) -> bool {
        !self.shard.has_changed()
    }

    /// Whether a round trip can start.
    pub(crate) fn is_due(&self) -> bool {
        self.shard.is_due()
    }

    /// A terminal has changed, and its row or the lease follows.
    pub(crate) fn terminal_changed(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        change: TerminalChange,
    ) {
        let shard = &mut self.shard;
        match change {
            TerminalChange::Opened(key) => {
                shard.write_row(cx, terminals, &RowOf::Connection(key));
            }
            TerminalChange::Degraded => shard.degraded(),
            TerminalChange::DegradationEnded => shard.degradation_ended(),
            TerminalChange::Ended(key) => {
                shard.row_unwanted(cx, terminals, &RowOf::Connection(key));
            }
            TerminalChange::Gone(key) => {
                shard.forget_if_over(cx, terminals, &RowOf::Connection(key));
            }
        }
    }

    /// A terminal has become a member of a topic, and waits until the directory knows of that.
    pub(crate) fn topic_joined(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        topic: &TopicId,
    ) {
        self.shard.topic_joined(cx, terminals, topic);
    }

    /// The last member of a topic has left.
    pub(crate) fn topic_empty(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &Terminals,
        topic: TopicId,
    ) {
        let of = RowOf::Topic(topic);
        // Another one may have come in the same call.
        if !shard::is_wanted(terminals, &of) {
            self.shard.row_unwanted(cx, terminals, &of);
        }
    }

    /// How far the end of the instance is has changed, and the lease is to say so.
    pub(crate) const fn departure_changed(&mut self) {
        self.shard.note_change();
    }

    /// Whether the lease is given back, and nothing is asked.
    pub(crate) fn is_released(&self) -> bool {
        self.shard.is_released()
    }

    /// A peer says that the directory works for it. Returns since when the lease is not held although
    /// a peer says so, if it is not held.
    pub(crate) fn directory_works_elsewhere(&mut self, now: Instant) -> Option<Instant> {
        self.shard.works_elsewhere(now)
    }

    /// An instance shows beside its lease that it lives, or that it does not.
    pub(crate) fn noticed(&mut self, now: Instant, instance: InstanceId, sign: Sign) {
        match sign {
            Sign::Linked => self.view.linked(instance),
            Sign::Says(service) => self.view.heard(now, instance, service),
            Sign::Goodbye => self.view.said_goodbye(instance),
        }
    }

    /// There is no link to an instance, and none is being opened. Returns whether one is to be dialled
    /// at once, because nothing else shows that it lives.
    pub(crate) fn unlinked(&mut self, cx: &Context<'_>, instance: InstanceId) -> bool {
        self.view.unlinked(cx.now.mono, cx.config, instance)
    }

    /// An operation has ended that this wing asked for.
    pub(crate) fn operation_ended(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        purpose: MembershipPurpose,
        conclusion: Conclusion,
    ) {
        match conclusion {
            Conclusion::Answered { asked, reply } => {
                self.operation_answered(cx, terminals, asked, purpose, reply)
            }
            Conclusion::Refused(_) => self.operation_refused(cx, terminals, purpose),
            Conclusion::Unknown(unknown) => self.operation_unknown(cx, terminals, purpose, unknown),
        }
    }

    fn operation_answered(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        asked: Instant,
        purpose: MembershipPurpose,
        reply: Reply,
    ) {
        let Self { shard, view } = self;
        match (purpose, reply) {
            (MembershipPurpose::Register { row, epoch }, Reply::Registered) => {
                if let RowOf::Connection(connection) = row {
                    terminals.topics_of_user(cx, connection, Vec::new());
                }
                shard.registered(cx, terminals, row, epoch);
            }
            (MembershipPurpose::Register { row, epoch }, Reply::RegisteredWith(topics)) => {
                let connection = match row {
                    RowOf::Connection(connection) => Some(connection),
                    RowOf::Topic(_) => None,
                };
                shard.registered(cx, terminals, row, epoch);
                if let Some(connection) = connection {
                    terminals.topics_of_user(cx, connection, topics);
                }
            }
            (MembershipPurpose::Unregister { row }, Reply::Removed(_)) => {
                shard.unregistered(cx, terminals, &row);
            }
            (MembershipPurpose::View, Reply::Leases { leases, malformed }) => {
                cx.stats.malformed_entries += u64::from(malformed);
                cx.emit(Effect::Leases { asked, leases });
            }
            (MembershipPurpose::Claim { lease }, Reply::Claimed { replaced }) => {
                if let Some(missing) = shard.claimed(cx, asked, lease, replaced.as_ref()) {
                    cx.emit(Effect::Claimed { missing });
                }
            }
            (MembershipPurpose::Claim { .. }, Reply::ClaimRefused { epoch }) => {
                shard.claim_refused(epoch)
            }
            (MembershipPurpose::Renew { lease }, Reply::Renewed) => {
                shard.renewed(cx, view, asked, lease)
            }
            (MembershipPurpose::Renew { lease }, Reply::Lost) => {
                shard.renewal_lost(cx, view, lease.epoch)
            }
            (MembershipPurpose::Release, Reply::Released(_)) => {}
            (MembershipPurpose::OwnLease { epoch }, Reply::Lease(seen)) => {
                shard.own_lease_seen(cx, view, epoch, seen.as_ref());
            }
            (
                purpose @ (MembershipPurpose::Register { .. }
                | MembershipPurpose::Unregister { .. }
                | MembershipPurpose::View
                | MembershipPurpose::Claim { .. }
                | MembershipPurpose::Renew { .. }
                | MembershipPurpose::Release
                | MembershipPurpose::OwnLease { .. }),
                _,
            ) => {
                cx.stats.directory_refusals += 1;
                self.operation_refused(cx, terminals, purpose);
            }
        }
    }

    /// The directory did not execute the operation, or answered what cannot be understood or nobody but this instance can
    /// have caused: that a row of a higher epoch, or of another instance, stands under the id of a connection.
    fn operation_refused(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        purpose: MembershipPurpose,
    ) {
        let Self { shard, view } = self;
        match purpose {
            MembershipPurpose::Register { row, .. } => {
                shard.register_refused(cx, terminals, row);
            }
            MembershipPurpose::Unregister { row } => {
                shard.unregister_refused(cx, terminals, row);
            }
            MembershipPurpose::Release => {}
            MembershipPurpose::View => cx.emit(Effect::ViewFailed),
            MembershipPurpose::Claim { .. } => shard.claim_failed(cx, view),
            MembershipPurpose::Renew { lease } => shard.renewal_refused(cx, view, &lease),
            MembershipPurpose::OwnLease { epoch } => shard.evidence_unknown(cx, epoch),
        }
    }

    fn operation_unknown(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        purpose: MembershipPurpose,
        unknown: Unknown,
    ) {
        let Self { shard, view } = self;
        match purpose {
            MembershipPurpose::Register { row, .. } => {
                shard.register_unknown(cx, terminals, row, unknown);
            }
            MembershipPurpose::Unregister { row } => {
                shard.unregister_unknown(cx, terminals, &row, unknown);
            }
            MembershipPurpose::Release => {}
            MembershipPurpose::View => cx.emit(Effect::ViewFailed),
            MembershipPurpose::Claim { .. } => shard.claim_unknown(cx, view, unknown),
            MembershipPurpose::Renew { lease } => shard.renewal_unknown(cx, view, lease, unknown),
            MembershipPurpose::OwnLease { epoch } => shard.evidence_unknown(cx, epoch),
        }
    }

    /// Counts what is in its tables.
    pub(crate) fn count(&self, tables: &mut Tables) {
        self.shard.count(tables);
        tables.known = self.view.alive();
    }

    /// The state of the lease, for people.
    pub(crate) const fn lease_state(&self) -> &'static str {
        self.shard.lease_state()
    }

    /// The states of the rows of topics, for people.
    pub(crate) fn topic_states(&self) -> impl Iterator<Item = (&TopicId, &'static str)> {
        self.shard.topic_states()
    }

    /// What is known of one connection's row.
    pub(crate) fn fingerprint_row(
        &self,
        now: Instant,
        connection: ConnectionKey,
        hasher: &mut impl Hasher,
    ) {
        self.shard.fingerprint_row(now, connection, hasher);
    }

    /// Its timers of which there is one.
    pub(crate) const fn alarms(&self) -> [Alarm; 6] {
        let [lease, sweep, settle, retry, tell] = self.shard.alarms();
        [lease, self.view.alarm(), sweep, settle, retry, tell]
    }

    /// What waits for the end of the turn.
    pub(crate) fn fingerprint_turn(&self, now: Instant, hasher: &mut impl Hasher) {
        self.shard.has_changed().fingerprint(now, hasher);
    }

    /// Operations that wait or are under way.
    #[cfg(test)]
    pub(crate) fn open(&self) -> usize {
        self.shard.open()
    }

    /// The lease is lost.
    #[cfg(test)]
    pub(crate) fn lose_lease(&mut self, cx: &mut Context<'_>) {
        self.shard.lease_lost(cx, &mut self.view);
    }
}

impl Fingerprint for Membership {
    /// What is known of rows is hashed with their connections
    /// ([`fingerprint_row`](Self::fingerprint_row)).
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.shard.fingerprint(now, hasher);
        self.view.fingerprint(now, hasher);
    }
}
