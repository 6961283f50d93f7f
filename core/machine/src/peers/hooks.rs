//! Where [bugs](crate::base::flaws) that can be switched on change how links are opened. Each function
//! is named after what is done without them.

use super::wire::Role;
use crate::base::flaws::{Flaw, Flaws};

/// As which end of a link its dialler proves itself.
pub(super) const fn role_of_dialler(flaws: Flaws) -> Role {
    if flaws.has(Flaw::ProofOfOtherEnd) {
        return Role::Acceptor;
    }
    Role::Dialler
}

/// Whether logs are checked when a link breaks, and those that a publisher names on the next one.
pub(super) const fn checks_logs_after_a_break(flaws: Flaws) -> bool {
    !flaws.has(Flaw::NoCheckAfterBreak)
}
