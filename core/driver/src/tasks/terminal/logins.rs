//! Who a terminal is that says so behind its handshake.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Uri};
use switchboard_core::id::{TopicId, UserId};
use switchboard_core::time::WallTime;
use switchboard_protocol::centrifuge::{LoginRefused, SubscriptionEnd};

use crate::admission::Admitted;
use crate::clock;
use crate::login::{AuthError, Login};
use crate::request::subprotocol::{BEARER, offered_subprotocols};
use crate::runtime::race;

/// Finds out who terminals are, for all of an instance.
pub(crate) struct Logins {
    pub(crate) admitted: Arc<ArcSwap<Admitted>>,
    /// How long an authenticator may take: as long as a handshake, or [`PATIENCE_MAX`](Self::PATIENCE_MAX).
    pub(crate) patience: Duration,
    pub(crate) sleep: Sleep,
    /// Counts and tells a login that fails.
    pub(crate) failed: Box<dyn Fn(&AuthError)>,
}

/// A runtime's sleep.
pub(crate) type Sleep = fn(Duration) -> Pin<Box<dyn Future<Output = ()>>>;

impl Logins {
    /// Clients come anew if their login is not answered for 5 s, of which two may go by until it is known where they stand
    /// in logs and until their row is written.
    pub(crate) const PATIENCE_MAX: Duration = Duration::from_secs(3);

    /// Who a request says it is.
    pub(super) async fn authenticate(&self, parts: Parts) -> Result<Login, AuthError> {
        let judged = async {
            let authenticator = self.admitted.load().admission.authenticator.clone();
            match authenticator {
                Some(authenticator) => authenticator.authenticate(&parts).await,
                None => Err(unavailable("nobody says who a terminal belongs to")),
            }
        };
        let login = race(judged, self.late()).await;
        if let Err(error) = &login {
            (self.failed)(error);
        }
        login
    }

    /// Until when a terminal of this user may be subscribed to a topic by a token for that.
    pub(super) async fn subscription(
        &self,
        token: &str,
        user: &UserId,
        topic: &TopicId,
    ) -> Result<Option<SubscriptionEnd>, LoginRefused> {
        let judged = async {
            let authenticator = self.admitted.load().admission.authenticator.clone();
            match authenticator {
                Some(authenticator) => authenticator.subscribe(token, user, topic).await,
                None => Err(unavailable("nobody says who may join a topic")),
            }
        };
        match race(judged, self.late()).await {
            Ok(expires) => Ok(expires.map(|at| SubscriptionEnd { at, ttl: until(at) })),
            Err(error) => Err(refused(&error)),
        }
    }

    async fn late<T>(&self) -> Result<T, AuthError> {
        (self.sleep)(self.patience).await;
        Err(unavailable("the authenticator has not answered in time"))
    }

    /// Until when a token counts that a terminal sends which was let in as this user.
    pub(super) async fn refresh(&self, token: &str, user: &UserId) -> Result<Login, AuthError> {
        let login = self.authenticate(carrying(no_request(), token)).await?;
        if login.user == *user {
            return Ok(login);
        }
        let error = AuthError::InvalidToken("the token is of another user".to_owned());
        (self.failed)(&error);
        Err(error)
    }
}

fn unavailable(text: &str) -> AuthError {
    AuthError::Unavailable(text.to_owned())
}

/// What an authenticator is asked about a terminal whose handshake is over.
pub(super) fn no_request() -> Parts {
    Request::new(()).into_parts().0
}

/// A request with a token that was sent behind it. It counts instead of all that the request has, if it is one.
pub(super) fn carrying(mut parts: Parts, token: &str) -> Parts {
    if token.is_empty() {
        return parts;
    }
    // What cannot stand in a header is no token.
    let bearer = HeaderValue::try_from(format!("Bearer {token}"));
    let mut bearer = bearer.unwrap_or(HeaderValue::from_static("Bearer"));
    bearer.set_sensitive(true);
    parts.headers.insert(AUTHORIZATION, bearer);
    drop_offered_tokens(&mut parts.headers);
    if let Some(uri) = without_token(&parts.uri) {
        parts.uri = uri;
    }
    parts
}

