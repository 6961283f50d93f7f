//! Schedules for [mod@proptest]: structured, so that what fails shrinks to fewer and simpler items.
//!
//! # Examples
//!
//! ```
//! use proptest::prelude::*;
//! use switchboard_sim::{strategies, swarm};
//!
//! proptest! {
//!     #![proptest_config(ProptestConfig::with_cases(4))]
//!     # /*
//!     #[test]
//!     # */
//!     fn nothing_is_violated(schedule in strategies::schedules()) {
//!         prop_assert_eq!(swarm::run(&schedule).violation, None);
//!     }
//! }
//! # nothing_is_violated();
//! ```

#![expect(
    clippy::disallowed_types,
    reason = "proptest shares the parts of its strategies; no world holds one"
)]

use std::time::Duration;
use switchboard_core::message::PushedBy;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::schedule::{
    Act, ClockStep, Durability, Enrolment, ErrorReply, Host, HowClosed, HowKilled, Item, LogOf,
    LogSettings, Moment, NewAddress, OperationKind, PeerLie, RedisAct, Schedule, StrangerWords, To,
    TopicAct, TripFault,
};

const CLIENTS: u32 = 5;
const PUSHES: u32 = 30;
const USERS: [&str; 3] = ["alice", "bob", "carol"];
const TOPICS: [&str; 2] = ["news", "sport"];
/// Items that are drawn happen between these moments, in milliseconds.
const ITEMS: (u64, u64) = (1_000, 20_000);
/// Everything is well again, and clients that are gone come back no more.
const HEAL: Duration = Duration::from_secs(21);
/// The directory and the connections agree: terminals that went without a sign have been noticed.
const CONVERGED: Duration = Duration::from_secs(80);
/// From this moment on clients leave.
const LEAVE: Duration = Duration::from_secs(81);
/// Nothing is left.
const AT_REST: Duration = Duration::from_secs(88);

/// Schedules of one to four instances: clients that come and go, pushes, and faults; then everything
/// heals, must converge, and ends. They shrink to fewer items, to clients and pushes rather than to
/// faults, and to earlier moments.
pub fn schedules() -> impl Strategy<Value = Schedule> {
    (1..=4_usize, any::<u64>())
        .prop_flat_map(|(instances, seed)| {
            (Just(instances), Just(seed), vec(item(instances), 0..40))
        })
        .prop_map(|(instances, seed, items)| healed(seed, instances, items))
}

/// Items for a cluster of so many instances, at any moment in the first twenty seconds.
pub fn item(instances: usize) -> impl Strategy<Value = Item> {
    let at = (ITEMS.0..ITEMS.1).prop_map(Duration::from_millis);
    (at, act(instances)).prop_map(|(at, act)| Item { at, act })
}

/// What may happen to a cluster of so many instances. The simplest come first.
pub fn act(instances: usize) -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => connect(instances),
        12 => push(instances),
        4 => client_act(instances),
        2 => push_act(instances),
        4 => fault(instances),
        2 => on(instances),
    ]
}

fn connect(instances: usize) -> impl Strategy<Value = Act> {
    (client(), somewhere(instances), user()).prop_map(|(client, at, user)| Act::Connect {
        client,
        at,
        user,
        token: None,
    })
}

fn push(instances: usize) -> impl Strategy<Value = Act> {
    (host(instances), audience(), push_name()).prop_map(|(at, to, name)| Act::Push {
        at,
        to,
        name,
        durable: Durability::Plain,
        by: PushedBy::Application,
        within: None,
    })
}

/// What a client does that is there, or what befalls it.
fn client_act(instances: usize) -> impl Strategy<Value = Act> {
    let moves = (client(), somewhere(instances), how_closed());
    prop_oneof![
        3 => (client(), how_closed()).prop_map(|(client, how)| Act::Close { client, how }),
        2 => moves.prop_map(|(client, at, how)| Act::Move { client, at, how }),
        1 => client().prop_map(|client| Act::Read { client }),
        1 => client().prop_map(|client| Act::StopReading { client }),
        1 => (client(), span(2_000)).prop_map(|(client, every)| Act::ReadSlowly { client, every }),
        1 => somewhere(instances).prop_map(|at| Act::Storm { at }),
        1 => span(5_000).prop_map(Act::BlindBalancer),
        4 => (client(), topic_act()).prop_map(|(client, does)| Act::OfTopic { client, does }),
    ]
}

/// What is handed in beside pushes.
fn push_act(instances: usize) -> impl Strategy<Value = Act> {
    let kick = (host(instances), user(), 0..PUSHES);
    prop_oneof![
        (host(instances), push_name()).prop_map(|(at, name)| Act::Repeat { at, name }),
        (host(instances), user()).prop_map(|(at, user)| Act::Where { at, user }),
        (host(instances), log_of()).prop_map(|(at, of)| Act::ReadLog { at, of }),
        (host(instances), log_of()).prop_map(|(at, of)| Act::DeleteLog { at, of }),
        host(instances).prop_map(|at| Act::Instances { at }),
        enrol(instances),
        kick.prop_map(|(at, user, kick)| Act::Kick {
            at,
            to: To::User(user),
            name: format!("k{kick}"),
        }),
    ]
}

