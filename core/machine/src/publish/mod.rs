//! Pushes and questions at the instance that is asked: order, routes, deliveries, receipts.
//!
//! # From a push to its receipt
//!
//! A push is handed in for an audience, and the audience is taken apart into [keys](crate::key::Key), each with
//! the connections of it that are meant ([`push`]). What the push is to one key is a *part*. The
//! parts of a key stand in its *lane*, in the order in which they were handed in ([`lane`]); the
//! lane looks up the rows of its key, and each part is *routed* by them: which instance is to be
//! asked for what ([`route`]). Each route leaves as a [`Delivery`](crate::delivery::Delivery), to
//! another instance or to this one itself, and is open until it is answered, cannot be sent, or the
//! push is due. The terminals that a part serves are its *targets*; when all have an outcome, the
//! part ends and they go into the receipt of the push ([`receipt`]), which is answered when all its
//! parts have ended, or at its deadline.
//!
//! A push to everyone has no parts: it is one delivery to each instance. So has one to [topics]: it is one to
//! each instance with members.

mod hooks;
mod kept;
mod lane;
mod list;
mod logs;
mod members;
mod push;
mod receipt;
mod relay;
mod replicas;
mod route;
mod topic_records;
mod topics;
mod waiting;

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use crate::base::alarm::Alarm;
use crate::base::few::Few;
use crate::base::fingerprint::Fingerprint;
use crate::base::rng::SeededHash;
use crate::base::slots::Slots;
use crate::config::Config;
use crate::context::Context;
use crate::delivery::{Delivered, Outcomes};
use crate::directory::log::Logged;
use crate::directory::{OperationError, Reply};
use crate::id::{DeliveryId, InstanceId, PushKey};
use crate::logs::LogRefused;
use crate::membership::trips::Conclusion;
use crate::message::{Action, Counts};
use crate::stats::{Gauges, Level, Tables};
use crate::time::Instant;
use crate::vocabulary::presence::MembersRead;
use crate::vocabulary::purpose::PublishPurpose;
use crate::wings::Wings;

pub(crate) use push::refuse;

use kept::KeptBytes;
use lane::{Lanes, PartId, Sequence, in_log_by};
use logs::LogCalls;
use receipt::OpenPush;
use replicas::AwaitedReplicas;
use topics::{TopicPushes, TopicRecordId};
use waiting::WaitsForView;

/// The pushes and questions of this instance.
///
/// A push comes with [`push`](Self::push) and is answered by a command. What the wing waits for is
/// handed in: the [end of an operation](Self::operation_ended), the [answer](Self::delivered) to a
/// delivery, a [view](Self::view_read), a [timer](Self::timer_due); and at the end of each turn
/// ([`end_turn`](Self::end_turn)) it takes this instance's own answers from those who serve its
/// terminals, and from the peers what they cannot send.
#[derive(Clone, Debug)]
pub(crate) struct Publish {
    /// Pushes whose receipts are not complete, and readings of members.
    open: Slots<PushKey, OpenPush>,
    /// Readings among them. They take no place of a push: terminals decide how many there are.
    readings: usize,
    /// What terminals publish among them.
    publications: usize,
    /// What is passed on for terminals of other instances among them. It takes no place of a push either.
    relays: usize,
    lanes: Lanes,
    /// Deliveries that were not answered.
    deliveries: BTreeMap<DeliveryId, OpenDelivery>,
    next_delivery: DeliveryId,
    /// The number of the first part of the next lane.
    next_sequence: u64,
    /// What cannot be judged before the next view, in the order it came.
    waiting: Vec<(Instant, WaitsForView)>,
    /// What is to be appended to logs on the next link, in the order in which it came. What has ended in the meantime
    /// stays among them until then.
    unappended: Vec<Unappended>,
    /// When they are asked for again on the link that there is.
    again: Alarm,
    /// Requests about logs that are not answered.
    log_calls: LogCalls,
    topics: TopicPushes,
    /// What was read of members of topics, until it is taken.
    members_read: Vec<MembersRead>,
    awaited_replicas: AwaitedReplicas,
    kept_bytes: KeptBytes,
}

/// What is to be appended to a log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Unappended {
    /// A part, to the log of its user.
    Part(PartId),
    /// A push to topics, to the log of one of them.
    Topic(TopicRecordId),
}

/// What is kept of a delivery until it is answered.
#[derive(Clone, Debug)]
struct OpenDelivery {
    push: PushKey,
    to: InstanceId,
    /// The part of each addressee; none for a push to everyone or to topics.
    parts: Few<PartId>,
}

