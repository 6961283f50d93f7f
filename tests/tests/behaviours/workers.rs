//! Several instances in one process.

use std::collections::BTreeSet;
use std::thread;

use switchboard_tests::behaviour::{Behaviour, ONE, PROCESSES};
use switchboard_tests::behaviours;
use switchboard_tests::matrix::Cell;
use switchboard_tests::patience::eventually;

pub(crate) const LIST: &[Behaviour] = behaviours![
    (
        PROCESSES.in_redis(),
        twelve_instances_in_three_processes_reach_each_other_and_remove_no_row
    ),
    (PROCESSES, order_holds_with_several_workers),
    (ONE, terminals_are_spread_evenly_over_the_workers),
    (
        ONE.embedded(),
        workers_reach_each_other_on_the_embedded_directory
    ),
    (
        PROCESSES.in_redis(),
        a_process_with_several_workers_drains_all_of_them
    ),
];

/// H30, H33, H42: twelve instances in three processes reach each other, and nobody takes a live
/// row for a dead one.
fn twelve_instances_in_three_processes_reach_each_other_and_remove_no_row(cell: Cell) {
    const PUSHES: usize = 30;
    let cluster = cell.start_with(3, |s| s.with("workers", 4));
    let mut terminals: Vec<_> = (0..12)
        .map(|n| cluster[n % 3].terminal("ann").follow())
        .collect();
    terminals.extend((0..12).map(|n| cluster[n % 3].terminal("bob").follow()));
    let instances = |user: &str| {
        let list = cluster[0].api().connections(user).connections;
        list.into_iter()
            .map(|c| c.instance)
            .collect::<BTreeSet<_>>()
    };
    let together: BTreeSet<_> = instances("ann").union(&instances("bob")).cloned().collect();
    assert_eq!(together.len(), 12, "each worker has a terminal");
    let rows = cluster.rows();

    thread::scope(|scope| {
        for server in 0..3 {
            let api = cluster[server].api();
            scope.spawn(move || {
                // A new connection each time, so that every worker publishes.
                for n in 0..PUSHES {
                    api.push("ann", &format!("{server}/{n}")).expect_written(12);
                    api.push("bob", &format!("{server}/{n}")).expect_written(12);
                }
            });
        }
    });

    for terminal in &terminals {
        terminal.await_frames(3 * PUSHES);
        let texts = terminal.texts();
        let different: BTreeSet<_> = texts.iter().collect();
        assert_eq!((texts.len(), different.len()), (3 * PUSHES, 3 * PUSHES));
    }
    assert_eq!(cluster.rows(), rows);
    for server in cluster.servers() {
        let removed = server
            .api()
            .metric("switchboard_directory_rows_removed_total");
        assert!(removed.abs() < 0.5, "{removed} rows removed");
    }
}

/// H50: one connection of a publisher is one publisher, whichever workers hold the terminals.
fn order_holds_with_several_workers(cell: Cell) {
    const PUSHES: usize = 200;
    let cluster = cell.start_with(2, |s| s.with("workers", 3));
    let terminals: Vec<_> = (0..6)
        .map(|n| cluster[n % 2].terminal("ann").follow())
        .collect();

    let mut publisher = cluster[0].api().publisher();
    for n in 0..PUSHES {
        publisher.push("ann", &n.to_string()).expect_written(6);
    }

    let expected: Vec<_> = (0..PUSHES).map(|n| n.to_string()).collect();
    for terminal in terminals {
        terminal.await_frames(PUSHES);
        assert_eq!(terminal.texts(), expected);
    }
}

/// Terminals are spread over the workers.
fn terminals_are_spread_evenly_over_the_workers(cell: Cell) {
    let cluster = cell.start_with(1, |s| s.with("workers", 4));
    let server = &cluster[0];
    let _terminals: Vec<_> = (0..40)
        .map(|n| server.terminal(&format!("user-{n}")))
        .collect();

    eventually("each worker holds a fair share", || {
        let instances = server.api().instances();
        instances.len() == 4 && instances.iter().all(|i| i.connections == 10)
    });
}

/// H34: the embedded directory serves all workers of a process, without Redis and without links
/// over the network.
fn workers_reach_each_other_on_the_embedded_directory(cell: Cell) {
    let cluster = cell.start_with(1, |s| s.with("workers", 3));
    let server = &cluster[0];
    let mut terminals: Vec<_> = (0..6).map(|_| server.terminal("ann")).collect();
    server.api().push("ann", "to all workers").expect_written(6);

    for terminal in &mut terminals {
        terminal.expect_text("to all workers");
    }
    let one = terminals.pop().expect("six are there").follow();
    server.api().kick_one("ann", one.uuid).expect_written(1);
    assert_eq!(server.api().broadcast("to everyone").instances.len(), 3);
}

/// H53: a drain ends all workers of the process.
fn a_process_with_several_workers_drains_all_of_them(cell: Cell) {
    let mut cluster = cell.start_with(2, |s| s.with("workers", 3).with("drain", "500ms"));
    let terminals: Vec<_> = (0..9)
        .map(|_| cluster[0].terminal("ann").follow())
        .collect();
    cluster[0].sigterm();

    for terminal in &terminals {
        assert_eq!(terminal.await_ending().code(), Some(1012));
    }
    assert!(cluster[0].wait_exit().success());
    assert!(cluster.rows().is_empty());
    let leases: Vec<String> = cluster.redis().command(&["HVALS", "sb:{p0000}instances"]);
    let released = leases.iter().filter(|lease| lease.contains(" released "));
    assert_eq!(released.count(), 3, "{leases:?}");
}
