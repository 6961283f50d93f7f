//! Faults of a scenario: which, and from when to when.

use std::time::Duration;

use super::{CONNECTED, Scenario, ScenarioError};
use crate::schedule::{Act, Item, RedisAct};
use crate::swarm;

/// Faults that are drawn from the seed, each kind with probability one half, against the scenario's
/// own instances, terminals and users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    from: Duration,
    until: Option<Duration>,
    /// A bit for each class.
    left_out: u8,
}

/// What faults are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultClass {
    /// Instances are killed, stand still, are drained and deployed.
    Instances,
    /// Clocks are set: those of instances, and the directory's.
    Clocks,
    /// The directory is away, loses something, refuses or is slow.
    Directory,
    /// Links between instances are cut, clogged, broken or slow.
    Links,
    /// Terminals come in crowds, move, read slowly, misbehave or die, and the balancer is blind.
    Terminals,
    /// Pushes come in bursts, are repeated, and kick terminals.
    Pushes,
}

impl Faults {
    /// Every kind may occur, from the moment when all terminals have connected until the load ends.
    /// There are none of links if there is only one instance, and none of terminals and pushes if there
    /// are no users.
    pub const fn all() -> Self {
        Self {
            from: CONNECTED,
            until: None,
            left_out: 0,
        }
    }

    /// None begins before this moment: 4 s at the earliest, when all terminals have connected.
    #[must_use]
    pub const fn from(mut self, from: Duration) -> Self {
        self.from = from;
        self
    }

    /// None begins after this moment, which is within the load, and pauses and refusals are over.
    /// What would last until it is healed lasts until everything is, and a drain or a deploy as long
    /// as it takes.
    #[must_use]
    pub const fn until(mut self, until: Duration) -> Self {
        self.until = Some(until);
        self
    }

    /// None of this class occurs. The others are as they were.
    #[must_use]
    pub const fn without(mut self, class: FaultClass) -> Self {
        self.left_out |= class.bit();
        self
    }

    /// The items, for a scenario with these connections.
    pub(super) fn items(self, scenario: &Scenario, load: &[Item]) -> Vec<Item> {
        let until = self.until.unwrap_or(scenario.lasting);
        let terminals = load.iter().filter_map(|item| match &item.act {
            Act::Connect { client, user, .. } => Some((client.clone(), user.clone())),
            _ => None,
        });
        let cluster = swarm::Cluster {
            instances: scenario.instances,
            lease: scenario.config.lease,
            terminals: terminals.collect(),
        };
        let mut items = swarm::faults(scenario.seed, cluster, (self.from, until));
        items.retain(|item| match class(&item.act) {
            Some(class) => self.has(class) && class.finds_something(scenario),
            None => true,
        });
        for item in &mut items {
            end_by(&mut item.act, until.saturating_sub(item.at));
        }
        items
    }

    const fn has(self, class: FaultClass) -> bool {
        self.left_out & class.bit() == 0
    }

    pub(super) fn validate(self, lasting: Duration) -> Result<(), ScenarioError> {
        let wrong = |rule| {
            let what = "faults";
            Err(ScenarioError::Range { what, rule })
        };
        if self.from < CONNECTED {
            return wrong("from 4s on, when the terminals have connected");
        }
        if self.until.is_some_and(|until| until > lasting) {
            return wrong("until a moment within the load: see `lasting`");
        }
        if self.from >= self.until.unwrap_or(lasting) {
            return wrong("from a moment before they end, and before the load does: see `lasting`");
        }
        Ok(())
    }
}

impl FaultClass {
    const fn bit(self) -> u8 {
        1 << self as u8
    }

    /// Whether there is something in a scenario that such faults could be aimed at.
    const fn finds_something(self, scenario: &Scenario) -> bool {
        match self {
            Self::Links => scenario.instances > 1,
            Self::Terminals | Self::Pushes => scenario.users > 0 && *scenario.terminals.end() > 0,
            Self::Instances | Self::Clocks | Self::Directory => true,
        }
    }
}

/// What an item is about; `None` if it is no fault.
fn class(act: &Act) -> Option<FaultClass> {
    Some(match act {
        Act::Kill { .. }
        | Act::KillMidBatch { .. }
        | Act::Restart { .. }
        | Act::Pause { .. }
        | Act::Drain { .. }
        | Act::Deploy { .. } => FaultClass::Instances,
        Act::StepClock { .. } | Act::Redis(RedisAct::Clock(_)) => FaultClass::Clocks,
        Act::Redis(_) | Act::RedisAway { .. } | Act::NextTrip { .. } => FaultClass::Directory,
        Act::Cut { .. }
        | Act::Clog { .. }
        | Act::Mend { .. }
        | Act::HalfOpen { .. }
        | Act::RefuseDials { .. }
        | Act::Reset { .. }
        | Act::LinkLatency(_) => FaultClass::Links,
        Act::Connect { .. }
        | Act::Move { .. }
        | Act::Send { .. }
        | Act::Close { .. }
        | Act::StopReading { .. }
        | Act::Read { .. }
        | Act::ReadSlowly { .. }
        | Act::Storm { .. }
        | Act::BlindBalancer(_)
        | Act::AllLeave => FaultClass::Terminals,
        Act::Push { .. } | Act::Repeat { .. } | Act::Kick { .. } => FaultClass::Pushes,
        Act::On { act, .. } => return class(act),
        Act::Heal | Act::ExpectConverged | Act::ExpectAtRest => return None,
    })
}

/// Nothing ends a pause or a refusal but its own time.
fn end_by(act: &mut Act, left: Duration) {
    match act {
        Act::Pause { span, .. }
        | Act::RefuseDials { span, .. }
        | Act::BlindBalancer(span)
        | Act::RedisAway { span, .. } => *span = left.min(*span),
        Act::Redis(act) => end_in_directory_by(act, left),
        Act::On { act, .. } => end_by(act, left),
        // They last a moment, until they are healed, or as long as they take.
        Act::Connect { .. }
        | Act::Move { .. }
        | Act::Send { .. }
        | Act::Close { .. }
        | Act::StopReading { .. }
        | Act::Read { .. }
        | Act::ReadSlowly { .. }
        | Act::Storm { .. }
        | Act::AllLeave
        | Act::Push { .. }
        | Act::Repeat { .. }
        | Act::Kick { .. }
        | Act::StepClock { .. }
        | Act::Kill { .. }
        | Act::KillMidBatch { .. }
        | Act::Restart { .. }
        | Act::Drain { .. }
        | Act::Deploy { .. }
        | Act::NextTrip { .. }
        | Act::Cut { .. }
        | Act::Clog { .. }
        | Act::Mend { .. }
        | Act::HalfOpen { .. }
        | Act::Reset { .. }
        | Act::LinkLatency(_)
        | Act::Heal
        | Act::ExpectConverged
        | Act::ExpectAtRest => {}
    }
}

fn end_in_directory_by(act: &mut RedisAct, left: Duration) {
    match act {
        RedisAct::Refuse(_, span) => *span = left.min(*span),
        RedisAct::Failover {
            former: Some(span), ..
        } => *span = left.min(*span),
        RedisAct::Failover { former: None, .. }
        | RedisAct::Down
        | RedisAct::Up
        | RedisAct::RestartEmpty
        | RedisAct::Save
        | RedisAct::Restart
        | RedisAct::EvictRows(_)
        | RedisAct::EvictLeases
        | RedisAct::Clock(_)
        | RedisAct::FlushScripts
        | RedisAct::Latency(_) => {}
    }
}
