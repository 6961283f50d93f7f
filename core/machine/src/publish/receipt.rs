//! Receipts: what became of a push, gathered until all is known or its deadline has come.

use std::hash::{Hash, Hasher};

use crate::base::few::Few;
use crate::base::fingerprint::Fingerprint;
use crate::channel::Channel;
use crate::command::Command;
use crate::config::Config;
use crate::context::Context;
use crate::event::Answer;
use crate::id::{CallId, ConnectionId, DeliveryId, InstanceId, PushId, PushKey, TopicId};
use crate::key::Key;
use crate::message::{
    Action, ChannelLog, Counts, InLog, InstanceOutcome, Listed, Outcome, Receipt, TerminalOutcome,
    Until,
};
use crate::publish::Publish;
use crate::publish::lane::PartId;
use crate::publish::replicas::Replication;
use crate::time::Instant;
use crate::wings::Wings;

/// One push whose receipt is not complete.
#[derive(Clone, Debug)]
pub(super) struct OpenPush {
    caller: Caller,
    pub(super) action: Action,
    /// What the outcomes of followers wait for.
    pub(super) until: Until,
    pub(super) replication: Replication,
    /// Until when it waits for the directory.
    pub(super) hurries: Instant,
    pub(super) due: Instant,
    pub(super) receipt: Receipt,
    /// Parts, or instances of a push to everyone or to topics, that are not over.
    pub(super) unfinished: usize,
    pub(super) parts: Few<PartId>,
    /// All that were sent for it, answered or not.
    pub(super) deliveries: Few<DeliveryId, 2>,
}

/// Who is told what became of a push.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Caller {
    /// The application, in this call.
    Application(CallId),
    /// A terminal that publishes, in this call.
    Terminal(CallId),
    /// A terminal that has published, and was told that what it has published is a record.
    Answered,
    /// Those who watch the members of a topic.
    Presence(TopicId),
    /// A terminal of another instance, in this call.
    Relay(CallId),
}

impl OpenPush {
    /// Of a push of which nothing is known yet.
    pub(super) fn new(
        caller: Caller,
        push: PushId,
        (action, until, replication): (Action, Until, Replication),
        hurries: Instant,
        due: Instant,
    ) -> Self {
        Self {
            caller,
            action,
            until,
            replication,
            hurries,
            due,
            receipt: Receipt {
                push,
                degraded: false,
                kept: None,
                logged: Vec::new(),
                counts: Counts::default(),
                terminals: Vec::new(),
                truncated: false,
                listed: Vec::new(),
                instances: Vec::new(),
            },
            unfinished: 0,
            parts: Few::new(),
            deliveries: Few::new(),
        }
    }

    /// Takes the outcomes of a part that has ended into the receipt.
    pub(super) fn take_into_receipt(
        &mut self,
        config: &Config,
        key: &Key,
        terminals: impl Iterator<Item = (ConnectionId, Outcome)>,
        degraded: bool,
    ) {
        let receipt = &mut self.receipt;
        receipt.degraded |= degraded;
        for (connection, outcome) in terminals {
            receipt.counts.add(outcome);
            if receipt.terminals.len() >= config.receipt_terminals {
                receipt.truncated = true;
                continue;
            }
            receipt.terminals.push(TerminalOutcome {
                user: key.user().clone(),
                connection,
                outcome,
            });
        }
    }
}

impl Publish {
    /// An instance has answered a push to everyone or to topics, or cannot be reached.
    pub(super) fn instance_answered(
        &mut self,
        cx: &mut Context<'_>,
        push: PushKey,
        instance: InstanceId,
        counts: Option<Counts>,
    ) {
        let Some(open) = self.open.get_mut(push) else {
            return;
        };
        let outcome = InstanceOutcome {
            instance,
            answered: counts.is_some(),
            counts: counts.unwrap_or_default(),
        };
        open.receipt.degraded |= !outcome.answered;
        open.receipt.counts.merge(&outcome.counts);
        // A push that is a record of several topics is answered for each.
        let same = |other: &&mut InstanceOutcome| other.instance == instance;
        match open.receipt.instances.iter_mut().find(same) {
            Some(before) => {
                before.answered &= outcome.answered;
                before.counts.merge(&outcome.counts);
            }
            None => open.receipt.instances.push(outcome),
        }
        self.one_finished(cx, push);
    }

    /// An instance has listed its own.
    pub(super) fn instance_listed(
        &mut self,
        cx: &mut Context<'_>,
        push: PushKey,
        instance: InstanceId,
        (all, listed): (u64, Vec<Listed>),
    ) {
        if let Some(open) = self.open.get_mut(push)
            && let Action::List { limit, .. } = open.action
        {
            let together = &mut open.receipt.listed;
            together.extend(listed);
            together.sort_unstable_by(|one, next| one.name().cmp(&next.name()));
            together.dedup();
            together.truncate(limit as usize);
        }
        let counts = Counts {
            written: all,
            ..Counts::default()
        };
        self.instance_answered(cx, push, instance, Some(counts));
    }

    /// Takes down what is known of a durable push in a log.
    pub(super) fn log_into_receipt(
        &mut self,
        push: PushKey,
        channel: impl Into<Channel>,
        in_log: Option<InLog>,
    ) {
        if let (Some(open), Some(logged)) = (self.open.get_mut(push), in_log) {
            open.receipt.logged.push(ChannelLog {
                channel: channel.into(),
                logged,
                replicated: None,
            });
        }
    }