impl Publish {
    pub(crate) fn new(config: &Config, hash: &SeededHash) -> Self {
        Self {
            open: Slots::new(),
            readings: 0,
            publications: 0,
            relays: 0,
            lanes: Lanes::new(hash),
            deliveries: BTreeMap::new(),
            next_delivery: DeliveryId::new(1),
            next_sequence: 0,
            waiting: Vec::new(),
            unappended: Vec::new(),
            again: Alarm::UNSET,
            log_calls: LogCalls::default(),
            topics: TopicPushes::default(),
            members_read: Vec::new(),
            awaited_replicas: AwaitedReplicas::default(),
            kept_bytes: KeptBytes::new(config),
        }
    }

    /// An operation of this wing has ended.
    pub(crate) fn operation_ended(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        purpose: PublishPurpose,
        conclusion: Conclusion,
    ) {
        if let PublishPurpose::Confirm { push, channel } = purpose {
            return self.confirmed(cx, push, channel, &conclusion);
        }
        let (asked, reply) = match conclusion {
            Conclusion::Answered { asked, reply } => (asked, reply),
            Conclusion::Unknown(_) => return self.operation_unknown(cx, wings, purpose),
            Conclusion::Refused(refusal) => {
                return self.operation_refused(cx, wings, purpose, &refusal);
            }
        };
        match (purpose, reply) {
            (PublishPurpose::Lookup { key }, Reply::Rows { rows, malformed }) => {
                cx.stats.malformed_entries += u64::from(malformed);
                self.looked_up(cx, wings, &key, rows);
            }
            (PublishPurpose::Connections { call, key }, Reply::Rows { rows, malformed }) => {
                cx.stats.malformed_entries += u64::from(malformed);
                self.connections_read(cx, wings, asked, call, key, rows);
            }
            (PublishPurpose::KeepTopic { push }, Reply::TopicKept(kept)) => {
                self.topic_kept(cx, push, Some(kept));
            }
            (PublishPurpose::TopicLookup { topic, turn }, Reply::TopicRows { rows, malformed }) => {
                cx.stats.malformed_entries += u64::from(malformed);
                self.topic_looked_up(cx, wings, topic, turn, Some(rows));
            }
            (PublishPurpose::RemoveRow, Reply::Removed(removed)) => {
                cx.stats.rows_removed += u64::from(removed);
            }
            (PublishPurpose::Append { key, part }, Reply::Log(reply)) => {
                let sequence = Sequence::new(part);
                self.appended(cx, wings, PartId { key, sequence }, reply);
            }
            (PublishPurpose::AppendToTopic { push, topic }, Reply::Log(reply)) => {
                self.topic_appended(cx, wings, TopicRecordId { push, topic }, reply);
            }
            (PublishPurpose::Log { call }, Reply::Log(reply)) => {
                self.log_answered(cx, wings, call, reply)
            }
            (
                purpose @ (PublishPurpose::Lookup { .. }
                | PublishPurpose::Connections { .. }
                | PublishPurpose::RemoveRow
                | PublishPurpose::TopicLookup { .. }
                | PublishPurpose::KeepTopic { .. }
                | PublishPurpose::Append { .. }
                | PublishPurpose::AppendToTopic { .. }
                | PublishPurpose::Confirm { .. }
                | PublishPurpose::Log { .. }),
                _,
            ) => {
                cx.stats.directory_refusals += 1;
                self.operation_failed(cx, wings, purpose);
            }
        }
    }

    /// It is unknown whether the directory executed the operation.
    fn operation_unknown(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        purpose: PublishPurpose,
    ) {
        match purpose {
            PublishPurpose::Append { key, part } => {
                let sequence = Sequence::new(part);
                self.append_unknown(cx, wings, &PartId { key, sequence });
            }
            PublishPurpose::AppendToTopic { push, topic } => {
                self.topic_append_unknown(cx, wings, TopicRecordId { push, topic });
            }
            PublishPurpose::Log { call } => {
                self.log_refused(cx, wings, call, LogRefused::NoAnswer);
            }
            PublishPurpose::Lookup { .. }
            | PublishPurpose::Connections { .. }
            | PublishPurpose::TopicLookup { .. }
            | PublishPurpose::KeepTopic { .. }
            | PublishPurpose::Confirm { .. }
            | PublishPurpose::RemoveRow => self.operation_failed(cx, wings, purpose),
        }
    }

