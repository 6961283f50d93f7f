//! What a peer may send before it has proven that it knows the cluster's secret.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};

use crate::transport::Boundary;

/// Bytes that a peer may send before it is trusted, in all and in one frame. Hello and proof have
/// some 100; a handshake's answer has some hundreds.
const NEWCOMER_BYTES: usize = 4096;

/// A stream of frames whose reading fails when a newcomer sends, or announces, more than it can have
/// to say. Without it, anybody could make the instance set aside as much as it takes of a peer.
pub(crate) struct Watched<S> {
    stream: S,
    trust: Trust,
    read: usize,
    boundary: Boundary,
}

/// How far the other end is trusted. Clones are about the same stream.
#[derive(Clone)]
pub(crate) struct Trust(Rc<Cell<TrustStage>>);

#[derive(Clone, Copy)]
enum TrustStage {
    /// It answers the HTTP handshake.
    Http,
    /// It sends frames, and may be anybody.
    Newcomer,
    /// It has proven that it is of the cluster.
    Proven,
}

impl Trust {
    /// Trust in the other end of a dial, before its answer.
    pub(crate) fn before_http() -> Self {
        Self(Rc::new(Cell::new(TrustStage::Http)))
    }

    /// Trust in a newcomer that sends frames.
    pub(crate) fn in_newcomer() -> Self {
        Self(Rc::new(Cell::new(TrustStage::Newcomer)))
    }

    /// The HTTP handshake is done.
    pub(crate) fn frames_follow(&self) {
        self.0.set(TrustStage::Newcomer);
    }

    /// The other end has proven itself.
    pub(crate) fn is_proven(&self) {
        self.0.set(TrustStage::Proven);
    }
}

impl<S> Watched<S> {
    pub(crate) fn new(stream: S, trust: Trust) -> Self {
        Self {
            stream,
            trust,
            read: 0,
            boundary: Boundary::default(),
        }
    }

    /// Looks at bytes that came.
    ///
    /// # Errors
    ///
    /// If a newcomer does not send so much.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.trust.0.get() {
            TrustStage::Proven => return Ok(()),
            TrustStage::Newcomer => self.boundary.pass(bytes),
            TrustStage::Http => {}
        }
        self.read = self.read.saturating_add(bytes.len());
        let announced = self.boundary.largest() > NEWCOMER_BYTES as u64;
        if announced || self.read > NEWCOMER_BYTES {
            let why = "more than a peer says before its proof";
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.pass(&buffer[..read])?;
        Poll::Ready(Ok(read))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header of a masked binary frame of 64 MiB.
    const HUGE: [u8; 10] = [0x82, 0xff, 0, 0, 0, 0, 4, 0, 0, 0];

    /// H10: a stranger cannot have memory set aside for what it announces.
    #[test]
    fn a_newcomer_that_announces_much_is_refused_by_the_header() {
        let mut watched = Watched::new((), Trust::in_newcomer());
        assert!(watched.pass(&[0x82, 2, 0, 0]).is_ok());
        assert!(watched.pass(&HUGE).is_err());
    }

    #[test]
    fn a_newcomer_that_sends_much_in_small_frames_is_refused() {
        let mut watched = Watched::new((), Trust::in_newcomer());
        let frame = [0x02, 2, 0, 0];
        let taken = (0..NEWCOMER_BYTES).take_while(|_| watched.pass(&frame).is_ok());
        assert_eq!(taken.count(), NEWCOMER_BYTES / frame.len());
    }

    #[test]
    fn a_member_may_send_what_it_likes() {
        let trust = Trust::before_http();
        let mut watched = Watched::new((), trust.clone());
        assert!(
            watched
                .pass(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
                .is_ok()
        );
        trust.frames_follow();
        assert!(watched.pass(&[0x82, 1, 0]).is_ok());
        trust.is_proven();
        assert!(watched.pass(&HUGE).is_ok());
        assert!(watched.pass(&[0; 2 * NEWCOMER_BYTES]).is_ok());
    }
}
