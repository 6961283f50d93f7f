//! A replica takes over while pushes go on.

use std::thread;
use std::time::Duration;

use switchboard_tests::api::push;
use switchboard_tests::behaviour::{Behaviour, ONE, PROCESSES};
use switchboard_tests::behaviours;
use switchboard_tests::cluster::Cluster;
use switchboard_tests::directory::Directory;
use switchboard_tests::matrix::Cell;
use switchboard_tests::patience::eventually;
use switchboard_tests::sentinel::Replicated;
use switchboard_tests::settings::Settings;

use crate::traffic::{after_settling, nobody_is_missed_while, settlings};

pub(crate) const LIST: &[Behaviour] = behaviours![
    (
        PROCESSES.sentinel(),
        a_lost_primary_misses_nobody_without_saying_so
    ),
    (
        PROCESSES.sentinel(),
        a_primary_that_is_demoted_in_place_misses_nobody_without_saying_so
    ),
    (
        PROCESSES.sentinel(),
        servers_leave_a_primary_that_does_not_learn_of_its_end
    ),
    (
        PROCESSES.sentinel(),
        a_sentinel_that_missed_a_failover_leads_nobody_back
    ),
    (
        PROCESSES.sentinel(),
        a_server_that_starts_after_a_failover_joins_the_others
    ),
    (
        ONE.sentinel(),
        a_terminal_that_connects_after_a_failover_is_registered_with_the_new_primary
    ),
];

/// H14, H38, H39: no terminal reconnects, all are reachable through the new primary, and no push
/// without `degraded` has missed anybody meanwhile.
fn a_lost_primary_misses_nobody_without_saying_so(cell: Cell) {
    nobody_is_missed_while(cell.start(3), |cluster, traffic| {
        traffic.flows();
        after_settling(cluster, |cluster| cluster.replicated().lose_primary());
    });
}

/// H38, H39: the old primary lives on as a replica, and connections to it stay open.
fn a_primary_that_is_demoted_in_place_misses_nobody_without_saying_so(cell: Cell) {
    nobody_is_missed_while(cell.start(2), |cluster, traffic| {
        for _ in 0..2 {
            traffic.flows();
            after_settling(cluster, |cluster| cluster.replicated().swap());
        }
    });
}

/// H38, H39: a primary that was replaced and lives on takes writes until it is demoted, which takes a Sentinel ten
/// seconds and more; here it never is. What is written there is lost, so servers go over by themselves.
fn servers_leave_a_primary_that_does_not_learn_of_its_end(cell: Cell) {
    let directory = Directory::Sentinel(Box::new(Replicated::start_stubborn()));
    let mut cluster = Cluster::start_on(directory, cell.fleet, 2, |settings| settings);
    let terminal = cluster[0].terminal("ann").follow();

    after_settling(&mut cluster, |cluster| cluster.replicated().swap());

    let role: (String, i64, redis::Value) = cluster.replicated().other().command(&["ROLE"]);
    assert_eq!(role.0, "master", "it has not learned of its end");
    assert_eq!(cluster.rows().len(), 1, "the row is at the new primary");
    let logged = (cluster[1].api()).receipt(push("ann", "kept").query("durable", "true"));
    assert_eq!(logged.outcome(terminal.uuid), Some("written"));
    let logs: Vec<String> = cluster.redis().command(&["KEYS", "sb:{p*}m:*"]);
    assert_eq!(logs.len(), 1, "so is the record");
}

/// H38, H39: a Sentinel that was cut off goes on naming the primary that was replaced, and that takes writes until it
/// is demoted. A server that has gone over stays, and one that starts goes where the others
/// are.
fn a_sentinel_that_missed_a_failover_leads_nobody_back(cell: Cell) {
    let replicated = Replicated::start_stubborn();
    let url = replicated.url_with_stale();
    let directory = Directory::Sentinel(Box::new(replicated));
    let with_both = |settings: Settings| settings.with("redis", url);
    let mut cluster = Cluster::start_on(directory, cell.fleet, 2, with_both);
    after_settling(&mut cluster, |cluster| cluster.replicated().swap());
    let settled = settlings(&cluster);

    cluster.replicated().start_stale_sentinel();
    let new = cluster.add(|settings| settings);
    cluster.await_all_up();
    let _terminal = cluster[new].terminal("ann").follow();
    assert_eq!(cluster.rows().len(), 1, "the row is at the new primary");

    thread::sleep(LOOKS);
    let stale = cluster.replicated().stale_primary();
    assert_ne!(
        stale,
        cluster.redis().port(),
        "it has not learned of the failover"
    );
    assert_eq!(
        settlings(&cluster)[..settled.len()],
        settled,
        "nobody has left"
    );
}

/// Some looks at the Sentinels, of which there is one a second.
const LOOKS: Duration = Duration::from_secs(4);

/// H39: the Sentinel is asked anew at each start.
fn a_server_that_starts_after_a_failover_joins_the_others(cell: Cell) {
    let mut cluster = cell.start(1);
    let mut terminal = cluster[0].terminal("ann");
    cluster.replicated().lose_primary();

    let new = cluster.add(|settings| settings);
    cluster.await_all_up();

    eventually("it reaches the others' terminals without a doubt", || {
        let receipt = cluster[new].api().push("ann", "from the new one");
        receipt.outcome(terminal.uuid) == Some("written") && !receipt.degraded
    });
    terminal.expect_text("from the new one");
}

/// H19, H38: what is written after a failover is written where it counts.
fn a_terminal_that_connects_after_a_failover_is_registered_with_the_new_primary(cell: Cell) {
    let mut cluster = cell.start(1);
    after_settling(&mut cluster, |cluster| cluster.replicated().lose_primary());

    let terminal = cluster[0].terminal("ann");

    let rows = cluster.rows();
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0].1, terminal.uuid.to_string());
    terminal.close();
    eventually("its row is gone", || cluster.rows().is_empty());
}
