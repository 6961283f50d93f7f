//! A timing wheel.
//!
//! Entries are never removed: what moves a deadline only notes the new one elsewhere, and the owner of
//! the timer looks at that note when the entry comes out, and arms again if it is not time
//! yet. So a renewal costs one write.

use std::collections::VecDeque;

use crate::time::Instant;

/// Timers by their deadline, rounded up to ticks of 2^20 nanoseconds (about a millisecond).
///
/// The owner calls [`Timers::pop`] until it returns nothing more, with the greatest `now` so far, and
/// again when [`Timers::next`] is due. A call before that returns nothing and does no harm.
///
/// Eight levels of 64 slots: a slot of level 0 holds the entries of one tick, a slot of each
/// further level those of 64 slots of the level below. Together they reach further than
/// [`Instant`] does, so there is no horizon. An entry lies in the lowest level at which its tick
/// and the present one differ in no higher digit (of base 64). When the present enters a slot of a
/// higher level, its entries move down: each at most seven times, whatever the time in between.
#[derive(Clone, Debug)]
pub(crate) struct Timers<T> {
    /// `LEVELS * SLOTS` of them, level by level. Within a slot in the order of arming.
    slots: Vec<Vec<Armed<T>>>,
    /// One bit for each slot that holds something.
    occupied: [u64; LEVELS],
    /// One bit for each level that holds something.
    levels: u8,
    /// The tick up to which slots are emptied. All that is in them is later.
    present: u64,
    /// The greatest `now` so far.
    seen: Instant,
    /// What has come out of the slots and was not popped yet: all of the tick `present`.
    due: VecDeque<T>,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Armed<T> {
    tick: u64,
    timer: T,
}

/// Nanoseconds of a tick, as a power of two.
const TICK_BITS: u32 = 20;
/// Slots of a level, as a power of two: their occupancy is one word.
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// Levels: 8 * 6 bits hold any tick, which has 45 at most.
const LEVELS: usize = 8;
/// The tick of the end of time, which is where [`Instant`]s saturate.
const LAST_TICK: u64 = 1 << (u64::BITS - TICK_BITS);
/// Entries for which an empty slot keeps its memory: what slots keep stays below a megabyte, and
/// the steady load of tens of thousands of timers a second allocates nothing.
const KEPT_ENTRIES: usize = 64;

impl<T: Copy> Timers<T> {
    /// No timers. `start` is the present.
    pub(crate) fn new(start: Instant) -> Self {
        Self {
            slots: (0..LEVELS * SLOTS).map(|_| Vec::new()).collect(),
            occupied: [0; LEVELS],
            levels: 0,
            present: passed_ticks(start),
            seen: start,
            due: VecDeque::new(),
            len: 0,
        }
    }

    /// Adds an entry. One whose time has come already is popped in the present run of pops.
    pub(crate) fn arm(&mut self, at: Instant, timer: T) {
        let mut tick = at.as_nanos().div_ceil(1 << TICK_BITS);
        if at <= self.seen {
            tick = tick.min(passed_ticks(self.seen));
        }
        self.len += 1;
        if tick <= self.present {
            self.due.push_back(timer);
        } else {
            self.insert(Armed { tick, timer });
        }
    }

    /// When to call [`Self::pop`]: never later than the first entry's time rounded up to its tick.
    /// It may be earlier, when entries only move to a lower level.
    pub(crate) fn next(&self) -> Option<Instant> {
        if !self.due.is_empty() {
            return Some(instant(self.present));
        }
        let (level, slot) = self.first()?;
        Some(instant(self.start_of(level, slot)))
    }

    /// Takes an entry whose time has come: the earliest tick first, within a tick in the order of
    /// arming. An entry that was armed for a time that had passed counts as of the present tick.
    /// After `None`, [`Self::next`] is later than `now`.
    ///
    /// No entry comes out before its time, and none more than a tick after the first call that
    /// could have given it.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<T> {
        self.seen = self.seen.max(now);
        let passed = passed_ticks(self.seen);
        while self.due.is_empty() {
            let first = self
                .first()
                .map(|(level, slot)| (level, slot, self.start_of(level, slot)));
            match first {
                Some((level, slot, start)) if start <= passed => {
                    self.present = start;
                    self.empty(level, slot);
                }
                Some(_) | None => {
                    self.present = passed;
                    return None;
                }
            }
        }
        let timer = self.due.pop_front()?;
        self.len -= 1;
        if self.due.is_empty() && self.due.capacity() > KEPT_ENTRIES {
            self.due = VecDeque::new();
        }
        Some(timer)
    }

    /// How many entries there are, out of date or not.
    #[cfg(test)]
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// The first slot that holds something: what is in a lower level is earlier.
    fn first(&self) -> Option<(usize, usize)> {
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros() as usize;
        Some((level, self.occupied[level].trailing_zeros() as usize))
    }

    /// The first tick of a slot, which shares all higher digits with the present.
    const fn start_of(&self, level: usize, slot: usize) -> u64 {
        let below = SLOT_BITS * level as u32;
        let above = below + SLOT_BITS;
        (self.present >> above << above) | ((slot as u64) << below)
    }

