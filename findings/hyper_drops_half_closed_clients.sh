#!/usr/bin/env bash
# hyper's HTTP/1 server with its default settings, and a client that sends a whole request and then ends
# its writing half, as `nc -N` does and some health checks do.
#
# A good guess: the request was complete, and the client still reads: it is answered.
# What happens: if the answer is not ready at once, hyper takes the end of reading for the end of the
# client. The service's future is dropped where it waits (what it had begun stays half done), and the
# connection is closed without a byte. With `half_close(true)` it is answered.
# Seen with hyper 1.12.0, tokio 1.54.1 and hyper-util 0.1.21.
set -euo pipefail
command -v cargo >/dev/null || { echo "needed: cargo" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/src"
cat >"$work/Cargo.toml" <<'TOML'
[package]
name = "half-closed"
version = "0.0.0"
edition = "2021"

[workspace]

[dependencies]
bytes = "=1.12.2"
http-body-util = "=0.1.5"
hyper = { version = "=1.12.0", features = ["http1", "server"] }
hyper-util = { version = "=0.1.21", features = ["tokio"] }
tokio = { version = "=1.54.1", features = ["io-util", "macros", "net", "rt", "time"] }
TOML
cat >"$work/src/main.rs" <<'RUST'
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The status line that the client reads, and whether the service got to its end.
async fn ask(half_close: bool, takes: Duration) -> (String, bool) {
    static FINISHED: AtomicBool = AtomicBool::new(false);
    FINISHED.store(false, Ordering::SeqCst);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::task::spawn_local(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let service = service_fn(move |_| async move {
            if !takes.is_zero() {
                tokio::time::sleep(takes).await;
            }
            FINISHED.store(true, Ordering::SeqCst);
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("done"))))
        });
        let mut builder = http1::Builder::new();
        builder.half_close(half_close);
        let _ = builder.serve_connection(TokioIo::new(stream), service).await;
    });
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = String::new();
    let _ = client.read_to_string(&mut answer).await;
    server.await.unwrap();
    (answer.lines().next().unwrap_or("nothing").to_owned(), FINISHED.load(Ordering::SeqCst))
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    tokio::task::LocalSet::new().run_until(async {
        let (now, later) = (Duration::ZERO, Duration::from_millis(200));
        let mut seen = Vec::new();
        for (half_close, takes) in [(false, now), (false, later), (true, later)] {
            let (answer, finished) = ask(half_close, takes).await;
            println!("half_close({half_close}), ready after {takes:?}: the client reads {answer:?}, the service finished: {finished}");
            seen.push((answer, finished));
        }
        let ok = || ("HTTP/1.1 200 OK".to_owned(), true);
        assert_eq!(seen, [ok(), ("nothing".to_owned(), false), ok()], "this is not what was seen");
    }).await;
}
RUST
timeout 500 cargo build --quiet --manifest-path "$work/Cargo.toml" --target-dir "$work/target"
timeout 20 "$work/target/debug/half-closed"
