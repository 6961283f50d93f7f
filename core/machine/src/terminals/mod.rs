//! The terminals that are connected here: their lives, their table, what waits for each.

pub(crate) mod connection;
pub(crate) mod outbound;
pub(crate) mod registry;

use crate::base::rng::SeededHash;
use crate::id::ConnectionKey;

use registry::Registry;

/// The terminals of this instance.
#[derive(Clone, Debug)]
pub(crate) struct Terminals {
    pub(crate) registry: Registry,
    /// Connections with frames to write at the end of the turn.
    pub(crate) unflushed: Vec<ConnectionKey>,
}

impl Terminals {
    pub(crate) fn new(hash: &SeededHash) -> Self {
        Self {
            registry: Registry::new(hash),
            unflushed: Vec::new(),
        }
    }
}
