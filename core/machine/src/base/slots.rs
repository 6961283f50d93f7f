//! A table whose keys notice that they are out of date.

use std::hash::Hasher;

use crate::base::fingerprint::Fingerprint;
use crate::time::Instant;

/// An index and the generation of what lived there when the key was made.
pub(crate) trait SlotKey: Copy {
    fn new(slot: u32, generation: u32) -> Self;
    fn slot(self) -> u32;
    fn generation(self) -> u32;
}

/// Values in numbered slots. A slot is used again, first freed first, and its generation goes up
/// each time, so that a key of the former value finds nothing.
#[derive(Clone, Debug)]
pub(crate) struct Slots<K, T> {
    slots: Vec<Slot<T>>,
    free: std::collections::VecDeque<u32>,
    key: std::marker::PhantomData<K>,
}

#[derive(Clone, Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<K: SlotKey, T> Slots<K, T> {
    /// Bytes of a slot.
    #[cfg(test)]
    pub(crate) const BYTES: usize = size_of::<Slot<T>>();

    pub(crate) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: std::collections::VecDeque::new(),
            key: std::marker::PhantomData,
        }
    }

    pub(crate) fn insert(&mut self, value: T) -> K {
        if let Some(index) = self.free.pop_front() {
            let slot = &mut self.slots[index as usize];
            slot.generation = slot.generation.wrapping_add(1);
            slot.value = Some(value);
            return K::new(index, slot.generation);
        }
        let index = u32::try_from(self.slots.len()).expect("fewer than 2^32 slots");
        self.slots.push(Slot {
            generation: 0,
            value: Some(value),
        });
        K::new(index, 0)
    }

    pub(crate) fn get(&self, key: K) -> Option<&T> {
        let slot = self.slots.get(key.slot() as usize)?;
        (slot.generation == key.generation()).then_some(slot.value.as_ref())?
    }

    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.slot() as usize)?;
        (slot.generation == key.generation()).then_some(slot.value.as_mut())?
    }

    pub(crate) fn remove(&mut self, key: K) -> Option<T> {
        let slot = self.slots.get_mut(key.slot() as usize)?;
        if slot.generation != key.generation() {
            return None;
        }
        let value = slot.value.take()?;
        self.free.push_back(key.slot());
        Some(value)
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key of what is in this slot, if anything is. `None`: there is no slot from here on.
    pub(crate) fn in_slot(&self, slot: u32) -> Option<Option<K>> {
        let found = self.slots.get(slot as usize)?;
        let is_there = found.value.is_some();
        Some(is_there.then(|| K::new(slot, found.generation)))
    }

    /// In the order of the slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let value = slot.value.as_ref()?;
            Some((K::new(u32::try_from(index).ok()?, slot.generation), value))
        })
    }
}

impl<K: SlotKey, T> Slots<K, T> {
    /// Hashes the slots, and each value as `value` does.
    pub(crate) fn fingerprint_by<H: Hasher>(
        &self,
        now: Instant,
        hasher: &mut H,
        value: impl Fn(K, &T, &mut H),
    ) {
        self.free.fingerprint(now, hasher);
        for (index, slot) in (0..).zip(&self.slots) {
            slot.generation.fingerprint(now, hasher);
            hasher.write_u8(u8::from(slot.value.is_some()));
            if let Some(found) = &slot.value {
                value(K::new(index, slot.generation), found, hasher);
            }
        }
    }
}

impl<K: SlotKey, T: Fingerprint> Fingerprint for Slots<K, T> {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.fingerprint_by(now, hasher, |_, value, hasher| {
            value.fingerprint(now, hasher);
        });
    }
}

/// Values beside those of a [`Slots`] table, under its keys. What nothing was noted for has the default.
/// A key that is out of date finds the default as well, and must not be written to.
#[derive(Clone, Debug)]
pub(crate) struct Beside<K, T> {
    /// With the generation of the key that each was noted under.
    values: Vec<(u32, T)>,
    key: std::marker::PhantomData<K>,
}

impl<K: SlotKey, T: Copy + Default> Beside<K, T> {
    pub(crate) const fn new() -> Self {
        Self {
            values: Vec::new(),
            key: std::marker::PhantomData,
        }
    }

    pub(crate) fn get(&self, key: K) -> T {
        match self.values.get(key.slot() as usize) {
            Some((generation, value)) if *generation == key.generation() => *value,
            Some(_) | None => T::default(),
        }
    }

