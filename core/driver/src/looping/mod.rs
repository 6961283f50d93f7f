//! The loop of an instance: inputs in, commands out.

mod execute;
mod tables;
mod worker;

pub(crate) use worker::{Surroundings, run};

#[cfg(test)]
pub(crate) use tables::Links;
