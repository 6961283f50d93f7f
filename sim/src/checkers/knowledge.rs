//! What instances can know of each other, from what the directory has told them.
//!
//! What happens in the directory excuses that a push misses an instance that lives only if
//!
//! - nobody had told the publisher of it, because one of the two had only just started or its lease had
//!   only just been claimed anew;
//! - the publisher could read nothing for so long that what it had been told has expired;
//! - the instance's lease had expired, because it stood still, or could not renew it in time while no
//!   link could show that it lives: one of the two stood still, or the way between them was disturbed;
//! - or a former primary answers the publisher, or was the last to tell it who there is.

use std::collections::BTreeMap;

use switchboard_core::directory::{Reply, SeenLease};
use switchboard_core::id::InstanceId;
use switchboard_core::time::Instant;

use super::allowance::{concerns, leases_last_longer};
use crate::checker::Watch;
use crate::ledger::{Excuse, FaultKind, Part, Scope};
use crate::observed::{Change, Executed, HandIn, Life, Observed};
use crate::publishing::HandedIn;

/// Leases, and which instance was told of which.
#[derive(Clone, Debug, Default)]
pub(super) struct Knowledge {
    tenures: BTreeMap<InstanceId, Tenure>,
    readers: BTreeMap<Life, Reader>,
    /// When its instance had last read a view of the primary, when each push was handed in.
    viewed_before: BTreeMap<HandIn, Instant>,
    /// When a view last showed that a lease had expired.
    seen_out: BTreeMap<InstanceId, Instant>,
}

/// An instance that goes by what it was told, from a moment on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking {
    /// The instance.
    pub(super) life: Life,
    /// When it was asked.
    pub(super) at: Instant,
    /// When it had last read a view of the primary before that.
    pub(super) viewed: Option<Instant>,
}

/// The lease of one instance.
#[derive(Clone, Copy, Debug)]
struct Tenure {
    /// The present one, or the last, expires then.
    until: Instant,
    /// There was none before that moment: it was claimed for the first time, or had expired.
    again: Instant,
}

/// What the directory has told one instance.
#[derive(Clone, Debug, Default)]
struct Reader {
    /// When it last read a view of the primary.
    viewed: Option<Instant>,
    /// The instances that it was told of, and since when: few, so that a list will do.
    told: Vec<(InstanceId, Instant)>,
}

/// What kept an instance from renewing its lease, which had expired at some time since then: it lies
/// up to two leases further back.
fn could_not_renew(watch: &Watch<'_>, holder: Life, since: Instant) -> Option<Excuse> {
    let from = since.before(watch.scene().config().lease * 2);
    watch.excuse(from, watch.now(), |excuse| {
        let stood_still = excuse.kind == FaultKind::LongPause;
        (stood_still || excuse.kind.part() == Part::Directory) && concerns(excuse, holder.host)
    })
}

/// Why no link could show the publisher that the holder lives, although its lease had expired.
fn out_of_sight(
    watch: &Watch<'_>,
    publisher: Life,
    holder: Life,
    since: Instant,
) -> Option<Excuse> {
    let from = since.before(watch.scene().config().lease * 2);
    watch.excuse(from, watch.now(), |excuse| match excuse.scope {
        Scope::All => excuse.kind.part() == Part::Links && excuse.kind != FaultKind::LinkReset,
        Scope::Instance(host) => {
            excuse.kind.part() == Part::Process && [publisher.host, holder.host].contains(&host)
        }
        // A link that breaks is opened anew.
        Scope::Between(one, other) => {
            excuse.kind != FaultKind::LinkReset
                && [(one, other), (other, one)].contains(&(publisher.host, holder.host))
        }
        Scope::Session(_) => false,
    })
}

impl Knowledge {
    /// Takes in what the directory has executed.
    pub(super) fn take_in(&mut self, event: &Observed, watch: &Watch<'_>) {
        let executed = match event {
            Observed::HandedIn(hand_in) => return self.take_in_push(*hand_in, watch),
            Observed::FaultBegan(fault) if fault.kind.part() == Part::Directory => {
                return self.take_in_loss(watch);
            }
            Observed::Viewed { life, leases } => return self.take_in_view(*life, leases, watch),
            Observed::Executed(executed) => executed,
            _ => return,
        };
        self.take_in_lease(executed, watch.now());
    }

