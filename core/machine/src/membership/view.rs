//! What this instance knows of the others, and which of them it doubts.
//!
//! A push asks, beside the instances that the rows name, each *doubtful* instance by key, because
//! a lookup cannot tell "offline" from "row lost". Doubtful are an instance that settles, one whose
//! lease vanished before its time, and, after this instance's own link was re-established or its
//! own lease lost, everybody for one lease time or until a higher epoch shows that they noticed; and
//! for as long as the directory grants nobody a lease, everybody.
//!
//! A link says more than a lease: an instance whose lease has expired while there is a link to it
//! lives, and cannot renew it. It is doubted, not dead; and where there is no link, one is dialled
//! when a lease expires. On its links an instance also says that it lacks rows, which its lease cannot
//! say before the directory takes writes.

use std::collections::BTreeMap;
use std::hash::Hasher;
use std::time::Duration;

use crate::base::alarm::Alarm;
use crate::base::fingerprint::Fingerprint;
use crate::command::Log;
use crate::config::Config;
use crate::context::Context;
use crate::directory::{Lease, LeaseState, Load, SeenLease};
use crate::id::InstanceId;
use crate::membership::hooks;
use crate::time::{Instant, Now};
use crate::vocabulary::effect::Effect;
use crate::vocabulary::missed::MissedLogs;
use crate::vocabulary::service::Service;
use crate::vocabulary::standing::Standing;
use crate::vocabulary::timer::MembershipTimer;

mod known;

use known::{Contact, Known, Word};

/// Leases as last read, and doubts about them.
#[derive(Clone, Debug)]
pub(crate) struct View {
    known: BTreeMap<InstanceId, Known>,
    /// When the last reading that was answered was asked.
    asked: Option<Instant>,
    /// The turn in which a reading was last asked for.
    asked_in: Option<u64>,
    /// Nobody was doubtful after this moment, but by what it says, or does not say.
    quiet_since: Instant,
    /// Before this moment nobody is doubtful by that either: the first of [those of all](Known::quiet_until).
    quiet_until: Instant,
    /// Everybody is doubted from the first of these moments to the second, those included who are
    /// not known yet.
    everyone: (Instant, Instant),
    alarm: Alarm,
}

impl View {
    pub(super) const fn new(now: Now) -> Self {
        Self {
            known: BTreeMap::new(),
            asked: None,
            asked_in: None,
            quiet_since: now.mono,
            quiet_until: Instant::NEVER,
            everyone: (Instant::START, Instant::START),
            alarm: Alarm::UNSET,
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
            Some(known) if known.is_alive(now) || known.doubtful(since, now) => Standing::Live {
                floor: known.lease.floor,
                doubtful: known.doubtful(since, now),
            },
            Some(known) if known.was_alive() => Standing::Outdated,
            Some(_) | None => Standing::Unknown,
        }
    }

    /// Those who were doubtful at some moment since, in the order of their ids.
    pub(crate) fn doubtful(&self, since: Instant, now: Instant) -> Vec<InstanceId> {
        if self.quiet_since.has_come(since) && !self.quiet_until.has_come(now) {
            return Vec::new();
        }
        (self.known.iter())
            .filter(|(_, known)| known.doubtful(since, now))
            .map(|(instance, _)| *instance)
            .collect()
    }

    /// Everybody who was alive when last read, however long ago that is, or is in doubt. In the
    /// order of their ids.
    pub(crate) fn everybody(&self, since: Instant, now: Instant) -> Vec<InstanceId> {
        (self.known.iter())
            .filter(|(_, known)| known.was_alive() || known.doubtful(since, now))
            .map(|(instance, _)| *instance)
            .collect()
    }

    /// The leases that have not expired.
    pub(crate) fn leases(&self, now: Instant) -> impl Iterator<Item = (InstanceId, &Lease, Load)> {
        (self.known.iter())
            .filter(move |(_, known)| known.is_alive(now))
            .map(|(instance, known)| (*instance, &known.lease, known.load))
    }

    /// Whether the instance was in the last reading, or is doubted.
    #[cfg(test)]
    pub(crate) fn knows(&self, instance: InstanceId) -> bool {
        self.known.contains_key(&instance)
    }

    /// Where an instance is dialled.
    pub(crate) fn address(&self, instance: InstanceId) -> Option<&str> {
        let known = self.known.get(&instance)?;
        Some(&known.lease.address)
    }

    /// An instance said that it goes: its lease ends, and that means nothing.
    pub(super) fn said_goodbye(&mut self, instance: InstanceId) {
        self.known.remove(&instance);
        self.recount();
    }

    /// There is a link to an instance.
    pub(super) fn linked(&mut self, instance: InstanceId) {
        if let Some(known) = self.known.get_mut(&instance) {
            known.contact = Contact::Linked;
            self.recount();
        }
    }

