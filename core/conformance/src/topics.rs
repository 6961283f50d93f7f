//! Topics as an embedder uses them: members at several servers, by the application, by an authenticator, and by
//! the frames of the plain protocol.

use std::time::Duration;

use async_tungstenite::tungstenite::Message;
use hyper::http::request::Parts;
use switchboard_driver::core::topic::TopicRights;
use switchboard_driver::runtime::Runtime;
use switchboard_driver::{
    Audience, AuthFuture, Authenticator, Handle, Login, Payload, Push, Receipt, TerminalEvent,
    TopicId, new_push_id,
};

use crate::embedding::{Terminal, connect, event, servers, servers_with, text, user};

pub async fn an_application_has_users_join_and_leave<R: Runtime>() {
    let [first, second] = servers::<R, 2>().await;
    let address = first.terminals_addr().expect("it listens");
    let mut present = connect::<R>(address, "/connect?user=ann").await;
    let handle = second.handle();
    let joined = handle.join(user("ann"), topic("news"), None).await;
    let joined = joined.expect("accepted");
    assert_eq!((joined.kept, joined.counts.written), (Some(true), 1));
    expect::<R>(
        &mut present,
        r#"{"switchboard":{"joined":{"topic":"news"}}}"#,
    )
    .await;
    let mut future = connect::<R>(address, "/connect?user=ann").await;
    expect::<R>(
        &mut future,
        r#"{"switchboard":{"joined":{"topic":"news"}}}"#,
    )
    .await;
    assert_eq!(pushed(&handle, "news", "hi").await.counts.written, 2);
    for terminal in [&mut present, &mut future] {
        assert_eq!(text::<R>(terminal).await, "hi");
    }
    let page = members::<R>(&handle, "news", 1).await;
    assert_eq!((page.counts.written, page.listed.len()), (2, 1));
    let one = page.listed[0].connection;
    let left = handle.leave(user("ann"), topic("news"), one).await;
    let left = left.expect("accepted");
    assert_eq!((left.kept, left.counts.written), (None, 1));
    assert_eq!(members::<R>(&handle, "news", 10).await.counts.written, 1);
    let left = handle.leave(user("ann"), topic("news"), None).await;
    assert_eq!(left.expect("accepted").kept, Some(true));
    assert_eq!(pushed(&handle, "news", "nobody").await.counts.written, 0);
    let online = handle.users(None, 10).await.expect("accepted");
    let online: Vec<_> = online.listed.iter().map(|one| one.user.as_str()).collect();
    assert_eq!(online, ["ann"]);
}

