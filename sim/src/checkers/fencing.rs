//! `fencing`: a directory operation changes what is its instance's own, or removes what is dead.

use std::collections::BTreeMap;

use switchboard_core::directory::{LeaseState, Operation, Reply, Row, SeenLease};
use switchboard_core::id::{ConnectionId, Epoch, InstanceId, TopicId};

use super::allowance::{is_being_kicked, leases_last_longer, may_be_closing, recovery};
use super::topic_members::may_be_told_to_leave;
use crate::checker::{Checker, Watch};
use crate::ledger::FaultKind;
use crate::observed::{Change, Executed, Life, Observed, Topic};

/// Nobody writes what is another's. Epochs and floors never go down, a lease that has expired is
/// taken only by a higher epoch, no row is written under an epoch that was not claimed. A row is
/// removed by its owner, when its connection has ended, or by others, by its exact value, when it is
/// dead or its connection has ended; and no floor rises over a row that is still needed.
///
/// A row may also be removed if its instance has ever claimed a higher epoch: whoever read the row
/// when the lease had expired, or read a floor that a failover has lost, took it for dead, and the
/// instance writes it again under that epoch and must be asked until then.
#[derive(Clone, Debug, Default)]
pub struct Fencing {
    /// The highest epoch that each instance has claimed.
    claimed: BTreeMap<InstanceId, Epoch>,
}

impl Checker for Fencing {
    fn name(&self) -> &'static str {
        "fencing"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Directory]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        let Observed::Executed(executed) = event else {
            return;
        };
        self.note(executed);
        let found = match &executed.change {
            Change::None => return,
            Change::Row { before, after } => self.row(watch, executed, *before, *after),
            Change::Topic { before, after } => self.topic(watch, executed, *before, *after),
            Change::Lease { before, after } => {
                self.lease(watch, executed, before.as_ref(), after.as_ref())
            }
        };
        match found {
            None => watch.held(),
            Some(what) => watch.violated(format!(
                "i{} {what}: {:?}",
                executed.life.host + 1,
                executed.operation
            )),
        }
    }
}

impl Fencing {
    /// Takes down what an instance has claimed, at a former primary too.
    fn note(&mut self, executed: &Executed) {
        let (instance, lease) = match (&executed.operation, &executed.outcome) {
            (
                Operation::Claim {
                    instance, lease, ..
                },
                Ok(Reply::Claimed { .. }),
            )
            | (
                Operation::Renew {
                    instance, lease, ..
                },
                Ok(Reply::Renewed),
            ) => (*instance, lease),
            _ => return,
        };
        let claimed = self.claimed.entry(instance).or_insert(lease.epoch);
        *claimed = lease.epoch.max(*claimed);
    }

    /// Whether an instance has claimed a higher epoch than that of its row.
    fn is_superseded(&self, row: Row) -> bool {
        (self.claimed.get(&row.instance)).is_some_and(|claimed| row.epoch < *claimed)
    }

