//! Names that people and applications choose: of users and of topics.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest name, in bytes: it is a part of directory keys and of URLs.
const MAX_BYTES: usize = 128;

#[expect(
    clippy::disallowed_types,
    reason = "nobody changes what is shared here, as with the bytes of a payload"
)]
type SharedText = std::sync::Arc<str>;

/// What is wrong with a text as a name.
enum Fault {
    Empty,
    TooLong { bytes: usize },
    ControlCharacter,
    DotSegment,
}

fn check(text: &str) -> Result<SharedText, Fault> {
    if text.is_empty() {
        return Err(Fault::Empty);
    }
    if text.len() > MAX_BYTES {
        return Err(Fault::TooLong { bytes: text.len() });
    }
    if text.chars().any(char::is_control) {
        return Err(Fault::ControlCharacter);
    }
    // Most names have neither a dot nor what stands for one.
    if text.contains(['.', '%']) && text.split(['/', '\\']).any(is_dot_segment) {
        return Err(Fault::DotSegment);
    }
    Ok(SharedText::from(text))
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

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $(#[$error_doc:meta])* $error:ident, $what:literal) => {
        $(#[$doc])*
        ///
        /// An opaque string of 1 to 128 bytes without control characters, in which no part between
        /// slashes is `.` or `..`. A clone costs no allocation.
        #[derive(Clone, Eq, PartialOrd, Ord)]
        pub struct $name(SharedText);

        impl $name {
            /// The longest one, in bytes: it is a part of directory keys and of URLs.
            pub const MAX_BYTES: usize = MAX_BYTES;

            /// The one of this name.
            ///
            /// # Errors
            ///
            /// If it is empty, longer than [`Self::MAX_BYTES`], or holds a control character or a dot
            /// segment.
            pub fn new(text: &str) -> Result<Self, $error> {
                check(text).map(Self).map_err($error::from)
            }

            /// The name as it was given, which is UTF-8.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The UTF-8 of the name, at most [`Self::MAX_BYTES`].
            pub fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
            }
        }

        /// Most that are compared are clones of each other.
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                std::ptr::eq(self.as_bytes(), other.as_bytes())
                    || self.as_bytes() == other.as_bytes()
            }
        }

        /// As its bytes.
        impl Hash for $name {
            fn hash<H: Hasher>(&self, hasher: &mut H) {
                self.as_bytes().hash(hasher);
            }
        }

        impl TryFrom<&str> for $name {
            type Error = $error;

            fn try_from(text: &str) -> Result<Self, $error> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.as_str().to_owned()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;

                impl Visitor<'_> for Text {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!("a ", $what))
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::new(text).map_err(E::custom)
                    }
                }

                deserializer.deserialize_str(Text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.as_str())
            }
        }

        $(#[$error_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
        pub enum $error {
            /// It is empty.
            #[error("the {} is empty", $what)]
            Empty,
            /// It is too long.
            #[error("the {} has {bytes} bytes, the limit is {}", $what, MAX_BYTES)]
            TooLong {
                /// Its length in bytes.
                bytes: usize,
            },
            /// It holds a control character.
            #[error("the {} holds a control character", $what)]
            ControlCharacter,
            /// It holds a part that programs and proxies on the way resolve as a step in a path.
            #[error(
                "the {} is `.` or `..`, or has it between slashes: URLs with it lead elsewhere than they say",
                $what
            )]
            DotSegment,
        }

        impl From<Fault> for $error {
            fn from(fault: Fault) -> Self {
                match fault {
                    Fault::Empty => Self::Empty,
                    Fault::TooLong { bytes } => Self::TooLong { bytes },
                    Fault::ControlCharacter => Self::ControlCharacter,
                    Fault::DotSegment => Self::DotSegment,
                }
            }
        }

        crate::base::fingerprint::timeless!($name);
    };
}

name! {
    /// The owner of terminals.
    UserId,
    /// Why a text is not a user id.
    InvalidUser, "user id"
}

name! {
    /// A group of terminals that is pushed to by its name.
    TopicId,
    /// Why a text is not the name of a topic.
    InvalidTopic, "topic"
}

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
