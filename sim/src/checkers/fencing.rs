//! `fencing`: a directory operation changes what is its instance's own, or removes what is dead.

use switchboard_core::directory::{Operation, Reply};
use switchboard_core::id::ConnectionId;

use super::allowance::may_be_closing;
use crate::checker::{Checker, Watch};
use crate::observed::{Change, Executed, Observed};

/// Nobody writes what is another's, and nobody removes the row of a connection that lives.
#[derive(Clone, Copy, Debug)]
pub struct Fencing;

impl Checker for Fencing {
    fn name(&self) -> &'static str {
        "fencing"
    }

    fn on_event(&mut self, event: &Observed<'_>, watch: &mut Watch<'_>) {
        if let Observed::Executed(executed) = event {
            check_owner(watch, executed);
            check_removal(watch, executed);
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

fn check_removal(watch: &mut Watch<'_>, executed: &Executed<'_>) {
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
    if *executed.outcome == Ok(Reply::Removed(true))
        && watch.world().is_live(before)
        && row.instance != own
        && is_held(watch, *connection)
    {
        watch.violated(format!(
            "i{} removed the row of {connection:?}, which lives",
            executed.life.host + 1
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
