//! What an instance answers to the deliveries of a peer, and when. The peer is made by hand.

use std::time::Duration;

use smallvec::smallvec;

use super::strangers::{batch, enlist, greeted, hello, linked, receive};
use super::{heartbeat, pair};
use crate::config::Config;
use crate::delivery::{Addressee, Addressees, Ask, Delivered, Delivery, Outcomes};
use crate::event::Event;
use crate::id::{ConnectionId, DeliveryId, LinkKey, PushId, UserId};
use crate::message::Outcome;
use crate::peers::wire::{self, Message, Pulse, Role, Transcript};
use crate::testing::cluster::{Cluster, frame, secret, user};
use crate::testing::rig::HERE;
use crate::vocabulary::service::Service;

/// A delivery of the push with this number for terminals of a user.
fn delivery(id: u64, push: u128, name: &str, named: Vec<ConnectionId>, ask: Ask) -> Message {
    Message::Deliver(Delivery {
        id: DeliveryId::new(id),
        push: PushId::new(uuid::Uuid::from_u128(push)),
        within: Config::DEADLINE_DEFAULT,
        action: frame(user(name), "hello", push).action,
        to: Addressees::Keys(smallvec![Addressee {
            key: UserId::new(name).expect("a user").into(),
            named: named.into(),
            ask,
            record: None,
        }]),
    })
}

/// What was said on a link, in order. It is forgotten.
fn said_on(cluster: &mut Cluster, link: LinkKey) -> Vec<Message> {
    let said = std::mem::take(&mut cluster.loose);
    (said.into_iter())
        .filter(|(on, _)| *on == link)
        .flat_map(|(_, bytes)| wire::decode_batch(&bytes).expect("a batch"))
        .collect()
}

fn queued(id: u64, connection: ConnectionId) -> Message {
    Message::Delivered(Delivered {
        delivery: DeliveryId::new(id),
        outcomes: Outcomes::Keys(smallvec![(0, connection, Outcome::Queued)]),
    })
}

/// H24, H49: whoever waits for an earlier delivery of the same push is answered with the message by which
/// the memory of repeats forgets that one, whatever the next message says.
#[test]
fn a_repeat_is_answered_when_a_look_up_without_terminals_pushes_the_first_one_out() {
    let config = Config {
        repeat_entries: 4,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 1);
    let (_, ann) = cluster.connect(0, "ann");
    cluster.stalled.insert(ann);
    let link = linked(&mut cluster);
    let look_up = |id: u64| delivery(id, u128::from(id), "nobody", Vec::new(), Ask::All);
    for id in [1, 2] {
        let named = delivery(id, 1, "ann", vec![ann], Ask::Nobody);
        receive(&mut cluster, link, batch(&[named]));
    }
    for id in 3..6 {
        receive(&mut cluster, link, batch(&[look_up(id)]));
    }
    assert!(!said_on(&mut cluster, link).contains(&queued(2, ann)));
    receive(
        &mut cluster,
        link,
        batch(&[look_up(6), heartbeat(Service::Full)]),
    );
    assert!(said_on(&mut cluster, link).contains(&queued(2, ann)));
    assert_eq!(cluster.instances[0].stats().bugs, 0);
    cluster.read_again();
    cluster.pass(Duration::from_secs(1));
    assert!(cluster.instances[0].is_at_rest_but_for(1));
}

/// Which end of its link the publisher is.
#[derive(Clone, Copy, Debug)]
enum Publishes {
    Dialler,
    Acceptor,
}

/// A link to the peer, each way of which takes so long.
fn linked_from(cluster: &mut Cluster, publishes: Publishes, round_trip: Duration) -> LinkKey {
    match publishes {
        Publishes::Dialler => {
            let (link, transcript) = greeted(cluster);
            cluster.pass(round_trip);
            let proof = transcript.prove(&secret(), Role::Dialler);
            receive(cluster, link, batch(&[Message::Proof(proof)]));
            link
        }
        Publishes::Acceptor => {
            enlist(cluster, "bob");
            cluster.push_user(0, "bob", "hello");
            let link = cluster.loose_dials.pop().expect("a dial");
            cluster.event(0, Event::LinkUp { link });
            let (_, bytes) = cluster.loose.pop().expect("a Hello");
            let theirs = wire::decode_hello(&bytes).expect("a Hello");
            cluster.pass(round_trip);
            let proof =
                Transcript::of(&theirs, &hello(HERE, None)).prove(&secret(), Role::Acceptor);
            receive(cluster, link, wire::encode_hello(&hello(HERE, Some(proof))));
            receive(cluster, link, batch(&[heartbeat(Service::Full)]));
            link
        }
    }
}

/// How long before this deadline of a push for a terminal that does not read its publisher is answered.
fn answered_before(publishes: Publishes, round_trip: Duration, deadline: Duration) -> Duration {
    let mut cluster = pair();
    let (_, ann) = cluster.connect(0, "ann");
    cluster.stalled.insert(ann);
    let link = linked_from(&mut cluster, publishes, round_trip);
    answered_on(&mut cluster, link, ann, deadline)
}

