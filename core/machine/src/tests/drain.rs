//! The end of an instance, and isolation.

use std::time::Duration;

use crate::config::Config;
use crate::directory::LeaseState;
use crate::event::{Answer, Event};
use crate::message::{Audience, Push, PushRefused};
use crate::testing::cluster::{Cluster, Server, frame, user};
use crate::testing::rig::Rig;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn drain(rig: &mut Rig, delay: u64, spread: u64) -> Vec<String> {
    rig.event(Event::Drain {
        delay: seconds(delay),
        spread: seconds(spread),
    })
}

fn closes(said: &[String]) -> usize {
    said.iter().filter(|said| said.starts_with("close")).count()
}

fn answer_closes(rig: &mut Rig, keys: &[crate::id::ConnectionKey], said: &[String]) -> Vec<String> {
    let mut all = Vec::new();
    for key in keys {
        if said.contains(&format!("close {} service_restart", key.slot())) {
            all.extend(rig.closed(*key));
        }
    }
    all
}

/// H53: however many they are, a drain is not longer than it was ordered to be.
#[test]
fn a_drain_that_is_behind_does_not_wait_for_its_next_step() {
    let mut rig = Rig::up();
    for number in 0..3000 {
        rig.connect(&format!("user{number}"));
    }
    let said = drain(&mut rig, 0, 0);
    assert_eq!(closes(&said) + closes(&rig.pass_ms(1)), 3000);
}

/// H53: the lease says so at once, terminals leave evenly, oldest first, then the lease goes, and
/// `Drained` is the last word.
#[test]
fn a_drain_sends_terminals_away_evenly_and_ends_with_drained() {
    let mut rig = Rig::up();
    let keys: Vec<_> = (0..10)
        .map(|number| rig.connect(&format!("user{number}")))
        .collect();
    drain(&mut rig, 2, 10);
    assert_eq!(rig.lease().2, LeaseState::Draining);
    assert_eq!(rig.pass_ms(1990), [""; 0]);
    for _ in 0..10 {
        let said = rig.pass_ms(1000);
        assert!(closes(&said) <= 1, "{said:?}");
        answer_closes(&mut rig, &keys, &said);
    }
    let said = rig.pass_ms(100);
    assert_eq!(closes(&said), 1);
    assert!(!said.contains(&"drained".to_owned()));
    answer_closes(&mut rig, &keys, &said);
    let said = rig.pass_ms(1000);
    assert_eq!(said, ["drained"]);
    let now = rig.cluster.now.mono;
    assert!(rig.cluster.directory.is_empty(now));
    let trips = rig.instance().stats().trips;
    assert_eq!(rig.pass(seconds(30)), [""; 0]);
    assert_eq!(
        rig.instance().stats().trips,
        trips,
        "nothing is asked after the end"
    );
}

#[test]
fn a_second_drain_shortens_the_first_and_never_prolongs_it() {
    let mut rig = Rig::up();
    let key = rig.connect("ann");
    drain(&mut rig, 100, 100);
    drain(&mut rig, 1, 0);
    drain(&mut rig, 50, 0);
    assert_eq!(rig.pass_ms(1100), ["close 0 service_restart"]);
    rig.closed(key);
    assert_eq!(rig.pass_ms(100), ["drained"]);
}

#[test]
fn pushes_are_delivered_while_draining() {
    let mut rig = Rig::up();
    rig.connect("ann");
    drain(&mut rig, 10, 10);
    rig.pass_ms(3000);
    assert_eq!(rig.push("ann", "x"), ["x 0", "flush 0"]);
    assert!(!rig.last_receipt_is_degraded());
}

/// H38, H53: the directory is not needed for the end.
#[test]
fn a_drain_without_the_directory_ends_too() {
    let mut rig = Rig::up();
    let key = rig.connect("ann");
    rig.link_down();
    drain(&mut rig, 0, 0);
    assert_eq!(rig.pass_ms(50), [""; 0]);
    assert_eq!(rig.closed(key), ["disconnected 0", "forget 0"]);
    assert_eq!(rig.pass_ms(100), ["drained"]);
}

