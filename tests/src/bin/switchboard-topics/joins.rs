//! Joins and leaves without an end: what they cost in Redis and in processor time.

use std::thread;
use std::time::Duration;

use switchboard_tests::measure::{Crowd, ONE_BY_ONE, Says, Testbed};

/// Terminals that join and leave.
const TERMINALS: usize = 1000;

pub(crate) fn measure(place: &Testbed, rate: usize, span: Duration) {
    println!(
        "{rate} joins and leaves a second by {TERMINALS} terminals on two servers, for {} s:",
        span.as_secs()
    );
    let apart = Duration::from_secs_f64(TERMINALS as f64 / rate as f64);
    let calls = scripts(place, span);
    println!("  scripts that Redis runs while nobody does: {calls}");
    // There are always other members: what changes is nobody's business but that of the instance.
    let members = Crowd::new(place);
    let queries = |name: &str| {
        (0..TERMINALS)
            .map(|user| format!("user={name}-{user}"))
            .collect()
    };
    members.connect_saying(queries("stays"), ONE_BY_ONE, |_| {
        Says::Joins("all".to_owned())
    });
    run(place, "one topic with other members", span, rate, |crowd| {
        crowd.connect_saying(queries("comes"), ONE_BY_ONE, |_| Says::JoinsAndLeaves {
            topic: "all".to_owned(),
            apart,
        });
    });
    // Each is the first and the last member of its topic: each join and each leave is a change from 0 to 1 or back.
    run(place, "a topic for each terminal", span, rate, |crowd| {
        crowd.connect_saying(queries("alone"), ONE_BY_ONE, |number| {
            Says::JoinsAndLeaves {
                topic: format!("topic-{number}"),
                apart,
            }
        });
    });
}

fn run(place: &Testbed, what: &str, span: Duration, rate: usize, connect: impl FnOnce(&Crowd)) {
    let crowd = Crowd::new(place);
    connect(&crowd);
    let (answers, spent) = (crowd.texts(), place.processor_time());
    let calls = scripts(place, span);
    let (answers, spent) = (crowd.texts() - answers, place.processor_time() - spent);
    let each = spent.as_secs_f64() * 1e6 / answers as f64;
    println!(
        "  {what}: {answers} of about {} answered, {calls} scripts in Redis ({:.3} for each), {each:.1} us of both servers",
        rate as u64 * span.as_secs(),
        calls as f64 / answers as f64
    );
}

/// Scripts that Redis runs in a time.
fn scripts(place: &Testbed, span: Duration) -> u64 {
    let before = place.calls("evalsha");
    thread::sleep(span);
    place.calls("evalsha") - before
}
