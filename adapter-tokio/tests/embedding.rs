//! The library as an embedder uses it: servers in one's own process, terminals over real sockets.

use std::net::SocketAddr;
use std::time::Duration;

use async_tungstenite::tokio::{ConnectStream, connect_async};
use async_tungstenite::tungstenite::Message;
use async_tungstenite::{WebSocketStream, tungstenite};
use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::StreamExt as _;
use switchboard_tokio::auth::Open;
use switchboard_tokio::core::event::Disconnected;
use switchboard_tokio::core::frame::CloseCode;
use switchboard_tokio::{
    Audience, CallError, Events, Handle, Login, Payload, Push, Server, Settings, TerminalEvent,
    UserId, new_push_id,
};

type Terminal = WebSocketStream<ConnectStream>;

/// Patience with a machine that does other things as well.
const PATIENCE: Duration = Duration::from_secs(30);

/// Servers of one cluster, with two instances each.
async fn servers<const N: usize>() -> [Server; N] {
    let settings = Settings {
        terminals: Some(([127, 0, 0, 1], 0).into()),
        workers: 2,
        ..Settings::default()
    };
    let mut servers = Vec::new();
    for _ in 0..N {
        let server = switchboard_tokio::builder()
            .settings(settings.clone())
            .authenticator(Open)
            .events(16)
            .start()
            .await;
        servers.push(server.expect("it starts"));
    }
    servers.try_into().expect("as many as asked for")
}

async fn connect(address: SocketAddr, path: &str) -> Terminal {
    let (mut terminal, _) = connect_async(format!("ws://{address}{path}"))
        .await
        .expect("it connects");
    let hello = text(&mut terminal).await;
    assert!(hello.starts_with(r#"{"switchboard":{"hello":"#), "{hello}");
    terminal
}

async fn text(terminal: &mut Terminal) -> String {
    match next(terminal).await {
        Ok(Message::Text(text)) => text.to_string(),
        other => panic!("no text: {other:?}"),
    }
}

async fn next(terminal: &mut Terminal) -> tungstenite::Result<Message> {
    let next = tokio::time::timeout(PATIENCE, terminal.next()).await;
    next.expect("in time").expect("open")
}

async fn event(events: &mut Events) -> TerminalEvent {
    let next = tokio::time::timeout(PATIENCE, events.next()).await;
    next.expect("in time").expect("the server runs")
}

fn user(name: &str) -> UserId {
    UserId::new(name).expect("a user")
}

fn push(name: &str, text: &'static str) -> Push {
    let payload = Payload::text(text.into()).expect("UTF-8");
    Push::new(new_push_id(), Audience::User(user(name)), payload)
}

#[tokio::test]
async fn servers_that_share_a_directory_are_a_cluster() {
    let [first, second] = servers().await;
    let address = first.terminals_addr().expect("it listens");
    let mut terminals = Vec::new();
    for _ in 0..4 {
        terminals.push(connect(address, "/connect?user=ann").await);
    }

    let receipt = second
        .handle()
        .push(push("ann", "hi"))
        .await
        .expect("accepted");
    assert_eq!((receipt.counts.written, receipt.counts.failed()), (4, 0));
    for terminal in &mut terminals {
        assert_eq!(text(terminal).await, "hi");
    }
    let listed = second
        .handle()
        .connections(user("ann"))
        .await
        .expect("accepted");
    assert_eq!((listed.connections.len(), listed.degraded), (4, false));
    let instances = second.handle().instances().await.expect("accepted");
    assert_eq!(instances.len(), 4);
}

#[tokio::test]
async fn what_happens_to_a_terminal_is_told_in_order() {
    let [mut server] = servers().await;
    let mut events = server.events().expect("they were asked for");
    let address = server.terminals_addr().expect("it listens");
    let mut terminal = connect(address, "/connect?user=ann").await;
    terminal
        .send(Message::text("I am here"))
        .await
        .expect("sent");
    assert_eq!(
        text(&mut terminal).await,
        r#"{"switchboard":{"received":1}}"#
    );

    let TerminalEvent::Connected { connection, .. } = event(&mut events).await else {
        panic!("connected comes first");
    };
    let TerminalEvent::Message {
        user: from,
        payload,
        ..
    } = event(&mut events).await
    else {
        panic!("then the message");
    };
    assert_eq!(
        (from.as_str(), payload.bytes().as_ref()),
        ("ann", &b"I am here"[..])
    );

    let receipt = server.handle().kick(user("ann"), Some(connection)).await;
    assert_eq!(receipt.expect("accepted").terminals.len(), 1);
    let Ok(Message::Close(Some(close))) = next(&mut terminal).await else {
        panic!("a Close frame");
    };
    assert_eq!(u16::from(close.code), CloseCode::Kicked.number());
    drop(terminal);
    let TerminalEvent::Disconnected { reason, .. } = event(&mut events).await else {
        panic!("disconnected comes last");
    };
    assert_eq!(reason, Disconnected::ByServer(CloseCode::Kicked));
}

async fn live(State(switchboard): State<Handle>, request: Request) -> Response {
    let login = Login {
        user: user("bob"),
        expires: None,
        session: Some("session 7".to_owned()),
    };
    switchboard.connect(request, login).await.into_response()
}

#[tokio::test]
async fn terminals_come_through_the_embedders_own_server() {
    let mut server = switchboard_tokio::builder()
        .events(16)
        .start()
        .await
        .expect("it starts");
    let mut events = server.events().expect("they were asked for");
    let app = Router::new()
        .route("/live", get(live))
        .with_state(server.handle());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("bound");
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });

    let mut terminal = connect(address, "/live").await;
    let TerminalEvent::Connected { user, session, .. } = event(&mut events).await else {
        panic!("connected comes first");
    };
    assert_eq!(
        (user.as_str(), session.as_deref()),
        ("bob", Some("session 7"))
    );
    let receipt = server
        .handle()
        .push(push("bob", "hi"))
        .await
        .expect("accepted");
    assert_eq!(receipt.counts.written, 1);
    assert_eq!(text(&mut terminal).await, "hi");
    serving.abort();
}

/// H53: a drain tells terminals to connect elsewhere, and what is handed in afterwards is refused.
#[tokio::test]
async fn a_drained_server_has_said_goodbye_and_takes_nothing() {
    let [first, second] = servers().await;
    let address = first.terminals_addr().expect("it listens");
    let mut terminal = connect(address, "/connect?user=ann").await;
    let handle = first.handle();
    let (_, close) = tokio::join!(
        first.drain(Duration::ZERO, Duration::ZERO),
        next(&mut terminal)
    );
    let Ok(Message::Close(Some(close))) = close else {
        panic!("a Close frame");
    };
    assert_eq!(u16::from(close.code), CloseCode::ServiceRestart.number());
    first.shutdown().await;
    assert!(matches!(
        handle.push(push("ann", "late")).await,
        Err(CallError::Stopped)
    ));

    let receipt = second
        .handle()
        .push(push("ann", "gone"))
        .await
        .expect("accepted");
    assert_eq!(receipt.counts.written + receipt.counts.failed(), 0);
}
