//! Other instances: which link serves, what waits, what is said.

pub mod alike;
pub(crate) mod link;
pub(crate) mod peer;
pub(crate) mod wire;
