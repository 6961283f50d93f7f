//! What the followers of one log share: who they are, and what is held back.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hash, Hasher};

use hashbrown::HashTable;

use crate::base::fingerprint::Fingerprint;
use crate::base::rng::SeededHash;
use crate::base::slots::Slots;
use crate::channel::Channel;
use crate::config::Config;
use crate::id::{ConnectionKey, LogKey};
use crate::position::Position;
use crate::time::Instant;
use crate::vocabulary::delivery::ChainedRecord;

/// Records held back for the followers of one log, at most: what two publishers and a retry can turn
/// round. More is read from the log.
const HELD: usize = Config::RECORDS_HELD;
/// Bytes of their payloads, at most.
const HELD_BYTES: usize = Config::BYTES_HELD;

/// The logs that are followed here, by slot and by channel. Most have one follower, and there may be as many as
/// terminals: an index of slots costs a fifth of a map that has the channels.
#[derive(Clone, Debug)]
pub(super) struct FollowedLogs {
    slots: Slots<LogKey, FollowedLog>,
    by_channel: HashTable<LogKey>,
    hash: SeededHash,
}

/// The followers of one log at this instance.
#[derive(Clone, Debug)]
pub(super) struct FollowedLog {
    pub(super) channel: Channel,
    followers: Crew,
    /// There are none as a rule.
    held: Option<Box<Held>>,
}

/// The followers of one log. There is one at least, and mostly no other; of a topic there may be as many as terminals, which
/// all go when its application does.
#[derive(Clone, Debug)]
enum Crew {
    One(ConnectionKey),
    #[expect(clippy::box_collection, reason = "it is the rare one, and the smaller")]
    Several(Box<BTreeSet<ConnectionKey>>),
}

/// Records that came before their predecessors.
#[derive(Clone, Debug, Default)]
struct Held {
    records: Vec<ChainedRecord>,
    /// The followers to whom they came, and who could not be told.
    lacking: BTreeSet<ConnectionKey>,
}

