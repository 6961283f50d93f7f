//! A push to everyone, at one instance: paced, so that it delays nobody else.

use std::hash::Hasher;
use std::time::Duration;

use crate::base::fingerprint::Fingerprint;
use crate::config::Config;
use crate::context::Context;
use crate::deliver::Deliveries;
use crate::deliver::inbound::InboundProgress;
use crate::deliver::repeat::Earlier;
use crate::id::InboundKey;
use crate::message::{Counts, Outcome};
use crate::terminals::Terminals;
use crate::time::Instant;
use crate::vocabulary::delivery::{Deed, Ticket};
use crate::vocabulary::terminal::{Age, LifeStage};
use crate::vocabulary::timer::DeliverTimer;

/// The time between two steps.
const STEP: Duration = Config::BROADCAST_STEP;

/// How far a push to everyone is.
#[derive(Clone, Debug)]
pub(super) struct Broadcasting {
    deed: Deed,
    walk: Walk,
    counts: Counts,
    /// Terminals visited and without an outcome.
    open: u64,
    /// Terminals not visited, those included that have gone in the meantime.
    unvisited: u64,
}

/// Which terminals have been visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Walk {
    /// All that are younger; terminals that come after the beginning are not visited.
    At { age: Age },
    /// All of them.
    Done,
    /// None: an earlier delivery of the same push serves them, and its counts are waited for.
    Waiting,
    /// None: an earlier delivery of the same push serves them, or there is no room for another one.
    Skipped,
}

impl Broadcasting {
    pub(super) const fn new(deed: Deed, terminals: usize) -> Self {
        Self {
            deed,
            walk: Walk::At { age: Age::YOUNGEST },
            counts: ZERO,
            open: 0,
            unvisited: terminals as u64,
        }
    }

    pub(super) const fn resolved(&mut self, outcome: Outcome) {
        self.open = self.open.saturating_sub(1);
        self.counts.add(outcome);
    }

    pub(super) fn is_complete(&self) -> bool {
        match self.walk {
            Walk::At { .. } | Walk::Waiting => false,
            Walk::Done => self.open == 0,
            Walk::Skipped => true,
        }
    }

    /// Whether it serves terminals itself: its counts are what a repeat is told.
    pub(super) const fn is_first(&self) -> bool {
        match self.walk {
            Walk::At { .. } | Walk::Done => true,
            Walk::Waiting | Walk::Skipped => false,
        }
    }

    /// The counts. Terminals without an outcome count as queued.
    pub(super) const fn counts(&self) -> Counts {
        let mut counts = self.counts;
        counts.queued += self.open;
        match self.walk {
            Walk::At { .. } | Walk::Waiting => counts.queued += self.unvisited,
            Walk::Done | Walk::Skipped => {}
        }
        counts
    }

    /// Serves nobody, and reports these counts.
    const fn skip(&mut self, counts: Counts) {
        self.walk = Walk::Skipped;
        self.counts = counts;
    }
}

const ZERO: Counts = Counts {
    kept: 0,
    acked: 0,
    written: 0,
    queued: 0,
    gone: 0,
    overflow: 0,
    unreachable: 0,
    too_large: 0,
};

impl Deliveries {
    /// Begins a push to everyone, unless it is a repeat. `present`: terminals that it is for.
    pub(super) fn begin_broadcast(&mut self, cx: &mut Context<'_>, key: InboundKey, present: u64) {
        let now = cx.now.mono;
        let Some(inbound) = self.inbound.get_mut(key) else {
            cx.bug("a broadcast ended before it began");
            return;
        };
        let push = inbound.push;
        let InboundProgress::Everyone(broadcasting) = &mut inbound.progress else {
            cx.bug("a broadcast has users");
            return;
        };
        match self.repeats.known_broadcast(now, push, key) {
            Some(Earlier::Ended(counts)) => {
                broadcasting.skip(counts);
                cx.stats.repeats += counts.written;
            }
            Some(Earlier::Pending) => broadcasting.walk = Walk::Waiting,
            Some(Earlier::Crowded) => broadcasting.skip(Counts {
                queued: present,
                ..ZERO
            }),
            None if self.broadcasts.len() >= cx.config.broadcasts => {
                broadcasting.skip(Counts {
                    overflow: present,
                    ..ZERO
                });
                cx.stats.overflows += present;
            }
            None => {
                self.repeats.begin_broadcast(now, push);
                self.broadcasts.push_back(key);
                if !self.step.is_set() {
                    cx.set(&mut self.step, now, DeliverTimer::Broadcast);
                }
            }
        }
        self.answer_if_complete(cx, key);
    }

