//! Terminals whose connections are event streams, as an HTTP client reads them.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use futures_channel::mpsc::{self, UnboundedReceiver};
use futures_util::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _, future};
use hyper::Request;
use switchboard_driver::core::config::SlowConsumer;
use switchboard_driver::core::event::Disconnected;
use switchboard_driver::core::frame::CloseCode;
use switchboard_driver::runtime::Runtime;
use switchboard_driver::{
    Builder, Events, Handle, Login, Payload, Server, Settings, TerminalEvent,
};
use switchboard_http::auth::Open;
use ureq::Agent;

use crate::embedding::{event, push, push_of, user};
use crate::in_time;

pub async fn an_event_stream_gets_what_is_pushed_and_is_told_its_end<R: Runtime>() {
    let mut server = server::<R>(settings()).await;
    let mut events = server.events().expect("they were asked for");
    let handle = server.handle();
    let mut stream = Stream::open::<R>(&server, "ann").await;
    let connected = event::<R>(&mut events).await;
    assert!(matches!(connected, TerminalEvent::Connected { .. }));

    let binary = Payload::binary(vec![0, 255].into());
    let many_lines = vec!["a line of a large text"; 20_000];
    for push in [
        push("ann", "one line"),
        push("ann", "two\nlines"),
        push_of("ann", binary),
        push("ann", &many_lines.join("\r\n")),
    ] {
        let receipt = handle.push(push).await.expect("accepted");
        assert_eq!(receipt.counts.written, 1);
    }
    assert_eq!(stream.next::<R>().await, ["data: one line"]);
    assert_eq!(stream.next::<R>().await, ["data: two", "data: lines"]);
    let binary = ["event: binary", "data: AP8="];
    assert_eq!(stream.next::<R>().await, binary);
    let large = stream.next::<R>().await;
    assert_eq!(large.len(), many_lines.len());
    let is_whole = |line: &String| line.strip_prefix("data: ") == Some(many_lines[0]);
    assert!(large.iter().all(is_whole));

    let kicked = handle.kick(user("ann"), None).await.expect("accepted");
    assert_eq!(kicked.terminals.len(), 1);
    let close = ["event: close", r#"data: {"code":4001,"reason":"kicked"}"#];
    assert_eq!(stream.next::<R>().await, close);
    assert_eq!(stream.ended::<R>().await, None);
    assert_eq!(
        disconnected::<R>(&mut events).await,
        Disconnected::ByServer(CloseCode::Kicked)
    );
}

/// H53: a drain tells event streams as well.
pub async fn an_event_stream_is_told_that_its_server_ends<R: Runtime>() {
    let server = server::<R>(settings()).await;
    let mut stream = Stream::open::<R>(&server, "ann").await;
    let told = async {
        let close = stream.next::<R>().await;
        (close, stream.ended::<R>().await)
    };
    let drained = server.drain(Duration::ZERO, Duration::ZERO);
    let ((), (close, end)) = future::join(drained, told).await;
    let data = r#"data: {"code":1012,"reason":"service restart"}"#;
    assert_eq!(close, ["event: close", data]);
    assert_eq!(end, None);
}

/// A stream that answers nothing is not taken for dead.
pub async fn an_event_stream_lives_as_long_as_its_pings_arrive<R: Runtime>() {
    let mut settings = settings();
    settings.core.ping_interval = Duration::from_secs(1);
    settings.core.ping_timeout = Duration::from_millis(200);
    let server = server::<R>(settings).await;
    let mut stream = Stream::open::<R>(&server, "ann").await;
    for _ in 0..3 {
        assert_eq!(stream.next::<R>().await, [":"]);
    }
    let receipt = server.handle().push(push("ann", "still here")).await;
    assert_eq!(receipt.expect("accepted").counts.written, 1);
}

pub async fn an_event_stream_that_is_left_is_gone<R: Runtime>() {
    let mut server = server::<R>(settings()).await;
    let mut events = server.events().expect("they were asked for");
    let mut stream = raw::<R>(&server).await;
    let connected = event::<R>(&mut events).await;
    assert!(matches!(connected, TerminalEvent::Connected { .. }));
    // A socket that is dropped with unread bytes is reset: what stands before the hello, and the hello.
    for _ in 0..2 {
        read_to::<R>(&mut stream, "\n\n").await;
    }
    drop(stream);
    let reason = disconnected::<R>(&mut events).await;
    assert_eq!(reason, Disconnected::ByTerminal);
    let listed = server.handle().connections(user("ann")).await;
    assert!(listed.expect("accepted").connections.is_empty());
}

/// A client that ends its side of the connection has left.
pub async fn an_event_stream_whose_client_ends_its_side_ends<R: Runtime>() {
    let mut server = server::<R>(settings()).await;
    let mut events = server.events().expect("they were asked for");
    let mut stream = raw::<R>(&server).await;
    let connected = event::<R>(&mut events).await;
    assert!(matches!(connected, TerminalEvent::Connected { .. }));
    stream.close().await.expect("it is open");
    let reason = disconnected::<R>(&mut events).await;
    assert_eq!(reason, Disconnected::ByTerminal);
    let mut rest = Vec::new();
    let ended = in_time::<R, _>(stream.read_to_end(&mut rest)).await;
    ended.expect("it is not reset");
}

/// H27: a ping that waits behind what the other end does not take is not answered.
pub async fn an_event_stream_that_takes_nothing_more_ends_by_its_ping<R: Runtime>() {
    let mut settings = settings();
    settings.core.slow_consumer = SlowConsumer::DropNewest;
    settings.core.ping_interval = Duration::from_millis(500);
    settings.core.ping_timeout = Duration::from_millis(200);
    settings.core.close_timeout = Duration::from_millis(200);
    let mut server = server::<R>(settings).await;
    let mut events = server.events().expect("they were asked for");
    let _unread = raw::<R>(&server).await;
    let connected = event::<R>(&mut events).await;
    assert!(matches!(connected, TerminalEvent::Connected { .. }));
    let handle = server.handle();
    let flood = flood(&handle, Payload::from("x".repeat(500_000)));
    let ((), reason) = future::join(in_time::<R, _>(flood), disconnected::<R>(&mut events)).await;
    assert_eq!(reason, Disconnected::ByServer(CloseCode::PingTimeout));
}

/// H23: whoever does not read is closed.
pub async fn an_event_stream_that_is_not_read_is_closed_as_slow<R: Runtime>() {
    let mut settings = settings();
    settings.core.slow_consumer = SlowConsumer::Close;
    settings.core.push_bytes = 64 << 10;
    settings.core.queue_bytes = 128 << 10;
    settings.core.close_timeout = Duration::from_millis(200);
    let mut server = server::<R>(settings).await;
    let mut events = server.events().expect("they were asked for");
    let _unread = raw::<R>(&server).await;
    let connected = event::<R>(&mut events).await;
    assert!(matches!(connected, TerminalEvent::Connected { .. }));
    let handle = server.handle();
    let flood = flood(&handle, Payload::from("x".repeat(60_000)));
    let ((), reason) = future::join(in_time::<R, _>(flood), disconnected::<R>(&mut events)).await;
    assert_eq!(reason, Disconnected::ByServer(CloseCode::SlowConsumer));
}

pub async fn what_asks_for_an_event_stream_is_refused_like_a_handshake<R: Runtime>() {
    let mut settings = settings();
    settings.process.origins = vec!["https://listed.example".to_owned()];
    let server = server::<R>(settings).await;
    let address = server.terminals_addr().expect("it listens");
    let own = format!("http://{address}");
    let own = format!("Origin: {own}\r\n");
    let two = format!("{own}{own}");
    let ann = "GET /connect?user=ann";
    // A request, its headers, its status, and whether a page of the server's own host may read the answer.
    let cases = [
        (ann, "Origin: https://a.example\r\n", 403, false),
        (ann, "Origin: null\r\n", 403, false),
        (ann, &two, 403, false),
        (ann, &own, 200, true),
        (ann, "Origin: https://listed.example\r\n", 200, false),
        (ann, "", 200, false),
        (ann, "Sec-Fetch-Mode: no-cors\r\n", 400, false),
        (ann, "Cookie: session=7\r\n", 400, false),
        (ann, "Connection: Upgrade\r\nUpgrade: h2c\r\n", 200, false),
        ("GET /connect", "", 400, false),
        ("GET /connect", &own, 400, true),
        ("GET /other?user=ann", &own, 404, false),
        ("POST /connect?user=ann", &own, 405, false),
    ];
    for (line, headers, expected, may_read) in cases {
        let head = answer::<R>(address, line, headers).await;
        let status = format!("HTTP/1.1 {expected} ");
        assert!(head.starts_with(&status), "{line} {headers}{head}");
        let allowed = format!("access-control-allow-{}", own.to_lowercase());
        assert_eq!(head.contains(&allowed), may_read, "{line} {headers}{head}");
    }

    // Another HTTP server does not give up the connection.
    let request = Request::get("/live").header("accept", "text/event-stream");
    let login = Login::new(user("bob"));
    let request = request.body(()).expect("a request");
    let refused = server.handle().connect(request, login).await;
    assert_eq!(refused.status(), 400);
}

/// H08: a page learns why it is refused, and when to come back; what was refused takes no place.
pub async fn a_page_may_read_that_there_is_no_room_for_its_event_stream<R: Runtime>() {
    let mut settings = settings();
    settings.core.connections = 2;
    settings.core.connections_per_user = 1;
    let mut server = server::<R>(settings).await;
    let mut events = server.events().expect("they were asked for");
    let address = server.terminals_addr().expect("it listens");
    let origin = format!("Origin: http://{address}\r\n");
    let refused = async |user: &str, expected: u16| {
        let line = format!("GET /connect?user={user}");
        let head = answer::<R>(address, &line, &origin).await;
        let status = format!("HTTP/1.1 {expected} ");
        assert!(head.starts_with(&status), "{head}");
        for header in [
            "retry-after: ",
            "access-control-expose-headers: retry-after\r\n",
            &format!("access-control-allow-origin: http://{address}\r\n"),
        ] {
            assert!(head.contains(header), "{header}: {head}");
        }
    };
    let ann = raw::<R>(&server).await;
    for _ in 0..3 {
        refused("ann", 429).await;
    }
    let _bob = Stream::open::<R>(&server, "bob").await;
    for _ in 0..3 {
        refused("carol", 503).await;
    }
    for _ in 0..2 {
        let connected = event::<R>(&mut events).await;
        assert!(matches!(connected, TerminalEvent::Connected { .. }));
    }
    drop(ann);
    disconnected::<R>(&mut events).await;
    let place = async {
        let line = "GET /connect?user=carol";
        while !answer::<R>(address, line, &origin)
            .await
            .starts_with("HTTP/1.1 200 ")
        {}
    };
    in_time::<R, _>(place).await;
}

/// The head of the answer to a request for an event stream.
async fn answer<R: Runtime>(address: SocketAddr, line: &str, headers: &str) -> String {
    let mut stream = R::dial(address.to_string()).await.expect("it connects");
    let request =
        format!("{line} HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n{headers}\r\n");
    head::<R>(&mut stream, &request).await
}

/// Pushes this to ann until she has no terminal any more.
async fn flood(handle: &Handle, large: Payload) {
    loop {
        let mut push = push_of("ann", large.clone());
        push.deadline = Duration::from_millis(100);
        let receipt = handle.push(push).await.expect("accepted");
        if receipt.terminals.is_empty() {
            return;
        }
    }
}

fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.process.listen = Some((Ipv4Addr::LOCALHOST, 0).into());
    settings
}

