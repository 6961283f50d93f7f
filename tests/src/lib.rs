//! Black-box harness: real servers, a real Redis, real sockets.
//!
//! A test starts what it needs ([`cluster::Cluster`], [`server::Server`], [`redis::RedisServer`]),
//! talks to it as terminals ([`terminal`]) and publishers ([`api`]) do, and everything that it
//! started ends with it. Nothing here knows the server from the inside.

pub mod api;
pub mod binary;
pub mod cluster;
pub mod http;
pub mod patience;
pub mod raw;
pub mod sentinel;
pub mod server;
pub mod sockets;
pub mod terminal;
pub mod token;

pub use switchboard_test_redis as redis;
