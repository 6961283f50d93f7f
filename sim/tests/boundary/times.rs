//! What checkers say to a setting that instances do not keep, sooner and later than it says.

use std::fmt::Write as _;
use std::time::Duration;

use switchboard_core::channel::Channel;
use switchboard_core::command::{Log, TripKind};
use switchboard_core::config::Config;
use switchboard_core::event::LinkFailure;
use switchboard_core::frame::{CloseCode, Outgoing, Payload, Pushed};
use switchboard_core::id::{Epoch, LinkKey, UserId};
use switchboard_core::message::{Counts, Outcome, Receipt, TerminalOutcome};
use switchboard_core::time::Instant;
use switchboard_sim::boundary::{Intake, LeaseStep, Output, TripOutline};
use switchboard_sim::observed::{HandIn, Life, Observed};
use switchboard_sim::schedule::Schedule;
use switchboard_sim::{World, checkers};

use crate::recorder::{PRESENT, connections, gave, link, links, logged, other, took, trips, world};

/// The first instance.
const LIFE: Life = Life { host: 0, number: 1 };

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A setting as it should be, and as instances have it that are sooner and later than that.
struct Doctored {
    setting: &'static str,
    checker: &'static str,
    schedule: String,
    set: fn(&mut Config),
    sooner: Option<fn(&mut Config)>,
    later: Option<fn(&mut Config)>,
}

/// What is found if instances have these settings instead of those.
fn found(schedule: &str, checker: &str, config: &Config, real: &Config) -> Option<String> {
    let schedule = format!("switchboard-sim 1  seed 7  instances 2\n{schedule}");
    let checker = checkers::named(checker).expect("a checker");
    let schedule = Schedule::parse(&schedule).expect("a schedule");
    let mut world = World::doctored(schedule, config.clone(), real, vec![checker]);
    world.run().violation.map(|violation| violation.what)
}

/// So many terminals connect to the first instance.
fn crowd(terminals: usize, then: &str) -> String {
    let mut schedule = String::new();
    for number in 0..terminals {
        let at = 1000 + number * 10;
        writeln!(
            schedule,
            "{at}ms  client c{number} connects i1 as u{number}"
        )
        .expect("a text has room");
    }
    schedule + then
}

/// Two dozen pushes, the first again after 100 s, and others when the time of all is over.
fn remembered() -> String {
    let mut schedule = "1s  client c1 connects i1 as alice\n103s  repeat i1 m0\n".to_owned();
    for number in 0..24 {
        let (at, later) = (3000 + number * 100, 140_000 + number * 100);
        writeln!(schedule, "{at}ms  push i1 alice m{number}").expect("a text has room");
        writeln!(schedule, "{later}ms  push i1 alice n{number}").expect("a text has room");
    }
    schedule + "150s  heal"
}

