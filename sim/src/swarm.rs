//! Schedules from seeds.

use std::time::Duration;

use crate::noise::{Noise, Purpose};
use crate::report::Report;
use crate::schedule::{
    Act, ClockStep, ErrorReply, Host, HowClosed, HowKilled, Item, NewAddress, OperationKind,
    RedisAct, Schedule, To, TripFault,
};
use crate::trial::Trial;

/// Faults happen from the first of these moments to the second.
const FAULTS: (Duration, Duration) = (Duration::from_secs(4), Duration::from_secs(34));
/// Everything is well again.
const HEAL: Duration = Duration::from_secs(40);
/// The directory and the connections agree: terminals that went without a sign have been noticed.
const CONVERGED: Duration = Duration::from_secs(95);
/// Clients leave.
const LEAVE: Duration = Duration::from_secs(100);
/// Nothing is left.
const AT_REST: Duration = Duration::from_secs(106);
/// Things that are to happen together happen within a time between these: races of packets, and of
/// links that are opened anew.
const TOGETHER: (Duration, Duration) = (Duration::from_micros(10), Duration::from_millis(1500));

const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// Runs a schedule, watched by all of our checkers; a panic of the core is a violation.
pub fn run(schedule: &Schedule) -> Report {
    Trial::new().run(schedule)
}

/// Makes the schedule of a seed: connections, pushes and faults, then everything heals and must
/// converge. One seed in ten has no faults, one in ten a single one; in the others each kind of
/// fault is there with probability one half.
pub fn schedule(seed: u64) -> Schedule {
    let mut maker = Maker {
        noise: Noise::new(seed),
        items: Vec::new(),
        instances: 0,
        clients: 0,
    };
    maker.instances = 2 + maker.below(3, "instances", 0) as usize;
    maker.clients = 2 + maker.below(7, "clients", 0);
    maker.clients_come_and_go();
    match seed % 10 {
        0 => {}
        1 => {
            let kind = maker.below(KINDS.len() as u64, "single", 0) as usize;
            maker.fault(KINDS[kind], 0);
        }
        _ => maker.faults(),
    }
    maker.pushes();
    maker.end();
    maker.items.sort_by_key(|item| item.at);
    Schedule {
        seed,
        instances: maker.instances,
        lease: Duration::from_secs(if maker.below(3, "lease", 0) == 0 {
            4
        } else {
            10
        }),
        reconnect: None,
        items: maker.items,
    }
}

/// Kinds of faults, each a bit of the swarm mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Kill,
    Pause,
    Drain,
    RedisDown,
    RestartEmpty,
    Snapshot,
    Failover,
    FormerPrimary,
    Evict,
    RedisClock,
    FlushScripts,
    Refuse,
    RedisLatency,
    Trip,
    Cut,
    Reset,
    LinkLatency,
    SlowReader,
}

const KINDS: [Kind; 18] = [
    Kind::Kill,
    Kind::Pause,
    Kind::Drain,
    Kind::RedisDown,
    Kind::RestartEmpty,
    Kind::Snapshot,
    Kind::Failover,
    Kind::FormerPrimary,
    Kind::Evict,
    Kind::RedisClock,
    Kind::FlushScripts,
    Kind::Refuse,
    Kind::RedisLatency,
    Kind::Trip,
    Kind::Cut,
    Kind::Reset,
    Kind::LinkLatency,
    Kind::SlowReader,
];

struct Maker {
    noise: Noise,
    items: Vec<Item>,
    instances: usize,
    clients: u64,
}

impl Maker {
    fn below(&self, limit: u64, what: &str, nth: u64) -> u64 {
        let mut ids = [nth, 0];
        for byte in what.bytes() {
            ids[1] = ids[1].wrapping_mul(257).wrapping_add(byte.into());
        }
        self.noise.below(limit, Purpose::Generator, &ids)
    }

    /// A span from one to the other, each order of magnitude as likely as the next.
    fn span(&self, from: Duration, to: Duration, what: &str, nth: u64) -> Duration {
        let part = self.below(1 << 20, what, nth) as f64 / f64::from(1 << 20);
        let ratio = to.as_secs_f64() / from.as_secs_f64();
        let micros = from.as_secs_f64() * ratio.powf(part) * 1e6;
        Duration::from_micros(micros as u64)
    }

    fn moment(&self, from: Duration, to: Duration, what: &str, nth: u64) -> Duration {
        let micros = (to - from).as_micros() as u64;
        from + Duration::from_micros(self.below(micros, what, nth))
    }

    /// Near something that is in the schedule already, or anywhere.
    fn near(&self, from: Duration, to: Duration, what: &str, nth: u64) -> Duration {
        let anchors = self.items.len() as u64;
        if anchors == 0 || self.below(3, &format!("{what} alone"), nth) == 0 {
            return self.moment(from, to, what, nth);
        }
        let anchor = self.below(anchors, &format!("{what} anchor"), nth) as usize;
        let after = self.span(TOGETHER.0, TOGETHER.1, what, nth);
        (self.items[anchor].at + after).clamp(from, to)
    }

