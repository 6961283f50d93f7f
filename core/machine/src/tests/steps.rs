//! What may happen to an instance, and how often.

#![expect(
    clippy::disallowed_types,
    reason = "the macro that chooses among strategies shares them"
)]

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::event::Life;
use crate::vocabulary::service::Service;

/// Something that happens to the instance. Numbers choose among what there is.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Accept {
        user: u8,
        expires: Option<u16>,
    },
    AcceptStranger,
    Opened {
        connection: usize,
    },
    Authenticated {
        connection: usize,
        user: u8,
    },
    Heard {
        connection: usize,
        message: bool,
    },
    Written {
        connection: usize,
    },
    Probed {
        connection: usize,
        life: Life,
    },
    Closed {
        connection: usize,
        violation: bool,
    },
    Stray {
        slot: u32,
        generation: u32,
        kind: u8,
    },
    DirectoryUp,
    DirectoryDown,
    Serve,
    Link,
    Answer {
        trip: usize,
        how: Answering,
    },
    Plant {
        instance: u8,
        epoch: u8,
        state: u8,
        user: u8,
        connection: u8,
    },
    Wipe,
    AcceptLink,
    LinkUp {
        link: usize,
    },
    Prove {
        link: usize,
        peer: u8,
        honest: bool,
    },
    Bytes {
        link: usize,
        bytes: Vec<u8>,
    },
    Say {
        link: usize,
        messages: Vec<PeerSays>,
    },
    LinkWritten {
        link: usize,
    },
    LinkDown {
        link: usize,
        not_me: bool,
    },
    Push {
        id: u8,
        to: PushedTo,
        kick: bool,
        bytes: usize,
        millis: u16,
    },
    Connections {
        user: u8,
    },
    Log {
        user: u8,
        delete: bool,
    },
    Instances,
    Drain {
        delay: u16,
        spread: u16,
    },
    Wait {
        millis: u32,
    },
}

#[derive(Clone, Debug)]
pub(super) enum Answering {
    Truly,
    Lost,
    Short,
    NotPrimary,
    Refused,
    Wrongly(u8),
}

#[derive(Clone, Debug)]
pub(super) enum PushedTo {
    User(u8),
    Some(u8, Vec<usize>),
    Users(Vec<u8>),
    Everyone,
}

#[derive(Clone, Debug)]
pub(super) enum PeerSays {
    Deliver {
        delivery: u8,
        push: u8,
        user: u8,
        named: Vec<usize>,
        ask: u8,
        millis: u16,
        kick: bool,
    },
    Everyone {
        delivery: u8,
        push: u8,
    },
    Outcomes {
        delivery: u8,
        connections: Vec<(u8, usize, u8)>,
    },
    Counts {
        delivery: u8,
        number: u64,
    },
    Heartbeat {
        directory: Service,
    },
    Goodbye,
    Proof,
}

