//! Links with peers that are not what they say, or do not do as they should. The peer is made by
//! hand; a pair of true instances goes on beside it.

use std::time::Duration;

use bytes::Bytes;
use smallvec::smallvec;

use super::{heartbeat, outcomes, pair};
use crate::base::few::Few;
use crate::command::Log;
use crate::config::{ClusterSecret, Config};
use crate::delivery::{Addressee, Addressees, Ask, Delivered, Delivery, Outcomes};
use crate::directory::{Lease, LeaseState, Load, Operation, Row};
use crate::event::{Event, LinkFailure};
use crate::id::{CallId, ConnectionId, DeliveryId, Epoch, InstanceId, LinkKey, PushId, UserId};
use crate::message::{Action, Audience, Counts, Outcome};
use crate::peers::alike::Alike;
use crate::peers::wire::{self, Batch, Hello, Message, Role, Transcript};
use crate::testing::cluster::{Cluster, frame, secret, user};
use crate::testing::rig::HERE;
use crate::time::WallTime;
use crate::vocabulary::service::Service;

const PEER: InstanceId = InstanceId::new(9);

pub(super) fn hello(to: InstanceId, proof: Option<[u8; 32]>) -> Hello {
    let hello = Hello::new(PEER, to, [7; 16], alike());
    match proof {
        Some(proof) => hello.with_proof(proof),
        None => hello,
    }
}

fn alike() -> Alike {
    Alike::of(&Config::default())
}

pub(super) fn batch(messages: &[Message]) -> Bytes {
    let mut batch = Batch::new();
    for message in messages {
        batch.push(message);
    }
    batch.take()
}

pub(super) fn receive(cluster: &mut Cluster, link: LinkKey, batch: Bytes) {
    cluster.event(0, Event::LinkReceived { link, batch });
}

/// The peer dials, and gets as far as the acceptor's Hello.
pub(super) fn greeted(cluster: &mut Cluster) -> (LinkKey, Transcript) {
    let link = cluster.instances[0].accept_link(cluster.now).expect("room");
    receive(cluster, link, wire::encode_hello(&hello(HERE, None)));
    let (to, bytes) = cluster.loose.pop().expect("a Hello");
    assert_eq!(to, link);
    let theirs = wire::decode_hello(&bytes).expect("a Hello");
    let transcript = Transcript::of(&hello(HERE, None), &theirs);
    let proof = theirs.proof().expect("its proof");
    assert!(transcript.verify(&secret(), Role::Acceptor, &proof));
    (link, transcript)
}

/// The peer dials and proves itself.
pub(super) fn linked(cluster: &mut Cluster) -> LinkKey {
    let (link, transcript) = greeted(cluster);
    let proof = transcript.prove(&secret(), Role::Dialler);
    receive(cluster, link, batch(&[Message::Proof(proof)]));
    assert!(!cluster.loose_closed.contains(&link));
    link
}

/// The peer has a lease, and a row for a connection of this user.
pub(super) fn enlist(cluster: &mut Cluster, name: &str) -> ConnectionId {
    // A higher one each time.
    let epoch = Epoch::new(cluster.now.mono.as_nanos());
    let lease = Lease {
        epoch,
        floor: epoch,
        beat: 0,
        state: LeaseState::Up,
        address: "peer:1".to_owned(),
    };
    let claim = Operation::Claim {
        instance: PEER,
        lease,
        load: Load::default(),
    };
    let connection = ConnectionId::new(uuid::Uuid::from_u128(9));
    let register = Operation::Register {
        key: UserId::new(name).expect("a user").into(),
        connection,
        row: Row {
            instance: PEER,
            epoch,
            connected: WallTime::from_millis(1),
        },
    };
    for operation in [claim, register] {
        cluster
            .directory
            .execute(cluster.now.mono, &operation)
            .expect("executed");
    }
    cluster.pass(Duration::from_secs(2));
    connection
}

/// The delivery that has left for the peer.
fn delivery(cluster: &mut Cluster) -> Delivery {
    let mut found = None;
    for (_, bytes) in std::mem::take(&mut cluster.loose) {
        for message in wire::decode_batch(&bytes).unwrap_or_default() {
            if let Message::Deliver(delivery) = message {
                found = Some(delivery);
            }
        }
    }
    found.expect("a delivery")
}

