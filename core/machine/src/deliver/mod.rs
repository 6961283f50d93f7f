//! Deliveries at the instance that has the terminals: outcomes, pushes to everyone, repeats.
//!
//! A delivery comes from this instance or over a link. Its terminals are told to the wing that has
//! them; what becomes of each comes back as an outcome, and when all are known, or shortly before
//! the publisher must know, the delivery is answered.

mod broadcast;
mod hooks;
mod inbound;
mod repeat;

use std::collections::VecDeque;
use std::hash::Hasher;

use crate::base::alarm::Alarm;
use crate::base::fingerprint::Fingerprint;
use crate::base::rng::SeededHash;
use crate::base::slots::Slots;
use crate::config::Config;
use crate::context::Context;
use crate::delivery::Delivered;
use crate::id::{InboundKey, LinkKey};
use crate::membership::Membership;
use crate::stats::Level;
use crate::terminals::{self, Terminals};
use crate::time::Instant;
pub(crate) use crate::vocabulary::timer::DeliverTimer as Timer;

use inbound::Inbound;
pub(crate) use inbound::Publisher;
use repeat::Repeats;

/// The deliveries to terminals of this instance.
#[derive(Clone, Debug)]
pub(crate) struct Deliveries {
    inbound: Slots<InboundKey, Inbound>,
    /// Pushes to everyone that have begun, first come first served.
    broadcasts: VecDeque<InboundKey>,
    /// The next step of the broadcasts.
    step: Alarm,
    repeats: Repeats,
    /// Answers to this instance's own deliveries, taken up at the end of the turn, when nothing is
    /// half done.
    answers_here: Vec<Delivered>,
    /// What is to be handed on after each call. There is none between calls of the instance.
    effects: VecDeque<Effect>,
}

/// What a delivery means for others.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// A delivery that came over this link is answered.
    Answer { link: LinkKey, delivered: Delivered },
}

impl Deliveries {
    pub(crate) fn new(config: &Config, hash: &SeededHash) -> Self {
        Self {
            inbound: Slots::new(),
            broadcasts: VecDeque::new(),
            step: Alarm::UNSET,
            repeats: Repeats::new(config.repeat_memory, config.repeat_entries, hash),
            answers_here: Vec::new(),
            effects: VecDeque::new(),
        }
    }

    /// The oldest effect that was not handed on.
    pub(crate) fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Does what is due.
    pub(crate) fn timer_due(
        &mut self,
        cx: &mut Context<'_>,
        membership: &mut Membership,
        terminals: &mut Terminals,
        timer: Timer,
    ) {
        match timer {
            Timer::Inbound(key) => self.inbound_due(key),
            Timer::Broadcast => {
                if self.step.rings(cx.now.mono) {
                    self.broadcast_due(cx, membership, terminals);
                }
            }
        }
    }

    /// Hands on what has changed with terminals, in the order in which it changed.
    pub(crate) fn carry(
        &mut self,
        cx: &mut Context<'_>,
        membership: &mut Membership,
        terminals: &mut Terminals,
    ) {
        while let Some(effect) = terminals.next_effect() {
            match effect {
                terminals::Effect::Opened(key) => membership.row_wanted(cx, terminals, key),
                terminals::Effect::Degraded => membership.degraded(),
                terminals::Effect::DegradationEnded => membership.degradation_ended(),
                terminals::Effect::Ended(key) => membership.row_unwanted(cx, terminals, key),
                terminals::Effect::Gone(key) => membership.socket_gone(cx, terminals, key),
                terminals::Effect::Resolved {
                    connection,
                    ticket,
                    outcome,
                } => self.resolve(cx, connection, ticket, outcome),
            }
        }
    }

    /// Takes the answers to this instance's own deliveries.
    pub(crate) fn take_answers_here(&mut self) -> Vec<Delivered> {
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
                used: self.broadcasts.len(),
                limit: config.broadcasts,
            },
            Level {
                setting: "repeat_entries",
                used: self.repeats.len(),
                limit: config.repeat_entries,
            },
        ]
    }

    /// Whether no answer waits for the end of the turn.
    pub(crate) fn turn_is_over(&self) -> bool {
        debug_assert!(self.effects.is_empty(), "an effect was not handed on");
        self.answers_here.is_empty()
    }

    pub(crate) fn fingerprint_turn(&self, hasher: &mut impl Hasher) {
        std::hash::Hash::hash(&self.answers_here, hasher);
    }

    pub(crate) fn fingerprint_alarm(&self, now: Instant, hasher: &mut impl Hasher) {
        self.step.fingerprint(now, hasher);
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
        self.repeats.fingerprint(now, hasher);
    }
}
