//! Pushes at the instance that publishes them: handed in, counted, answered with a receipt.
//!
//! A push has one *part* for each user it names; parts of the same user stand in that user's lane
//! (see [`lane`](crate::publish::lane)). A push to everyone has no parts: it goes to each instance.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use crate::base::fingerprint::Fingerprint;
use crate::base::rng::{SeededHash, SeededMap};
use crate::base::slots::Slots;
use crate::command::{Command, Outbox};
use crate::config::Config;
use crate::deliver::Publisher;
use crate::delivery::{Addressees, Deliver, Delivered, Outcomes};
use crate::directory::Row;
use crate::event::Answer;
use crate::id::{CallId, ConnectionId, DeliveryId, InstanceId, PushKey, UserId};
use crate::instance::{Instance, Timer};
use crate::membership::departure::Departure;
use crate::message::{Action, Audience, Push, PushRefused};
use crate::publish::lane::{Lane, Part, Sequence};
use crate::publish::receipt::Pending;
use crate::publish::route::Selection;
use crate::time::{Instant, Now};

/// A push waits for the directory for this fraction of its deadline: the rest is for the way to others
/// and back.
const HURRIES_AFTER: u32 = 3;

/// All pushes whose receipts are not complete.
#[derive(Clone, Debug)]
pub(crate) struct Pushes {
    pub(crate) pending: Slots<PushKey, Pending>,
    pub(crate) lanes: SeededMap<UserId, Lane>,
    hops: BTreeMap<DeliveryId, Hop>,
    next: DeliveryId,
    /// The number of the first part of the next lane.
    next_sequence: u64,
    /// What cannot be judged before the next view, in the order it came.
    pub(crate) waiting_for_view: Vec<(Instant, WaitsForView)>,
}

/// One delivery that was not answered yet.
#[derive(Clone, Debug)]
pub(crate) struct Hop {
    pub(crate) push: PushKey,
    pub(crate) to: InstanceId,
    /// The part of each addressee; none for a push to everyone.
    pub(crate) parts: Vec<(UserId, Sequence)>,
}

/// Something that needs to know whether an instance lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum WaitsForView {
    /// The lane of this user.
    Lane(UserId),
    /// A push to everyone.
    Everyone(PushKey),
    /// A list of a user's connections.
    List {
        call: CallId,
        /// Since when nobody must be missed.
        asked: Instant,
        user: UserId,
        rows: Vec<(ConnectionId, Row)>,
    },
}

