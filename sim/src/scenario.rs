//! Scenarios for those who embed Switchboard: their settings, their topology, their checkers.

use std::ops::RangeInclusive;
use std::time::Duration;

use switchboard_core::config::{Config, ConfigError};

use crate::checker::Checker;
use crate::schedule::{LogSettings, MAX_INSTANCES, Schedule, ScheduleError};
use crate::settings;
use crate::trial::{NobodyWatches, Trial};

mod faults;
mod maker;
mod run;

pub use faults::{FaultClass, Faults};
use maker::ScenarioMaker;
pub use run::{Done, Run};

/// A cluster under load, with what goes wrong in it and the checkers that watch it.
///
/// Terminals connect in the first seconds wherever the balancer sends them, pushes go to users from
/// all instances, and what [`script`](Self::script) and [`faults`](Self::faults) say happens meanwhile.
/// When the load has [lasted](Self::lasting), everything is healed: instances that are gone start
/// again, the directory must agree with the connections in the time that the settings imply, all
/// terminals leave, and nothing may be left of them. All of our own checkers watch, and those that
/// are [added](Self::check).
///
/// All noise comes from the seed: the same scenario gives the same [hash](crate::report::Report::hash).
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
    topics: u64,
    topic_pushes_per_second: f64,
    lasting: Duration,
    reconnect: Option<Duration>,
    faults: Option<Faults>,
    script: String,
    whole: Option<Schedule>,
    /// The first setter that says what the whole schedule says already.
    beside_whole: Option<&'static str>,
    checkers: Vec<Box<dyn Checker>>,
}

/// Why a scenario cannot be run. All of them are the caller's.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ScenarioError {
    /// The settings do not fit.
    #[error("the scenario's settings: {0}")]
    Config(#[from] ConfigError),
    /// An instance may have fewer links than the cluster needs.
    #[error(
        "the scenario's settings: `links` must be at least {least}, {LINKS_TO_EACH} for each other instance"
    )]
    Links {
        /// Links that the cluster needs.
        least: usize,
    },
    /// The script is none.
    #[error("the scenario's `script`: {0}")]
    Script(ScheduleError),
    /// The schedule is none.
    #[error("the scenario's schedule: {0}")]
    Schedule(ScheduleError),
    /// A figure is out of range.
    #[error("the scenario's `{what}` must be {rule}")]
    Range {
        /// The name of the setter.
        what: &'static str,
        /// What it must be.
        rule: &'static str,
    },
    /// Something was set that the schedule of [`Scenario::of_schedule`] says itself.
    #[error(
        "`{what}` has no effect on a scenario of a schedule: write it into the schedule; `settings` \
         and `check` are there for the rest"
    )]
    BesideSchedule {
        /// The name of the setter.
        what: &'static str,
    },
    /// A violation is expected of a checker that is not there.
    #[error("the scenario: {0}")]
    NobodyWatches(#[from] NobodyWatches),
}

