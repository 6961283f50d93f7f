//! A push to everyone, or to the members of topics, at one instance: a walk, paced, so that it delays nobody else.
//!
//! Walks for the same terminals are done one after the other, so that pushes keep their order; others take
//! turns. The first terminals of a push to topics are served at once, and most such pushes have no others.

use std::hash::Hasher;
use std::time::Duration;

use crate::base::fingerprint::Fingerprint;
use crate::base::flaws::Flaws;
use crate::config::Config;
use crate::context::Context;
use crate::deliver::Deliveries;
use crate::deliver::inbound::InboundProgress;
use crate::deliver::repeat::Earlier;
use crate::id::{ConnectionId, ConnectionKey, InboundKey, PushId, TopicId};
use crate::message::{Action, Counts, Outcome};
use crate::terminals::Terminals;
use crate::time::Instant;
use crate::vocabulary::delivery::{Deed, Ticket};
use crate::vocabulary::terminal::{Age, LifeStage};
use crate::vocabulary::timer::DeliverTimer;

/// The time between two steps.
const STEP: Duration = Config::BROADCAST_STEP;

/// How many members of topics are served at once.
const AT_ONCE: u32 = 128;

/// How far a push to everyone, or to members of topics, is.
#[derive(Clone, Debug)]
pub(super) struct Broadcasting {
    push: PushId,
    action: Action,
    route: WalkRoute,
    /// What it does to the terminals that it comes to.
    deed: Deed,
    walk: Walk,
    counts: Counts,
    /// Terminals visited and without an outcome.
    open: u64,
    /// Terminals not visited, those included that have gone in the meantime.
    unvisited: u64,
}

/// The terminals that a walk comes to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum WalkRoute {
    /// All of them.
    Everyone,
    /// The members of topics, each terminal once.
    Members {
        topics: Vec<TopicId>,
        /// Which of the topics it is at.
        at: usize,
        /// A connection that it leaves out.
        except: Option<ConnectionId>,
    },
}

impl WalkRoute {
    /// The topic that it is at.
    fn topic(&self) -> Option<&TopicId> {
        match self {
            Self::Everyone => None,
            Self::Members { topics, at, .. } => topics.get(*at),
        }
    }

    /// How many terminals there are on it. Members of several topics are counted for each.
    fn terminals(&self, terminals: &Terminals) -> usize {
        match self {
            Self::Everyone => terminals.present(),
            Self::Members { topics, .. } => {
                topics.iter().map(|topic| terminals.members(topic)).sum()
            }
        }
    }

    /// Whether pushes on both have to keep their order.
    fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Everyone, Self::Everyone) => true,
            (Self::Members { topics, .. }, Self::Members { topics: others, .. }) => {
                topics.iter().any(|topic| others.contains(topic))
            }
            (Self::Everyone, Self::Members { .. }) | (Self::Members { .. }, Self::Everyone) => {
                false
            }
        }
    }
}

/// Which terminals have been visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Walk {
    /// All that are younger; terminals that come after the beginning are not visited. Of topics, those of the topic
    /// that it is at, and of all before.
    At { age: Age },
    /// All of them.
    Done,
    /// None: an earlier delivery of the same push serves them, and its counts are waited for.
    Waiting,
    /// None: an earlier delivery of the same push serves them, or there is no room for another one.
    Skipped,
}

impl Broadcasting {
    pub(super) fn new(
        flaws: Flaws,
        push: PushId,
        action: Action,
        route: WalkRoute,
        terminals: &Terminals,
    ) -> Self {
        Self {
            push,
            deed: Deed::new(flaws, push, (None, route.topic()), &action),
            unvisited: route.terminals(terminals) as u64,
            action,
            route,
            walk: Walk::At { age: Age::YOUNGEST },
            counts: ZERO,
            open: 0,
        }
    }

    /// The next terminal, if there is one left.
    fn next(&mut self, flaws: Flaws, terminals: &Terminals) -> Option<(Age, ConnectionKey)> {
        let Walk::At { age } = self.walk else {
            return None;
        };
        let WalkRoute::Members { topics, at, .. } = &mut self.route else {
            return terminals.next_older(age);
        };
        let mut age = age;
        while let Some(topic) = topics.get(*at) {
            if let Some(next) = terminals.next_older_member(topic, age) {
                return Some(next);
            }
            *at += 1;
            age = Age::YOUNGEST;
            if let Some(topic) = topics.get(*at) {
                self.deed = Deed::new(flaws, self.push, (None, Some(topic)), &self.action);
            }
        }
        None
    }

