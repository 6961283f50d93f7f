//! A push to everyone, or to the members of topics, at one instance: a walk, paced, so that it delays nobody else.
//!
//! Walks for the same terminals are done one after the other, so that pushes keep their order; others take
//! turns. Few members are served at once, which are all that most topics have.
//!
//! What terminals publish leaves the application its own: a part of the walks that may wait, half of the pace, and
//! no walk of the application waits for one of theirs, unless both are records of one log.

use std::hash::Hasher;

use crate::base::fingerprint::Fingerprint;
use crate::base::flaws::Flaws;
use crate::channel::Channel;
use crate::config::Config;
use crate::context::Context;
use crate::deliver::Deliveries;
use crate::deliver::fate::Fate;
use crate::deliver::inbound::InboundProgress;
use crate::deliver::repeat::{Earlier, WalkId};
use crate::follow::Followers;
use crate::id::{ConnectionId, ConnectionKey, FollowerKey, InboundKey, PushId, TopicId};
use crate::message::{Action, Counts, Outcome, PushedBy, Until};
use crate::terminals::Terminals;
use crate::time::Instant;
use crate::vocabulary::delivery::{ChainedRecord, Deed, Ticket};
use crate::vocabulary::terminal::{Age, LifeStage};
use crate::vocabulary::timer::DeliverTimer;

/// How many members of topics are served at once, at most.
const AT_ONCE: u64 = 128;

/// How far a push to everyone, or to members of topics, is.
#[derive(Clone, Debug)]
pub(super) struct Broadcasting {
    route: WalkRoute,
    by: PushedBy,
    /// What it does to terminals, by the topic whose members they are; one for everyone.
    deeds: Vec<Deed>,
    walk: Walk,
    counts: Counts,
    /// Terminals visited and without an outcome.
    open: u64,
    /// Terminals not visited, those included that have gone in the meantime.
    unvisited: u64,
    /// What it is in the log of its topic, for those who follow that.
    record: Option<Box<WalkRecord>>,
}

/// A record of the log of a topic on its way to the members.
#[derive(Clone, Debug)]
pub(super) struct WalkRecord {
    channel: Channel,
    record: ChainedRecord,
    until: Until,
    /// What becomes of it at each follower that may confirm it, in the order of the walk. None, if nobody waits for that.
    fates: Vec<Fate>,
}

impl WalkRecord {
    pub(super) const fn new(channel: Channel, record: ChainedRecord, until: Until) -> Self {
        Self {
            channel,
            record,
            until,
            fates: Vec::new(),
        }
    }
}

/// The terminals that a walk comes to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum WalkRoute {
    /// All of them.
    Everyone,
    /// The members of topics, each terminal once.
    Members {
        /// In their order.
        topics: Vec<TopicId>,
        /// A connection that it leaves out.
        except: Option<ConnectionId>,
    },
}

