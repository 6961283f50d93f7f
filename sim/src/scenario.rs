//! Scenarios for those who embed Switchboard: their settings, their topology, their checkers.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use switchboard_core::config::{Config, ConfigError};

use crate::checker::Checker;
use crate::noise::{Noise, Purpose};
use crate::report::{Report, Violation};
use crate::schedule::{Act, Host, Item, MAX_INSTANCES, NewAddress, Schedule, ScheduleError, To};
use crate::trial::Trial;
use crate::{shrink, swarm};

/// A cluster under load, with what goes wrong in it and who watches.
///
/// Terminals connect in the first seconds wherever the balancer sends them, pushes go to users from
/// all instances, and what [`script`](Self::script) and [`faults`](Self::faults) say happens meanwhile.
/// When the load has [lasted](Self::lasting), everything is healed: instances that are gone start
/// again, the directory must agree with the connections in the time that the settings imply, all
/// terminals leave, and nothing may be left of them. All of our own checkers watch, and those that
/// are [added](Self::check).
///
/// All noise comes from the seed: the same scenario gives the same [hash](Report::hash).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use switchboard_core::config::Config;
/// use switchboard_sim::Scenario;
///
/// let config = Config {
///     lease: Duration::from_secs(5),
///     lease_renewal: Duration::from_secs(1),
///     ..Config::default()
/// };
/// let report = Scenario::new(7)
///     .instances(2, config)
///     .users(5)
///     .terminals(1..=2)
///     .script("8s  redis restart-empty")
///     .run()
///     .assert_ok();
/// assert!(report.events > 1000);
/// ```
#[derive(Clone, Debug)]
#[must_use = "a scenario does nothing until it is run"]
pub struct Scenario {
    seed: u64,
    instances: usize,
    config: Config,
    users: u64,
    terminals: RangeInclusive<u64>,
    pushes_per_second: f64,
    lasting: Duration,
    reconnect: Option<Duration>,
    faults: Option<Faults>,
    script: String,
    whole: Option<Schedule>,
    checkers: Vec<Box<dyn Checker>>,
}

/// Faults that are drawn from the seed, each kind with probability one half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    from: Duration,
    until: Duration,
}

