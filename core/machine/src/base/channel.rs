//! What logs belong to.

use std::fmt;

use serde::Serialize;

use crate::id::{TopicId, UserId};
use crate::key::Key;

/// What a log belongs to, and who follows it: a user, or a topic. Those of one name have nothing in common. A clone
/// costs no allocation.
///
/// ```
/// use switchboard_core::channel::Channel;
/// use switchboard_core::id::{TopicId, UserId};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let user = Channel::from(UserId::new("ann")?);
/// assert_ne!(user, Channel::from(TopicId::new("ann")?));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Channel {
    /// The log of a topic, which its members may follow.
    Topic(TopicId),
    /// The log of a user, which the user's terminals may follow.
    #[serde(untagged)]
    User(UserId),
}

impl Channel {
    /// The user whose log it is, if it is one's.
    pub const fn user(&self) -> Option<&UserId> {
        match self {
            Self::User(user) => Some(user),
            Self::Topic(_) => None,
        }
    }

    /// The topic whose log it is, if it is one's.
    pub const fn topic(&self) -> Option<&TopicId> {
        match self {
            Self::Topic(topic) => Some(topic),
            Self::User(_) => None,
        }
    }
}

impl From<UserId> for Channel {
    fn from(user: UserId) -> Self {
        Self::User(user)
    }
}

impl From<TopicId> for Channel {
    fn from(topic: TopicId) -> Self {
        Self::Topic(topic)
    }
}

impl From<Key> for Channel {
    fn from(key: Key) -> Self {
        Self::User(key.user().clone())
    }
}

impl From<&Key> for Channel {
    fn from(key: &Key) -> Self {
        Self::User(key.user().clone())
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => user.fmt(f),
            Self::Topic(topic) => write!(f, "topic {topic:?}"),
        }
    }
}

impl fmt::Display for Channel {
    /// As it stands in logs: the user's name, or `topic` and the topic's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => user.fmt(f),
            Self::Topic(topic) => write!(f, "topic {topic}"),
        }
    }
}

crate::base::fingerprint::timeless!(Channel);
