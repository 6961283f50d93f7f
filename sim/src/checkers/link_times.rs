//! `link-times`: links are opened, kept alive, given up and dialled again neither too soon nor too late.

use std::collections::BTreeMap;

use switchboard_core::command::Log;
use switchboard_core::config::Config;
use switchboard_core::event::LinkFailure;
use switchboard_core::id::{InstanceId, LinkKey};
use switchboard_core::time::Instant;

use super::lateness::is_late;
use crate::boundary::{Intake, Output};
use crate::checker::{Checker, Watch};
use crate::ledger::{Part, Scope};
use crate::observed::{Life, Observed, Quiescence, Topic};

/// Links that nobody has proven, at most, if fewer are not the limit of all.
const STRANGERS: usize = 1024;

/// A link is open within its timeout or given up then; on an open one an instance says once a heartbeat that
/// it lives, and no more often; it gives up a link that is silent for three heartbeats, not before, and within
/// one more; and after a failed attempt it does not dial before its time.
///
/// Of too many links that nobody has proven the oldest gives way, at once, and no other does. Where two instances have
/// dialled each other, the lower id keeps a link of its own that is open if the other one had begun before that, and
/// takes the other one if it has begun later: then its peer has lost the first.
#[derive(Clone, Debug, Default)]
pub struct LinkTimes {
    hosts: BTreeMap<usize, HostLinks>,
}

/// The links of one instance.
#[derive(Clone, Debug, Default)]
struct HostLinks {
    links: BTreeMap<LinkKey, TimedLink>,
    /// Nobody is dialled before.
    cooling: BTreeMap<InstanceId, Instant>,
    /// A link was opened in the turn of this moment, or a peer misbehaved.
    excused: Option<Instant>,
    /// A peer misbehaved at this moment.
    misbehaved: Option<Instant>,
    /// Links that have begun or were opened, so far.
    nth: u64,
    /// What is wrong unless the instance ends in the turn of this moment.
    suspect: Option<(Instant, &'static str, LinkKey)>,
}

#[derive(Clone, Copy, Debug)]
struct TimedLink {
    /// Whom it was dialled to.
    to: Option<InstanceId>,
    begun: Instant,
    /// It was the so manieth that began, or was opened.
    began_as: u64,
    proven: bool,
    open: bool,
    /// When it was opened, and as the so manieth that began, or was opened.
    opened: (Instant, u64),
    /// Since when it has to give way: there are too many that nobody has proven.
    gives_way: Option<Instant>,
    /// Batches that have come.
    received: usize,
    heard: Instant,
    wrote: Instant,
    /// A batch is with the driver.
    writing: bool,
    /// The last batch that can only have said that the instance lives, unless it had waited.
    word: Option<Word>,
    /// The last batch was written then.
    written: Instant,
}

/// A batch that can only have said that an instance lives, and how the directory serves it.
#[derive(Clone, Copy, Debug)]
struct Word {
    bytes: [u8; 2],
    at: Instant,
    /// It said the same as the one before: nothing but a heartbeat called for it.
    again: bool,
}

impl TimedLink {
    const fn new(to: Option<InstanceId>, now: Instant, began_as: u64) -> Self {
        Self {
            to,
            begun: now,
            began_as,
            proven: false,
            open: false,
            opened: (now, began_as),
            gives_way: None,
            received: 0,
            heard: now,
            wrote: now,
            writing: false,
            word: None,
            written: Instant::START,
        }
    }

    /// Whether its other end may be anybody.
    const fn is_strange(&self) -> bool {
        self.to.is_none() && !self.proven
    }

