//! Keyed noise: what somebody else does, or does not do, leaves everybody's delays as they were.

mod directories;
mod neighbour;
mod seen;
mod workers;

use std::time::Duration;

use switchboard_core::config::Config;
use switchboard_sim::schedule::{Act, Durability, Item, RedisAct, Schedule, To};
use switchboard_sim::swarm;

use seen::{first_difference, seen};

const SEEDS: u64 = crate::seeds(200);
/// With this base two ways and two stalls are within the time of a round trip.
const SLOW: Duration = Duration::from_millis(100);
/// Up to here no ping is overdue: their jitter comes from a stream that all terminals of an
/// instance share.
const UNTIL: Duration = Duration::from_secs(18);

#[test]
fn an_unrelated_user_changes_nobody_elses_trace() {
    let mut lines = 0;
    for seed in 0..SEEDS {
        let schedule = independent(swarm::schedule(seed));
        let mut joined = schedule.clone();
        joined.items.extend(items(
            seed,
            "1.700s  client z1 connects i1 as zoe
             4.500s  client z2 connects anywhere as zoe
             5.500s  client z1 moves i2 sudden
             9.100s  client z2 sends 20 messages
             9.300s  client z2 closes clean",
        ));
        let (alone, together) = (seen_of(schedule, "z"), seen_of(joined, "z"));
        assert_eq!(first_difference(&alone, &together), None, "seed {seed}");
        lines += alone.len();
    }
    assert!(
        lines > 5 * SEEDS as usize,
        "too little was seen: {lines} lines"
    );
}

#[test]
fn taking_out_what_one_client_does_leaves_the_noise_of_the_rest() {
    for seed in 0..SEEDS {
        let mut schedule = independent(swarm::schedule(seed));
        let user = (schedule.items.iter())
            .find_map(|item| match &item.act {
                Act::Connect { client, user, .. } if client == "c1" => Some(user.clone()),
                _ => None,
            })
            .unwrap();
        // A push for it would open links that later pushes use.
        schedule.items.retain(|item| !is_for(&item.act, &user));
        let mut without = schedule.clone();
        (without.items).retain(|item| !item.act.to_string().starts_with("client c1 "));
        assert_ne!(schedule, without);
        let (with, without) = (seen_of(schedule, "c1"), seen_of(without, "c1"));
        assert_eq!(first_difference(&with, &without), None, "seed {seed}");
    }
}

fn is_for(act: &Act, user: &String) -> bool {
    match act {
        Act::Push { to, .. } | Act::Kick { to, .. } => match to {
            To::User(addressee) => addressee == user,
            To::Users(addressees) => addressees.contains(user),
            To::Everyone | To::Topics { .. } => true,
        },
        _ => false,
    }
}

/// Without the items whose meaning hangs on everybody: the next trip or command of an instance,
/// whoever it is for; the pace at which all terminals are closed, or rows that were lost or
/// refused are written again; what waits for somebody's moment; when an instance notices that its
/// lease is over, or that its directory is a replica or answers too late, or says that rows of its terminals
/// are missing; the nonces of appends and the
/// pace at which logs are checked; what concerns topics, of whose members an instance has one row; and what is
/// for everyone, at one pace.
fn independent(mut schedule: Schedule) -> Schedule {
    schedule.items.retain(|item| {
        item.at < UNTIL
            && !matches!(
                item.act,
                Act::NextTrip { .. }
                    | Act::RedisRefuses { .. }
                    | Act::KillMidBatch { .. }
                    | Act::Drain { .. }
                    | Act::Deploy { .. }
                    | Act::On { .. }
                    | Act::Follow { .. }
                    | Act::Forget { .. }
                    | Act::Confirm { .. }
                    | Act::OfTopic { .. }
                    | Act::Enrol { .. }
                    | Act::Push {
                        to: To::Topics { .. } | To::Everyone,
                        ..
                    }
                    | Act::Kick {
                        to: To::Everyone,
                        ..
                    }
                    | Act::Redis(
                        RedisAct::EvictRows(_)
                            | RedisAct::EvictLog(_)
                            | RedisAct::EvictTopic(_)
                            | RedisAct::EvictLeases
                            | RedisAct::FlushScripts
                            | RedisAct::Refuse(..)
                            | RedisAct::Clock(_)
                            | RedisAct::Failover {
                                former: Some(_),
                                ..
                            }
                    )
            )
            && !is_slow(&item.act)
    });
    for item in &mut schedule.items {
        if let Act::Push { durable, .. } = &mut item.act {
            *durable = Durability::Plain;
        }
    }
    // Both worlds end at the same moment.
    schedule.items.push(Item {
        at: UNTIL,
        act: Act::Heal,
    });
    schedule
}

/// Whether a round trip can take so long that its instance gives it up, and doubts the directory.
fn is_slow(act: &Act) -> bool {
    matches!(act, Act::Redis(RedisAct::Latency(latency)) if *latency > SLOW)
}

/// At the pace of the defaults all rows of an instance are settled in one step.
fn seen_of(schedule: Schedule, but_for: &'static str) -> Vec<String> {
    seen(schedule, Config::default(), but_for)
}

fn items(seed: u64, text: &str) -> Vec<Item> {
    let text = format!("switchboard-sim 1  seed {seed}  instances 2\n{text}");
    Schedule::parse(&text).expect("it is a schedule").items
}
