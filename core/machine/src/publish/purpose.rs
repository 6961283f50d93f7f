//! What this wing asks the directory for.

use crate::id::CallId;
use crate::key::Key;
use crate::membership::purpose::{Judged, Judging};

/// What an operation is for. The numbers go into fingerprints, and differ from those of the other
/// wing that asks ([`membership::Purpose`](crate::membership::purpose::Purpose)).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[repr(isize)]
pub(crate) enum Purpose {
    /// The pushes that wait for this key's rows.
    Lookup { key: Key } = 2,
    /// A list of this key's connections.
    Connections { call: CallId, key: Key } = 3,
    /// The end of a row that is dead or gone.
    RemoveRow = 4,
}

impl Judging for Purpose {
    fn judged(&self) -> Judged {
        match self {
            Self::Lookup { .. } | Self::Connections { .. } | Self::RemoveRow => Judged::Last,
        }
    }
}
