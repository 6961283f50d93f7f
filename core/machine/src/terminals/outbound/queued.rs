//! One message to a terminal, as it waits for its turn.

use crate::frame::{HelloLog, LogNews, Messages, Outgoing, Pushed};
use crate::id::{ConnectionId, TopicId};
use crate::terminals::topics::TopicWord;
use crate::vocabulary::delivery::Ticket;

/// One message to the terminal.
#[derive(Clone, Debug)]
pub(super) enum Queued {
    /// The first of all.
    Hello {
        connection: ConnectionId,
        degraded: bool,
        log: HelloLog,
    },
    /// Where a follower stands in the log of its user, or in that of a topic.
    Word {
        topic: Option<TopicId>,
        news: LogNews,
    },
    /// What it is to a topic.
    Topic(TopicWord),
    /// Its place is that of the word that it is a member of this topic. Nothing behind it leaves before.
    Awaited(TopicId),
    /// The answer to messages of the terminal.
    Received(Messages),
    Push {
        pushed: Pushed,
        /// Bytes after encoding.
        size: usize,
        ticket: Ticket,
    },
    /// A record of the log.
    Record {
        pushed: Pushed,
        /// Bytes after encoding.
        size: usize,
        /// None, if it was read.
        ticket: Option<Ticket>,
    },
}

impl Queued {
    /// Bytes of a push or a record.
    pub(super) const fn size(&self) -> Option<usize> {
        match self {
            Self::Push { size, .. } | Self::Record { size, .. } => Some(*size),
            Self::Hello { .. }
            | Self::Word { .. }
            | Self::Topic(_)
            | Self::Awaited(_)
            | Self::Received(_) => None,
        }
    }

    pub(super) fn ticket(&self) -> Option<Ticket> {
        match self {
            Self::Push { ticket, .. } => Some(*ticket),
            Self::Record { ticket, .. } => *ticket,
            Self::Hello { .. }
            | Self::Word { .. }
            | Self::Topic(_)
            | Self::Awaited(_)
            | Self::Received(_) => None,
        }
    }

    /// The topic whose word it waits for.
    pub(super) const fn awaited(&self) -> Option<&TopicId> {
        match self {
            Self::Awaited(topic) => Some(topic),
            Self::Hello { .. }
            | Self::Word { .. }
            | Self::Topic(_)
            | Self::Received(_)
            | Self::Push { .. }
            | Self::Record { .. } => None,
        }
    }

    /// What the terminal is told. `None`: its place is taken by what that will be.
    pub(super) fn outgoing(&self) -> Option<Outgoing> {
        Some(match self {
            Self::Awaited(_) => return None,
            &Self::Hello {
                connection,
                degraded,
                log,
            } => Outgoing::Hello {
                connection,
                degraded,
                log,
            },
            Self::Word { topic: None, news } => match *news {
                LogNews::At(start) => Outgoing::Log(start),
                LogNews::Gap(position) => Outgoing::Gap(position),
                LogNews::Back(position) => Outgoing::Back(position),
            },
            Self::Word {
                topic: Some(topic),
                news,
            } => Outgoing::TopicLog(topic.clone(), (*news).into()),
            Self::Topic(TopicWord::Joined {
                topic,
                degraded,
                log,
            }) => Outgoing::Joined {
                topic: topic.clone(),
                degraded: *degraded,
                log: match log {
                    HelloLog::NotAsked => None,
                    HelloLog::Unknown | HelloLog::At(_) => Some(Box::new(*log)),
                },
            },
            Self::Topic(TopicWord::Log(topic, start)) => {
                Outgoing::TopicLog(topic.clone(), LogNews::At(*start).into())
            }
            Self::Topic(TopicWord::Left(topic)) => Outgoing::Left(topic.clone()),
            Self::Topic(TopicWord::NotJoined(topic, why)) => {
                Outgoing::NotJoined(topic.clone(), *why)
            }
            Self::Topic(TopicWord::NotWatched(topic, why)) => {
                Outgoing::NotWatched(topic.clone(), *why)
            }
            Self::Topic(TopicWord::Presence(presence)) => Outgoing::Presence(presence.clone()),
            Self::Received(messages) => Outgoing::Received(*messages),
            Self::Push { pushed, .. } => Outgoing::Pushed(pushed.clone()),
            Self::Record { pushed, .. } => Outgoing::Record(pushed.clone()),
        })
    }
}
