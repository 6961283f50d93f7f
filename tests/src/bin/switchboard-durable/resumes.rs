//! Terminals that all return at a time, each for 20 records, while pushes go on: beside as many that come for the first
//! time, so that what logs add is told from what handshakes take.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use switchboard_tests::api::{json_post, push};
use switchboard_tests::measure::{Crowd, ONE_BY_ONE, Testbed, quantile};

/// Records that each of them has missed.
const MISSED: usize = 20;
/// Users who get what is pushed meanwhile, each with a terminal that follows.
const OTHERS: usize = 500;
const PUBLISHERS: usize = 32;
/// How long pushes are measured before anybody returns.
const USUAL: Duration = Duration::from_secs(10);
/// How long servers get to forget those that have gone.
const PAUSE: Duration = Duration::from_secs(3);

/// What pushes are.
#[derive(Clone, Copy)]
enum PushKind {
    Plain,
    Durable,
}

/// How long receipts took, in milliseconds, by the kind of their pushes.
#[derive(Default)]
struct Latencies([Vec<f64>; 2]);

/// What was measured meanwhile.
struct Phase {
    latencies: Latencies,
    /// Processor time of both servers.
    spent: Duration,
    took: Duration,
}

/// What it took that all returned.
pub(crate) struct Resumes {
    /// Until all had their records.
    pub(crate) took: Duration,
    /// The p99 of receipts of plain pushes meanwhile, in times its usual value.
    pub(crate) plain: f64,
    /// That of durable ones.
    pub(crate) durable: f64,
    /// The memory of servers at most, in times that of all of them idle.
    pub(crate) memory: f64,
}

pub(crate) fn measure(place: &Testbed, resumes: usize, within: Duration, rate: u32) -> Resumes {
    println!(
        "{resumes} terminals return for {MISSED} records each while {rate} pushes a second flow, every other one durable:"
    );
    let positions = prepare(place, resumes);
    let others = Crowd::new(place);
    let followers = (0..OTHERS).map(|user| format!("user=other-{user}&log=1"));
    others.connect(followers.collect(), ONE_BY_ONE);
    let latencies = Mutex::new(Latencies::default());
    let (done, peak) = (AtomicBool::new(false), AtomicU64::new(0));
    let apart = within / u32::try_from(resumes).expect("not so many");
    let during = |what: &dyn Fn()| {
        take(&latencies);
        let (begin, before) = (Instant::now(), place.processor_time());
        what();
        Phase {
            latencies: take(&latencies),
            spent: place.processor_time() - before,
            took: begin.elapsed(),
        }
    };
    let crowd = Crowd::new(place);
    let (usual, first, again) = thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let (latencies, done) = (&latencies, &done);
            scope.spawn(move || publish(place, publisher, rate, latencies, done));
        }
        let usual = during(&|| thread::sleep(USUAL));
        let newcomers = Crowd::new(place);
        let queries = || (0..resumes).map(|user| format!("user=new-{user}"));
        let first = during(&|| newcomers.connect(queries().collect(), apart));
        drop(newcomers);
        thread::sleep(PAUSE);
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                peak.fetch_max(place.resident(), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(20));
            }
        });
        let queries = || {
            let all = positions.iter().enumerate();
            all.map(|(user, after)| format!("user=user-{user}&after={after}"))
        };
        let again = during(&|| {
            crowd.connect(queries().collect(), apart);
            // A record is announced by a frame of its own.
            crowd.await_texts(resumes * MISSED * 2);
        });
        done.store(true, Ordering::Relaxed);
        (usual, first, again)
    });
    let peak = peak.load(Ordering::Relaxed);
    let after = place.settled_memory();
    println!(
        "  all had their records after {:.1} s",
        again.took.as_secs_f64()
    );
    for (name, phase) in [
        ("usually", &usual),
        ("while as many come for the first time", &first),
        ("while they return", &again),
    ] {
        report(name, phase, &usual);
    }
    println!(
        "  memory at most {} MiB, {} MiB with all of them idle: {:.2} times",
        peak >> 20,
        after >> 20,
        peak as f64 / after as f64
    );
    let slower = |kind| p99(again.latencies.of(kind)) / p99(usual.latencies.of(kind));
    Resumes {
        took: again.took,
        plain: slower(PushKind::Plain),
        durable: slower(PushKind::Durable),
        memory: peak as f64 / after as f64,
    }
}

fn report(name: &str, phase: &Phase, usual: &Phase) {
    let share = phase.spent.as_secs_f64() / phase.took.as_secs_f64();
    let kinds = [(PushKind::Plain, "plain"), (PushKind::Durable, "durable")].map(|(kind, name)| {
        let (all, usual) = (phase.latencies.of(kind), usual.latencies.of(kind));
        let p99 = p99(all);
        format!(
            "{name} {p99:.1} ms (of {}, {:.1} times)",
            all.len(),
            p99 / self::p99(usual)
        )
    });
    println!(
        "  p99 of receipts {name:<38}{}; servers use {share:.2} processors",
        kinds.join(", ")
    );
}

impl Latencies {
    const fn of(&self, kind: PushKind) -> &Vec<f64> {
        &self.0[kind as usize]
    }
}

/// Each user's log gets a record at which his terminal stands, and those that it misses.
fn prepare(place: &Testbed, users: usize) -> Vec<String> {
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
    place: &Testbed,
    publisher: usize,
    rate: u32,
    latencies: &Mutex<Latencies>,
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
        let kind = if (number / PUBLISHERS).is_multiple_of(2) {
            PushKind::Plain
        } else {
            PushKind::Durable
        };
        let request = push(&format!("other-{}", number % OTHERS), vec![b'x'; 100]);
        let request = match kind {
            PushKind::Plain => request,
            PushKind::Durable => request.query("durable", "true"),
        };
        let sent = Instant::now();
        let answer = open.try_send(request);
        assert_eq!(answer.expect("the API answers").status, 200);
        let millis = sent.elapsed().as_secs_f64() * 1000.0;
        let mut latencies = latencies.lock().expect("nobody panics with it");
        latencies.0[kind as usize].push(millis);
    }
}

fn take(latencies: &Mutex<Latencies>) -> Latencies {
    std::mem::take(&mut latencies.lock().expect("nobody panics with it"))
}

fn p99(all: &[f64]) -> f64 {
    quantile(all, 0.99)
}
