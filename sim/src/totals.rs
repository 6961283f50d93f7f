//! What many runs have shown together.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use crate::checker::{Checker, Verdict};
use crate::ledger::FaultKind;
use crate::report::Report;

/// The sum of many reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Runs that were counted.
    pub runs: u64,
    /// Runs in which an invariant was violated.
    pub failed: u64,
    /// Runs that proved nothing.
    pub unknown: u64,
    /// Things that happened.
    pub events: u64,
    /// Virtual time that passed.
    pub simulated: Duration,
    /// By checker.
    pub judged: BTreeMap<&'static str, Judged>,
    /// Runs in which each kind of fault occurred.
    pub faults: BTreeMap<FaultKind, u64>,
    /// Probes that were hit, by checker.
    pub probes: BTreeSet<(&'static str, &'static str)>,
}

/// What one checker has judged in all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// How often what it watches for held.
    pub held: u64,
    /// How often it did not, with an excuse.
    pub excused: u64,
    /// What the excuses were, and how often.
    pub excuses: BTreeMap<FaultKind, u64>,
    /// Runs in which it judged nothing.
    pub unknown: u64,
}

impl Judged {
    /// The share that was excused.
    pub fn excused_share(&self) -> f64 {
        self.excused as f64 / (self.held + self.excused).max(1) as f64
    }

    /// The most frequent excuses, the first of them most frequent.
    pub fn chief_excuses(&self) -> Vec<(FaultKind, u64)> {
        let mut excuses: Vec<_> = (self.excuses.iter())
            .map(|(kind, times)| (*kind, *times))
            .collect();
        excuses.sort_by_key(|(_, times)| Reverse(*times));
        excuses.truncate(CHIEF);
        excuses
    }
}

/// Excuses of a checker that are told: those behind them are rare.
const CHIEF: usize = 3;
/// Below so many runs a share of them says nothing.
const ENOUGH_RUNS: u64 = 1_000;
/// The share of runs that may prove nothing. A generator that makes more of them wastes its seeds.
const UNKNOWN_AT_MOST: f64 = 0.05;
/// Below so many judgements a share says nothing.
const ENOUGH: u64 = 10_000;

impl Totals {
    /// Adds a report.
    pub fn add(&mut self, report: &Report) {
        self.runs += 1;
        match report.verdict() {
            Verdict::Pass => {}
            Verdict::Fail => self.failed += 1,
            Verdict::Unknown => self.unknown += 1,
        }
        self.events += report.events;
        self.simulated += report.simulated;
        for tally in &report.tallies {
            let judged = self.judged.entry(tally.checker).or_default();
            judged.held += tally.held;
            judged.excused += tally.excused;
            for (kind, times) in &tally.excuses {
                *judged.excuses.entry(*kind).or_default() += times;
            }
            judged.unknown += u64::from(tally.verdict() == Verdict::Unknown);
            let probes = tally.probes.iter().map(|probe| (tally.checker, *probe));
            self.probes.extend(probes);
        }
        for kind in &report.faults {
            *self.faults.entry(*kind).or_default() += 1;
        }
    }

    /// What is wrong with so many runs as a whole: excuses that explain too much, by each checker's
    /// own bound, and too many runs that proved nothing.
    pub fn overdrawn(&self, checkers: &[Box<dyn Checker>]) -> Vec<String> {
        let too_much = |checker: &dyn Checker| {
            let judged = self.judged.get(checker.name())?;
            let (share, most) = (judged.excused_share(), checker.excused_at_most());
            let enough = judged.held + judged.excused >= ENOUGH;
            (enough && share > most).then(|| {
                format!(
                    "{}: {:.2} % is excused, and {:.2} % may be",
                    checker.name(),
                    100.0 * share,
                    100.0 * most
                )
            })
        };
        (checkers.iter())
            .filter_map(|checker| too_much(checker.as_ref()))
            .chain(self.too_many_unknown())
            .collect()
    }

    fn too_many_unknown(&self) -> Option<String> {
        let share = self.unknown as f64 / self.runs.max(1) as f64;
        (self.runs > ENOUGH_RUNS && share > UNKNOWN_AT_MOST).then(|| {
            format!(
                "runs: {:.2} % proved nothing, and {:.2} % may",
                100.0 * share,
                100.0 * UNKNOWN_AT_MOST
            )
        })
    }

    /// Probes that no run has hit, by checker.
    pub fn missed(&self, checkers: &[Box<dyn Checker>]) -> Vec<(&'static str, &'static str)> {
        (checkers.iter())
            .flat_map(|checker| {
                checker
                    .probes()
                    .iter()
                    .map(|probe| (checker.name(), *probe))
            })
            .filter(|probe| !self.probes.contains(probe))
            .collect()
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} runs: {} passed, {} failed, {} proved nothing; {} events, {:.1} h simulated",
            self.runs,
            self.runs - self.failed - self.unknown,
            self.failed,
            self.unknown,
            self.events,
            self.simulated.as_secs_f64() / 3600.0
        )?;
        for (checker, judged) in &self.judged {
            write!(
                f,
                "{checker:>24} held {:>12}  excused {:>8} ({:.2} %)  judged nothing in {} runs",
                judged.held,
                judged.excused,
                100.0 * judged.excused_share(),
                judged.unknown
            )?;
            let excuses: Vec<String> = (judged.chief_excuses().iter())
                .map(|(kind, times)| format!("{kind:?} {times}"))
                .collect();
            match excuses.as_slice() {
                [] => writeln!(f)?,
                excuses => writeln!(f, "  by {}", excuses.join(", "))?,
            }
        }
        let faults: Vec<String> = (self.faults.iter())
            .map(|(kind, runs)| format!("{kind:?} {runs}"))
            .collect();
        write!(f, "runs with each kind of fault: {}", faults.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers;

    #[test]
    fn too_many_runs_that_proved_nothing_are_a_problem() {
        let totals = |unknown| Totals {
            runs: 2_000,
            unknown,
            ..Totals::default()
        };
        assert_eq!(totals(100).overdrawn(&checkers::all()), [""; 0]);
        let problems = totals(101).overdrawn(&checkers::all());
        assert_eq!(problems, ["runs: 5.05 % proved nothing, and 5.00 % may"]);
        let few = Totals {
            runs: 1_000,
            unknown: 1_000,
            ..Totals::default()
        };
        assert_eq!(few.overdrawn(&checkers::all()), [""; 0]);
    }

    #[test]
    fn the_chief_excuses_come_first() {
        let judged = Judged {
            excused: 16,
            excuses: BTreeMap::from([
                (FaultKind::Kill, 1),
                (FaultKind::Pause, 8),
                (FaultKind::Cut, 2),
                (FaultKind::RedisDown, 5),
            ]),
            ..Judged::default()
        };
        let kinds = [FaultKind::Pause, FaultKind::RedisDown, FaultKind::Cut];
        let chief = judged.chief_excuses().into_iter().map(|(kind, _)| kind);
        assert!(chief.eq(kinds));
        let totals = Totals {
            judged: BTreeMap::from([("order", judged)]),
            ..Totals::default()
        };
        let text = totals.to_string();
        assert!(
            text.contains("  by Pause 8, RedisDown 5, Cut 2\n"),
            "{text}"
        );
    }
}
