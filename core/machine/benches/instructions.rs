//! Work for `.ci/instructions`, which counts the instructions of an instance under callgrind: a count that depends on
//! the compiler, and not on what else the machine does.
//!
//! `instructions WHAT TIMES` does something so many times. What one time costs is the difference between two numbers
//! of times, by which whatever is done once cancels out.

mod world;

use std::time::Duration;

use switchboard_core::message::Audience;
use world::World;

/// Terminals that a push to everyone is delivered to.
const TERMINALS: usize = 1000;
/// A push to everyone is served at a steady pace; by then it has ended.
const SERVED: Duration = Duration::from_millis(500);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    let times = arguments.next().and_then(|times| times.parse().ok());
    match (what.as_str(), times) {
        ("connect", Some(times)) => connect(times),
        ("local", Some(times)) => push(1, times),
        ("routed", Some(times)) => push(2, times),
        ("broadcast", Some(times)) => broadcast(times),
        // `cargo test --benches` and the like run it without.
        (_, None) => println!("it is run by .ci/instructions"),
        (other, Some(_)) => panic!("{other}: it is connect, local, routed or broadcast"),
    }
}

/// Terminals of one user connect and are greeted.
fn connect(times: usize) {
    let mut world = World::new(1, |_| {});
    for _ in 0..times {
        world.connect(0);
    }
}

/// Pushes to a terminal of the last instance, by the first one.
fn push(instances: usize, times: usize) {
    let mut world = World::new(instances, |_| {});
    world.connect(instances - 1);
    world.pass(Duration::from_secs(5));
    for _ in 0..times {
        assert_eq!(world.push(1), 1);
    }
}

/// Pushes to everyone.
fn broadcast(times: usize) {
    let mut world = World::new(1, |_| {});
    for _ in 0..TERMINALS {
        world.connect(0);
    }
    world.pass(Duration::from_secs(5));
    for _ in 0..times {
        world.push_to(&Audience::Everyone, 1);
        world.pass(SERVED);
        assert_eq!(world.written(), TERMINALS);
    }
}
