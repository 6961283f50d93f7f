//! What this instance knows of the others, and whom it doubts.
//!
//! A push asks, beside the instances that the rows name, each *doubtful* instance by user, because
//! a lookup cannot tell "offline" from "row lost". Doubtful are an instance that settles, one whose
//! lease vanished before its time, and, after this instance's own link was re-established or its
//! own lease lost, everybody for one lease time or until a higher epoch shows that they noticed.

use std::collections::BTreeMap;
use std::hash::Hasher;
use std::time::Duration;

use crate::command::{Log, Outbox};
use crate::config::Config;
use crate::directory::{Lease, LeaseState, Load, Operation, SeenLease};
use crate::fingerprint::Fingerprint;
use crate::id::InstanceId;
use crate::instance::{Instance, Once};
use crate::push::WaitsForView;
use crate::route::Standing;
use crate::time::{Instant, Now};
use crate::trips::Purpose;

/// Leases as last read, and doubts about them.
#[derive(Clone, Debug)]
pub(crate) struct View {
    known: BTreeMap<InstanceId, Known>,
    /// When the last reading that was answered was asked.
    asked: Option<Instant>,
    /// The turn in which a reading was last asked for.
    asked_in: Option<u64>,
    /// Nobody was doubtful after this moment, but those who settle.
    quiet_since: Instant,
    /// Instances that settle.
    settling: usize,
    /// Everybody is doubted from the first of these moments to the second, those included who are
    /// not known yet.
    everyone: (Instant, Instant),
}

/// What is known of one instance.
#[derive(Clone, Debug)]
struct Known {
    lease: Lease,
    load: Load,
    /// When the lease runs out, counted from when it was asked for.
    until: Instant,
    /// It is doubted until then.
    doubted_until: Instant,
    /// When it was read, counted from when that was asked.
    read: Instant,
}

impl Known {
    fn settles(&self) -> bool {
        match self.lease.state {
            LeaseState::Up => false,
            LeaseState::Settling => true,
            // A draining lease cannot say that it settles as well; its floor does.
            LeaseState::Draining => self.lease.floor < self.lease.epoch,
        }
    }

    fn doubtful(&self, since: Instant, now: Instant) -> bool {
        self.doubted_until > since || (self.settles() && self.until > now)
    }
}

impl View {
    pub(crate) const fn new(now: Now) -> Self {
        Self {
            known: BTreeMap::new(),
            asked: None,
            asked_in: None,
            quiet_since: now.mono,
            settling: 0,
            everyone: (Instant::START, Instant::START),
        }
    }

    /// When the last reading that was answered was asked.
    pub(crate) const fn asked(&self) -> Option<Instant> {
        self.asked
    }

    /// Other instances, as last read.
    pub(crate) fn alive(&self) -> usize {
        self.known.len()
    }

    /// What rows of this instance are worth.
    pub(crate) fn standing(&self, instance: InstanceId, since: Instant, now: Instant) -> Standing {
        match self.known.get(&instance) {
            Some(known) if known.until > now || known.doubted_until > since => Standing::Live {
                floor: known.lease.floor,
                doubtful: known.doubtful(since, now),
            },
            Some(_) | None => Standing::Unknown,
        }
    }

    /// Those who were doubtful at some moment since, in the order of their ids.
    pub(crate) fn doubtful(&self, since: Instant, now: Instant) -> Vec<InstanceId> {
        if self.settling == 0 && self.quiet_since <= since {
            return Vec::new();
        }
        (self.known.iter())
            .filter(|(_, known)| known.doubtful(since, now))
            .map(|(instance, _)| *instance)
            .collect()
    }

    /// Everybody who was alive when last read, however long ago that is, or is in doubt. In the
    /// order of their ids.
    pub(crate) fn everybody(&self, since: Instant) -> Vec<InstanceId> {
        (self.known.iter())
            .filter(|(_, known)| known.until > known.read || known.doubted_until > since)
            .map(|(instance, _)| *instance)
            .collect()
    }

    /// The leases that have not run out.
    pub(crate) fn leases(&self, now: Instant) -> impl Iterator<Item = (InstanceId, &Lease, Load)> {
        (self.known.iter())
            .filter(move |(_, known)| known.until > now)
            .map(|(instance, known)| (*instance, &known.lease, known.load))
    }