fn all() -> Vec<Doctored> {
    let one = |rest: &str| format!("1s  client c1 connects i1 as alice\n{rest}");
    let nothing: fn(&mut Config) = |_| {};
    vec![
        Doctored {
            setting: "handshake_timeout",
            checker: "terminal-times",
            schedule: one("2s  client c2 hangs i1 as bob\n9s  heal"),
            set: nothing,
            sooner: Some(|real| real.handshake_timeout = millis(2500)),
            later: Some(|real| real.handshake_timeout = secs(10)),
        },
        Doctored {
            setting: "hello_grace",
            checker: "terminal-times",
            schedule: "500ms  redis down\n1s  client c1 connects i1 as alice\n9s  heal".to_owned(),
            set: nothing,
            sooner: Some(|real| real.hello_grace = millis(500)),
            later: Some(|real| real.hello_grace = secs(2)),
        },
        Doctored {
            setting: "ping_interval",
            checker: "terminal-times",
            schedule: one("90s  heal"),
            set: nothing,
            sooner: Some(|real| real.ping_interval = millis(12_500)),
            later: Some(|real| real.ping_interval = secs(50)),
        },
        Doctored {
            setting: "ping_timeout",
            checker: "terminal-times",
            schedule: one("5s  client c1 closes silent\n90s  heal"),
            set: nothing,
            sooner: Some(|real| real.ping_timeout = secs(5)),
            later: Some(|real| real.ping_timeout = secs(20)),
        },
        Doctored {
            setting: "close_timeout",
            checker: "terminal-times",
            schedule: one("5s  client c1 stops reading\n6s  kick i1 alice k1\n70s  heal"),
            set: nothing,
            sooner: Some(|real| real.close_timeout = millis(2500)),
            later: Some(|real| real.close_timeout = secs(10)),
        },
        Doctored {
            setting: "link_timeout",
            checker: "link-times",
            schedule: "1s  client c1 connects i2 as alice\n5s  kill i2 silent\n\
                       6s  push i1 alice m1\n70s  heal"
                .to_owned(),
            set: nothing,
            sooner: Some(|real| real.link_timeout = millis(500)),
            later: Some(|real| real.link_timeout = secs(2)),
        },
        Doctored {
            setting: "link_heartbeat",
            checker: "link-times",
            schedule: one("5s  push i2 alice m1\n70s  heal"),
            set: nothing,
            sooner: Some(|real| real.link_heartbeat = millis(1500)),
            later: Some(|real| real.link_heartbeat = secs(6)),
        },
        Doctored {
            setting: "repeat_memory",
            checker: "remembered",
            schedule: remembered(),
            set: nothing,
            // That is for `no-duplicate` to say, to a push that comes again.
            sooner: None,
            later: Some(|real| real.repeat_memory = secs(240)),
        },
        Doctored {
            setting: "repeat_memory",
            checker: "no-duplicate",
            schedule: remembered(),
            set: nothing,
            sooner: Some(|real| real.repeat_memory = secs(60)),
            later: None,
        },
        Doctored {
            setting: "repeat_entries",
            checker: "limits",
            schedule: remembered(),
            set: |config| config.repeat_entries = 8,
            sooner: None,
            later: Some(|real| real.repeat_entries = 16),
        },
        Doctored {
            setting: "repeat_entries",
            checker: "no-duplicate",
            schedule:
                "1s  client c1 connects i1 as alice\n5s  push i1 alice m1\n6s  push i1 alice m2\n\
                       7s  push i1 alice m3\n8s  repeat i1 m1\n20s  heal"
                    .to_owned(),
            set: |config| config.repeat_entries = 8,
            sooner: Some(|real| real.repeat_entries = 2),
            later: None,
        },
        Doctored {
            setting: "lease_renewal",
            checker: "lease-times",
            schedule: "70s  heal".to_owned(),
            set: nothing,
            sooner: Some(|real| real.lease_renewal = millis(1500)),
            later: Some(|real| real.lease_renewal = secs(4)),
        },
        Doctored {
            setting: "view_interval",
            checker: "lease-times",
            schedule: "70s  heal".to_owned(),
            set: nothing,
            sooner: Some(|real| real.view_interval = millis(500)),
            later: Some(|real| real.view_interval = secs(2)),
        },
        Doctored {
            setting: "directory_timeout",
            checker: "lease-times",
            schedule: "5s  redis latency 300ms\n10s  redis i1 next renew reply-late\n70s  heal"
                .to_owned(),
            set: nothing,
            sooner: Some(|real| real.directory_timeout = millis(500)),
            later: Some(|real| real.directory_timeout = secs(3)),
        },
        Doctored {
            setting: "settle_rate",
            checker: "directory-rate",
            schedule: crowd(160, "10s  redis restart-empty\n70s  heal"),
            set: |config| config.settle_rate = 80,
            sooner: Some(|real| real.settle_rate = 160),
            later: Some(|real| real.settle_rate = 40),
        },
        Doctored {
            setting: "sweep",
            checker: "directory-rate",
            schedule: crowd(3, "600s  heal"),
            set: |config| config.sweep = secs(60),
            sooner: Some(|real| real.sweep = secs(30)),
            later: Some(|real| real.sweep = secs(120)),
        },
        Doctored {
            setting: "row_expiry",
            checker: "orphan-debt",
            schedule: crowd(3, "200s  heal"),
            set: |config| (config.sweep, config.row_expiry) = (secs(30), secs(60)),
            sooner: None,
            later: Some(|real| (real.sweep, real.row_expiry) = (secs(600), secs(1200))),
        },
        Doctored {
            setting: "isolation",
            checker: "suspicion-ends",
            schedule: one("5s  push i2 alice m1\n10s  redis i1 away 100s\n120s  heal"),
            set: nothing,
            sooner: Some(|real| real.isolation = secs(12)),
            later: Some(|real| real.isolation = secs(60)),
        },
        Doctored {
            setting: "broadcast_rate",
            checker: "push-times",
            schedule: crowd(300, "10s  push i2 everyone m1\n60s  heal"),
            set: |config| config.broadcast_rate = 100,
            sooner: Some(|real| real.broadcast_rate = 200),
            // As slow as if others came all the time.
            later: Some(|real| real.broadcast_rate = 100 / Config::BROADCAST_YIELD),
        },
    ]
}

