//! What faults do not excuse: the same is said of an answer a little too late, or elsewhere.

use std::fmt::Write as _;
use std::time::Duration;

use switchboard_core::config::Config;
use switchboard_core::frame::CloseCode;
use switchboard_core::message::{Counts, Outcome, Receipt, TerminalOutcome};
use switchboard_sim::observed::{HandIn, Observed};
use switchboard_sim::schedule::Schedule;
use switchboard_sim::{World, checkers};

/// Two terminals, one at each of two instances that have a link, and what else happens.
fn world(checker: &str, rest: &str) -> World {
    let text = format!(
        "switchboard-sim 1  seed 7  instances 3  lease 10s
         1s  client c1 connects i1 as alice
         1s  client c2 connects i2 as bob
         2s  push i1 bob m0
         {rest}"
    );
    let schedule = Schedule::parse(&text).expect("a schedule");
    let checker = checkers::named(checker).expect("a checker");
    World::watched(schedule, vec![checker])
}

/// The receipt of the last push, as somebody could write it.
fn receipt(world: &World, degraded: bool, outcome: Outcome) -> Observed {
    let scene = world.scene();
    let last = scene.pushes().len() - 1;
    let addressed = scene.sessions().last().expect("a session");
    let terminal = TerminalOutcome {
        user: addressed.user().clone(),
        connection: addressed.connection().expect("a connection"),
        outcome,
    };
    let mut counts = Counts::default();
    *match outcome {
        Outcome::Written => &mut counts.written,
        Outcome::Overflow => &mut counts.overflow,
        Outcome::Gone => &mut counts.gone,
        Outcome::Queued => &mut counts.queued,
        Outcome::TooLarge => &mut counts.too_large,
        _ => &mut counts.unreachable,
    } += 1;
    let receipt = Receipt {
        push: scene.pushes()[last].id(),
        logged: Vec::new(),
        degraded,
        counts,
        terminals: vec![terminal],
        truncated: false,
        instances: Vec::new(),
        kept: None,
        listed: Vec::new(),
    };
    Observed::Answered {
        hand_in: HandIn {
            push: last,
            time: 0,
        },
        receipt: Box::new(receipt),
    }
}