    /// Whether the instance was in the last reading, or is doubted.
    pub(crate) fn knows(&self, instance: InstanceId) -> bool {
        self.known.contains_key(&instance)
    }

    /// Where an instance is dialled.
    pub(crate) fn address(&self, instance: InstanceId) -> Option<&str> {
        let known = self.known.get(&instance)?;
        Some(&known.lease.address)
    }

    /// An instance said that it goes: its lease will vanish, and that means nothing.
    pub(crate) fn said_goodbye(&mut self, instance: InstanceId) {
        if let Some(known) = self.known.get_mut(&instance) {
            known.lease.state = LeaseState::Draining;
            known.lease.floor = known.lease.epoch;
            self.count_settling();
        }
    }

    fn doubt(&mut self, instance: InstanceId, until: Instant) {
        if let Some(known) = self.known.get_mut(&instance) {
            known.doubted_until = known.doubted_until.max(until);
            self.quiet_since = self.quiet_since.max(until);
        }
    }

    fn count_settling(&mut self) {
        self.settling = self.known.values().filter(|known| known.settles()).count();
    }

    /// Takes in one lease as read. A doubt ends when a higher epoch shows that the instance has
    /// noticed what caused it; pushes that began before this moment doubt it still.
    fn take_in(&mut self, asked: Instant, now: Instant, config: &Config, seen: SeenLease) {
        let until = seen.remaining.map_or(Instant::START, |left| asked + left);
        let mut known = Known {
            lease: seen.lease,
            load: seen.load,
            until,
            doubted_until: Instant::START,
            read: asked,
        };
        known.doubted_until = match self.known.get(&seen.instance) {
            Some(before) if went_back(before, &known, config) => {
                before.doubted_until.max(now + config.lease)
            }
            // Whoever comes while everybody is doubted may have missed the cause as well.
            None => self.everyone.1,
            Some(before) if known.lease.epoch > before.lease.epoch => {
                // An epoch that was claimed before the cause shows nothing.
                if before.read >= self.everyone.0 {
                    now
                } else {
                    before.doubted_until.max(now)
                }
            }
            Some(before) if before.settles() && !known.settles() => before.doubted_until.max(now),
            Some(before) => before.doubted_until,
        };
        self.quiet_since = self.quiet_since.max(known.doubted_until);
        self.known.insert(seen.instance, known);
    }

    /// The directory link is gone, and with it what was asked.
    pub(crate) const fn link_lost(&mut self) {
        self.asked_in = None;
    }

    /// Whether it is in doubt who there is: nobody could be asked for a row that is missing.
    pub(crate) fn is_blind(&self, since: Instant, now: Instant, lease: Duration) -> bool {
        let old = (self.asked).is_none_or(|asked| asked + lease <= now);
        old || self.everyone.1 > since
    }
}

/// Whether a lease runs out earlier than it was seen to: the directory's clock has jumped, or the
/// directory has lost a renewal. Its instance cannot know that, and may not renew it in time.
fn went_back(before: &Known, known: &Known, config: &Config) -> bool {
    let asked = known.read;
    if known.until > asked {
        // The time that remains was counted from before it was read.
        return known.until + config.directory_timeout < before.until;
    }
    // What was claimed since the last reading has a time of its own.
    let claimed = known.lease.epoch > before.lease.epoch && before.read + config.lease > asked;
    before.until > asked || claimed
}

impl Instance {
    /// Doubts everybody: they may not have noticed yet what this instance has.
    pub(crate) fn doubt_everyone(&mut self, now: Now) {
        let until = now.mono + self.config.lease;
        // A lease that had run out when it was read is dead, whatever the directory has lost since.
        let alive = |known: &&mut Known| known.until > known.read;
        for known in self.view.known.values_mut().filter(alive) {
            known.doubted_until = known.doubted_until.max(until);
        }
        self.view.quiet_since = until;
        self.view.everyone = (now.mono, until);
    }

