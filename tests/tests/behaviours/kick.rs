//! Ending connections through the API.

use switchboard_tests::behaviour::{Behaviour, INSTANCES};
use switchboard_tests::behaviours;
use switchboard_tests::matrix::Cell;
use switchboard_tests::patience::{SILENCE, eventually};
use switchboard_tests::terminal::Ending;
use uuid::Uuid;

pub(crate) const LIST: &[Behaviour] = behaviours![
    (
        INSTANCES,
        kicking_a_user_ends_all_connections_on_all_instances
    ),
    (INSTANCES, kicking_one_connection_spares_the_users_others),
    (INSTANCES, a_kick_does_not_overtake_an_earlier_push),
    (INSTANCES, kicking_a_user_without_connections_touches_nobody),
    (INSTANCES, a_kicked_terminal_that_does_not_answer_is_dropped),
    (INSTANCES, a_kicked_user_can_connect_again),
];

const KICKED: u16 = 4001;

/// H06: on whatever instances the user's connections are.
fn kicking_a_user_ends_all_connections_on_all_instances(cell: Cell) {
    let cluster = cell.start(3);
    let kicked = [0, 1].map(|i| cluster[i].terminal("ann").follow());
    let mut spared = cluster[0].terminal("bob");

    let receipt = cluster[2].api().kick("ann");

    receipt.expect_written(2);
    for terminal in &kicked {
        assert_eq!(receipt.outcome(terminal.uuid), Some("written"));
        assert_eq!(
            terminal.await_ending(),
            Ending::Closed(KICKED, "kicked".to_owned())
        );
    }
    spared.expect_silence(SILENCE);
    eventually("the kicked are not listed", || {
        cluster[2].api().connections("ann").connections.is_empty()
    });
}

/// H06: one connection, and no other of the same user.
fn kicking_one_connection_spares_the_users_others(cell: Cell) {
    let cluster = cell.start(2);
    let kicked = cluster[0].terminal("ann").follow();
    let mut spared = [cluster[0].terminal("ann"), cluster[1].terminal("ann")];

    cluster[1]
        .api()
        .kick_one("ann", kicked.uuid)
        .expect_written(1);

    assert_eq!(kicked.await_ending().code(), Some(KICKED));
    for terminal in &mut spared {
        terminal.expect_silence(SILENCE);
    }
}

/// What was pushed before the kick is read before the Close frame.
fn a_kick_does_not_overtake_an_earlier_push(cell: Cell) {
    let cluster = cell.start(2);
    let terminal = cluster[0].terminal("ann").follow();

    for n in 0..50 {
        cluster[1]
            .api()
            .push("ann", &n.to_string())
            .expect_written(1);
    }
    cluster[1].api().kick("ann");

    assert_eq!(terminal.await_ending().code(), Some(KICKED));
    let expected: Vec<_> = (0..50).map(|n| n.to_string()).collect();
    assert_eq!(terminal.texts(), expected);
}

/// A kick of nobody is a result.
fn kicking_a_user_without_connections_touches_nobody(cell: Cell) {
    let cluster = cell.start(2);
    let mut other = cluster[0].terminal("bob");

    assert_eq!(cluster[1].api().kick("ann").written, 0);
    assert_eq!(
        cluster[1].api().kick_one("ann", other.uuid).written,
        0,
        "another user's connection"
    );
    assert_eq!(
        cluster[1].api().kick_one("bob", Uuid::from_u128(1)).written,
        0
    );

    other.expect_silence(SILENCE);
}

/// H06, H16: a terminal that does not answer the Close frame is gone nevertheless.
fn a_kicked_terminal_that_does_not_answer_is_dropped(cell: Cell) {
    let cluster = cell.start_with(2, |s| s.with("close_timeout", "500ms"));
    let mut silent = cluster[0].connect().user("ann").raw();
    silent.read_frame().expect("the hello");

    let receipt = cluster[1].api().kick("ann");

    assert_eq!(receipt.total(), 1, "{receipt:?}");
    assert_eq!(silent.close_code().expect("a Close frame"), KICKED);
    assert!(silent.has_ended());
    eventually("it is not listed", || {
        cluster[1].api().connections("ann").connections.is_empty()
    });
}

/// Whoever is kicked may connect again, and only the new connection is listed.
fn a_kicked_user_can_connect_again(cell: Cell) {
    let cluster = cell.start(2);
    let first = cluster[0].terminal("ann").follow();
    cluster[1].api().kick("ann").expect_written(1);
    assert!(matches!(first.await_ending(), Ending::Closed(KICKED, _)));

    let mut second = cluster[0].terminal("ann");

    assert_ne!(first.uuid, second.uuid);
    eventually("only the second is listed", || {
        cluster[1].api().connections("ann").uuids() == [second.uuid]
    });
    cluster[1]
        .api()
        .push("ann", "welcome back")
        .expect_written(1);
    second.expect_text("welcome back");
}