    /// The first batch of the other end is its Hello; a dialler's link is confirmed by the one after that.
    const fn is_confirmed(&self) -> bool {
        self.proven && (self.to.is_none() || self.received > 1)
    }
}

impl Checker for LinkTimes {
    fn name(&self) -> &'static str {
        "link-times"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Boundary, Topic::Lives, Topic::Time, Topic::Log]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        let (host, found) = match event {
            Observed::Started(life) => {
                self.hosts.insert(life.host, HostLinks::default());
                return;
            }
            Observed::Gone(life) => {
                self.hosts.remove(&life.host);
                return;
            }
            Observed::Tick => return self.look(watch),
            Observed::Took { life, intake } => {
                let Some(links) = self.hosts.get_mut(&life.host) else {
                    return;
                };
                (life.host, links.take_in(watch, *life, *intake))
            }
            Observed::Gave { life, output } => {
                let Some(links) = self.hosts.get_mut(&life.host) else {
                    return;
                };
                (life.host, links.give(watch, *life, output))
            }
            Observed::Logged { life, log } => {
                let Some(links) = self.hosts.get_mut(&life.host) else {
                    return;
                };
                links.log(watch.now(), log);
                return;
            }
            _ => return,
        };
        if let Some(what) = found {
            watch.violated(format!("i{} {what}", host + 1));
        }
    }

    fn at_quiescence(&mut self, _: Quiescence, watch: &mut Watch<'_>) {
        self.look(watch);
    }
}

impl LinkTimes {
    fn look(&self, watch: &mut Watch<'_>) {
        for (host, links) in &self.hosts {
            let overdue = (links.links.iter())
                .find_map(|(link, timed)| Some((link, timed.overdue(watch, *host)?)));
            if let Some((link, what)) = overdue {
                watch.violated(format!("i{} {what}: {link:?}", host + 1));
            }
        }
    }
}

impl HostLinks {
    fn take_in(&mut self, watch: &mut Watch<'_>, life: Life, intake: Intake) -> Option<String> {
        let now = watch.now();
        let suspect = self.convict(now);
        let link = match intake {
            Intake::LinkAccepted(link) => {
                self.begins(link, None, now);
                self.crowd_out(watch.scene().config(), now);
                return suspect;
            }
            Intake::LinkReceived { link, .. } | Intake::LinkWritten(link) => link,
            Intake::LinkDown { link, failure } => {
                let ended = self.links.remove(&link);
                if let Some(ended) = ended {
                    self.cool(watch, &ended, failure);
                }
                return suspect;
            }
            Intake::Accepted { .. }
            | Intake::Opened(_)
            | Intake::Authenticated { .. }
            | Intake::Refreshed { .. }
            | Intake::Relayed
            | Intake::Heard(_)
            | Intake::Written(_)
            | Intake::Closed(_)
            | Intake::Probed { .. }
            | Intake::DirectoryUp
            | Intake::DirectoryDown
            | Intake::TripAnswered { .. }
            | Intake::LinkUp(_)
            | Intake::Call { .. }
            | Intake::Drain { .. } => return suspect,
        };
        let timed = self.links.get_mut(&link)?;
        let overdue = timed.overdue(watch, life.host);
        if let Intake::LinkWritten(_) = intake {
            // What was to be said meanwhile leaves with the next batch.
            (timed.writing, timed.written, timed.wrote) = (false, now, now);
        } else {
            timed.received += 1;
            timed.heard = now;
            if timed.is_confirmed() && !timed.open {
                self.opened(link, now);
            }
        }
        suspect.or_else(|| Some(format!("{}: {link:?}", overdue?)))
    }

    fn begins(&mut self, link: LinkKey, to: Option<InstanceId>, now: Instant) {
        self.nth += 1;
        self.links.insert(link, TimedLink::new(to, now, self.nth));
    }

    /// If there are too many that nobody has proven, the oldest has to give way.
    fn crowd_out(&mut self, config: &Config, now: Instant) {
        let strange = self.links.values_mut();
        let strange = strange.filter(|timed| timed.is_strange() && timed.gives_way.is_none());
        let mut strange: Vec<_> = strange.collect();
        if strange.len() <= STRANGERS.min(config.links) {
            return;
        }
        strange.sort_by_key(|timed| timed.began_as);
        if let Some(oldest) = strange.first_mut() {
            oldest.gives_way = Some(now);
        }
    }

    fn opened(&mut self, link: LinkKey, now: Instant) {
        self.excused = Some(now);
        self.nth += 1;
        if let Some(timed) = self.links.get_mut(&link) {
            timed.open = true;
            timed.opened = (now, self.nth);
            timed.wrote = timed.wrote.max(now);
        }
    }

    /// What looked wrong in an earlier turn was wrong: the instance has not ended.
    fn convict(&mut self, now: Instant) -> Option<String> {
        let (at, what, link) = self.suspect?;
        if at == now {
            return None;
        }
        self.suspect = None;
        Some(format!("{what}: {link:?}"))
    }