    fn host(&self, what: &str, nth: u64) -> Host {
        Host(self.below(self.instances as u64, what, nth) as usize)
    }

    fn put(&mut self, at: Duration, act: Act) {
        self.items.push(Item { at, act });
    }

    fn clients_come_and_go(&mut self) {
        for client in 0..self.clients {
            let times = 1 + self.below(4, "connects", client);
            for time in 0..times {
                let nth = client * 100 + time;
                let begin = if time == 0 {
                    Duration::from_secs(1)
                } else {
                    FAULTS.0
                };
                let end = if time == 0 { FAULTS.0 } else { FAULTS.1 };
                let at = self.moment(begin, end, "connect", nth);
                self.connect(at, client, nth);
                let how = match self.below(8, "how", nth) {
                    0 => HowClosed::Clean,
                    1 => HowClosed::Sudden,
                    2 => HowClosed::Silent,
                    _ => continue,
                };
                let stays = self.span(
                    Duration::from_millis(1),
                    Duration::from_secs(20),
                    "stays",
                    nth,
                );
                let client = format!("c{}", client + 1);
                self.put((at + stays).min(FAULTS.1), Act::Close { client, how });
            }
        }
    }

    fn connect(&mut self, at: Duration, client: u64, nth: u64) {
        let user = USERS[self.below(USERS.len() as u64, "user", client) as usize];
        let anywhere = self.below(2, "anywhere", nth) == 0;
        let host = self.host("at", nth);
        self.put(
            at,
            Act::Connect {
                client: format!("c{}", client + 1),
                at: (!anywhere).then_some(host),
                user: user.to_owned(),
                token: None,
            },
        );
    }

    fn faults(&mut self) {
        for (index, kind) in KINDS.into_iter().enumerate() {
            let index = index as u64;
            if self.below(2, "mask", index) == 0 {
                continue;
            }
            let count = self.span(
                Duration::from_secs(1),
                Duration::from_secs(5),
                "count",
                index,
            );
            for time in 0..count.as_secs() {
                self.fault(kind, index * 100 + time);
            }
        }
    }

    fn fault(&mut self, kind: Kind, nth: u64) {
        let at = self.near(FAULTS.0, FAULTS.1, "fault", nth);
        let ms = Duration::from_millis;
        let span = self.span(ms(50), ms(15_000), "span", nth);
        let host = self.host("host", nth);
        let next = 1 + self.below(self.instances as u64 - 1, "other", nth) as usize;
        let other = Host((host.0 + next) % self.instances);
        let until = (at + span).min(FAULTS.1);
        match kind {
            Kind::Kill => {
                let how = match self.below(3, "kill", nth) {
                    0 => HowKilled::Silent,
                    _ => HowKilled::Reset,
                };
                self.put(at, Act::Kill { host, how });
                let address = match self.below(4, "address", nth) {
                    0 => NewAddress::New,
                    1 => NewAddress::Of(other),
                    _ => NewAddress::Same,
                };
                self.put(until, Act::Restart { host, address });
            }
            Kind::Pause => self.put(at, Act::Pause { host, span }),
            Kind::Drain => self.put(
                at,
                Act::Drain {
                    host,
                    delay: self.span(ms(1), ms(500), "delay", nth),
                    spread: self.span(ms(1), ms(2000), "spread", nth),
                },
            ),
            Kind::RedisDown => {
                self.put(at, Act::Redis(RedisAct::Down));
                self.put(until, Act::Redis(RedisAct::Up));
            }
            Kind::RestartEmpty => self.put(at, Act::Redis(RedisAct::RestartEmpty)),
            Kind::Snapshot => {
                self.put(at, Act::Redis(RedisAct::Save));
                self.put(until, Act::Redis(RedisAct::Restart));
            }
            Kind::Failover => {
                let (lost, former) = (span, None);
                self.put(at, Act::Redis(RedisAct::Failover { lost, former }));
            }
            Kind::FormerPrimary => {
                let former = Some(until - at);
                let lost = self.span(ms(1), ms(5000), "lag", nth);
                self.put(at, Act::Redis(RedisAct::Failover { lost, former }));
            }
            Kind::Evict => {
                let act = match self.below(4, "evicted", nth) {
                    0 => RedisAct::EvictLeases,
                    user => RedisAct::EvictRows(USERS[user as usize].to_owned()),
                };
                self.put(at, Act::Redis(act));
            }
            Kind::RedisClock => {
                let step = match self.below(2, "step", nth) {
                    0 => ClockStep::Forward(span),
                    _ => ClockStep::Back(span),
                };
                self.put(at, Act::Redis(RedisAct::Clock(step)));
            }
            Kind::FlushScripts => self.put(at, Act::Redis(RedisAct::FlushScripts)),
            Kind::Refuse => {
                let error = self.error(nth);
                self.put(at, Act::Redis(RedisAct::Refuse(error, until - at)));
            }
            Kind::RedisLatency => {
                let latency = self.span(ms(1), ms(2000), "latency", nth);
                self.put(at, Act::Redis(RedisAct::Latency(latency)));
                self.put(until, Act::Redis(RedisAct::Latency(ms(1))));
            }
            Kind::Trip => {
                let (operation, fault) = self.trip(nth);
                self.put(
                    at,
                    Act::NextTrip {
                        host,
                        operation,
                        fault,
                    },
                );
            }
            Kind::Cut => {
                let both = self.below(2, "both", nth) == 0;
                let (from, to) = (host, other);
                self.put(at, Act::Cut { from, to, both });
            }
            Kind::Reset => self.put(at, Act::Reset { one: host, other }),
            Kind::LinkLatency => {
                let latency = self.span(ms(1), ms(1000), "latency", nth);
                self.put(at, Act::LinkLatency(latency));
                self.put(until, Act::LinkLatency(ms(1)));
            }
            Kind::SlowReader => {
                let client = format!("c{}", 1 + self.below(self.clients, "slow", nth));
                let reads = client.clone();
                self.put(at, Act::StopReading { client });
                self.put(until, Act::Read { client: reads });
            }
        }
    }

