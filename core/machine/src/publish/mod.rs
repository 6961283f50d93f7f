//! Pushes and questions at the instance that is asked: order per user, routes, receipts.

pub(crate) mod lane;
pub(crate) mod list;
pub(crate) mod purpose;
pub(crate) mod push;
pub(crate) mod receipt;
pub(crate) mod route;
mod waiting;

use crate::base::rng::SeededHash;
use crate::command::Outbox;
use crate::directory::Reply;
use crate::instance::Instance;
use crate::membership::trips::Conclusion;
use crate::time::Now;

use purpose::Purpose;
use push::Pushes;

/// The pushes and questions of this instance.
#[derive(Clone, Debug)]
pub(crate) struct Publish {
    pub(crate) pushes: Pushes,
}

impl Publish {
    pub(crate) fn new(hash: &SeededHash) -> Self {
        Self {
            pushes: Pushes::new(hash),
        }
    }
}

impl Instance {
    /// An operation of this wing has ended.
    pub(crate) fn publish_operation_ended(
        &mut self,
        now: Now,
        purpose: Purpose,
        conclusion: Conclusion,
        out: &mut Outbox,
    ) {
        let (asked, reply) = match conclusion {
            Conclusion::Answered { asked, reply } => (asked, reply),
            Conclusion::Refused(_) | Conclusion::Unknown(_) => {
                return self.operation_failed(now, purpose, out);
            }
        };
        match (purpose, reply) {
            (Purpose::Lookup { user }, Reply::Rows { rows, malformed }) => {
                self.base.stats.malformed_entries += u64::from(malformed);
                self.looked_up(now, &user, rows, out);
            }
            (Purpose::Connections { call, user }, Reply::Rows { rows, malformed }) => {
                self.base.stats.malformed_entries += u64::from(malformed);
                self.connections_read(now, asked, call, &user, rows, out);
            }
            (Purpose::RemoveRow, Reply::Removed(removed)) => {
                self.base.stats.rows_removed += u64::from(removed);
            }
            (
                purpose @ (Purpose::Lookup { .. }
                | Purpose::Connections { .. }
                | Purpose::RemoveRow),
                _,
            ) => {
                self.base.stats.directory_refusals += 1;
                self.operation_failed(now, purpose, out);
            }
        }
    }

    /// The directory did not execute the operation, or it is unknown whether it did.
    fn operation_failed(&mut self, now: Now, purpose: Purpose, out: &mut Outbox) {
        match purpose {
            Purpose::Lookup { user } => self.lookup_failed(now, &user, out),
            Purpose::Connections { call, user } => self.connections_unknown(call, &user, out),
            Purpose::RemoveRow => {}
        }
    }
}
