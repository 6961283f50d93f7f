//! The bugs of the catalogue, each looked for in seeds of the swarm.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Args;
use switchboard_sim::bugs::{self, Bug, Hunt};
use switchboard_sim::schedule::Schedule;
use switchboard_sim::{shrink, swarm};

use super::{Done, Verdict};

/// Switch on the bugs of the catalogue, one at a time, and count the seeds until each is found
#[derive(Args)]
pub(crate) struct Bugs {
    /// This bug alone
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Threads
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Independent searches for each bug
    #[arg(long, default_value_t = 5)]
    tries: usize,
    /// A folder for the shrunk schedules
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// Searches begin so many seeds apart: no seed serves two.
const APART: u64 = 1_000_000;

/// What the searches for one bug found together.
struct Found {
    bug: Bug,
    /// In the order of their first seeds.
    hunts: Vec<Hunt>,
    shrunk: Option<Schedule>,
    /// Seeds of hits that violate the invariant without the bug too.
    sick: Vec<u64>,
}

impl Bugs {
    pub(crate) fn execute(self) -> Done {
        let wanted: Vec<Bug> = match &self.only {
            None => bugs::catalogue().collect(),
            Some(name) => vec![Bug::named(name).ok_or_else(|| {
                let names: Vec<_> = bugs::catalogue().map(|bug| bug.name).collect();
                format!("there is no bug `{name}`; there are {}", names.join(", "))
            })?],
        };
        let tries = self.tries.max(1);
        let mut all = Vec::with_capacity(wanted.len());
        for (number, bug) in wanted.iter().enumerate() {
            eprintln!("{} of {}: {}", number + 1, wanted.len(), bug.name);
            let found = Found::search(*bug, tries, self.jobs.max(1));
            found.keep(self.out.as_deref())?;
            all.push(found);
        }
        tell(&all);
        Ok(Verdict::held(all.iter().all(Found::is_good)))
    }
}

impl Found {
    #[expect(
        clippy::disallowed_types,
        reason = "each world runs in one thread, but several at a time"
    )]
    fn search(bug: Bug, tries: usize, jobs: usize) -> Self {
        let next = AtomicUsize::new(0);
        let hunts = std::sync::Mutex::new(BTreeMap::new());
        std::thread::scope(|scope| {
            for _ in 0..jobs.min(tries) {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= tries {
                            return;
                        }
                        let hunt = bug.hunt(number as u64 * APART);
                        say(&bug, number, &hunt);
                        if let Ok(mut hunts) = hunts.lock() {
                            hunts.insert(number, hunt);
                        }
                    }
                });
            }
        });
        let hunts = hunts.into_inner().unwrap_or_default();
        Self::judge(bug, hunts.into_values().collect())
    }

    /// Shrinks the first hit, and checks that all are the bug's.
    fn judge(bug: Bug, hunts: Vec<Hunt>) -> Self {
        let hits: Vec<u64> = (hunts.iter())
            .filter_map(|hunt| hunt.found.as_ref())
            .map(|(seed, _)| *seed)
            .collect();
        let shrunk = (hits.first()).map(|seed| shrink::shrink(&bug.schedule(*seed), bug.invariant));
        let is_sick = |seed: &u64| swarm::run(&swarm::schedule(*seed)).violation.is_some();
        let sick = hits.into_iter().filter(is_sick).collect();
        Self {
            bug,
            hunts,
            shrunk,
            sick,
        }
    }

    /// The median of the seeds to the first hit, if half of the searches have one.
    fn median(&self) -> Option<u64> {
        let mut seeds: Vec<Option<u64>> = (self.hunts.iter())
            .map(|hunt| hunt.found.as_ref().map(|_| hunt.seeds))
            .collect();
        // Those without a hit last.
        seeds.sort_unstable_by_key(|seeds| seeds.unwrap_or(u64::MAX));
        seeds[seeds.len() / 2]
    }

    /// A search ends at the budget, so that a median is within it.
    fn is_good(&self) -> bool {
        self.median().is_some() && self.sick.is_empty()
    }

    fn others(&self) -> BTreeMap<&'static str, u64> {
        let mut sum = BTreeMap::new();
        for (invariant, seeds) in self.hunts.iter().flat_map(|hunt| &hunt.others) {
            *sum.entry(*invariant).or_default() += seeds;
        }
        sum
    }

    fn keep(&self, folder: Option<&std::path::Path>) -> Result<(), String> {
        let (Some(folder), Some(shrunk)) = (folder, &self.shrunk) else {
            return Ok(());
        };
        let file = folder.join(self.bug.name).with_extension("txt");
        std::fs::write(&file, shrunk.to_string())
            .map_err(|error| format!("{} cannot be written: {error}", file.display()))
    }
}

fn say(bug: &Bug, number: usize, hunt: &Hunt) {
    let name = bug.name;
    match &hunt.found {
        Some((seed, violation)) => eprintln!(
            "  {name}, search {}: after {} seeds, at seed {seed}: {violation}",
            number + 1,
            hunt.seeds
        ),
        None => eprintln!(
            "  {name}, search {}: not in {} seeds",
            number + 1,
            hunt.seeds
        ),
    }
}

fn tell(all: &[Found]) {
    println!("| bug | invariant | budget | median seeds | found | shrunk to | others first |");
    println!("|---|---|---|---|---|---|---|");
    for found in all {
        let Found {
            bug,
            hunts,
            shrunk,
            sick,
        } = found;
        let hits = hunts.iter().filter(|hunt| hunt.found.is_some()).count();
        let median = match found.median() {
            Some(median) => median.to_string(),
            None => "NOT FOUND".to_owned(),
        };
        let size = match shrunk {
            Some(shrunk) => format!("{} items", shrunk.items.len()),
            None => String::new(),
        };
        let others: Vec<String> = (found.others().into_iter())
            .map(|(invariant, seeds)| format!("`{}` {seeds}", invariant))
            .collect();
        println!(
            "| {} | `{}` | {} | {median} | {hits} of {} | {size} | {} |",
            bug.name,
            bug.invariant,
            bug.depth.budget(),
            hunts.len(),
            others.join(", "),
        );
        for seed in sick {
            println!("SEED {seed} FAILS WITHOUT {} TOO", bug.name);
        }
    }
}
