//! Which directory a server uses.

mod embedded;
mod redis_url;

pub use embedded::EmbeddedDirectory;
pub use redis_url::{InvalidRedisUrl, RedisUrl};
pub(crate) use redis_url::{Sentinel, Target};

/// Which directory a server uses.
#[derive(Clone, Debug)]
pub enum DirectoryChoice {
    /// One in the memory of this process.
    Embedded(EmbeddedDirectory),
    /// A Redis server, or one that Sentinels name.
    Redis(RedisUrl),
}
