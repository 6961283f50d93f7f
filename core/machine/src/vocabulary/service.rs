//! How the directory serves an instance, as instances tell each other.

use serde::{Deserialize, Serialize};

/// How the directory serves an instance, as far as it can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Service {
    /// It holds its lease, and what its rows lack its lease says.
    Full,
    /// It holds its lease, and rows of it are missing of which its lease does not say so yet: it is to
    /// be asked by key.
    Behind,
    /// It holds no lease: it is to be asked by key.
    None,
    /// It holds no lease, has no terminals and takes none: nobody is to be asked for.
    Vacant,
}
