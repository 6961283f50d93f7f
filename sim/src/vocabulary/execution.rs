//! What came of an operation in the directory.

use switchboard_core::directory::OperationResult;
use switchboard_core::id::ConnectionId;

use crate::observed::Executed;

/// What came of an operation.
#[derive(Debug)]
pub(crate) struct Execution {
    pub(crate) outcome: OperationResult,
    /// What a server has done. `None`: it was refused on the way.
    pub(crate) executed: Option<Executed>,
    /// The connection whose row, which may have been evicted, is there again.
    pub(crate) rewritten: Option<ConnectionId>,
}
