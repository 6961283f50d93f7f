//! What a push to one user costs for each terminal of that user, in the core alone.
//!
//! ```sh
//! cargo bench -p switchboard-core --bench fan_out
//! ```
//!
//! A user has the same number of terminals in each row; they are with the instance that publishes,
//! with another one, or spread over several. The cost for each should not depend on how many there are.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the time that it takes is what is measured"
)]

mod world;

use std::time::Duration;

use world::World;

/// Terminals of the user.
const SIZES: [usize; 3] = [500, 2000, 8000];
/// Terminals that are served for one figure, about.
const SERVED: usize = 400_000;

/// The instance that holds a terminal.
type Holder = fn(usize) -> usize;

fn main() {
    println!("us for each terminal of a push to one user");
    println!(
        "{:<52} {:>9} {:>9} {:>9}",
        "terminals", SIZES[0], SIZES[1], SIZES[2]
    );
    let holders: [(&str, usize, Holder, usize); 4] = [
        ("at the instance that publishes", 1, |_| 0, 1),
        ("at another one", 2, |_| 1, 1),
        ("spread over eight", 8, |terminal| terminal % 8, 1),
        (
            "spread over eight, 64 pushes at once",
            8,
            |terminal| terminal % 8,
            64,
        ),
    ];
    for (name, instances, holder, at_once) in holders {
        let figures = SIZES.map(|size| cost(instances, size, holder, at_once));
        let [few, more, many] = figures;
        println!("{name:<52} {few:>9.2} {more:>9.2} {many:>9.2}");
    }
}

/// Microseconds for each terminal.
fn cost(instances: usize, terminals: usize, holder: Holder, at_once: usize) -> f64 {
    let mut world = World::new(instances, |_| {});
    for terminal in 0..terminals {
        world.connect(holder(terminal));
    }
    world.pass(Duration::from_secs(5));
    // Links are opened by the first push, which is not measured.
    assert_eq!(world.push(1), terminals);
    let rounds = (SERVED / terminals / at_once).max(1);
    let begin = std::time::Instant::now();
    for _ in 0..rounds {
        assert_eq!(world.push(at_once), terminals * at_once);
    }
    let served = rounds * at_once * terminals;
    begin.elapsed().as_secs_f64() * 1e6 / served as f64
}
