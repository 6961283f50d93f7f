//! The library as an embedder uses it: servers in one's own process, terminals over real sockets.

use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use async_tungstenite::tungstenite::Message;
use async_tungstenite::{WebSocketStream, client_async, tungstenite};
use futures_util::task::AtomicWaker;
use futures_util::{StreamExt as _, future};
use hyper::body::Incoming;
use hyper::http::header::AUTHORIZATION;
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use smol_hyper::rt::FuturesIo;
use switchboard_driver::core::config::Config;
use switchboard_driver::core::event::Disconnected;
use switchboard_driver::core::frame::CloseCode;
use switchboard_driver::runtime::Runtime;
use switchboard_driver::{
    Admission, Audience, AuthError, AuthFuture, Authenticator, Builder, CallError, ConnectBody,
    Durable, Events, Handle, LogQuery, LogRefused, Login, Payload, Push, Server, Settings,
    TerminalEvent, Until, UserId, new_push_id,
};
use switchboard_http::auth::Open;

use crate::in_time;

pub async fn servers_that_share_a_directory_are_a_cluster<R: Runtime>() {
    let [first, second] = servers::<R, 2>().await;
    let address = first.terminals_addr().expect("it listens");
    let mut terminals = Vec::new();
    for _ in 0..4 {
        terminals.push(connect::<R>(address, "/connect?user=ann").await);
    }

    let receipt = second.handle().push(push("ann", "hi")).await;
    let counts = receipt.expect("accepted").counts;
    assert_eq!((counts.written, counts.failed()), (4, 0));
    for terminal in &mut terminals {
        assert_eq!(text::<R>(terminal).await, "hi");
    }
    // An instance that has just started says that there may be others.
    let mut listed = second.handle().connections(user("ann")).await;
    while listed.as_ref().expect("accepted").degraded {
        R::sleep(Duration::from_millis(10)).await;
        listed = second.handle().connections(user("ann")).await;
    }
    assert_eq!(listed.expect("accepted").connections.len(), 4);
    // Each reads once in a while who there is.
    while second.handle().instances().await.expect("accepted").len() != 4 {
        R::sleep(Duration::from_millis(10)).await;
    }
}

pub async fn what_happens_to_a_terminal_is_told_in_order<R: Runtime>() {
    let [mut server] = servers::<R, 1>().await;
    let mut events = server.events().expect("they were asked for");
    let address = server.terminals_addr().expect("it listens");
    let mut terminal = connect::<R>(address, "/connect?user=ann").await;
    let sent = terminal.send(Message::text("I am here")).await;
    sent.expect("the terminal is connected");
    assert_eq!(
        text::<R>(&mut terminal).await,
        r#"{"switchboard":{"received":1}}"#
    );

    let TerminalEvent::Connected { connection, .. } = event::<R>(&mut events).await else {
        panic!("connected comes first");
    };
    let TerminalEvent::Message {
        user: from,
        payload,
        ..
    } = event::<R>(&mut events).await
    else {
        panic!("then the message");
    };
    assert_eq!(
        (from.as_str(), payload.bytes().as_ref()),
        ("ann", &b"I am here"[..])
    );

    let receipt = server.handle().kick(user("ann"), Some(connection)).await;
    assert_eq!(receipt.expect("accepted").terminals.len(), 1);
    let Ok(Message::Close(Some(close))) = next::<R>(&mut terminal).await else {
        panic!("a Close frame");
    };
    assert_eq!(u16::from(close.code), CloseCode::Kicked.number());
    drop(terminal);
    let TerminalEvent::Disconnected { reason, .. } = event::<R>(&mut events).await else {
        panic!("disconnected comes last");
    };
    assert_eq!(reason, Disconnected::ByServer(CloseCode::Kicked));
}

