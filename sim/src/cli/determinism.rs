//! Whether the same seed gives the same hash.

use clap::Args;
use switchboard_sim::swarm;

use super::Verdict;

/// Run each seed twice and compare the hashes
#[derive(Args)]
pub(crate) struct CheckDeterminism {
    /// How many
    #[arg(long, default_value_t = 100)]
    seeds: u64,
}

impl CheckDeterminism {
    pub(crate) fn execute(self) -> Verdict {
        let seeds = self.seeds;
        let differing: Vec<u64> = (0..seeds)
            .filter(|seed| {
                let schedule = swarm::schedule(*seed);
                swarm::run(&schedule) != swarm::run(&schedule)
            })
            .collect();
        println!("{seeds} seeds, each twice: {} differ", differing.len());
        for seed in &differing {
            println!("seed {seed} gives another hash the second time");
        }
        Verdict::held(differing.is_empty())
    }
}
