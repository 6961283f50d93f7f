//! What happens between instances, and what it writes into the ledger.

use std::time::Duration;

use crate::ledger::{FaultKind, Scope};
use crate::noise;
use crate::pipe::SILENT_HEARTBEATS;
use crate::schedule::Host;
use crate::world::World;

impl World {
    /// It is a fault when it holds something back, and so is a clog.
    pub(crate) fn cut(&mut self, from: Host, to: Host, both: bool) {
        self.pipes.cuts.extend(directions(from, to, both));
    }

    pub(crate) fn clog(&mut self, from: Host, to: Host, both: bool) {
        self.pipes.clogs.extend(directions(from, to, both));
    }

    pub(crate) fn mend(&mut self, from: Host, to: Host, both: bool) {
        for (from, to) in directions(from, to, both) {
            self.pipes.cuts.remove(&(from, to));
            self.pipes.clogs.remove(&(from, to));
            for kind in [FaultKind::Cut, FaultKind::Clog] {
                self.fault_ends(kind, Some(Scope::Between(from, to)));
            }
        }
        self.release_held();
    }

    pub(crate) fn half_open(&mut self, from: Host, to: Host, both: bool) {
        if !self.pipes.carry(from.0, to.0) {
            return;
        }
        let noticed = self.now + self.config.link_heartbeat * SILENT_HEARTBEATS;
        let scope = Scope::Between(from.0, to.0);
        self.fault(FaultKind::HalfOpen, scope, noticed);
        self.break_silently(from.0, to.0, both);
    }

    /// It is a fault when a dial is refused.
    pub(crate) fn refuse_dials(&mut self, from: Host, to: Host, span: Duration) {
        let pair = (from.0, to.0);
        self.pipes.refusals.insert(pair, self.now + span);
        let scope = Scope::Between(from.0, to.0);
        self.fault_ends(FaultKind::DialsRefused, Some(scope));
    }

    pub(crate) fn reset(&mut self, one: Host, other: Host) {
        if self.pipes.linked(one.0, other.0) {
            let scope = Scope::Between(one.0, other.0);
            self.fault(FaultKind::LinkReset, scope, self.now);
            self.reset_links(one.0, other.0);
        }
    }

    pub(crate) fn link_latency(&mut self, latency: Duration) {
        self.pipes.latency.set(self.now, latency);
        self.fault_ends(FaultKind::LinkSlow, None);
        // A link is opened in six ways, of which two are stalled at most.
        let opened = noise::at_most(latency) * 2 + latency.saturating_mul(8);
        if opened >= self.config.link_timeout {
            self.fault_opens(FaultKind::LinkSlow, Scope::All);
        }
    }
}

/// From the one to the other, and perhaps back.
fn directions(from: Host, to: Host, both: bool) -> impl Iterator<Item = (usize, usize)> {
    let there = (from.0, to.0);
    let back = (to.0, from.0);
    [Some(there), both.then_some(back)].into_iter().flatten()
}
