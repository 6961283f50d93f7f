//! `empty-at-rest`: with all clients gone nothing is left.

use switchboard_core::stats::Tables;

use crate::checker::{Checker, Watch};
use crate::observed::{Observed, Quiescence, Topic};

/// Where the schedule expects it, nothing is left of any connection or push: each table of each instance is as
/// that of a fresh one, but for what is known of the others, and of the pushes of the last minutes.
#[derive(Clone, Copy, Debug)]
pub struct EmptyAtRest;

impl Checker for EmptyAtRest {
    fn name(&self) -> &'static str {
        "empty-at-rest"
    }

    fn topics(&self) -> &'static [Topic] {
        &[]
    }

    fn on_event(&mut self, _: &Observed, _: &mut Watch<'_>) {}

    fn at_quiescence(&mut self, quiescence: Quiescence, watch: &mut Watch<'_>) {
        match quiescence {
            Quiescence::Converged => return,
            Quiescence::AtRest => {}
        }
        let scene = watch.scene();
        let busy = scene.hosts().find_map(|host| {
            let gauges = host.gauges()?;
            let left = gauges.connections + gauges.users + gauges.pushes;
            (left > 0).then_some((host.number() + 1, gauges))
        });
        let kept = scene.hosts().find_map(|host| {
            let tables = host.tables()?;
            let others = scene
                .leases()
                .filter(|seen| seen.instance != scene.instance_of(host.life()));
            let what = kept(tables, others.count())?;
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

/// What is left in the tables of an instance that has nothing to do. `others`: those of whom the directory has
/// a lease.
const fn kept(tables: Tables, others: usize) -> Option<&'static str> {
    let Tables {
        connections,
        connections_by_id,
        connections_by_key,
        connections_by_age,
        outbound,
        // The lease is renewed, and those of the others are read, in any case.
        operations: _,
        trips: _,
        refused_rows,
        rows_again,
        degraded,
        known,
        pushes,
        lanes,
        deliveries,
        waiting,
        unappended,
        followers,
        channels,
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
    let terminals = connections + connections_by_id + connections_by_key + connections_by_age;
    if terminals + outbound > 0 {
        return Some("terminals");
    }
    if refused_rows + rows_again + degraded > 0 {
        return Some("rows to write");
    }
    if followers + channels + reads > 0 {
        return Some("followers");
    }
    if pushes + lanes + deliveries + waiting + unappended > 0 {
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
