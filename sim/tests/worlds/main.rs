//! What runs many worlds: the tests are one program, so that they share the processors.

mod bugs;
mod forks;
mod noise;
mod quick;
mod topics;

/// Of so many seeds all are tried by optimised tests, which `.ci/full` has, and a third by others.
const fn seeds(all: u64) -> u64 {
    if cfg!(debug_assertions) { all / 3 } else { all }
}
