//! The world: instances, their directory, links and terminals, in virtual time. It owns the parts and
//! routes what happens to them.

mod items;
mod lives;
mod pushes;
mod turns;

use std::collections::BTreeSet;
use std::time::Duration;

use switchboard_core::Instance;
use switchboard_core::command::{Outbox, RoundTrip};
use switchboard_core::config::Config;
use switchboard_core::directory::memory::MemoryDirectory;
use switchboard_core::directory::{Operation, OperationResult, Reply};
use switchboard_core::time::Instant;

use crate::checker::{Checker, Scene, Watchers};
use crate::checkers;
use crate::context::{BEGIN, Context};
use crate::deployments::Deployments;
use crate::directory::Directory;
use crate::fingerprint::{Fingerprint as _, Print};
use crate::hosts::Hosts;
use crate::ledger::{FaultKind, Scope};
use crate::network::Network;
use crate::observed::{Life, Observed};
use crate::publishing::Publishing;
use crate::redis::Connection;
use crate::report::{Report, Violation};
use crate::schedule::{Moment, Schedule};
use crate::settings;
use crate::terminals::Terminals;
use crate::trace::{Entry, Kept};
use crate::vocabulary::execution::Execution;
use crate::vocabulary::happening::Happening;

/// Instances, directory, links, terminals and publishers. A value: a clone of it goes on as the
/// original would.
#[derive(Clone, Debug)]
pub struct World {
    schedule: Schedule,
    cx: Context,
    hosts: Hosts,
    directory: Directory,
    network: Network,
    terminals: Terminals,
    publishing: Publishing,
    deployments: Deployments,
    watchers: Watchers,
    /// Empty between two turns.
    outbox: Outbox,
    violation: Option<Violation>,
    /// Nothing happens after this moment.
    end: Instant,
    events: u64,
}

