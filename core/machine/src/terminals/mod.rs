//! The terminals that are connected here: their lives, their table, what waits for each.

pub(crate) mod connection;
pub(crate) mod outbound;
pub(crate) mod registry;