fn drop_offered_tokens(headers: &mut HeaderMap) {
    let offered = offered_subprotocols(headers).filter(|name| !name.starts_with(BEARER));
    let offered = offered.collect::<Vec<_>>().join(", ");
    match HeaderValue::try_from(offered) {
        Ok(offered) if !offered.is_empty() => {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, offered);
        }
        Ok(_) | Err(_) => {
            headers.remove(SEC_WEBSOCKET_PROTOCOL);
        }
    }
}

/// A target whose query has no `token`. `None`: it has none, or what is left is no target.
fn without_token(uri: &Uri) -> Option<Uri> {
    let query = uri.query()?;
    let is_token = |pair: &&str| pair.split('=').next() == Some("token");
    query.split('&').find(is_token)?;
    let others: Vec<_> = query.split('&').filter(|pair| !is_token(pair)).collect();
    let target = match others.is_empty() {
        true => uri.path().to_owned(),
        false => format!("{}?{}", uri.path(), others.join("&")),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Uri::from_parts(parts).ok()
}

/// What a session is told of it.
pub(super) const fn refused(error: &AuthError) -> LoginRefused {
    match error {
        AuthError::NoToken(_) => LoginRefused::Missing,
        AuthError::Malformed(_) => LoginRefused::Malformed,
        AuthError::InvalidToken(_) => LoginRefused::Invalid,
        AuthError::TokenExpired(_) => LoginRefused::Expired,
        AuthError::Forbidden(_) => LoginRefused::Forbidden,
        AuthError::Unavailable(_) => LoginRefused::Unavailable,
    }
}

/// Seconds until the token of a login expires.
pub(super) fn ttl(login: &Login) -> Option<u32> {
    login.expires.map(until)
}

/// Seconds until a token expires: one at least, or its client asks for a new one again and again.
pub(super) fn until(at: WallTime) -> u32 {
    let left = at.as_millis().saturating_sub(clock::now().wall.as_millis());
    u32::try_from(left / 1000).unwrap_or(u32::MAX).max(1)
}

/// When a terminal goes whose token expires and that may renew it until then.
pub(super) fn end_of(login: &Login, grace: Duration) -> Option<WallTime> {
    let grace = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
    let later = |expires: WallTime| expires.as_millis().saturating_add(grace);
    login.expires.map(later).map(WallTime::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// H01: of two tokens neither would count: the one that is sent last stands alone.
    #[test]
    fn a_token_that_is_sent_behind_the_handshake_counts_instead_of_others() {
        let request = Request::get("/connection/websocket?format=protobuf&token=old&x=1")
            .header("authorization", "Bearer old")
            .header("sec-websocket-protocol", "bearer.old, centrifuge-protobuf")
            .header("cookie", "kept");
        let parts = request.body(()).expect("a request").into_parts().0;
        let untouched = carrying(parts.clone(), "");
        assert_eq!(untouched.headers, parts.headers);
        assert_eq!(untouched.uri, parts.uri);

        let parts = carrying(parts, "new");
        assert_eq!(parts.uri, "/connection/websocket?format=protobuf&x=1");
        let value = |name| {
            parts
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        assert_eq!(value("authorization"), Some("Bearer new"));
        assert_eq!(value("sec-websocket-protocol"), Some("centrifuge-protobuf"));
        assert_eq!(value("cookie"), Some("kept"));
    }

    #[test]
    fn what_stood_alone_for_a_token_is_gone_without_it() {
        let request = Request::get("http://host/connection/websocket?token=old")
            .header("sec-websocket-protocol", "bearer.old");
        let parts = request.body(()).expect("a request").into_parts().0;
        let parts = carrying(parts, "new");
        assert_eq!(parts.uri, "http://host/connection/websocket");
        assert!(!parts.headers.contains_key("sec-websocket-protocol"));
    }
}
