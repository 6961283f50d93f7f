//! All lanes, by their keys.

use std::collections::VecDeque;
use std::hash::Hasher;

use super::part::Lane;
use crate::base::fingerprint::Fingerprint;
use crate::base::rng::{SeededHash, SeededMap};
use crate::key::Key;
use crate::time::Instant;

/// The lanes of all keys to which something is pushed. Most have one part, and end with it: one that has ended keeps a
/// little memory, which serves the next.
#[derive(Clone, Debug)]
pub(in crate::publish) struct Lanes {
    /// Where the lane of a key stands.
    places: SeededMap<Key, usize>,
    all: Vec<Lane>,
    /// The places of those that have ended.
    ended: Vec<usize>,
    /// The one that was asked for last. What is done for a push asks for the lane of its key some thirty times.
    last: Option<(Key, usize)>,
}

/// Lanes that have ended and keep memory, at most: a burst of pushes, and a tenth of a megabyte.
const SPARE_LANES: usize = 64;
/// Parts for which one keeps memory, at most.
const SPARE_PARTS: usize = 4;

impl Lanes {
    pub(in crate::publish) fn new(hash: &SeededHash) -> Self {
        Self {
            places: SeededMap::with_hasher(hash.clone()),
            all: Vec::new(),
            ended: Vec::new(),
            last: None,
        }
    }

    pub(in crate::publish) fn get(&self, key: &Key) -> Option<&Lane> {
        self.all.get(self.place(key)?)
    }

    pub(in crate::publish) fn get_mut(&mut self, key: &Key) -> Option<&mut Lane> {
        let place = self.place(key)?;
        if self.last.as_ref().is_none_or(|(_, last)| *last != place) {
            self.last = Some((key.clone(), place));
        }
        self.all.get_mut(place)
    }

    fn place(&self, key: &Key) -> Option<usize> {
        match &self.last {
            Some((last, place)) if last == key => Some(*place),
            Some(_) | None => self.places.get(key).copied(),
        }
    }

    /// The lane of a key. One that begins has a first part of this number: no number is used twice, so that an answer
    /// that comes late with one finds nothing.
    pub(in crate::publish) fn begin(&mut self, key: &Key, first: u64) -> &mut Lane {
        let place = self.place(key).unwrap_or_else(|| {
            let place = self.ended.pop().unwrap_or_else(|| {
                self.all.push(Lane::new());
                self.all.len() - 1
            });
            self.all[place].begin(first);
            self.places.insert(key.clone(), place);
            place
        });
        self.last = Some((key.clone(), place));
        &mut self.all[place]
    }

    /// The lane of a key has ended. It is empty.
    pub(in crate::publish) fn end(&mut self, key: &Key) {
        let Some(place) = self.places.remove(key) else {
            return;
        };
        self.last.take_if(|(_, last)| *last == place);
        let lane = &mut self.all[place];
        debug_assert!(lane.parts.is_empty(), "a lane ends with parts in it");
        if self.ended.len() >= SPARE_LANES || lane.parts.capacity() > SPARE_PARTS {
            lane.parts = VecDeque::new();
        }
        self.ended.push(place);
    }

    pub(in crate::publish) fn len(&self) -> usize {
        self.places.len()
    }

    #[cfg(test)]
    pub(in crate::publish) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Parts of the longest that have not ended.
    pub(in crate::publish) fn longest(&self) -> usize {
        self.all.iter().map(Lane::open).max().unwrap_or(0)
    }
}

impl Fingerprint for Lanes {
    #[expect(
        clippy::disallowed_methods,
        reason = "the entries are sorted before they are used"
    )]
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        let mut places: Vec<_> = self.places.iter().collect();
        places.sort_unstable();
        hasher.write_usize(places.len());
        for (key, place) in places {
            key.fingerprint(now, hasher);
            self.all[*place].fingerprint(now, hasher);
        }
    }
}
