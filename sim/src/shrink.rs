//! Makes a failing schedule small.

use crate::schedule::Schedule;
use crate::swarm;

/// Runs that one shrinking takes, at most.
const RUNS: usize = 3000;

/// Takes items out of a schedule as long as the same checker finds fault with it: halves first, single
/// items last. Noise is keyed, so what is left behaves as before.
pub fn shrink(schedule: &Schedule, checker: &str) -> Schedule {
    let fails = |candidate: &Schedule| {
        (swarm::run(candidate).violation).is_some_and(|violation| violation.checker == checker)
    };
    let mut best = schedule.clone();
    let mut runs = 0;
    let mut size = best.items.len().div_ceil(2);
    while size > 0 && runs < RUNS {
        let mut at = 0;
        let mut smaller = false;
        while at < best.items.len() && runs < RUNS {
            let mut candidate = best.clone();
            let end = (at + size).min(candidate.items.len());
            candidate.items.drain(at..end);
            runs += 1;
            if fails(&candidate) {
                best = candidate;
                smaller = true;
            } else {
                at = end;
            }
        }
        if size > 1 || !smaller {
            size /= 2;
        }
    }
    best
}
