//! Any operation of the directory: few users, connections, topics and instances, so that operations meet.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use switchboard_core::channel::Channel;
use switchboard_core::directory::log::{
    Content, LogOperation, LogReply, LogStart, Logged, Retention,
};
use switchboard_core::directory::{
    Keeping, Lease, LeaseState, Load, Operation, OperationResult, Reply, Row,
};
use switchboard_core::id::{ConnectionId, Epoch, InstanceId, PushId, TopicId, UserId};
use switchboard_core::key::Key;
use switchboard_core::position::{Nonce, Position};
use switchboard_core::time::WallTime;
use uuid::Uuid;

/// How many instances there are; they are numbered from 0.
pub const INSTANCES: u64 = 3;

const USERS: [&str; 2] = ["ann", "böb {1} %2F"];

const TOPICS: [&str; 3] = ["ann", "news", "rööm {1} %2F"];

/// How many connections there are.
const CONNECTIONS: u128 = 3;

/// All keys.
pub fn keys() -> impl Iterator<Item = Key> {
    USERS.into_iter().map(key)
}

/// All that logs belong to. Of users and topics that are called alike they are different ones.
fn channels() -> impl Iterator<Item = Channel> {
    let topics = TOPICS.into_iter().map(topic).map(Channel::from);
    keys().map(Channel::from).chain(topics)
}

/// Reads everything that stands in a directory.
pub fn reading_all() -> Vec<Operation> {
    let rows = keys().map(|key| Operation::Lookup { key });
    let leases = (0..INSTANCES).map(|number| Operation::ReadLease {
        instance: InstanceId::new(number),
    });
    let heads = channels().map(|channel| of_log(channel, LogOperation::Head));
    let logs = channels().map(|channel| {
        let operation = LogOperation::Read {
            start: LogStart::Last(u32::MAX),
            records: u32::MAX,
            bytes: u32::MAX,
            nonce: Nonce::new(1),
        };
        of_log(channel, operation)
    });
    let topics = TOPICS.map(|name| Operation::LookupTopic { topic: topic(name) });
    rows.chain(leases)
        .chain(topics)
        .chain([Operation::View])
        .chain(heads)
        .chain(logs)
        .collect()
}

/// One of the keys.
pub fn any_key() -> impl Strategy<Value = Key> {
    select(&USERS).prop_map(key)
}

/// An operation.
pub fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (any_key(), connections(), rows()).prop_map(|(key, connection, row)| {
            Operation::Register { key, connection, row }
        }),
        2 => (any_key(), connections(), instances()).prop_map(|(key, connection, instance)| {
            Operation::Unregister { key, connection, instance }
        }),
        2 => (any_key(), connections(), rows()).prop_map(|(key, connection, row)| {
            Operation::RemoveRow { key, connection, row }
        }),
        2 => any_key().prop_map(|key| Operation::Lookup { key }),
        1 => Just(Operation::View),
        3 => (instances(), leases(), loads()).prop_map(|(instance, lease, load)| {
            Operation::Claim { instance, lease, load }
        }),
        4 => (instances(), leases(), leases(), loads()).prop_map(
            |(instance, expected, lease, load)| Operation::Renew {
                instance,
                expected,
                lease,
                load,
            }
        ),
        2 => (instances(), leases()).prop_map(|(instance, expected)| Operation::Release {
            instance,
            expected,
        }),
        1 => instances().prop_map(|instance| Operation::ReadLease { instance }),
        4 => (topics(), instances(), epochs()).prop_map(|(topic, instance, epoch)| {
            Operation::EnterTopic { topic, instance, epoch }
        }),
        3 => (topics(), instances(), epochs()).prop_map(|(topic, instance, epoch)| {
            Operation::LeaveTopic { topic, instance, epoch }
        }),
        2 => topics().prop_map(|topic| Operation::LookupTopic { topic }),
        4 => (any_key(), topics(), keepings()).prop_map(|(key, topic, keeping)| {
            Operation::KeepTopic { key, topic, keeping }
        }),
        14 => (any_channel(), log_operation()).prop_map(|(channel, operation)| of_log(channel, operation)),
    ]
}

/// An operation of a log. The positions that it names are wishes: see [`Told`].
fn log_operation() -> impl Strategy<Value = LogOperation> {
    prop_oneof![
        8 => (0..12_u128, contents(), nonces(), retentions()).prop_map(
            |(push, content, nonce, retention)| LogOperation::Append {
                push: PushId::new(Uuid::from_u128(push)),
                content,
                nonce,
                retention,
            }
        ),
        6 => (starts(), 0..5_u32, 0..60_u32, nonces()).prop_map(
            |(start, records, bytes, nonce)| LogOperation::Read { start, records, bytes, nonce }
        ),
        2 => Just(LogOperation::Head),
        1 => nonces().prop_map(|nonce| LogOperation::Delete { nonce }),
    ]
}

fn of_log(channel: Channel, operation: LogOperation) -> Operation {
    Operation::Log { channel, operation }
}

fn contents() -> impl Strategy<Value = Content> {
    (any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(flags, bytes)| Content {
        flags,
        bytes: bytes.into(),
    })
}

