//! Switchboard on tokio.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use switchboard_driver::runtime::Runtime;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

pub use switchboard_driver::*;

/// The tokio runtime: one current-thread runtime with a `LocalSet` for each instance.
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
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        tokio::task::LocalSet::new().block_on(&runtime, main);
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

    async fn dial(address: String) -> io::Result<Self::Stream> {
        Ok(tokio::net::TcpStream::connect(address).await?.compat())
    }
}
