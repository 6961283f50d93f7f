//! What a push to one user costs for each terminal of that user, in the core alone.
//!
//! ```sh
//! cargo bench -p switchboard-core --bench fan_out
//! ```
//!
//! A user has the same number of terminals in each row; they are with the instance that publishes,
//! with another one, or spread over several. The cost for each should not depend on how many there are.
//!
//! The benchmark executes commands by itself, on the public API and in the fewest steps: the executor of the
//! tests is not there outside of them, and what it checks and keeps of each command would be measured with it.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the time that it takes is what is measured"
)]

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use switchboard_core::command::{Command, Outbox};
use switchboard_core::config::{ClusterSecret, Config, Identity};
use switchboard_core::directory::memory::MemoryDirectory;
use switchboard_core::event::{Answer, Event, Handshake};
use switchboard_core::frame::Payload;
use switchboard_core::id::{CallId, InstanceId, LinkKey, PushId, UserId};
use switchboard_core::message::{Action, Audience, Push};
use switchboard_core::time::{Instant, Now, WallTime};
use switchboard_core::{Instance, Seed};
use uuid::Uuid;

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
    let mut world = World::new(instances);
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

/// Instances on one directory in memory. Everything that is on the way arrives at once.
struct World {
    now: Now,
    instances: Vec<Instance>,
    directory: MemoryDirectory,
    ends: BTreeMap<(usize, LinkKey), (usize, LinkKey)>,
    events: VecDeque<(usize, Event)>,
    written: usize,
    pushes: u128,
    out: Outbox,
}

impl World {
    fn new(instances: usize) -> Self {
        let config = Config {
            connections_per_user: 10_000,
            ..Config::default()
        };
        let now = Now {
            mono: Instant::from_nanos(1_000_000_000),
            wall: WallTime::from_millis(1_700_000_000_000),
        };
        let directory = MemoryDirectory::new(config.directory());
        let start = |index: usize| {
            let identity = Identity {
                instance: InstanceId::new(index as u64 + 1),
                address: format!("host{index}:1"),
                secret: ClusterSecret::new(&[7; 16]).expect("long enough"),
            };
            let seed = Seed::new([index as u8; 32]);
            Instance::new(config.clone(), identity, seed, now).expect("the settings fit")
        };
        let mut world = Self {
            now,
            instances: (0..instances).map(start).collect(),
            directory,
            ends: BTreeMap::new(),
            events: VecDeque::new(),
            written: 0,
            pushes: 0,
            out: Outbox::new(),
        };
        for index in 0..instances {
            world.events.push_back((index, Event::DirectoryUp));
        }
        world.pass(Duration::from_secs(5));
        world
    }

    fn connect(&mut self, index: usize) {
        let handshake = Handshake::new(user());
        let taken = self.instances[index].accept(self.now, handshake);
        let connection = taken.expect("there is room");
        self.events.push_back((index, Event::Opened { connection }));
        self.settle();
    }

    /// Pushes to the user, so many at once. Returns how often that was written.
    fn push(&mut self, at_once: usize) -> usize {
        self.written = 0;
        for _ in 0..at_once {
            self.pushes += 1;
            let push = Push {
                id: PushId::new(Uuid::from_u128(self.pushes)),
                to: Audience::User(user()),
                action: Action::Frame(Payload::binary(vec![0; 100].into())),
                deadline: Config::DEADLINE_MAX,
                durable: None,
            };
            let call = CallId::new(self.pushes as u64);
            self.events.push_back((0, Event::Push { call, push }));
        }
        self.settle();
        self.written
    }

    /// Lets time pass.
    fn pass(&mut self, span: Duration) {
        let until = self.now.mono + span;
        loop {
            self.settle();
            let due = |instance: &Instance| instance.next_timeout().map(|(at, _)| at);
            let Some(next) = self.instances.iter().filter_map(due).min() else {
                break;
            };
            if next > until {
                break;
            }
            self.now.mono = next.max(self.now.mono);
        }
        self.now.mono = until;
    }

    /// Everything that can happen without time passing happens.
    fn settle(&mut self) {
        loop {
            while let Some((index, event)) = self.events.pop_front() {
                self.instances[index].handle(self.now, event, &mut self.out);
                self.execute(index);
            }
            let now = self.now.mono;
            let is_due =
                |instance: &Instance| instance.next_timeout().is_some_and(|(at, _)| at <= now);
            let Some(index) = self.instances.iter().position(is_due) else {
                return;
            };
            self.instances[index].handle_timeout(self.now, &mut self.out);
            self.execute(index);
        }
    }

    fn execute(&mut self, index: usize) {
        let mut out = std::mem::take(&mut self.out);
        for command in out.drain() {
            self.execute_one(index, command);
        }
        self.out = out;
    }

    fn execute_one(&mut self, index: usize, command: Command) {
        let happened = match command {
            Command::Flush { connection } => Event::Written { connection },
            Command::Directory(trip) => {
                let outcomes = (trip.operations.iter())
                    .map(|operation| self.directory.execute(self.now.mono, operation))
                    .collect();
                let (op, outcomes) = (trip.op, Ok(outcomes));
                Event::Directory { op, outcomes }
            }
            Command::Dial { link, dial } => {
                let other = dial.instance.get() as usize - 1;
                let theirs = self.instances[other].accept_link(self.now);
                let theirs = theirs.expect("there is room");
                self.ends.insert((index, link), (other, theirs));
                self.ends.insert((other, theirs), (index, link));
                Event::LinkUp { link }
            }
            Command::LinkWrite { link, batch } => {
                self.events.push_back((index, Event::LinkWritten { link }));
                let (other, link) = self.ends[&(index, link)];
                self.events
                    .push_back((other, Event::LinkReceived { link, batch }));
                return;
            }
            Command::Answer { answer, .. } => {
                if let Answer::Push(Ok(receipt)) = *answer {
                    self.written += receipt.counts.written as usize;
                }
                return;
            }
            _ => return,
        };
        self.events.push_back((index, happened));
    }
}

fn user() -> UserId {
    UserId::new("ann").expect("a user")
}
