//! The directory on a real Redis, side by side with the one in memory.
//!
//! [`pair::Pair`] tells both the same and fails where their answers differ, so each behaviour here
//! is a behaviour of both.

mod leases;
mod log;
mod pair;
mod replay;
mod rows;

use pair::{Pair, RedisDirectory};
use switchboard_core::directory::{Lease, LeaseState, Load, Operation, OperationError, Reply, Row};
use switchboard_core::id::{ConnectionId, Epoch, InstanceId, UserId};
use switchboard_core::key::Key;
use switchboard_core::time::WallTime;
use uuid::Uuid;

/// A Lua number has 53 bits, an epoch has more.
#[test]
fn epochs_compare_exactly_in_all_their_bits() {
    let mut pair = Pair::start();
    let neighbours = [
        (1 << 32) - 1,
        1 << 32,
        1 << 53,
        (1 << 53) + 1,
        (1 << 62) - 2,
        (1 << 62) - 1,
    ];
    for pair_of_epochs in neighbours.windows(2) {
        let [low, high] = *pair_of_epochs else {
            panic!("a window of two")
        };
        pair.wipe();
        assert_eq!(pair.reply(&register(1, row(1, high))), Reply::Registered);
        assert_eq!(pair.reply(&register(1, row(1, low))), Reply::Superseded);
        assert_eq!(
            pair.reply(&claim(1, low)),
            Reply::Claimed { replaced: None }
        );
        let replaced = Some(lease(low));
        assert_eq!(pair.reply(&claim(1, high)), Reply::Claimed { replaced });
        let epoch = Epoch::new(high);
        assert_eq!(pair.reply(&claim(1, low)), Reply::ClaimRefused { epoch });
    }
}

#[test]
fn a_server_that_became_a_replica_is_no_primary() {
    let mut redis = RedisDirectory::start();
    redis.raw::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
    for operation in [register(1, row(1, 1)), claim(1, 1)] {
        let outcome = redis.execute(&operation);
        assert!(
            matches!(outcome, Err(OperationError::NotPrimary(_))),
            "{outcome:?}"
        );
    }
    redis.raw::<()>(&["CONFIG", "SET", "replica-serve-stale-data", "no"]);
    for operation in [lookup(), Operation::View, register(1, row(1, 1))] {
        let outcome = redis.execute(&operation);
        assert!(
            matches!(outcome, Err(OperationError::NotPrimary(_))),
            "{outcome:?}"
        );
    }
}

#[test]
fn a_server_that_is_started_again_is_empty() {
    let mut server = RedisDirectory::start().server;
    let port = server.port();
    server.command::<()>(&["SET", "key", "value"]);
    server.pause();
    server.resume();
    assert_eq!(server.command::<i64>(&["EXISTS", "key"]), 1);
    server.stop();
    server.start_again();
    assert_eq!(server.port(), port);
    assert_eq!(server.command::<i64>(&["EXISTS", "key"]), 0);
}

fn register(number: u128, row: Row) -> Operation {
    Operation::Register {
        key: key("ann"),
        connection: connection(number),
        row,
    }
}

fn lookup() -> Operation {
    Operation::Lookup { key: key("ann") }
}

fn claim(instance: u64, epoch: u64) -> Operation {
    Operation::Claim {
        instance: InstanceId::new(instance),
        lease: lease(epoch),
        load: Load::default(),
    }
}

fn key(name: &str) -> Key {
    UserId::new(name).expect("a valid user").into()
}

fn connection(number: u128) -> ConnectionId {
    ConnectionId::new(Uuid::from_u128(number))
}

fn row(instance: u64, epoch: u64) -> Row {
    Row {
        instance: InstanceId::new(instance),
        epoch: Epoch::new(epoch),
        connected: WallTime::from_millis(1_700_000_000_000),
    }
}

fn lease(epoch: u64) -> Lease {
    Lease {
        epoch: Epoch::new(epoch),
        floor: Epoch::ZERO,
        beat: 7,
        state: LeaseState::Settling,
        address: "127.0.0.1:7400".to_owned(),
    }
}
