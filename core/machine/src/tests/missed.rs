//! Records that could not be delivered: their followers do not wait for the next check, and nobody else is held up.

use std::time::Duration;

use super::followers::{durable, follow, told};
use super::pair;
use crate::config::Config;
use crate::directory::log::LogOperation;
use crate::directory::{Operation, OperationResult, Reply};
use crate::event::{Answer, Follow};
use crate::id::PushId;
use crate::message::{Durable, InLog, Push};
use crate::testing::cluster::{Cluster, Server, frame, user};

const SECOND: Duration = Duration::from_secs(1);

/// Answers the append of one push with something of another kind.
fn answers_otherwise(operation: &Operation) -> Option<OperationResult> {
    let Operation::Log {
        operation: LogOperation::Append { push, .. },
        ..
    } = operation
    else {
        return None;
    };
    let odd = PushId::new(uuid::Uuid::from_u128(1));
    (*push == odd).then_some(Ok(Reply::Removed(true)))
}

/// H58: without a reconnect.
#[test]
fn a_record_that_found_no_room_in_the_queue_of_a_link_is_read() {
    let config = Config {
        push_bytes: 4096,
        link_queue_bytes: 8192,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 2);
    let (_, ann) = follow(&mut cluster, 1, "ann", Follow::default());
    durable(&mut cluster, 0, "ann", "first", 0);
    let checks = cluster.instances[1].stats().log_checks;
    // They leave in one batch, for which there is no room.
    for number in 1..=4 {
        let push = Push {
            durable: Some(Durable::default()),
            ..frame(user("ann"), &number.to_string().repeat(4000), number)
        };
        cluster.hand_in(0, push);
    }
    cluster.settle_down();
    cluster.pass(SECOND);
    assert_eq!(told(&cluster, ann).len(), 6);
    assert_eq!(
        cluster.instances[1].stats().log_checks,
        checks,
        "no check was due"
    );
    assert!(cluster.instances[1].stats().log_replayed > 0);
}

/// H58: the publisher names its log on the next link.
#[test]
fn a_record_whose_link_could_not_be_opened_is_read_as_soon_as_there_is_one() {
    let mut cluster = pair();
    let (_, ann) = follow(&mut cluster, 1, "ann", Follow::default());
    cluster.cut(0, 1);
    cluster.recycled[1] = true;
    cluster.settle_down();
    // What the broken link calls for has been done.
    let config = Config::default();
    cluster.pass(config.lease + Config::DEADLINE_MAX + 5 * SECOND);
    durable(&mut cluster, 0, "ann", "one", 1);
    assert_eq!(told(&cluster, ann), ["hello Anew"]);
    cluster.recycled[1] = false;
    cluster.pass(config.lease + SECOND);
    assert_eq!(told(&cluster, ann), ["hello Anew", "record one"]);
}

/// H08, H58: as long as there are as many links as there may be, none is opened for what was missed, and nobody tries
/// without end.
#[test]
fn a_record_for_which_there_was_no_room_for_a_link_is_read_as_soon_as_there_is_one() {
    let config = Config {
        links: 1,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 3);
    let (_, ann) = follow(&mut cluster, 2, "ann", Follow::default());
    cluster.connect(1, "bob");
    cluster.push_user(0, "bob", "hello");
    let dialled = cluster.instances[0].stats().links_opened;
    durable(&mut cluster, 0, "ann", "one", 1);
    cluster.pass(SECOND);
    assert_eq!(told(&cluster, ann), ["hello Anew"]);
    assert_eq!(cluster.instances[0].stats().links_opened, dialled);
    cluster.cut(0, 1);
    cluster.pass(SECOND);
    assert_eq!(told(&cluster, ann), ["hello Anew", "record one"]);
}

/// H58, H64: its receipt had said that nobody knows.
#[test]
fn a_record_that_was_appended_after_its_deadline_is_read() {
    let mut cluster = pair();
    let (_, here) = follow(&mut cluster, 0, "ann", Follow::default());
    let (_, there) = follow(&mut cluster, 1, "ann", Follow::default());
    // They have a link.
    durable(&mut cluster, 0, "ann", "one", 1);
    cluster.server = Server::Waits;
    let push = Push {
        durable: Some(Durable::default()),
        deadline: SECOND / 10,
        ..frame(user("ann"), "late", 2)
    };
    let call = cluster.hand_in(0, push);
    cluster.pass(SECOND / 5);
    assert_eq!(cluster.receipt(call).logged[0].logged, InLog::Unknown);
    cluster.answer_held();
    cluster.pass(SECOND);
    for follower in [here, there] {
        let expected = ["hello Anew", "record one", "record late"];
        assert_eq!(told(&cluster, follower), expected);
    }
}

#[test]
fn an_append_that_is_answered_otherwise_is_asked_for_again_at_leisure() {
    let mut cluster = pair();
    cluster.refuse(answers_otherwise, [0, 1]);
    let call = durable(&mut cluster, 0, "ann", "one", 1);
    cluster.pass(5 * SECOND);
    let receipt = cluster.receipt(call);
    assert!(receipt.degraded);
    assert_eq!(receipt.logged[0].logged, InLog::Unknown);
    let operations = cluster.instances[0].stats().directory_refusals;
    assert!((2..100).contains(&operations), "asked {operations} times");
}

#[test]
fn a_push_that_is_being_appended_keeps_no_other_out() {
    let config = Config {
        pushes_per_user: 3,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 1);
    let (_, ann) = cluster.connect(0, "ann");
    cluster.refuse(answers_otherwise, [0]);
    let push = Push {
        durable: Some(Durable::default()),
        ..frame(user("ann"), "never", 1)
    };
    let first = cluster.hand_in(0, push);
    for number in 0..10 {
        let call = cluster.push_user(0, "ann", &number.to_string());
        assert!(
            matches!(cluster.answers[&call], Answer::Push(Ok(_))),
            "{number}: {:?}",
            cluster.answers[&call]
        );
    }
    assert!(!cluster.answers.contains_key(&first));
    assert_eq!(cluster.texts(ann).len(), 10);
    // There is an end to it.
    let refused = (10..20).any(|number| {
        let call = cluster.push_user(0, "ann", &number.to_string());
        matches!(cluster.answers[&call], Answer::Push(Err(_)))
    });
    assert!(refused);
}
