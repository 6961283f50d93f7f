//! An instance that is stuck: its application holds up its thread.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use hyper::http::request::Parts;
use switchboard_driver::runtime::Runtime;
use switchboard_driver::{AuthFuture, Authenticator, Builder, Settings};
use switchboard_http::auth::Open;
use switchboard_http::{Api, ApiSettings};

use crate::PATIENCE;

/// H54: readiness and metrics are answered, and say which instance does not answer.
pub async fn an_instance_that_is_stuck_is_named_and_holds_nobody_up<R: Runtime>() {
    let (let_go, held) = mpsc::channel();
    let mut settings = Settings::default();
    settings.process.listen = Some((Ipv4Addr::LOCALHOST, 0).into());
    settings.process.api = Some((Ipv4Addr::LOCALHOST, 0).into());
    settings.process.workers = 2;
    let server = Builder::<R>::default()
        .settings(settings)
        .authenticator(HeldUp(Mutex::new(held)))
        .api(Api::new(ApiSettings::default()).expect("it fits"))
        .start()
        .await;
    let server = server.expect("it starts");
    let api = server.api_addr().expect("it listens");
    ready::<R>(api).await;

    let terminals = server.terminals_addr().expect("it listens");
    let mut terminal = TcpStream::connect(terminals).expect("it listens");
    let handshake = "GET /connect?user=ann HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: \
        dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    terminal
        .write_all(handshake.as_bytes())
        .expect("it is open");
    let unready = loop {
        let answer = get(api, "/health/ready");
        if answer.starts_with("HTTP/1.1 503") {
            break answer;
        }
        R::sleep(PAUSE).await;
    };
    assert!(unready.contains(" does not answer"), "{unready}");
    let metrics = get(api, "/metrics");
    let answering: Vec<_> = (metrics.lines())
        .filter(|line| line.starts_with("switchboard_worker_answers{"))
        .filter_map(|line| line.rsplit(' ').next())
        .collect();
    assert!(
        matches!(answering[..], ["0", "1"] | ["1", "0"]),
        "{metrics}"
    );
    assert!(get(api, "/health/live").starts_with("HTTP/1.1 200"));

    let_go.send(()).expect("somebody waits");
    ready::<R>(api).await;
}

async fn ready<R: Runtime>(api: SocketAddr) {
    while !get(api, "/health/ready").starts_with("HTTP/1.1 200") {
        R::sleep(PAUSE).await;
    }
}

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Holds up the thread that asks it.
struct HeldUp(Mutex<mpsc::Receiver<()>>);

impl Authenticator for HeldUp {
    fn authenticate<'a>(&'a self, request: &'a Parts) -> AuthFuture<'a> {
        let held = self.0.lock().expect("no panic");
        held.recv_timeout(PATIENCE).expect("it is let go");
        Open.authenticate(request)
    }
}

/// The answer to a request. A connection that has come to the thread that is stuck has none: another
/// one is tried.
fn get(address: SocketAddr, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(address).expect("it listens");
        let patience = Some(PATIENCE / (2 * CONNECTIONS));
        stream.set_read_timeout(patience).expect("a socket");
        stream.write_all(request.as_bytes()).expect("it is open");
        let mut answer = String::new();
        if stream.read_to_string(&mut answer).is_ok() {
            return answer;
        }
    }
    panic!("{path} is not answered");
}

/// Connections that may have come to a thread at the moment when it stuck, at most.
const CONNECTIONS: u32 = 10;
