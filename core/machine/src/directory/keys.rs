//! The names of the directory's keys on Redis, and the mark that says how they are made.
//!
//! What belongs to a user, or to a topic, lies in one *partition*: each of its keys begins, after the prefix, with
//! `{p0000}` to `{p9999}`. Redis Cluster places a key by what stands in its first braces, so that a
//! script can touch several keys of a user. A fixed hash of the user chooses the partition: were the
//! user's name itself in braces, whoever picks names would pick the place, by `a{b}c` as well.

use std::fmt;
use std::str;

use super::DirectorySettings;
use super::redis::Request;
use crate::channel::Channel;
use crate::id::TopicId;
use crate::key::Key;

/// What the name of a user's rows begins with.
const ROWS: &[u8] = b"u:";

/// The rows of a user.
pub(super) fn rows(settings: &DirectorySettings, key: &Key) -> Vec<u8> {
    of_user(settings, ROWS, key)
}

/// A log: its head, its records, its pushes. That of a topic has names of its own, for a user may be called the same.
pub(super) fn log(settings: &DirectorySettings, channel: &Channel) -> [Vec<u8>; 3] {
    match channel {
        Channel::User(user) => {
            [&b"m:"[..], b"h:", b"d:"].map(|kind| named(settings, kind, user.as_bytes()))
        }
        Channel::Topic(topic) => {
            [&b"tm:"[..], b"th:", b"td:"].map(|kind| named(settings, kind, topic.as_bytes()))
        }
    }
}

/// The rows of what a log belongs to.
pub(super) fn rows_of(settings: &DirectorySettings, channel: &Channel) -> Vec<u8> {
    match channel {
        Channel::User(user) => named(settings, ROWS, user.as_bytes()),
        Channel::Topic(of) => topic(settings, of),
    }
}

/// The topics of a user.
pub(super) fn topics(settings: &DirectorySettings, key: &Key) -> Vec<u8> {
    of_user(settings, b"j:", key)
}

/// The instances with members of a topic.
pub(super) fn topic(settings: &DirectorySettings, topic: &TopicId) -> Vec<u8> {
    named(settings, b"t:", topic.as_bytes())
}

/// The leases, which are few: one key in the first partition.
pub(super) fn instances(settings: &DirectorySettings) -> Vec<u8> {
    in_partition(settings, 0, &[b"instances"])
}

fn of_user(settings: &DirectorySettings, kind: &[u8], key: &Key) -> Vec<u8> {
    named(settings, kind, key.as_bytes())
}

fn named(settings: &DirectorySettings, kind: &[u8], name: &[u8]) -> Vec<u8> {
    let partition = partition(name, settings.partitions);
    in_partition(settings, partition, &[kind, name])
}

fn in_partition(settings: &DirectorySettings, partition: u16, name: &[&[u8]]) -> Vec<u8> {
    let [thousands, hundreds, tens, ones] =
        [1000, 100, 10, 1].map(|place| b"0123456789"[usize::from(partition / place % 10)]);
    let tag = [b'{', b'p', thousands, hundreds, tens, ones, b'}'];
    let bytes = name.iter().map(|part| part.len()).sum::<usize>();
    let mut key = Vec::with_capacity(settings.prefix.len() + tag.len() + bytes);
    key.extend_from_slice(settings.prefix.as_bytes());
    key.extend_from_slice(&tag);
    name.iter().for_each(|part| key.extend_from_slice(part));
    key
}

/// FNV-1a of 64 bits, folded. It is part of the layout: another one is another version of it.
fn partition(name: &[u8], partitions: u16) -> u16 {
    const BASIS: u64 = 0xCBF2_9CE4_8422_2325;
    const PRIME: u64 = 0x100_0000_01B3;
    let hash = name.iter().fold(BASIS, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(PRIME)
    });
    let partition = (hash ^ hash >> 32) % u64::from(partitions.max(1));
    u16::try_from(partition).unwrap_or_default()
}

/// How the keys under a prefix are named, and what stands at them. Instances of different layouts
/// would not find each other, nor the other's terminals. So each looks for the mark that the first
/// one left, under every new link to a server: it is what decides, and it goes with all that is kept
/// there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// What the keys are, by a number that this crate knows.
    pub version: u16,
    /// Over how many partitions they are spread.
    pub partitions: u16,
}

impl Layout {
    /// The version that this crate speaks.
    pub const VERSION: u16 = 1;

    /// The layout of the directory with these settings.
    pub const fn of(settings: &DirectorySettings) -> Self {
        Self {
            version: Self::VERSION,
            partitions: settings.partitions,
        }
    }

    /// The key of the mark, which is the same in all layouts.
    pub fn key(settings: &DirectorySettings) -> String {
        format!("{}layout", settings.prefix)
    }

    /// Asks for the mark: it is answered with its text, or with nothing.
    pub fn read(settings: &DirectorySettings) -> Request {
        Request::Command {
            name: "GET",
            args: vec![Self::key(settings).into_bytes()],
        }
    }