/// Settings that instances keep.
#[test]
fn what_settings_say_is_no_violation() {
    for doctored in all() {
        let mut config = Config::default();
        (doctored.set)(&mut config);
        let found = found(&doctored.schedule, doctored.checker, &config, &config);
        assert_eq!(found, None, "{}", doctored.setting);
    }
}

#[test]
fn what_is_sooner_than_a_setting_says_is_noticed() {
    for doctored in all() {
        let Some(sooner) = doctored.sooner else {
            continue;
        };
        let mut config = Config::default();
        (doctored.set)(&mut config);
        let mut real = config.clone();
        sooner(&mut real);
        let found = found(&doctored.schedule, doctored.checker, &config, &real);
        assert!(found.is_some(), "{} is too soon", doctored.setting);
    }
}

#[test]
fn what_is_later_than_a_setting_says_is_noticed() {
    for doctored in all() {
        let Some(later) = doctored.later else {
            continue;
        };
        let mut config = Config::default();
        (doctored.set)(&mut config);
        let mut real = config.clone();
        later(&mut real);
        let found = found(&doctored.schedule, doctored.checker, &config, &real);
        assert!(found.is_some(), "{} is too late", doctored.setting);
    }
}

/// What a checker says to what has not happened, at present, or to what follows from it.
#[track_caller]
fn assert_says(checker: &str, events: impl FnOnce(&World) -> Vec<Observed>, what: &str) {
    let mut world = world(checkers::named(checker).expect("a checker"));
    world.run_until(PRESENT);
    assert_eq!(world.report().violation, None);
    for event in events(&world) {
        world.pretend(event);
    }
    let said = world.run().violation.expect("a violation").what;
    assert!(said.contains(what), "{said}");
}

#[test]
fn a_token_and_a_handshake_end_when_they_should() {
    let [present, later] = connections();
    let accepted = |now: Instant| {
        took(Intake::Accepted {
            connection: later,
            expires: Some(now + secs(5)),
            known: true,
        })
    };
    let opened = || took(Intake::Opened(later));
    let expired = |connection| {
        gave(Output::Close {
            connection,
            code: CloseCode::TokenExpired,
        })
    };
    let now = |world: &World| world.scene().now();
    assert_says(
        "terminal-times",
        |world| vec![accepted(now(world))],
        "waits too long for the handshake",
    );
    let hello = || {
        gave(Output::Hello {
            connection: later,
            degraded: false,
        })
    };
    assert_says(
        "terminal-times",
        |world| vec![accepted(now(world)), opened(), hello()],
        "after its token has run out",
    );
    assert_says(
        "terminal-times",
        |world| vec![accepted(now(world)), opened(), hello(), expired(later)],
        "before its token",
    );
    assert_says(
        "terminal-times",
        |_| vec![expired(present)],
        "whose token never expires",
    );
}

#[test]
fn an_instance_is_ready_while_it_holds_a_lease_and_gives_it_back_when_it_ends() {
    assert_says(
        "lease-times",
        |_| vec![gave(Output::Drained)],
        "has not given its lease back",
    );
    assert_says(
        "lease-times",
        |_| vec![logged(Log::Isolated)],
        "says of itself that it is ready: true",
    );
}

#[test]
fn a_lease_says_at_once_what_there_is_to_say_and_is_claimed_when_it_is_gone_and_not_before() {
    let op = trips().last().expect("a round trip").op;
    let asks = |lease| asks(TripOutline { lease, ..nothing() });
    let claim = LeaseStep::Claim(Epoch::new(7));
    assert_says(
        "lease-times",
        |_| vec![asks(Some((0, claim)))],
        "claims a lease that it holds",
    );
    let epoch = Epoch::new(1);
    assert_says(
        "lease-times",
        |_| vec![logged(Log::Settled { epoch })],
        "does not say in its lease",
    );
    let [connection, _] = connections();
    let degraded = true;
    assert_says(
        "lease-times",
        |_| {
            vec![gave(Output::Hello {
                connection,
                degraded,
            })]
        },
        "does not say in its lease",
    );
    let vanished = took(Intake::TripAnswered {
        op,
        in_time: true,
        lost: false,
        granted: false,
        released: false,
        vanished: true,
        refused: 0,
    });
    assert_says(
        "lease-times",
        |_| vec![asks(None), vanished],
        "does not claim anew",
    );
}

