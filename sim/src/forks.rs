//! Fork and heal: at some moments of a run all faults end, and from each of these the world must come to rest.
//!
//! At the end of its schedule a world has been well for a while, whatever it was that went wrong: few seeds heal in
//! the middle of anything. What is forked is the schedule: noise hangs on the moment, so that one which is cut off at a
//! moment gives the same world up to it, and a violation is one of a schedule that can be kept and made small.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::coverage::{Cell, Counted};
use crate::schedule::{Act, Schedule};
use crate::swarm;

/// Moments of one schedule, at most, at which it comes by something for the first time.
const NEWLY: usize = 6;
/// Moments of each, whatever it comes by.
const ANY: u64 = 2;

/// Finds the moments at which worlds are to be healed.
#[derive(Debug, Default)]
pub struct Forks {
    counted: Counted,
    covered: BTreeSet<Cell>,
}

impl Forks {
    /// The moments of a schedule of the swarm at which its world is to be healed: just after it has come by something
    /// that no world before it has (`coverage.txt` lists what there is), and some others.
    pub fn moments(&mut self, schedule: &Schedule) -> Vec<Duration> {
        let mut moments = swarm::moments_to_heal(schedule, ANY);
        moments.extend(self.newly_covered(schedule));
        moments
    }

    /// What is left for lack of room is new in a later schedule.
    fn newly_covered(&mut self, schedule: &Schedule) -> Vec<Duration> {
        self.counted.trial().run(schedule);
        let heals = |act: &Act| *act == Act::Heal;
        let healed = (schedule.items.iter()).find(|item| heals(&item.act));
        let healed = healed.map_or(schedule.end(), |item| item.at);
        let mut newly: BTreeMap<Duration, Vec<Cell>> = BTreeMap::new();
        for (cell, met) in self.counted.take() {
            if met.first < healed && !self.covered.contains(&cell) {
                newly.entry(just_after(met.first)).or_default().push(cell);
            }
        }
        let newly: Vec<_> = newly.into_iter().take(NEWLY).collect();
        let mut moments = Vec::with_capacity(newly.len());
        for (moment, cells) in newly {
            moments.push(moment);
            self.covered.extend(cells);
        }
        moments
    }
}

/// The next microsecond: schedules of the swarm have no shorter times.
const fn just_after(moment: Duration) -> Duration {
    Duration::from_micros(moment.as_micros() as u64 + 1)
}
