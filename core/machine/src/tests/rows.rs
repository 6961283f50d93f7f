//! Rows: written, repeated, removed, whatever becomes of the answers.

use std::time::Duration;

use crate::config::Config;
use crate::testing::cluster::Server;
use crate::testing::rig::{Rig, is_register, is_unregister, out_of_memory, refused};

/// H29: on one link the repeat runs last, so it is safe.
#[test]
fn a_register_without_an_answer_is_repeated_on_the_same_link() {
    let mut rig = Rig::up();
    rig.cluster.server = Server::Waits;
    let key = rig.accept("ann");
    rig.opened(key);
    rig.execute_unanswered();
    rig.pass_ms(1100);
    assert!(rig.asked().contains(&"register ann 1".to_owned()));
    rig.answer();
    assert_eq!(
        (rig.row_epochs(), rig.instance().stats().bugs),
        (vec![1], 0)
    );
}

/// H11, H29: an unregister is repeated before `Forget`.
#[test]
fn an_unregister_without_an_answer_is_repeated_before_the_connection_is_forgotten() {
    let mut rig = Rig::up();
    let key = rig.connect("ann");
    rig.cluster.server = Server::Waits;
    assert_eq!(rig.closed(key), ["disconnected 0"]);
    rig.cluster.held.clear();
    assert_eq!(rig.pass_ms(1100), [""; 0]);
    assert!(rig.asked().contains(&"unregister ann".to_owned()));
    assert_eq!(rig.answer(), ["forget 0"]);
    assert!(rig.row_epochs().is_empty());
}

/// H29: the late answer of a given-up register changes nothing.
#[test]
fn a_late_answer_is_counted_and_dropped() {
    let mut rig = Rig::up();
    rig.cluster.server = Server::Waits;
    let key = rig.accept("ann");
    rig.opened(key);
    let late = rig.cluster.held.clone();
    rig.cluster.held.clear();
    rig.pass_ms(1100);
    rig.cluster.held = late;
    assert_eq!(rig.answer(), [""; 0]);
    assert_eq!(rig.instance().stats().late_answers, 1);
}

/// H19: a row that the directory refuses is tried again.
#[test]
fn a_refused_register_is_tried_again() {
    let mut rig = Rig::up();
    rig.cluster.server = Server::Waits;
    let key = rig.accept("ann");
    rig.opened(key);
    assert_eq!(rig.answer_but(out_of_memory), [""; 0]);
    assert_eq!(rig.asked(), [""; 0]);
    rig.pass_ms(260);
    assert_eq!(rig.asked(), ["register ann 1"]);
    assert_eq!(rig.answer(), ["connected 0", "hello 0", "flush 0"]);
}

/// H13: a connection whose register was refused and that has gone meanwhile ends with one
/// unregister.
#[test]
fn a_refused_register_of_a_closed_connection_ends_with_one_unregister() {
    let mut rig = Rig::up();
    rig.cluster.server = Server::Waits;
    let key = rig.accept("ann");
    rig.opened(key);
    rig.answer_but(out_of_memory);
    rig.pass_ms(100);
    rig.closed(key);
    assert_eq!(rig.asked(), ["unregister ann"]);
    rig.pass_ms(200);
    assert_eq!(
        rig.asked(),
        ["unregister ann"],
        "one operation of a connection at a time"
    );
    assert_eq!(rig.answer(), ["forget 0"]);
}

/// H13: an unregister that is refused is tried again, and its connection forgotten even if the link
/// is lost before that.
#[test]
fn a_refused_unregister_is_tried_again_or_ends_with_the_link() {
    for link_lost in [false, true] {
        let mut rig = Rig::up();
        let key = rig.connect("ann");
        rig.cluster.server = Server::Waits;
        rig.closed(key);
        rig.answer_but(|operation| is_unregister(operation).then(refused).flatten());
        let said = if link_lost {
            rig.link_down()
        } else {
            rig.pass_ms(300);
            rig.answer()
        };
        assert_eq!(said, ["forget 0"], "link lost: {link_lost}");
    }
}

