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
    /// There are none of links if there is only one instance, and none that
    /// are aimed at a terminal, its user or his pushes if no user has a terminal.
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

    /// None begins after this moment, which is within the load, and pauses, refusals, blindness of the
    /// balancer and what an instance or a former primary spends apart from the directory are over.
    /// What would last until it is healed lasts until everything is, and a drain or a deploy as long
    /// as it takes.
    ///
    /// What waits, for a moment of a push or a client or for the commands that an instance executes
    /// before it is killed, has begun to wait by then. It can happen any time until everything is
    /// healed, and a pause or refusal of this kind lasts no longer than from the beginning of the
    /// waiting to this moment.
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
        let terminals: Vec<_> = terminals.collect();
        let nobody = terminals.is_empty();
        let cluster = swarm::Cluster {
            instances: scenario.instances,
            lease: scenario.config.lease,
            terminals,
        };
        let mut items = swarm::faults(scenario.seed, cluster, (self.from, until));
        items.retain(|item| {
            let Some(class) = class(&item.act) else {
                return true;
            };
            let alone = scenario.instances == 1 && class == FaultClass::Links;
            self.has(class) && !alone && !(nobody && needs_a_terminal(&item.act, class))
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
}

/// Whether an item names a terminal or its user, or waits for one or for a push to one.
const fn needs_a_terminal(act: &Act, class: FaultClass) -> bool {
    match class {
        FaultClass::Terminals | FaultClass::Pushes => true,
        FaultClass::Instances | FaultClass::Clocks | FaultClass::Directory | FaultClass::Links => {
            matches!(
                act,
                Act::On { .. }
                    | Act::Redis(
                        RedisAct::EvictRows(_) | RedisAct::EvictLog(_) | RedisAct::EvictTopic(_)
                    )
            )
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
        Act::Redis(_) | Act::RedisAway { .. } | Act::RedisRefuses { .. } | Act::NextTrip { .. } => {
            FaultClass::Directory
        }
        Act::Cut { .. }
        | Act::Clog { .. }
        | Act::Mend { .. }
        | Act::HalfOpen { .. }
        | Act::RefuseDials { .. }
        | Act::Stranger { .. }
        | Act::Lie { .. }
        | Act::Reset { .. }
        | Act::LinkLatency(_) => FaultClass::Links,
        Act::Connect { .. }
        | Act::Move { .. }
        | Act::Follow { .. }
        | Act::LogIn { .. }
        | Act::Forget { .. }
        | Act::Prolong { .. }
        | Act::FailUpgrade { .. }
        | Act::Confirm { .. }
        | Act::OfTopic { .. }
        | Act::Send { .. }
        | Act::Close { .. }
        | Act::StopReading { .. }
        | Act::Read { .. }
        | Act::ReadSlowly { .. }
        | Act::Storm { .. }
        | Act::BlindBalancer(_)
        | Act::AllLeave => FaultClass::Terminals,
        Act::Push { .. }
        | Act::Enrol { .. }
        | Act::Repeat { .. }
        | Act::Kick { .. }
        | Act::Where { .. }
        | Act::ReadLog { .. }
        | Act::DeleteLog { .. }
        | Act::Instances { .. } => FaultClass::Pushes,
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
        | Act::RedisAway { span, .. }
        | Act::RedisRefuses { span, .. }
        | Act::Lie { span, .. } => *span = left.min(*span),
        Act::Redis(act) => end_in_directory_by(act, left),
        Act::On { act, .. } => end_by(act, left),
        // They last a moment, until they are healed, or as long as they take.
        Act::Connect { .. }
        | Act::Move { .. }
        | Act::Follow { .. }
        | Act::LogIn { .. }
        | Act::Forget { .. }
        | Act::Prolong { .. }
        | Act::FailUpgrade { .. }
        | Act::Confirm { .. }
        | Act::OfTopic { .. }
        | Act::Send { .. }
        | Act::Close { .. }
        | Act::StopReading { .. }
        | Act::Read { .. }
        | Act::ReadSlowly { .. }
        | Act::Storm { .. }
        | Act::AllLeave
        | Act::Push { .. }
        | Act::Enrol { .. }
        | Act::Repeat { .. }
        | Act::Kick { .. }
        | Act::Where { .. }
        | Act::ReadLog { .. }
        | Act::DeleteLog { .. }
        | Act::Instances { .. }
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
        | Act::Stranger { .. }
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
        | RedisAct::EvictLog(_)
        | RedisAct::EvictTopic(_)
        | RedisAct::EvictLeases
        | RedisAct::Clock(_)
        | RedisAct::FlushScripts
        | RedisAct::Latency(_) => {}
    }
}
