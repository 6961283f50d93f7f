//! The directory of the servers under test.

use crate::matrix::DirectoryKind;
use crate::redis::RedisServer;
use crate::sentinel::Replicated;

/// A directory of the test's own.
#[derive(Debug)]
pub enum Directory {
    /// It is in the server, and ends with it.
    Embedded,
    /// One Redis.
    Redis(RedisServer),
    /// A Redis with a replica, and a Sentinel that lets it take over.
    Sentinel(Box<Replicated>),
}

impl Directory {
    /// Starts one.
    ///
    /// # Panics
    ///
    /// If it does not start.
    #[track_caller]
    pub fn start(kind: DirectoryKind) -> Self {
        match kind {
            DirectoryKind::Embedded => Self::Embedded,
            DirectoryKind::Redis => Self::Redis(RedisServer::start()),
            DirectoryKind::Sentinel => Self::Sentinel(Box::new(Replicated::start())),
        }
    }

    /// The servers' setting.
    pub fn url(&self) -> Option<String> {
        match self {
            Self::Embedded => None,
            Self::Redis(redis) => Some(redis.url().to_owned()),
            Self::Sentinel(replicated) => Some(replicated.url()),
        }
    }
}
