//! The event queue: what will happen, by time and then by the order in which it was put in.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use slab::Slab;
use switchboard_core::time::Instant;

use crate::fingerprint::{Fingerprint as _, Print};
use crate::observed::Life;
use crate::schedule::Item;
use crate::vocabulary::happening::Happening;

/// When something will happen, and what or where that is.
#[derive(Clone, Copy, Debug)]
struct Scheduled<T> {
    at: Instant,
    sequence: u64,
    what: T,
}

impl<T> Scheduled<T> {
    /// By time, and then by the order in which they were put in. One number: a heap compares all the
    /// time, and cannot guess what comes of it.
    const fn key(&self) -> u128 {
        (self.at.as_nanos() as u128) << 64 | self.sequence as u128
    }
}

impl<T> Ord for Scheduled<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl<T> PartialOrd for Scheduled<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }

    fn lt(&self, other: &Self) -> bool {
        self.key() < other.key()
    }

    fn le(&self, other: &Self) -> bool {
        self.key() <= other.key()
    }
}

impl<T> PartialEq for Scheduled<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Scheduled<T> {}

/// The heap, and a list beside it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    /// Each with its place in `kept`: what happens is large, and a heap moves what it holds.
    heap: BinaryHeap<Reverse<Scheduled<usize>>>,
    kept: Slab<Happening>,
    /// The last one first. Turns are two in five of all that happens, and each instance has one at
    /// most that is to come: a short list takes less than the heap.
    turns: Vec<Scheduled<Life>>,
    sequence: u64,
}

impl Queue {
    pub(crate) fn put(&mut self, at: Instant, happening: Happening) {
        self.sequence += 1;
        let sequence = self.sequence;
        if let Happening::Turn(what) = happening {
            let turn = Scheduled { at, sequence, what };
            let place = self.turns.iter().rposition(|other| turn < *other);
            let place = place.map_or(0, |place| place + 1);
            self.turns.insert(place, turn);
            return;
        }
        let what = self.kept.insert(happening);
        self.heap.push(Reverse(Scheduled { at, sequence, what }));
    }

    #[inline]
    pub(crate) fn take(&mut self) -> Option<(Instant, Happening)> {
        if self.is_turn_next() {
            let turn = self.turns.pop()?;
            return Some((turn.at, Happening::Turn(turn.what)));
        }
        let Reverse(entry) = self.heap.pop()?;
        Some((entry.at, self.kept.remove(entry.what)))
    }

    /// Feeds what will happen to a print, in its order: items by what they do. What checkers asked for
    /// is their own affair.
    pub(crate) fn fingerprint(&self, items: &[Item], to: &mut Print) {
        let turn = |turn: &Scheduled<Life>| (turn.key(), turn.at, Happening::Turn(turn.what));
        let kept = |Reverse(entry): &Reverse<Scheduled<usize>>| {
            (entry.key(), entry.at, self.kept[entry.what].clone())
        };
        let turns = self.turns.iter().map(turn);
        let mut entries: Vec<_> = self.heap.iter().map(kept).chain(turns).collect();
        entries.sort_unstable_by_key(|(key, ..)| *key);
        for (_, at, happening) in entries {
            if let Happening::Deadline { .. } | Happening::Tick = happening {
                continue;
            }
            at.fingerprint(to);
            match happening {
                Happening::Item(index) => items[index].act.fingerprint(to),
                other => other.fingerprint(to),
            }
        }
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        if self.is_turn_next() {
            return Some(self.turns.last()?.at);
        }
        Some(self.heap.peek()?.0.at)
    }

    fn is_turn_next(&self) -> bool {
        match (self.turns.last(), self.heap.peek()) {
            (Some(turn), Some(Reverse(entry))) => turn.key() < entry.key(),
            (turn, _) => turn.is_some(),
        }
    }
}
