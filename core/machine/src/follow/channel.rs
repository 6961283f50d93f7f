//! What the followers of one log share: who they are, and what is held back.

use std::hash::{Hash, Hasher};

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

/// The followers of one log at this instance.
#[derive(Clone, Debug, Default)]
pub(super) struct Channel {
    /// In the order in which they came.
    pub(super) followers: Vec<ConnectionKey>,
    /// Records that came before their predecessors.
    held: Vec<ChainedRecord>,
}

impl Channel {
    /// Holds a record back. Returns whether there is room for it, or it is held already.
    pub(super) fn hold(&mut self, record: &ChainedRecord) -> bool {
        if (self.held.iter()).any(|other| other.place.position == record.place.position) {
            return true;
        }
        let bytes: usize = (self.held.iter())
            .map(|record| record.pushed.payload().len())
            .sum();
        if self.held.len() == HELD || bytes + record.pushed.payload().len() > HELD_BYTES {
            return false;
        }
        self.held.push(record.clone());
        true
    }

    /// Whether records are held back.
    pub(super) fn holds_any(&self) -> bool {
        !self.held.is_empty()
    }

    /// The records that are held back, in the order they came.
    pub(super) fn held(&self) -> impl Iterator<Item = &ChainedRecord> {
        self.held.iter()
    }

    /// The record held back that follows a position.
    pub(super) fn successor(&self, at: Position) -> Option<&ChainedRecord> {
        self.held.iter().find(|record| record.place.before == at)
    }

    /// Gives up the records that are held back.
    pub(super) fn release(&mut self) {
        self.held = Vec::new();
    }
}

impl Fingerprint for Channel {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.followers.fingerprint(now, hasher);
        self.held.hash(hasher);
    }
}
