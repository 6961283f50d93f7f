//! Two instances of one cluster in one process: a terminal connects to the first, a message is
//! pushed at the second.
//!
//! `cargo run -p switchboard-smol --example two_instances`

use async_tungstenite::smol::connect_async;
use futures_util::StreamExt as _;
use switchboard_smol::auth::Open;
use switchboard_smol::{Audience, Payload, Push, Settings, UserId, new_push_id};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    smol::block_on(run())
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    // Both have the directory of these settings, which is in this process.
    let mut settings = Settings::default();
    settings.process.listen = Some(([127, 0, 0, 1], 0).into());
    let server = || {
        switchboard_smol::builder()
            .settings(settings.clone())
            .authenticator(Open)
    };
    let (first, second) = (server().start().await?, server().start().await?);

    let address = first.terminals_addr().ok_or("the first listens")?;
    let (mut terminal, _) = connect_async(format!("ws://{address}/connect?user=alice")).await?;
    println!("hello:   {}", terminal.next().await.ok_or("closed")??);

    let alice = Audience::User(UserId::new("alice")?);
    let push = Push::new(new_push_id(), alice, Payload::text("hi, alice".into())?);
    let receipt = second.handle().push(push).await?;
    println!("receipt: {:?}", receipt.counts);
    println!("frame:   {}", terminal.next().await.ok_or("closed")??);
    second.shutdown().await;
    first.shutdown().await;
    Ok(())
}
