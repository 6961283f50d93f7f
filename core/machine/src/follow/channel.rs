//! What the followers of one log share: who they are, which records followed which, and what is held back.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};

use super::follower::Stand;
use crate::base::fingerprint::Fingerprint;
use crate::id::ConnectionKey;
use crate::position::Position;
use crate::time::Instant;
use crate::vocabulary::delivery::ChainedRecord;

/// Records held back for the followers of one log, at most: what two publishers and a retry can turn
/// round. More is read from the log.
const HELD: usize = 8;
/// Bytes of their payloads, at most.
const HELD_BYTES: usize = 64 << 10;
/// Steps from a record to its predecessor that are remembered of one log.
const STEPS: usize = 16;

/// The followers of one log at this instance.
#[derive(Clone, Debug, Default)]
pub(super) struct Channel {
    /// In the order in which they came.
    pub(super) followers: Vec<ConnectionKey>,
    /// None before the first record; it stays for as long as anybody follows.
    busy: Option<Box<Busy>>,
}

#[derive(Clone, Debug, Default)]
struct Busy {
    /// Records that were sent lately, each with its predecessor, in the order they were sent.
    steps: VecDeque<(Position, Position)>,
    /// Records that came before their predecessors.
    held: Vec<ChainedRecord>,
}

impl Channel {
    /// A record was put into a follower's queue.
    pub(super) fn sent(&mut self, position: Position, prev: Position) {
        let steps = &mut self.busy.get_or_insert_default().steps;
        if steps.contains(&(position, prev)) {
            return;
        }
        if steps.len() == STEPS {
            steps.pop_front();
        }
        steps.push_back((position, prev));
    }

    /// The positions that a follower holds, newest first, from where it stands to what it was given: as far
    /// as they are remembered. Each is the predecessor of the one before, so that positions of another
    /// history, which other followers were sent, are not among them.
    pub(super) fn held_by(&self, stand: &Stand) -> Vec<Position> {
        let (mut at, given) = match *stand {
            Stand::Asked(_) => return Vec::new(),
            Stand::At { at, given } => (at, given),
        };
        let mut positions = vec![at];
        while at != given && positions.len() <= STEPS {
            let Some(prev) = self.before(at) else { break };
            positions.push(prev);
            at = prev;
        }
        positions
    }

    fn before(&self, position: Position) -> Option<Position> {
        let steps = &self.busy.as_ref()?.steps;
        let step = steps.iter().rev().find(|(sent, _)| *sent == position)?;
        Some(step.1)
    }

    /// Holds a record back. Returns whether there is room for it, or it is held already.
    pub(super) fn hold(&mut self, record: &ChainedRecord) -> bool {
        let held = &mut self.busy.get_or_insert_default().held;
        if held
            .iter()
            .any(|other| other.place.position == record.place.position)
        {
            return true;
        }
        let bytes: usize = held
            .iter()
            .map(|record| record.pushed.payload().len())
            .sum();
        if held.len() == HELD || bytes + record.pushed.payload().len() > HELD_BYTES {
            return false;
        }
        held.push(record.clone());
        true
    }

    /// Whether records are held back.
    pub(super) fn holds_any(&self) -> bool {
        self.held().next().is_some()
    }

    /// The records that are held back, in the order they came.
    pub(super) fn held(&self) -> impl Iterator<Item = &ChainedRecord> {
        self.busy.iter().flat_map(|busy| &busy.held)
    }

    /// The record held back that follows a position.
    pub(super) fn successor(&self, at: Position) -> Option<&ChainedRecord> {
        self.held().find(|record| record.place.before == at)
    }

    /// Gives up the records that are held back.
    pub(super) fn release(&mut self) {
        if let Some(busy) = &mut self.busy {
            busy.held = Vec::new();
        }
    }
}

impl Fingerprint for Channel {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.followers.fingerprint(now, hasher);
        if let Some(busy) = &self.busy {
            busy.steps.hash(hasher);
            busy.held.hash(hasher);
        }
    }
}
