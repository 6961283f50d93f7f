//! The builder: wrong use is an error that names the setting, faults are aimed at what is there, and
//! what fails is told.

use std::collections::BTreeSet;
use std::time::Duration;

use switchboard_core::config::Config;
use switchboard_sim::checker::{Checker, Watch};
use switchboard_sim::observed::Observed;
use switchboard_sim::schedule::{Act, Host, Item, Schedule, To};
use switchboard_sim::{FaultClass, Faults, Scenario, Trial, World};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The error of a scenario that cannot be run.
fn refused(scenario: Scenario) -> String {
    let run = scenario.run();
    let error = run.report().expect_err("it cannot be run");
    assert_eq!(run.failure(), Some(error.to_string()));
    error.to_string()
}

#[test]
fn figures_that_cannot_be_are_named() {
    let new = || Scenario::new(1);
    for (scenario, setting) in [
        (new().pushes_per_second(f64::NAN), "`pushes_per_second`"),
        (new().pushes_per_second(-1.0), "`pushes_per_second`"),
        (
            new().pushes_per_second(f64::INFINITY),
            "`pushes_per_second`",
        ),
        (new().pushes_per_second(1e9), "`pushes_per_second`"),
        (new().users(u64::MAX), "`users`"),
        (new().lasting(Duration::MAX), "`lasting`"),
        (new().lasting(secs(4)), "`lasting`"),
        (new().reconnect(Some(Duration::MAX)), "is not a time"),
        (new().instances(0, Config::default()), "`instances`"),
    ] {
        let error = refused(scenario);
        assert!(error.contains(setting), "{error}");
    }
}

#[test]
fn settings_that_no_schedule_can_hold_are_an_error() {
    let config = Config {
        ping_interval: Duration::MAX,
        ..Config::default()
    };
    let error = refused(Scenario::new(1).settings(config));
    let named = "the scenario's settings: `ping_interval` must be below 1000000000s";
    assert!(error.starts_with(named), "{error}");
    let config = Config {
        ping_interval: secs(999_999_999),
        ..Config::default()
    };
    let error = refused(Scenario::new(1).settings(config));
    assert!(error.contains("is too long"), "{error}");
}

#[test]
fn faults_must_fit_into_the_load() {
    let faulty = |faults| Scenario::new(1).lasting(secs(10)).faults(faults);
    for faults in [
        Faults::all().from(secs(500)),
        Faults::all().from(secs(3)),
        Faults::all().from(secs(8)).until(secs(6)),
        Faults::all().until(secs(11)),
    ] {
        let error = refused(faulty(faults));
        assert!(
            error.starts_with("the scenario's `faults` must be from")
                || error.starts_with("the scenario's `faults` must be until"),
            "{error}"
        );
    }
    let fits = Faults::all().from(secs(4)).until(secs(10));
    assert!(faulty(fits).schedule().is_ok());
}

#[test]
fn a_schedule_says_itself_what_happens() {
    let text = "switchboard-sim 1  seed 1  instances 2\n1s client c1 connects i1 as ann\n3s push i2 ann m1";
    let schedule = Schedule::parse(text).unwrap();
    let whole = || Scenario::of_schedule(schedule.clone());
    for (scenario, setter) in [
        (whole().instances(3, Config::default()), "`instances`"),
        (whole().users(3), "`users`"),
        (whole().terminals(1..=2), "`terminals`"),
        (whole().pushes_per_second(1.0), "`pushes_per_second`"),
        (whole().lasting(secs(20)), "`lasting`"),
        (whole().reconnect(None), "`reconnect`"),
        (whole().faults(Faults::all()), "`faults`"),
        (whole().script("5s heal").users(3), "`script`"),
    ] {
        let error = refused(scenario);
        assert!(error.starts_with(setter), "{error}");
    }
    let report = whole().settings(Config::default()).run().assert_ok();
    assert_eq!(report.seed, 1);
}

#[test]
fn too_few_links_are_an_error() {
    let config = |links| Config {
        links,
        ..Config::default()
    };
    let error = refused(Scenario::new(1).instances(4, config(11)));
    assert!(error.contains("`links` must be at least 12"), "{error}");
    for seed in 0..4 {
        let scenario = Scenario::new(seed).instances(4, config(12));
        let report = scenario
            .faults(Faults::all())
            .lasting(secs(12))
            .run()
            .assert_ok();
        assert!(report.events > 0);
    }
}

