//! Heads of requests that must come in time.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};

use crate::runtime::Runtime;

/// The stream of a connection that may be idle for long, but not in the middle of a request's head:
/// reading fails when a head that has begun is not complete in time.
pub(crate) struct Heads<R: Runtime> {
    stream: R::Stream,
    stage: Rc<Cell<Stage>>,
    time: Duration,
    timer: Option<Pin<Box<R::Sleep>>>,
}

/// Tells a [`Heads`] where the connection is.
#[derive(Clone)]
pub(crate) struct HeadWatch(Rc<Cell<Stage>>);

/// Until it is dropped, a request is being answered.
pub(crate) struct Answering(Rc<Cell<Stage>>);

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    /// Nothing of a request has come.
    Idle,
    /// Some of a head has come.
    Head,
    /// A request is being answered; what comes is its body.
    Answering,
}

impl<R: Runtime> Heads<R> {
    /// Gives each head this time.
    pub(crate) fn new(stream: R::Stream, time: Duration) -> (Self, HeadWatch) {
        let stage = Rc::new(Cell::new(Stage::Idle));
        let heads = Self {
            stream,
            stage: Rc::clone(&stage),
            time,
            timer: None,
        };
        (heads, HeadWatch(stage))
    }
}

impl HeadWatch {
    /// A head is complete.
    pub(crate) fn answering(&self) -> Answering {
        self.0.set(Stage::Answering);
        Answering(Rc::clone(&self.0))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.set(Stage::Idle);
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
            if heads.stage.get() == Stage::Idle {
                heads.stage.set(Stage::Head);
                heads.timer = None;
            }
            return read;
        }
        if heads.stage.get() != Stage::Head {
            heads.timer = None;
            return Poll::Pending;
        }
        let timer = heads
            .timer
            .get_or_insert_with(|| Box::pin(R::sleep(heads.time)));
        timer
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<R: Runtime> AsyncWrite for Heads<R> {
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
