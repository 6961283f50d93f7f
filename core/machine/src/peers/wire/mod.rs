//! What instances say to each other.
//!
//! A link begins with a [`Hello`] in each direction, each a binary WebSocket message of its own.
//! The acceptor's carries its proof; the dialler proves itself with the first message of its first
//! batch. From there on each binary WebSocket message is one batch of [`Message`]s, encoded with
//! postcard one after another.

mod batch;
mod form;
mod hello;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::id::{ConnectionId, DeliveryId, InstanceId, PushId, UserId};
use crate::message::{Action, Counts, Outcome};

pub(crate) use batch::{Batch, decode_batch};
pub(crate) use hello::{Hello, Role, Transcript, decode_hello, encode_hello};

/// The version of all that is in this module. Instances of unequal versions refuse each other.
pub(crate) const VERSION: u16 = 2;

/// The largest batch that a peer may send, in bytes.
pub(crate) const MAX_BATCH_BYTES: usize = Config::BATCH_BYTES_MAX;

/// Messages in one batch, at most: a message of two bytes takes a hundred in memory, so bytes alone
/// would let a peer claim far more memory than it sends.
pub(crate) const MAX_BATCH_MESSAGES: usize = 1 << 16;

/// What one instance tells another once both are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// The dialler's proof that it knows the cluster's secret. Its first message.
    Proof([u8; 32]),
    /// Serve these terminals.
    Deliver(Deliver),
    /// What became of it.
    Delivered(Delivered),
    /// The sender lives.
    Heartbeat {
        /// How the directory serves it.
        directory: Service,
    },
    /// The sender ends and takes no more deliveries.
    Goodbye,
}

/// How the directory serves an instance, as far as it can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Service {
    /// It holds its lease, and what its rows lack its lease says.
    Full,
    /// It holds its lease, and rows of it are missing of which its lease does not say so yet: it is to
    /// be asked by user.
    Behind,
    /// It holds no lease: it is to be asked by user.
    None,
    /// It holds no lease, has no terminals and takes none: nobody is to be asked for.
    Vacant,
}

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

/// What a peer sent is not what this module speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    /// The first message does not begin as a Hello does.
    #[error("the peer is not an instance of Switchboard")]
    NotOurs,
    /// The peer speaks another version.
    #[error("the peer speaks version {theirs} of the links' protocol, this is version {VERSION}")]
    Version {
        /// Its version.
        theirs: u16,
        /// Who it says it is, if its Hello is long enough to tell.
        from: Option<InstanceId>,
    },
    /// The peer speaks our version, wrongly.
    #[error("the peer sent {0}")]
    Malformed(&'static str),
}

/// Bytes that a message takes in a batch, at most. Close enough to the truth to account queues
/// with.
pub(crate) fn encoded_size_hint(message: &Message) -> usize {
    match message {
        Message::Proof(proof) => TAG + proof.len(),
        Message::Deliver(deliver) => {
            TAG + NUMBER + ID + NUMBER + action_size(&deliver.action) + addressees_size(&deliver.to)
        }
        Message::Delivered(delivered) => match &delivered.outcomes {
            Outcomes::Users(users) => 2 * TAG + NUMBER + NUMBER + users.len() * OUTCOME,
            Outcomes::Everyone(_) => 2 * TAG + 7 * NUMBER,
        },
        Message::Heartbeat { .. } => 2 * TAG,
        Message::Goodbye => TAG,
    }
}

/// A variant's number.
const TAG: usize = 1;
/// A number or a length: a varint of 64 bits, at most.
const NUMBER: usize = 10;
/// A UUID after its length.
const ID: usize = 17;
/// An index, which is a varint of 32 bits, a connection and an outcome.
const OUTCOME: usize = 5 + ID + TAG;

fn action_size(action: &Action) -> usize {
    match action {
        Action::Frame(payload) => 2 * TAG + NUMBER + payload.len(),
        Action::Close(_) => 2 * TAG,
    }
}

fn addressees_size(to: &Addressees) -> usize {
    match to {
        Addressees::Users(users) => users.iter().map(addressee_size).sum::<usize>() + TAG + NUMBER,
        Addressees::Everyone => TAG,
    }
}

fn addressee_size(addressee: &Addressee) -> usize {
    let asked = match &addressee.ask {
        Ask::Nobody | Ask::All => 0,
        Ask::Only(connections) => NUMBER + connections.len() * ID,
    };
    // A user id has at most 128 bytes: its length takes two.
    2 + addressee.user.as_bytes().len() + NUMBER + addressee.named.len() * ID + TAG + asked
}
