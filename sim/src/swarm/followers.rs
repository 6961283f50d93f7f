//! Clients that follow their logs, and durable pushes: in some schedules, on top of all else.

use std::collections::BTreeSet;
use std::time::Duration;

use switchboard_core::message::PushedBy;

use super::faults::ms;
use super::topics::TOPICS;
use super::{FAULTS, Focus, HEAL, ScheduleMaker, USERS};
use crate::schedule::{
    Act, Brings, ClockStep, Durability, ErrorReply, Item, LogOf, LogSettings, OperationKind,
    RedisAct, To, TripFault,
};

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
/// Requests about logs of which an instance asks the directory at a time.
const AT_A_TIME: u64 = 16;
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
        self.crowds_follow();
        for time in 0..self.below(4, "forgets", 0) {
            let (_, client) = self.client("forgets", time);
            let positions = self.count(4, "forgets", time) as u32;
            let at = self.near(FAULTS.0, FAULTS.1, "forgets", time);
            self.put(at, Act::Forget { client, positions });
        }
    }

    /// In half of the schedules with a user who has many terminals these follow as well: so many that not each reads by itself.
    fn crowds_follow(&mut self) {
        if self.below(2, "crowd follows", 0) == 0 {
            return;
        }
        let of_crowd = |item: &Item| match &item.act {
            Act::Connect { client, .. } if client.starts_with('x') => Some(client.clone()),
            _ => None,
        };
        let crowd: BTreeSet<_> = self.items.iter().filter_map(of_crowd).collect();
        for client in crowd {
            let act = Act::Follow {
                client,
                history: 0,
                brings: Brings::Positions(1),
            };
            self.put(BEGIN, act);
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
        if self.below(4, "reads many", 0) == 0 {
            self.reads_at_once(topics);
        }
    }

    /// More logs are read at once than the directory is asked for at a time.
    fn reads_at_once(&mut self, topics: bool) {
        let at = self.near(FAULTS.0, HEAL, "reads many", 0);
        let host = self.host("reads many", 0);
        for time in 0..AT_A_TIME + self.count(AT_A_TIME, "reads many", 0) {
            let of = self.log_of(topics, "reads many", time);
            self.put(at, Act::ReadLog { at: host, of });
        }
    }

    /// An append is executed, and nobody learns that; asked for again, it is refused.
    pub(super) fn doubtful_appends(&mut self) {
        for time in 0..self.below(2, "doubtful", 0) {
            let at = self.near(FAULTS.0, FAULTS.1, "doubtful", time);
            let host = self.host("doubtful", time);
            let error = self.one_of(
                &[
                    ErrorReply::OutOfMemory,
                    ErrorReply::NoReplicas,
                    ErrorReply::Misconfigured,
                ],
                "doubtful",
                time,
            );
            let operation = OperationKind::Append;
            for (after, fault) in [
                (ms(0), TripFault::ReplyLost),
                (ms(500), TripFault::Refused(error)),
            ] {
                let act = Act::NextTrip {
                    host,
                    operation,
                    fault,
                };
                self.put(at + after, act);
            }
            let user = self.user(self.one_of(&USERS, "doubtful", time), "doubtful", time);
            let push = Act::Push {
                at: host,
                to: To::User(user.to_owned()),
                name: format!("da{time}"),
                durable: Durability::Written,
                by: PushedBy::Application,
                within: None,
            };
            self.put(at + ms(1), push);
        }
    }

    /// The directory says of replicas what it knows when nobody waits for it any more.
    pub(super) fn late_replicas(&mut self) {
        for time in 0..self.below(3, "late replica", 0) {
            let at = self.near(FAULTS.0, FAULTS.1, "late replica", time);
            let host = self.host("late replica", time);
            let fault = self.one_of(
                &[TripFault::Late, TripFault::ReplyLate, TripFault::ReplyLost],
                "late replica",
                time,
            );
            let operation = OperationKind::Confirm;
            self.put(
                at,
                Act::NextTrip {
                    host,
                    operation,
                    fault,
                },
            );
            let own = self.one_of(&USERS, "late replica", time);
            let user = self.user(own, "late replica", time).to_owned();
            for (nth, within) in [(0, Some(ms(900))), (1, None)] {
                let push = Act::Push {
                    at: host,
                    to: To::User(user.clone()),
                    name: format!("lr{}", time * 2 + nth),
                    durable: Durability::Replicated,
                    by: PushedBy::Application,
                    within,
                };
                let after = ms(1) + ms(1_500 * nth);
                self.put(at + after, push);
            }
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
