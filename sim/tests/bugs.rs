//! The catalogue: kept schedules show each bug, and the shallow ones are found within their budget.

use std::path::Path;

use switchboard_sim::bugs::{Bug, Depth, catalogue};
use switchboard_sim::schedule::Schedule;

/// With its bug each kept schedule violates what the catalogue says, and without it nothing.
#[test]
fn kept_schedules_show_their_bug() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schedules/flaws");
    for bug in catalogue() {
        let file = folder.join(bug.name).with_extension("txt");
        let text = std::fs::read_to_string(&file)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let schedule = Schedule::parse(&text).unwrap();
        assert!(bug.is_shown_by(&schedule), "{}", file.display());
    }
}

#[test]
fn shallow_bugs_are_found_within_their_budget() {
    for bug in catalogue().filter(|bug| bug.depth == Depth::Shallow) {
        let hunt = bug.hunt(0, || true);
        assert!(hunt.found.is_some(), "{}: {hunt:?}", bug.name);
    }
}

#[test]
fn each_bug_has_a_name_of_its_own() {
    for bug in catalogue() {
        assert_eq!(Bug::named(bug.name), Some(bug));
    }
}