pub async fn a_terminal_joins_by_frames_what_its_authenticator_allows<R: Runtime>() {
    let [first, second] = servers_with::<R, _, 2>(|| Rooms).await;
    let address = first.terminals_addr().expect("it listens");
    let mut terminal = connect::<R>(address, "/connect?user=ann").await;
    expect::<R>(
        &mut terminal,
        r#"{"switchboard":{"joined":{"topic":"lobby"}}}"#,
    )
    .await;
    send::<R>(&mut terminal, r#"{"switchboard":{"join":"room-7"}}"#).await;
    expect::<R>(
        &mut terminal,
        r#"{"switchboard":{"joined":{"topic":"room-7"}}}"#,
    )
    .await;
    send::<R>(&mut terminal, r#"{"switchboard":{"join":"secret"}}"#).await;
    let refused = r#"{"switchboard":{"refused":{"topic":"secret","reason":"not_allowed"}}}"#;
    expect::<R>(&mut terminal, refused).await;
    assert_eq!(
        pushed(&second.handle(), "room-7", "hi")
            .await
            .counts
            .written,
        1
    );
    assert_eq!(text::<R>(&mut terminal).await, "hi");
    send::<R>(&mut terminal, r#"{"switchboard":{"leave":"room-7"}}"#).await;
    expect::<R>(
        &mut terminal,
        r#"{"switchboard":{"left":{"topic":"room-7"}}}"#,
    )
    .await;
    assert_eq!(
        pushed(&second.handle(), "room-7", "nobody")
            .await
            .counts
            .written,
        0
    );
    assert_eq!(
        pushed(&second.handle(), "lobby", "still")
            .await
            .counts
            .written,
        1
    );
    assert_eq!(text::<R>(&mut terminal).await, "still");
}

pub async fn an_application_is_told_of_terminals_that_join_and_leave<R: Runtime>() {
    let [mut server] = servers_with::<R, _, 1>(|| Rooms).await;
    let mut events = server.events().expect("they were asked for");
    let address = server.terminals_addr().expect("it listens");
    let mut terminal = connect::<R>(address, "/connect?user=ann").await;
    let connected = event::<R>(&mut events).await;
    assert!(matches!(connected, TerminalEvent::Connected { .. }));
    let TerminalEvent::Joined { topic: joined, .. } = event::<R>(&mut events).await else {
        panic!("its token joins the lobby");
    };
    assert_eq!(joined, topic("lobby"));
    send::<R>(&mut terminal, r#"{"switchboard":{"leave":"lobby"}}"#).await;
    let TerminalEvent::Left {
        user: who,
        topic: left,
        ..
    } = event::<R>(&mut events).await
    else {
        panic!("it leaves");
    };
    assert_eq!((who, left), (user("ann"), topic("lobby")));
    // It is none, and nothing is said of that.
    send::<R>(&mut terminal, r#"{"switchboard":{"leave":"lobby"}}"#).await;
    send::<R>(&mut terminal, r#"{"switchboard":{"join":"room-7"}}"#).await;
    let TerminalEvent::Joined { topic: joined, .. } = event::<R>(&mut events).await else {
        panic!("it joins");
    };
    assert_eq!(joined, topic("room-7"));
    drop(terminal);
    let gone = event::<R>(&mut events).await;
    assert!(matches!(gone, TerminalEvent::Disconnected { .. }));
}

pub async fn a_member_is_told_who_the_others_are<R: Runtime>() {
    let [first, second] = servers::<R, 2>().await;
    let [here, there] =
        [&first, &second].map(|server| server.terminals_addr().expect("it listens"));
    // While an instance that has just started says that there may be others, nobody's coming and going is told.
    for server in [&first, &second] {
        members::<R>(&server.handle(), "news", 1).await;
    }
    let mut ann = connect::<R>(here, "/connect?user=ann").await;
    let watch = r#"{"switchboard":{"join":"news","presence":true}}"#;
    let joined = r#"{"switchboard":{"joined":{"topic":"news"}}}"#;
    send::<R>(&mut ann, watch).await;
    expect::<R>(&mut ann, joined).await;
    let told = |news: &str| {
        format!(r#"{{"switchboard":{{"presence":{{"topic":"news","sequence":{news}}}}}}}"#)
    };
    expect::<R>(&mut ann, &told(r#"1,"users":["ann"]"#)).await;
    let mut bob = connect::<R>(there, "/connect?user=bob").await;
    send::<R>(&mut bob, r#"{"switchboard":{"join":"news"}}"#).await;
    expect::<R>(&mut bob, joined).await;
    expect::<R>(&mut ann, &told(r#"2,"joined":["bob"],"left":[]"#)).await;
    // A watcher that has missed something takes a snapshot again.
    send::<R>(&mut ann, watch).await;
    expect::<R>(&mut ann, joined).await;
    expect::<R>(&mut ann, &told(r#"2,"users":["ann","bob"]"#)).await;
}

/// Everybody is ann, joins the lobby, and may join rooms.
struct Rooms;

impl Authenticator for Rooms {
    fn authenticate<'a>(&'a self, _: &'a Parts) -> AuthFuture<'a> {
        let rights = TopicRights::of_claim(["lobby", "room-*"]).expect("they are names");
        Box::pin(std::future::ready(Ok(Login {
            topics: Some(rights.into()),
            ..Login::new(user("ann"))
        })))
    }
}

async fn expect<R: Runtime>(terminal: &mut Terminal<R>, frame: &str) {
    assert_eq!(text::<R>(terminal).await, frame);
}

async fn send<R: Runtime>(terminal: &mut Terminal<R>, frame: &str) {
    let sent = terminal.send(Message::text(frame)).await;
    sent.expect("the terminal is connected");
}

async fn pushed(handle: &Handle, name: &str, content: &str) -> Receipt {
    let to = Audience::Topics {
        topics: vec![topic(name)],
        except: None,
    };
    let push = Push::new(new_push_id(), to, Payload::from(content.to_owned()));
    handle.push(push).await.expect("accepted")
}

/// The members, once nobody is in doubt.
async fn members<R: Runtime>(handle: &Handle, name: &str, limit: u32) -> Receipt {
    loop {
        let page = handle.members(topic(name), None, limit).await;
        let page = page.expect("accepted");
        if !page.degraded {
            return page;
        }
        R::sleep(Duration::from_millis(10)).await;
    }
}

fn topic(name: &str) -> TopicId {
    TopicId::new(name).expect("a topic")
}
