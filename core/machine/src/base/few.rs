//! Lists that are short mostly.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A list whose first entries stand within it, and take no memory of their own. What a push is mostly, to one key, at
/// one instance, for one terminal, fits into a dozen lists of one entry.
pub(crate) type Few<T, const WITHIN: usize = 1> = smallvec::SmallVec<[T; WITHIN]>;

/// Reads a list, and takes memory for entries that have come: how many there are is the word of whoever sends it.
pub(crate) fn read<'de, D: Deserializer<'de>, T: Deserialize<'de>, const WITHIN: usize>(
    deserializer: D,
) -> Result<Few<T, WITHIN>, D::Error> {
    deserializer.deserialize_seq(Entries(PhantomData))
}

struct Entries<T, const WITHIN: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const WITHIN: usize> Visitor<'de> for Entries<T, WITHIN> {
    type Value = Few<T, WITHIN>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut read = Few::new();
        while let Some(entry) = entries.next_element()? {
            read.push(entry);
        }
        Ok(read)
    }
}
