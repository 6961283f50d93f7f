//! One instance that is fed with anything: legal events, illegal ones, wrong answers, nonsense.

use proptest::collection::vec;
use proptest::prelude::*;

use super::feeder::Feeder;
use super::steps::{Answering, PushedTo, Step, step};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// H36, H46: nothing panics, each call is answered once and in time, each connection is
    /// forgotten once, every queue keeps its limit, no call is busy for ever, and when everybody
    /// has gone nothing is left.
    #[test]
    fn an_instance_survives_anything_and_comes_to_rest(steps in vec(step(), 1..120)) {
        let mut feeder = Feeder::new();
        for step in &steps {
            feeder.take(step);
        }
        feeder.end();
    }

    /// The same calls give the same commands and the same fingerprints; statistics decide nothing.
    #[test]
    fn equal_fingerprints_behave_equally(
        before in vec(step(), 1..60),
        after in vec(step(), 1..60),
    ) {
        let (mut one, mut other) = (Feeder::new(), Feeder::new());
        for step in &before {
            one.take(step);
            other.take(step);
        }
        prop_assert_eq!(one.fingerprint(), other.fingerprint());
        let mut clone = one.clone();
        clone.falsify_statistics();
        prop_assert_eq!(one.fingerprint(), clone.fingerprint());
        for step in &after {
            for feeder in [&mut one, &mut other, &mut clone] {
                feeder.take(step);
            }
            prop_assert_eq!(one.fingerprint(), other.fingerprint());
            prop_assert_eq!(one.fingerprint(), clone.fingerprint());
        }
        prop_assert_eq!(one.commands(), other.commands());
        prop_assert_eq!(one.commands(), clone.commands());
    }
}

#[test]
fn an_instance_that_nothing_happens_to_comes_to_rest() {
    let mut feeder = Feeder::new();
    feeder.take(&Step::Wait { millis: 100_000 });
    feeder.end();
}

/// H16: a push whose directory goes at the end of a drain leaves nothing behind it.
#[test]
fn an_instance_that_has_ended_sends_nothing() {
    let push = |to| Step::Push {
        id: 0,
        to,
        kick: false,
        bytes: 0,
        millis: 10,
    };
    let truly = || Step::Answer {
        trip: 0,
        how: Answering::Truly,
    };
    let mut feeder = Feeder::new();
    for step in [
        Step::Accept {
            user: 27,
            expires: None,
        },
        Step::Wait { millis: 1 },
        Step::Plant {
            instance: 1,
            epoch: 0,
            state: 0,
            user: 0,
            connection: 0,
        },
        push(PushedTo::Everyone),
        Step::Drain {
            delay: 0,
            spread: 0,
        },
        Step::Serve,
        Step::DirectoryUp,
        push(PushedTo::User(0)),
        truly(),
        truly(),
        Step::Answer {
            trip: 0,
            how: Answering::Refused,
        },
        push(PushedTo::User(71)),
        Step::AcceptLink,
        Step::Serve,
    ] {
        feeder.take(&step);
    }
    feeder.end();
}
