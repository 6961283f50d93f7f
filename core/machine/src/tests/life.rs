//! A terminal's life.

use std::time::Duration;

use crate::config::Config;
use crate::directory::LeaseState;
use crate::event::{Closure, Ending, Event, Handshake, Heard, Life, Refused};
use crate::frame::CloseCode;
use crate::id::{ConnectionKey, UserId};
use crate::testing::cluster::Server;
use crate::testing::rig::Rig;
use crate::time::WallTime;

fn handshake(user: &str, expires: Option<WallTime>) -> Handshake {
    Handshake {
        expires,
        ..Handshake::new(UserId::new(user).expect("a user"))
    }
}

/// H08: each limit refuses before the upgrade, and nothing is kept of the handshake.
#[test]
fn a_handshake_beyond_a_limit_is_refused() {
    let mut rig = Rig::new(Config {
        connections: 2,
        connections_per_user: 1,
        ..Config::default()
    });
    rig.accept("ann");
    let again = rig.cluster.accept(0, handshake("ann", None));
    assert_eq!(again, Err(Refused::TooManyOfUser { limit: 1 }));
    rig.accept("bob");
    let third = rig.cluster.accept(0, handshake("cleo", None));
    assert_eq!(third, Err(Refused::Full { limit: 2 }));
    assert_eq!(rig.instance().terminals().len(), 2);
}

/// H06: a token that has expired opens nothing.
#[test]
fn a_handshake_with_an_expired_token_is_refused() {
    let mut rig = Rig::up();
    let wall = rig.cluster.now.wall;
    let refused = rig.cluster.accept(0, handshake("ann", Some(wall)));
    assert_eq!(refused, Err(Refused::TokenExpired));
}

/// H53: an instance that goes away takes nobody.
#[test]
fn a_draining_instance_refuses_terminals() {
    let mut rig = Rig::up();
    let second = Duration::from_secs(1);
    rig.event(Event::Drain {
        delay: second,
        spread: second,
    });
    let refused = rig.cluster.accept(0, handshake("ann", None));
    assert_eq!(refused, Err(Refused::Draining));
}

#[test]
fn an_upgrade_that_takes_too_long_is_aborted_and_forgotten() {
    let mut rig = Rig::up();
    let key = rig.accept("ann");
    assert_eq!(rig.pass_ms(5100), ["abort 0"]);
    assert_eq!(rig.opened(key), [""; 0], "it opens too late");
    assert_eq!(rig.closed(key), ["forget 0"]);
    assert!(rig.row_epochs().is_empty());
}

/// H21: the hello means that the row is there.
#[test]
fn the_hello_follows_the_row() {
    let mut rig = Rig::up();
    rig.cluster.server = Server::Waits;
    let key = rig.accept("ann");
    assert_eq!(rig.opened(key), [""; 0]);
    assert_eq!(rig.asked(), ["register ann 1"]);
    assert_eq!(rig.answer(), ["connected 0", "hello 0", "flush 0"]);
}

/// H19, H38: the terminal is served without the directory, the registration goes on, and a lease
/// that says so makes publishers ask here by user.
#[test]
fn a_terminal_is_greeted_as_degraded_after_the_grace_and_registered_later() {
    let mut rig = Rig::up();
    rig.cluster.server = Server::Waits;
    let key = rig.accept("ann");
    rig.opened(key);
    rig.cluster.held.clear();
    assert_eq!(rig.pass_ms(999), [""; 0]);
    assert_eq!(
        rig.pass_ms(5),
        ["connected 0", "hello-degraded 0", "flush 0"]
    );
    assert_eq!(rig.asked(), ["renew 1", "register ann 1"]);
    rig.cluster.server = Server::Answers;
    assert_eq!(rig.answer(), [""; 0], "no second hello");
    assert_eq!(
        (rig.row_epochs(), rig.lease()),
        (vec![1], (1, 1, LeaseState::Up))
    );
}

