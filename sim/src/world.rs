//! The world: instances, their directory, links and terminals, in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use switchboard_core::Instance;
use switchboard_core::command::Outbox;
use switchboard_core::config::{Config, SlowConsumer};
use switchboard_core::directory::DirectorySettings;
use switchboard_core::directory::memory::MemoryDirectory;
use switchboard_core::time::{Instant, Now, WallTime};

use crate::calm::Calm;
use crate::checker::{Checker, Watchers};
use crate::checkers;
use crate::fingerprint::{Fingerprint as _, Print};
use crate::host::Process;
use crate::ledger::{FaultKind, Ledger, Scope};
use crate::moment::Waiting;
use crate::noise::{Latency, Noise};
use crate::observed::Observed;
use crate::pipe::Pipes;
use crate::queue::{Happening, Queue};
use crate::record::Record;
use crate::redis::Redis;
use crate::report::{Report, Violation};
use crate::schedule::Schedule;
use crate::settings;
use crate::terminal::Session;
use crate::trace::{Entry, Kept, Trace};

/// Instances, directory, links, terminals and publishers. A value: a clone of it goes on as the
/// original would.
#[derive(Clone, Debug)]
pub struct World {
    pub(crate) schedule: Schedule,
    pub(crate) config: Config,
    pub(crate) now: Instant,
    pub(crate) queue: Queue,
    pub(crate) noise: Noise,
    pub(crate) trace: Trace,
    pub(crate) processes: Vec<Process>,
    pub(crate) redis: Redis,
    /// The base of the delay on the way to the directory, and back.
    pub(crate) redis_latency: Latency,
    pub(crate) pipes: Pipes,
    pub(crate) sessions: Vec<Session>,
    /// The present session of each client.
    pub(crate) clients: BTreeMap<String, usize>,
    /// Until then the balancer does not see who is ready.
    pub(crate) balancer_blind_until: Instant,
    /// What waits for a moment.
    pub(crate) waiting: Vec<Waiting>,
    /// Deployments so far.
    pub(crate) deployments: u64,
    pub(crate) ledger: Ledger,
    pub(crate) record: Record,
    pub(crate) watchers: Watchers,
    pub(crate) calm: Calm,
    /// Empty between two turns.
    pub(crate) outbox: Outbox,
    pub(crate) violation: Option<Violation>,
    /// Nothing happens after this moment.
    end: Instant,
    events: u64,
}

/// The monotonic clock at the start of a schedule: nothing is at the clock's own start.
const BEGIN: Instant = Instant::from_nanos(3_600_000_000_000);
/// The wall clock at that moment.
const BEGIN_WALL_MILLIS: u64 = 1_700_000_000_000;
/// After the last item the world goes on for so long: a push that was handed in last is due.
const AFTERMATH: Duration = Duration::from_secs(5);
/// The base of the delay on the way to the directory, and back.
pub(crate) const REDIS_LATENCY: Duration = Duration::from_micros(200);
/// The time between two ticks.
const TICK: Duration = Duration::from_millis(500);

impl World {
    /// A world at the start of a schedule, watched by all of our checkers. Its times follow from the
    /// schedule's lease, settling is slow, and limits are small if the schedule wants them `tight`; all
    /// else is as by default.
    ///
    /// # Panics
    ///
    /// If the schedule cannot be run: see [`Schedule::validate`].
    pub fn new(schedule: Schedule) -> Self {
        Self::watched(schedule, checkers::all())
    }

    /// Such a world, watched by these checkers. What happens in it does not depend on them, but that
    /// it ends with the first violation.
    ///
    /// # Panics
    ///
    /// If the schedule cannot be run: see [`Schedule::validate`].
    pub fn watched(schedule: Schedule, checkers: Vec<Box<dyn Checker>>) -> Self {
        let config = config(&schedule);
        Self::configured(schedule, config, checkers)
    }