#[test]
fn a_violation_that_a_script_expects_must_be_found() {
    let pushes = |by| {
        let expect = format!("expect violation nobody by {by}");
        Scenario::new(9).users(3).check(Nobody).script(&expect)
    };
    let report = pushes("5s").run().assert_ok();
    assert_eq!(report.expected.unwrap().checker, "nobody");
    let early = pushes("1ms").run().failure().unwrap();
    assert!(early.contains("violated: nobody at"), "{early}");

    let never = Scenario::new(9).script("expect violation orphan-debt by 6s");
    let failure = never.run().failure().unwrap();
    assert!(
        failure.contains("orphan-debt was to be violated, and was not"),
        "{failure}"
    );
    let error = refused(Scenario::new(9).script("expect violation orphan-dept by 6s"));
    assert!(error.contains("`orphan-dept`"), "{error}");
    assert!(error.contains("orphan-debt, "), "{error}");
}

#[test]
fn a_failure_tells_the_seed_and_a_small_schedule() {
    let text = Scenario::new(9)
        .users(3)
        .check(Nobody)
        .run()
        .failure()
        .unwrap();
    assert!(text.contains("violated: nobody at"), "{text}");
    assert!(text.contains("seed 0x9"), "{text}");
    assert!(text.contains("connects"), "{text}");
    assert!(text.contains("to 1:"), "{text}");
}

#[test]
fn faults_are_aimed_at_what_is_there() {
    for seed in 0..20 {
        let scenario = Scenario::new(seed).users(3).terminals(1..=2);
        let plain = scenario.schedule().unwrap();
        let faulty = scenario.faults(Faults::all()).schedule().unwrap();
        let clients: BTreeSet<_> = (plain.items.iter())
            .filter_map(|item| match &item.act {
                Act::Connect { client, .. } => Some(client),
                _ => None,
            })
            .collect();
        for item in faulty
            .items
            .iter()
            .filter(|item| !plain.items.contains(item))
        {
            let text = item.act.to_string();
            for stranger in ["alice", "bob", "carol", "dave", "client c"] {
                assert!(!text.contains(stranger), "{text}");
            }
            if let Act::Close { client, .. } | Act::StopReading { client } = &item.act {
                assert!(clients.contains(client), "{text}");
            }
            if let Act::Push {
                to: To::User(user), ..
            } = &item.act
            {
                assert!(["u1", "u2", "u3"].contains(&user.as_str()), "{text}");
            }
        }
    }
}

#[test]
fn no_fault_is_aimed_at_terminals_that_are_not_there() {
    let strangers = ["alice", "bob", "carol", "dave", "client ", " c1", "on "];
    let mut without = 0;
    for seed in 0..60 {
        let one = Scenario::new(seed).users(1).terminals(0..=1);
        let none = Scenario::new(seed).users(0).pushes_per_second(0.0);
        for scenario in [one, none] {
            let plain = scenario.schedule().unwrap().to_string();
            if plain.contains("connects") {
                continue;
            }
            without += 1;
            let faulty = scenario.faults(Faults::all()).schedule().unwrap();
            for item in faulty.items {
                let text = item.act.to_string();
                let stranger = strangers.iter().find(|name| text.contains(*name));
                let is_end = item.act == Act::AllLeave;
                assert!(is_end || stranger.is_none(), "seed {seed}: {text}");
            }
        }
    }
    assert!(without > 70, "{without}");
}

#[test]
fn what_would_last_beyond_the_end_of_faults_is_shortened() {
    let until = secs(12);
    for seed in 0..60 {
        let scenario = Scenario::new(seed).faults(Faults::all().until(until));
        for item in scenario.schedule().unwrap().items {
            if let Act::Pause { span, .. } | Act::RedisAway { span, .. } = item.act {
                assert!(item.at + span <= until, "seed {seed}: {}", item.act);
            }
        }
    }
}

#[test]
fn what_a_client_does_under_faults_is_seen() {
    let seen = |word: &str| {
        (0..20).any(|seed| {
            let scenario = Scenario::new(seed).faults(Faults::all());
            let text = scenario.schedule().unwrap().to_string();
            text.lines().any(|line| line.contains(word))
        })
    };
    for word in [
        "client u1.1 closes",
        "kick i1 u2",
        "evicts rows u",
        "on lookup of",
    ] {
        assert!(seen(word), "{word}");
    }
}

#[test]
fn a_single_instance_has_no_faults_of_links() {
    for seed in 0..20 {
        let scenario = Scenario::new(seed).instances(1, Config::default());
        let schedule = scenario.faults(Faults::all()).schedule().unwrap();
        let text = schedule.to_string();
        assert!(!text.contains("->"), "{text}");
        assert!(!text.contains("links latency"), "{text}");
    }
    let scenario = Scenario::new(3).instances(1, Config::default());
    scenario.faults(Faults::all()).run().assert_ok();
}

