//! A server of which a part has a bug.

use std::io::{self, IoSlice};
use std::marker::PhantomData;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use switchboard_driver::runtime::Runtime;
use switchboard_driver::{Builder, Died, Server, Settings};
use switchboard_http::{Api, ApiSettings};

/// H54: a port that nobody serves any more is not there behind a server that says it is ready.
pub async fn a_server_that_can_no_longer_accept_ends<R: Runtime>() {
    let server = started::<Faulty<R, ACCEPT>>().await;
    let died = server.died().await;
    assert!(matches!(died, Died::Listeners { .. }), "{died}");
    assert!(died.to_string().contains(BUG), "{died}");
    server.shutdown().await;
}

/// H54: the same, of the sockets that are accepted.
pub async fn a_server_that_can_no_longer_serve_sockets_ends<R: Runtime>() {
    let server = started::<Faulty<R, ADOPT>>().await;
    let api = server.api_addr().expect("it listens");
    let _caller = TcpStream::connect(api).expect("it listens");
    let died = server.died().await;
    assert!(matches!(died, Died::Instance { .. }), "{died}");
    assert!(died.to_string().contains(BUG), "{died}");
    assert!(!server.handle().is_ready());
    server.shutdown().await;
}

async fn started<R: Runtime>() -> Server {
    let mut settings = Settings::default();
    settings.process.api = Some((Ipv4Addr::LOCALHOST, 0).into());
    settings.process.workers = 2;
    let api = Api::new(ApiSettings::default()).expect("it fits");
    let builder = Builder::<R>::default().settings(settings).api(api);
    let server = builder.start().await;
    server.expect("it starts")
}

const BUG: &str = "a bug of the test's own";
const ACCEPT: u8 = 0;
const ADOPT: u8 = 1;

/// A runtime with a bug in one of its functions.
struct Faulty<R, const FUNCTION: u8>(PhantomData<R>);

impl<R: Runtime, const FUNCTION: u8> Runtime for Faulty<R, FUNCTION> {
    type Stream = R::Stream;
    type Listener = R::Listener;
    type Sleep = R::Sleep;

    fn run<F: Future<Output = ()>>(main: F) -> io::Result<()> {
        R::run(main)
    }

    fn spawn(task: impl Future<Output = ()> + 'static) {
        R::spawn(task);
    }

    fn sleep(time: Duration) -> R::Sleep {
        R::sleep(time)
    }

    fn listen(listener: TcpListener) -> io::Result<R::Listener> {
        R::listen(listener)
    }

    async fn accept(listener: &R::Listener) -> io::Result<(TcpStream, SocketAddr)> {
        assert!(FUNCTION != ACCEPT, "{BUG}");
        R::accept(listener).await
    }

    fn adopt(socket: TcpStream) -> io::Result<R::Stream> {
        assert!(FUNCTION != ADOPT, "{BUG}");
        R::adopt(socket)
    }

    fn release(stream: R::Stream) -> io::Result<TcpStream> {
        R::release(stream)
    }

    fn try_write(stream: &R::Stream, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        R::try_write(stream, parts)
    }

    fn unacknowledged(stream: &R::Stream) -> Option<usize> {
        R::unacknowledged(stream)
    }

    async fn dial(address: String) -> io::Result<R::Stream> {
        R::dial(address).await
    }
}