    /// The regular reading.
    pub(crate) fn view_due(&mut self, now: Now) {
        self.arm_once(Once::View, now.mono + self.config.view_interval);
        self.read_view();
    }

    /// Asks for a reading, once a turn.
    fn read_view(&mut self) {
        if self.keeper.is_linked() && self.view.asked_in != Some(self.turn.number) {
            self.view.asked_in = Some(self.turn.number);
            self.trips.ask_first(Operation::View, Purpose::View);
        }
    }

    /// Judges something by a view that is asked from this moment on.
    pub(crate) fn wait_for_view(&mut self, now: Now, waits: WaitsForView) {
        self.pushes.waiting_for_view.push((now.mono, waits));
        self.read_view();
    }

    pub(crate) fn view_read(
        &mut self,
        now: Now,
        asked: Instant,
        leases: Vec<SeenLease>,
        out: &mut Outbox,
    ) {
        self.view.asked = Some(asked);
        let present: Vec<InstanceId> = leases.iter().map(|seen| seen.instance).collect();
        for seen in leases {
            if seen.instance != self.identity.instance {
                self.view.take_in(asked, now.mono, &self.config, seen);
            }
        }
        // A lease that was given back is missing, and nothing else is lost with it.
        let wiped = !self.keeper.is_released() && !present.contains(&self.identity.instance);
        let absent: Vec<InstanceId> = (self.view.known.keys())
            .filter(|instance| present.binary_search(instance).is_err())
            .copied()
            .collect();
        for instance in absent {
            self.vanished(now, asked, wiped, instance, out);
        }
        self.view.count_settling();
        self.peers.forget_strangers(&self.view);
        let waiting = std::mem::take(&mut self.pushes.waiting_for_view);
        for (since, waits) in waiting {
            if since > asked {
                self.pushes.waiting_for_view.push((since, waits));
                continue;
            }
            match waits {
                WaitsForView::Lane(user) => self.judge_lane(now, &user, out),
                WaitsForView::Everyone(push) => self.send_to_everyone(now, since, push, out),
                WaitsForView::List {
                    call,
                    asked,
                    user,
                    rows,
                } => {
                    self.list_connections(now, asked, call, &user, &rows, out);
                }
            }
        }
    }

    /// A lease is no longer there. Without a goodbye it was wiped, and its instance may live; and a
    /// goodbye that comes with the loss of everything else was none.
    fn vanished(
        &mut self,
        now: Now,
        asked: Instant,
        wiped: bool,
        instance: InstanceId,
        out: &mut Outbox,
    ) {
        let Some(known) = self.view.known.get_mut(&instance) else {
            return;
        };
        let goodbye = match known.lease.state {
            LeaseState::Draining => !wiped,
            LeaseState::Up | LeaseState::Settling => false,
        };
        if !goodbye && known.until > asked {
            known.until = Instant::START;
            out.log(Log::LeaseVanished { instance });
            let until = now.mono + self.config.lease;
            self.view.doubt(instance, until);
        } else if goodbye || known.doubted_until <= now.mono {
            self.view.known.remove(&instance);
        }
    }

    /// A reading failed: nobody can be judged by it.
    pub(crate) fn view_failed(&mut self, now: Now, out: &mut Outbox) {
        for (since, waits) in std::mem::take(&mut self.pushes.waiting_for_view) {
            match waits {
                WaitsForView::Lane(user) => self.lookup_failed(now, &user, out),
                WaitsForView::Everyone(push) => self.send_to_everyone(now, since, push, out),
                WaitsForView::List { call, user, .. } => {
                    self.connections_unknown(call, &user, out);
                }
            }
        }
    }
}

impl Fingerprint for View {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        for (instance, known) in &self.known {
            instance.fingerprint(now, hasher);
            known.lease.fingerprint(now, hasher);
            known.load.fingerprint(now, hasher);
            known.until.fingerprint(now, hasher);
            known.doubted_until.fingerprint(now, hasher);
            known.read.fingerprint(now, hasher);
        }
        self.asked.fingerprint(now, hasher);
        self.asked_in.fingerprint(now, hasher);
        self.quiet_since.fingerprint(now, hasher);
        self.everyone.fingerprint(now, hasher);
    }
}
