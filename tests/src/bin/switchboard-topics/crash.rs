//! A server with members is killed: how long pushes to a topic are in doubt, and when watchers are told who has left.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use switchboard_tests::adapter::Adapter;
use switchboard_tests::http::Request;
use switchboard_tests::measure::{Crowd, Says, Testbed};
use switchboard_tests::patience::eventually;
use switchboard_tests::terminal::{Frame, Terminal};

const MEMBERS: usize = 20_000;
const APART: Duration = Duration::from_micros(400);

/// How long the receipts of pushes to one topic are degraded.
pub(crate) fn pushes(mut place: Testbed) {
    println!(
        "a server with {} of {MEMBERS} members is killed:",
        MEMBERS / 2
    );
    let crowd = Crowd::new(&place);
    let queries = (0..MEMBERS).map(|user| format!("user=user-{user}"));
    crowd.connect_saying(queries.collect(), APART, |_| Says::Joins("all".to_owned()));
    let before = push(&place);
    assert_eq!(before, (false, MEMBERS as u64));
    let killed = Instant::now();
    place.servers[1].sigkill();
    let (mut degraded, mut pushes) = (0, 0);
    eventually("a receipt is not degraded", || {
        let (is_degraded, written) = push(&place);
        pushes += 1;
        degraded += u64::from(is_degraded);
        assert!(
            written >= MEMBERS as u64 / 2,
            "members of the other server are missed"
        );
        !is_degraded
    });
    println!(
        "  {degraded} of {pushes} receipts were degraded, for {:.1} s; none missed a member of the other server",
        killed.elapsed().as_secs_f64()
    );
    let left: Vec<String> = place.redis.command(&["KEYS", "*}t:all"]);
    let rows: u64 = left
        .iter()
        .map(|key| place.redis.command::<u64>(&["HLEN", key]))
        .sum();
    println!("  the topic has {rows} row in Redis");
}

/// Whether a receipt is degraded, and how many members it says were written to.
fn push(place: &Testbed) -> (bool, u64) {
    let request = Request::new("POST", "/v1/topics/all/push").body("x");
    let receipt = place.servers[0]
        .api()
        .receipt(request.query("deadline", "3s"));
    (receipt.degraded, receipt.written)
}

/// Topics whose members are told by name, each with a watcher at the server that stays.
const ROOMS: usize = 100;
/// Members of each at the server that is killed.
const IN_ROOM: usize = 100;
/// So many of them have another terminal in the topic, at the server that stays.
const ELSEWHERE: usize = 10;
/// Within how long users have left: the lease at most, the grace, and a second. A user that leaves later fails the run.
const WITHIN: Duration = Duration::from_secs(16);

/// Each user whose terminals were at the server leaves once and in time, and nobody else does. Returns whether that is so.
pub(crate) fn leaves(adapter: Adapter) -> bool {
    println!(
        "a server with {} members of {ROOMS} topics is killed, {} of whom have another terminal:",
        ROOMS * IN_ROOM,
        ROOMS * ELSEWHERE
    );
    let mut place = Testbed::start_with(adapter, |settings| {
        let settings = settings.with("namespaces", vec!["=presence"]);
        // As they are by default.
        settings.with("lease", "10s").with("lease_renewal", "3s")
    });
    let all = members(&place, 1, 0..IN_ROOM);
    let second = members(&place, 0, 0..ELSEWHERE);
    let mut watchers: Vec<_> = (0..ROOMS).map(|room| Watcher::of(&place, room)).collect();
    println!("  {} watchers know who is there", watchers.len());
    let done = AtomicBool::new(false);
    let killed = Instant::now();
    place.servers[1].sigkill();
    thread::scope(|scope| {
        for watcher in &mut watchers {
            scope.spawn(|| watcher.watches(killed, &done));
        }
        // As long again, for those who leave late or twice.
        thread::sleep(WITHIN * 2);
        done.store(true, Ordering::Relaxed);
    });
    drop((all, second));
    let mut judged = LeavesTold::default();
    for watcher in &watchers {
        judged.add(watcher);
    }
    judged.print()
}

fn members(place: &Testbed, server: usize, numbers: Range<usize>) -> Crowd {
    let crowd = Crowd::of(&place.servers[server..=server]);
    let rooms = (0..ROOMS).flat_map(|room| numbers.clone().map(move |number| (room, number)));
    let rooms: Vec<_> = rooms.collect();
    let queries = rooms
        .iter()
        .map(|(room, number)| format!("user={}", user(*room, *number)));
    crowd.connect_saying(queries.collect(), APART, |index| {
        Says::Joins(topic(rooms[index].0))
    });
    crowd
}

