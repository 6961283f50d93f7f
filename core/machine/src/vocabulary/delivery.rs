//! Deliveries: what a publisher asks of an instance, and what the instance answers.
//!
//! A *delivery* is what one instance is to do for one push. A [`Delivery`] says it, and its
//! [id](Delivery::id) names it until a [`Delivered`] answers it. Each place on its way has a form of it:
//! the publisher keeps what it needs for the answer as an `OpenDelivery`; the `QueuedDelivery` of a peer
//! waits for a link; at the instance that has the terminals it is an `Inbound`. That one has a key of
//! its own, because ids of several publishers may be equal, and each of its frames carries a `Ticket`
//! with this key, by which the outcome finds back. The same values serve an instance that publishes to
//! its own terminals and one that publishes over a link.

use std::hash::{Hash as _, Hasher};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::few::{self, Few};
use crate::base::fingerprint::Fingerprint;
use crate::directory::log::Place;
use crate::frame::{CloseCode, Pushed};
use crate::id::{ConnectionId, DeliveryId, InboundKey, PushId, SessionName, TopicId};
use crate::key::Key;

use crate::message::{Action, Counts, Listed, Outcome, PushedBy, Until};
use crate::time::Instant;

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
    Keys(#[serde(deserialize_with = "few::read")] Few<Addressee>),
    /// All terminals of the instance.
    Everyone,
    /// The members of these topics, to whom it is a plain push.
    Members {
        /// The topics, each once.
        topics: Vec<TopicId>,
        /// A connection that is left out.
        except: Option<ConnectionId>,
        /// Who pushes to them.
        by: PushedBy,
    },
    /// Members of a topic in whose log the push is a record. Those that follow the log get it as that, and others as a
    /// plain push.
    Record {
        /// The topic in whose log it is.
        topic: TopicId,
        /// A connection that is left out, unless it follows the log.
        except: Option<ConnectionId>,
        /// Whether the application pushes, or a terminal.
        by: PushedBy,
        /// What the push is in the log.
        record: Recorded,
        /// For how many topics it is.
        breadth: Breadth,
    },
    /// The terminal that names itself so: it has said the frame, and is to be heard.
    Session(SessionName),
}

/// One key in a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub(crate) struct Addressee {
    /// What its terminals are found by.
    pub(crate) key: Key,
    /// Connections that rows name. Each is answered, with `gone` if it is not there.
    #[serde(deserialize_with = "few::read")]
    pub(crate) named: Few<ConnectionId>,
    /// Other terminals to be served, which only the instance itself knows.
    pub(crate) ask: Ask,
    /// What the push is in the log of the key, if it is durable.
    pub(crate) record: Option<Recorded>,
}

/// A push that is a record in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub(crate) struct Recorded {
    /// The record's position, and the one before it.
    pub(crate) place: Place,
    /// When a follower's outcome is final.
    pub(crate) until: Until,
}

/// For how many topics a push is that is a record of one topic's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub(crate) enum Breadth {
    /// For this one alone.
    OneTopic,
    /// For others as well, in deliveries of their own: an instance remembers which terminals it has reached, so that a
    /// member of several gets one plain push.
    SeveralTopics(TopicMarks),
}

/// Which topics a push is for, beside the names that are in other deliveries: two bytes of each, and not its name, as each
/// of a hundred deliveries says it of all. Two topics may have the same mark, so what hangs on them must hold for a topic
/// too many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub(crate) struct TopicMarks(Vec<u16>);

impl TopicMarks {
    pub(crate) fn of(topics: &[TopicId]) -> Self {
        let mut marks: Vec<_> = topics.iter().map(Self::mark).collect();
        marks.sort_unstable();
        marks.dedup();
        Self(marks)
    }

    /// Whether a topic may be one of them.
    pub(crate) fn may_be(&self, topic: &TopicId) -> bool {
        self.0.binary_search(&Self::mark(topic)).is_ok()
    }

    /// FNV-1a of 32 bits, folded: all instances say the same.
    fn mark(topic: &TopicId) -> u16 {
        const BASIS: u32 = 0x811C_9DC5;
        const PRIME: u32 = 0x0100_0193;
        let bytes = topic.as_bytes().iter();
        let hash = bytes.fold(BASIS, |hash, byte| {
            (hash ^ u32::from(*byte)).wrapping_mul(PRIME)
        });
        let [a, b, c, d] = hash.to_le_bytes();
        u16::from_le_bytes([a ^ c, b ^ d])
    }

    /// How many they are.
    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }
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
    Keys(#[serde(deserialize_with = "few::read")] Few<(u32, ConnectionId, Outcome)>),
    /// Of a delivery to everyone, or to members of topics: how many.
    Counted(Counts),
    /// Of a list: how many there are, and the first of them, in their order.
    Listed(u64, Vec<Listed>),
    /// Of a delivery to members of a topic of whom confirmations are waited for: how many there are beside these, and how
    /// many have confirmed.
    Confirmed(Counts, u64),
}

/// What a delivery does to each terminal that is found by one key, or to all.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    /// The terminal is told of the push.
    Tell(Pushed),
    /// The terminal is closed.
    Close(CloseCode),
    /// The terminal becomes a member of a topic.
    Join(TopicId),
    /// The terminal is a member of a topic no longer.
    Leave(TopicId),
}

/// A record of a log on its way to followers, and which record it follows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ChainedRecord {
    pub(crate) place: Place,
    pub(crate) pushed: Pushed,
}

/// A claim of one delivery to learn what became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ticket {
    pub(crate) delivery: InboundKey,
    /// Which of the delivery's terminals the frame is for.
    pub(crate) index: u32,
    /// The push that the frame is of. It outlives the delivery, which is answered before a slow write
    /// ends.
    pub(crate) push: PushId,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameOutcome {
    pub(crate) connection: ConnectionId,
    pub(crate) ticket: Ticket,
    pub(crate) outcome: Outcome,
}

impl Fingerprint for Deed {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        match self {
            Self::Tell(pushed) => pushed.fingerprint(now, hasher),
            Self::Close(code) => code.fingerprint(now, hasher),
            Self::Join(topic) | Self::Leave(topic) => {
                std::mem::discriminant(self).hash(hasher);
                topic.fingerprint(now, hasher);
            }
        }
    }
}

crate::base::fingerprint::timeless!(Ticket);
