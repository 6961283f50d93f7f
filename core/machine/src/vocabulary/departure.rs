//! How far an instance is with its end, as its lease shows it.

/// How far the end of an instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    /// It was not ordered.
    None,
    /// It was ordered. The lease says so, and is renewed while terminals are sent away.
    Announced,
    /// Terminals have gone, and the lease is to be given back.
    Releasing,
    /// The instance has ended: it asks the directory for nothing.
    Done,
}
