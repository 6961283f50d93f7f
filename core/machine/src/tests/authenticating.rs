//! Terminals that say who they are behind the handshake.

use std::time::Duration;

use crate::config::Config;
use crate::event::{Closure, Event, Heard, Life, Login, Pings, Refused};
use crate::frame::Payload;
use crate::id::{CallId, PushId, UserId};
use crate::message::{Action, Audience, Push};
use crate::testing::cluster::Cluster;
use crate::testing::rig::Rig;
use crate::time::WallTime;

/// H01, H08: room for those whom nobody knows is bounded apart, and is there again for the next one as soon as
/// one has said who it is.
#[test]
fn a_share_of_the_connections_is_for_those_who_have_not_said_who_they_are() {
    let mut rig = Rig::new(Config {
        connections: 20,
        ..Config::default()
    });
    let first = rig.open_stranger();
    rig.open_stranger();
    let third = rig.cluster.accept_stranger(0);
    assert_eq!(third, Err(Refused::Full { limit: 2 }));
    assert_eq!(rig.instance().gauges(rig.cluster.now).authenticating, 2);
    rig.authenticated(first, "ann");
    assert_eq!(rig.instance().gauges(rig.cluster.now).authenticating, 1);
    assert!(rig.cluster.accept_stranger(0).is_ok());
}

/// H08: settings may promise more connections than there are descriptors.
#[test]
fn strangers_have_no_more_than_the_world_has_room_for() {
    let mut rig = Rig::new(Config::default());
    let instance = rig.cluster.instances.remove(0);
    (rig.cluster.instances).insert(0, instance.with_strangers_at_most(1));
    rig.open_stranger();
    let second = rig.cluster.accept_stranger(0);
    assert_eq!(second, Err(Refused::Full { limit: 1 }));
}

#[test]
fn the_share_is_one_connection_at_least() {
    for (connections, percent, share) in [
        (5, 10, 1),
        (1_000_000, 10, 10_000),
        (50_000, 10, 5000),
        (250, 1, 2),
    ] {
        let config = Config {
            connections,
            authenticating_percent: percent,
            ..Config::default()
        };
        assert_eq!(config.strangers(), share);
    }
}

/// H21: it has no row before it has a name, and no hello before it has a row.
#[test]
fn a_terminal_is_registered_and_greeted_once_it_has_said_who_it_is() {
    let mut rig = Rig::up();
    let key = rig.open_stranger();
    assert!(rig.row_epochs().is_empty());
    assert_eq!(
        rig.authenticated(key, "ann"),
        ["connected 0", "hello 0", "flush 0"]
    );
    assert_eq!(rig.row_epochs(), [1]);
    assert_eq!(rig.push("ann", "hi"), ["hi 0", "flush 0"]);
}

/// A walk over all rows goes on behind a terminal that has none.
#[test]
fn settling_writes_the_rows_of_those_who_came_before_a_stranger() {
    let mut cluster = Cluster::new(&Config::default(), 2);
    let (_, ann) = cluster.connect(0, "ann");
    let stranger = cluster.accept_stranger(0).expect("there is room");
    cluster.event(
        0,
        Event::Opened {
            connection: stranger,
        },
    );
    cluster.event(0, Event::DirectoryDown);
    cluster.directory.wipe();
    cluster.event(0, Event::DirectoryUp);
    cluster.pass(Duration::from_secs(2));
    let key = UserId::new("ann").expect("a user").into();
    let row = cluster.directory.row(cluster.now.mono, &key, ann);
    assert_eq!(row.map(|row| row.epoch.get()), Some(2));
}

#[test]
fn nothing_is_routed_to_a_terminal_that_has_not_said_who_it_is() {
    let mut rig = Rig::up();
    let key = rig.open_stranger();
    let id = rig.instance().connection_id(key).expect("it has a name");
    let ann = || UserId::new("ann").expect("a user");
    for (number, to) in [
        Audience::User(ann()),
        Audience::Connections {
            user: ann(),
            connections: vec![id],
        },
        Audience::Everyone,
    ]
    .into_iter()
    .enumerate()
    {
        let push = Push {
            id: PushId::new(uuid::Uuid::from_u128(number as u128)),
            to,
            action: Action::Frame(Payload::from("hi".to_owned())),
            deadline: Config::DEADLINE_DEFAULT,
            durable: None,
            by: crate::message::PushedBy::Application,
        };
        let call = CallId::new(number as u64);
        let told = rig.event(Event::Push { call, push });
        assert!(!told.contains(&"hi 0".to_owned()), "{told:?}");
        rig.pass_ms(3100);
    }
}