    /// An instance says how the directory serves it.
    pub(super) fn heard(&mut self, now: Instant, instance: InstanceId, service: Service) {
        let Some(known) = self.known.get_mut(&instance) else {
            return;
        };
        let before = known.word;
        known.word = match (service, before) {
            (Service::Behind | Service::None, _) => Word::Ask,
            (Service::Vacant, _) => Word::Nobody,
            (Service::Full, Word::Ask) => Word::AskUntilRead { since: now },
            (Service::Full, Word::Nobody) => Word::Nothing,
            (Service::Full, Word::Nothing | Word::AskUntilRead { .. }) => before,
        };
        if known.word != before {
            self.recount();
        }
    }

    /// There is no link to an instance, and none is being opened. Returns whether one is to be dialled at
    /// once, because nothing else shows that it lives. Pushes that began before this moment doubt it as
    /// they did.
    pub(super) fn unlinked(&mut self, now: Instant, config: &Config, instance: InstanceId) -> bool {
        let Some(known) = self.known.get_mut(&instance) else {
            return false;
        };
        let run_out = !known.is_alive(now);
        let asks = known.asks();
        let (contact, look) = match known.contact {
            Contact::Untried | Contact::Lost { .. } => return false,
            Contact::Linked if run_out && known.word != Word::Nobody => (Contact::Dialled, true),
            Contact::Linked => (Contact::Untried, false),
            Contact::Dialled => {
                let dial_from = now + config.lease;
                (Contact::Lost { dial_from }, false)
            }
        };
        known.contact = contact;
        known.word = Word::Nothing;
        if run_out {
            self.doubt(instance, now);
        } else if asks {
            // It says so no more; when its lease has expired it is looked for.
            let until = known.until + config.view_interval + config.directory_timeout;
            self.doubt(instance, until);
        }
        self.recount();
        look
    }

    /// Those whose leases had expired when they were read, and to which there is no link: they are to
    /// be dialled. Until that has ended they are doubted, but only the first time: a dead host that swallows
    /// what is sent to it must not delay receipts for as long as its lease is kept.
    fn without_a_sign(&mut self, now: Instant, lease: Duration) -> Vec<InstanceId> {
        let mut silent = Vec::new();
        let run_out = |(_, known): &(_, &mut Known)| !known.was_alive();
        for (instance, known) in self.known.iter_mut().filter(run_out) {
            known.contact = match known.contact {
                Contact::Untried => Contact::Dialled,
                Contact::Lost { dial_from } if dial_from.has_come(now) => Contact::Lost {
                    dial_from: now + lease,
                },
                Contact::Lost { .. } | Contact::Dialled | Contact::Linked => continue,
            };
            silent.push(*instance);
        }
        silent
    }

    fn doubt(&mut self, instance: InstanceId, until: Instant) {
        if let Some(known) = self.known.get_mut(&instance) {
            known.doubted_until = known.doubted_until.max(until);
            self.quiet_since = self.quiet_since.max(until);
        }
    }

    /// Counts anew what [`Self::doubtful`] goes by.
    fn recount(&mut self) {
        let quiet = self.known.values().map(Known::quiet_until);
        self.quiet_until = quiet.min().unwrap_or(Instant::NEVER);
    }

    /// Takes in one lease as read. A doubt ends when a higher epoch shows that the instance has
    /// noticed what caused it; pushes that began before this moment doubt it still. `said`: what
    /// it says on the link to it, if there is one.
    fn take_in(
        &mut self,
        asked: Instant,
        now: Instant,
        config: &Config,
        seen: SeenLease,
        said: Option<Service>,
    ) {
        if seen.lease.state == LeaseState::Released {
            self.known.remove(&seen.instance);
            return;
        }
        let before = self.known.get(&seen.instance);
        let mut known = Known {
            lease: seen.lease,
            load: seen.load,
            until: seen.remaining.map_or(Instant::START, |left| asked + left),
            doubted_until: Instant::START,
            read: asked,
            word: match (before, said) {
                (Some(before), _) => before.word.after_reading(asked),
                (None, Some(service)) => Word::of(service),
                (None, None) => Word::Nothing,
            },
            contact: match (before, said) {
                (_, Some(_)) => Contact::Linked,
                (Some(before), None) => before.contact,
                (None, None) => Contact::Untried,
            },
        };
        known.doubted_until = match before {
            Some(before) if known.went_back(before, config) => {
                before.doubted_until.max(now + config.lease)
            }
            // An instance that comes while all are doubted may have missed the cause as well.
            None => self.everyone.1,
            Some(before) if known.lease.epoch > before.lease.epoch => {
                // An epoch that was claimed before the cause shows nothing.
                if self.everyone.0.has_come(before.read) {
                    now
                } else {
                    before.doubted_until.max(now)
                }
            }
            Some(before) if before.asks() && !known.asks() => before.doubted_until.max(now),
            Some(before) => before.doubted_until,
        };
        self.quiet_since = self.quiet_since.max(known.doubted_until);
        self.known.insert(seen.instance, known);
    }