async fn server<R: Runtime>(settings: Settings) -> Server {
    let builder = Builder::<R>::default().settings(settings);
    let server = builder.authenticator(Open).events(16).start().await;
    server.expect("it starts")
}

async fn disconnected<R: Runtime>(events: &mut Events) -> Disconnected {
    match event::<R>(events).await {
        TerminalEvent::Disconnected { reason, .. } => reason,
        other => panic!("disconnected comes last: {other:?}"),
    }
}

/// The lines of events, as they come to an HTTP client.
struct Stream(UnboundedReceiver<Vec<String>>);

impl Stream {
    /// Opens one, and reads the hello, before which stands when a browser may come again.
    async fn open<R: Runtime>(server: &Server, name: &str) -> Self {
        let address = server.terminals_addr().expect("it listens");
        let url = format!("http://{address}/connect?user={name}");
        let (events, came) = mpsc::unbounded();
        thread::spawn(move || {
            let request = Agent::new_with_defaults().get(url);
            let answer = request.header("accept", "text/event-stream").call();
            let answer = answer.expect("it is accepted");
            assert_eq!(answer.headers()["content-type"], "text/event-stream");
            let lines = BufReader::new(answer.into_body().into_reader()).lines();
            let mut event = Vec::new();
            for line in lines {
                match line.expect("the end comes between events") {
                    // If the test has ended, nobody reads it.
                    end if end.is_empty() => {
                        drop(events.unbounded_send(std::mem::take(&mut event)))
                    }
                    line => event.push(line),
                }
            }
        });
        let mut stream = Self(came);
        let [retry] = &stream.next::<R>().await[..] else {
            panic!("a line");
        };
        assert!(retry.starts_with("retry: "), "{retry}");
        let [hello] = &stream.next::<R>().await[..] else {
            panic!("a line");
        };
        let text = r#"data: {"switchboard":{"hello":"#;
        assert!(hello.starts_with(text), "{hello}");
        stream
    }

