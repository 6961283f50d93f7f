//! Schedules for [proptest]: structured, so that what fails shrinks to fewer and simpler items.
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

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::schedule::{
    Act, ErrorReply, Host, HowClosed, HowKilled, Item, NewAddress, OperationKind, Schedule, To,
    TripFault,
};

const CLIENTS: u32 = 5;
const PUSHES: u32 = 30;
const USERS: [&str; 3] = ["alice", "bob", "carol"];
/// Items that are drawn happen between these moments, in milliseconds.
const ITEMS: (u64, u64) = (1_000, 20_000);
/// Everything is well again, and clients that are gone come back no more.
const HEAL: Duration = Duration::from_secs(21);
/// The directory and the connections agree: terminals that went without a sign have been noticed.
const CONVERGED: Duration = Duration::from_secs(80);
/// Clients leave.
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
        6 => connect(instances),
        6 => push(instances),
        2 => (client(), select(&[HowClosed::Clean, HowClosed::Sudden, HowClosed::Silent][..]))
            .prop_map(|(client, how)| Act::Close { client, how }),
        1 => (host(instances), 0..PUSHES)
            .prop_map(|(at, push)| Act::Repeat { at, name: name(push) }),
        4 => fault(instances),
    ]
}

fn connect(instances: usize) -> impl Strategy<Value = Act> {
    let at = proptest::option::of(host(instances));
    (client(), at, user()).prop_map(|(client, at, user)| Act::Connect {
        client,
        at,
        user,
        token: None,
    })
}

fn push(instances: usize) -> impl Strategy<Value = Act> {
    let to = prop_oneof![
        4 => user().prop_map(To::User),
        1 => Just(To::Users(USERS.map(ToOwned::to_owned).to_vec())),
        1 => Just(To::Everyone),
    ];
    (host(instances), to, 0..PUSHES).prop_map(|(at, to, push)| Act::Push {
        at,
        to,
        name: name(push),
    })
}

fn fault(instances: usize) -> impl Strategy<Value = Act> {
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
        TripFault::Torn,
        TripFault::Stray,
        TripFault::Refused(ErrorReply::OutOfMemory),
    ];
    let next_trip = (
        host(instances),
        select(operations.to_vec()),
        select(trips.to_vec()),
    );
    let links = (host(instances), host(instances));
    prop_oneof![
        (host(instances), span(15_000)).prop_map(|(host, span)| Act::Pause { host, span }),
        (
            host(instances),
            select(&[HowKilled::Reset, HowKilled::Silent][..])
        )
            .prop_map(|(host, how)| Act::Kill { host, how }),
        host(instances).prop_map(|host| Act::Restart {
            host,
            address: NewAddress::Same
        }),
        (host(instances), span(500), span(2_000)).prop_map(|(host, delay, spread)| Act::Drain {
            host,
            delay,
            spread
        }),
        next_trip.prop_map(|(host, operation, fault)| Act::NextTrip {
            host,
            operation,
            fault
        }),
        links.clone().prop_map(|(from, to)| Act::Cut {
            from,
            to,
            both: false
        }),
        links.prop_map(|(one, other)| Act::Reset { one, other }),
        span(500).prop_map(Act::LinkLatency),
        client().prop_map(|client| Act::StopReading { client }),
    ]
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

fn span(most: u64) -> impl Strategy<Value = Duration> {
    (1..=most).prop_map(Duration::from_millis)
}

fn name(push: u32) -> String {
    format!("m{push}")
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
        flaw: None,
        expects: None,
        items,
    }
}
