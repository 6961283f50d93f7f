//! The load of a scenario: terminals that connect, pushes, and an end.

use std::time::Duration;

use switchboard_core::config::Config;
use switchboard_core::message::PushedBy;

use super::{CONNECTED, Faults, Scenario};
use crate::noise::{Noise, Purpose};
use crate::schedule::{Act, Durability, Host, Item, NewAddress, To, TopicAct};

/// Terminals connect from this moment on: instances have their leases.
const CONNECT: Duration = Duration::from_secs(1);
/// What their tokens say is known by then.
const BEFORE: Duration = Duration::from_millis(900);

pub(super) struct ScenarioMaker<'a> {
    scenario: &'a Scenario,
    noise: Noise,
    items: Vec<Item>,
}

/// What the maker draws numbers for.
#[derive(Clone, Copy)]
enum Draw {
    Terminals = 1_000,
    Connect = 1_001,
    Push = 1_002,
    Publisher = 1_003,
    Addressee = 1_004,
    Joins = 1_005,
    TopicPush = 1_006,
}

impl<'a> ScenarioMaker<'a> {
    pub(super) const fn new(scenario: &'a Scenario) -> Self {
        Self {
            scenario,
            noise: Noise::new(scenario.seed),
            items: Vec::new(),
        }
    }

    /// All items, in the order in which they happen.
    pub(super) fn sorted(mut self) -> Vec<Item> {
        self.items.sort_by_key(|item| item.at);
        self.items
    }

    fn below(&self, limit: u64, draw: Draw, ids: [u64; 2]) -> u64 {
        let ids = [draw as u64, ids[0], ids[1]];
        self.noise.below(limit, Purpose::Generator, &ids)
    }

    fn put(&mut self, at: Duration, act: Act) {
        self.items.push(Item { at, act });
    }

    pub(super) fn terminals(&mut self) {
        let (least, most) = self.scenario.terminals.clone().into_inner();
        for user in 1..=self.scenario.users {
            let terminals = least + self.below(most - least + 1, Draw::Terminals, [user, 0]);
            for terminal in 1..=terminals {
                let span = (CONNECTED - CONNECT).as_micros() as u64;
                let after = self.below(span, Draw::Connect, [user, terminal]);
                let act = Act::Connect {
                    client: format!("u{user}.{terminal}"),
                    at: None,
                    user: format!("u{user}"),
                    token: None,
                };
                self.put(CONNECT + Duration::from_micros(after), act);
                self.member(user, terminal);
            }
        }
    }

    /// A terminal joins a topic by its token, and asks who the other members are.
    fn member(&mut self, user: u64, terminal: u64) {
        if self.scenario.topics == 0 {
            return;
        }
        let topic = 1 + self.below(self.scenario.topics, Draw::Joins, [user, terminal]);
        let topic = format!("t{topic}");
        let acts = [
            (BEFORE, TopicAct::Claim(vec![topic.clone()])),
            (CONNECTED, TopicAct::Watch(topic)),
        ];
        for (at, does) in acts {
            let client = format!("u{user}.{terminal}");
            self.put(at, Act::OfTopic { client, does });
        }
    }

    pub(super) fn pushes(&mut self) {
        let span = self.scenario.lasting - CONNECTED;
        let pushes = (span.as_secs_f64() * self.scenario.pushes_per_second) as u64;
        for push in 1..=pushes {
            let after = self.below(span.as_micros() as u64, Draw::Push, [push, 0]);
            let host = self.below(self.scenario.instances as u64, Draw::Publisher, [push, 0]);
            let user = 1 + self.below(self.scenario.users, Draw::Addressee, [push, 0]);
            let act = Act::Push {
                at: Host(host as usize),
                to: To::User(format!("u{user}")),
                name: format!("m{push}"),
                durable: Durability::Plain,
                by: PushedBy::Application,
                within: None,
            };
            self.put(CONNECTED + Duration::from_micros(after), act);
        }
    }

    pub(super) fn topic_pushes(&mut self) {
        let span = self.scenario.lasting - CONNECTED;
        let pushes = (span.as_secs_f64() * self.scenario.topic_pushes_per_second) as u64;
        for push in 1..=pushes {
            let after = self.below(span.as_micros() as u64, Draw::TopicPush, [push, 0]);
            let host = self.below(self.scenario.instances as u64, Draw::TopicPush, [push, 1]);
            let topic = 1 + self.below(self.scenario.topics, Draw::TopicPush, [push, 2]);
            let act = Act::Push {
                at: Host(host as usize),
                to: To::Topics {
                    topics: vec![format!("t{topic}")],
                    except: None,
                },
                name: format!("mt{push}"),
                durable: Durability::Plain,
                by: PushedBy::Application,
                within: None,
            };
            self.put(CONNECTED + Duration::from_micros(after), act);
        }
    }

    /// What goes wrong, with the terminals that there are so far.
    pub(super) fn faults(&mut self, faults: Faults) {
        let items = faults.items(self.scenario, &self.items);
        self.items.extend(items);
    }

    pub(super) fn script(&mut self, items: Vec<Item>) {
        self.items.extend(items);
    }

    /// Everything heals, must converge, and ends.
    pub(super) fn end(&mut self) {
        let scripted = self
            .items
            .iter()
            .map(|item| item.at)
            .max()
            .unwrap_or_default();
        let heal = self.scenario.lasting.max(scripted) + Duration::from_secs(1);
        self.put(heal, Act::Heal);
        for host in (0..self.scenario.instances).map(Host) {
            let address = NewAddress::Same;
            self.put(
                heal + Duration::from_millis(500),
                Act::Restart { host, address },
            );
        }
        let calm = calm(&self.scenario.config);
        // Settings whose times are too long for a schedule are seen when that is checked.
        let converged = heal.saturating_add(calm);
        self.put(converged, Act::ExpectConverged);
        let leave = converged.saturating_add(Duration::from_secs(1));
        self.put(leave, Act::AllLeave);
        let rest = self.scenario.config.directory_timeout.saturating_mul(2);
        let rest = leave
            .saturating_add(rest)
            .saturating_add(Config::DEADLINE_DEFAULT);
        self.put(rest, Act::ExpectAtRest);
    }
}

/// In this time the directory and the connections agree again after the last fault: terminals that
/// went without a sign have been noticed, leases of the dead have expired, and all rows have been
/// written again.
fn calm(config: &Config) -> Duration {
    [
        config.ping_interval,
        config.ping_timeout,
        config.close_timeout,
        config.lease.saturating_mul(2),
        config.directory_timeout.saturating_mul(2),
    ]
    .into_iter()
    .fold(Duration::ZERO, Duration::saturating_add)
}
