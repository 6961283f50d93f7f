//! What the fingerprint of a world promises.

use std::time::Duration;

use proptest::prelude::*;
use switchboard_sim::schedule::Schedule;
use switchboard_sim::trace::Kept;
use switchboard_sim::{World, strategies, swarm};

/// Everything that happens from here on, without the hashes, which tell of what was before as well.
fn future(world: &World) -> Vec<(Duration, String)> {
    let mut world = world.clone();
    world.keep_trace();
    let from = world.kept_trace().len();
    world.run();
    let entry = |kept: &Kept| (kept.at, kept.text.clone());
    world.kept_trace()[from..].iter().map(entry).collect()
}

fn after(schedule: &Schedule, time: Duration) -> World {
    let mut world = World::new(schedule.clone());
    world.run_until(time);
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_clone_has_the_same_fingerprint_and_future(
        schedule in strategies::schedules(),
        steps in 0..3000_usize,
    ) {
        let mut world = World::new(schedule);
        for _ in 0..steps {
            world.step();
        }
        let mut clone = world.clone();
        prop_assert_eq!(world.fingerprint(), clone.fingerprint());
        prop_assert_eq!(world.run(), clone.run());
        prop_assert_eq!(world.fingerprint(), clone.fingerprint());
    }

    /// Without one of its items a schedule has another past. If the fingerprints become the same all
    /// the same, so does the future.
    #[test]
    fn worlds_of_equal_fingerprints_go_on_equally(
        schedule in strategies::schedules(),
        left_out in any::<prop::sample::Index>(),
    ) {
        let mut less = schedule.clone();
        less.items.remove(left_out.index(schedule.items.len()));
        let (mut one, mut other) = (World::new(schedule), World::new(less));
        for seconds in (1..85).step_by(4).map(Duration::from_secs) {
            one.run_until(seconds);
            other.run_until(seconds);
            if one.fingerprint() == other.fingerprint() {
                prop_assert_eq!(future(&one), future(&other));
                break;
            }
        }
    }
}

#[test]
fn an_item_without_effect_leaves_the_fingerprint_of_the_rest_as_it_was() {
    let schedule = swarm::schedule(20);
    let mut more = schedule.clone();
    let nobody =
        Schedule::parse("switchboard-sim 1  seed 1  instances 1\n3s  client nobody closes clean\n");
    more.items.extend(nobody.unwrap().items);
    let at = |schedule, seconds| after(schedule, Duration::from_secs(seconds)).fingerprint();
    assert_ne!(at(&schedule, 2), at(&more, 2), "it is still to come");
    assert_eq!(at(&schedule, 4), at(&more, 4));
}

#[test]
fn every_step_changes_the_fingerprint() {
    let mut world = World::new(swarm::schedule(20));
    let mut before = world.fingerprint();
    let mut same = 0;
    for step in 0..500 {
        world.step();
        let now = world.fingerprint();
        same += u32::from(now == before);
        before = now;
        assert!(step < 10 || same < step, "it changes sometimes");
    }
    // What checkers asked for is no part of it.
    assert!(same < 50, "{same} of 500 steps changed nothing");
}
