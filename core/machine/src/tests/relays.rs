//! What a terminal says at an instance that has not got it: it is heard at the one that has, once.

use std::time::Duration;

use super::pair;
use crate::config::Config;
use crate::event::{Answer, Event};
use crate::frame::Payload;
use crate::id::{CallId, InstanceId, SessionName};
use crate::message::Hearing;
use crate::testing::cluster::{Cluster, Server};

const SESSION: SessionName = SessionName::new([7; SessionName::LEN]);

/// A terminal of the second instance says this at the first one.
fn relay(cluster: &mut Cluster, to: InstanceId, text: &str) -> CallId {
    let frame = Payload::from(text.to_owned());
    cluster.call(0, |call| Event::Relay {
        call,
        to,
        session: SESSION,
        frame,
    })
}

fn second() -> InstanceId {
    InstanceId::new(2)
}

#[track_caller]
fn expect(cluster: &Cluster, call: CallId, hearing: Option<Hearing>) {
    let answer = cluster.answers.get(&call);
    assert_eq!(answer, Some(&Answer::Relayed(hearing)));
}

/// What the terminal was heard with.
fn heard(cluster: &Cluster) -> Vec<String> {
    let heard = cluster.heard.iter().map(|(at, session, frame)| {
        assert_eq!((*at, *session), (1, SESSION));
        String::from_utf8_lossy(frame.bytes()).into_owned()
    });
    heard.collect()
}

#[test]
fn a_terminal_is_heard_in_order_and_it_is_said_what_became_of_it() {
    let mut cluster = pair();
    // Nothing of it waits for the directory.
    cluster.server = Server::Waits;
    let calls = ["1", "2", "3"].map(|text| relay(&mut cluster, second(), text));
    cluster.settle_down();
    for call in calls {
        expect(&cluster, call, Some(Hearing::Heard));
    }
    assert_eq!(heard(&cluster), ["1", "2", "3"]);
    for hearing in [Hearing::Gone, Hearing::Full] {
        cluster.hearing = Some(hearing);
        let call = relay(&mut cluster, second(), "4");
        cluster.settle_down();
        expect(&cluster, call, Some(hearing));
    }
}

#[test]
fn nobody_is_heard_at_an_instance_that_is_not_there() {
    let mut cluster = pair();
    let call = relay(&mut cluster, InstanceId::new(9), "1");
    cluster.settle_down();
    expect(&cluster, call, Some(Hearing::Gone));
    assert!(cluster.heard.is_empty());
}

#[test]
fn a_session_is_gone_with_the_lease_of_its_instance() {
    let mut cluster = pair();
    cluster.down[1] = true;
    let call = relay(&mut cluster, second(), "1");
    cluster.pass(Config::RELAY_DEADLINE);
    expect(&cluster, call, None);
    cluster.pass(3 * Config::default().lease);
    let call = relay(&mut cluster, second(), "2");
    cluster.settle_down();
    expect(&cluster, call, Some(Hearing::Gone));
}

#[test]
fn an_instance_that_does_not_say_what_became_of_it_is_not_waited_for() {
    let mut cluster = pair();
    cluster.hearing = None;
    let call = relay(&mut cluster, second(), "1");
    cluster.settle_down();
    assert!(!cluster.answers.contains_key(&call));
    cluster.pass(Config::RELAY_DEADLINE);
    expect(&cluster, call, None);
    cluster.pass(Duration::from_secs(5));
    assert!(cluster.instances[0].is_at_rest() && cluster.instances[1].is_at_rest());
}

/// A repeat would count twice: nobody knows it again.
#[test]
fn what_has_left_over_a_link_that_breaks_is_not_sent_again() {
    let mut cluster = pair();
    cluster.hearing = None;
    let call = relay(&mut cluster, second(), "1");
    cluster.settle_down();
    assert_eq!(heard(&cluster), ["1"]);
    cluster.cut(0, 1);
    cluster.pass(Config::RELAY_DEADLINE);
    expect(&cluster, call, None);
    assert_eq!(heard(&cluster), ["1"]);
}

/// H24: they leave room for pushes, whatever terminals say.
#[test]
fn frames_that_wait_for_an_answer_are_few() {
    let mut cluster = pair();
    cluster.hearing = None;
    for _ in 0..Config::RELAYS {
        relay(&mut cluster, second(), "x");
    }
    let refused = relay(&mut cluster, second(), "one more");
    cluster.settle_down();
    expect(&cluster, refused, Some(Hearing::Full));
    assert_eq!(cluster.heard.len(), Config::RELAYS);
    cluster.pass(Config::RELAY_DEADLINE);
    cluster.hearing = Some(Hearing::Heard);
    let taken = relay(&mut cluster, second(), "later");
    cluster.settle_down();
    expect(&cluster, taken, Some(Hearing::Heard));
}
