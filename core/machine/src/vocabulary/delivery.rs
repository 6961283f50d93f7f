//! Deliveries: what a publisher asks of an instance, and what the instance answers.
//!
//! The same values serve an instance that publishes to its own terminals and one that publishes
//! over a link.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{ConnectionId, DeliveryId, PushId, UserId};
use crate::message::{Action, Counts, Outcome};

/// One push, or the part of it that one instance serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Deliver {
    /// For the answer.
    pub(crate) delivery: DeliveryId,
    /// Repeats are recognised by it.
    pub(crate) push: PushId,
    /// How long after this was sent the publisher's receipt is due. Whole milliseconds, at most
    /// `u32::MAX`; a remainder is cut off, so that an answer is early rather than late.
    pub(crate) within: Duration,
    /// What the terminals get.
    pub(crate) action: Action,
    /// Which terminals.
    pub(crate) to: Addressees,
}

/// Whom a delivery is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub(crate) enum Addressees {
    /// Terminals of these users.
    Users(Vec<Addressee>),
    /// All terminals of the instance.
    Everyone,
}

/// One user in a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub(crate) struct Addressee {
    /// Who.
    pub(crate) user: UserId,
    /// Connections that rows name. Each is answered, with `gone` if it is not there.
    pub(crate) named: Vec<ConnectionId>,
    /// Whom else to serve, of those that the instance itself knows.
    pub(crate) ask: Ask,
}

/// Whom to serve although no row names them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub(crate) enum Ask {
    /// Nobody.
    Nobody,
    /// All connections of the user.
    All,
    /// Those of these connections that are there.
    Only(Vec<ConnectionId>),
}

/// The answer to a [`Deliver`]. An instance may answer in several parts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Delivered {
    /// Which delivery.
    pub(crate) delivery: DeliveryId,
    /// What became of it.
    pub(crate) outcomes: Outcomes,
}

/// What became of a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Outcomes {
    /// Each terminal, with the index of its user among the addressees. The index is the peer's
    /// word: it may point nowhere.
    Users(Vec<(u32, ConnectionId, Outcome)>),
    /// Of a delivery to everyone: how many.
    Everyone(Counts),
}
