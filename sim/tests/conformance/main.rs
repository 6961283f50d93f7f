//! The model of Redis beside a real `redis-server`: the same operations, the same faults, equal
//! answers, equal contents at the end.

mod both;
mod clock;
mod errors;
mod real;
mod step;
mod worlds;

use std::cell::RefCell;

use proptest::test_runner::{Config, TestRunner};

use both::Both;

/// Sequences of a run are a quarter of `PROPTEST_CASES`: each of them starts servers.
const SHARE: u32 = 4;

/// How long a failing sequence is made smaller, in milliseconds.
const SHRINKING: u32 = 120_000;

#[test]
fn model_and_server_answer_the_same_whatever_happens_to_both() {
    let both = RefCell::new(Both::start());
    let config = Config::default();
    let config = Config {
        cases: config.cases.div_ceil(SHARE),
        max_shrink_time: SHRINKING,
        failure_persistence: None,
        ..config
    };
    TestRunner::new(config)
        .run(&step::steps(), |steps| {
            let both = &mut *both.borrow_mut();
            both.begin();
            for step in &steps {
                both.step(step);
            }
            both.compare_contents();
            both.end();
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}
