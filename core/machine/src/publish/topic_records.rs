//! Durable pushes to topics: each is appended to the log of its topic, and the rows of the topic come with the answer. One to
//! several topics is a record in the log of each, and each goes its own way: what is wrong with one log holds no other up.
//!
//! An append is one round trip, as a lookup is, however many members the topic has. What is appended is routed as soon as
//! its rows are judged, whatever was handed in before: the order of records is that of the log, and plain pushes go out
//! when they come. As with those of users ([`lane`](super::lane)), an append whose outcome is unknown is asked again
//! under the push's id.

use crate::channel::Channel;
use crate::context::Context;
use crate::delivery::{Breadth, TopicMarks};
use crate::directory::Operation;
use crate::directory::log::{ChannelRows, Content, LogOperation, LogReply, Logged};
use crate::id::{ConnectionId, PushKey, TopicId};
use crate::message::{Action, ChannelLog, InLog, PushedBy};
use crate::publish::lane::{PartRecord, tell_all_missed};
use crate::publish::topics::{TopicPush, TopicPushId, TopicRecordId, TopicStage};
use crate::publish::{Publish, Unappended, hooks};
use crate::vocabulary::purpose::PublishPurpose;
use crate::wings::Wings;

impl Publish {
    /// Has a push to topics appended to the log of each.
    pub(super) fn push_to_logs_of_topics(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        push: PushKey,
        (topics, except): (Vec<TopicId>, Option<ConnectionId>),
        (by, record): (PushedBy, PartRecord),
    ) {
        if let Some(open) = self.open.get_mut(push) {
            open.unfinished = topics.len();
        }
        let breadth = match topics.len() {
            1 => Breadth::OneTopic,
            _ => Breadth::SeveralTopics(TopicMarks::of(&topics)),
        };
        let since = cx.now.mono;
        let of_topic = |topic: &TopicId| TopicPush {
            record,
            breadth: breadth.clone(),
            ..TopicPush::new(
                push,
                (vec![topic.clone()], except),
                by,
                since,
                TopicStage::Appending,
            )
        };
        let records = topics.iter().map(|topic| (topic.clone(), of_topic(topic)));
        self.topics.records.insert(push, records.collect());
        for topic in topics {
            self.append_to_topic(cx, wings, &TopicRecordId { push, topic });
        }
    }

    /// Asks for the record of a push, if there is a link. If not, it is asked for on the next one.
    pub(super) fn append_to_topic(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        id: &TopicRecordId,
    ) {
        let record = self.topics.record_mut(id).map(|record| record.record);
        let (Some(PartRecord::Wanted { retention, .. }), Some(open)) =
            (record, self.open.get(id.push))
        else {
            return;
        };
        let Action::Frame(payload) = &open.action else {
            cx.bug("a durable push without a payload");
            return;
        };
        if !wings.membership.is_linked() {
            self.unappended.push(Unappended::Topic(id.clone()));
            return;
        }
        let operation = Operation::Log {
            channel: id.topic.clone().into(),
            operation: LogOperation::Append {
                push: open.receipt.push,
                content: Content::of(payload),
                nonce: hooks::nonce(cx.flaws, open.receipt.push, cx.random.positions.next_u32()),
                retention,
            },
        };
        let TopicRecordId { push, topic } = id.clone();
        let purpose = PublishPurpose::AppendToTopic { push, topic };
        wings.membership.ask(operation, purpose);
    }

