//! What everything stands on: tables, timers, random streams, fingerprints.

pub(crate) mod alarm;
pub(crate) mod fingerprint;
#[doc(hidden)]
pub mod flaws;
pub(crate) mod rng;
pub(crate) mod selected;
pub(crate) mod slots;
pub(crate) mod timer;
