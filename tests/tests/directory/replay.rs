//! Random sequences of operations, replayed in memory and on Redis.

use std::cell::RefCell;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use switchboard_core::directory::Operation;
use switchboard_tests::redis::any;

use crate::pair::{Pair, TICK};

/// H28, H29, H30, H31: what holds for the directory in memory, on which everything else is tested,
/// holds for Redis.
#[test]
fn redis_and_memory_answer_the_same() {
    let pair = RefCell::new(Pair::start());
    let config = Config {
        cases: 256,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&prop::collection::vec(step(), 1..120), |steps| {
            let pair = &mut *pair.borrow_mut();
            pair.wipe();
            for step in steps {
                match step {
                    ReplayStep::Do(operation) => pair.execute_any(&operation),
                    ReplayStep::Pass(span) => pair.pass(span),
                }
            }
            for operation in any::reading_all() {
                pair.execute_any(&operation);
            }
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

#[derive(Clone, Debug)]
enum ReplayStep {
    Do(Operation),
    Pass(Duration),
}

fn step() -> impl Strategy<Value = ReplayStep> {
    prop_oneof![
        10 => any::operation().prop_map(ReplayStep::Do),
        1 => select(vec![TICK, TICK * 3, TICK * 12]).prop_map(ReplayStep::Pass),
    ]
}