#[test]
fn a_class_of_faults_can_be_left_out() {
    let faulty = |faults| Scenario::new(5).faults(faults).schedule().unwrap().items;
    let all = faulty(Faults::all());
    let some = faulty(
        Faults::all()
            .without(FaultClass::Directory)
            .without(FaultClass::Clocks),
    );
    let about = |item: &Item| {
        let text = item.act.to_string();
        text.contains("redis") || text.starts_with("clock")
    };
    assert!(all.iter().any(about));
    // What is left is as it was.
    let left: Vec<_> = all.into_iter().filter(|item| !about(item)).collect();
    assert_eq!(some, left);
}

#[test]
fn a_run_that_proved_nothing_is_not_ok() {
    let run = Scenario::new(1).pushes_per_second(0.0).run();
    let failure = run.failure().unwrap();
    assert!(failure.contains("nothing was proven"), "{failure}");
    assert!(failure.contains("hello-means-reachable"), "{failure}");
    assert!(run.report().is_ok());
}

#[test]
fn a_panic_of_a_checker_is_told_as_such() {
    let failure = Scenario::new(1).check(Clumsy).run().failure().unwrap();
    let told =
        "violated: checker-panic at 0.000000s: the checker `clumsy` panicked: nobody is there (";
    assert!(failure.starts_with(told), "{failure}");
    // It happens in an empty world as well.
    assert!(failure.contains("to 0:"), "{failure}");
}

#[test]
fn a_trace_ends_where_its_run_panics() {
    let text = "switchboard-sim 1  seed 1  instances 1\n1s client c1 connects i1 as ann";
    let schedule = Schedule::parse(text).unwrap();
    let traced = |trial: &Trial| {
        let mut entries = Vec::new();
        trial.trace(&schedule, |entry| entries.push(entry.clone()));
        entries
    };
    let all = traced(&Trial::new());
    let trial = Trial::new().with_checker(Box::new(Skittish));
    let some = traced(&trial);
    assert!(trial.run(&schedule).violation.is_some());
    assert!(!some.is_empty() && some.len() < all.len());
    assert_eq!(some, all[..some.len()]);
}

#[test]
#[should_panic(expected = "the schedule cannot be run: line 2: `i8` is none of i1 to i2")]
fn a_world_of_a_schedule_that_is_none_says_so() {
    let _ = World::new(beyond());
}

#[test]
#[should_panic(expected = "the schedule cannot be run: line 2: `i8` is none of i1 to i2")]
fn a_trial_of_a_schedule_that_is_none_says_so() {
    let _ = Trial::new().run(&beyond());
}

#[test]
fn a_scenario_of_a_schedule_that_is_none_says_so() {
    let error = refused(Scenario::of_schedule(beyond()));
    assert_eq!(
        error,
        "the scenario's schedule: line 2: `i8` is none of i1 to i2"
    );
}

/// It names an instance that is not there.
fn beyond() -> Schedule {
    let empty = Schedule::parse("switchboard-sim 1  seed 1  instances 2");
    let mut schedule = empty.expect("it is a schedule");
    let (host, span) = (Host(7), secs(1));
    let act = Act::Pause { host, span };
    schedule.items.push(Item { at: secs(1), act });
    schedule
}

/// Wants nobody to be greeted.
#[derive(Clone, Debug)]
struct Nobody;

impl Checker for Nobody {
    fn name(&self) -> &'static str {
        "nobody"
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        if let Observed::Greeted { session, .. } = event {
            watch.violated(format!("s{session} was greeted"));
        }
    }
}

/// Cannot bear it when somebody is greeted.
#[derive(Clone, Debug)]
struct Skittish;

impl Checker for Skittish {
    fn name(&self) -> &'static str {
        "skittish"
    }

    fn on_event(&mut self, event: &Observed, _watch: &mut Watch<'_>) {
        assert!(
            !matches!(event, Observed::Greeted { .. }),
            "somebody is there"
        );
    }
}

/// Has a fault of its own.
#[derive(Clone, Debug)]
struct Clumsy;

impl Checker for Clumsy {
    fn name(&self) -> &'static str {
        "clumsy"
    }

    fn on_event(&mut self, _event: &Observed, watch: &mut Watch<'_>) {
        assert!(!watch.scene().sessions().is_empty(), "nobody is there");
    }
}