    fn error(&self, nth: u64) -> ErrorReply {
        let errors = ErrorReply::ALL;
        errors[self.below(errors.len() as u64, "error", nth) as usize]
    }

    fn trip(&self, nth: u64) -> (OperationKind, TripFault) {
        let operation = match self.below(10, "operation", nth) {
            0 => OperationKind::Any,
            1 | 2 => OperationKind::Register,
            3 | 4 => OperationKind::Unregister,
            5 => OperationKind::Lookup,
            6 => OperationKind::RemoveRow,
            7 => OperationKind::View,
            8 => OperationKind::Claim,
            _ => OperationKind::Renew,
        };
        let fault = match self.below(7, "trip", nth) {
            0 => TripFault::RequestLost,
            1 => TripFault::ReplyLost,
            2 => TripFault::Late,
            3 => TripFault::Torn,
            4 => TripFault::Stray,
            5 => TripFault::ReplyLate,
            _ => TripFault::Refused(self.error(nth)),
        };
        (operation, fault)
    }

    fn pushes(&mut self) {
        let pushes = 10 + self.below(50, "pushes", 0);
        for push in 0..pushes {
            let at = self.near(FAULTS.0, HEAL, "push", push);
            let host = self.host("publisher", push);
            self.push(at, host, push);
            if self.below(6, "repeat", push) == 0 {
                let host = self.host("repeats", push);
                let after = self.span(
                    Duration::from_micros(100),
                    Duration::from_secs(5),
                    "later",
                    push,
                );
                let name = format!("m{}", push + 1);
                self.put((at + after).min(HEAL), Act::Repeat { at: host, name });
            }
        }
    }

    fn push(&mut self, at: Duration, host: Host, nth: u64) {
        let user = match self.below(2, "latest", nth) {
            0 => self.latest_user(at),
            _ => None,
        };
        let user = user.unwrap_or(self.below(USERS.len() as u64, "to", nth) as usize);
        let to = match self.below(12, "audience", nth) {
            0 => To::Everyone,
            1 | 2 => To::Users(vec![
                USERS[user].to_owned(),
                USERS[(user + 1) % USERS.len()].to_owned(),
            ]),
            _ => To::User(USERS[user].to_owned()),
        };
        let name = format!("m{}", nth + 1);
        self.put(at, Act::Push { at: host, to, name });
    }

    /// Whose terminal connected last before this moment: its row is the youngest.
    fn latest_user(&self, at: Duration) -> Option<usize> {
        let connects = self.items.iter().filter(|item| item.at <= at);
        let (_, latest) = connects
            .filter_map(|item| match &item.act {
                Act::Connect { user, .. } => Some((item.at, user)),
                _ => None,
            })
            .max()?;
        USERS.iter().position(|user| user == latest)
    }

    fn end(&mut self) {
        self.put(HEAL, Act::Heal);
        for host in (0..self.instances).map(Host) {
            let address = NewAddress::Same;
            let at = HEAL + Duration::from_millis(500);
            self.put(at, Act::Restart { host, address });
        }
        for client in 0..self.clients.min(4) {
            let at = HEAL + Duration::from_secs(2);
            self.connect(at, client, 50 + client * 100);
        }
        self.put(CONVERGED, Act::ExpectConverged);
        for (index, user) in USERS.into_iter().enumerate() {
            for host in (0..self.instances).map(Host) {
                let at = CONVERGED + Duration::from_millis(100);
                let name = format!("last{}.{}", index + 1, host.0 + 1);
                let to = To::User(user.to_owned());
                self.put(at, Act::Push { at: host, to, name });
            }
        }
        self.put(LEAVE, Act::AllLeave);
        self.put(AT_REST, Act::ExpectAtRest);
    }
}
