//! What the application says of a terminal that wants to connect.

use std::future::Future;
use std::pin::Pin;

use switchboard_core::id::UserId;
use switchboard_core::time::WallTime;

use crate::auth::{AuthError, AuthKind};

/// Says who a terminal belongs to.
///
/// It runs in the task of the handshake and under its deadline, before the upgrade is answered.
pub trait Authenticator: Send + Sync + 'static {
    /// Checks a handshake.
    fn authenticate<'a>(&'a self, request: &'a http::request::Parts) -> AuthFuture<'a>;

    /// What terminals must send, for the status page.
    fn kind(&self) -> AuthKind {
        AuthKind::Custom
    }
}

/// What [`Authenticator::authenticate`] returns.
pub type AuthFuture<'a> = Pin<Box<dyn Future<Output = Result<Login, AuthError>> + Send + 'a>>;

/// A terminal that may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Who it belongs to.
    pub user: UserId,
    /// When its token runs out; the connection is closed then.
    pub expires: Option<WallTime>,
    /// The application's own name for what the terminal logged in with. It comes back in the
    /// events of the connection.
    pub session: Option<String>,
}
