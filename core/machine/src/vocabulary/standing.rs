//! What the rows of an instance are worth.

use crate::id::Epoch;

/// What the view says of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It holds a lease, or may well hold one.
    Live {
        /// Its rows of a lower epoch are dead.
        floor: Epoch,
        /// It may have connections that no row names.
        doubtful: bool,
    },
    /// Its lease has run out, and all its rows with it.
    Dead,
    /// The view does not know it: it must be looked up before it is called dead.
    Unknown,
}
