//! What instances can know of each other, from what the directory has told them.
//!
//! Three things excuse that a push misses an instance that lives, and nothing else that happens in the
//! directory: nobody had told the publisher of it, or the publisher could read nothing for so long
//! that what it had been told has run out, or the instance's lease had run out, because it could not
//! renew it in time.

use std::collections::BTreeMap;

use switchboard_core::directory::Reply;
use switchboard_core::id::InstanceId;
use switchboard_core::time::Instant;

use crate::checker::Watch;
use crate::ledger::{Excuse, FaultKind, Part, Scope};
use crate::observed::{Change, Executed, HandIn, Life, Observed};
use crate::record::HandedIn;

/// Leases, and who was told of whom.
#[derive(Clone, Debug, Default)]
pub(super) struct Knowledge {
    tenures: BTreeMap<InstanceId, Tenure>,
    readers: BTreeMap<Life, Reader>,
    /// When its instance had last read a view of the primary, when each push was handed in.
    viewed_before: BTreeMap<HandIn, Instant>,
    /// When a view last showed that a lease had run out.
    seen_out: BTreeMap<InstanceId, Instant>,
}

/// The lease of one instance.
#[derive(Clone, Copy, Debug)]
struct Tenure {
    /// The present one, or the last, runs out then.
    until: Instant,
    /// There was none before that moment: it was claimed for the first time, or had run out.
    again: Instant,
}

/// What the directory has told one instance.
#[derive(Clone, Debug, Default)]
struct Reader {
    /// When it last read a view of the primary.
    viewed: Option<Instant>,
    /// How well it was told of each other one: of few, so that a list will do.
    told: Vec<(InstanceId, Told)>,
}

/// How well one instance was told of another.
#[derive(Clone, Copy, Debug)]
enum Told {
    /// In so many views.
    Views(u32),
    /// In as many as it takes, since then.
    Since(Instant),
}

/// What kept an instance from renewing its lease, which had run out at some time since then: it lies
/// up to a lease further back.
fn could_not_renew(watch: &Watch<'_>, holder: Life, since: Instant) -> Option<Excuse> {
    let from = since.before(watch.world().config().lease * 2);
    watch.excuse(from, watch.now(), |excuse| match excuse.scope {
        Scope::All => excuse.kind.part() == Part::Directory,
        Scope::Instance(host) if host == holder.host => {
            excuse.kind == FaultKind::LongPause || excuse.kind.part() == Part::Directory
        }
        Scope::Instance(_) | Scope::Between(..) | Scope::Session(_) => false,
    })
}

/// Views that must have told an instance of another: of a single one the answer may be lost.
const VIEWS: u32 = 2;
/// An answer of the directory takes so many times its base delay, now and then.
const TAIL: u32 = 4;

