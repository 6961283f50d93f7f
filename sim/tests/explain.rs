//! What is said of why something was lost: on kept schedules that show bugs, and on losses that are excused.

use std::path::Path;

use switchboard_sim::explain::explain;
use switchboard_sim::schedule::Schedule;
use switchboard_sim::{Trial, checkers};

/// What is said of a kept schedule whose bug is switched on, by one checker.
fn of_flaw(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schedules/flaws");
    let text = std::fs::read_to_string(folder.join(format!("{name}.txt"))).expect("it is kept");
    let (_, checker) = name.split_once('.').expect("a bug and a checker");
    let checker = checkers::named(checker).expect("a checker");
    let schedule = Schedule::parse(&text).expect("a schedule");
    explain(&Trial::watched_by(vec![checker]), &schedule).to_string()
}

/// What is said of a schedule without a bug.
fn of(text: &str) -> String {
    let schedule = Schedule::parse(text).expect("a schedule");
    explain(&Trial::new(), &schedule).to_string()
}

/// All of these stand there, in this order.
#[track_caller]
fn says(said: &str, parts: &[&str]) {
    let mut rest = said;
    for part in parts {
        let Some((_, behind)) = rest.split_once(part) else {
            panic!("no `{part}` in its place in:\n{said}");
        };
        rest = behind;
    }
}

#[test]
fn a_row_that_went_with_another_one_is_traced_to_who_removed_it() {
    let said = of_flaw("unregister-by-user.hello-means-reachable");
    says(
        &said,
        &[
            "violated: hello-means-reachable",
            "push m14 has not reached c5 of bob",
            "i2 writes the row of c5 of bob",
            "i1 takes push m14",
            "the row of c5 of bob is gone: i2 removes the row of c1 of bob",
            "the directory reads the rows of bob for i1: there is none",
            "it stops here: the row of c5 of bob is not there",
            "which is another row",
            "no excuse:",
        ],
    );
}

#[test]
fn a_hello_without_a_row_is_seen_to_have_come_before_it() {
    let said = of_flaw("hello-before-row.receipt-complete");
    says(
        &said,
        &[
            "push m15 has not reached x4 of alice",
            "x4 of alice is greeted",
            "i1 takes push m15",
            "there is none",
            "it was never written",
            "a fault lay there, which `receipt-complete` takes for no excuse: a round trip",
        ],
    );
    assert!(!said.contains("writes the row of x4"), "{said}");
}

#[test]
fn a_frame_that_its_instance_dropped_is_seen_to_have_arrived() {
    let said = of_flaw("silent-overflow.limits");
    says(
        &said,
        &[
            "has not reached c3 of alice",
            "arrives at i1",
            "i1 has it and sends no frame",
        ],
    );
}

#[test]
fn a_loss_that_is_excused_names_the_fault_that_dropped_it() {
    let said = of("switchboard-sim 1  seed 7  instances 2  lease 10s
         1s  client c1 connects i1 as alice
         2s  push i2 alice m1
         9.9s  cut i1 <-> i2
         10s  push i2 alice m2
         60s  heal");
    says(
        &said,
        &[
            "nothing was violated",
            "push m2 has not reached c1 of alice",
            "i2 writes push m2 on its link to i1",
            "push m2 does not pass from i2 to i1",
            "it stops here: what i2 has written does not arrive at i1",
            "excused: nothing passed between two instances, i2 and i1, from",
        ],
    );
    assert!(
        !said.contains("no excuse") && !said.contains("push m1"),
        "{said}"
    );
}

#[test]
fn of_a_schedule_in_which_all_is_well_there_is_nothing_to_say() {
    let said = of("switchboard-sim 1  seed 7  instances 2  lease 10s
         1s  client c1 connects i1 as alice
         2s  push i2 alice m1
         9s  heal");
    assert_eq!(said, "nothing was violated, and nothing lost\n");
}
