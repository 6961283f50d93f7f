//! Terminals as other wings see them.

use crate::id::{ConnectionId, ConnectionKey, TopicId};
use crate::key::Key;
use crate::time::{Instant, WallTime};

/// The order in which connections came, counted from zero. A walk over all connections goes by
/// age: what comes or goes meanwhile neither repeats nor skips anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Age(u64);

impl Age {
    /// Younger than every connection.
    pub(crate) const YOUNGEST: Self = Self(u64::MAX);
    /// As old as the first connection.
    pub(crate) const OLDEST: Self = Self(0);

    /// The age just younger than this one.
    pub(crate) const fn younger(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A connection that is not forgotten.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal<'a> {
    /// The name that applications know it by.
    pub(crate) id: ConnectionId,
    /// What it is found by.
    pub(crate) key: &'a Key,
    /// When it was accepted, or said who it is.
    pub(crate) accepted: Instant,
    /// When it was accepted, by the wall clock: for people, never for decisions.
    pub(crate) connected: WallTime,
    pub(crate) life: LifeStage,
    /// Whether it follows its log.
    pub(crate) follows: bool,
}

/// Where a connection is in its life, as far as it concerns other wings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LifeStage {
    /// Accepted; the upgrade is on its way.
    Upgrading,
    /// Open, and not greeted.
    Registering,
    /// Greeted, and served.
    Live,
    /// Its end has begun.
    Ending,
}

impl Terminal<'_> {
    /// Whether the directory should have its row.
    pub(crate) const fn wants_row(&self) -> bool {
        match self.life {
            LifeStage::Registering | LifeStage::Live => true,
            LifeStage::Upgrading | LifeStage::Ending => false,
        }
    }
}

/// What this instance has a row of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RowOf {
    /// A connection: where it lives.
    Connection(ConnectionKey),
    /// A topic: that it has members here.
    Topic(TopicId),
}

/// A change of a terminal that concerns its row, or what the lease says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TerminalChange {
    /// It is open: its row is to be written.
    Opened(ConnectionKey),
    /// It is greeted as degraded: others have to ask for it.
    Degraded,
    /// The row of a degraded terminal is written, or the terminal has ended.
    DegradationEnded,
    /// Its presence has ended: its row is to be removed. It may be said twice, before and after the
    /// socket goes.
    Ended(ConnectionKey),
    /// Its socket has gone: it is to be forgotten, at once if it has no row, or else when the row has
    /// gone.
    Gone(ConnectionKey),
}

/// What is known of a connection's row that decides about its terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowNews {
    /// The directory has it, and nothing has shown since that it may be lost.
    Written,
    /// There is none: what has ended can be forgotten.
    Absent,
}

crate::base::fingerprint::timeless!(Age, RowOf);
