//! Settling: all rows again, newest first, at the pace of the cluster.

use std::time::Duration;

use crate::config::Config;
use crate::directory::LeaseState;
use crate::event::Heard;
use crate::id::ConnectionKey;
use crate::testing::cluster::Server;
use crate::testing::rig::Rig;

fn with_terminals(settle_rate: u32, terminals: usize) -> (Rig, Vec<ConnectionKey>) {
    let mut rig = Rig::new(Config {
        settle_rate,
        ping_interval: Duration::from_secs(3600),
        ..Config::default()
    });
    rig.link_up();
    let keys = (0..terminals)
        .map(|number| rig.connect(&format!("user{number}")))
        .collect();
    (rig, keys)
}

fn registers(rig: &Rig) -> usize {
    rig.asked()
        .iter()
        .filter(|asked| asked.starts_with("register"))
        .count()
}

/// H19, H38: every row comes back under the next epoch, and only then are older ones dead.
#[test]
fn rows_are_written_again_under_the_next_epoch_and_the_floor_rises_at_the_end() {
    let (mut rig, _) = with_terminals(100, 20);
    rig.cluster.directory.wipe();
    rig.link_down();
    rig.link_up();
    assert_eq!(rig.lease(), (2, 1, LeaseState::Settling));
    rig.pass_ms(120);
    assert_eq!(rig.lease(), (2, 1, LeaseState::Settling));
    rig.pass_ms(200);
    assert_eq!(
        (rig.lease(), rig.row_epochs()),
        ((2, 2, LeaseState::Up), vec![2; 20])
    );
}

/// A claim that replaces exactly what was acknowledged lost nothing but perhaps a failover's tail.
#[test]
fn a_lossless_claim_is_up_when_the_young_rows_are_written() {
    let (mut rig, _) = with_terminals(100, 50);
    rig.pass_ms(61_000);
    rig.connect("young");
    rig.link_down();
    rig.link_up();
    rig.pass_ms(100);
    assert_eq!(rig.lease(), (2, 1, LeaseState::Up));
    rig.pass_ms(1000);
    assert_eq!(
        (rig.lease(), rig.row_epochs()),
        ((2, 2, LeaseState::Up), vec![2; 51])
    );
}

/// While the lease had expired others may have taken any row for dead, and removed it.
#[test]
fn a_claim_after_the_lease_ran_out_is_up_when_all_rows_are_written() {
    let (mut rig, _) = with_terminals(100, 50);
    rig.pass_ms(61_000);
    rig.link_down();
    rig.pass_ms(11_000);
    rig.link_up();
    rig.pass_ms(200);
    assert_eq!(rig.lease(), (2, 1, LeaseState::Settling));
    rig.pass_ms(1000);
    assert_eq!(
        (rig.lease(), rig.row_epochs()),
        ((2, 2, LeaseState::Up), vec![2; 50])
    );
}

/// The directory's clock went back, and a lease that had expired has not: the same.
#[test]
fn a_renewal_after_the_lease_ran_out_by_the_own_count_settles() {
    let (mut rig, _) = with_terminals(100, 2);
    let (epoch, _, _) = rig.lease();
    rig.prolong_lease(Duration::from_secs(60));
    rig.pause(Duration::from_secs(12));
    rig.pass_ms(1000);
    assert_eq!(
        (rig.lease(), rig.row_epochs()),
        ((epoch + 1, epoch + 1, LeaseState::Up), vec![epoch + 1; 2])
    );
}

/// What an interrupted settling had not written is still missing, whatever the next claim replaces.
#[test]
fn a_lossless_claim_during_settling_inherits_what_is_missing() {
    let (mut rig, _) = with_terminals(100, 50);
    rig.pass_ms(61_000);
    rig.cluster.directory.wipe();
    rig.link_down();
    rig.link_up();
    rig.pass_ms(60);
    assert_eq!(rig.lease(), (2, 1, LeaseState::Settling));
    rig.link_down();
    rig.link_up();
    rig.pass_ms(60);
    assert!(rig.row_epochs().len() < 50);
    assert_eq!(rig.lease(), (3, 1, LeaseState::Settling));
    rig.pass_ms(1000);
    assert_eq!(
        (rig.lease(), rig.row_epochs()),
        ((3, 3, LeaseState::Up), vec![3; 50])
    );
}

