//! What stands under keys and expires unless it is written again.

use std::collections::{BTreeMap, btree_map};
use std::hash::{Hash, Hasher};
use std::ops::Bound;

use crate::key::Key;
use crate::time::Instant;

/// Something that expires.
pub(super) trait Expires {
    /// The moment at which it is gone.
    fn expires(&self) -> Instant;

    /// Drops those parts of it that have expired, as a server does by itself.
    fn drop_expired(&mut self, now: Instant);
}

/// Values under keys, in the order of keys. What has expired is as if it were not there.
#[derive(Clone, Debug)]
pub(super) struct Expiring<T, K = Key> {
    keys: BTreeMap<K, T>,
    /// The key after which the sweep goes on.
    swept: Option<K>,
}

/// How many keys a write looks at for what has expired: more than the one that it can add, so that
/// what nobody asks for is bounded by what stood there when it expired.
pub(super) const SWEEP_KEYS: usize = 2;

impl<T: Expires, K: Clone + Ord + Hash> Expiring<T, K> {
    pub(super) const fn new() -> Self {
        Self {
            keys: BTreeMap::new(),
            swept: None,
        }
    }

    pub(super) fn get(&self, now: Instant, key: &K) -> Option<&T> {
        self.keys.get(key).filter(|value| value.expires() > now)
    }

    pub(super) fn get_mut(&mut self, now: Instant, key: &K) -> Option<&mut T> {
        if self.get(now, key).is_none() {
            self.keys.remove(key);
        }
        self.keys.get_mut(key)
    }

    /// The place of a key, whose value may have expired.
    pub(super) fn entry(&mut self, key: &K) -> btree_map::Entry<'_, K, T> {
        self.keys.entry(key.clone())
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<T> {
        self.keys.remove(key)
    }

    /// All that have not expired.
    pub(super) fn standing(&self, now: Instant) -> impl Iterator<Item = (&K, &T)> {
        (self.keys.iter()).filter(move |(_, value)| value.expires() > now)
    }

    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.swept = None;
    }

    pub(super) fn drop_expired(&mut self, now: Instant) {
        self.keys.retain(|_, value| {
            value.drop_expired(now);
            value.expires() > now
        });
    }

    /// Drops what has expired under the next few keys, in a circle.
    pub(super) fn sweep(&mut self, now: Instant) {
        let after = self.swept.take().map_or(Bound::Unbounded, Bound::Excluded);
        let mut next = self.keys.range_mut::<K, _>((after, Bound::Unbounded));
        let mut expired = Vec::new();
        for _ in 0..SWEEP_KEYS {
            let Some((key, value)) = next.next() else {
                self.swept = None;
                break;
            };
            value.drop_expired(now);
            if value.expires() <= now {
                expired.push(key.clone());
            }
            self.swept = Some(key.clone());
        }
        for key in expired {
            self.keys.remove(&key);
        }
    }

    /// Hashes what decides future answers.
    pub(super) fn fingerprint<H: Hasher>(
        &self,
        now: Instant,
        hasher: &mut H,
        of: impl Fn(&T, &mut H),
    ) {
        for (key, value) in self.standing(now) {
            key.hash(hasher);
            value.expires().since(now).hash(hasher);
            of(value, hasher);
        }
        // Apart from the keys: a list without its length would run into the next one.
        self.standing(now).count().hash(hasher);
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.keys.len()
    }
}
