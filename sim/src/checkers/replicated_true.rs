//! `replicated-true`: a receipt says of a replica what the directory has said of it.

use std::collections::BTreeMap;

use switchboard_core::directory::log::{LogOperation, LogReply};
use switchboard_core::directory::{Operation, Reply};
use switchboard_core::id::UserId;
use switchboard_core::message::{Durability, InLog, Receipt};
use switchboard_core::position::Position;

use crate::checker::{Checker, Watch};
use crate::observed::{HandIn, Observed, Topic};

/// A receipt says that a replica has a record only if a primary that had this record then has waited for one. It says
/// something of each record of a push that waits for a replica, and of nothing else. That a replica is not known to
/// have it is a doubt, for which there has to be a cause: `receipt-true` looks for that.
#[derive(Clone, Debug, Default)]
pub struct ReplicatedTrue {
    /// Records that a replica had when the primary was asked.
    replicated: BTreeMap<UserId, Vec<Position>>,
}

impl Checker for ReplicatedTrue {
    fn name(&self) -> &'static str {
        "replicated-true"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Directory, Topic::Pushes]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        match event {
            Observed::Executed(executed) => {
                if let Operation::Log {
                    key,
                    operation: LogOperation::Confirm { position, .. },
                } = &executed.operation
                    && let Ok(Reply::Log(LogReply::Confirmed {
                        kept: true,
                        replicas: 1..,
                    })) = executed.outcome
                {
                    let of_user = self.replicated.entry(key.user().clone());
                    of_user.or_default().push(*position);
                }
            }
            Observed::Answered { hand_in, receipt } => self.answered(watch, *hand_in, receipt),
            _ => {}
        }
    }
}

impl ReplicatedTrue {
    fn answered(&self, watch: &mut Watch<'_>, hand_in: HandIn, receipt: &Receipt) {
        let published = &watch.scene().pushes()[hand_in.push];
        let durability = published.durable().map(|kept| kept.durability);
        for log in &receipt.logged {
            let says = match (durability, log.logged) {
                (Some(Durability::Replica), InLog::At(position)) => {
                    let of_user = self.replicated.get(&log.user);
                    let has = of_user.is_some_and(|records| records.contains(&position));
                    match log.replicated {
                        Some(true) => has,
                        Some(false) => receipt.degraded,
                        None => false,
                    }
                }
                _ => log.replicated.is_none(),
            };
            if says {
                watch.held();
            } else {
                watch.violated(format!(
                    "the receipt of push {} says {:?} of a replica of the log of {}",
                    hand_in.push, log.replicated, log.user
                ));
            }
        }
    }
}
