//! switchboard-driver

#![forbid(unsafe_code)]

pub mod auth;
pub mod directory;
pub mod events;
mod handle;
mod login;
mod query;
pub mod runtime;
mod server;
pub mod settings;

pub use auth::AuthError;
pub use login::{AuthFuture, Authenticator, Login};
pub use events::{Events, TerminalEvent};
pub use handle::{CallError, ConnectBody, Handle, Snapshot};
pub use server::{Builder, InstanceDied, Server, StartError};
pub use settings::{DirectoryChoice, Settings};
pub use switchboard_core as core;

/// A random push id, for a push that the caller never repeats.
pub fn new_push_id() -> core::id::PushId {
    let mut bytes = [0; 16];
    random(&mut bytes);
    core::id::PushId::new(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

/// Fills from the operating system's random source.
pub(crate) fn random(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("an operating system without random numbers cannot be served");
}