#[test]
fn the_lease_settles_while_a_degraded_terminal_has_no_row() {
    let mut rig = Rig::up();
    rig.cluster.server = Server::Waits;
    let key = rig.accept("ann");
    rig.opened(key);
    rig.answer_but(crate::testing::rig::out_of_memory);
    for _ in 0..20 {
        rig.pass_ms(100);
        rig.answer_but(|operation| {
            crate::testing::rig::is_register(operation)
                .then(crate::testing::rig::refused)
                .flatten()
        });
    }
    assert_eq!(rig.lease(), (1, 1, LeaseState::Settling));
    rig.pass_ms(300);
    rig.cluster.server = Server::Answers;
    rig.answer();
    assert_eq!(rig.lease(), (1, 1, LeaseState::Up));
    assert_eq!(rig.closed(key), ["disconnected 0", "forget 0"]);
}

#[test]
fn a_degraded_terminal_that_ends_without_a_row_leaves_the_lease_up() {
    let mut rig = Rig::up();
    let key = rig.accept("ann");
    rig.cluster.server = Server::Waits;
    rig.opened(key);
    rig.cluster.held.clear();
    rig.pass_ms(1100);
    rig.closed(key);
    rig.cluster.server = Server::Answers;
    rig.answer();
    rig.pass_ms(2000);
    assert_eq!(
        (rig.row_epochs().len(), rig.lease()),
        (0, (1, 1, LeaseState::Up))
    );
}

/// H21: whatever names a terminal before its greeting waits behind the hello.
#[test]
fn a_frame_before_the_greeting_waits_behind_the_hello() {
    let mut rig = Rig::up();
    rig.cluster.server = Server::Waits;
    let key = rig.accept("ann");
    rig.opened(key);
    assert_eq!(rig.heard(key, Heard::Message), [""; 0]);
    let answer = "received 1 dropped 0 0";
    assert_eq!(rig.answer(), ["connected 0", "hello 0", answer, "flush 0"]);
}

/// H24: however much a terminal sends while its socket takes nothing, one answer waits for it, and
/// its queue is there for pushes.
#[test]
fn a_burst_of_messages_is_answered_once_and_fills_no_queue() {
    let mut rig = Rig::new(Config {
        queue_frames: 2,
        ..Config::default()
    });
    rig.link_up();
    let key = rig.connect("ann");
    rig.cluster.writes = false;
    let answer = |n| format!("received {n} dropped 0 0");
    let flush = || "flush 0".to_owned();
    assert_eq!(rig.heard(key, Heard::Message), [answer(1), flush()]);
    for _ in 0..1100 {
        assert_eq!(rig.heard(key, Heard::Message), [""; 0]);
    }
    rig.push("ann", "x");
    rig.push("ann", "y");
    let written = Event::Written { connection: key };
    assert_eq!(
        rig.event(written.clone()),
        ["x 0".to_owned(), "y 0".to_owned(), answer(1101), flush()]
    );
    assert_eq!(rig.event(written), [""; 0]);
    assert_eq!(rig.row_epochs(), [1]);
}

/// A terminal is told which of its messages went nowhere; both are counted.
#[test]
fn a_message_that_nobody_takes_is_answered_as_dropped() {
    let mut rig = Rig::up();
    let key = rig.connect("ann");
    let received = "received 1 dropped 0 0";
    assert_eq!(rig.heard(key, Heard::Message), [received, "flush 0"]);
    rig.event(Event::Written { connection: key });
    let dropped = "received 1 dropped 1 0";
    assert_eq!(rig.heard(key, Heard::Unwanted), [dropped, "flush 0"]);
}

