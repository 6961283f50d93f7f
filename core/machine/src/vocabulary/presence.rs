//! The members of a topic, as they were read for those that watch it.

use crate::id::{TopicId, UserId};

/// A topic was read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MembersRead {
    pub(crate) topic: TopicId,
    /// What was read. `None`: nothing could be.
    pub(crate) members: Option<MembersSeen>,
}

/// The members of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MembersSeen {
    /// Their users, each once, if there are few.
    pub(crate) users: Vec<UserId>,
    /// How many terminals they are.
    pub(crate) count: u64,
    /// Whether there are no others.
    pub(crate) complete: bool,
}
