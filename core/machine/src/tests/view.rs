//! What is known of other instances, and who is doubted.

use std::time::Duration;

use crate::directory::{Lease, LeaseState, Load, Operation, Row};
use crate::event::Event;
use crate::id::{CallId, ConnectionId, Epoch, InstanceId, UserId};
use crate::testing::cluster::Server;
use crate::testing::rig::{HERE, OTHER, Rig, other_lease, out_of_memory};

fn beside_another() -> Rig {
    let mut rig = Rig::up();
    rig.pass_ms(11_000);
    rig.other_claims(1, LeaseState::Up);
    rig.pass_ms(1100);
    assert!(rig.instance().membership().view().knows(OTHER) && !rig.is_doubtful(OTHER));
    rig
}

/// Keeps the other instance's lease alive, as it would itself.
fn pass_beside(rig: &mut Rig, seconds: u64, lease: &Lease) {
    for _ in 0..seconds {
        rig.other_renews(lease.clone(), lease.clone());
        rig.pass_ms(1000);
    }
}

#[test]
fn an_instance_that_settles_is_doubted() {
    let mut rig = beside_another();
    rig.other_renews(
        other_lease(1, LeaseState::Up),
        other_lease(1, LeaseState::Settling),
    );
    rig.pass_ms(1100);
    assert!(rig.is_doubtful(OTHER));
    rig.other_renews(
        other_lease(1, LeaseState::Settling),
        other_lease(1, LeaseState::Up),
    );
    rig.pass_ms(1100);
    assert!(!rig.is_doubtful(OTHER));
}

/// It was wiped, not dead.
#[test]
fn a_lease_that_vanishes_before_its_time_is_doubted_for_one_lease_time() {
    let mut rig = beside_another();
    rig.cluster.directory.evict_lease(OTHER);
    rig.pass_ms(1100);
    assert!(rig.is_doubtful(OTHER));
    rig.pass_ms(8000);
    assert!(rig.is_doubtful(OTHER));
    rig.pass_ms(3000);
    assert!(!rig.is_doubtful(OTHER) && !rig.instance().membership().view().knows(OTHER));
}

#[test]
fn a_lease_that_vanishes_after_a_goodbye_is_not_doubted() {
    let mut rig = beside_another();
    let draining = other_lease(1, LeaseState::Draining);
    rig.other_renews(other_lease(1, LeaseState::Up), draining.clone());
    rig.pass_ms(1100);
    let release = Operation::Release {
        instance: OTHER,
        expected: draining,
    };
    drop(
        rig.cluster
            .directory
            .execute(rig.cluster.now.mono, &release),
    );
    rig.pass_ms(1100);
    assert!(!rig.is_doubtful(OTHER) && !rig.instance().membership().view().knows(OTHER));
}

/// Its own lease is missing as well, and that is no sign of a wipe.
#[test]
fn a_goodbye_is_believed_by_an_instance_that_has_given_its_own_lease_back() {
    let mut rig = beside_another();
    let draining = other_lease(1, LeaseState::Draining);
    rig.other_renews(other_lease(1, LeaseState::Up), draining.clone());
    rig.pass_ms(1100);
    rig.cluster.server = Server::Waits;
    rig.event(Event::Drain {
        delay: Duration::ZERO,
        spread: Duration::ZERO,
    });
    rig.answer();
    rig.pass_ms(100);
    assert_eq!(rig.asked(), ["release"]);
    // The drain's end waits for the answer, and meanwhile a reading is due.
    rig.pass_ms(750);
    let release = Operation::Release {
        instance: OTHER,
        expected: draining,
    };
    drop(
        rig.cluster
            .directory
            .execute(rig.cluster.now.mono, &release),
    );
    let asked = rig.instance().membership().view().asked();
    assert_eq!(rig.answer(), [""; 0]);
    assert!(
        rig.instance().membership().view().asked() > asked,
        "it was read once more"
    );
    assert!(!rig.is_doubtful(OTHER) && !rig.instance().membership().view().knows(OTHER));
}

