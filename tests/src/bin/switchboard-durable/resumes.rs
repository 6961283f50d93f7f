//! Terminals that all return at a time, each for 20 records, while durable pushes go on.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use switchboard_tests::api::{json_post, push};

use crate::crowd::{Crowd, ONE_BY_ONE};
use crate::place::Place;

/// Records that each of them has missed.
const MISSED: usize = 20;
/// Users who get what is pushed meanwhile, each with a terminal that follows.
const OTHERS: usize = 500;
const PUBLISHERS: usize = 32;
/// How long pushes are measured before anybody returns.
const USUAL: Duration = Duration::from_secs(10);

pub(crate) fn measure(place: &Place, resumes: usize, within: Duration, rate: u32) {
    println!(
        "{resumes} terminals return for {MISSED} records each while {rate} durable pushes a second flow:"
    );
    let positions = prepare(place, resumes);
    let others = Crowd::new(place);
    let followers = (0..OTHERS).map(|user| format!("user=other-{user}&log=1"));
    others.connect(followers.collect(), ONE_BY_ONE);
    let crowd = Crowd::new(place);
    let latencies = Mutex::new(Vec::new());
    let (done, peak) = (AtomicBool::new(false), AtomicU64::new(0));
    let (usual, during, took) = thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let (latencies, done) = (&latencies, &done);
            scope.spawn(move || publish(place, publisher, rate, latencies, done));
        }
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                peak.fetch_max(place.resident(), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(20));
            }
        });
        thread::sleep(USUAL);
        let usual = take(&latencies);
        let begin = Instant::now();
        let queries = positions.iter().enumerate();
        let queries = queries.map(|(user, after)| format!("user=user-{user}&after={after}"));
        let apart = within / u32::try_from(resumes).expect("not so many");
        crowd.connect(queries.collect(), apart);
        // A record is announced by a frame of its own.
        crowd.await_texts(resumes * MISSED * 2);
        let took = begin.elapsed();
        let during = take(&latencies);
        done.store(true, Ordering::Relaxed);
        (usual, during, took)
    });
    let peak = peak.load(Ordering::Relaxed);
    let after = place.settled_memory();
    println!("  all had their records after {:.1} s", took.as_secs_f64());
    let [usual, during] = [usual, during].map(|all| (p99(&all), all.len()));
    println!(
        "  p99 of receipts {:.1} ms before (of {}), {:.1} ms meanwhile (of {}): {:.1} times",
        usual.0,
        usual.1,
        during.0,
        during.1,
        during.0 / usual.0
    );
    println!(
        "  memory at most {} MiB, {} MiB with all of them idle: {:.2} times",
        peak >> 20,
        after >> 20,
        peak as f64 / after as f64
    );
}

/// Each user's log gets a record at which his terminal stands, and those that it misses.
fn prepare(place: &Place, users: usize) -> Vec<String> {
    const AT_ONCE: usize = 1000;
    let names: Vec<_> = (0..users).map(|user| format!("user-{user}")).collect();
    let mut positions = Vec::new();
    for names in names.chunks(AT_ONCE) {
        for record in 0..=MISSED {
            let text = "x".repeat(100);
            let request = json_post("/v1/push", &json!({"users": names, "text": text}));
            let request = request.query("durable", "true").query("deadline", "30s");
            let receipt = place.servers[0].api().receipt(request);
            let position = |name: &String| match &receipt.logged[name] {
                Value::String(position) => position.clone(),
                other => panic!("a record of {name}: {other}"),
            };
            if record == 0 {
                positions.extend(names.iter().map(position));
            }
        }
    }
    positions
}

fn publish(
    place: &Place,
    publisher: usize,
    rate: u32,
    latencies: &Mutex<Vec<f64>>,
    done: &AtomicBool,
) {
    let mut open = place.servers[publisher % place.servers.len()]
        .api()
        .publisher();
    let begin = Instant::now();
    for number in (publisher..).step_by(PUBLISHERS) {
        let due = begin + Duration::from_secs_f64(number as f64 / f64::from(rate));
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if done.load(Ordering::Relaxed) {
            return;
        }
        let request = push(&format!("other-{}", number % OTHERS), vec![b'x'; 100]);
        let sent = Instant::now();
        let answer = open.try_send(request.query("durable", "true"));
        assert_eq!(answer.expect("the API answers").status, 200);
        let millis = sent.elapsed().as_secs_f64() * 1000.0;
        latencies
            .lock()
            .expect("nobody panics with it")
            .push(millis);
    }
}

fn take(latencies: &Mutex<Vec<f64>>) -> Vec<f64> {
    std::mem::take(&mut latencies.lock().expect("nobody panics with it"))
}

fn p99(all: &[f64]) -> f64 {
    let mut sorted = all.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
        .get(sorted.len() * 99 / 100)
        .copied()
        .unwrap_or_default()
}
