//! For tests: executors of commands.

pub(crate) mod cluster;
pub(crate) mod rig;
