//! Pushes to everyone: counted by instance, paced, and not repeated.

use std::time::Duration;

use super::pair;
use crate::config::Config;
use crate::message::{Audience, Push};
use crate::testing::cluster::{Cluster, frame, user};

const SECOND: Duration = Duration::from_secs(1);

/// H52: a push to everyone counts the terminals of each instance, and a repeat writes nothing.
#[test]
fn a_broadcast_is_counted_by_instance_and_repeated_without_effect() {
    let mut cluster = Cluster::new(&Config::default(), 3);
    let ids: Vec<_> = (0..6)
        .map(|number| cluster.connect(number % 2, "ann").1)
        .collect();
    for (via, id) in [(2, 1), (0, 1)] {
        let call = cluster.push(via, Audience::Everyone, "hello", id);
        cluster.pass(SECOND);
        let receipt = cluster.receipt(call);
        let counts: Vec<_> = (receipt.instances.iter())
            .map(|outcome| {
                (
                    outcome.instance.get(),
                    outcome.answered,
                    outcome.counts.written,
                )
            })
            .collect();
        assert_eq!(counts, [(1, true, 3), (2, true, 3), (3, true, 0)]);
        assert_eq!((receipt.counts.written, receipt.degraded), (6, false));
    }
    for id in ids {
        assert_eq!(cluster.texts(id), ["hello"]);
    }
}

/// H49: a repeat of a push to everyone that is not over is told when it is.
#[test]
fn a_repeat_of_a_pending_broadcast_waits_for_it() {
    let mut cluster = pair();
    let (_, ann) = cluster.connect(0, "ann");
    cluster.stalled.insert(ann);
    let calls: Vec<_> = (0..3)
        .map(|via| cluster.push(via % 2, Audience::Everyone, "hello", 1))
        .collect();
    cluster.pass(SECOND);
    assert!(cluster.answers.is_empty());
    cluster.read_again();
    for call in calls {
        let receipt = cluster.receipt(call);
        assert_eq!((receipt.counts.written, receipt.counts.queued), (1, 0));
    }
    assert_eq!(cluster.texts(ann), ["hello"]);
}

/// H49: a repeat is answered at its own deadline, and falsifies nothing.
#[test]
fn a_repeat_of_a_broadcast_that_is_not_over_by_its_deadline_is_queued() {
    let mut cluster = Cluster::new(&Config::default(), 1);
    let (_, ann) = cluster.connect(0, "ann");
    cluster.stalled.insert(ann);
    let long = Push {
        deadline: 20 * SECOND,
        ..frame(Audience::Everyone, "hello", 1)
    };
    let first = cluster.call_push(0, long);
    let again = cluster.push(0, Audience::Everyone, "hello", 1);
    cluster.pass(Config::DEADLINE_DEFAULT);
    assert_eq!(cluster.receipt(again).counts.queued, 1);
    cluster.read_again();
    assert_eq!(cluster.receipt(first).counts.written, 1);
    let last = cluster.push(0, Audience::Everyone, "hello", 1);
    assert_eq!(cluster.receipt(last).counts.written, 1);
    assert_eq!(cluster.texts(ann), ["hello"]);
}

/// H24, H49: those that wait for the same push are bounded; the others are told at once.
#[test]
fn few_repeats_wait_for_a_pending_push() {
    for to in [Audience::Everyone, user("ann")] {
        let mut cluster = Cluster::new(&Config::default(), 1);
        let (_, ann) = cluster.connect(0, "ann");
        cluster.stalled.insert(ann);
        let calls: Vec<_> = (0..30)
            .map(|_| cluster.push(0, to.clone(), "hello", 1))
            .collect();
        cluster.pass(SECOND / 2);
        let told = (calls.iter()).filter(|call| cluster.answers.contains_key(*call));
        assert_eq!(told.count(), 13, "{to:?}");
        assert_eq!(cluster.receipt(calls[29]).counts.queued, 1);
        cluster.read_again();
        assert_eq!(cluster.receipt(calls[16]).counts.written, 1);
        assert_eq!(cluster.texts(ann), ["hello"]);
    }
}

