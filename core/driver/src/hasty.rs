//! For tests: a runtime that never waits.

use std::cell::{Cell, RefCell};
use std::future::{Future, Ready, pending, ready};
use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};

use crate::runtime::Runtime;

/// More clients than an accept loop may take in one go.
const CLIENTS: usize = 10_000;

/// What the operating system says then.
const EMFILE: i32 = 24;

/// What becomes of clients of a runtime that never waits.
#[derive(Clone, Copy)]
pub(crate) enum Clients {
    /// They have gone before they are accepted.
    Gone,
    /// There is no descriptor for them.
    Refused,
}

impl Clients {
    /// A listener at which they arrive without end.
    pub(crate) fn arriving(self) -> Arriving {
        Arriving {
            clients: self,
            count: Cell::default(),
        }
    }
}

/// A listener, and how many have come.
pub(crate) struct Arriving {
    clients: Clients,
    count: Cell<usize>,
}

thread_local! {
    static PAUSES: RefCell<Vec<Duration>> = const { RefCell::new(Vec::new()) };
    static DIALLED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// A runtime whose timers and tasks end at once, and whose clients are never accepted.
pub(crate) struct Hasty;

impl Hasty {
    /// How long something was to sleep on this thread, each time.
    pub(crate) fn pauses() -> Vec<Duration> {
        PAUSES.take()
    }

    /// What was dialled on this thread.
    pub(crate) fn dialled() -> Vec<String> {
        DIALLED.take()
    }
}

impl Runtime for Hasty {
    type Stream = Stuck;
    type Listener = Arriving;
    type Sleep = Ready<()>;

    fn run<F: Future<Output = ()>>(_: F) -> io::Result<()> {
        unreachable!("nothing is run")
    }

    /// Tasks end before they begin.
    fn spawn(_: impl Future<Output = ()> + 'static) {}

    fn sleep(time: Duration) -> Ready<()> {
        PAUSES.with_borrow_mut(|pauses| pauses.push(time));
        ready(())
    }

    fn listen(_: TcpListener) -> io::Result<Arriving> {
        Ok(Clients::Gone.arriving())
    }

    /// Counts clients in the listener.
    async fn accept(listener: &Arriving) -> io::Result<(TcpStream, SocketAddr)> {
        let count = listener.count.get() + 1;
        listener.count.set(count);
        assert!(count < CLIENTS, "nobody else on the thread gets a turn");
        Err(match listener.clients {
            Clients::Gone => io::ErrorKind::ConnectionAborted.into(),
            Clients::Refused => io::Error::from_raw_os_error(EMFILE),
        })
    }

    fn adopt(_: TcpStream) -> io::Result<Stuck> {
        unreachable!("there are no sockets")
    }

    fn release(_: Stuck) -> io::Result<TcpStream> {
        unreachable!("there are no sockets")
    }

    fn try_write(_: &Stuck, _: &[IoSlice<'_>]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn unacknowledged(_: &Stuck) -> Option<usize> {
        None
    }

    /// Nobody answers.
    async fn dial(address: String) -> io::Result<Stuck> {
        DIALLED.with_borrow_mut(|dialled| dialled.push(address));
        pending().await
    }
}

/// A stream that has a few bytes to read, and takes none.
pub(crate) struct Stuck {
    pub(crate) unread: usize,
}

impl AsyncRead for Stuck {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match std::mem::take(&mut self.unread) {
            0 => Poll::Pending,
            read => Poll::Ready(Ok(read)),
        }
    }
}

impl AsyncWrite for Stuck {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
