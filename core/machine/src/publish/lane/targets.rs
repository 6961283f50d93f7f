//! The terminals of a part, found by name, and by the delivery that serves them.
//!
//! A user may have thousands of terminals, and each is looked for at least once: when rows are
//! compared with what was served before, and when its outcome comes. So no search goes through all
//! of them.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::ops::Range;

use super::part::Target;
use crate::base::few::Few;
use crate::base::selected::FEW;
use crate::id::{ConnectionId, DeliveryId};

/// The terminals, in the order in which they were found.
#[derive(Clone, Debug, Default)]
pub(super) struct Targets {
    list: Few<Target>,
    /// Their places in the list, if they are more than a few.
    places: BTreeMap<ConnectionId, usize>,
    /// The places that each delivery serves. A delivery may have several.
    deliveries: Few<(DeliveryId, Range<usize>)>,
}

impl Targets {
    pub(super) fn new() -> Self {
        Self {
            list: Few::new(),
            places: BTreeMap::new(),
            deliveries: Few::new(),
        }
    }

    /// Adds a terminal that is not among them.
    pub(super) fn push(&mut self, target: Target) {
        let place = self.list.len();
        match self.deliveries.last_mut() {
            Some((delivery, places)) if *delivery == target.delivery => places.end = place + 1,
            Some(_) | None => self.deliveries.push((target.delivery, place..place + 1)),
        }
        self.list.push(target);
        if place == FEW {
            let places = self.list.iter().map(|target| target.connection).zip(0..);
            self.places.extend(places);
        } else if place > FEW {
            self.places.insert(target.connection, place);
        }
    }

    pub(super) fn has(&self, connection: ConnectionId) -> bool {
        self.place(connection).is_some()
    }

    pub(super) fn find(&mut self, connection: ConnectionId) -> Option<&mut Target> {
        let place = self.place(connection)?;
        self.list.get_mut(place)
    }

    fn place(&self, connection: ConnectionId) -> Option<usize> {
        if self.places.is_empty() {
            let connections = self.list.iter().map(|target| target.connection);
            return (connections.zip(0..))
                .find_map(|(at, place)| (at == connection).then_some(place));
        }
        self.places.get(&connection).copied()
    }

    /// Those that one delivery serves.
    pub(super) fn served_by(&mut self, delivery: DeliveryId) -> impl Iterator<Item = &mut Target> {
        let Self {
            list, deliveries, ..
        } = self;
        let mut rest = list.as_mut_slice();
        let mut skipped = 0;
        (deliveries.iter())
            .filter(move |(of, _)| *of == delivery)
            .flat_map(move |(_, places)| {
                let all = std::mem::take(&mut rest);
                let (_, from) = all.split_at_mut(places.start - skipped);
                let (served, after) = from.split_at_mut(places.len());
                skipped = places.end;
                rest = after;
                served
            })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Target> {
        self.list.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl Hash for Targets {
    /// The rest follows from the list.
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.list.hash(hasher);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::message::Outcome;

    proptest! {
        /// Few or many, they are found as if each was looked at.
        #[test]
        fn targets_are_found_by_name_and_by_delivery(
            deliveries in proptest::collection::vec(0..4_u64, 0..50),
            asked in 0..60_u128,
        ) {
            let all: Vec<Target> = (0_u128..)
                .zip(&deliveries)
                .map(|(name, delivery)| target(name, *delivery))
                .collect();
            let mut targets = Targets::new();
            all.iter().for_each(|target| targets.push(*target));
            prop_assert!(targets.iter().map(name).eq(all.iter().map(name)));
            let there = asked < all.len() as u128;
            prop_assert_eq!(targets.has(connection(asked)), there);
            let found = targets.find(connection(asked)).map(|target| target.connection);
            prop_assert_eq!(found, there.then_some(connection(asked)));
            for delivery in (0..5).map(DeliveryId::new) {
                let served = all.iter().filter(|target| target.delivery == delivery);
                prop_assert!(targets.served_by(delivery).map(|target| name(target)).eq(served.map(name)));
            }
        }
    }

    fn target(name: u128, delivery: u64) -> Target {
        Target {
            connection: connection(name),
            delivery: DeliveryId::new(delivery),
            row: None,
            outcome: Some(Outcome::Written),
        }
    }

    fn name(target: &Target) -> ConnectionId {
        target.connection
    }

    fn connection(name: u128) -> ConnectionId {
        // Not in the order in which they are found.
        ConnectionId::new(Uuid::from_u128(
            name.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 65_537,
        ))
    }
}
