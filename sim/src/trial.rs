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

    /// The checkers.
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
