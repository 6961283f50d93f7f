//! Black-box harness.

pub mod redis;
