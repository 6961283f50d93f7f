//! Operations in the directory, with what each found and left.

use switchboard_core::directory::{Operation, Outcome, Row, SeenLease};

use crate::observed::{Change, Executed, Life, Observed};
use crate::world::World;

/// What stands where an operation may change something.
enum Standing {
    Nothing,
    Row(Option<Row>),
    Lease(Option<SeenLease>),
}

impl World {
    /// Executes an operation, and tells what it changed.
    pub(crate) fn execute_operation(&mut self, life: Life, operation: &Operation) -> Outcome {
        let before = self.standing(operation);
        let outcome = self.redis.execute(self.now, operation);
        let after = self.standing(operation);
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
            change,
        }));
        outcome
    }

    fn standing(&self, operation: &Operation) -> Standing {
        match operation {
            Operation::Register {
                user, connection, ..
            }
            | Operation::Unregister {
                user, connection, ..
            }
            | Operation::RemoveRow {
                user, connection, ..
            } => Standing::Row(self.redis.content.row(self.now, user, *connection)),
            Operation::Claim { instance, .. }
            | Operation::Renew { instance, .. }
            | Operation::Release { instance, .. } => Standing::Lease(self.lease(*instance)),
            Operation::Lookup { .. } | Operation::View | Operation::ReadLease { .. } => {
                Standing::Nothing
            }
        }
    }
}
