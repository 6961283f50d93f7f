//! What the checker `doubt` says to answers that do not say `degraded` after each cause of doubt, and to those
//! that come when a doubt is over.

use std::time::Duration;

use switchboard_core::command::{Log, TripKind};
use switchboard_core::id::{Epoch, OpId};
use switchboard_core::message::{Counts, Receipt};
use switchboard_sim::boundary::{Intake, LeaseStep, Output, Service, TripOutline};
use switchboard_sim::observed::{HandIn, Life, Observed};
use switchboard_sim::schedule::Schedule;
use switchboard_sim::{World, checkers};

use crate::recorder::{PRESENT, gave, link, logged, other, took, trips, world};

/// A push that the first instance took before the present, and takes again.
const PUSH: HandIn = HandIn { push: 1, time: 0 };

/// What is said if these events happen and a push is taken so long after them, whose receipt says nothing of a
/// doubt.
fn said(events: &[Observed], after: Duration) -> Option<String> {
    let world = world(checkers::named("doubt").expect("a checker"));
    said_in(world, PRESENT, events, after)
}

/// The same in another world, at another moment.
fn said_in(
    mut world: World,
    present: Duration,
    events: &[Observed],
    after: Duration,
) -> Option<String> {
    assert!(world.run_until(present), "{:?}", world.report().violation);
    for event in events {
        world.pretend(event.clone());
    }
    world.run_until(present + after);
    world.pretend(Observed::HandedIn(PUSH));
    let receipt = Receipt {
        push: world.scene().pushes()[1].id(),
        logged: Vec::new(),
        degraded: false,
        counts: Counts::default(),
        terminals: Vec::new(),
        truncated: false,
        instances: Vec::new(),
        kept: None,
        listed: Vec::new(),
    };
    world.pretend(Observed::Answered {
        hand_in: PUSH,
        receipt: Box::new(receipt),
    });
    world.report().violation.map(|violation| violation.what)
}

/// The number of a round trip that leaves much later.
fn op() -> OpId {
    trips().last().expect("a round trip").op
}

/// A round trip with nothing in it.
fn outline() -> TripOutline {
    TripOutline::new(op(), TripKind::Ordered, 1)
}

fn asks(step: LeaseStep) -> Observed {
    gave(Output::Trip(Box::new(TripOutline {
        views: 1,
        lease: Some((0, step)),
        ..outline()
    })))
}

fn answered(in_time: bool, refused: u64) -> Observed {
    took(Intake::TripAnswered {
        op: op(),
        in_time,
        lost: false,
        granted: refused == 0,
        released: false,
        vanished: false,
        refused,
    })
}

const RENEW: LeaseStep = LeaseStep::Renew { unchanged: true };
const CLAIM: LeaseStep = LeaseStep::Claim(Epoch::new(7));

/// The leases are read: those that are there, or none.
fn viewed(nobody: bool) -> Vec<Observed> {
    let mut world = world(checkers::named("doubt").expect("a checker"));
    let life = Life { host: 0, number: 1 };
    world.run_until(PRESENT);
    let leases = world.scene().leases().collect::<Vec<_>>();
    let leases = if nobody { Vec::new() } else { leases };
    let reads = gave(Output::Trip(Box::new(TripOutline {
        views: 1,
        ..outline()
    })));
    vec![reads, answered(true, 0), Observed::Viewed { life, leases }]
}

#[test]
fn each_cause_of_doubt_is_said_for_a_lease() {
    let lease = Duration::from_secs(10);
    let lost = Log::LeaseLost {
        epoch: Epoch::new(1),
    };
    let causes: [(&str, Vec<Observed>); 5] = [
        ("new one", vec![took(Intake::DirectoryUp)]),
        ("lost its lease", vec![logged(lost)]),
        ("refused it a lease", vec![asks(CLAIM), answered(true, 1)]),
        ("refused to renew", vec![asks(RENEW), answered(true, 1)]),
        ("vanished", viewed(true)),
    ];
    for (words, events) in causes {
        for after in [Duration::ZERO, lease / 2] {
            let what = said(&events, after).expect(words);
            assert!(what.contains(words), "{what}");
        }
        assert_eq!(said(&events, lease + Duration::from_millis(500)), None);
    }
}

#[test]
fn what_waits_in_vain_is_doubted_from_the_end_of_its_time_on() {
    for (words, step) in [("for a lease", CLAIM), ("the renewal", RENEW)] {
        let events = [asks(step)];
        assert_eq!(said(&events, Duration::ZERO), None);
        let what = said(&events, Duration::from_secs(2)).expect(words);
        assert!(what.contains(words), "{what}");
        let late = [asks(step), answered(true, 0)];
        assert_eq!(said(&late, Duration::from_secs(2)), None);
    }
}

#[test]
fn another_is_doubted_while_it_says_that_rows_are_missing() {
    let link = link();
    let hears = |service| {
        took(Intake::LinkReceived {
            link,
            service: Some(service),
        })
    };
    let mut world = world(checkers::named("doubt").expect("a checker"));
    world.run_until(PRESENT);
    let instance = other(&world);
    let dial = gave(Output::Dial { link, instance });
    let mut events = viewed(false);
    events.extend([dial, hears(Service::Behind)]);
    let what = said(&events, Duration::ZERO).expect("a violation");
    assert!(what.contains("to be asked"), "{what}");
    events.push(hears(Service::Full));
    assert_eq!(said(&events, Duration::ZERO), None);
}

#[test]
fn a_goodbye_ends_the_doubt_of_whoever_has_said_it_and_of_no_later_life() {
    let vanished_after = |drains: &str| {
        let text = format!(
            "switchboard-sim 1  seed 7  instances 2
             1s  client c1 connects i1 as alice
             2s  push i2 alice m1
             3s  push i1 alice m2
             {drains}
             90s  heal"
        );
        let schedule = Schedule::parse(&text).expect("a schedule");
        let world = World::watched(schedule, vec![checkers::named("doubt").expect("a checker")]);
        let events = viewed(true);
        said_in(world, Duration::from_secs(50), &events, Duration::ZERO)
    };
    assert_eq!(vanished_after("48s  drain i2 30s 1s"), None);
    assert_eq!(vanished_after("10s  drain i2 120s 1s"), None);
    let drains = [
        "48s  drain i1 30s 1s",
        "5s  drain i2 0s 0s\n15s  restart i2",
        "5s  peer i2 -> i1 says-goodbye 5s\n6s  push i2 alice m3",
    ];
    for drains in drains {
        let what = vanished_after(drains).expect(drains);
        assert!(what.contains("vanished"), "{drains}: {what}");
    }
}

#[test]
fn nothing_is_in_doubt_when_nothing_has_happened() {
    assert_eq!(said(&[], Duration::ZERO), None);
    let granted = [asks(RENEW), answered(true, 0)];
    assert_eq!(said(&granted, Duration::ZERO), None);
    assert_eq!(said(&viewed(false), Duration::ZERO), None);
}
