//! The leases of a directory in memory: claimed with a higher epoch, renewed and released by
//! comparison, forgotten when they have been dead for long.

use std::collections::{BTreeMap, btree_map};
use std::hash::{Hash, Hasher};
use std::time::Duration;

use super::hooks;
use crate::base::flaws::Flaws;
use crate::directory::{LEASES_KEPT_DEAD, Lease, Load, Reply, SeenLease};
use crate::id::{Epoch, InstanceId};
use crate::time::Instant;

/// All leases, those that have expired too.
#[derive(Clone, Debug)]
pub(super) struct Leases {
    kept: BTreeMap<InstanceId, KeptLease>,
    /// How long one lasts without renewal.
    span: Duration,
    flaws: Flaws,
}

#[derive(Clone, Debug)]
struct KeptLease {
    deadline: Instant,
    lease: Lease,
    load: Load,
}

impl KeptLease {
    fn seen(&self, now: Instant, instance: InstanceId) -> SeenLease {
        SeenLease {
            instance,
            lease: self.lease.clone(),
            load: self.load,
            remaining: (self.deadline > now).then(|| self.deadline.since(now)),
        }
    }
}

impl Leases {
    pub(super) const fn new(span: Duration) -> Self {
        Self {
            kept: BTreeMap::new(),
            span,
            flaws: Flaws::NONE,
        }
    }

    #[cfg(feature = "flaws")]
    pub(super) fn with_flaws(self, flaws: Flaws) -> Self {
        Self { flaws, ..self }
    }

    pub(super) fn get(&self, instance: InstanceId) -> Option<&Lease> {
        self.kept.get(&instance).map(|kept| &kept.lease)
    }

    /// All, in the order of instances.
    pub(super) fn seen(&self, now: Instant) -> impl ExactSizeIterator<Item = SeenLease> {
        (self.kept.iter()).map(move |(instance, kept)| kept.seen(now, *instance))
    }

    /// The floors of those that have not expired, in the order of instances.
    pub(super) fn floors(&self, now: Instant) -> impl Iterator<Item = (InstanceId, Epoch)> {
        (self.kept.iter())
            .filter(move |(_, kept)| kept.deadline > now)
            .map(|(instance, kept)| (*instance, kept.lease.floor))
    }

    pub(super) fn seen_one(&self, now: Instant, instance: InstanceId) -> Option<SeenLease> {
        Some(self.kept.get(&instance)?.seen(now, instance))
    }

    #[cfg(test)]
    pub(super) fn remove(&mut self, instance: InstanceId) {
        self.kept.remove(&instance);
    }

    pub(super) fn clear(&mut self) {
        self.kept.clear();
    }

    pub(super) fn view(&mut self, now: Instant) -> Reply {
        let kept_dead = self.kept_dead();
        self.kept.retain(|_, kept| kept.deadline + kept_dead > now);
        Reply::Leases {
            leases: self.seen(now).collect(),
            malformed: 0,
        }
    }

    pub(super) fn claim(
        &mut self,
        now: Instant,
        instance: InstanceId,
        lease: &Lease,
        load: Load,
    ) -> Reply {
        let kept = KeptLease {
            deadline: self.deadline(now),
            lease: lease.clone(),
            load,
        };
        match self.kept.entry(instance) {
            btree_map::Entry::Vacant(vacant) => {
                vacant.insert(kept);
                Reply::Claimed { replaced: None }
            }
            btree_map::Entry::Occupied(standing)
                if lease.epoch <= standing.get().lease.epoch
                    && standing.get().lease.epoch.is_counted() =>
            {
                Reply::ClaimRefused {
                    epoch: standing.get().lease.epoch,
                }
            }
            btree_map::Entry::Occupied(mut standing) => Reply::Claimed {
                replaced: Some(standing.insert(kept).lease),
            },
        }
    }

    pub(super) fn renew(
        &mut self,
        now: Instant,
        instance: InstanceId,
        expected: &Lease,
        lease: &Lease,
        load: Load,
    ) -> Reply {
        let deadline = self.deadline(now);
        if !hooks::compares_renewals(self.flaws) {
            let lease = lease.clone();
            self.kept.insert(
                instance,
                KeptLease {
                    deadline,
                    lease,
                    load,
                },
            );
            return Reply::Renewed;
        }
        match self.kept.get_mut(&instance) {
            Some(kept) if kept.deadline > now && kept.lease == *expected => {
                kept.deadline = deadline;
                kept.lease.clone_from(lease);
                kept.load = load;
                Reply::Renewed
            }
            Some(_) | None => Reply::Lost,
        }
    }

    pub(super) fn release(
        &mut self,
        now: Instant,
        instance: InstanceId,
        expected: &Lease,
    ) -> Reply {
        match self.kept.get_mut(&instance) {
            Some(kept) if kept.lease == *expected => {
                kept.deadline = now;
                kept.lease = expected.released();
                kept.load = Load::default();
                Reply::Released(true)
            }
            Some(_) | None => Reply::Released(false),
        }
    }

    /// Hashes what decides future answers.
    pub(super) fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.kept.len().hash(hasher);
        let kept_dead = self.kept_dead();
        for (instance, kept) in &self.kept {
            let dead_for = now.since(kept.deadline).min(kept_dead);
            (instance, &kept.lease, kept.load).hash(hasher);
            (kept.deadline.since(now), dead_for).hash(hasher);
        }
    }

    /// When a lease expires that is written now.
    fn deadline(&self, now: Instant) -> Instant {
        hooks::runs_out(self.flaws, now, self.span)
    }

    /// How long a lease is kept after it has expired.
    fn kept_dead(&self) -> Duration {
        self.span.saturating_mul(LEASES_KEPT_DEAD)
    }
}
