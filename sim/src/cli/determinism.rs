//! Whether the same seed gives the same hash.

use clap::{Args, value_parser};
use switchboard_sim::{Trial, swarm, trace};

use super::CommandStatus;
use super::progress::ProgressDisplay;

/// Run each seed twice and compare the hashes
///
/// The last line holds one hash of all seeds: it is the same for debug and release builds, and on
/// every platform.
#[derive(Args)]
pub(crate) struct CheckDeterminism {
    /// How many seeds
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = value_parser!(u64).range(1..=MAX_SEEDS))]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 0, value_name = "SEED")]
    from: u64,
}

/// Seeds, at most: the hash of each is kept until the end.
const MAX_SEEDS: u64 = 1_000_000_000;

impl CheckDeterminism {
    pub(crate) fn execute(self) -> CommandStatus {
        let Self { seeds, from } = self;
        let trial = Trial::new();
        let mut progress = ProgressDisplay::of(seeds);
        let mut differing = 0;
        let mut all = Vec::new();
        for seed in (0..seeds).map(|nth| from.wrapping_add(nth)) {
            let schedule = swarm::schedule(seed);
            let (first, second) = (trial.run(&schedule), trial.run(&schedule));
            if first != second {
                differing += 1;
                println!(
                    "seed {seed}: {:016x}, then {:016x}",
                    first.hash, second.hash
                );
            }
            all.push(first.hash);
            progress.at(all.len() as u64, || format!("{} seeds", all.len()));
        }
        progress.end();
        println!("{seeds} seeds, each twice: {differing} differ");
        println!("hash of all: {:016x}", trace::hash_of_all(&all));
        CommandStatus::held(differing == 0)
    }
}
