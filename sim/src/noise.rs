//! Keyed noise: a delay or a coin is a function of the seed, of what it is for and of stable
//! numbers, never the next draw of a stream. Taking one item out of a schedule leaves the noise of
//! all the others as it was.

use std::time::Duration;

/// What a number is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The id of an instance: host, life.
    InstanceId = 1,
    /// The seed of an instance: host, life, word.
    InstanceSeed = 2,
    /// The time from an input to the turn that takes it: host, life, number of the turn.
    Turn = 3,
    /// The way to the directory: host, life, number of the trip.
    Request = 4,
    /// The way back: host, life, number of the trip.
    Reply = 5,
    /// The pause before the directory link is opened again: host, life, number of the try.
    Reconnect = 6,
    /// Where a pipeline is torn: host, life, number of the trip.
    Tear = 7,
    /// How late a stray request is executed: host, life, number of the trip.
    Stray = 8,
    /// The way over a link: the link, direction, number of the message.
    Link = 9,
    /// The way between a terminal and its instance: session, number of the frame.
    Terminal = 10,
    /// The balancer's choice: session.
    Balancer = 11,
    /// What the generator decides: what for, number of the item.
    Generator = 12,
    /// Who is connected to a former primary: host, life, server.
    FormerPrimary = 13,
}

/// The source of all noise of one world.
#[derive(Clone, Copy, Debug)]
pub struct Noise(u64);

/// One delay of so many is a long one.
const TAIL_ONE_IN: u64 = 64;
/// How much longer.
const TAIL_FACTOR: u32 = 20;
/// And how long at most: a slow way has no slower tail.
const TAIL_MAX: Duration = Duration::from_millis(200);

impl Noise {
    /// The noise of this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number for this purpose and these ids.
    pub fn draw(self, purpose: Purpose, ids: &[u64]) -> u64 {
        let mut state = mix(self.0 ^ mix(purpose as u64));
        for id in ids {
            state = mix(state ^ mix(*id));
        }
        state
    }

    /// A number below `limit`, or zero.
    pub fn below(self, limit: u64, purpose: Purpose, ids: &[u64]) -> u64 {
        self.draw(purpose, ids) % limit.max(1)
    }

    /// A span below `span`.
    pub fn span(self, span: Duration, purpose: Purpose, ids: &[u64]) -> Duration {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.below(nanos, purpose, ids))
    }

    /// The time of a way: the base, jitter of as much again, and a long one now and then.
    pub fn way(self, base: Duration, purpose: Purpose, ids: &[u64]) -> Duration {
        let jitter = self.span(base, purpose, ids);
        let long = (self.draw(purpose, ids) >> 32).is_multiple_of(TAIL_ONE_IN);
        let tail = (jitter * TAIL_FACTOR).min(TAIL_MAX);
        base + if long { jitter.max(tail) } else { jitter }
    }
}

/// The finalizer of SplitMix64.
const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}
