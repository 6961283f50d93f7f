//! Deliveries at the instance that has the terminals: outcomes, pushes to everyone, repeats.
//!
//! A delivery comes from this instance or over a link. Its terminals are told to the wing that has
//! them; what becomes of each comes back as an outcome, and when all are known, or shortly before
//! the publisher must know, the delivery is answered.

mod broadcast;
mod fate;
mod hooks;
mod inbound;
mod list;
mod outcomes;
mod repeat;
mod walk;

use std::collections::VecDeque;
use std::hash::Hasher;

use crate::base::alarm::Alarm;
use crate::base::few::Few;
use crate::base::fingerprint::Fingerprint;
use crate::base::rng::SeededHash;
use crate::base::slots::Slots;
use crate::config::Config;
use crate::context::Context;
use crate::delivery::Delivered;
use crate::follow::Followers;
use crate::id::InboundKey;
use crate::message::Outcome;
use crate::stats::{Level, Tables};
use crate::terminals::Terminals;
use crate::time::Instant;
use crate::vocabulary::timer::DeliverTimer;

use inbound::Inbound;
pub(crate) use inbound::Publisher;
use repeat::Repeats;

/// The deliveries to terminals of this instance.
#[derive(Clone, Debug)]
pub(crate) struct Deliveries {
    inbound: Slots<InboundKey, Inbound>,
    /// Pushes to everyone, and to members of topics, that have begun, in the order in which they came.
    broadcasts: VecDeque<InboundKey>,
    /// Those of them that wait for no other, in the order of their turns.
    free: VecDeque<InboundKey>,
    /// The next step of the broadcasts.
    step: Alarm,
    /// Until when they leave most of the pace to other pushes, as one has come lately while a broadcast was under way.
    yields_until: Instant,
    repeats: Repeats,
    /// Answers to this instance's own deliveries, taken up at the end of the turn, when nothing is
    /// half done.
    answers_here: Few<Delivered>,
}

impl Deliveries {
    pub(crate) fn new(config: &Config, hash: &SeededHash) -> Self {
        Self {
            inbound: Slots::new(),
            broadcasts: VecDeque::new(),
            free: VecDeque::new(),
            step: Alarm::UNSET,
            yields_until: Instant::START,
            repeats: Repeats::new(config.repeat_memory, config.repeat_entries, hash),
            answers_here: Few::new(),
        }
    }

    /// Does what is due.
    pub(crate) fn timer_due(
        &mut self,
        cx: &mut Context<'_>,
        follow: &mut Followers,
        terminals: &mut Terminals,
        timer: DeliverTimer,
    ) {
        match timer {
            DeliverTimer::Inbound(key) => self.inbound_due(cx, key),
            DeliverTimer::Broadcast => {
                if let Some(due) = self.step.rings_for(cx.now.mono) {
                    self.broadcast_due(cx, follow, terminals, due);
                }
            }
        }
    }

    /// Whether there is something to be [taken](Self::take_outcomes).
    pub(crate) fn has_outcomes(&self, terminals: &Terminals) -> bool {
        terminals.has_outcomes() || self.repeats.has_forgotten()
    }

    /// Takes down what became of frames, in the order in which it did.
    pub(crate) fn take_outcomes(&mut self, cx: &mut Context<'_>, terminals: &mut Terminals) {
        while let Some(outcome) = terminals.next_outcome() {
            self.resolve(cx, outcome);
        }
        if self.repeats.has_forgotten() {
            self.take_forgotten(cx);
        }
    }

    /// Tells the repeats of a push whose first delivery was forgotten before its end.
    fn take_forgotten(&mut self, cx: &mut Context<'_>) {
        let forgotten = self.repeats.take_forgotten();
        for ticket in forgotten.frames {
            self.set_outcome(ticket, Outcome::Queued);
            self.answer_if_complete(cx, ticket.delivery);
        }
        for delivery in forgotten.broadcasts {
            self.first_broadcast_forgotten(cx, delivery);
        }
    }

    /// Takes the answers to this instance's own deliveries.
    pub(crate) fn take_answers_here(&mut self) -> Few<Delivered> {
        std::mem::take(&mut self.answers_here)
    }

    /// Deliveries that are not over.
    pub(crate) fn len(&self) -> usize {
        self.inbound.len()
    }

    /// How full its tables are.
    pub(crate) fn levels(&self, config: &Config) -> [Level; 2] {
        [
            Level {
                setting: "broadcasts",
                used: self.pushes_that_walk(),
                limit: config.broadcasts,
            },
            Level {
                setting: "repeat_entries",
                used: self.repeats.len(),
                limit: config.repeat_entries,
            },
        ]
    }

    /// Counts what is in its tables.
    pub(crate) fn count(&self, tables: &mut Tables) {
        tables.inbound = self.inbound.len();
        tables.broadcasts = self.broadcasts.len();
        tables.memory = self.repeats.remembered();
        tables.remembered = self.repeats.found();
    }

    /// Whether no answer waits for the end of the turn.
    pub(crate) fn turn_is_over(&self) -> bool {
        debug_assert!(
            !self.repeats.has_forgotten(),
            "a repeat waits for what was forgotten"
        );
        self.answers_here.is_empty()
    }

    pub(crate) fn fingerprint_turn(&self, hasher: &mut impl Hasher) {
        std::hash::Hash::hash(&self.answers_here, hasher);
    }

    /// Its timers of which there is one.
    pub(crate) const fn alarms(&self) -> [Alarm; 1] {
        [self.step]
    }

    /// Whether no delivery is left.
    #[cfg(test)]
    pub(crate) fn is_at_rest(&self) -> bool {
        self.inbound.is_empty() && self.broadcasts.is_empty() && self.turn_is_over()
    }
}

impl Fingerprint for Deliveries {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.inbound.fingerprint(now, hasher);
        self.broadcasts.fingerprint(now, hasher);
        self.free.fingerprint(now, hasher);
        if self.yields_until > now {
            self.yields_until.fingerprint(now, hasher);
        }
        self.repeats.fingerprint(now, hasher);
    }
}
