//! Clients that follow their logs, and durable pushes: in some schedules, on top of all else.

use std::time::Duration;

use super::faults::ms;
use super::topics::TOPICS;
use super::{FAULTS, Focus, HEAL, ScheduleMaker, USERS};
use crate::schedule::{Act, Brings, ClockStep, Durability, LogOf, LogSettings, RedisAct, To};

/// Clients begin to follow before the first of them connects.
const BEGIN: Duration = Duration::from_millis(500);
/// In one schedule of so many clients follow.
const ONE_IN: u64 = 3;
/// Of three pushes that can be durable so many are.
const DURABLE: u64 = 2;
/// Of so many durable ones one waits for confirmations.
const CONFIRMED: u64 = 3;
/// Of so many others one waits for a replica.
const REPLICATED: u64 = 4;
/// A check that comes after all else: nothing of it is seen.
pub(super) const NEVER: Duration = Duration::from_secs(3600);

impl ScheduleMaker {
    /// Whether any client follows.
    pub(super) fn is_followed(&self, focus: Focus) -> bool {
        match focus {
            Focus::Anything | Focus::Topics => self.below(ONE_IN, "followed", 0) == 0,
            Focus::Logs => true,
        }
    }

    /// Makes followers of some clients.
    pub(super) fn followers(&mut self) {
        for client in 0..self.clients {
            if self.below(4, "follows", client) == 0 {
                continue;
            }
            let act = Act::Follow {
                client: self.client_name(client),
                history: self.one_of(&[0, 0, 2, 5], "history", client),
                brings: self.brings(client),
            };
            self.put(BEGIN, act);
        }
        for time in 0..self.below(4, "forgets", 0) {
            let (_, client) = self.client("forgets", time);
            let positions = self.count(4, "forgets", time) as u32;
            let at = self.near(FAULTS.0, FAULTS.1, "forgets", time);
            self.put(at, Act::Forget { client, positions });
        }
    }

    /// One in eight clients keeps offsets alone.
    fn brings(&self, client: u64) -> Brings {
        if self.below(8, "offset alone", client) == 0 {
            return Brings::Offset;
        }
        Brings::Positions(self.one_of(&[1, 1, 3, 16], "brings", client))
    }

    /// Clients confirm what they hold, and applications read logs.
    pub(super) fn confirmations(&mut self, topics: bool) {
        for time in 0..self.below(60, "confirms", 0) {
            let (_, client) = self.client("confirms", time);
            let nth = self.one_of(&[1, 1, 1, 2, 5], "confirms", time);
            let at = self.near(FAULTS.0, HEAL, "confirms", time);
            self.put(at, Act::Confirm { client, nth });
        }
        for time in 0..self.below(8, "reads", 0) {
            let of = self.log_of(topics, "reads", time);
            let at = self.host("reads", time);
            let moment = self.near(FAULTS.0, HEAL, "reads", time);
            self.put(moment, Act::ReadLog { at, of });
        }
    }

    /// In one of three schedules applications have logs deleted.
    pub(super) fn deletions(&mut self, topics: bool) {
        if self.below(3, "deletes", 0) > 0 {
            return;
        }
        for time in 0..self.count(4, "deletes", 0) {
            let of = self.log_of(topics, "deletes", time);
            let at = self.host("deletes", time);
            let moment = self.near(FAULTS.0, HEAL, "deletes", time);
            self.put(moment, Act::DeleteLog { at, of });
        }
    }

    /// A log is lost, or has two histories for a while.
    pub(super) fn faults_of_logs(&mut self, topics: bool) {
        if self.below(4, "log evicted", 0) == 0 {
            let of = self.log_of(topics, "log evicted", 0);
            let at = self.near(FAULTS.0, HEAL, "log evicted", 0);
            self.put(at, Act::Redis(RedisAct::EvictLog(of)));
        }
        if self.below(3, "history", 0) == 0 {
            self.histories(topics);
        }
    }

    /// Makes durable ones of some pushes. Returns what is kept of them.
    pub(super) fn durable_pushes(&mut self) -> LogSettings {
        let mut items = std::mem::take(&mut self.items);
        for (nth, item) in (0..).zip(&mut items) {
            self.make_durable(&mut item.act, nth);
        }
        self.items = items;
        LogSettings {
            records: self.one_of(&[None, Some(1), Some(2), Some(4), Some(8)], "log", 0),
            age: self.one_of(&[None, None, Some(ms(5_000)), Some(ms(20_000))], "log", 1),
            check: self.one_of(&[Some(ms(2_000)), Some(ms(10_000)), Some(NEVER)], "log", 2),
        }
    }

    /// The log of a user, or of a topic if there are any.
    fn log_of(&self, topics: bool, what: &str, nth: u64) -> LogOf {
        match topics && self.below(2, &format!("{what} of topic"), nth) == 0 {
            true => LogOf::Topic(self.one_of(&TOPICS, what, nth).to_owned()),
            false => LogOf::User(self.one_of(&USERS, what, nth).to_owned()),
        }
    }

    /// Two histories of a log go on for a while, perhaps with a clock that is behind: it is pushed to everywhere
    /// while a replica takes over that lacks the last of it, and the former primary still answers some.
    fn histories(&mut self, topics: bool) {
        let at = self.moment(FAULTS.0, FAULTS.1, "histories", 0);
        let to = match topics && self.below(2, "histories of topic", 0) == 0 {
            true => To::Topics {
                topics: vec![self.one_of(&TOPICS, "histories", 0).to_owned()],
                except: None,
            },
            false => {
                let (client, _) = self.client("histories", 0);
                To::User(self.user_of(client).to_owned())
            }
        };
        if self.below(2, "clock behind", 0) == 0 {
            let back = self.span(ms(100), ms(10_000), "clock behind", 0);
            self.put(at, Act::Redis(RedisAct::Clock(ClockStep::Back(back))));
        }
        let first = self.span(ms(1), ms(2_000), "history", 1);
        let lost = self.span(ms(1), ms(4_000), "history", 2);
        let former = self.span(ms(10), ms(4_000), "history", 3);
        let former = (self.below(4, "former", 0) > 0).then_some(former);
        let failover = RedisAct::Failover { lost, former };
        self.put(at + first, Act::Redis(failover));
        let mut next = at;
        for push in 0..4 + self.count(16, "histories", 0) {
            next += self.span(Duration::from_micros(100), ms(1_500), "histories", push);
            let host = self.host("histories", push);
            let name = format!("h{push}");
            self.push_at(next, host, to.clone(), name.clone());
            if self.below(4, "again", push) == 0 {
                let after = self.span(ms(1), ms(2_000), "again", push);
                let at = self.host("again", push);
                self.put(next + after, Act::Repeat { at, name });
            }
        }
    }

    fn make_durable(&self, act: &mut Act, nth: u64) {
        match act {
            Act::Push { to, durable, .. } if can_be_durable(to) => {
                *durable = match self.below(3, "durable", nth) < DURABLE {
                    true if self.below(CONFIRMED, "confirmed", nth) == 0 => Durability::Confirmed,
                    true if self.below(REPLICATED, "replicated", nth) == 0 => {
                        Durability::Replicated
                    }
                    true => Durability::Written,
                    false => Durability::Plain,
                }
            }
            Act::On { act, .. } => self.make_durable(act, nth),
            _ => {}
        }
    }
}

/// Whether a push to these is kept in logs, if it is durable.
fn can_be_durable(to: &To) -> bool {
    match to {
        To::User(_) | To::Users(_) | To::Topics { .. } => true,
        To::Everyone => false,
    }
}
