//! The table of links, and which of them may still be anybody's.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;

use crate::base::fingerprint::Fingerprint;
use crate::base::slots::Slots;
use crate::id::LinkKey;
use crate::peers::link::Link;
use crate::stats::Tables;
use crate::time::Instant;

/// Links whose other end may be anybody, at most. More than a cluster opens in a moment, and little
/// memory: they may say no more than a handshake has to.
const STRANGERS: usize = 1024;

/// The links of this instance, strangers' among them, by their keys.
#[derive(Clone, Debug)]
pub(super) struct Links {
    slots: Slots<LinkKey, Link>,
    /// Those among the links that others opened and have not proven, by their number.
    strangers: BTreeMap<u64, LinkKey>,
    /// The numbers of those that give way, until they have ended.
    giving_way: BTreeSet<u64>,
    /// Links begun so far.
    begun: u64,
}

impl Links {
    pub(super) const fn new() -> Self {
        Self {
            slots: Slots::new(),
            strangers: BTreeMap::new(),
            giving_way: BTreeSet::new(),
            begun: 0,
        }
    }

    pub(super) fn get(&self, key: LinkKey) -> Option<&Link> {
        self.slots.get(key)
    }

    pub(super) fn get_mut(&mut self, key: LinkKey) -> Option<&mut Link> {
        self.slots.get_mut(key)
    }

    /// Numbers a link in the order of their beginnings.
    pub(super) fn begin(&mut self, mut link: Link) -> LinkKey {
        self.begun += 1;
        link.number = self.begun;
        self.slots.insert(link)
    }

    /// Begins a link that somebody opened who may be anybody. If there are too many of these, the
    /// oldest gives way: a peer proves itself within two round trips, and a stranger that does not
    /// cannot keep others out. Returns the link that gives way, if one has to.
    pub(super) fn begin_stranger(
        &mut self,
        link: Link,
        limit: usize,
    ) -> (LinkKey, Option<LinkKey>) {
        let key = self.begin(link);
        self.strangers.insert(self.begun, key);
        let crowded = self.strangers.len() > STRANGERS.min(limit);
        let oldest = crowded.then(|| self.strangers.pop_first()).flatten();
        self.giving_way.extend(oldest.map(|(number, _)| number));
        (key, oldest.map(|(_, key)| key))
    }

    /// A link's other end has proven itself.
    pub(super) fn no_stranger(&mut self, key: LinkKey) {
        if let Some(link) = self.slots.get(key) {
            self.strangers.remove(&link.number);
            self.giving_way.remove(&link.number);
        }
    }

    /// A link serves. Those that began before crossed it.
    pub(super) fn confirm(&mut self, key: LinkKey) {
        if let Some(link) = self.slots.get_mut(key) {
            link.crossed = self.begun;
        }
    }

    /// Forgets a link, and returns what was known of it.
    pub(super) fn end(&mut self, key: LinkKey) -> Option<Link> {
        self.no_stranger(key);
        self.slots.remove(key)
    }

    /// Links that count against their limit: those that this instance opened, and those whose other end has
    /// proven itself.
    pub(super) fn counted(&self) -> usize {
        self.slots.len() - self.strangers.len() - self.giving_way.len()
    }

    /// Counts what is in its tables.
    pub(super) fn count(&self, tables: &mut Tables) {
        tables.links = self.slots.len();
        tables.strangers = self.strangers.len() + self.giving_way.len();
        for (_, link) in self.slots.iter() {
            link.count(tables);
        }
    }

    /// All links, in the order of their slots.
    pub(super) fn all(&self) -> Vec<LinkKey> {
        self.slots.iter().map(|(key, _)| key).collect()
    }

    /// The links that batches can leave over, in the order of their slots.
    pub(super) fn open(&self) -> Vec<LinkKey> {
        (self.slots.iter())
            .filter(|(_, link)| link.stage.carries())
            .map(|(key, _)| key)
            .collect()
    }
}

impl Fingerprint for Links {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.slots.fingerprint(now, hasher);
        self.begun.fingerprint(now, hasher);
    }
}
