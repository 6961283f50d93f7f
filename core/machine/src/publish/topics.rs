//! Pushes to topics: which instances have members, and in what order they are sent.
//!
//! A topic has a row for each *instance* with members, so a push to one costs a lookup and a delivery by
//! instance, however many members there are. Who they are only their instances know, and they answer with
//! counts.
//!
//! Pushes to topics leave in the order in which they were handed in, whichever topics they are for: each waits
//! for the rows of all its topics, and for those before it. That costs little, because the directory answers in
//! the order in which it is asked, and it gives a terminal that is a member of two topics their pushes in one
//! order. No push waits for rows beyond a fraction of its deadline: from there on everybody is asked, and it goes past those
//! whose first topic by name is another one. Durable pushes are another matter ([`topic_records`](super::topic_records)).

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash as _, Hasher};

use crate::base::few::Few;
use crate::base::fingerprint::Fingerprint;
use crate::context::Context;
use crate::delivery::{Addressees, Breadth, Delivery, Recorded};
use crate::directory::{Keeping, Operation};
use crate::id::{ConnectionId, DeliveryId, Epoch, InstanceId, PushKey, TopicId};
use crate::key::Key;
use crate::message::{Action, PushedBy, Until};
use crate::publish::lane::PartRecord;
use crate::publish::push::send;
use crate::publish::waiting::WaitsForView;
use crate::publish::{Publish, hooks};
use crate::stats::Tables;
use crate::time::Instant;
use crate::vocabulary::purpose::PublishPurpose;
use crate::vocabulary::standing::{Sight, Standing};
use crate::wings::Wings;

/// The instances with members of a topic, as they were read.
pub(super) type TopicRows = Vec<(InstanceId, Epoch)>;

/// The pushes to topics that are not routed, and what they wait for.
#[derive(Clone, Debug, Default)]
pub(super) struct TopicPushes {
    /// By their numbers, in the order in which they were handed in.
    waiting: BTreeMap<u64, TopicPush>,
    /// Those that are records of logs: the order of these is that of the log, and no other waits for them.
    pub(super) records: BTreeMap<PushKey, BTreeMap<TopicId, TopicPush>>,
    numbers: BTreeMap<PushKey, u64>,
    next: u64,
    /// Who waits for the rows of a topic that were asked for in a turn. Those of one turn share a lookup.
    lookups: BTreeMap<(u64, TopicId), Vec<PushKey>>,
    of_the_living: hooks::RowsOfTheLiving,
}

/// What is routed by itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum TopicPushId {
    /// A push to topics.
    Plain(PushKey),
    /// What a push is to the log of a topic.
    Record(TopicRecordId),
}

/// A push that is to be a record of the log of a topic. One to several topics is a record of each.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct TopicRecordId {
    pub(super) push: PushKey,
    pub(super) topic: TopicId,
}

/// One push to topics that is not routed, or one record.
#[derive(Clone, Debug)]
pub(super) struct TopicPush {
    pub(super) push: PushKey,
    pub(super) topics: Vec<TopicId>,
    pub(super) except: Option<ConnectionId>,
    pub(super) by: PushedBy,
    pub(super) since: Instant,
    pub(super) rows: BTreeMap<TopicId, TopicRows>,
    pub(super) stage: TopicStage,
    /// What it is to the log of its topic. One that is to be a record has one topic.
    pub(super) record: PartRecord,
    pub(super) breadth: Breadth,
    /// Instances with members, once its rows are judged.
    pub(super) targets: BTreeSet<InstanceId>,
    /// Rows that were found dead then.
    pub(super) dead: Vec<(TopicId, InstanceId, Epoch)>,
}

/// What a push to topics waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum TopicStage {
    /// The rows of its topics.
    LookingUp,
    /// Its record, with which the rows of its topic come.
    Appending,
    /// A view that knows the instances of its rows.
    Unjudged,
    /// Those before it. It is known what its rows are worth.
    Ready,
    /// The same, and everybody is asked, because nothing can be known.
    Unknown,
}

