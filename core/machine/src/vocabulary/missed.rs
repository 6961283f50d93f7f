//! Logs of which followers may have missed a record.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::key::Key;

/// Logs that are to be read for their followers: a record of them was not delivered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum MissedLogs {
    /// Those of these keys.
    Of(BTreeSet<Key>),
    /// Whichever they are.
    All,
}

impl MissedLogs {
    /// Keys that are named, at most. Beyond it looking at all heads costs less than telling them apart.
    pub(crate) const KEYS: usize = 64;

    /// None of them.
    pub(crate) const NONE: Self = Self::Of(BTreeSet::new());

    /// One more.
    pub(crate) fn add(&mut self, key: &Key) {
        if let Self::Of(keys) = self
            && !keys.contains(key)
        {
            if keys.len() == Self::KEYS {
                *self = Self::All;
            } else {
                keys.insert(key.clone());
            }
        }
    }

    /// Whether there are none.
    pub(crate) fn is_none(&self) -> bool {
        match self {
            Self::Of(keys) => keys.is_empty(),
            Self::All => false,
        }
    }
}
