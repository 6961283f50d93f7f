//! The bugs of the catalogue, each looked for in seeds of the swarm.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use clap::{Args, value_parser};
use switchboard_sim::bugs::{self, Bug, Catch, Hunt, Worlds, catalogue};
use switchboard_sim::schedule::Schedule;
use switchboard_sim::shrink;

use super::out::{check_writable, write};
use super::progress::{ProgressDisplay, interrupted, note_interrupts};
use super::{CommandResult, CommandStatus, again, jobs};

/// Switch on the bugs of the catalogue, one at a time, and count the seeds until each is found
///
/// Each bug is looked for several times by each checker that must catch it, which watches alone, in
/// seeds of its own. Then one schedule of each is made small. The command fails if a median is not
/// within its budget, or if a seed fails without the bug as well.
#[derive(Args)]
pub(crate) struct Bugs {
    /// This bug alone
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// How many threads
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = jobs())]
    jobs: usize,
    /// How many searches for each bug and checker
    #[arg(long, default_value_t = 5, value_name = "K", value_parser = value_parser!(u16).range(1..=1000))]
    tries: u16,
    /// Where to write the shrunk schedules, BUG.CHECKER.txt each; nothing is written after Ctrl-C
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// Searches begin so many seeds apart: no seed serves two.
const APART: u64 = 1_000_000;

/// What the searches of one checker for one bug found together.
struct FoundBug {
    bug: Bug,
    by: Catch,
    /// In the order of their first seeds.
    hunts: Vec<Hunt>,
    shrunk: Option<Schedule>,
}

impl Bugs {
    pub(crate) fn execute(self) -> CommandResult {
        let wanted = self.wanted()?;
        if let Some(folder) = &self.out {
            check_folder(folder)?;
        }
        note_interrupts()?;
        let tries = usize::from(self.tries);
        let pairs: Vec<(Bug, Catch)> = (wanted.iter())
            .flat_map(|bug| bug.catches().map(|by| (*bug, by)))
            .collect();
        let searches: Vec<(Bug, Catch, u64)> = (pairs.iter())
            .flat_map(|(bug, by)| (0..tries as u64).map(|number| (*bug, *by, number * APART)))
            .collect();
        let mut hunts = each(self.jobs, &searches, |(bug, by, from)| {
            let hunt = bug.hunt(*by, *from, || !interrupted());
            (bug.name(), hunt)
        });
        let mut all: Vec<FoundBug> = (pairs.into_iter())
            .map(|(bug, by)| FoundBug {
                bug,
                by,
                hunts: hunts.drain(..tries).collect(),
                shrunk: None,
            })
            .collect();
        let small = each(self.jobs, &all, |found| (found.bug.name(), found.small()));
        // A schedule that is half shrunk takes no better one's place.
        let folder = self.out.as_deref().filter(|_| !interrupted());
        for (found, small) in all.iter_mut().zip(small) {
            found.shrunk = small;
            found.keep(folder)?;
        }
        tell(&all);
        Ok(if interrupted() {
            CommandStatus::Interrupted
        } else {
            CommandStatus::held(all.iter().all(FoundBug::is_good))
        })
    }

    fn wanted(&self) -> Result<Vec<Bug>, String> {
        let Some(name) = &self.only else {
            return Ok(catalogue().collect());
        };
        let bug = Bug::named(name).ok_or_else(|| {
            let names = bugs::names();
            format!("there is no bug `{name}`; these are there: {names}")
        })?;
        Ok(vec![bug])
    }
}

/// Does something with each, on so many threads, and shows how far it is. The results are in the
/// order of what they were made of.
fn each<Task: Sync, Result: Send>(
    jobs: usize,
    tasks: &[Task],
    work: impl Fn(&Task) -> (&'static str, Result) + Sync,
) -> Vec<Result> {
    let next = AtomicUsize::new(0);
    let (results, inbox) = channel();
    let mut progress = ProgressDisplay::of(tasks.len() as u64);
    let mut done = BTreeMap::new();
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let (results, next, work) = (results.clone(), &next, &work);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(task) = tasks.get(number) else {
                        return;
                    };
                    // Nobody hears it if the main thread is gone, and then this one ends as well.
                    drop(results.send((number, work(task))));
                }
            });
        }
        drop(results);
        for (number, (name, result)) in &inbox {
            done.insert(number, result);
            progress.at(done.len() as u64, || name.to_owned());
        }
    });
    progress.end();
    done.into_values().collect()
}

