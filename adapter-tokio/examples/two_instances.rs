//! Two instances of one cluster in one process: a terminal connects to the first, a message is
//! pushed at the second.
//!
//! `cargo run -p switchboard-tokio --example two_instances`, or with `-- redis://127.0.0.1:6379`.

use async_tungstenite::tokio::connect_async;
use futures_util::StreamExt as _;
use switchboard_tokio::auth::Open;
use switchboard_tokio::core::config::{ClusterSecret, Config};
use switchboard_tokio::core::frame::Payload;
use switchboard_tokio::core::id::UserId;
use switchboard_tokio::core::message::{Action, Audience, Push};
use switchboard_tokio::directory::EmbeddedDirectory;
use switchboard_tokio::{DirectoryChoice, Settings, new_push_id};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = match std::env::args().nth(1) {
        Some(url) => DirectoryChoice::Redis(url.parse()?),
        None => DirectoryChoice::Embedded(EmbeddedDirectory::default()),
    };
    let settings = Settings {
        terminals: Some(([127, 0, 0, 1], 0).into()),
        cluster_secret: Some(ClusterSecret::new(b"only for this example")?),
        directory,
        ..Settings::default()
    };
    let start = || {
        switchboard_tokio::builder()
            .settings(settings.clone())
            .authenticator(Open)
            .start()
    };
    let (first, second) = (start().await?, start().await?);

    let address = first.terminals_addr().ok_or("the first listens")?;
    let (mut terminal, _) = connect_async(format!("ws://{address}/connect?user=alice")).await?;
    println!("hello:   {}", terminal.next().await.ok_or("closed")??);

    let push = Push {
        id: new_push_id(),
        to: Audience::User(UserId::new("alice")?),
        action: Action::Frame(Payload::text("hi, alice".into())?),
        deadline: Config::DEADLINE_DEFAULT,
    };
    let receipt = second.handle().push(push).await?;
    println!("receipt: {:?}", receipt.counts);
    println!("frame:   {}", terminal.next().await.ok_or("closed")??);
    terminal.close(None).await?;
    second.shutdown().await;
    first.shutdown().await;
    Ok(())
}