    fn log(&mut self, now: Instant, log: &Log) {
        match log {
            Log::PeerUp { instance } => {
                self.cooling.remove(instance);
            }
            Log::PeerMisbehaved { .. } | Log::WrongSecret { .. } | Log::WireVersion { .. } => {
                self.excused = Some(now);
                self.misbehaved = Some(now);
                self.suspect = self.suspect.filter(|(at, ..)| *at != now);
            }
            Log::Claimed { .. }
            | Log::Settled { .. }
            | Log::LeaseLost { .. }
            | Log::LeaseVanished { .. }
            | Log::DirectoryNotPrimary { .. }
            | Log::DirectoryRefused { .. }
            | Log::PeerDown { .. }
            | Log::SettingsDiffer { .. }
            | Log::Isolated
            | Log::Rejoined
            | Log::Unproven { .. } => {}
        }
    }

    /// An attempt to open a link has failed: the next one waits.
    fn cool(&mut self, watch: &Watch<'_>, ended: &TimedLink, failure: LinkFailure) {
        let Some(to) = ended.to.filter(|_| !ended.proven) else {
            return;
        };
        let wait = match failure {
            LinkFailure::Broken => Config::DIAL_COOLDOWN,
            LinkFailure::NotMe => watch.scene().config().lease,
        };
        self.cooling.insert(to, watch.now() + wait);
    }

    fn give(&mut self, watch: &mut Watch<'_>, life: Life, output: &Output) -> Option<String> {
        let now = watch.now();
        let suspect = self.convict(now);
        let found = match output {
            Output::Dial { link, instance } => {
                self.begins(*link, Some(*instance), now);
                let from = self.cooling.remove(instance);
                self.dialled_too_soon(watch, life.host, from)
            }
            Output::LinkProven(link) => {
                match self.links.get_mut(link) {
                    Some(timed) => {
                        timed.proven = true;
                        timed.gives_way = None;
                        if timed.is_confirmed() {
                            self.opened(*link, now);
                        }
                    }
                    // It opened and was gone in one turn: another one has given way to it all the same.
                    None => self.excused = Some(now),
                }
                None
            }
            Output::LinkWrite { link, word } => {
                let timed = self.links.get_mut(link)?;
                let found = timed.write(watch, life.host, *word);
                found.map(|what| format!("{what}: {link:?}"))
            }
            Output::LinkClose(link) => {
                let timed = self.links.remove(link)?;
                self.close(watch, life, *link, &timed)
            }
            Output::Drained => {
                self.suspect = None;
                None
            }
            Output::Hello { .. }
            | Output::Send(_)
            | Output::Flush(_)
            | Output::Ping(_)
            | Output::Probe(_)
            | Output::Close { .. }
            | Output::Abort(_)
            | Output::Forget(_)
            | Output::Connected(_)
            | Output::Noticed(_)
            | Output::Disconnected(_)
            | Output::Trip(_)
            | Output::DirectoryReset
            | Output::Answer { .. }
            | Output::Log
            | Output::Hear => None,
        };
        suspect.or(found)
    }

    fn dialled_too_soon(
        &self,
        watch: &mut Watch<'_>,
        host: usize,
        from: Option<Instant>,
    ) -> Option<String> {
        let now = watch.now();
        let Some(from) = from else {
            watch.held();
            return None;
        };
        if now >= from {
            watch.held();
            return None;
        }
        // An instance that a disturbed directory has hidden and shown again is a new one. Whoever stood still reads late
        // what was so before.
        let lease = watch.scene().config().lease;
        let stood_still = watch.excuse(now.before(lease), now, |excuse| {
            excuse.kind.part() == Part::Process && excuse.scope == Scope::Instance(host)
        });
        let lately = stood_still.map_or(now, |pause| pause.from).before(lease);
        let hidden = watch.excuse(lately, now, |excuse| excuse.kind.part() == Part::Directory);
        match hidden {
            Some(excuse) => {
                watch.excused(excuse);
                None
            }
            None => Some("dials too soon after a failed attempt".to_owned()),
        }
    }

