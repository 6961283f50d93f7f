//! Where a connection is in its life. Its row goes its own way beside it.

use std::hash::{Hash, Hasher};

use crate::base::fingerprint::Fingerprint;
use crate::frame::CloseCode;
use crate::time::Instant;
use crate::vocabulary::delivery::Ticket;

/// Where a connection is in its life.
#[derive(Clone, Debug, Hash)]
pub(crate) enum Phase {
    /// Accepted; the upgrade is on its way.
    Upgrading {
        /// When it is given up.
        until: Instant,
    },
    /// Open; the row is on its way. Frames wait behind the hello.
    Registering {
        /// When the terminal is greeted as degraded.
        greet_by: Instant,
    },
    /// It was greeted, and is served.
    Live(Greeting),
    /// Told to end, for this reason.
    Closing {
        /// Why, as the terminal is told.
        code: CloseCode,
        /// When the socket is dropped, however far the closing is.
        until: Instant,
        /// How far it is.
        stage: ClosingStage,
        /// How far it had come before.
        reached: Reached,
        /// Of the push that closes it: resolved when the terminal is told. In a box, for few terminals have one.
        ticket: Option<Box<Ticket>>,
    },
    /// The socket has gone; the row has not.
    Gone,
    /// Open; it has not said who it is. It has no row and is found by nothing but its slot and its age: nothing is
    /// for it.
    Authenticating {
        /// When it is given up.
        until: Instant,
    },
}

impl Phase {
    /// What the state is called in tables for people.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Upgrading { .. } => "upgrading",
            Self::Authenticating { .. } => "authenticating",
            Self::Registering { .. } => "registering",
            Self::Live(Greeting::Reachable) => "live",
            Self::Live(Greeting::Degraded) => "degraded",
            Self::Closing { stage, .. } => match stage {
                ClosingStage::Writing => "closing",
                ClosingStage::Sent => "told-to-end",
                ClosingStage::Aborted => "aborted",
            },
            Self::Gone => "gone",
        }
    }
}

/// How far a connection came before its end began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reached {
    /// It was accepted, and never opened.
    Accepted,
    /// It was opened, and never greeted.
    Opened,
    /// It was greeted.
    Greeted,
}

/// What a terminal was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Greeting {
    /// Its row is, or was, written.
    Reachable,
    /// It was greeted without a row, and the row is not written yet.
    Degraded,
}

/// How far a closing connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ClosingStage {
    /// Frames are being written before the terminal is told.
    Writing,
    /// What the terminal is told is on its way.
    Sent,
    /// Patience has ended, or nothing could be written any more.
    Aborted,
}

impl Fingerprint for Phase {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        std::mem::discriminant(self).hash(hasher);
        match self {
            Self::Upgrading { until } | Self::Authenticating { until } => {
                until.fingerprint(now, hasher);
            }
            Self::Registering { greet_by } => greet_by.fingerprint(now, hasher),
            Self::Live(greeting) => greeting.hash(hasher),
            Self::Closing {
                code,
                until,
                stage,
                reached,
                ticket,
            } => {
                until.fingerprint(now, hasher);
                (code, stage, reached, ticket).hash(hasher);
            }
            Self::Gone => {}
        }
    }
}
