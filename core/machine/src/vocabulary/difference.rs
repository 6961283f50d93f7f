//! How two instances differ where they should not.

use std::fmt;

use serde::Serialize;

/// A setting that differs between two instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Its name: a field of [`Config`](crate::config::Config).
    pub setting: &'static str,
    /// What it is here, as it is written.
    pub ours: String,
    /// What it is there.
    pub theirs: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            setting,
            ours,
            theirs,
        } = self;
        write!(f, "{setting} is {ours} here and {theirs} there")
    }
}