/// H24, H49: a push to everyone that waits for an earlier delivery of the same push is not left waiting when the
/// memory of repeats is too small for that one.
#[test]
fn a_repeat_is_told_that_it_is_queued_when_the_first_one_is_forgotten() {
    let config = Config {
        repeat_entries: 2,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 1);
    let (_, ann) = cluster.connect(0, "ann");
    cluster.stalled.insert(ann);
    let first = cluster.push(0, user("ann"), "hello", 1);
    let everyone = cluster.push(0, Audience::Everyone, "hello", 1);
    for id in 2..6 {
        cluster.push(0, user("ann"), "more", id);
    }
    cluster.pass(Config::DEADLINE_DEFAULT);
    assert_eq!(cluster.receipt(first).counts.queued, 1);
    assert_eq!(cluster.receipt(everyone).counts.queued, 1);
    cluster.read_again();
    cluster.pass(SECOND);
    assert!(cluster.instances[0].is_at_rest_but_for(1));
}

/// H24, H49: nor does a repeat of a push to everyone wait for its own deadline then.
#[test]
fn a_repeat_of_a_broadcast_is_told_that_it_is_queued_when_the_first_one_is_forgotten() {
    let config = Config {
        repeat_entries: 2,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 1);
    let (_, ann) = cluster.connect(0, "ann");
    cluster.stalled.insert(ann);
    cluster.push(0, Audience::Everyone, "hello", 1);
    let again = cluster.push(0, Audience::Everyone, "hello", 1);
    assert!(!cluster.answers.contains_key(&again));
    for id in 2..6 {
        cluster.push(0, user("ann"), "more", id);
    }
    assert_eq!(cluster.receipt(again).counts.queued, 1);
    cluster.read_again();
    cluster.pass(SECOND);
    assert_eq!(cluster.instances[0].stats().bugs, 0);
    assert!(cluster.instances[0].is_at_rest_but_for(1));
}

/// H49: a terminal that a push has reached by name it does not reach again as one of all.
#[test]
fn a_push_to_a_user_is_not_repeated_to_everyone() {
    let mut cluster = pair();
    let (_, ann) = cluster.connect(1, "ann");
    let (_, bob) = cluster.connect(1, "bob");
    cluster.push(0, user("ann"), "hello", 1);
    let everyone = cluster.push(0, Audience::Everyone, "hello", 1);
    cluster.pass(SECOND);
    assert_eq!(cluster.receipt(everyone).counts.written, 2);
    assert_eq!(cluster.texts(ann), ["hello"]);
    assert_eq!(cluster.texts(bob), ["hello"]);
}

/// H52: broadcasts are paced together, however many there are.
#[test]
fn broadcasts_are_paced_together() {
    let config = Config {
        broadcast_rate: 100,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 1);
    let ids: Vec<_> = (0..10).map(|_| cluster.connect(0, "ann").1).collect();
    for id in 1..=20 {
        cluster.push(0, Audience::Everyone, "x", id);
    }
    let frames = |cluster: &Cluster| ids.iter().map(|id| cluster.texts(*id).len()).sum::<usize>();
    assert!(frames(&cluster) <= 1, "one of a hundred a second at once");
    cluster.pass(SECOND);
    assert!(
        (80..=101).contains(&frames(&cluster)),
        "{}",
        frames(&cluster)
    );
    cluster.pass(3 * SECOND);
    assert_eq!(frames(&cluster), 200);
}

#[test]
fn broadcasts_beyond_the_limit_overflow() {
    let config = Config {
        broadcast_rate: 100,
        broadcasts: 1,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 1);
    for _ in 0..3 {
        cluster.connect(0, "ann");
    }
    cluster.push(0, Audience::Everyone, "1", 1);
    let call = cluster.push(0, Audience::Everyone, "2", 2);
    assert_eq!(cluster.receipt(call).counts.overflow, 3);
}