    /// The directory link is gone, and with it what was asked.
    pub(super) const fn link_lost(&mut self) {
        self.asked_in = None;
    }

    /// Whether it is in doubt who there is: nobody could be asked for a row that is missing.
    pub(super) fn is_blind(&self, since: Instant, now: Instant, lease: Duration) -> bool {
        let old = (self.asked).is_none_or(|asked| (asked + lease).has_come(now));
        old || !self.everyone.1.has_come(since)
    }
}

impl View {
    /// Doubts everybody: they may not have noticed yet what this instance has.
    pub(super) fn doubt_everyone(&mut self, cx: &mut Context<'_>) {
        if hooks::checks_logs_in_doubt(cx.flaws) {
            cx.emit(Effect::Missed(MissedLogs::All));
        }
        let now = cx.now.mono;
        let until = now + cx.config.lease;
        // A lease that had expired when it was read is dead, whatever the directory has lost since;
        // unless it expired while there was doubt.
        let alive = |known: &&mut Known| known.was_alive() || known.doubtful(now, now);
        for known in self.known.values_mut().filter(alive) {
            known.doubted_until = known.doubted_until.max(until);
        }
        self.quiet_since = self.quiet_since.max(until);
        self.everyone = (now, until);
    }

    /// Has it read at once, and from then on at regular intervals.
    pub(super) fn begin(&mut self, cx: &mut Context<'_>) {
        cx.set(&mut self.alarm, cx.now.mono, MembershipTimer::View);
    }

    /// Returns whether it is time for the regular reading.
    pub(super) fn is_due(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.alarm.rings(cx.now.mono) {
            return false;
        }
        cx.set(
            &mut self.alarm,
            cx.now.mono + cx.config.view_interval,
            MembershipTimer::View,
        );
        true
    }

    /// Notes that a reading is asked for. Returns whether it is the first in this turn.
    pub(super) fn begin_reading(&mut self, turn: u64) -> bool {
        self.asked_in.replace(turn) != Some(turn)
    }

    /// Takes in the leases that were asked for at this moment. `said`: what an instance says on the
    /// link to it, if there is one. Returns who is to be looked for.
    pub(super) fn read(
        &mut self,
        cx: &mut Context<'_>,
        asked: Instant,
        leases: Vec<SeenLease>,
        said: impl Fn(InstanceId) -> Option<Service>,
    ) -> Vec<InstanceId> {
        self.asked = Some(asked);
        let alive: Vec<InstanceId> = (self.known.iter())
            .filter(|(_, known)| known.was_alive())
            .map(|(instance, _)| *instance)
            .collect();
        let present: Vec<InstanceId> = leases.iter().map(|seen| seen.instance).collect();
        for seen in leases {
            if seen.instance != cx.identity.instance {
                let said = said(seen.instance);
                self.take_in(asked, cx.now.mono, cx.config, seen, said);
            }
        }
        let absent: Vec<InstanceId> = (self.known.keys())
            .filter(|instance| present.binary_search(instance).is_err())
            .copied()
            .collect();
        for instance in absent {
            self.vanished(cx, asked, instance);
        }
        let is_over =
            |instance: &InstanceId| !self.known.get(instance).is_some_and(Known::was_alive);
        if alive.iter().any(is_over) && hooks::checks_logs_after_a_death(cx.flaws) {
            // What it has appended it may not have delivered.
            cx.emit(Effect::Missed(MissedLogs::All));
        }
        let silent = self.without_a_sign(cx.now.mono, cx.config.lease);
        self.recount();
        silent
    }

    /// A lease is no longer there. One that was given back would be: it was wiped, and its instance may
    /// live.
    fn vanished(&mut self, cx: &mut Context<'_>, asked: Instant, instance: InstanceId) {
        let Some(known) = self.known.get_mut(&instance) else {
            return;
        };
        let now = cx.now.mono;
        if known.is_alive(asked) {
            known.until = Instant::START;
            cx.out.log(Log::LeaseVanished { instance });
            self.doubt(instance, now + cx.config.lease);
        } else if !known.doubtful(now, now) {
            self.known.remove(&instance);
        }
    }

    pub(super) const fn alarm(&self) -> Alarm {
        self.alarm
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
            known.contact.fingerprint(now, hasher);
            known.word.fingerprint(now, hasher);
        }
        self.asked.fingerprint(now, hasher);
        self.asked_in.fingerprint(now, hasher);
        self.quiet_since.fingerprint(now, hasher);
        self.everyone.fingerprint(now, hasher);
    }
}
