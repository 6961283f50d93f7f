//! A topic with many members: processor time for a delivery beside that of a broadcast, and pushes to users meanwhile.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use switchboard_tests::api::push;
use switchboard_tests::http::Request;
use switchboard_tests::measure::{Crowd, Says, Testbed, median, quantile};

/// From one terminal to the next while they connect.
const APART: Duration = Duration::from_micros(400);
/// Users who are pushed to meanwhile, each with a terminal: no more than fit beside 19,000 members into the 20,000
/// descriptors of a server.
const OTHERS: usize = 60;
/// Pushes to them a second.
const RATE: u32 = 200;
/// For how long these are measured before and during pushes to the topic.
const SPAN: Duration = Duration::from_secs(10);
const BYTES: usize = 100;

pub(crate) fn measure(place: &Testbed, members: usize, turns: usize) {
    println!(
        "one topic with {members} members on two servers, {BYTES} B, in turns with a broadcast:"
    );
    let crowd = Crowd::new(place);
    let queries = (0..members).map(|user| format!("user=user-{user}"));
    crowd.connect_saying(queries.collect(), APART, |_| Says::Joins("all".to_owned()));
    let mut micros = [Vec::new(), Vec::new()];
    // The first turn fills caches.
    for turn in 0..=turns {
        for (kind, path) in ["/v1/broadcast", "/v1/topics/all/push"]
            .into_iter()
            .enumerate()
        {
            let before = (place.processor_time(), crowd.texts());
            send(place, turn, path);
            crowd.await_texts(before.1 + members);
            let spent = place.processor_time() - before.0;
            if turn > 0 {
                micros[kind].push(spent.as_secs_f64() * 1e6 / members as f64);
            }
        }
    }
    let [broadcast, topic] = micros.map(|turns| median(&turns));
    println!("  processor time of both servers for a delivery (medians of {turns}):");
    println!(
        "    broadcast {broadcast:.2} us, topic {topic:.2} us: {:.2} times",
        topic / broadcast
    );
    let others = Crowd::new(place);
    let queries = (0..OTHERS).map(|user| format!("user=other-{user}"));
    others.connect(queries.collect(), APART);
    let usual = latencies(place, || thread::sleep(SPAN));
    let meanwhile = latencies(place, || {
        let end = Instant::now() + SPAN;
        while Instant::now() < end {
            let before = crowd.texts();
            send(place, 0, "/v1/topics/all/push");
            crowd.await_texts(before + members);
        }
    });
    println!(
        "  receipts of {RATE} pushes a second to users, usually and while the topic is pushed to without a pause:"
    );
    for (name, share) in [("median", 0.5), ("p90", 0.9), ("p99", 0.99)] {
        let [usual, meanwhile] = [&usual, &meanwhile].map(|all| quantile(all, share));
        let times = meanwhile / usual;
        println!("    {name:<8}{usual:.1} ms, {meanwhile:.1} ms: {times:.1} times");
    }
}

fn send(place: &Testbed, number: usize, path: &str) {
    let api = place.servers[number % place.servers.len()].api();
    let request = Request::new("POST", path).body(vec![b'x'; BYTES]);
    let answer = api.send(request.query("deadline", "30s"));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// How long receipts of pushes to users take in milliseconds, while something is done.
fn latencies(place: &Testbed, meanwhile: impl FnOnce()) -> Vec<f64> {
    let (all, done) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut open = place.servers[0].api().publisher();
            let begin = Instant::now();
            for number in 0.. {
                let due = begin + Duration::from_secs(1) * number / RATE;
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if done.load(Ordering::Relaxed) {
                    return;
                }
                let user = format!("other-{}", number as usize % OTHERS);
                let sent = Instant::now();
                let answer = open.try_send(push(&user, vec![b'x'; BYTES]));
                assert_eq!(answer.expect("the API answers").status, 200);
                let millis = sent.elapsed().as_secs_f64() * 1000.0;
                all.lock().expect("nobody panics with it").push(millis);
            }
        });
        meanwhile();
        done.store(true, Ordering::Relaxed);
    });
    all.into_inner().expect("nobody panics with it")
}
