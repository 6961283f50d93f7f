//! The stream of a connection as hyper reads and writes it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use hyper::rt::{Read, ReadBufCursor, Write};

use crate::read_buffer;

/// A stream for hyper.
pub(crate) struct Served<S>(S);

impl<S> Served<S> {
    pub(crate) const fn new(stream: S) -> Self {
        Self(stream)
    }

    /// The stream itself.
    pub(crate) fn into_inner(self) -> S {
        self.0
    }
}

impl<S: AsyncRead + Unpin> Read for Served<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        read_buffer::with(|buffer| {
            let most = into.remaining().min(buffer.len());
            let read = ready!(Pin::new(&mut self.0).poll_read(cx, &mut buffer[..most]))?;
            into.put_slice(&buffer[..read]);
            Poll::Ready(Ok(()))
        })
    }
}

impl<S: AsyncWrite + Unpin> Write for Served<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use futures_util::io::Cursor;
    use hyper::rt::ReadBuf;

    use super::*;
    use crate::read_buffer::READ;

    /// What is left of a body that is longer than the thread's buffer comes with the next reading; its end is nothing.
    #[test]
    fn what_is_read_is_as_much_as_there_is_room_for() {
        let body: Vec<u8> = (0..READ + 100).map(|at| at as u8).collect();
        let mut served = Served::new(Cursor::new(body.clone()));
        let mut read = |room: usize| {
            let mut bytes = vec![0; room];
            let mut into = ReadBuf::new(&mut bytes);
            let mut cx = Context::from_waker(Waker::noop());
            let polled = Pin::new(&mut served).poll_read(&mut cx, into.unfilled());
            assert!(matches!(polled, Poll::Ready(Ok(()))));
            into.filled().to_vec()
        };
        let all = [read(7), read(READ * 2), read(READ)];
        assert_eq!(all.each_ref().map(Vec::len), [7, READ, 93]);
        assert_eq!(all.concat(), body);
        assert!(read(READ).is_empty());
    }
}
