//! Durable pushes to topics: each is appended to the log of its topic, and the rows of the topic come with the answer.
//!
//! An append is one round trip, as a lookup is, however many members the topic has. What is appended is routed as soon as
//! its rows are judged, whatever was handed in before: the order of records is that of the log, and plain pushes go out
//! when they come. As with those of users ([`lane`](super::lane)), an append whose outcome is unknown is asked again
//! under the push's id.

use std::collections::BTreeSet;

use crate::channel::Channel;
use crate::context::Context;
use crate::directory::Operation;
use crate::directory::log::{ChannelRows, Content, LogOperation, LogReply, Logged};
use crate::id::{ConnectionId, PushKey, TopicId};
use crate::message::{Action, ChannelLog, InLog, PushedBy};
use crate::publish::lane::{PartRecord, tell_missed};
use crate::publish::topics::{TopicPush, TopicStage};
use crate::publish::{Publish, Unappended, hooks};
use crate::vocabulary::purpose::PublishPurpose;
use crate::wings::Wings;

impl Publish {
    /// Has a push to a topic appended to the log of that.
    pub(super) fn push_to_log_of_topic(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        push: PushKey,
        (mut topics, except): (Vec<TopicId>, Option<ConnectionId>),
        (by, record): (PushedBy, PartRecord),
    ) {
        // It was checked that they are all the same.
        topics.truncate(1);
        if let Some(open) = self.open.get_mut(push) {
            open.unfinished = 1;
        }
        let to = (topics, except);
        let record = TopicPush {
            record,
            ..TopicPush::new(push, to, by, cx.now.mono, TopicStage::Appending)
        };
        self.topics.records.insert(push, record);
        self.append_to_topic(cx, wings, push);
    }

    /// Asks for the record of a push, if there is a link. If not, it is asked for on the next one.
    pub(super) fn append_to_topic(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        push: PushKey,
    ) {
        let (Some(record), Some(open)) = (self.topics.records.get(&push), self.open.get(push))
        else {
            return;
        };
        let (PartRecord::Wanted { retention, .. }, Some(topic)) =
            (record.record, record.topics.first())
        else {
            return;
        };
        let Action::Frame(payload) = &open.action else {
            cx.bug("a durable push without a payload");
            return;
        };
        if !wings.membership.is_linked() {
            self.unappended.push(Unappended::Topic(push));
            return;
        }
        let operation = Operation::Log {
            channel: topic.clone().into(),
            operation: LogOperation::Append {
                push: open.receipt.push,
                content: Content::of(payload),
                nonce: hooks::nonce(cx.flaws, open.receipt.push, cx.random.positions.next_u32()),
                retention,
            },
        };
        let topic = topic.clone();
        let purpose = PublishPurpose::AppendToTopic { push, topic };
        wings.membership.ask(operation, purpose);
    }

    /// The directory has answered an append.
    pub(super) fn topic_appended(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        push: PushKey,
        topic: TopicId,
        reply: LogReply,
    ) {
        let LogReply::Appended {
            logged,
            rows: ChannelRows::Instances(rows),
            malformed,
        } = reply
        else {
            cx.stats.directory_refusals += 1;
            return self.not_appended_to_topic(cx, push, InLog::Unknown);
        };
        cx.stats.malformed_entries += u64::from(malformed);
        let bytes = self.open.get(push).map_or(0, |open| match &open.action {
            Action::Frame(payload) => payload.len() as u64,
            Action::Close(_) | Action::Join(_) | Action::Leave(_) | Action::List { .. } => 0,
        });
        let record = self.topics.records.get_mut(&push);
        let Some(record) = record.filter(|record| record.stage == TopicStage::Appending) else {
            // The receipt has said that it is unknown. Those that follow the log need not wait for a check.
            let there = rows.iter().map(|(instance, _)| *instance);
            let instances: BTreeSet<_> = there.chain([cx.identity.instance]).collect();
            for instance in instances {
                tell_missed(cx, wings, instance, &Channel::from(topic.clone()));
            }
            return;
        };
        record.record = PartRecord::answered(cx, logged, record.since, bytes);
        let place = record.record.place();
        record.rows.insert(topic.clone(), rows);
        if let Some(place) = place {
            self.confirm(cx, push, topic.clone().into(), place.position);
            let log = ChannelLog {
                channel: topic.into(),
                logged: InLog::At(place.position),
                replicated: None,
            };
            self.answer_publisher(cx, push, log);
        }
        let is_delivered = match logged {
            Logged::New(_) => true,
            Logged::Repeated(_) => hooks::delivers_repeats(cx.flaws),
            Logged::Expired => false,
        };
        if is_delivered {
            self.judge_topics(cx, wings, push);
            self.route_topic_record(cx, wings, push);
        } else {
            self.topic_record_due(push);
            self.one_finished(cx, push);
        }
    }

    /// Routes a record whose rows are judged, or that waits for that no longer.
    pub(super) fn route_topic_record(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        push: PushKey,
    ) {
        let is_judged = self
            .topics
            .records
            .get(&push)
            .is_some_and(|record| match record.stage {
                TopicStage::LookingUp | TopicStage::Appending | TopicStage::Unjudged => false,
                TopicStage::Ready | TopicStage::Unknown => true,
            });
        if is_judged && let Some(record) = self.topic_record_due(push) {
            self.route_topics(cx, wings, record);
        }
    }

    /// The deadline comes near: a record that waits for a view does so no longer.
    pub(super) fn topic_record_hurries(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        push: PushKey,
    ) {
        let Some(record) = self.topics.records.get_mut(&push) else {
            return;
        };
        match record.stage {
            TopicStage::Unjudged => record.stage = TopicStage::Unknown,
            TopicStage::LookingUp
            | TopicStage::Appending
            | TopicStage::Ready
            | TopicStage::Unknown => {}
        }
        self.route_topic_record(cx, wings, push);
    }

    /// What is known of a record is taken into the receipt, and nothing more is done for it.
    pub(super) fn topic_record_due(&mut self, push: PushKey) -> Option<TopicPush> {
        let record = self.topics.records.remove(&push)?;
        if let Some(topic) = record.topics.first() {
            let in_log = record.record.in_log();
            self.log_into_receipt(push, topic.clone().into(), in_log);
        }
        Some(record)
    }

    /// It is unknown whether a record was appended: it is asked again, which is safe under its push's id.
    pub(super) fn topic_append_unknown(
        &mut self,
        cx: &mut Context<'_>,
        wings: &Wings<'_>,
        push: PushKey,
    ) {
        let Some(record) = self.topics.records.get_mut(&push) else {
            return;
        };
        if let PartRecord::Wanted { doubtful, .. } = &mut record.record {
            *doubtful = true;
        }
        self.append_later(cx, wings, Unappended::Topic(push));
    }

    /// A push ends without a place in the log.
    pub(super) fn not_appended_to_topic(
        &mut self,
        cx: &mut Context<'_>,
        push: PushKey,
        in_log: InLog,
    ) {
        let record = self.topics.records.get_mut(&push);
        let Some(record) = record.filter(|record| record.stage == TopicStage::Appending) else {
            return;
        };
        // What was asked before may be executed.
        let in_log = match record.record {
            PartRecord::Wanted { doubtful: true, .. } => InLog::Unknown,
            PartRecord::Wanted { .. }
            | PartRecord::Plain
            | PartRecord::At(_)
            | PartRecord::Not(_) => in_log,
        };
        record.record = PartRecord::Not(in_log);
        self.topic_record_due(push);
        if let Some(open) = self.open.get_mut(push) {
            open.receipt.degraded = true;
        }
        self.one_finished(cx, push);
    }
}
