//! Schedules from seeds.

use std::collections::BTreeMap;
use std::time::Duration;

use switchboard_core::config::{Config, SlowConsumer};
use switchboard_core::message::PushedBy;

use crate::noise::{Noise, Purpose, of_name};
use crate::report::Report;
use crate::schedule::{Act, Durability, Host, Item, LogSettings, Schedule, To};
use crate::trial::Trial;

mod clients;
mod extremes;
mod faults;
mod few;
mod followers;
mod heal;
mod links;
mod lone;
mod mask;
mod plots;
mod races;
mod redis;
mod span;
mod topics;
mod traffic;

use mask::Kind;
use plots::Plot;

pub use heal::{healed_at, moments_to_heal};

/// Faults happen from the first of these moments to the second.
const FAULTS: (Duration, Duration) = (Duration::from_secs(4), Duration::from_secs(34));
/// Everything is well again.
const HEAL: Duration = Duration::from_secs(40);
/// The directory and the connections agree: terminals that went without a sign have been noticed.
const CONVERGED: Duration = Duration::from_secs(95);
/// From this moment on clients leave.
const LEAVE: Duration = Duration::from_secs(100);
/// Nothing is left.
const AT_REST: Duration = Duration::from_secs(106);
/// Things that are to happen together happen within a time between these: races of packets, and of
/// links that are opened anew.
const TOGETHER: (Duration, Duration) = (Duration::from_micros(10), Duration::from_millis(1500));
/// Clients that connect anew do so after a time between these. With the longest backoff that is
/// long before everything must have converged.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// Of ten seeds this one has nothing but a single fault.
const LONE: u64 = 2;

/// In some schedules the first connections are so old that a failover cannot have lost their rows.
const OLD: Duration = Config::FAILOVER_TAIL.saturating_add(Duration::from_secs(5));
/// So many connections are there then, at most.
const OLD_CLIENTS: u64 = 160;

/// So many pushes at terminals an instance remembers at most, in half of the worlds with tight limits.
const FEW_REMEMBERED: u64 = 64;

/// In one world of so many a push to everyone takes several steps at an instance.
const BROADCASTS_SLOWLY: u64 = 6;
/// Terminals in a second there: one in a step of some milliseconds.
const BROADCAST_RATES: [u32; 3] = [200, 400, 1000];

/// What can happen to whom is too slow, where limits are tight.
const POLICIES: [SlowConsumer; 3] = [
    SlowConsumer::Close,
    SlowConsumer::DropOldest,
    SlowConsumer::DropNewest,
];

const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// Runs a schedule, watched by all of our checkers; a panic of the core is a violation.
pub fn run(schedule: &Schedule) -> Report {
    Trial::new().run(schedule)
}

/// Makes the schedule of a seed: connections, pushes and faults, then everything heals and must
/// converge. One seed in ten has no faults, one in ten a single one, and one in ten a single one in a world
/// in which nothing else happens; in the others each kind of fault is there with probability one half, at a
/// rate of its own.
pub fn schedule(seed: u64) -> Schedule {
    made(seed, Focus::Anything)
}

/// The same, and clients follow their logs in any case.
pub fn followed(seed: u64) -> Schedule {
    made(seed, Focus::Logs)
}

/// The same, and clients join and leave topics in any case.
pub fn topical(seed: u64) -> Schedule {
    made(seed, Focus::Topics)
}

/// The same, and no log is checked without a reason within the run.
pub fn unchecked(seed: u64) -> Schedule {
    let mut schedule = followed(seed);
    schedule.log.check = Some(followers::NEVER);
    schedule
}

/// Few clients, which follow one log, few pushes to it, and a few faults close to them, when all has been quiet for
/// long.
pub fn few(seed: u64) -> Schedule {
    ScheduleMaker::new(seed).few(seed, Some(Duration::from_secs(2)))
}

/// The same, and no log is checked without a reason within the run.
pub fn few_unchecked(seed: u64) -> Schedule {
    ScheduleMaker::new(seed).few(seed, Some(followers::NEVER))
}

/// A log has two histories, of which a follower misses the beginning of the second.
pub fn histories(seed: u64) -> Schedule {
    ScheduleMaker::new(seed).plotted(seed, Plot::Histories)
}

