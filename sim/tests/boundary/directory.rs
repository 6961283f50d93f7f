//! What checkers say to what is asked of the directory, and to receipts that say otherwise than it has answered.

use std::time::Duration;

use switchboard_core::channel::Channel;
use switchboard_core::command::TripKind;
use switchboard_core::directory::log::{Content, LogOperation, Retention};
use switchboard_core::directory::{Lease, LeaseState, Load, Operation, OperationError};
use switchboard_core::id::{Epoch, PushId, UserId};
use switchboard_core::message::{Counts, Receipt};
use switchboard_core::position::Nonce;
use switchboard_sim::boundary::{Output, TripOutline};
use switchboard_sim::observed::{Change, Executed, HandIn, Life, Observed};
use switchboard_sim::schedule::Schedule;
use switchboard_sim::{World, checkers};

use crate::recorder::trips;

const LIFE: Life = Life { host: 0, number: 1 };

/// A push waits for the directory, which takes longer than an instance waits for it; and others have ended.
const SCHEDULE: &str = "switchboard-sim 1  seed 7  instances 1
    1s    client c1 connects i1 as alice
    2s    push i1 alice m1 durable
    3s    join i1 alice news j1 durable
    9s    redis latency 5s
    10s   push i1 alice m2 durable";

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn world(checker: &str) -> World {
    let schedule = Schedule::parse(SCHEDULE).expect("a schedule");
    World::watched(schedule, vec![checkers::named(checker).expect("a checker")])
}

fn said(world: &World) -> Option<String> {
    world.report().violation.map(|violation| violation.what)
}

/// A round trip with an append to a log that nothing else is appended to. Its number was that of another one, which was
/// answered long ago.
fn appends(world: &World, op: usize) -> Observed {
    let user = UserId::new("bob").expect("a user");
    let push = world.scene().pushes().last().expect("a push").id();
    let trip = TripOutline {
        appends: vec![(Channel::User(user), push)],
        ..TripOutline::new(trips()[op].op, TripKind::Ordered, 1)
    };
    Observed::Gave {
        life: LIFE,
        output: Output::Trip(Box::new(trip)),
    }
}

/// What is said if an append is asked for again so long after it was given up.
fn asked_again(after: Option<Duration>) -> Option<String> {
    let asked = millis(10_200);
    let patience = world("append-times").scene().config().directory_timeout;
    let again = asked + patience + after.unwrap_or_default();
    // What is asked at these moments is asked so that they are there.
    let moments = [asked, again].map(|at| format!("\n{}ms  instances i1", at.as_millis()));
    let schedule = Schedule::parse(&(SCHEDULE.to_owned() + &moments.concat()));
    let checker = checkers::named("append-times").expect("a checker");
    let mut world = World::watched(schedule.expect("a schedule"), vec![checker]);
    world.run_until(asked);
    let first = appends(&world, 0);
    world.pretend(first);
    if after.is_some() {
        world.run_until(again);
        let again = appends(&world, 1);
        world.pretend(again);
    }
    world.run_until(asked + patience + millis(300));
    said(&world)
}

#[test]
fn an_append_that_was_given_up_is_asked_for_again_after_a_pause() {
    assert_eq!(asked_again(Some(millis(101))), None);
    let sooner = asked_again(Some(millis(50))).expect("it is too soon");
    assert!(sooner.contains("asks for an append again"), "{sooner}");
    let never = asked_again(None).expect("it is too late");
    assert!(never.contains("does not ask again"), "{never}");
}

/// What is said of an operation of the first instance that was refused.
fn executed(checker: &str, operation: impl FnOnce(&World) -> Operation) -> Option<String> {
    let mut world = world(checker);
    world.run_until(millis(5_000));
    let operation = operation(&world);
    world.pretend(Observed::Executed(Box::new(Executed {
        life: LIFE,
        change: match operation {
            Operation::Claim { .. } => Change::Lease {
                before: None,
                after: None,
            },
            _ => Change::None,
        },
        operation,
        outcome: Err(OperationError::Refused("OOM".to_owned())),
        at_primary: true,
    })));
    said(&world)
}

#[test]
fn what_is_appended_is_what_was_handed_in() {
    let append = |push: PushId, content: Content, retention: Retention| Operation::Log {
        channel: Channel::User(UserId::new("alice").expect("a user")),
        operation: LogOperation::Append {
            push,
            content,
            nonce: Nonce::new(0),
            retention,
        },
    };
    let first = |world: &World| {
        let published = &world.scene().pushes()[0];
        let kept = published.durable().expect("it is durable");
        let content = Content::of(published.payload().expect("a payload"));
        (published.id(), content, kept.retention)
    };
    let as_it_is = |world: &World| {
        let (push, content, retention) = first(world);
        append(push, content, retention)
    };
    assert_eq!(executed("one-payload", as_it_is), None);
    let longer = |world: &World| {
        let (push, content, retention) = first(world);
        let records = retention.records + 1;
        append(
            push,
            content,
            Retention {
                records,
                ..retention
            },
        )
    };
    let what = executed("one-payload", longer).expect("it is kept otherwise");
    assert!(what.contains("is to be kept as"), "{what}");
    let other = |world: &World| {
        let (push, content, retention) = first(world);
        let flags = content.flags;
        let bytes = bytes::Bytes::from_static(b"something else");
        append(push, Content { flags, bytes }, retention)
    };
    let what = executed("one-payload", other).expect("it says something else");
    assert!(what.contains("is not what push"), "{what}");
}

#[test]
fn a_claim_says_that_rows_may_be_missing() {
    let claim = |state| {
        move |world: &World| Operation::Claim {
            instance: world.scene().instance_of(LIFE),
            lease: Lease {
                epoch: Epoch::new(9),
                floor: Epoch::new(1),
                beat: 0,
                state,
                address: "host0:1".to_owned(),
            },
            load: Load {
                connections: 0,
                pushes: 0,
            },
        }
    };
    assert_eq!(executed("fencing", claim(LeaseState::Settling)), None);
    let what = executed("fencing", claim(LeaseState::Up)).expect("rows may be missing");
    assert!(
        what.contains("does not say that rows may be missing"),
        "{what}"
    );
}

/// What is said of a receipt of a push, by its number, that says this of what is kept.
fn kept(push: usize, kept: Option<bool>) -> Option<String> {
    let mut world = world("kept-true");
    world.run_until(millis(5_000));
    let receipt = Receipt {
        push: world.scene().pushes()[push].id(),
        degraded: false,
        kept,
        logged: Vec::new(),
        counts: Counts::default(),
        terminals: Vec::new(),
        truncated: false,
        listed: Vec::new(),
        instances: Vec::new(),
    };
    world.pretend(Observed::Answered {
        hand_in: HandIn { push, time: 0 },
        receipt: Box::new(receipt),
    });
    said(&world)
}

#[test]
fn a_receipt_says_what_is_kept_of_a_join_for_good_and_of_nothing_else() {
    assert_eq!(kept(0, None), None);
    assert_eq!(kept(1, Some(true)), None);
    for (push, said) in [(0, Some(true)), (1, None), (1, Some(false))] {
        assert!(kept(push, said).is_some(), "{push} {said:?}");
    }
}
