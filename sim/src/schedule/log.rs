//! How logs of durable pushes are kept and checked in a schedule.

use std::time::Duration;

use switchboard_core::channel::Channel;
use switchboard_core::directory::log::Retention;
use switchboard_core::id::{TopicId, UserId};

/// What a schedule says of logs. `None` is as by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Records that a log keeps, at most; at least one.
    pub records: Option<u32>,
    /// How old they become, at most.
    pub age: Option<Duration>,
    /// The time in which the head of each log is compared with where its followers stand.
    pub check: Option<Duration>,
}

impl LogSettings {
    /// All as by default.
    pub const DEFAULT: Self = Self {
        records: None,
        age: None,
        check: None,
    };

    /// What is kept with each durable push.
    pub fn retention(&self) -> Retention {
        let usual = Retention::default();
        Retention {
            records: self.records.unwrap_or(usual.records),
            age: self.age.unwrap_or(usual.age),
            ..usual
        }
    }
}

/// Whose log is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogOf {
    /// That of a user.
    User(String),
    /// That of a topic.
    Topic(String),
}

impl LogOf {
    /// What the log belongs to, if there can be such a user or topic.
    pub(crate) fn channel(&self) -> Option<Channel> {
        match self {
            Self::User(user) => UserId::new(user).ok().map(Channel::from),
            Self::Topic(topic) => TopicId::new(topic).ok().map(Channel::from),
        }
    }
}
