//! What a log belongs to.

use std::fmt;

/// A user, or a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Channel {
    User(usize),
    Topic(usize),
}

impl Channel {
    /// All channels of a run.
    pub(super) fn all(users: usize, topics: usize) -> Vec<Self> {
        let users = (0..users).map(Self::User);
        users.chain((0..topics).map(Self::Topic)).collect()
    }

    /// The channel of a topic of this name.
    pub(super) fn of_topic(name: &str) -> Option<Self> {
        name.strip_prefix(TOPIC)?.parse().ok().map(Self::Topic)
    }

    /// What the names of its keys in Redis begin with: that of where its log begins and ends, and that of its records.
    pub(super) const fn keys(self) -> [&'static str; 2] {
        match self {
            Self::User(_) => ["m:", "h:"],
            Self::Topic(_) => ["tm:", "th:"],
        }
    }
}

const TOPIC: &str = "topic-";

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(number) => write!(f, "user-{number}"),
            Self::Topic(number) => write!(f, "{TOPIC}{number}"),
        }
    }
}
