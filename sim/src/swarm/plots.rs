//! Worlds with a plot: what a bug needs happens in any case, in its order. When it does, where, how often, and what else
//! fails meanwhile is free, so that most of these worlds miss the bug by a little. What takes more things that come
//! together than a free search of [few](super::few) finds is found here.

use std::time::Duration;
use switchboard_core::message::PushedBy;

use super::faults::ms;
use super::few::{FewFault, USER};
use super::heal::healing;
use super::topics::TOPICS;
use super::{POLICIES, ScheduleMaker, followers};
use crate::schedule::{
    Act, ClockStep, Durability, Host, HowClosed, LogSettings, OperationKind, RedisAct, Schedule,
    To, TopicAct, TripFault,
};

/// Nobody has just started: a lease, the longest deadline, and what was in doubt until then are over.
const QUIET: Duration = Duration::from_secs(50);
/// From the last fault until it must have been noticed what is missing, by those who doubt longest.
const NOTICED: Duration = Duration::from_secs(110);
/// The lease of these worlds.
const LEASE: Duration = Duration::from_secs(4);
/// Names of pushes that step equally far in a log: their ids are equal in the bits of which the step would be made, were it
/// made of the id.
const NAMES: [&str; 12] = [
    "p4", "p82", "p1090", "p2000", "p21335", "p26534", "p40382", "p41177", "p49879", "p55549",
    "p60392", "p62139",
];

/// What happens in such a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plot {
    /// The directory's clock is behind, a replica takes over that lacks the last records, and the log goes on from there,
    /// with pushes that were in it and with others, while a follower does not see it.
    Histories,
    /// A follower does not read while many records come, and none comes when it reads again.
    SlowReader,
    /// A record is appended late, while its publisher can tell nobody, at an instance that has just been in doubt.
    Floating,
    /// A watcher's instance hears nothing of that of other members for a while.
    Unheard,
}

impl ScheduleMaker {
    /// All of a world with a plot.
    pub(super) fn plotted(mut self, seed: u64, plot: Plot) -> Schedule {
        self.instances = 2 + usize::from(self.below(4, "plot instances", 0) == 0);
        self.clients = 1 + self.below(3, "plot clients", 0) / 2;
        self.lease = LEASE;
        match plot {
            Plot::Histories => self.histories_part(seed),
            Plot::SlowReader => self.does_not_read(seed),
            Plot::Floating => self.floats(seed),
            Plot::Unheard => self.hears_nothing(seed),
        }
    }

    fn histories_part(mut self, seed: u64) -> Schedule {
        for client in 0..self.clients {
            self.few_follows(client);
        }
        let mut names = NAMES.into_iter();
        let mut at = QUIET;
        let mut pushed = Vec::new();
        if let Some(first) = names.next() {
            self.pushes_durably(at, first, 0);
        }
        let back = self.span(ms(2_000), ms(60_000), "plot back", 0);
        at += self.span(ms(10), ms(1_500), "plot push", 0);
        self.put(at, Act::Redis(RedisAct::Clock(ClockStep::Back(back))));
        for nth in 1..=1 + self.below(3, "plot pushes", 0) {
            at += self.span(ms(10), ms(600), "plot push", nth);
            if let Some(name) = names.next() {
                self.pushes_durably(at, name, nth);
                pushed.push(name);
            }
        }
        let takes_over = at + self.span(ms(20), ms(600), "plot failover", 0);
        for client in 0..self.clients {
            self.looks_away((at, takes_over), client);
        }
        let failover = RedisAct::Failover {
            lost: self.span(ms(20), ms(1_500), "plot lost", 0),
            former: None,
        };
        self.put(takes_over, Act::Redis(failover));
        let mut at = takes_over;
        for nth in 10..10 + 1 + self.below(3, "plot goes on", 0) {
            at += self.span(ms(20), ms(1_500), "plot push", nth);
            if let Some(name) = names.next() {
                self.pushes_durably(at, name, nth);
            }
        }
        for (nth, name) in (0..).zip(pushed) {
            if self.below(2, "plot repeats", nth) == 0 {
                let after = self.span(ms(20), ms(4_000), "plot repeats", nth);
                let name = name.to_owned();
                let at = self.host("plot repeats", nth);
                self.put(takes_over + after, Act::Repeat { at, name });
            }
        }
        let check = Some(ms(2_000));
        self.ends_well(seed, at, false, check)
    }

    /// A follower is not told what becomes of the log for a while: it is away, or its instance cannot reach the directory.
    fn looks_away(&mut self, (from, until): (Duration, Duration), client: u64) {
        let at = self.moment(from, until, "plot away", client);
        let lasts = self.span(ms(500), ms(8_000), "plot away", client);
        match self.below(3, "plot looks away", client) {
            0 => {
                let host = self.host("few connects", client);
                self.put(at, Act::RedisAway { host, span: lasts });
            }
            1 => {
                let name = self.client_name(client);
                let how = HowClosed::Sudden;
                let connect = self.few_connects(name.clone(), client);
                self.put(at, Act::Close { client: name, how });
                self.put(at + lasts, connect);
            }
            _ => {}
        }
    }

