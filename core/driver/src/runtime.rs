//! What a runtime must provide, and nothing else differs between adapters.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use pin_project_lite::pin_project;

#[cfg(any(target_os = "linux", target_os = "android"))]
use std::os::fd::{AsFd, AsRawFd as _};

/// An asynchronous runtime, as a type: it has no value, because every function is called on a
/// thread that [`Runtime::run`] entered, and finds its runtime there.
///
/// The driver runs each instance on a thread of its own. Everything that belongs to the instance,
/// its sockets, its timer and its tasks, stays on that thread, so tasks need not be `Send`.
///
/// Sockets cross threads as those of the standard library: [`Runtime::accept`] hands them out, and
/// [`Runtime::adopt`] takes them into the runtime of the thread that is to serve them.
pub trait Runtime: Send + Sync + 'static {
    /// A TCP stream that is registered with the runtime of the thread. To close it is to end what the
    /// other end reads (`shutdown` of the writing half); it can be read until it is dropped.
    /// To poll its reading polls no other stream of the driver: all streams of a thread read through one buffer.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// A listener that is registered with the runtime of the thread.
    type Listener: 'static;
    /// A timer: it is ready when its moment has come.
    type Sleep: Future<Output = ()> + Send + Sync + 'static;

    /// Runs a future, and all that it spawns, on the calling thread until the future ends. The future does
    /// nothing but wait most of the time: what is busy is spawned.
    /// Tasks that are left then are dropped.
    ///
    /// # Errors
    ///
    /// If the runtime cannot be set up.
    fn run<F: Future<Output = ()>>(main: F) -> io::Result<()>;

    /// Starts a task on the calling thread.
    fn spawn(task: impl Future<Output = ()> + 'static);

    /// Ends after this time. It may end late, and must not end early.
    fn sleep(time: Duration) -> Self::Sleep;

    /// Registers a bound listener. It is in non-blocking mode already.
    ///
    /// # Errors
    ///
    /// If the runtime cannot take it.
    fn listen(listener: TcpListener) -> io::Result<Self::Listener>;

    /// Waits for a connection and hands it out in non-blocking mode, registered nowhere.
    fn accept(
        listener: &Self::Listener,
    ) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>>;

    /// Registers a socket in non-blocking mode.
    ///
    /// # Errors
    ///
    /// If the runtime cannot take it.
    fn adopt(socket: TcpStream) -> io::Result<Self::Stream>;

    /// Takes a socket out of the runtime, to be adopted on another thread.
    ///
    /// # Errors
    ///
    /// If the runtime cannot let go of it.
    fn release(stream: Self::Stream) -> io::Result<TcpStream>;

    /// Writes what the operating system takes at once of these parts, one behind the other, and waits for
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) while it takes nothing. Whoever wants to go on writes with
    /// the stream itself, which waits.
    fn try_write(stream: &Self::Stream, parts: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Bytes that the operating system holds for the other end, which has not acknowledged them;
    /// `None` where it does not tell. [`unacknowledged`] asks it, given the socket.
    fn unacknowledged(stream: &Self::Stream) -> Option<usize>;

    /// Resolves `host:port` and connects to it, without delay for small packets (`TCP_NODELAY`).
    fn dial(address: String) -> impl Future<Output = io::Result<Self::Stream>>;
}

/// The output of whichever ends first; the other is dropped with this. The first one is polled first.
pub fn race<T>(
    first: impl Future<Output = T>,
    second: impl Future<Output = T>,
) -> impl Future<Output = T> {
    Race { first, second }
}

pin_project! {
    // An `async fn` would have room for both twice: for what it is given, and for what it waits for.
    struct Race<A, B> {
        #[pin]
        first: A,
        #[pin]
        second: B,
    }
}

impl<T, A: Future<Output = T>, B: Future<Output = T>> Future for Race<A, B> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let race = self.project();
        match race.first.poll(cx) {
            Poll::Ready(output) => Poll::Ready(output),
            Poll::Pending => race.second.poll(cx),
        }
    }
}

/// What [`Runtime::unacknowledged`] asks for, of a TCP socket.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[expect(unsafe_code, reason = "nobody has wrapped this question yet")]
pub fn unacknowledged(socket: &impl AsFd) -> Option<usize> {
    let socket = socket.as_fd();
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open as long as it is borrowed, and for this question the kernel
    // writes an `int` to the address that it is given, and nothing else.
    let asked = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    (asked == 0).then(|| usize::try_from(bytes).ok())?
}

/// What [`Runtime::unacknowledged`] asks for: nobody tells here.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub const fn unacknowledged<S>(_: &S) -> Option<usize> {
    None
}