impl TopicPush {
    pub(super) fn new(
        push: PushKey,
        (topics, except): (Vec<TopicId>, Option<ConnectionId>),
        by: PushedBy,
        since: Instant,
        stage: TopicStage,
    ) -> Self {
        Self {
            push,
            topics,
            except,
            by,
            since,
            rows: BTreeMap::new(),
            stage,
            record: PartRecord::Plain,
            breadth: Breadth::OneTopic,
            targets: BTreeSet::new(),
            dead: Vec::new(),
        }
    }

    /// Its members, whichever instances have them.
    fn addressees(&self, until: Until) -> Addressees {
        match (self.record.place(), self.topics.first()) {
            (Some(place), Some(topic)) => Addressees::Record {
                topic: topic.clone(),
                except: self.except,
                by: self.by,
                record: Recorded { place, until },
                breadth: self.breadth.clone(),
            },
            (None, _) | (_, None) => Addressees::Members {
                topics: self.topics.clone(),
                except: self.except,
                by: self.by,
            },
        }
    }

    /// What an instance says of its topics.
    fn rows_of(&self, instance: InstanceId) -> Vec<(TopicId, Epoch)> {
        let rows = self.rows.iter().filter_map(|(topic, rows)| {
            let row = rows.iter().find(|(other, _)| *other == instance)?;
            Some((topic.clone(), row.1))
        });
        rows.collect()
    }
}

impl TopicPushes {
    fn get_mut(&mut self, id: &TopicPushId) -> Option<&mut TopicPush> {
        match id {
            TopicPushId::Plain(push) => self.waiting.get_mut(self.numbers.get(push)?),
            TopicPushId::Record(record) => self.record_mut(record),
        }
    }

    pub(super) fn record_mut(&mut self, id: &TopicRecordId) -> Option<&mut TopicPush> {
        self.records.get_mut(&id.push)?.get_mut(&id.topic)
    }

    pub(super) fn remove_record(&mut self, id: &TopicRecordId) -> Option<TopicPush> {
        let of_push = self.records.get_mut(&id.push)?;
        let removed = of_push.remove(&id.topic);
        if of_push.is_empty() {
            self.records.remove(&id.push);
        }
        removed
    }

    /// The records that a push is to be, and that are not routed.
    pub(super) fn records_of(&self, push: PushKey) -> Vec<TopicRecordId> {
        let topics = self.records.get(&push).into_iter().flat_map(BTreeMap::keys);
        let id = |topic: &TopicId| TopicRecordId {
            push,
            topic: topic.clone(),
        };
        topics.map(id).collect()
    }

    fn insert(&mut self, waiting: TopicPush) {
        self.numbers.insert(waiting.push, self.next);
        self.waiting.insert(self.next, waiting);
        self.next += 1;
    }

    fn remove(&mut self, push: PushKey) {
        let number = self.numbers.remove(&push);
        let _removed = number.and_then(|number| self.waiting.remove(&number));
    }

    /// The first one, if it waits for nothing but its turn.
    fn take_first(&mut self) -> Option<TopicPush> {
        let first = self.waiting.first_entry()?;
        match first.get().stage {
            TopicStage::LookingUp | TopicStage::Appending | TopicStage::Unjudged => None,
            TopicStage::Ready | TopicStage::Unknown => {
                let first = first.remove();
                self.numbers.remove(&first.push);
                Some(first)
            }
        }
    }

    /// A push, behind the earlier ones whose first topic by name is the same. Lists have no order.
    fn take_with(&mut self, number: u64, is_list: impl Fn(PushKey) -> bool) -> Vec<TopicPush> {
        let Some(push) = self.waiting.get(&number) else {
            return Vec::new();
        };
        let alone = is_list(push.push);
        let named = push.topics.first().cloned();
        let earlier = self.waiting.range(..=number);
        let going = earlier.filter(|(other, waiting)| {
            let goes_along =
                !alone && waiting.topics.first() == named.as_ref() && !is_list(waiting.push);
            **other == number || goes_along
        });
        let going: Vec<_> = going.map(|(number, _)| *number).collect();
        let taken = going.iter().filter_map(|number| {
            let taken = self.waiting.remove(number)?;
            self.numbers.remove(&taken.push);
            Some(taken)
        });
        taken.collect()
    }

