//! A push to everyone, or to the members of topics, at one instance: a walk, paced, so that it delays nobody else.
//!
//! Walks for the same terminals are done one after the other, so that pushes keep their order; others take
//! turns. Few members are served at once, which are all that most topics have. While other pushes come the pace is a third
//! of what it is otherwise: they wait for whatever is written before them.
//!
//! What terminals publish leaves the application its own: a part of the walks that may wait, half of the pace, and
//! no walk of the application waits for one of theirs, unless both are records of one log.

use std::collections::BTreeSet;

use crate::config::Config;
use crate::context::Context;
use crate::deliver::Deliveries;
use crate::deliver::fate::Fate;
use crate::deliver::inbound::InboundProgress;
use crate::deliver::repeat::Earlier;
use crate::deliver::walk::{Broadcasting, Walk, WalkCounts, WalkRoute, ZERO};
use crate::follow::Followers;
use crate::id::{FollowerKey, InboundKey};
use crate::message::{Counts, Outcome, PushedBy};
use crate::terminals::Terminals;
use crate::time::Instant;
use crate::vocabulary::delivery::Ticket;
use crate::vocabulary::terminal::LifeStage;
use crate::vocabulary::timer::DeliverTimer;

/// How many members of topics one push serves at once, at most. The walks of a durable push to the topics that it names,
/// which come one after the other, have equal shares of it, and one member at least. Where no walk has room, each has all of
/// it: nothing could be walked later.
const AT_ONCE: u64 = 128;

/// Terminals that one walk may serve in a step, at most.
#[derive(Clone, Copy)]
struct Shares {
    application: u32,
    published: u32,
}

impl Shares {
    const fn of(self, by: PushedBy) -> u32 {
        match by {
            PushedBy::Application => self.application,
            PushedBy::Terminal => self.published,
        }
    }
}

impl Deliveries {
    /// Begins a push to everyone or to members of topics, unless it is a repeat.
    pub(super) fn begin_broadcast(
        &mut self,
        cx: &mut Context<'_>,
        follow: &mut Followers,
        terminals: &mut Terminals,
        key: InboundKey,
    ) {
        let now = cx.now.mono;
        let is_full = self.has_no_room(cx.config, key);
        let at_once = self.is_served_at_once(key, is_full);
        let Some(inbound) = self.inbound.get_mut(key) else {
            cx.bug("a broadcast ended before it began");
            return;
        };
        let push = inbound.push;
        let InboundProgress::Walk(broadcasting) = &mut inbound.progress else {
            cx.bug("a walk has users");
            return;
        };
        let walk = broadcasting.id(push);
        let log = (broadcasting.record.as_ref()).map(|record| record.channel.clone());
        match self.repeats.known_broadcast(now, &walk, key) {
            Some(Earlier::Ended(counts)) => {
                cx.stats.repeats += counts.all().written;
                if broadcasting.awaits_confirmations() && (at_once || !is_full) {
                    broadcasting.ask_again(counts);
                    self.begin_walk(cx, follow, terminals, key, is_full);
                    return self.answer_if_complete(cx, key);
                }
                broadcasting.skip(counts.all());
            }
            Some(Earlier::Pending) => broadcasting.walk = Walk::Waiting,
            Some(Earlier::Crowded) => {
                broadcasting.skip_others(|queued| Counts { queued, ..ZERO });
            }
            None if !at_once && is_full => {
                broadcasting.skip_others(|overflow| Counts { overflow, ..ZERO });
                cx.stats.overflows += broadcasting.counts().overflow;
            }
            None => {
                self.repeats.begin_broadcast(now, walk);
                self.begin_walk(cx, follow, terminals, key, is_full);
                return self.answer_if_complete(cx, key);
            }
        }
        // A follower of the log is not served by this delivery, and may not have been by an earlier one: a push may have
        // become another record since.
        if let Some(channel) = log.filter(|_| !self.is_walked_over(key)) {
            follow.compare(&channel);
        }
        self.answer_if_complete(cx, key);
    }

    /// Whether a walk that is not over brings the same record to all who follow the log.
    fn is_walked_over(&self, key: InboundKey) -> bool {
        let walk = self.walking(key);
        self.broadcasts.iter().any(|other| {
            let both = walk.zip(self.walking(*other));
            both.is_some_and(|(walk, other)| other.brings_the_record_of(walk))
        })
    }

