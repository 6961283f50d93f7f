//! The quick suite: kept schedules, determinism, seeds of the swarm, and that the checkers can see.

use std::path::Path;

use switchboard_sim::checker::Verdict;
use switchboard_sim::coverage::{Counted, CoverageTables};
use switchboard_sim::schedule::{Act, Item, Schedule};
use switchboard_sim::{Trial, World, shrink, swarm};

const SEEDS: u64 = crate::seeds(300);

/// Seeds that are looked at for what they come by.
const COVERED: u64 = 60;

/// Each of these once violated an invariant.
#[test]
fn kept_schedules_hold_every_invariant() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schedules");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let schedule = Schedule::parse(&text).unwrap();
        let report = swarm::run(&schedule);
        assert_eq!(report.violation, None, "{}", file.display());
    }
}

/// It can be copied as it is.
#[test]
fn the_schedule_of_the_readme_holds() {
    let readme = include_str!("../../README.md");
    let block = (readme.split("```"))
        .find(|block| block.trim_start().starts_with("switchboard-sim 1"))
        .unwrap();
    let report = swarm::run(&Schedule::parse(block.trim_start()).unwrap());
    assert_eq!(report.violation, None);
    assert_eq!(report.verdict(), Verdict::Pass);
}

#[test]
fn seeds_of_the_swarm_hold_every_invariant() {
    let mut expected = 0;
    for seed in 0..SEEDS {
        let report = swarm::run(&swarm::schedule(seed));
        assert_eq!(
            report.violation, None,
            "again: cargo run --release -p switchboard-sim -- replay {seed}"
        );
        expected += report.tally("hello-means-reachable").unwrap().held;
    }
    assert!(
        expected > 0,
        "nothing was to be delivered: nothing was proven"
    );
}

#[test]
fn without_faults_nothing_is_lost() {
    for seed in (0..SEEDS).step_by(10) {
        let report = swarm::run(&swarm::schedule(seed));
        for tally in report.tallies {
            assert_eq!(tally.excused, 0, "seed {seed}: {}", tally.checker);
        }
    }
}

#[test]
fn the_same_schedule_gives_the_same_trace() {
    for seed in 0..SEEDS / 15 {
        let schedule = swarm::schedule(seed);
        assert_eq!(swarm::run(&schedule), swarm::run(&schedule), "seed {seed}");
    }
}

#[test]
fn other_noise_gives_another_trace() {
    let schedule = swarm::schedule(3);
    let other = Schedule {
        seed: 4,
        ..schedule.clone()
    };
    assert_ne!(swarm::run(&schedule).hash, swarm::run(&other).hash);
}

#[test]
fn a_clone_of_a_world_goes_on_as_the_original() {
    let mut world = World::new(swarm::schedule(5));
    for _ in 0..2000 {
        world.step();
    }
    let mut clone = world.clone();
    assert_eq!(world.run(), clone.run());
}

#[test]
fn schedules_of_the_swarm_survive_printing() {
    for seed in 0..SEEDS {
        let schedule = swarm::schedule(seed);
        assert_eq!(Schedule::parse(&schedule.to_string()), Ok(schedule));
    }
}

/// An expectation that cannot hold is seen as violated, and what does not matter is taken out.
#[test]
fn a_failing_schedule_is_shrunk_to_what_matters() {
    let mut schedule = swarm::schedule(10);
    let leave = |item: &Item| item.act == Act::AllLeave;
    schedule.items.retain(|item| !leave(item));
    let checker = swarm::run(&schedule).violation.unwrap().checker;
    assert_eq!(checker, "empty-at-rest");
    let small = shrink::shrink(&Trial::new(), &schedule, checker, |_| ());
    assert_eq!(small.items.len(), 2, "{small}");
}

/// `coverage` asks of 10,000 seeds that they come by the rest, too.
#[test]
fn a_swarm_comes_by_much_and_by_nothing_that_cannot_be() {
    let counted = Counted::default();
    let trial = counted.trial();
    for seed in 0..COVERED {
        trial.run(&swarm::schedule(seed));
    }
    let cells = counted.take();
    assert!(cells.len() > 300, "{} cells", cells.len());
    let mut wrong = CoverageTables::kept().wrong(&cells);
    wrong.retain(|what| !what.ends_with(" was never come by"));
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn a_violation_that_is_expected_must_be_found() {
    let text = "\
switchboard-sim 1  seed 1  instances 1
1s  client c1 connects i1 as alice
5s  expect at-rest
expect violation empty-at-rest by 5s
";
    let found = swarm::run(&Schedule::parse(text).unwrap());
    assert_eq!(found.violation, None);
    assert_eq!(found.expected.unwrap().checker, "empty-at-rest");

    let early = text.replace("by 5s", "by 4s");
    let found = swarm::run(&Schedule::parse(&early).unwrap());
    assert_eq!(found.violation.unwrap().checker, "empty-at-rest");

    let nothing = text.replace("1s  client c1 connects i1 as alice\n", "");
    let found = swarm::run(&Schedule::parse(&nothing).unwrap());
    assert_eq!(found.violation.unwrap().checker, "expect-violation");
}
