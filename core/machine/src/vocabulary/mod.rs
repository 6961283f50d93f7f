//! What callers and wings say to each other: values without logic.

pub mod command;
pub mod config;
pub(crate) mod delivery;
pub mod difference;
pub(crate) mod effect;
pub mod event;
pub mod frame;
pub mod message;
pub(crate) mod missing;
pub(crate) mod purpose;
pub(crate) mod selected;
pub mod settings;
pub mod stats;
pub(crate) mod terminal;
pub(crate) mod timer;