    /// An instance was told who there is.
    fn take_in_view(&mut self, life: Life, leases: &[SeenLease], watch: &Watch<'_>) {
        let reader = self.readers.entry(life).or_default();
        if (watch.scene().host(life.host)).is_some_and(|host| host.asks_primary()) {
            reader.viewed = Some(watch.now());
        }
        for seen in leases {
            if seen.remaining.is_none() {
                self.seen_out.insert(seen.instance, watch.now());
                continue;
            }
            reader.is_told(seen.instance, watch.now());
        }
    }

    fn take_in_push(&mut self, hand_in: HandIn, watch: &Watch<'_>) {
        let life = watch.scene().pushes()[hand_in.push].times()[hand_in.time].life;
        if let Some(viewed) = self.viewed(life) {
            self.viewed_before.insert(hand_in, viewed);
        }
    }

    /// When an instance has last read a view of the primary.
    pub(super) fn viewed(&self, life: Life) -> Option<Instant> {
        self.readers.get(&life)?.viewed
    }

    /// The publisher of a push.
    pub(super) fn publisher(&self, watch: &Watch<'_>, hand_in: HandIn) -> Asking {
        let HandedIn { life, at, .. } = watch.scene().pushes()[hand_in.push].times()[hand_in.time];
        let viewed = self.viewed_before.get(&hand_in).copied();
        Asking { life, at, viewed }
    }

    /// Something has happened to the directory: leases may be gone, or expire earlier. That they may
    /// last longer is nobody's doing who holds one.
    fn take_in_loss(&mut self, watch: &Watch<'_>) {
        for (instance, tenure) in &mut self.tenures {
            let seen = watch.scene().lease(*instance);
            let left = seen.and_then(|seen| seen.remaining).unwrap_or_default();
            tenure.until = tenure.until.min(watch.now() + left);
        }
    }

    fn take_in_lease(&mut self, executed: &Executed, now: Instant) {
        let (Ok(Reply::Claimed { .. } | Reply::Renewed), Change::Lease { after, .. }) =
            (&executed.outcome, &executed.change)
        else {
            return;
        };
        let Some((instance, left)) = after
            .as_ref()
            .and_then(|seen| Some((seen.instance, seen.remaining?)))
        else {
            return;
        };
        let until = now + left;
        let tenure = (self.tenures.entry(instance)).or_insert(Tenure { until, again: now });
        if tenure.until < now {
            tenure.again = now;
        }
        tenure.until = until;
    }

    /// Why a publisher could not know of the holder of a connection when it took a push, or later:
    /// the holder's lease had expired, or the publisher had not been told of it.
    pub(super) fn ignorance(
        &self,
        watch: &Watch<'_>,
        asking: Asking,
        holder: Life,
    ) -> Option<Excuse> {
        let scene = watch.scene();
        let config = scene.config();
        let Asking {
            life: publisher,
            at,
            ..
        } = asking;
        let instance = scene.instance_of(holder);
        // The publisher goes by what it took in last, which the directory said a little earlier.
        let viewed = asking.viewed.unwrap_or(at);
        let lately = at.before(config.view_interval);
        let since = viewed.min(lately).before(config.directory_timeout);
        let reader = self.readers.get(&publisher);
        let told =
            (reader.and_then(|reader| reader.told_since(instance))).is_some_and(|told| told < at);
        if self.was_out(instance, since, watch.now()) {
            // An instance that was told of it looks for it when its lease has expired.
            let out = could_not_renew(watch, holder, since).and_then(|out| match told {
                true => out_of_sight(watch, publisher, holder, since),
                false => Some(out),
            });
            if out.is_some() {
                return out;
            }
        }
        // A jump of the directory's clock that is shorter than a lease ends none that its instance
        // renews; beside a pause it ends one earlier.
        if (self.seen_out.get(&instance)).is_some_and(|seen| *seen >= since) {
            let paused = watch.excuse(since.before(config.lease), watch.now(), |excuse| {
                excuse.kind.part() == Part::Process && excuse.scope == Scope::Instance(holder.host)
            });
            if paused.is_some() {
                return paused;
            }
        }
        if let Some(other_rows) = Self::reads_other_rows(watch, asking) {
            return Some(other_rows);
        }
        if let Some(forgot) = Self::had_forgotten(watch, asking) {
            return Some(forgot);
        }
        if told {
            return Self::lives_on_at_the_former(watch, holder, since);
        }
        // An instance that has started while nothing could be read knows nobody.
        let from = match asking.viewed {
            Some(_) => since.before(config.lease),
            None => Instant::START,
        };
        let started = watch.excuse(from, watch.now(), |excuse| match excuse.scope {
            Scope::Instance(host) if host == publisher.host || host == holder.host => {
                excuse.kind == FaultKind::Start
            }
            Scope::All | Scope::Instance(_) | Scope::Between(..) | Scope::Session(_) => false,
        });
        started.or_else(|| could_not_renew(watch, holder, self.tenures.get(&instance)?.again))
    }

