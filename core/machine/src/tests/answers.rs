//! What an instance answers to the deliveries of a peer, and when. The peer is made by hand.

use std::time::Duration;

use super::strangers::{batch, linked, receive};
use crate::config::Config;
use crate::delivery::{Addressee, Addressees, Ask, Delivered, Delivery, Outcomes};
use crate::id::{ConnectionId, DeliveryId, LinkKey, PushId, UserId};
use crate::message::Outcome;
use crate::peers::wire::{self, Message};
use crate::testing::cluster::{Cluster, frame, user};
use crate::vocabulary::service::Service;

/// A delivery of the push with this number for terminals of a user.
fn delivery(id: u64, push: u128, name: &str, named: Vec<ConnectionId>, ask: Ask) -> Message {
    Message::Deliver(Delivery {
        id: DeliveryId::new(id),
        push: PushId::new(uuid::Uuid::from_u128(push)),
        within: Config::DEADLINE_DEFAULT,
        action: frame(user(name), "hello", push).action,
        to: Addressees::Keys(vec![Addressee {
            key: UserId::new(name).expect("a user").into(),
            named,
            ask,
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
        outcomes: Outcomes::Keys(vec![(0, connection, Outcome::Queued)]),
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
    let heartbeat = Message::Heartbeat {
        directory: Service::Full,
    };
    receive(&mut cluster, link, batch(&[look_up(6), heartbeat]));
    assert!(said_on(&mut cluster, link).contains(&queued(2, ann)));
    assert_eq!(cluster.instances[0].stats().bugs, 0);
    cluster.read_again();
    cluster.pass(Duration::from_secs(1));
    assert!(cluster.instances[0].is_at_rest_but_for(1));
}
