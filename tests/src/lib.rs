//! Black-box harness: real servers, a real Redis, real sockets.
//!
//! A behaviour ([`behaviour::Behaviour`]) is a function that is tried in the cells of a matrix
//! ([`matrix::Cell`]). It starts what it needs there ([`cluster::Cluster`]), talks to it as
//! terminals ([`terminal`]) and publishers ([`api`]) do, and everything that it started ends with
//! it. Nothing here knows the server from the inside.

pub mod adapter;
pub mod api;
pub mod behaviour;
pub mod centrifuge;
pub mod certificate;
pub mod chaos;
pub mod cluster;
pub mod command_line;
pub mod directory;
pub mod http;
pub mod key_server;
pub mod matrix;
pub mod measure;
pub mod patience;
mod process;
mod random;
pub mod raw;
pub mod relay;
pub mod sentinel;
pub mod server;
pub mod settings;
pub mod socket;
pub mod sockets;
pub mod suite;
pub mod terminal;
pub mod token;

pub use switchboard_test_redis as redis;