    /// Whether as many walks wait as may, with those of whoever pushes in this one.
    fn has_no_room(&self, config: &Config, key: InboundKey) -> bool {
        let walks = self.broadcasts.len();
        let most = config.broadcasts.saturating_mul(config.push_topics);
        let is_full = walks >= config.broadcasts
            && (walks >= most
                || self.pushes_that_walk() >= config.broadcasts
                    && !self.has_others_of_its_push(key));
        match self.pushed_by(key) {
            PushedBy::Application => is_full,
            PushedBy::Terminal => {
                let published = self
                    .broadcasts
                    .iter()
                    .filter(|key| self.is_published(**key));
                is_full || published.count() >= config.published_broadcasts()
            }
        }
    }

    /// How many pushes there are whose walks are not over: a durable one to several topics has a walk for each, and takes
    /// the room of one.
    pub(super) fn pushes_that_walk(&self) -> usize {
        let walks = self
            .broadcasts
            .iter()
            .filter_map(|key| self.inbound.get(*key));
        let pushes: BTreeSet<_> = walks.map(|inbound| inbound.push).collect();
        pushes.len()
    }

    /// Whether a walk of the same push is not over.
    fn has_others_of_its_push(&self, key: InboundKey) -> bool {
        let push = |key| self.inbound.get(key).map(|inbound| inbound.push);
        let own = push(key);
        own.is_some() && self.broadcasts.iter().any(|other| push(*other) == own)
    }

    fn pushed_by(&self, key: InboundKey) -> PushedBy {
        self.walking(key)
            .map_or(PushedBy::Application, |walk| walk.by)
    }

    fn is_published(&self, key: InboundKey) -> bool {
        self.pushed_by(key) == PushedBy::Terminal
    }

    /// Whether a walk has few terminals and waits for no other. Where no walk has room it may have more than its share: its
    /// members are not lost on that.
    fn is_served_at_once(&self, key: InboundKey, is_full: bool) -> bool {
        let Some(InboundProgress::Walk(broadcasting)) =
            self.inbound.get(key).map(|inbound| &inbound.progress)
        else {
            return false;
        };
        match broadcasting.route {
            WalkRoute::Everyone => false,
            WalkRoute::Members { .. } => {
                let walks = match is_full {
                    true => 1,
                    false => broadcasting.walks_of_its_push(),
                };
                broadcasting.unvisited <= (AT_ONCE / walks).max(1)
                    && !self.waits_for_another(self.place_in_order(key), key)
            }
        }
    }

    /// Serves the members of topics at once if they are few; others wait for the next step.
    fn begin_walk(
        &mut self,
        cx: &mut Context<'_>,
        follow: &mut Followers,
        terminals: &mut Terminals,
        key: InboundKey,
        is_full: bool,
    ) {
        if self.is_served_at_once(key, is_full) {
            while self.broadcast_one(cx, follow, terminals, key) {}
            return;
        }
        self.begin_in_steps(cx, key);
    }

    fn begin_in_steps(&mut self, cx: &mut Context<'_>, key: InboundKey) {
        let place = self.place_in_order(key);
        if !self.waits_for_another(place, key) {
            self.free.push_back(key);
        }
        self.broadcasts.insert(place, key);
        let later: Vec<_> = self.broadcasts.iter().skip(place + 1).copied().collect();
        for later in later {
            let both = self.walking(later).zip(self.walking(key));
            if both.is_some_and(|(later, walk)| later.waits_for(walk)) {
                self.free.retain(|free| *free != later);
            }
        }
        if !self.step.is_set() {
            cx.set(&mut self.step, cx.now.mono, DeliverTimer::Broadcast);
        }
    }

    fn walking(&self, key: InboundKey) -> Option<&Broadcasting> {
        match &self.inbound.get(key)?.progress {
            InboundProgress::Walk(broadcasting) => Some(broadcasting),
            InboundProgress::Keys { .. } | InboundProgress::Session(_) => None,
        }
    }

    /// Where a walk that begins stands among those that are not over: behind all of them, but before records that stand behind
    /// its own in the log. Publishers at several instances do not wait for each other.
    fn place_in_order(&self, key: InboundKey) -> usize {
        let walk = self.walking(key);
        let goes_before = |other: &InboundKey| {
            let both = walk.zip(self.walking(*other));
            both.is_some_and(|(walk, other)| walk.goes_before(other))
        };
        let first = self.broadcasts.iter().position(goes_before);
        // It may wait for one that stands behind the first of these.
        let behind = |other: &InboundKey| {
            let both = walk.zip(self.walking(*other));
            both.is_some_and(|(walk, other)| walk.waits_for(other) && !walk.is_of_the_log_of(other))
        };
        let last = self.broadcasts.iter().rposition(behind);
        let behind = last.map_or(0, |last| last + 1);
        first.map_or(self.broadcasts.len(), |first| first.max(behind))
    }