    /// A delivery was not answered.
    pub(super) fn forget(&mut self, delivery: DeliveryId) {
        self.of_the_living.take(delivery);
    }

    pub(super) fn count(&self, tables: &mut Tables) {
        let records = self.records.values().map(BTreeMap::len);
        tables.topic_pushes = self.waiting.len() + records.sum::<usize>();
        tables.topic_lookups = self.lookups.len();
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.records.is_empty() && self.lookups.is_empty()
    }
}

impl Publish {
    /// Asks which instances have members of the topics of a push.
    pub(super) fn push_to_topics(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        push: PushKey,
        (topics, except): (Vec<TopicId>, Option<ConnectionId>),
        by: PushedBy,
    ) {
        if let Some(open) = self.open.get_mut(push) {
            open.unfinished = 1;
        }
        let stage = if wings.membership.is_linked() {
            TopicStage::LookingUp
        } else {
            TopicStage::Unknown
        };
        if stage == TopicStage::LookingUp {
            for topic in &topics {
                self.look_up_topic(cx, wings, push, topic);
            }
        }
        let waiting = TopicPush::new(push, (topics, except), by, cx.now.mono, stage);
        self.topics.insert(waiting);
        self.advance_topics(cx, wings);
    }

    fn look_up_topic(
        &mut self,
        cx: &Context<'_>,
        wings: &mut Wings<'_>,
        push: PushKey,
        topic: &TopicId,
    ) {
        let waiting = self
            .topics
            .lookups
            .entry((cx.turn, topic.clone()))
            .or_default();
        waiting.push(push);
        if waiting.len() > 1 {
            return;
        }
        let operation = Operation::LookupTopic {
            topic: topic.clone(),
        };
        let purpose = PublishPurpose::TopicLookup {
            topic: topic.clone(),
            turn: cx.turn,
        };
        wings.membership.ask(operation, purpose);
    }

    /// Has the directory take down that the terminals of a user are to be members of a topic, or are not.
    pub(super) fn keep_topic(
        &mut self,
        cx: &Context<'_>,
        wings: &mut Wings<'_>,
        push: PushKey,
        key: &Key,
    ) {
        let Some(open) = self.open.get_mut(push) else {
            return;
        };
        let most = u32::try_from(cx.config.connection_topics).unwrap_or(u32::MAX);
        let (topic, keeping) = match &open.action {
            Action::Join(topic) => (topic.clone(), Keeping::Kept { most }),
            Action::Leave(topic) => (topic.clone(), Keeping::Dropped),
            Action::Frame(_) | Action::Close(_) | Action::List { .. } => return,
        };
        open.unfinished += 1;
        open.receipt.kept = Some(false);
        let operation = Operation::KeepTopic {
            key: key.clone(),
            topic,
            keeping,
        };
        let purpose = PublishPurpose::KeepTopic { push };
        // A lookup of this turn may be asked for already: a terminal that comes between the two would be missed.
        let lookup = Operation::Lookup { key: key.clone() };
        (wings.membership).ask_before(&lookup, operation, purpose);
    }

    /// The directory has taken it down, or has not, or has not said so.
    pub(super) fn topic_kept(&mut self, cx: &mut Context<'_>, push: PushKey, kept: Option<bool>) {
        // Its deadline may have come.
        let Some(open) = self.open.get_mut(push) else {
            return;
        };
        open.receipt.kept = Some(kept == Some(true));
        open.receipt.degraded |= kept.is_none();
        self.one_finished(cx, push);
    }

