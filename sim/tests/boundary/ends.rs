//! What the checker `ends` says to operations that do not end, or end twice.

use std::time::Duration;

use switchboard_core::frame::CloseCode;
use switchboard_core::id::CallId;
use switchboard_sim::boundary::{CallKind, Intake, Output, TripOutline};
use switchboard_sim::checkers;
use switchboard_sim::observed::Observed;

use crate::recorder::{PRESENT, connections, gave, link, took, trips, world};

const CALL: CallId = CallId::new(99);

/// What is said to these events, or to what follows from them within a minute.
fn said(events: impl IntoIterator<Item = Observed>) -> Option<String> {
    let mut world = world(checkers::named("ends").expect("a checker"));
    world.run_until(PRESENT);
    assert_eq!(world.report().violation, None);
    for event in events {
        world.pretend(event);
    }
    world.run().violation.map(|violation| violation.what)
}

fn call(kind: CallKind) -> Observed {
    took(Intake::Call { call: CALL, kind })
}

fn answer(kind: CallKind) -> Observed {
    gave(Output::Answer { call: CALL, kind })
}

#[track_caller]
fn assert_says(events: impl IntoIterator<Item = Observed>, what: &str) {
    let said = said(events).expect("a violation");
    assert!(said.contains(what), "{said}");
}

#[test]
fn what_ends_once_and_in_time_is_no_violation() {
    let kinds = [
        CallKind::Push(Duration::ZERO),
        CallKind::Connections,
        CallKind::Instances,
    ];
    for kind in kinds {
        assert_eq!(said([call(kind), answer(kind)]), None);
    }
}

#[test]
fn a_call_is_answered_once_in_time_and_in_kind() {
    let (list, instances) = (CallKind::Connections, CallKind::Instances);
    assert_says([answer(list)], "answers what nobody asks");
    assert_says(
        [call(list), answer(list), answer(list)],
        "answers what nobody asks",
    );
    assert_says([call(list), answer(instances)], "in another kind");
    assert_says([call(list)], "has not answered");
    assert_says([call(instances)], "has not answered");
    assert_says(
        [call(CallKind::Push(Duration::from_secs(3)))],
        "has not answered",
    );
    assert_says([call(list), gave(Output::Drained)], "calls unanswered");
}

#[test]
fn a_connection_ends_once_and_is_not_spoken_of_after_that() {
    let [connection, stranger] = connections();
    let forget = || gave(Output::Forget(connection));
    let flush = || gave(Output::Flush(connection));
    assert_says([forget()], "whose socket has not ended");
    let closed = took(Intake::Closed(connection));
    assert_says([closed.clone(), forget()], "that a terminal is gone");
    let gone = gave(Output::Disconnected(connection));
    assert_says([closed, gone.clone(), forget(), forget()], "not there");
    assert_says([gone.clone(), gone], "of no terminal");
    assert_says([gave(Output::Connected(connection))], "twice");
    assert_says([flush(), flush()], "before the flush before");
    let close = gave(Output::Close {
        connection,
        code: CloseCode::Kicked,
    });
    assert_says([close, flush()], "told to end");
    assert_says([gave(Output::Ping(stranger))], "not there");
    let again = Intake::Accepted {
        connection,
        expires: None,
        known: true,
    };
    assert_says([took(again)], "once more");
}

#[test]
fn a_link_ends_once_and_has_one_batch_under_way() {
    let link = link();
    let write = || gave(Output::LinkWrite { link, word: None });
    let close = || gave(Output::LinkClose(link));
    assert_says([write(), write()], "before the one before");
    assert_says([close(), close()], "a link that is not there");
    assert_says([gave(Output::LinkProven(link))], "once more");
    assert_says([took(Intake::LinkAccepted(link))], "once more");
    assert_says([gave(Output::Drained)], "links open");
}

#[test]
fn a_round_trip_has_a_number_of_its_own_and_few_are_under_way() {
    let trips = trips();
    let ask = |trip: &TripOutline| gave(Output::Trip(Box::new(trip.clone())));
    assert_says(trips.first().map(ask), "had used");
    assert_says(trips[trips.len() - 20..].iter().map(ask), "too many");
}
