//! Fork and heal: a world that heals in the middle of anything comes to rest.

use std::time::Duration;

use switchboard_core::flaws::Flaw;
use switchboard_sim::forks::Forks;
use switchboard_sim::schedule::Schedule;
use switchboard_sim::{Trial, World, swarm};

/// Seeds whose worlds are forked: a few of each kind of schedule.
const SEEDS: u64 = crate::seeds(12);

/// Seeds in which a bug is looked for.
const WITH_BUG: u64 = 40;

#[test]
fn worlds_that_heal_at_any_moment_come_to_rest() {
    let (trial, mut forks) = (Trial::new(), Forks::default());
    let mut healed = 0;
    for seed in 0..SEEDS {
        let schedule = swarm::schedule(seed);
        for moment in forks.moments(&schedule) {
            let report = trial.run(&swarm::healed_at(&schedule, moment));
            assert_eq!(
                report.violation, None,
                "seed {seed}, healed at {moment:?}: cargo run --release -p switchboard-sim -- swarm --from {seed} \
                 --seeds 1 --fork-one-in 1"
            );
            healed += 1;
        }
    }
    assert!(healed > SEEDS * 3, "{healed} forks");
}

#[test]
fn a_world_is_the_same_until_it_is_healed() {
    for seed in 0..SEEDS {
        let schedule = swarm::schedule(seed);
        for moment in swarm::moments_to_heal(&schedule, 2) {
            let just_before = moment - Duration::from_nanos(1);
            let hash_of = |schedule: Schedule| {
                let mut world = World::new(schedule);
                assert!(world.run_until(just_before), "seed {seed}");
                world.report().hash
            };
            let fork = swarm::healed_at(&schedule, moment);
            assert_eq!(hash_of(fork), hash_of(schedule.clone()), "seed {seed}");
        }
    }
}

/// What is left behind by something that heals halfway, and mended by what comes after it in the whole schedule.
#[test]
fn forks_find_what_the_whole_schedule_does_not_show() {
    let trial = Trial::new();
    let shown = (0..WITH_BUG).any(|seed| {
        let schedule = Schedule {
            flaw: Some(Flaw::LostRegisterNotRepeated),
            ..swarm::schedule(seed)
        };
        let violated = |schedule: &Schedule| trial.run(schedule).violation.is_some();
        !violated(&schedule)
            && swarm::moments_to_heal(&schedule, 4)
                .into_iter()
                .any(|moment| violated(&swarm::healed_at(&schedule, moment)))
    });
    assert!(shown, "no fork has shown the bug");
}