impl FollowedLogs {
    pub(super) fn new(hash: &SeededHash) -> Self {
        Self {
            slots: Slots::new(),
            by_channel: HashTable::new(),
            hash: hash.clone(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Records that are held back, for whichever log.
    pub(super) fn held(&self) -> usize {
        (self.slots.iter())
            .map(|(_, followed)| followed.held().count())
            .sum()
    }

    /// Bytes of their payloads.
    pub(super) fn held_bytes(&self) -> usize {
        let held = (self.slots.iter()).flat_map(|(_, followed)| followed.held());
        held.map(|held| held.pushed.payload().len()).sum()
    }

    /// The log of a channel, if it is followed.
    pub(super) fn find(&self, channel: &Channel) -> Option<LogKey> {
        let hash = self.hash.hash_one(channel);
        let found = self.by_channel.find(hash, |log| self.is_of(*log, channel));
        found.copied()
    }

    pub(super) fn get(&self, log: LogKey) -> Option<&FollowedLog> {
        self.slots.get(log)
    }

    pub(super) fn get_mut(&mut self, log: LogKey) -> Option<&mut FollowedLog> {
        self.slots.get_mut(log)
    }

    /// The log in this slot, and whether there are slots at and beyond it.
    pub(super) fn in_slot(&self, slot: u32) -> Option<Option<LogKey>> {
        self.slots.in_slot(slot)
    }

    /// A terminal follows a log, which is here from its first follower on. Returns the log's key.
    pub(super) fn join(&mut self, channel: Channel, follower: ConnectionKey) -> LogKey {
        if let Some(log) = self.find(&channel) {
            if let Some(followed) = self.slots.get_mut(log) {
                followed.followers.push(follower);
            }
            return log;
        }
        let hash = self.hash.hash_one(&channel);
        let log = self.slots.insert(FollowedLog {
            channel,
            followers: Crew::One(follower),
            held: None,
        });
        let Self {
            slots, hash: by, ..
        } = self;
        let hash_of = |log: &LogKey| {
            slots
                .get(*log)
                .map_or(0, |found| by.hash_one(&found.channel))
        };
        self.by_channel.insert_unique(hash, log, hash_of);
        log
    }

    /// A follower goes. The log goes with the last one.
    pub(super) fn leave(&mut self, log: LogKey, follower: ConnectionKey) {
        let Some(followed) = self.slots.get_mut(log) else {
            return;
        };
        match &mut followed.followers {
            Crew::One(only) if *only != follower => return,
            Crew::One(_) => {}
            Crew::Several(all) => {
                all.remove(&follower);
                if all.len() == 1
                    && let Some(only) = all.first()
                {
                    followed.followers = Crew::One(*only);
                }
                return;
            }
        }
        let hash = self.hash.hash_one(&followed.channel);
        if let Ok(found) = self.by_channel.find_entry(hash, |other| *other == log) {
            found.remove();
        }
        self.slots.remove(log);
    }

    fn is_of(&self, log: LogKey, channel: &Channel) -> bool {
        (self.slots.get(log)).is_some_and(|followed| followed.channel == *channel)
    }
}

impl Crew {
    fn push(&mut self, follower: ConnectionKey) {
        match self {
            Self::One(first) => *self = Self::Several(Box::new([*first, follower].into())),
            Self::Several(all) => {
                all.insert(follower);
            }
        }
    }
}

impl FollowedLog {
    /// The connections that follow it, in the order of their keys.
    pub(super) fn followers(&self) -> impl Iterator<Item = ConnectionKey> {
        let (one, several) = match &self.followers {
            Crew::One(only) => (Some(*only), None),
            Crew::Several(all) => (None, Some(all.iter().copied())),
        };
        one.into_iter().chain(several.into_iter().flatten())
    }

    /// How many they are.
    pub(super) fn crew(&self) -> usize {
        match &self.followers {
            Crew::One(_) => 1,
            Crew::Several(all) => all.len(),
        }
    }

    /// Holds a record back that comes for a follower. Returns whether there is room for it, or it is held already.
    pub(super) fn hold(&mut self, record: &ChainedRecord, follower: ConnectionKey) -> bool {
        let position = record.place.position;
        if !(self.held()).any(|other| other.place.position == position) {
            let bytes: usize = self.held().map(|held| held.pushed.payload().len()).sum();
            if self.held().count() == HELD || bytes + record.pushed.payload().len() > HELD_BYTES {
                return false;
            }
            let held = self.held.get_or_insert_default();
            held.records.push(record.clone());
        }
        if let Some(held) = &mut self.held {
            held.lacking.insert(follower);
        }
        true
    }

    /// Whether records are held back.
    pub(super) const fn holds_any(&self) -> bool {
        self.held.is_some()
    }

    /// The records that are held back, in the order they came.
    pub(super) fn held(&self) -> impl Iterator<Item = &ChainedRecord> {
        self.held.iter().flat_map(|held| held.records.iter())
    }

    /// The record held back that follows a position.
    pub(super) fn successor(&self, at: Position) -> Option<&ChainedRecord> {
        self.held().find(|record| record.place.before == at)
    }

    /// The followers to whom these came, and who could not be told.
    pub(super) fn lacking(&self) -> impl Iterator<Item = ConnectionKey> {
        self.held
            .iter()
            .flat_map(|held| held.lacking.iter().copied())
    }

    /// Gives up the records that are held back.
    pub(super) fn release(&mut self) {
        self.held = None;
    }
}

impl Fingerprint for FollowedLogs {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        // The index follows from them.
        self.slots.fingerprint(now, hasher);
    }
}

impl Fingerprint for FollowedLog {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.channel.fingerprint(now, hasher);
        for follower in self.followers() {
            follower.fingerprint(now, hasher);
        }
        for record in self.held() {
            record.hash(hasher);
        }
        for follower in self.lacking() {
            follower.fingerprint(now, hasher);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Seed;
    use crate::base::slots::SlotKey as _;
    use crate::id::UserId;

    fn channel(name: &str) -> Channel {
        Channel::from(UserId::new(name).expect("a user"))
    }

    fn follower(slot: u32) -> ConnectionKey {
        ConnectionKey::new(slot, 0)
    }

    #[test]
    fn a_log_is_there_from_its_first_follower_to_its_last() {
        let mut logs = FollowedLogs::new(&SeededHash::new(&Seed::new([7; 32])));
        let ann = logs.join(channel("ann"), follower(0));
        let bob = logs.join(channel("bob"), follower(1));
        assert_eq!(logs.join(channel("ann"), follower(2)), ann);
        assert_eq!(logs.join(channel("ann"), follower(3)), ann);
        logs.leave(ann, follower(0));
        let left = logs.get(ann).expect("it is followed");
        assert!(left.followers().eq([follower(2), follower(3)]) && left.crew() == 2);
        logs.leave(ann, follower(2));
        logs.leave(ann, follower(2));
        assert_eq!(logs.find(&channel("ann")), Some(ann));
        logs.leave(ann, follower(3));
        assert_eq!(logs.find(&channel("ann")), None);
        assert_eq!(logs.find(&channel("bob")), Some(bob));
        assert!(logs.get(ann).is_none() && logs.len() == 1);
    }

    #[test]
    fn what_is_kept_of_a_log_with_one_follower_is_small() {
        assert_eq!(Slots::<LogKey, FollowedLog>::BYTES, 56);
    }
}