/// The same for the tail of a failover: it does not grow old while it is missing.
#[test]
fn an_interrupted_tail_stays_the_tail() {
    let (mut rig, _) = with_terminals(20, 10);
    rig.pass_ms(30_000);
    rig.link_down();
    rig.link_up();
    rig.cluster.server = Server::Waits;
    rig.link_down();
    rig.pass_ms(40_000);
    rig.link_up();
    rig.answer();
    rig.answer();
    assert_eq!(rig.lease(), (3, 1, LeaseState::Settling));
}

/// The pace is a budget of the cluster: each of the live instances takes its share.
#[test]
fn the_pace_is_shared_by_the_live_instances() {
    let (mut rig, _) = with_terminals(400, 200);
    rig.other_claims(1, LeaseState::Up);
    rig.pass_ms(1100);
    let before = rig.instance().stats().operations;
    rig.link_down();
    rig.link_up();
    rig.pass_ms(490);
    let operations = rig.instance().stats().operations - before;
    assert!(
        (95..=125).contains(&operations),
        "{operations} in half a second, 200 a second are its share"
    );
}

/// The directory is slower than the pace: the pace is halved, and nothing is forgotten.
#[test]
fn a_batch_that_times_out_halves_the_pace_and_is_written_again() {
    let (mut rig, _) = with_terminals(2000, 400);
    rig.cluster.server = Server::Waits;
    rig.link_down();
    rig.link_up();
    rig.answer();
    assert_eq!(registers(&rig), 100);
    rig.cluster.held.clear();
    rig.pass_ms(20);
    rig.cluster.server = Server::Mute;
    rig.pass_ms(1200);
    rig.cluster.server = Server::Answers;
    let slowed = rig.instance().stats().trips_timed_out;
    assert!(slowed >= 1);
    rig.pass_ms(20_000);
    assert_eq!(
        (rig.row_epochs(), rig.lease()),
        (vec![2; 400], (2, 2, LeaseState::Up))
    );
    assert_eq!(
        rig.instance().stats().settlings,
        2,
        "an unknown outcome starts no second settling"
    );
}

/// The floor must not rise above a row that is being written, whoever began to write it.
#[test]
fn settling_waits_for_rows_that_are_written_out_of_its_order() {
    let (mut rig, keys) = with_terminals(20, 3);
    rig.cluster.server = Server::Waits;
    // The register of the oldest is under way under epoch 1 when the lease is lost.
    let row = keys[0];
    rig.cluster.instances[0].write_row(rig.cluster.now, row);
    rig.pass_ms(0);
    rig.cluster.instances[0].lose_lease(rig.cluster.now);
    rig.pass_ms(0);
    assert_eq!(rig.asked(), ["register user0 1", "claim 2"]);
    let register = rig.cluster.held.pop_front().expect("the register's trip");
    rig.answer();
    // Its answer comes before settling has come to it: it is written again at once.
    let later = std::mem::replace(&mut rig.cluster.held, [register].into());
    rig.answer();
    let again = std::mem::replace(&mut rig.cluster.held, later);
    for _ in 0..10 {
        rig.answer();
        rig.pass_ms(50);
    }
    assert_eq!(rig.lease().1, 1, "a row is still below the epoch");
    rig.cluster.held = again;
    rig.answer();
    rig.pass_ms(100);
    rig.answer();
    rig.pass_ms(50);
    rig.answer();
    assert_eq!((rig.lease().1, rig.row_epochs()), (2, vec![2; 3]));
}

/// H11: a terminal that leaves in the middle of settling is not waited for, and not written again.
#[test]
fn connections_that_end_while_settling_are_not_waited_for() {
    let (mut rig, keys) = with_terminals(40, 6);
    rig.cluster.server = Server::Waits;
    rig.link_down();
    rig.link_up();
    rig.answer();
    for key in keys {
        rig.heard(key, Heard::Control);
        rig.closed(key);
    }
    rig.cluster.server = Server::Answers;
    rig.answer();
    rig.pass_ms(1000);
    assert!(rig.row_epochs().is_empty());
    assert_eq!(
        (rig.lease(), rig.instance().terminals().len()),
        ((2, 2, LeaseState::Up), 0)
    );
}

/// A second loss in mid-settling begins anew and ends.
#[test]
fn a_link_that_is_lost_while_settling_settles_under_the_epoch_after() {
    let (mut rig, _) = with_terminals(100, 30);
    for _ in 0..5 {
        rig.link_down();
        rig.link_up();
        rig.pass_ms(60);
    }
    rig.pass_ms(1000);
    assert_eq!(
        (rig.lease(), rig.row_epochs()),
        ((6, 6, LeaseState::Up), vec![6; 30])
    );
}
