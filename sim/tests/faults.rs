//! Each fault does what its item says.

use std::time::Duration;

use switchboard_sim::schedule::Schedule;
use switchboard_sim::{Session, World};

fn schedule(items: &str) -> Schedule {
    let text = format!("switchboard-sim 1  seed 7  instances 3  lease 4s\n{items}\n");
    Schedule::parse(&text).expect("it is a schedule")
}

/// The world at the end of a schedule; all invariants held.
fn end_of(schedule: Schedule) -> World {
    let mut world = World::new(schedule);
    assert_eq!(world.run().violation, None);
    world
}

fn sessions<'a>(world: &'a World, client: &'a str) -> impl Iterator<Item = &'a Session> {
    (world.sessions().iter()).filter(move |session| session.client() == client)
}

fn has(world: &World, client: &str, push: usize) -> bool {
    let id = world.pushes()[push].id();
    sessions(world, client).any(|session| session.has_written(id))
}

#[test]
fn what_waits_for_a_moment_happens_at_it() {
    let moments = ["accept", "register", "hello", "unregister"];
    let of_client = moments.map(|moment| format!("1s on {moment} of c1 push i3 bob {moment}"));
    let moments = ["push", "lookup", "deliver", "delivered", "write", "receipt"];
    let of_push = moments.map(|moment| format!("1s on {moment} of m1 push i3 bob {moment}"));
    let world = end_of(schedule(&format!(
        "{}\n{}\n2s client c1 connects i1 as alice\n4s push i2 alice m1\n6s client c1 closes clean",
        of_client.join("\n"),
        of_push.join("\n"),
    )));
    assert_eq!(world.pushes().len(), 11);
}

#[test]
fn an_instance_killed_in_a_batch_executes_what_comes_before() {
    let died = |commands: u32| {
        let world = end_of(schedule(&format!(
            "2s client c1 connects i1 as alice\n2s client c2 connects i1 as alice\n\
             4s kill i1 after {commands} commands\n4s push i1 alice m1"
        )));
        (["c1", "c2"].iter())
            .filter(|client| has(&world, client, 0))
            .count()
    };
    assert_eq!(died(0), 0);
    let reached: Vec<usize> = (0..8).map(died).collect();
    assert!(reached.is_sorted(), "{reached:?}");
    assert!(reached.contains(&1), "between the two: {reached:?}");
    assert_eq!(reached.last(), Some(&2));
}

#[test]
fn a_rolling_deployment_starts_each_instance_once() {
    let world = end_of(schedule("2s deploy 0.1s 0.5s 3s\n30s push i1 alice m1"));
    for host in world.hosts() {
        assert!(host.runs());
        assert_eq!(host.life().number, 2);
    }
}

#[test]
fn clients_that_reconnect_survive_a_storm_and_a_deployment() {
    let items = "1s client c1 connects anywhere as alice\n1s client c2 connects i2 as bob\n\
         3s storm everywhere\n8s deploy 0.1s 0.5s 3s\n40s push i1 alice,bob m1";
    let mut reconnecting = schedule(items);
    let world = end_of(reconnecting.clone());
    assert!(!has(&world, "c1", 0) && !has(&world, "c2", 0));
    reconnecting.reconnect = Some(Duration::from_millis(100));
    let world = end_of(reconnecting);
    assert!(has(&world, "c1", 0) && has(&world, "c2", 0));
}

#[test]
fn kicks_tokens_and_bad_frames_end_connections() {
    let world = end_of(schedule(
        "1s client c1 connects i1 as alice\n1s client c2 connects i1 as bob for 5s\n\
         1s client c3 connects i1 as carol\n1s client c4 connects i1 as dave\n\
         3s kick i2 alice k1\n4s client c3 sends oversized\n4s client c4 sends 3 messages\n\
         10s push i2 dave m1",
    ));
    let open =
        ["c1", "c2", "c3", "c4"].map(|client| sessions(&world, client).any(Session::is_open));
    assert_eq!(open, [false, false, false, true]);
}

#[test]
fn a_token_runs_out_by_the_wall_clock_of_the_instance() {
    let items = "1.5s client c1 connects i1 as alice for 10s\n8s push i2 alice m1";
    let right = end_of(schedule(items));
    assert!(has(&right, "c1", 0));
    let fast = end_of(schedule(&format!("1s clock i1 +5s\n{items}")));
    assert!(!has(&fast, "c1", 0));
    let slow = end_of(schedule(&format!(
        "1s clock i1 -5s\n{items}\n13s push i2 alice m2"
    )));
    assert!(has(&slow, "c1", 0) && has(&slow, "c1", 1));
}

#[test]
fn a_clogged_link_delivers_when_it_is_mended() {
    let world = end_of(schedule(
        "1s client c1 connects i1 as alice\n2s push i2 alice m1\n3s clog i2 -> i1\n\
         3.1s push i2 alice m2\n4s mend i2 -> i1\n5s push i2 alice m3",
    ));
    assert!((0..3).all(|push| has(&world, "c1", push)));
}

#[test]
fn cut_and_clogged_pushes_arrive_in_their_order() {
    for micros in (0..2000).step_by(50) {
        let at = 3.0 + f64::from(micros) / 1e6;
        end_of(schedule(&format!(
            "1s client c1 connects i1 as alice\n2s push i2 alice m1\n3s cut i2 -> i1\n\
             3s push i2 alice m2\n3.0005s clog i2 -> i1\n{at:.6}s push i2 alice m3\n\
             3.001s mend i2 -> i1\n{at:.6}s push i2 alice m4"
        )));
    }
}

#[test]
fn half_open_links_are_found_out() {
    for arrow in ["->", "<->"] {
        let world = end_of(schedule(&format!(
            "1s client c1 connects i1 as alice\n2s push i2 alice m1\n3s half-open i1 {arrow} i2\n\
             30s push i2 alice m2"
        )));
        assert!(has(&world, "c1", 1), "{arrow}");
    }
}

#[test]
fn refused_dials_are_repeated() {
    let world = end_of(schedule(
        "1s client c1 connects i1 as alice\n1s refuse i2 -> i1 3s\n1s refuse i1 -> i2 3s\n\
         2s push i2 alice m1\n20s push i2 alice m2",
    ));
    assert!(!has(&world, "c1", 0) && has(&world, "c1", 1));
}

#[test]
fn a_slow_reader_gets_everything_late() {
    let pushes: Vec<String> = (0..5)
        .map(|push| format!("3.{push}s push i2 alice m{push}"))
        .collect();
    let items = format!(
        "1s client c1 connects i1 as alice\n2s client c1 reads every 0.5s\n{}",
        pushes.join("\n")
    );
    let world = end_of(schedule(&items));
    assert!((0..5).all(|push| has(&world, "c1", push)));
}

#[test]
fn a_blind_balancer_sends_terminals_to_those_that_take_none() {
    let connects: Vec<String> = (0..20)
        .map(|client| format!("3s client c{client} connects anywhere as alice"))
        .collect();
    let taken = |balancer: &str| {
        let world = end_of(schedule(&format!(
            "2s kill i1\n2s drain i2 1s 2s\n2.5s {balancer}\n{}",
            connects.join("\n")
        )));
        (world.sessions().iter())
            .filter(|session| session.connection().is_some())
            .count()
    };
    assert_eq!(taken("heal"), 20);
    assert!((1..20).contains(&taken("balancer blind 5s")));
}
