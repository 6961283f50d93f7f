//! What the parts of a world exchange: values, and no behaviour.

pub mod boundary;
pub(crate) mod deployment;
pub(crate) mod execution;
pub(crate) mod happening;
pub mod ledger;
pub mod observed;
pub(crate) mod push;
