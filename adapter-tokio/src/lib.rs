//! Switchboard on tokio: pushes messages to people's terminals over WebSockets, across many server
//! instances.
//!
//! Everything but the runtime itself is [`switchboard_driver`]'s, and is re-exported here; with the feature
//! `http`, so are the HTTP API and the authenticators of `switchboard-http`.
//!
#![cfg_attr(feature = "http", doc = "```no_run")]
#![cfg_attr(not(feature = "http"), doc = "```ignore")]
//! use switchboard_tokio::auth::Open;
//! use switchboard_tokio::{Audience, Payload, Push, Settings, UserId, new_push_id};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let mut settings = Settings::default();
//! settings.process.listen = Some("127.0.0.1:8080".parse()?);
//! let server = switchboard_tokio::builder().settings(settings).authenticator(Open).start().await?;
//! let alice = Audience::User(UserId::new("alice")?);
//! let push = Push::new(new_push_id(), alice, Payload::text("hi".into())?);
//! let receipt = server.handle().push(push).await?;
//! println!("{} terminals got it", receipt.counts.written);
//! server.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! The server starts threads of its own, each with a single-threaded tokio runtime. The caller may
//! be in any runtime, or in none.

use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use switchboard_driver::runtime::Runtime;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

pub use switchboard_driver::*;
#[cfg(feature = "http")]
pub use switchboard_http::{AccessCheck, Api, ApiConfig, ApiSettings, auth};

/// The tokio runtime: one `LocalRuntime` for each instance.
#[derive(Debug)]
pub enum TokioRuntime {}

/// A server on tokio.
pub fn builder() -> Builder<TokioRuntime> {
    Builder::default()
}

impl Runtime for TokioRuntime {
    type Stream = Compat<tokio::net::TcpStream>;
    type Listener = tokio::net::TcpListener;
    type Sleep = tokio::time::Sleep;

    fn run<F: Future<Output = ()>>(main: F) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(tokio::runtime::LocalOptions::default())?;
        runtime.block_on(main);
        // A name that is being looked up is not waited for.
        runtime.shutdown_background();
        Ok(())
    }

    fn spawn(task: impl Future<Output = ()> + 'static) {
        tokio::task::spawn_local(task);
    }

    fn sleep(time: Duration) -> Self::Sleep {
        tokio::time::sleep(time)
    }

    fn listen(listener: TcpListener) -> io::Result<Self::Listener> {
        tokio::net::TcpListener::from_std(listener)
    }

    async fn accept(listener: &Self::Listener) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, address) = listener.accept().await?;
        Ok((stream.into_std()?, address))
    }

    fn adopt(socket: TcpStream) -> io::Result<Self::Stream> {
        Ok(tokio::net::TcpStream::from_std(socket)?.compat())
    }

    fn release(stream: Self::Stream) -> io::Result<TcpStream> {
        stream.into_inner().into_std()
    }

    fn try_write(stream: &Self::Stream, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        stream.get_ref().try_write_vectored(parts)
    }

    fn unacknowledged(stream: &Self::Stream) -> Option<usize> {
        runtime::unacknowledged(stream.get_ref())
    }

    async fn dial(address: String) -> io::Result<Self::Stream> {
        let stream = tokio::net::TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream.compat())
    }
}

/// Compiles the example of the README with the tests.
#[cfg(all(doctest, feature = "http"))]
#[doc = include_str!("../../README.md")]
enum Readme {}