    /// The first delivery of a push to everyone has ended, for whose counts this one waits.
    pub(super) fn first_broadcast_ended(
        &mut self,
        cx: &mut Context<'_>,
        key: InboundKey,
        counts: Counts,
    ) {
        // It may have been answered at its own deadline.
        let Some(inbound) = self.inbound.get_mut(key) else {
            return;
        };
        if let InboundProgress::Everyone(broadcasting) = &mut inbound.progress {
            broadcasting.skip(counts);
            cx.stats.repeats += counts.written;
        }
        self.answer_if_complete(cx, key);
    }

    /// The first delivery of a push to everyone goes on, and this one, which waits for its counts, will not
    /// be told: what is known is that the terminals are in its walk.
    pub(super) fn first_broadcast_forgotten(&mut self, cx: &mut Context<'_>, key: InboundKey) {
        // It may have been answered at its own deadline.
        let Some(inbound) = self.inbound.get_mut(key) else {
            return;
        };
        if let InboundProgress::Everyone(broadcasting) = &mut inbound.progress {
            broadcasting.skip(broadcasting.counts());
        }
        self.answer_if_complete(cx, key);
    }

    /// Serves the next terminals of the broadcast that has waited longest.
    pub(super) fn broadcast_due(&mut self, cx: &mut Context<'_>, terminals: &mut Terminals) {
        let steps_per_second = (Duration::from_secs(1).as_millis() / STEP.as_millis()) as u32;
        let mut budget = (cx.config.broadcast_rate / steps_per_second).max(1);
        while budget > 0 {
            let Some(&key) = self.broadcasts.front() else {
                return;
            };
            if !self.broadcast_one(cx, terminals, key) {
                self.broadcasts.pop_front();
                self.answer_if_complete(cx, key);
                continue;
            }
            budget -= 1;
        }
        let at = cx.now.mono + STEP;
        cx.set(&mut self.step, at, DeliverTimer::Broadcast);
    }

    /// Serves one terminal. Returns whether there was one.
    fn broadcast_one(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        key: InboundKey,
    ) -> bool {
        let Some(inbound) = self.inbound.get_mut(key) else {
            return false;
        };
        let push = inbound.push;
        let InboundProgress::Everyone(broadcasting) = &mut inbound.progress else {
            return false;
        };
        let Walk::At { age } = broadcasting.walk else {
            return false;
        };
        let Some((age, connection)) = terminals.next_older(age) else {
            broadcasting.walk = Walk::Done;
            return false;
        };
        broadcasting.walk = Walk::At { age };
        broadcasting.unvisited = broadcasting.unvisited.saturating_sub(1);
        let greeted = (terminals.get(connection)).filter(|found| found.life == LifeStage::Live);
        let Some(id) = greeted.map(|found| found.id) else {
            return true;
        };
        broadcasting.open += 1;
        let deed = broadcasting.deed.clone();
        let ticket = Ticket {
            delivery: key,
            index: 0,
            push,
        };
        // The same push may have named this terminal's user before.
        let outcome = match self.repeats.known(cx.now.mono, id, ticket) {
            Some(known) => {
                cx.stats.repeats += 1;
                known.outcome()
            }
            None => self.act(cx, terminals, connection, &deed, ticket).err(),
        };
        if let Some(outcome) = outcome {
            self.set_outcome(ticket, outcome);
        }
        true
    }
}

impl Fingerprint for Broadcasting {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.deed.fingerprint(now, hasher);
        std::hash::Hash::hash(&self.walk, hasher);
        self.counts.fingerprint(now, hasher);
        self.open.fingerprint(now, hasher);
        self.unvisited.fingerprint(now, hasher);
    }
}