/// Why a scenario cannot be run. All of them are the caller's.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ScenarioError {
    /// The settings do not fit.
    #[error("the scenario's settings: {0}")]
    Config(#[from] ConfigError),
    /// The script, or the schedule, is none.
    #[error("the scenario's script: {0}")]
    Script(#[from] ScheduleError),
    /// A figure is out of range.
    #[error("the scenario's {what} must be {rule}")]
    Range {
        /// Which figure.
        what: &'static str,
        /// What it must be.
        rule: &'static str,
    },
}

/// Terminals have connected by this moment, and faults and pushes begin.
const CONNECTED: Duration = Duration::from_secs(4);
/// Terminals connect from this moment on: instances have their leases.
const CONNECT: Duration = Duration::from_secs(1);
/// Items of one scenario, at most: a world holds them all.
const MAX_ITEMS: f64 = 1e6;

impl Scenario {
    /// Three instances with default settings, ten users with a terminal each, ten pushes a second
    /// for half a minute, no faults, and terminals that connect anew after half a second.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            instances: 3,
            config: Config::default(),
            users: 10,
            terminals: 1..=1,
            pushes_per_second: 10.0,
            lasting: Duration::from_secs(30),
            reconnect: Some(Duration::from_millis(500)),
            faults: None,
            script: String::new(),
            whole: None,
            checkers: Vec::new(),
        }
    }

    /// What a schedule says and nothing else: its own connections, pushes, faults and expectations,
    /// with its own seed and number of instances. The settings are those of
    /// [`settings`](Self::settings), and the schedule's lease does not count.
    pub fn of_schedule(schedule: Schedule) -> Self {
        Self {
            seed: schedule.seed,
            instances: schedule.instances,
            whole: Some(schedule),
            ..Self::new(0)
        }
    }

    /// So many instances, all with these settings.
    pub fn instances(mut self, instances: usize, config: Config) -> Self {
        self.instances = instances;
        self.settings(config)
    }

    /// All instances have these settings.
    pub fn settings(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// So many users.
    pub const fn users(mut self, users: u64) -> Self {
        self.users = users;
        self
    }

    /// Each user has so many terminals.
    pub const fn terminals(mut self, terminals: RangeInclusive<u64>) -> Self {
        self.terminals = terminals;
        self
    }

    /// So many pushes are handed in, each at some instance for some user.
    pub const fn pushes_per_second(mut self, pushes: f64) -> Self {
        self.pushes_per_second = pushes;
        self
    }

    /// The load lasts so long, from the first connection.
    pub const fn lasting(mut self, lasting: Duration) -> Self {
        self.lasting = lasting;
        self
    }

    /// A terminal that loses its connection, or is refused, connects anew through the balancer: after
    /// about this time, and after twice as long each time that it fails. `None`: it stays away.
    pub const fn reconnect(mut self, after: Option<Duration>) -> Self {
        self.reconnect = after;
        self
    }

    /// Faults happen that are drawn from the seed.
    pub const fn faults(mut self, faults: Faults) -> Self {
        self.faults = Some(faults);
        self
    }

    /// Items of a schedule happen as well, one a line: see [`Schedule`]. Terminals are called `u1.1`,
    /// `u1.2` and so on, their users `u1`, `u2`, and the pushes `m1`, `m2`.
    pub fn script(mut self, items: &str) -> Self {
        self.script.push_str(items);
        self.script.push('\n');
        self
    }

    /// A checker of one's own watches as well.
    pub fn check(mut self, checker: impl Checker + 'static) -> Self {
        self.checkers.push(Box::new(checker));
        self
    }

    /// Runs it.
    pub fn run(self) -> Run {
        let result = (self.trial()).and_then(|trial| Ok((self.schedule()?, trial)));
        match result {
            Err(error) => Run::Impossible(error),
            Ok((schedule, trial)) => {
                let report = trial.run(&schedule);
                Run::Done(Box::new(Done {
                    schedule,
                    trial,
                    report,
                }))
            }
        }
    }

    /// The schedule that it makes.
    ///
    /// # Errors
    ///
    /// Says which part of the scenario does not fit, and what it must be.
    pub fn schedule(&self) -> Result<Schedule, ScenarioError> {
        if let Some(schedule) = &self.whole {
            return Ok(schedule.clone());
        }
        self.validate()?;
        let mut maker = Maker {
            scenario: self,
            noise: Noise::new(self.seed),
            items: Vec::new(),
        };
        maker.terminals();
        maker.pushes();
        let mut head = self.head()?;
        head.reconnect = self.reconnect;
        let script = Schedule::parse(&format!("{head}{}", self.script)).map_err(|error| {
            // The head is no line of the caller's.
            ScheduleError {
                line: error.line.saturating_sub(1),
                ..error
            }
        })?;
        maker.items.extend(script.items);
        if let Some(Faults { from, until }) = self.faults {
            let (from, until) = (from.max(CONNECTED), until.min(self.lasting));
            let lease = self.config.lease;
            maker.items.extend(swarm::faults(
                self.seed,
                self.instances,
                lease,
                (from, until),
            ));
        }
        maker.end();
        maker.items.sort_by_key(|item| item.at);
        Ok(Schedule {
            items: maker.items,
            ..head
        })
    }

    /// A schedule without items.
    fn head(&self) -> Result<Schedule, ScheduleError> {
        let (seed, instances) = (self.seed, self.instances);
        let lease = self.config.lease.as_secs_f64();
        Schedule::parse(&format!(
            "switchboard-sim 1  seed {seed}  instances {instances}  lease {lease:.6}s"
        ))
    }

    fn trial(&self) -> Result<Trial, ScenarioError> {
        let mut trial = Trial::new().with_config(self.config.clone())?;
        for checker in &self.checkers {
            trial = trial.with_checker(checker.clone());
        }
        Ok(trial)
    }

    fn validate(&self) -> Result<(), ScenarioError> {
        let range = |what, rule| Err(ScenarioError::Range { what, rule });
        if !(1..=MAX_INSTANCES).contains(&self.instances) {
            return range("instances", "from 1 to 64");
        }
        if self.terminals.is_empty() {
            return range("terminals", "a range that is not empty");
        }
        if self.lasting <= CONNECTED {
            return range("load", "longer than 4s, in which the terminals connect");
        }
        let terminals = self.users as f64 * *self.terminals.end() as f64;
        let pushes = self.pushes_per_second * self.lasting.as_secs_f64();
        if !(0.0..MAX_ITEMS).contains(&(terminals + pushes)) {
            return range("terminals and pushes", "a million at most");
        }
        if self.pushes_per_second > 0.0 && self.users == 0 {
            return range("users", "at least 1, or nobody can be pushed to");
        }
        Ok(())
    }
}

impl Faults {
    /// Every kind may occur, from the moment when all terminals have connected until the load ends.
    pub const fn all() -> Self {
        Self {
            from: CONNECTED,
            until: Duration::MAX,
        }
    }

    /// None begins before this moment.
    #[must_use]
    pub const fn from(mut self, from: Duration) -> Self {
        self.from = from;
        self
    }

    /// All have ended at this moment.
    #[must_use]
    pub const fn until(mut self, until: Duration) -> Self {
        self.until = until;
        self
    }
}

