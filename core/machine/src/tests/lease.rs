//! The lease: claimed, renewed by comparison, lost, doubted.

use std::time::Duration;

use crate::directory::{LeaseState, Operation, OperationError, OperationResult, Reply};
use crate::id::Epoch;
use crate::testing::cluster::Server;
use crate::testing::rig::{HERE, Rig, out_of_memory, refused};

fn is_evidence(operation: &Operation) -> bool {
    matches!(operation, Operation::ReadLease { .. })
}

#[test]
fn the_first_claim_takes_epoch_one_and_settles_nothing() {
    let mut rig = Rig::up();
    rig.pass_ms(1);
    assert_eq!(rig.lease(), (1, 1, LeaseState::Up));
    assert!(rig.instance().is_ready());
}

/// A refused claim takes a higher epoch than the one that stands there.
#[test]
fn a_refused_claim_is_followed_by_one_of_a_higher_epoch() {
    let mut rig = Rig::new(crate::config::Config::default());
    rig.cluster.server = Server::Waits;
    rig.link_up();
    let epoch = Epoch::new(7);
    rig.answer_but(|operation| {
        matches!(operation, Operation::Claim { .. }).then_some(Ok(Reply::ClaimRefused { epoch }))
    });
    assert_eq!(rig.asked(), ["claim 8"]);
}

/// H29: the lost claim may have been executed.
#[test]
fn a_claim_without_an_answer_is_followed_by_one_of_the_next_epoch() {
    let mut rig = Rig::new(crate::config::Config::default());
    rig.cluster.server = Server::Waits;
    rig.link_up();
    rig.execute_unanswered();
    rig.pass_ms(1100);
    assert!(rig.asked().contains(&"claim 2".to_owned()));
    rig.cluster.server = Server::Answers;
    rig.answer();
    assert_eq!(rig.lease(), (2, 2, LeaseState::Up));
}

#[test]
fn a_claim_that_is_refused_for_memory_is_tried_again_later() {
    let mut rig = Rig::new(crate::config::Config::default());
    rig.cluster.server = Server::Waits;
    rig.link_up();
    rig.answer_but(out_of_memory);
    assert_eq!(rig.asked(), [""; 0]);
    rig.pass_ms(260);
    assert_eq!(rig.asked(), ["claim 2"]);
}

/// H37: renewals cost one operation every few seconds, whatever the number of terminals.
#[test]
fn the_lease_is_renewed_before_it_runs_out() {
    let mut rig = Rig::up();
    for _ in 0..30 {
        rig.pass_ms(1000);
        let now = rig.cluster.now.mono;
        let left = rig
            .cluster
            .directory
            .leases(now)
            .next()
            .and_then(|seen| seen.remaining);
        assert!(
            left.is_some_and(|left| left >= Duration::from_millis(6990)),
            "{left:?}"
        );
    }
    assert_eq!(rig.lease().0, 1);
}

/// H31: nothing of an instance that slept longer than its lease is brought back without a claim.
#[test]
fn a_pause_of_several_leases_ends_with_a_new_claim() {
    let mut rig = Rig::up();
    let key = rig.connect("ann");
    rig.pause(Duration::from_secs(35));
    rig.heard(key, crate::event::Heard::Control);
    rig.pass_ms(300);
    assert_eq!(
        (rig.lease(), rig.row_epochs()),
        ((2, 2, LeaseState::Up), vec![2])
    );
}

/// A wipe between two renewals is noticed by the next round trip of any kind.
#[test]
fn a_wipe_is_noticed_by_the_reading_of_the_lease_in_a_lookups_trip() {
    let mut rig = Rig::up();
    rig.connect("ann");
    rig.cluster.directory.wipe();
    rig.push("nobody", "x");
    rig.pass_ms(100);
    assert_eq!(
        (rig.lease(), rig.row_epochs()),
        ((2, 2, LeaseState::Up), vec![2])
    );
}

/// H29: whether an unanswered renewal was executed is read, not guessed.
#[test]
fn an_unknown_renewal_is_resolved_by_reading_the_lease() {
    for executed in [false, true] {
        let mut rig = Rig::up();
        rig.cluster.server = Server::Waits;
        while !rig.asked().contains(&"renew 1".to_owned()) {
            rig.cluster.held.clear();
            rig.pass_ms(100);
        }
        if executed {
            rig.execute_unanswered();
        }
        rig.cluster.held.clear();
        rig.pass_ms(1010);
        rig.cluster.server = Server::Answers;
        rig.answer();
        rig.pass_ms(100);
        assert_eq!(rig.lease(), (1, 1, LeaseState::Up), "executed: {executed}");
    }
}

