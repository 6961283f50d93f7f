//! `replicated-true`: a receipt says of a replica what the directory has said of it.

use std::collections::BTreeMap;

use switchboard_core::channel::Channel;
use switchboard_core::directory::log::{LogOperation, LogReply};
use switchboard_core::directory::{Operation, Reply};
use switchboard_core::message::{ChannelLog, Durability, InLog, Receipt};
use switchboard_core::position::Position;
use switchboard_core::time::Instant;

use super::receipt_true::in_doubt;
use crate::checker::{Checker, Watch};
use crate::ledger::FaultKind;
use crate::observed::{HandIn, Observed, Topic};
use crate::publishing::Published;

/// A receipt says that a replica has a record only if a primary that knew this record then has waited for one; that the
/// replica has it, `log-durable` sees when that takes over. It says something of each record of a push that waits for
/// a replica, and of nothing else. That none is known to have it has a cause: a fault, or that the primary has it no more.
#[derive(Clone, Debug, Default)]
pub struct ReplicatedTrue {
    /// Records that a replica had when the primary was asked.
    replicated: BTreeMap<Channel, Vec<Position>>,
    /// When a log was last deleted.
    deleted: BTreeMap<Channel, Instant>,
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
                    channel,
                    operation: LogOperation::Delete { .. },
                } = &executed.operation
                {
                    self.deleted.insert(channel.clone(), watch.now());
                }
                if let Operation::Log {
                    channel,
                    operation: LogOperation::Confirm { position, .. },
                } = &executed.operation
                    && let Ok(Reply::Log(LogReply::Confirmed {
                        known: true,
                        replicas: 1..,
                    })) = executed.outcome
                {
                    let of_log = self.replicated.entry(channel.clone());
                    of_log.or_default().push(*position);
                }
            }
            Observed::Answered { hand_in, receipt } => self.answered(watch, *hand_in, receipt),
            _ => {}
        }
    }
}

/// Whether the log remembers neither record nor push any more, as so many others have come.
fn is_forgotten(watch: &Watch<'_>, published: &Published, log: &ChannelLog) -> bool {
    let kept = published.durable().map(|kept| kept.retention.records);
    kept.zip(position_of(log))
        .is_some_and(|(records, position)| {
            watch.scene().gave_way(&log.channel, position, records * 2)
        })
}

const fn position_of(log: &ChannelLog) -> Option<Position> {
    match log.logged {
        InLog::At(position) => Some(position),
        InLog::Expired | InLog::Unknown | InLog::Refused | InLog::Unlogged => None,
    }
}

impl ReplicatedTrue {
    fn answered(&self, watch: &mut Watch<'_>, hand_in: HandIn, receipt: &Receipt) {
        let published = &watch.scene().pushes()[hand_in.push];
        let durability = published.durable().map(|kept| kept.durability);
        for log in &receipt.logged {
            let of_log = self.replicated.get(&log.channel);
            let has = |position| of_log.is_some_and(|records| records.contains(&position));
            let wanted = match durability {
                Some(Durability::Replica) => position_of(log).map(has),
                Some(Durability::Primary) | None => None,
            };
            match (log.replicated, wanted) {
                (None, None) | (Some(true), Some(true)) => watch.held(),
                (Some(false), Some(_)) if is_forgotten(watch, published, log) => watch.held(),
                (Some(false), Some(_)) => {
                    let handed_in = &published.times()[hand_in.time];
                    let deleted = self.deleted.get(&log.channel);
                    if deleted.is_some_and(|at| *at >= handed_in.at) {
                        watch.held();
                        continue;
                    }
                    let thrown_away = watch.excuse(handed_in.at, watch.now(), |excuse| {
                        excuse.kind == FaultKind::RedisLostLog
                    });
                    let doubt = || in_doubt(watch, handed_in.life, handed_in.at, false);
                    match thrown_away.or_else(doubt) {
                        Some(excuse) => watch.excused(excuse),
                        None => self.wrong(watch, hand_in, log),
                    }
                }
                (None, Some(_)) | (Some(_), None) | (Some(true), Some(false)) => {
                    self.wrong(watch, hand_in, log);
                }
            }
        }
    }

    fn wrong(&self, watch: &mut Watch<'_>, hand_in: HandIn, log: &ChannelLog) {
        watch.violated(format!(
            "the receipt of push {} says {:?} of a replica of the log of {}",
            hand_in.push, log.replicated, log.channel
        ));
    }
}