/// What came of a scenario.
#[derive(Clone, Debug)]
#[must_use = "nobody looks at what was found"]
pub enum Run {
    /// It was run.
    Done(Box<Done>),
    /// It cannot be.
    Impossible(ScenarioError),
}

/// A scenario that was run.
#[derive(Clone, Debug)]
pub struct Done {
    schedule: Schedule,
    trial: Trial,
    report: Report,
}

impl Run {
    /// What was found.
    ///
    /// # Panics
    ///
    /// With [what failed](Self::failure), if something did.
    #[track_caller]
    pub fn assert_ok(self) -> Report {
        let failure = self.failure();
        match self {
            Self::Done(done) if failure.is_none() => done.report,
            Self::Done(_) | Self::Impossible(_) => panic!("{}", failure.unwrap_or_default()),
        }
    }

    /// Why the scenario could not be run, or what was violated, with the seed, the hash, and a small
    /// schedule that shows the same; that schedule is also written into a file in the folder for
    /// temporary files. `None` if nothing failed.
    pub fn failure(&self) -> Option<String> {
        match self {
            Self::Impossible(error) => Some(error.to_string()),
            Self::Done(done) => {
                let violation = done.report.violation.as_ref()?;
                Some(done.failure(violation).to_string())
            }
        }
    }

    /// What was found.
    ///
    /// # Errors
    ///
    /// If the scenario could not be run.
    pub fn report(&self) -> Result<&Report, &ScenarioError> {
        match self {
            Self::Done(done) => Ok(&done.report),
            Self::Impossible(error) => Err(error),
        }
    }
}

impl Done {
    /// What is to be told about a failure.
    fn failure(&self, violation: &Violation) -> Failure {
        let small = shrink::shrink(&self.trial, &self.schedule, violation.checker, |_| ());
        let Report { seed, hash, .. } = self.report;
        let file = std::env::temp_dir().join(format!("switchboard-sim-{seed:x}-{hash:016x}.txt"));
        let written = std::fs::write(&file, small.to_string()).is_ok();
        Failure {
            what: violation.to_string(),
            seed,
            hash,
            items: self.schedule.items.len(),
            small,
            file: written.then_some(file),
        }
    }
}

struct Failure {
    what: String,
    seed: u64,
    hash: u64,
    items: usize,
    small: Schedule,
    file: Option<PathBuf>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            seed,
            hash,
            items,
            small,
            file,
        } = self;
        writeln!(f, "violated: {what}")?;
        writeln!(
            f,
            "seed {seed:#x}, hash {hash:016x}; shrunk from {items} items to {}:",
            small.items.len()
        )?;
        writeln!(f, "\n{small}")?;
        if let Some(file) = file {
            writeln!(f, "It is in {}.", file.display())?;
        }
        write!(
            f,
            "To run it again: `Scenario::of_schedule(Schedule::parse(text)?)` with the same settings and checkers."
        )
    }
}

struct Maker<'a> {
    scenario: &'a Scenario,
    noise: Noise,
    items: Vec<Item>,
}

/// What the maker draws numbers for.
#[derive(Clone, Copy)]
enum Draw {
    Terminals = 1_000,
    Connect = 1_001,
    Push = 1_002,
    Publisher = 1_003,
    Addressee = 1_004,
}

impl Maker<'_> {
    fn below(&self, limit: u64, draw: Draw, ids: [u64; 2]) -> u64 {
        let ids = [draw as u64, ids[0], ids[1]];
        self.noise.below(limit, Purpose::Generator, &ids)
    }

    fn put(&mut self, at: Duration, act: Act) {
        self.items.push(Item { at, act });
    }

    fn terminals(&mut self) {
        let (least, most) = self.scenario.terminals.clone().into_inner();
        for user in 1..=self.scenario.users {
            let terminals = least + self.below(most - least + 1, Draw::Terminals, [user, 0]);
            for terminal in 1..=terminals {
                let span = (CONNECTED - CONNECT).as_micros() as u64;
                let after = self.below(span, Draw::Connect, [user, terminal]);
                let act = Act::Connect {
                    client: format!("u{user}.{terminal}"),
                    at: None,
                    user: format!("u{user}"),
                    token: None,
                };
                self.put(CONNECT + Duration::from_micros(after), act);
            }
        }
    }

    fn pushes(&mut self) {
        let span = self.scenario.lasting - CONNECTED;
        let pushes = (span.as_secs_f64() * self.scenario.pushes_per_second) as u64;
        for push in 1..=pushes {
            let after = self.below(span.as_micros() as u64, Draw::Push, [push, 0]);
            let host = self.below(self.scenario.instances as u64, Draw::Publisher, [push, 0]);
            let user = 1 + self.below(self.scenario.users, Draw::Addressee, [push, 0]);
            let act = Act::Push {
                at: Host(host as usize),
                to: To::User(format!("u{user}")),
                name: format!("m{push}"),
            };
            self.put(CONNECTED + Duration::from_micros(after), act);
        }
    }

    /// Everything heals, must converge, and ends.
    fn end(&mut self) {
        let scripted = self
            .items
            .iter()
            .map(|item| item.at)
            .max()
            .unwrap_or_default();
        let heal = self.scenario.lasting.max(scripted) + Duration::from_secs(1);
        self.put(heal, Act::Heal);
        for host in (0..self.scenario.instances).map(Host) {
            let address = NewAddress::Same;
            self.put(
                heal + Duration::from_millis(500),
                Act::Restart { host, address },
            );
        }
        let calm = calm(&self.scenario.config);
        self.put(heal + calm, Act::ExpectConverged);
        let leave = heal + calm + Duration::from_secs(1);
        self.put(leave, Act::AllLeave);
        let rest = self.scenario.config.directory_timeout * 2 + Config::DEADLINE_DEFAULT;
        self.put(leave + rest, Act::ExpectAtRest);
    }
}

