//! Pushes that never pause, and what must hold of them whatever happens to the directory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use switchboard_tests::api::{Api, Receipt, push};
use switchboard_tests::cluster::Cluster;
use switchboard_tests::patience::eventually;
use switchboard_tests::terminal::Follower;
use uuid::Uuid;

/// Every server pushes to three terminals of a user while `act` does something to the directory.
/// Each receipt without `degraded` names all three as written; what is called written comes once and
/// in order; afterwards every server reaches all of them without a doubt; and no terminal has had to
/// reconnect.
#[track_caller]
pub(crate) fn nobody_is_missed_while(cluster: Cluster, act: impl FnOnce(&mut Cluster, &Traffic)) {
    traffic_goes_on_while(cluster, Missing::WithDegraded, act);
}

/// The same, and receipts with `degraded` name all three as written too: nothing is between the servers.
#[track_caller]
pub(crate) fn everybody_is_reached_while(
    cluster: Cluster,
    act: impl FnOnce(&mut Cluster, &Traffic),
) {
    traffic_goes_on_while(cluster, Missing::Nobody, act);
}

/// The terminals that a receipt may miss.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Nobody,
    /// Anybody, if it says `degraded`.
    WithDegraded,
}

#[track_caller]
fn traffic_goes_on_while(
    mut cluster: Cluster,
    missing: Missing,
    act: impl FnOnce(&mut Cluster, &Traffic),
) {
    let terminals = three_of_ann(&cluster);
    let uuids: Vec<_> = terminals.iter().map(|terminal| terminal.uuid).collect();
    let traffic = Traffic::default();

    thread::scope(|scope| {
        let _stop = Stop(&traffic);
        for (publisher, server) in cluster.servers().iter().enumerate() {
            let (api, traffic, uuids) = (server.api(), &traffic, &uuids);
            scope.spawn(move || traffic.publish(&api, publisher, uuids, missing));
        }
        act(&mut cluster, &traffic);
    });

    for server in cluster.servers() {
        // Doubt may outlast the repair by a lease.
        eventually("an undoubted push reaches all", || {
            let receipt = server.api().push("ann", "afterwards");
            receipt.written == terminals.len() as u64 && !receipt.degraded
        });
    }
    for terminal in &terminals {
        assert_eq!(terminal.ending(), None);
    }
    assert_eq!(cluster.rows().len(), terminals.len());
    traffic.check(&terminals);
}

/// Does something to the directory, and waits until every server has noticed, has written its rows
/// again, and sees all others up.
#[track_caller]
pub(crate) fn after_settling(cluster: &mut Cluster, act: impl FnOnce(&mut Cluster)) {
    let before = settlings(cluster);
    act(cluster);
    eventually("every server settles", || {
        let after = settlings(cluster);
        before
            .iter()
            .zip(&after)
            .all(|(before, after)| after > before)
    });
    cluster.await_all_up();
}

/// How often each server has settled.
#[track_caller]
pub(crate) fn settlings(cluster: &Cluster) -> Vec<f64> {
    let apis = cluster.servers().iter().map(|server| server.api());
    apis.map(|api| api.metric("switchboard_settlings_total"))
        .collect()
}

/// The receipts of pushes that never pause.
#[derive(Default)]
pub(crate) struct Traffic {
    done: AtomicBool,
    receipts: Mutex<BTreeMap<String, Receipt>>,
}

impl Traffic {
    /// Waits for more pushes, one of them without a doubt.
    #[track_caller]
    pub(crate) fn flows(&self) {
        const MORE: usize = 50;
        let before = self.receipts(|receipts| receipts.len());
        eventually("pushes flow", || {
            self.receipts(|receipts| {
                receipts.len() >= before + MORE && receipts.values().any(|r| !r.degraded)
            })
        });
    }

    fn publish(&self, api: &Api, publisher: usize, uuids: &[Uuid], missing: Missing) {
        const PAUSE: Duration = Duration::from_millis(5);
        let mut connection = api.publisher();
        for n in 0.. {
            if self.done.load(Ordering::Relaxed) {
                return;
            }
            let text = format!("{publisher}/{n}");
            connection.send(push("ann", text.clone()));
            let receipt = connection.receipt();
            if !receipt.degraded || missing == Missing::Nobody {
                for uuid in uuids {
                    let outcome = receipt.outcome(*uuid);
                    assert_eq!(outcome, Some("written"), "{text}: {receipt:?}");
                }
            }
            self.receipts(|receipts| receipts.insert(text, receipt));
            thread::sleep(PAUSE);
        }
    }

    /// What a receipt calls written has come, once and in the order of its publisher.
    #[track_caller]
    fn check(&self, terminals: &[Follower]) {
        let receipts = self.receipts(|receipts| receipts.clone());
        for terminal in terminals {
            let written = |receipt: &Receipt| receipt.outcome(terminal.uuid) == Some("written");
            let expected = receipts.values().filter(|receipt| written(receipt)).count();
            terminal.await_frames(expected);
            let mut last = BTreeMap::new();
            let mut came = 0;
            for text in terminal.texts() {
                let Some((publisher, n)) = text.split_once('/') else {
                    continue;
                };
                let n: u64 = n.parse().expect("a number");
                let before = last.insert(publisher.to_owned(), n);
                assert!(before < Some(n), "{text} after {before:?}");
                came += usize::from(written(&receipts[&text]));
            }
            assert_eq!(came, expected, "what was called written has come");
        }
    }

    fn receipts<T>(&self, act: impl FnOnce(&mut BTreeMap<String, Receipt>) -> T) -> T {
        act(&mut self.receipts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Ends the traffic, also when the test fails: its threads are waited for.
struct Stop<'a>(&'a Traffic);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.done.store(true, Ordering::Relaxed);
    }
}

#[track_caller]
fn three_of_ann(cluster: &Cluster) -> Vec<Follower> {
    let last = cluster.servers().len() - 1;
    let terminals = [0, 1, last].map(|i| cluster[i].terminal("ann").follow());
    // Links are open before anything happens to the directory.
    for server in cluster.servers() {
        server.api().push("ann", "before").expect_written(3);
    }
    terminals.into()
}