    /// Why the publisher does not look for a holder that goes on with a former primary: the clock was set
    /// back, and the lease that it had there until then lasts longer than the doubt after the failover.
    fn lives_on_at_the_former(watch: &Watch<'_>, holder: Life, since: Instant) -> Option<Excuse> {
        leases_last_longer(watch)?;
        let from = since.before(watch.scene().config().lease * 2);
        watch.excuse(from, watch.now(), |excuse| {
            let split = matches!(
                excuse.kind,
                FaultKind::RedisSplit | FaultKind::RedisLongSplit
            );
            split && excuse.scope == Scope::Instance(holder.host)
        })
    }

    /// Why a publisher knew nobody any more when it took a push: all that it knew of had expired by its
    /// own count, because it had stood still or could read nothing. What it reads first when it has
    /// stood still may be lost as well.
    fn had_forgotten(watch: &Watch<'_>, asking: Asking) -> Option<Excuse> {
        let config = watch.scene().config();
        let Asking { life, at, viewed } = asking;
        let viewed = viewed?;
        let lately = at.before(config.lease);
        let here = |excuse: &Excuse| excuse.scope == Scope::Instance(life.host);
        let stood_still = watch.excuse(lately, at, |excuse| {
            excuse.kind == FaultKind::LongPause && here(excuse)
        });
        let could_not_read = watch.excuse(lately, at, |excuse| {
            excuse.kind.part() == Part::Directory && (here(excuse) || excuse.scope == Scope::All)
        });
        if viewed < lately {
            stood_still.or(could_not_read)
        } else {
            stood_still.and(could_not_read)
        }
    }

    fn was_out(&self, instance: InstanceId, since: Instant, now: Instant) -> bool {
        (self.tenures.get(&instance))
            .is_none_or(|tenure| tenure.until <= now || tenure.again >= since)
    }

    /// Why a publisher may read other rows than the holder writes, and know nothing of that: a former
    /// primary answers it, or was the last to tell it who there is; or it has started while the
    /// directory was disturbed, or within a lease after that. It has not noticed then what the others
    /// have, and knows nobody whom it could doubt.
    pub(super) fn reads_other_rows(watch: &Watch<'_>, asking: Asking) -> Option<Excuse> {
        let config = watch.scene().config();
        let Asking { life, at, viewed } = asking;
        let here = |excuse: &Excuse| excuse.scope == Scope::Instance(life.host);
        let lately = at.before(config.directory_timeout);
        let since = viewed.unwrap_or(Instant::START).min(lately);
        let split = watch.excuse(since, watch.now(), |excuse| {
            excuse.kind == FaultKind::RedisSplit && here(excuse)
        });
        if split.is_some() {
            return split;
        }
        let started = watch.excuse(at.before(config.lease), watch.now(), |excuse| {
            excuse.kind == FaultKind::Start && here(excuse)
        })?;
        watch.excuse(started.from.before(config.lease), watch.now(), |excuse| {
            excuse.scope == Scope::All && excuse.kind.part() == Part::Directory
        })?;
        Some(started)
    }
}

impl Reader {
    /// A view has told it of another.
    fn is_told(&mut self, instance: InstanceId, now: Instant) {
        if self.told_since(instance).is_none() {
            self.told.push((instance, now));
        }
    }

    fn told_since(&self, instance: InstanceId) -> Option<Instant> {
        let known = self.told.iter().find(|(of, _)| *of == instance);
        known.map(|(_, since)| *since)
    }
}