    /// The rows of a topic have come, or cannot be read.
    pub(super) fn topic_looked_up(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        topic: TopicId,
        turn: u64,
        rows: Option<TopicRows>,
    ) {
        let looked_up = (turn, topic);
        let waited = self.topics.lookups.remove(&looked_up);
        let (_, topic) = looked_up;
        for push in waited.into_iter().flatten() {
            let id = TopicPushId::Plain(push);
            // It may have been routed without.
            let Some(waiting) = self.topics.get_mut(&id) else {
                continue;
            };
            match &rows {
                Some(rows) => {
                    waiting.rows.insert(topic.clone(), rows.clone());
                    let is_complete = waiting.rows.len() == waiting.topics.len();
                    if is_complete && waiting.stage == TopicStage::LookingUp {
                        self.judge_topics(cx, wings, &id);
                    }
                }
                None => waiting.stage = TopicStage::Unknown,
            }
        }
        self.advance_topics(cx, wings);
    }

    /// Looks whether the view knows the instances of all rows of a push. If not, it is read.
    pub(super) fn judge_topics(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        id: &TopicPushId,
    ) {
        let Some(waiting) = self.topics.get_mut(id) else {
            return;
        };
        let is_open = |standing| match (standing, waiting.stage) {
            (Standing::Live { .. }, _) | (Standing::Unknown, TopicStage::Unjudged) => false,
            // A view that was read since knows all that live.
            (Standing::Unknown | Standing::Outdated, _) => true,
        };
        let mut rows = waiting.rows.values().flatten();
        if rows
            .any(|(instance, _)| is_open(wings.membership.standing(cx, *instance, waiting.since)))
        {
            waiting.stage = TopicStage::Unjudged;
            self.wait_for_view(cx, wings, WaitsForView::Topics(id.clone()));
            return;
        }
        waiting.stage = TopicStage::Ready;
        for (topic, rows) in &waiting.rows {
            for &(instance, epoch) in rows {
                match wings.membership.standing(cx, instance, waiting.since) {
                    Standing::Live { floor, .. } if epoch >= floor => {
                        waiting.targets.insert(instance);
                    }
                    Standing::Live { .. } | Standing::Outdated | Standing::Unknown => {
                        waiting.dead.push((topic.clone(), instance, epoch));
                    }
                }
            }
        }
    }

    /// A view was read for a push.
    pub(super) fn topics_judged(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        id: &TopicPushId,
    ) {
        let unjudged = |waiting: &mut TopicPush| waiting.stage == TopicStage::Unjudged;
        if self.topics.get_mut(id).is_some_and(unjudged) {
            self.judge_topics(cx, wings, id);
            self.advance(cx, wings, id);
        }
    }

    /// Nothing can be known of the instances of a push.
    pub(super) fn topics_unjudged(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        id: &TopicPushId,
    ) {
        if let Some(waiting) = self.topics.get_mut(id) {
            waiting.stage = TopicStage::Unknown;
            self.advance(cx, wings, id);
        }
    }

    fn advance(&mut self, cx: &mut Context<'_>, wings: &mut Wings<'_>, id: &TopicPushId) {
        match id {
            TopicPushId::Plain(_) => self.advance_topics(cx, wings),
            TopicPushId::Record(record) => self.route_topic_record(cx, wings, record),
        }
    }

    /// A push has waited for rows as long as its deadline allows. Earlier ones whose first topic by name is the same go with
    /// it, so that it does not overtake them; it goes past the others, and so do these. A list is in no order.
    pub(super) fn topics_hurry(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        push: PushKey,
    ) {
        let Some(&number) = self.topics.numbers.get(&push) else {
            for record in self.topics.records_of(push) {
                self.topic_record_hurries(cx, wings, &record);
            }
            return;
        };
        let open = &self.open;
        let is_list = |push| {
            let open = open.get(push);
            open.is_some_and(|open| matches!(open.action, Action::List { .. }))
        };
        for mut going in self.topics.take_with(number, is_list) {
            match going.stage {
                TopicStage::Ready => {}
                TopicStage::LookingUp
                | TopicStage::Appending
                | TopicStage::Unjudged
                | TopicStage::Unknown => {
                    going.stage = TopicStage::Unknown;
                }
            }
            self.route_topics(cx, wings, going);
        }
        self.advance_topics(cx, wings);
    }

    /// A push is due that was not routed: those behind it wait for it no longer.
    pub(super) fn topics_due(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        push: PushKey,
    ) {
        self.topics.remove(push);
        self.advance_topics(cx, wings);
    }