    fn close(
        &mut self,
        watch: &mut Watch<'_>,
        life: Life,
        link: LinkKey,
        timed: &TimedLink,
    ) -> Option<String> {
        let now = watch.now();
        if let Some(what) = timed.overdue(watch, life.host) {
            return Some(format!("{what}: {link:?}"));
        }
        if timed.gives_way.is_some() {
            watch.held();
            return None;
        }
        if let Some(what) = self.chosen_wrongly(watch, life, timed) {
            self.suspect = Some((now, what, link));
            return None;
        }
        let config = watch.scene().config();
        // It gives way to another one, or to what its other end has said.
        if self.excused == Some(now) {
            return None;
        }
        let (until, what) = match timed.open {
            true => (
                timed.heard + config.link_heartbeat * Config::SILENT_HEARTBEATS,
                "gives up a link too soon that is not silent",
            ),
            false => (
                timed.begun + config.link_timeout,
                "gives up too soon to open a link",
            ),
        };
        if now < until {
            self.suspect = Some((now, what, link));
        } else if !timed.open {
            self.cool(watch, timed, LinkFailure::Broken);
        }
        None
    }

    /// Why a link that is closed should not be the one of two that ends.
    fn chosen_wrongly(
        &self,
        watch: &mut Watch<'_>,
        life: Life,
        timed: &TimedLink,
    ) -> Option<&'static str> {
        let now = watch.now();
        let (opened_at, opened_as) = timed.opened;
        if !timed.open || self.misbehaved == Some(now) {
            return None;
        }
        let Some(peer) = timed.to else {
            // It has just proven itself: another one is kept that had not reached its dialler before.
            let crosses = |other: &TimedLink| !other.open || other.opened.1 > timed.began_as;
            let kept = |other: &TimedLink| !other.is_strange() && crosses(other);
            let is_odd = opened_at == now && !self.links.values().any(kept);
            return is_odd
                .then_some("keeps a link that its peer has lost, and gives up the new one");
        };
        let taken = (self.links.values())
            .filter(|other| other.to.is_none() && other.open && other.opened.0 == now);
        let began_as: Vec<_> = taken.map(|taken| taken.began_as).collect();
        if began_as.is_empty() || watch.scene().instance_of(life) > peer {
            return None;
        }
        watch.held();
        let all_crossed = began_as.iter().all(|began_as| *began_as < opened_as);
        all_crossed.then_some("gives up a link that serves for one that crossed it")
    }
}

impl TimedLink {
    /// What its instance should have done by now and has not.
    fn overdue(&self, watch: &Watch<'_>, host: usize) -> Option<&'static str> {
        let config = watch.scene().config();
        let heartbeat = config.link_heartbeat;
        if self.gives_way.is_some_and(|at| is_late(watch, host, at)) {
            return Some("keeps a link that has to give way");
        }
        if !self.open {
            let late = is_late(watch, host, self.begun + config.link_timeout);
            return late.then_some("waits too long for a link to open");
        }
        // Silence is noticed when the next heartbeat is due.
        let silent = self.heard + heartbeat * (Config::SILENT_HEARTBEATS + 1);
        if is_late(watch, host, silent) {
            return Some("keeps a silent link");
        }
        let late = !self.writing && is_late(watch, host, self.wrote + heartbeat);
        late.then_some("has not said in time that it lives")
    }

    fn write(
        &mut self,
        watch: &mut Watch<'_>,
        host: usize,
        word: Option<[u8; 2]>,
    ) -> Option<&'static str> {
        let now = watch.now();
        let overdue = self.overdue(watch, host);
        // What left when the batch before it was written may have waited.
        let waited = self.written == now;
        let heartbeat = watch.scene().config().link_heartbeat;
        let last = self.word.filter(|last| Some(last.bytes) == word);
        let too_soon = last.is_some_and(|last| last.again && now < last.at + heartbeat);
        (self.wrote, self.writing) = (now, true);
        // A longer batch may have said it as well.
        self.word = word.filter(|_| !waited).map(|bytes| Word {
            bytes,
            at: now,
            again: last.is_some(),
        });
        if overdue.is_some() {
            return overdue;
        }
        if too_soon {
            return Some("says too often that it lives");
        }
        watch.held();
        None
    }
}
