//! What operations of the directory are for: each wing that asks has its own, and is handed the answers.
//!
//! They stand here because the operations of all wings share round trips, which `membership` keeps: it
//! carries purposes of wings that it does not know.

use std::hash::{Hash, Hasher};

use crate::channel::Channel;
use crate::directory::Lease;
use crate::id::{CallId, Epoch, FollowerKey, LogKey, PushKey, TopicId};
use crate::key::Key;
use crate::vocabulary::terminal::RowOf;

/// What an operation of the directory is for: the purpose of the wing that asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Membership(MembershipPurpose),
    Publish(PublishPurpose),
    Follow(FollowPurpose),
}

/// The order in which the answers of a trip are taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Judged {
    /// The own lease: whether the directory has lost anything.
    First,
    /// The others' leases, in the light of that.
    Second,
    /// Rows, in the light of both.
    Last,
}

/// A purpose, which says when the answer is to be judged.
pub(crate) trait Judging {
    fn judged(&self) -> Judged;
}

/// What tells purposes apart in fingerprints, whichever wing asks: each is listed here, so that no two have
/// the same number.
#[repr(isize)]
enum Number {
    Register,
    Unregister,
    Lookup,
    Connections,
    RemoveRow,
    View,
    Claim,
    Renew,
    Release,
    OwnLease,
    Read,
    Head,
    Append,
    Log,
    TopicLookup,
    KeepTopic,
    Confirm,
    AppendToTopic,
}

/// What an operation is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[repr(isize)]
pub(crate) enum MembershipPurpose {
    /// A row of this instance.
    Register { row: RowOf, epoch: Epoch } = Number::Register as isize,
    /// The end of a row of this instance.
    Unregister { row: RowOf } = Number::Unregister as isize,
    /// All leases, as the directory has them.
    View = Number::View as isize,
    /// A lease to take.
    Claim { lease: Lease } = Number::Claim as isize,
    /// A lease to extend.
    Renew { lease: Lease } = Number::Renew as isize,
    /// The end of the lease.
    Release = Number::Release as isize,
    /// The evidence at the end of a trip: the lease was held under this epoch when it was asked.
    OwnLease { epoch: Epoch } = Number::OwnLease as isize,
}

/// What an operation is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[repr(isize)]
pub(crate) enum PublishPurpose {
    /// The pushes that wait for this key's rows.
    Lookup { key: Key } = Number::Lookup as isize,
    /// A list of this key's connections.
    Connections { call: CallId, key: Key } = Number::Connections as isize,
    /// The end of a row that is dead or gone.
    RemoveRow = Number::RemoveRow as isize,
    /// The pushes that were handed in in this turn, and wait for the instances with members of this topic.
    TopicLookup { topic: TopicId, turn: u64 } = Number::TopicLookup as isize,
    /// Whether later terminals of a user are to be members of a topic, as this push says.
    KeepTopic { push: PushKey } = Number::KeepTopic as isize,
    /// The record of a durable push for a key: the part of the push, by its number in the lane.
    Append { key: Key, part: u64 } = Number::Append as isize,
    /// Whether a replica has the record of a durable push in the log of a channel.
    Confirm { push: PushKey, channel: Channel } = Number::Confirm as isize,
    /// What an application wants of a log.
    Log { call: CallId } = Number::Log as isize,
    /// The record of a push to a topic, with the instances that have members.
    AppendToTopic { push: PushKey, topic: TopicId } = Number::AppendToTopic as isize,
}

/// What an operation is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[repr(isize)]
pub(crate) enum FollowPurpose {
    /// What comes after the position of a follower.
    Read { key: FollowerKey, read: ReadId } = Number::Read as isize,
    /// Where a log ends.
    Head { log: LogKey, asked: HeadAsked } = Number::Head as isize,
}

/// Why the head of a log is compared with where its followers stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum HeadAsked {
    /// It is its turn: without an answer the next round comes to it.
    ByTurn,
    /// They may have missed something: without an answer it is asked for again.
    InDoubt,
}

/// Names one read of a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ReadId(u32);

impl ReadId {
    pub(crate) const FIRST: Self = Self(0);

    pub(crate) const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// How many names there are from another one to this one.
    pub(crate) const fn since(self, other: Self) -> u32 {
        self.0.wrapping_sub(other.0)
    }
}

impl Judging for MembershipPurpose {
    fn judged(&self) -> Judged {
        match self {
            Self::Claim { .. } | Self::Renew { .. } | Self::Release | Self::OwnLease { .. } => {
                Judged::First
            }
            Self::View => Judged::Second,
            Self::Register { .. } | Self::Unregister { .. } => Judged::Last,
        }
    }
}

impl Judging for PublishPurpose {
    fn judged(&self) -> Judged {
        match self {
            Self::Lookup { .. }
            | Self::Connections { .. }
            | Self::RemoveRow
            | Self::Append { .. }
            | Self::AppendToTopic { .. }
            | Self::TopicLookup { .. }
            | Self::KeepTopic { .. }
            | Self::Confirm { .. }
            | Self::Log { .. } => Judged::Last,
        }
    }
}

impl Judging for FollowPurpose {
    fn judged(&self) -> Judged {
        match self {
            Self::Read { .. } | Self::Head { .. } => Judged::Last,
        }
    }
}

impl From<FollowPurpose> for Purpose {
    fn from(purpose: FollowPurpose) -> Self {
        Self::Follow(purpose)
    }
}

impl From<MembershipPurpose> for Purpose {
    fn from(purpose: MembershipPurpose) -> Self {
        Self::Membership(purpose)
    }
}

impl From<PublishPurpose> for Purpose {
    fn from(purpose: PublishPurpose) -> Self {
        Self::Publish(purpose)
    }
}

impl Judging for Purpose {
    fn judged(&self) -> Judged {
        match self {
            Self::Membership(purpose) => purpose.judged(),
            Self::Publish(purpose) => purpose.judged(),
            Self::Follow(purpose) => purpose.judged(),
        }
    }
}

impl Hash for Purpose {
    /// The purposes of the wings have different numbers.
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        match self {
            Self::Membership(purpose) => purpose.hash(hasher),
            Self::Publish(purpose) => purpose.hash(hasher),
            Self::Follow(purpose) => purpose.hash(hasher),
        }
    }
}