fn answer(delivery: &Delivery, outcomes: Outcomes) -> Bytes {
    batch(&[Message::Delivered(Delivered {
        delivery: delivery.id,
        outcomes,
    })])
}

fn assert_the_others_work(cluster: &mut Cluster) {
    let (_, id) = cluster.connect(1, "someone");
    let call = cluster.push_user(0, "someone", "hello");
    assert_eq!(outcomes(cluster, call), [(id, Outcome::Written)]);
    assert_eq!(cluster.instances[0].stats().bugs, 0);
}

fn wait(cluster: &mut Cluster, call: CallId) -> Vec<(ConnectionId, Outcome)> {
    cluster.pass(Config::DEADLINE_DEFAULT + Duration::from_secs(20));
    outcomes(cluster, call)
}

/// H03: without the cluster's secret nothing can be said.
#[test]
fn a_dialler_with_a_wrong_secret_is_refused() {
    let mut cluster = pair();
    let (link, transcript) = greeted(&mut cluster);
    let wrong = ClusterSecret::new(b"0123456789abcdeX").expect("long enough");
    let proof = transcript.prove(&wrong, Role::Dialler);
    receive(&mut cluster, link, batch(&[Message::Proof(proof)]));
    assert_eq!(cluster.loose_closed, [link]);
    assert!(
        cluster
            .log
            .contains(&(0, Log::WrongSecret { instance: PEER }))
    );
    assert_the_others_work(&mut cluster);
}

/// It has looked at this instance's proof, and does not believe it: both logs say so. Of an id that nobody knows
/// nothing is said, which is a stranger's.
#[test]
fn a_member_that_ends_its_link_instead_of_a_proof_is_told() {
    let mut cluster = pair();
    let unproven = |cluster: &Cluster| cluster.log.contains(&(0, Log::Unproven { instance: PEER }));
    let refused = |cluster: &Cluster| cluster.instances[0].stats().peers_refused;
    for is_member in [false, true] {
        if is_member {
            enlist(&mut cluster, "ann");
            cluster.pass(Duration::from_secs(2));
        }
        let (link, _) = greeted(&mut cluster);
        let failure = LinkFailure::Broken;
        cluster.event(0, Event::LinkDown { link, failure });
        assert_eq!(unproven(&cluster), is_member);
        assert_eq!(refused(&cluster), u64::from(is_member));
    }
    assert_the_others_work(&mut cluster);
}

/// H03: what proved somebody once proves nobody again.
#[test]
fn a_replayed_proof_is_refused() {
    let mut cluster = pair();
    let (_, transcript) = greeted(&mut cluster);
    let proof = transcript.prove(&secret(), Role::Dialler);
    let (link, _) = greeted(&mut cluster);
    receive(&mut cluster, link, batch(&[Message::Proof(proof)]));
    assert_eq!(cluster.loose_closed, [link]);
}

#[test]
fn another_version_is_refused_and_named() {
    let mut cluster = pair();
    let link = cluster.instances[0].accept_link(cluster.now).expect("room");
    let theirs = hello(HERE, None).with_version(wire::VERSION + 1);
    receive(&mut cluster, link, wire::encode_hello(&theirs));
    assert_eq!(cluster.loose_closed, [link]);
    let log = Log::WireVersion {
        ours: wire::VERSION,
        theirs: wire::VERSION + 1,
        instance: Some(PEER),
    };
    assert!(cluster.log.contains(&(0, log)));
    assert_the_others_work(&mut cluster);
}

/// H36: what is not of the protocol ends its own link, at whatever stage, and nothing else.
#[test]
fn nonsense_ends_its_own_link_only() {
    let mut cluster = pair();
    let heartbeat = batch(&[heartbeat(Service::Full)]);
    for nonsense in [
        Bytes::new(),
        Bytes::from_static(b"GET / HTTP/1.1"),
        heartbeat.clone(),
    ] {
        let link = cluster.instances[0].accept_link(cluster.now).expect("room");
        receive(&mut cluster, link, nonsense.clone());
        assert!(cluster.loose_closed.contains(&link));
        let (link, _) = greeted(&mut cluster);
        receive(&mut cluster, link, nonsense);
        assert!(cluster.loose_closed.contains(&link), "before its proof");
    }
    for nonsense in [
        Bytes::new(),
        Bytes::from_static(&[255; 9]),
        batch(&[Message::Proof([0; 32])]),
    ] {
        let link = linked(&mut cluster);
        receive(&mut cluster, link, nonsense);
        assert!(cluster.loose_closed.contains(&link));
    }
    let link = cluster.instances[0].accept_link(cluster.now).expect("room");
    receive(
        &mut cluster,
        link,
        wire::encode_hello(&hello(InstanceId::new(5), None)),
    );
    assert!(
        cluster.loose_closed.contains(&link),
        "a Hello for somebody else"
    );
    assert_the_others_work(&mut cluster);
}

