//! Links between instances: opened once, by both, by strangers; broken and opened again.

use std::time::Duration;

use super::{outcomes, pair};
use crate::command::Log;
use crate::config::Config;
use crate::message::{Audience, Outcome};
use crate::testing::cluster::{Cluster, frame, user};

/// H43: both sides dial, and one link serves both; nothing that was sent is lost.
#[test]
fn when_both_dial_the_link_of_the_lower_id_stays_and_everything_arrives() {
    for shuffle in [None].into_iter().chain((0..300).map(Some)) {
        let mut cluster = pair();
        cluster.shuffle = shuffle;
        let (_, ann) = cluster.connect(0, "ann");
        let (_, bob) = cluster.connect(1, "bob");
        let to_bob = cluster.hand_in(0, frame(user("bob"), "for bob", 1));
        let to_ann = cluster.hand_in(1, frame(user("ann"), "for ann", 2));
        cluster.settle_down();
        cluster.pass(Duration::from_secs(1));
        assert_eq!(
            outcomes(&cluster, to_bob),
            [(bob, Outcome::Written)],
            "{shuffle:?}"
        );
        assert_eq!(
            outcomes(&cluster, to_ann),
            [(ann, Outcome::Written)],
            "{shuffle:?}"
        );
        assert!(cluster.link_ends() <= 2, "more than one link: {shuffle:?}");
        assert_eq!(cluster.texts(ann), ["for ann"]);
        assert_eq!(cluster.texts(bob), ["for bob"]);
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// H43, H41: an instance that has crashed is reported unreachable at once, and delays nobody.
#[test]
fn a_dead_instance_delays_nobody_and_is_reported() {
    let mut cluster = Cluster::new(&Config::default(), 3);
    let (_, dead) = cluster.connect(1, "ann");
    let (_, alive) = cluster.connect(2, "ann");
    cluster.down[1] = true;
    let call = cluster.push_user(0, "ann", "hello");
    let mut found = outcomes(&cluster, call);
    found.sort_unstable_by_key(|(_, outcome)| *outcome != Outcome::Written);
    assert_eq!(
        found,
        [(alive, Outcome::Written), (dead, Outcome::Unreachable)]
    );
    assert_eq!(
        cluster.directory.len(cluster.now.mono),
        2,
        "unreachable is not gone"
    );
}

/// H43, H47: after a failed dial the next pushes do not dial for a while.
#[test]
fn a_failed_dial_is_not_repeated_for_each_push() {
    let mut cluster = pair();
    cluster.connect(1, "ann");
    cluster.down[1] = true;
    for number in 0..10 {
        let call = cluster.push_user(0, "ann", &number.to_string());
        assert_eq!(cluster.receipt(call).counts.unreachable, 1);
    }
    assert_eq!(cluster.dials, 1);
    cluster.pass(SECOND);
    cluster.push_user(0, "ann", "again");
    assert_eq!(cluster.dials, 2);
}

/// H34: the instance at a recycled address is not the one that was meant: nothing is written, no row is
/// removed, and nobody is dialled there for as long as the old lease may be seen.
#[test]
fn a_stranger_at_a_recycled_address_gets_nothing() {
    let mut cluster = pair();
    let (_, ann) = cluster.connect(1, "ann");
    cluster.recycled[1] = true;
    for _ in 0..5 {
        let call = cluster.push_user(0, "ann", "hello");
        assert_eq!(outcomes(&cluster, call), [(ann, Outcome::Unreachable)]);
        cluster.pass(SECOND);
    }
    assert_eq!((cluster.dials, cluster.texts(ann).len()), (1, 0));
    assert_eq!(cluster.directory.len(cluster.now.mono), 1);
}

/// H44, H49: a link that breaks between a delivery and its answer: the delivery is sent again, and
/// not written again.
#[test]
fn what_was_written_before_its_link_broke_is_not_written_again() {
    let mut cluster = pair();
    let (_, ann) = cluster.connect(1, "ann");
    cluster.push_user(0, "ann", "1");
    cluster.mute.insert((1, 0));
    let call = cluster.push_user(0, "ann", "2");
    assert_eq!(cluster.texts(ann), ["1", "2"]);
    assert!(!cluster.answers.contains_key(&call));
    cluster.mute.clear();
    cluster.cut(0, 1);
    cluster.settle_down();
    assert_eq!(outcomes(&cluster, call), [(ann, Outcome::Written)]);
    assert_eq!(cluster.texts(ann), ["1", "2"]);
}

/// H44, H50: what had not arrived when the link broke arrives over the next one, in order.
#[test]
fn what_was_lost_with_its_link_is_sent_again_in_order() {
    let mut cluster = pair();
    let (_, ann) = cluster.connect(1, "ann");
    cluster.push_user(0, "ann", "1");
    cluster.mute.insert((0, 1));
    let calls: Vec<_> = (2..6)
        .map(|number| cluster.push_user(0, "ann", &number.to_string()))
        .collect();
    cluster.mute.clear();
    cluster.cut(0, 1);
    calls.last().expect("four");
    cluster.settle_down();
    assert_eq!(cluster.texts(ann), ["1", "2", "3", "4", "5"]);
    for call in calls {
        assert_eq!(outcomes(&cluster, call), [(ann, Outcome::Written)]);
    }
}

/// H44: a link on which nothing is heard is given up, and opened anew for the next push.
#[test]
fn a_silent_link_is_replaced() {
    let mut cluster = pair();
    let (_, ann) = cluster.connect(1, "ann");
    cluster.push_user(0, "ann", "1");
    cluster.mute.extend([(0, 1), (1, 0)]);
    cluster.pass(12 * SECOND);
    assert_eq!(cluster.link_ends(), 0);
    cluster.mute.clear();
    let call = cluster.push_user(0, "ann", "2");
    assert_eq!(outcomes(&cluster, call), [(ann, Outcome::Written)]);
}

/// H47: an idle link stays open, and serves all pushes.
#[test]
fn one_link_serves_all_pushes_for_as_long_as_both_live() {
    let mut cluster = pair();
    cluster.connect(0, "bob");
    cluster.connect(1, "ann");
    for _ in 0..10 {
        cluster.push_user(0, "ann", "x");
        cluster.push_user(1, "bob", "x");
        cluster.pass(30 * SECOND);
    }
    assert_eq!((cluster.dials, cluster.link_ends()), (1, 2));
}

/// H24: what waits for a peer that does not read is bounded, and what exceeds it is unreachable.
#[test]
fn a_full_link_queue_makes_further_pushes_unreachable() {
    let config = Config {
        push_bytes: 1000,
        queue_bytes: 1_000_000,
        link_queue_bytes: 2000,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 2);
    let (_, ann) = cluster.connect(1, "ann");
    let text = "x".repeat(900);
    // All before the link is open.
    let calls: Vec<_> = (1..=4)
        .map(|id| cluster.hand_in(0, frame(user("ann"), &text, id)))
        .collect();
    cluster.settle_down();
    let found: Vec<_> = calls
        .iter()
        .map(|call| outcomes(&cluster, *call)[0].1)
        .collect();
    assert!(found.contains(&Outcome::Written), "{found:?}");
    assert!(found.contains(&Outcome::Unreachable), "{found:?}");
    assert_eq!(
        cluster.texts(ann).len(),
        found
            .iter()
            .filter(|outcome| **outcome == Outcome::Written)
            .count()
    );
}

/// An instance that takes large pushes, and one that has no room for them and seldom says that it
/// lives.
fn unequal() -> Cluster {
    let mut cluster = Cluster::new(
        &Config {
            push_bytes: 8 << 20,
            queue_bytes: 16 << 20,
            ..Config::default()
        },
        1,
    );
    cluster.start(&Config {
        link_queue_bytes: 2 << 20,
        link_heartbeat: Duration::from_secs(30),
        ..Config::default()
    });
    cluster.pass(Duration::from_secs(3));
    cluster
}

/// H25: a frame that can never fit is told so, and closes neither the terminal nor the link.
#[test]
fn a_push_that_is_too_large_for_another_instance_costs_nobody_anything() {
    let mut cluster = unequal();
    let (_, there) = cluster.connect(1, "ann");
    let large = "x".repeat(6 << 20);
    let call = cluster.push_user(0, "ann", &large);
    assert_eq!(outcomes(&cluster, call), [(there, Outcome::TooLarge)]);
    assert_eq!(cluster.receipt(call).counts.failed(), 1);
    let call = cluster.push(0, Audience::Everyone, &large, 77);
    assert_eq!(cluster.receipt(call).counts.too_large, 1);
    let call = cluster.push_user(0, "ann", "small");
    assert_eq!(outcomes(&cluster, call), [(there, Outcome::Written)]);
    assert_eq!(
        (cluster.texts(there), cluster.dials),
        (vec!["small".to_owned()], 1)
    );
    assert!(cluster.closed.is_empty());
}

/// H41: a repeat reports the same.
#[test]
fn a_repeat_of_a_push_that_is_too_large_is_too_large() {
    let mut cluster = unequal();
    let (_, there) = cluster.connect(1, "ann");
    let large = "x".repeat(6 << 20);
    for _ in 0..2 {
        let call = cluster.hand_in(0, frame(user("ann"), &large, 5));
        cluster.settle_down();
        assert_eq!(outcomes(&cluster, call), [(there, Outcome::TooLarge)]);
    }
}

/// What should be alike is compared when a link opens, at both ends, and breaks nothing.
#[test]
fn settings_that_differ_are_told_by_name_and_the_link_stays() {
    let mut cluster = unequal();
    let (_, there) = cluster.connect(1, "ann");
    for number in 0..10 {
        let call = cluster.push_user(0, "ann", &number.to_string());
        assert_eq!(outcomes(&cluster, call), [(there, Outcome::Written)]);
        cluster.pass(Duration::from_secs(20));
    }
    assert_eq!(cluster.dials, 1, "a heartbeat each 30 s is enough");
    let differing = |at: usize| -> Vec<String> {
        let logs = cluster.log.iter().filter(|(index, _)| *index == at);
        logs.filter_map(|(_, log)| {
            let Log::SettingsDiffer { differences, .. } = log else {
                return None;
            };
            Some(differences)
        })
        .flatten()
        .map(|difference| difference.setting.to_owned())
        .collect()
    };
    let names = ["push_bytes", "queue_bytes", "link_heartbeat"];
    assert_eq!(
        (differing(0), differing(1)),
        (
            names.map(str::to_owned).to_vec(),
            names.map(str::to_owned).to_vec()
        )
    );
    let counts = cluster
        .instances
        .iter()
        .map(|instance| instance.stats().peers_differ);
    assert_eq!(counts.collect::<Vec<_>>(), [1, 1]);
}
