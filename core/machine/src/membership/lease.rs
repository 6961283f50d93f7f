//! The instance's own lease: claimed, renewed by comparison, lost, given back.
//!
//! What the lease is to say follows from the state ([`Keeper::desired`]); whenever it says something
//! else, it is renewed at once. The lease is fenced: a renewal writes only over exactly what this
//! instance last knew to stand there, and each claim takes a new epoch.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use crate::base::fingerprint::Fingerprint;
use crate::base::flaws::Flaw;
use crate::command::{Log, Outbox};
use crate::directory::{Lease, LeaseState, Load, Operation};
use crate::id::Epoch;
use crate::instance::{Instance, Once};
use crate::membership::departure::Departure;
use crate::membership::purpose::Purpose;
use crate::membership::service::Service;
use crate::membership::settle::{Missing, Settling};
use crate::membership::trips::Unknown;
use crate::terminals::connection::RowState;
use crate::time::{Instant, Now};

/// When a claim or a renewal is tried again that the directory refused.
const RETRY: Duration = Duration::from_millis(250);

/// The instance's standing in the directory.
#[derive(Clone, Debug)]
pub(crate) struct Keeper {
    hold: Hold,
    /// Counts up at each claim.
    epoch: Epoch,
    /// Rows below it are dead.
    pub(crate) floor: Epoch,
    /// The entry that the directory last acknowledged to this instance.
    acknowledged: Option<Lease>,
    /// When the acknowledged entry runs out, counted from when it was asked for.
    held_until: Instant,
    /// Rows are being written again.
    pub(crate) settling: Option<Settling>,
    /// What of this instance may be missing from the directory.
    pub(crate) missing: Missing,
    /// Terminals greeted as degraded whose row is not written yet.
    pub(crate) degraded: usize,
    /// Since when the lease is not held while a peer says that the directory works.
    pub(crate) cut_off: Option<Instant>,
}

/// How the lease is held.
#[derive(Clone, Debug, Hash)]
enum Hold {
    /// There is no directory link.
    Unlinked,
    /// A claim is to be sent, not before this moment.
    Unclaimed { from: Instant },
    /// A claim is under way. No row is written before it is answered.
    Claiming,
    /// The lease is ours, as far as is known.
    Held { lease: Lease, renewal: Renewal },
    /// The lease was given back.
    Released,
}

/// The renewal of a held lease.
#[derive(Clone, Debug, Hash)]
enum Renewal {
    /// None is under way; the next regular one is due then.
    Due { at: Instant },
    /// One is under way.
    Asked,
    /// The directory refused one, and takes none before this moment.
    Refused { until: Instant },
    /// One was given up: the lease says what it did, or this. The next reading of it tells.
    Unknown { perhaps: Lease },
}

impl Keeper {
    pub(crate) const fn new(now: Now) -> Self {
        Self {
            hold: Hold::Unlinked,
            epoch: Epoch::ZERO,
            floor: Epoch::ZERO,
            acknowledged: None,
            held_until: now.mono,
            settling: None,
            missing: Missing::Nothing,
            degraded: 0,
            cut_off: None,
        }
    }

    /// Whether there is a directory link.
    pub(crate) const fn is_linked(&self) -> bool {
        match self.hold {
            Hold::Unlinked => false,
            Hold::Unclaimed { .. } | Hold::Claiming | Hold::Held { .. } | Hold::Released => true,
        }
    }

    /// The epoch under which rows are written, if the lease is held.
    pub(crate) const fn held_epoch(&self) -> Option<Epoch> {
        match &self.hold {
            Hold::Held { lease, .. } => Some(lease.epoch),
            Hold::Unlinked | Hold::Unclaimed { .. } | Hold::Claiming | Hold::Released => None,
        }
    }

