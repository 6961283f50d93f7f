//! Deliveries: what a publisher asks of an instance, and what the instance answers.
//!
//! One thing on its way has one name. A *delivery* is what one instance is to do for one push. A
//! [`Delivery`] says it, and its [id](Delivery::id) names it until a [`Delivered`] answers it. The
//! publisher keeps what it needs for the answer as an `OpenDelivery`; the `QueuedDelivery` of a peer
//! waits for a link; at the instance that has the terminals it is an `Inbound`, and each of its
//! frames carries a `Ticket` by which the outcome finds back. The same values serve an instance that
//! publishes to its own terminals and one that publishes over a link.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{ConnectionId, DeliveryId, PushId};
use crate::key::Key;
use crate::message::{Action, Counts, Outcome};

/// One push, or the part of it that one instance serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// Names it, for the answer.
    pub(crate) id: DeliveryId,
    /// Repeats are recognised by it.
    pub(crate) push: PushId,
    /// How long after this was sent the publisher's receipt is due. Whole milliseconds, at most
    /// `u32::MAX`; a remainder is cut off, so that an answer is early rather than late.
    pub(crate) within: Duration,
    /// What the terminals get.
    pub(crate) action: Action,
    /// The terminals that it is for.
    pub(crate) to: Addressees,
}

/// The terminals that a delivery is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub(crate) enum Addressees {
    /// Terminals of these keys.
    Users(Vec<Addressee>),
    /// All terminals of the instance.
    Everyone,
}

/// One key in a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub(crate) struct Addressee {
    /// What its terminals are found by.
    pub(crate) key: Key,
    /// Connections that rows name. Each is answered, with `gone` if it is not there.
    pub(crate) named: Vec<ConnectionId>,
    /// Other terminals to be served, which only the instance itself knows.
    pub(crate) ask: Ask,
}

/// The terminals to be served although no row names them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub(crate) enum Ask {
    /// No further terminals are served.
    Nobody,
    /// All connections of the key.
    All,
    /// Those of these connections that are there.
    Only(Vec<ConnectionId>),
}

/// The answer to a [`Delivery`]. An instance may answer in several parts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Delivered {
    /// The number of the delivery.
    pub(crate) delivery: DeliveryId,
    /// What became of it.
    pub(crate) outcomes: Outcomes,
}

/// What became of a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Outcomes {
    /// Each terminal, with the index of its key among the addressees. The index is the peer's
    /// word: it may point nowhere.
    Users(Vec<(u32, ConnectionId, Outcome)>),
    /// Of a delivery to everyone: how many.
    Everyone(Counts),
}