/// H54: each end has its reason, also of those who were never greeted.
#[test]
fn ends_are_counted_by_reason() {
    let mut rig = Rig::up();
    let mut count = |end: fn(&mut Rig, ConnectionKey) -> Closure, ending| {
        let key = rig.accept("ann");
        let closure = end(&mut rig, key);
        let ended = rig.instance().ended(rig.cluster.now, key, closure);
        assert_eq!(ended.map(|ended| ended.ending), Some(ending));
        let connection = key;
        rig.event(Event::Closed {
            connection,
            closure,
        });
        assert_eq!(rig.instance().stats().gone.of(ending), 1, "{ending:?}");
        assert_eq!(rig.instance().ended(rig.cluster.now, key, closure), None);
    };
    count(|_, _| Closure::Abrupt, Ending::NotOpened);
    count(
        |rig, key| {
            rig.opened(key);
            Closure::Clean
        },
        Ending::ByTerminal,
    );
    count(
        |rig, key| {
            rig.opened(key);
            Closure::Abrupt
        },
        Ending::Lost,
    );
    count(
        |rig, key| {
            rig.opened(key);
            Closure::Violation(CloseCode::TooLarge)
        },
        Ending::ByServer(CloseCode::TooLarge),
    );
    count(
        |rig, key| {
            rig.opened(key);
            rig.kick("ann");
            Closure::Clean
        },
        Ending::ByServer(CloseCode::Kicked),
    );
    count(
        |rig, key| {
            rig.opened(key);
            while rig.pass_ms(100) != ["probe 0", "close 0 ping_timeout"] {}
            Closure::Abrupt
        },
        Ending::ByServer(CloseCode::PingTimeout),
    );
    let total: u64 = rig.instance().stats().gone.iter().map(|(_, n)| n).sum();
    assert_eq!(total, 6);
}

/// An upgrade that takes too long is no ping that was not answered.
#[test]
fn an_upgrade_that_takes_too_long_is_counted_as_not_opened() {
    let mut rig = Rig::up();
    let key = rig.accept("ann");
    rig.pass_ms(5100);
    rig.closed(key);
    assert_eq!(rig.instance().stats().gone.of(Ending::NotOpened), 1);
}

/// H13: an abrupt end takes the row along.
#[test]
fn an_abrupt_end_is_unregistered_and_forgotten_once() {
    let mut rig = Rig::up();
    let key = rig.connect("ann");
    rig.cluster.server = Server::Waits;
    assert_eq!(rig.closed(key), ["disconnected 0"]);
    assert_eq!(rig.asked(), ["unregister ann"]);
    assert_eq!(rig.answer(), ["forget 0"]);
    assert_eq!(
        rig.closed(key),
        [""; 0],
        "an event of a forgotten connection is counted"
    );
    assert!(rig.row_epochs().is_empty() && rig.instance().stats().stale_events == 1);
}

/// H11, H12: two terminals of one user come and go independently.
#[test]
fn two_terminals_of_a_user_have_two_rows() {
    let mut rig = Rig::up();
    rig.cluster.server = Server::Waits;
    let first = rig.accept("ann");
    let second = rig.accept("ann");
    rig.opened(first);
    rig.opened(second);
    rig.cluster.server = Server::Answers;
    rig.answer();
    assert_eq!(rig.row_epochs(), [1, 1]);
    assert_eq!(rig.push("ann", "x"), ["x 0", "flush 0", "x 1", "flush 1"]);
    rig.closed(first);
    assert_eq!(
        (rig.row_epochs().len(), rig.push("ann", "y")),
        (1, vec!["y 1".to_owned(), "flush 1".to_owned()])
    );
}

/// H13, H27: a half-open connection does not stay.
#[test]
fn a_terminal_that_says_nothing_after_a_ping_is_closed() {
    let mut rig = Rig::up();
    let key = rig.connect("ann");
    while rig.pass_ms(100) != ["ping 0"] {}
    assert_eq!(rig.pass_ms(9_800), [""; 0]);
    assert_eq!(rig.pass_ms(300), ["probe 0", "close 0 ping_timeout"]);
    assert!(rig.row_epochs().is_empty());
    assert_eq!(rig.closed(key), ["disconnected 0", "forget 0"]);
}

/// H23, H27: a ping waits behind frames that the terminal takes slowly: as long as it takes them it
/// stays, and no longer.
#[test]
fn a_terminal_that_shows_life_after_a_ping_stays_as_long_as_it_does() {
    let mut rig = Rig::up();
    let key = rig.connect("ann");
    while rig.pass_ms(100) != ["ping 0"] {}
    rig.cluster.life = Some(Life::Shown);
    for _ in 0..5 {
        assert_eq!(rig.pass_ms(9_800), [""; 0]);
        assert_eq!(rig.pass_ms(200), ["probe 0"]);
    }
    rig.heard(key, Heard::Control);
    while rig.pass_ms(100) != ["ping 0"] {}
    assert_eq!(rig.pass_ms(9_800), [""; 0]);
    assert_eq!(rig.pass_ms(300), ["probe 0"]);
    rig.cluster.life = Some(Life::NotShown);
    assert_eq!(rig.pass_ms(9_600), [""; 0]);
    assert_eq!(rig.pass_ms(500), ["probe 0", "close 0 ping_timeout"]);
}

