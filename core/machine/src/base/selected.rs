//! Connections that are asked for one after another.

use crate::id::ConnectionId;

/// Connections in a form that is quick to ask for how many they are.
#[derive(Debug)]
pub(crate) enum Selected<'a> {
    /// Every connection is selected.
    All,
    /// No more than [`FEW`].
    Few(&'a [ConnectionId]),
    /// More than [`FEW`], sorted, to be searched by halves.
    Many(Vec<ConnectionId>),
}

/// Up to this many connections a look at each is as quick as a search, and costs no memory.
pub(crate) const FEW: usize = 16;

impl<'a> Selected<'a> {
    /// Selects these connections and no others.
    pub(crate) fn only(connections: &'a [ConnectionId]) -> Self {
        if connections.len() <= FEW {
            return Self::Few(connections);
        }
        let mut sorted = connections.to_vec();
        sorted.sort_unstable();
        Self::Many(sorted)
    }

    /// Whether a connection is among them.
    pub(crate) fn contains(&self, connection: ConnectionId) -> bool {
        match self {
            Self::All => true,
            Self::Few(connections) => connections.contains(&connection),
            Self::Many(sorted) => sorted.binary_search(&connection).is_ok(),
        }
    }
}
