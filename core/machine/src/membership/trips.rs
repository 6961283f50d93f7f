//! Round trips to the directory: what is asked, what for, and how each operation ends.
//!
//! Operations of one turn share a round trip. Each ends exactly once: with its outcome, or because
//! the link was lost or core's own deadline passed, and then it is unknown whether it was, or will
//! be, executed. The last operation of a trip reads this instance's own lease, so that whatever the
//! trip says about rows comes with the evidence that the directory has not lost its content.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash, Hasher};

use crate::base::fingerprint::Fingerprint;
use crate::command::{Command, Log, Outbox, RoundTrip};
use crate::directory::{self, Lease, Operation, OperationError, Reply};
use crate::event::TripLost;
use crate::id::{CallId, ConnectionKey, Epoch, OpId, UserId};
use crate::instance::{Instance, Timer};
use crate::time::{Instant, Now};

/// Operations in one round trip, at most: a pipeline that Redis executes in about a millisecond.
const TRIP_OPERATIONS: usize = 512;
/// Round trips under way, at most. What comes meanwhile shares the next one.
const TRIPS_IN_FLIGHT: usize = 16;

/// What an operation is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    /// A connection's row.
    Register {
        connection: ConnectionKey,
        epoch: Epoch,
    },
    /// The end of a connection's row.
    Unregister { connection: ConnectionKey },
    /// The pushes that wait for this user's rows.
    Lookup { user: UserId },
    /// A list of this user's connections.
    Connections { call: CallId, user: UserId },
    /// The end of a row that is dead or gone.
    RemoveRow,
    /// The view.
    View,
    /// A lease to take.
    Claim { lease: Lease },
    /// A lease to extend.
    Renew { lease: Lease },
    /// The end of the lease.
    Release,
    /// The evidence at the end of a trip: the lease was held under this epoch when it was asked.
    OwnLease { epoch: Epoch },
}

/// Why an operation's outcome is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// It took too long. The link lives: what is repeated on it runs last.
    TimedOut,
    /// The link was lost: the operation may be executed at any time.
    LinkLost,
}

#[derive(Clone, Debug)]
pub(crate) struct Trips {
    queue: VecDeque<(Operation, Purpose)>,
    in_flight: BTreeMap<OpId, Trip>,
    next: OpId,
    /// A trip is wanted for the evidence alone.
    evidence: bool,
}

#[derive(Clone, Debug)]
struct Trip {
    asked: Instant,
    purposes: Vec<Purpose>,
}

impl Trips {
    pub(crate) const fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            in_flight: BTreeMap::new(),
            next: OpId::new(1),
            evidence: false,
        }
    }

    /// Asks for an operation with the next trip.
    pub(crate) fn ask(&mut self, operation: Operation, purpose: Purpose) {
        self.queue.push_back((operation, purpose));
    }

    /// Asks for an operation with the next trip, before all that waits: behind the rows of a long
    /// settling a lease could run out.
    pub(crate) fn ask_first(&mut self, operation: Operation, purpose: Purpose) {
        self.queue.push_front((operation, purpose));
    }

    /// Asks to see the own lease, if nothing else is asked.
    pub(crate) const fn ask_evidence(&mut self) {
        self.evidence = true;
    }

    /// Whether a trip can start.
    pub(crate) fn is_due(&self) -> bool {
        (self.evidence || !self.queue.is_empty()) && self.in_flight.len() < TRIPS_IN_FLIGHT
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.in_flight.is_empty()
    }

    /// Operations that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Operations that wait or are under way.
    #[cfg(test)]
    pub(crate) fn open(&self) -> usize {
        let in_flight = self.in_flight.values().map(|trip| trip.purposes.len());
        self.queue.len() + in_flight.sum::<usize>()
    }
}

impl Instance {
    /// Starts as many trips as may be under way.
    pub(crate) fn flush_trips(&mut self, now: Now, out: &mut Outbox) {
        while self.membership.trips.is_due() {
            self.start_trip(now, out);
        }
    }

    fn start_trip(&mut self, now: Now, out: &mut Outbox) {
        let trips = &mut self.membership.trips;
        let count = trips.queue.len().min(TRIP_OPERATIONS);
        // The evidence comes on top.
        let mut operations = Vec::with_capacity(count + 1);
        let mut purposes = Vec::with_capacity(count + 1);
        for (operation, purpose) in trips.queue.drain(..count) {
            operations.push(operation);
            purposes.push(purpose);
        }
        trips.evidence = false;
        if let Some(epoch) = self.membership.keeper.held_epoch() {
            operations.push(Operation::ReadLease {
                instance: self.base.identity.instance,
            });
            purposes.push(Purpose::OwnLease { epoch });
        }
        if operations.is_empty() {
            return;
        }
        let op = trips.next;
        trips.next = OpId::new(op.get() + 1);
        self.base.stats.trips += 1;
        self.base.stats.operations += operations.len() as u64;
        let asked = now.mono;
        trips.in_flight.insert(op, Trip { asked, purposes });
        let deadline = now.mono + self.base.config.directory_timeout;
        self.base.timers.arm(deadline, Timer::Trip(op));
        out.push(Command::Directory(Box::new(RoundTrip { op, operations })));
    }