/// Terminals have connected by this moment, and faults and pushes begin.
const CONNECTED: Duration = Duration::from_secs(4);
/// Items of one scenario, at most: a world holds them all.
const MAX_ITEMS: f64 = 1e6;
/// Links that an instance must be allowed for each other one: two while both dial, and as many that are
/// dead and not yet noticed. With fewer, a push may find no link that is free.
const LINKS_TO_EACH: usize = 4;
/// A load lasts so long at most: a week.
const MAX_LASTING: Duration = Duration::from_secs(7 * 24 * 3600);

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
            topics: 0,
            topic_pushes_per_second: 0.0,
            lasting: Duration::from_secs(30),
            reconnect: Some(Duration::from_millis(500)),
            faults: None,
            script: String::new(),
            whole: None,
            beside_whole: None,
            checkers: Vec::new(),
        }
    }

    /// What a schedule says and nothing else: its own connections, pushes, faults and expectations,
    /// with its own seed and number of instances. The settings are those of
    /// [`settings`](Self::settings), and the schedule's lease and its tight limits do not count. Besides
    /// these, checkers can be [added](Self::check); all else is an error.
    pub fn of_schedule(schedule: Schedule) -> Self {
        Self {
            seed: schedule.seed,
            instances: schedule.instances,
            whole: Some(schedule),
            ..Self::new(0)
        }
    }

    /// So many instances, all with these settings: a world has one [`Config`].
    pub fn instances(mut self, instances: usize, config: Config) -> Self {
        self.beside_whole("instances");
        self.instances = instances;
        self.settings(config)
    }

    /// All instances have these settings, the same for each.
    pub fn settings(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Sets the number of users.
    pub const fn users(mut self, users: u64) -> Self {
        self.beside_whole("users");
        self.users = users;
        self
    }

    /// Each user has so many terminals.
    pub const fn terminals(mut self, terminals: RangeInclusive<u64>) -> Self {
        self.beside_whole("terminals");
        self.terminals = terminals;
        self
    }

    /// So many pushes are handed in, each at some instance for some user.
    pub const fn pushes_per_second(mut self, pushes: f64) -> Self {
        self.beside_whole("pushes_per_second");
        self.pushes_per_second = pushes;
        self
    }

    /// There are so many topics, called `t1`, `t2` and so on. Each terminal joins one of them by its token, and is told who
    /// the others are.
    pub const fn topics(mut self, topics: u64) -> Self {
        self.beside_whole("topics");
        self.topics = topics;
        self
    }

    /// So many pushes are handed in, each at some instance for the members of some topic. They are called `mt1`, `mt2`.
    pub const fn topic_pushes_per_second(mut self, pushes: f64) -> Self {
        self.beside_whole("topic_pushes_per_second");
        self.topic_pushes_per_second = pushes;
        self
    }

    /// The load lasts so long, from the first connection.
    pub const fn lasting(mut self, lasting: Duration) -> Self {
        self.beside_whole("lasting");
        self.lasting = lasting;
        self
    }

    /// A terminal that loses its connection, or is refused, connects anew through the balancer: after
    /// about this time, and after twice as long each time that it fails. `None`: it stays away.
    pub const fn reconnect(mut self, after: Option<Duration>) -> Self {
        self.beside_whole("reconnect");
        self.reconnect = after;
        self
    }

    /// Faults happen that are drawn from the seed.
    pub const fn faults(mut self, faults: Faults) -> Self {
        self.beside_whole("faults");
        self.faults = Some(faults);
        self
    }

    /// Items of a schedule happen as well, one a line: see [`Schedule::grammar`]. Terminals are called
    /// `u1.1`, `u1.2` and so on, their users `u1`, `u2`, and the pushes `m1`, `m2`. With `expect
    /// violation CHECKER by TIME` the scenario is one in which that must be found.
    pub fn script(mut self, items: &str) -> Self {
        self.beside_whole("script");
        self.script.push_str(items);
        self.script.push('\n');
        self
    }

    /// A checker of one's own watches as well.
    pub fn check(mut self, checker: impl Checker + 'static) -> Self {
        self.checkers.push(Box::new(checker));
        self
    }

    const fn beside_whole(&mut self, what: &'static str) {
        if self.whole.is_some() && self.beside_whole.is_none() {
            self.beside_whole = Some(what);
        }
    }

    /// Makes the schedule and runs it, with all checkers.
    pub fn run(self) -> Run {
        let result = (self.trial()).and_then(|trial| Ok((self.schedule()?, trial)));
        match result {
            Err(error) => Run::Impossible(error),
            Ok((schedule, trial)) => Run::Done(Box::new(Done::of(schedule, trial))),
        }
    }

    /// The schedule that it makes.
    ///
    /// # Errors
    ///
    /// Says which part of the scenario does not fit, and what it must be.
    pub fn schedule(&self) -> Result<Schedule, ScenarioError> {
        self.validate()?;
        let schedule = match &self.whole {
            Some(schedule) => schedule.clone(),
            None => self.made()?,
        };
        schedule.validate().map_err(ScenarioError::Schedule)?;
        self.trial()?.watches(&schedule)?;
        Ok(schedule)
    }

    fn made(&self) -> Result<Schedule, ScenarioError> {
        let mut head = self.head();
        head.reconnect = self.reconnect;
        let script = Schedule::parse(&format!("{head}{}", self.script)).map_err(|error| {
            // The head is no line of the caller's.
            match error.line {
                1 => ScenarioError::Schedule(error),
                line => ScenarioError::Script(ScheduleError {
                    line: line - 1,
                    ..error
                }),
            }
        })?;
        let mut maker = ScenarioMaker::new(self);
        maker.terminals();
        if let Some(faults) = self.faults {
            maker.faults(faults);
        }
        maker.pushes();
        maker.topic_pushes();
        maker.script(script.items);
        maker.end();
        Ok(Schedule {
            items: maker.sorted(),
            expects: script.expects,
            ..head
        })
    }

    /// A schedule without items.
    const fn head(&self) -> Schedule {
        Schedule {
            seed: self.seed,
            instances: self.instances,
            lease: self.config.lease,
            reconnect: None,
            tight: None,
            remembers: None,
            broadcast_rate: None,
            log: LogSettings::DEFAULT,
            flaw: None,
            expects: None,
            items: Vec::new(),
        }
    }

    fn trial(&self) -> Result<Trial, ScenarioError> {
        let mut trial = Trial::new().with_config(self.config.clone())?;
        for checker in &self.checkers {
            trial = trial.with_checker(checker.clone());
        }
        Ok(trial)
    }

    fn validate(&self) -> Result<(), ScenarioError> {
        if let Some(what) = self.beside_whole {
            return Err(ScenarioError::BesideSchedule { what });
        }
        settings::check(&self.config)?;
        let range = |what, rule| Err(ScenarioError::Range { what, rule });
        if !(1..=MAX_INSTANCES).contains(&self.instances) {
            return range("instances", "from 1 to 64");
        }
        let least = LINKS_TO_EACH * (self.instances - 1);
        if self.config.links < least {
            return Err(ScenarioError::Links { least });
        }
        if self.terminals.is_empty() {
            return range("terminals", "a range that is not empty");
        }
        if self.lasting <= CONNECTED || self.lasting > MAX_LASTING {
            return range(
                "lasting",
                "longer than 4s, in which the terminals connect, and a week at most",
            );
        }
        let rates = [
            ("pushes_per_second", self.pushes_per_second),
            ("topic_pushes_per_second", self.topic_pushes_per_second),
        ];
        for (what, rate) in rates {
            if !(rate >= 0.0 && rate.is_finite()) {
                return range(what, "a number from zero");
            }
            if rate * self.lasting.as_secs_f64() > MAX_ITEMS {
                return range(what, "so few that there are a million pushes at most");
            }
        }
        if self.users as f64 * *self.terminals.end() as f64 > MAX_ITEMS {
            return range("users", "so few that there are a million terminals at most");
        }
        if self.pushes_per_second > 0.0 && self.users == 0 {
            return range("users", "at least 1, or nobody can be pushed to");
        }
        if self.topic_pushes_per_second > 0.0 && self.topics == 0 {
            return range("topics", "at least 1, or no topic can be pushed to");
        }
        match self.faults {
            Some(faults) => faults.validate(self.lasting),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn members_of_topics_get_pushes_and_know_each_other() {
        let scenario = Scenario::new(5)
            .topics(2)
            .topic_pushes_per_second(5.0)
            .script("12s  kill i2\n14s  restart i2");
        let report = scenario.run().assert_ok();
        for checker in ["joined-means-reachable", "presence-true", "no-double-leave"] {
            let tally = report.tallies.iter().find(|tally| tally.checker == checker);
            assert!(tally.is_some_and(|tally| tally.held > 0), "{checker}");
        }
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
        let begin = "the scenario's `script`: line 2: `dance` is none of";
        assert!(error.starts_with(begin), "{error}");
    }

    #[test]
    fn figures_out_of_range_are_named() {
        let error = Scenario::new(1).users(0).schedule().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the scenario's `users` must be at least 1, or nobody can be pushed to"
        );
        let error = Scenario::new(1)
            .instances(65, Config::default())
            .schedule()
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the scenario's `instances` must be from 1 to 64"
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
}