/// H10: a peer that opens a link and says nothing holds it for the link's timeout.
#[test]
fn a_link_that_is_not_proven_in_time_is_closed() {
    let mut cluster = pair();
    let silent = cluster.instances[0].accept_link(cluster.now).expect("room");
    let (half, _) = greeted(&mut cluster);
    cluster.pass(Config::default().link_timeout + Duration::from_millis(2));
    assert_eq!(cluster.loose_closed, [silent, half]);
}

/// H10: a newcomer may say little. Whoever may say more is named before it can know that it may.
#[test]
fn both_ends_of_a_link_are_named_as_proven() {
    let mut cluster = Cluster::new(&Config::default(), 2);
    cluster.connect(1, "ann");
    cluster.instances[0].accept_link(cluster.now).expect("room");
    greeted(&mut cluster);
    assert_eq!(cluster.proven(), [0, 0]);
    let call = cluster.push_user(0, "ann", "hello");
    assert_eq!(cluster.receipt(call).counts.written, 1);
    assert_eq!(cluster.proven(), [1, 1]);
}

/// H08: links are bounded, and whoever has proven nothing gives way: it keeps no peer out.
#[test]
fn the_oldest_stranger_gives_way_to_one_more() {
    let config = Config {
        links: 2,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 1);
    let [first, second, third] =
        std::array::from_fn(|_| cluster.instances[0].accept_link(cluster.now).expect("room"));
    cluster.pass(Duration::from_millis(1));
    assert_eq!(cluster.loose_closed, [first]);
    assert_eq!(cluster.instances[0].stats().strangers_ended, 1);
    cluster.pass(Config::default().link_timeout);
    assert_eq!(cluster.loose_closed, [first, second, third]);
}

/// H08: peers are bounded, however many strangers there are.
#[test]
fn links_beyond_the_limit_are_not_taken() {
    let config = Config {
        links: 1,
        ..Config::default()
    };
    let mut cluster = Cluster::new(&config, 2);
    cluster.connect(1, "ann");
    let strangers = [0, 1].map(|_| cluster.instances[0].accept_link(cluster.now));
    assert!(strangers.iter().all(Option::is_some));
    let call = cluster.push_user(0, "ann", "hello");
    assert_eq!(cluster.receipt(call).counts.written, 1);
    for instance in &mut cluster.instances {
        assert_eq!(instance.accept_link(cluster.now), None);
    }
}

/// H41: an answer of another kind than the question is no answer.
#[test]
fn an_answer_of_the_wrong_kind_ends_the_link_and_not_the_push() {
    let mut cluster = pair();
    let id = enlist(&mut cluster, "ann");
    let link = linked(&mut cluster);
    let call = cluster.push_user(0, "ann", "hello");
    let asked = delivery(&mut cluster);
    receive(
        &mut cluster,
        link,
        answer(&asked, Outcomes::Counted(Counts::default())),
    );
    assert!(cluster.loose_closed.contains(&link));
    assert_eq!(wait(&mut cluster, call), [(id, Outcome::Unreachable)]);

    enlist(&mut cluster, "ann");
    let link = linked(&mut cluster);
    let call = cluster.push(0, Audience::Everyone, "hello", 5);
    let asked = delivery(&mut cluster);
    receive(
        &mut cluster,
        link,
        answer(&asked, Outcomes::Keys(smallvec![])),
    );
    assert!(cluster.loose_closed.contains(&link));
    wait(&mut cluster, call);
    let peer = cluster
        .receipt(call)
        .instances
        .iter()
        .find(|outcome| outcome.instance == PEER);
    assert_eq!(peer.map(|outcome| outcome.answered), Some(false));
    assert_the_others_work(&mut cluster);
}

