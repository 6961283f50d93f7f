//! Switchboard on smol: pushes messages to people's terminals over WebSockets, across many server
//! instances.
//!
//! Everything but the runtime itself is [`switchboard_driver`]'s, and is re-exported here; with the feature
//! `http`, so are the HTTP API and the authenticators of `switchboard-http`.
//!
#![cfg_attr(feature = "http", doc = "```no_run")]
#![cfg_attr(not(feature = "http"), doc = "```ignore")]
//! use switchboard_smol::auth::Open;
//! use switchboard_smol::{Audience, Payload, Push, Settings, UserId, new_push_id};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let mut settings = Settings::default();
//! settings.process.listen = Some("127.0.0.1:8080".parse()?);
//! let server = switchboard_smol::builder().settings(settings).authenticator(Open).start().await?;
//! let alice = Audience::User(UserId::new("alice")?);
//! let push = Push::new(new_push_id(), alice, Payload::text("hi".into())?);
//! let receipt = server.handle().push(push).await?;
//! println!("{} terminals got it", receipt.counts.written);
//! server.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! The server starts threads of its own, each with an executor of its own: what an instance starts
//! stays on the thread of that instance. The caller may be in any runtime, or in none.
//!
//! # One reactor
//!
//! smol waits for all sockets and timers of a process in one place, the reactor of `async-io`. A
//! thread that has nothing to do waits there, for the sockets of all; a thread `async-io` does while
//! none is idle. So the readiness of a socket may be noticed on another thread than its own, which
//! is then woken: no task moves, but with several workers an event can cost a wake-up more than on
//! tokio, where each worker has a reactor. A program that uses smol itself shares the reactor with
//! the server.
//!
//! Names are looked up on threads of the crate `blocking`.

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use smol::io::{AsyncRead, AsyncWrite};
use smol::{Async, LocalExecutor, Timer, future, net};
use switchboard_driver::runtime::Runtime;

pub use switchboard_driver::*;
#[cfg(feature = "http")]
pub use switchboard_http::{AccessCheck, Api, ApiConfig, ApiSettings, auth};

/// The smol runtime: one `LocalExecutor` for each instance, on the thread of that instance.
#[derive(Debug)]
pub enum SmolRuntime {}

/// A server on smol.
pub fn builder() -> Builder<SmolRuntime> {
    Builder::default()
}

/// Turns of tasks between two looks at sockets and timers, at most, while there is always a task to run. A look
/// costs five calls of the operating system. `LocalExecutor::run` looks every 200; tokio every 61.
const TURN: usize = 64;

type Executor = Rc<LocalExecutor<'static>>;

thread_local! {
    /// The executor that this thread runs.
    static EXECUTOR: RefCell<Option<Executor>> = const { RefCell::new(None) };
}

impl Runtime for SmolRuntime {
    type Stream = Stream;
    type Listener = Async<TcpListener>;
    type Sleep = Sleep;

    fn run<F: Future<Output = ()>>(main: F) -> io::Result<()> {
        let executor = Executor::default();
        let _entered = Entered::enter(&executor);
        let tasks = async {
            loop {
                for _ in 0..TURN {
                    executor.tick().await;
                }
                future::yield_now().await;
            }
        };
        smol::block_on(future::or(main, tasks));
        Ok(())
    }

    fn spawn(task: impl Future<Output = ()> + 'static) {
        let executor = EXECUTOR.with_borrow(Clone::clone);
        executor
            .expect("tasks are spawned where `run` was called")
            .spawn(task)
            .detach();
    }

    fn sleep(time: Duration) -> Self::Sleep {
        Sleep(Timer::after(time))
    }

    fn listen(listener: TcpListener) -> io::Result<Self::Listener> {
        Async::new_nonblocking(listener)
    }

    async fn accept(listener: &Self::Listener) -> io::Result<(TcpStream, SocketAddr)> {
        let (socket, address) = listener.read_with(TcpListener::accept).await?;
        socket.set_nonblocking(true)?;
        Ok((socket, address))
    }

    fn adopt(socket: TcpStream) -> io::Result<Self::Stream> {
        Async::new_nonblocking(socket).map(Stream::new)
    }

    fn release(stream: Self::Stream) -> io::Result<TcpStream> {
        stream.socket.into_inner()
    }

    fn try_write(stream: &Self::Stream, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        stream.socket.get_ref().write_vectored(parts)
    }

    fn unacknowledged(stream: &Self::Stream) -> Option<usize> {
        runtime::unacknowledged(&stream.socket)
    }

    async fn dial(address: String) -> io::Result<Self::Stream> {
        let mut error = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in net::resolve(address).await? {
            match Async::<TcpStream>::connect(address).await {
                Ok(stream) => {
                    stream.get_ref().set_nodelay(true)?;
                    return Ok(Stream::new(stream));
                }
                Err(refused) => error = refused,
            }
        }
        Err(error)
    }
}

/// A TCP stream of smol. Closing an `Async` only flushes it; this one ends what the other end reads.
///
/// An `Async` asks the operating system each time that it is polled for reading, and a terminal's task is
/// polled for many reasons. This one remembers that all was read, and asks the reactor alone.
#[derive(Debug)]
pub struct Stream {
    socket: Async<TcpStream>,
    /// Nothing is left to be read that came before the reactor says so.
    is_drained: bool,
}

impl Stream {
    const fn new(socket: Async<TcpStream>) -> Self {
        Self {
            socket,
            is_drained: false,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.is_drained {
                ready!(self.socket.poll_readable(cx))?;
                self.is_drained = false;
            }
            match self.socket.get_ref().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.is_drained = true,
                Ok(read) => {
                    // Less than there was room for is all there was. What comes later, the end of the
                    // stream too, makes the socket readable anew.
                    self.is_drained = (1..buffer.len()).contains(&read);
                    return Poll::Ready(Ok(read));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match self.socket.get_ref().shutdown(Shutdown::Write) {
            // The connection has ended in both directions already.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            shut => shut,
        })
    }
}

/// A timer of smol.
#[derive(Debug)]
pub struct Sleep(Timer);

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

/// While it lives, tasks of the thread are spawned on an executor.
struct Entered {
    left: Option<Executor>,
}

impl Entered {
    fn enter(executor: &Executor) -> Self {
        Self {
            left: EXECUTOR.replace(Some(Rc::clone(executor))),
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        EXECUTOR.set(self.left.take());
    }
}
