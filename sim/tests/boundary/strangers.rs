//! What the checker `strangers` says to an instance that bears what no peer says.

use switchboard_sim::boundary::{Intake, Output};
use switchboard_sim::ledger::FaultKind;
use switchboard_sim::observed::{Life, Observed};
use switchboard_sim::report::Report;
use switchboard_sim::schedule::Schedule;
use switchboard_sim::{World, checkers};

use crate::recorder::{PRESENT, gave, link, took, world};

const LIFE: Life = Life { host: 0, number: 1 };

/// What is said to these events behind a word of a stranger.
fn said(ends: bool, events: impl IntoIterator<Item = Observed>) -> Option<String> {
    let link = link();
    let mut world = world(checkers::named("strangers").expect("a checker"));
    world.run_until(PRESENT);
    world.pretend(Observed::StrangerSaid {
        life: LIFE,
        link,
        ends,
    });
    world.pretend(took(Intake::LinkReceived {
        link,
        service: None,
    }));
    for event in events.into_iter().chain([Observed::Turned(LIFE)]) {
        world.pretend(event);
    }
    world.report().violation.map(|violation| violation.what)
}

#[track_caller]
fn assert_says(ends: bool, output: Option<Output>, what: &str) {
    let said = said(ends, output.map(gave)).expect("a violation");
    assert!(said.contains(what), "{said}");
}

#[test]
fn what_no_peer_says_ends_its_link_without_an_answer() {
    let link = link();
    let answer = Output::LinkWrite { link, word: None };
    assert_says(true, None, "keeps a link");
    assert_says(true, Some(answer.clone()), "answers what no peer says");
    assert_eq!(said(true, [gave(Output::LinkClose(link))]), None);
    assert_eq!(said(false, [gave(answer)]), None);
}

#[test]
fn who_answers_in_the_place_of_an_instance_is_refused_and_explains_its_own_dial_alone() {
    let text = |poses: &str| {
        format!(
            "switchboard-sim 1  seed 7  instances 3  lease 10s
             1s  client c1 connects i2 as alice
             2s  push i1 alice m1
             3s  stranger i1 poses-as {poses}
             3s  reset i1 <-> i2
             3.1s  push i1 alice m2
             4.5s  push i1 alice m3
             30s  expect converged"
        )
    };
    let report = |poses: &str| {
        let schedule = Schedule::parse(&text(poses)).expect("a schedule");
        World::new(schedule).run()
    };
    let posed = report("i2");
    assert_eq!(posed.violation, None);
    let refused = |report: &Report| report.faults.contains(&FaultKind::DialsRefused);
    assert!(refused(&posed));
    // Nobody has listened to what that one answers.
    let unheard = report("i3");
    assert_eq!(unheard.violation, None);
    assert!(!refused(&unheard));
}

#[test]
fn a_stranger_is_never_taken_for_a_peer() {
    let proven = Output::LinkProven(link());
    assert_says(false, Some(proven), "takes a stranger for a peer");
}