fn topic(room: usize) -> String {
    format!("room-{room}")
}

fn user(room: usize, number: usize) -> String {
    format!("user-{room}-{number}")
}

/// A member of a topic that is told who the others are.
struct Watcher {
    room: usize,
    terminal: Terminal,
    sequence: u64,
    /// When each was told to have left, and whether anything else was wrong.
    left: BTreeMap<String, Vec<Duration>>,
    wrong: Vec<String>,
}

impl Watcher {
    /// It knows all members.
    fn of(place: &Testbed, room: usize) -> Self {
        let name = format!("watcher-{room}");
        let mut terminal = place.servers[0].terminal(&name);
        let wish = json!({"switchboard": {"join": topic(room), "presence": true}});
        terminal.send_text(&wish.to_string());
        let mut watcher = Self {
            room,
            terminal,
            sequence: 0,
            left: BTreeMap::new(),
            wrong: Vec::new(),
        };
        let mut known = 0;
        eventually("all members are known", || {
            if let Some(told) = watcher.next(Duration::from_millis(100)) {
                watcher.sequence = told["sequence"].as_u64().unwrap_or_default();
                known += names(&told, "users").len() + names(&told, "joined").len();
            }
            known == IN_ROOM + 1
        });
        watcher
    }

    /// What it is told next of who is there.
    fn next(&mut self, patience: Duration) -> Option<Value> {
        let Frame::Text(text) = self.terminal.try_recv(patience)? else {
            return None;
        };
        let mut frame: Value = serde_json::from_str(&text).ok()?;
        let told = frame["switchboard"]["presence"].take();
        told.is_object().then_some(told)
    }

    fn watches(&mut self, killed: Instant, done: &AtomicBool) {
        while !done.load(Ordering::Relaxed) {
            let Some(told) = self.next(Duration::from_millis(100)) else {
                continue;
            };
            let at = killed.elapsed();
            self.sequence += 1;
            let joined = names(&told, "joined");
            if told["sequence"] != self.sequence
                || !joined.is_empty()
                || told["users"] != Value::Null
            {
                self.wrong.push(format!("{}: {told}", topic(self.room)));
            }
            for user in names(&told, "left") {
                self.left.entry(user).or_default().push(at);
            }
        }
    }
}

fn names(told: &Value, word: &str) -> Vec<String> {
    let names = told[word].as_array().into_iter().flatten();
    names
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect()
}

/// How watchers were told of the members that have left, over all topics.
#[derive(Default)]
struct LeavesTold {
    times: Vec<Duration>,
    missing: usize,
    doubled: usize,
    /// Users that were said to have left, and have another terminal.
    false_leaves: usize,
    wrong: Vec<String>,
}

impl LeavesTold {
    fn add(&mut self, watcher: &Watcher) {
        let mut left = watcher.left.clone();
        for number in 0..IN_ROOM {
            let times = left.remove(&user(watcher.room, number)).unwrap_or_default();
            if number < ELSEWHERE {
                self.false_leaves += times.len();
                continue;
            }
            self.missing += usize::from(times.is_empty());
            self.doubled += times.len().saturating_sub(1);
            self.times.extend(times.first());
        }
        self.false_leaves += left.len();
        self.wrong.extend(watcher.wrong.iter().cloned());
    }

    fn print(&self) -> bool {
        let expected = ROOMS * (IN_ROOM - ELSEWHERE);
        let [first, last] = [self.times.iter().min(), self.times.iter().max()]
            .map(|time| time.copied().unwrap_or_default().as_secs_f64());
        println!(
            "  {} of {expected} users have left, after {first:.1} to {last:.1} s; missing {}, doubled {}, of those with another terminal {}",
            self.times.len(),
            self.missing,
            self.doubled,
            self.false_leaves
        );
        for wrong in self.wrong.iter().take(5) {
            println!("  wrong: {wrong}");
        }
        let late = self.times.iter().filter(|time| **time > WITHIN).count();
        println!(
            "  later than {} s: {late}; frames that are wrong: {}",
            WITHIN.as_secs(),
            self.wrong.len()
        );
        self.missing + self.doubled + self.false_leaves + self.wrong.len() + late == 0
    }
}
