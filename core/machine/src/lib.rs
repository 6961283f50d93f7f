//! The core of Switchboard: one server instance as a pure state machine.
//!
//! [`Instance`] takes events and returns commands. It knows no clock, no socket, no thread and
//! no source of randomness: time, seed and buffers are handed in. An adapter executes the commands
//! on a runtime; the simulator executes them in virtual time.
//!
//! The run loop of an adapter:
//!
//! 1. Wait for events, or until [`Instance::next_timeout`].
//! 2. Read the clocks once.
//! 3. Hand each event to [`Instance::handle`].
//! 4. If `next_timeout` is due by that reading, call [`Instance::handle_timeout`]. It is due at
//!    once whenever work of this turn is left: round trips and batches are formed here.
//! 5. Execute the commands in their order, without waiting for any. What comes of them are events
//!    of a later turn.

#![forbid(unsafe_code)]
#![warn(clippy::wildcard_enum_match_arm, clippy::iter_over_hash_type)]

mod base;
mod context;
mod deliver;
pub mod directory;
mod drain;
mod follow;
mod instance;
mod membership;
mod peers;
mod presence;
mod publish;
mod terminals;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod vocabulary;
mod wings;

#[doc(hidden)]
pub use base::flaws;
pub use base::rng::Seed;
pub use base::{channel, id, key, pace, position, time};
pub use instance::{Instance, TimerKind};
#[cfg(feature = "flaws")]
#[doc(hidden)]
pub use peers::forged;
pub use peers::inquiry;
use vocabulary::delivery;
pub use vocabulary::{
    command, config, difference, event, frame, logs, message, settings, stats, topic,
};