    /// Whether this one waits for one of the first walks, so many of them.
    fn waits_for_another(&self, first: usize, key: InboundKey) -> bool {
        let Some(walk) = self.walking(key) else {
            return false;
        };
        let mut earlier = self.broadcasts.iter().take(first);
        earlier.any(|other| {
            self.walking(*other)
                .is_some_and(|other| walk.waits_for(other))
        })
    }

    /// Serves the next terminals of a walk, one for each of the budget. Returns whether none is left.
    fn walk_on(
        &mut self,
        cx: &mut Context<'_>,
        follow: &mut Followers,
        terminals: &mut Terminals,
        key: InboundKey,
        budget: &mut u32,
    ) -> bool {
        while *budget > 0 {
            if !self.broadcast_one(cx, follow, terminals, key) {
                return true;
            }
            *budget -= 1;
        }
        false
    }

    /// The first delivery of a push that is a walk has ended, for whose counts this one waits.
    pub(super) fn first_broadcast_ended(
        &mut self,
        cx: &mut Context<'_>,
        key: InboundKey,
        counts: WalkCounts,
    ) {
        let is_full = self.has_no_room(cx.config, key);
        // It may have been answered at its own deadline.
        let Some(inbound) = self.inbound.get_mut(key) else {
            return;
        };
        if let InboundProgress::Walk(broadcasting) = &mut inbound.progress {
            cx.stats.repeats += counts.all().written;
            if broadcasting.awaits_confirmations() && !is_full {
                broadcasting.ask_again(counts);
                return self.begin_in_steps(cx, key);
            }
            broadcasting.skip(counts.all());
        }
        self.answer_if_complete(cx, key);
    }

    /// The first delivery of a push that is a walk goes on, and this one, which waits for its counts, will not
    /// be told: what is known is that the terminals are in its walk.
    pub(super) fn first_broadcast_forgotten(&mut self, cx: &mut Context<'_>, key: InboundKey) {
        // It may have been answered at its own deadline.
        let Some(inbound) = self.inbound.get_mut(key) else {
            return;
        };
        if let InboundProgress::Walk(broadcasting) = &mut inbound.progress {
            broadcasting.skip(broadcasting.counts());
        }
        self.answer_if_complete(cx, key);
    }

    /// Serves the next terminals of those walks that wait for no other, a share each. Steps are short, so that what
    /// else there is to do waits for few terminals only, and a step that comes late is not made up for: an
    /// instance that is too slow for the pace has no time to lose.
    pub(super) fn broadcast_due(
        &mut self,
        cx: &mut Context<'_>,
        follow: &mut Followers,
        terminals: &mut Terminals,
        due: Instant,
    ) {
        let pace = cx.config.broadcast_pace();
        let mut budget = pace.terminals;
        while budget > 0 && !self.free.is_empty() {
            let shares = self.shares(budget);
            for _ in 0..self.free.len() {
                let Some(key) = self.free.pop_front_if(|_| budget > 0) else {
                    break;
                };
                let mut left = shares.of(self.pushed_by(key)).min(budget);
                budget -= left;
                if self.walk_on(cx, follow, terminals, key, &mut left) {
                    self.walk_ended(key);
                    self.answer_if_complete(cx, key);
                    budget += left;
                } else {
                    self.free.push_back(key);
                }
            }
        }
        if budget > 0 {
            return;
        }
        let step = match cx.now.mono < self.yields_until {
            true => Config::BROADCAST_YIELD * pace.step,
            false => pace.step,
        };
        let next = due + step;
        let next = if next > cx.now.mono {
            next
        } else {
            cx.now.mono + step
        };
        cx.set(&mut self.step, next, DeliverTimer::Broadcast);
    }

    /// A push has come that is no walk: those under way leave it room for others like it.
    pub(super) fn yield_to_others(&mut self, now: Instant) {
        if !self.broadcasts.is_empty() {
            self.yields_until = now + Config::BROADCAST_YIELDS_FOR;
        }
    }

    /// The application has half of it, however many walks there are of terminals.
    fn shares(&self, budget: u32) -> Shares {
        let all = self.free.len() as u32;
        let published = self.free.iter().filter(|key| self.is_published(**key));
        let published = published.count() as u32;
        let each = |budget: u32, walks: u32| (budget / walks.max(1)).max(1);
        if published == 0 || published == all {
            let each = each(budget, all);
            return Shares {
                application: each,
                published: each,
            };
        }
        Shares {
            application: each(budget / 2, all - published),
            published: each(budget / 2, published),
        }
    }