/// A server that refuses to read as well is not asked without pause.
#[test]
fn refused_evidence_is_asked_for_again_after_a_pause() {
    let mut rig = Rig::up();
    rig.cluster.server = Server::Waits;
    while !rig.asked().contains(&"renew 1".to_owned()) {
        rig.cluster.held.clear();
        rig.pass_ms(100);
    }
    rig.cluster.held.clear();
    rig.pass_ms(1010);
    let before = rig.instance().stats().trips;
    for _ in 0..100 {
        rig.answer_but(|_| refused());
        rig.pass_ms(1);
    }
    assert!(rig.instance().stats().trips - before <= 3);
    rig.cluster.server = Server::Answers;
    rig.answer();
    rig.pass_ms(500);
    assert_eq!(rig.lease(), (1, 1, LeaseState::Up));
}

#[test]
fn a_refused_renewal_is_tried_again_and_the_lease_kept() {
    let mut rig = Rig::up();
    rig.cluster.server = Server::Waits;
    for _ in 0..300 {
        rig.pass_ms(10);
        rig.answer_but(out_of_memory);
    }
    rig.cluster.server = Server::Answers;
    rig.pass_ms(500);
    assert_eq!(rig.lease(), (1, 1, LeaseState::Up));
}

/// H39: a demoted primary may have lost what it acknowledged.
#[test]
fn an_answer_of_a_server_that_is_no_primary_resets_the_link() {
    let mut rig = Rig::up();
    let key = rig.connect("ann");
    rig.cluster.server = Server::Waits;
    rig.push("ann", "x");
    let not_primary = || -> Option<OperationResult> {
        Some(Err(OperationError::NotPrimary("READONLY".to_owned())))
    };
    assert_eq!(
        rig.answer_but(|operation| is_evidence(operation).then(not_primary).flatten())[0],
        "reset"
    );
    rig.pass_ms(5000);
    assert!(rig.cluster.held.is_empty());
    assert_eq!(rig.closed(key), ["disconnected 0", "forget 0"]);
    rig.link_up();
    assert_eq!(rig.asked(), ["claim 2"]);
}

/// What was under way on the former link ends, once, and nothing of it is believed.
#[test]
fn a_link_that_is_established_anew_without_a_word_settles() {
    let mut rig = Rig::up();
    rig.cluster.server = Server::Waits;
    let key = rig.accept("ann");
    rig.opened(key);
    let old = std::mem::take(&mut rig.cluster.held);
    rig.link_up();
    assert_eq!(rig.asked(), ["claim 2"]);
    let new = std::mem::replace(&mut rig.cluster.held, old);
    rig.answer();
    assert_eq!(rig.row_epochs(), [1], "executed late");
    rig.cluster.held = new;
    rig.answer();
    rig.cluster.server = Server::Answers;
    assert_eq!(rig.answer(), ["connected 0", "hello 0", "flush 0"]);
    assert_eq!(
        (rig.row_epochs(), rig.lease()),
        (vec![2], (2, 2, LeaseState::Up))
    );
}

#[test]
fn every_answer_that_misses_is_survived_in_the_middle_of_everything() {
    let mut rig = Rig::up();
    rig.cluster.server = Server::Waits;
    for round in 0..20 {
        let key = rig.accept("ann");
        rig.opened(key);
        rig.push("ann", "x");
        rig.pass_ms(300 * (round % 5));
        if round % 3 == 0 {
            rig.closed(key);
        }
        if round % 4 == 0 {
            rig.link_down();
            rig.link_up();
        }
        if round % 5 == 0 {
            rig.execute_unanswered();
        }
        rig.answer();
    }
    rig.cluster.server = Server::Answers;
    rig.answer();
    rig.pass_ms(1500);
    let rows = rig
        .cluster
        .directory
        .rows(rig.cluster.now.mono)
        .filter(|(_, _, row)| row.instance == HERE);
    let floor = Epoch::new(rig.lease().1);
    let live = rows.filter(|(_, _, row)| row.epoch >= floor).count();
    assert_eq!(
        (live, rig.lease().2),
        (rig.instance().terminals().present(), LeaseState::Up)
    );
    assert_eq!(rig.instance().stats().bugs, 0);
}