/// A round trip that asks for nothing.
fn nothing() -> TripOutline {
    let op = trips().last().expect("a round trip").op;
    TripOutline::new(op, TripKind::Ordered, 1)
}

fn asks(trip: TripOutline) -> Observed {
    gave(Output::Trip(Box::new(trip)))
}

#[test]
fn the_leases_are_read_once_at_a_time() {
    let twice = TripOutline {
        views: 2,
        ..nothing()
    };
    assert_says("lease-times", |_| vec![asks(twice)], "twice at a time");
}

/// What is said if the head of a log is asked for twice, and this happens in between.
fn said_of_heads(between: Option<Observed>) -> Option<String> {
    let mut world = world(checkers::named("directory-rate").expect("a checker"));
    world.run_until(PRESENT);
    let heads = vec![Channel::User(UserId::new("alice").expect("a user"))];
    let compares = || {
        let heads = heads.clone();
        asks(TripOutline { heads, ..nothing() })
    };
    world.pretend(compares());
    if let Some(event) = between {
        world.pretend(event);
    }
    world.pretend(compares());
    world.report().violation.map(|violation| violation.what)
}

#[test]
fn heads_of_logs_are_compared_once_in_a_round_and_when_there_is_a_reason() {
    let what = said_of_heads(None).expect("a violation");
    assert!(what.contains("compares the head of alice"), "{what}");
    let instance = other(&world(
        checkers::named("directory-rate").expect("a checker"),
    ));
    let epoch = Epoch::new(1);
    let reasons = [
        took(Intake::DirectoryUp),
        logged(Log::PeerDown { instance }),
        logged(Log::LeaseLost { epoch }),
        logged(Log::LeaseVanished { instance }),
    ];
    for reason in reasons {
        assert_eq!(said_of_heads(Some(reason)), None);
    }
    let no_reason = logged(Log::PeerUp { instance });
    assert!(said_of_heads(Some(no_reason)).is_some());
}

#[test]
fn of_too_many_links_that_nobody_has_proven_the_oldest_gives_way() {
    let strangers = links(1025);
    let accepted = || {
        let links = strangers.iter();
        links.map(|link| took(Intake::LinkAccepted(*link)))
    };
    let closes = |nth: usize| gave(Output::LinkClose(strangers[nth]));
    assert_says(
        "link-times",
        |_| accepted().collect(),
        "keeps a link that has to give way",
    );
    assert_says(
        "link-times",
        |_| {
            accepted()
                .chain([closes(0), closes(1024), closes(1)])
                .collect()
        },
        "gives up too soon to open a link",
    );
    let one_less = |_: &World| accepted().skip(1).chain([closes(1), closes(2)]).collect();
    assert_says("link-times", one_less, "gives up too soon to open a link");
}

#[test]
fn of_two_links_to_one_instance_the_right_one_ends() {
    let [first, second] = links(2).try_into().expect("two links");
    let accepted = |link| took(Intake::LinkAccepted(link));
    let proven = |link| gave(Output::LinkProven(link));
    let closes = |link| gave(Output::LinkClose(link));
    assert_says(
        "link-times",
        |_| vec![accepted(first), proven(first), closes(first)],
        "keeps a link that its peer has lost",
    );
    // The one that it has dialled serves when its acceptor has said something behind its Hello.
    let serves = |world: &World, link: LinkKey| {
        let instance = other(world);
        let said = || {
            let service = None;
            took(Intake::LinkReceived { link, service })
        };
        [
            gave(Output::Dial { link, instance }),
            said(),
            proven(link),
            said(),
        ]
    };
    let crossed = |world: &World| {
        let mut events = vec![accepted(second)];
        events.extend(serves(world, first));
        events
    };
    let takes_the_other = |world: &World| {
        let mut events = crossed(world);
        events.extend([proven(second), closes(first)]);
        events
    };
    // The lower id decides.
    let found = found_by_links(takes_the_other);
    let lower = {
        let world = world(checkers::named("link-times").expect("a checker"));
        world.scene().instance_of(LIFE) < other(&world)
    };
    assert_eq!(found.is_some(), lower, "{found:?}");
}

/// What is said at once to what has not happened.
fn found_by_links(events: impl FnOnce(&World) -> Vec<Observed>) -> Option<String> {
    let mut world = world(checkers::named("link-times").expect("a checker"));
    world.run_until(PRESENT);
    for event in events(&world) {
        world.pretend(event);
    }
    world.run_until(PRESENT + secs(1));
    world.report().violation.map(|violation| violation.what)
}

