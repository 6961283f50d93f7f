//! What becomes of a delivery at one terminal, outcome by outcome, until it is settled.

use crate::message::{Outcome, Until};

/// What is known of what becomes of a delivery at one terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Fate {
    /// Nothing yet: the first outcome is the last one.
    Open,
    /// The terminal's confirmation is waited for. This is the outcome without one.
    Unconfirmed(Option<Outcome>),
    /// This became of it.
    Settled(Outcome),
}

impl Fate {
    pub(super) const fn new(until: Until) -> Self {
        match until {
            Until::Written => Self::Open,
            Until::Acked => Self::Unconfirmed(None),
        }
    }

    /// With one more outcome.
    pub(super) fn with(self, outcome: Outcome) -> Self {
        match self {
            Self::Open => Self::Settled(outcome),
            Self::Unconfirmed(before) => match outcome {
                Outcome::Written => Self::Unconfirmed(Some(outcome)),
                Outcome::Queued | Outcome::Kept => Self::Unconfirmed(before.or(Some(outcome))),
                Outcome::Gone
                | Outcome::Overflow
                | Outcome::Unreachable
                | Outcome::TooLarge
                | Outcome::Acked => Self::Settled(outcome),
            },
            Self::Settled(_) => self,
        }
    }

    /// If no confirmation comes any more.
    pub(super) const fn unconfirmed(self) -> Self {
        match self {
            Self::Unconfirmed(Some(outcome)) => Self::Settled(outcome),
            Self::Unconfirmed(None) => Self::Open,
            Self::Open | Self::Settled(_) => self,
        }
    }

    pub(super) const fn is_settled(self) -> bool {
        match self {
            Self::Settled(_) => true,
            Self::Open | Self::Unconfirmed(_) => false,
        }
    }

    /// What is said of it, whatever may come.
    pub(super) fn outcome(self) -> Outcome {
        match self {
            Self::Open => Outcome::Queued,
            Self::Unconfirmed(outcome) => outcome.unwrap_or(Outcome::Queued),
            Self::Settled(outcome) => outcome,
        }
    }
}