/// H33: a crashed instance is gone with its lease, as soon as the dial that looks for it has ended,
/// and is looked for once a lease while its entry is kept.
#[test]
fn a_lease_that_ran_out_is_doubted_until_its_instance_was_looked_for() {
    let mut rig = beside_another();
    let mut said = rig.pass_ms(8000);
    assert!(!rig.is_doubtful(OTHER) && said.is_empty());
    said.extend(rig.pass_ms(1000));
    said.extend(rig.pass_ms(500));
    assert_eq!(said, ["dial 2"]);
    assert!(rig.is_doubtful(OTHER));
    said.extend(rig.pass_ms(1100));
    let now = rig.cluster.now.mono;
    assert!(!rig.is_doubtful(OTHER) && rig.instance().membership().view().leases(now).count() == 0);
    for _ in 0..120 {
        said.extend(rig.pass_ms(1000));
        assert!(!rig.is_doubtful(OTHER));
    }
    let dials = said.iter().filter(|said| *said == "dial 2").count();
    assert!((9..=11).contains(&dials), "{said:?}");
}

/// The directory's clock has jumped, and the other instance renews its lease when it has expired.
#[test]
fn a_lease_that_runs_out_earlier_than_it_was_seen_to_is_doubted() {
    let mut rig = beside_another();
    let lease = other_lease(1, LeaseState::Up);
    let renew = Operation::Renew {
        instance: OTHER,
        expected: lease.clone(),
        lease,
        load: Load::default(),
    };
    let jump = rig.cluster.now.mono.before(Duration::from_secs(8));
    drop(rig.cluster.directory.execute(jump, &renew));
    rig.pass_ms(1000);
    assert!(rig.is_doubtful(OTHER));
    rig.pass_ms(3000);
    assert!(rig.is_doubtful(OTHER));
}

/// The directory's clock has jumped since it was claimed: it lives.
#[test]
fn a_lease_that_was_claimed_since_the_last_reading_and_has_run_out_is_doubted() {
    let mut rig = beside_another();
    let claim = Operation::Claim {
        instance: OTHER,
        lease: other_lease(2, LeaseState::Up),
        load: Load::default(),
    };
    let jump = rig.cluster.now.mono.before(Duration::from_secs(11));
    drop(rig.cluster.directory.execute(jump, &claim));
    rig.pass_ms(1100);
    assert!(rig.is_doubtful(OTHER));
    rig.pass_ms(8000);
    assert!(rig.is_doubtful(OTHER));
    rig.pass_ms(3000);
    assert!(!rig.is_doubtful(OTHER));
}

/// Others may not have noticed a failover yet.
#[test]
fn after_its_own_reconnection_an_instance_doubts_everybody_for_one_lease_time() {
    let mut rig = beside_another();
    rig.link_down();
    rig.link_up();
    let lease = other_lease(1, LeaseState::Up);
    pass_beside(&mut rig, 9, &lease);
    assert!(rig.is_doubtful(OTHER));
    rig.push("ann", "x");
    pass_beside(&mut rig, 2, &lease);
    assert!(!rig.is_doubtful(OTHER));
}

#[test]
fn the_doubt_after_a_reconnection_ends_when_a_higher_epoch_shows() {
    let mut rig = beside_another();
    rig.link_down();
    rig.link_up();
    rig.other_claims(2, LeaseState::Up);
    rig.pass_ms(1100);
    assert!(
        rig.is_doubtful(OTHER),
        "this epoch may be older than what has happened"
    );
    rig.other_claims(3, LeaseState::Up);
    rig.pass_ms(1100);
    assert!(!rig.is_doubtful(OTHER));
}

/// The end of an older settling does not show that the other instance has noticed anything.
#[test]
fn the_doubt_after_a_reconnection_outlives_the_end_of_a_settling() {
    let mut rig = beside_another();
    let settling = other_lease(1, LeaseState::Settling);
    rig.other_renews(other_lease(1, LeaseState::Up), settling.clone());
    rig.pass_ms(1100);
    rig.link_down();
    rig.link_up();
    rig.other_renews(settling, other_lease(1, LeaseState::Up));
    rig.pass_ms(1100);
    assert!(rig.is_doubtful(OTHER));
}

/// A push that began while an instance was doubted asks it, although the doubt has ended since.
#[test]
fn doubt_at_the_start_of_a_push_suffices() {
    let mut rig = beside_another();
    let settling = other_lease(1, LeaseState::Settling);
    rig.other_renews(other_lease(1, LeaseState::Up), settling.clone());
    rig.pass_ms(1100);
    let start = rig.cluster.now.mono;
    rig.other_renews(settling, other_lease(1, LeaseState::Up));
    rig.pass_ms(1100);
    let now = rig.cluster.now.mono;
    assert!(!rig.is_doubtful(OTHER));
    assert_eq!(
        rig.instance().membership().view().doubtful(start, now),
        [OTHER]
    );
}

