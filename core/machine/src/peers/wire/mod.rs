//! What instances say to each other.
//!
//! A link carries pieces of bytes, each of which arrives whole. It begins with a [`Hello`] in each
//! direction, each a piece of its own.
//! The acceptor's carries its proof; the dialler proves itself with the first message of its first
//! batch. From there on each piece is one batch of [`Message`]s, encoded with postcard one after
//! another.

mod batch;
mod form;
mod hello;

use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use crate::base::fingerprint::Fingerprint;
use crate::channel::Channel;
use crate::config::Config;
use crate::delivery::{Addressee, Addressees, Ask, Breadth, Delivered, Delivery, Outcomes};
use crate::id::{InstanceId, SessionName, TopicId};
use crate::key::Key;
use crate::message::{Action, ListOrder, Listed};
use crate::time::Instant;
use crate::vocabulary::missed::MissedLogs;
use crate::vocabulary::service::Service;

pub(crate) use batch::{Batch, decode_batch};
pub(crate) use hello::{Hello, Role, Transcript, decode_hello, encode_hello};

/// The version of all that is in this module. Instances of unequal versions refuse each other.
pub(crate) const VERSION: u16 = 6;

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
    /// A push, or a part of one, for terminals of the receiver.
    Deliver(Delivery),
    /// What became of it.
    Delivered(Delivered),
    /// The sender lives: said at regular intervals, whatever else is said.
    Heartbeat {
        /// How the directory serves it.
        directory: Service,
        /// By it the round trip is measured.
        pulse: Pulse,
    },
    /// The sender ends and takes no more deliveries.
    Goodbye,
    /// The sender could not deliver records of these logs.
    Missed(MissedLogs),
}

/// What a heartbeat says of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Pulse {
    /// When it left, in microseconds, by the sender's clock, of which the other end knows nothing else.
    pub(in crate::peers) sent: u64,
    /// What the sender had got by then.
    pub(in crate::peers) echo: Option<Echo>,
}

/// The last heartbeat that the sender of another one has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Echo {
    /// What it said of the moment when it left.
    pub(in crate::peers) sent: u64,
    /// How many microseconds before the other one left it came.
    pub(in crate::peers) held: u64,
}

#[cfg(feature = "flaws")]
impl Pulse {
    /// Of another moment, and as if the last one had been kept for longer than it was.
    pub(in crate::peers) const fn forged(self) -> Self {
        let echo = match self.echo {
            Some(Echo { sent, held }) => Some(Echo {
                sent,
                held: held.saturating_add(100),
            }),
            None => None,
        };
        Self {
            sent: u64::MAX - self.sent,
            echo,
        }
    }
}

/// For tests: peers made by hand.
#[cfg(test)]
impl Pulse {
    /// What the first heartbeat says.
    pub(crate) const FIRST: Self = Self {
        sent: 0,
        echo: None,
    };

    /// What a heartbeat says that leaves so many microseconds after this one has come.
    pub(crate) const fn answered(self, held: u64) -> Self {
        let sent = self.sent;
        let echo = Some(Echo { sent, held });
        Self { sent: 0, echo }
    }
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
        /// The version in its Hello.
        theirs: u16,
        /// The id that it claims, if its Hello is long enough to tell.
        from: Option<InstanceId>,
    },
    /// The peer speaks our version, wrongly.
    #[error("the peer sent {0}")]
    Malformed(&'static str),
}

impl Fingerprint for Message {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        std::mem::discriminant(self).hash(hasher);
        match self {
            Self::Proof(proof) => proof.hash(hasher),
            Self::Deliver(delivery) => {
                (delivery.id, delivery.push, delivery.within, &delivery.to).hash(hasher);
                delivery.action.fingerprint(now, hasher);
            }
            Self::Delivered(delivered) => delivered.hash(hasher),
            Self::Heartbeat { directory, pulse } => (directory, pulse).hash(hasher),
            Self::Goodbye => {}
            Self::Missed(logs) => logs.hash(hasher),
        }
    }
}