    /// The entry must be later than the present.
    fn insert(&mut self, entry: Armed<T>) {
        let highest_difference = (self.present ^ entry.tick).ilog2();
        let level = (highest_difference / SLOT_BITS) as usize;
        let slot = (entry.tick >> (SLOT_BITS * level as u32)) as usize % SLOTS;
        self.slots[level * SLOTS + slot].push(entry);
        self.occupied[level] |= 1 << slot;
        self.levels |= 1 << level;
    }

    /// Moves the entries of a slot whose first tick is the present one to lower levels, or out.
    fn empty(&mut self, level: usize, slot: usize) {
        self.occupied[level] &= !(1 << slot);
        if self.occupied[level] == 0 {
            self.levels &= !(1 << level);
        }
        let index = level * SLOTS + slot;
        let mut entries = std::mem::take(&mut self.slots[index]);
        for entry in entries.drain(..) {
            if entry.tick == self.present {
                self.due.push_back(entry.timer);
            } else {
                self.insert(entry);
            }
        }
        if entries.capacity() <= KEPT_ENTRIES {
            self.slots[index] = entries;
        }
    }
}

/// Ticks that have passed in full. At the end of time all have.
const fn passed_ticks(now: Instant) -> u64 {
    if now.as_nanos() == u64::MAX {
        LAST_TICK
    } else {
        now.as_nanos() >> TICK_BITS
    }
}

const fn instant(tick: u64) -> Instant {
    Instant::from_nanos(if tick >= LAST_TICK {
        u64::MAX
    } else {
        tick << TICK_BITS
    })
}

