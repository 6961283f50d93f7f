//! Rows: who writes them, who removes them, when they expire.

use std::time::Duration;

use switchboard_core::directory::{Operation, OperationError, Reply, Row};
use switchboard_core::id::{ConnectionId, Epoch, InstanceId};
use switchboard_core::time::WallTime;

use crate::pair::{Pair, ROW_EXPIRY, RedisDirectory, TICK};
use crate::{connection, key, lookup, register, row};

/// Where the rows of `key("ann")` are.
const ANN: &str = "sb:{p0417}u:ann";

/// H28: a row never stands without an expiry, and each register prolongs it.
#[test]
fn a_register_sets_the_expiry_in_the_same_step() {
    let mut pair = Pair::start();
    for _ in 0..3 {
        assert_eq!(pair.reply(&register(1, row(1, 1))), Reply::Registered);
        let remaining = Duration::from_millis(pair.redis.raw(&["PTTL", ANN]));
        assert!(
            remaining <= ROW_EXPIRY && remaining > ROW_EXPIRY - TICK,
            "{remaining:?}"
        );
        pair.pass(TICK * 20);
    }
    pair.pass(TICK * 20);
    assert_eq!(rows(&mut pair), []);
}

/// H28: a refused register leaves nothing behind.
#[test]
fn a_register_that_the_server_refuses_writes_nothing() {
    let mut redis = RedisDirectory::start();
    redis.raw::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    let outcome = redis.execute(&register(1, row(1, 1)));
    assert!(
        matches!(&outcome, Err(OperationError::Refused(error)) if error.starts_with("OOM")),
        "{outcome:?}"
    );
    assert_eq!(redis.raw::<i64>(&["EXISTS", ANN]), 0);
}

#[test]
fn a_superseded_register_prolongs_nothing() {
    let mut pair = Pair::start();
    assert_eq!(pair.reply(&register(1, row(1, 2))), Reply::Registered);
    pair.pass(TICK * 20);
    assert_eq!(pair.reply(&register(1, row(1, 1))), Reply::Superseded);
    pair.pass(TICK * 20);
    assert_eq!(rows(&mut pair), []);
}

/// H29: a late write of an earlier epoch does not overwrite a later one.
#[test]
fn a_register_never_lowers_an_epoch() {
    let mut pair = Pair::start();
    assert_eq!(pair.reply(&register(1, row(1, 2))), Reply::Registered);
    assert_eq!(pair.reply(&register(1, row(1, 1))), Reply::Superseded);
    assert_eq!(rows(&mut pair), [(connection(1), row(1, 2))]);
    for epoch in [2, 3] {
        assert_eq!(pair.reply(&register(1, row(1, epoch))), Reply::Registered);
        assert_eq!(rows(&mut pair), [(connection(1), row(1, epoch))]);
    }
}

#[test]
fn a_register_never_touches_another_instances_row() {
    let mut pair = Pair::start();
    assert_eq!(pair.reply(&register(1, row(1, 1))), Reply::Registered);
    assert_eq!(pair.reply(&register(1, row(2, 9))), Reply::Superseded);
    assert_eq!(rows(&mut pair), [(connection(1), row(1, 1))]);
}

/// H11: the rows of one user do not overwrite each other.
#[test]
fn each_connection_has_a_row_of_its_own() {
    let mut pair = Pair::start();
    for number in [3, 1, 2] {
        assert_eq!(pair.reply(&register(number, row(1, 1))), Reply::Registered);
    }
    let expected = [1, 2, 3].map(|number| (connection(number), row(1, 1)));
    assert_eq!(rows(&mut pair), expected);
}

#[test]
fn an_unregister_removes_its_own_row_whatever_the_epoch() {
    let mut pair = Pair::start();
    assert_eq!(pair.reply(&register(1, row(1, 7))), Reply::Registered);
    assert_eq!(pair.reply(&unregister(1, 1)), Reply::Removed(true));
    assert_eq!(pair.reply(&unregister(1, 1)), Reply::Removed(false));
    assert_eq!(pair.redis.raw::<i64>(&["EXISTS", ANN]), 0);
}