    /// One part of a push, or one instance of a push to everyone or to topics, is over, or what it keeps with a user.
    pub(super) fn one_finished(&mut self, cx: &mut Context<'_>, push: PushKey) {
        let Some(open) = self.open.get_mut(push) else {
            return;
        };
        open.unfinished -= 1;
        if open.unfinished > 0 {
            return;
        }
        let Some(mut open) = self.open.remove(push) else {
            return;
        };
        let receipt = &mut open.receipt;
        open.replication.write(receipt);
        let call = match open.caller {
            Caller::Application(call) => Some(call),
            Caller::Terminal(call) => {
                self.publications -= 1;
                Some(call)
            }
            Caller::Answered => {
                self.publications -= 1;
                None
            }
            Caller::Presence(topic) => return self.members_listed(topic, open.receipt),
            Caller::Relay(call) => return self.relayed(cx, call, &open.receipt),
        };
        (receipt.instances).sort_unstable_by_key(|outcome| outcome.instance);
        cx.stats.degraded += u64::from(receipt.degraded);
        match open.action {
            Action::List { .. } => {}
            Action::Frame(_) | Action::Close(_) | Action::Join(_) | Action::Leave(_) => {
                cx.stats.outcomes.merge(&receipt.counts);
            }
        }
        let receipt = open.receipt;
        if let Some(call) = call {
            cx.out.push(answer(call, receipt));
        }
    }

    /// A push has its place in the log of a topic. A terminal that publishes is told so at once: members that take it slowly
    /// do not hold it up.
    pub(super) fn answer_publisher(
        &mut self,
        cx: &mut Context<'_>,
        push: PushKey,
        log: ChannelLog,
    ) {
        let Some(open) = self.open.get_mut(push) else {
            return;
        };
        match open.caller {
            Caller::Terminal(call) => {
                let mut receipt = open.receipt.clone();
                receipt.logged.push(log);
                open.caller = Caller::Answered;
                cx.out.push(answer(call, receipt));
            }
            Caller::Application(_) | Caller::Answered | Caller::Presence(_) | Caller::Relay(_) => {}
        }
    }

    /// The instance ends: each push is answered with what is known of it.
    pub(crate) fn end(&mut self, cx: &mut Context<'_>, wings: &mut Wings<'_>) {
        let pushes: Vec<PushKey> = self.open.iter().map(|(push, _)| push).collect();
        for push in pushes {
            if let Some(open) = self.open.get_mut(push) {
                open.receipt.degraded = true;
            }
            self.push_due(cx, wings, push);
        }
    }

    /// A push's deadline has come: what is not known by now is not known.
    pub(super) fn push_due(&mut self, cx: &mut Context<'_>, wings: &mut Wings<'_>, push: PushKey) {
        // This instance's own answers may be of this turn.
        self.take_up_answers(cx, wings);
        let Some(open) = self.open.get_mut(push) else {
            return;
        };
        let parts = std::mem::take(&mut open.parts);
        let deliveries = std::mem::take(&mut open.deliveries);
        if parts.is_empty() && deliveries.is_empty() {
            // A push to everyone that has waited for a view in vain, or one to topics for rows or for a place in the log.
            open.receipt.degraded = true;
            open.unfinished = 1;
            self.topic_records_due(cx, wings, push);
            self.one_finished(cx, push);
            self.topics_due(cx, wings, push);
            return;
        }
        for id in deliveries {
            let Some(delivery) = self.deliveries.remove(&id) else {
                continue;
            };
            wings.peers.forget_unanswered(delivery.to, id);
            if delivery.parts.is_empty() {
                self.topics.forget(id);
                self.instance_answered(cx, push, delivery.to, None);
            }
        }
        self.topic_records_due(cx, wings, push);
        for part in parts {
            self.part_due(cx, wings, &part);
        }
        // It may wait for the directory, or for its replicas.
        if let Some(open) = self.open.get_mut(push) {
            open.receipt.degraded = true;
            // Confirmations may be wanted of several logs, and none is waited for any longer.
            open.unfinished = 1;
            self.one_finished(cx, push);
        }
    }
}

fn answer(call: CallId, receipt: Receipt) -> Command {
    Command::Answer {
        call,
        answer: Box::new(Answer::Push(Ok(receipt))),
    }
}

impl Fingerprint for OpenPush {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.caller.hash(hasher);
        self.action.fingerprint(now, hasher);
        self.until.hash(hasher);
        self.hurries.fingerprint(now, hasher);
        self.due.fingerprint(now, hasher);
        self.receipt.push.fingerprint(now, hasher);
        self.receipt.degraded.fingerprint(now, hasher);
        self.receipt.kept.hash(hasher);
        self.receipt.listed.hash(hasher);
        self.receipt.counts.fingerprint(now, hasher);
        if self.replication.is_wanted() {
            self.replication.hash(hasher);
        }
        for ChannelLog {
            channel, logged, ..
        } in &self.receipt.logged
        {
            (channel, logged).hash(hasher);
        }
        for terminal in &self.receipt.terminals {
            (&terminal.user, terminal.connection, terminal.outcome).hash(hasher);
        }
        for outcome in &self.receipt.instances {
            (outcome.instance, outcome.answered, outcome.counts).hash(hasher);
        }
        self.unfinished.fingerprint(now, hasher);
        self.parts.hash(hasher);
        self.deliveries.hash(hasher);
    }
}