/// After the last item the world goes on for so long: a push that was handed in last is due.
const AFTERMATH: Duration = Duration::from_secs(5);
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
        let config = settings::of_schedule(&schedule);
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
        let mut world = Self::unstarted(schedule, config, checkers);
        world.start_all();
        world
    }

    fn start_all(&mut self) {
        for host in 0..self.hosts.len() {
            self.start(host);
        }
        self.tell_checkers();
    }

    fn unstarted(schedule: Schedule, config: Config, checkers: Vec<Box<dyn Checker>>) -> Self {
        if let Err(error) = schedule.validate() {
            panic!("the schedule cannot be run: {error}");
        }
        if let Err(error) = settings::check(&config) {
            panic!("the settings do not fit: {error}");
        }
        let settings = config.directory();
        let flaws = schedule.flaw.into_iter().collect();
        let content = MemoryDirectory::new(settings).with_flaws(flaws);
        let watchers = Watchers::new(checkers);
        let mut cx = Context::new(schedule.seed, config, watchers.topics());
        for (index, item) in schedule.items.iter().enumerate() {
            cx.put(BEGIN + item.at, Happening::Item(index));
        }
        cx.put(BEGIN + TICK, Happening::Tick);
        let hosts = schedule.instances;
        Self {
            cx,
            hosts: Hosts::new(hosts),
            directory: Directory::new(content, hosts),
            network: Network::new(hosts),
            terminals: Terminals::new(hosts, schedule.reconnect),
            publishing: Publishing::default(),
            deployments: Deployments::default(),
            watchers,
            outbox: Outbox::new(),
            violation: None,
            end: BEGIN + (schedule.end() + AFTERMATH),
            events: 0,
            schedule,
        }
    }

    /// A world in which all instances have other settings than those that checkers go by: what should
    /// follow from a setting does not follow.
    ///
    /// # Panics
    ///
    /// As [`configured`](Self::configured).
    #[doc(hidden)]
    pub fn doctored(
        schedule: Schedule,
        config: Config,
        real: &Config,
        checkers: Vec<Box<dyn Checker>>,
    ) -> Self {
        if let Err(error) = settings::check(real) {
            panic!("the settings do not fit: {error}");
        }
        let mut world = Self::unstarted(schedule, config, checkers);
        world.cx.real_config = real.clone();
        world.start_all();
        world
    }

    /// Runs the schedule to its end, or to the first violation.
    pub fn run(&mut self) -> Report {
        while self.step() {}
        self.report()
    }

    /// Lets the next thing happen. `false` if the schedule is over or an invariant was violated.
    pub fn step(&mut self) -> bool {
        if self.violation.is_some() || self.cx.next().is_none_or(|at| at > self.end) {
            return false;
        }
        let Some(happening) = self.cx.take_next() else {
            return false;
        };
        self.happen(happening);
        self.tell_checkers();
        true
    }

    /// Lets everything happen until a moment, from the start of the schedule. `false` if the schedule
    /// is over or an invariant was violated.
    pub fn run_until(&mut self, moment: Duration) -> bool {
        let moment = BEGIN + moment;
        while self.cx.next().is_some_and(|at| at <= moment) {
            if !self.step() {
                return false;
            }
        }
        true
    }

    /// Tells checkers of something that has not happened: so it is seen what they say to that.
    #[doc(hidden)]
    pub fn pretend(&mut self, event: Observed) {
        self.cx.observe(event);
        self.tell_checkers();
    }

    /// The instances that run, without the world around them: the benchmark of memory weighs them.
    #[doc(hidden)]
    pub fn into_instances(self) -> Vec<Instance> {
        self.hosts.into_instances().collect()
    }

    /// What can be seen of it at this moment.
    pub const fn scene(&self) -> Scene<'_> {
        Scene::new(
            &self.cx,
            &self.hosts,
            &self.directory,
            &self.terminals,
            &self.publishing,
        )
    }

    /// What is known so far.
    pub fn report(&self) -> Report {
        let faults: BTreeSet<_> = (self.cx.ledger().entries().iter())
            .map(|entry| entry.kind)
            .filter(|kind| kind.is_fault())
            .collect();
        Report {
            seed: self.schedule.seed,
            hash: self.cx.trace_hash(),
            events: self.events,
            simulated: self.cx.passed(),
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
            cx,
            hosts,
            directory,
            network,
            terminals,
            publishing,
            deployments,
            watchers: _,
            outbox: _,
            violation,
            end,
            events: _,
        } = self;
        let mut to = Print::new(cx.now);
        to.word(&(
            &cx.config,
            cx.noise,
            schedule.reconnect,
            schedule.flaw,
            violation.is_some(),
        ));
        cx.passed().fingerprint(&mut to);
        end.fingerprint(&mut to);
        cx.fingerprint_queue(&schedule.items, &mut to);
        hosts.fingerprint(&mut to, |host, to| {
            directory.fingerprint_link(host, to);
            terminals.fingerprint_sockets(host, to);
            network.fingerprint_links(host, to);
        });
        directory.fingerprint(&mut to);
        network.fingerprint(&mut to);
        terminals.fingerprint(&mut to);
        cx.fingerprint_moments(&mut to);
        deployments.fingerprint(&mut to);
        publishing.fingerprint(&mut to);
        to.finish()
    }

    /// Keeps the entries of the trace from here on, for [`kept_trace`](Self::kept_trace).
    pub fn keep_trace(&mut self) {
        self.cx.keep_trace();
    }

    /// The entries of the trace since [`keep_trace`](Self::keep_trace).
    pub fn kept_trace(&self) -> &[Kept] {
        self.cx.kept_trace()
    }

    /// Routes what happens to the part that it happens to.
    fn happen(&mut self, happening: Happening) {
        let Self {
            cx,
            hosts,
            directory,
            network,
            terminals,
            publishing,
            events,
            ..
        } = self;
        *events += 1;
        match happening {
            Happening::Item(index) => {
                let act = self.schedule.items[index].act.clone();
                cx.trace(&Entry::Item(&act.to_string()));
                self.act(&act);
            }
            Happening::Turn(life) => self.turn(life),
            Happening::Timer(life) => hosts.timer(cx, life),
            Happening::Input(life, input) => {
                if hosts.lives(life) {
                    hosts.input(cx, life, input);
                } else {
                    self.unheard(life, &input);
                }
            }
            Happening::Act(act) => {
                cx.borne(FaultKind::AtMoment, Scope::All);
                cx.trace(&Entry::Item(&act.to_string()));
                self.act(&act);
            }
            Happening::Deploy(deployment) => self.deployment(*deployment),
            Happening::Reconnect(session) => terminals.reconnect(cx, hosts, session),
            Happening::Unanswered(session) => terminals.unanswered(cx, session),
            Happening::LogsIn(session) => terminals.logs_in(cx, hosts, session),
            Happening::TokenEnds(session) => terminals.token_ends(cx, session),
            Happening::SlowRead(life, key) => {
                terminals.slow_read(cx, hosts, publishing, life, key);
            }
            Happening::OpenDirectory(life) => directory.open(cx, hosts, life),
            Happening::Request {
                life,
                link,
                connection,
                trip,
            } => self.request(life, link, connection, &trip),
            Happening::Demotion(server) => directory.demote(cx, hosts, server),
            Happening::Reply {
                life,
                link,
                op,
                outcomes,
            } => directory.answer(cx, hosts, life, link, op, outcomes),
            Happening::OutOfPipe {
                pipe,
                at_dialler,
                content,
            } => network.arrives(cx, hosts, pipe, at_dialler, content),
            Happening::AtTerminal { session, seen } => {
                terminals.arrives(cx, hosts, publishing, session, seen);
            }
            // They are the checkers' own affair, and leave no trace.
            Happening::Deadline { checker, what } => {
                *events -= 1;
                self.call_checker(checker, what);
            }
            Happening::Tick => {
                *events -= 1;
                let leases = directory.live_leases(cx.now);
                if cx.must_tell_time(leases) {
                    cx.observe(Observed::Tick);
                }
                cx.put(cx.now + TICK, Happening::Tick);
            }
        }
    }

    /// A round trip reaches the directory, which executes one operation after the other.
    fn request(&mut self, life: Life, link: u32, connection: Connection, trip: &RoundTrip) {
        let Self {
            cx,
            hosts,
            directory,
            ..
        } = self;
        let Some(arrival) = directory.arrive(cx, hosts, life, link, connection, trip) else {
            return;
        };
        let mut outcomes = Vec::with_capacity(arrival.count());
        for operation in &trip.operations[..arrival.count()] {
            let Some(execution) = self.directory.execute(&mut self.cx, &arrival, operation) else {
                return;
            };
            outcomes.push(self.executed(life, operation, execution));
        }
        let Self {
            cx,
            hosts,
            directory,
            ..
        } = self;
        directory.executed(cx, hosts, &arrival, trip.op, outcomes);
    }

    /// An operation was executed: checkers are told what it changed, and it may be a moment of a client
    /// or a push. One that was refused has no moment, and neither has a row that was not written
    /// because a younger one stood there.
    fn executed(
        &mut self,
        life: Life,
        operation: &Operation,
        execution: Execution,
    ) -> OperationResult {
        let Self {
            cx,
            terminals,
            publishing,
            ..
        } = self;
        let Execution {
            outcome,
            executed,
            rewritten,
        } = execution;
        if let Some(connection) = rewritten {
            terminals.row_is_back(cx, connection);
        }
        if let Some(executed) = executed {
            cx.observe(Observed::Executed(Box::new(executed)));
        }
        match (operation, &outcome) {
            (
                Operation::Register { connection, .. },
                Ok(Reply::Registered | Reply::RegisteredWith(_)),
            ) => {
                terminals.moment_of_connection(cx, Moment::Register, *connection);
            }
            (Operation::Unregister { connection, .. }, Ok(_)) => {
                terminals.moment_of_connection(cx, Moment::Unregister, *connection);
            }
            (Operation::Lookup { key }, Ok(_)) => {
                publishing.moment_of_lookup(cx, life, key.user());
            }
            (
                Operation::Register { .. }
                | Operation::Unregister { .. }
                | Operation::Lookup { .. }
                | Operation::RemoveRow { .. }
                | Operation::EnterTopic { .. }
                | Operation::LeaveTopic { .. }
                | Operation::KeepTopic { .. }
                | Operation::LookupTopic { .. }
                | Operation::View
                | Operation::Claim { .. }
                | Operation::Renew { .. }
                | Operation::Release { .. }
                | Operation::ReadLease { .. }
                | Operation::Log { .. },
                _,
            ) => {}
        }
        self.tell_checkers();
        outcome
    }

    /// Tells checkers what has happened since the last time, and carries over what they say.
    fn tell_checkers(&mut self) {
        let observed = self.cx.observed();
        if observed.is_empty() {
            return;
        }
        for event in &observed {
            let (watchers, scene) = self.watchers_and_scene();
            watchers.tell(event, scene);
        }
        self.carry();
    }

    /// A checker wanted to be called.
    fn call_checker(&mut self, checker: usize, what: u64) {
        let (watchers, scene) = self.watchers_and_scene();
        watchers.call(checker, what, scene);
        self.carry();
    }

    const fn watchers_and_scene(&mut self) -> (&mut Watchers, Scene<'_>) {
        let Self {
            cx,
            hosts,
            directory,
            terminals,
            publishing,
            watchers,
            ..
        } = self;
        let scene = Scene::new(cx, hosts, directory, terminals, publishing);
        (watchers, scene)
    }

    /// Carries over what checkers have said. The first violation counts.
    fn carry(&mut self) {
        let Self { cx, watchers, .. } = self;
        for (at, checker, what) in watchers.deadlines() {
            cx.put(at.max(cx.now), Happening::Deadline { checker, what });
        }
        if let Some((checker, what)) = watchers.violation() {
            let at = cx.passed();
            (self.violation).get_or_insert(Violation { checker, at, what });
        }
    }
}
