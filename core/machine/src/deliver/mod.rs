//! Deliveries at the instance that has the terminals: outcomes, pushes to everyone, repeats.

pub(crate) mod broadcast;
pub(crate) mod inbound;
pub(crate) mod repeat;
