//! What runs many worlds: the tests are one program, so that they share the processors.

mod bugs;
mod forks;
mod noise;
mod quick;
mod topics;