    fn does_not_read(mut self, seed: u64) -> Schedule {
        for client in 0..self.clients {
            self.few_follows(client);
        }
        let mut at = QUIET;
        for client in 0..self.clients {
            let client = self.client_name(client);
            self.put(at, Act::StopReading { client });
        }
        for (nth, name) in (0..2 + self.count(10, "plot pushes", 0)).zip(NAMES) {
            at += self.span(ms(1), ms(400), "plot push", nth);
            self.pushes_durably(at, name, nth);
        }
        for client in 0..self.clients {
            let reads = at + self.span(ms(1), ms(4_000), "plot reads", client);
            let client = self.client_name(client);
            self.put(reads, Act::Read { client });
        }
        self.ends_well(seed, at + ms(4_000), true, Some(followers::NEVER))
    }

    fn floats(mut self, seed: u64) -> Schedule {
        self.lease = LEASE * 2;
        for client in 0..self.clients {
            self.few_follows(client);
        }
        for host in (0..self.instances).map(Host) {
            for other in (0..self.instances).map(Host).filter(|other| *other != host) {
                let (from, to, span) = (host, other, QUIET * 5);
                self.put(ms(500), Act::RefuseDials { from, to, span });
            }
        }
        let doubts = self.host("few connects", 0);
        let publisher = self.other_host(doubts, "plot publisher", 0);
        let (host, span) = (doubts, self.span(ms(10), ms(2_000), "plot away", 0));
        self.put(QUIET, Act::RedisAway { host, span });
        let at = QUIET + self.span(ms(100), ms(4_000), "plot push", 0);
        let fault = self.one_of(&[TripFault::Stray, TripFault::Late], "plot trip", 0);
        let act = Act::NextTrip {
            host: publisher,
            operation: OperationKind::Append,
            fault,
        };
        self.put(at, act);
        let push = Act::Push {
            at: publisher,
            to: To::User(USER.to_owned()),
            name: "m1".to_owned(),
            durable: Durability::Written,
            by: PushedBy::Application,
            within: None,
        };
        self.put(at + ms(1), push);
        let stops = self.span(ms(1), ms(50), "plot stops", 0);
        let pause = Act::Pause {
            host: publisher,
            span: self.span(ms(1_000), ms(8_000), "plot stops", 1),
        };
        self.put(at + stops, pause);
        self.put(at + NOTICED, Act::AllLeave);
        let log = LogSettings {
            check: Some(followers::NEVER),
            ..LogSettings::DEFAULT
        };
        self.made(seed, None, None, log)
    }

    fn hears_nothing(mut self, seed: u64) -> Schedule {
        self.clients = 2 + self.below(4, "plot members", 0);
        let topic = TOPICS[0].to_owned();
        for client in 0..self.clients {
            let name = self.client_name(client);
            let claim = TopicAct::Claim(vec![topic.clone()]);
            self.put(
                ms(500),
                Act::OfTopic {
                    client: name.clone(),
                    does: claim,
                },
            );
            let connect = Act::Connect {
                client: name.clone(),
                at: Some(self.host("plot connects", client)),
                user: self.user_of(client).to_owned(),
                token: None,
            };
            self.put(ms(1_000), connect);
            if self.below(2, "plot watches", client) == 0 {
                let does = TopicAct::Watch(topic.clone());
                self.put(ms(4_000), Act::OfTopic { client: name, does });
            }
        }
        let (from, to) = (Host(0), Host(1));
        let at = self.moment(ms(15_000), ms(30_000), "plot cut", 0);
        let lasts = self.span(ms(1_000), ms(15_000), "plot cut", 0);
        let both = self.below(3, "plot cut", 0) > 0;
        self.put(at, Act::Cut { from, to, both });
        self.ends_well(seed, at + lasts, false, None)
    }

    fn pushes_durably(&mut self, at: Duration, name: &str, nth: u64) {
        let push = Act::Push {
            at: self.host("plot publisher", nth),
            to: To::User(USER.to_owned()),
            name: name.to_owned(),
            durable: Durability::Written,
            by: PushedBy::Application,
            within: None,
        };
        self.put(at, push);
    }

    /// Perhaps something else fails. Then all heals, and what is missing has been noticed.
    fn ends_well(
        mut self,
        seed: u64,
        last: Duration,
        tight: bool,
        check: Option<Duration>,
    ) -> Schedule {
        for nth in 0..self.below(3, "plot faults", 0) / 2 {
            let at = self.moment(QUIET, last.max(QUIET), "plot fault", nth);
            let kind = self.one_of(&FewFault::ALL, "plot fault", nth);
            self.few_fails(at, kind, nth);
        }
        let heal = self.items.iter().map(|item| item.at).max();
        let heal = heal.unwrap_or(last).max(last) + self.span(ms(500), ms(8_000), "plot heal", 0);
        self.items.extend(healing(self.instances, heal));
        self.put(heal + NOTICED, Act::ExpectConverged);
        self.put(heal + NOTICED + ms(5_000), Act::AllLeave);
        let tight = tight.then(|| self.one_of(&POLICIES, "plot policy", 0));
        let log = LogSettings {
            check,
            ..LogSettings::DEFAULT
        };
        self.made(seed, None, tight, log)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::NAMES;
    use crate::vocabulary::push::id_of;

    #[test]
    fn pushes_of_these_names_step_equally_far() {
        let step = |name: &&str| id_of(name).uuid().as_u128() as u32 % 4096;
        let steps: BTreeSet<_> = NAMES.iter().map(step).collect();
        assert_eq!(steps.len(), 1);
        assert_eq!(BTreeSet::from(NAMES).len(), NAMES.len());
    }
}