    pub(crate) const fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) const fn is_settling(&self) -> bool {
        self.settling.is_some()
    }

    /// Whether the lease is held and has not run out by this instance's own count.
    pub(crate) fn has_lease(&self, now: Instant) -> bool {
        self.held_epoch().is_some() && now < self.held_until
    }

    /// How the directory serves this instance.
    pub(crate) fn service(&self, now: Instant) -> Service {
        match &self.hold {
            Hold::Held { lease, .. } if now < self.held_until => {
                let told = lease.state == LeaseState::Settling;
                if self.lacks_rows() && !told {
                    Service::Behind
                } else {
                    Service::Full
                }
            }
            Hold::Unlinked
            | Hold::Unclaimed { .. }
            | Hold::Claiming
            | Hold::Held { .. }
            | Hold::Released => Service::None,
        }
    }

    /// Whether rows of this instance may be missing from the directory.
    fn lacks_rows(&self) -> bool {
        self.degraded > 0 || self.missing != Missing::Nothing
    }

    /// The epoch under which rows are written, if the lease has not run out by this instance's own
    /// count.
    pub(crate) fn held_epoch_at(&self, now: Instant) -> Option<Epoch> {
        self.held_epoch().filter(|_| now < self.held_until)
    }

    /// Whether there is a lease to give back, or may soon be.
    pub(crate) const fn is_owed(&self) -> bool {
        match self.hold {
            Hold::Unlinked | Hold::Released => false,
            Hold::Unclaimed { .. } | Hold::Claiming | Hold::Held { .. } => true,
        }
    }

    /// Whether the lease was ever held.
    pub(crate) const fn has_held(&self) -> bool {
        self.acknowledged.is_some()
    }

    /// What the lease should say.
    pub(crate) fn desired(&self, departure: Departure, address: &str) -> Lease {
        let beat = match &self.hold {
            Hold::Held { lease, .. } => lease.beat,
            Hold::Unlinked | Hold::Unclaimed { .. } | Hold::Claiming | Hold::Released => 0,
        };
        Lease {
            epoch: self.epoch,
            floor: self.floor,
            beat,
            // Whom others must ask comes before what they may want to know.
            state: if self.lacks_rows() {
                LeaseState::Settling
            } else {
                match departure {
                    Departure::None => LeaseState::Up,
                    Departure::Announced | Departure::Releasing | Departure::Done => {
                        LeaseState::Draining
                    }
                }
            },
            address: address.to_owned(),
        }
    }
}

impl Instance {
    pub(crate) fn directory_up(&mut self, now: Now, out: &mut Outbox) {
        if self.drain.departure() == Departure::Done {
            return;
        }
        if self.membership.keeper.is_linked() {
            self.directory_down(now, out);
        }
        if self.membership.keeper.epoch > Epoch::ZERO
            && !self.base.flaws.has(Flaw::NoDoubtAfterReconnection)
        {
            self.doubt_everyone(now);
        }
        self.begin_claim(now.mono);
        self.arm_once(Once::View, now.mono);
        self.arm_once(Once::Sweep, now.mono);
    }

    pub(crate) fn directory_down(&mut self, now: Now, out: &mut Outbox) {
        self.membership.keeper.hold = Hold::Unlinked;
        self.stop_settling();
        self.membership.view.link_lost();
        let lost = self.membership.trips.link_lost();
        self.operations_ended(now, lost, out);
        self.drop_refused(now, out);
    }

    /// The lease has expired, or the directory has lost it.
    pub(crate) fn lease_lost(&mut self, now: Now, out: &mut Outbox) {
        out.log(Log::LeaseLost {
            epoch: self.membership.keeper.epoch,
        });
        self.stop_settling();
        self.begin_claim(now.mono);
        self.doubt_everyone(now);
    }

    fn begin_claim(&mut self, from: Instant) {
        self.membership.keeper.epoch = self.membership.keeper.epoch.next();
        self.membership.keeper.hold = Hold::Unclaimed { from };
        self.membership.lease_due = true;
    }

    /// Claims or renews, if that is due.
    pub(crate) fn tend_lease(&mut self, now: Now) {
        self.membership.lease_due = false;
        match self.drain.departure() {
            Departure::None | Departure::Announced => {}
            Departure::Releasing => return self.release_lease(),
            Departure::Done => return,
        }
        let instance = self.base.identity.instance;
        let desired = self
            .membership
            .keeper
            .desired(self.drain.departure(), &self.base.identity.address);
        let load = self.load();
        match &mut self.membership.keeper.hold {
            Hold::Unlinked | Hold::Claiming | Hold::Released => {}
            Hold::Unclaimed { from } => {
                if *from > now.mono {
                    let at = *from;
                    self.arm_once(Once::Lease, at);
                    return;
                }
                self.membership.keeper.hold = Hold::Claiming;
                // Rows may be missing until they are settled.
                let lease = Lease {
                    state: LeaseState::Settling,
                    ..desired
                };
                let operation = Operation::Claim {
                    instance,
                    lease: lease.clone(),
                    load,
                };
                self.membership
                    .trips
                    .ask_first(operation, Purpose::Claim { lease }.into());
            }
            Hold::Held { lease, renewal } => match renewal {
                Renewal::Asked => {}
                Renewal::Unknown { .. } => self.membership.trips.ask_evidence(),
                Renewal::Refused { until: at } if *at > now.mono => {
                    let at = *at;
                    self.arm_once(Once::Lease, at);
                }
                Renewal::Due { at } if *at > now.mono && *lease == desired => {
                    let at = *at;
                    self.arm_once(Once::Lease, at);
                }
                Renewal::Due { .. } | Renewal::Refused { .. } => {
                    let desired = Lease {
                        beat: lease.beat + 1,
                        ..desired
                    };
                    *renewal = Renewal::Asked;
                    let operation = Operation::Renew {
                        instance,
                        expected: lease.clone(),
                        lease: desired.clone(),
                        load,
                    };
                    self.membership
                        .trips
                        .ask_first(operation, Purpose::Renew { lease: desired }.into());
                }
            },
        }
    }

