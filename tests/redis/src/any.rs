//! Any operation of the directory: few users, connections and instances, so that operations meet.

use proptest::prelude::*;
use proptest::sample::select;
use switchboard_core::directory::{Lease, LeaseState, Load, Operation, Row};
use switchboard_core::id::{ConnectionId, Epoch, InstanceId, UserId};
use switchboard_core::key::Key;
use switchboard_core::time::WallTime;
use uuid::Uuid;

/// How many instances there are; they are numbered from 0.
pub const INSTANCES: u64 = 3;

const USERS: [&str; 2] = ["ann", "böb {1} %2F"];

/// How many connections there are.
const CONNECTIONS: u128 = 3;

/// All keys.
pub fn keys() -> impl Iterator<Item = Key> {
    USERS.into_iter().map(key)
}

/// Reads everything that stands in a directory.
pub fn reading_all() -> Vec<Operation> {
    let rows = keys().map(|key| Operation::Lookup { key });
    let leases = (0..INSTANCES).map(|number| Operation::ReadLease {
        instance: InstanceId::new(number),
    });
    rows.chain(leases).chain([Operation::View]).collect()
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
    ]
}

fn key(name: &str) -> Key {
    UserId::new(name).expect("a valid user").into()
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
