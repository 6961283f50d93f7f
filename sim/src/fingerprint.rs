//! Hashing of what decides the future of a world: in canonical order, with times relative to now.
//!
//! What only tells of the past is left out: the ledger, the checkers and what they remember, the
//! trace, statistics. A moment that has passed is one that no longer holds anything back, whenever
//! it was.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use switchboard_core::time::Instant;

/// What decides the future.
pub(crate) trait Fingerprint {
    /// Feeds it to the print.
    fn fingerprint(&self, to: &mut Print);
}

/// A fingerprint in the making.
pub(crate) struct Print {
    /// This moment.
    pub(crate) now: Instant,
    pub(crate) hasher: DefaultHasher,
}

impl Print {
    pub(crate) fn new(now: Instant) -> Self {
        let hasher = DefaultHasher::new();
        Self { now, hasher }
    }

    pub(crate) fn finish(&self) -> u64 {
        self.hasher.finish()
    }

    /// Takes in what can be encoded and holds no times of the world's clock.
    pub(crate) fn encoded(&mut self, value: &impl Serialize) {
        let bytes = postcard::to_stdvec(value).expect("memory takes every byte");
        bytes.hash(&mut self.hasher);
    }

    /// Takes in what is a word of a schedule, or a setting.
    pub(crate) fn word(&mut self, value: &impl Debug) {
        format!("{value:?}").hash(&mut self.hasher);
    }
}

/// State whose fields are fingerprinted in their order, but for those that are left out. A new field
/// does not compile until it is in one of the two lists.
macro_rules! fingerprint {
    ($type:ty { $($field:ident),* $(,)? } without { $($out:ident),* $(,)? }) => {
        impl $crate::fingerprint::Fingerprint for $type {
            fn fingerprint(&self, to: &mut $crate::fingerprint::Print) {
                let Self { $($field,)* $($out: _,)* } = self;
                $($crate::fingerprint::Fingerprint::fingerprint($field, to);)*
            }
        }
    };
    ($type:ty { $($field:ident),* $(,)? }) => {
        $crate::fingerprint::fingerprint!($type { $($field),* } without {});
    };
}
pub(crate) use fingerprint;

/// State without times hashes as it is.
macro_rules! timeless {
    ($($type:ty),* $(,)?) => {
        $(impl $crate::fingerprint::Fingerprint for $type {
            fn fingerprint(&self, to: &mut $crate::fingerprint::Print) {
                std::hash::Hash::hash(self, &mut to.hasher);
            }
        })*
    };
}
pub(crate) use timeless;

timeless!(
    bool,
    i64,
    u32,
    u64,
    usize,
    String,
    Bytes,
    Duration,
    switchboard_core::directory::Operation,
    switchboard_core::frame::CloseCode,
    switchboard_core::frame::Payload,
    switchboard_core::id::CallId,
    switchboard_core::id::ConnectionId,
    switchboard_core::id::ConnectionKey,
    switchboard_core::id::InstanceId,
    switchboard_core::id::LinkKey,
    switchboard_core::id::OpId,
    switchboard_core::id::PushId,
    switchboard_core::id::TopicId,
    switchboard_core::id::UserId,
    switchboard_core::time::WallTime,
);

/// Words of schedules.
macro_rules! words {
    ($($type:ty),* $(,)?) => {
        $(impl $crate::fingerprint::Fingerprint for $type {
            fn fingerprint(&self, to: &mut $crate::fingerprint::Print) {
                to.word(self);
            }
        })*
    };
}
pub(crate) use words;

impl Fingerprint for Instant {
    fn fingerprint(&self, to: &mut Print) {
        self.since(to.now).hash(&mut to.hasher);
    }
}

impl<T: Fingerprint + ?Sized> Fingerprint for Box<T> {
    fn fingerprint(&self, to: &mut Print) {
        self.as_ref().fingerprint(to);
    }
}

impl<T: Fingerprint> Fingerprint for Option<T> {
    fn fingerprint(&self, to: &mut Print) {
        self.is_some().hash(&mut to.hasher);
        if let Some(value) = self {
            value.fingerprint(to);
        }
    }
}

impl<T: Fingerprint + ?Sized> Fingerprint for &T {
    fn fingerprint(&self, to: &mut Print) {
        (*self).fingerprint(to);
    }
}

/// A sequence is fed with its length, or it would run into the next one.
fn sequence<'a, T: Fingerprint + 'a>(values: impl ExactSizeIterator<Item = &'a T>, to: &mut Print) {
    values.len().hash(&mut to.hasher);
    for value in values {
        value.fingerprint(to);
    }
}

impl<T: Fingerprint> Fingerprint for Vec<T> {
    fn fingerprint(&self, to: &mut Print) {
        sequence(self.iter(), to);
    }
}

impl<T: Fingerprint, const N: usize> Fingerprint for [T; N] {
    fn fingerprint(&self, to: &mut Print) {
        sequence(self.iter(), to);
    }
}

impl<T: Fingerprint> Fingerprint for VecDeque<T> {
    fn fingerprint(&self, to: &mut Print) {
        sequence(self.iter(), to);
    }
}

impl<T: Fingerprint> Fingerprint for BTreeSet<T> {
    fn fingerprint(&self, to: &mut Print) {
        sequence(self.iter(), to);
    }
}

impl<K: Fingerprint, V: Fingerprint> Fingerprint for BTreeMap<K, V> {
    fn fingerprint(&self, to: &mut Print) {
        sequence(self.keys(), to);
        sequence(self.values(), to);
    }
}

impl<A: Fingerprint, B: Fingerprint> Fingerprint for (A, B) {
    fn fingerprint(&self, to: &mut Print) {
        self.0.fingerprint(to);
        self.1.fingerprint(to);
    }
}

impl<A: Fingerprint, B: Fingerprint, C: Fingerprint> Fingerprint for (A, B, C) {
    fn fingerprint(&self, to: &mut Print) {
        self.0.fingerprint(to);
        self.1.fingerprint(to);
        self.2.fingerprint(to);
    }
}

impl Fingerprint for switchboard_core::Instance {
    fn fingerprint(&self, to: &mut Print) {
        let now = switchboard_core::time::Now {
            mono: to.now,
            // No instance keeps a moment of its wall clock that decides anything but the end of a
            // token, and that is a moment of its own.
            wall: switchboard_core::time::WallTime::from_millis(0),
        };
        Self::fingerprint(self, now, &mut to.hasher);
    }
}

/// What can be encoded.
macro_rules! encoded {
    ($($type:ty),* $(,)?) => {
        $(impl Fingerprint for $type {
            fn fingerprint(&self, to: &mut Print) {
                to.encoded(self);
            }
        })*
    };
}

encoded!(
    switchboard_core::command::RoundTrip,
    switchboard_core::directory::OperationResult,
    switchboard_core::event::Event,
    switchboard_core::event::LinkFailure,
);
