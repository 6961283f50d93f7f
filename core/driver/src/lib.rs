//! switchboard-driver

#![forbid(unsafe_code)]

mod api;
pub mod auth;
mod backoff;
mod clock;
mod connect;
pub mod directory;
pub mod events;
mod execute;
mod foreign;
mod handle;
mod host;
mod http;
mod journal;
mod link;
mod listener;
mod login;
mod members;
pub mod origin;
mod query;
pub mod runtime;
mod server;
pub mod settings;
mod socket;
mod task;
mod terminal;
mod worker;

pub use auth::AuthError;
pub use events::{Events, TerminalEvent};
pub use handle::{CallError, ConnectBody, Handle, Snapshot};
pub use login::{AuthFuture, Authenticator, Login};
pub use server::{Builder, InstanceDied, Server, StartError};
pub use settings::{DirectoryChoice, Settings};
pub use switchboard_core as core;

/// A random push id, for a push that the caller never repeats.
pub fn new_push_id() -> core::id::PushId {
    core::id::PushId::new(uuid::Builder::from_random_bytes(random_bytes()).into_uuid())
}

/// Bytes from the operating system's random source.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("an operating system without random numbers cannot be served");
    bytes
}
