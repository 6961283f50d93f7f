//! Terminals that follow the logs of their users and of topics, durable pushes that never pause, and servers and
//! Redis that fail all the time; and whether anybody has lost a record, got one twice, or was told of a loss that there
//! was none of.
//!
//! What must hold is judged at the end (`judge`): what the receipts said, what every terminal saw, and what
//! stood in Redis before and after each of its faults are compared. A record's position tells its predecessor,
//! and that is what a terminal must stand at when it gets the record.

mod channel;
mod faults;
mod heard;
mod history;
mod judge;
mod life;
mod position;
mod producers;
mod report;
mod terminals;
mod walk;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::matrix::Fleet;
use crate::patience::eventually;
use crate::sentinel::Replicated;
use crate::server::Server;
use crate::settings::Settings;

use crate::random::Random;
use channel::Channel;
use faults::{Killer, RedisFaults};
use history::{Histories, Since};
use producers::Producers;
pub use report::Report;
use terminals::Terminals;

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What decides about users, pauses and faults. Two runs of a seed are not the same, as processes are not,
    /// but alike.
    pub seed: u64,
    /// The servers' runtimes.
    pub fleet: Fleet,
    /// Servers at a time.
    pub servers: usize,
    /// Users, each with one to three terminals.
    pub users: usize,
    /// Topics, of whose logs each terminal follows none, one or two.
    pub topics: usize,
    /// Durable pushes a second.
    pub rate: f64,
    /// For how long there are pushes and faults.
    pub time: Duration,
    /// The time from one killed server to the next.
    pub kills_every: Duration,
    /// The time from the end of one fault of Redis to the next.
    pub redis_faults_every: Duration,
    /// Within how long the head of each log is compared with where its followers stand.
    pub log_check: Duration,
    /// A folder for the logs of servers, and for what was seen of users of whom something is wrong.
    pub output: Option<PathBuf>,
}

impl Plan {
    /// A minute on a machine that has other things to do.
    pub fn short(seed: u64, fleet: Fleet) -> Self {
        Self {
            seed,
            fleet,
            servers: 3,
            users: 60,
            topics: 4,
            rate: 30.0,
            time: Duration::from_secs(55),
            kills_every: Duration::from_secs(5),
            redis_faults_every: Duration::from_secs(3),
            log_check: Duration::from_secs(5),
            output: None,
        }
    }

    fn channels(&self) -> Vec<Channel> {
        Channel::all(self.users, self.topics)
    }

    /// The servers' settings, but for the directory.
    fn settings(&self) -> Settings {
        let check = format!("{}ms", self.log_check.as_millis());
        Settings::for_tests()
            .with_file("cluster_secret_file", "a secret of these test servers\n")
            .with("log_check", check)
    }
}

/// A seed that is another one each time.
pub fn seed() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Does what is planned, and judges it.
///
/// # Panics
///
/// If something of it cannot be done: a server or a Redis that does not start.
pub fn run(plan: &Plan) -> Report {
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let begin = Instant::now();
    let mut redis = Replicated::start_persistent();
    let settings = plan.settings().with("redis", redis.url());
    let start = |number| Server::start(plan.fleet.adapter(number), &settings);
    let mut servers: Vec<_> = (0..plan.servers).map(start).collect();
    eventually("all servers see each other", || {
        let sees_all = |server: &Server| server.api().instances().len() == plan.servers;
        servers.iter().all(sees_all)
    });
    let place = Arc::new(Grounds::new(begin, &servers));
    let terminals = Terminals::start(plan, &place);
    eventually("all terminals know where they stand", || {
        terminals.standing().count() == terminals.followed()
    });

    place.calm.store(false, Ordering::Relaxed);
    let producers = Producers::new(plan, &place);
    let mut histories = Histories::default();
    let mut killer = Killer::new(plan, &settings, &place);
    let end = Instant::now() + plan.time;
    let redis_faults = thread::scope(|scope| {
        producers.start(scope, end);
        let faults = RedisFaults::new(plan, begin);
        let faults = scope.spawn(|| faults.go_on_until(end, &mut redis, &mut histories));
        scope.spawn(|| report::progress(begin, end, &terminals, &producers));
        // Servers end with the thread that has started them.
        killer.go_on_until(end, &mut servers);
        faults.join().expect("what was done to Redis has worked")
    });
    place.calm.store(true, Ordering::Relaxed);
    let pushes = producers.end();
    // Pushes whose outcome was unknown were repeated until this moment.
    histories.read(
        begin.elapsed(),
        redis.primary(),
        &plan.channels(),
        Since::Kept,
    );
    let late = await_heads(&terminals, &histories);
    let told = terminals.stop();
    let judged = judge::judge(&histories, &pushes, &told);
    Report::new(
        plan,
        begin,
        killer.kills,
        redis_faults,
        &histories,
        &pushes,
        &told,
        judged,
        late,
    )
}

/// Waits until every terminal is where each of its logs ends. Returns how often one is not in the end: the judge names them.
fn await_heads(terminals: &Terminals, histories: &Histories) -> usize {
    const WITHIN: Duration = Duration::from_secs(90);
    let end = Instant::now() + WITHIN;
    loop {
        let at_head = terminals.standing();
        let at_head = at_head.filter(|(channel, at)| histories.head(*channel) == Some(*at));
        let late = terminals.followed() - at_head.count();
        if late == 0 || Instant::now() > end {
            return late;
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// Where the servers of a run are, and its clock.
#[derive(Debug)]
struct Grounds {
    begin: Instant,
    /// Terminals do not leave by themselves, so that all are there at a time.
    calm: AtomicBool,
    servers: RwLock<Vec<Addresses>>,
}

#[derive(Clone, Copy, Debug)]
struct Addresses {
    terminals: SocketAddr,
    api: SocketAddr,
}

impl Grounds {
    fn new(begin: Instant, servers: &[Server]) -> Self {
        let servers = servers.iter().map(Addresses::of).collect();
        Self {
            begin,
            calm: AtomicBool::new(true),
            servers: RwLock::new(servers),
        }
    }

    /// The time since the run began.
    fn now(&self) -> Duration {
        self.begin.elapsed()
    }

    /// A server, but the one that is at this place among them.
    fn any(&self, random: &mut Random, but: Option<usize>) -> (usize, Addresses) {
        let servers = self.servers.read().unwrap_or_else(PoisonError::into_inner);
        let index = match but {
            Some(but) if servers.len() > 1 => {
                (but + 1 + random.below(servers.len() - 1)) % servers.len()
            }
            _ => random.below(servers.len()),
        };
        (index, servers[index])
    }

    fn replace(&self, index: usize, server: &Server) {
        let mut servers = self.servers.write().unwrap_or_else(PoisonError::into_inner);
        servers[index] = Addresses::of(server);
    }
}

impl Addresses {
    fn of(server: &Server) -> Self {
        Self {
            terminals: server.terminals(),
            api: server.api().address(),
        }
    }
}
