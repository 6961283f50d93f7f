//! The end of a schedule: everything heals, and must converge and come to rest.

use std::collections::BTreeSet;
use std::time::Duration;
use switchboard_core::message::PushedBy;

use super::{AT_REST, CONVERGED, FAULTS, HEAL, LEAVE, ScheduleMaker};
use crate::noise::Noise;
use crate::schedule::{Act, Durability, Host, Item, NewAddress, Schedule, To};

/// So long after the heal those start again that are gone.
const RESTARTED: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(25)];
/// Nobody is there before this moment.
const FIRST: Duration = Duration::from_secs(1);

/// Everything heals at a moment, and those start again that are gone. An instance that drains or stands still at
/// that moment is gone by the second time.
pub(super) fn healing(instances: usize, moment: Duration) -> Vec<Item> {
    let heal = Item {
        at: moment,
        act: Act::Heal,
    };
    let restarts = RESTARTED.into_iter().flat_map(|after| {
        (0..instances).map(Host).map(move |host| Item {
            at: moment + after,
            act: Act::Restart {
                host,
                address: NewAddress::Same,
            },
        })
    });
    [heal].into_iter().chain(restarts).collect()
}

/// The same schedule up to a moment, at which everything heals: all must converge, pushes to all users reach them,
/// and when clients have left nothing is left of them.
pub fn healed_at(schedule: &Schedule, moment: Duration) -> Schedule {
    let mut items: Vec<Item> = (schedule.items.iter())
        .filter(|item| item.at < moment)
        .cloned()
        .collect();
    let users: BTreeSet<String> = (items.iter())
        .filter_map(|item| match &item.act {
            Act::Connect { user, .. } => Some(user.clone()),
            _ => None,
        })
        .collect();
    items.extend(healing(schedule.instances, moment));
    let after = |moment_of_swarm: Duration| moment + (moment_of_swarm - HEAL);
    let mut put = |at, act| items.push(Item { at, act });
    put(after(CONVERGED), Act::ExpectConverged);
    for (index, user) in users.into_iter().enumerate() {
        for host in (0..schedule.instances).map(Host) {
            let push = Act::Push {
                at: host,
                to: To::User(user.clone()),
                name: format!("healed{}.{}", index + 1, host.0 + 1),
                durable: Durability::Plain,
                by: PushedBy::Application,
                within: None,
            };
            put(after(CONVERGED) + Duration::from_millis(100), push);
        }
    }
    put(after(LEAVE), Act::AllLeave);
    put(after(AT_REST), Act::ExpectAtRest);
    Schedule {
        items,
        expects: None,
        ..schedule.clone()
    }
}

/// So many moments of a schedule of the swarm at which everything may heal: any, and most of them shortly after
/// something has happened.
pub fn moments_to_heal(schedule: &Schedule, count: u64) -> Vec<Duration> {
    let maker = ScheduleMaker {
        noise: Noise::new(schedule.seed),
        items: schedule.items.clone(),
        instances: schedule.instances,
        clients: 0,
        lease: schedule.lease,
        terminals: Vec::new(),
    };
    let heals = |item: &&Item| item.act == Act::Heal;
    let healed = (schedule.items.iter().find(heals)).map_or(FAULTS.1, |item| item.at);
    let moment = |nth| maker.near(FIRST, healed.max(FAULTS.0), "heals", nth);
    (0..count).map(moment).collect()
}
