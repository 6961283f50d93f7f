//! Logs of which followers may have missed a record.

use std::collections::BTreeSet;

use crate::channel::Channel;

/// Logs that are to be read for their followers: a record of them was not delivered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum MissedLogs {
    /// Those of these channels.
    Of(BTreeSet<Channel>),
    /// Whichever they are.
    All,
}

impl MissedLogs {
    /// Those that are named, at most. Beyond it looking at all heads costs less than telling them apart.
    pub(crate) const NAMED: usize = 64;

    /// None of them.
    pub(crate) const NONE: Self = Self::Of(BTreeSet::new());

    /// Adds the log of a channel; beyond [`NAMED`](Self::NAMED) it is all logs.
    pub(crate) fn add(&mut self, channel: &Channel) {
        if let Self::Of(channels) = self
            && !channels.contains(channel)
        {
            if channels.len() == Self::NAMED {
                *self = Self::All;
            } else {
                channels.insert(channel.clone());
            }
        }
    }

    /// Whether there are none.
    pub(crate) fn is_none(&self) -> bool {
        match self {
            Self::Of(channels) => channels.is_empty(),
            Self::All => false,
        }
    }
}
