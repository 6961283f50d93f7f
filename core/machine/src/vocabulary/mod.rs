//! What callers and wings say to each other: values that decide nothing.

pub mod command;
pub mod config;
pub(crate) mod delivery;
pub(crate) mod departure;
pub mod difference;
pub(crate) mod effect;
pub mod event;
pub mod frame;
pub mod logs;
pub mod message;
pub(crate) mod missed;
pub(crate) mod missing;
pub(crate) mod presence;
pub(crate) mod purpose;
pub(crate) mod service;
pub mod settings;
pub(crate) mod standing;
pub mod stats;
pub(crate) mod terminal;
pub(crate) mod timer;
pub mod topic;