/// In this time the directory and the connections agree again after the last fault: terminals that
/// went without a sign have been noticed, leases of the dead have run out, and all rows have been
/// written again.
fn calm(config: &Config) -> Duration {
    config.ping_interval
        + config.ping_timeout
        + config.close_timeout
        + config.lease * 2
        + config.directory_timeout * 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::Watch;
    use crate::observed::Observed;

    #[test]
    fn a_scenario_is_the_same_each_time() {
        let scenario = Scenario::new(3).users(4).terminals(1..=3);
        assert_eq!(scenario.schedule(), scenario.schedule());
        let hash = |scenario: Scenario| scenario.run().assert_ok().hash;
        assert_eq!(hash(scenario.clone()), hash(scenario));
    }

    #[test]
    fn another_user_leaves_everybody_elses_items_as_they_were() {
        let text = |users| {
            let schedule = Scenario::new(3)
                .users(users)
                .pushes_per_second(0.0)
                .schedule();
            schedule.unwrap().to_string()
        };
        let (few, more) = (text(4), text(5));
        assert!(
            few.lines()
                .all(|line| more.lines().any(|other| other == line))
        );
    }

    #[test]
    fn settings_that_do_not_fit_are_named() {
        let config = Config {
            lease_renewal: Duration::from_secs(60),
            ..Config::default()
        };
        let run = Scenario::new(1).instances(2, config).run();
        let error = run.report().unwrap_err().to_string();
        assert!(error.contains("lease_renewal"), "{error}");
    }

    #[test]
    fn a_script_that_is_none_names_its_line() {
        let run = Scenario::new(1).script("5s  heal\n6s  dance").run();
        let error = run.report().unwrap_err().to_string();
        let begin = "the scenario's script: line 2: `dance` is none of";
        assert!(error.starts_with(begin), "{error}");
    }

    #[test]
    fn figures_out_of_range_are_named() {
        let error = Scenario::new(1).users(0).schedule().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the scenario's users must be at least 1, or nobody can be pushed to"
        );
        let error = Scenario::new(1)
            .instances(65, Config::default())
            .schedule()
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the scenario's instances must be from 1 to 64"
        );
    }

    #[test]
    fn faults_happen_in_their_time_and_nothing_is_violated() {
        let time = Duration::from_secs(6)..=Duration::from_secs(16);
        let faults = Faults::all().from(*time.start()).until(*time.end());
        for seed in 2..6 {
            let scenario = Scenario::new(seed).faults(faults);
            let without = Scenario::new(seed).schedule().unwrap();
            let mut with = scenario.schedule().unwrap();
            with.items.retain(|item| !without.items.contains(item));
            assert!(
                with.items.iter().all(|item| time.contains(&item.at)),
                "{with}"
            );
            let report = scenario.run().assert_ok();
            assert!(report.faults.len() > 1, "seed {seed}: {:?}", report.faults);
        }
    }

    #[test]
    fn a_failure_tells_the_seed_and_a_small_schedule() {
        let text = Scenario::new(9)
            .users(3)
            .check(Nobody)
            .run()
            .failure()
            .unwrap();
        assert!(text.contains("violated: nobody at"), "{text}");
        assert!(text.contains("seed 0x9"), "{text}");
        assert!(text.contains("connects"), "{text}");
        assert!(text.contains("to 1:"), "{text}");
    }

    /// Wants nobody to be greeted.
    #[derive(Clone, Debug)]
    struct Nobody;

    impl Checker for Nobody {
        fn name(&self) -> &'static str {
            "nobody"
        }

        fn on_event(&mut self, event: &Observed<'_>, watch: &mut Watch<'_>) {
            if let Observed::Greeted { session, .. } = event {
                watch.violated(format!("s{session} was greeted"));
            }
        }
    }
}