/// H30: the late goodbye of a former instance does not remove the row of the present one.
#[test]
fn an_unregister_spares_another_instances_row() {
    let mut pair = Pair::start();
    assert_eq!(pair.reply(&register(1, row(2, 1))), Reply::Registered);
    assert_eq!(pair.reply(&unregister(1, 1)), Reply::Removed(false));
    assert_eq!(rows(&mut pair), [(connection(1), row(2, 1))]);
}

/// H30: a reader of a stale row does not remove the fresh one.
#[test]
fn a_row_that_was_written_again_is_not_removed() {
    let mut pair = Pair::start();
    let fresh = row(1, 2);
    assert_eq!(pair.reply(&register(1, fresh)), Reply::Registered);
    let reconnected = Row {
        connected: WallTime::from_millis(1),
        ..fresh
    };
    for stale in [row(1, 1), row(2, 2), reconnected] {
        assert_eq!(pair.reply(&remove(1, stale)), Reply::Removed(false));
    }
    assert_eq!(rows(&mut pair), [(connection(1), fresh)]);
    assert_eq!(pair.reply(&remove(1, fresh)), Reply::Removed(true));
    assert_eq!(rows(&mut pair), []);
}

/// H36: what stands there by mistake hides nothing, and a register writes over it.
#[test]
fn malformed_rows_are_skipped_counted_and_overwritten() {
    let mut redis = RedisDirectory::start();
    let broken = connection(1).to_string();
    let odd = [
        "",
        "127.0.0.1:8080",
        "00000000000000a1 000000000000000g 000000000001",
    ];
    for value in odd {
        redis.raw::<()>(&["HSET", ANN, "not a uuid", "x"]);
        redis.raw::<()>(&["HSET", ANN, &broken, value]);
        assert_eq!(
            redis.execute(&register(2, row(1, 1))),
            Ok(Reply::Registered)
        );
        let expected = Reply::Rows {
            rows: vec![(connection(2), row(1, 1))],
            malformed: 2,
        };
        assert_eq!(redis.execute(&lookup()), Ok(expected));
        assert_eq!(
            redis.execute(&register(1, row(1, 1))),
            Ok(Reply::Registered)
        );
        redis.raw::<()>(&["DEL", ANN]);
    }
}

/// H36: a row of an epoch that nobody can have is nobody's.
#[test]
fn a_row_with_an_epoch_that_nobody_can_have_gives_way() {
    let mut redis = RedisDirectory::start();
    let field = connection(1).to_string();
    for epoch in ["ffffffffffffffff", "8000000000000000"] {
        let text = format!("00000000000000a1 {epoch} 000000000003");
        redis.raw::<()>(&["HSET", ANN, &field, &text]);
        let rows = Vec::new();
        let expected = Reply::Rows { rows, malformed: 1 };
        assert_eq!(redis.execute(&lookup()), Ok(expected), "{epoch}");
        assert_eq!(
            redis.execute(&register(1, row(1, 1))),
            Ok(Reply::Registered)
        );
    }
}

/// A user's rows stay in Redis's compact form, where a small HASH costs a tenth of a large one.
#[test]
fn the_rows_of_a_user_stay_compact() {
    let mut redis = RedisDirectory::start();
    for number in 0..100 {
        let longest = Row {
            instance: InstanceId::new(u64::MAX),
            epoch: Epoch::LAST,
            connected: WallTime::from_millis(u64::MAX),
        };
        assert_eq!(
            redis.execute(&register(number, longest)),
            Ok(Reply::Registered)
        );
    }
    let field = connection(1).to_string();
    assert!(redis.raw::<usize>(&["HSTRLEN", ANN, &field]) <= 64);
    assert_eq!(
        redis.raw::<String>(&["OBJECT", "ENCODING", ANN]),
        "listpack"
    );
}

fn unregister(number: u128, instance: u64) -> Operation {
    Operation::Unregister {
        key: key("ann"),
        connection: connection(number),
        instance: InstanceId::new(instance),
    }
}

fn remove(number: u128, row: Row) -> Operation {
    Operation::RemoveRow {
        key: key("ann"),
        connection: connection(number),
        row,
    }
}

#[track_caller]
fn rows(pair: &mut Pair) -> Vec<(ConnectionId, Row)> {
    match pair.reply(&lookup()) {
        Reply::Rows { rows, malformed: 0 } => rows,
        other => panic!("{other:?}"),
    }
}
