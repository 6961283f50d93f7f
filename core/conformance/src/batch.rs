//! Many pushes in one request, as an HTTP client sends and reads them.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use futures_util::io::{AsyncWrite, ReadHalf, WriteHalf};
use futures_util::{AsyncReadExt as _, AsyncWriteExt as _, future};
use switchboard_driver::runtime::{Runtime, race};
use switchboard_driver::{Builder, Server, Settings};
use switchboard_http::auth::Open;
use switchboard_http::{Api, ApiSettings};

use crate::event_stream::{raw, read_to};
use crate::in_time;

/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(1);

pub async fn receipts_come_while_pushes_are_still_sent<R: Runtime>() {
    let server = server::<R>().await;
    let (mut sends, mut receipts) = request::<R>(&server, "").await;
    let mut next = async || receipts.next().await.expect("a line");
    sends
        .send("{\"users\": [\"ann\"], \"text\": \"x\"}\n")
        .await;
    let first = next().await;
    assert!(first.starts_with(r#"{"line":1,"push":""#), "{first}");
    assert!(first.contains(r#""terminals":[]"#), "{first}");

    // A body may take longer than a head.
    R::sleep(HEAD * 3 / 2).await;
    // What is wrong with one push is said of that one.
    sends.send("\n{\"users\": [\"\"], \"text\"").await;
    sends.send(": \"x\"}\n{\"topics\": [\"news\"], ").await;
    let refused = next().await;
    let start = r#"{"line":3,"error":{"code":"bad_user","#;
    assert!(refused.starts_with(start), "{refused}");
    let id = "5a1c3b1e-7a53-4c0e-9a66-0a5d6b8f1f01";
    let rest = format!("\"id\": \"{id}\", \"text\": \"x\"}}");
    sends.send(&rest).await;
    sends.end().await;
    let last = next().await;
    let start = format!(r#"{{"line":4,"push":"{id}""#);
    assert!(last.starts_with(&start), "{last}");
    assert!(last.contains(r#""instances":["#), "{last}");
    assert_eq!(receipts.next().await, None);
}

pub async fn pushes_of_a_batch_keep_their_order_and_have_a_receipt_each<R: Runtime>() {
    const PUSHES: usize = 2000;
    let server = server::<R>().await;
    let mut ann = raw::<R>(&server).await;
    read_to::<R>(&mut ann, "\n\n").await;
    read_to::<R>(&mut ann, "\n\n").await;
    let (mut sends, mut receipts) = request::<R>(&server, "?deadline=30s").await;
    let send = async {
        for first in (0..PUSHES).step_by(100) {
            let mut lines = String::new();
            for number in first..first + 100 {
                let _ = writeln!(lines, "{{\"users\": [\"ann\"], \"text\": \"{number}\"}}");
            }
            sends.send(&lines).await;
        }
        sends.end().await;
    };
    let read = async {
        let mut numbers = Vec::new();
        while let Some(line) = receipts.next().await {
            assert!(line.contains(r#""written":1,"#), "{line}");
            let number = line.strip_prefix(r#"{"line":"#);
            let number = number.and_then(|rest| rest.split_once(','));
            let (number, _) = number.expect("it begins with its number");
            numbers.push(number.parse::<usize>().expect("a number"));
        }
        numbers
    };
    let arrive = async {
        for number in 0..PUSHES {
            let event = read_to::<R>(&mut ann, "\n\n").await;
            assert_eq!(event, format!("data: {number}\n\n"));
        }
    };
    let ((), mut numbers, ()) = future::join3(send, read, arrive).await;
    numbers.sort_unstable();
    let all: Vec<_> = (1..=PUSHES).collect();
    assert_eq!(numbers, all);
}

/// H54: a client that takes no receipts is not read without end.
pub async fn pushes_are_not_read_while_receipts_are_not_taken<R: Runtime>() {
    const STILL: usize = 5;
    let server = server::<R>().await;
    let (mut sends, _reads) = request::<R>(&server, "").await;
    let lines = "{\"users\": [\"ann\"], \"text\": \"x\"}\n".repeat(100);
    // More than sockets can hold, by far.
    let all = async {
        for _ in 0..100_000 {
            sends.send(&lines).await;
        }
        "all of it was read"
    };
    let stuck = async {
        let mut pushes = Vec::new();
        loop {
            R::sleep(Duration::from_millis(100)).await;
            let snapshots = server.handle().snapshots().await;
            pushes.push(snapshots[0].stats.pushes);
            let last = pushes.iter().rev().take(STILL);
            if pushes.len() > STILL && pushes[0] > 0 && last.min() == pushes.last() {
                return "it has stopped";
            }
        }
    };
    assert_eq!(race(all, stuck).await, "it has stopped");
}

async fn server<R: Runtime>() -> Server {
    let mut settings = Settings::default();
    settings.process.listen = Some((Ipv4Addr::LOCALHOST, 0).into());
    settings.process.api = Some((Ipv4Addr::LOCALHOST, 0).into());
    settings.core.handshake_timeout = HEAD;
    let api = Api::new(ApiSettings::default()).expect("it fits");
    let builder = Builder::<R>::default()
        .settings(settings)
        .authenticator(Open);
    builder.api(api).start().await.expect("it starts")
}

/// Begins a request: what its body is sent with, and what its answer is read with.
async fn request<R: Runtime>(
    server: &Server,
    query: &str,
) -> (Sends<WriteHalf<R::Stream>>, Receipts<R>) {
    let address = server.api_addr().expect("it listens");
    let stream = R::dial(address.to_string()).await.expect("it connects");
    let (reads, mut sends) = stream.split();
    let head = format!(
        "POST /v1/pushes{query} HTTP/1.1\r\nHost: {address}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let sent = sends.write_all(head.as_bytes()).await;
    sent.expect("it is open");
    let came = Vec::new();
    (Sends(sends), Receipts { reads, came })
}

/// A body, chunk by chunk.
struct Sends<W>(W);

impl<W: AsyncWrite + Unpin> Sends<W> {
    async fn send(&mut self, text: &str) {
        let chunk = format!("{:x}\r\n{text}\r\n", text.len());
        self.0
            .write_all(chunk.as_bytes())
            .await
            .expect("it is open");
    }

    async fn end(&mut self) {
        self.send("").await;
    }
}

/// The lines of an answer.
struct Receipts<R: Runtime> {
    reads: ReadHalf<R::Stream>,
    came: Vec<u8>,
}

impl<R: Runtime> Receipts<R> {
    /// The next line. `None` at the end.
    async fn next(&mut self) -> Option<String> {
        loop {
            while let Some(end) = self.came.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.came.drain(..=end).collect();
                let line = String::from_utf8(line).expect("a text");
                match line.trim_end() {
                    "0" => return None,
                    line if line.starts_with('{') => return Some(line.to_owned()),
                    // The head, and what stands between chunks. A chunk begins and ends with a line.
                    _ => {}
                }
            }
            let mut bytes = [0; 4096];
            let read = in_time::<R, _>(self.reads.read(&mut bytes)).await;
            let read = read.expect("it is open");
            assert!(read > 0, "it ends with an empty chunk");
            self.came.extend(&bytes[..read]);
        }
    }
}