/// H45: no count that a peer reports overflows.
#[test]
fn absurd_counts_of_a_peer_do_no_harm() {
    let mut cluster = pair();
    cluster.connect(0, "bob");
    for number in 1..3 {
        enlist(&mut cluster, "ann");
        let link = linked(&mut cluster);
        let call = cluster.push(0, Audience::Everyone, "hello", number);
        let counts = Counts {
            written: u64::MAX,
            queued: u64::MAX,
            kept: u64::MAX,
            acked: 0,
            gone: u64::MAX,
            overflow: u64::MAX,
            unreachable: u64::MAX,
            too_large: u64::MAX,
        };
        let asked = delivery(&mut cluster);
        receive(
            &mut cluster,
            link,
            answer(&asked, Outcomes::Counted(counts)),
        );
        wait(&mut cluster, call);
        assert_eq!(cluster.receipt(call).counts.failed(), u64::MAX);
    }
}

/// An answer may name connections that nobody asked for, twice, and users that are not there.
#[test]
fn an_answer_that_points_nowhere_does_no_harm() {
    let mut cluster = pair();
    let id = enlist(&mut cluster, "ann");
    let link = linked(&mut cluster);
    let call = cluster.push_user(0, "ann", "hello");
    let asked = delivery(&mut cluster);
    let found: Few<_> = smallvec![
        (7, id, Outcome::Written),
        (0, id, Outcome::Written),
        (0, id, Outcome::Gone),
    ];
    receive(
        &mut cluster,
        link,
        answer(&asked, Outcomes::Keys(found.clone())),
    );
    receive(&mut cluster, link, answer(&asked, Outcomes::Keys(found)));
    assert_eq!(wait(&mut cluster, call), [(id, Outcome::Written)]);
}

/// H49: a delivery that names a connection twice writes to it once.
#[test]
fn a_delivery_that_names_a_connection_twice_writes_once() {
    // One for the frame and one for the look-up.
    for repeat_entries in [2, 100] {
        let config = Config {
            repeat_entries,
            ..Config::default()
        };
        let mut cluster = Cluster::new(&config, 2);
        let (_, ann) = cluster.connect(0, "ann");
        let link = linked(&mut cluster);
        let Action::Frame(payload) = frame(user("ann"), "hello", 1).action else {
            panic!("a frame");
        };
        let addressee = Addressee {
            key: UserId::new("ann").expect("a user").into(),
            named: smallvec![ann, ann],
            ask: Ask::All,
            record: None,
        };
        let deliver = Delivery {
            id: DeliveryId::new(1),
            push: PushId::new(uuid::Uuid::from_u128(1)),
            within: Duration::from_secs(1),
            action: Action::Frame(payload),
            to: Addressees::Keys(smallvec![addressee.clone(), addressee]),
        };
        receive(
            &mut cluster,
            link,
            batch(&[Message::Deliver(deliver.clone()), Message::Deliver(deliver)]),
        );
        cluster.pass(Duration::from_secs(2));
        assert_eq!(cluster.texts(ann), ["hello"]);
        assert_eq!(cluster.instances[0].stats().bugs, 0);
    }
}

/// H34: an acceptor that is somebody else, or does not know the secret, is not spoken to.
#[test]
fn a_false_acceptor_gets_no_delivery() {
    let mut cluster = pair();
    let id = enlist(&mut cluster, "ann");
    for false_hello in [
        hello(HERE, None),
        hello(HERE, Some([1; 32])),
        Hello::new(InstanceId::new(8), HERE, [7; 16], alike()),
    ] {
        let call = cluster.push_user(0, "ann", "hello");
        let link = cluster.loose_dials.pop().expect("a dial");
        cluster.event(0, Event::LinkUp { link });
        cluster.event(0, Event::LinkWritten { link });
        cluster.loose.clear();
        receive(&mut cluster, link, wire::encode_hello(&false_hello));
        assert!(cluster.loose_closed.contains(&link));
        assert_eq!(outcomes(&cluster, call), [(id, Outcome::Unreachable)]);
        assert!(cluster.loose.is_empty());
        cluster.pass(Duration::from_millis(500));
        enlist(&mut cluster, "ann");
    }
}
