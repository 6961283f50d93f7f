//! How schedules are run: with which settings, and watched by whom.

use switchboard_core::config::{Config, ConfigError};

use crate::checker::Checker;
use crate::checkers;
use crate::panics::{self, Caught};
use crate::report::{NO_PANIC, Report};
use crate::schedule::{Expected, Schedule};
use crate::settings;
use crate::trace::Kept;
use crate::world::World;

/// With which settings schedules are run, and which checkers watch.
///
/// # Examples
///
/// ```
/// use switchboard_sim::{Trial, swarm};
///
/// let report = Trial::new().run(&swarm::schedule(20));
/// assert_eq!(report.violation, None);
/// ```
#[derive(Clone, Debug)]
pub struct Trial {
    config: Option<Config>,
    checkers: Vec<Box<dyn Checker>>,
}

/// A violation is expected of a checker that is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a violation of `{checker}` is expected, and it is none of {watching}")]
pub struct NobodyWatches {
    /// The one that is expected.
    pub checker: String,
    /// The names of those that are there.
    pub watching: String,
}

impl Trial {
    /// With settings that follow from each schedule's lease, and all of our own checkers.
    pub fn new() -> Self {
        Self::watched_by(checkers::all())
    }

    /// With settings that follow from each schedule's lease, and these checkers only.
    pub const fn watched_by(checkers: Vec<Box<dyn Checker>>) -> Self {
        Self {
            config: None,
            checkers,
        }
    }

    /// With these settings, whatever a schedule's lease is.
    ///
    /// # Errors
    ///
    /// Names the setting that does not fit, or a time that is longer than those of a schedule.
    pub fn with_config(mut self, config: Config) -> Result<Self, ConfigError> {
        settings::check(&config)?;
        self.config = Some(config);
        Ok(self)
    }

    /// With one more checker.
    #[must_use]
    pub fn with_checker(mut self, checker: Box<dyn Checker>) -> Self {
        self.checkers.push(checker);
        self
    }

    /// In the order in which they were added.
    pub fn checkers(&self) -> &[Box<dyn Checker>] {
        &self.checkers
    }

    /// Checks that what a schedule expects can be found: by one of the checkers, or as a panic.
    ///
    /// # Errors
    ///
    /// Names the checker of whom it is expected, and those that are there.
    pub fn watches(&self, schedule: &Schedule) -> Result<(), NobodyWatches> {
        let Some(Expected { checker, .. }) = &schedule.expects else {
            return Ok(());
        };
        let mut names: Vec<_> = self.checkers.iter().map(|checker| checker.name()).collect();
        names.push(NO_PANIC);
        if names.contains(&checker.as_str()) {
            return Ok(());
        }
        Err(NobodyWatches {
            checker: checker.clone(),
            watching: names.join(", "),
        })
    }

    /// A world at the start of a schedule.
    ///
    /// # Panics
    ///
    /// If the schedule cannot be run: see [`Schedule::validate`].
    pub fn world(&self, schedule: &Schedule) -> World {
        let checkers = self.checkers.clone();
        match &self.config {
            None => World::watched(schedule.clone(), checkers),
            Some(config) => World::configured(schedule.clone(), config.clone(), checkers),
        }
    }

    /// Runs a schedule to its end, or to the first violation. A panic is a violation, and is not
    /// printed: a shrinker meets it many times. [`World::run`] panics as usual, with a backtrace.
    ///
    /// # Panics
    ///
    /// If the schedule cannot be run: see [`Schedule::validate`].
    pub fn run(&self, schedule: &Schedule) -> Report {
        if let Err(error) = schedule.validate() {
            panic!("the schedule cannot be run: {error}");
        }
        let report = panics::catch(|| self.world(schedule).run());
        report.unwrap_or_else(|Caught { checker, what }| match checker {
            None => {
                let report = Report::of_panic(schedule.seed, what);
                report.judged_by(schedule.expects.as_ref())
            }
            Some(checker) => Report::of_checker_panic(schedule.seed, checker, &what),
        })
    }

    /// Runs a schedule, and tells each entry of its trace as it comes about. A panic ends it without
    /// being printed; [`run`](Self::run) says of the same schedule what it was.
    ///
    /// # Panics
    ///
    /// If the schedule cannot be run: see [`Schedule::validate`].
    pub fn trace(&self, schedule: &Schedule, mut told: impl FnMut(&Kept)) {
        if let Err(error) = schedule.validate() {
            panic!("the schedule cannot be run: {error}");
        }
        let Ok(mut world) = panics::catch(|| self.world(schedule)) else {
            return;
        };
        world.keep_trace();
        let mut number = 0;
        loop {
            let goes_on = panics::catch(|| world.step());
            // Also what came before the panic in its own step.
            world.kept_trace()[number..].iter().for_each(&mut told);
            number = world.kept_trace().len();
            if !goes_on.unwrap_or(false) {
                return;
            }
        }
    }
}

impl Default for Trial {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::schedule::MAX_TIME;

    #[test]
    fn a_time_that_is_too_long_is_named() {
        type Field = fn(&mut Config) -> &mut Duration;
        let fields: [(&str, Field); 4] = [
            ("lease", |config| &mut config.lease),
            ("lease_renewal", |config| &mut config.lease_renewal),
            ("hello_grace", |config| &mut config.hello_grace),
            ("link_heartbeat", |config| &mut config.link_heartbeat),
        ];
        for (name, field) in fields {
            for time in [MAX_TIME, Duration::MAX] {
                let mut config = Config::default();
                *field(&mut config) = time;
                let error = Trial::new().with_config(config).unwrap_err();
                assert_eq!(error.field, name);
            }
        }
    }

    #[test]
    fn times_that_are_just_short_enough_can_be_run() {
        let longest = MAX_TIME - Duration::from_nanos(1);
        let config = Config {
            lease: longest,
            lease_renewal: longest / 2,
            view_interval: longest / 2,
            row_expiry: longest,
            sweep: longest / 2,
            directory_timeout: longest / 2,
            isolation: longest,
            hello_grace: longest,
            handshake_timeout: longest,
            ping_interval: longest,
            ping_timeout: longest,
            close_timeout: longest,
            repeat_memory: longest,
            link_timeout: longest,
            link_heartbeat: longest,
            ..Config::default()
        };
        let trial = Trial::watched_by(Vec::new()).with_config(config).unwrap();
        let text = "switchboard-sim 1  seed 1  instances 2\n\
                    1s client c1 connects i1 as ann\n2s push i2 ann m1\n3s cut i1 <-> i2\n\
                    3s client c1 closes clean\n3s redis down\n4s push i2 everyone m2\n\
                    5s kill i1 silent\n6s heal\n60s heal";
        let schedule = Schedule::parse(text).unwrap();
        assert_eq!(trial.run(&schedule).violation, None);
    }
}