/// Some move an offset by as much as a nonce can, and some are alike.
fn nonces() -> impl Strategy<Value = Nonce> {
    prop_oneof![any::<u32>(), 0..2_u32, Just(4095)].prop_map(Nonce::new)
}

/// Ages are no multiples of what time passes by.
fn retentions() -> impl Strategy<Value = Retention> {
    let ages = select(vec![700, 2_000]).prop_map(Duration::from_secs);
    (0..6_u32, prop_oneof![0..100_u32, Just(u32::MAX)], ages).prop_map(|(records, bytes, age)| {
        Retention {
            records,
            bytes,
            age,
        }
    })
}

fn starts() -> impl Strategy<Value = LogStart> {
    let wishes = (0..WISHES, 0..2_u32)
        .prop_map(|(back, tag)| Position::new(back, tag).expect("it is small"));
    prop_oneof![
        1 => (0..4_u32).prop_map(LogStart::Last),
        4 => prop::collection::vec(wishes, 1..4).prop_map(LogStart::After),
        2 => (0..WISHES).prop_map(LogStart::Behind),
    ]
}

/// A user's log more often than a topic's, and one of few, so that operations meet.
fn any_channel() -> impl Strategy<Value = Channel> {
    prop_oneof![
        3 => any_key().prop_map(Channel::from),
        2 => select(&TOPICS[..1]).prop_map(|name| Channel::from(topic(name))),
    ]
}

/// How many of the last positions that were told are asked for.
const WISHES: u64 = 16;

/// The positions that a directory has told, for operations that ask for some: before one is executed, the
/// position of a small offset becomes the one that was told so many before the last; that of a tag that is
/// not zero, one of the same offset and another tag.
#[derive(Clone, Debug, Default)]
pub struct Told(Vec<Position>);

impl Told {
    /// The operation with positions that were told.
    pub fn resolve(&self, operation: &Operation) -> Operation {
        let mut operation = operation.clone();
        if let Operation::Log {
            operation: LogOperation::Read { start, .. },
            ..
        } = &mut operation
        {
            match start {
                LogStart::After(positions) => {
                    for position in positions {
                        *position = self.wished(*position);
                    }
                }
                LogStart::Behind(offset) => {
                    let wish = Position::new(*offset, 0).expect("it is small");
                    *offset = self.wished(wish).offset();
                }
                LogStart::Last(_) => {}
            }
        }
        operation
    }

    fn wished(&self, wish: Position) -> Position {
        let back = usize::try_from(wish.offset()).unwrap_or(usize::MAX);
        let told = self.0.iter().rev().nth(back);
        let wished = told.and_then(|told| Position::new(told.offset(), told.tag() ^ wish.tag()));
        wished.unwrap_or(wish)
    }

    /// Takes in what an operation was answered.
    pub fn learn(&mut self, outcome: &OperationResult) {
        let mut tell = |positions: &[Position]| {
            for position in positions {
                if !self.0.contains(position) {
                    self.0.push(*position);
                }
            }
        };
        match outcome {
            Ok(Reply::Log(LogReply::Appended {
                logged: Logged::New(place) | Logged::Repeated(place),
                ..
            })) => tell(&[place.before, place.position]),
            Ok(Reply::Log(LogReply::Part(part))) => tell(&[part.base, part.head]),
            Ok(_) | Err(_) => {}
        }
    }
}

fn key(name: &str) -> Key {
    UserId::new(name).expect("a valid user").into()
}

fn topic(name: &str) -> TopicId {
    TopicId::new(name).expect("a valid topic")
}

fn topics() -> impl Strategy<Value = TopicId> {
    select(&TOPICS).prop_map(topic)
}

/// A user has fewer topics than there are, at times.
fn keepings() -> impl Strategy<Value = Keeping> {
    prop_oneof![
        3 => (1..4_u32).prop_map(|most| Keeping::Kept { most }),
        1 => Just(Keeping::Dropped),
    ]
}

fn connections() -> impl Strategy<Value = ConnectionId> {
    (0..CONNECTIONS).prop_map(|number| ConnectionId::new(Uuid::from_u128(number)))
}

fn instances() -> impl Strategy<Value = InstanceId> {
    (0..INSTANCES).prop_map(InstanceId::new)
}

fn epochs() -> impl Strategy<Value = Epoch> {
    (1..4_u64).prop_map(Epoch::new)
}

fn rows() -> impl Strategy<Value = Row> {
    (instances(), epochs(), select(vec![7, u64::MAX])).prop_map(|(instance, epoch, connected)| {
        Row {
            instance,
            epoch,
            connected: WallTime::from_millis(connected),
        }
    })
}

fn leases() -> impl Strategy<Value = Lease> {
    let state = select(vec![
        LeaseState::Up,
        LeaseState::Settling,
        LeaseState::Draining,
        LeaseState::Released,
    ]);
    (epochs(), state).prop_map(|(epoch, state)| Lease {
        epoch,
        floor: Epoch::new(epoch.get() - 1),
        beat: 7,
        state,
        address: "[::1]:7400".to_owned(),
    })
}

fn loads() -> impl Strategy<Value = Load> {
    (0..9_u64, any::<u64>()).prop_map(|(connections, pushes)| Load {
        connections,
        pushes,
    })
}
