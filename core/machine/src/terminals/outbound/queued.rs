//! One message to a terminal, as it waits for its turn.

use crate::frame::{Attached, HelloLog, Messages, Outgoing, Pushed};
use crate::id::ConnectionId;
use crate::position::Position;
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
    /// Where a follower stands.
    Word(LogWord),
    /// What it is to a topic.
    Topic(TopicWord),
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

/// What a follower is told of where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogWord {
    /// [`Outgoing::Log`].
    Log(Attached),
    /// [`Outgoing::Gap`].
    Gap(Position),
    /// [`Outgoing::Back`].
    Back(Position),
}

impl Queued {
    /// Bytes of a push or a record.
    pub(super) const fn size(&self) -> Option<usize> {
        match self {
            Self::Push { size, .. } | Self::Record { size, .. } => Some(*size),
            Self::Hello { .. } | Self::Word(_) | Self::Topic(_) | Self::Received(_) => None,
        }
    }

    pub(super) fn ticket(&self) -> Option<Ticket> {
        match self {
            Self::Push { ticket, .. } => Some(*ticket),
            Self::Record { ticket, .. } => *ticket,
            Self::Hello { .. } | Self::Word(_) | Self::Topic(_) | Self::Received(_) => None,
        }
    }

    pub(super) fn outgoing(&self) -> Outgoing {
        match self {
            &Self::Hello {
                connection,
                degraded,
                log,
            } => Outgoing::Hello {
                connection,
                degraded,
                log,
            },
            Self::Word(LogWord::Log(start)) => Outgoing::Log(*start),
            Self::Word(LogWord::Gap(position)) => Outgoing::Gap(*position),
            Self::Word(LogWord::Back(position)) => Outgoing::Back(*position),
            Self::Topic(TopicWord::Joined { topic, degraded }) => Outgoing::Joined {
                topic: topic.clone(),
                degraded: *degraded,
            },
            Self::Topic(TopicWord::Left(topic)) => Outgoing::Left(topic.clone()),
            Self::Topic(TopicWord::NotJoined(topic, why)) => {
                Outgoing::NotJoined(topic.clone(), *why)
            }
            Self::Topic(TopicWord::Presence(presence)) => Outgoing::Presence(presence.clone()),
            Self::Received(messages) => Outgoing::Received(*messages),
            Self::Push { pushed, .. } => Outgoing::Pushed(pushed.clone()),
            Self::Record { pushed, .. } => Outgoing::Record(pushed.clone()),
        }
    }
}
