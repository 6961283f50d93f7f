//! The way between an instance and the directory.

use std::collections::BTreeMap;
use std::time::Duration;

use switchboard_core::command::RoundTrip;
use switchboard_core::directory::Outcome;
use switchboard_core::directory::redis::Value;
use switchboard_core::event::Event;
use switchboard_core::id::OpId;
use switchboard_core::time::Instant;

use crate::ledger::{FaultKind, Scope};
use crate::noise::Purpose;
use crate::observed::Life;
use crate::queue::{Happening, Input};
use crate::redis::kind;
use crate::schedule::{OperationKind, TripFault};
use crate::world::World;

/// An instance's end of it.
#[derive(Clone, Debug)]
pub(crate) struct DirectoryLink {
    pub(crate) up: bool,
    /// What will happen to the next round trip that holds such an operation.
    pub(crate) faults: Vec<(OperationKind, TripFault)>,
    number: u32,
    tries: u64,
    trips: u64,
    marks: BTreeMap<OpId, TripFault>,
    /// Nothing reaches the directory before this moment, nothing comes back before that.
    there: Instant,
    back: Instant,
}

impl Default for DirectoryLink {
    fn default() -> Self {
        Self {
            up: false,
            faults: Vec::new(),
            number: 0,
            tries: 0,
            trips: 0,
            marks: BTreeMap::new(),
            there: Instant::START,
            back: Instant::START,
        }
    }
}

/// The pause before a link is opened again, and as much again of jitter.
const RECONNECT: Duration = Duration::from_millis(100);
/// How long after a link broke its requests may still be executed.
const STRAY: Duration = Duration::from_secs(3);

impl World {
    pub(crate) fn open_directory(&mut self, life: Life) {
        if !self.lives(life) || self.processes[life.host].directory.up {
            return;
        }
        let link = &mut self.processes[life.host].directory;
        link.tries += 1;
        if !self.redis.serves {
            let ids = [life.host as u64, life.number.into(), link.tries];
            let wait = RECONNECT + self.noise.span(RECONNECT, Purpose::Reconnect, &ids);
            self.queue
                .put(self.now + wait, Happening::OpenDirectory(life));
            return;
        }
        link.up = true;
        link.number += 1;
        link.there = self.now;
        link.back = self.now;
        let ids = [life.host as u64, life.number.into(), link.trips];
        let way = self.noise.way(self.redis.latency, Purpose::Reply, &ids);
        self.tell(life, way, Event::DirectoryUp);
        self.processes[life.host].directory.there = self.now + way;
    }

    pub(crate) fn break_directory(&mut self, host: usize) {
        let life = self.life(host);
        let link = &mut self.processes[host].directory;
        if !std::mem::take(&mut link.up) {
            return;
        }
        link.tries += 1;
        let ids = [host as u64, life.number.into(), link.tries];
        let wait = RECONNECT + self.noise.span(RECONNECT, Purpose::Reconnect, &ids);
        self.input(life, Input::Event(Event::DirectoryDown));
        self.queue
            .put(self.now + wait, Happening::OpenDirectory(life));
    }

    pub(crate) fn send_trip(&mut self, life: Life, trip: Box<RoundTrip>) {
        let link = &mut self.processes[life.host].directory;
        if !link.up {
            // The instance will be told that the link is gone, or has been.
            return;
        }
        link.trips += 1;
        let ids = [life.host as u64, life.number.into(), link.trips];
        let way = self.noise.way(self.redis.latency, Purpose::Request, &ids);
        let mut at = (self.now + way).max(link.there);
        let number = link.number;
        let planned = link.faults.iter().position(|(wanted, _)| {
            *wanted == OperationKind::Any
                || (trip.operations.iter()).any(|operation| kind(operation) == *wanted)
        });
        let fault = planned.map(|index| link.faults.remove(index).1);
        if let Some(fault) = fault {
            link.marks.insert(trip.op, fault);
            let scope = Scope::Instance(life.host);
            self.fault(FaultKind::RedisTrip, scope, self.now + STRAY);
        }
        match fault {
            None | Some(TripFault::ReplyLost | TripFault::Torn | TripFault::Refused(_)) => {}
            Some(TripFault::RequestLost) => return,
            Some(TripFault::Late) => at = at + self.config.directory_timeout * 3 / 2,
            Some(TripFault::Stray) => {
                at = self.now + self.noise.span(STRAY, Purpose::Stray, &ids);
                self.break_directory(life.host);
            }
        }
        if fault != Some(TripFault::Stray) {
            self.processes[life.host].directory.there = at;
        }
        self.queue.put(
            at,
            Happening::Request {
                life,
                link: number,
                trip,
            },
        );
    }

    pub(crate) fn request(&mut self, life: Life, number: u32, trip: &RoundTrip) {
        let lives = self.lives(life);
        let link = &mut self.processes[life.host].directory;
        let mark = if lives {
            link.marks.remove(&trip.op)
        } else {
            None
        };
        let present = lives && link.up && link.number == number;
        let stray = mark == Some(TripFault::Stray);
        // What a process sent before it ended is executed all the same.
        if !self.redis.serves || (lives && !present && !stray) {
            return;
        }
        let mut count = trip.operations.len();
        let ids = [life.host as u64, life.number.into(), trip.op.get()];
        if mark == Some(TripFault::Torn) {
            count = self.noise.below(count as u64, Purpose::Tear, &ids) as usize;
        }
        let mut outcomes = Vec::with_capacity(count);
        for operation in &trip.operations[..count] {
            outcomes.push(match mark {
                Some(TripFault::Refused(error)) => {
                    operation.decode(Value::Error(error.text().to_owned()))
                }
                _ => self.execute_operation(life, operation),
            });
        }
        match mark {
            Some(TripFault::Torn) => self.break_directory(life.host),
            Some(TripFault::ReplyLost | TripFault::Stray) => {}
            _ if present => {
                let way = self.noise.way(self.redis.latency, Purpose::Reply, &ids);
                let link = &mut self.processes[life.host].directory;
                let at = (self.now + way).max(link.back);
                link.back = at;
                let op = trip.op;
                self.queue.put(
                    at,
                    Happening::Reply {
                        life,
                        link: number,
                        op,
                        outcomes,
                    },
                );
            }
            _ => {}
        }
    }

    pub(crate) fn reply(&mut self, life: Life, number: u32, op: OpId, outcomes: Vec<Outcome>) {
        let link = &self.processes[life.host].directory;
        if self.lives(life) && link.up && link.number == number {
            let outcomes = Ok(outcomes);
            self.input(life, Input::Event(Event::Directory { op, outcomes }));
        }
    }
}