    /// The directory has answered an append.
    pub(super) fn topic_appended(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        id: TopicRecordId,
        reply: LogReply,
    ) {
        let push = id.push;
        let LogReply::Appended {
            logged,
            rows: ChannelRows::Instances(rows),
            malformed,
        } = reply
        else {
            cx.stats.directory_refusals += 1;
            return self.not_appended_to_topic(cx, &id, InLog::Unknown);
        };
        cx.stats.malformed_entries += u64::from(malformed);
        let bytes = self.open.get(push).map_or(0, |open| match &open.action {
            Action::Frame(payload) => payload.len() as u64,
            Action::Close(_) | Action::Join(_) | Action::Leave(_) | Action::List { .. } => 0,
        });
        let record = self.topics.record_mut(&id);
        let Some(record) = record.filter(|record| record.stage == TopicStage::Appending) else {
            // The receipt has said that it is unknown. Those that follow the log need not wait for a check.
            let there = rows.iter().map(|(instance, _)| *instance);
            return tell_all_missed(cx, wings, there, &Channel::from(id.topic));
        };
        let age = record.record.age();
        record.record = PartRecord::answered(cx, logged, record.since, bytes);
        let place = record.record.place();
        record.rows.insert(id.topic.clone(), rows);
        self.is_kept(cx, logged, age, bytes);
        if let Some(place) = place {
            self.confirm(cx, push, id.topic.clone().into(), place.position);
            let log = ChannelLog {
                channel: id.topic.clone().into(),
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
            self.judge_topics(cx, wings, &TopicPushId::Record(id.clone()));
            self.route_topic_record(cx, wings, &id);
        } else {
            self.topic_record_due(&id);
            self.one_finished(cx, push);
        }
    }

    /// Routes a record whose rows are judged, or that waits for that no longer.
    pub(super) fn route_topic_record(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        id: &TopicRecordId,
    ) {
        let record = self.topics.record_mut(id);
        let is_judged = record.is_some_and(|record| match record.stage {
            TopicStage::LookingUp | TopicStage::Appending | TopicStage::Unjudged => false,
            TopicStage::Ready | TopicStage::Unknown => true,
        });
        if is_judged && let Some(record) = self.topic_record_due(id) {
            self.route_topics(cx, wings, record);
        }
    }

    /// The deadline comes near: a record that waits for a view does so no longer.
    pub(super) fn topic_record_hurries(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        id: &TopicRecordId,
    ) {
        let Some(record) = self.topics.record_mut(id) else {
            return;
        };
        match record.stage {
            TopicStage::Unjudged => record.stage = TopicStage::Unknown,
            TopicStage::LookingUp
            | TopicStage::Appending
            | TopicStage::Ready
            | TopicStage::Unknown => {}
        }
        self.route_topic_record(cx, wings, id);
    }

    /// What is known of a record is taken into the receipt, and nothing more is done for it.
    fn topic_record_due(&mut self, id: &TopicRecordId) -> Option<TopicPush> {
        let record = self.topics.remove_record(id)?;
        let in_log = record.record.in_log();
        self.log_into_receipt(id.push, id.topic.clone(), in_log);
        Some(record)
    }

    /// A push is due: what is known of its records that are not routed is taken into the receipt. Those that follow the log of
    /// one that was appended need not wait for a check.
    pub(super) fn topic_records_due(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        push: PushKey,
    ) {
        for id in self.topics.records_of(push) {
            let record = self.topic_record_due(&id);
            if let Some(record) = record.filter(|record| record.record.place().is_some()) {
                let rows = record.rows.values().flatten();
                let there = rows.map(|(instance, _)| *instance);
                tell_all_missed(cx, wings, there, &Channel::from(id.topic));
            }
        }
    }

    /// It is unknown whether a record was appended: it is asked again, which is safe under its push's id.
    pub(super) fn topic_append_unknown(
        &mut self,
        cx: &mut Context<'_>,
        wings: &Wings<'_>,
        id: TopicRecordId,
    ) {
        let Some(record) = self.topics.record_mut(&id) else {
            return;
        };
        if let PartRecord::Wanted { doubtful, .. } = &mut record.record {
            *doubtful = true;
        }
        self.append_later(cx, wings, Unappended::Topic(id));
    }

    /// A push ends without a place in the log.
    pub(super) fn not_appended_to_topic(
        &mut self,
        cx: &mut Context<'_>,
        id: &TopicRecordId,
        in_log: InLog,
    ) {
        let record = self.topics.record_mut(id);
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
        self.topic_record_due(id);
        if let Some(open) = self.open.get_mut(id.push) {
            open.receipt.degraded = true;
        }
        self.one_finished(cx, id.push);
    }
}
