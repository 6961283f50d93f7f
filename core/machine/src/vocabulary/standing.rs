//! What the rows of an instance are worth, and who may have terminals that no row names.

use crate::id::{Epoch, InstanceId};
use crate::vocabulary::service::Service;

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
    /// It was alive when it was last read, and its lease has expired since: a view that was long on its way
    /// shows leases that may have been renewed.
    Outdated,
    /// The view does not know it, or read it as dead: it must be looked up before its rows are called dead.
    Unknown,
}

/// Who may have terminals that no row names, for a push that began at some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Doubt {
    /// Those who were doubtful at some moment since, in the order of their ids.
    pub(crate) instances: Vec<InstanceId>,
    pub(crate) sight: Sight,
}

/// Whether it is known who there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// It was asked since.
    Clear,
    /// It was asked before.
    Earlier,
    /// It is in doubt: nobody could be asked for a row that is missing.
    Blind,
}

/// A sign of an instance's life beside its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// There is a link to it.
    Linked,
    /// It says how the directory serves it.
    Says(Service),
    /// It goes: its lease ends, and that means nothing.
    Goodbye,
}
