//! Receipts: what became of a push, gathered until all is known or its deadline has come.

use std::hash::{Hash, Hasher};

use crate::base::fingerprint::Fingerprint;
use crate::command::{Command, Outbox};
use crate::event::Answer;
use crate::id::{CallId, ConnectionId, DeliveryId, InstanceId, PushKey, UserId};
use crate::instance::Instance;
use crate::message::{Action, Counts, InstanceOutcome, Outcome, Push, Receipt, TerminalOutcome};
use crate::publish::lane::Sequence;
use crate::time::{Instant, Now};

/// One push whose receipt is not complete.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) call: CallId,
    pub(crate) action: Action,
    /// Until when it waits for the directory.
    pub(crate) hurries: Instant,
    pub(crate) due: Instant,
    pub(crate) receipt: Receipt,
    /// Parts, or instances of a push to everyone, that are not over.
    pub(crate) open: usize,
    pub(crate) parts: Vec<(UserId, Sequence)>,
    pub(crate) hops: Vec<DeliveryId>,
}

impl Pending {
    /// Of a push of which nothing is known yet.
    pub(crate) fn new(call: CallId, push: &Push, hurries: Instant, due: Instant) -> Self {
        Self {
            call,
            action: push.action.clone(),
            hurries,
            due,
            receipt: Receipt {
                push: push.id,
                degraded: false,
                counts: Counts::default(),
                terminals: Vec::new(),
                truncated: false,
                instances: Vec::new(),
            },
            open: 0,
            parts: Vec::new(),
            hops: Vec::new(),
        }
    }
}

impl Instance {
    pub(crate) fn instance_answered(
        &mut self,
        key: PushKey,
        instance: InstanceId,
        counts: Option<Counts>,
        out: &mut Outbox,
    ) {
        let Some(pending) = self.publish.pushes.pending.get_mut(key) else {
            return;
        };
        let outcome = InstanceOutcome {
            instance,
            answered: counts.is_some(),
            counts: counts.unwrap_or_default(),
        };
        pending.receipt.degraded |= !outcome.answered;
        pending.receipt.counts.merge(&outcome.counts);
        pending.receipt.instances.push(outcome);
        self.part_of_push_ended(key, out);
    }

    /// Takes the outcomes of a part that has ended into the receipt.
    pub(crate) fn take_into_receipt(
        &mut self,
        key: PushKey,
        user: &UserId,
        terminals: impl Iterator<Item = (ConnectionId, Outcome)>,
        degraded: bool,
    ) {
        let limit = self.base.config.receipt_terminals;
        let Some(pending) = self.publish.pushes.pending.get_mut(key) else {
            return;
        };
        let receipt = &mut pending.receipt;
        receipt.degraded |= degraded;
        for (connection, outcome) in terminals {
            receipt.counts.add(outcome);
            if receipt.terminals.len() >= limit {
                receipt.truncated = true;
                continue;
            }
            receipt.terminals.push(TerminalOutcome {
                user: user.clone(),
                connection,
                outcome,
            });
        }
    }

    /// One part of a push, or one instance of a push to everyone, is over.
    pub(crate) fn part_of_push_ended(&mut self, key: PushKey, out: &mut Outbox) {
        let Some(pending) = self.publish.pushes.pending.get_mut(key) else {
            return;
        };
        pending.open -= 1;
        if pending.open > 0 {
            return;
        }
        let Some(mut pending) = self.publish.pushes.pending.remove(key) else {
            return;
        };
        pending
            .receipt
            .instances
            .sort_unstable_by_key(|outcome| outcome.instance);
        self.base.stats.degraded += u64::from(pending.receipt.degraded);
        self.base.stats.outcomes.merge(&pending.receipt.counts);
        out.push(Command::Answer {
            call: pending.call,
            answer: Box::new(Answer::Push(Ok(pending.receipt))),
        });
    }

    /// The instance ends: each push is answered with what is known of it.
    pub(crate) fn complete_receipts(&mut self, now: Now, out: &mut Outbox) {
        self.deliver.answer_all();
        self.carry(now, out);
        let keys: Vec<PushKey> = self
            .publish
            .pushes
            .pending
            .iter()
            .map(|(key, _)| key)
            .collect();
        for key in keys {
            if let Some(pending) = self.publish.pushes.pending.get_mut(key) {
                pending.receipt.degraded = true;
            }
            self.push_due(now, key, out);
        }
    }

    /// A push's deadline has come: what is not known by now is not known.
    pub(crate) fn push_due(&mut self, now: Now, key: PushKey, out: &mut Outbox) {
        // This instance's own answers may be of this turn.
        self.take_up_delivered(now, out);
        let Some(pending) = self.publish.pushes.pending.get_mut(key) else {
            return;
        };
        let parts = std::mem::take(&mut pending.parts);
        let hops = std::mem::take(&mut pending.hops);
        if parts.is_empty() && hops.is_empty() {
            // A push to everyone that has waited for a view in vain.
            pending.receipt.degraded = true;
            self.part_of_push_ended(key, out);
            return;
        }
        for delivery in hops {
            let Some(hop) = self.publish.pushes.end_hop(delivery) else {
                continue;
            };
            self.peers.forget_unanswered(hop.to, delivery);
            if hop.parts.is_empty() {
                self.instance_answered(key, hop.to, None, out);
            }
        }
        for (user, sequence) in parts {
            self.part_due(now, &user, sequence, out);
        }
    }
}

impl Fingerprint for Pending {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.call.fingerprint(now, hasher);
        self.action.fingerprint(now, hasher);
        self.hurries.fingerprint(now, hasher);
        self.due.fingerprint(now, hasher);
        self.receipt.push.fingerprint(now, hasher);
        self.receipt.degraded.fingerprint(now, hasher);
        self.receipt.counts.fingerprint(now, hasher);
        for terminal in &self.receipt.terminals {
            (&terminal.user, terminal.connection, terminal.outcome).hash(hasher);
        }
        for outcome in &self.receipt.instances {
            (outcome.instance, outcome.answered, outcome.counts).hash(hasher);
        }
        self.open.fingerprint(now, hasher);
        self.parts.hash(hasher);
        self.hops.hash(hasher);
    }
}
