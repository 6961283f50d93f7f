//! The end of a turn: what several events share was put off to it, and leaves in one piece.

use super::Instance;
use crate::command::Outbox;
use crate::time::Now;
use crate::vocabulary::service::Service;

impl Instance {
    /// Takes up what was put off to the end of the turn, and lets it leave in one piece. What comes
    /// of it is of the next turn.
    ///
    /// First what may still queue something: answers to this instance's own deliveries, and
    /// deliveries that cannot be sent, end pushes, which may send new deliveries and ask the
    /// directory. Then the lease and what peers are told of it, which follow from all that has
    /// happened. Then what was queued leaves: for terminals, for the directory, and for peers.
    /// The order of these three is fixed, because equal instances give equal commands, but it is no
    /// promise: nothing depends on it, and a caller may rely only on the order of the commands of one
    /// connection, of one link and of the directory.
    pub(super) fn end_turn(&mut self, now: Now, out: &mut Outbox) {
        let (cx, wings, publish) = &mut self.apart(now, out);
        publish.end_turn(cx, wings);
        for read in publish.take_members_read() {
            wings.presence.members_read(cx, read);
        }
        let departure = self.drain.departure();
        let cx = &mut self.base.context(now, out);
        (self.membership).tend_lease(cx, &self.terminals, departure);
        self.tell_service(now, out);
        let cx = &mut self.base.context(now, out);
        self.follow.end_turn(cx, &mut self.membership);
        self.terminals.end_turn(cx);
        self.membership.flush(cx);
        self.peers.flush(cx);
        self.base.turn += 1;
    }

    /// Whether nothing is put off to the end of the turn.
    pub(super) fn turn_is_over(&self) -> bool {
        debug_assert!(!self.base.has_effects(), "an effect was not carried");
        self.terminals.turn_is_over()
            && self.peers.unflushed().is_empty()
            && self.deliver.turn_is_over()
            && self.publish.turn_is_over()
            && self.peers.failed().is_empty()
            && self.membership.turn_is_over()
            && !(self.membership.is_linked() && self.follow.is_due())
    }

    /// Tells the peers how the directory serves this instance.
    fn tell_service(&mut self, now: Now, out: &mut Outbox) {
        let nobody = !self.drain.takes_terminals() && self.terminals.len() == 0;
        let service = match self.membership.service(now.mono) {
            Service::None if nobody => Service::Vacant,
            service @ (Service::Full | Service::Behind | Service::None | Service::Vacant) => {
                service
            }
        };
        let cx = &mut self.base.context(now, out);
        self.peers.tell_service(cx, service);
    }
}
