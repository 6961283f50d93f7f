//! Tokio is linked for its channels and traits, and never runs.
//!
//! That its runtime is not even compiled into those who embed this library is checked on the
//! dependency tree, by `.ci/run`. Here tokio is compiled in full, to see that nobody enters it.
#![cfg(target_os = "linux")]

use std::fs;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_tungstenite::smol::connect_async;
use async_tungstenite::tungstenite::Message;
use futures_util::StreamExt as _;
use switchboard_smol::auth::Open;
use switchboard_smol::core::config::ClusterSecret;
use switchboard_smol::{
    Audience, AuthError, AuthFuture, Authenticator, DirectoryChoice, Payload, Push, Server,
    Settings, UserId, new_push_id,
};
use switchboard_test_redis::RedisServer;

#[test]
fn a_cluster_with_redis_runs_without_a_runtime_of_tokio() {
    let redis = RedisServer::start();
    smol::block_on(async {
        let first = server(&redis).await;
        let second = server(&redis).await;
        while !(first.handle().is_ready() && second.handle().is_ready()) {
            smol::Timer::after(Duration::from_millis(10)).await;
        }
        let address = first.terminals_addr().expect("it listens");
        let connected = connect_async(format!("ws://{address}/connect?user=ann")).await;
        let (mut terminal, _) = connected.expect("the handshake is completed");
        let hello = terminal.next().await.expect("open").expect("a frame");
        assert!(hello.to_text().expect("text").contains("hello"));

        for _ in 0..20 {
            let ann = Audience::User(UserId::new("ann").expect("a user"));
            let push = Push::new(
                new_push_id(),
                ann,
                Payload::text("hi".into()).expect("UTF-8"),
            );
            let receipt = second.handle().push(push).await.expect("accepted");
            assert_eq!(receipt.counts.written, 1);
            let frame = terminal.next().await.expect("open").expect("a frame");
            assert_eq!(frame, Message::text("hi"));
        }
        assert_eq!(
            ASKED.load(Ordering::Relaxed),
            1,
            "it was asked on the instance's thread"
        );
        assert!(
            !tokio_is_entered(),
            "nor is it on the thread of the embedder"
        );

        let threads = threads();
        assert!(
            threads.iter().any(|name| name == "switchboard"),
            "{threads:?}"
        );
        assert!(
            !threads.iter().any(|thread| is_tokios(thread)),
            "{threads:?}"
        );
        assert_eq!(reactors(), 1, "async-io has the only one");
        drop(terminal);
        first.shutdown().await;
        second.shutdown().await;
    });

    // What is looked for above would have been found.
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let tokio = tokio.expect("it can be set up");
    let seen_by_a_task = async { (tokio_is_entered(), threads()) };
    let seen = tokio.block_on(async { tokio::spawn(seen_by_a_task).await });
    let (entered, threads) = seen.expect("no panic");
    assert!(entered);
    assert!(
        threads.iter().any(|thread| is_tokios(thread)),
        "{threads:?}"
    );
    assert!(reactors() > 1, "tokio has one as well");
}

/// How often a terminal was let in by [`Witness`].
static ASKED: AtomicUsize = AtomicUsize::new(0);

/// Lets everybody in from whose thread tokio cannot be found.
struct Witness;

impl Authenticator for Witness {
    fn authenticate<'a>(&'a self, request: &'a http::request::Parts) -> AuthFuture<'a> {
        Box::pin(async move {
            if tokio_is_entered() {
                return Err(AuthError::Forbidden("tokio runs here".to_owned()));
            }
            ASKED.fetch_add(1, Ordering::Relaxed);
            Open.authenticate(request).await
        })
    }
}

fn tokio_is_entered() -> bool {
    tokio::runtime::Handle::try_current().is_ok()
}

fn is_tokios(thread: &str) -> bool {
    thread.starts_with("tokio")
}

/// The names of this process's threads.
fn threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux has it");
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.map(|name| name.trim_end().to_owned()).collect()
}

/// How many event queues of the kernel this process has: each reactor has one.
fn reactors() -> usize {
    let files = fs::read_dir("/proc/self/fd").expect("Linux has it");
    let targets = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    targets
        .filter(|target| target.as_os_str() == "anon_inode:[eventpoll]")
        .count()
}

async fn server(redis: &RedisServer) -> Server {
    let mut settings = Settings {
        directory: DirectoryChoice::Redis(redis.url().parse().expect("a URL")),
        cluster_secret: Some(ClusterSecret::new(b"a secret for this test").expect("long enough")),
        ..Settings::default()
    };
    settings.process.listen = Some((Ipv4Addr::LOCALHOST, 0).into());
    let builder = switchboard_smol::builder()
        .settings(settings)
        .authenticator(Witness);
    builder.start().await.expect("it starts")
}
