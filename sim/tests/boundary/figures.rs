//! What the checker `figures` says to tables that have not what a turn has put into them.

use switchboard_core::frame::{HelloLog, Outgoing};
use switchboard_core::id::ConnectionId;
use switchboard_sim::boundary::{Intake, Output};
use switchboard_sim::checkers;
use switchboard_sim::observed::{Life, Observed};

use crate::recorder::{PRESENT, gave, took, trips, world};

/// What is said to these events of one turn.
fn said(events: impl IntoIterator<Item = Observed>) -> Option<String> {
    let mut world = world(checkers::named("figures").expect("a checker"));
    world.run_until(PRESENT);
    assert_eq!(world.report().violation, None);
    for event in events {
        world.pretend(event);
    }
    world.pretend(Observed::Turned(Life { host: 0, number: 1 }));
    world
        .report()
        .violation
        .clone()
        .map(|violation| violation.what)
}

#[test]
fn a_terminal_that_was_greeted_without_a_row_is_counted() {
    let greeted = |degraded| Observed::Given {
        session: 0,
        outgoing: Outgoing::Hello {
            connection: ConnectionId::new(uuid::Uuid::nil()),
            degraded,
            log: HelloLog::NotAsked,
        },
    };
    assert_eq!(said([greeted(false)]), None);
    let said_of_it = said([greeted(true)]).expect("a violation");
    assert!(
        said_of_it.contains("0 terminals without a row"),
        "{said_of_it}"
    );
}

#[test]
fn a_row_that_was_refused_is_counted() {
    let write = trips()
        .into_iter()
        .find(|trip| !trip.registers.is_empty() && trip.lease.is_none())
        .expect("a row is written");
    let answered = |refused| Intake::TripAnswered {
        op: write.op,
        in_time: true,
        lost: false,
        granted: false,
        released: false,
        vanished: false,
        refused,
    };
    let asked = || gave(Output::Trip(Box::new(write.clone())));
    assert_eq!(said([asked(), took(answered(0))]), None);
    let said_of_it = said([asked(), took(answered(u64::MAX))]).expect("a violation");
    assert!(said_of_it.contains("0 rows to try again"), "{said_of_it}");
}