    /// Routes those that wait for nothing but their turn.
    fn advance_topics(&mut self, cx: &mut Context<'_>, wings: &mut Wings<'_>) {
        while let Some(first) = self.topics.take_first() {
            self.route_topics(cx, wings, first);
        }
    }

    pub(super) fn route_topics(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        routed: TopicPush,
    ) {
        let doubt = wings.membership.doubt(cx, routed.since);
        let mut degraded = doubt.sight == Sight::Blind || !doubt.instances.is_empty();
        let mut instances = BTreeSet::from_iter(doubt.instances);
        match routed.stage {
            TopicStage::Ready => {
                instances.extend(&routed.targets);
                for (topic, instance, epoch) in &routed.dead {
                    remove_dead_topic(wings, topic, *instance, *epoch);
                }
            }
            // No row can be judged: all are asked whom one names, and none is removed.
            TopicStage::LookingUp
            | TopicStage::Appending
            | TopicStage::Unjudged
            | TopicStage::Unknown => {
                degraded = true;
                instances.extend(wings.membership.everybody(cx, routed.since));
                let rows = routed.rows.values().flatten();
                instances.extend(rows.map(|(instance, _)| *instance));
            }
        }
        // What its own rows say is known here without them.
        let here = cx.identity.instance;
        instances.remove(&here);
        if routed
            .topics
            .iter()
            .any(|topic| wings.terminals.has_members(topic))
        {
            instances.insert(here);
        }
        self.send_to_members(cx, wings, &routed, degraded, instances);
    }

    fn send_to_members(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        routed: &TopicPush,
        degraded: bool,
        instances: BTreeSet<InstanceId>,
    ) {
        let push = routed.push;
        let Some(open) = self.open.get_mut(push) else {
            return;
        };
        open.receipt.degraded |= degraded;
        if instances.is_empty() {
            return self.one_finished(cx, push);
        }
        // A replica may be waited for as well.
        open.unfinished += instances.len() - 1;
        let (id, action, due) = (open.receipt.push, open.action.clone(), open.due);
        let to_members = routed.addressees(open.until);
        for to in instances {
            let delivery = self.begin_delivery(push, to, Few::new());
            (self.topics.of_the_living).note(cx.flaws, delivery, || routed.rows_of(to));
            let delivery = Delivery {
                id: delivery,
                push: id,
                within: due.since(cx.now.mono),
                action: action.clone(),
                to: to_members.clone(),
            };
            send(cx, wings, to, delivery, due);
        }
    }

    /// An instance has answered that it has no members. Its rows stay: a terminal may be joining, and what the
    /// instance says of a topic is for itself to take back.
    pub(super) fn no_members(
        &mut self,
        wings: &mut Wings<'_>,
        from: InstanceId,
        delivery: DeliveryId,
    ) {
        for (topic, epoch) in self.topics.of_the_living.take(delivery) {
            remove_dead_topic(wings, &topic, from, epoch);
        }
    }
}

/// Takes back what is said of a topic by an instance that does not live, or did not live through it.
fn remove_dead_topic(wings: &mut Wings<'_>, topic: &TopicId, instance: InstanceId, epoch: Epoch) {
    if wings.membership.is_linked() {
        let operation = Operation::LeaveTopic {
            topic: topic.clone(),
            instance,
            epoch,
        };
        wings.membership.ask(operation, PublishPurpose::RemoveRow);
    }
}

impl Fingerprint for TopicPushes {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        for waiting in self.waiting.values() {
            waiting.push.fingerprint(now, hasher);
            (
                &waiting.topics,
                waiting.except,
                waiting.by,
                &waiting.rows,
                waiting.stage,
            )
                .hash(hasher);
            waiting.since.fingerprint(now, hasher);
        }
        for (push, records) in &self.records {
            push.fingerprint(now, hasher);
            for record in records.values() {
                (&record.topics, record.except, &record.rows, record.stage).hash(hasher);
                (record.by, record.record, &record.breadth).hash(hasher);
                record.since.fingerprint(now, hasher);
            }
        }
        self.lookups.hash(hasher);
    }
}
