//! The instance's own lease: claimed, renewed by comparison, lost, given back.
//!
//! What the lease is to say follows from the state ([`LeaseHolder::desired`]); whenever it says
//! something else, it is renewed at once. The lease is fenced: a renewal writes only over exactly
//! what this instance last knew to stand there, and each claim takes a new epoch.

use std::hash::{Hash, Hasher};

use super::{RETRY, Shard, load};
use crate::base::alarm::Alarm;
use crate::base::fingerprint::Fingerprint;
use crate::command::Log;
use crate::context::Context;
use crate::directory::{Lease, LeaseState, Operation};
use crate::id::Epoch;
use crate::membership::hooks;
use crate::membership::trips::Unknown;
use crate::membership::view::View;
use crate::terminals::Terminals;
use crate::time::{Instant, Now};
use crate::vocabulary::departure::Departure;
use crate::vocabulary::missing::Missing;
use crate::vocabulary::purpose::MembershipPurpose;
use crate::vocabulary::timer::MembershipTimer;

/// The lease, as far as this instance knows.
#[derive(Clone, Debug)]
pub(super) struct LeaseHolder {
    hold: Hold,
    /// Counts up at each claim.
    epoch: Epoch,
    /// Rows below it are dead.
    floor: Epoch,
    /// The entry that the directory last acknowledged to this instance.
    acknowledged: Option<Lease>,
    /// When the acknowledged entry expires, counted from when it was asked for.
    held_until: Instant,
    /// What the lease should say may have changed.
    changed: bool,
    alarm: Alarm,
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

impl Hold {
    /// What the state is called in tables for people.
    const fn name(&self) -> &'static str {
        match self {
            Self::Unlinked => "unlinked",
            Self::Unclaimed { .. } => "unclaimed",
            Self::Claiming => "claiming",
            Self::Held { renewal, lease } => match (renewal, lease.state) {
                (Renewal::Due { .. }, LeaseState::Up) => "up",
                (Renewal::Due { .. }, LeaseState::Settling) => "settling",
                (Renewal::Due { .. }, LeaseState::Draining | LeaseState::Released) => "draining",
                (Renewal::Asked, _) => "renewing",
                (Renewal::Refused { .. }, _) => "renewal-refused",
                (Renewal::Unknown { .. }, _) => "renewal-unknown",
            },
            Self::Released => "released",
        }
    }
}

