//! Pushes whose deadline is short while the directory hangs.

use std::time::Duration;

use super::topic_logs::{connect, to, told, topic};
use crate::config::Config;
use crate::event::Event;
use crate::id::{CallId, ConnectionId};
use crate::message::Audience;
use crate::testing::cluster::{Cluster, Server, frame, user};
use crate::topic::TopicWish;

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A terminal of ann's here and one elsewhere, while the directory hangs.
fn hanging() -> (Cluster, ConnectionId, ConnectionId) {
    let mut cluster = Cluster::new(&Config::default(), 2);
    let here = cluster.connect(0, "ann").1;
    let elsewhere = cluster.connect(1, "ann").1;
    cluster.pass(Duration::from_secs(2));
    cluster.server = Server::Waits;
    (cluster, here, elsewhere)
}

fn push(cluster: &mut Cluster, to: Audience, text: &str, deadline: u64) -> CallId {
    let push = crate::message::Push {
        deadline: millis(deadline),
        ..frame(to, text, u128::from(text.as_bytes()[0]))
    };
    cluster.call_push(0, push)
}

/// H38: terminals of the instance that is asked wait for no lookup, neither the push's own nor an
/// earlier one's.
#[test]
fn terminals_here_are_served_at_once_while_the_directory_hangs() {
    let (mut cluster, here, elsewhere) = hanging();
    for text in ["a", "b", "c"] {
        push(&mut cluster, user("ann"), text, 100);
    }
    assert_eq!(cluster.texts(here), ["a", "b", "c"]);
    assert_eq!(cluster.texts(elsewhere), [""; 0]);
}

/// H38: and the others are reached in time, once and in order, whenever the lookup is answered.
#[test]
fn others_are_asked_by_user_at_a_third_of_the_deadline() {
    let (mut cluster, here, elsewhere) = hanging();
    let calls = ["a", "b", "c"].map(|text| push(&mut cluster, user("ann"), text, 100));
    cluster.pass(millis(30));
    assert_eq!(cluster.texts(elsewhere), [""; 0]);
    cluster.pass(millis(10));
    assert_eq!(cluster.texts(elsewhere), ["a", "b", "c"]);
    for call in calls {
        let receipt = cluster.receipt(call);
        assert_eq!((receipt.counts.written, receipt.degraded), (2, true));
    }
    cluster.answer_held();
    push(&mut cluster, user("ann"), "d", 100);
    cluster.pass(Duration::from_secs(15));
    for terminal in [here, elsewhere] {
        assert_eq!(cluster.texts(terminal), ["a", "b", "c", "d"]);
    }
    let call = push(&mut cluster, user("ann"), "e", 100);
    assert!(!cluster.receipt(call).degraded && cluster.instances[0].is_at_rest_but_for(1));
}

/// H50: a push in a hurry overtakes no patient one.
#[test]
fn a_push_in_a_hurry_takes_the_earlier_ones_of_its_user_with_it() {
    let (mut cluster, here, elsewhere) = hanging();
    push(&mut cluster, user("ann"), "a", 3000);
    push(&mut cluster, user("ann"), "b", 90);
    push(&mut cluster, user("ann"), "c", 3000);
    cluster.pass(millis(35));
    assert_eq!(cluster.texts(elsewhere), ["a", "b"]);
    cluster.answer_held();
    for terminal in [here, elsewhere] {
        assert_eq!(cluster.texts(terminal), ["a", "b", "c"]);
    }
}

/// It goes past pushes to other topics, which wait for their rows.
#[test]
fn a_push_to_a_topic_in_a_hurry_takes_those_alone_that_name_the_same_topic_first() {
    let mut cluster = Cluster::new(&Config::default(), 2);
    let (ann, id) = connect(&mut cluster, 1, "ann");
    for name in ["news", "late"] {
        let wish = TopicWish::Join(topic(name));
        cluster.event(
            1,
            Event::Topic {
                connection: ann,
                wish,
            },
        );
        cluster.pass(Duration::from_secs(2));
    }
    cluster.server = Server::Waits;
    let patient = push(&mut cluster, to("news"), "a", 3000);
    let earlier = push(&mut cluster, to("late"), "b", 3000);
    let hurried = push(&mut cluster, to("late"), "c", 90);
    cluster.pass(millis(35));
    assert_eq!(told(&cluster, id)[2..], ["b", "c"]);
    cluster.answer_held();
    assert_eq!(told(&cluster, id)[2..], ["b", "c", "a"]);
    let degraded = [patient, earlier, hurried].map(|call| cluster.receipt(call).degraded);
    assert_eq!(degraded, [false, true, true]);
}

#[test]
fn a_push_to_everyone_waits_for_a_view_no_longer_than_that() {
    let (mut cluster, here, elsewhere) = hanging();
    let call = push(&mut cluster, Audience::Everyone, "a", 90);
    cluster.pass(millis(45));
    for terminal in [here, elsewhere] {
        assert_eq!(cluster.texts(terminal), ["a"]);
    }
    let receipt = cluster.receipt(call);
    assert_eq!((receipt.counts.written, receipt.degraded), (2, true));
    cluster.answer_held();
    cluster.pass(Duration::from_secs(1));
    assert_eq!(cluster.texts(here), ["a"]);
}

/// While the directory answers, nobody is asked who need not be.
#[test]
fn a_short_deadline_alone_degrades_nothing() {
    let (mut cluster, here, _) = hanging();
    cluster.answer_held();
    let call = push(&mut cluster, user("ann"), "a", 10);
    let receipt = cluster.receipt(call);
    assert_eq!((receipt.counts.written, receipt.degraded), (2, false));
    assert_eq!(cluster.texts(here), ["a"]);
}
