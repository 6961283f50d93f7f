//! Makes a failing schedule small: fewer items, shorter times, fewer instances and users.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::schedule::{Act, Item, Schedule, To};
use crate::text;
use crate::trial::Trial;

/// Runs that one shrinking takes, at most: a minute or so, at a few milliseconds each.
pub const RUNS: usize = 5000;
/// What is tried again and again ends after so many rounds, at most: each makes the schedule
/// smaller, and most end after two or three.
const ROUNDS: usize = 10;
/// No time between two items becomes shorter: what happens at one moment is hard to read.
const SHORTEST: Duration = Duration::from_millis(1);

/// How far a shrinking is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShrinkProgress {
    /// Runs so far, of [`RUNS`] at most.
    pub runs: usize,
    /// Items that are left.
    pub items: usize,
}

/// Makes a schedule small that violates what a checker watches for: the result violates the same.
/// Tells each run.
pub fn shrink(
    trial: &Trial,
    schedule: &Schedule,
    checker: &str,
    told: impl FnMut(ShrinkProgress),
) -> Schedule {
    let fails = |candidate: &Schedule| {
        let violation = trial.run(candidate).violation;
        violation.is_some_and(|violation| violation.checker == checker)
    };
    shrink_while(schedule, fails, told)
}

/// Makes a schedule small that fails in whatever sense: the result fails, too.
///
/// Noise is keyed, so what is left of a schedule behaves as before. What a schedule expects stays as
/// fair as it was: nothing is expected to have healed without being given the time for it.
pub fn shrink_while(
    schedule: &Schedule,
    fails: impl FnMut(&Schedule) -> bool,
    told: impl FnMut(ShrinkProgress),
) -> Schedule {
    let mut best = schedule.clone();
    best.items.sort_by_key(|item| item.at);
    let fairness = Fairness::of(&best);
    let mut search = Search {
        best,
        fairness,
        runs: 0,
        fails,
        told,
    };
    for _ in 0..ROUNDS {
        let before = search.best.clone();
        search.items();
        search.times();
        search.instances();
        search.users();
        search.parameters();
        search.settings();
        if search.best == before {
            break;
        }
    }
    search.best
}

struct Search<F, T> {
    best: Schedule,
    fairness: Fairness,
    runs: usize,
    fails: F,
    told: T,
}

impl<F: FnMut(&Schedule) -> bool, T: FnMut(ShrinkProgress)> Search<F, T> {
    /// Takes a candidate if it fails as well.
    fn attempt(&mut self, candidate: Schedule) -> bool {
        let fair = Fairness::of(&candidate).is_no_less_than(&self.fairness);
        if self.runs >= RUNS || candidate == self.best || !fair {
            return false;
        }
        self.runs += 1;
        let fails = (self.fails)(&candidate);
        if fails {
            self.best = candidate;
        }
        (self.told)(ShrinkProgress {
            runs: self.runs,
            items: self.best.items.len(),
        });
        fails
    }

    /// Takes items out: halves first, single ones last.
    fn items(&mut self) {
        let mut size = self.best.items.len().div_ceil(2);
        while size > 0 {
            let mut at = 0;
            let mut smaller = false;
            while at < self.best.items.len() {
                let mut candidate = self.best.clone();
                let end = (at + size).min(candidate.items.len());
                candidate.items.drain(at..end);
                if self.attempt(candidate) {
                    smaller = true;
                } else {
                    at = end;
                }
            }
            if size > 1 || !smaller {
                size /= 2;
            }
        }
    }

    /// Lets less time pass before each item.
    fn times(&mut self) {
        for index in 0..self.best.items.len() {
            let before = match index.checked_sub(1) {
                Some(before) => self.best.items[before].at,
                None => Duration::ZERO,
            };
            let gap = self.best.items[index].at - before;
            for shorter in simpler(gap) {
                let mut candidate = self.best.clone();
                for item in &mut candidate.items[index..] {
                    item.at = item.at - gap + shorter;
                }
                if self.attempt(candidate) {
                    break;
                }
            }
        }
    }

    /// Lets the first instance do what another one does, and leaves out the last ones.
    fn instances(&mut self) {
        for host in (2..=self.best.instances).rev() {
            let (from, to) = (format!("i{host}"), "i1");
            if let Some(candidate) = reworded(&self.best, |word| *word == from, to) {
                self.attempt(candidate);
            }
        }
        while self.best.instances > 1 {
            let candidate = Schedule {
                instances: self.best.instances - 1,
                ..self.best.clone()
            };
            // It names an instance that would not be there.
            let Ok(candidate) = Schedule::parse(&candidate.to_string()) else {
                return;
            };
            if !self.attempt(candidate) {
                return;
            }
        }
    }