fn fault(instances: usize) -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => instance_fault(instances),
        2 => next_trip(instances),
        2 => redis().prop_map(Act::Redis),
        3 => link_fault(instances),
    ]
}

fn instance_fault(instances: usize) -> impl Strategy<Value = Act> {
    let how_killed = select(&[HowKilled::Reset, HowKilled::Silent][..]);
    let drain = (host(instances), span(500), span(2_000));
    let deploy = (span(500), span(2_000), span(4_000));
    prop_oneof![
        (host(instances), span(15_000)).prop_map(|(host, span)| Act::Pause { host, span }),
        (host(instances), how_killed).prop_map(|(host, how)| Act::Kill { host, how }),
        host(instances).prop_map(|host| Act::Restart {
            host,
            address: NewAddress::Same
        }),
        drain.prop_map(|(host, delay, spread)| Act::Drain {
            host,
            delay,
            spread
        }),
        deploy.prop_map(|(delay, spread, deadline)| Act::Deploy {
            delay,
            spread,
            deadline
        }),
        (host(instances), clock_step(60_000))
            .prop_map(|(host, step)| Act::StepClock { host, step }),
    ]
}

fn next_trip(instances: usize) -> impl Strategy<Value = Act> {
    let operations = [
        OperationKind::Any,
        OperationKind::Register,
        OperationKind::Unregister,
        OperationKind::Lookup,
        OperationKind::Renew,
    ];
    let trips = [
        TripFault::RequestLost,
        TripFault::ReplyLost,
        TripFault::Late,
        TripFault::ReplyLate,
        TripFault::Torn,
        TripFault::Stray,
        TripFault::Refused(ErrorReply::OutOfMemory),
    ];
    let trip = (
        host(instances),
        select(operations.to_vec()),
        select(trips.to_vec()),
    );
    trip.prop_map(|(host, operation, fault)| Act::NextTrip {
        host,
        operation,
        fault,
    })
}

/// What may happen to the directory as a whole.
fn redis() -> impl Strategy<Value = RedisAct> {
    let former = proptest::option::of(span(3_000));
    prop_oneof![
        span(500).prop_map(RedisAct::Latency),
        Just(RedisAct::Up),
        Just(RedisAct::Down),
        Just(RedisAct::FlushScripts),
        Just(RedisAct::Save),
        Just(RedisAct::Restart),
        Just(RedisAct::RestartEmpty),
        (span(3_000), former).prop_map(|(lost, former)| RedisAct::Failover { lost, former }),
        (select(&ErrorReply::ALL[..]), span(5_000))
            .prop_map(|(error, span)| RedisAct::Refuse(error, span)),
        user().prop_map(RedisAct::EvictRows),
        Just(RedisAct::EvictLeases),
        clock_step(15_000).prop_map(RedisAct::Clock),
    ]
}

/// A single instance has no links: then it is only their pace that changes.
fn link_fault(instances: usize) -> BoxedStrategy<Act> {
    let latency = span(500).prop_map(Act::LinkLatency);
    if instances == 1 {
        return latency.boxed();
    }
    let two = move || {
        (0..instances, 1..instances)
            .prop_map(move |(from, next)| (Host(from), Host((from + next) % instances)))
    };
    let way = move || (two(), any::<bool>());
    prop_oneof![
        latency,
        two().prop_map(|(one, other)| Act::Reset { one, other }),
        way().prop_map(|((from, to), both)| Act::Mend { from, to, both }),
        way().prop_map(|((from, to), both)| Act::Cut { from, to, both }),
        way().prop_map(|((from, to), both)| Act::Clog { from, to, both }),
        way().prop_map(|((from, to), both)| Act::HalfOpen { from, to, both }),
        (two(), span(5_000)).prop_map(|((from, to), span)| Act::RefuseDials { from, to, span }),
        (two(), select(PeerLie::ALL.to_vec()), span(5_000)).prop_map(|((from, to), lie, span)| {
            Act::Lie {
                from,
                to,
                lie,
                span,
            }
        }),
        (two(), 0..5).prop_map(|((at, other), says)| Act::Stranger {
            at,
            says: match says {
                0 => StrangerWords::Nonsense,
                1 => StrangerWords::Misdirected(other),
                2 => StrangerWords::Replayed(other),
                3 => StrangerWords::Posing(other),
                _ => StrangerWords::Unproven(other),
            },
        }),
    ]
    .boxed()
}