/// Whoever pushes and whoever listens learn of it; it is no message.
pub async fn a_terminal_confirms_what_it_was_told_of_its_log<R: Runtime>() {
    let [mut server] = servers::<R, 1>().await;
    let mut events = server.events().expect("they were asked for");
    let address = server.terminals_addr().expect("it listens");
    let mut terminal = connect::<R>(address, "/connect?user=ann&log=1").await;
    let push = Push {
        durable: Some(Durable {
            until: Until::Acked,
            ..Durable::default()
        }),
        deadline: Config::DEADLINE_MAX,
        ..push("ann", "hi")
    };
    let handle = server.handle();
    let confirming = async {
        let announced = text::<R>(&mut terminal).await;
        let (_, position) = announced.split_once(r#""position":""#).expect("a record");
        let position = position.split('"').next().expect("a position").to_owned();
        assert_eq!(text::<R>(&mut terminal).await, "hi");
        let ack = format!(r#"{{"switchboard":{{"ack":"{position}"}}}}"#);
        let sent = terminal.send(Message::text(ack)).await;
        sent.expect("the terminal is connected");
        position
    };
    let (receipt, confirmed) = future::join(handle.push(push), confirming).await;
    let counts = receipt.expect("accepted").counts;
    assert_eq!((counts.acked, counts.written), (1, 0));

    let TerminalEvent::Connected { connection, .. } = event::<R>(&mut events).await else {
        panic!("connected comes first");
    };
    let TerminalEvent::Acked {
        user,
        connection: of,
        position,
        topic: None,
    } = event::<R>(&mut events).await
    else {
        panic!("then what it confirms");
    };
    assert_eq!(
        (user.as_str(), of, position.to_string()),
        ("ann", connection, confirmed)
    );
}

/// Any server of the cluster tells what there is in the log, and what is not known.
pub async fn a_log_is_read_and_deleted_without_a_terminal<R: Runtime>() {
    let [first, second] = servers::<R, 2>().await;
    let (handle, other) = (first.handle(), second.handle());
    // There is no log, and none begins because of the question.
    for _ in 0..2 {
        assert_eq!(other.log_head(user("ann")).await, Ok(None));
    }
    for text in ["one", "two"] {
        let receipt = handle.push(push("ann", text).durable()).await;
        assert!(!receipt.expect("accepted").logged.is_empty());
    }
    let page = other.read_log(user("ann"), LogQuery::default()).await;
    let page = page.expect("it is read");
    let payloads = page.records.iter().flat_map(|record| &record.payload);
    let texts: Vec<_> = payloads.map(|payload| payload.bytes().as_ref()).collect();
    assert_eq!(texts, [b"one", b"two"]);
    assert_eq!(other.log_head(user("ann")).await, Ok(Some(page.head)));

    let behind = || LogQuery {
        after: vec![page.records[0].position],
        ..LogQuery::default()
    };
    let rest = other.read_log(user("ann"), behind()).await;
    assert_eq!(rest.expect("it is read").records, page.records[1..]);

    assert_eq!(handle.delete_log(user("ann")).await, Ok(2));
    let unknown = other.read_log(user("ann"), behind()).await;
    assert_eq!(unknown.expect("it is read").after, None);
    let none = LogQuery {
        limit: 0,
        ..LogQuery::default()
    };
    let refused = handle.read_log(user("ann"), none).await;
    assert_eq!(refused, Err(CallError::Log(LogRefused::Limit)));
}

/// An application that does not listen has received nothing.
pub async fn messages_that_nobody_takes_are_answered_as_dropped<R: Runtime>() {
    let [mut server] = servers::<R, 1>().await;
    let events = server.events().expect("they were asked for");
    let address = server.terminals_addr().expect("it listens");
    let mut terminal = connect::<R>(address, "/connect?user=ann").await;
    drop(events);

    let sent = terminal.send(Message::text("Is anybody there?")).await;
    sent.expect("the terminal is connected");

    let answer = r#"{"switchboard":{"dropped":1}}"#;
    assert_eq!(text::<R>(&mut terminal).await, answer);
}

/// The rules of admission are changed as a whole or not at all, and nobody who is in is sent away.
pub async fn who_may_come_in_changes_while_the_server_runs<R: Runtime>() {
    let [server] = servers::<R, 1>().await;
    let handle = server.handle();
    let address = server.terminals_addr().expect("it listens");
    let mut before = connect::<R>(address, "/connect?user=ann").await;

    let mut admission = handle.admission();
    admission.origins = vec!["https://a.example/path".to_owned()];
    admission.authenticator = Some(Arc::new(Nobody));
    let error = handle.admit(admission.clone()).expect_err("no origin");
    assert_eq!(error.field, "origins");
    connect::<R>(address, "/connect?user=bob").await;

    admission.origins.clear();
    handle.admit(admission).expect("it fits");
    let stream = R::dial(address.to_string()).await.expect("it connects");
    let url = format!("ws://{address}/connect?user=ann");
    let Err(tungstenite::Error::Http(refusal)) = client_async(url, stream).await else {
        panic!("nobody may come in");
    };
    assert_eq!(refusal.status(), 403);
    let nobody = Admission::default();
    assert!(handle.admit(nobody).is_err(), "somebody must say who it is");

    let receipt = handle.push(push("ann", "still here")).await;
    assert_eq!(receipt.expect("accepted").counts.written, 1);
    assert_eq!(text::<R>(&mut before).await, "still here");
}

/// Lets nobody in.
struct Nobody;

impl Authenticator for Nobody {
    fn authenticate<'a>(&'a self, _request: &'a Parts) -> AuthFuture<'a> {
        let refused = AuthError::Forbidden("we are closed".to_owned());
        Box::pin(future::ready(Err(refused)))
    }
}

/// Nothing interrupts a task: one that always has something to read must give way by itself.
pub async fn a_terminal_that_never_stops_sending_holds_nobody_up<R: Runtime>() {
    let mut settings = Settings::default();
    settings.process.listen = Some((Ipv4Addr::LOCALHOST, 0).into());
    settings.core.close_timeout = Duration::from_millis(200);
    let builder = Builder::<R>::default().settings(settings);
    let server = builder.authenticator(Open).start().await;
    let server = server.expect("it starts");
    let address = server.terminals_addr().expect("it listens");
    let mut quiet = connect::<R>(address, "/connect?user=ann").await;
    let mut eager = connect::<R>(address, "/connect?user=eve").await;
    let floods = [
        // Pongs that nobody asked for, and that cost whoever sends them no answer.
        (&[0x8a, 0x80, 0, 0, 0, 0], &[0x8a, 0x80, 0, 0, 0, 0]),
        // A text without an end, in continuations of nothing.
        (&[0x01, 0x80, 0, 0, 0, 0], &[0x00, 0x80, 0, 0, 0, 0]),
        // Pings.
        (&[0x89, 0x80, 0, 0, 0, 0], &[0x89, 0x80, 0, 0, 0, 0]),
        // What is no frame at all, and then what nobody wants to read.
        (&[0xff, 0x80, 0, 0, 0, 0], &[0xff; 6]),
    ];
    for (first, more) in floods {
        let flood = connect::<R>(address, "/connect?user=bob")
            .await
            .into_inner();
        let mut flood = R::release(flood).expect("it can be released");
        flood.set_nonblocking(false).expect("it is a socket");
        let flooding = thread::spawn(move || {
            flood.write_all(first).expect("the server reads");
            let more = more.repeat(1 << 12);
            // Until the server has had enough.
            while flood.write_all(&more).is_ok() {}
        });
        for _ in 0..5 {
            let receipt = server.handle().push(push("ann", "hi")).await;
            assert_eq!(receipt.expect("accepted").counts.written, 1);
            assert_eq!(text::<R>(&mut quiet).await, "hi");
            let said = eager.send(Message::text("Is anybody there?")).await;
            said.expect("the terminal is connected");
            text::<R>(&mut eager).await;
        }
        let kicked = server.handle().kick(user("bob"), None).await;
        kicked.expect("accepted");
        flooding.join().expect("no panic");
    }
}

/// H18: what becomes of a token is not said behind a Close frame.
pub async fn nothing_is_said_behind_a_close_frame<R: Runtime>() {
    let gate = Arc::new(Gate::default());
    let [server] = servers_with::<R, _, 1>(|| Hesitant(Arc::clone(&gate))).await;
    let address = server.terminals_addr().expect("it listens");
    let mut terminal = connect::<R>(address, "/connect").await;
    let token = r#"{"switchboard":{"token":"new"}}"#;
    let sent = terminal.send(Message::text(token)).await;
    sent.expect("the terminal is connected");
    while !gate.is_asked.load(Ordering::SeqCst) {
        R::sleep(Duration::from_millis(10)).await;
    }
    let kicked = server.handle().kick(user("ann"), None).await;
    kicked.expect("accepted");

    let mut socket = R::release(terminal.into_inner()).expect("it can be released");
    socket.set_nonblocking(false).expect("it is a socket");
    let (mut head, mut payload) = ([0; 2], [0; 125]);
    while head[0] != 0x88 {
        socket.read_exact(&mut head).expect("a frame");
        let payload = &mut payload[..head[1].into()];
        socket.read_exact(payload).expect("its payload");
    }
    let answer = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];
    socket.write_all(&answer).expect("the server reads");
    gate.open();
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).expect("the end");
    assert!(rest.is_empty(), "{rest:?} is behind the Close frame");
}

