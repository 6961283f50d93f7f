//! Durable pushes whose records a replica of the directory has to have as well.
//!
//! Each is delivered as soon as it is a record. Its receipt waits for one more answer by log, which the directory
//! gives when a replica has all that the primary has, or when it has waited for long enough. That answer also says
//! whether the record is known there: the primary that gives it may not be the one that took the record.
//!
//! There is one such round trip at a time, for all records that have come meanwhile.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

use crate::base::fingerprint::Fingerprint;
use crate::channel::Channel;
use crate::context::Context;
use crate::directory::log::{LogOperation, LogReply};
use crate::directory::{Operation, Reply};
use crate::id::PushKey;
use crate::membership::trips::Conclusion;
use crate::message::{Durability, InLog, Receipt};
use crate::position::Position;
use crate::publish::{Publish, hooks};
use crate::time::Instant;
use crate::vocabulary::purpose::PublishPurpose;
use crate::wings::Wings;

/// What the receipt of a push is to say of replicas.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Replication {
    durability: Durability,
    /// Logs whose records a replica has.
    replicated: BTreeSet<Channel>,
}

impl Replication {
    pub(super) const fn new(durability: Durability) -> Self {
        Self {
            durability,
            replicated: BTreeSet::new(),
        }
    }

    /// Whether anything is to be said.
    pub(super) fn is_wanted(&self) -> bool {
        self.durability == Durability::Replica
    }

    /// Says of each record whether a replica has it.
    pub(super) fn write(&self, receipt: &mut Receipt) {
        if !self.is_wanted() {
            return;
        }
        for log in &mut receipt.logged {
            if let InLog::At(_) = log.logged {
                log.replicated = Some(self.replicated.contains(&log.channel));
            }
        }
    }
}

/// Records of which a replica is asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct AwaitedReplicas {
    waiting: Vec<AwaitedReplica>,
    /// Those that the round trip under way asks for, which are not answered.
    asked: usize,
}

#[derive(Clone, Debug, Hash)]
struct AwaitedReplica {
    push: PushKey,
    channel: Channel,
    position: Position,
}

impl AwaitedReplicas {
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.asked
    }

    /// Whether a round trip can start.
    pub(super) const fn can_ask(&self) -> bool {
        self.asked == 0 && !self.waiting.is_empty()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Fingerprint for AwaitedReplicas {
    fn fingerprint(&self, _: Instant, hasher: &mut impl Hasher) {
        for awaited in &self.waiting {
            awaited.hash(hasher);
        }
        if self.asked > 0 {
            self.asked.hash(hasher);
        }
    }
}

impl Publish {
    /// A push is a record. If its receipt is to say whether a replica has it, one is asked for.
    pub(super) fn confirm(
        &mut self,
        cx: &mut Context<'_>,
        push: PushKey,
        channel: Channel,
        position: Position,
    ) {
        let Some(open) = self.open.get_mut(push) else {
            return;
        };
        if !open.replication.is_wanted() {
            return;
        }
        open.unfinished += 1;
        cx.stats.replicas_asked += 1;
        self.awaited_replicas.waiting.push(AwaitedReplica {
            push,
            channel,
            position,
        });
    }

    /// Asks for a replica, if none is asked for at present. Nothing is asked for a push whose deadline has come
    /// meanwhile.
    pub(super) fn ask_replica(&mut self, wings: &mut Wings<'_>) {
        if !self.awaited_replicas.can_ask() {
            return;
        }
        for awaited in std::mem::take(&mut self.awaited_replicas.waiting) {
            let AwaitedReplica {
                push,
                channel,
                position,
            } = awaited;
            let Some(open) = self.open.get(push) else {
                continue;
            };
            let operation = Operation::Log {
                channel: channel.clone(),
                operation: LogOperation::Confirm {
                    position,
                    push: open.receipt.push,
                },
            };
            self.awaited_replicas.asked += 1;
            (wings.membership).ask_replica(operation, PublishPurpose::Confirm { push, channel });
        }
    }

    /// What is known of a replica.
    pub(super) fn confirmed(
        &mut self,
        cx: &mut Context<'_>,
        push: PushKey,
        channel: Channel,
        conclusion: &Conclusion,
    ) {
        self.awaited_replicas.asked -= 1;
        // Its deadline may have come.
        let Some(open) = self.open.get_mut(push) else {
            return;
        };
        if has_replica(conclusion) || !hooks::asks_for_replica(cx.flaws) {
            open.replication.replicated.insert(channel);
            cx.stats.replicated += 1;
        }
        self.one_finished(cx, push);
    }
}

/// Whether the directory says that a replica has the record.
fn has_replica(conclusion: &Conclusion) -> bool {
    match conclusion {
        Conclusion::Answered {
            reply: Reply::Log(LogReply::Confirmed { known, replicas }),
            ..
        } => *known && *replicas > 0,
        Conclusion::Answered { .. } | Conclusion::Refused(_) | Conclusion::Unknown(_) => false,
    }
}
