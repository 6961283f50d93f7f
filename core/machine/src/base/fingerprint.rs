//! Hashing of what decides future behaviour: in canonical order, with times relative to now.
//!
//! Counters, and timer entries whose owner no longer waits, are left out. Instances with equal
//! fingerprints behave equally.

use std::collections::{BTreeMap, VecDeque};
use std::hash::Hasher;

use crate::base::rng::SeededMap;
use crate::time::Instant;

/// State that decides future behaviour.
pub(crate) trait Fingerprint {
    /// Feeds it to the hasher, as seen at `now`.
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher);
}

/// State without times hashes as it is.
macro_rules! timeless {
    ($($type:ty),* $(,)?) => {
        $(impl $crate::base::fingerprint::Fingerprint for $type {
            fn fingerprint(&self, _: $crate::time::Instant, hasher: &mut impl std::hash::Hasher) {
                std::hash::Hash::hash(self, hasher);
            }
        })*
    };
}

pub(crate) use timeless;

timeless!(bool, u32, u64, usize);

impl Fingerprint for Instant {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        hasher.write_u64(self.as_nanos().wrapping_sub(now.as_nanos()));
    }
}

impl<T: Fingerprint> Fingerprint for Option<T> {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        hasher.write_u8(u8::from(self.is_some()));
        if let Some(value) = self {
            value.fingerprint(now, hasher);
        }
    }
}

impl<A: Fingerprint, B: Fingerprint> Fingerprint for (A, B) {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.0.fingerprint(now, hasher);
        self.1.fingerprint(now, hasher);
    }
}

impl<T: Fingerprint> Fingerprint for [T] {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        hasher.write_usize(self.len());
        for value in self {
            value.fingerprint(now, hasher);
        }
    }
}

impl<T: Fingerprint> Fingerprint for Vec<T> {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.as_slice().fingerprint(now, hasher);
    }
}

impl<T: Fingerprint> Fingerprint for VecDeque<T> {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        hasher.write_usize(self.len());
        for value in self {
            value.fingerprint(now, hasher);
        }
    }
}

impl<K: Fingerprint, V: Fingerprint> Fingerprint for BTreeMap<K, V> {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        hasher.write_usize(self.len());
        for (key, value) in self {
            key.fingerprint(now, hasher);
            value.fingerprint(now, hasher);
        }
    }
}

impl<K: Fingerprint + Ord, V: Fingerprint> Fingerprint for SeededMap<K, V> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the entries are sorted before they are used"
    )]
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        let mut entries: Vec<(&K, &V)> = self.iter().collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        hasher.write_usize(entries.len());
        for (key, value) in entries {
            key.fingerprint(now, hasher);
            value.fingerprint(now, hasher);
        }
    }
}
