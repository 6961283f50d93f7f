//! A durable push waits for a terminal that is away: it comes, confirms, goes, and comes back where it was.
//!
//! `cargo run -p switchboard-tokio --example durable`

use std::error::Error;
use std::net::SocketAddr;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tokio::{ConnectStream, connect_async};
use async_tungstenite::tungstenite::Message;
use futures_util::StreamExt as _;
use switchboard_tokio::auth::Open;
use switchboard_tokio::{
    Audience, Durable, LogQuery, Payload, Push, Settings, TerminalEvent, Until, UserId, new_push_id,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut settings = Settings::default();
    settings.process.listen = Some(([127, 0, 0, 1], 0).into());
    let builder = switchboard_tokio::builder().settings(settings);
    let mut server = builder.authenticator(Open).events(16).start().await?;
    let mut events = server.events().ok_or("they were asked for")?;
    let address = server.terminals_addr().ok_or("it listens")?;
    let handle = server.handle();
    let alice = UserId::new("alice")?;
    let push = |text: &str| -> Result<Push, Box<dyn Error>> {
        let to = Audience::User(alice.clone());
        let payload = Payload::text(text.to_owned().into())?;
        Ok(Push::new(new_push_id(), to, payload).durable())
    };

    // She begins with the last ten records: there is one, which was pushed before she came.
    handle.push(push("before she came")?).await?;
    let mut terminal = connect(address, "history=10").await?;
    let position = record(&mut terminal).await?;

    // The receipt of this one waits until she has confirmed it.
    let confirmed = Push {
        durable: Some(Durable {
            until: Until::Acked,
            ..Durable::default()
        }),
        ..push("please confirm")?
    };
    let (receipt, held) = tokio::join!(handle.push(confirmed), confirm(&mut terminal));
    println!("receipt:   {:?}", receipt?.counts);
    let held = held?;
    drop(terminal);

    // She is away, and comes back behind what she holds.
    handle.push(push("while she was away")?).await?;
    let mut terminal = connect(address, &format!("after={held}")).await?;
    record(&mut terminal).await?;

    // The log can be read without a terminal as well.
    let behind = LogQuery {
        after: vec![position.parse()?],
        ..LogQuery::default()
    };
    let page = handle.read_log(alice.clone(), behind).await?;
    println!("records:   {}", page.records.len());
    println!("deleted:   {}", handle.delete_log(alice).await?);

    while let Some(event) = events.next().await {
        println!("event:     {event:?}");
        if let TerminalEvent::Disconnected { .. } = event {
            break;
        }
    }
    server.shutdown().await;
    Ok(())
}

type Terminal = WebSocketStream<ConnectStream>;

/// Connects, and reads the hello.
async fn connect(address: SocketAddr, query: &str) -> Result<Terminal, Box<dyn Error>> {
    let url = format!("ws://{address}/connect?user=alice&{query}");
    let (mut terminal, _) = connect_async(url).await?;
    println!("hello:     {}", text(&mut terminal).await?);
    Ok(terminal)
}

/// Reads a record, and returns its position.
async fn record(terminal: &mut Terminal) -> Result<String, Box<dyn Error>> {
    let announced = text(terminal).await?;
    let (_, rest) = announced
        .split_once(r#""position":""#)
        .ok_or("no record is announced")?;
    let position = rest.split('"').next().ok_or("no position")?;
    println!("record:    {} at {position}", text(terminal).await?);
    Ok(position.to_owned())
}

/// Reads a record and confirms it.
async fn confirm(terminal: &mut Terminal) -> Result<String, Box<dyn Error>> {
    let position = record(terminal).await?;
    let ack = format!(r#"{{"switchboard":{{"ack":"{position}"}}}}"#);
    terminal.send(Message::text(ack)).await?;
    Ok(position)
}

async fn text(terminal: &mut Terminal) -> Result<String, Box<dyn Error>> {
    Ok(terminal
        .next()
        .await
        .ok_or("closed")??
        .into_text()?
        .to_string())
}
