//! What the checker `strangers` says to an instance that bears what no peer says.

use switchboard_sim::boundary::{Intake, Output};
use switchboard_sim::checkers;
use switchboard_sim::observed::{Life, Observed};

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
fn a_stranger_is_never_taken_for_a_peer() {
    let proven = Output::LinkProven(link());
    assert_says(false, Some(proven), "takes a stranger for a peer");
}