    /// What is wrong with an operation on a row.
    fn row(
        &self,
        watch: &Watch<'_>,
        executed: &Executed,
        before: Option<Row>,
        after: Option<Row>,
    ) -> Option<&'static str> {
        let own = watch.scene().instance_of(executed.life);
        match &executed.operation {
            Operation::Register { row, .. } => {
                let lower = |before: Row| after.is_some_and(|after| after.epoch < before.epoch);
                if row.instance != own {
                    Some("wrote a row as another")
                } else if self
                    .claimed
                    .get(&own)
                    .is_none_or(|claimed| row.epoch > *claimed)
                {
                    Some("wrote a row under an epoch that it has not claimed")
                } else if before.is_some_and(lower) {
                    Some("lowered the epoch of a row")
                } else if before.is_some_and(|before| before.instance != own) && before != after {
                    Some("wrote over another's row")
                } else {
                    None
                }
            }
            Operation::Unregister {
                connection,
                instance,
                ..
            } => {
                if *instance != own {
                    Some("removed a row as another")
                } else if before.is_some() && after.is_none() && holds(watch, *connection) {
                    Some("removed the row of a connection that it holds")
                } else {
                    None
                }
            }
            Operation::RemoveRow {
                connection, row, ..
            } => {
                let before = before.filter(|_| executed.outcome == Ok(Reply::Removed(true)))?;
                if (before.instance, before.epoch) != (row.instance, row.epoch) {
                    Some("removed another row than it had read")
                } else if watch.scene().is_live(before)
                    && !self.is_superseded(before)
                    // It had expired, and the clock jumped back.
                    && leases_last_longer(watch).is_none()
                    && row.instance != own
                    && holds(watch, *connection)
                {
                    Some("removed the row of a connection that lives")
                } else {
                    None
                }
            }
            Operation::EnterTopic { .. }
            | Operation::LeaveTopic { .. }
            | Operation::LookupTopic { .. }
            | Operation::KeepTopic { .. }
            | Operation::Lookup { .. }
            | Operation::View
            | Operation::Claim { .. }
            | Operation::Renew { .. }
            | Operation::Release { .. }
            | Operation::ReadLease { .. }
            | Operation::Log { .. } => None,
        }
    }

    /// What is wrong with an operation on what an instance says of a topic.
    fn topic(
        &self,
        watch: &Watch<'_>,
        executed: &Executed,
        before: Option<Epoch>,
        after: Option<Epoch>,
    ) -> Option<&'static str> {
        let own = watch.scene().instance_of(executed.life);
        match &executed.operation {
            Operation::EnterTopic {
                instance, epoch, ..
            } => {
                if *instance != own {
                    Some("said of a topic that another has members")
                } else if self.claimed.get(&own).is_none_or(|claimed| epoch > claimed) {
                    Some("said so under an epoch that it has not claimed")
                } else if after < before {
                    Some("lowered the epoch of what it says of a topic")
                } else {
                    None
                }
            }
            Operation::LeaveTopic {
                topic,
                instance,
                epoch,
            } => {
                let before = before.filter(|_| after.is_none())?;
                let superseded =
                    (self.claimed.get(instance)).is_some_and(|claimed| before < *claimed);
                if before != *epoch {
                    Some("took back what was said of a topic under another epoch")
                } else if *instance != own
                    && !superseded
                    && is_alive(watch, *instance, before)
                    && leases_last_longer(watch).is_none()
                {
                    Some("took back what another says of a topic that lives")
                } else if *instance == own
                    && !superseded
                    && has_members(watch, executed.life, topic)
                {
                    Some("took back that it has members of a topic, and it has some")
                } else {
                    None
                }
            }
            Operation::Register { .. }
            | Operation::Unregister { .. }
            | Operation::RemoveRow { .. }
            | Operation::KeepTopic { .. }
            | Operation::LookupTopic { .. }
            | Operation::Lookup { .. }
            | Operation::View
            | Operation::Claim { .. }
            | Operation::Renew { .. }
            | Operation::Release { .. }
            | Operation::ReadLease { .. }
            | Operation::Log { .. } => None,
        }
    }

    /// What is wrong with an operation on a lease.
    fn lease(
        &self,
        watch: &Watch<'_>,
        executed: &Executed,
        before: Option<&SeenLease>,
        after: Option<&SeenLease>,
    ) -> Option<&'static str> {
        let own = watch.scene().instance_of(executed.life);
        let instance = match &executed.operation {
            Operation::Claim { instance, .. }
            | Operation::Renew { instance, .. }
            | Operation::Release { instance, .. } => instance,
            Operation::EnterTopic { .. }
            | Operation::LeaveTopic { .. }
            | Operation::LookupTopic { .. }
            | Operation::KeepTopic { .. }
            | Operation::Register { .. }
            | Operation::Unregister { .. }
            | Operation::Lookup { .. }
            | Operation::RemoveRow { .. }
            | Operation::View
            | Operation::ReadLease { .. }
            | Operation::Log { .. } => return None,
        };
        if *instance != own {
            return Some("changed the lease of another");
        }
        if let Operation::Claim { lease, .. } = &executed.operation
            && (lease.state != LeaseState::Settling || lease.floor >= lease.epoch)
        {
            return Some("claimed a lease that does not say that rows may be missing");
        }
        let (before, after) = (before?, after?);
        let changed = before.lease != after.lease || before.remaining != after.remaining;
        let ended = after.remaining.is_none() && after.lease.state == LeaseState::Released;
        let ran_out = before.remaining.is_none();
        if after.lease.epoch < before.lease.epoch {
            Some("lowered its epoch")
        } else if after.lease.floor < before.lease.floor {
            Some("lowered its floor")
        } else if changed && ran_out && !ended && after.lease.epoch == before.lease.epoch {
            Some("revived a lease that had run out")
        } else if after.lease.floor > before.lease.floor && buries(watch, before, after) {
            Some("raised its floor over the row of a connection that it holds")
        } else {
            None
        }
    }
}

/// Whether a floor that rises makes the row of a connection dead that is held.
fn buries(watch: &Watch<'_>, before: &SeenLease, after: &SeenLease) -> bool {
    let buried = watch.scene().rows().any(|(connection, row)| {
        row.instance == after.instance
            && row.epoch >= before.lease.floor
            && row.epoch < after.lease.floor
            && holds(watch, connection)
    });
    // What had been written again the directory may have lost, so that an older row stands there.
    let from = watch.now().before(recovery(watch.scene().config()) * 4);
    let lost = || {
        watch.excuse(from, watch.now(), |excuse| {
            LOSES_TAIL.contains(&excuse.kind)
        })
    };
    buried && lost().is_none()
}

/// What makes the directory lose its last writes and keep the others.
const LOSES_TAIL: [FaultKind; 4] = [
    FaultKind::RedisFailover,
    FaultKind::RedisRestored,
    FaultKind::RedisSplit,
    FaultKind::RedisLongSplit,
];

/// Whether the lease of an instance has not expired, under which it said something.
fn is_alive(watch: &Watch<'_>, instance: InstanceId, epoch: Epoch) -> bool {
    let lease = watch.scene().lease(instance);
    lease.is_some_and(|seen| seen.remaining.is_some() && epoch >= seen.lease.floor)
}

/// Whether an instance has told somebody that he is a member of a topic, and nobody wants to end that.
fn has_members(watch: &Watch<'_>, life: Life, topic: &TopicId) -> bool {
    let scene = watch.scene();
    (scene.sessions().iter().enumerate()).any(|(number, session)| {
        session.life() == Some(life)
            && is_held(watch, number)
            && (session.standing(topic).told()).is_some_and(|(_, degraded)| !degraded)
            && !may_be_told_to_leave(watch, number, topic)
    })
}

fn is_held(watch: &Watch<'_>, session: usize) -> bool {
    let this = &watch.scene().sessions()[session];
    let ends = || may_be_closing(watch, session) || is_being_kicked(watch, session);
    this.is_open() && this.greeted().is_some() && !ends()
}

/// The same of a connection.
fn holds(watch: &Watch<'_>, connection: ConnectionId) -> bool {
    (watch.scene().session_of(connection)).is_some_and(|session| is_held(watch, session))
}
