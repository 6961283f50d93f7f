//! The catalogue: kept schedules show each bug, and the shallow ones are found within their budget.

use std::path::Path;

use switchboard_sim::bugs::{Bug, Depth, catalogue};
use switchboard_sim::schedule::Schedule;
use switchboard_sim::swarm;

/// With its bug each kept schedule violates what the catalogue says, and without it nothing.
#[test]
fn kept_schedules_show_their_bug() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schedules/flaws");
    for bug in catalogue() {
        let file = folder.join(bug.name).with_extension("txt");
        if !file.exists() {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let schedule = Schedule::parse(&text).unwrap();
        assert_eq!(schedule.flaw, Some(bug.flaw), "{}", file.display());
        let seen = swarm::run(&schedule).violation.map(|seen| seen.checker);
        assert_eq!(seen, Some(bug.invariant), "{}", file.display());
        let mended = Schedule {
            flaw: None,
            ..schedule
        };
        let seen = swarm::run(&mended).violation;
        assert_eq!(seen, None, "{} without its bug", file.display());
    }
}

#[test]
fn shallow_bugs_are_found_within_their_budget() {
    for bug in catalogue().filter(|bug| bug.depth == Depth::Shallow) {
        let hunt = bug.hunt(0);
        assert!(hunt.found.is_some(), "{}: {hunt:?}", bug.name);
    }
}

#[test]
fn each_bug_has_a_name_of_its_own() {
    for bug in catalogue() {
        assert_eq!(Bug::named(bug.name), Some(bug));
    }
}
