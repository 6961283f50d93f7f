//! Random numbers and hashing, from the seed alone.

use std::hash::BuildHasher;

use ahash::AHasher;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};
use uuid::Uuid;

/// What all randomness of an instance is derived from. In production it comes from the operating
/// system and is secret: nonces of the link handshake depend on it.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed([u8; 32]);

impl Seed {
    /// The seed of these bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// What a stream of random numbers is for. Each purpose has its own stream, so that one more draw
/// here changes nothing there.
#[derive(Clone, Copy, Debug)]
pub(crate) enum StreamPurpose {
    ConnectionIds = 1,
    Nonces = 2,
    Jitter = 3,
    Hashing = 4,
    Positions = 5,
}

/// One of an instance's streams of random numbers, which depends on no other.
#[derive(Clone, Debug)]
pub(crate) struct Stream(ChaCha8Rng);

impl Stream {
    pub(crate) fn new(seed: &Seed, purpose: StreamPurpose) -> Self {
        let mut rng = ChaCha8Rng::from_seed(seed.0);
        rng.set_stream(purpose as u64);
        Self(rng)
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    pub(crate) fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    pub(crate) fn bytes16(&mut self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// A random UUID (version 4).
    pub(crate) fn uuid(&mut self) -> Uuid {
        uuid::Builder::from_random_bytes(self.bytes16()).into_uuid()
    }

    /// Between `span * 3 / 4` and `span`: jitter that never makes a period longer than stated.
    pub(crate) fn shortened(&mut self, span: std::time::Duration) -> std::time::Duration {
        let quarter = span / 4;
        let part = self.next_u64() % 1024;
        span - quarter.mul_f64(part as f64 / 1024.0)
    }

    /// Its position, for fingerprints.
    pub(crate) fn position(&self) -> u128 {
        self.0.get_word_pos()
    }
}

/// Hashes table keys that strangers choose: keyed by the seed, so that nobody can prepare
/// collisions, and the same for the same seed. A push looks into tables some thirty times, mostly with
/// keys of a few bytes: SipHash, which the standard library has, would take longer than all that is done
/// with what is found.
#[derive(Clone, Debug)]
pub(crate) struct SeededHash(ahash::RandomState);

impl SeededHash {
    pub(crate) fn new(seed: &Seed) -> Self {
        let mut stream = Stream::new(seed, StreamPurpose::Hashing);
        let [first, second, third, fourth] = std::array::from_fn(|_| stream.next_u64());
        Self(ahash::RandomState::with_seeds(first, second, third, fourth))
    }
}

impl BuildHasher for SeededHash {
    type Hasher = AHasher;

    fn build_hasher(&self) -> AHasher {
        self.0.build_hasher()
    }
}

/// A hash map with a [`SeededHash`]. It is never iterated over: its order means nothing.
pub(crate) type SeededMap<K, V> = std::collections::HashMap<K, V, SeededHash>;