    pub(crate) fn get_mut(&mut self, key: K) -> &mut T {
        let slot = key.slot() as usize;
        if slot >= self.values.len() {
            self.values.resize(slot + 1, (0, T::default()));
        }
        let (generation, value) = &mut self.values[slot];
        if *generation != key.generation() {
            (*generation, *value) = (key.generation(), T::default());
        }
        value
    }
}

/// Large values beside those of a [`Slots`] table, under its keys, of which few or none may have one. It costs
/// eight bytes a slot, up to the last that has one, and what they need.
#[derive(Clone, Debug)]
pub(crate) struct BesideFew<K, T> {
    values: Vec<Option<Box<Noted<T>>>>,
    len: usize,
    key: std::marker::PhantomData<K>,
}

/// A value, with the generation of the key that it was noted under.
#[derive(Clone, Debug)]
struct Noted<T> {
    generation: u32,
    value: T,
}

impl<K: SlotKey, T> BesideFew<K, T> {
    /// Bytes of a value.
    #[cfg(test)]
    pub(crate) const BYTES: usize = size_of::<Noted<T>>();

    pub(crate) const fn new() -> Self {
        Self {
            values: Vec::new(),
            len: 0,
            key: std::marker::PhantomData,
        }
    }

    pub(crate) fn get(&self, key: K) -> Option<&T> {
        let noted = self.values.get(key.slot() as usize)?.as_deref()?;
        (noted.generation == key.generation()).then_some(&noted.value)
    }

    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut T> {
        let noted = self.values.get_mut(key.slot() as usize)?.as_deref_mut()?;
        (noted.generation == key.generation()).then_some(&mut noted.value)
    }

    /// Notes a value, in place of the one that is there.
    pub(crate) fn insert(&mut self, key: K, value: T) {
        let slot = key.slot() as usize;
        if slot >= self.values.len() {
            self.values.resize_with(slot + 1, || None);
        }
        let generation = key.generation();
        let former = self.values[slot].replace(Box::new(Noted { generation, value }));
        self.len += usize::from(former.is_none());
    }

    pub(crate) fn remove(&mut self, key: K) -> Option<T> {
        self.get(key)?;
        let noted = self.values.get_mut(key.slot() as usize)?.take()?;
        self.len -= 1;
        Some(noted.value)
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }
}

impl<K: SlotKey, T: Fingerprint> Fingerprint for BesideFew<K, T> {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        for (slot, noted) in self.values.iter().enumerate() {
            if let Some(noted) = noted {
                slot.fingerprint(now, hasher);
                noted.generation.fingerprint(now, hasher);
                noted.value.fingerprint(now, hasher);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::PushKey;

    #[test]
    fn a_key_of_a_removed_value_finds_nothing_even_when_the_slot_is_used_again() {
        let mut slots: Slots<PushKey, &str> = Slots::new();
        let old = slots.insert("old");
        assert_eq!(slots.remove(old), Some("old"));
        let new = slots.insert("new");
        assert_eq!(new.slot(), old.slot());
        assert_eq!(slots.get(old), None);
        assert_eq!(slots.remove(old), None);
        assert_eq!((slots.get(new), slots.len()), (Some(&"new"), 1));
    }

    #[test]
    fn what_was_noted_beside_a_value_goes_with_it() {
        let mut slots: Slots<PushKey, ()> = Slots::new();
        let mut beside: Beside<PushKey, u8> = Beside::new();
        let (first, old) = (slots.insert(()), slots.insert(()));
        *beside.get_mut(old) = 7;
        assert_eq!((beside.get(first), beside.get(old)), (0, 7));
        slots.remove(old);
        let new = slots.insert(());
        assert_eq!((new.slot(), beside.get(new)), (old.slot(), 0));
        *beside.get_mut(new) += 1;
        assert_eq!((beside.get(old), beside.get(new)), (0, 1));
    }

    #[test]
    fn few_values_beside_are_found_by_their_own_key_alone() {
        let mut slots: Slots<PushKey, ()> = Slots::new();
        let mut beside: BesideFew<PushKey, &str> = BesideFew::new();
        let (first, old) = (slots.insert(()), slots.insert(()));
        beside.insert(old, "old");
        assert_eq!((beside.get(first), beside.get(old)), (None, Some(&"old")));
        slots.remove(old);
        let new = slots.insert(());
        assert_eq!(beside.get(new), None);
        assert_eq!(beside.remove(new), None);
        beside.insert(new, "new");
        assert_eq!((beside.get(old), beside.len()), (None, 1));
        assert_eq!((beside.remove(new), beside.len()), (Some("new"), 0));
    }
}
