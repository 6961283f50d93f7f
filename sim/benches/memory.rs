//! What a client costs in memory, beside its target.
//!
//! ```sh
//! cargo bench -p switchboard-sim --bench memory
//! ```
//!
//! 100,000 clients, each of its own user, connect to four instances; the whole world is measured, and
//! once more when only its instances are left.

use std::fmt::Write as _;
use std::time::Duration;

use peak_alloc::PeakAlloc;
use switchboard_sim::World;
use switchboard_sim::schedule::Schedule;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const CLIENTS: usize = 100_000;
/// Connections a millisecond.
const PACE: usize = 5;

fn main() {
    let mut text = String::from("switchboard-sim 1  seed 1  instances 4  lease 10s\n");
    for client in 0..CLIENTS {
        let at = 1000 + client / PACE;
        let _ = writeln!(
            text,
            "{at}ms client c{client} connects anywhere as u{client}"
        );
    }
    let connected = Duration::from_millis((1000 + CLIENTS / PACE) as u64) + Duration::from_secs(5);
    text += "3600s heal\n";
    let schedule = Schedule::parse(&text).expect("it is a schedule");
    drop(text);

    let before = MEMORY.current_usage() - size_of_val(schedule.items.as_slice());
    let mut world = World::new(schedule);
    assert!(world.run_until(connected), "{:?}", world.report().violation);
    let whole = MEMORY.current_usage().saturating_sub(before);
    let greeted = world
        .scene()
        .sessions()
        .iter()
        .filter(|session| session.greeted().is_some())
        .count();
    assert_eq!(greeted, CLIENTS, "every client is greeted");
    let instances = world.into_instances();
    let core = MEMORY.current_usage().saturating_sub(before);
    assert_eq!(instances.len(), 4);

    let each = |bytes: usize| bytes as f64 / CLIENTS as f64 / 1024.0;
    println!(
        "KiB for each of {CLIENTS} clients, core's own: {:.2}",
        each(core)
    );
    println!(
        "{:<48} {:>12.2}  target at most {:>10}",
        "KiB for each on top of that",
        each(whole - core),
        2
    );
}
