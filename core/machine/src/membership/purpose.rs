//! What this wing asks the directory for, and the order in which answers are judged.

use crate::directory::Lease;
use crate::id::{ConnectionKey, Epoch};

/// What an operation is for. The numbers go into fingerprints, and differ from those of the other
/// wing that asks ([`publish::Purpose`](crate::publish::purpose::Purpose)).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[repr(isize)]
pub(crate) enum Purpose {
    /// A connection's row.
    Register {
        connection: ConnectionKey,
        epoch: Epoch,
    } = 0,
    /// The end of a connection's row.
    Unregister { connection: ConnectionKey } = 1,
    /// The view.
    View = 5,
    /// A lease to take.
    Claim { lease: Lease } = 6,
    /// A lease to extend.
    Renew { lease: Lease } = 7,
    /// The end of the lease.
    Release = 8,
    /// The evidence at the end of a trip: the lease was held under this epoch when it was asked.
    OwnLease { epoch: Epoch } = 9,
}

/// The order in which the answers of a trip are taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Judged {
    /// The own lease: whether the directory has lost anything.
    First,
    /// The others' leases, in the light of that.
    Second,
    /// Rows, in the light of both.
    Last,
}

/// A purpose, which says when the answer is to be judged.
pub(crate) trait Judging {
    fn judged(&self) -> Judged;
}

impl Judging for Purpose {
    fn judged(&self) -> Judged {
        match self {
            Self::Claim { .. } | Self::Renew { .. } | Self::Release | Self::OwnLease { .. } => {
                Judged::First
            }
            Self::View => Judged::Second,
            Self::Register { .. } | Self::Unregister { .. } => Judged::Last,
        }
    }
}
