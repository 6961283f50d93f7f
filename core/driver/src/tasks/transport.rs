//! How frames get to a terminal, and messages from it. What stands in the frames is a protocol's business.

use std::io;
use std::task::{Context, Poll};

use switchboard_core::event::Closure;
use switchboard_core::frame::{CloseCode, Payload};

/// One terminal's connection, server's side. Nothing here waits: what is queued leaves with
/// [`poll_flush`](Self::poll_flush).
pub(crate) trait Transport {
    /// Queues a frame.
    fn send(&mut self, frame: &Payload);

    /// Queues what a living terminal answers.
    fn ping(&mut self);

    /// Whether the other end has shown life since the ping, or since this was asked last.
    fn shows_life(&mut self) -> bool;

    /// Queues the end of the connection with its reason, unless there was one.
    fn close(&mut self, cx: &mut Context<'_>, code: CloseCode);

    /// Reads what comes next.
    ///
    /// # Errors
    ///
    /// How the connection has ended.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, Closure>>;

    /// Whether everything queued is with the operating system.
    fn is_flushed(&self) -> bool;

    /// Writes what is queued, by way of `scratch`, which is shared by all terminals of a thread.
    fn poll_flush(&mut self, cx: &mut Context<'_>, scratch: &mut Vec<u8>) -> Poll<io::Result<()>>;

    /// Ends the stream's writing half.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Reads bytes that nobody wants. `Ready` at the end of the stream, or after an error.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// What comes from a terminal.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A sign of life without content.
    Control,
    /// A message in full, whatever frames it came in.
    Message(Payload),
}
