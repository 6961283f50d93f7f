//! What everything stands on: tables, timers, random streams, fingerprints.

pub(crate) mod alarm;
pub mod channel;
pub mod duration;
pub(crate) mod few;
pub(crate) mod fingerprint;
#[doc(hidden)]
pub mod flaws;
pub mod id;
pub mod key;
mod name;
pub mod pace;
pub mod position;
pub(crate) mod rng;
pub(crate) mod selected;
pub(crate) mod slots;
pub mod time;
pub(crate) mod timer;
