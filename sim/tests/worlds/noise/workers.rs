//! The same schedule with one worker and with two: terminals see the same, and applications are told the same, but for
//! when.
//!
//! A process has an instance for each worker, and the user decides which one publishes, so that order holds whatever
//! their number is. With one, everything is served at one instance, and nothing is routed; with two, the same is looked
//! up, sent and answered between them. Two things are no promise and are left out: the order of pushes that different
//! workers publish, and what reaches a terminal just when it moves: they move between bursts of pushes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::mpsc::{Sender, channel};

use switchboard_core::message::Counts;
use switchboard_sim::World;
use switchboard_sim::checker::{Checker, Watch};
use switchboard_sim::observed::Observed;
use switchboard_sim::schedule::Schedule;

use crate::noise::neighbour::{moment, pick};
use crate::noise::seen::first_difference;

const SEEDS: u64 = crate::seeds(150);

/// Pushes of one world.
const PUSHES: u64 = 80;

/// Pushes come in bursts of so many.
const BURST: u64 = 5;

/// The first of them, in microseconds.
const FIRST: u64 = 5_000_000;

/// And the time from one to the next.
const GAP: u64 = 800_000;

/// Whom pushes are for: the first of their users, whose worker publishes them, and all of them.
const USERS: [(u64, &str); 5] = [
    (0, "alice"),
    (1, "bob"),
    (0, "alice,bob"),
    (1, "bob,alice"),
    (0, "carol"),
];

/// A world with so many workers in its process. The names of pushes begin with the instance that publishes them.
fn world(seed: u64, workers: u64, flaw: &str) -> String {
    let at = |nth: u64| 1 + nth % workers;
    let mut text = format!("switchboard-sim 1  seed {seed}  instances {workers}  lease 4s{flaw}\n");
    for (nth, user) in (0..).zip(["alice", "alice", "bob", "bob", "carol", "carol"]) {
        let (client, begin) = (nth + 1, moment(500_000 + pick(seed, nth, 1_000_000)));
        let does = match user {
            "carol" => format!("0.2s  client c{client} follows history 5"),
            _ => format!("0.2s  client c{client} claims news\n3s  client c{client} joins news"),
        };
        writeln!(text, "{does}").expect("a text has room");
        let host = at(pick(seed, nth + 100, 2));
        writeln!(text, "{begin}  client c{client} connects i{host} as {user}")
            .expect("a text has room");
        if user == "carol" {
            for time in 0..3 {
                let between = pick(seed, nth * 10 + time + 200, 15) * GAP + GAP / 2;
                let begin = moment(FIRST + between + pick(seed, nth * 10 + time + 700, GAP / 4));
                let host = at(pick(seed, nth * 10 + time + 300, 2));
                writeln!(text, "{begin}  client c{client} moves i{host} clean")
                    .expect("a text has room");
            }
        }
    }
    for nth in 0..PUSHES {
        let begin = moment(FIRST + nth / BURST * GAP + pick(seed, nth + 400, 2_000));
        let (worker, users) = USERS[pick(seed, nth + 500, 5) as usize];
        let what = match pick(seed, nth + 600, 8) {
            0 => format!("push i{} everyone everyone.{nth}", at(1)),
            1 => format!("push i{} topics news topics.{nth}", at(1)),
            _ => {
                let durable = if users == "carol" { " durable" } else { "" };
                format!("push i{} {users} user{worker}.{nth}{durable}", at(worker))
            }
        };
        writeln!(text, "{begin}  {what}").expect("a text has room");
    }
    writeln!(text, "24s  kick i1 alice user0.kick\n30s  heal").expect("a text has room");
    text
}

/// Takes down what is seen.
#[derive(Clone, Debug)]
struct Lookout {
    seen: Sender<(String, String, String)>,
    told: Sender<(String, (bool, Counts, usize))>,
}

impl Lookout {
    fn see(&self, watch: &Watch<'_>, session: usize, by: &str, what: String) {
        let client = watch.scene().sessions()[session].client().to_owned();
        let line = (client, by.to_owned(), what);
        self.seen.send(line).expect("the test listens");
    }
}

/// Who publishes a push, by its name.
fn publisher(name: &str) -> &str {
    name.split_once('.').map_or(name, |(by, _)| by)
}

impl Checker for Lookout {
    fn name(&self) -> &'static str {
        "lookout"
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        match event {
            Observed::Seen { session, push, .. } => {
                let name = push.map_or_else(String::new, |push| name(watch, push));
                // Followers move: what is in no log may pass them by.
                let follows = watch.scene().sessions()[*session].user().as_str() == "carol";
                if !follows || !is_for_everyone(&name) {
                    self.see(watch, *session, publisher(&name), name.clone());
                }
            }
            Observed::SeenClose { session, code } => {
                self.see(watch, *session, "closed", format!("{code:?}"));
            }
            Observed::Answered { hand_in, receipt } => {
                let name = name(watch, hand_in.push);
                let said = (receipt.degraded, receipt.counts, receipt.terminals.len());
                if !is_for_everyone(&name) {
                    self.told.send((name, said)).expect("the test listens");
                }
            }
            _ => {}
        }
    }
}

/// The name of a push, of which its content says it.
fn name(watch: &Watch<'_>, push: usize) -> String {
    let payload = watch.scene().pushes()[push].payload();
    let content = payload.map(|payload| String::from_utf8_lossy(payload.bytes()).into_owned());
    let name = content.as_deref().and_then(|content| {
        content
            .strip_prefix("<content of ")
            .and_then(|rest| rest.strip_suffix('>'))
    });
    name.unwrap_or("user0.kick").to_owned()
}

/// Whether a push is for followers as well, and in no log.
fn is_for_everyone(name: &str) -> bool {
    name.starts_with("everyone")
}

/// What terminals and applications have seen in a world: of each client, what it was sent by each publisher, in its
/// order, and with which code it was closed; and what the receipt of each push says.
fn outcome(text: &str) -> Vec<String> {
    let (seen, lines) = channel();
    let (told, answers) = channel();
    let schedule = Schedule::parse(text).expect("it is a schedule");
    let lookout = Box::new(Lookout { seen, told });
    World::watched(schedule, vec![lookout]).run();
    let mut sequences: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for (client, by, what) in lines {
        sequences.entry((client, by)).or_default().push(what);
    }
    let mut outcome: Vec<_> = (sequences.into_iter())
        .map(|((client, by), seen)| format!("{client} by {by}: {}", seen.join(" ")))
        .collect();
    let answers: BTreeMap<_, _> = answers.into_iter().collect();
    outcome.extend((answers.into_iter()).map(|(name, said)| format!("{name}: {said:?}")));
    outcome
}

#[test]
fn a_second_worker_changes_nothing_that_is_seen() {
    let mut lines = 0;
    for seed in 0..SEEDS {
        let (one, two) = (outcome(&world(seed, 1, "")), outcome(&world(seed, 2, "")));
        assert_eq!(first_difference(&one, &two), None, "seed {seed}");
        lines += one.len();
    }
    assert!(
        lines > 67 * SEEDS as usize,
        "too little was seen: {lines} lines"
    );
}

/// A bug that shows only where something is between the two.
#[test]
fn a_bug_between_workers_is_seen() {
    let differs = |seed: &u64| {
        outcome(&world(*seed, 1, "")) != outcome(&world(*seed, 2, "  flaw unregister-by-user"))
    };
    assert!(
        (0..SEEDS / 10).any(|seed| differs(&seed)),
        "nothing differs"
    );
}
