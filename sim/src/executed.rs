//! Operations in the directory, with what each found and left.

use switchboard_core::directory::{Operation, Outcome, Reply, Row, SeenLease};

use crate::ledger::{FaultKind, Scope};
use crate::observed::{Change, Executed, Life, Observed};
use crate::redis::Connection;
use crate::world::World;

/// What stands where an operation may change something.
enum Standing {
    Nothing,
    Row(Option<Row>),
    Lease(Option<SeenLease>),
}

impl World {
    /// Executes an operation, and tells what it changed. `None` if there is nobody to execute it.
    pub(crate) fn execute_operation(
        &mut self,
        life: Life,
        connection: Connection,
        operation: &Operation,
    ) -> Option<Outcome> {
        let before = self.standing(connection, operation);
        let at_primary = connection == self.redis.at_primary();
        let own = (self.processes[life.host].directory.refused(self.now)).filter(|_| at_primary);
        let error = own.map(|(error, _)| error);
        let outcome = self.redis.execute(self.now, connection, error, operation)?;
        match own {
            _ if outcome.is_ok() || !at_primary => {}
            Some((_, until)) => {
                self.fault_shows(FaultKind::RedisRefuses, Scope::Instance(life.host), until);
            }
            None => self.redis_refuses(),
        }
        let after = self.standing(connection, operation);
        self.row_is_back(operation, &outcome, &after);
        let change = match (&before, &after) {
            (Standing::Row(before), Standing::Row(after)) => Change::Row {
                before: *before,
                after: *after,
            },
            (Standing::Lease(before), Standing::Lease(after)) => Change::Lease {
                before: before.as_ref(),
                after: after.as_ref(),
            },
            (Standing::Nothing | Standing::Row(_) | Standing::Lease(_), _) => Change::None,
        };
        self.observe(Observed::Executed(&Executed {
            life,
            operation,
            outcome: &outcome,
            at_primary,
            change,
        }));
        Some(outcome)
    }

    /// A row that was evicted is written again; not if that is a late write of an earlier epoch,
    /// which is dead or will be soon.
    fn row_is_back(&mut self, operation: &Operation, outcome: &Outcome, after: &Standing) {
        if let Operation::Register { connection, .. } = operation
            && *outcome == Ok(Reply::Registered)
            && let Standing::Row(Some(row)) = after
            && (self.lease(row.instance)).is_some_and(|seen| row.epoch >= seen.lease.epoch)
            && let Some(session) = self.session_of(*connection)
        {
            self.fault_ends(FaultKind::RedisEvicted, Some(Scope::Session(session)));
        }
    }

    /// What a former primary holds is not the directory's.
    fn standing(&self, connection: Connection, operation: &Operation) -> Standing {
        if connection != self.redis.at_primary() {
            return Standing::Nothing;
        }
        match operation {
            Operation::Register {
                key, connection, ..
            }
            | Operation::Unregister {
                key, connection, ..
            }
            | Operation::RemoveRow {
                key, connection, ..
            } => {
                let clock = self.redis.clock(self.now);
                Standing::Row(self.redis.primary().row(clock, key, *connection))
            }
            Operation::Claim { instance, .. }
            | Operation::Renew { instance, .. }
            | Operation::Release { instance, .. } => Standing::Lease(self.lease(*instance)),
            Operation::Lookup { .. } | Operation::View | Operation::ReadLease { .. } => {
                Standing::Nothing
            }
        }
    }
}
