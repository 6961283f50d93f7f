//! The beginning of a connection: what comes of its first request is gathered until hyper can act on
//! it. A socket that says little, or nothing, costs as much as it has said, and not the buffers that
//! a request is served with.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::future::poll_fn;

use crate::permits::{ByteBudget, Spent};
use crate::task::Portion;

/// What is read at once. Most heads are smaller.
const READ: usize = 2 << 10;

/// What has come of a connection, while it is not enough.
#[derive(Default)]
pub(crate) struct Beginning {
    gathered: Vec<u8>,
    held: Option<Spent>,
}

/// Why a connection does not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// It has ended.
    Ended,
    /// All that is not complete is too much together.
    Crowded,
}

impl Beginning {
    /// Reads once. Returns whether hyper can act on what has come: on the head of a request, on what
    /// is none, on the end of the stream, or on more than a head may have.
    pub(crate) async fn read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        limit: usize,
        room: &Arc<ByteBudget>,
    ) -> Result<bool, Over> {
        poll_fn(|cx| {
            let mut buffer = [0; READ];
            let read = match ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer)) {
                Ok(0) if self.gathered.is_empty() => return Poll::Ready(Err(Over::Ended)),
                Ok(0) => return Poll::Ready(Ok(true)),
                Ok(read) => read,
                Err(_) => return Poll::Ready(Err(Over::Ended)),
            };
            if self.is_enough_with(&buffer[..read], limit) {
                return Poll::Ready(Ok(true));
            }
            match self.hold(read, room) {
                true => Poll::Ready(Ok(false)),
                false => Poll::Ready(Err(Over::Crowded)),
            }
        })
        .await
    }

    /// Reads until it is enough.
    pub(crate) async fn read_all<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        limit: usize,
        room: &Arc<ByteBudget>,
    ) -> Result<(), Over> {
        let mut portion = Portion::default();
        while !self.read(stream, limit, room).await? {
            poll_fn(|cx| portion.poll_take(cx)).await;
        }
        Ok(())
    }

    /// Gathers what has come. A head is looked at from its beginning, so that is done at the first bytes,
    /// which tell what is no request, and where a line ends, and not for each byte of whoever sends one
    /// by one.
    fn is_enough_with(&mut self, came: &[u8], limit: usize) -> bool {
        let look = self.gathered.is_empty() || came.contains(&b'\n');
        self.gathered.extend_from_slice(came);
        (look && !is_part_of_head(&self.gathered)) || self.gathered.len() >= limit
    }

    /// Takes room for some more of it.
    fn hold(&mut self, bytes: usize, room: &Arc<ByteBudget>) -> bool {
        match &mut self.held {
            Some(held) => held.grow(bytes),
            none => {
                *none = room.try_take(bytes);
                none.is_some()
            }
        }
    }

    /// The stream from its beginning.
    pub(crate) fn put_back<S>(self, stream: S) -> Begun<S> {
        Begun {
            unread: self.gathered.into(),
            stream,
        }
    }
}

/// Header fields that are looked at. If there are more, hyper says what it thinks.
const FIELDS: usize = 100;

/// Whether these bytes begin the head of a request, and do not end it.
fn is_part_of_head(bytes: &[u8]) -> bool {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let parsed = httparse::Request::new(&mut fields).parse(bytes);
    parsed.is_ok_and(|status| status.is_partial())
}

/// A stream of which something was read and put back.
pub(crate) struct Begun<S> {
    unread: Bytes,
    stream: S,
}

impl<S> Begun<S> {
    /// What was put back and is not read again yet, and the stream.
    pub(crate) fn into_parts(self) -> (Bytes, S) {
        (self.unread, self.stream)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let read = self.unread.len().min(buffer.len());
        self.unread.copy_to_slice(&mut buffer[..read]);
        if self.unread.is_empty() {
            self.unread = Bytes::new();
        }
        Poll::Ready(Ok(read))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<S> {
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
    use futures_util::io::{AsyncReadExt as _, Cursor};
    use futures_util::{FutureExt as _, TryFutureExt as _};

    use super::*;

    #[test]
    fn hyper_is_given_whole_heads_and_whatever_will_never_be_one() {
        let cases: [(&[u8], bool); 6] = [
            (b"GET / HTTP/1.1\r\n\r\n", true),
            (b"GET / HTTP/1.1\n\n", true),
            (b"GET / HTTP/1.1\r\n\r\nmore", true),
            (b"GET / HT", true), // and then the end
            (b"", false),
            (&[b'x'; 100], true),
        ];
        for (sent, begins) in cases {
            let mut beginning = Beginning::default();
            let mut stream = Cursor::new(sent);
            let room = ByteBudget::new(1000);
            let read = beginning
                .read_all(&mut stream, 50, &room)
                .now_or_never()
                .expect("it never waits");
            assert_eq!(read, if begins { Ok(()) } else { Err(Over::Ended) });
            let mut again = Vec::new();
            beginning
                .put_back(stream)
                .read_to_end(&mut again)
                .map_err(|error| panic!("{error}"))
                .now_or_never();
            assert_eq!(again, sent);
        }
    }

    #[test]
    fn what_is_no_request_is_not_waited_for() {
        let enough = |sent: &[u8]| {
            let mut beginning = Beginning::default();
            let mut stream = Cursor::new(sent);
            let read = beginning
                .read(&mut stream, 1000, &ByteBudget::new(1000))
                .now_or_never();
            read == Some(Ok(true))
        };
        let tls = [0x16, 3, 1, 2, 0, 1];
        assert!(enough(&tls));
        assert!(enough(b"GET / HTTP/9.9\r\nHost: x\r\n"));
        assert!(!enough(b"GET / HTTP/1.1\r\nHost: x\r\n"));
    }

    #[test]
    fn a_head_that_comes_byte_by_byte_is_enough_with_its_last_one() {
        let head = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        let room = ByteBudget::new(head.len());
        let mut beginning = Beginning::default();
        let reads = head.iter().map(|byte| {
            let mut stream = Cursor::new([*byte]);
            let read = beginning.read(&mut stream, 1000, &room).now_or_never();
            read == Some(Ok(true))
        });
        let enough: Vec<_> = reads.collect();
        assert_eq!(
            enough.iter().position(|&enough| enough),
            Some(head.len() - 1)
        );
        // All of it is held, and given back.
        assert!(room.try_take(2).is_none());
        drop(beginning);
        assert!(room.try_take(head.len()).is_some());
    }

    /// H10: heads that never end take no more than there is for all of them together.
    #[test]
    fn heads_that_are_not_complete_share_a_room() {
        let room = ByteBudget::new(20);
        let mut first = Beginning::default();
        let mut second = Beginning::default();
        let read = |beginning: &mut Beginning| {
            let mut stream = Cursor::new(&b"GET / HTTP/1.1\r\n"[..]);
            beginning.read(&mut stream, 100, &room).now_or_never()
        };
        assert_eq!(read(&mut first), Some(Ok(false)));
        assert_eq!(read(&mut second), Some(Err(Over::Crowded)));
        drop(first);
        let mut third = Beginning::default();
        assert_eq!(read(&mut third), Some(Ok(false)));
    }
}