    async fn next<R: Runtime>(&mut self) -> Vec<String> {
        self.ended::<R>().await.expect("an event")
    }

    async fn ended<R: Runtime>(&mut self) -> Option<Vec<String>> {
        in_time::<R, _>(self.0.next()).await
    }
}

/// A stream of ann's that is read up to its head.
pub(crate) async fn raw<R: Runtime>(server: &Server) -> R::Stream {
    let address = server.terminals_addr().expect("it listens");
    let mut stream = R::dial(address.to_string()).await.expect("it connects");
    let request = request_of_ann(address);
    let head = head::<R>(&mut stream, &request).await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    stream
}

/// As HTTP/1.0, which some proxies speak.
fn request_of_ann(address: SocketAddr) -> String {
    format!(
        "GET /connect?user=ann HTTP/1.0\r\nHost: {address}\r\nAccept: text/event-stream\r\n\r\n"
    )
}

async fn head<R: Runtime>(stream: &mut R::Stream, request: &str) -> String {
    let written = stream.write_all(request.as_bytes()).await;
    written.expect("it is open");
    read_to::<R>(stream, "\r\n\r\n").await
}

pub(crate) async fn read_to<R: Runtime>(stream: &mut R::Stream, end: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        let mut byte = [0];
        let came = in_time::<R, _>(stream.read_exact(&mut byte)).await;
        came.expect("more");
        read.extend(byte);
    }
    String::from_utf8(read).expect("a text")
}
