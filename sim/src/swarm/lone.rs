//! Worlds in which one thing goes wrong, and nothing else that could cover for it: some terminals that stay where
//! they are, a single fault when all has been quiet for long, and pushes and questions from then on until
//! nothing of it can be left.

use std::time::Duration;
use switchboard_core::message::PushedBy;

use super::mask::Kind;
use super::{FAULTS, ScheduleMaker, USERS};
use crate::schedule::{
    Act, ClockStep, Durability, ErrorReply, Host, HowKilled, NewAddress, OperationKind, RedisAct,
    To, TripFault,
};

/// The fault happens after so many leases: nobody has only just started.
pub(super) const QUIET: u32 = 4;
/// Pushes come for so many leases from then on: longer than any cause and its doubt can last.
pub(super) const SHOWN: u32 = 5;
const PUSHES: u64 = 24;
const QUESTIONS: u64 = 8;

/// What can go wrong. One after the other, as often as each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LoneFault {
    /// A round trip that extends the lease.
    Renewal,
    /// One that takes a lease again, after a link that broke.
    Claim,
    /// One that reads the leases, or a user's rows, or that writes a row of a terminal that has just come.
    Trip,
    /// The directory refuses what one instance, or anybody, writes.
    Refusal,
    /// It cannot be reached from one instance.
    Away,
    /// It loses leases.
    Leases,
    /// Its clock jumps.
    Clock,
    /// An instance is told to end, and takes its time.
    Leave,
    /// Links break again and again, while a terminal at their end does not read.
    Breaks,
    /// Leases go, one of them for longer than the others.
    Absent,
    /// A failover loses a row, and its instance does not notice.
    Unnoticed,
    /// Any kind of fault.
    Any,
}

impl LoneFault {
    const ALL: [Self; 12] = [
        Self::Renewal,
        Self::Claim,
        Self::Trip,
        Self::Refusal,
        Self::Away,
        Self::Leases,
        Self::Clock,
        Self::Leave,
        Self::Breaks,
        Self::Absent,
        Self::Unnoticed,
        Self::Any,
    ];
}

impl ScheduleMaker {
    /// All of a world in which one thing goes wrong.
    pub(super) fn lone(&mut self) {
        let begin = self.lease * QUIET;
        let end = begin + self.lease * SHOWN;
        self.residents();
        let residents = self.items.len();
        self.lone_cause();
        let first = (self.items[residents..].iter()).map(|item| item.at).min();
        let first = first.unwrap_or(begin);
        for item in &mut self.items[residents..] {
            item.at = (begin + item.at.saturating_sub(first)).min(end);
        }
        self.newcomers(begin);
        for nth in 0..PUSHES {
            let at = self.moment(begin, end, "lone push", nth);
            let user = USERS[self.below(USERS.len() as u64, "to", nth) as usize];
            let to = match self.below(4, "audience", nth) {
                0 => To::Everyone,
                _ => To::User(user.to_owned()),
            };
            let (at_host, name) = (self.host("publisher", nth), format!("m{}", nth + 1));
            let push = Act::Push {
                at: at_host,
                to,
                name,
                durable: Durability::Plain,
                by: PushedBy::Application,
                within: None,
            };
            self.put(at, push);
        }
        for nth in 0..QUESTIONS {
            let at = self.moment(begin, end, "lone question", nth);
            let user = self.one_of(&USERS, "of whom", nth).to_owned();
            let host = self.host("asked", nth);
            self.put(at, Act::Where { at: host, user });
        }
        self.put(end, Act::Heal);
        self.put(end + self.lease * 3, Act::ExpectConverged);
    }

    /// Each instance has a terminal, and each user.
    pub(super) fn residents(&mut self) {
        for client in 0..self.clients {
            let at = self.moment(
                Duration::from_millis(100),
                Duration::from_millis(1500),
                "resident",
                client,
            );
            let connect = Act::Connect {
                client: self.client_name(client),
                at: Some(Host(client as usize % self.instances)),
                user: USERS[client as usize % USERS.len()].to_owned(),
                token: None,
            };
            self.put(at, connect);
        }
    }

