//! Worlds in which one thing goes wrong, and nothing else that could cover for it: some terminals that stay where
//! they are, a single fault when all has been quiet for long, and pushes and questions from then on until
//! nothing of it can be left.

use std::time::Duration;
use switchboard_core::message::PushedBy;

use super::mask::Kind;
use super::{FAULTS, ScheduleMaker, USERS};
use crate::schedule::{
    Act, ClockStep, Durability, ErrorReply, Host, OperationKind, RedisAct, To, TripFault,
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
    /// Any kind of fault.
    Any,
}

impl LoneFault {
    const ALL: [Self; 9] = [
        Self::Renewal,
        Self::Claim,
        Self::Trip,
        Self::Refusal,
        Self::Away,
        Self::Leases,
        Self::Clock,
        Self::Leave,
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
                let delay = until;
                self.put(
                    at,
                    Act::Drain {
                        host,
                        delay,
                        spread,
                    },
                );
            }
            LoneFault::Any => {
                let kind = self.one_of(&Kind::ALL, "single", 0);
                self.fault(kind, 0);
            }
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