#[test]
fn a_failed_dial_is_followed_by_a_pause() {
    let link = link();
    let down = || {
        let failure = LinkFailure::Broken;
        took(Intake::LinkDown { link, failure })
    };
    assert_says(
        "link-times",
        |world| {
            let instance = other(world);
            let dial = || gave(Output::Dial { link, instance });
            vec![dial(), down(), dial()]
        },
        "dials too soon",
    );
}

#[test]
fn a_drain_begins_and_ends_when_it_was_ordered() {
    let [present, _] = connections();
    let drain = |delay, spread| took(Intake::Drain { delay, spread });
    let away = || {
        gave(Output::Close {
            connection: present,
            code: CloseCode::ServiceRestart,
        })
    };
    assert_says("drain", |_| vec![away()], "does not drain");
    assert_says(
        "drain",
        |_| vec![drain(secs(5), secs(5)), away()],
        "before the delay is over",
    );
    assert_says(
        "drain",
        |_| vec![drain(secs(0), secs(5)), away()],
        "too fast",
    );
    assert_says("drain", |_| vec![drain(secs(1), secs(2))], "too slowly");
    let drained = || gave(Output::Drained);
    assert_says("drain", |_| vec![drained()], "unasked");
    assert_says(
        "drain",
        |_| vec![drain(secs(5), secs(5)), drained()],
        "before the delay is over",
    );
    assert_says(
        "drain",
        |_| vec![drain(secs(0), secs(0)), drained()],
        "connections are left",
    );
}

#[test]
fn a_frame_is_written_soon_and_counts_as_queued_late() {
    let written = |world: &World| Observed::Written {
        session: 0,
        payload: world.scene().pushes()[1].payload().unwrap().clone(),
        push: Some(1),
        position: None,
    };
    // It was handed in seven seconds ago.
    assert_says("push-times", |world| vec![written(world)], "only");
    let mut world = world(checkers::named("push-times").unwrap());
    world.run_until(secs(3) + millis(100));
    let scene = world.scene();
    let session = &scene.sessions()[0];
    let receipt = Receipt {
        push: scene.pushes()[1].id(),
        logged: Vec::new(),
        degraded: false,
        counts: Counts::default(),
        terminals: vec![TerminalOutcome {
            user: session.user().clone(),
            connection: session.connection().unwrap(),
            outcome: Outcome::Queued,
        }],
        truncated: false,
        instances: Vec::new(),
        kept: None,
        listed: Vec::new(),
    };
    world.pretend(Observed::Answered {
        hand_in: HandIn { push: 1, time: 0 },
        receipt: Box::new(receipt),
    });
    let said = world.run().violation.expect("a violation").what;
    assert!(said.contains("counts as queued"), "{said}");
}

/// What is said if a push to everyone goes on so long after a step, before which a push to a user has come.
fn goes_on(after: Duration) -> Option<String> {
    let (step, next) = (millis(10_020), millis(10_020) + after);
    // What is asked at these moments is asked so that they are there.
    let schedule = format!(
        "switchboard-sim 1  seed 7  instances 1  broadcast-rate 200
         1s       client c1 connects i1 as alice
         1s       client c2 connects i1 as bob
         1s       client c3 connects i1 as carol
         5s       push i1 everyone m1
         10.010s  push i1 bob m2
         {}ms     instances i1
         {}ms     instances i1",
        step.as_millis(),
        next.as_millis()
    );
    let schedule = Schedule::parse(&schedule).expect("a schedule");
    let checker = checkers::named("push-times").expect("a checker");
    let mut world = World::watched(schedule, vec![checker]);
    let mut given = |at: Duration, session: usize| {
        world.run_until(at);
        let payload = Payload::text("m1".into()).expect("text");
        let push = world.scene().pushes()[0].id();
        let outgoing = Outgoing::Pushed(Pushed::new(push, None, payload));
        world.pretend(Observed::Given { session, outgoing });
    };
    given(step, 0);
    given(next, 2);
    world.report().violation.map(|violation| violation.what)
}

#[test]
fn a_push_to_everyone_leaves_room_for_a_push_to_a_user() {
    let step = millis(5);
    assert_eq!(goes_on(step * Config::BROADCAST_YIELD), None);
    let said = goes_on(step).expect("a push has come");
    assert!(said.contains("goes on with a broadcast"), "{said}");
}
