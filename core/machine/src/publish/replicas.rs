//! Durable pushes whose records a replica of the directory has to have as well.
//!
//! Each is delivered as soon as it is a record. Its receipt waits for one more answer by log, which the directory
//! gives when a replica has all that the primary has, or when it has waited for long enough. That answer also says
//! whether the record is still there: the primary that gives it may not be the one that took the record.

use crate::context::Context;
use crate::directory::log::{LogOperation, LogReply};
use crate::directory::{Operation, Reply};
use crate::id::PushKey;
use crate::key::Key;
use crate::membership::trips::Conclusion;
use crate::message::{Durability, InLog, Receipt};
use crate::position::{Nonce, Position};
use crate::publish::{Publish, hooks};
use crate::vocabulary::purpose::PublishPurpose;
use crate::wings::Wings;

/// What the receipt of a push is to say of replicas.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Replication {
    durability: Durability,
    /// Logs whose records a replica has.
    replicated: Vec<Key>,
}

impl Replication {
    pub(super) const fn new(durability: Durability) -> Self {
        Self {
            durability,
            replicated: Vec::new(),
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
            let InLog::At(_) = log.logged else {
                continue;
            };
            let has = self.replicated.iter().any(|key| *key.user() == log.user);
            log.replicated = Some(has);
            receipt.degraded |= !has;
        }
    }
}

impl Publish {
    /// A push is a record: a replica has to have it, if its receipt is to say so.
    pub(super) fn confirm(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        push: PushKey,
        key: &Key,
        position: Position,
    ) {
        let Some(open) = self.open.get_mut(push) else {
            return;
        };
        if !open.replication.is_wanted() {
            return;
        }
        open.unfinished += 1;
        let operation = Operation::Log {
            key: key.clone(),
            operation: LogOperation::Confirm {
                position,
                nonce: Nonce::new(cx.random.positions.next_u32()),
            },
        };
        let key = key.clone();
        (wings.membership).ask_replica(operation, PublishPurpose::Confirm { push, key });
    }

    /// What is known of a replica.
    pub(super) fn confirmed(
        &mut self,
        cx: &mut Context<'_>,
        push: PushKey,
        key: Key,
        conclusion: &Conclusion,
    ) {
        // Its deadline may have come.
        let Some(open) = self.open.get_mut(push) else {
            return;
        };
        if has_replica(conclusion) || !hooks::asks_for_replica(cx.flaws) {
            open.replication.replicated.push(key);
        }
        self.one_finished(cx, push);
    }
}

/// Whether the directory says that a replica has the record.
fn has_replica(conclusion: &Conclusion) -> bool {
    match conclusion {
        Conclusion::Answered {
            reply: Reply::Log(LogReply::Confirmed { kept, replicas }),
            ..
        } => *kept && *replicas > 0,
        Conclusion::Answered { .. } | Conclusion::Refused(_) | Conclusion::Unknown(_) => false,
    }
}
