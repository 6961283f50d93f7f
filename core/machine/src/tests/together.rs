//! Several instances with random connects, disconnects, pushes, cut links and outages, while what
//! is on the way overtakes itself.

#![expect(
    clippy::disallowed_types,
    reason = "the macro that chooses among strategies shares them"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::outcomes;
use crate::config::Config;
use crate::event::{Closure, Event};
use crate::id::{CallId, ConnectionId, ConnectionKey};
use crate::message::Outcome;
use crate::testing::cluster::{Cluster, Server, frame, user};

#[derive(Clone, Debug)]
enum Act {
    Connect { at: usize, user: usize },
    Disconnect { which: usize },
    Push { at: usize, user: usize },
    Repeat { at: usize, which: usize },
    Cut { one: usize, other: usize },
    Outage { millis: u32 },
    Wait { millis: u32 },
    Steps { count: usize },
}

const USERS: [&str; 3] = ["ann", "bob", "eve"];

/// A push that was handed in.
#[derive(Clone, Debug)]
struct Published {
    at: usize,
    user: usize,
    call: CallId,
    number: usize,
}

#[derive(Debug, Default)]
struct Story {
    /// Terminals that have not gone, and those that have.
    terminals: Vec<(usize, ConnectionKey, ConnectionId, usize)>,
    owners: BTreeMap<ConnectionId, usize>,
    published: Vec<Published>,
    repeats: Vec<Published>,
}

impl Story {
    fn publish(
        &mut self,
        cluster: &mut Cluster,
        at: usize,
        user: usize,
        number: usize,
    ) -> Published {
        let name = USERS[user];
        let call = cluster.hand_in(
            at,
            frame(self::user(name), &number.to_string(), number as u128),
        );
        Published {
            at,
            user,
            call,
            number,
        }
    }

    fn act(&mut self, cluster: &mut Cluster, act: &Act) {
        let instances = cluster.instances.len();
        match act {
            Act::Connect { at, user } => {
                let at = at % instances;
                if !cluster.instances[at].drain_state().takes_terminals() {
                    return;
                }
                let (key, id) = cluster.connect_on_the_way(at, USERS[*user]);
                self.terminals.push((at, key, id, *user));
                self.owners.insert(id, *user);
            }
            Act::Disconnect { which } if !self.terminals.is_empty() => {
                let which = which % self.terminals.len();
                let (at, connection, ..) = self.terminals.remove(which);
                let closure = Closure::Abrupt;
                cluster.enqueue(
                    at,
                    Event::Closed {
                        connection,
                        closure,
                    },
                );
            }
            Act::Push { at, user } => {
                let number = self.published.len() + 1;
                let push = self.publish(cluster, at % instances, *user, number);
                self.published.push(push);
            }
            Act::Repeat { at, which } if !self.published.is_empty() => {
                let first = self.published[which % self.published.len()].clone();
                let push = self.publish(cluster, at % instances, first.user, first.number);
                self.repeats.push(push);
            }
            Act::Disconnect { .. } | Act::Repeat { .. } => {}
            Act::Cut { one, other } => cluster.cut(one % instances, other % instances),
            Act::Outage { millis } => {
                cluster.server = Server::Away;
                cluster.pass(Duration::from_millis((*millis).into()));
                cluster.server = Server::Answers;
            }
            Act::Wait { millis } => cluster.pass(Duration::from_millis((*millis).into())),
            Act::Steps { count } => {
                for _ in 0..*count {
                    cluster.step();
                }
            }
        }
    }

    /// Nobody gets what is not for them, or anything twice.
    fn check_frames(&self, cluster: &Cluster) {
        for (id, owner) in &self.owners {
            let texts = cluster.texts(*id);
            let distinct: BTreeSet<_> = texts.iter().collect();
            assert_eq!(distinct.len(), texts.len(), "twice: {texts:?}");
            for text in &texts {
                let push = self.find(text);
                assert_eq!(push.user, *owner, "somebody else's");
            }
        }
    }

