//! One terminal that follows a log.

use std::hash::{Hash, Hasher};

use crate::base::fingerprint::Fingerprint;
use crate::event::Follow;
use crate::key::Key;
use crate::position::Position;
use crate::time::Instant;
use crate::vocabulary::purpose::ReadId;

/// A terminal that follows the log of its key.
#[derive(Clone, Debug)]
pub(super) struct Follower {
    pub(super) key: Key,
    pub(super) stand: Stand,
    pub(super) mode: Mode,
    /// Counts its reads. An answer to an earlier one finds nothing.
    pub(super) read: ReadId,
}

/// Where a follower stands in the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Stand {
    /// It has asked for this, and has not been told where it stands.
    Asked(Box<Follow>),
    /// It was told.
    At {
        /// The position of the last record put into its queue, or that it was given.
        at: Position,
        /// The position that it was given last, by a hello, a gap or a step back. From there to `at` it was
        /// sent every record of the log, on this connection.
        given: Position,
    },
}

/// What happens to the records of a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Mode {
    /// It gets records as they come.
    Live,
    /// The log is being read for it.
    Reading {
        /// Whether something came that the answer may not have: it is to be read once more.
        again: bool,
        reading: Reading,
    },
    /// The log must be read for it, and cannot be yet.
    Behind(Waits),
}

/// What a follower that is behind waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Waits {
    /// There is to be room in its queue.
    ForRoom,
    /// A place among the replays, and a directory link.
    ForTurn,
}

/// What the log is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Reading {
    /// What comes after its position.
    Next,
    /// A position that it was sent and that the log knows: the log does not know its own.
    StepBack,
}

impl Follower {
    pub(super) fn new(key: Key, asked: Follow) -> Self {
        Self {
            key,
            stand: Stand::Asked(Box::new(asked)),
            mode: Mode::Behind(Waits::ForRoom),
            read: ReadId::FIRST,
        }
    }

    /// The position of the last record put into its queue, or that it was given.
    pub(super) const fn at(&self) -> Option<Position> {
        match self.stand {
            Stand::Asked(_) => None,
            Stand::At { at, .. } => Some(at),
        }
    }

    /// It goes on from a position that it is given.
    pub(super) fn is_given(&mut self, position: Position) {
        self.stand = Stand::At {
            at: position,
            given: position,
        };
    }

    /// The record at this position, the successor of what it holds, was put into its queue.
    pub(super) const fn moves_to(&mut self, position: Position) {
        if let Stand::At { at, .. } = &mut self.stand {
            *at = position;
        }
    }

    /// The log is read for it.
    pub(super) const fn begins(&mut self, reading: Reading) -> ReadId {
        self.read = self.read.next();
        self.mode = Mode::Reading {
            again: false,
            reading,
        };
        self.read
    }
}

impl Fingerprint for Follower {
    fn fingerprint(&self, _: Instant, hasher: &mut impl Hasher) {
        self.key.hash(hasher);
        self.stand.hash(hasher);
        self.mode.hash(hasher);
        self.read.hash(hasher);
    }
}