/// A follower reads nothing while many records come, and none comes later.
pub fn slow_reader(seed: u64) -> Schedule {
    ScheduleMaker::new(seed).plotted(seed, Plot::SlowReader)
}

/// A record is appended late, and nobody is told.
pub fn floating(seed: u64) -> Schedule {
    ScheduleMaker::new(seed).plotted(seed, Plot::Floating)
}

/// Instances with members of a topic do not hear each other for a while.
pub fn unheard(seed: u64) -> Schedule {
    ScheduleMaker::new(seed).plotted(seed, Plot::Unheard)
}

/// What a schedule has in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Focus {
    /// Nothing: in some clients follow, in some they join topics.
    Anything,
    /// Clients follow logs.
    Logs,
    /// Clients join topics.
    Topics,
}

fn made(seed: u64, focus: Focus) -> Schedule {
    let mut maker = ScheduleMaker::new(seed);
    maker.instances = 2 + maker.below(3, "instances", 0) as usize;
    maker.clients = 2 + maker.below(7, "clients", 0);
    maker.lease = match maker.below(3, "lease", 0) {
        0 => Duration::from_secs(4),
        _ => Duration::from_secs(10),
    };
    let (shortest, longest) = RECONNECT;
    if seed % 10 == LONE && focus != Focus::Logs {
        maker.lone();
        if maker.has_topics(focus) {
            maker.lone_topics();
        }
        return maker.made(seed, None, None, LogSettings::DEFAULT);
    }
    let reconnects = !seed.is_multiple_of(10) && maker.below(2, "reconnects", 0) == 0;
    let reconnect = reconnects.then(|| maker.span(shortest, longest, "reconnect", 0));
    maker.clients_come_and_go();
    match seed % 10 {
        0 => {}
        1 => {
            let kind = maker.below(Kind::ALL.len() as u64, "single", 0) as usize;
            maker.fault(Kind::ALL[kind], 0);
        }
        _ => maker.faults(),
    }
    maker.pushes();
    maker.questions();
    maker.end();
    if maker.has_topics(focus) {
        maker.topics();
        if !seed.is_multiple_of(10) {
            maker.faults_of_topics();
        }
    }
    maker.words();
    let old = maker.below(8, "age", 0) == 0;
    if old {
        maker.grow_old();
    }
    let tight = !old && !seed.is_multiple_of(10) && maker.below(4, "tight", 0) == 0;
    let tight = tight.then(|| maker.one_of(&POLICIES, "policy", 0));
    if tight.is_some() {
        maker.limits();
        if maker.has_topics(focus) {
            maker.enrols_in_all();
        }
    }
    if !old && maker.below(8, "quiet", 0) == 0 {
        maker.come_again();
    }
    if seed % 10 > LONE && maker.below(3, "strangers", 0) == 0 {
        maker.strangers();
    }
    if seed % 10 > LONE && focus != Focus::Logs && maker.below(4, "lies", 0) == 0 {
        let topics = maker.has_topics(focus);
        maker.lies(topics);
    }
    maker.late_logins();
    if seed % 10 > LONE {
        maker.failed_upgrades();
        maker.early_prolongations();
    }
    let mut log = LogSettings::DEFAULT;
    if maker.is_followed(focus) {
        let topics = maker.has_topics(focus);
        maker.followers();
        if !seed.is_multiple_of(10) {
            maker.faults_of_logs(topics);
        }
        if topics {
            maker.topic_followers();
        }
        maker.confirmations(topics);
        maker.deletions(topics);
        log = maker.durable_pushes();
        if !seed.is_multiple_of(10) {
            maker.late_replicas();
            maker.doubtful_appends();
        }
    }
    maker.made(seed, reconnect, tight, log)
}

/// The cluster that faults are aimed at.
pub(crate) struct Cluster {
    pub(crate) instances: usize,
    pub(crate) lease: Duration,
    /// Each with its user.
    pub(crate) terminals: Vec<(String, String)>,
}