impl Pushes {
    pub(crate) fn new(hash: &SeededHash) -> Self {
        Self {
            pending: Slots::new(),
            lanes: SeededMap::with_hasher(hash.clone()),
            hops: BTreeMap::new(),
            next: DeliveryId::new(1),
            next_sequence: 0,
            waiting_for_view: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    #[cfg(test)]
    pub(crate) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// The most pushes that wait for one user.
    #[expect(clippy::disallowed_methods, reason = "a maximum has no order")]
    pub(crate) fn longest_lane(&self) -> usize {
        self.lanes.values().map(Lane::len).max().unwrap_or(0)
    }

    #[cfg(test)]
    pub(crate) fn hops(&self) -> usize {
        self.hops.len()
    }

    pub(crate) fn get(&self, push: PushKey) -> Option<&Pending> {
        self.pending.get(push)
    }

    pub(crate) fn hop_mut(&mut self, delivery: DeliveryId) -> Option<&mut Hop> {
        self.hops.get_mut(&delivery)
    }

    /// Whether an answer is of another kind than its delivery.
    pub(crate) fn contradicts(&self, delivered: &Delivered) -> bool {
        let Some(hop) = self.hops.get(&delivered.delivery) else {
            return false;
        };
        match &delivered.outcomes {
            Outcomes::Everyone(_) => !hop.parts.is_empty(),
            Outcomes::Users(_) => hop.parts.is_empty(),
        }
    }

    /// A delivery was answered, or is not waited for.
    pub(crate) fn end_hop(&mut self, delivery: DeliveryId) -> Option<Hop> {
        self.hops.remove(&delivery)
    }

    /// Notes a delivery that is about to leave.
    pub(crate) fn begin_hop(
        &mut self,
        push: PushKey,
        to: InstanceId,
        parts: Vec<(UserId, Sequence)>,
    ) -> DeliveryId {
        let delivery = self.next;
        self.next = DeliveryId::new(delivery.get() + 1);
        self.hops.insert(delivery, Hop { push, to, parts });
        if let Some(pending) = self.pending.get_mut(push) {
            pending.hops.push(delivery);
        }
        delivery
    }
}

impl Instance {
    pub(crate) fn push(&mut self, now: Now, call: CallId, push: Push, out: &mut Outbox) {
        if let Err(refused) = self.check_push(&push) {
            self.base.stats.pushes_refused += 1;
            let answer = Box::new(Answer::Push(Err(refused)));
            out.push(Command::Answer { call, answer });
            return;
        }
        self.base.stats.pushes += 1;
        let due = now.mono + push.deadline;
        let hurries = now.mono + push.deadline / HURRIES_AFTER;
        let key = (self.publish.pushes.pending).insert(Pending::new(call, &push, hurries, due));
        self.base.timers.arm(hurries, Timer::Push(key));
        match push.to {
            Audience::User(user) => self.begin_parts(now, key, vec![(user, Selection::All)], out),
            Audience::Connections { user, connections } => {
                let selection = Selection::Only(connections);
                self.begin_parts(now, key, vec![(user, selection)], out);
            }
            Audience::Users(mut users) => {
                users.sort_unstable();
                users.dedup();
                let parts = users.into_iter().map(|user| (user, Selection::All));
                self.begin_parts(now, key, parts.collect(), out);
            }
            Audience::Everyone => self.push_to_everyone(now, key, out),
        }
    }

    fn check_push(&self, push: &Push) -> Result<(), PushRefused> {
        if self.drain.departure() == Departure::Done {
            return Err(PushRefused::Stopped);
        }
        if let Action::Frame(payload) = &push.action
            && payload.len() > self.base.config.push_bytes
        {
            let (bytes, limit) = (payload.len(), self.base.config.push_bytes);
            return Err(PushRefused::TooLarge { bytes, limit });
        }
        if !(Config::DEADLINE_MIN..=Config::DEADLINE_MAX).contains(&push.deadline) {
            return Err(PushRefused::Deadline);
        }
        let limit = self.base.config.push_users;
        let users: &[UserId] = match &push.to {
            Audience::Connections { connections, .. } if connections.len() > limit => {
                let connections = connections.len();
                return Err(PushRefused::TooManyConnections { connections, limit });
            }
            Audience::User(user) | Audience::Connections { user, .. } => std::slice::from_ref(user),
            Audience::Users(users) if users.is_empty() => return Err(PushRefused::NoUsers),
            Audience::Users(users) if users.len() > limit => {
                let users = users.len();
                return Err(PushRefused::TooManyUsers { users, limit });
            }
            Audience::Users(users) => users,
            Audience::Everyone => &[],
        };
        if self.publish.pushes.len() >= self.base.config.pushes {
            return Err(PushRefused::Overloaded);
        }
        let full = |user| {
            let lane = self.publish.pushes.lanes.get(user);
            lane.is_some_and(|lane| lane.len() >= self.base.config.pushes_per_user)
        };
        if users.iter().any(full) {
            return Err(PushRefused::UserOverloaded);
        }
        Ok(())
    }

    fn begin_parts(
        &mut self,
        now: Now,
        key: PushKey,
        parts: Vec<(UserId, Selection)>,
        out: &mut Outbox,
    ) {
        let (lanes, next) = (
            &mut self.publish.pushes.lanes,
            &mut self.publish.pushes.next_sequence,
        );
        let mut begun = Vec::with_capacity(parts.len());
        for (user, selection) in parts {
            let lane = lanes
                .entry(user.clone())
                .or_insert_with(|| Lane::new(*next));
            let sequence = lane.push(Part::new(key, selection, now.mono));
            *next = lane.next().max(*next);
            begun.push((user, sequence));
        }
        if let Some(pending) = self.publish.pushes.pending.get_mut(key) {
            pending.open = begun.len();
            pending.parts.clone_from(&begun);
        }
        for (user, _) in begun {
            self.advance_lane(now, &user, out);
        }
    }

    /// A fresh view tells who everyone is.
    fn push_to_everyone(&mut self, now: Now, key: PushKey, out: &mut Outbox) {
        if let Some(pending) = self.publish.pushes.pending.get_mut(key) {
            pending.open = 1;
        }
        if self.membership.is_linked() {
            self.wait_for_view(now, WaitsForView::Everyone(key));
        } else {
            self.send_to_everyone(now, now.mono, key, out);
        }
    }

    /// A timer of a push is due: it waits for the directory no longer, or for nothing any more.
    pub(crate) fn push_timer_due(&mut self, now: Now, key: PushKey, out: &mut Outbox) {
        let Some(pending) = self.publish.pushes.pending.get_mut(key) else {
            return;
        };
        let due = pending.due;
        if due <= now.mono {
            return self.push_due(now, key, out);
        }
        self.base.timers.arm(due, Timer::Push(key));
        pending.hurries = due;
        for (user, sequence) in pending.parts.clone() {
            self.part_hurries(now, &user, sequence, out);
        }
        let everyone = WaitsForView::Everyone(key);
        let waiting = &mut self.publish.pushes.waiting_for_view;
        if let Some(at) = waiting.iter().position(|(_, waits)| *waits == everyone) {
            let (since, _) = waiting.remove(at);
            self.send_to_everyone(now, since, key, out);
        }
    }

    /// Sends a push to all instances that were alive when last read, or are in doubt since it was
    /// handed in.
    pub(crate) fn send_to_everyone(
        &mut self,
        now: Now,
        since: Instant,
        key: PushKey,
        out: &mut Outbox,
    ) {
        let mut instances = self.membership.view().everybody(since, now.mono);
        let doubtful = !self.membership.view().doubtful(since, now.mono).is_empty();
        let blind = self.membership.is_blind(&self.base.config, since, now.mono)
            || (self.membership.view().asked()).is_none_or(|asked| asked < since);
        instances.push(self.base.identity.instance);
        // Its deadline may have come while it waited for the view.
        let Some(pending) = self.publish.pushes.pending.get_mut(key) else {
            return;
        };
        pending.receipt.degraded = doubtful || blind;
        pending.open = instances.len();
        let (push, action, due) = (pending.receipt.push, pending.action.clone(), pending.due);
        for to in instances {
            let delivery = self.publish.pushes.begin_hop(key, to, Vec::new());
            let deliver = Deliver {
                delivery,
                push,
                within: due.since(now.mono),
                action: action.clone(),
                to: Addressees::Everyone,
            };
            self.send_delivery(now, to, deliver, due, out);
        }
    }

    /// Sends a delivery to an instance, or to this one itself.
    pub(crate) fn send_delivery(
        &mut self,
        now: Now,
        to: InstanceId,
        deliver: Deliver,
        due: Instant,
        out: &mut Outbox,
    ) {
        if to == self.base.identity.instance {
            self.deliver(now, Publisher::Here, deliver, out);
        } else {
            let cx = &mut self.base.context(now, out);
            (self.peers).send(cx, &mut self.membership, to, deliver, due);
        }
    }

    /// An instance says what became of a delivery.
    pub(crate) fn delivered(
        &mut self,
        now: Now,
        from: InstanceId,
        delivered: Delivered,
        out: &mut Outbox,
    ) {
        // An answer that comes after the receipt changes nothing any more.
        let expected =
            (self.publish.pushes.hops.get(&delivered.delivery)).is_some_and(|hop| hop.to == from);
        if !expected {
            return;
        }
        let Some(hop) = self.publish.pushes.hops.remove(&delivered.delivery) else {
            return;
        };
        match delivered.outcomes {
            Outcomes::Everyone(counts) => {
                self.instance_answered(hop.push, from, Some(counts), out);
            }
            Outcomes::Users(outcomes) => {
                for (index, connection, outcome) in outcomes {
                    if let Some((user, sequence)) = hop.parts.get(index as usize) {
                        self.record(user, *sequence, delivered.delivery, connection, outcome);
                    }
                }
                for (user, sequence) in hop.parts {
                    self.hop_ended(now, &user, sequence, delivered.delivery, out);
                }
            }
        }
    }

    /// An instance could not be reached.
    pub(crate) fn delivery_failed(&mut self, now: Now, delivery: DeliveryId, out: &mut Outbox) {
        let Some(hop) = self.publish.pushes.end_hop(delivery) else {
            return;
        };
        if hop.parts.is_empty() {
            self.instance_answered(hop.push, hop.to, None, out);
        }
        for (user, sequence) in hop.parts {
            self.hop_ended(now, &user, sequence, delivery, out);
        }
    }
}

impl Fingerprint for Pushes {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.pending.fingerprint(now, hasher);
        self.lanes.fingerprint(now, hasher);
        for (delivery, hop) in &self.hops {
            delivery.fingerprint(now, hasher);
            (hop.push, hop.to, &hop.parts).hash(hasher);
        }
        self.next.fingerprint(now, hasher);
        self.next_sequence.fingerprint(now, hasher);
        for (since, waits) in &self.waiting_for_view {
            since.fingerprint(now, hasher);
            waits.hash(hasher);
        }
    }
}
