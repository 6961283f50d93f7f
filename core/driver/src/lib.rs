//! The runtime-neutral driver of Switchboard: sockets, links, directory and HTTP around the
//! instances of [`switchboard_core`], written once for every [`Runtime`](runtime::Runtime).
//!
//! Those who build an application use an adapter (`switchboard-tokio`), which re-exports all of
//! this; those who write an adapter implement [`Runtime`](runtime::Runtime) and hand their type to
//! [`Builder`].
//!
//! # Threads
//!
//! A [`Server`] is one process's part of a cluster: one or more instances, each on a thread of its
//! own with a single-threaded runtime. An instance is an actor. Nothing shares its state, so there
//! is no lock on the way of a message, and the order of commands is the one that the simulator
//! checks. What it owns stays on its thread: the sockets of its terminals, its links, its directory
//! link, its timer.
//!
//! # The loop of an instance
//!
//! ```text
//! loop {
//!     wait for the inbox, or until the timer expires
//!     now = clock                                    once for the batch
//!     for each of up to 256 inputs                   instance.handle(now, event, out)
//!     while a deadline is due by that reading        instance.handle_timeout(now, out)
//!     for each command in out                        execute it, never wait
//!     let the other tasks of the thread run
//! }
//! ```
//!
//! Whatever takes time is a task of its own that answers with an event: one for each terminal, one
//! for each link, one for the directory link. They wait while the inbox is full; the loop never
//! waits for them.
//!
//! # The way of a terminal
//!
//! One accept loop for each listener, on a thread of their own, hands every socket to the thread that
//! is to serve it: terminals to the instance with the fewest. HTTP is spoken there until the handshake is
//! answered, under one deadline; then hyper is dropped, and a single future reads and writes frames, with the
//! transport that the request asks for. A frame is written from its shared bytes. An idle WebSocket keeps a read
//! buffer of 1 KiB and nothing else of size.
//!
//! Terminals can as well come through the application's own HTTP server: [`Handle::connect`]
//! answers their handshake.

#![deny(unsafe_code)]

use std::cell::RefCell;

mod admission;
mod alarm;
mod answer;
mod api;
mod authorities;
mod clock;
mod deadlines;
pub mod directory;
mod error;
mod events;
mod figures;
mod handle;
#[cfg(test)]
mod hasty;
mod inbox;
mod ingress;
pub mod log;
mod login;
mod looping;
mod members;
mod permits;
mod queue;
mod read_buffer;
mod redis;
mod request;
pub mod runtime;
mod server;
mod session_names;
mod settings;
mod sockets;
mod streams;
mod task;
mod tasks;
#[cfg(feature = "testing")]
pub mod testing;
mod threads;
mod transport;
#[cfg(test)]
mod wake_count;

pub use admission::Admission;
pub use answer::{ConnectBody, refusal};
pub use api::{ApiBody, ApiFuture, ApiService, MakeSleep, Scope};
pub use authorities::{NoAuthorities, authorities_of_machine};
pub use directory::DirectoryChoice;
pub use error::{Died, StartError};
pub use events::{Events, TerminalEvent};
pub use figures::{Answers, Figures, SilentInstance, Snapshot};
pub use handle::{CallError, Handed, Handle};
pub use login::{AuthError, AuthFuture, AuthKind, Authenticator, Login, SubscribeFuture};
pub use request::subprotocol::{BEARER, SUBPROTOCOL, offered_subprotocols, selected_subprotocol};
pub use request::{host, origin, query};
pub use server::{Builder, Server};
pub use settings::{ProcessConfig, Settings};
pub use sockets::Sockets;
pub use switchboard_core as core;
pub use switchboard_core::frame::Payload;
pub use switchboard_core::id::{TopicId, UserId};
pub use switchboard_core::logs::{LogPage, LogQuery, LogRefused, LoggedPush};
pub use switchboard_core::message::{
    Audience, Durability, Durable, Push, Receipt, Until, WithoutLog,
};
pub use tasks::directory::{Findings, examine_directory};
pub use tasks::link::{NoLink, try_link};

/// A random push id, for a push that the caller never repeats.
pub fn new_push_id() -> core::id::PushId {
    thread_local! {
        /// Randomness of ids to come: to ask the operating system for each costs as much as to read a
        /// socket.
        static DRAWN: RefCell<Vec<[u8; 16]>> = const { RefCell::new(Vec::new()) };
    }
    let bytes = DRAWN.with_borrow_mut(|drawn| {
        if drawn.is_empty() {
            drawn.extend(random_bytes::<{ 16 * IDS_PER_DRAW }>().as_chunks().0);
        }
        drawn.pop().unwrap_or_else(random_bytes)
    });
    core::id::PushId::new(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

/// Push ids that are drawn at once: as many as the operating system hands out without being interrupted.
const IDS_PER_DRAW: usize = 16;

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes from the operating system's random source.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .expect("an operating system without random numbers cannot be served");
    bytes
}
