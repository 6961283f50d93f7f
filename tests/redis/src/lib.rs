//! A real Redis for tests: servers of their own, and the directory's operations on them.

pub mod any;
mod asked;
mod server;
mod wire;

pub use asked::{Clock, Scripts, age, key_of, same, value};
pub use server::{RedisServer, free_port};
pub use wire::Wire;
