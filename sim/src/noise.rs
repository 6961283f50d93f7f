//! Keyed noise: a delay or a coin is a function of the seed, of what it is for, of stable names and
//! numbers and of the moment, never the next draw of a stream. Taking one item out of a schedule
//! leaves the noise of all the others as it was, and so does whatever else is sent over the same
//! way: what is sent at one moment takes the same time whether or not something was sent before it.

use std::time::Duration;

use switchboard_core::time::Instant;

use crate::fingerprint::fingerprint;

/// What a number is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The id of an instance: host, life.
    InstanceId = 1,
    /// The seed of an instance: host, life, word.
    InstanceSeed = 2,
    /// The turns of an instance: host, life, number of the slot.
    Turn = 3,
    /// The way to the directory: host, life.
    Request = 4,
    /// The way back: host, life.
    Reply = 5,
    /// The pause before the directory link is opened again: host, life, moment.
    Reconnect = 6,
    /// Where a pipeline is torn: host, life, moment.
    Tear = 7,
    /// How late a stray request is executed: host, life, moment.
    Stray = 8,
    /// The way over a link: dialler, acceptor, direction.
    Link = 9,
    /// The way between a terminal and its instance: client, moment of its connect, direction.
    Terminal = 10,
    /// The balancer's choice: client, moment, host.
    Balancer = 11,
    /// What the generator decides: what for, number of the item.
    Generator = 12,
    /// The pause before a client connects anew: client, moment.
    Backoff = 13,
    /// Which host is connected to a former primary: host, life, server.
    FormerPrimary = 14,
}

/// The source of all noise of one world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Noise(u64);

/// How many times its base a way can be stalled.
const STALL_FACTOR: u64 = 20;
/// And how long at most: a slow way has no slower tail.
const STALL_MAX: Duration = Duration::from_millis(200);
/// A way can be stalled once in so many times the longest stall. With one stall in two, of half the
/// length on average, what is sent at a random moment meets one in 64 times.
const STALL_WINDOW: u64 = 16;

impl Noise {
    /// The noise of this seed.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number for this purpose and these ids.
    pub(crate) fn draw(self, purpose: Purpose, ids: &[u64]) -> u64 {
        let mut state = mix(self.0 ^ mix(purpose as u64));
        for id in ids {
            state = mix(state ^ mix(*id));
        }
        state
    }

    /// A number below `limit`, or zero.
    pub(crate) fn below(self, limit: u64, purpose: Purpose, ids: &[u64]) -> u64 {
        self.draw(purpose, ids) % limit.max(1)
    }

    /// A span below `span`.
    pub(crate) fn span(self, span: Duration, purpose: Purpose, ids: &[u64]) -> Duration {
        Duration::from_nanos(self.below(nanos(span), purpose, ids))
    }

    /// When that arrives which is sent over a way now: after the base, jitter of as much again, and
    /// a stall of the whole way now and then. Nothing overtakes what was sent before it over the
    /// same way, as long as its base stays the same.
    pub(crate) fn arrival(
        self,
        now: Instant,
        base: Duration,
        purpose: Purpose,
        ids: &[u64],
    ) -> Instant {
        let key = self.draw(purpose, ids);
        let base = nanos(base).max(1);
        let sent = unstalled(key, now.as_nanos(), base);
        // Between two draws the jitter goes straight from one to the other: it never falls faster
        // than time passes.
        let (slot, part) = (sent / base, sent % base);
        let jitter = |slot| mix(key ^ mix(slot)) % base;
        let jitter = between(jitter(slot), jitter(slot + 1), part, base);
        Instant::from_nanos(sent.saturating_add(base).saturating_add(jitter))
    }

    /// The first moment after this one at which somebody takes what has come: one in each slot.
    // Where the length is a constant nothing is divided by it.
    #[inline]
    pub(crate) fn slot(
        self,
        now: Instant,
        slot: Duration,
        purpose: Purpose,
        ids: &[u64],
    ) -> Instant {
        let key = self.draw(purpose, ids);
        let length = nanos(slot).max(1);
        let first = now.as_nanos() / length;
        let of = |slot: u64| slot * length + mix(key ^ mix(slot)) % length;
        let here = of(first);
        Instant::from_nanos(if here > now.as_nanos() {
            here
        } else {
            of(first + 1)
        })
    }
}

/// The base of the delay of ways of one kind, which changes now and then.
#[derive(Clone, Debug)]
pub(crate) struct Latency {
    base: Duration,
    /// Larger ones, and until when they held: those that something may still wait for.
    former: Vec<(Instant, Duration)>,
}

fingerprint!(Latency { base, former });

impl Latency {
    /// One that has not changed.
    pub(crate) const fn new(base: Duration) -> Self {
        Self {
            base,
            former: Vec::new(),
        }
    }

    /// The delay before noise is added.
    pub(crate) const fn base(&self) -> Duration {
        self.base
    }

    /// It is another one from here on.
    pub(crate) fn set(&mut self, now: Instant, base: Duration) {
        if base < self.base {
            self.former.push((now, self.base));
        }
        self.base = base;
        // Nothing arrives before it is sent: a packet that is through by now holds nothing up any more.
        (self.former).retain(|&(until, base)| until + at_most(base) > now);
    }

    /// When that arrives which is sent over a way now: no earlier than what could have been sent while
    /// the way was slower, whether or not something was.
    pub(crate) fn arrival(
        &self,
        noise: Noise,
        now: Instant,
        purpose: Purpose,
        ids: &[u64],
    ) -> Instant {
        let before =
            |(until, base): &(Instant, Duration)| noise.arrival(*until, *base, purpose, ids);
        let former = self.former.iter().map(before);
        former.fold(noise.arrival(now, self.base, purpose, ids), Instant::max)
    }
}

