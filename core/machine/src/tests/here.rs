//! Terminals of the publishing instance, beside one elsewhere that has just gone.

use std::time::Duration;

use super::pair;
use crate::config::Config;
use crate::id::{CallId, ConnectionId, UserId};
use crate::message::Push;
use crate::testing::cluster::{Cluster, Server, frame, user};

/// A laptop of ann's here, and a phone whose row still names the other instance. Of three pushes the
/// first is at its second lookup, the second's is under way, and the third waits.
struct Scene {
    cluster: Cluster,
    laptop: ConnectionId,
    calls: [CallId; 3],
}

impl Scene {
    fn new() -> Self {
        let mut cluster = pair();
        let laptop = cluster.connect(0, "ann").1;
        let first = begun(&mut cluster);
        cluster.server = Server::Waits;
        let second = cluster.hand_in(0, push("b", Config::DEADLINE_DEFAULT));
        cluster.settle_down();
        let third = cluster.push(0, user("ann"), "c", 3);
        Self {
            cluster,
            laptop,
            calls: [first, second, third],
        }
    }

    #[track_caller]
    fn ends(mut self) {
        self.cluster.answer_held();
        assert_eq!(self.cluster.texts(self.laptop), ["a", "b", "c"]);
        for call in self.calls {
            let receipt = self.cluster.receipt(call);
            let named = receipt.terminals.iter();
            let laptop = named.filter(|terminal| terminal.connection == self.laptop);
            assert_eq!(laptop.count(), 1, "{receipt:?}");
            assert_eq!(
                (receipt.counts.written, receipt.counts.unreachable),
                (1, 0),
                "{receipt:?}"
            );
        }
    }
}

/// A push whose delivery to the other instance, where the terminal has gone, is on its way.
fn begun(cluster: &mut Cluster) -> CallId {
    let phone = cluster.connect(1, "ann").0;
    cluster.pass(Duration::from_secs(2));
    cluster.push_user(0, "ann", "the link is there");
    cluster.received.clear();
    // The end of its row is on the way for long.
    cluster.server = Server::Waits;
    cluster.disconnect(1, phone);
    cluster.server = Server::Answers;
    let batches = cluster.batches;
    let call = cluster.hand_in(0, push("a", Config::DEADLINE_DEFAULT));
    while cluster.batches == batches {
        assert!(cluster.step(), "it leaves");
    }
    call
}

fn push(text: &str, deadline: Duration) -> Push {
    Push {
        deadline,
        ..frame(user("ann"), text, u128::from(text.as_bytes()[0]))
    }
}

/// A terminal that is served without a lookup is not served once more by its row.
#[test]
fn a_terminal_here_stands_in_each_receipt_once() {
    Scene::new().ends();
}

/// A push that waited with the terminals here serves them although no row names them.
#[test]
fn a_terminal_here_without_a_row_is_served_by_every_push() {
    let mut scene = Scene::new();
    let ann = UserId::new("ann").expect("a user");
    scene
        .cluster
        .directory
        .evict(scene.cluster.now.mono, &ann.into());
    scene.ends();
}

/// What hurries is a push that waits for rows, and not one that waits for a slow terminal.
#[test]
fn a_push_that_was_routed_hurries_no_other() {
    let mut cluster = pair();
    let laptop = cluster.connect(0, "ann").1;
    let first = begun(&mut cluster);
    cluster.stalled.insert(laptop);
    let ann = UserId::new("ann").expect("a user");
    cluster.directory.evict(cluster.now.mono, &ann.into());
    cluster.hand_in(0, push("b", Duration::from_millis(300)));
    let trips = cluster.instances[0].stats().trips;
    while cluster.instances[0].stats().trips == trips {
        assert!(cluster.step(), "its lookup leaves");
    }
    cluster.server = Server::Waits;
    cluster.settle_down();
    cluster.pass(Duration::from_millis(120));
    assert!(
        !cluster.answers.contains_key(&first),
        "its second lookup is under way"
    );
    cluster.answer_held();
    assert!(!cluster.receipt(first).degraded);
}
