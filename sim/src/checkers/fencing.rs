//! `fencing`: a directory operation changes what is its instance's own, or removes what is dead.

use std::collections::BTreeMap;

use switchboard_core::directory::{Operation, Reply};
use switchboard_core::id::{ConnectionId, Epoch, InstanceId};

use super::allowance::may_be_closing;
use crate::checker::{Checker, Watch};
use crate::observed::{Change, Executed, Observed};

/// Nobody writes what is another's, and nobody removes the row of a connection that lives. A row is
/// dead too if its instance has ever said so: whoever read that floor may remove it after a failover
/// that has lost the floor and not the row.
#[derive(Clone, Debug, Default)]
pub struct Fencing {
    floors: BTreeMap<InstanceId, Epoch>,
}

impl Checker for Fencing {
    fn name(&self) -> &'static str {
        "fencing"
    }

    fn on_event(&mut self, event: &Observed<'_>, watch: &mut Watch<'_>) {
        if let Observed::Executed(executed) = event {
            check_owner(watch, executed);
            self.check_removal(watch, executed);
            self.note_floor(executed);
        }
    }
}

impl Fencing {
    fn note_floor(&mut self, executed: &Executed<'_>) {
        let (instance, lease) = match (executed.operation, executed.outcome) {
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
        let floor = self.floors.entry(instance).or_insert(lease.floor);
        *floor = lease.floor.max(*floor);
    }

    fn check_removal(&self, watch: &mut Watch<'_>, executed: &Executed<'_>) {
        let Operation::RemoveRow {
            connection, row, ..
        } = executed.operation
        else {
            return;
        };
        let Change::Row {
            before: Some(before),
            ..
        } = executed.change
        else {
            return;
        };
        let own = watch.world().instance_of(executed.life);
        let floor = self.floors.get(&before.instance);
        if *executed.outcome == Ok(Reply::Removed(true))
            && watch.world().is_live(before)
            && floor.is_none_or(|floor| before.epoch >= *floor)
            && row.instance != own
            && is_held(watch, *connection)
        {
            watch.violated(format!(
                "i{} removed the row of {connection:?}, which lives",
                executed.life.host + 1
            ));
        }
    }
}

fn check_owner(watch: &mut Watch<'_>, executed: &Executed<'_>) {
    let own = watch.world().instance_of(executed.life);
    let of = match executed.operation {
        Operation::Register { row, .. } => row.instance,
        Operation::Unregister { instance, .. }
        | Operation::Claim { instance, .. }
        | Operation::Renew { instance, .. }
        | Operation::Release { instance, .. } => *instance,
        Operation::Lookup { .. }
        | Operation::RemoveRow { .. }
        | Operation::View
        | Operation::ReadLease { .. } => return,
    };
    if of == own {
        watch.held();
    } else {
        watch.violated(format!(
            "i{} changed what is {of:?}'s: {:?}",
            executed.life.host + 1,
            executed.operation
        ));
    }
}

/// Whether a connection is open and greeted, and its instance has no reason to give it up.
fn is_held(watch: &Watch<'_>, connection: ConnectionId) -> bool {
    let Some(session) = watch.world().session_of(connection) else {
        return false;
    };
    let this = &watch.world().sessions()[session];
    this.is_open() && this.greeted().is_some() && !may_be_closing(watch, session)
}
