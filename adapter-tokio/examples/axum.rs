//! Terminals come through an axum server of your own: its routes, its middleware, its login.
//!
//! `cargo run -p switchboard-tokio --example axum`, then connect to
//! `ws://127.0.0.1:3000/live?user=alice` and `curl -d hi 127.0.0.1:3000/push/alice`.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use switchboard_tokio::{
    Audience, Handle, Login, Payload, Push, TerminalEvent, UserId, new_push_id,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut server = switchboard_tokio::builder().events(1024).start().await?;
    let app = Router::new()
        .route("/live", get(connect))
        .route("/push/{user}", post(push))
        .with_state(server.handle());
    let mut events = server
        .events()
        .ok_or("the builder was told to collect events")?;
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            match event {
                TerminalEvent::Connected { user, .. } => println!("{user} is here"),
                TerminalEvent::Message { user, payload, .. } => {
                    println!("{user} said {} bytes", payload.len())
                }
                TerminalEvent::Acked { user, position, .. } => {
                    println!("{user} has all up to {position}")
                }
                TerminalEvent::Joined { user, topic, .. } => println!("{user} has joined {topic}"),
                TerminalEvent::Left { user, topic, .. } => println!("{user} has left {topic}"),
                TerminalEvent::Disconnected { user, reason, .. } => {
                    println!("{user} is gone: {reason:?}")
                }
            }
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, app).await?;
    Ok(())
}

#[derive(serde::Deserialize)]
struct Who {
    user: String,
}

async fn connect(
    State(switchboard): State<Handle>,
    Query(who): Query<Who>,
    request: Request,
) -> Response {
    // Your own login goes here.
    let Ok(user) = UserId::new(&who.user) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let login = Login::new(user);
    switchboard.connect(request, login).await.into_response()
}

async fn push(
    State(switchboard): State<Handle>,
    Path(user): Path<String>,
    body: Bytes,
) -> Response {
    let (Ok(user), Ok(payload)) = (UserId::new(&user), Payload::text(body)) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let push = Push::new(new_push_id(), Audience::User(user), payload);
    match switchboard.push(push).await {
        Ok(receipt) => format!("{:?}\n", receipt.counts).into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}
