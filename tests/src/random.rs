//! What a seed decides.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

/// Random numbers of one of those that take part.
#[derive(Debug)]
pub(crate) struct Random(ChaCha8Rng);

impl Random {
    /// Those of a seed, for the one of this role and number.
    pub(crate) fn new(seed: u64, role: &str, number: usize) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&(number as u64).to_le_bytes());
        for (byte, letter) in bytes[16..].iter_mut().zip(role.bytes()) {
            *byte = letter;
        }
        Self(ChaCha8Rng::from_seed(bytes))
    }

    /// A number below a limit, which is above zero.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        let number = self.0.next_u64() % limit as u64;
        usize::try_from(number).expect("below a usize")
    }

    /// A time below a limit.
    pub(crate) fn time(&mut self, limit: Duration) -> Duration {
        let part = f64::from(self.0.next_u32()) / f64::from(u32::MAX);
        limit.mul_f64(part)
    }

    pub(crate) fn number(&mut self) -> u128 {
        u128::from(self.0.next_u64()) << 64 | u128::from(self.0.next_u64())
    }

    /// In this order or in another.
    pub(crate) fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            all.swap(last, self.below(last + 1));
        }
    }
}
