//! What the application says of a terminal that wants to connect.

use std::future::{Future, ready};
use std::pin::Pin;

use http::StatusCode;
use switchboard_core::id::{TopicId, UserId};
use switchboard_core::time::WallTime;
use switchboard_core::topic::SharedRights;

/// Says who a terminal belongs to.
///
/// It runs in the task of the handshake and under its deadline, before the upgrade is answered. For a terminal that
/// sends its token behind the handshake it runs in the task of the terminal, and has as long once more.
///
/// It must not block: it is called on the thread of an instance, which serves nobody meanwhile, and is
/// taken for stuck. What takes time is awaited, or done on a thread of its own whose result is awaited.
/// The future is dropped when that deadline expires. A client that has gone before is noticed when it is answered: one that
/// has ended its side of the connection may still read.
pub trait Authenticator: Send + Sync + 'static {
    /// Checks a handshake.
    ///
    /// A token that is sent behind the handshake is the request's `Authorization: Bearer`, instead of any that the
    /// request had. One that renews the token of a connection comes in a request that has nothing else: neither path
    /// nor cookies nor what a proxy adds are kept for as long as a terminal stays.
    fn authenticate<'a>(&'a self, request: &'a http::request::Parts) -> AuthFuture<'a>;

    /// Whether a token that a terminal of this user has sent for a topic allows it to join that, and until when. It is
    /// asked by protocols whose clients have such tokens; by itself it believes none.
    fn subscribe<'a>(
        &'a self,
        token: &'a str,
        user: &'a UserId,
        topic: &'a TopicId,
    ) -> SubscribeFuture<'a> {
        let _ = (token, user, topic);
        let text = "tokens for topics do not count here";
        Box::pin(ready(Err(AuthError::Forbidden(text.to_owned()))))
    }

    /// Why it can let nobody in yet, if it cannot: until then a server is not ready. Whoever could once
    /// let terminals in says `None` for good: those whose token it knows would be sent away as well.
    fn unready(&self) -> Option<&'static str> {
        None
    }

    /// What terminals must send, for the status page.
    fn kind(&self) -> AuthKind {
        AuthKind::Custom
    }
}

/// What [`Authenticator::authenticate`] returns: whose terminal it is, or why it is not let in.
pub type AuthFuture<'a> = Pin<Box<dyn Future<Output = Result<Login, AuthError>> + Send + 'a>>;

/// What [`Authenticator::subscribe`] returns: when the token expires.
pub type SubscribeFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Option<WallTime>, AuthError>> + Send + 'a>>;

/// A terminal that may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The user to whom it belongs.
    pub user: UserId,
    /// When its token expires; the connection is closed then.
    pub expires: Option<WallTime>,
    /// The application's own name for what the terminal logged in with. It comes back in the
    /// events of the connection.
    pub session: Option<String>,
    /// The topics that the terminal joins, and those that it may join by itself. `None`: none. Terminals that may
    /// do the same can share one value.
    pub topics: Option<SharedRights>,
}

impl Login {
    /// The login of a user whose connection does not end by itself, and that has nothing to do with topics.
    pub const fn new(user: UserId) -> Self {
        Self {
            user,
            expires: None,
            session: None,
            topics: None,
        }
    }
}

/// What terminals must send to be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthKind {
    /// The user's name, as `?user=`.
    Open,
    /// A JSON Web Token.
    Jwt,
    /// Something of the application's own.
    Custom,
}

/// Why an authenticator does not let a terminal in. The text is for whoever wrote the terminal: it
/// says what to do, and never repeats the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// 400: the request does not say clearly who connects.
    #[error("{0}")]
    Malformed(String),
    /// 401: the request carries no token.
    #[error("{0}")]
    NoToken(String),
    /// 401: the token is not one that counts here.
    #[error("{0}")]
    InvalidToken(String),
    /// 401: the token counted here, and has expired.
    #[error("{0}")]
    TokenExpired(String),
    /// 403: it is known who connects, and they may not.
    #[error("{0}")]
    Forbidden(String),
    /// 503: nobody can say at present; the terminal may try again.
    #[error("{0}")]
    Unavailable(String),
}

impl AuthError {
    /// The status of the refusal.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::NoToken(_) | Self::InvalidToken(_) | Self::TokenExpired(_) => {
                StatusCode::UNAUTHORIZED
            }
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The error's name in the answer's body.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "bad_request",
            Self::NoToken(_) => "no_token",
            Self::InvalidToken(_) => "invalid_token",
            Self::TokenExpired(_) => "token_expired",
            Self::Forbidden(_) => "forbidden",
            Self::Unavailable(_) => "unavailable",
        }
    }

    /// The `WWW-Authenticate` header that belongs to the answer, if one does.
    pub const fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::NoToken(_) => Some("Bearer"),
            // By RFC 6750 an expired token is an invalid one.
            Self::InvalidToken(_) | Self::TokenExpired(_) => Some("Bearer error=\"invalid_token\""),
            Self::Malformed(_) | Self::Forbidden(_) | Self::Unavailable(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_401_carries_a_challenge() {
        let text = || "why".to_owned();
        for error in [
            AuthError::Malformed(text()),
            AuthError::NoToken(text()),
            AuthError::InvalidToken(text()),
            AuthError::TokenExpired(text()),
            AuthError::Forbidden(text()),
            AuthError::Unavailable(text()),
        ] {
            let unauthorized = error.status() == StatusCode::UNAUTHORIZED;
            assert_eq!(error.challenge().is_some(), unauthorized, "{error:?}");
        }
    }
}