impl FoundBug {
    /// Of the hits the one that came after the fewest seeds, made small.
    fn small(&self) -> Option<Schedule> {
        let (bug, by) = (self.bug, self.by);
        let hits = self.hunts.iter().filter(|hunt| hunt.found.is_some());
        let (seed, _) = hits.min_by_key(|hunt| hunt.seeds)?.found.as_ref()?;
        let shows = |candidate: &Schedule| !interrupted() && bug.is_shown_by(by, candidate);
        Some(shrink::shrink_while(
            &bug.schedule(by, *seed),
            shows,
            |_| (),
        ))
    }

    /// The median of the seeds to a hit, if more than half of the searches have one.
    fn median(&self) -> Option<u64> {
        let mut seeds: Vec<u64> = (self.hunts.iter())
            .map(|hunt| hunt.found.as_ref().map_or(u64::MAX, |_| hunt.seeds))
            .collect();
        seeds.sort_unstable();
        let median = *seeds.get(seeds.len() / 2)?;
        (median < u64::MAX).then_some(median)
    }

    /// A search ends at the budget, so a median is within it.
    fn is_good(&self) -> bool {
        self.median().is_some() && self.hunts.iter().all(|hunt| hunt.sick.is_empty())
    }

    /// Whether a search ended before its budget without having found anything.
    fn is_broken_off(&self) -> bool {
        let budget = self.by.depth.budget();
        (self.hunts.iter()).any(|hunt| hunt.found.is_none() && hunt.seeds < budget)
    }

    fn keep(&self, folder: Option<&Path>) -> Result<(), String> {
        let (Some(folder), Some(shrunk)) = (folder, &self.shrunk) else {
            return Ok(());
        };
        write(
            &folder.join(self.by.file_name(self.bug)),
            &shrunk.to_string(),
        )
    }
}

/// Makes the folder, and checks that files can be written there.
fn check_folder(folder: &Path) -> Result<(), String> {
    std::fs::create_dir_all(folder)
        .map_err(|error| format!("{} cannot be made: {error}", folder.display()))?;
    check_writable(&folder.join("switchboard-sim.check"))
}

fn tell(all: &[FoundBug]) {
    println!("| bug | found by | budget | median seeds | found | shrunk to |");
    println!("|---|---|---|---|---|---|");
    for found in all {
        println!("{}", row(found));
    }
    for found in all {
        for seed in found.hunts.iter().flat_map(|hunt| &hunt.sick) {
            let name = found.bug.name();
            match found.by.worlds {
                Worlds::Swarm => println!(
                    "seed {seed} fails without {name} as well: {}",
                    again(format_args!("replay {seed}"))
                ),
                Worlds::Topical => {
                    println!("seed {seed} with members of topics fails without {name} as well");
                }
                Worlds::Few | Worlds::FewUnchecked => {
                    println!("seed {seed} in which few do little fails without {name} as well");
                }
                Worlds::Histories | Worlds::SlowReader | Worlds::Floating | Worlds::Unheard => {
                    println!("seed {seed} with a plot fails without {name} as well");
                }
                Worlds::Followed | Worlds::Unchecked => {
                    println!("seed {seed} with followers fails without {name} as well");
                }
            }
        }
    }
    let good = all.iter().filter(|found| found.is_good()).count();
    let so_far = if interrupted() { "broken off: " } else { "" };
    println!("{so_far}{good} of {} within their budgets", all.len());
    let [first, others @ ..] = all else {
        return;
    };
    if others.iter().all(|other| other.bug == first.bug) {
        println!("why somebody could write it: {}", first.bug.tempting);
        for FoundBug { by, shrunk, .. } in all {
            if let Some(shrunk) = shrunk {
                println!("a schedule that shows it to {}:\n{shrunk}", by.invariant);
            }
        }
    }
}

fn row(found: &FoundBug) -> String {
    let FoundBug {
        bug,
        by,
        hunts,
        shrunk,
    } = found;
    let hits = hunts.iter().filter(|hunt| hunt.found.is_some()).count();
    let median = match found.median() {
        Some(median) => median.to_string(),
        None if found.is_broken_off() => "broken off".to_owned(),
        None => "**not found**".to_owned(),
    };
    let size = match shrunk {
        Some(shrunk) => format!("{} items", shrunk.items.len()),
        None => "-".to_owned(),
    };
    format!(
        "| `{}` | `{}` | {} | {median} | {hits} of {} | {size} |",
        bug.name(),
        by.invariant,
        by.depth.budget(),
        hunts.len(),
    )
}
