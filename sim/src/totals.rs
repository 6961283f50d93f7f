//! What many runs have shown together.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use crate::checker::{Checker, Tally, Verdict};
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
    /// What each checker has judged, by its name.
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
    /// How much runs differ.
    squares: Squares,
}

/// Sums over runs, of what was excused in each and of what was judged in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Squares {
    excused: u128,
    product: u128,
    judged: u128,
}

impl Judged {
    /// Adds what was judged in one more run.
    fn add(&mut self, tally: &Tally) {
        self.held += tally.held;
        self.excused += tally.excused;
        for (kind, times) in &tally.excuses {
            *self.excuses.entry(*kind).or_default() += times;
        }
        self.unknown += u64::from(tally.verdict() == Verdict::Unknown);
        let excused = u128::from(tally.excused);
        let judged = u128::from(tally.held) + excused;
        self.squares.excused += excused * excused;
        self.squares.product += excused * judged;
        self.squares.judged += judged * judged;
    }

    /// The share that was excused.
    pub fn excused_share(&self) -> f64 {
        self.excused as f64 / (self.held + self.excused).max(1) as f64
    }

    /// The standard error of that share. Runs are drawn, and not what is judged in them: a crowd that
    /// goes at once in a single run owes as much as all terminals of a thousand others, and says as
    /// little of the next thousand as a single run can.
    pub fn excused_error(&self) -> f64 {
        let share = self.excused_share();
        let Squares {
            excused,
            product,
            judged,
        } = self.squares;
        let squares = excused as f64 - 2.0 * share * product as f64 + share * share * judged as f64;
        squares.max(0.0).sqrt() / (self.held + self.excused).max(1) as f64
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
/// A share exceeds its bound if it does so by more than so many standard errors: one in forty swarms would
/// by chance if it was just at its bound, and all bounds are well above what swarms show.
const ERRORS: f64 = 2.0;

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
            self.judged.entry(tally.checker).or_default().add(tally);
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
            let (share, error) = (judged.excused_share(), judged.excused_error());
            let most = checker.excused_at_most();
            let enough = judged.held + judged.excused >= ENOUGH;
            (enough && share - ERRORS * error > most).then(|| {
                format!(
                    "{}: {:.2} % (± {:.2}) is excused, and {:.2} % may be",
                    checker.name(),
                    100.0 * share,
                    100.0 * error,
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
                "{checker:>24} held {:>12}  excused {:>8} ({:.2} % ± {:.2})  judged nothing in {} runs",
                judged.held,
                judged.excused,
                100.0 * judged.excused_share(),
                100.0 * judged.excused_error(),
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

    /// Runs in each of which so much held and so much was excused.
    fn of_runs(runs: impl IntoIterator<Item = (u64, u64)>) -> Totals {
        let mut judged = Judged::default();
        for (held, excused) in runs {
            judged.add(&Tally {
                checker: "ghost-debt",
                decisive: false,
                held,
                excused,
                excuses: BTreeMap::new(),
                violated: false,
                probes: Vec::new(),
            });
        }
        Totals {
            judged: BTreeMap::from([("ghost-debt", judged)]),
            ..Totals::default()
        }
    }

    #[test]
    fn excuses_that_explain_too_much_in_many_runs_are_a_problem() {
        let checkers = checkers::all();
        // 1.5 % may be excused; here it is 2 %, of all runs alike, and of one in ten.
        let alike = of_runs((0..1000).map(|_| (98, 2)));
        let problems = alike.overdrawn(&checkers);
        assert_eq!(
            problems,
            ["ghost-debt: 2.00 % (± 0.00) is excused, and 1.50 % may be"]
        );
        let tenth = of_runs((0..2000).map(|run| if run % 10 == 0 { (80, 20) } else { (100, 0) }));
        assert_eq!(tenth.overdrawn(&checkers).len(), 1);
        let few = of_runs((0..90).map(|_| (98, 2)));
        assert_eq!(few.overdrawn(&checkers), [""; 0], "9000 judgements");
    }

    #[test]
    fn a_single_run_does_not_overdraw() {
        let checkers = checkers::all();
        let small = |runs| (0..runs).map(|_| (100, 0));
        let crowd = || [(1000, 1000)];
        let one = of_runs(small(500).chain(crowd()));
        assert!(one.judged["ghost-debt"].excused_share() > 0.019);
        assert_eq!(one.overdrawn(&checkers), [""; 0]);
        // Where such runs are no accident they are counted.
        let many = of_runs((0..200).flat_map(|_| small(500).chain(crowd())));
        assert_eq!(many.overdrawn(&checkers).len(), 1);
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