    pub(crate) fn load(&self) -> Load {
        Load {
            connections: self.terminals.present() as u64,
            pushes: self.base.stats.pushes,
        }
    }

    pub(crate) fn claimed(
        &mut self,
        now: Now,
        asked: Instant,
        lease: Lease,
        replaced: Option<&Lease>,
        out: &mut Outbox,
    ) {
        if !matches!(self.membership.keeper.hold, Hold::Claiming)
            || lease.epoch != self.membership.keeper.epoch
        {
            self.bug("a claim was answered that nobody waits for");
            return;
        }
        let missing = if self.base.flaws.has(Flaw::UpTooEarly) {
            Missing::Nothing
        } else if now.mono >= self.membership.keeper.held_until {
            // Others may have taken its rows for dead, and removed them.
            Missing::Everything
        } else if replaced.is_some() && replaced == self.membership.keeper.acknowledged.as_ref() {
            // The last renewal is still there, and all that was acknowledged before it came before
            // it in the directory's history: only a tail can be lost.
            let renewed = self
                .membership
                .keeper
                .held_until
                .before(self.base.config.lease);
            Missing::tail_after(renewed)
        } else {
            Missing::Everything
        };
        self.hold(asked, lease);
        if self.drain.departure() == Departure::Releasing {
            return;
        }
        (self.drain).end_isolation(&mut self.base.context(now, out));
        self.begin_settling(now, missing, out);
    }

    /// An entry of this epoch or a higher one stands there: of a claim whose answer was lost.
    pub(crate) fn claim_refused(&mut self, epoch: Epoch) {
        self.membership.keeper.epoch = self.membership.keeper.epoch.max(epoch);
        self.begin_claim(Instant::START);
    }

    pub(crate) fn claim_unknown(&mut self, now: Now, unknown: Unknown) {
        match unknown {
            Unknown::TimedOut => {
                self.begin_claim(Instant::START);
                // Whoever cannot claim cannot renew: leases run out whose instances live.
                self.doubt_everyone(now);
            }
            Unknown::LinkLost => {}
        }
    }

    pub(crate) fn claim_failed(&mut self, now: Now) {
        self.begin_claim(now.mono + RETRY);
        self.doubt_everyone(now);
    }

    pub(crate) fn renewed(&mut self, now: Now, asked: Instant, lease: Lease, out: &mut Outbox) {
        if self.membership.keeper.held_epoch() != Some(lease.epoch) {
            return;
        }
        if asked < self.membership.keeper.held_until {
            self.hold(asked, lease);
        } else {
            // It had run out by this instance's own count, and the directory's clock went back:
            // others may have taken its rows for dead in between, and removed them.
            self.lease_lost(now, out);
        }
    }

    fn hold(&mut self, asked: Instant, lease: Lease) {
        self.membership.keeper.held_until = asked + self.base.config.lease;
        self.membership.keeper.cut_off = None;
        self.membership.keeper.acknowledged = Some(lease.clone());
        self.membership.keeper.hold = Hold::Held {
            lease,
            renewal: Renewal::Due {
                at: asked + self.base.config.lease_renewal,
            },
        };
        self.membership.lease_due = true;
    }

    pub(crate) fn renewal_unknown(&mut self, now: Now, perhaps: Lease, unknown: Unknown) {
        match (unknown, &mut self.membership.keeper.hold) {
            (Unknown::TimedOut, Hold::Held { lease, renewal }) if lease.epoch == perhaps.epoch => {
                *renewal = Renewal::Unknown { perhaps };
                self.membership.trips.ask_evidence();
                // Others may have to wait as long, and their leases run out while they live.
                self.doubt_everyone(now);
            }
            (Unknown::TimedOut | Unknown::LinkLost, _) => {}
        }
    }