/// The longest that what is sent over a way with this base can take, whatever the noise: see
/// [`Noise::arrival`].
pub(crate) fn at_most(base: Duration) -> Duration {
    let base = nanos(base).max(1);
    Duration::from_nanos(longest_stall(base).saturating_add(base.saturating_mul(2)))
}

const fn longest_stall(base: u64) -> u64 {
    let (stall, most) = (
        base.saturating_mul(STALL_FACTOR),
        STALL_MAX.as_nanos() as u64,
    );
    if stall < most { stall } else { most }
}

/// When what is sent at this moment leaves: then, or when the stall ends in which it is sent.
fn unstalled(key: u64, now: u64, base: u64) -> u64 {
    let longest = longest_stall(base);
    let window = longest * STALL_WINDOW;
    let number = now / window;
    let draw = mix(!key ^ mix(number));
    if draw.is_multiple_of(2) {
        return now;
    }
    let length = (draw >> 8) % longest;
    let begin = number * window + mix(draw) % (window - longest);
    if (begin..begin + length).contains(&now) {
        begin + length
    } else {
        now
    }
}

/// What lies between two numbers, so many parts of the whole after the first. None of them is greater
/// than the whole.
fn between(here: u64, next: u64, part: u64, whole: u64) -> u64 {
    // Nearly always the products fit, and a division of 128 bits takes several times as long.
    if whole <= u64::from(u32::MAX) {
        return (here * (whole - part) + next * part) / whole;
    }
    let [here, next, part, whole] = [here, next, part, whole].map(u128::from);
    ((here * (whole - part) + next * part) / whole) as u64
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// A stable number for a name.
pub(crate) fn of_name(name: &str) -> u64 {
    of_name_from(0, name)
}

/// A stable number for a name: a hash, of so many bits that no two names of a world share one in
/// practice.
pub(crate) fn id_of_name(name: &str) -> u128 {
    let [high, low] = [1, 2].map(|half| u128::from(of_name_from(half << 32, name)));
    high << 64 | low
}

fn of_name_from(start: u64, name: &str) -> u64 {
    let start = mix(start ^ name.len() as u64);
    (name.bytes()).fold(start, |state, byte| mix(state ^ u64::from(byte)))
}

/// The finalizer of SplitMix64.
const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::schedule::MAX_LATENCY;

    #[test]
    fn nothing_overtakes_what_was_sent_before_it() {
        let base = Duration::from_micros(300);
        for key in 0..20 {
            let mut last = Instant::START;
            for step in 0..100_000 {
                let now = Instant::from_nanos(3_600_000_000_000 + step * 7919);
                let at = Noise::new(7).arrival(now, base, Purpose::Link, &[key]);
                assert!(at >= last, "{step}");
                assert!(at >= now + base, "{step}");
                last = at;
            }
        }
    }

    #[test]
    fn nothing_overtakes_what_was_sent_when_the_way_was_slower() {
        let mut latency = Latency::new(Duration::from_millis(50));
        let mut last = Instant::START;
        for step in 0..100_000 {
            let now = Instant::from_nanos(3_600_000_000_000 + step * 7919);
            if step == 20_000 {
                latency.set(now, Duration::from_micros(300));
            }
            let at = latency.arrival(Noise::new(7), now, Purpose::Link, &[1]);
            assert!(at >= last, "{step}");
            last = at;
        }
    }

    #[test]
    fn a_way_that_was_slower_is_forgotten_when_nothing_of_it_is_left() {
        let [slow, fast] = [50, 1].map(Duration::from_millis);
        let begin = Instant::from_nanos(3_600_000_000_000);
        let mut latency = Latency::new(slow);
        latency.set(begin, fast);
        let through = begin + at_most(slow);
        for key in 0..10_000 {
            let at = Noise::new(7).arrival(begin, slow, Purpose::Link, &[key]);
            assert!(at <= through, "{key}");
        }
        latency.set(begin + slow, fast);
        assert_eq!(latency.former, [(begin, slow)]);
        latency.set(through, fast);
        assert_eq!(latency.former, []);
    }

    #[test]
    fn nothing_overflows_on_a_way_as_slow_as_can_be_told() {
        let now = Instant::from_nanos(3_600_000_000_000);
        for base in [MAX_LATENCY, Duration::from_secs(999_999_999), Duration::MAX] {
            let at = Noise::new(7).arrival(now, base, Purpose::Link, &[1]);
            assert!(at.as_nanos() >= nanos(base), "{base:?}");
        }
    }

    #[test]
    fn a_way_is_stalled_now_and_then() {
        let base = Duration::from_millis(2);
        let late = (0..100_000)
            .filter(|step| {
                let now = Instant::from_nanos(step * 1_000_003);
                let at = Noise::new(7).arrival(now, base, Purpose::Terminal, &[1]);
                at > now + base * 2
            })
            .count();
        assert!((500..5000).contains(&late), "{late}");
    }

    #[test]
    fn no_two_names_share_an_id() {
        let names = (0..100_000).map(|number| format!("m{number}"));
        let others = (0..100_000).map(|number| format!("b{number}.{}", number % 12));
        let ids: BTreeSet<u128> = names.chain(others).map(|name| id_of_name(&name)).collect();
        assert_eq!(ids.len(), 200_000);
    }

    #[test]
    fn a_slot_has_one_turn() {
        let slot = Duration::from_micros(100);
        let noise = Noise::new(7);
        let turn = |nanos| noise.slot(Instant::from_nanos(nanos), slot, Purpose::Turn, &[1]);
        let mut turns: Vec<_> = (0..1_000_000).step_by(1000).map(turn).collect();
        assert!(turns.is_sorted());
        turns.dedup();
        assert!((10..=12).contains(&turns.len()), "{turns:?}");
    }
}