/// H27: where terminals can say nothing, what they acknowledge answers, and pings keep their interval.
#[test]
fn a_ping_that_a_probe_finds_answered_is_followed_by_the_next_in_its_time() {
    let mut rig = Rig::new(Config {
        ping_interval: Duration::from_secs(11),
        ..Config::default()
    });
    rig.link_up();
    rig.connect("ann");
    rig.cluster.life = Some(Life::Answered);
    let mut tenths = 0;
    for _ in 0..600 {
        let seen = rig.pass_ms(100);
        let is_pinged = seen.iter().any(|done| done == "ping 0");
        tenths = if is_pinged { 0 } else { tenths + 1 };
        assert!(tenths <= 110, "pings come less often than they shall");
    }
    assert_eq!(rig.row_epochs(), [1]);
}

/// An instance is woken for many pings together, and not for each: of an idle one there is nothing else to do.
#[test]
fn pings_of_many_terminals_leave_in_portions_and_within_their_interval() {
    let mut rig = Rig::up();
    for terminal in 0..300 {
        rig.connect(&format!("user{terminal}"));
    }
    let interval = Config::default().ping_interval;
    let mut pings_of = |span: Duration| {
        let moments = (0..span.as_millis()).map(|_| {
            let seen = rig.pass_ms(1);
            seen.iter().filter(|done| done.starts_with("ping")).count()
        });
        moments.filter(|pings| *pings > 0).collect::<Vec<_>>()
    };
    assert_eq!(
        pings_of(interval * 3 / 4 - Duration::from_millis(1)),
        [0; 0]
    );
    let pings = pings_of(interval / 4 + Duration::from_millis(2));
    assert_eq!(pings.iter().sum::<usize>(), 300);
    assert!(pings.len() <= 66, "{} portions", pings.len());
}

/// What comes while the driver looks is heard, whatever it finds then.
#[test]
fn a_pong_that_comes_during_a_probe_counts() {
    let mut rig = Rig::up();
    let connection = rig.connect("ann");
    rig.cluster.life = None;
    while rig.pass_ms(100) != ["ping 0"] {}
    while rig.pass_ms(100) != ["probe 0"] {}
    rig.heard(connection, Heard::Control);
    let life = Life::NotShown;
    assert_eq!(rig.event(Event::Probed { connection, life }), [""; 0]);
    while rig.pass_ms(100) != ["ping 0"] {}
    assert_eq!(rig.row_epochs(), [1]);
}

/// A terminal's task that never answers keeps nobody.
#[test]
fn a_probe_that_is_not_answered_ends_as_one_that_found_nothing() {
    let mut rig = Rig::up();
    rig.connect("ann");
    rig.cluster.life = None;
    while rig.pass_ms(100) != ["ping 0"] {}
    while rig.pass_ms(100) != ["probe 0"] {}
    assert_eq!(rig.pass_ms(9_800), [""; 0]);
    assert_eq!(rig.pass_ms(300), ["close 0 ping_timeout"]);
}

/// A pause of the instance is not the terminal's silence: its answer may wait to be read.
#[test]
fn a_ping_timeout_that_is_noticed_late_pings_again() {
    let mut rig = Rig::up();
    rig.connect("ann");
    while rig.pass_ms(100) != ["ping 0"] {}
    assert_eq!(rig.pause(Duration::from_secs(30)), ["ping 0"]);
    assert_eq!(rig.pass_ms(9_800), [""; 0]);
    assert_eq!(rig.pass_ms(300), ["probe 0", "close 0 ping_timeout"]);
}