/// Bytes that a message takes in a batch, at most. Close enough to the truth to account queues
/// with.
pub(crate) fn encoded_size_hint(message: &Message) -> usize {
    match message {
        Message::Proof(proof) => TAG + proof.len(),
        Message::Deliver(delivery) => {
            TAG + NUMBER
                + ID
                + NUMBER
                + action_size(&delivery.action)
                + addressees_size(&delivery.to)
        }
        Message::Delivered(delivered) => match &delivered.outcomes {
            Outcomes::Keys(users) => 2 * TAG + NUMBER + NUMBER + users.len() * OUTCOME,
            Outcomes::Counted(_) | Outcomes::Confirmed(..) => 2 * TAG + 9 * NUMBER,
            Outcomes::Listed(_, listed) => {
                let stand = |one: &Listed| one.follows.map_or(0, |_| POSITION + 2 * NUMBER + TAG);
                let size = |one: &Listed| 2 * TAG + ID + 2 + one.user.as_bytes().len() + stand(one);
                2 * TAG + 3 * NUMBER + listed.iter().map(size).sum::<usize>()
            }
        },
        Message::Heartbeat { .. } => 3 * TAG + 3 * NUMBER,
        Message::Goodbye => TAG,
        Message::Missed(MissedLogs::All) => 2 * TAG,
        Message::Missed(MissedLogs::Of(channels)) => {
            2 * TAG + 2 * NUMBER + channels.iter().map(channel_size).sum::<usize>()
        }
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

/// An offset and a tag, which is a varint of 32 bits.
const POSITION: usize = NUMBER + 5;
/// A mark of a topic.
const MARK: usize = 3;

fn action_size(action: &Action) -> usize {
    match action {
        Action::Frame(payload) => 2 * TAG + NUMBER + payload.len(),
        Action::Close(_) => 2 * TAG,
        Action::List { order, .. } => {
            let after = match order {
                ListOrder::Connections { .. } => ID,
                ListOrder::Members => TAG,
                ListOrder::Users { after } => {
                    after.as_ref().map_or(0, |user| 2 + user.as_bytes().len())
                }
                ListOrder::Followers { user } => 2 + user.as_bytes().len(),
            };
            3 * TAG + after + NUMBER
        }
        Action::Join(topic) | Action::Leave(topic) => TAG + topic_size(topic),
    }
}

fn addressees_size(to: &Addressees) -> usize {
    match to {
        Addressees::Keys(users) => users.iter().map(addressee_size).sum::<usize>() + TAG + NUMBER,
        Addressees::Everyone => TAG,
        Addressees::Session(_) => TAG + SessionName::LEN,
        Addressees::Members { topics, .. } => {
            3 * TAG + NUMBER + topics.iter().map(topic_size).sum::<usize>() + ID
        }
        Addressees::Record { topic, breadth, .. } => {
            let marks = match breadth {
                Breadth::OneTopic => 0,
                Breadth::SeveralTopics(marks) => NUMBER + marks.len() * MARK,
            };
            5 * TAG + topic_size(topic) + ID + 2 * POSITION + marks
        }
    }
}

/// A user id has at most 128 bytes: its length takes two.
fn key_size(key: &Key) -> usize {
    2 + key.as_bytes().len()
}

fn channel_size(channel: &Channel) -> usize {
    match channel {
        Channel::User(user) => 2 + user.as_bytes().len(),
        Channel::Topic(topic) => topic_size(topic),
    }
}

/// A topic has at most 128 bytes, as a user id has.
fn topic_size(topic: &TopicId) -> usize {
    2 + topic.as_bytes().len()
}

fn addressee_size(addressee: &Addressee) -> usize {
    let asked = match &addressee.ask {
        Ask::Nobody | Ask::All => 0,
        Ask::Only(connections) => NUMBER + connections.len() * ID,
    };
    let placed = TAG + addressee.record.map_or(0, |_| 2 * POSITION + TAG);
    key_size(&addressee.key) + NUMBER + addressee.named.len() * ID + TAG + asked + placed
}
