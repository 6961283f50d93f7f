//! The turn: what several events share is put off to its end, and leaves then in one piece.

use std::hash::Hasher;

use crate::base::fingerprint::Fingerprint;
use crate::command::Outbox;
use crate::instance::Instance;
use crate::time::{Instant, Now};

impl Instance {
    /// Takes up what was put off to the end of the turn. What comes of it is of the next turn.
    pub(crate) fn end_turn(&mut self, now: Now, out: &mut Outbox) {
        self.take_up_delivered(now, out);
        for delivery in self.peers.take_failed() {
            self.delivery_failed(now, delivery, out);
        }
        if self.membership.lease_due {
            self.tend_lease(now);
        }
        self.tell_service(now, out);
        self.terminals.end_turn(&mut self.base.context(now, out));
        self.membership
            .flush_trips(&mut self.base.context(now, out));
        self.peers.flush(&mut self.base.context(now, out));
        self.base.turn += 1;
    }

    /// Whether nothing is left.
    pub(crate) fn turn_is_over(&self) -> bool {
        self.terminals.turn_is_over()
            && self.peers.unflushed().is_empty()
            && self.deliver.turn_is_over()
            && self.peers.failed().is_empty()
            && !self.membership.lease_due
    }

    pub(crate) fn fingerprint_turn(&self, now: Instant, hasher: &mut impl Hasher) {
        self.base.turn.fingerprint(now, hasher);
        self.terminals.fingerprint_turn(now, hasher);
        self.peers.unflushed().fingerprint(now, hasher);
        self.deliver.fingerprint_turn(hasher);
        self.peers.failed().fingerprint(now, hasher);
        self.membership.lease_due.fingerprint(now, hasher);
    }

    /// Takes up this instance's answers to its own deliveries.
    pub(crate) fn take_up_delivered(&mut self, now: Now, out: &mut Outbox) {
        for delivered in self.deliver.take_answers_here() {
            self.delivered(now, self.base.identity.instance, delivered, out);
        }
    }
}
