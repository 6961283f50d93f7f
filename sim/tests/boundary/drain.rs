//! What the checker `drain` says to ends that were decided while an instance was cut off, and that wait
//! behind frames.

use std::time::Duration;

use switchboard_core::command::Log;
use switchboard_core::config::Config;
use switchboard_core::frame::CloseCode;
use switchboard_sim::boundary::{Intake, Output};
use switchboard_sim::checkers;
use switchboard_sim::observed::Observed;

use crate::recorder::{connections, gave, logged, took, world};

/// The other terminal comes when an isolation since then is over.
const CUT_OFF: Duration = Duration::from_secs(5);

/// Something happens in a world so often at least: its time goes on then.
const TURN: Duration = Duration::from_millis(500);

fn flush() -> Observed {
    gave(Output::Flush(connections()[0]))
}

fn written() -> Observed {
    took(Intake::Written(connections()[0]))
}

fn away() -> Observed {
    gave(Output::Close {
        connection: connections()[0],
        code: CloseCode::ServiceRestart,
    })
}

/// What is said if an instance takes itself for cut off, and these turns follow, each so long
/// after the one before.
fn said<const TURNS: usize>(turns: [(Duration, &[Observed]); TURNS]) -> Option<String> {
    let mut world = world(checkers::named("drain").expect("a checker"));
    let mut at = CUT_OFF;
    let isolated: &[Observed] = &[logged(Log::Isolated), flush()];
    for (after, events) in [(Duration::ZERO, isolated)].into_iter().chain(turns) {
        at += after;
        world.run_until(at);
        for event in events {
            world.pretend(event.clone());
        }
    }
    world.run_until(at + TURN);
    world.report().violation.map(|violation| violation.what)
}

#[track_caller]
fn assert_not_excused<const TURNS: usize>(turns: [(Duration, &[Observed]); TURNS]) {
    let said = said(turns).expect("a violation");
    assert!(said.contains("does not drain"), "{said}");
}

const SPREAD: Duration = Config::ISOLATED_SPREAD;

#[test]
fn an_end_that_was_decided_in_an_isolation_comes_when_frames_are_written() {
    let rejoined: &[Observed] = &[logged(Log::Rejoined)];
    let ends: &[Observed] = &[written(), away()];
    assert_eq!(said([(SPREAD, rejoined), (TURN, ends)]), None);
    // One batch follows another.
    let more: &[Observed] = &[written(), flush()];
    assert_eq!(said([(SPREAD, rejoined), (TURN, more), (TURN, ends)]), None);
    // The batch is written in the turn in which the isolation ends.
    let all: &[Observed] = &[written(), logged(Log::Rejoined), away()];
    assert_eq!(said([(SPREAD, all)]), None);
}

#[test]
fn no_end_is_decided_when_an_isolation_is_over() {
    let rejoined: &[Observed] = &[logged(Log::Rejoined)];
    let ends: &[Observed] = &[written(), away()];
    // In half of the spread no terminal out of one is due.
    assert_not_excused([(SPREAD / 2, rejoined), (TURN, ends)]);
    // Nothing was under way, so that it would have been told at once.
    let idle: (Duration, &[Observed]) = (SPREAD - TURN, &[written()]);
    assert_not_excused([idle, (TURN, rejoined), (TURN, &[away()])]);
    let batch: &[Observed] = &[flush()];
    assert_not_excused([idle, (TURN, rejoined), (TURN, batch), (TURN, ends)]);
    // All was written a turn ago.
    assert_not_excused([(SPREAD, rejoined), (TURN, &[written()]), (TURN, &[away()])]);
    assert_not_excused([
        (SPREAD, rejoined),
        (TURN, &[written()]),
        (TURN, batch),
        (TURN, ends),
    ]);
    // Those who were due have gone.
    assert_not_excused([
        (SPREAD, &[written(), away(), flush()]),
        (TURN, rejoined),
        (TURN, ends),
    ]);
}
