#!/usr/bin/env bash
# async-channel's bounded channel that is full, a sender that waits for room, and another one that tries to send each
# time that the receiver has taken a message.
#
# A good guess: who has waited first gets the room first, as with tokio's bounded channel, whose room is handed to the
# waiting sender when it comes free.
# What happens: the waiting sender is only woken. Room belongs to whoever takes it before that one is polled, and it then
# waits again, behind nobody's promise: a sender that is always there a moment earlier keeps it out for as long as it
# likes. Its messages pass those that were to be sent before.
# Seen with async-channel 2.5.0, beside tokio 1.54.1.
set -euo pipefail
command -v cargo >/dev/null || { echo "needed: cargo" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/src"
cat >"$work/Cargo.toml" <<'TOML'
[package]
name = "later-senders"
version = "0.0.0"
edition = "2021"

[workspace]

[dependencies]
async-channel = "=2.5.0"
tokio = { version = "=1.54.1", features = ["sync"] }
TOML
cat >"$work/src/main.rs" <<'RUST'
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

const ROUNDS: u32 = 1000;
const WAITED_FOR: u32 = u32::MAX;

/// Counts how often the waiting sender is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// One sender waits; another one tries whenever something was received, until the first has sent, and at most so often.
/// Prints how many got before it.
fn passed(
    name: &str,
    waiting: impl Future,
    mut receive: impl FnMut() -> u32,
    mut try_to_send: impl FnMut(u32) -> bool,
) -> u32 {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    let mut waiting = pin!(waiting);
    assert!(waiting.as_mut().poll(&mut cx).is_pending(), "the channel is full");
    let mut before = 0;
    for round in 1..=ROUNDS {
        assert_ne!(receive(), WAITED_FOR);
        before += u32::from(try_to_send(round));
        if waiting.as_mut().poll(&mut cx).is_ready() {
            break;
        }
    }
    let woken = woken.0.load(Ordering::Relaxed);
    println!("{name}: {before} later messages were sent before the waiting one, whose sender was woken {woken} times");
    before
}

fn main() {
    let (sender, receiver) = async_channel::bounded(1);
    sender.try_send(0).expect("there is room");
    let passed_there = passed(
        "async-channel",
        sender.send(WAITED_FOR),
        || receiver.try_recv().expect("one is there"),
        |message| sender.try_send(message).is_ok(),
    );

    let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
    sender.try_send(0).expect("there is room");
    let passed_in_tokio = passed(
        "tokio's mpsc",
        sender.send(WAITED_FOR),
        || receiver.try_recv().expect("one is there"),
        |message| sender.try_send(message).is_ok(),
    );

    let as_seen = passed_there == ROUNDS && passed_in_tokio == 0;
    std::process::exit(i32::from(!as_seen));
}
RUST
if timeout 300 cargo run --quiet --manifest-path "$work/Cargo.toml" --target-dir "$work/target"; then
    echo "as seen: later senders pass the one that waits in async-channel, and not in tokio"
else
    echo "otherwise than seen" >&2
    exit 1
fi