    /// A walk that waited for no other has ended, for which others may have waited.
    fn walk_ended(&mut self, key: InboundKey) {
        let Some(at) = self.broadcasts.iter().position(|other| *other == key) else {
            return;
        };
        self.broadcasts.remove(at);
        if self.broadcasts.is_empty() {
            self.yields_until = Instant::START;
        }
        for at in at..self.broadcasts.len() {
            let later = self.broadcasts[at];
            let both = self.walking(later).zip(self.walking(key));
            let waited = both.is_some_and(|(later, ended)| later.waits_for(ended));
            if waited && !self.free.contains(&later) && !self.waits_for_another(at, later) {
                self.free.push_back(later);
            }
        }
    }

    /// Serves one terminal. Returns whether there was one.
    fn broadcast_one(
        &mut self,
        cx: &mut Context<'_>,
        follow: &mut Followers,
        terminals: &mut Terminals,
        key: InboundKey,
    ) -> bool {
        let Some(inbound) = self.inbound.get_mut(key) else {
            return false;
        };
        let (push, answer_by) = (inbound.push, inbound.answer_by);
        let InboundProgress::Walk(broadcasting) = &mut inbound.progress else {
            return false;
        };
        match broadcasting.walk {
            Walk::At { .. } => {}
            Walk::Done | Walk::Waiting | Walk::Skipped => return false,
        }
        let Some((age, connection, deed)) = broadcasting.next(terminals) else {
            broadcasting.walk = Walk::Done;
            return false;
        };
        let deed = deed.clone();
        broadcasting.walk = Walk::At { age };
        broadcasting.unvisited = broadcasting.unvisited.saturating_sub(1);
        let greeted = (terminals.get(connection)).filter(|found| found.life == LifeStage::Live);
        let Some(id) = greeted.map(|found| found.id) else {
            return true;
        };
        let mut ticket = Ticket {
            delivery: key,
            index: 0,
            push,
        };
        let visits_others = broadcasting.visits_others();
        let follower = broadcasting.record.as_ref().and_then(|record| {
            let log = follow.find(&record.channel)?;
            let follower = FollowerKey { connection, log };
            follow.has(follower).then_some(follower)
        });
        let (is_of_several, joins_as_another) = (broadcasting.record.as_ref())
            .map_or((false, false), |record| record.meets(connection, terminals));
        let mut begins = false;
        if let Some(record) = &mut broadcasting.record
            && let Some(follower) = follower
        {
            ticket.index = record.comes_to_follower();
            // It was a member before it began to follow, and gets what stands there as one.
            let position = record.record.place.position;
            begins = visits_others && follow.begins_behind(follower, position);
        }
        if let Some(record) = &broadcasting.record
            && let Some(follower) = follower.filter(|_| !begins)
        {
            broadcasting.open += 1;
            let when = (record.until, answer_by);
            let record = record.record.clone();
            let put = self.serve_follower(cx, follow, terminals, (&record, follower), ticket, when);
            // As a plain push it is to come to nobody who gets the record. One that may leave the topic before it gets it, or
            // before it is told of that, gets it as a member of another one.
            if put && is_of_several && !joins_as_another {
                self.repeats.reach(cx.now.mono, push, age);
            }
            return true;
        }
        if !visits_others {
            return true;
        }
        if let Some(record) = &broadcasting.record
            && terminals.waits_to_follow(connection, &record.channel)
        {
            // What is read of the log for it is read later.
            broadcasting.open += 1;
            self.set_outcome(ticket, Outcome::Kept);
            return true;
        }
        // Another walk of the push has come to it, or comes.
        let comes_otherwise = joins_as_another || self.repeats.has_reached(push, age);
        let is_left_out = broadcasting.leaves_out(id) || comes_otherwise;
        if is_left_out && !begins {
            return true;
        }
        broadcasting.open += 1;
        if begins {
            // It has no position by which it could be confirmed.
            self.learn(ticket, Fate::unconfirmed);
            if is_left_out {
                self.set_outcome(ticket, Outcome::Kept);
                return true;
            }
        }
        // The same push may have named this terminal's user before.
        let outcome = match self.repeats.known(cx.now.mono, id, ticket) {
            Some(known) => {
                cx.stats.repeats += 1;
                known.outcome()
            }
            None => {
                // A member of one topic is met once.
                if is_of_several {
                    self.repeats.reach(cx.now.mono, push, age);
                }
                self.act(cx, terminals, connection, &deed, ticket).err()
            }
        };
        if let Some(outcome) = outcome {
            self.set_outcome(ticket, outcome);
        }
        true
    }
}
