//! Each fault does what its item says.

use std::time::Duration;

use switchboard_core::flaws::Flaw;
use switchboard_sim::ledger::FaultKind;
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
    (world.scene().sessions().iter()).filter(move |session| session.client() == client)
}

fn has(world: &World, client: &str, push: usize) -> bool {
    let id = world.scene().pushes()[push].id();
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
    assert_eq!(world.scene().pushes().len(), 11);
}

#[test]
fn a_moment_comes_when_it_has_come_about() {
    // The lookup is refused once and asked again; nobody reads until later.
    let world = end_of(schedule(
        "1s client c1 connects i1 as alice\n2s client c1 stops reading\n\
         2s redis i2 next lookup refused OOM\n2s on lookup of m1 push i3 bob m2\n\
         2s on write of m1 push i3 bob m3\n3s push i2 alice m1\n5s client c1 reads",
    ));
    let taken = |push: usize| world.scene().pushes()[push].times()[0].at;
    assert!(has(&world, "c1", 0));
    let written = world
        .scene()
        .pushes()
        .last()
        .expect("the frame was written")
        .times()[0]
        .at;
    assert!(
        written >= taken(0) + Duration::from_millis(1900),
        "{written:?}"
    );
    assert_eq!(world.scene().pushes().len(), 2, "the lookup was refused");
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
    for host in world.scene().hosts() {
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

/// The terminal takes 30 frames in 60 s. Its ping is 20 frames behind.
#[test]
fn a_slow_reader_is_not_given_up_while_its_ping_waits() {
    let pushes: Vec<String> = (0..30)
        .map(|push| format!("15.{push:02}s push i2 alice m{push}"))
        .collect();
    let items = |reads: &str| {
        format!(
            "1s client c1 connects i1 as alice\n2s client c1 {reads}\n{}\n80s client c1 reads",
            pushes.join("\n")
        )
    };
    let world = end_of(schedule(&items("reads every 2s")));
    assert!((0..30).all(|push| has(&world, "c1", push)));
    let world = end_of(schedule(&items("stops reading")));
    assert!(!has(&world, "c1", 29), "it was given up");
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
        (world.scene().sessions().iter())
            .filter(|session| session.connection().is_some())
            .count()
    };
    assert_eq!(taken("heal"), 20);
    assert!((1..20).contains(&taken("balancer blind 5s")));
}

/// A row that is removed by user leaves an orphan behind, which a pause could explain.
fn finds_orphan(items: &str) -> bool {
    let mut schedule = schedule(&format!(
        "{items}\n20s client c1 connects i1 as bob\n20s client c2 connects i1 as bob\n\
         20.5s client c1 closes clean\n22s heal"
    ));
    schedule.flaw = Some(Flaw::UnregisterByUser);
    let violation = World::new(schedule).run().violation;
    violation.is_some_and(|violation| {
        violation.checker == "orphan-debt" && violation.at < Duration::from_secs(22)
    })
}

#[test]
fn a_pause_excuses_only_the_life_that_stands_still() {
    assert!(finds_orphan(""));
    assert!(finds_orphan("1s kill i1\n2s pause i1 3600s\n3s restart i1"));
    assert!(finds_orphan("1s pause i1 3600s\n2s kill i1\n3s restart i1"));
    assert!(finds_orphan(
        "1s pause i1 3600s\n19s kill i1\n19s restart i1"
    ));
    assert!(!finds_orphan("1s pause i1 18s"));
}

fn faults(items: &str) -> Vec<FaultKind> {
    let report = World::new(schedule(items)).run();
    assert_eq!(report.violation, None, "{items}");
    report.faults
}

#[test]
fn what_hits_nothing_is_no_fault() {
    let nothing = [
        "half-open i1 <-> i2",
        "reset i1 <-> i2",
        "cut i1 <-> i2",
        "clog i1 -> i2",
        "refuse i1 -> i2 1s",
        "storm everywhere",
        "links latency 0.3ms",
        "redis latency 0.2ms",
        "redis evicts rows alice",
        "redis up",
        "redis i1 next lookup reply-lost",
        "client c1 closes sudden",
        "client c1 stops reading",
        "balancer blind 1s",
        "repeat i1 m1",
        "on push of m1 kill i2",
        "heal",
    ];
    for item in nothing {
        assert_eq!(faults(&format!("2s {item}")), [], "{item}");
    }
    let killed = [
        "pause i1 3s",
        "kill i1",
        "kill i1 after 0 commands",
        "drain i1 1s 1s",
        "clock i1 +5s",
        "redis i1 next claim late",
    ];
    for item in killed {
        let kinds = faults(&format!("2s kill i1\n3s {item}"));
        assert_eq!(kinds, [FaultKind::Kill], "{item}");
    }
}

#[test]
fn what_hits_something_is_in_the_ledger() {
    let hits = [
        ("half-open i1 -> i2", FaultKind::HalfOpen),
        ("reset i1 <-> i2", FaultKind::LinkReset),
        ("cut i2 -> i1", FaultKind::Cut),
        ("clog i2 -> i1", FaultKind::Clog),
        ("storm i1", FaultKind::Storm),
        ("links latency 100ms", FaultKind::LinkSlow),
        ("redis latency 200ms", FaultKind::RedisSlow),
        ("redis i1 away 2s", FaultKind::RedisAway),
        ("redis clock +1ms", FaultKind::RedisClock),
        ("redis refuses OOM 2s", FaultKind::RedisRefuses),
        ("redis i1 refused OOM 2s", FaultKind::RedisRefuses),
        ("client c1 closes sudden", FaultKind::SuddenEnd),
        ("client c1 closes silent", FaultKind::SilentEnd),
        ("client c1 moves i2 clean", FaultKind::Moved),
        ("client c1 connects i2 as alice", FaultKind::HalfOpenClient),
        ("client c1 sends malformed", FaultKind::Misbehaved),
        ("client c2 hangs i1 as bob", FaultKind::Unopened),
        ("client c1 stops reading", FaultKind::SlowReader),
        ("clock i1 +5s", FaultKind::WallClock),
        ("repeat i3 m1", FaultKind::Repeated),
        ("deploy 0.1s 0.1s 1s", FaultKind::Deployed),
        ("on push of m2 reset i1 <-> i2", FaultKind::AtMoment),
    ];
    for (item, kind) in hits {
        let kinds = faults(&format!(
            "1s client c1 connects i1 as alice\n2s push i2 alice m1\n3s {item}\n\
             3.001s push i2 alice m2"
        ));
        assert!(kinds.contains(&kind), "{item}: {kinds:?}");
    }
}

#[test]
fn a_latency_ends_when_it_is_as_before() {
    let world = end_of(schedule(
        "1s client c1 connects i1 as alice\n2s links latency 100ms\n2s redis latency 200ms\n\
         4s links latency 0.3ms\n4s redis latency 0.2ms\n9s push i2 alice m1",
    ));
    let ended = |kind: FaultKind| {
        let mut entries = world.scene().ledger().entries().iter();
        entries.any(|entry| entry.kind == kind && entry.until < world.scene().now())
    };
    assert!(ended(FaultKind::LinkSlow) && ended(FaultKind::RedisSlow));
    assert!(has(&world, "c1", 0));
}

/// What every way and every round trip bears is no fault, and excuses nothing.
#[test]
fn what_harms_nobody_is_not_in_the_ledger() {
    let harmless = [
        "links latency 20ms",
        "redis latency 50ms",
        "redis up",
        "heal",
    ];
    for item in harmless {
        let kinds = faults(&format!(
            "1s client c1 connects i1 as alice\n2s push i2 alice m1\n3s {item}\n\
             3.001s push i2 alice m2"
        ));
        assert_eq!(kinds, [], "{item}");
    }
}

/// H38, isolation: an instance that alone cannot reach the directory sends its terminals elsewhere.
#[test]
fn terminals_leave_an_instance_that_is_cut_off_from_the_directory() {
    let mut schedule = schedule(
        "1s client c1 connects i1 as alice\n2s push i2 alice m1\n3s redis i1 away 30s\n\
         32s push i2 alice m2",
    );
    schedule.reconnect = Some(Duration::from_millis(100));
    let world = end_of(schedule);
    let hosts: Vec<_> = sessions(&world, "c1").filter_map(Session::life).collect();
    assert_eq!((hosts.len(), hosts[0].host), (2, 0), "{hosts:?}");
    assert_ne!(hosts[1].host, 0);
    assert!(has(&world, "c1", 1));
}

#[test]
fn pauses_that_follow_each_other_are_a_long_one() {
    let kinds = faults("2s pause i1 1s\n2.9s pause i1 1s\n3.8s pause i1 1s");
    assert_eq!(kinds, [FaultKind::Pause, FaultKind::LongPause]);
}

#[test]
fn an_address_is_taken_over_and_others_dial_it() {
    let kinds = faults(
        "1s client c1 connects i1 as alice\n2s push i3 alice m1\n3s kill i1\n3s kill i2\n\
         4s restart i2 address-of i1\n4.1s push i3 alice m2\n5s restart i1 new-address",
    );
    let taken = [
        FaultKind::Kill,
        FaultKind::RecycledAddress,
        FaultKind::NotMe,
    ];
    assert_eq!(kinds, taken);
}

#[test]
fn a_client_gives_up_where_nobody_answers() {
    let waited = |killed: &str| {
        let world = end_of(schedule(&format!(
            "2s kill i1{killed}\n3s client c1 connects i1 as alice\n30s push i2 alice m1"
        )));
        let ended = world.scene().sessions()[0]
            .ended()
            .expect("it has given up");
        let left = world.scene().now().since(ended);
        left.as_secs()
    };
    assert_eq!(waited("") - waited(" silent"), 10);
}