/// Any step, the usual ones more often.
pub(super) fn step() -> impl Strategy<Value = Step> {
    let any_link = 0..4_usize;
    prop_oneof![
        6 => (any::<u8>(), proptest::option::weighted(0.1, any::<u16>()))
            .prop_map(|(user, expires)| Step::Accept { user, expires }),
        2 => Just(Step::AcceptStranger),
        6 => (0..20_usize).prop_map(|connection| Step::Opened { connection }),
        2 => (0..20_usize, 0..4_u8)
            .prop_map(|(connection, user)| Step::Authenticated { connection, user }),
        2 => (0..20_usize, any::<bool>())
            .prop_map(|(connection, message)| Step::Heard { connection, message }),
        8 => (0..20_usize).prop_map(|connection| Step::Written { connection }),
        2 => (0..20_usize, select(vec![Life::Shown, Life::Answered, Life::NotShown]))
            .prop_map(|(connection, life)| Step::Probed { connection, life }),
        3 => (0..20_usize, any::<bool>())
            .prop_map(|(connection, violation)| Step::Closed { connection, violation }),
        1 => (0..9_u32, 0..9_u32, any::<u8>())
            .prop_map(|(slot, generation, kind)| Step::Stray { slot, generation, kind }),
        2 => Just(Step::DirectoryUp),
        1 => Just(Step::DirectoryDown),
        6 => Just(Step::Link),
        16 => Just(Step::Serve),
        24 => (Just(0_usize), answering()).prop_map(|(trip, how)| Step::Answer { trip, how }),
        4 => (any::<u8>(), any::<u8>(), any::<u8>(), any::<u8>(), any::<u8>()).prop_map(
            |(instance, epoch, state, user, connection)|
                Step::Plant { instance, epoch, state, user, connection }
        ),
        1 => Just(Step::Wipe),
        3 => Just(Step::AcceptLink),
        4 => any_link.clone().prop_map(|link| Step::LinkUp { link }),
        10 => (any_link.clone(), any::<u8>(), proptest::bool::weighted(0.9))
            .prop_map(|(link, peer, honest)| Step::Prove { link, peer, honest }),
        1 => (any_link.clone(), vec(any::<u8>(), 0..20))
            .prop_map(|(link, bytes)| Step::Bytes { link, bytes }),
        8 => (any_link.clone(), vec(said(), 1..4))
            .prop_map(|(link, messages)| Step::Say { link, messages }),
        6 => any_link.clone().prop_map(|link| Step::LinkWritten { link }),
        2 => (any_link, any::<bool>()).prop_map(|(link, not_me)| Step::LinkDown { link, not_me }),
        12 => (any::<u8>(), to(), proptest::bool::weighted(0.1), 0..45_usize, 5..4000_u16).prop_map(
            |(id, to, kick, bytes, millis)| Step::Push { id, to, kick, bytes, millis }
        ),
        1 => any::<u8>().prop_map(|user| Step::Connections { user }),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(user, delete)| Step::Log { user, delete }),
        1 => Just(Step::Instances),
        1 => (0..2000_u16, 0..2000_u16).prop_map(|(delay, spread)| Step::Drain { delay, spread }),
        12 => prop_oneof![4 => 0..50_u32, 3 => 0..1500_u32, 1 => 0..40_000_u32]
            .prop_map(|millis| Step::Wait { millis }),
    ]
}

fn answering() -> impl Strategy<Value = Answering> {
    prop_oneof![
        20 => Just(Answering::Truly),
        1 => Just(Answering::Lost),
        1 => Just(Answering::Short),
        1 => Just(Answering::NotPrimary),
        1 => Just(Answering::Refused),
        1 => any::<u8>().prop_map(Answering::Wrongly),
    ]
}

fn to() -> impl Strategy<Value = PushedTo> {
    prop_oneof![
        5 => any::<u8>().prop_map(PushedTo::User),
        1 => (any::<u8>(), vec(0..9_usize, 0..3)).prop_map(|(user, some)| PushedTo::Some(user, some)),
        2 => vec(any::<u8>(), 0..5).prop_map(PushedTo::Users),
        2 => Just(PushedTo::Everyone),
    ]
}

fn said() -> impl Strategy<Value = PeerSays> {
    let small = || 0..24_u8;
    prop_oneof![
        4 => (small(), any::<u8>(), any::<u8>(), vec(0..9_usize, 0..4), any::<u8>(), 0..3000_u16,
              proptest::bool::weighted(0.1))
            .prop_map(|(delivery, push, user, named, ask, millis, kick)|
                PeerSays::Deliver { delivery, push, user, named, ask, millis, kick }),
        1 => (small(), any::<u8>()).prop_map(|(delivery, push)| PeerSays::Everyone { delivery, push }),
        6 => (small(), vec((any::<u8>(), 0..9_usize, any::<u8>()), 0..4))
            .prop_map(|(delivery, connections)| PeerSays::Outcomes { delivery, connections }),
        1 => (small(), any::<u64>()).prop_map(|(delivery, number)| PeerSays::Counts { delivery, number }),
        2 => select(vec![Service::Full, Service::Behind, Service::None, Service::Vacant])
            .prop_map(|directory| PeerSays::Heartbeat { directory }),
        1 => Just(PeerSays::Goodbye),
        1 => Just(PeerSays::Proof),
    ]
}
