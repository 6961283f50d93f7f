//! Worlds in which few do little, and what logs rest on fails close to it: one or two followers of one log, a handful of
//! durable pushes, and some faults among them. What takes several things that come together is found here, where nothing
//! else covers for it.

use std::time::Duration;
use switchboard_core::message::PushedBy;

use super::faults::ms;
use super::heal::healing;
use super::{POLICIES, ScheduleMaker};
use crate::schedule::{
    Act, Brings, ClockStep, Durability, ErrorReply, Host, HowClosed, HowKilled, Item, LogSettings,
    NewAddress, OperationKind, RedisAct, Schedule, To, TripFault,
};

/// Nobody has just started: a lease, the longest deadline, and what was in doubt until then are over.
const QUIET: Duration = Duration::from_secs(50);
/// From the last push until everything is well again, at most.
const HEALED: Duration = Duration::from_secs(12);
/// From then on until it must have been noticed what is missing, by those who doubt longest.
const NOTICED: Duration = Duration::from_secs(110);
/// The lease of these worlds.
const LEASE: Duration = Duration::from_secs(4);
/// Whose log it is.
pub(super) const USER: &str = "alice";
/// Things that have to do with each other happen within a time between these.
const CLOSE: (Duration, Duration) = (Duration::from_micros(100), Duration::from_millis(3000));

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FewFault {
    /// The directory's clock goes back.
    ClockBack,
    /// A replica takes over, perhaps while the former primary still answers some.
    Failover,
    /// The directory cannot be reached from one instance.
    Away,
    /// A round trip of a follower's instance, or of a publisher's.
    Trip,
    /// What one instance sends another waits, and is lost with its link.
    CutAndReset,
    /// An instance cannot be dialled.
    RefusedDials,
    /// An instance is gone, and nobody is told.
    Death,
    /// A follower does not read for a while.
    SlowReader,
    /// A follower comes back, perhaps elsewhere, perhaps when its row cannot be written.
    Return,
    /// An instance stands still.
    Pause,
}

impl FewFault {
    pub(super) const ALL: [Self; 10] = [
        Self::ClockBack,
        Self::Failover,
        Self::Away,
        Self::Trip,
        Self::CutAndReset,
        Self::RefusedDials,
        Self::Death,
        Self::SlowReader,
        Self::Return,
        Self::Pause,
    ];
}

impl ScheduleMaker {
    /// All of a world in which few do little.
    pub(super) fn few(mut self, seed: u64, check: Option<Duration>) -> Schedule {
        self.instances = 2 + self.below(4, "few instances", 0) as usize / 3;
        self.clients = 1 + self.below(3, "few clients", 0) / 2;
        self.lease = LEASE;
        for client in 0..self.clients {
            self.few_follows(client);
        }
        let mut pushes = Vec::new();
        let mut at = QUIET + self.span(CLOSE.0, CLOSE.1, "few begin", 0);
        for nth in 0..2 + self.count(8, "few pushes", 0) {
            self.few_pushes(at, nth);
            pushes.push(at);
            at += self.span(CLOSE.0, CLOSE.1, "few push", nth);
        }
        let first = self.items.len();
        for nth in 0..1 + self.count(4, "few faults", 0) {
            let anchor = pushes[self.below(pushes.len() as u64, "few anchor", nth) as usize];
            let apart = self.span(CLOSE.0, CLOSE.1, "few apart", nth);
            let at = match self.below(3, "few before", nth) {
                0 => anchor + apart,
                _ => anchor.saturating_sub(apart),
            };
            let kind = self.one_of(&FewFault::ALL, "few fault", nth);
            self.few_fails(at, kind, nth);
        }
        let last = self.items[first..].iter().map(|item| item.at).max();
        let heal = last.unwrap_or(at).max(at) + self.span(ms(500), HEALED, "few heal", 0);
        self.items.extend(healing(self.instances, heal));
        self.put(heal + NOTICED, Act::ExpectConverged);
        self.put(heal + NOTICED + ms(5_000), Act::AllLeave);
        let tight =
            (self.below(3, "few tight", 0) == 0).then(|| self.one_of(&POLICIES, "few policy", 0));
        let log = LogSettings {
            check,
            ..LogSettings::DEFAULT
        };
        self.made(seed, None, tight, log)
    }

