//! Schedules that proptest makes: they hold every invariant, they are what is printed of them, and
//! they shrink.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use switchboard_sim::schedule::{Act, Schedule};
use switchboard_sim::{strategies, swarm};

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_schedule_holds_every_invariant(schedule in strategies::schedules()) {
        let violation = swarm::run(&schedule).violation;
        prop_assert!(violation.is_none(), "{violation:?} in\n{schedule}");
    }

    #[test]
    fn any_schedule_survives_printing(schedule in strategies::schedules()) {
        prop_assert_eq!(Schedule::parse(&schedule.to_string()), Ok(schedule));
    }
}

/// What fails becomes as small as what it fails of.
#[test]
fn a_schedule_shrinks_to_the_items_that_matter() {
    let pauses = |schedule: &Schedule| {
        let pause = |act: &Act| matches!(act, Act::Pause { .. });
        schedule.items.iter().any(|item| pause(&item.act))
    };
    let mut runner = TestRunner::deterministic();
    let mut tree = loop {
        let tree = strategies::schedules().new_tree(&mut runner).unwrap();
        if pauses(&tree.current()) {
            break tree;
        }
    };
    let before = tree.current().items.len();
    let mut small = tree.current();
    while tree.simplify() {
        while !pauses(&tree.current()) {
            if !tree.complicate() {
                break;
            }
        }
        if pauses(&tree.current()) {
            small = tree.current();
        }
    }
    // One pause, and the end: heal, restarts, expectations.
    assert!(
        small.items.len() <= 1 + 4 + small.instances,
        "{before} items became\n{small}"
    );
    assert!(pauses(&small));
}

/// Whatever an item can begin with is made now and then.
#[test]
fn every_form_of_item_is_made() {
    let mut runner = TestRunner::deterministic();
    let mut made = BTreeSet::new();
    for _ in 0..200 {
        let schedule = strategies::schedules().new_tree(&mut runner).unwrap();
        for line in schedule.current().to_string().lines().skip(1) {
            made.extend(line.split_whitespace().nth(1).map(ToOwned::to_owned));
        }
    }
    let grammar = Schedule::grammar();
    let forms = (grammar.lines()).filter_map(|line| line.strip_prefix("TIME "));
    for form in forms.filter(|form| !form.starts_with(' ')) {
        let first = form.split(' ').next().unwrap();
        assert!(made.contains(first), "{form}");
    }
}
