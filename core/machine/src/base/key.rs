//! What terminals are found by.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::UserId;

/// What terminals are found by, at their instance and in the directory: the user whose they are.
///
/// An audience is taken apart into keys where it is published. Pushes are ordered by key, rows are
/// kept under one, terminals are indexed by it, a peer is asked for it, and a repeat is recognised
/// by it; none of these looks into it. A clone costs no allocation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(UserId);

impl Key {
    /// The user whose terminals are found by it.
    pub const fn user(&self) -> &UserId {
        &self.0
    }

    /// Its bytes, as the directory has them.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl From<UserId> for Key {
    fn from(user: UserId) -> Self {
        Self(user)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

crate::base::fingerprint::timeless!(Key);