    pub(crate) fn trip_answered(
        &mut self,
        now: Now,
        op: OpId,
        outcomes: Result<Vec<directory::Outcome>, TripLost>,
        out: &mut Outbox,
    ) {
        let Some(trip) = self.membership.trips.in_flight.remove(&op) else {
            self.base.stats.late_answers += 1;
            return;
        };
        let Ok(outcomes) = outcomes else {
            // The first sign of it: whatever is asked before the next link is lost as well.
            self.directory_down(now, out);
            self.fail_all(now, trip.purposes, Unknown::LinkLost, out);
            return;
        };
        if outcomes.len() != trip.purposes.len() {
            // An answer that does not fit its trip says nothing.
            self.base.stats.directory_refusals += 1;
            self.fail_all(now, trip.purposes, Unknown::TimedOut, out);
            return;
        }
        if let Some(answer) = outcomes.iter().find_map(not_primary) {
            out.log(Log::DirectoryNotPrimary {
                answer: answer.to_owned(),
            });
            out.push(Command::DirectoryReset);
            self.directory_down(now, out);
            self.fail_all(now, trip.purposes, Unknown::LinkLost, out);
            return;
        }
        let mut ended: Vec<_> = trip.purposes.into_iter().zip(outcomes).collect();
        ended.sort_by_key(|(purpose, _)| judged(purpose));
        for (purpose, outcome) in ended {
            self.operation_ended(now, trip.asked, purpose, outcome, out);
        }
    }

    /// A trip's deadline has come.
    pub(crate) fn trip_due(&mut self, now: Now, op: OpId, out: &mut Outbox) {
        let Some(trip) = self.membership.trips.in_flight.remove(&op) else {
            return;
        };
        self.base.stats.trips_timed_out += 1;
        self.settling_timed_out(&trip.purposes);
        self.fail_all(now, trip.purposes, Unknown::TimedOut, out);
    }

    /// The link is gone: nothing that was asked has a known outcome.
    pub(crate) fn fail_trips(&mut self, now: Now, out: &mut Outbox) {
        let trips = std::mem::take(&mut self.membership.trips.in_flight);
        let queued = std::mem::take(&mut self.membership.trips.queue);
        self.membership.trips.evidence = false;
        let purposes = (trips.into_values().flat_map(|trip| trip.purposes))
            .chain(queued.into_iter().map(|(_, purpose)| purpose))
            .collect();
        self.fail_all(now, purposes, Unknown::LinkLost, out);
    }

    fn fail_all(&mut self, now: Now, purposes: Vec<Purpose>, unknown: Unknown, out: &mut Outbox) {
        for purpose in purposes {
            self.operation_unknown(now, purpose, unknown, out);
        }
    }

    fn operation_unknown(
        &mut self,
        now: Now,
        purpose: Purpose,
        unknown: Unknown,
        out: &mut Outbox,
    ) {
        match purpose {
            Purpose::Register { connection, .. } => {
                self.register_unknown(now, connection, unknown, out)
            }
            Purpose::Unregister { connection } => {
                self.unregister_unknown(now, connection, unknown, out)
            }
            Purpose::Lookup { user } => self.lookup_failed(now, &user, out),
            Purpose::Connections { call, user } => self.connections_unknown(call, &user, out),
            Purpose::RemoveRow | Purpose::Release => {}
            Purpose::View => self.view_failed(now, out),
            Purpose::Claim { .. } => self.claim_unknown(now, unknown),
            Purpose::Renew { lease } => self.renewal_unknown(now, lease, unknown),
            Purpose::OwnLease { epoch } => self.evidence_unknown(now, epoch),
        }
    }

    fn operation_ended(
        &mut self,
        now: Now,
        asked: Instant,
        purpose: Purpose,
        outcome: directory::Outcome,
        out: &mut Outbox,
    ) {
        let reply = match outcome {
            Ok(reply) => reply,
            Err(error) => {
                self.base.stats.directory_refusals += 1;
                out.log(Log::DirectoryRefused {
                    answer: error.to_string(),
                });
                self.operation_refused(now, purpose, out);
                return;
            }
        };
        self.operation_answered(now, asked, purpose, reply, out);
    }

