//! The trace: every event that reaches an instance, every command that it emits and every frame
//! that a terminal sees, each with its time, in a rolling hash.
//!
//! An entry is encoded by postcard, which is the same on every platform, in debug and in release,
//! and does not know what a type or a field is called. XXH3 hashes it, with the hash of all entries
//! before as its seed. Golden hashes are kept in files: a change of this form is a change of
//! [`VERSION`].

use std::fmt;
use std::time::Duration;

use postcard::ser_flavors::Flavor;
use serde::ser::SerializeStructVariant as _;
use serde::{Serialize, Serializer};
use switchboard_core::command::Command;
use switchboard_core::event::{Event, Refused};
use switchboard_core::frame::{CloseCode, Payload};
use switchboard_core::id::ConnectionKey;
use twox_hash::XxHash3_64;

use crate::settings::{PROTOCOL, content};

/// The version of the form in which the trace is hashed.
pub const VERSION: u64 = 1;

/// One hash of many, in their order.
pub fn hash_of_all(hashes: &[u64]) -> u64 {
    let fold = |all, hash: &u64| XxHash3_64::oneshot_with_seed(all, &hash.to_le_bytes());
    hashes.iter().fold(VERSION, fold)
}

/// One entry. The order of the variants, and of their fields, is a part of the form.
#[derive(Debug, Serialize)]
pub(crate) enum Entry<'a> {
    /// An item of the schedule, as it is written.
    Item(&'a str),
    /// An event reaches an instance.
    Event { at: InstanceLabel, event: &'a Event },
    /// The handshake of a terminal reaches an instance.
    Handshake {
        at: InstanceLabel,
        session: usize,
        outcome: Result<ConnectionKey, Refused>,
    },
    /// The socket of a link reaches an instance.
    Link { at: InstanceLabel, pipe: usize },
    /// An instance emits a command.
    Command {
        at: InstanceLabel,
        command: Given<'a>,
    },
    /// A frame reaches a terminal.
    Frame {
        session: usize,
        payload: &'a Payload,
    },
    /// A ping reaches a terminal.
    Ping { session: usize },
    /// A Close frame reaches a terminal.
    Close { session: usize, code: CloseCode },
}

/// A command. What a terminal is told is there as the frame that it gets.
pub(crate) struct Given<'a>(pub(crate) &'a Command);

impl Serialize for Given<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Command::Send {
            connection,
            outgoing,
        } = self.0
        else {
            return self.0.serialize(to);
        };
        let mut send = to.serialize_struct_variant("Command", 0, "Send", 2)?;
        send.serialize_field("connection", connection)?;
        send.serialize_field("payload", &content(outgoing))?;
        send.end()
    }
}

impl fmt::Debug for Given<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Command::Send {
                connection,
                outgoing,
            } => (f.debug_struct("Send"))
                .field("connection", connection)
                .field("payload", &PROTOCOL.encode(outgoing.clone()))
                .finish(),
            command => command.fmt(f),
        }
    }
}

/// An instance: which process, and which of its lives.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct InstanceLabel {
    pub(crate) host: usize,
    pub(crate) life: u32,
}

/// The trace so far.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    hash: u64,
    buffer: Vec<u8>,
    log: Option<Vec<Kept>>,
}

/// An entry that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// When, from the start of the schedule.
    pub at: Duration,
    /// The hash of the trace up to and with this entry.
    pub hash: u64,
    /// What it was, for people.
    pub text: String,
}

impl Trace {
    /// The trace of a run in which nothing has happened.
    pub(crate) const fn new() -> Self {
        Self {
            hash: VERSION,
            buffer: Vec::new(),
            log: None,
        }
    }

    /// Keeps all entries from here on.
    pub(crate) fn keep(&mut self) {
        self.log.get_or_insert_default();
    }

    /// The entries that were kept.
    pub(crate) fn kept(&self) -> &[Kept] {
        self.log.as_deref().unwrap_or_default()
    }

    /// The hash of all entries.
    pub(crate) const fn hash(&self) -> u64 {
        self.hash
    }

    /// Takes an entry in.
    pub(crate) fn take(&mut self, at: Duration, entry: &Entry<'_>) {
        self.buffer.clear();
        let nanos = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
        postcard::serialize_with_flavor(&(nanos, entry), Buffer(&mut self.buffer))
            .expect("memory takes every byte, and all lengths are known");
        self.hash = XxHash3_64::oneshot_with_seed(self.hash, &self.buffer);
        if let Some(log) = &mut self.log {
            log.push(Kept {
                at,
                hash: self.hash,
                text: entry.to_string(),
            });
        }
    }
}

impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Item(text) => f.write_str(text),
            Self::Event { at, event } => write!(f, "{at:?} takes {event:?}"),
            Self::Handshake {
                at,
                session,
                outcome,
            } => write!(f, "{at:?} takes the handshake of s{session}: {outcome:?}"),
            Self::Link { at, pipe } => write!(f, "{at:?} takes link {pipe}"),
            Self::Command { at, command } => write!(f, "{at:?} returns {command:?}"),
            Self::Frame { session, payload } => write!(f, "s{session} sees {payload:?}"),
            Self::Ping { session } => write!(f, "s{session} sees a ping"),
            Self::Close { session, code } => write!(f, "s{session} sees Close {code:?}"),
        }
    }
}

impl fmt::Debug for InstanceLabel {
    /// `i1`, and from the second life on `i1.2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "i{}", self.host + 1)?;
        if self.life > 1 {
            write!(f, ".{}", self.life)?;
        }
        Ok(())
    }
}

/// Where postcard writes.
struct Buffer<'a>(&'a mut Vec<u8>);

impl Flavor for Buffer<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        // Most numbers are small.
        match bytes {
            [byte] => self.0.push(*byte),
            _ => self.0.extend_from_slice(bytes),
        }
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The form itself: this hash may change only with [`VERSION`].
    #[test]
    fn an_entry_has_the_same_hash_everywhere() {
        let mut trace = Trace::new();
        trace.take(Duration::from_millis(1), &Entry::Item("heal"));
        assert_eq!(trace.hash(), 10_711_667_498_542_110_171);
    }

    #[test]
    fn the_same_entries_in_another_order_give_another_hash() {
        let hash = |sessions: [usize; 2]| {
            let mut trace = Trace::new();
            for session in sessions {
                trace.take(Duration::ZERO, &Entry::Ping { session });
            }
            trace.hash()
        };
        assert_ne!(hash([1, 2]), hash([2, 1]));
    }
}
