//! An instance's end of the way to the directory.

use std::collections::BTreeMap;

use switchboard_core::command::RoundTrip;
use switchboard_core::id::OpId;
use switchboard_core::time::Instant;

use crate::fingerprint::fingerprint;
use crate::redis::{Connection, ServerId, kind};
use crate::schedule::{ErrorReply, OperationKind, TripFault};

/// What will happen to a round trip, and which of its operations that concerns.
pub(super) type PlannedFault = (OperationKind, TripFault);

/// An instance's end of it.
#[derive(Clone, Debug)]
pub(super) struct DirectoryLink {
    /// Where it leads, if it is open.
    pub(super) connection: Option<Connection>,
    /// What will happen to the next round trip that holds such an operation.
    pub(super) faults: Vec<PlannedFault>,
    /// Until then none can be opened.
    pub(super) away_until: Instant,
    /// With what writes over it are refused, and until when.
    pub(super) refused: Option<(ErrorReply, Instant)>,
    pub(super) number: u32,
    pub(super) marks: BTreeMap<OpId, PlannedFault>,
    /// Nothing reaches the directory before this moment, nothing comes back before that.
    pub(super) there: Instant,
    pub(super) back: Instant,
}

fingerprint!(DirectoryLink {
    connection,
    faults,
    away_until,
    refused,
    number,
    marks,
    there,
    back,
});

impl Default for DirectoryLink {
    fn default() -> Self {
        Self {
            connection: None,
            faults: Vec::new(),
            away_until: Instant::START,
            refused: None,
            number: 0,
            marks: BTreeMap::new(),
            there: Instant::START,
            back: Instant::START,
        }
    }
}

impl DirectoryLink {
    /// The server that it leads to, if it is open.
    pub(super) fn server(&self) -> Option<ServerId> {
        self.connection.map(Connection::server)
    }

    /// With what writes over it are refused, and until when.
    pub(super) fn refused(&self, now: Instant) -> Option<(ErrorReply, Instant)> {
        self.refused.filter(|(_, until)| now < *until)
    }

    /// What was planned for a round trip, which is marked with it.
    pub(super) fn mark(&mut self, trip: &RoundTrip) -> Option<TripFault> {
        let planned = self.faults.iter().position(|(wanted, _)| {
            *wanted == OperationKind::Any
                || (trip.operations.iter()).any(|operation| kind(operation) == *wanted)
        })?;
        let mark = self.faults.remove(planned);
        self.marks.insert(trip.op, mark);
        Some(mark.1)
    }
}