impl WalkRoute {
    /// The members of topics, each once.
    pub(super) fn of_members(mut topics: Vec<TopicId>, except: Option<ConnectionId>) -> Self {
        topics.sort_unstable();
        topics.dedup();
        Self::Members { topics, except }
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
                (topics.iter()).any(|topic| others.binary_search(topic).is_ok())
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
    pub(super) fn new(
        flaws: Flaws,
        push: PushId,
        action: &Action,
        (route, by): (WalkRoute, PushedBy),
        terminals: &Terminals,
    ) -> Self {
        let topics: Vec<_> = match &route {
            WalkRoute::Everyone => vec![None],
            WalkRoute::Members { topics, .. } => topics.iter().map(Some).collect(),
        };
        let deeds = topics
            .into_iter()
            .map(|topic| Deed::new(flaws, push, (None, topic), action));
        Self {
            deeds: deeds.collect(),
            unvisited: route.terminals(terminals) as u64,
            route,
            by,
            walk: Walk::At { age: Age::YOUNGEST },
            counts: ZERO,
            open: 0,
            record: None,
        }
    }

    /// The same, of a record.
    pub(super) fn of_record(self, record: WalkRecord) -> Self {
        Self {
            record: Some(Box::new(record)),
            ..self
        }
    }

    /// Whether it waits for an earlier one. Records of one log do, whoever has pushed them: their order is that of the log,
    /// and a follower to whom one comes early reads all that it may lack.
    fn waits_for(&self, earlier: &Self) -> bool {
        if self.is_of_the_log_of(earlier) {
            return true;
        }
        match (self.by, earlier.by) {
            (PushedBy::Application, PushedBy::Terminal) => false,
            (PushedBy::Application, PushedBy::Application)
            | (PushedBy::Terminal, PushedBy::Application | PushedBy::Terminal) => {
                earlier.route.meets(&self.route)
            }
        }
    }

    /// Whether both are records of one log.
    fn is_of_the_log_of(&self, other: &Self) -> bool {
        let records = self.record.as_ref().zip(other.record.as_ref());
        records.is_some_and(|(own, other)| own.channel == other.channel)
    }

    /// Whether both are records of one log, and this one most likely stands before the other in it. That its offset is lower
    /// says so unless a failover came between, and then followers read.
    fn goes_before(&self, other: &Self) -> bool {
        let offset = |walk: &Self| {
            let record = walk.record.as_ref()?;
            Some(record.record.place.position.offset())
        };
        self.is_of_the_log_of(other) && offset(self) < offset(other)
    }

    /// The next terminal and what is done to it, if there is one left. All topics are walked at once: whoever joins or
    /// leaves one of them meanwhile is met at most once.
    fn next(&self, terminals: &Terminals) -> Option<(Age, ConnectionKey, &Deed)> {
        let Walk::At { age } = self.walk else {
            return None;
        };
        match &self.route {
            WalkRoute::Everyone => {
                let (age, connection) = terminals.next_older(age)?;
                Some((age, connection, self.deeds.first()?))
            }
            WalkRoute::Members { topics, .. } => {
                let of_topics = topics.iter().zip(&self.deeds).filter_map(|(topic, deed)| {
                    let (age, connection) = terminals.next_older_member(topic, age)?;
                    Some((age, connection, deed))
                });
                // The first topic of those that have the same one.
                of_topics.reduce(|first, other| if other.0 > first.0 { other } else { first })
            }
        }
    }

    /// By what a repeat of it is known.
    pub(super) fn id(&self, push: PushId) -> WalkId {
        let topics = match &self.route {
            WalkRoute::Everyone => Vec::new(),
            WalkRoute::Members { topics, .. } => topics.clone(),
        };
        (push, topics)
    }

    /// Whether a terminal that it has come to is left out.
    fn leaves_out(&self, id: ConnectionId) -> bool {
        match &self.route {
            WalkRoute::Everyone => false,
            WalkRoute::Members { except, .. } => *except == Some(id),
        }
    }

    /// Something has become of it at one of its terminals: at the one of this number if confirmations are waited for, and
    /// at any if the number is zero.
    pub(super) fn learn(&mut self, number: u32, fate: impl FnOnce(Fate) -> Fate) {
        let known = match number.checked_sub(1) {
            None => fate(Fate::Open),
            Some(place) => {
                let fates = self.record.as_mut().map(|record| &mut record.fates);
                let known = fates.and_then(|fates| fates.get_mut(place as usize));
                let Some(known) = known.filter(|known| !known.is_settled()) else {
                    return;
                };
                *known = fate(*known);
                *known
            }
        };
        match known {
            Fate::Open | Fate::Unconfirmed(_) => {}
            Fate::Settled(outcome) => {
                self.open = self.open.saturating_sub(1);
                self.counts.add(outcome);
            }
        }
    }

    /// It waits for no confirmation any more: what has become of it without one counts.
    pub(super) fn await_no_more(&mut self) {
        let Some(record) = &mut self.record else {
            return;
        };
        record.until = Until::Written;
        for fate in record.fates.iter_mut().filter(|fate| !fate.is_settled()) {
            *fate = fate.unconfirmed();
            if fate.is_settled() {
                self.open = self.open.saturating_sub(1);
                self.counts.add(fate.outcome());
            }
        }
    }

    /// Whether it waits for confirmations.
    pub(super) fn awaits_confirmations(&self) -> bool {
        let record = self.record.as_ref();
        record.is_some_and(|record| record.until == Until::Acked)
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
    pub(super) fn counts(&self) -> Counts {
        let mut counts = self.counts;
        let mut open = self.open;
        let fates = self.record.iter().flat_map(|record| &record.fates);
        for fate in fates.filter(|fate| !fate.is_settled()) {
            counts.add(fate.outcome());
            open = open.saturating_sub(1);
        }
        counts.queued += open;
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
        follow: &mut Followers,
        terminals: &mut Terminals,
        key: InboundKey,
    ) {
        let now = cx.now.mono;
        let at_once = self.is_served_at_once(key);
        let is_full = self.has_no_room(cx.config, key);
        let Some(inbound) = self.inbound.get_mut(key) else {
            cx.bug("a broadcast ended before it began");
            return;
        };
        let push = inbound.push;
        let InboundProgress::Walk(broadcasting) = &mut inbound.progress else {
            cx.bug("a walk has users");
            return;
        };
        let present = broadcasting.unvisited;
        let walk = broadcasting.id(push);
        let log = (broadcasting.record.as_ref()).map(|record| record.channel.clone());
        match self.repeats.known_broadcast(now, &walk, key) {
            Some(Earlier::Ended(counts)) => {
                broadcasting.skip(counts);
                cx.stats.repeats += counts.written;
            }
            Some(Earlier::Pending) => broadcasting.walk = Walk::Waiting,
            Some(Earlier::Crowded) => broadcasting.skip(Counts {
                queued: present,
                ..ZERO
            }),
            None if !at_once && is_full => {
                broadcasting.skip(Counts {
                    overflow: present,
                    ..ZERO
                });
                cx.stats.overflows += present;
            }
            None => {
                self.repeats.begin_broadcast(now, walk);
                self.begin_walk(cx, follow, terminals, key);
                return self.answer_if_complete(cx, key);
            }
        }
        // Who follows the log is not served by this delivery, and may not have been by an earlier one: a push may have
        // become another record since.
        if let Some(channel) = log {
            follow.compare(&channel);
        }
        self.answer_if_complete(cx, key);
    }

    /// Whether as many walks wait as may, with those of whoever pushes in this one.
    fn has_no_room(&self, config: &Config, key: InboundKey) -> bool {
        let is_full = self.broadcasts.len() >= config.broadcasts;
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

    fn pushed_by(&self, key: InboundKey) -> PushedBy {
        self.walking(key)
            .map_or(PushedBy::Application, |walk| walk.by)
    }

    fn is_published(&self, key: InboundKey) -> bool {
        self.pushed_by(key) == PushedBy::Terminal
    }

    /// Whether a walk has few terminals and waits for no other.
    fn is_served_at_once(&self, key: InboundKey) -> bool {
        let Some(InboundProgress::Walk(broadcasting)) =
            self.inbound.get(key).map(|inbound| &inbound.progress)
        else {
            return false;
        };
        match broadcasting.route {
            WalkRoute::Everyone => false,
            WalkRoute::Members { .. } => {
                broadcasting.unvisited <= AT_ONCE
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
    ) {
        if self.is_served_at_once(key) {
            while self.broadcast_one(cx, follow, terminals, key) {}
            return;
        }
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
        first.unwrap_or(self.broadcasts.len())
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
        counts: Counts,
    ) {
        // It may have been answered at its own deadline.
        let Some(inbound) = self.inbound.get_mut(key) else {
            return;
        };
        if let InboundProgress::Walk(broadcasting) = &mut inbound.progress {
            broadcasting.skip(counts);
            cx.stats.repeats += counts.written;
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
    /// else there is to do waits for few terminals only, and a step that comes late is not made up for: who is too
    /// slow for the pace has no time to lose.
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
        let next = due + pace.step;
        let next = if next > cx.now.mono {
            next
        } else {
            cx.now.mono + pace.step
        };
        cx.set(&mut self.step, next, DeliverTimer::Broadcast);
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
        for at in at..self.broadcasts.len() {
            let later = self.broadcasts[at];
            if !self.free.contains(&later) && !self.waits_for_another(at, later) {
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
        if let Some(record) = &mut broadcasting.record
            && let Some(log) = follow.find(&record.channel)
            && let follower = (FollowerKey { connection, log })
            && follow.has(follower)
        {
            broadcasting.open += 1;
            match record.until {
                Until::Written => {}
                Until::Acked => {
                    record.fates.push(Fate::new(record.until));
                    ticket.index = u32::try_from(record.fates.len()).unwrap_or(u32::MAX);
                }
            }
            let (record, until) = (record.record.clone(), record.until);
            let when = (until, answer_by);
            self.serve_follower(cx, follow, terminals, (&record, follower), ticket, when);
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
        if broadcasting.leaves_out(id) {
            return true;
        }
        broadcasting.open += 1;
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
        self.deeds
            .iter()
            .for_each(|deed| deed.fingerprint(now, hasher));
        std::hash::Hash::hash(&(&self.route, self.by, &self.walk), hasher);
        if let Some(record) = &self.record {
            std::hash::Hash::hash(&(&record.record, record.until, &record.fates), hasher);
        }
        self.counts.fingerprint(now, hasher);
        self.open.fingerprint(now, hasher);
        self.unvisited.fingerprint(now, hasher);
    }
}
