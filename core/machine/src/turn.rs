//! The turn: what several events share is put off to its end, and leaves then in one piece.

use std::hash::Hasher;

use crate::base::fingerprint::Fingerprint;
use crate::command::Outbox;
use crate::id::{ConnectionKey, DeliveryId, LinkKey};
use crate::instance::Instance;
use crate::peers::wire::Delivered;
use crate::time::{Instant, Now};

/// What is left to do before the turn ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turn {
    /// Counts up when a turn ends.
    pub(crate) number: u64,
    /// Connections with frames to write.
    pub(crate) connections: Vec<ConnectionKey>,
    /// Links with something to say.
    pub(crate) links: Vec<LinkKey>,
    /// This instance's answers to its own deliveries.
    pub(crate) delivered: Vec<Delivered>,
    /// Deliveries that cannot be sent.
    pub(crate) failed: Vec<DeliveryId>,
    /// What the lease should say may have changed.
    pub(crate) lease: bool,
}

impl Turn {
    /// Whether nothing is left.
    pub(crate) fn is_over(&self) -> bool {
        self.connections.is_empty()
            && self.links.is_empty()
            && self.delivered.is_empty()
            && self.failed.is_empty()
            && !self.lease
    }
}

impl Instance {
    /// Takes up what was put off to the end of the turn. What comes of it is of the next turn.
    pub(crate) fn end_turn(&mut self, now: Now, out: &mut Outbox) {
        self.take_up_delivered(now, out);
        for delivery in std::mem::take(&mut self.turn.failed) {
            self.delivery_failed(now, delivery, out);
        }
        if self.turn.lease {
            self.tend_lease(now);
        }
        self.tell_service(now);
        let mut connections = std::mem::take(&mut self.turn.connections);
        for key in connections.drain(..) {
            self.flush_connection(key, out);
        }
        self.turn.connections = connections;
        self.flush_trips(now, out);
        let mut links = std::mem::take(&mut self.turn.links);
        for key in links.drain(..) {
            self.flush_link(now, key, out);
        }
        self.turn.links = links;
        self.turn.number += 1;
    }

    /// Takes up this instance's answers to its own deliveries.
    pub(crate) fn take_up_delivered(&mut self, now: Now, out: &mut Outbox) {
        for delivered in std::mem::take(&mut self.turn.delivered) {
            self.delivered(now, self.identity.instance, delivered, out);
        }
    }
}

impl Fingerprint for Turn {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.number.fingerprint(now, hasher);
        self.connections.fingerprint(now, hasher);
        self.links.fingerprint(now, hasher);
        std::hash::Hash::hash(&self.delivered, hasher);
        self.failed.fingerprint(now, hasher);
        self.lease.fingerprint(now, hasher);
    }
}
