//! One terminal that follows a log.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use super::sent::{Confirmed, SentRecords};
use crate::base::fingerprint::Fingerprint;
use crate::base::flaws::Flaws;
use crate::config::Config;
use crate::directory::log::LogOperation;
use crate::event::Follow;
use crate::id::LogKey;
use crate::message::FollowerStand;
use crate::position::Position;
use crate::time::Instant;
use crate::vocabulary::delivery::Ticket;
use crate::vocabulary::purpose::ReadId;

/// How often the pause after a failed read is doubled, at most.
const PAUSE_DOUBLINGS: u8 =
    (Config::LOG_READ_PAUSE_MAX.as_millis() / Config::LOG_READ_PAUSE.as_millis()).ilog2() as u8;

/// A terminal that follows the log of its key.
#[derive(Clone, Debug)]
pub(super) struct Follower {
    pub(super) log: LogKey,
    pub(super) stand: Stand,
    pub(super) mode: Mode,
    /// Its last read. An answer to an earlier one finds nothing.
    pub(super) read: ReadId,
    /// Reads in a row that the directory has not answered.
    failures: u8,
    /// What it was sent lately.
    sent: Option<Box<SentRecords>>,
}

/// Where a follower stands in the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Stand {
    /// It has asked for this, and has not been told where it stands.
    Asked {
        asked: Box<Follow>,
        /// What the records that have come since say that they follow: the lowest offset.
        came_behind: Option<Position>,
    },
    /// It was told.
    At {
        /// The position of the last record put into its queue, or that it was given.
        at: Position,
        /// The position that it was given last, by a hello, a gap or a step back. From there to `at` it was
        /// sent every record of the log, on this connection.
        given: Position,
        /// Whether it holds what stands at the position that it was given.
        grant: Grant,
    },
}

