//! The catalogue: kept schedules show each bug to each checker that must catch it, the shallow ones
//! are found within their budget, and no checker is blind.

use std::collections::BTreeSet;
use std::path::Path;

use switchboard_sim::bugs::{Bug, Catch, Depth, Worlds, catalogue};
use switchboard_sim::checkers;
use switchboard_sim::schedule::Schedule;

/// With its bug each kept schedule violates what the catalogue says, and without it nothing.
#[test]
fn kept_schedules_show_their_bug() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schedules/flaws");
    let mut shown = 0;
    for bug in catalogue() {
        for by in bug.catches() {
            let file = folder.join(by.file_name(bug));
            let text = std::fs::read_to_string(&file)
                .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            let schedule = Schedule::parse(&text).unwrap();
            assert!(bug.is_shown_by(by, &schedule), "{}", file.display());
            shown += 1;
        }
    }
    let kept = std::fs::read_dir(folder).unwrap().count();
    assert_eq!(
        kept, shown,
        "a schedule is kept for a bug that is not there"
    );
}

/// The same with the log of a topic where a catalogue's schedule has that of a user: what is deep in the one is so in the other.
#[test]
fn kept_schedules_show_bugs_of_logs_in_those_of_topics() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schedules/flaws-of-topics");
    let mut shown = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        let schedule = Schedule::parse(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let bug = Bug::of(schedule.flaw.expect("a flaw"));
        let by = Catch {
            invariant: "log-complete",
            depth: Depth::Deep,
            worlds: Worlds::Histories,
        };
        assert_eq!(file.file_name().unwrap(), by.file_name(bug).as_str());
        assert!(bug.is_shown_by(by, &schedule), "{}", file.display());
        shown.insert(bug.name());
    }
    assert_eq!(
        shown,
        BTreeSet::from(["numbers-instead-of-positions", "tag-from-push"])
    );
}

#[test]
fn shallow_bugs_are_found_within_their_budget() {
    for bug in catalogue() {
        for by in bug.catches().filter(|by| by.depth == Depth::Shallow) {
            let hunt = bug.hunt(by, 0, || true);
            assert!(hunt.found.is_some(), "{} by {by:?}: {hunt:?}", bug.name());
        }
    }
}

/// What they need happens in any case, and so they are found in moments.
#[test]
fn bugs_that_need_a_plot_are_found_within_their_budget() {
    let has_a_plot = |by: &Catch| match by.worlds {
        Worlds::Histories | Worlds::SlowReader | Worlds::Floating | Worlds::Unheard => true,
        Worlds::Swarm
        | Worlds::Followed
        | Worlds::Unchecked
        | Worlds::Topical
        | Worlds::Few
        | Worlds::FewUnchecked => false,
    };
    for bug in catalogue() {
        for by in bug.catches().filter(has_a_plot) {
            let hunt = bug.hunt(by, 0, || true);
            assert!(hunt.found.is_some(), "{} by {by:?}: {hunt:?}", bug.name());
            assert_eq!(hunt.sick, [0; 0], "{} by {by:?}", bug.name());
        }
    }
}

/// Those that tests of their own show to see something, in the folder `boundary`; and two that slips do:
/// `.ci/slips --only dead-rows-kept`, `.ci/slips --only moved-not-looked-up`.
const SHOWN_ELSEWHERE: [&str; 18] = [
    "topic-members",
    "dead-rows",
    "looked-up-again",
    "doubt",
    "ends",
    "terminal-times",
    "link-times",
    "strangers",
    "lease-times",
    "append-times",
    "kept-true",
    "push-times",
    "given-up",
    "drain",
    "suspicion-ends",
    "directory-rate",
    "remembered",
    "figures",
];

#[test]
fn every_checker_catches_a_bug() {
    let here = |name: &str| !SHOWN_ELSEWHERE.contains(&name);
    for checker in checkers::all()
        .into_iter()
        .filter(|checker| here(checker.name()))
    {
        let catches = |bug: Bug| bug.catches().any(|by| by.invariant == checker.name());
        assert!(catalogue().any(catches), "{}", checker.name());
    }
}

#[test]
fn each_bug_has_a_name_of_its_own() {
    for bug in catalogue() {
        assert_eq!(Bug::named(bug.name()), Some(bug));
    }
}
