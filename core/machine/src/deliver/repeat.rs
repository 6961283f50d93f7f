//! What was written lately, so that a repeat of a push is recognised: by its publisher's retry over
//! a new link, or by its caller at whatever instance.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::time::Duration;

use crate::base::fingerprint::Fingerprint;
use crate::base::rng::{SeededHash, SeededMap};
use crate::config::Config;
use crate::deliver::walk::WalkCounts;
use crate::id::{ConnectionId, InboundKey, PushId, TopicId};
use crate::key::Key;
use crate::message::Outcome;
use crate::time::Instant;
use crate::vocabulary::delivery::Ticket;
use crate::vocabulary::terminal::Age;

/// The memory, bounded by time and by entries. What falls out of it is not recognised any more.
#[derive(Clone, Debug)]
pub(super) struct Repeats {
    frames: SeededMap<(PushId, ConnectionId), RepeatState<Outcome, Ticket>>,
    broadcasts: SeededMap<WalkId, RepeatState<WalkCounts, InboundKey>>,
    asks: SeededMap<(PushId, Key), ()>,
    order: VecDeque<(Instant, Remembered)>,
    reached: ReachedMembers,
    /// There is nothing in it between calls of the instance.
    forgotten: Forgotten,
    span: Duration,
    limit: usize,
}

/// Which members of several topics the walks of a push have come to, that has a walk for each of its topics. A few bytes
/// each, in a table of its own: a push to large topics takes the room of nothing else. What becomes of the push at them is not
/// kept: that is told of the walk that came first.
#[derive(Clone, Debug)]
struct ReachedMembers {
    /// By the age of their connections.
    by: SeededMap<PushId, BTreeSet<Age>>,
    order: VecDeque<(Instant, PushId)>,
    /// Members in it.
    members: usize,
}

/// Those that wait for what was forgotten before its end: nobody will tell them what became of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Forgotten {
    /// Tickets that wait for a push at a connection.
    pub(super) frames: Vec<Ticket>,
    /// Deliveries that wait for a walk.
    pub(super) broadcasts: Vec<InboundKey>,
}

/// A push to everyone, or to the members of these topics: the same push to others is another one.
pub(super) type WalkId = (PushId, Vec<TopicId>);

/// One thing that is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Remembered {
    /// A push at a connection.
    Frame(PushId, ConnectionId),
    /// A push to everyone, or to members of topics.
    Broadcast(WalkId),
    /// A push for which the terminals of a key were looked up here.
    Ask(PushId, Key),
}

/// How far one push is at one connection, or in its walk at this instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum RepeatState<Result, Waiter> {
    /// It is not over; these are told of its end as well.
    Pending(Vec<Waiter>),
    /// It is over.
    Ended(Result),
}

/// What became of the earlier delivery of a push that comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Earlier<Result> {
    /// The first one is not over: this one is told with it.
    Pending,
    /// The first one is not over, and this one is not told: too many wait for it.
    Crowded,
    /// This became of the first one.
    Ended(Result),
}

impl Earlier<Outcome> {
    /// The outcome, if the repeat does not wait for the first one.
    pub(super) const fn outcome(self) -> Option<Outcome> {
        match self {
            Self::Pending => None,
            Self::Crowded => Some(Outcome::Queued),
            Self::Ended(outcome) => Some(outcome),
        }
    }
}

impl<Result: Copy, Waiter> RepeatState<Result, Waiter> {
    /// What is known. If it is not over, the waiter will be told.
    fn join(&mut self, waiter: Waiter) -> Earlier<Result> {
        match self {
            Self::Pending(waiters) if waiters.len() >= Config::REPEATS_WAITING => Earlier::Crowded,
            Self::Pending(waiters) => {
                waiters.push(waiter);
                Earlier::Pending
            }
            Self::Ended(result) => Earlier::Ended(*result),
        }
    }

    /// It is over. Returns those that are to be told as well.
    fn end(&mut self, result: Result) -> Vec<Waiter> {
        match std::mem::replace(self, Self::Ended(result)) {
            Self::Pending(waiters) => waiters,
            Self::Ended(_) => Vec::new(),
        }
    }
}

impl Repeats {
    pub(super) fn new(span: Duration, limit: usize, hash: &SeededHash) -> Self {
        Self {
            frames: SeededMap::with_hasher(hash.clone()),
            broadcasts: SeededMap::with_hasher(hash.clone()),
            asks: SeededMap::with_hasher(hash.clone()),
            order: VecDeque::new(),
            reached: ReachedMembers {
                by: SeededMap::with_hasher(hash.clone()),
                order: VecDeque::new(),
                members: 0,
            },
            forgotten: Forgotten::default(),
            span,
            limit,
        }
    }

    /// What is known of this push at this connection. If it is pending, the ticket will be told.
    pub(super) fn known(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        ticket: Ticket,
    ) -> Option<Earlier<Outcome>> {
        self.forget_old(now);
        let state = self.frames.get_mut(&(ticket.push, connection))?;
        Some(state.join(ticket))
    }

    /// A push begins at a connection.
    pub(super) fn begin(&mut self, now: Instant, connection: ConnectionId, push: PushId) {
        self.frames
            .insert((push, connection), RepeatState::Pending(Vec::new()));
        self.remember(now, Remembered::Frame(push, connection));
    }

    /// A push has ended at a connection. Returns the deliveries that are to be told as well.
    pub(super) fn end(
        &mut self,
        connection: ConnectionId,
        push: PushId,
        outcome: Outcome,
    ) -> Vec<Ticket> {
        (self.frames.get_mut(&(push, connection))).map_or(Vec::new(), |state| state.end(outcome))
    }

