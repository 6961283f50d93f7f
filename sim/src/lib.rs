//! Many Switchboard instances and clients in one process, in virtual time, on the production core.
//!
//! A [`Schedule`](schedule::Schedule) says what happens; a [`World`] lets it happen to real
//! [`Instance`](switchboard_core::Instance)s, which exchange their real wire bytes and directory
//! operations; [checkers](checker::Checker) watch both sides. [`swarm`] makes schedules from seeds, [`shrink`] makes
//! failing ones small.

#![forbid(unsafe_code)]
#![warn(clippy::iter_over_hash_type)]

pub mod bugs;
pub mod checker;
pub mod checkers;
mod context;
pub mod coverage;
mod deployments;
mod directory;
pub mod explain;
mod fingerprint;
pub mod forks;
pub mod golden;
mod hosts;
mod network;
mod noise;
mod panics;
pub mod publishing;
pub mod redis;
pub mod report;
mod scenario;
pub mod schedule;
mod settings;
pub mod shrink;
#[cfg(feature = "proptest")]
pub mod strategies;
pub mod swarm;
mod terminals;
mod text;
pub mod totals;
pub mod trace;
mod trial;
mod vocabulary;
mod world;

pub use checker::{HostView, Scene};
pub use scenario::{Done, FaultClass, Faults, Run, Scenario, ScenarioError};
pub use terminals::{Pace, Session, Standing};
pub use trial::{NobodyWatches, Trial};
pub use vocabulary::{boundary, ledger, observed};
pub use world::World;