/// H27: any frame after the ping is a sign of life, and the next ping follows.
#[test]
fn a_terminal_that_answers_is_pinged_again_and_stays() {
    let mut rig = Rig::up();
    let key = rig.connect("ann");
    for _ in 0..4 {
        while rig.pass_ms(100) != ["ping 0"] {}
        rig.heard(key, Heard::Control);
    }
    assert_eq!(rig.row_epochs().len(), 1);
}

/// H06: a token that expires ends the connection.
#[test]
fn a_connection_ends_with_its_token() {
    let mut rig = Rig::up();
    let key = rig.accept_until("ann", Some(Duration::from_secs(3)));
    rig.opened(key);
    assert_eq!(rig.pass_ms(2900), [""; 0]);
    assert_eq!(rig.pass_ms(200), ["close 0 token_expired"]);
    assert!(rig.row_epochs().is_empty());
    assert_eq!(rig.closed(key), ["disconnected 0", "forget 0"]);
}

/// H06, H17: a kick ends the connection, with one unregister and one `Forget`.
#[test]
fn a_kicked_connection_is_unregistered_and_forgotten_once() {
    let mut rig = Rig::up();
    let key = rig.connect("ann");
    assert_eq!(rig.kick("ann"), ["close 0 kicked"]);
    let operations = rig.instance().stats().operations;
    assert_eq!(rig.closed(key), ["disconnected 0", "forget 0"]);
    assert_eq!(
        rig.instance().stats().operations,
        operations,
        "it was unregistered when it was told"
    );
    assert!(rig.row_epochs().is_empty());
}

/// H18, H22: frames that were accepted leave before the Close frame, and one batch at a time.
#[test]
fn accepted_frames_are_written_before_the_close_frame() {
    let mut rig = Rig::up();
    let key = rig.connect("ann");
    rig.cluster.writes = false;
    assert_eq!(rig.push("ann", "x"), ["x 0", "flush 0"]);
    assert_eq!(rig.push("ann", "y"), [""; 0]);
    assert_eq!(rig.kick("ann"), [""; 0]);
    rig.cluster.writes = true;
    let written = Event::Written { connection: key };
    assert_eq!(rig.event(written), ["y 0", "flush 0", "close 0 kicked"]);
}

/// H23, H24, H26: a terminal that does not read is closed, and holds nobody up.
#[test]
fn a_slow_consumer_is_closed_and_aborted_when_it_does_not_even_read_that() {
    let mut rig = Rig::new(Config {
        queue_frames: 2,
        ..Config::default()
    });
    rig.link_up();
    let key = rig.connect("ann");
    rig.cluster.writes = false;
    assert_eq!(rig.push("ann", "x"), ["x 0", "flush 0"]);
    rig.push("ann", "y");
    assert_eq!(
        rig.push("ann", "z"),
        [""; 0],
        "the batch with the driver comes before the Close frame"
    );
    assert!(rig.row_epochs().is_empty());
    assert_eq!(rig.pass_ms(5100), ["abort 0"]);
    assert_eq!(rig.closed(key), ["disconnected 0", "forget 0"]);
}

/// H17: a terminal that does not answer the Close frame is dropped.
#[test]
fn a_closing_handshake_that_takes_too_long_is_aborted() {
    let mut rig = Rig::up();
    let key = rig.connect("ann");
    rig.kick("ann");
    assert_eq!(rig.pass_ms(5100), ["abort 0"]);
    assert_eq!(rig.closed(key), ["disconnected 0", "forget 0"]);
}

/// H20: a connection that ends before its greeting is not announced.
#[test]
fn a_connection_that_was_never_greeted_leaves_without_notice() {
    let mut rig = Rig::up();
    rig.cluster.server = Server::Waits;
    let key = rig.accept("ann");
    rig.opened(key);
    assert_eq!(rig.closed(key), [""; 0]);
    assert_eq!(
        rig.answer(),
        [""; 0],
        "the late register is followed by an unregister"
    );
    assert_eq!(rig.asked(), ["unregister ann"]);
    assert_eq!(rig.answer(), ["forget 0"]);
    assert!(rig.row_epochs().is_empty());
}