/// Lets ann in, and takes its time with new tokens.
struct Hesitant(Arc<Gate>);

#[derive(Default)]
struct Gate {
    is_asked: AtomicBool,
    is_open: AtomicBool,
    opened: AtomicWaker,
}

impl Gate {
    fn open(&self) {
        self.is_open.store(true, Ordering::SeqCst);
        self.opened.wake();
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        self.opened.register(cx.waker());
        self.is_asked.store(true, Ordering::SeqCst);
        match self.is_open.load(Ordering::SeqCst) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

impl Authenticator for Hesitant {
    fn authenticate<'a>(&'a self, request: &'a Parts) -> AuthFuture<'a> {
        Box::pin(async {
            if request.headers.contains_key(AUTHORIZATION) {
                future::poll_fn(|cx| self.0.poll(cx)).await;
                return Err(AuthError::InvalidToken("it is not his".to_owned()));
            }
            Ok(Login::new(user("ann")))
        })
    }
}

pub async fn terminals_come_through_the_embedders_own_server<R: Runtime>() {
    let server = Builder::<R>::default().events(16).start().await;
    let mut server = server.expect("it starts");
    let mut events = server.events().expect("they were asked for");
    let address = own_server::<R>(server.handle());

    let mut terminal = connect::<R>(address, "/live").await;
    let TerminalEvent::Connected { user, session, .. } = event::<R>(&mut events).await else {
        panic!("connected comes first");
    };
    assert_eq!(
        (user.as_str(), session.as_deref()),
        ("bob", Some("session 7"))
    );
    let receipt = server.handle().push(push("bob", "hi")).await;
    assert_eq!(receipt.expect("accepted").counts.written, 1);
    assert_eq!(text::<R>(&mut terminal).await, "hi");
}

/// H53: a drain tells terminals to connect elsewhere, and what is handed in afterwards is refused.
pub async fn a_drained_server_has_said_goodbye_and_takes_nothing<R: Runtime>() {
    let [first, second] = servers::<R, 2>().await;
    let address = first.terminals_addr().expect("it listens");
    let mut terminal = connect::<R>(address, "/connect?user=ann").await;
    let handle = first.handle();
    let drained = first.drain(Duration::ZERO, Duration::ZERO);
    let ((), close) = future::join(drained, next::<R>(&mut terminal)).await;
    let Ok(Message::Close(Some(close))) = close else {
        panic!("a Close frame");
    };
    assert_eq!(u16::from(close.code), CloseCode::ServiceRestart.number());
    first.shutdown().await;
    assert!(matches!(
        handle.push(push("ann", "late")).await,
        Err(CallError::Stopped)
    ));

    let receipt = second.handle().push(push("ann", "gone")).await;
    let counts = receipt.expect("accepted").counts;
    assert_eq!(counts.written + counts.failed(), 0);
}

/// Servers of one cluster, with two instances each.
pub(crate) async fn servers<R: Runtime, const N: usize>() -> [Server; N] {
    servers_with::<R, _, N>(|| Open).await
}

/// The same, whose terminals are let in by such an authenticator.
pub(crate) async fn servers_with<R: Runtime, A: Authenticator, const N: usize>(
    authenticator: impl Fn() -> A,
) -> [Server; N] {
    let mut settings = Settings::default();
    settings.process.listen = Some((Ipv4Addr::LOCALHOST, 0).into());
    settings.process.workers = 2;
    // Members of all topics see each other.
    settings.process.namespaces = vec!["=presence".to_owned()];
    let mut servers = Vec::new();
    for _ in 0..N {
        let server = Builder::<R>::default()
            .settings(settings.clone())
            .authenticator(authenticator())
            .events(16)
            .start()
            .await;
        servers.push(server.expect("it starts"));
    }
    servers.try_into().expect("as many as asked for")
}

/// A hyper server of the embedder's own, whose every request is a handshake of bob.
fn own_server<R: Runtime>(switchboard: Handle) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("it is bound");
    listener.set_nonblocking(true).expect("it is a socket");
    let listener = R::listen(listener).expect("it can be registered");
    R::spawn(async move {
        let (socket, _) = R::accept(&listener).await.expect("somebody connects");
        let stream = R::adopt(socket).expect("it can be adopted");
        let served = http1::Builder::new()
            .serve_connection(
                FuturesIo::new(stream),
                service_fn(|request| live(&switchboard, request)),
            )
            .with_upgrades();
        served.await.expect("the handshake is completed");
    });
    address
}

async fn live(
    switchboard: &Handle,
    request: Request<Incoming>,
) -> Result<Response<ConnectBody>, Infallible> {
    let login = Login {
        session: Some("session 7".to_owned()),
        ..Login::new(user("bob"))
    };
    Ok(switchboard.connect(request, login).await)
}

pub(crate) type Terminal<R> = WebSocketStream<<R as Runtime>::Stream>;

pub(crate) async fn connect<R: Runtime>(address: SocketAddr, path: &str) -> Terminal<R> {
    let stream = R::dial(address.to_string()).await.expect("it connects");
    let (mut terminal, _) = client_async(format!("ws://{address}{path}"), stream)
        .await
        .expect("the handshake is completed");
    let hello = text::<R>(&mut terminal).await;
    assert!(hello.starts_with(r#"{"switchboard":{"hello":"#), "{hello}");
    terminal
}

pub(crate) async fn text<R: Runtime>(terminal: &mut Terminal<R>) -> String {
    match next::<R>(terminal).await {
        Ok(Message::Text(text)) => text.to_string(),
        other => panic!("no text: {other:?}"),
    }
}

async fn next<R: Runtime>(terminal: &mut Terminal<R>) -> tungstenite::Result<Message> {
    in_time::<R, _>(terminal.next()).await.expect("open")
}

pub(crate) async fn event<R: Runtime>(events: &mut Events) -> TerminalEvent {
    in_time::<R, _>(events.next())
        .await
        .expect("the server runs")
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).expect("a user")
}

pub(crate) fn push(name: &str, text: &str) -> Push {
    push_of(name, Payload::from(text.to_owned()))
}

pub(crate) fn push_of(name: &str, payload: Payload) -> Push {
    Push::new(new_push_id(), Audience::User(user(name)), payload)
}
