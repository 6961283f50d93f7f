//! Processor time of both servers, and requests to Redis, for a durable push and for a plain one.

use std::thread;

use switchboard_tests::api::push;
use switchboard_tests::measure::{Crowd, ONE_BY_ONE, Testbed, median};

/// Users of each kind, each with one terminal.
const USERS: usize = 200;
const PUBLISHERS: usize = 8;

/// What a durable push costs.
pub(crate) struct PushCost {
    /// Times the processor time of a plain one.
    pub(crate) times: f64,
    /// Scripts that Redis runs meanwhile, for each push.
    pub(crate) scripts: f64,
}

/// Plain and durable pushes in turns: the first to terminals that do not follow, the others to those that do.
pub(crate) fn measure(place: &Testbed, pushes: usize, turns: usize) -> PushCost {
    let crowd = Crowd::new(place);
    let plain = (0..USERS).map(|user| format!("user=plain-{user}"));
    let durable = (0..USERS).map(|user| format!("user=durable-{user}&log=1"));
    crowd.connect(plain.chain(durable).collect(), ONE_BY_ONE);
    let mut micros = [Vec::new(), Vec::new()];
    let mut calls = 0;
    // The first turn opens connections and fills caches.
    for turn in 0..=turns {
        for (kind, name) in ["plain", "durable"].into_iter().enumerate() {
            let before = (
                place.processor_time(),
                place.calls("evalsha"),
                crowd.texts(),
            );
            publish(place, name, pushes);
            // A record is announced by a frame of its own.
            crowd.await_texts(before.2 + pushes * (kind + 1));
            let spent = (place.processor_time() - before.0).as_micros() as f64;
            if turn > 0 {
                micros[kind].push(spent / pushes as f64);
                calls += (place.calls("evalsha") - before.1) * kind as u64;
            }
        }
    }
    let [plain, durable] = micros.map(|turns| (median(&turns), turns));
    println!("processor time of both servers for a push, in turns:");
    for (name, (median, turns)) in [("plain", &plain), ("durable", &durable)] {
        let turns: Vec<_> = turns.iter().map(|micros| format!("{micros:.0}")).collect();
        println!("  {name:<10}{median:.1} us, median of {}", turns.join(", "));
    }
    let times = durable.0 / plain.0;
    println!("  ratio     {times:.2}");
    let scripts = calls as f64 / (pushes * turns) as f64;
    println!(
        "scripts that Redis runs for a durable push: {scripts:.3}, those of leases and checks with it"
    );
    PushCost { times, scripts }
}

fn publish(place: &Testbed, kind: &str, pushes: usize) {
    thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let api = place.servers[publisher % place.servers.len()].api();
            scope.spawn(move || {
                let mut open = api.publisher();
                for number in (publisher..pushes).step_by(PUBLISHERS) {
                    // A publisher's server holds the terminals of every other of its users.
                    let user = (number / PUBLISHERS) % USERS;
                    let request = push(&format!("{kind}-{user}"), vec![b'x'; 200]);
                    let request = request.query("durable", &(kind == "durable").to_string());
                    let answer = open.try_send(request).expect("the API answers");
                    assert_eq!(answer.status, 200, "{}", answer.text());
                }
            });
        }
    });
}