/// H53: neither is its answer.
#[test]
fn a_drain_with_a_mute_directory_ends_too_and_every_connection_is_forgotten() {
    let mut rig = Rig::up();
    let key = rig.connect("ann");
    rig.cluster.server = Server::Mute;
    let mut said = drain(&mut rig, 0, 0);
    said.extend(rig.pass_ms(50));
    said.extend(rig.closed(key));
    said.extend(rig.pass(seconds(15)));
    assert_eq!(
        said,
        [
            "close 0 service_restart",
            "disconnected 0",
            "forget 0",
            "drained"
        ]
    );
}

/// The drain's end does not leave a lease behind that was just being claimed.
#[test]
fn a_claim_that_is_answered_after_the_last_terminal_is_released() {
    let mut rig = Rig::up();
    rig.link_down();
    rig.cluster.server = Server::Waits;
    rig.link_up();
    drain(&mut rig, 0, 0);
    rig.pass_ms(100);
    rig.cluster.server = Server::Answers;
    rig.answer();
    assert_eq!(rig.pass_ms(100), ["drained"]);
    let now = rig.cluster.now.mono;
    assert!(rig.cluster.directory.is_empty(now));
    assert_eq!(rig.lease().2, LeaseState::Released);
}

/// H53: however short the spread, everybody is told before the end.
#[test]
fn a_drain_of_many_terminals_at_once_ends_after_the_last_is_told() {
    let mut rig = Rig::new(Config {
        close_timeout: Duration::from_millis(10),
        directory_timeout: Duration::from_millis(10),
        ..Config::default()
    });
    rig.link_up();
    for number in 0..4000 {
        rig.accept(&format!("user{number}"));
    }
    let mut said = drain(&mut rig, 0, 0);
    said.extend(rig.pass_ms(1000));
    let aborts = said.iter().filter(|said| said.starts_with("abort")).count();
    assert_eq!(
        (aborts, said.last().map(String::as_str)),
        (4000, Some("drained"))
    );
}

/// Cut off from the directory while it works for others: terminals are sent to them, and the
/// instance takes part again when it can.
#[test]
fn an_isolated_instance_sends_its_terminals_away_and_rejoins() {
    let config = Config {
        ping_interval: seconds(3600),
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 2);
    let (_, ann) = cluster.connect(0, "ann");
    let (_, bob) = cluster.connect(1, "bob");
    cluster.push_user(1, "ann", "a link is opened");
    cluster.event(0, Event::DirectoryDown);
    cluster.pass(seconds(15));
    assert_eq!(cluster.closed.get(&ann), None);
    cluster.pass(seconds(35));
    assert!(cluster.closed.contains_key(&ann) && !cluster.closed.contains_key(&bob));
    assert!(!cluster.instances[0].is_ready());
    cluster.event(0, Event::DirectoryUp);
    cluster.pass(seconds(1));
    assert!(cluster.instances[0].is_ready());
}

/// H08, H53: each call is answered before the end, however late its deadline is, and what comes
/// after the end is refused.
#[test]
fn pushes_that_outlive_the_patience_of_a_drain_are_answered_before_drained() {
    let mut cluster = Cluster::new(&Config::default(), 2);
    let (_, here) = cluster.connect(0, "ann");
    let (_, there) = cluster.connect(1, "ann");
    cluster.stalled.extend([here, there]);
    let push = |to| Push {
        deadline: Config::DEADLINE_MAX,
        ..frame(to, "hello", 1)
    };
    let calls = [user("ann"), Audience::Everyone].map(|to| cluster.call_push(0, push(to)));
    cluster.event(
        0,
        Event::Drain {
            delay: Duration::ZERO,
            spread: Duration::ZERO,
        },
    );
    cluster.pass(seconds(12));
    assert!(cluster.drained[0]);
    for call in calls {
        let receipt = cluster.receipt(call);
        assert!(receipt.degraded, "{receipt:?}");
        assert_eq!(receipt.counts.written, 0);
    }
    let late = cluster.push_user(0, "ann", "late");
    let refused = Answer::Push(Err(PushRefused::Stopped));
    assert_eq!(cluster.answers[&late], refused);
    cluster.pass(seconds(30));
}
