//! Heads of requests that must come in time, and answers that must be taken.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};

use switchboard_core::time::Instant;

use super::beginning::Begun;
use crate::alarm::Alarm;
use crate::clock;
use crate::runtime::Runtime;

/// How long a client may take nothing of its answer. Whoever asks for more than it reads would
/// otherwise keep its place among the connections for ever.
const STALLED: Duration = Duration::from_secs(60);

/// The stream of a connection that may be idle for some time, less so in the middle of a request's head,
/// and not in that of an answer: reading fails when no head begins in time, or one that has begun is not complete
/// in time, and writing when the client takes nothing. A head of which some came with the request before it
/// is no different from none here.
pub(crate) struct Heads<R: Runtime> {
    stream: Begun<R::Stream>,
    stage: Rc<Cell<HeadStage>>,
    /// How long it may take for a head to begin.
    idle: Duration,
    /// How long a head may take that has begun.
    time: Duration,
    timer: Alarm<R>,
    stalled: Option<Pin<Box<R::Sleep>>>,
}

/// Tells a [`Heads`] where the connection is.
#[derive(Clone)]
pub(crate) struct HeadWatch(Rc<Cell<HeadStage>>);

/// Until it is dropped, a request is being answered.
pub(crate) struct Answering(Rc<Cell<HeadStage>>);

#[derive(Clone, Copy, PartialEq)]
enum HeadStage {
    /// Nothing of a request has come since then.
    Idle(Instant),
    /// Some of a head has come, since then.
    Head(Instant),
    /// A request is being answered; what comes is its body.
    Answering,
}

impl<R: Runtime> Heads<R> {
    /// Allows each head this time, and so long for it to begin.
    pub(crate) fn new(
        stream: Begun<R::Stream>,
        time: Duration,
        idle: Duration,
    ) -> (Self, HeadWatch) {
        let stage = Rc::new(Cell::new(HeadStage::Idle(clock::mono())));
        let heads = Self {
            stream,
            stage: Rc::clone(&stage),
            idle,
            time,
            timer: Alarm::default(),
            stalled: None,
        };
        (heads, HeadWatch(stage))
    }

    /// The stream without the watch over it.
    pub(crate) fn into_inner(self) -> Begun<R::Stream> {
        self.stream
    }
}

impl HeadWatch {
    /// A head is complete.
    pub(crate) fn answering(&self) -> Answering {
        self.0.set(HeadStage::Answering);
        Answering(Rc::clone(&self.0))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.set(HeadStage::Idle(clock::mono()));
    }
}

impl<R: Runtime> AsyncRead for Heads<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let heads = &mut *self;
        let read = Pin::new(&mut heads.stream).poll_read(cx, buffer);
        if read.is_ready() {
            if let HeadStage::Idle(_) = heads.stage.get() {
                heads.stage.set(HeadStage::Head(clock::mono()));
            }
            return read;
        }
        let due = match heads.stage.get() {
            HeadStage::Idle(since) => since + heads.idle,
            HeadStage::Head(since) => since + heads.time,
            HeadStage::Answering => return Poll::Pending,
        };
        heads
            .timer
            .poll_at(due, cx)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<R: Runtime> AsyncWrite for Heads<R> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let heads = &mut *self;
        let written = Pin::new(&mut heads.stream).poll_write(cx, bytes);
        if written.is_ready() {
            heads.stalled = None;
            return written;
        }
        let stalled = heads
            .stalled
            .get_or_insert_with(|| Box::pin(R::sleep(STALLED)));
        stalled
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
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
    use crate::hasty::{Hasty, Stuck};
    use crate::streams::beginning::Beginning;

    /// H10: whoever sends half a head, or takes nothing of an answer, does not stay for ever.
    #[test]
    fn a_client_may_be_idle_but_neither_in_a_head_nor_in_an_answer() {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let (mut heads, watch) = Heads::<Hasty>::new(
            Beginning::default().put_back(Stuck { unread: 1 }),
            Duration::ZERO,
            Duration::from_secs(1),
        );
        let mut read = |heads: &mut Heads<Hasty>| Pin::new(heads).poll_read(&mut cx, &mut [0; 8]);
        assert!(matches!(read(&mut heads), Poll::Ready(Ok(1))));
        assert!(matches!(read(&mut heads), Poll::Ready(Err(_))));
        let answering = watch.answering();
        assert!(
            read(&mut heads).is_pending(),
            "a body has a time of its own"
        );
        drop(answering);
        assert!(
            matches!(read(&mut heads), Poll::Ready(Err(_))),
            "between requests it has another time"
        );
        let written = Pin::new(&mut heads).poll_write(&mut cx, b"answer");
        assert!(matches!(written, Poll::Ready(Err(_))));
    }
}