    /// Whether a terminal that it has come to is left out.
    fn leaves_out(
        &self,
        terminals: &Terminals,
        connection: ConnectionKey,
        id: ConnectionId,
    ) -> bool {
        match &self.route {
            WalkRoute::Everyone => false,
            WalkRoute::Members { topics, at, except } => {
                *except == Some(id) || terminals.is_member(connection, &topics[..*at])
            }
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
    /// Begins a push to everyone or to members of topics, unless it is a repeat.
    pub(super) fn begin_broadcast(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        key: InboundKey,
    ) {
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
        let present = broadcasting.unvisited;
        let small = match broadcasting.route {
            WalkRoute::Everyone => false,
            WalkRoute::Members { .. } => present <= u64::from(AT_ONCE),
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
            None if self.broadcasts.len() >= cx.config.broadcasts && !small => {
                broadcasting.skip(Counts {
                    overflow: present,
                    ..ZERO
                });
                cx.stats.overflows += present;
            }
            None => {
                self.repeats.begin_broadcast(now, push);
                self.begin_walk(cx, terminals, key);
            }
        }
        self.answer_if_complete(cx, key);
    }

    /// Serves the first members of topics, if no walk for any of the topics is under way; the rest, and everyone, wait
    /// for the next step.
    fn begin_walk(&mut self, cx: &mut Context<'_>, terminals: &mut Terminals, key: InboundKey) {
        let at_once = match self.route(key) {
            Some(WalkRoute::Members { .. }) => AT_ONCE,
            Some(WalkRoute::Everyone) | None => 0,
        };
        if at_once > 0 && !self.waits_for_another(self.broadcasts.len(), key) {
            let mut budget = at_once;
            if self.walk_on(cx, terminals, key, &mut budget) {
                return;
            }
        }
        self.broadcasts.push_back(key);
        if !self.step.is_set() {
            cx.set(&mut self.step, cx.now.mono, DeliverTimer::Broadcast);
        }
    }

    fn route(&self, key: InboundKey) -> Option<&WalkRoute> {
        match &self.inbound.get(key)?.progress {
            InboundProgress::Everyone(broadcasting) => Some(&broadcasting.route),
            InboundProgress::Keys { .. } => None,
        }
    }

    /// Whether one of the first walks, so many of them, has terminals in common with this one.
    fn waits_for_another(&self, first: usize, key: InboundKey) -> bool {
        let Some(route) = self.route(key) else {
            return false;
        };
        let mut earlier = self.broadcasts.iter().take(first);
        earlier.any(|other| self.route(*other).is_some_and(|other| other.meets(route)))
    }

    /// Serves the next terminals of a walk, one for each of the budget. Returns whether none is left.
    fn walk_on(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        key: InboundKey,
        budget: &mut u32,
    ) -> bool {
        while *budget > 0 {
            if !self.broadcast_one(cx, terminals, key) {
                return true;
            }
            *budget -= 1;
        }
        false
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

    /// Serves the next terminals of those walks that wait for no other, a share each.
    pub(super) fn broadcast_due(&mut self, cx: &mut Context<'_>, terminals: &mut Terminals) {
        let steps_per_second = (Duration::from_secs(1).as_millis() / STEP.as_millis()) as u32;
        let mut budget = (cx.config.broadcast_rate / steps_per_second).max(1);
        while budget > 0 {
            let (_, free): (Vec<_>, Vec<_>) = (self.broadcasts.iter().enumerate())
                .partition(|(at, key)| self.waits_for_another(*at, **key));
            let free: Vec<_> = free.into_iter().map(|(_, key)| *key).collect();
            if free.is_empty() {
                return;
            }
            let share = (budget / free.len() as u32).max(1);
            for key in free {
                let mut left = share.min(budget);
                budget -= left;
                if self.walk_on(cx, terminals, key, &mut left) {
                    self.broadcasts.retain(|other| *other != key);
                    self.answer_if_complete(cx, key);
                    budget += left;
                }
            }
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
        match broadcasting.walk {
            Walk::At { .. } => {}
            Walk::Done | Walk::Waiting | Walk::Skipped => return false,
        }
        let Some((age, connection)) = broadcasting.next(cx.flaws, terminals) else {
            broadcasting.walk = Walk::Done;
            return false;
        };
        broadcasting.walk = Walk::At { age };
        broadcasting.unvisited = broadcasting.unvisited.saturating_sub(1);
        let greeted = (terminals.get(connection)).filter(|found| found.life == LifeStage::Live);
        let Some(id) = greeted.map(|found| found.id) else {
            return true;
        };
        if broadcasting.leaves_out(terminals, connection, id) {
            return true;
        }
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
        std::hash::Hash::hash(&(&self.route, &self.walk), hasher);
        self.counts.fingerprint(now, hasher);
        self.open.fingerprint(now, hasher);
        self.unvisited.fingerprint(now, hasher);
    }
}
