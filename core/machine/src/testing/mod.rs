//! For tests: what executes an instance's commands, and what tests of one instance need in addition.

pub(crate) mod cluster;
pub(crate) mod rig;