    /// Notes that the terminals of a key are looked up for a push. Returns whether it is the first
    /// time. A publisher's second try must not reach a terminal that has come since: a later push
    /// may have reached it already.
    pub(super) fn begin_ask(&mut self, now: Instant, push: PushId, key: &Key) -> bool {
        self.forget_old(now);
        let first = self.asks.insert((push, key.clone()), ()).is_none();
        if first {
            self.remember(now, Remembered::Ask(push, key.clone()));
        }
        first
    }

    /// Whether a push is known at a connection.
    pub(super) fn knows(&self, connection: ConnectionId, push: PushId) -> bool {
        self.frames.contains_key(&(push, connection))
    }

    /// A walk of a push to several topics has come to a member of more than one of them. All that one push reaches is
    /// remembered; of earlier ones what fits beside it.
    pub(super) fn reach(&mut self, now: Instant, push: PushId, member: Age) {
        let reached = &mut self.reached;
        let members = reached.by.entry(push).or_insert_with(|| {
            reached.order.push_back((now + self.span, push));
            BTreeSet::new()
        });
        reached.members += usize::from(members.insert(member));
        while reached.members > self.limit && reached.order.len() > 1 {
            reached.forget_oldest();
        }
    }

    /// Whether a walk of this push has come to a member.
    pub(super) fn has_reached(&self, push: PushId, member: Age) -> bool {
        let members = self.reached.by.get(&push);
        members.is_some_and(|members| members.contains(&member))
    }

    /// What is known of this walk. If it is pending, the delivery will be told.
    pub(super) fn known_broadcast(
        &mut self,
        now: Instant,
        walk: &WalkId,
        delivery: InboundKey,
    ) -> Option<Earlier<WalkCounts>> {
        self.forget_old(now);
        Some(self.broadcasts.get_mut(walk)?.join(delivery))
    }

    /// A push to everyone, or to members of topics, begins.
    pub(super) fn begin_broadcast(&mut self, now: Instant, walk: WalkId) {
        self.broadcasts
            .insert(walk.clone(), RepeatState::Pending(Vec::new()));
        self.remember(now, Remembered::Broadcast(walk));
    }

    /// A walk has ended. Returns the deliveries that are to be told as well.
    pub(super) fn end_broadcast(&mut self, walk: &WalkId, counts: WalkCounts) -> Vec<InboundKey> {
        (self.broadcasts.get_mut(walk)).map_or(Vec::new(), |state| state.end(counts))
    }

    /// Takes the repeats whose first delivery was forgotten before its end.
    pub(super) fn take_forgotten(&mut self) -> Forgotten {
        std::mem::take(&mut self.forgotten)
    }

    /// Whether there is a repeat to be [taken](Self::take_forgotten).
    pub(super) const fn has_forgotten(&self) -> bool {
        !self.forgotten.frames.is_empty() || !self.forgotten.broadcasts.is_empty()
    }

    /// How full the fuller one of its two parts is: neither has more than the limit, but of a single push.
    pub(super) fn len(&self) -> usize {
        self.order.len().max(self.reached.members)
    }

    /// What is remembered: pushes at connections, look-ups for pushes, pushes to everyone, and members of several topics.
    pub(super) fn remembered(&self) -> usize {
        self.order.len() + self.reached.members
    }

    /// All that is found of them, and who waits for what was forgotten: nobody between calls of the instance.
    pub(super) fn found(&self) -> usize {
        let found = self.frames.len() + self.broadcasts.len() + self.asks.len();
        let waiting = self.forgotten.frames.len() + self.forgotten.broadcasts.len();
        found + self.reached.found() + waiting
    }

    fn remember(&mut self, now: Instant, entry: Remembered) {
        self.order.push_back((now + self.span, entry));
        if self.order.len() > self.limit {
            self.forget_oldest();
        }
    }

    fn forget_old(&mut self, now: Instant) {
        let oldest = self.reached.order.front();
        if oldest.is_some_and(|(until, _)| *until <= now) {
            self.reached.forget_oldest();
        }
        // Two for each new one: the memory shrinks as fast as it once grew, in bounded steps.
        for _ in 0..2 {
            if self.order.front().is_none_or(|(until, _)| *until > now) {
                return;
            }
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        match self.order.pop_front() {
            Some((_, Remembered::Frame(push, connection))) => {
                let state = self.frames.remove(&(push, connection));
                if let Some(RepeatState::Pending(waiters)) = state {
                    self.forgotten.frames.extend(waiters);
                }
            }
            Some((_, Remembered::Broadcast(walk))) => {
                let state = self.broadcasts.remove(&walk);
                if let Some(RepeatState::Pending(waiters)) = state {
                    self.forgotten.broadcasts.extend(waiters);
                }
            }
            Some((_, Remembered::Ask(push, key))) => {
                self.asks.remove(&(push, key));
            }
            None => {}
        }
    }
}

impl ReachedMembers {
    fn forget_oldest(&mut self) {
        let oldest = self.order.pop_front();
        let members = oldest.and_then(|(_, push)| self.by.remove(&push));
        self.members -= members.map_or(0, |members| members.len());
    }

    #[expect(clippy::disallowed_methods, reason = "a sum has no order")]
    fn found(&self) -> usize {
        self.by.values().map(BTreeSet::len).sum()
    }
}

impl Fingerprint for Repeats {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        for (until, push) in &self.reached.order {
            until.fingerprint(now, hasher);
            (push, self.reached.by.get(push)).hash(hasher);
        }
        for (until, entry) in &self.order {
            until.fingerprint(now, hasher);
            entry.hash(hasher);
            match entry {
                Remembered::Frame(push, connection) => {
                    self.frames.get(&(*push, *connection)).hash(hasher);
                }
                Remembered::Broadcast(walk) => self.broadcasts.get(walk).hash(hasher),
                Remembered::Ask(..) => {}
            }
        }
    }
}