    /// What one instance published for a user came in order, at each terminal. What was repeated
    /// at another instance may have come from there.
    fn check_order(&self, cluster: &Cluster) {
        let repeated: BTreeSet<usize> = self.repeats.iter().map(|push| push.number).collect();
        for id in self.owners.keys() {
            let mut last: BTreeMap<usize, usize> = BTreeMap::new();
            for text in cluster.texts(*id) {
                let push = self.find(&text);
                if repeated.contains(&push.number) {
                    continue;
                }
                let before = last.insert(push.at, push.number);
                assert!(
                    before < Some(push.number),
                    "{before:?} before {text} at {id}"
                );
            }
        }
    }

    fn check_receipts(&self, cluster: &Cluster) {
        for push in self.published.iter().chain(&self.repeats) {
            for (id, outcome) in outcomes(cluster, push.call) {
                if outcome == Outcome::Written {
                    let texts = cluster.texts(id);
                    assert!(
                        texts.contains(&push.number.to_string()),
                        "{push:?} says written at {id}"
                    );
                }
            }
        }
    }

    fn find(&self, text: &str) -> &Published {
        let number: usize = text.parse().expect("one of ours");
        &self.published[number - 1]
    }
}

fn act() -> impl Strategy<Value = Act> {
    let user = || 0..USERS.len();
    prop_oneof![
        4 => (0..4_usize, user()).prop_map(|(at, user)| Act::Connect { at, user }),
        2 => (0..20_usize).prop_map(|which| Act::Disconnect { which }),
        10 => (0..4_usize, user()).prop_map(|(at, user)| Act::Push { at, user }),
        1 => (0..4_usize, 0..50_usize).prop_map(|(at, which)| Act::Repeat { at, which }),
        2 => (0..4_usize, 0..4_usize).prop_map(|(one, other)| Act::Cut { one, other }),
        1 => (1..15_000_u32).prop_map(|millis| Act::Outage { millis }),
        2 => (1..3000_u32).prop_map(|millis| Act::Wait { millis }),
        10 => (1..12_usize).prop_map(|count| Act::Steps { count }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// H12, H49, H50: order, no duplicates, only those addressed, true and complete receipts; and
    /// once all is well again, everybody is reached, with a receipt that says so.
    #[test]
    fn what_a_cluster_does_is_what_its_receipts_say(
        instances in 2..5_usize,
        shuffle: u64,
        acts in vec(act(), 1..60),
    ) {
        let mut cluster = Cluster::new(&Config::default(), instances);
        cluster.shuffle = Some(shuffle);
        let mut story = Story::default();
        for act in &acts {
            story.act(&mut cluster, act);
        }
        cluster.settle_down();
        // The doubt after an outage lasts for a lease, isolation for less.
        cluster.pass(Duration::from_secs(40));
        story.check_frames(&cluster);
        story.check_order(&cluster);
        story.check_receipts(&cluster);

        for (user, name) in USERS.iter().enumerate() {
            let number = story.published.len() + 1;
            let push = story.publish(&mut cluster, 0, user, number);
            cluster.settle_down();
            let mut reached = outcomes(&cluster, push.call);
            reached.sort_unstable_by_key(|(id, _)| *id);
            let mut expected: Vec<_> = (story.terminals.iter())
                .filter(|(_, _, id, owner)| *owner == user && !cluster.closed.contains_key(id))
                .map(|(_, _, id, _)| (*id, Outcome::Written))
                .collect();
            expected.sort_unstable_by_key(|(id, _)| *id);
            prop_assert_eq!(reached, expected, "{}", name);
            prop_assert!(!cluster.receipt(push.call).degraded);
            story.published.push(push);
        }
        for (index, connection, ..) in std::mem::take(&mut story.terminals) {
            let closure = Closure::Clean;
            cluster.enqueue(index, Event::Closed { connection, closure });
        }
        cluster.settle_down();
        cluster.pass(Duration::from_secs(3));
        prop_assert_eq!(cluster.directory.len(cluster.now.mono), 0);
        prop_assert_eq!(cluster.contract.forgotten.len(), story.owners.len());
        for instance in &cluster.instances {
            prop_assert!(instance.is_at_rest());
            prop_assert_eq!(instance.stats().bugs, 0);
        }
    }
}
