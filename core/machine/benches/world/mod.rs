//! Instances for measurements, in the fewest steps: the executor of the tests is not there outside of them, and what it
//! checks and keeps of each command would be measured with it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use switchboard_core::command::{Command, Outbox};
use switchboard_core::config::{ClusterSecret, Config, Identity};
use switchboard_core::directory::memory::MemoryDirectory;
use switchboard_core::event::{Answer, Event, Handshake};
use switchboard_core::frame::Payload;
use switchboard_core::id::{CallId, InstanceId, LinkKey, PushId, UserId};
use switchboard_core::message::{Action, Audience, Push, PushedBy};
use switchboard_core::time::{Instant, Now, WallTime};
use switchboard_core::{Instance, Seed};
use uuid::Uuid;

/// Instances on one directory in memory. Everything that is on the way arrives at once.
pub(crate) struct World {
    now: Now,
    instances: Vec<Instance>,
    directory: MemoryDirectory,
    ends: BTreeMap<(usize, LinkKey), (usize, LinkKey)>,
    events: VecDeque<(usize, Event)>,
    written: usize,
    pushes: u128,
    out: Outbox,
    watch: fn(Work),
}

/// What an instance is doing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// It is called.
    Begins,
    /// It has returned.
    Ends,
}

impl World {
    /// So many instances; `watch` is told of each call of one of them that time is spent on.
    pub(crate) fn new(instances: usize, watch: fn(Work)) -> Self {
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
            watch,
        };
        for index in 0..instances {
            world.events.push_back((index, Event::DirectoryUp));
        }
        world.pass(Duration::from_secs(5));
        world
    }

    pub(crate) fn connect(&mut self, index: usize) {
        self.connect_as(index, user());
    }

    /// The same for another user.
    pub(crate) fn connect_as(&mut self, index: usize, user: UserId) {
        let handshake = Handshake::new(user);
        let (now, instance) = (self.now, &mut self.instances[index]);
        let taken = at_work(self.watch, || instance.accept(now, handshake));
        let connection = taken.expect("there is room");
        self.events.push_back((index, Event::Opened { connection }));
        self.settle();
    }

    /// Pushes to the user, so many at once. Returns how often that was written.
    pub(crate) fn push(&mut self, at_once: usize) -> usize {
        self.push_to(&Audience::User(user()), at_once)
    }

    /// The same for anybody.
    pub(crate) fn push_to(&mut self, to: &Audience, at_once: usize) -> usize {
        let payload = Payload::binary(vec![0; 100].into());
        self.act(to, &Action::Frame(payload), at_once)
    }

    /// The same for any action. Returns how many terminals, or users, are counted.
    pub(crate) fn act(&mut self, to: &Audience, action: &Action, at_once: usize) -> usize {
        self.written = 0;
        for _ in 0..at_once {
            self.pushes += 1;
            let push = Push {
                id: PushId::new(Uuid::from_u128(self.pushes)),
                to: to.clone(),
                action: action.clone(),
                deadline: Config::DEADLINE_MAX,
                durable: None,
                by: PushedBy::Application,
            };
            let call = CallId::new(self.pushes as u64);
            self.events.push_back((0, Event::Push { call, push }));
        }
        self.settle();
        self.written()
    }

    /// How often the last push is written.
    pub(crate) fn written(&self) -> usize {
        self.written
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, span: Duration) {
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
                let instance = &mut self.instances[index];
                at_work(self.watch, || {
                    instance.handle(self.now, event, &mut self.out);
                });
                self.execute(index);
            }
            let now = self.now.mono;
            let is_due =
                |instance: &Instance| instance.next_timeout().is_some_and(|(at, _)| at <= now);
            let Some(index) = self.instances.iter().position(is_due) else {
                return;
            };
            let instance = &mut self.instances[index];
            at_work(self.watch, || {
                instance.handle_timeout(self.now, &mut self.out);
            });
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

/// Has an instance work. Callgrind finds by this name what to count, so it stays a function of its own.
#[inline(never)]
fn at_work<T>(watch: fn(Work), work: impl FnOnce() -> T) -> T {
    watch(Work::Begins);
    let done = work();
    watch(Work::Ends);
    done
}

fn user() -> UserId {
    UserId::new("ann").expect("a user")
}
