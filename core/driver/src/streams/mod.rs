//! Streams around a socket while HTTP is spoken on it.

mod beginning;
mod foreign;
mod head;
mod parting;
mod served;
mod unreadable;

use bytes::Bytes;

pub(crate) use beginning::{Beginning, Begun, Over};
pub(crate) use foreign::Foreign;
pub(crate) use head::{Answering, Heads};
pub(crate) use parting::{LINGER, Parting};
pub(crate) use served::Served;

/// What hyper has read beyond the handshake, and what it has not.
pub(crate) fn joined(read: Bytes, unread: Bytes) -> Bytes {
    if unread.is_empty() {
        return read;
    }
    [read, unread].concat().into()
}