    pub(super) fn few_follows(&mut self, client: u64) {
        let name = self.client_name(client);
        let brings = match self.below(3, "few brings", client) {
            0 => Brings::Offset,
            _ => Brings::Positions(self.one_of(&[1, 3, 16], "few brings", client)),
        };
        let follow = Act::Follow {
            client: name.clone(),
            history: 0,
            brings,
        };
        self.put(ms(1_000), follow);
        self.put(ms(2_000), self.few_connects(name, client));
    }

    pub(super) fn few_connects(&self, client: String, nth: u64) -> Act {
        Act::Connect {
            client,
            at: Some(self.host("few connects", nth)),
            user: USER.to_owned(),
            token: None,
        }
    }

    fn few_pushes(&mut self, at: Duration, nth: u64) {
        let name = format!("m{}", nth + 1);
        let push = Act::Push {
            at: self.host("few publisher", nth),
            to: To::User(USER.to_owned()),
            name: name.clone(),
            durable: Durability::Written,
            by: PushedBy::Application,
            within: None,
        };
        self.put(at, push);
        if self.below(4, "few repeats", nth) == 0 {
            let after = self.span(CLOSE.0, CLOSE.1, "few repeats", nth);
            let at_host = self.host("few repeats", nth);
            self.put(at + after, Act::Repeat { at: at_host, name });
        }
    }

    pub(super) fn few_fails(&mut self, at: Duration, kind: FewFault, nth: u64) {
        let host = self.host("few host", nth);
        let other = self.other_host(host, "few other", nth);
        let lasts = self.span(ms(10), ms(6_000), "few lasts", nth);
        let (_, client) = self.client("few client", nth);
        match kind {
            FewFault::ClockBack => {
                self.put(at, Act::Redis(RedisAct::Clock(ClockStep::Back(lasts))));
            }
            FewFault::Failover => {
                let failover = RedisAct::Failover {
                    lost: self.span(ms(1), ms(2_000), "few lost", nth),
                    former: (self.below(2, "few former", nth) == 0).then_some(lasts),
                };
                self.put(at, Act::Redis(failover));
            }
            FewFault::Away => self.put(at, Act::RedisAway { host, span: lasts }),
            FewFault::Trip => self.few_trip_fails(at, host, nth),
            FewFault::CutAndReset => {
                let (from, to) = (host, other);
                self.put(
                    at,
                    Act::Cut {
                        from,
                        to,
                        both: false,
                    },
                );
                let (one, other) = (host, other);
                self.put(at + lasts, Act::Reset { one, other });
            }
            FewFault::RefusedDials => {
                let (from, to, span) = (host, other, lasts * 10);
                self.put(at, Act::RefuseDials { from, to, span });
            }
            FewFault::Death => {
                let how = HowKilled::Silent;
                self.put(at, Act::Kill { host, how });
                let address = NewAddress::Same;
                self.put(at + lasts, Act::Restart { host, address });
            }
            FewFault::SlowReader => {
                let reads = Act::Read {
                    client: client.clone(),
                };
                self.put(at, Act::StopReading { client });
                self.put(at + lasts, reads);
            }
            FewFault::Return => self.few_returns(at, client, nth),
            FewFault::Pause => self.put(at, Act::Pause { host, span: lasts }),
        }
    }

    fn few_trip_fails(&mut self, at: Duration, host: Host, nth: u64) {
        let kinds = [
            OperationKind::Append,
            OperationKind::ReadLog,
            OperationKind::Register,
        ];
        let faults = [
            TripFault::RequestLost,
            TripFault::ReplyLost,
            TripFault::Late,
            TripFault::Stray,
            TripFault::Refused(ErrorReply::OutOfMemory),
        ];
        let act = Act::NextTrip {
            host,
            operation: self.one_of(&kinds, "few operation", nth),
            fault: self.one_of(&faults, "few trip", nth),
        };
        self.put(at, act);
    }

    fn few_returns(&mut self, at: Duration, client: String, nth: u64) {
        let how = self.one_of(&[HowClosed::Clean, HowClosed::Sudden], "few closes", nth);
        let close = Act::Close {
            client: client.clone(),
            how,
        };
        self.put(at, close);
        let back = at + self.span(CLOSE.0, CLOSE.1, "few back", nth);
        let connect = self.few_connects(client, 100 + nth);
        if let (Act::Connect { at: Some(host), .. }, 0) = (&connect, self.below(2, "few row", nth))
        {
            let act = Act::NextTrip {
                host: *host,
                operation: OperationKind::Register,
                fault: TripFault::Refused(ErrorReply::OutOfMemory),
            };
            self.items.push(Item {
                at: back.saturating_sub(ms(1)),
                act,
            });
        }
        self.put(back, connect);
    }
}
