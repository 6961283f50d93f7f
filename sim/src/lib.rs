//! Many Switchboard instances and clients in one process, in virtual time, on the production core.
//!
//! A [`Schedule`](schedule::Schedule) says what happens; a [`World`] lets it happen to real
//! [`Instance`](switchboard_core::Instance)s, which exchange their real wire bytes and directory
//! operations; [checkers](checker::Checker) watch both sides. [`swarm`] makes schedules from seeds, [`shrink`] makes
//! failing ones small.

#![forbid(unsafe_code)]
#![warn(clippy::iter_over_hash_type)]

mod acts;
pub mod bugs;
mod calm;
pub mod checker;
pub mod checkers;
mod deploy;
mod directory_link;
mod executed;
mod fingerprint;
pub mod golden;
mod host;
pub mod ledger;
mod link_acts;
mod moment;
mod noise;
pub mod observed;
mod panics;
mod pipe;
mod queue;
pub mod record;
pub mod redis;
mod redis_acts;
pub mod report;
mod scenario;
pub mod schedule;
mod settings;
pub mod shrink;
#[cfg(feature = "proptest")]
pub mod strategies;
pub mod swarm;
mod terminal;
mod text;
pub mod totals;
pub mod trace;
mod trial;
mod view;
mod world;

pub use scenario::{Done, FaultClass, Faults, Run, Scenario, ScenarioError};
pub use terminal::{Pace, Session};
pub use trial::{NobodyWatches, Trial};
pub use view::HostView;
pub use world::World;