    /// Somebody comes when it has just happened: his row may be what is missing.
    fn newcomers(&mut self, begin: Duration) {
        for nth in 0..self.below(3, "newcomers", 0) {
            let after = self.span(Duration::from_micros(10), self.lease, "newcomer", nth);
            let connect = Act::Connect {
                client: format!("n{}", nth + 1),
                at: Some(self.host("newcomer", nth)),
                user: self.one_of(&USERS, "newcomer", nth).to_owned(),
                token: None,
            };
            self.put(begin + after, connect);
        }
    }

    fn lone_cause(&mut self) {
        let host = self.host("lone", 0);
        let at = FAULTS.0;
        let until = self.span(Duration::from_millis(1), self.lease * 4, "lone", 0);
        match self.one_of(&LoneFault::ALL, "cause", 0) {
            LoneFault::Renewal => self.next_trip(at, host, OperationKind::Renew),
            LoneFault::Claim => {
                let span = Duration::from_millis(1);
                self.next_trip(at, host, OperationKind::Claim);
                self.put(at, Act::RedisAway { host, span });
            }
            LoneFault::Trip => {
                let kinds = [
                    OperationKind::View,
                    OperationKind::Lookup,
                    OperationKind::Register,
                ];
                let kind = self.one_of(&kinds, "lone operation", 0);
                self.next_trip(at, host, kind);
            }
            LoneFault::Refusal => {
                let error = self.one_of(&ErrorReply::OF_WRITES, "lone error", 0);
                let act = match self.below(2, "whose", 0) {
                    0 => Act::Redis(RedisAct::Refuse(error, until)),
                    _ => Act::RedisRefuses {
                        host,
                        error,
                        span: until,
                    },
                };
                self.put(at, act);
            }
            LoneFault::Away => self.put(at, Act::RedisAway { host, span: until }),
            LoneFault::Leases => {
                let act = self.leases_lost(until);
                self.put(at, Act::Redis(act));
            }
            LoneFault::Clock => {
                let step = match self.below(4, "step", 0) {
                    0 => ClockStep::Back(until),
                    _ => ClockStep::Forward(until),
                };
                self.put(at, Act::Redis(RedisAct::Clock(step)));
            }
            LoneFault::Leave => {
                let spread = self.span(Duration::from_millis(1), self.lease, "spread", 0);
                let (at, delay) = match self.below(2, "slow there", 0) {
                    0 => (self.slow_resident(at, host), Duration::ZERO),
                    _ => (at, until),
                };
                self.put(
                    at,
                    Act::Drain {
                        host,
                        delay,
                        spread,
                    },
                );
            }
            LoneFault::Breaks => self.breaks(at),
            LoneFault::Absent => self.absent(at),
            LoneFault::Unnoticed => self.unnoticed(at),
            LoneFault::Any => {
                let kind = self.one_of(&Kind::ALL, "single", 0);
                self.fault(kind, 0);
            }
        }
    }

    /// Somebody at an instance reads slowly, and much comes for him, some of it behind a batch that he reads. Returns when
    /// that has waited for a while.
    fn slow_resident(&mut self, at: Duration, host: Host) -> Duration {
        let number = host.0 as u64;
        let to = To::User(USERS[number as usize % USERS.len()].to_owned());
        let every = self.span(
            Duration::from_millis(400),
            Duration::from_millis(900),
            "slowly",
            0,
        );
        let client = self.client_name(number);
        self.put(at, Act::ReadSlowly { client, every });
        let many = 4 + self.below(3, "at once", 0);
        for nth in 0..many {
            let at = at + Duration::from_millis(5) * nth as u32;
            self.push_linking(at, host, to.clone(), &format!("s{nth}"));
        }
        let mut behind = at + every + Duration::from_millis(100);
        for nth in many..many + 2 + self.below(3, "behind", 0) {
            let (from, to_the) = (Duration::from_millis(1), Duration::from_millis(200));
            let next = self.span(from, to_the, "behind", nth);
            behind = self.later(behind, next, "behind", nth);
            self.push_linking(behind, host, to.clone(), &format!("s{nth}"));
        }
        let (from, to_the) = (Duration::from_millis(900), Duration::from_millis(2_500));
        behind + self.span(from, to_the, "waits", 0)
    }

