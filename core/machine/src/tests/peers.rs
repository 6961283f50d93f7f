//! The peers of the instance that is fed: what they write to the directory, prove and say.

use std::time::Duration;

use smallvec::smallvec;

use super::feeder::{Feeder, action, push_id, user_id};
use super::heartbeat;
use super::steps::{PeerSays, PushedTo};
use crate::config::ClusterSecret;
use crate::config::Config;
use crate::delivery::{Addressee, Addressees, Ask, Delivered, Delivery, Outcomes};
use crate::directory::{Lease, LeaseState, Load, Operation, Row};
use crate::event::Event;
use crate::id::{ConnectionId, DeliveryId, Epoch, InstanceId};
use crate::message::{Audience, Counts, Outcome};
use crate::peers::alike::Alike;
use crate::peers::wire::{self, Batch, Hello, Message, Role, Transcript};
use crate::testing::cluster::secret;
use crate::testing::rig::HERE;
use crate::time::WallTime;
use crate::vocabulary::service::Service;

impl Feeder {
    pub(super) fn plant(&mut self, instance: u8, epoch: u8, state: u8, user: u8, connection: u8) {
        let instance = InstanceId::new(u64::from(instance % 4) + 1);
        let epoch = Epoch::new(u64::from(epoch % 4) + 1);
        let state =
            [LeaseState::Up, LeaseState::Settling, LeaseState::Draining][state as usize % 3];
        let claim = Operation::Claim {
            instance,
            lease: Lease {
                epoch,
                floor: Epoch::new(1),
                beat: 0,
                state,
                address: "peer:1".to_owned(),
            },
            load: Load::default(),
        };
        let register = Operation::Register {
            key: user_id(user).into(),
            connection: ConnectionId::new(uuid::Uuid::from_u128(u128::from(connection % 8))),
            row: Row {
                instance,
                epoch,
                connected: WallTime::from_millis(1),
            },
        };
        if instance != HERE {
            self.cluster
                .directory
                .execute(self.cluster.now.mono, &claim)
                .expect("executed");
        }
        self.cluster
            .directory
            .execute(self.cluster.now.mono, &register)
            .expect("executed");
    }

    /// The peers of all dialled links answer as they should.
    pub(super) fn open_links(&mut self) {
        for number in 0..self.links().len() {
            let link = self.links()[number];
            if self.is_gone(link) || self.last_batch(link).is_some() {
                continue;
            }
            self.event(Event::LinkUp { link });
            self.prove(self.links().len() - 1 - number, 0, true);
            self.event(Event::LinkWritten { link });
            self.turn();
            let mut batch = Batch::new();
            batch.push(&heartbeat(Service::Full));
            self.receive(self.links().len() - 1 - number, batch.take());
        }
    }

    /// Says what comes next in the handshake of a link.
    pub(super) fn prove(&mut self, number: usize, peer: u8, honest: bool) {
        let Some(link) = self.link(number) else {
            return;
        };
        let from = InstanceId::new(u64::from(peer % 3) + 2);
        let ours = (self.last_batch(link)).and_then(|batch| wire::decode_hello(batch).ok());
        let alike = Alike::of(&Config::default());
        let hello = |from| Hello::new(from, HERE, [7; 16], alike);
        let Some(ours) = ours else {
            return self.receive(number, wire::encode_hello(&hello(from)));
        };
        let secret = if honest {
            secret()
        } else {
            ClusterSecret::new(&[9; 16]).expect("long")
        };
        let hello = hello(ours.to());
        if ours.proof().is_none() {
            let proof = Transcript::of(&ours, &hello).prove(&secret, Role::Acceptor);
            self.receive(number, wire::encode_hello(&hello.with_proof(proof)));
        } else {
            let transcript = Transcript::of(&hello, &ours);
            let mut batch = Batch::new();
            batch.push(&Message::Proof(transcript.prove(&secret, Role::Dialler)));
            self.receive(number, batch.take());
        }
    }

    pub(super) fn message(&self, said: &PeerSays) -> Message {
        let id = |number: &usize| match self.connections.len() {
            0 => ConnectionId::new(uuid::Uuid::nil()),
            len => self.connections[number % len].1,
        };
        match said {
            PeerSays::Deliver {
                delivery,
                push,
                user,
                named,
                ask,
                millis,
                kick,
            } => Message::Deliver(Delivery {
                id: DeliveryId::new((*delivery).into()),
                push: push_id(*push),
                within: Duration::from_millis((*millis).into()),
                action: action(*kick, 5),
                to: Addressees::Keys(smallvec![Addressee {
                    key: user_id(*user).into(),
                    named: named.iter().map(id).collect(),
                    ask: match ask % 3 {
                        0 => Ask::Nobody,
                        1 => Ask::All,
                        _ => Ask::Only(named.iter().rev().map(id).collect()),
                    },
                    record: None,
                }]),
            }),
            PeerSays::Everyone { delivery, push } => Message::Deliver(Delivery {
                id: DeliveryId::new((*delivery).into()),
                push: push_id(*push),
                within: Duration::from_secs(1),
                action: action(false, 5),
                to: Addressees::Everyone,
            }),
            PeerSays::Outcomes {
                delivery,
                connections,
            } => Message::Delivered(Delivered {
                delivery: DeliveryId::new((*delivery).into()),
                outcomes: outcomes(connections),
            }),
            PeerSays::Counts { delivery, number } => Message::Delivered(Delivered {
                delivery: DeliveryId::new((*delivery).into()),
                outcomes: Outcomes::Counted(Counts {
                    written: *number,
                    ..Counts::default()
                }),
            }),
            PeerSays::Heartbeat { directory } => heartbeat(*directory),
            PeerSays::Goodbye => Message::Goodbye,
            PeerSays::Proof => Message::Proof([1; 32]),
        }
    }

    pub(super) fn audience(&self, to: &PushedTo) -> Audience {
        match to {
            PushedTo::User(user) => Audience::User(user_id(*user)),
            PushedTo::Some(user, connections) => Audience::Connections {
                user: user_id(*user),
                connections: (connections.iter())
                    .filter_map(|number| self.connections.get(*number).map(|(_, id)| *id))
                    .collect(),
            },
            PushedTo::Users(users) => {
                Audience::Users(users.iter().map(|user| user_id(*user)).collect())
            }
            PushedTo::Everyone => Audience::Everyone,
        }
    }
}

/// What an instance says of planted connections, each with the index of its key.
fn outcomes(connections: &[(u8, usize, u8)]) -> Outcomes {
    let outcome = |number: u8| match number % 5 {
        0 => Outcome::Written,
        1 => Outcome::Queued,
        2 => Outcome::Overflow,
        3 => Outcome::Unreachable,
        _ => Outcome::Gone,
    };
    let outcomes = connections.iter().map(|(index, connection, number)| {
        let planted = uuid::Uuid::from_u128(*connection as u128 % 8);
        let connection = ConnectionId::new(planted);
        (u32::from(*index) % 2, connection, outcome(*number))
    });
    Outcomes::Keys(outcomes.collect())
}