    /// Gives all terminals and pushes to fewer users.
    fn users(&mut self) {
        let users: BTreeSet<String> = (self.best.items.iter())
            .flat_map(|item| match &item.act {
                Act::Connect { user, .. } => vec![user.clone()],
                Act::Push { to, .. } => match to {
                    To::User(user) => vec![user.clone()],
                    To::Users(users) => users.clone(),
                    To::Everyone | To::Topics { .. } => Vec::new(),
                },
                Act::Where { user, .. } | Act::Enrol { user, .. } => vec![user.clone()],
                _ => Vec::new(),
            })
            .collect();
        let Some(first) = users.first() else {
            return;
        };
        for user in users.iter().skip(1) {
            if let Some(candidate) = reworded(&self.best, |word| word == user, first) {
                self.attempt(candidate);
            }
        }
    }

    /// Makes the times within items shorter.
    fn parameters(&mut self) {
        for index in 0..self.best.items.len() {
            let written = self.best.items[index].act.to_string();
            for (place, word) in written.split(' ').enumerate() {
                let Ok(span) = text::span(word) else {
                    continue;
                };
                for shorter in simpler(span) {
                    let present = self.best.items[index].act.to_string();
                    let mut words: Vec<&str> = present.split(' ').collect();
                    let shorter = format!("{:.6}s", shorter.as_secs_f64());
                    words[place] = &shorter;
                    let Some(act) = self.act(&words.join(" ")) else {
                        break;
                    };
                    let mut candidate = self.best.clone();
                    candidate.items[index].act = act;
                    if self.attempt(candidate) {
                        break;
                    }
                }
            }
        }
    }

    /// Leaves out what the first line can do without.
    fn settings(&mut self) {
        self.attempt(Schedule {
            reconnect: None,
            ..self.best.clone()
        });
        self.attempt(Schedule {
            tight: None,
            ..self.best.clone()
        });
        self.attempt(Schedule {
            remembers: None,
            ..self.best.clone()
        });
        self.attempt(Schedule {
            broadcast_rate: None,
            ..self.best.clone()
        });
    }

    fn act(&self, text: &str) -> Option<Act> {
        let alone = Schedule {
            items: Vec::new(),
            ..self.best.clone()
        };
        let schedule = Schedule::parse(&format!("{alone}0s {text}")).ok()?;
        Some(schedule.items.into_iter().next()?.act)
    }
}

/// Shorter and rounder spans, the best first: of whole microseconds, as schedules are written.
fn simpler(span: Duration) -> impl Iterator<Item = Duration> {
    let micros = span.as_micros() as u64;
    let digit = 10_u64.pow(micros.checked_ilog10().unwrap_or_default());
    let round = micros / digit * digit;
    let spans = [round, round / 2, micros / 2].map(Duration::from_micros);
    [SHORTEST]
        .into_iter()
        .chain(spans)
        .filter(move |shorter| *shorter < span && *shorter >= SHORTEST)
}

/// The schedule with another word in the place of some, in all items; a word of a list is one, too.
/// `None` if that is no schedule.
fn reworded(schedule: &Schedule, which: impl Fn(&&str) -> bool, with: &str) -> Option<Schedule> {
    let swap = |word: &str| if which(&word) { with } else { word }.to_owned();
    let text = schedule.to_string();
    let (head, items) = text.split_once('\n')?;
    let items = items.lines().map(|line| {
        let words = line.split(' ').map(|word| {
            let mut parts: Vec<String> = word.split(',').map(swap).collect();
            parts.dedup();
            parts.join(",")
        });
        words.collect::<Vec<_>>().join(" ")
    });
    let items = items.collect::<Vec<_>>().join("\n");
    Schedule::parse(&format!("{head}\n{items}\n")).ok()
}

/// What a schedule grants before it expects something.
#[derive(Clone, Debug)]
struct Fairness {
    converged: Option<Grant>,
    at_rest: Option<Grant>,
}

/// What comes before an expectation, at the least.
#[derive(Clone, Debug)]
struct Grant {
    /// The time in which nothing else happens.
    calm: Duration,
    /// Nothing had gone wrong, or everything was healed.
    healed: bool,
    /// All clients had left.
    left: bool,
}

