//! `empty-at-rest`: with all clients gone nothing is left.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use switchboard_core::id::InstanceId;
use switchboard_core::stats::{Levels, Tables};

use crate::checker::{Checker, Watch};
use crate::observed::{Life, Observed, Quiescence, Topic};

/// Where the schedule expects it, nothing is left of any connection or push: each table of each instance is as
/// that of a fresh one, but for what is known of the others, and of the pushes of the last minutes.
#[derive(Clone, Debug, Default)]
pub struct EmptyAtRest {
    /// Whose leases each instance was told of last: one that is removed is known until the next reading.
    told: BTreeMap<Life, BTreeSet<InstanceId>>,
}

impl Checker for EmptyAtRest {
    fn name(&self) -> &'static str {
        "empty-at-rest"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Directory, Topic::Lives]
    }

    fn on_event(&mut self, event: &Observed, _: &mut Watch<'_>) {
        match event {
            Observed::Viewed { life, leases } => {
                let told = leases.iter().map(|seen| seen.instance).collect();
                self.told.insert(*life, told);
            }
            Observed::Gone(life) => {
                self.told.remove(life);
            }
            _ => {}
        }
    }

    fn at_quiescence(&mut self, quiescence: Quiescence, watch: &mut Watch<'_>) {
        match quiescence {
            Quiescence::Converged => return,
            Quiescence::AtRest => {}
        }
        let scene = watch.scene();
        let busy = scene.hosts().find_map(|host| {
            let gauges = host.gauges()?;
            let left = gauges.connections + gauges.users + gauges.pushes;
            let is_busy = left > 0 || gauges.follower_lag > Duration::ZERO;
            is_busy.then_some((host.number() + 1, gauges))
        });
        let kept = scene.hosts().find_map(|host| {
            let tables = host.tables()?;
            let told = self.told.get(&host.life()).into_iter().flatten().copied();
            let mut others: BTreeSet<InstanceId> = scene
                .leases()
                .map(|seen| seen.instance)
                .chain(told)
                .collect();
            others.remove(&scene.instance_of(host.life()));
            let what = kept(tables, others.len()).or_else(|| miscounted(tables, host.levels()?))?;
            Some((host.number() + 1, what, tables))
        });
        let rows = scene.live_rows().len();
        if let Some((number, gauges)) = busy {
            watch.violated(format!("i{number} still has {gauges:?}"));
        } else if let Some((number, what, tables)) = kept {
            watch.violated(format!("i{number} still has {what}: {tables:?}"));
        } else if rows > 0 {
            watch.violated(format!("{rows} rows are left"));
        } else {
            watch.held();
        }
    }
}

/// Pushes and connections are remembered in two parts, of which the level has the fuller one.
fn miscounted(tables: Tables, levels: Levels) -> Option<&'static str> {
    let level = levels
        .iter()
        .find(|level| level.setting == "repeat_entries")?;
    let is_right = level.used <= tables.memory && level.used * 2 >= tables.memory;
    (!is_right).then_some("another level of its memory of pushes")
}

/// What is left in the tables of an instance that has nothing to do. `others`: those of whom the directory has
/// a lease, or had one when it was read last.
const fn kept(tables: Tables, others: usize) -> Option<&'static str> {
    let Tables {
        connections,
        connections_by_id,
        connections_by_key,
        connections_by_age,
        users_online,
        outbound,
        // The lease is renewed, and those of the others are read, in any case.
        operations: _,
        trips: _,
        topics,
        members,
        joining,
        watched_topics,
        topic_rows,
        topic_pushes,
        topic_lookups,
        refused_rows,
        rows_again,
        degraded,
        known,
        pushes,
        publications,
        readings,
        relays,
        lanes,
        deliveries,
        waiting,
        unappended,
        awaited_replicas,
        followers,
        channels,
        held,
        held_bytes,
        reads,
        inbound,
        broadcasts,
        memory,
        remembered,
        peers,
        queued,
        queued_bytes,
        unanswered,
        links,
        strangers,
        answers,
        answer_bytes,
    } = tables;
    let terminals =
        connections + connections_by_id + connections_by_key + connections_by_age + users_online;
    if terminals + outbound > 0 {
        return Some("terminals");
    }
    if refused_rows + rows_again + degraded > 0 {
        return Some("rows to write");
    }
    if topics + members + joining + watched_topics + topic_rows > 0 {
        return Some("topics");
    }
    if followers + channels + held + held_bytes + reads > 0 {
        return Some("followers");
    }
    if pushes
        + publications
        + readings
        + relays
        + lanes
        + deliveries
        + waiting
        + unappended
        + awaited_replicas
        + topic_pushes
        + topic_lookups
        > 0
    {
        return Some("pushes");
    }
    if inbound + broadcasts > 0 {
        return Some("deliveries");
    }
    if remembered != memory {
        return Some("a memory of pushes that it is to forget");
    }
    if queued + queued_bytes + unanswered > 0 {
        return Some("something for its peers");
    }
    // A heartbeat may be on its way, and a handshake.
    if (answer_bytes == 0) != (answers == 0) || answers > links || strangers > links {
        return Some("something on its links");
    }
    if known > others || peers > others {
        return Some("instances that nobody knows");
    }
    None
}
