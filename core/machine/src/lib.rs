//! The core of Switchboard: one server instance as a pure state machine.
//!
//! [`Instance`] takes events in and gives commands out. It knows no clock, no socket, no thread and
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

pub mod alike;
mod broadcast;
#[cfg(test)]
mod cluster;
pub mod command;
pub mod config;
mod connection;
pub mod directory;
mod drain;
pub mod event;
mod fingerprint;
#[doc(hidden)]
pub mod flaws;
pub mod frame;
pub mod id;
mod inbound;
mod instance;
mod lane;
mod lease;
mod link;
mod list;
pub mod message;
mod outbound;
mod peer;
mod push;
mod receipt;
mod registry;
mod repeat;
#[cfg(test)]
mod rig;
mod rng;
mod route;
mod rows;
mod settle;
mod slots;
pub mod stats;
#[cfg(test)]
mod tests;
pub mod time;
mod timer;
mod trips;
mod turn;
mod view;
mod wire;

pub use instance::{Instance, TimerKind};
pub use rng::Seed;