/// Something happens in the middle of a push, or of a connect.
fn on(instances: usize) -> impl Strategy<Value = Act> {
    let moment = prop_oneof![
        (select(Moment::OF_PUSH.to_vec()), push_name()),
        (select(Moment::OF_CLIENT.to_vec()), client()),
    ];
    let act = prop_oneof![
        push(instances),
        client_act(instances),
        instance_fault(instances),
    ];
    let after = (0..5_000_u64).prop_map(Duration::from_micros);
    (moment, after, act).prop_map(|((moment, of), after, act)| Act::On {
        moment,
        of,
        after,
        act: Box::new(act),
    })
}

/// An instance, or the balancer's choice, or all of them.
fn somewhere(instances: usize) -> impl Strategy<Value = Option<Host>> {
    proptest::option::of(host(instances))
}

fn audience() -> impl Strategy<Value = To> {
    prop_oneof![
        4 => user().prop_map(To::User),
        1 => Just(To::Users(USERS.map(ToOwned::to_owned).to_vec())),
        1 => Just(To::Everyone),
        1 => topics(),
    ]
}

/// Members of a topic or two, perhaps but for a client.
fn topics() -> impl Strategy<Value = To> {
    (topic(), any::<bool>(), proptest::option::of(client())).prop_map(|(topic, both, except)| {
        let topics = match both {
            true => TOPICS.map(ToOwned::to_owned).to_vec(),
            false => vec![topic],
        };
        To::Topics { topics, except }
    })
}

fn topic() -> impl Strategy<Value = String> {
    select(&TOPICS[..]).prop_map(ToOwned::to_owned)
}

/// What a client has to do with topics.
fn topic_act() -> impl Strategy<Value = TopicAct> {
    prop_oneof![
        1 => Just(TopicAct::Claim(vec!["*".to_owned()])),
        1 => topic().prop_map(|topic| TopicAct::Claim(vec![topic])),
        3 => topic().prop_map(TopicAct::Join),
        2 => topic().prop_map(TopicAct::Watch),
        2 => (topic(), 0..9_u32).prop_map(|(topic, history)| TopicAct::Follow { topic, history }),
        1 => (topic(), 1..9_u32).prop_map(|(topic, nth)| TopicAct::Confirm { topic, nth }),
        2 => topic().prop_map(TopicAct::Leave),
    ]
}

/// An application has the terminals of a user join a topic, or leave it.
fn enrol(instances: usize) -> impl Strategy<Value = Act> {
    let how = select(&[Enrolment::Join, Enrolment::Leave][..]);
    let what = (host(instances), user(), topic(), 0..PUSHES, how);
    (what, any::<bool>()).prop_map(|((at, user, topic, name, how), durable)| Act::Enrol {
        at,
        user,
        topic,
        name: format!("e{name}"),
        how,
        durable,
    })
}

fn how_closed() -> impl Strategy<Value = HowClosed> {
    select(&[HowClosed::Clean, HowClosed::Sudden, HowClosed::Silent][..])
}

fn clock_step(most: u64) -> impl Strategy<Value = ClockStep> {
    (span(most), any::<bool>()).prop_map(|(by, back)| match back {
        false => ClockStep::Forward(by),
        true => ClockStep::Back(by),
    })
}

fn host(instances: usize) -> impl Strategy<Value = Host> + Clone {
    (0..instances).prop_map(Host)
}

fn client() -> impl Strategy<Value = String> {
    (1..=CLIENTS).prop_map(|client| format!("c{client}"))
}

fn user() -> impl Strategy<Value = String> {
    select(&USERS[..]).prop_map(ToOwned::to_owned)
}

fn log_of() -> impl Strategy<Value = LogOf> {
    prop_oneof![user().prop_map(LogOf::User), topic().prop_map(LogOf::Topic)]
}

fn span(most: u64) -> impl Strategy<Value = Duration> {
    (1..=most).prop_map(Duration::from_millis)
}

fn push_name() -> impl Strategy<Value = String> {
    (0..PUSHES).prop_map(|push| format!("m{push}"))
}

/// The schedule of these items, after which everything heals, must converge, and ends.
fn healed(seed: u64, instances: usize, mut items: Vec<Item>) -> Schedule {
    items.sort_by_key(|item| item.at);
    let mut put = |at, act| items.push(Item { at, act });
    put(HEAL, Act::Heal);
    for host in (0..instances).map(Host) {
        let address = NewAddress::Same;
        put(HEAL, Act::Restart { host, address });
    }
    put(CONVERGED, Act::ExpectConverged);
    put(LEAVE, Act::AllLeave);
    put(AT_REST, Act::ExpectAtRest);
    Schedule {
        seed,
        instances,
        lease: Duration::from_secs(10),
        reconnect: None,
        tight: None,
        remembers: None,
        broadcast_rate: None,
        log: LogSettings::DEFAULT,
        flaw: None,
        expects: None,
        items,
    }
}