/// H10: a terminal that does not say who it is does not stay, however much it sends.
#[test]
fn a_terminal_that_does_not_say_in_time_who_it_is_is_closed() {
    let mut rig = Rig::up();
    let key = rig.open_stranger();
    for _ in 0..9 {
        assert_eq!(rig.pass_ms(1000), [""; 0]);
        assert_eq!(rig.heard(key, Heard::Control), [""; 0]);
        assert_eq!(rig.heard(key, Heard::Message), [""; 0]);
    }
    assert_eq!(rig.pass_ms(1005), ["close 0 not_authenticated"]);
    assert_eq!(rig.authenticated(key, "ann"), [""; 0], "it is too late");
    assert_eq!(rig.closed(key), ["forget 0"]);
    assert!(rig.instance().is_at_rest());
}

#[test]
fn a_terminal_that_goes_before_it_has_said_who_it_is_is_forgotten_at_once() {
    let mut rig = Rig::up();
    let key = rig.open_stranger();
    let ended = rig.instance().ended(rig.cluster.now, key, Closure::Clean);
    assert_eq!(ended.expect("it is there").user, None);
    assert_eq!(rig.closed(key), ["forget 0"]);
    let late = rig.instance().stats().stale_events;
    assert_eq!(rig.authenticated(key, "ann"), [""; 0]);
    assert_eq!(rig.instance().stats().stale_events, late + 1);
}

/// H06, H08: what a handshake is refused for closes a terminal that says who it is behind it.
#[test]
fn a_terminal_that_may_not_stay_is_closed_when_it_has_said_who_it_is() {
    let mut rig = Rig::new(Config {
        connections_per_user: 1,
        ..Config::default()
    });
    let key = rig.open_stranger();
    rig.authenticated(key, "ann");
    let second = rig.open_stranger();
    assert_eq!(
        rig.authenticated(second, "ann"),
        ["close 1 too_many_connections"]
    );
    let third = rig.open_stranger();
    let expired = Login {
        expires: Some(WallTime::from_millis(rig.cluster.now.wall.as_millis())),
        ..Login::new(UserId::new("bob").expect("a user"))
    };
    let said = rig.event(Event::Authenticated {
        connection: third,
        login: Box::new(expired),
    });
    assert_eq!(said, ["close 2 token_expired"]);
}

/// H23, H27: its client takes a server for dead that does not ping, however much the terminal is held up.
#[test]
fn a_terminal_whose_client_counts_pings_is_pinged_each_interval() {
    for (interval, timeout) in [(25, 10), (10, 25)] {
        let mut rig = Rig::new(Config {
            ping_interval: Duration::from_secs(interval),
            ping_timeout: Duration::from_secs(timeout),
            ..Config::default()
        });
        rig.link_up();
        rig.cluster.life = Some(Life::Shown);
        let key = rig.open_stranger();
        rig.event(Event::Authenticated {
            connection: key,
            login: Box::new(Login {
                pings: Pings::EachInterval,
                ..Login::new(UserId::new("ann").expect("a user"))
            }),
        });
        let mut silent_for = 0;
        for _ in 0..30 * interval {
            silent_for += 1;
            if (rig.pass_ms(1000)).contains(&"ping 0".to_owned()) {
                silent_for = 0;
            }
            assert!(silent_for <= interval, "no ping for {silent_for} s");
        }
        rig.cluster.life = Some(Life::NotShown);
        let said = rig.pass_ms(2000 * timeout);
        assert!(
            said.contains(&"close 0 ping_timeout".to_owned()),
            "{said:?}"
        );
    }
}

/// H53: a drain takes nobody, and does not wait for those who never say who they are.
#[test]
fn a_drain_closes_those_who_have_not_said_who_they_are() {
    let mut rig = Rig::up();
    let (first, second) = (rig.open_stranger(), rig.open_stranger());
    let (delay, spread) = (Duration::from_secs(1), Duration::from_secs(1));
    rig.event(Event::Drain { delay, spread });
    assert_eq!(rig.authenticated(first, "ann"), ["close 0 service_restart"]);
    let said = rig.pass_ms(2100);
    assert!(
        said.contains(&"close 1 service_restart".to_owned()),
        "{said:?}"
    );
    rig.closed(first);
    rig.closed(second);
    let said = rig.pass_ms(2000);
    assert!(said.contains(&"drained".to_owned()), "{said:?}");
}

/// Walks by age and lists of one user's terminals go by when each came to be known.
#[test]
fn a_terminal_is_as_young_as_its_name() {
    let mut rig = Rig::up();
    let stranger = rig.open_stranger();
    let known = rig.connect("ann");
    rig.authenticated(stranger, "ann");
    let key = UserId::new("ann").expect("a user").into();
    let of_ann = rig.instance().terminals().greeted_of(&key);
    let ids: Vec<_> = of_ann.map(|terminal| terminal.id).collect();
    let expected = [known, stranger].map(|key| rig.instance().connection_id(key).expect("there"));
    assert_eq!(ids, expected);
    rig.closed(known);
    rig.closed(stranger);
    assert!(rig.instance().is_at_rest());
}
