//! What comes back by itself after the directory has lost it without a sign.

use std::time::Duration;

use switchboard_sim::World;
use switchboard_sim::schedule::Schedule;

#[test]
fn an_evicted_row_comes_back_with_the_sweep() {
    let mut world = world(
        "switchboard-sim 1  seed 1  instances 2  lease 10s
        1s   client c1 connects i1 as alice
        20s  redis evicts rows alice
        1900s  push i2 alice m1
        1905s  expect converged",
    );
    let begin = world.scene().now();
    let mut missing = false;
    // Each row is written once in a period of the sweep, which is 30 minutes.
    while world.scene().now().since(begin) < Duration::from_secs(1890) && world.step() {
        missing |=
            world.scene().now().since(begin) >= EVICTED && world.scene().live_rows().is_empty();
    }
    assert!(missing, "the row was never away");
    assert_eq!(world.scene().live_rows().len(), 1);
    assert_eq!(world.run().violation, None);
}

/// As long as the row is away, a push from elsewhere passes the member by without a sign; the sweep writes it again.
#[test]
fn an_evicted_row_of_a_topic_comes_back_with_the_sweep() {
    let mut world = world(
        "switchboard-sim 1  seed 1  instances 2  lease 10s
        0.5s  client c1 claims news
        1s   client c1 connects i1 as alice
        20s  redis evicts topic news
        25s  push i2 topics news m1
        1900s  push i2 topics news m2
        1905s  expect converged",
    );
    let begin = world.scene().now();
    let mut missing = false;
    while world.scene().now().since(begin) < Duration::from_secs(1890) && world.step() {
        let is_evicted = world.scene().now().since(begin) >= EVICTED;
        missing |= is_evicted && world.scene().topic_rows().next().is_none();
    }
    assert!(missing, "the row was never away");
    assert_eq!(world.scene().topic_rows().count(), 1);
    assert_eq!(world.run().violation, None);
    let scene = world.scene();
    let written = |push: usize| scene.sessions()[0].has_written(scene.pushes()[push].id());
    assert!(!written(0) && written(1));
}

#[test]
fn evicted_leases_are_claimed_anew_at_once() {
    let mut world = world(
        "switchboard-sim 1  seed 1  instances 2  lease 10s
        1s   client c1 connects i1 as alice
        20s  redis evicts leases
        30s  expect converged",
    );
    let begin = world.scene().now();
    let mut missing = false;
    while world.scene().now().since(begin) < Duration::from_secs(25) && world.step() {
        missing |=
            world.scene().now().since(begin) >= EVICTED && world.scene().leases().next().is_none();
    }
    assert!(missing, "the leases were never away");
    assert_eq!(
        (
            world.scene().leases().count(),
            world.scene().live_rows().len()
        ),
        (2, 1)
    );
    assert_eq!(world.run().violation, None);
}

const EVICTED: Duration = Duration::from_secs(20);

fn world(schedule: &str) -> World {
    World::new(Schedule::parse(schedule).expect("a schedule"))
}