/// What is said to the receipt of a push that is answered so long after it was handed in.
fn said(rest: &str, at: Duration, degraded: bool, outcome: Outcome) -> Option<String> {
    let mut world = world("receipt-true", rest);
    assert!(world.run_until(at), "{:?}", world.report().violation);
    let receipt = receipt(&world, degraded, outcome);
    world.pretend(receipt);
    world.report().violation.map(|violation| violation.what)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn a_fault_of_the_directory_explains_doubt_for_two_leases_and_no_more() {
    let degraded = |push: u64| {
        let rest = format!("40s  redis i1 away 10ms\n{push}s  push i1 bob m1\n90s  heal");
        said(&rest, secs(push + 1), true, Outcome::Written)
    };
    assert_eq!(degraded(41), None);
    assert_eq!(degraded(60), None);
    let said = degraded(69).expect("a violation");
    assert!(said.contains("nothing was wrong"), "{said}");
}

#[test]
fn a_link_that_breaks_once_explains_no_loss_that_there_was_time_to_mend() {
    let unreachable = |breaks: &str| {
        let rest = format!("{breaks}\n40s  push i1 bob m1\n90s  heal");
        said(&rest, secs(44), false, Outcome::Unreachable)
    };
    let not_excused = |breaks| {
        let said = unreachable(breaks).expect("a violation");
        assert!(said.contains("Unreachable"), "{said}");
    };
    not_excused("40.0001s  reset i1 <-> i2");
    not_excused("39.9s  reset i1 <-> i2");
    not_excused("40.0001s  reset i1 <-> i2\n40.001s  reset i1 <-> i3");
    let twice = "40.0001s  reset i1 <-> i2\n41s  reset i1 <-> i2";
    assert_eq!(unreachable(twice), None);
    assert_eq!(unreachable("42.5s  reset i1 <-> i2"), None);
}

#[test]
fn nothing_waits_for_a_terminal_that_was_known_to_be_gone_in_time() {
    let queued = |what: &str| {
        let rest = format!("40s  push i1 bob m1\n{what}\n90s  heal");
        said(&rest, secs(43), false, Outcome::Queued)
    };
    let said = queued("40.5s  client c2 closes sudden").expect("a violation");
    assert!(said.contains("Queued"), "{said}");
    // It had to answer before, or has not been told.
    assert_eq!(queued("41.8s  client c2 closes sudden"), None);
    assert_eq!(queued("40.5s  client c2 closes silent"), None);
    // It answers sooner when it ends.
    assert_eq!(
        queued("40.5s  client c2 closes sudden\n40.6s  drain i2 0s 0s"),
        None
    );
    let elsewhere = queued("40.5s  client c2 closes sudden\n40.6s  drain i3 0s 0s");
    assert!(elsewhere.is_some());
}

#[test]
fn what_a_peer_says_of_its_own_terminals_is_its_word_and_nobody_elses() {
    let said_while = |lies: &str| {
        let rest = format!(
            "2.5s  peer {lies} answers-twice 5s
             3s  push i1 everyone m1
             3.1s  push i1 bob m2"
        );
        let at = Duration::from_millis(3_500);
        said(&rest, at, false, Outcome::Gone)
    };
    assert_eq!(said_while("i2 -> i1"), None);
    for others in ["i3 -> i1", "i2 -> i3"] {
        assert!(said_while(others).is_some(), "{others}");
    }
}

#[test]
fn whoever_misbehaves_may_call_a_terminal_its_own_of_which_nobody_else_was_asked() {
    let said_while = |lies: &str, to: &str| {
        let rest = format!(
            "2.5s  peer {lies} answers-twice 5s
             3s  push i1 everyone m1
             3.1s  push i1 {to} m2"
        );
        let at = Duration::from_millis(3_500);
        said(&rest, at, false, Outcome::TooLarge)
    };
    // The receipt names a terminal of bob.
    assert_eq!(said_while("i3 -> i1", "alice"), None);
    assert!(said_while("i3 -> i1", "bob").is_some());
    assert!(said_while("i3 -> i2", "alice").is_some());
}

#[test]
fn a_pause_explains_that_rows_were_not_read_once_more_for_a_terminal_that_is_gone_and_no_more() {
    let degraded = |pause: &str, after: u64, outcome| {
        let rest = format!(
            "{pause}
             40s  push i1 bob m1
             40.001s  client c2 closes clean
             90s  heal"
        );
        let at = secs(40) + Duration::from_millis(after);
        said(&rest, at, true, outcome)
    };
    let stands_still = "39.9s  pause i2 3s";
    assert_eq!(degraded(stands_still, 3001, Outcome::Gone), None);
    let not_excused = |pause, after, outcome| {
        let said = degraded(pause, after, outcome).expect("a violation");
        assert!(said.contains("nothing was wrong"), "{said}");
    };
    // The rows are not read once more, there is time for that, or nothing has kept the answer.
    not_excused(stands_still, 3001, Outcome::Unreachable);
    not_excused(stands_still, 2950, Outcome::Gone);
    not_excused("39.9s  pause i3 3s", 3001, Outcome::Gone);
}

#[test]
fn a_batch_takes_room_while_its_terminal_reads_it_and_no_longer() {
    let full = |at: u64| {
        let mut text = "switchboard-sim 1  seed 7  instances 1  lease 10s  tight close
            1s  client c1 connects i1 as alice
            2s  client c1 reads every 2s\n"
            .to_owned();
        for (number, push) in [3000, 3001, 3002, 3003, at, at].into_iter().enumerate() {
            writeln!(text, "{push}ms  push i1 alice m{number}").expect("a text has room");
        }
        let schedule = Schedule::parse(&text).expect("a schedule");
        let checker = checkers::named("limits").expect("a checker");
        let mut world = World::watched(schedule, vec![checker]);
        let soon = Duration::from_micros(at * 1000 + 500);
        assert!(world.run_until(soon), "{:?}", world.report().violation);
        let receipt = receipt(&world, false, Outcome::Overflow);
        world.pretend(receipt);
        world.report().violation.map(|violation| violation.what)
    };
    // The first is read at 5 s, the others as one batch until 11 s.
    assert_eq!(full(10_500), None);
    let said = full(14_500).expect("a violation");
    assert!(said.contains("cannot have been full"), "{said}");
}

/// What `terminal-told` says if the first terminal, which does not read, is sent away.
fn sent_away(rest: &str) -> Option<String> {
    let rest = format!("30s  client c1 stops reading\n34s  drain i1 60s 1s\n{rest}\n90s  heal");
    let mut world = world("terminal-told", &rest);
    let then = secs(35);
    assert!(world.run_until(then), "{:?}", world.report().violation);
    world.pretend(Observed::Closing {
        session: 0,
        code: Some(CloseCode::ServiceRestart),
    });
    world.report().violation.map(|violation| violation.what)
}

#[test]
fn what_waited_before_a_terminal_was_sent_away_is_written_before_that() {
    let said = sent_away("32s  push i1 alice m1").expect("a violation");
    assert!(said.contains("is written"), "{said}");
    let elsewhere = sent_away("31.5s  pause i2 3s\n32s  push i1 alice m1");
    assert!(elsewhere.is_some());
    // Its end may have been decided before, its instance may not have looked it up in time, or not have been told.
    assert_eq!(sent_away("33.5s  push i1 alice m1"), None);
    assert_eq!(sent_away("32s  push i1 alice m1\n32.5s  pause i1 1s"), None);
    assert_eq!(sent_away("32s  push i2 alice m1"), None);
    assert_eq!(sent_away("32s  push i1 bob m1"), None);
}

/// What `convergence` says of a terminal that goes while its instance pings once in a hundred seconds, which
/// nobody has told the checker.
fn disagrees(rest: &str) -> Option<String> {
    let text = format!(
        "switchboard-sim 1  seed 7  instances 1
         1s  client c1 connects i1 as alice
         {rest}"
    );
    let schedule = Schedule::parse(&text).expect("a schedule");
    let checker = checkers::named("convergence").expect("a checker");
    let config = Config::default();
    let real = Config {
        ping_interval: secs(100),
        ..config.clone()
    };
    let mut world = World::doctored(schedule, config, &real, vec![checker]);
    world.run().violation.map(|violation| violation.what)
}

#[test]
fn a_terminal_that_went_without_a_sign_has_a_row_until_it_must_be_noticed_and_no_longer() {
    let silent = |at: u64| {
        disagrees(&format!(
            "2s  client c1 closes silent\n{at}s  expect converged"
        ))
    };
    assert_eq!(silent(44), None);
    let said = silent(46).expect("a violation");
    assert!(said.contains("is gone and has a live row"), "{said}");
    let sudden = "1.9s  redis i1 next unregister request-lost
                  2s  client c1 closes sudden
                  2.5s  expect converged";
    let said = disagrees(sudden).expect("a violation");
    assert!(said.contains("is gone and has a live row"), "{said}");
}
