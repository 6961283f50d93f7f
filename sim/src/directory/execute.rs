//! Operations in the directory, with what each found and left.

use switchboard_core::directory::redis::Value;
use switchboard_core::directory::{Operation, OperationResult, Reply, Row, SeenLease};
use switchboard_core::id::{ConnectionId, Epoch};
use switchboard_core::time::Instant;

use super::{Arrival, Directory};
use crate::context::Context;
use crate::ledger::{FaultKind, Scope};
use crate::observed::{Change, Executed};
use crate::redis::{Connection, kind};
use crate::schedule::{OperationKind, TripFault};
use crate::vocabulary::execution::Execution;

/// What stands where an operation may change something.
enum Affected {
    Nothing,
    Row(Option<Row>),
    Lease(Option<SeenLease>),
    Topic(Option<Epoch>),
}

impl Directory {
    /// Executes an operation of a round trip, unless its fault refuses it. `None` if there is nobody
    /// to execute it.
    pub(crate) fn execute(
        &mut self,
        cx: &mut Context,
        arrival: &Arrival,
        operation: &Operation,
    ) -> Option<Execution> {
        match arrival.mark {
            Some((wanted, TripFault::Refused(error)))
                if wanted == OperationKind::Any || wanted == kind(operation) =>
            {
                Some(Execution {
                    outcome: operation.decode(Value::Error(error.text().to_owned())),
                    executed: None,
                    rewritten: None,
                })
            }
            Some(_) | None => self.execute_at(cx, arrival, operation),
        }
    }

    fn execute_at(
        &mut self,
        cx: &mut Context,
        arrival: &Arrival,
        operation: &Operation,
    ) -> Option<Execution> {
        let Arrival {
            life, connection, ..
        } = *arrival;
        let before = self.standing(cx.now, connection, operation);
        let at_primary = connection == self.redis.at_primary();
        let own = (self.links[life.host].refused(cx.now)).filter(|_| at_primary);
        let error = own.map(|(error, _)| error);
        let outcome = self.redis.execute(cx.now, connection, error, operation)?;
        match own {
            _ if outcome.is_ok() || !at_primary => {}
            Some((_, until)) => {
                cx.fault_shows(FaultKind::RedisRefuses, Scope::Instance(life.host), until);
            }
            None => self.note_refusal(cx),
        }
        let after = self.standing(cx.now, connection, operation);
        if at_primary
            && outcome.is_ok()
            && let Operation::EnterTopic {
                topic, instance, ..
            }
            | Operation::LeaveTopic {
                topic, instance, ..
            } = operation
            // A publisher takes back rows of others as well.
            && *instance == cx.instance_id(life)
        {
            self.topic_is_said(cx, life.host, topic);
        }
        let rewritten = self.rewritten(cx.now, operation, &outcome, &after);
        let change = match (before, after) {
            (Affected::Row(before), Affected::Row(after)) => Change::Row { before, after },
            (Affected::Lease(before), Affected::Lease(after)) => Change::Lease { before, after },
            (Affected::Topic(before), Affected::Topic(after)) => Change::Topic { before, after },
            (Affected::Nothing | Affected::Row(_) | Affected::Lease(_) | Affected::Topic(_), _) => {
                Change::None
            }
        };
        let executed = Executed {
            life,
            operation: operation.clone(),
            outcome: outcome.clone(),
            at_primary,
            change,
        };
        Some(Execution {
            outcome,
            executed: Some(executed),
            rewritten,
        })
    }

    /// Says in the ledger that a server refuses, until it does so no more.
    pub(super) fn note_refusal(&self, cx: &mut Context) {
        if let Some(until) = self.redis.refuses_until(cx.now) {
            cx.fault_shows(FaultKind::RedisRefuses, Scope::All, until);
        }
    }

    /// The connection whose row is written; not if that is a late write of an earlier epoch, which
    /// is dead or will be soon.
    fn rewritten(
        &self,
        now: Instant,
        operation: &Operation,
        outcome: &OperationResult,
        after: &Affected,
    ) -> Option<ConnectionId> {
        if let Operation::Register { connection, .. } = operation
            && matches!(outcome, Ok(Reply::Registered | Reply::RegisteredWith(_)))
            && let Affected::Row(Some(row)) = after
            && (self.lease(now, row.instance)).is_some_and(|seen| row.epoch >= seen.lease.epoch)
        {
            Some(*connection)
        } else {
            None
        }
    }

    /// What a former primary holds is not the directory's.
    fn standing(&self, now: Instant, connection: Connection, operation: &Operation) -> Affected {
        if connection != self.redis.at_primary() {
            return Affected::Nothing;
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
            } => Affected::Row(self.row(now, key, *connection)),
            Operation::Claim { instance, .. }
            | Operation::Renew { instance, .. }
            | Operation::Release { instance, .. } => Affected::Lease(self.lease(now, *instance)),
            Operation::EnterTopic {
                topic, instance, ..
            }
            | Operation::LeaveTopic {
                topic, instance, ..
            } => Affected::Topic(self.entered(now, topic, *instance)),
            Operation::KeepTopic { .. }
            | Operation::LookupTopic { .. }
            | Operation::Lookup { .. }
            | Operation::View
            | Operation::ReadLease { .. }
            | Operation::Log { .. } => Affected::Nothing,
        }
    }
}