impl LeaseHolder {
    /// Its state, for people.
    pub(super) const fn state_name(&self) -> &'static str {
        self.hold.name()
    }

    pub(super) const fn new(now: Now) -> Self {
        Self {
            hold: Hold::Unlinked,
            epoch: Epoch::ZERO,
            floor: Epoch::ZERO,
            acknowledged: None,
            held_until: now.mono,
            changed: false,
            alarm: Alarm::UNSET,
        }
    }

    /// Whether there is a directory link.
    pub(super) const fn is_linked(&self) -> bool {
        match self.hold {
            Hold::Unlinked => false,
            Hold::Unclaimed { .. } | Hold::Claiming | Hold::Held { .. } | Hold::Released => true,
        }
    }

    const fn held(&self) -> Option<&Lease> {
        match &self.hold {
            Hold::Held { lease, .. } => Some(lease),
            Hold::Unlinked | Hold::Unclaimed { .. } | Hold::Claiming | Hold::Released => None,
        }
    }

    /// The lease, if it is held and has not expired by this instance's own count.
    pub(super) fn held_at(&self, now: Instant) -> Option<&Lease> {
        self.held().filter(|_| now < self.held_until)
    }

    /// The epoch under which rows are written, if the lease is held.
    pub(super) fn held_epoch(&self) -> Option<Epoch> {
        self.held().map(|lease| lease.epoch)
    }

    /// The epoch under which rows are written, if the lease has not expired by this instance's own
    /// count.
    pub(super) fn held_epoch_at(&self, now: Instant) -> Option<Epoch> {
        self.held_at(now).map(|lease| lease.epoch)
    }

    pub(super) const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Rows of earlier epochs are dead from here on.
    pub(super) const fn raise_floor(&mut self) {
        self.floor = self.epoch;
    }

    /// Whether there is a lease to give back, or may soon be.
    pub(super) const fn is_owed(&self) -> bool {
        match self.hold {
            Hold::Unlinked | Hold::Released => false,
            Hold::Unclaimed { .. } | Hold::Claiming | Hold::Held { .. } => true,
        }
    }

    /// Whether the lease was ever held.
    pub(super) const fn has_held(&self) -> bool {
        self.acknowledged.is_some()
    }

    /// What the lease should say may have changed: that is seen at the end of the turn.
    pub(super) const fn note_change(&mut self) {
        self.changed = true;
    }

    /// What the lease should say. `lacks_rows`: whether rows of this instance may be missing from
    /// the directory.
    pub(super) fn desired(&self, departure: Departure, lacks_rows: bool, address: &str) -> Lease {
        Lease {
            epoch: self.epoch,
            floor: self.floor,
            beat: self.held().map_or(0, |lease| lease.beat),
            // That others must ask comes before what they may want to know.
            state: if lacks_rows {
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

    pub(super) fn link_up(&mut self, cx: &mut Context<'_>, view: &mut View) {
        if self.epoch > Epoch::ZERO && hooks::doubts_after_reconnection(cx.flaws) {
            view.doubt_everyone(cx);
        }
        self.begin_claim(cx.now.mono);
    }

    pub(super) fn link_down(&mut self) {
        self.hold = Hold::Unlinked;
    }

    fn begin_claim(&mut self, from: Instant) {
        self.epoch = self.epoch.next();
        self.hold = Hold::Unclaimed { from };
        self.changed = true;
    }

    fn hold(&mut self, cx: &Context<'_>, asked: Instant, lease: Lease) {
        self.held_until = asked + cx.config.lease;
        self.acknowledged = Some(lease.clone());
        let at = asked + cx.config.lease_renewal;
        let renewal = Renewal::Due { at };
        self.hold = Hold::Held { lease, renewal };
        self.changed = true;
    }

    pub(super) const fn alarm(&self) -> Alarm {
        self.alarm
    }
}

impl Shard {
    /// Whether something is to be done with the lease at the end of the turn.
    pub(in crate::membership) const fn has_changed(&self) -> bool {
        self.lease.changed
    }

    pub(in crate::membership) fn lease_due(&mut self, now: Instant) {
        if self.lease.alarm.rings(now) {
            self.lease.changed = true;
        }
    }

    /// The lease has expired, or the directory has lost it.
    pub(in crate::membership) fn lease_lost(&mut self, cx: &mut Context<'_>, view: &mut View) {
        cx.out.log(Log::LeaseLost {
            epoch: self.lease.epoch,
        });
        self.settlement.stop();
        self.lease.begin_claim(cx.now.mono);
        view.doubt_everyone(cx);
    }

    /// Claims, renews or releases, if something has changed and it is time.
    pub(in crate::membership) fn tend_lease(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &Terminals,
        departure: Departure,
    ) {
        if !std::mem::take(&mut self.lease.changed) {
            return;
        }
        match departure {
            Departure::None | Departure::Announced => {}
            Departure::Releasing => return self.release_lease(cx),
            Departure::Done => return,
        }
        let instance = cx.identity.instance;
        let desired = self.desired(departure, &cx.identity.address);
        let load = load(terminals, cx.stats);
        match &mut self.lease.hold {
            Hold::Unlinked | Hold::Claiming | Hold::Released => {}
            Hold::Unclaimed { from } if *from > cx.now.mono => {
                cx.set(&mut self.lease.alarm, *from, MembershipTimer::Lease);
            }
            Hold::Unclaimed { .. } => {
                self.lease.hold = Hold::Claiming;
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
                let purpose = MembershipPurpose::Claim { lease };
                self.trips.ask_first(operation, purpose.into());
            }
            Hold::Held { lease, renewal } => match renewal {
                Renewal::Asked => {}
                Renewal::Unknown { .. } => self.trips.ask_evidence(),
                Renewal::Refused { until: at } if *at > cx.now.mono => {
                    cx.set(&mut self.lease.alarm, *at, MembershipTimer::Lease);
                }
                Renewal::Due { at } if *at > cx.now.mono && *lease == desired => {
                    cx.set(&mut self.lease.alarm, *at, MembershipTimer::Lease);
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
                    let purpose = MembershipPurpose::Renew { lease: desired };
                    self.trips.ask_first(operation, purpose.into());
                }
            },
        }
    }

    /// The lease was claimed. Returns what may be missing from the directory.
    pub(in crate::membership) fn claimed(
        &mut self,
        cx: &mut Context<'_>,
        asked: Instant,
        lease: Lease,
        replaced: Option<&Lease>,
    ) -> Option<Missing> {
        if !matches!(self.lease.hold, Hold::Claiming) || lease.epoch != self.lease.epoch {
            cx.bug("a claim was answered that nobody waits for");
            return None;
        }
        let missing = if cx.now.mono >= self.lease.held_until {
            // Others may have taken its rows for dead, and removed them.
            Missing::Everything
        } else if replaced.is_some() && replaced == self.lease.acknowledged.as_ref() {
            // The last renewal is still there, and all that was acknowledged before it came before
            // it in the directory's history: only a tail can be lost.
            Missing::tail_after(self.lease.held_until.before(cx.config.lease))
        } else {
            Missing::Everything
        };
        self.hold(cx, asked, lease);
        Some(hooks::missing_after_claim(cx.flaws, missing))
    }

    /// An entry of this epoch or a higher one stands there: of a claim whose answer was lost.
    pub(in crate::membership) fn claim_refused(&mut self, epoch: Epoch) {
        self.lease.epoch = self.lease.epoch.max(epoch);
        self.lease.begin_claim(Instant::START);
    }

    pub(in crate::membership) fn claim_unknown(
        &mut self,
        cx: &mut Context<'_>,
        view: &mut View,
        unknown: Unknown,
    ) {
        match unknown {
            Unknown::TimedOut => {
                self.lease.begin_claim(Instant::START);
                // If claims do not pass, renewals do not: leases expire whose instances live.
                view.doubt_everyone(cx);
            }
            Unknown::LinkLost => {}
        }
    }

    pub(in crate::membership) fn claim_failed(&mut self, cx: &mut Context<'_>, view: &mut View) {
        self.lease.begin_claim(cx.now.mono + RETRY);
        view.doubt_everyone(cx);
    }

    pub(in crate::membership) fn renewed(
        &mut self,
        cx: &mut Context<'_>,
        view: &mut View,
        asked: Instant,
        lease: Lease,
    ) {
        if self.lease.held_epoch() != Some(lease.epoch) {
            return;
        }
        if asked < self.lease.held_until {
            self.hold(cx, asked, lease);
        } else {
            // It had expired by this instance's own count, and the directory's clock went back:
            // others may have taken its rows for dead in between, and removed them.
            self.lease_lost(cx, view);
        }
    }

    fn hold(&mut self, cx: &Context<'_>, asked: Instant, lease: Lease) {
        self.lease.hold(cx, asked, lease);
        self.cut_off = None;
    }

    /// Something else stands where the lease was to be renewed.
    pub(in crate::membership) fn renewal_lost(
        &mut self,
        cx: &mut Context<'_>,
        view: &mut View,
        epoch: Epoch,
    ) {
        if self.lease.held_epoch() == Some(epoch) {
            self.lease_lost(cx, view);
        }
    }

    pub(in crate::membership) fn renewal_unknown(
        &mut self,
        cx: &mut Context<'_>,
        view: &mut View,
        perhaps: Lease,
        unknown: Unknown,
    ) {
        match (unknown, &mut self.lease.hold) {
            (Unknown::TimedOut, Hold::Held { lease, renewal }) if lease.epoch == perhaps.epoch => {
                *renewal = Renewal::Unknown { perhaps };
                self.trips.ask_evidence();
                // Others may have to wait as long, and their leases expire while they live.
                view.doubt_everyone(cx);
            }
            (Unknown::TimedOut | Unknown::LinkLost, _) => {}
        }
    }

    pub(in crate::membership) fn renewal_refused(
        &mut self,
        cx: &mut Context<'_>,
        view: &mut View,
        refused: &Lease,
    ) {
        if let Hold::Held { lease, renewal } = &mut self.lease.hold
            && lease.epoch == refused.epoch
        {
            let at = cx.now.mono + RETRY;
            *renewal = Renewal::Refused { until: at };
            cx.set(&mut self.lease.alarm, at, MembershipTimer::Lease);
            // Others cannot renew theirs either: leases expire whose instances live.
            view.doubt_everyone(cx);
        }
    }

    pub(in crate::membership) fn own_lease_seen(
        &mut self,
        cx: &mut Context<'_>,
        view: &mut View,
        epoch: Epoch,
        seen: Option<&Lease>,
    ) {
        let Hold::Held { lease, renewal } = &mut self.lease.hold else {
            return;
        };
        if lease.epoch != epoch {
            return;
        }
        match renewal {
            Renewal::Unknown { perhaps } if seen == Some(perhaps) => {
                *lease = perhaps.clone();
                self.lease.acknowledged = seen.cloned();
                *renewal = Renewal::Due { at: cx.now.mono };
                self.lease.changed = true;
            }
            Renewal::Unknown { .. } if seen == Some(lease) => {
                *renewal = Renewal::Due { at: cx.now.mono };
                self.lease.changed = true;
            }
            // The answer to a renewal that is under way comes with its own trip, before or after.
            Renewal::Asked if seen.is_some_and(|seen| seen.epoch == epoch) => {}
            Renewal::Due { .. } | Renewal::Refused { .. } if seen == Some(lease) => {}
            Renewal::Unknown { .. }
            | Renewal::Asked
            | Renewal::Due { .. }
            | Renewal::Refused { .. } => self.lease_lost(cx, view),
        }
    }

    /// A trip brought no evidence.
    pub(in crate::membership) fn evidence_unknown(&mut self, cx: &mut Context<'_>, epoch: Epoch) {
        if self.lease.held_epoch() == Some(epoch) {
            cx.set(
                &mut self.lease.alarm,
                cx.now.mono + RETRY,
                MembershipTimer::Lease,
            );
        }
    }

    /// Releases the lease, as soon as it is known what it says.
    fn release_lease(&mut self, cx: &Context<'_>) {
        match &self.lease.hold {
            Hold::Unlinked | Hold::Unclaimed { .. } | Hold::Claiming | Hold::Released => {}
            Hold::Held { lease, renewal } => match renewal {
                Renewal::Asked => {}
                Renewal::Unknown { .. } => self.trips.ask_evidence(),
                Renewal::Due { .. } | Renewal::Refused { .. } => {
                    let operation = Operation::Release {
                        instance: cx.identity.instance,
                        expected: lease.clone(),
                    };
                    self.trips.ask(operation, MembershipPurpose::Release.into());
                    self.lease.hold = Hold::Released;
                }
            },
        }
    }
}

impl Fingerprint for LeaseHolder {
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
    }
}