/// The faults of a seed in a cluster, from one moment to another.
pub(crate) fn faults(
    seed: u64,
    cluster: Cluster,
    (from, until): (Duration, Duration),
) -> Vec<Item> {
    let mut maker = ScheduleMaker {
        noise: Noise::new(seed),
        items: Vec::new(),
        instances: cluster.instances,
        clients: cluster.terminals.len() as u64,
        lease: cluster.lease,
        terminals: cluster.terminals,
    };
    maker.faults();
    let scale = until.saturating_sub(from).as_secs_f64() / (FAULTS.1 - FAULTS.0).as_secs_f64();
    let moved = |item: Item| {
        let after = item.at.saturating_sub(FAULTS.0).mul_f64(scale);
        let at = from + Duration::from_micros(after.as_micros() as u64);
        Item { at, ..item }
    };
    maker.items.into_iter().map(moved).collect()
}

/// Whether it is one of the many terminals of an [old](ScheduleMaker::grow_old) world.
fn is_of_many(item: &Item) -> bool {
    matches!(&item.act, Act::Connect { client, .. } if client.starts_with('o'))
}

struct ScheduleMaker {
    noise: Noise,
    items: Vec<Item>,
    instances: usize,
    clients: u64,
    lease: Duration,
    /// Terminals that others have named, each with its user. Without any, clients are called `c1` and
    /// so on, and belong to the swarm's own users.
    terminals: Vec<(String, String)>,
}

impl ScheduleMaker {
    /// Nothing yet.
    fn new(seed: u64) -> Self {
        Self {
            noise: Noise::new(seed),
            items: Vec::new(),
            instances: 0,
            clients: 0,
            lease: Duration::ZERO,
            terminals: Vec::new(),
        }
    }

    /// Puts off all that comes after the first connections, and adds many of these at one instance:
    /// its settling takes longer than a lease, or nearly so.
    fn grow_old(&mut self) {
        let host = self.host("old", 0);
        for client in 0..self.count(OLD_CLIENTS, "old", 0) {
            let at = self.moment(
                Duration::from_secs(1),
                Duration::from_secs(3),
                "old",
                client,
            );
            let user = self.one_of(&USERS, "old", client).to_owned();
            let connect = Act::Connect {
                client: format!("o{}", client + 1),
                at: Some(host),
                user,
                token: None,
            };
            self.put(at, connect);
        }
        for item in self.items.iter_mut().filter(|item| item.at >= FAULTS.0) {
            item.at += OLD;
        }
    }

    /// The schedule that is made.
    fn made(
        mut self,
        seed: u64,
        reconnect: Option<Duration>,
        tight: Option<SlowConsumer>,
        log: LogSettings,
    ) -> Schedule {
        // Where there are very many terminals, pushes to everyone would take longer than their deadlines.
        let is_slow = !seed.is_multiple_of(10)
            && !self.items.iter().any(is_of_many)
            && self.below(BROADCASTS_SLOWLY, "slow", 0) == 0;
        let rates = || self.one_of(&BROADCAST_RATES, "slow rate", 0);
        let broadcast_rate = is_slow.then(rates);
        if is_slow {
            self.pushes_meanwhile();
        }
        if !seed.is_multiple_of(10) && self.below(4, "deadlines", 0) == 0 {
            self.deadlines();
        }
        self.items.sort_by_key(|item| item.at);
        let forgets = tight.is_some() && self.below(2, "forgets", 0) == 0;
        let remembers = forgets.then(|| self.below(FEW_REMEMBERED, "remembers", 0) as u32 + 1);
        Schedule {
            seed,
            instances: self.instances,
            lease: self.lease,
            reconnect,
            tight,
            remembers,
            broadcast_rate,
            log,
            flaw: None,
            expects: None,
            items: self.items,
        }
    }

    fn below(&self, limit: u64, what: &str, nth: u64) -> u64 {
        let ids = [nth, of_name(what)];
        self.noise.below(limit, Purpose::Generator, &ids)
    }

    fn one_of<T: Copy>(&self, of: &[T], what: &str, nth: u64) -> T {
        of[self.below(of.len() as u64, what, nth) as usize]
    }

    /// A span from one to the other, each order of magnitude as likely as the next.
    fn span(&self, from: Duration, to: Duration, what: &str, nth: u64) -> Duration {
        let [low, high] = [from, to].map(|span| span::log2(span.as_micros().max(1) as u64));
        let log = low + self.below(high - low, what, nth);
        // The logarithms are rounded.
        Duration::from_micros(span::exp2(log)).max(from)
    }