/// A list that was asked for during a doubt says so, like a push.
#[test]
fn a_list_that_was_asked_for_during_a_doubt_is_degraded() {
    let mut rig = beside_another();
    let settling = other_lease(1, LeaseState::Settling);
    rig.other_renews(other_lease(1, LeaseState::Up), settling.clone());
    rig.pass_ms(1100);
    rig.cluster.server = Server::Waits;
    rig.event(Event::Connections {
        call: CallId::new(1),
        user: UserId::new("ann").expect("a user"),
    });
    let lookup = rig.cluster.held.pop_back().expect("the lookup");
    // Another trip's view shows the end of the doubt before the lookup is answered.
    rig.other_renews(settling, other_lease(1, LeaseState::Up));
    rig.pass_ms(990);
    rig.answer();
    rig.cluster.held.push_back(lookup);
    rig.answer();
    match rig.last_answer() {
        Some(crate::event::Answer::Connections(Ok(list))) => assert!(list.degraded),
        other => panic!("no list: {other:?}"),
    }
}

/// Nobody is doubted, because nobody is known: a list says so, like a push.
#[test]
fn a_list_that_is_asked_for_without_a_lease_is_degraded() {
    let mut rig = Rig::up();
    rig.link_down();
    rig.pass(Duration::from_secs(11));
    rig.cluster.server = Server::Waits;
    rig.link_up();
    rig.event(Event::Connections {
        call: CallId::new(1),
        user: UserId::new("ann").expect("a user"),
    });
    rig.answer_but(out_of_memory);
    match rig.last_answer() {
        Some(crate::event::Answer::Connections(Ok(list))) => assert!(list.degraded),
        other => panic!("no list: {other:?}"),
    }
}

/// H31, H33: a cached lease is believed up to its own deadline, whatever the directory does.
#[test]
fn a_cached_lease_is_not_believed_beyond_its_deadline() {
    let mut rig = beside_another();
    rig.link_down();
    rig.pass(Duration::from_secs(11));
    let now = rig.cluster.now.mono;
    assert_eq!(rig.instance().membership().view().leases(now).count(), 0);
}

/// A trip whose own evidence says that the directory lost something judges by that, whatever stands
/// before the evidence in the trip.
#[test]
fn a_view_is_judged_in_the_light_of_the_own_lease() {
    let mut rig = beside_another();
    let stranger = Operation::Register {
        key: UserId::new("ann").expect("a user").into(),
        connection: ConnectionId::new(uuid::Uuid::from_u128(1)),
        row: Row {
            instance: InstanceId::new(3),
            epoch: Epoch::new(1),
            connected: rig.cluster.now.wall,
        },
    };
    drop(
        rig.cluster
            .directory
            .execute(rig.cluster.now.mono, &stranger),
    );
    rig.cluster.server = Server::Waits;
    rig.push("ann", "x");
    rig.answer();
    assert!(
        !rig.cluster.held.is_empty(),
        "a view is asked for, because nobody knows the row's instance"
    );
    let mut leases = rig.cluster.directory.leases(rig.cluster.now.mono);
    let expected = (leases.find(|seen| seen.instance == HERE))
        .expect("held")
        .lease;
    drop(leases);
    let release = Operation::Release {
        instance: HERE,
        expected,
    };
    drop(
        rig.cluster
            .directory
            .execute(rig.cluster.now.mono, &release),
    );
    rig.answer();
    assert!(
        rig.cluster.answers.is_empty() && rig.is_doubtful(OTHER),
        "the other instance is asked"
    );
}

/// An instance that lost its own lease cannot know what others lost.
#[test]
fn after_the_loss_of_its_own_lease_an_instance_doubts_everybody() {
    let mut rig = beside_another();
    rig.pause(Duration::from_secs(11));
    rig.other_claims(2, LeaseState::Up);
    rig.pass_ms(50);
    assert_eq!(rig.lease().0, 2);
    assert!(rig.is_doubtful(OTHER));
}

/// H30: rows are judged by the floor that the view shows.
#[test]
fn the_floor_of_a_lease_is_taken_in() {
    let mut rig = beside_another();
    rig.other_claims(4, LeaseState::Up);
    rig.pass_ms(1100);
    let now = rig.cluster.now.mono;
    let live = crate::vocabulary::standing::Standing::Live {
        floor: Epoch::new(4),
        doubtful: false,
    };
    assert_eq!(
        rig.instance().membership().view().standing(OTHER, now, now),
        live
    );
}