/// The same on this link.
fn answered_on(
    cluster: &mut Cluster,
    link: LinkKey,
    ann: ConnectionId,
    deadline: Duration,
) -> Duration {
    let Message::Deliver(delivery) = delivery(1, 1, "ann", vec![ann], Ask::Nobody) else {
        panic!("made so");
    };
    let mut left = deadline;
    let delivery = Delivery {
        within: deadline,
        ..delivery
    };
    receive(cluster, link, batch(&[Message::Deliver(delivery)]));
    while !said_on(cluster, link).contains(&queued(1, ann)) {
        cluster.pass(STEP);
        left = left.checked_sub(STEP).expect("it is answered by then");
    }
    left
}

const STEP: Duration = Duration::from_millis(5);

/// The way back takes time: the answer of an instance on another continent leaves earlier, or the receipt
/// would say of terminals that it has served that nobody answers for them. Where less than two such margins
/// are left of the deadline, it leaves when half of that is over, or earlier if it would come too late.
#[test]
fn the_further_away_the_publisher_the_earlier_it_is_answered() {
    let default = Config::DEADLINE_DEFAULT.as_millis() as u64;
    for publishes in [Publishes::Dialler, Publishes::Acceptor] {
        for (round_trip, deadline, before) in [
            (0, default, 100),
            (50, default, 100),
            (150, default, 300),
            (700, default, 1400),
            (0, 150, 75),
            (50, 150, 75),
            (100, 150, 125),
            (700, 1000, 875),
            (700, 700, 700),
            (700, 100, 100),
        ] {
            let [round_trip, deadline, before] =
                [round_trip, deadline, before].map(Duration::from_millis);
            let answered = answered_before(publishes, round_trip, deadline);
            // Timers are a little late.
            assert!(
                (before - STEP..=before).contains(&answered),
                "{publishes:?}, {round_trip:?} of {deadline:?}: {answered:?}"
            );
        }
    }
}

/// One handshake that took long, because one of the two stood still, does not count for as long as the link
/// lives: heartbeats show how long the way is.
#[test]
fn a_slow_handshake_is_forgotten_when_a_heartbeat_is_quicker() {
    for (held, shown, before) in [
        (0, 800, 1400),
        (0, 30, 100),
        (2500, 2530, 100),
        (0, 150, 300),
    ] {
        let mut cluster = pair();
        let (_, ann) = cluster.connect(0, "ann");
        cluster.stalled.insert(ann);
        let slow = Duration::from_millis(700);
        let link = linked_from(&mut cluster, Publishes::Dialler, slow);
        let pulse = said_on(&mut cluster, link).iter().find_map(pulse);
        let pulse = pulse.expect("a heartbeat confirms the link");
        cluster.pass(Duration::from_millis(shown));
        let pulse = pulse.answered(held * 1000);
        let directory = Service::Full;
        let heartbeat = Message::Heartbeat { directory, pulse };
        receive(&mut cluster, link, batch(&[heartbeat]));
        let answered = answered_on(&mut cluster, link, ann, Config::DEADLINE_DEFAULT);
        let before = Duration::from_millis(before);
        assert!(
            (before - STEP..=before).contains(&answered),
            "held for {held} ms, shown {shown} ms later: {answered:?}"
        );
    }
}

fn pulse(message: &Message) -> Option<Pulse> {
    match message {
        Message::Heartbeat { pulse, .. } => Some(*pulse),
        Message::Proof(_)
        | Message::Deliver(_)
        | Message::Delivered(_)
        | Message::Goodbye
        | Message::Missed(_) => None,
    }
}

/// H53: what a peer has asked while the lease is given back is answered before the link is closed.
#[test]
fn the_last_answers_leave_before_the_links_are_closed() {
    let mut cluster = Cluster::new(&Config::default(), 1);
    let (_, ann) = cluster.connect(0, "ann");
    cluster.stalled.insert(ann);
    let link = linked(&mut cluster);
    let again = |id| batch(&[delivery(id, 1, "ann", vec![ann], Ask::Nobody)]);
    receive(&mut cluster, link, again(1));
    // The socket does not end, whatever it is told: the drain does not wait for it forever.
    cluster.acts = false;
    let (delay, spread) = (Duration::ZERO, Duration::ZERO);
    cluster.event(0, Event::Drain { delay, spread });
    let mut said = Vec::new();
    while !said.contains(&Message::Goodbye) {
        cluster.pass(Duration::from_millis(1));
        said = said_on(&mut cluster, link);
        if !said.is_empty() {
            cluster.event(0, Event::LinkWritten { link });
        }
        receive(&mut cluster, link, batch(&[heartbeat(Service::Full)]));
    }
    receive(&mut cluster, link, again(2));
    assert_eq!(said_on(&mut cluster, link), []);
    cluster.pass(Duration::from_secs(1));
    assert!(cluster.drained[0]);
    assert_eq!(cluster.loose_closed, [link]);
    assert_eq!(said_on(&mut cluster, link), [queued(2, ann)]);
}