/// What a position is to the follower that is given it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Grant {
    /// It has brought it: it holds the record.
    Brought,
    /// Something is missing: it may never have been told the record.
    Told,
    /// It begins there, and was told before that it is reached by what is pushed. The record may have been appended since
    /// then, and be on its way, as may be those before it.
    Begun,
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
    Room,
    /// A place among the replays, and a directory link.
    Turn,
    /// Its log was not read, and is to be read later.
    Later,
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
    pub(super) fn new(log: LogKey, asked: Follow) -> Self {
        Self {
            log,
            stand: Stand::Asked {
                asked: Box::new(asked),
                came_behind: None,
            },
            mode: Mode::Behind(Waits::Room),
            read: ReadId::FIRST,
            failures: 0,
            sent: None,
        }
    }

    /// The position of the last record put into its queue, or that it was given.
    pub(super) const fn at(&self) -> Option<Position> {
        match self.stand {
            Stand::Asked { .. } => None,
            Stand::At { at, .. } => Some(at),
        }
    }

    /// Whether the log is to be read for it, and is not being read.
    pub(super) const fn is_behind(&self) -> bool {
        match self.mode {
            Mode::Behind(_) => true,
            Mode::Live | Mode::Reading { .. } => false,
        }
    }

    /// It goes on from a position that it is given.
    pub(super) fn is_given(&mut self, position: Position, grant: Grant) {
        self.stand = Stand::At {
            at: position,
            given: position,
            grant,
        };
        if let Some(sent) = &mut self.sent {
            sent.break_off();
        }
    }

    /// The record at this position, the successor of what it holds, was put into its queue.
    pub(super) fn is_sent(&mut self, position: Position) {
        if let Stand::At { at, .. } = &mut self.stand {
            *at = position;
        }
        self.sent.get_or_insert_default().put(position);
    }

    /// It goes on from a position where it stood before.
    pub(super) fn steps_back(&mut self, to: Position) {
        if let Stand::At { at, .. } = &mut self.stand {
            *at = to;
        }
        if let Some(sent) = &mut self.sent {
            sent.step_back(to);
        }
    }

    /// Positions where it stood before, newest first: it was sent all that follows each of them. They are those that
    /// are remembered, and the one that it was given.
    pub(super) fn stood_at(&self) -> Vec<Position> {
        let Stand::At { at, given, .. } = self.stand else {
            return Vec::new();
        };
        let sent = self.sent.iter().flat_map(|sent| sent.chain());
        let before = sent.filter(|position| *position != at);
        let mut before: Vec<_> = before.take(LogOperation::POSITIONS - 1).collect();
        if at != given {
            before.push(given);
        }
        before
    }

    /// Whether it holds the record at this position: it has brought it, or it was put into its queue.
    pub(super) fn holds(&self, position: Position) -> bool {
        let stands = match self.stand {
            Stand::Asked { .. } => false,
            Stand::At { at, given, grant } => match grant {
                Grant::Brought => position == at || position == given,
                Grant::Told | Grant::Begun => position == at && at != given,
            },
        };
        stands || self.sent.as_ref().is_some_and(|sent| sent.has(position))
    }

    /// Whether it holds the record at this position, or is beyond it without that.
    pub(super) fn is_past(&self, position: Position) -> bool {
        let stands = match self.stand {
            Stand::Asked { .. } => false,
            Stand::At { at, given, .. } => position == at || position == given,
        };
        stands || self.holds(position)
    }

    /// Whether the record at this position stands before those that it is sent, and may never have come to it.
    pub(super) fn begins_behind(&self, position: Position) -> bool {
        match self.stand {
            Stand::At { given, grant, .. } => {
                // That it is earlier in the log the offset says, unless a failover came between.
                let is_before = position.offset() <= given.offset();
                grant == Grant::Begun && is_before && !self.holds(position)
            }
            Stand::Asked { .. } => false,
        }
    }

    /// A record comes that follows this position. If it is not known yet where the follower stands, it begins there at the
    /// latest.
    pub(super) const fn comes_behind(&mut self, before: Position) {
        if let Stand::Asked { came_behind, .. } = &mut self.stand {
            *came_behind = match *came_behind {
                Some(first) if first.offset() <= before.offset() => Some(first),
                Some(_) | None => Some(before),
            };
        }
    }

    /// It confirms a record, and all that it was sent before. `None`: it was not sent the record, or has confirmed it
    /// before, or that is forgotten.
    pub(super) fn confirms(&mut self, flaws: Flaws, position: Position) -> Option<Confirmed> {
        self.sent.as_mut()?.confirm(flaws, position)
    }

    /// Where it stands, for people.
    pub(super) fn told_of(&self) -> FollowerStand {
        let counts = self.sent.as_ref().map(|sent| sent.counts());
        let (sent, acked) = counts.unwrap_or_default();
        FollowerStand {
            at: self.at(),
            sent,
            acked,
        }
    }

    /// Whether it has confirmed the record at this position.
    pub(super) fn has_confirmed(&self, position: Position) -> bool {
        let sent = self.sent.as_ref();
        sent.is_some_and(|sent| sent.is_confirmed(position))
    }

    /// Whether it may confirm the record at this position: it was put into its queue on this connection, or will be.
    pub(super) fn may_confirm(&self, position: Position) -> bool {
        !self.is_past(position) || self.sent.as_ref().is_some_and(|sent| sent.has(position))
    }

    /// A delivery waits for its confirmation of a record, until it is answered in any case.
    pub(super) fn is_waited_for(
        &mut self,
        now: Instant,
        position: Position,
        ticket: Ticket,
        until: Instant,
    ) {
        let sent = self.sent.get_or_insert_default();
        sent.wait(now, position, ticket, until);
    }

    /// The first delivery that waits for its confirmation of a record.
    pub(super) fn waiting_for(&self, position: Position) -> Option<Ticket> {
        self.sent.as_ref()?.waiting_for(position)
    }

    /// The deliveries that wait for its confirmation of a record that it cannot be sent. They wait no longer.
    pub(super) fn take_waiting_for(&mut self, position: Position) -> Vec<Ticket> {
        let sent = self.sent.as_mut();
        sent.map_or_else(Vec::new, |sent| sent.take_waiting_for(position))
    }

    /// The deliveries that wait for any confirmation. There will be none.
    pub(super) fn into_waiting(self) -> impl Iterator<Item = Ticket> {
        self.sent.into_iter().flat_map(|sent| sent.into_waiting())
    }

    /// Nothing may be sent for a while.
    pub(super) fn rest(&mut self, now: Instant) {
        if let Some(sent) = &mut self.sent {
            sent.rest(now);
        }
    }

    /// The log could not be read for it. Returns how long it waits.
    pub(super) fn pauses(&mut self) -> Duration {
        let pause = Config::LOG_READ_PAUSE * (1 << self.failures);
        self.failures = (self.failures + 1).min(PAUSE_DOUBLINGS);
        self.mode = Mode::Behind(Waits::Later);
        pause
    }

    /// The log was read for it.
    pub(super) const fn was_read(&mut self) {
        self.failures = 0;
    }

    /// The log is read for it.
    pub(super) const fn begins(&mut self, read: ReadId, reading: Reading) {
        self.read = read;
        self.mode = Mode::Reading {
            again: false,
            reading,
        };
    }
}

impl Fingerprint for Follower {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        if let Some(sent) = &self.sent {
            sent.fingerprint(now, hasher);
        }
        self.log.hash(hasher);
        self.stand.hash(hasher);
        self.mode.hash(hasher);
        hasher.write_u8(self.failures);
        self.read.hash(hasher);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::slots::BesideFew;
    use crate::id::ConnectionKey;

    /// With what the allocator adds they take 80 and 64 bytes.
    #[test]
    fn what_is_kept_of_a_follower_is_small() {
        const { assert!(BesideFew::<ConnectionKey, Follower>::BYTES <= 72) };
        const { assert!(size_of::<SentRecords>() <= 56) };
    }
}
