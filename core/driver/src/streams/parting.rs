//! How a connection parts that is not served: what is no request gets an answer with a body, and
//! whoever is still sending gets the time to read it.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use futures_io::{AsyncRead, AsyncWrite};

use super::unreadable;
use crate::runtime::Runtime;
use crate::task::Portion;

/// How long a client that has been answered may go on sending, before its connection is closed on it.
pub(crate) const LINGER: Duration = Duration::from_secs(2);

/// The stream that hyper serves. An answer of hyper's own gets a body, and closing the stream waits
/// until the client has ended it as well: a socket that is closed with unread bytes is reset, and the
/// answer may be lost with it.
pub(crate) struct Parting<R: Runtime, S> {
    stream: S,
    /// What is left of an answer that takes the place of hyper's.
    answer: Bytes,
    lingers: Option<Pin<Box<R::Sleep>>>,
}

impl<R: Runtime, S> Parting<R, S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            answer: Bytes::new(),
            lingers: None,
        }
    }

    /// The stream itself.
    pub(crate) fn into_inner(self) -> S {
        self.stream
    }
}

impl<R: Runtime, S: AsyncRead + Unpin> AsyncRead for Parting<R, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<R: Runtime, S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Parting<R, S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.answer.is_empty() {
            match unreadable::worded(bytes) {
                Some(answer) => this.answer = answer.into(),
                None => return Pin::new(&mut this.stream).poll_write(cx, bytes),
            }
        }
        while !this.answer.is_empty() {
            match ready!(Pin::new(&mut this.stream).poll_write(cx, &this.answer))? {
                0 => return Poll::Ready(Ok(0)),
                written => this.answer.advance(written),
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let timer = match &mut this.lingers {
            Some(timer) => timer,
            None => {
                ready!(Pin::new(&mut this.stream).poll_close(cx))?;
                this.lingers.insert(Box::pin(R::sleep(LINGER)))
            }
        };
        let mut portion = Portion::default();
        while timer.as_mut().poll(cx).is_pending() {
            ready!(portion.poll_take(cx));
            let mut unread = [0; 1024];
            let read = Pin::new(&mut this.stream).poll_read(cx, &mut unread);
            if !matches!(ready!(read), Ok(1..)) {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _};

    use super::*;
    use crate::hasty::{Hasty, Stuck};

    #[test]
    fn an_answer_of_hypers_own_is_written_with_a_body() {
        let bare = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
        let mut sent = futures_util::io::Cursor::new(Vec::new());
        let mut parting = Parting::<Hasty, _>::new(&mut sent);
        let written = parting.write(bare).now_or_never().expect("it never waits");
        assert_eq!(written.ok(), Some(bare.len()));
        let text = String::from_utf8(sent.into_inner()).expect("a text");
        assert!(
            text.ends_with("\"}}\n") && text.contains("bad_http"),
            "{text}"
        );
    }

    /// H10: a client that goes on sending, or never ends its side, keeps nothing.
    #[test]
    fn closing_does_not_wait_for_ever() {
        let mut parting = Parting::<Hasty, _>::new(Stuck { unread: 5 });
        assert!(parting.close().now_or_never().is_some());
        assert!(parting.read(&mut [0; 8]).now_or_never().is_some());
    }
}
