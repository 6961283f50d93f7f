//! A push to everyone, at one instance: paced, so that it delays nobody else.

use std::hash::Hasher;
use std::time::Duration;

use crate::base::fingerprint::Fingerprint;
use crate::command::Outbox;
use crate::deliver::inbound::Progress;
use crate::deliver::repeat::Known;
use crate::id::InboundKey;
use crate::instance::{Instance, Once};
use crate::message::{Action, Counts, Outcome};
use crate::terminals::outbound::Ticket;
use crate::terminals::registry::Age;
use crate::time::{Instant, Now};

/// The time between two steps.
const STEP: Duration = Duration::from_millis(10);

/// How far a push to everyone is.
#[derive(Clone, Debug)]
pub(crate) struct Broadcasting {
    action: Action,
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
    /// All younger ones; who comes after the beginning is not visited.
    At { age: Age },
    /// All.
    Done,
    /// None: an earlier delivery of the same push serves them, and its counts are waited for.
    Waiting,
    /// None: an earlier delivery of the same push serves them, or nobody does.
    Skipped,
}

impl Broadcasting {
    pub(crate) const fn new(action: Action, terminals: usize) -> Self {
        Self {
            action,
            walk: Walk::At { age: Age::YOUNGEST },
            counts: ZERO,
            open: 0,
            unvisited: terminals as u64,
        }
    }

    pub(crate) const fn resolved(&mut self, outcome: Outcome) {
        self.open = self.open.saturating_sub(1);
        self.counts.add(outcome);
    }

    pub(crate) fn is_complete(&self) -> bool {
        match self.walk {
            Walk::At { .. } | Walk::Waiting => false,
            Walk::Done => self.open == 0,
            Walk::Skipped => true,
        }
    }

    /// Whether it serves terminals itself: its counts are what a repeat is told.
    pub(crate) const fn is_first(&self) -> bool {
        match self.walk {
            Walk::At { .. } | Walk::Done => true,
            Walk::Waiting | Walk::Skipped => false,
        }
    }

    /// The counts. Who has no outcome is queued.
    pub(crate) const fn counts(&self) -> Counts {
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
    written: 0,
    queued: 0,
    gone: 0,
    overflow: 0,
    unreachable: 0,
    too_large: 0,
};

impl Instance {
    pub(crate) fn begin_broadcast(&mut self, now: Now, key: InboundKey) {
        let Some(inbound) = self.deliver.inbound.get_mut(key) else {
            self.bug("a broadcast ended before it began");
            return;
        };
        let push = inbound.push;
        let Progress::Everyone(broadcasting) = &mut inbound.progress else {
            self.bug("a broadcast has users");
            return;
        };
        let present = self.terminals.registry.present() as u64;
        match self.deliver.repeats.known_broadcast(now.mono, push, key) {
            Some(Known::Ended(counts)) => {
                broadcasting.skip(counts);
                self.base.stats.repeats += counts.written;
            }
            Some(Known::Pending) => broadcasting.walk = Walk::Waiting,
            Some(Known::Crowded) => broadcasting.skip(Counts {
                queued: present,
                ..ZERO
            }),
            None if self.deliver.broadcasts.len() >= self.base.config.broadcasts => {
                broadcasting.skip(Counts {
                    overflow: present,
                    ..ZERO
                });
                self.base.stats.overflows += present;
            }
            None => {
                self.deliver.repeats.begin_broadcast(now.mono, push);
                self.deliver.broadcasts.push_back(key);
                if !self.is_armed(Once::Broadcast) {
                    self.arm_once(Once::Broadcast, now.mono);
                }
            }
        }
        self.answer_if_complete(key);
    }

    /// The first delivery of a push to everyone has ended, for whose counts this one waits.
    pub(crate) fn first_broadcast_ended(&mut self, key: InboundKey, counts: Counts) {
        // It may have been answered at its own deadline.
        let Some(inbound) = self.deliver.inbound.get_mut(key) else {
            return;
        };
        if let Progress::Everyone(broadcasting) = &mut inbound.progress {
            broadcasting.skip(counts);
            self.base.stats.repeats += counts.written;
        }
        self.answer_if_complete(key);
    }

    /// Serves the next terminals of the broadcast that has waited longest.
    pub(crate) fn broadcast_due(&mut self, now: Now, out: &mut Outbox) {
        let steps_per_second = (Duration::from_secs(1).as_millis() / STEP.as_millis()) as u32;
        let mut budget = (self.base.config.broadcast_rate / steps_per_second).max(1);
        while budget > 0 {
            let Some(&key) = self.deliver.broadcasts.front() else {
                return;
            };
            if !self.broadcast_one(now, key, out) {
                self.deliver.broadcasts.pop_front();
                self.answer_if_complete(key);
                continue;
            }
            budget -= 1;
        }
        self.arm_once(Once::Broadcast, now.mono + STEP);
    }

    /// Serves one terminal. Returns whether there was one.
    fn broadcast_one(&mut self, now: Now, key: InboundKey, out: &mut Outbox) -> bool {
        let Some(inbound) = self.deliver.inbound.get_mut(key) else {
            return false;
        };
        let push = inbound.push;
        let Progress::Everyone(broadcasting) = &mut inbound.progress else {
            return false;
        };
        let Walk::At { age } = broadcasting.walk else {
            return false;
        };
        let Some((age, connection)) = self.terminals.registry.next_older(age) else {
            broadcasting.walk = Walk::Done;
            return false;
        };
        broadcasting.walk = Walk::At { age };
        broadcasting.unvisited = broadcasting.unvisited.saturating_sub(1);
        let greeted = (self.terminals.registry.get(connection)).filter(|found| found.is_live());
        let Some(id) = greeted.map(|found| found.id) else {
            return true;
        };
        broadcasting.open += 1;
        let action = broadcasting.action.clone();
        let ticket = Ticket {
            delivery: key,
            index: 0,
            push,
        };
        // The same push may have named this terminal's user before.
        let outcome = match self.deliver.repeats.known(now.mono, id, ticket) {
            Some(known) => {
                self.base.stats.repeats += 1;
                known.outcome()
            }
            None => self.act(now, connection, &action, ticket, out).err(),
        };
        if let Some(outcome) = outcome {
            self.set_outcome(ticket, outcome);
        }
        true
    }
}

impl Fingerprint for Broadcasting {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.action.fingerprint(now, hasher);
        std::hash::Hash::hash(&self.walk, hasher);
        self.counts.fingerprint(now, hasher);
        self.open.fingerprint(now, hasher);
        self.unvisited.fingerprint(now, hasher);
    }
}

impl Fingerprint for Action {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        match self {
            Self::Frame(payload) => payload.fingerprint(now, hasher),
            Self::Close(code) => code.fingerprint(now, hasher),
        }
    }
}