impl Fairness {
    fn of(schedule: &Schedule) -> Self {
        let grant = |expected: &Act| {
            let items = &schedule.items;
            let at = items.iter().position(|item| item.act == *expected)?;
            Some(Grant::of(&items[..at], items[at].at))
        };
        Self {
            converged: grant(&Act::ExpectConverged),
            at_rest: grant(&Act::ExpectAtRest),
        }
    }

    fn is_no_less_than(&self, other: &Self) -> bool {
        let pair = |this: &Option<Grant>, other: &Option<Grant>| match (this, other) {
            (Some(this), Some(other)) => {
                this.calm >= other.calm
                    && (this.healed || !other.healed)
                    && (this.left || !other.left)
            }
            (None, _) | (_, None) => true,
        };
        pair(&self.converged, &other.converged) && pair(&self.at_rest, &other.at_rest)
    }
}

impl Grant {
    fn of(before: &[Item], at: Duration) -> Self {
        let is = |act: &Act| before.iter().rposition(|item| item.act == *act);
        let disturbed = before.iter().rposition(|item| disturbs(&item.act));
        let last = before
            .iter()
            .rfind(|item| !matches!(item.act, Act::ExpectConverged | Act::ExpectAtRest));
        Self {
            calm: at - last.map_or(Duration::ZERO, |item| item.at),
            healed: disturbed.is_none() || is(&Act::Heal) > disturbed,
            left: is(&Act::AllLeave).is_some(),
        }
    }
}

/// Whether something may stay wrong until it is healed.
const fn disturbs(act: &Act) -> bool {
    !matches!(
        act,
        Act::Connect { .. }
            | Act::Close { .. }
            | Act::AllLeave
            | Act::Push { .. }
            | Act::OfTopic { .. }
            | Act::Enrol { .. }
            | Act::Repeat { .. }
            | Act::Where { .. }
            | Act::Instances { .. }
            | Act::Restart { .. }
            | Act::Heal
            | Act::ExpectConverged
            | Act::ExpectAtRest
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_that_do_not_matter_are_taken_out() {
        let small = shrunk(|schedule| schedule.to_string().contains("pause i3"));
        assert_eq!(small.items.len(), 1, "{small}");
    }

    #[test]
    fn times_instances_and_users_become_fewer() {
        let small = shrunk(|schedule| {
            let text = schedule.to_string();
            text.contains("pause") && text.contains("push")
        });
        assert_eq!(
            small.to_string(),
            "switchboard-sim 1  seed 0x5  instances 1  lease 10.000s\n\
             0.001s  push i1 alice m1\n\
             0.002s  pause i1 0.001s\n"
        );
    }

    #[test]
    fn a_span_is_never_shorter_than_it_can_be_written() {
        for micros in [1_001, 3_335, 12_345, 999_999] {
            for shorter in simpler(Duration::from_micros(micros)) {
                assert_eq!(shorter.subsec_nanos() % 1000, 0, "{shorter:?}");
            }
        }
    }

    #[test]
    fn what_is_expected_stays_fair() {
        let small = shrunk(|schedule| {
            let text = schedule.to_string();
            text.contains("pause") && text.contains("expect converged")
        });
        let acts: Vec<String> = small
            .items
            .iter()
            .map(|item| item.act.to_string())
            .collect();
        assert_eq!(acts, ["pause i1 0.001s", "heal", "expect converged"]);
        let [_, heal, expect] = small.items.as_slice() else {
            panic!("there are three");
        };
        assert_eq!(expect.at - heal.at, Duration::from_secs(30));
    }

    #[test]
    fn runs_are_bounded_and_told() {
        let mut told = Vec::new();
        shrink_while(&schedule(), |_| true, |progress| told.push(progress));
        assert!(told.windows(2).all(|pair| pair[0].runs + 1 == pair[1].runs));
        assert!(told.len() <= RUNS);
    }

    fn shrunk(fails: impl FnMut(&Schedule) -> bool) -> Schedule {
        shrink_while(&schedule(), fails, |_| ())
    }

    fn schedule() -> Schedule {
        let text = "\
switchboard-sim 1  seed 5  instances 4  lease 10s
0.700s  client c1 connects i2 as alice
0.900s  client c2 connects anywhere as bob
1.234s  push i2 alice,bob m1
3.456s  pause i3 4.567s
4.000s  cut i1 -> i2
9.000s  heal
39.00s  expect converged
40.00s  clients leave
45.00s  expect at-rest
";
        Schedule::parse(text).unwrap()
    }
}