/// The directory takes nothing: what is refused is tried again at the pace of settling, however
/// much it is.
#[test]
fn refused_rows_are_tried_again_at_a_bounded_rate() {
    let mut rig = Rig::new(Config {
        settle_rate: 100,
        ..Config::default()
    });
    rig.link_up();
    rig.cluster.server = Server::Waits;
    for number in 0..200 {
        let key = rig.accept(&format!("user{number}"));
        rig.opened(key);
    }
    let mut registers = 0;
    for step in 0..120 {
        if step >= 20 {
            let asked = rig.asked();
            registers += asked
                .iter()
                .filter(|asked| asked.starts_with("register"))
                .count();
        }
        rig.answer_but(|operation| is_register(operation).then(refused).flatten());
        rig.pass_ms(10);
    }
    assert!(registers <= 120, "{registers} in a second");
}

/// H38: a row waits while the link is away, and is written once a claim is answered, not before.
#[test]
fn no_row_is_written_before_the_claim_is_answered() {
    let mut rig = Rig::up();
    rig.connect("ann");
    rig.link_down();
    rig.cluster.server = Server::Waits;
    let key = rig.accept("bob");
    rig.opened(key);
    assert_eq!(rig.asked(), [""; 0]);
    rig.link_up();
    assert_eq!(rig.asked(), ["claim 2"]);
    let cleo = rig.accept("cleo");
    rig.opened(cleo);
    assert_eq!(rig.asked(), ["claim 2"]);
    rig.answer();
    assert_eq!(
        rig.asked()[..3],
        ["register cleo 2", "register bob 2", "register ann 2"],
        "newest first"
    );
}

/// An answer to a write of an earlier epoch proves nothing about the present one.
#[test]
fn a_row_of_an_earlier_epoch_is_written_again_before_the_hello() {
    let mut rig = Rig::up();
    rig.cluster.server = Server::Waits;
    let key = rig.accept("ann");
    rig.opened(key);
    rig.cluster.directory.wipe();
    assert_eq!(
        rig.answer(),
        [""; 0],
        "the trip's own reading says that the lease is lost"
    );
    assert_eq!(rig.asked(), ["claim 2"]);
    rig.answer();
    assert_eq!(rig.asked()[0], "register ann 2");
    assert_eq!(rig.answer(), ["connected 0", "hello 0", "flush 0"]);
}

/// H14, H15: a terminal survives the loss of the link, and is forgotten without waiting for it.
#[test]
fn a_connection_that_ends_while_the_link_is_away_is_forgotten_at_once() {
    let mut rig = Rig::up();
    let key = rig.connect("ann");
    rig.link_down();
    assert_eq!(rig.closed(key), ["disconnected 0", "forget 0"]);
    rig.link_up();
    rig.pass_ms(200);
    assert_eq!(rig.row_epochs(), [1], "what is left behind");
    assert_eq!(rig.lease().1, 2, "is dead by the floor");
}

/// H28, H32: what the directory lost without a sign comes back with the sweep.
#[test]
fn the_sweep_writes_each_row_within_its_period() {
    let mut rig = Rig::new(Config {
        sweep: Duration::from_secs(20),
        row_expiry: Duration::from_secs(60),
        ..Config::default()
    });
    rig.link_up();
    let keys: Vec<_> = (0..50)
        .map(|number| rig.connect(&format!("user{number}")))
        .collect();
    for number in 0..50 {
        let user = crate::id::UserId::new(&format!("user{number}")).expect("a user");
        assert!(
            rig.cluster
                .directory
                .evict(rig.cluster.now.mono, &user.clone().into())
        );
    }
    for _ in 0..22 {
        for key in &keys {
            rig.heard(*key, crate::event::Heard::Control);
        }
        rig.pass_ms(1000);
    }
    assert_eq!(rig.row_epochs().len(), 50);
}

/// The link of a round trip is lost: the instance does not ask again before there is a new one.
#[test]
fn a_lost_round_trip_ends_the_link() {
    let mut rig = Rig::up();
    let key = rig.connect("ann");
    rig.cluster.server = Server::Waits;
    rig.push("ann", "x");
    assert_eq!(rig.asked(), ["lookup ann"]);
    rig.lose_trips();
    rig.closed(key);
    rig.pass_ms(10_000);
    assert!(rig.cluster.held.is_empty());
}