    /// Such a world, in which all instances have these settings; the schedule's lease and its tight
    /// limits do not count.
    ///
    /// # Panics
    ///
    /// If the settings do not fit or hold a time that is longer than those of a schedule, or if the
    /// schedule cannot be run: see [`Config::validate`] and [`Schedule::validate`].
    pub fn configured(schedule: Schedule, config: Config, checkers: Vec<Box<dyn Checker>>) -> Self {
        if let Err(error) = schedule.validate() {
            panic!("the schedule cannot be run: {error}");
        }
        if let Err(error) = settings::check(&config) {
            panic!("the settings do not fit: {error}");
        }
        let noise = Noise::new(schedule.seed);
        let mut queue = Queue::default();
        for (index, item) in schedule.items.iter().enumerate() {
            queue.put(BEGIN + item.at, Happening::Item(index));
        }
        queue.put(BEGIN + TICK, Happening::Tick);
        let settings = DirectorySettings {
            prefix: "sb:".to_owned(),
            lease: config.lease,
            row_expiry: config.row_expiry,
        };
        let flaws = schedule.flaw.into_iter().collect();
        let redis = Redis::holding(MemoryDirectory::new(settings).with_flaws(flaws));
        let instances = schedule.instances;
        let end = BEGIN + (schedule.end() + AFTERMATH);
        let mut world = Self {
            schedule,
            config,
            now: BEGIN,
            queue,
            noise,
            trace: Trace::new(),
            processes: (0..instances).map(Process::new).collect(),
            redis,
            redis_latency: Latency::new(REDIS_LATENCY),
            pipes: Pipes::default(),
            sessions: Vec::new(),
            clients: BTreeMap::new(),
            balancer_blind_until: Instant::START,
            waiting: Vec::new(),
            deployments: 0,
            ledger: Ledger::default(),
            record: Record::default(),
            watchers: Watchers::new(checkers),
            calm: Calm::new(BEGIN),
            outbox: Outbox::new(),
            violation: None,
            end,
            events: 0,
        };
        for host in 0..instances {
            world.start(host);
        }
        world
    }

    /// Runs the schedule to its end, or to the first violation.
    pub fn run(&mut self) -> Report {
        while self.step() {}
        self.report()
    }

    /// Lets the next thing happen. `false` if the schedule is over or an invariant was violated.
    pub fn step(&mut self) -> bool {
        if self.violation.is_some() || self.queue.next().is_none_or(|at| at > self.end) {
            return false;
        }
        let Some((at, happening)) = self.queue.take() else {
            return false;
        };
        self.now = at;
        match happening {
            Happening::Deadline { checker, what } => self.deadline(checker, what),
            Happening::Tick => {
                if self.must_tell_time() {
                    self.observe(Observed::Tick);
                }
                self.queue.put(self.now + TICK, Happening::Tick);
            }
            other => {
                self.events += 1;
                self.happen(other);
            }
        }
        true
    }

    /// Lets everything happen until a moment, from the start of the schedule. `false` if the schedule
    /// is over or an invariant was violated.
    pub fn run_until(&mut self, moment: Duration) -> bool {
        let moment = BEGIN + moment;
        while self.queue.next().is_some_and(|at| at <= moment) {
            if !self.step() {
                return false;
            }
        }
        true
    }

    /// The instances that run, without the world around them: the benchmark of memory weighs them.
    #[doc(hidden)]
    pub fn into_instances(self) -> Vec<Instance> {
        let instances = self.processes.into_iter();
        instances
            .filter_map(|process| Some(*process.instance?))
            .collect()
    }

    /// What is known so far.
    pub fn report(&self) -> Report {
        let faults: BTreeSet<_> = (self.ledger.entries().iter())
            .map(|entry| entry.kind)
            .filter(|kind| kind.is_fault())
            .collect();
        Report {
            seed: self.schedule.seed,
            hash: self.trace.hash(),
            events: self.events,
            simulated: self.now.since(BEGIN),
            tallies: self.watchers.tallies(),
            faults: faults.into_iter().collect(),
            expected: None,
            violation: self.violation.clone(),
        }
        .judged_by(self.schedule.expects.as_ref())
    }

    /// A hash of everything that decides what will happen: instances, links, terminals, the directory,
    /// and what is on its way. Worlds of equal fingerprints go on equally, whatever happened before.
    ///
    /// Times count from now; but all noise hangs on the moment, so that the time that has passed is a
    /// part of it. What tells of the past is left out: the trace, the ledger, the checkers and what
    /// they remember. The hash may be another one with the next version of this crate.
    pub fn fingerprint(&self) -> u64 {
        let Self {
            schedule,
            config,
            now,
            queue,
            noise,
            trace: _,
            processes,
            redis,
            redis_latency,
            pipes,
            sessions,
            clients,
            balancer_blind_until,
            waiting,
            deployments,
            ledger: _,
            record,
            watchers: _,
            calm: _,
            outbox: _,
            violation,
            end,
            events: _,
        } = self;
        let mut to = Print::new(*now);
        to.word(&(
            config,
            noise,
            schedule.reconnect,
            schedule.flaw,
            violation.is_some(),
        ));
        now.since(BEGIN).fingerprint(&mut to);
        end.fingerprint(&mut to);
        queue.fingerprint(&schedule.items, &mut to);
        processes.fingerprint(&mut to);
        redis.fingerprint(&mut to);
        redis_latency.fingerprint(&mut to);
        pipes.fingerprint(&mut to);
        sessions.fingerprint(&mut to);
        clients.fingerprint(&mut to);
        balancer_blind_until.fingerprint(&mut to);
        waiting.fingerprint(&mut to);
        deployments.fingerprint(&mut to);
        record.fingerprint(&mut to);
        to.finish()
    }