    fn operation_answered(
        &mut self,
        now: Now,
        asked: Instant,
        purpose: Purpose,
        reply: Reply,
        out: &mut Outbox,
    ) {
        match (purpose, reply) {
            (Purpose::Register { connection, epoch }, Reply::Registered) => {
                self.registered(now, connection, epoch, out);
            }
            (Purpose::Register { connection, epoch }, Reply::Superseded) => {
                self.superseded(now, connection, epoch, out);
            }
            (Purpose::Unregister { connection }, Reply::Removed(_)) => {
                self.unregistered(now, connection, out);
            }
            (Purpose::Lookup { user }, Reply::Rows { rows, malformed }) => {
                self.base.stats.malformed_entries += u64::from(malformed);
                self.looked_up(now, &user, rows, out);
            }
            (Purpose::Connections { call, user }, Reply::Rows { rows, malformed }) => {
                self.base.stats.malformed_entries += u64::from(malformed);
                self.connections_read(now, asked, call, &user, rows, out);
            }
            (Purpose::RemoveRow, Reply::Removed(removed)) => {
                self.base.stats.rows_removed += u64::from(removed);
            }
            (Purpose::View, Reply::Leases { leases, malformed }) => {
                self.base.stats.malformed_entries += u64::from(malformed);
                self.view_read(now, asked, leases, out);
            }
            (Purpose::Claim { lease }, Reply::Claimed { replaced }) => {
                self.claimed(now, asked, lease, replaced.as_ref(), out);
            }
            (Purpose::Claim { .. }, Reply::ClaimRefused { epoch }) => self.claim_refused(epoch),
            (Purpose::Renew { lease }, Reply::Renewed) => self.renewed(now, asked, lease, out),
            (Purpose::Renew { lease }, Reply::Lost) => {
                if self.membership.keeper.held_epoch() == Some(lease.epoch) {
                    self.lease_lost(now, out);
                }
            }
            (Purpose::Release, Reply::Released(_)) => {}
            (Purpose::OwnLease { epoch }, Reply::Lease(seen)) => {
                self.own_lease_seen(now, epoch, seen.as_ref(), out);
            }
            (
                purpose @ (Purpose::Register { .. }
                | Purpose::Unregister { .. }
                | Purpose::Lookup { .. }
                | Purpose::Connections { .. }
                | Purpose::RemoveRow
                | Purpose::View
                | Purpose::Claim { .. }
                | Purpose::Renew { .. }
                | Purpose::Release
                | Purpose::OwnLease { .. }),
                _,
            ) => {
                self.base.stats.directory_refusals += 1;
                self.operation_refused(now, purpose, out);
            }
        }
    }

    /// The directory did not execute the operation, or answered what cannot be understood.
    fn operation_refused(&mut self, now: Now, purpose: Purpose, out: &mut Outbox) {
        match purpose {
            Purpose::Register { connection, .. } => self.register_refused(now, connection, out),
            Purpose::Unregister { connection } => self.unregister_refused(now, connection),
            Purpose::Lookup { user } => self.lookup_failed(now, &user, out),
            Purpose::Connections { call, user } => self.connections_unknown(call, &user, out),
            Purpose::RemoveRow | Purpose::Release => {}
            Purpose::View => self.view_failed(now, out),
            Purpose::Claim { .. } => self.claim_failed(now),
            Purpose::Renew { lease } => self.renewal_refused(now, &lease),
            Purpose::OwnLease { epoch } => self.evidence_unknown(now, epoch),
        }
    }
}

/// The order in which the answers of a trip are taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Judged {
    /// The own lease: whether the directory has lost anything.
    First,
    /// The others' leases, in the light of that.
    Second,
    /// Rows, in the light of both.
    Last,
}

const fn judged(purpose: &Purpose) -> Judged {
    match purpose {
        Purpose::Claim { .. }
        | Purpose::Renew { .. }
        | Purpose::Release
        | Purpose::OwnLease { .. } => Judged::First,
        Purpose::View => Judged::Second,
        Purpose::Register { .. }
        | Purpose::Unregister { .. }
        | Purpose::Lookup { .. }
        | Purpose::Connections { .. }
        | Purpose::RemoveRow => Judged::Last,
    }
}

fn not_primary(outcome: &directory::Outcome) -> Option<&str> {
    match outcome {
        Err(OperationError::NotPrimary(answer)) => Some(answer),
        Err(OperationError::Refused(_) | OperationError::Malformed(_)) | Ok(_) => None,
    }
}

impl Fingerprint for Trips {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        for (operation, purpose) in &self.queue {
            operation.hash(hasher);
            purpose.hash(hasher);
        }
        for (op, trip) in &self.in_flight {
            op.fingerprint(now, hasher);
            trip.asked.fingerprint(now, hasher);
            trip.purposes.hash(hasher);
        }
        self.next.fingerprint(now, hasher);
        self.evidence.fingerprint(now, hasher);
    }
}