    /// The directory did not execute the operation, or answered what cannot be understood.
    fn operation_refused(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        purpose: PublishPurpose,
        refusal: &OperationError,
    ) {
        match purpose {
            PublishPurpose::Append { key, part } => {
                let sequence = Sequence::new(part);
                self.append_refused(cx, wings, &PartId { key, sequence }, refusal);
            }
            PublishPurpose::AppendToTopic { push, topic } => {
                self.not_appended_to_topic(cx, &TopicRecordId { push, topic }, in_log_by(refusal));
            }
            PublishPurpose::Log { call } => {
                self.log_refused(cx, wings, call, logs::refused_by(refusal));
            }
            PublishPurpose::Lookup { .. }
            | PublishPurpose::Connections { .. }
            | PublishPurpose::TopicLookup { .. }
            | PublishPurpose::KeepTopic { .. }
            | PublishPurpose::Confirm { .. }
            | PublishPurpose::RemoveRow => self.operation_failed(cx, wings, purpose),
        }
    }

    /// The directory did not execute the operation, or it does not matter whether it did.
    fn operation_failed(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        purpose: PublishPurpose,
    ) {
        match purpose {
            PublishPurpose::Lookup { key } => self.lookup_failed(cx, wings, &key),
            PublishPurpose::Connections { call, key } => {
                list::connections_unknown(cx, wings, call, &key)
            }
            // The end of a confirmation is told before, whatever it is.
            PublishPurpose::RemoveRow | PublishPurpose::Confirm { .. } => {}
            PublishPurpose::KeepTopic { push } => self.topic_kept(cx, push, None),
            PublishPurpose::TopicLookup { topic, turn } => {
                self.topic_looked_up(cx, wings, topic, turn, None);
            }
            PublishPurpose::Log { call } => self.log_refused(cx, wings, call, LogRefused::Refused),
            PublishPurpose::Append { key, part } => {
                let sequence = Sequence::new(part);
                // An answer of another kind says that something was executed.
                self.append_unknown(cx, wings, &PartId { key, sequence });
            }
            PublishPurpose::AppendToTopic { push, topic } => {
                self.topic_append_unknown(cx, wings, TopicRecordId { push, topic });
            }
        }
    }

    /// A log has answered an append of so many bytes, which it is to keep for so long.
    fn is_kept(&mut self, cx: &Context<'_>, logged: Logged, age: Option<Duration>, bytes: u64) {
        match (logged, age) {
            (Logged::New(_), Some(age)) => self.kept_bytes.add(cx.now.mono, age, bytes),
            (Logged::New(_) | Logged::Repeated(_) | Logged::Expired, _) => {}
        }
    }

    /// Whether an answer is of another kind than its delivery.
    pub(crate) fn contradicts(&self, delivered: &Delivered) -> bool {
        let Some(delivery) = self.deliveries.get(&delivered.delivery) else {
            return false;
        };
        match &delivered.outcomes {
            Outcomes::Counted(_) | Outcomes::Confirmed(..) => {
                !delivery.parts.is_empty() || self.is_list(delivery.push)
            }
            Outcomes::Listed(..) => !delivery.parts.is_empty() || !self.is_list(delivery.push),
            Outcomes::Keys(_) => delivery.parts.is_empty(),
        }
    }

    fn is_list(&self, push: PushKey) -> bool {
        let action = self.open.get(push).map(|open| &open.action);
        matches!(action, Some(Action::List { .. }))
    }

    /// An instance says what became of a delivery.
    pub(crate) fn delivered(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        from: InstanceId,
        delivered: Delivered,
    ) {
        let id = delivered.delivery;
        // An answer that comes after the receipt changes nothing any more.
        let expected = (self.deliveries.get(&id)).is_some_and(|delivery| delivery.to == from);
        if !expected {
            return;
        }
        let Some(delivery) = self.deliveries.remove(&id) else {
            return;
        };
        match delivered.outcomes {
            Outcomes::Counted(counts) => {
                if counts == Counts::default() {
                    self.no_members(wings, from, id);
                }
                self.instance_answered(cx, delivery.push, from, Some(counts));
            }
            Outcomes::Confirmed(counts, acked) => {
                let counts = Counts { acked, ..counts };
                self.instance_answered(cx, delivery.push, from, Some(counts));
            }
            Outcomes::Listed(all, listed) => {
                self.instance_listed(cx, delivery.push, from, (all, listed));
            }
            Outcomes::Keys(outcomes) => {
                for (index, connection, outcome) in outcomes {
                    if let Some(part) = delivery.parts.get(index as usize) {
                        self.record(part, id, connection, outcome);
                    }
                }
                for part in delivery.parts {
                    self.delivery_of_part_ended(cx, wings, &part, id);
                }
            }
        }
    }

