//! What is done to both.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use switchboard_core::directory::Operation;
use switchboard_core::key::Key;
use switchboard_sim::schedule::{ClockStep, ErrorReply};
use switchboard_test_redis::any::{any_key, operation};

/// Directory links that are open at a time.
pub(crate) const LINKS: usize = 3;

/// Far longer than a test runs, and no multiple of [`TICK`]: no deadline falls on a moment at which
/// a test looks, so that the real time that passes decides nothing.
pub(crate) const LEASE: Duration = Duration::from_secs(1_000);

/// As [`LEASE`]: no multiple of [`TICK`].
pub(crate) const ROW_EXPIRY: Duration = Duration::from_secs(7_000);

/// As [`LEASE`]: no multiple of [`TICK`].
pub(crate) const REPEAT_MEMORY: Duration = Duration::from_secs(1_000);

/// As [`LEASE`]: no multiple of [`TICK`], nor is its half.
pub(crate) const USED_LOG: Duration = Duration::from_secs(10_000);

/// As [`USED_LOG`].
pub(crate) const UNUSED_LOG: Duration = Duration::from_secs(4_000);

/// What the time that passes, and by which the clock jumps, is a multiple of.
const TICK: Duration = Duration::from_secs(300);

/// Operations that one link sends as one pipeline.
#[derive(Clone, Debug)]
pub(crate) struct Trip {
    pub(crate) link: usize,
    pub(crate) operations: Vec<Operation>,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A round trip.
    Trip(Trip),
    /// A connection ends when so many operations of a pipeline have been sent, and a part of one more.
    Torn {
        trip: Trip,
        sent: usize,
        how: Torn,
    },
    /// A link is opened anew, and what was sent over the old one comes when the strays come.
    Held(Trip),
    /// What was held comes.
    Strays,
    RestartEmpty,
    Save,
    Restart,
    FlushScripts,
    /// A server that answers an error, and round trips meanwhile.
    Refused(ErrorReply, Vec<Trip>),
    EvictRows(Key),
    EvictLeases,
    Pass(Duration),
    Clock(ClockStep),
    /// A replica takes over that has nothing of these round trips.
    Failover {
        lost: Vec<Trip>,
        former: Option<FormerPrimary>,
    },
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Torn {
    /// By the client.
    Closed,
    /// By the server, with `CLIENT KILL`.
    Killed,
}

/// A former primary that goes on serving.
#[derive(Clone, Debug)]
pub(crate) struct FormerPrimary {
    /// At it, and at the new one by those who have a new link.
    pub(crate) meanwhile: Vec<Trip>,
    /// At it once more, by each of its links, when it is a replica.
    pub(crate) demoted: Vec<Operation>,
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 1..40)
}

fn step() -> impl Strategy<Value = Step> {
    let refused = select(vec![
        ErrorReply::ReadOnly,
        ErrorReply::NoReplicas,
        ErrorReply::OutOfMemory,
        ErrorReply::Misconfigured,
        ErrorReply::Busy,
        ErrorReply::MasterDown,
    ]);
    let ticks = || select(vec![TICK, TICK * 3, TICK * 12]);
    prop_oneof![
        40 => trip().prop_map(Step::Trip),
        6 => (trip(), any::<prop::sample::Index>(), torn()).prop_map(|(trip, sent, how)| {
            let sent = sent.index(trip.operations.len() + 1);
            Step::Torn { trip, sent, how }
        }),
        4 => trip().prop_map(Step::Held),
        3 => Just(Step::Strays),
        1 => Just(Step::RestartEmpty),
        2 => Just(Step::Save),
        2 => Just(Step::Restart),
        3 => Just(Step::FlushScripts),
        4 => (refused, trips()).prop_map(|(error, trips)| Step::Refused(error, trips)),
        3 => any_key().prop_map(Step::EvictRows),
        1 => Just(Step::EvictLeases),
        6 => ticks().prop_map(Step::Pass),
        2 => ticks().prop_map(|span| Step::Clock(ClockStep::Forward(span))),
        2 => ticks().prop_map(|span| Step::Clock(ClockStep::Back(span))),
        1 => (trips(), prop::option::of(former())).prop_map(|(lost, former)| Step::Failover {
            lost,
            former
        }),
    ]
}

fn trip() -> impl Strategy<Value = Trip> {
    (0..LINKS, vec(operation(), 1..6)).prop_map(|(link, operations)| Trip { link, operations })
}

fn trips() -> impl Strategy<Value = Vec<Trip>> {
    vec(trip(), 1..6)
}

fn torn() -> impl Strategy<Value = Torn> {
    select(vec![Torn::Closed, Torn::Killed])
}

fn former() -> impl Strategy<Value = FormerPrimary> {
    (trips(), vec(operation(), 1..6))
        .prop_map(|(meanwhile, demoted)| FormerPrimary { meanwhile, demoted })
}
