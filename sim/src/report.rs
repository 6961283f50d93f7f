//! What a run found.

use std::fmt;
use std::time::Duration;

use crate::checker::{Tally, Verdict};
use crate::ledger::FaultKind;
use crate::schedule::Expected;

/// The name under which a panic of the core is reported.
pub const NO_PANIC: &str = "no-panic";

/// The name under which a panic of a checker is reported.
pub const CHECKER_PANIC: &str = "checker-panic";

/// The name under which it is reported that an expected violation was not found.
pub const EXPECTED: &str = "expect-violation";

/// An invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The name of the checker that saw it, or [`NO_PANIC`], [`CHECKER_PANIC`], [`EXPECTED`].
    pub checker: &'static str,
    /// When, from the start of the schedule.
    pub at: Duration,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { checker, at, what } = self;
        let at = at.as_secs_f64();
        write!(f, "{checker} at {at:.6}s: {what}")
    }
}

/// What a run found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The seed of the schedule.
    pub seed: u64,
    /// The hash of the trace: of all that happened.
    pub hash: u64,
    /// Things that happened.
    pub events: u64,
    /// Virtual time that passed.
    pub simulated: Duration,
    /// What each checker has judged.
    pub tallies: Vec<Tally>,
    /// Kinds of faults that occurred.
    pub faults: Vec<FaultKind>,
    /// What did not hold, as the schedule expects.
    pub expected: Option<Violation>,
    /// What did not hold.
    pub violation: Option<Violation>,
}

impl Report {
    /// The report of a run in which the core panicked.
    pub fn of_panic(seed: u64, what: String) -> Self {
        Self::of_violation(seed, NO_PANIC, what)
    }

    /// The report of a run in which one of the checkers panicked: nothing is known of the core.
    pub fn of_checker_panic(seed: u64, checker: &str, what: &str) -> Self {
        let what = format!("the checker `{checker}` panicked: {what}");
        Self::of_violation(seed, CHECKER_PANIC, what)
    }

    /// All else that the run had found is gone with it.
    const fn of_violation(seed: u64, checker: &'static str, what: String) -> Self {
        let at = Duration::ZERO;
        Self {
            seed,
            hash: 0,
            events: 0,
            simulated: Duration::ZERO,
            tallies: Vec::new(),
            faults: Vec::new(),
            expected: None,
            violation: Some(Violation { checker, at, what }),
        }
    }

    /// Judges the run by what its schedule expects: the violation that must be found is none, and
    /// that it was not found is one.
    #[must_use]
    pub fn judged_by(mut self, expects: Option<&Expected>) -> Self {
        let Some(Expected { checker, by }) = expects else {
            return self;
        };
        match self.violation.take() {
            Some(found) if found.checker == *checker && found.at <= *by => {
                self.expected = Some(found);
            }
            Some(other) => self.violation = Some(other),
            None => {
                let what = format!("{checker} was to be violated, and was not");
                let (checker, at) = (EXPECTED, *by);
                self.violation = Some(Violation { checker, at, what });
            }
        }
        self
    }

    /// What the run has shown: nothing, if a checker on which it hangs has judged nothing.
    pub fn verdict(&self) -> Verdict {
        if self.violation.is_some() {
            Verdict::Fail
        } else if self.expected.is_some() {
            Verdict::Pass
        } else if self.tallies.iter().any(Tally::is_idle) {
            Verdict::Unknown
        } else {
            Verdict::Pass
        }
    }

    /// What the checker of this name has judged.
    pub fn tally(&self, checker: &str) -> Option<&Tally> {
        self.tallies.iter().find(|tally| tally.checker == checker)
    }
}
