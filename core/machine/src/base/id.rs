//! Identifiers. Each kind and each direction has a type of its own; none has a default.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use crate::base::name::{InvalidTopic, InvalidUser, TopicId, UserId};

/// A random name for one life of one instance. An address can be reused, an instance id never is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceId(u64);

impl InstanceId {
    /// The id with this value.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The 64 bits of the id.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for InstanceId {
    /// Sixteen hexadecimal digits, as in the directory and in the API.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "i{self}")
    }
}

impl FromStr for InstanceId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let digits = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        if !digits {
            return Err(InvalidId);
        }
        u64::from_str_radix(text, 16)
            .map(Self)
            .map_err(|_| InvalidId)
    }
}

/// Counts up while an instance lives, at each settling. Rows and leases carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(u64);

impl Epoch {
    /// Before the first claim.
    pub const ZERO: Self = Self(0);
    /// The last that is read as one. Nobody counts so far: whatever is beyond was written by hand.
    pub const LAST: Self = Self(u64::MAX >> 1);

    /// The epoch with this number.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// Counts from 1, the first claim.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The one after it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Whether an instance can have counted up to it. One that cannot be stands in nobody's way: to
    /// claim above it could lead beyond [`Self::LAST`], where no other instance would read the claim.
    pub const fn is_counted(self) -> bool {
        self.0 <= Self::LAST.0 >> 1
    }
}

/// Names one connection everywhere: in the directory, on links, in receipts, to its terminal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConnectionId(Uuid);

impl ConnectionId {
    /// The connection with this UUID.
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// Its UUID.
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

impl FromStr for ConnectionId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Uuid::try_parse(text).map(Self).map_err(|_| InvalidId)
    }
}

/// What a terminal names itself by on other connections than its own. It is random, and a secret between the two: nobody
/// prints it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionName([u8; Self::LEN]);

impl SessionName {
    /// How many bytes a name has.
    pub const LEN: usize = 16;

    /// The name with these bytes, which are to be random.
    pub const fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes that it consists of.
    pub const fn bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Debug for SessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionName(..)")
    }
}

/// Names one push. The caller may choose it, and repeats of it are recognised by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PushId(Uuid);

impl PushId {
    /// The push with this UUID.
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// Its UUID.
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for PushId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for PushId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m{}", self.0)
    }
}

impl FromStr for PushId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Uuid::try_parse(text).map(Self).map_err(|_| InvalidId)
    }
}

/// A text that names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid id")]
pub struct InvalidId;

macro_rules! slot_key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub struct $name {
            slot: u32,
            generation: u32,
        }

        impl crate::base::slots::SlotKey for $name {
            fn new(slot: u32, generation: u32) -> Self {
                Self { slot, generation }
            }

            fn slot(self) -> u32 {
                self.slot
            }

            fn generation(self) -> u32 {
                self.generation
            }
        }

        impl $name {
            /// The index for the caller's own table. It is used again after the key is forgotten.
            pub const fn slot(self) -> usize {
                self.slot as usize
            }
        }
    };
}

slot_key! {
    /// One connection within one instance: a slot and the slot's generation, so that a key that
    /// is out of date is noticed.
    ConnectionKey
}

slot_key! {
    /// One log that terminals of this instance follow, within one instance.
    LogKey
}

/// One terminal as a follower of one log, within one instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FollowerKey {
    pub(crate) connection: ConnectionKey,
    pub(crate) log: LogKey,
}

slot_key! {
    /// One link within one instance.
    LinkKey
}

slot_key! {
    /// One push that waits for its receipt, within the instance that publishes it.
    PushKey
}

slot_key! {
    /// One delivery that waits for its frames to be written, within the instance that owns the
    /// terminals.
    InboundKey
}

/// One round trip to the directory. Never used twice by an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct OpId(u64);

impl OpId {
    pub(crate) const fn new(value: u64) -> Self {
        Self(value)
    }

    /// Counts up with each round trip.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// One delivery, chosen by the publishing instance and returned in the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeliveryId(u64);

impl DeliveryId {
    /// The delivery with this number.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// Counts up with each delivery of the publisher.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// A request of the embedding application, chosen by the driver and returned with the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct CallId(u64);

impl CallId {
    /// The call with this number.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The number that the driver chose.
    pub const fn get(self) -> u64 {
        self.0
    }
}

crate::base::fingerprint::timeless!(
    CallId,
    ConnectionId,
    ConnectionKey,
    DeliveryId,
    Epoch,
    InboundKey,
    InstanceId,
    LinkKey,
    LogKey,
    OpId,
    PushId,
    PushKey
);