    /// A delivery cannot be sent.
    fn delivery_failed(&mut self, cx: &mut Context<'_>, wings: &mut Wings<'_>, id: DeliveryId) {
        let Some(delivery) = self.deliveries.remove(&id) else {
            return;
        };
        if delivery.parts.is_empty() {
            self.instance_answered(cx, delivery.push, delivery.to, None);
        }
        for part in delivery.parts {
            self.delivery_of_part_ended(cx, wings, &part, id);
        }
    }

    /// Takes up this instance's answers to its own deliveries, and deliveries that cannot be sent.
    pub(crate) fn end_turn(&mut self, cx: &mut Context<'_>, wings: &mut Wings<'_>) {
        self.take_up_answers(cx, wings);
        for delivery in wings.peers.take_failed() {
            self.delivery_failed(cx, wings, delivery);
        }
        self.ask_replica(wings);
    }

    fn take_up_answers(&mut self, cx: &mut Context<'_>, wings: &mut Wings<'_>) {
        for delivered in wings.deliver.take_answers_here() {
            self.delivered(cx, wings, cx.identity.instance, delivered);
        }
    }

    /// Whether nothing waits for the end of the turn.
    pub(crate) const fn turn_is_over(&self) -> bool {
        self.members_read.is_empty() && !self.awaited_replicas.can_ask()
    }

    pub(crate) fn fingerprint_turn(&self, hasher: &mut impl Hasher) {
        self.members_read.hash(hasher);
    }

    /// Pushes whose receipts are not complete.
    pub(crate) fn len(&self) -> usize {
        self.open.len() - self.readings - self.relays
    }

    /// Writes down what there is to see of them.
    pub(crate) fn gauge(&self, now: Instant, gauges: &mut Gauges) {
        gauges.pushes = self.len();
        gauges.log_kept_bytes = self.kept_bytes.at(now);
    }

    /// How full its tables are; of the lanes, the longest.
    pub(crate) fn levels(&self, config: &Config) -> [Level; 2] {
        [
            Level {
                setting: "pushes",
                used: self.len(),
                limit: config.pushes,
            },
            Level {
                setting: "pushes_per_user",
                used: self.lanes.longest(),
                limit: config.pushes_per_user,
            },
        ]
    }

    /// Its timers of which there is one.
    pub(crate) const fn alarms(&self) -> [Alarm; 1] {
        [self.again]
    }

    /// Counts what is in its tables.
    pub(crate) fn count(&self, tables: &mut Tables) {
        tables.pushes = self.open.len();
        tables.publications = self.publications;
        tables.readings = self.readings;
        tables.relays = self.relays;
        tables.lanes = self.lanes.len();
        tables.deliveries = self.deliveries.len();
        tables.waiting = self.waiting.len();
        tables.unappended = self.unappended.len();
        tables.awaited_replicas = self.awaited_replicas.len();
        self.topics.count(tables);
    }

    /// Whether nothing is left of any push or question.
    #[cfg(test)]
    pub(crate) fn is_at_rest(&self) -> bool {
        self.open.is_empty()
            && self.lanes.is_empty()
            && self.deliveries.is_empty()
            && self.waiting.is_empty()
            && self.unappended.is_empty()
            && self.log_calls.is_empty()
            && self.topics.is_empty()
            && self.members_read.is_empty()
            && self.awaited_replicas.is_empty()
    }
}

impl Fingerprint for Publish {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.open.fingerprint(now, hasher);
        self.lanes.fingerprint(now, hasher);
        for (id, delivery) in &self.deliveries {
            id.fingerprint(now, hasher);
            (delivery.push, delivery.to, &delivery.parts).hash(hasher);
        }
        self.next_delivery.fingerprint(now, hasher);
        self.next_sequence.fingerprint(now, hasher);
        self.unappended.hash(hasher);
        self.log_calls.fingerprint(now, hasher);
        self.topics.fingerprint(now, hasher);
        self.awaited_replicas.fingerprint(now, hasher);
        for (since, waits) in &self.waiting {
            since.fingerprint(now, hasher);
            waits.hash(hasher);
        }
    }
}
