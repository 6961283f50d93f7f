//! This instance's place in the directory, and what it knows of the others: round trips, the lease,
//! rows, settling, the view.

pub(crate) mod departure;
pub(crate) mod lease;
pub(crate) mod purpose;
pub(crate) mod rows;
pub(crate) mod service;
pub(crate) mod settle;
pub(crate) mod standing;
pub(crate) mod trips;
pub(crate) mod view;

use crate::command::Outbox;
use crate::context::{self, Context};
use crate::directory::{Operation, Reply};
use crate::instance::Instance;
use crate::time::Now;

use lease::Keeper;
use purpose::Purpose;
use rows::Upkeep;
use trips::{Conclusion, RoundTrips, Unknown};
use view::View;

/// This instance's place in the directory, and what it knows of the others.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    pub(crate) trips: RoundTrips<context::Purpose>,
    pub(crate) keeper: Keeper,
    pub(crate) upkeep: Upkeep,
    pub(crate) view: View,
    /// What the lease should say may have changed.
    pub(crate) lease_due: bool,
}

impl Membership {
    pub(crate) fn new(now: Now) -> Self {
        Self {
            trips: RoundTrips::new(),
            keeper: Keeper::new(now),
            upkeep: Upkeep::new(),
            view: View::new(now),
            lease_due: false,
        }
    }
}

impl Membership {
    /// Starts as many round trips as may be under way.
    pub(crate) fn flush_trips(&mut self, cx: &mut Context<'_>) {
        let evidence = self.keeper.held_epoch().map(|epoch| {
            let instance = cx.identity.instance;
            let operation = Operation::ReadLease { instance };
            (operation, Purpose::OwnLease { epoch }.into())
        });
        self.trips.flush(cx, || evidence.clone());
    }
}

impl Instance {
    /// An operation of this wing has ended.
    pub(crate) fn membership_operation_ended(
        &mut self,
        now: Now,
        purpose: Purpose,
        conclusion: Conclusion,
        out: &mut Outbox,
    ) {
        let (asked, reply) = match conclusion {
            Conclusion::Answered { asked, reply } => (asked, reply),
            Conclusion::Refused(_) => return self.operation_refused(now, purpose, out),
            Conclusion::Unknown(unknown) => {
                return self.operation_unknown(now, purpose, unknown, out);
            }
        };
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
            Purpose::Release => {}
            Purpose::View => self.view_failed(now, out),
            Purpose::Claim { .. } => self.claim_failed(now),
            Purpose::Renew { lease } => self.renewal_refused(now, &lease),
            Purpose::OwnLease { epoch } => self.evidence_unknown(now, epoch),
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
            Purpose::Release => {}
            Purpose::View => self.view_failed(now, out),
            Purpose::Claim { .. } => self.claim_unknown(now, unknown),
            Purpose::Renew { lease } => self.renewal_unknown(now, lease, unknown),
            Purpose::OwnLease { epoch } => self.evidence_unknown(now, epoch),
        }
    }
}