    /// A number from 1 to this, each order of magnitude as likely as the next.
    fn count(&self, most: u64, what: &str, nth: u64) -> u64 {
        let (least, beyond) = (Duration::from_secs(1), Duration::from_secs(most + 1));
        self.span(least, beyond, what, nth).as_secs()
    }

    fn moment(&self, from: Duration, to: Duration, what: &str, nth: u64) -> Duration {
        let micros = (to - from).as_micros() as u64;
        from + Duration::from_micros(self.below(micros, what, nth))
    }

    /// So long after a moment; or at any later one, if faults are over by then.
    fn later(&self, at: Duration, after: Duration, what: &str, nth: u64) -> Duration {
        if at + after <= FAULTS.1 {
            return at + after;
        }
        let soon = at + Duration::from_micros(1);
        if soon >= FAULTS.1 {
            return soon;
        }
        self.moment(soon, FAULTS.1, &format!("{what} at all"), nth)
    }

    /// Near something that is in the schedule already, or anywhere.
    fn near(&self, from: Duration, to: Duration, what: &str, nth: u64) -> Duration {
        let anchors = self.items.len() as u64;
        if anchors == 0 || self.below(3, &format!("{what} alone"), nth) == 0 {
            return self.moment(from, to, what, nth);
        }
        let anchor = self.below(anchors, &format!("{what} anchor"), nth) as usize;
        let after = self.span(TOGETHER.0, TOGETHER.1, what, nth);
        let near = self.items[anchor].at + after;
        if (from..to).contains(&near) {
            return near;
        }
        self.moment(from, to, what, nth)
    }

    fn host(&self, what: &str, nth: u64) -> Host {
        Host(self.below(self.instances as u64, what, nth) as usize)
    }

    /// Another instance than this one.
    fn other_host(&self, host: Host, what: &str, nth: u64) -> Host {
        let next = 1 + self.below(self.instances as u64 - 1, what, nth) as usize;
        Host((host.0 + next) % self.instances)
    }

    /// A client's number, and its name.
    fn client(&self, what: &str, nth: u64) -> (u64, String) {
        let client = self.below(self.clients, what, nth);
        (client, self.client_name(client))
    }

    fn client_name(&self, client: u64) -> String {
        match self.terminals.get(client as usize) {
            Some((name, _)) => name.clone(),
            None => format!("c{}", client + 1),
        }
    }

    /// Whose terminal a client is.
    fn user_of(&self, client: u64) -> &str {
        match self.terminals.get(client as usize) {
            Some((_, user)) => user,
            None => self.one_of(&USERS, "user", client),
        }
    }

    /// Somebody: of the swarm's own users this one, else a terminal's.
    fn user(&self, own: &'static str, what: &str, nth: u64) -> &str {
        match self.terminals.as_slice() {
            [] => own,
            terminals => &terminals[self.below(self.clients, what, nth) as usize].1,
        }
    }

    /// Users who have a terminal at an instance, as far as the schedule says it so far.
    fn users_at(&self, host: Host, at: Duration) -> Vec<&str> {
        let mut there: BTreeMap<&str, (Duration, Option<Host>, &str)> = BTreeMap::new();
        for item in self.items.iter().filter(|item| item.at < at) {
            if let Act::Connect {
                client, at, user, ..
            } = &item.act
            {
                let latest = there.entry(client).or_insert((item.at, *at, user));
                if latest.0 <= item.at {
                    *latest = (item.at, *at, user);
                }
            }
        }
        let here = there.into_values().filter(|(_, at, _)| *at == Some(host));
        here.map(|(_, _, user)| user).collect()
    }

    /// A push for the audience, which is kept in no log.
    fn push_at(&mut self, at: Duration, host: Host, to: To, name: String) {
        let act = Act::Push {
            at: host,
            to,
            name,
            durable: Durability::Plain,
            by: PushedBy::Application,
            within: None,
        };
        self.put(at, act);
    }

    fn put(&mut self, at: Duration, act: Act) {
        self.items.push(Item { at, act });
    }
}
