//! Terminals that come through an axum server of the embedder's.

use async_tungstenite::tokio::connect_async;
use async_tungstenite::tungstenite::Message;
use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::StreamExt as _;
use switchboard_tokio::{Audience, Handle, Login, Payload, Push, UserId, new_push_id};

#[tokio::test]
async fn an_axum_handler_takes_terminals() {
    let server = switchboard_tokio::builder().start().await;
    let server = server.expect("it starts");
    let app = Router::new()
        .route("/live", get(live))
        .with_state(server.handle());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a port");
    let address = listener.local_addr().expect("bound");
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });

    let connected = connect_async(format!("ws://{address}/live")).await;
    let (mut terminal, _) = connected.expect("it connects");
    let hello = terminal.next().await.expect("open").expect("a frame");
    assert!(hello.to_text().expect("text").contains("hello"));
    let payload = Payload::text("hi".into()).expect("UTF-8");
    let push = Push::new(new_push_id(), Audience::User(bob()), payload);
    let receipt = server.handle().push(push).await.expect("accepted");
    assert_eq!(receipt.counts.written, 1);
    let frame = terminal.next().await.expect("open").expect("a frame");
    assert_eq!(frame, Message::text("hi"));
    serving.abort();
}

async fn live(State(switchboard): State<Handle>, request: Request) -> Response {
    let login = Login::new(bob());
    switchboard.connect(request, login).await.into_response()
}

fn bob() -> UserId {
    UserId::new("bob").expect("a user")
}
