//! What is said of a push to a topic that reaches who was no member, or was not told so before, and of a topic that is
//! refused for a limit that is not reached.

use std::fmt::Write as _;
use std::time::Duration;

use switchboard_core::frame::{NotJoined, Outgoing, Payload, Pushed};
use switchboard_core::id::TopicId;
use switchboard_core::topic::TopicWish;
use switchboard_sim::observed::Observed;
use switchboard_sim::schedule::Schedule;
use switchboard_sim::{World, checkers};

/// One terminal is a member, one has left, one is left out, and one never was one.
const SCHEDULE: &str = "switchboard-sim 1  seed 7  instances 2  lease 10s
    0.5s  client c1 claims news
    0.5s  client c2 claims news
    0.5s  client c3 claims news
    1s    client c1 connects i1 as alice
    1s    client c2 connects i1 as bob
    1s    client c3 connects i2 as carol
    1s    client c4 connects i2 as dave
    3s    client c2 leaves news
    4s    push i1 topics news except c3 m1";

/// What is said if a terminal has got the push.
fn written_to(session: usize) -> Option<String> {
    let schedule = Schedule::parse(SCHEDULE).expect("a schedule");
    let checker = checkers::named("topic-members").expect("a checker");
    let mut world = World::watched(schedule, vec![checker]);
    world.run_until(Duration::from_secs(5));
    world.pretend(Observed::Written {
        session,
        payload: Payload::text("extra".into()).expect("text"),
        push: Some(0),
        position: None,
    });
    world.report().violation.map(|violation| violation.what)
}

#[test]
fn members_get_what_is_for_their_topic_and_nobody_else() {
    assert_eq!(written_to(0), None);
    for (session, why) in [
        (1, "was no member"),
        (2, "was left out"),
        (3, "was no member"),
    ] {
        let said = written_to(session).expect("it is no member");
        assert!(said.contains(why), "{said}");
    }
}

/// What a checker says if a terminal is told this.
fn told(
    checker: &str,
    session: usize,
    outgoing: impl FnOnce(&World) -> Outgoing,
) -> Option<String> {
    let schedule = Schedule::parse(SCHEDULE).expect("a schedule");
    let checker = checkers::named(checker).expect("a checker");
    let mut world = World::watched(schedule, vec![checker]);
    world.run_until(Duration::from_secs(5));
    let outgoing = outgoing(&world);
    world.pretend(Observed::Given { session, outgoing });
    world.report().violation.map(|violation| violation.what)
}

fn news() -> TopicId {
    TopicId::new("news").expect("a topic")
}

#[test]
fn a_push_to_a_topic_comes_to_those_who_were_told_that_they_are_members() {
    let pushed = |world: &World| {
        let payload = Payload::text("m1".into()).expect("text");
        let push = world.scene().pushes()[0].id();
        Outgoing::Pushed(Pushed::to_topic(push, news(), payload))
    };
    assert_eq!(told("topic-members", 0, pushed), None);
    let said = told("topic-members", 3, pushed).expect("it was told of no topic");
    assert!(said.contains("was not told that it is a member"), "{said}");
}

#[test]
fn a_topic_is_refused_for_a_limit_that_is_reached() {
    for why in [NotJoined::TooMany, NotJoined::TooFast, NotJoined::Full] {
        let refused = |_: &World| Outgoing::NotJoined(news(), why);
        let said = told("limits", 3, refused).expect("there is room");
        assert!(said.contains("is refused"), "{said}");
    }
    let refused = |_: &World| Outgoing::NotJoined(news(), NotJoined::NotAllowed);
    assert_eq!(told("limits", 3, refused), None);
}

/// Two of three topics are joined, and no more may be.
const TIGHT: &str = "switchboard-sim 1  seed 7  instances 1  tight close
    0.5s  client c1 claims news,sport,*
    1s    client c1 connects i1 as alice
    2s    client c1 watches news
    20s   client c2 connects i1 as bob";

fn tight(checker: &str) -> World {
    let schedule = Schedule::parse(TIGHT).expect("a schedule");
    let checker = checkers::named(checker).expect("a checker");
    let mut world = World::watched(schedule, vec![checker]);
    world.run_until(Duration::from_secs(5));
    world
}

#[test]
fn a_terminal_is_a_member_of_as_many_topics_as_it_may_be() {
    let joined = |topic: &str| {
        let mut world = tight("limits");
        world.pretend(Observed::Given {
            session: 0,
            outgoing: Outgoing::Joined {
                topic: TopicId::new(topic).expect("a topic"),
                degraded: false,
                log: None,
            },
        });
        world.report().violation.map(|violation| violation.what)
    };
    assert_eq!(joined("sport"), None);
    let said = joined("room-1").expect("a third one");
    assert!(said.contains("is a member of 3 topics"), "{said}");
}

/// Three members of a topic, as many as there may be, and one more terminal.
const FULL: &str = "switchboard-sim 1  seed 7  instances 1  tight close
    0.1s  client c1 claims *
    0.1s  client c2 claims *
    0.1s  client c3 claims *
    1s    client c1 connects i1 as alice
    1s    client c2 connects i1 as bob
    1s    client c3 connects i1 as carol
    1s    client c4 connects i1 as dave
    2s    client c1 joins sport
    2s    client c2 joins sport
    2s    client c3 joins sport";

#[test]
fn a_topic_has_as_many_members_as_it_may_have_and_those_that_are_sent_away_are_none() {
    // Somebody reads slowly, and has no room for the last of what comes.
    let joined = |slow: (&str, &str)| {
        let mut schedule = format!("{FULL}\n4s  client {} reads every 2s", slow.0);
        for push in 0..6 {
            let _ = write!(schedule, "\n4.9{push}s  push i1 {} f{push}", slow.1);
        }
        let schedule = Schedule::parse(&schedule).expect("a schedule");
        let checker = checkers::named("limits").expect("a checker");
        let mut world = World::watched(schedule, vec![checker]);
        world.run_until(Duration::from_secs(5));
        world.pretend(Observed::Given {
            session: 3,
            outgoing: Outgoing::Joined {
                topic: TopicId::new("sport").expect("a topic"),
                degraded: false,
                log: None,
            },
        });
        world.report().violation.map(|violation| violation.what)
    };
    assert_eq!(joined(("c2", "bob")), None);
    let said = joined(("c4", "dave")).expect("a fourth one, none of the three");
    assert!(said.contains("has 4 members"), "{said}");
}

#[test]
fn what_nobody_watches_is_not_read_any_more() {
    let mut world = tight("presence-true");
    world.run_until(Duration::from_secs(15));
    assert_eq!(world.report().violation, None);
    world.pretend(Observed::Wished {
        session: 0,
        wish: TopicWish::Leave(news()),
    });
    world.run_until(Duration::from_secs(25));
    let said = world.report().violation.expect("it is read").what;
    assert!(said.contains("and 0 are watched"), "{said}");
}