impl Knowledge {
    /// Takes in what the directory has executed.
    pub(super) fn take_in(&mut self, event: &Observed<'_>, watch: &Watch<'_>) {
        let executed = match event {
            Observed::HandedIn(hand_in) => return self.take_in_push(*hand_in, watch),
            Observed::FaultBegan(fault) if fault.kind == FaultKind::RedisClock => {
                return self.clock_jumped(watch);
            }
            Observed::Executed(executed) => executed,
            _ => return,
        };
        self.take_in_lease(executed, watch.now());
        let world = watch.world();
        let comes_in_time =
            world.redis_latency.worst(world.now) * TAIL < world.config().directory_timeout;
        if let Ok(Reply::Leases { leases, .. }) = executed.outcome
            && comes_in_time
        {
            let reader = self.readers.entry(executed.life).or_default();
            if executed.at_primary {
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
    }

    fn take_in_push(&mut self, hand_in: HandIn, watch: &Watch<'_>) {
        let life = watch.world().pushes()[hand_in.push].times()[hand_in.time].life;
        if let Some(viewed) = self.readers.get(&life).and_then(|reader| reader.viewed) {
            self.viewed_before.insert(hand_in, viewed);
        }
    }

    /// The directory's clock jumped: leases run out earlier. That they may last longer is nobody's
    /// doing who holds one.
    fn clock_jumped(&mut self, watch: &Watch<'_>) {
        for (instance, tenure) in &mut self.tenures {
            let seen = watch.world().lease(*instance);
            let left = seen.and_then(|seen| seen.remaining).unwrap_or_default();
            tenure.until = tenure.until.min(watch.now() + left);
        }
    }

    fn take_in_lease(&mut self, executed: &Executed<'_>, now: Instant) {
        let (Ok(Reply::Claimed { .. } | Reply::Renewed), Change::Lease { after, .. }) =
            (executed.outcome, executed.change)
        else {
            return;
        };
        let Some((instance, left)) = after.and_then(|seen| Some((seen.instance, seen.remaining?)))
        else {
            return;
        };
        let until = now + left;
        let tenure = (self.tenures.entry(instance)).or_insert(Tenure { until, again: now });
        if tenure.until < now {
            tenure.again = now;
            // Whoever was told of it before has seen it run out.
            for reader in self.readers.values_mut() {
                reader.told.retain(|(told_of, _)| *told_of != instance);
            }
        }
        tenure.until = until;
    }

    /// Why a publisher could not know of the holder of a connection when it took a push, or later:
    /// the holder's lease had run out, or the publisher had not been told of it.
    pub(super) fn ignorance(
        &self,
        watch: &Watch<'_>,
        hand_in: HandIn,
        holder: Life,
    ) -> Option<Excuse> {
        let world = watch.world();
        let config = world.config();
        let HandedIn {
            life: publisher,
            at,
            ..
        } = world.pushes()[hand_in.push].times()[hand_in.time];
        let instance = world.instance_of(holder);
        // The publisher reads the leases so often, and one reading takes so long; while the directory is
        // slow it gives up most, and goes by the last that it took in, until that runs out.
        let slow = watch.excuse(at.before(config.lease), at, |excuse| {
            excuse.kind == FaultKind::RedisSlow
        });
        let since = match slow {
            None => at.before(config.view_interval + config.directory_timeout),
            Some(_) => at.before(config.lease),
        };
        if self.was_out(instance, since, watch.now()) {
            let out = could_not_renew(watch, holder, since);
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
        if let Some(other_rows) = self.reads_other_rows(watch, hand_in) {
            return Some(other_rows);
        }
        if let Some(forgot) = self.had_forgotten(watch, hand_in) {
            return Some(forgot);
        }
        let reader = self.readers.get(&publisher);
        match reader.and_then(|reader| reader.how_well(instance)) {
            Some(Told::Since(told)) if told < at => return None,
            Some(Told::Since(_) | Told::Views(_)) | None => {}
        }
        let from = since.before(config.lease);
        let started = watch.excuse(from, watch.now(), |excuse| match excuse.scope {
            Scope::Instance(host) if host == publisher.host || host == holder.host => {
                excuse.kind == FaultKind::Start
            }
            Scope::All | Scope::Instance(_) | Scope::Between(..) | Scope::Session(_) => false,
        });
        started.or_else(|| could_not_renew(watch, holder, self.tenures.get(&instance)?.again))
    }

    /// Why a publisher knew nobody any more when it took a push: all that it knew of had run out by its
    /// own count, because it had stood still or could read nothing. What it reads first when it has
    /// stood still may be lost as well.
    fn had_forgotten(&self, watch: &Watch<'_>, hand_in: HandIn) -> Option<Excuse> {
        let config = watch.world().config();
        let HandedIn { life, at, .. } = watch.world().pushes()[hand_in.push].times()[hand_in.time];
        let viewed = self.viewed_before.get(&hand_in)?;
        let lately = at.before(config.lease);
        let here = |excuse: &Excuse| excuse.scope == Scope::Instance(life.host);
        let stood_still = watch.excuse(lately, at, |excuse| {
            excuse.kind == FaultKind::LongPause && here(excuse)
        });
        let could_not_read = watch.excuse(lately, at, |excuse| {
            excuse.kind.part() == Part::Directory && (here(excuse) || excuse.scope == Scope::All)
        });
        if *viewed < lately {
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
    pub(super) fn reads_other_rows(&self, watch: &Watch<'_>, hand_in: HandIn) -> Option<Excuse> {
        let config = watch.world().config();
        let HandedIn { life, at, .. } = watch.world().pushes()[hand_in.push].times()[hand_in.time];
        let here = |excuse: &Excuse| excuse.scope == Scope::Instance(life.host);
        let lately = at.before(config.directory_timeout);
        let viewed = self.viewed_before.get(&hand_in).copied();
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
        let known = (self.told.iter()).position(|(of, _)| *of == instance);
        let place = known.unwrap_or_else(|| {
            self.told.push((instance, Told::Views(0)));
            self.told.len() - 1
        });
        let (_, told) = &mut self.told[place];
        *told = match *told {
            Told::Views(views) if views + 1 < VIEWS => Told::Views(views + 1),
            Told::Views(_) => Told::Since(now),
            since @ Told::Since(_) => since,
        };
    }

    fn how_well(&self, instance: InstanceId) -> Option<Told> {
        let known = self.told.iter().find(|(of, _)| *of == instance);
        known.map(|(_, told)| *told)
    }
}