    /// Keeps the entries of the trace from here on, for [`kept_trace`](Self::kept_trace).
    pub fn keep_trace(&mut self) {
        self.trace.keep();
    }

    /// The entries of the trace since [`keep_trace`](Self::keep_trace).
    pub fn kept_trace(&self) -> &[Kept] {
        self.trace.kept()
    }

    /// Adds an entry to the trace.
    pub(crate) fn trace(&mut self, entry: &Entry<'_>) {
        self.trace.take(self.now.since(BEGIN), entry);
    }

    pub(crate) fn clock(&self) -> Now {
        let passed = self.now.since(BEGIN).as_millis() as u64;
        Now {
            mono: self.now,
            wall: WallTime::from_millis(BEGIN_WALL_MILLIS + passed),
        }
    }

    /// Notes what a checker has found. The first counts.
    pub(crate) fn violated(&mut self, checker: &'static str, what: String) {
        let at = self.now.since(BEGIN);
        (self.violation).get_or_insert(Violation { checker, at, what });
    }

    /// Calls a checker at a moment.
    pub(crate) fn call_checker(&mut self, at: Instant, checker: usize, what: u64) {
        let at = at.max(self.now);
        self.queue.put(at, Happening::Deadline { checker, what });
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Item(index) => {
                let act = self.schedule.items[index].act.clone();
                self.trace(&Entry::Item(&act.to_string()));
                self.act(&act);
            }
            Happening::Turn(life) => self.turn(life),
            Happening::Timer(life) => self.timer(life),
            Happening::Input(life, input) => self.input(life, input),
            Happening::Act(act) => {
                self.borne(FaultKind::AtMoment, Scope::All);
                self.trace(&Entry::Item(&act.to_string()));
                self.act(&act);
            }
            Happening::Deploy(deployment) => self.deployment(*deployment),
            Happening::Reconnect(session) => self.reconnect(session),
            Happening::Unanswered(session) => self.unanswered(session),
            Happening::TokenEnds(session) => self.token_ends(session),
            Happening::SlowRead(life, key) => self.slow_read(life, key),
            Happening::OpenDirectory(life) => self.open_directory(life),
            Happening::Request {
                life,
                link,
                connection,
                trip,
            } => self.request(life, link, connection, &trip),
            Happening::Demotion(server) => self.former_primary_ends(server),
            Happening::Reply {
                life,
                link,
                op,
                outcomes,
            } => self.reply(life, link, op, outcomes),
            Happening::OutOfPipe {
                pipe,
                at_dialler,
                content,
            } => self.out_of_pipe(pipe, at_dialler, content),
            Happening::AtTerminal { session, seen } => self.at_terminal(session, seen),
            // They are the checkers' own affair, and leave no trace.
            Happening::Deadline { .. } | Happening::Tick => {}
        }
    }
}

/// Rows that are settled in a second, by all instances together: few, so that a handful of
/// connections takes as many steps as a hundred thousand do otherwise.
const SETTLE_RATE: u32 = 40;

/// The default settings, with all that hangs on the lease in proportion, and small limits if the
/// schedule wants them.
fn config(schedule: &Schedule) -> Config {
    let lease = schedule.lease;
    let defaults = match schedule.tight {
        None => Config::default(),
        Some(policy) => tight(policy),
    };
    Config {
        lease,
        lease_renewal: lease * 3 / 10,
        view_interval: lease / 10,
        isolation: lease * 2,
        directory_timeout: defaults.directory_timeout.min(lease / 2),
        settle_rate: SETTLE_RATE,
        ..defaults
    }
}

/// Limits that a few terminals and a burst of pushes reach.
fn tight(slow_consumer: SlowConsumer) -> Config {
    Config {
        slow_consumer,
        queue_frames: 4,
        queue_bytes: 256,
        push_bytes: 64,
        connections: 40,
        connections_per_user: 10,
        pushes: 12,
        pushes_per_user: 8,
        receipt_terminals: 20,
        link_queue_bytes: 4096,
        ..Config::default()
    }
}