    /// All leases go while an instance stands still, or has just ended, so that its own stays away; another one notices first
    /// that it has none itself, and later that this one is gone: a lease after the first nothing but the second is in
    /// doubt.
    fn absent(&mut self, at: Duration) {
        let (absent, reader) = (self.host("absent", 0), self.host("lone", 0));
        let span = self.lease * 3;
        self.put(at, Act::Pause { host: absent, span });
        let ahead = self.span(Duration::from_micros(100), self.lease / 3, "absent", 0);
        let at = at + ahead;
        self.put(at, Act::Redis(RedisAct::EvictLeases));
        for _ in 0..1 + self.below(3, "readings", 0) {
            let act = Act::NextTrip {
                host: reader,
                operation: OperationKind::View,
                fault: TripFault::RequestLost,
            };
            self.put(at, act);
        }
        for nth in 0..16 {
            let after = self.lease + self.lease * nth / 20;
            let to = To::User(self.one_of(&USERS, "absent", nth.into()).to_owned());
            self.push_linking(at + after, reader, to, &format!("v{nth}"));
        }
    }

    /// An instance comes, or all leases are claimed anew, and a terminal comes to it: then a failover loses that one's row,
    /// and its instance goes on with the former primary for a while, so that nothing tells the others but their own doubt.
    fn unnoticed(&mut self, at: Duration) {
        let host = self.host("unnoticed", 0);
        let reader = self.other_host(host, "unnoticed", 0);
        let (short, long) = (Duration::from_millis(10), self.lease / 20);
        let at = match self.below(2, "comes", 0) {
            0 => {
                let how = HowKilled::Reset;
                self.put(at, Act::Kill { host, how });
                let at = at + self.lease * 2;
                let address = NewAddress::Same;
                self.put(at, Act::Restart { host, address });
                at
            }
            _ => {
                self.put(at, Act::Redis(RedisAct::EvictLeases));
                at
            }
        };
        let comes = at + self.span(short, long, "comes", 1);
        let connect = Act::Connect {
            client: "u1".to_owned(),
            at: Some(host),
            user: USERS[3].to_owned(),
            token: None,
        };
        self.put(comes, connect);
        let after = self.span(short, long, "fails over", 0);
        let fails_over = comes + after;
        let failover = RedisAct::Failover {
            lost: after + short / 2,
            former: Some(self.lease / 2),
        };
        self.put(fails_over, Act::Redis(failover));
        for nth in 0..12 {
            let after = self.lease / 40 * nth;
            let to = To::User(USERS[3].to_owned());
            self.push_linking(fails_over + after, reader, to, &format!("u{nth}"));
        }
    }

    /// What is for a terminal that does not read is under way until its deadline. The client is the first one, at the
    /// first instance.
    fn breaks(&mut self, at: Duration) {
        let client = self.client_name(0);
        self.put(at, Act::StopReading { client });
        let (one, other) = (Host(0), Host(1));
        let mut at = at;
        for nth in 0..3 + self.below(6, "breaks", 0) {
            let to = To::User(USERS[0].to_owned());
            self.push_linking(at, other, to, &format!("b{nth}"));
            let after = self.span(
                Duration::from_millis(1),
                Duration::from_secs(1),
                "break",
                nth,
            );
            at = self.later(at, after, "break", nth);
            self.put(at, Act::Reset { one, other });
        }
    }

    fn leases_lost(&self, lost: Duration) -> RedisAct {
        match self.below(4, "lost", 0) {
            0 => RedisAct::RestartEmpty,
            1 | 2 => RedisAct::EvictLeases,
            _ => RedisAct::Failover { lost, former: None },
        }
    }

    fn next_trip(&mut self, at: Duration, host: Host, operation: OperationKind) {
        let error = self.one_of(&ErrorReply::ALL, "lone error", 0);
        let faults = [
            TripFault::RequestLost,
            TripFault::ReplyLost,
            TripFault::Late,
            TripFault::ReplyLate,
            TripFault::Torn,
            TripFault::Refused(error),
        ];
        let fault = self.one_of(&faults, "lone trip", 0);
        let act = Act::NextTrip {
            host,
            operation,
            fault,
        };
        self.put(at, act);
    }
}
