//! What a run found.

use std::fmt;
use std::time::Duration;

use crate::ledger::FaultKind;

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// A frame is for the user whose terminal gets it.
    Addressee,
    /// A frame was published, with this content.
    NoCreation,
    /// A terminal gets a push once at most.
    NoDuplicate,
    /// A terminal gets the pushes of one instance for one user in their order.
    Order,
    /// What a receipt says of a terminal had happened.
    ReceiptTrue,
    /// A push gets one receipt, in time, and one that is not degraded names every terminal.
    ReceiptComplete,
    /// A terminal that was greeted gets each push that starts later, unless a fault lies on the way.
    HelloMeansReachable,
    /// No state that only a bug can reach, no endless work.
    Hygiene,
    /// A directory operation changes what is its instance's own, or removes what is dead.
    Fencing,
    /// After the faults the rows are those of the live connections.
    Convergence,
    /// With all clients gone nothing is left.
    EmptyAtRest,
    /// A greeted connection is in the directory.
    OrphanDebt,
    /// A row that readers take for live has a connection.
    GhostDebt,
    /// The core did not panic.
    NoPanic,
}

impl Invariant {
    /// As it is called in schedules and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Addressee => "addressee",
            Self::NoCreation => "no-creation",
            Self::NoDuplicate => "no-duplicate",
            Self::Order => "order",
            Self::ReceiptTrue => "receipt-true",
            Self::ReceiptComplete => "receipt-complete",
            Self::HelloMeansReachable => "hello-means-reachable",
            Self::Hygiene => "hygiene",
            Self::Fencing => "fencing",
            Self::Convergence => "convergence",
            Self::EmptyAtRest => "empty-at-rest",
            Self::OrphanDebt => "orphan-debt",
            Self::GhostDebt => "ghost-debt",
            Self::NoPanic => "no-panic",
        }
    }
}

/// An invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// When, from the start of the schedule.
    pub at: Duration,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            invariant,
            at,
            what,
        } = self;
        let at = at.as_secs_f64();
        write!(f, "{} at {at:.6}s: {what}", invariant.name())
    }
}

/// What a run found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The schedule's.
    pub seed: u64,
    /// Of all that happened.
    pub hash: u64,
    /// Things that happened.
    pub events: u64,
    /// Virtual time that passed.
    pub simulated: Duration,
    /// Frames that should have reached a terminal.
    pub expected: u64,
    /// Those of them that did not, and had an excuse.
    pub excused: u64,
    /// Receipts.
    pub receipts: u64,
    /// Kinds of faults that occurred.
    pub faults: Vec<FaultKind>,
    /// What did not hold.
    pub violation: Option<Violation>,
}
