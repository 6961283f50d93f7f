//! What the directory may lack of this instance.

use crate::time::Instant;

/// What may be missing from the directory until rows are written again. It outlives a settling
/// that is interrupted: the next claim may well replace what this one wrote, and the rows that this
/// one had not come to are still not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Everything: the claim did not replace what was last acknowledged.
    Everything,
    /// The rows of connections accepted after this moment: the claim replaced exactly what was last
    /// acknowledged.
    Tail { after: Instant },
    /// Nothing is missing.
    Nothing,
}
