//! For tests: what executes an instance's commands, and what tests of one instance need in addition.
//!
//! It is compiled for the tests of this package alone. It looks into wings, which a feature would open to
//! all who build the package, the simulator among them; and cargo gives a feature to everything that is built in
//! the same invocation. Those outside execute commands as a driver does, on the public API.

pub(crate) mod cluster;
pub(crate) mod rig;