#[cfg(test)]
#[expect(
    clippy::disallowed_types,
    reason = "the macro that chooses among strategies shares them"
)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const TICK: u64 = 1 << TICK_BITS;

    #[test]
    fn an_entry_comes_out_at_its_tick_and_not_before() {
        let mut timers = Timers::new(Instant::START);
        timers.arm(at(TICK + 1), 'a');
        assert_eq!(timers.next(), Some(at(2 * TICK)));
        assert_eq!(timers.pop(at(2 * TICK - 1)), None);
        assert_eq!(timers.pop(at(2 * TICK)), Some('a'));
        assert_eq!(
            (timers.pop(at(2 * TICK)), timers.next(), timers.len()),
            (None, None, 0)
        );
    }

    #[test]
    fn entries_of_one_tick_come_out_in_the_order_of_arming_from_whatever_level() {
        let due = at(100_000 * TICK);
        let mut timers = Timers::new(Instant::START);
        timers.arm(due, 1);
        assert_eq!(timers.pop(at(99_000 * TICK)), None);
        timers.arm(due, 2);
        assert_eq!(timers.pop(at(99_999 * TICK)), None);
        timers.arm(due, 3);
        assert_eq!(run(&mut timers, due), [1, 2, 3]);
    }

    #[test]
    fn what_is_armed_during_a_run_for_a_time_that_has_come_is_popped_in_the_same_run() {
        let now = at(10 * TICK + TICK / 2);
        let mut timers = Timers::new(Instant::START);
        timers.arm(at(5 * TICK), 1);
        timers.arm(at(9 * TICK), 2);
        assert_eq!(timers.pop(now), Some(1));
        timers.arm(at(0), 3);
        timers.arm(now, 4);
        assert_eq!(run(&mut timers, now), [3, 2, 4]);
        timers.arm(at(0), 5);
        assert!(timers.next() <= Some(now));
        assert_eq!(run(&mut timers, now), [5]);
    }

    /// H45: a deadline beyond all reach is kept, and never comes too early.
    #[test]
    fn the_end_of_time_is_a_time() {
        let mut timers = Timers::new(at(u64::MAX - 3 * TICK));
        timers.arm(at(u64::MAX), 2);
        timers.arm(at(u64::MAX - TICK), 1);
        assert_eq!(timers.pop(at(u64::MAX - 2 * TICK)), None);
        assert_eq!(timers.pop(at(u64::MAX - 1)), Some(1));
        assert_eq!(timers.pop(at(u64::MAX - 1)), None);
        assert_eq!(timers.next(), Some(at(u64::MAX)));
        assert_eq!(run(&mut timers, at(u64::MAX)), [2]);

        let mut timers = Timers::new(Instant::START);
        timers.arm(at(u64::MAX), ());
        assert_eq!(timers.pop(at(u64::MAX - 1)), None);
        assert_eq!(timers.pop(at(u64::MAX)), Some(()));
    }

    #[test]
    fn a_long_pause_moves_each_entry_a_few_times_and_large_slots_give_their_memory_back() {
        let entries = 100_000;
        let hour = 3_600_000_000_000;
        let mut timers = Timers::new(Instant::START);
        for entry in 0..entries {
            timers.arm(at(1 + entry * 7_919 % 30_000 * 1_000_000), entry);
        }
        let order = run(&mut timers, at(hour));
        assert_eq!(order.len() as u64, entries);
        assert!(
            timers
                .slots
                .iter()
                .all(|slot| slot.capacity() <= KEPT_ENTRIES)
        );
        assert!(timers.due.capacity() <= KEPT_ENTRIES);
    }

    #[derive(Clone, Debug)]
    enum WheelStep {
        Arm {
            ahead: i64,
        },
        /// Pops until nothing is due, and arms one more after that many pops.
        Run {
            ahead: u64,
            arm_after: usize,
            ahead_of_run: i64,
        },
        /// Pops once.
        Pop {
            ahead: u64,
        },
    }

    proptest! {
        #[test]
        fn timers_behave_as_a_sorted_map(start in 0..u64::MAX / 2, steps in vec(step(), 1..60)) {
            let mut model = Model::new(start);
            for step in steps {
                match step {
                    WheelStep::Arm { ahead } => model.arm(ahead),
                    WheelStep::Pop { ahead } => {
                        model.now += ahead;
                        model.pop()?;
                    }
                    WheelStep::Run { ahead, arm_after, ahead_of_run } => {
                        model.now += ahead;
                        let mut pops = 0;
                        loop {
                            if pops == arm_after {
                                model.arm(ahead_of_run);
                            }
                            pops += 1;
                            if !model.pop()? {
                                break;
                            }
                        }
                    }
                }
                model.check_next()?;
            }
            model.now = u64::MAX;
            while model.pop()? {}
            prop_assert_eq!(model.timers.len(), 0);
            prop_assert_eq!(model.timers.next(), None);
        }
    }

    /// The timers beside a sorted map that is to behave alike.
    struct Model {
        timers: Timers<u64>,
        /// Deadlines in nanoseconds, by tick and number.
        entries: BTreeMap<(u64, u64), u64>,
        now: u64,
        seen: u64,
        /// The tick of the last pop, or the last full one when nothing was due.
        present: u64,
        number: u64,
    }

    impl Model {
        fn new(start: u64) -> Self {
            Self {
                timers: Timers::new(at(start)),
                entries: BTreeMap::new(),
                now: start,
                seen: start,
                present: start / TICK,
                number: 0,
            }
        }

        fn arm(&mut self, ahead: i64) {
            let deadline = self.now.saturating_add_signed(ahead);
            let tick = if deadline <= self.seen {
                deadline
                    .div_ceil(TICK)
                    .min(self.seen / TICK)
                    .max(self.present)
            } else {
                deadline.div_ceil(TICK)
            };
            self.timers.arm(at(deadline), self.number);
            self.entries.insert((tick, self.number), deadline);
            self.number += 1;
        }

        /// Whether there was something to pop.
        fn pop(&mut self) -> Result<bool, TestCaseError> {
            self.seen = self.now;
            let passed = if self.now == u64::MAX {
                u64::MAX
            } else {
                self.now / TICK
            };
            let popped = self.timers.pop(at(self.now));
            let first = self
                .entries
                .first_entry()
                .filter(|entry| entry.key().0 <= passed);
            let Some(first) = first else {
                self.present = passed;
                prop_assert_eq!(popped, None);
                prop_assert!(self.timers.next().is_none_or(|next| next > at(self.now)));
                return Ok(false);
            };
            let (tick, number) = *first.key();
            prop_assert_eq!(popped, Some(number));
            prop_assert!(first.remove() <= self.now, "early");
            self.present = tick;
            prop_assert_eq!(self.timers.len(), self.entries.len());
            Ok(true)
        }

        fn check_next(&self) -> Result<(), TestCaseError> {
            let next = self.timers.next();
            prop_assert_eq!(next.is_none(), self.entries.is_empty());
            if let (Some(next), Some(((tick, _), _))) = (next, self.entries.first_key_value()) {
                prop_assert!(next.as_nanos() <= tick.saturating_mul(TICK), "late");
            }
            Ok(())
        }
    }

    fn step() -> impl Strategy<Value = WheelStep> {
        let near = -3 * TICK as i64..200 * TICK as i64;
        let ahead = || {
            prop_oneof![
                3 => near.clone(),
                2 => 0..3_600_000_000_000_i64,
                1 => 0..i64::MAX,
            ]
        };
        let wait = || {
            prop_oneof![
                1 => 0..=TICK,
                3 => 0..300 * TICK,
                1 => 0..7_200_000_000_000_u64,
                1 => 0..1_u64 << 55,
            ]
        };
        prop_oneof![
            6 => ahead().prop_map(|ahead| WheelStep::Arm { ahead }),
            2 => (wait(), 0..5_usize, ahead())
                .prop_map(|(ahead, arm_after, ahead_of_run)| WheelStep::Run { ahead, arm_after, ahead_of_run }),
            2 => wait().prop_map(|ahead| WheelStep::Pop { ahead }),
        ]
    }

    fn run<T: Copy>(timers: &mut Timers<T>, now: Instant) -> Vec<T> {
        std::iter::from_fn(|| timers.pop(now)).collect()
    }

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }
}