    /// Leaves the mark where there is none. It is answered with the text of the one that was there, or
    /// with nothing.
    pub fn leave(settings: &DirectorySettings) -> Request {
        let mark = Self::of(settings).to_string();
        let args = [&Self::key(settings), &mark, "NX", "GET"];
        Request::Command {
            name: "SET",
            args: args.map(|arg| arg.as_bytes().to_vec()).into(),
        }
    }

    /// The layout that a mark says; `None` if it is none.
    pub fn parse(mark: &[u8]) -> Option<Self> {
        let (version, partitions) = str::from_utf8(mark).ok()?.split_once(' ')?;
        let layout = Self {
            version: version.strip_prefix("version=")?.parse().ok()?,
            partitions: partitions.strip_prefix("partitions=")?.parse().ok()?,
        };
        // There is one spelling of each.
        (layout.to_string().as_bytes() == mark).then_some(layout)
    }
}

impl fmt::Display for Layout {
    /// The text of the mark.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version={} partitions={}", self.version, self.partitions)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::UserId;

    #[test]
    fn the_keys_are_as_documented() {
        let settings = settings(DirectorySettings::PARTITIONS);
        assert_eq!(rows(&settings, &user("ann")), b"sb:{p0417}u:ann");
        assert_eq!(rows(&settings, &user("a{b}c")), b"sb:{p0538}u:a{b}c");
        assert_eq!(instances(&settings), b"sb:{p0000}instances");
        assert_eq!(Layout::key(&settings), "sb:layout");
        let mark = "version=1 partitions=1024";
        assert_eq!(Layout::of(&settings).to_string(), mark);
    }

    /// The published values of FNV-1a, folded: anybody can compute where a key is.
    #[test]
    fn the_partition_is_a_known_hash() {
        for (name, hash) in [
            ("", 0xCBF2_9CE4_8422_2325_u64),
            ("a", 0xAF63_DC4C_8601_EC8C),
            ("foobar", 0x8594_4171_F739_67E8),
        ] {
            let folded = (hash >> 32 ^ hash) % 1000;
            assert_eq!(
                u64::from(partition(name.as_bytes(), 1000)),
                folded,
                "{name}"
            );
        }
    }

    proptest! {
        /// Whatever is in a name, Redis Cluster places its key by the partition.
        #[test]
        fn a_name_chooses_no_place(name in names(), partitions in 1..=DirectorySettings::PARTITIONS_MAX) {
            let key = rows(&settings(partitions), &user(&name));
            let partition = partition(name.as_bytes(), partitions);
            prop_assert!(partition < partitions);
            let place = format!("p{partition:04}");
            prop_assert_eq!(hash_tag(&key), place.as_bytes());
            let end = ["u:", &name].concat();
            prop_assert!(key.ends_with(end.as_bytes()));
        }

        #[test]
        fn two_users_have_two_keys(one in names(), other in names()) {
            let settings = settings(DirectorySettings::PARTITIONS);
            let same = rows(&settings, &user(&one)) == rows(&settings, &user(&other));
            prop_assert_eq!(same, one == other);
        }

        #[test]
        fn a_mark_is_read_as_it_was_written(version: u16, partitions: u16) {
            let layout = Layout { version, partitions };
            prop_assert_eq!(Layout::parse(layout.to_string().as_bytes()), Some(layout));
        }

        /// H36: no text makes the reader panic.
        #[test]
        fn any_text_is_a_mark_or_none(text: Vec<u8>) {
            let _ = Layout::parse(&text);
        }
    }

    #[test]
    fn what_is_not_a_mark_is_none() {
        for text in [
            "",
            "1",
            "version=1",
            "version=1 partitions=",
            "version=1 partitions=70000",
            "version=+1 partitions=1024",
            "version=1 partitions=1024 ",
            "version=01 partitions=1024",
        ] {
            assert_eq!(Layout::parse(text.as_bytes()), None, "{text}");
        }
    }

    /// Users that count up, as many ids do, are spread as evenly as by chance: of 64 expected in each
    /// partition, none has half or twice as many.
    #[test]
    fn users_are_spread_evenly() {
        let mut counts = vec![0_u32; 1024];
        for number in 0..65_536 {
            let name = format!("user-{number}");
            counts[usize::from(partition(name.as_bytes(), 1024))] += 1;
        }
        assert!(counts.iter().all(|count| (32..128).contains(count)));
    }

    /// What Redis Cluster places a key by.
    fn hash_tag(key: &[u8]) -> &[u8] {
        let Some(open) = key.iter().position(|byte| *byte == b'{') else {
            return key;
        };
        let rest = &key[open + 1..];
        match rest.iter().position(|byte| *byte == b'}') {
            Some(0) | None => key,
            Some(close) => &rest[..close],
        }
    }

    fn names() -> impl Strategy<Value = String> {
        "[{}a-c:ü🦀]{1,12}"
    }

    fn user(name: &str) -> Key {
        UserId::new(name).expect("a valid user").into()
    }

    fn settings(partitions: u16) -> DirectorySettings {
        DirectorySettings {
            partitions,
            ..DirectorySettings::for_tests()
        }
    }
}
