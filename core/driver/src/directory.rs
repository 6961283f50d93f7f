//! The directory link.

/// A directory in the memory of this process. Clones are the same directory: give one to several
/// servers of a process, and they are a cluster.
#[derive(Clone, Debug, Default)]
pub struct EmbeddedDirectory {}

/// Where Redis is: `redis://[user:password@]host:port[/db]`, `rediss://...` with TLS, or
/// `redis+sentinel://[user:password@]host:port,host:port/master[/db]`.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    text: String,
}

impl std::str::FromStr for RedisUrl {
    type Err = InvalidRedisUrl;

    fn from_str(text: &str) -> Result<Self, InvalidRedisUrl> {
        Ok(Self { text: text.to_owned() })
    }
}

impl std::fmt::Debug for RedisUrl {
    /// Without user and password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RedisUrl(.. {} B)", self.text.len())
    }
}

/// A text that is not a Redis URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidRedisUrl(pub(crate) String);