    pub(crate) fn renewal_refused(&mut self, now: Now, refused: &Lease) {
        if let Hold::Held { lease, renewal } = &mut self.membership.keeper.hold
            && lease.epoch == refused.epoch
        {
            let at = now.mono + RETRY;
            *renewal = Renewal::Refused { until: at };
            self.arm_once(Once::Lease, at);
            // Others cannot renew theirs either: leases run out whose instances live.
            self.doubt_everyone(now);
        }
    }

    pub(crate) fn own_lease_seen(
        &mut self,
        now: Now,
        epoch: Epoch,
        seen: Option<&Lease>,
        out: &mut Outbox,
    ) {
        let Hold::Held { lease, renewal } = &mut self.membership.keeper.hold else {
            return;
        };
        if lease.epoch != epoch {
            return;
        }
        match renewal {
            Renewal::Unknown { perhaps } if seen == Some(perhaps) => {
                *lease = perhaps.clone();
                self.membership.keeper.acknowledged = seen.cloned();
                *renewal = Renewal::Due { at: now.mono };
                self.membership.lease_due = true;
            }
            Renewal::Unknown { .. } if seen == Some(lease) => {
                *renewal = Renewal::Due { at: now.mono };
                self.membership.lease_due = true;
            }
            // The answer to a renewal that is under way comes with its own trip, before or after.
            Renewal::Asked if seen.is_some_and(|seen| seen.epoch == epoch) => {}
            Renewal::Due { .. } | Renewal::Refused { .. } if seen == Some(lease) => {}
            Renewal::Unknown { .. }
            | Renewal::Asked
            | Renewal::Due { .. }
            | Renewal::Refused { .. } => {
                self.lease_lost(now, out);
            }
        }
    }

    /// A trip brought no evidence.
    pub(crate) fn evidence_unknown(&mut self, now: Now, epoch: Epoch) {
        if self.membership.keeper.held_epoch() == Some(epoch) {
            self.arm_once(Once::Lease, now.mono + RETRY);
        }
    }

    /// Gives the lease back, as soon as it is known what it says.
    fn release_lease(&mut self) {
        match &self.membership.keeper.hold {
            Hold::Unlinked | Hold::Unclaimed { .. } | Hold::Claiming | Hold::Released => {}
            Hold::Held { lease, renewal } => match renewal {
                Renewal::Asked => {}
                Renewal::Unknown { .. } => self.membership.trips.ask_evidence(),
                Renewal::Due { .. } | Renewal::Refused { .. } => {
                    let operation = Operation::Release {
                        instance: self.base.identity.instance,
                        expected: lease.clone(),
                    };
                    self.membership
                        .trips
                        .ask(operation, Purpose::Release.into());
                    self.membership.keeper.hold = Hold::Released;
                }
            },
        }
    }

    /// Whether a row that should be there is not known to be written under the present epoch.
    pub(crate) fn needs_settling(&self, row: RowState) -> bool {
        match row {
            RowState::Written { epoch } => Some(epoch) != self.membership.keeper.held_epoch(),
            RowState::Absent | RowState::Due | RowState::Writing { .. } => true,
            RowState::Removing => false,
        }
    }
}

impl Fingerprint for Keeper {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        match &self.hold {
            Hold::Unlinked => hasher.write_u8(0),
            Hold::Unclaimed { from } => {
                hasher.write_u8(1);
                from.fingerprint(now, hasher);
            }
            Hold::Claiming => hasher.write_u8(2),
            Hold::Released => hasher.write_u8(5),
            Hold::Held { lease, renewal } => {
                hasher.write_u8(3);
                lease.hash(hasher);
                match renewal {
                    Renewal::Due { at } => at.fingerprint(now, hasher),
                    Renewal::Asked => hasher.write_u8(4),
                    Renewal::Refused { until } => until.fingerprint(now, hasher),
                    Renewal::Unknown { perhaps } => perhaps.hash(hasher),
                }
            }
        }
        self.epoch.fingerprint(now, hasher);
        self.floor.fingerprint(now, hasher);
        self.acknowledged.fingerprint(now, hasher);
        self.held_until.fingerprint(now, hasher);
        self.settling.fingerprint(now, hasher);
        self.missing.fingerprint(now, hasher);
        self.degraded.fingerprint(now, hasher);
        self.cut_off.fingerprint(now, hasher);
    }
}
