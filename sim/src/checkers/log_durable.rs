//! `log-durable`: what a receipt calls logged can be read until its time is over, unless the directory has lost it.

use std::collections::BTreeMap;
use std::time::Duration;

use switchboard_core::channel::Channel;
use switchboard_core::directory::log::{LogOperation, LogReply, Logged};
use switchboard_core::directory::{Operation, Reply};
use switchboard_core::id::PushId;
use switchboard_core::message::{InLog, Receipt};
use switchboard_core::position::Position;
use switchboard_core::time::Instant;

use crate::checker::{Checker, Watch};
use crate::ledger::{Excuse, FaultKind};
use crate::observed::{Executed, HandIn, Observed, Topic};
use crate::publishing::KeptInLogs;

/// A receipt that says where a push is logged is right, then and for as long as the log keeps that many records and
/// such old ones, and is not deleted. One that says that it is not, although nothing was in doubt, is right as well.
#[derive(Clone, Debug, Default)]
pub struct LogDurable {
    /// When each record was added, by log, push and position.
    added: BTreeMap<(Channel, PushId), Vec<AddedRecord>>,
    /// What was promised, and when.
    promised: Vec<LogPromise>,
}

/// A record of a log.
#[derive(Clone, Copy, Debug)]
struct AddedRecord {
    position: Position,
    at: Instant,
    /// An application has had the log deleted since then.
    is_deleted: bool,
}

#[derive(Clone, Debug)]
struct LogPromise {
    channel: Channel,
    push: usize,
    position: Position,
    at: Instant,
    /// A replica has it as well.
    replicated: bool,
}

/// So long after a receipt it is looked whether it still holds.
const LOOKED: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_secs(4),
    Duration::from_secs(30),
];

impl Checker for LogDurable {
    fn name(&self) -> &'static str {
        "log-durable"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Directory, Topic::Pushes]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        match event {
            Observed::Executed(executed) => self.executed(executed, watch.now()),
            Observed::Answered { hand_in, receipt } => self.answered(watch, *hand_in, receipt),
            _ => {}
        }
    }

    fn on_deadline(&mut self, what: u64, watch: &mut Watch<'_>) {
        let promise = self.promised[what as usize].clone();
        self.judge(watch, &promise);
    }
}

impl LogDurable {
    fn executed(&mut self, executed: &Executed, at: Instant) {
        let (Operation::Log { channel, operation }, Ok(Reply::Log(reply))) =
            (&executed.operation, &executed.outcome)
        else {
            return;
        };
        match (operation, reply) {
            (
                LogOperation::Append { push, .. },
                LogReply::Appended {
                    logged: Logged::New(place),
                    ..
                },
            ) => {
                let added = self.added.entry((channel.clone(), *push)).or_default();
                added.push(AddedRecord {
                    position: place.position,
                    at,
                    is_deleted: false,
                });
            }
            (LogOperation::Delete { .. }, LogReply::Deleted { .. }) if executed.at_primary => {
                let of_it = self.added.iter_mut().filter(|((of, _), _)| of == channel);
                for record in of_it.flat_map(|(_, records)| records) {
                    record.is_deleted = true;
                }
            }
            _ => {}
        }
    }

    fn answered(&mut self, watch: &mut Watch<'_>, hand_in: HandIn, receipt: &Receipt) {
        let published = &watch.scene().pushes()[hand_in.push];
        if published.durable().is_none() {
            if !receipt.logged.is_empty() {
                watch.violated(format!("push {} is said to be logged", hand_in.push));
            }
            return;
        }
        for log in &receipt.logged {
            let key = (log.channel.clone(), published.id());
            let was_added = self.added.contains_key(&key);
            match log.logged {
                InLog::At(position) => {
                    for after in LOOKED {
                        watch.call_at(watch.now() + after, self.promised.len() as u64);
                    }
                    self.promised.push(LogPromise {
                        channel: log.channel.clone(),
                        push: hand_in.push,
                        position,
                        at: published.times()[hand_in.time].at,
                        replicated: log.replicated == Some(true),
                    });
                }
                InLog::Expired if was_added => watch.held(),
                InLog::Refused if !was_added || published.times().len() > 1 => watch.held(),
                InLog::Unknown if receipt.degraded => watch.held(),
                InLog::Expired | InLog::Refused | InLog::Unknown | InLog::Unlogged => watch
                    .violated(format!(
                        "the receipt of push {} says {:?} of the log of {}",
                        hand_in.push, log.logged, log.channel
                    )),
            }
        }
    }

    fn judge(&self, watch: &mut Watch<'_>, promise: &LogPromise) {
        let scene = watch.scene();
        let LogPromise {
            channel,
            push,
            position,
            at,
            replicated,
        } = promise;
        let published = &scene.pushes()[*push];
        let key = (channel.clone(), published.id());
        let mut added = self.added.get(&key).into_iter().flatten();
        let added = added.rfind(|record| record.position == *position);
        let Some(AddedRecord {
            at: since,
            is_deleted,
            ..
        }) = added
        else {
            return watch.violated(format!(
                "push {push} was never added to the log of {channel} at {position}"
            ));
        };
        let kept = scene.log(channel).is_some_and(|log| {
            (log.records.iter()).any(|record| {
                record.position == *position
                    && record.push == published.id()
                    && record.content.clone().payload().as_ref() == published.payload()
            })
        });
        let Some(KeptInLogs { retention, .. }) = published.durable() else {
            return;
        };
        let gave_way = scene.gave_way(channel, *position, retention.records);
        let is_old = *since + retention.age <= watch.now();
        if kept || gave_way || is_old || *is_deleted {
            return watch.held();
        }
        match lost(watch, (*at).min(*since), *replicated) {
            Some(excuse) => watch.excused(excuse),
            None => watch.violated(format!(
                "push {push} is at {position} in the log of {channel}, and cannot be read"
            )),
        }
    }
}

/// How a directory loses records, also those that a replica has.
fn lost(watch: &Watch<'_>, since: Instant, replicated: bool) -> Option<Excuse> {
    watch.excuse(since, watch.now(), |excuse| {
        let failover = matches!(
            excuse.kind,
            FaultKind::RedisFailover | FaultKind::RedisSplit | FaultKind::RedisLongSplit
        );
        let other = matches!(
            excuse.kind,
            FaultKind::RedisWiped
                | FaultKind::RedisRestored
                | FaultKind::RedisLostLog
                | FaultKind::RedisClock
                | FaultKind::RedisClockBack
        );
        other || failover && !replicated
    })
}
