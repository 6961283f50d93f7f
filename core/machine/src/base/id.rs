//! Identifiers. Each kind and each direction has a type of its own; none has a default.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

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

/// The owner of terminals: an opaque string of 1 to 128 bytes without control characters, in which no
/// part between slashes is `.` or `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(Bytes);

impl UserId {
    /// The longest user id, in bytes: it is a part of directory keys and of URLs.
    pub const MAX_BYTES: usize = 128;

    /// The user of this name.
    ///
    /// # Errors
    ///
    /// If it is empty, longer than [`Self::MAX_BYTES`], or holds a control character or a dot segment.
    pub fn new(text: &str) -> Result<Self, InvalidUser> {
        if text.is_empty() {
            return Err(InvalidUser::Empty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(InvalidUser::TooLong { bytes: text.len() });
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidUser::ControlCharacter);
        }
        if text.split(['/', '\\']).any(is_dot_segment) {
            return Err(InvalidUser::DotSegment);
        }
        Ok(Self(Bytes::copy_from_slice(text.as_bytes())))
    }

    /// The id as it was given, which is UTF-8.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The UTF-8 of the id, at most [`Self::MAX_BYTES`].
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<&str> for UserId {
    type Error = InvalidUser;

    fn try_from(text: &str) -> Result<Self, InvalidUser> {
        Self::new(text)
    }
}

impl From<UserId> for String {
    fn from(user: UserId) -> Self {
        user.as_str().to_owned()
    }
}

impl Serialize for UserId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for UserId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = UserId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a user id")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<UserId, E> {
                UserId::new(text).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

/// A text that names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid id")]
pub struct InvalidId;

/// Why a text is not a user id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUser {
    /// It is empty.
    #[error("the user id is empty")]
    Empty,
    /// It is too long.
    #[error("the user id has {bytes} bytes, the limit is {}", UserId::MAX_BYTES)]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// It holds a control character.
    #[error("the user id holds a control character")]
    ControlCharacter,
    /// It holds a part that programs and proxies on the way resolve as a step in a path.
    #[error(
        "the user id is `.` or `..`, or has it between slashes: URLs with it lead elsewhere than they say"
    )]
    DotSegment,
}

/// Whether a part of a path is resolved rather than kept, by browsers and HTTP libraries (the URL
/// Standard: a dot is also `%2e`), by proxies that decode a slash first, or by those to whom a
/// semicolon begins a parameter. Percent-encoding a user does not help: a dot stays a dot in it.
fn is_dot_segment(segment: &str) -> bool {
    let mut rest = segment.split(';').next().unwrap_or_default();
    let mut dots = 0;
    while !rest.is_empty() {
        let dot = rest.strip_prefix('.');
        let encoded = || rest.strip_prefix("%2e").or(rest.strip_prefix("%2E"));
        let Some(behind) = dot.or_else(encoded) else {
            return false;
        };
        rest = behind;
        dots += 1;
    }
    dots == 1 || dots == 2
}

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
    PushKey,
    UserId
);

#[cfg(test)]
mod tests {
    use super::*;

    /// H02, H07: a user who is called `..` would turn a push to itself into a push to whomever its payload
    /// names.
    #[test]
    fn a_user_that_urls_resolve_is_none() {
        for text in [
            ".",
            "..",
            "%2e",
            "%2E%2e",
            ".%2E",
            "%2e.",
            "a/..",
            "../a",
            "a/./b",
            "a/../../push",
            "a\\..\\b",
            "/..",
            "..;",
            "a/..;x=1/b",
        ] {
            assert_eq!(UserId::new(text), Err(InvalidUser::DotSegment), "{text}");
        }
    }

    #[test]
    fn a_user_with_dots_and_slashes_that_urls_keep_is_one() {
        for text in [
            "...",
            "a.",
            ".a",
            "..a",
            "a..b",
            "ann.lee@example.com",
            "https://id.example/users/7/",
            "auth0|5f",
            "%252e",
            "%2",
            "%2e%2e%2e",
            ";",
            "a;..",
            "/",
            "\\",
            "．．",
        ] {
            assert!(UserId::new(text).is_ok(), "{text}");
        }
    }
}
