//! The authenticator that believes what a terminal says.

use std::future::ready;
use std::sync::LazyLock;

use http::request::Parts;
use switchboard_core::id::UserId;
use switchboard_core::topic::{SharedRights, TopicPattern, TopicRights};

use switchboard_driver::{AuthError, AuthFuture, AuthKind, Authenticator, Login, query};

/// Believes the user that the request names, as `GET /connect?user=NAME`, and has its terminal join any
/// topic that it asks for. For development, and for networks in which everybody is trusted.
#[derive(Clone, Copy, Debug)]
pub struct Open;

/// All terminals may join all topics.
static ANY_TOPIC: LazyLock<SharedRights> = LazyLock::new(|| {
    SharedRights::new(TopicRights {
        joins: Vec::new(),
        may_join: vec![TopicPattern::Prefix(String::new())],
    })
});

impl Open {
    /// The user whom the request names.
    ///
    /// # Errors
    ///
    /// If it names none, an impossible one, or more than one.
    pub fn login(self, parts: &Parts) -> Result<Login, AuthError> {
        const HOW: &str = "name the user in the query: /connect?user=NAME";
        let mut named = None;
        for pair in query::pairs(parts.uri.query()) {
            let (name, value) = pair.map_err(|error| AuthError::Malformed(error.to_string()))?;
            if name == "user" && named.replace(value).is_some() {
                return Err(AuthError::Malformed(
                    "the query names two users: name one".to_owned(),
                ));
            }
        }
        let name = named.ok_or_else(|| AuthError::Malformed(HOW.to_owned()))?;
        let user =
            UserId::new(&name).map_err(|error| AuthError::Malformed(format!("{error}; {HOW}")))?;
        Ok(Login {
            topics: Some(ANY_TOPIC.clone()),
            ..Login::new(user)
        })
    }
}

impl Authenticator for Open {
    fn authenticate<'a>(&'a self, request: &'a Parts) -> AuthFuture<'a> {
        Box::pin(ready(self.login(request)))
    }

    fn kind(&self) -> AuthKind {
        AuthKind::Open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_takes_the_user_from_the_query() {
        let login = Open
            .login(&request("/connect?user=ann%20%C3%A9&x=1"))
            .expect("a good user");
        assert_eq!(login.user.as_str(), "ann é");
        assert_eq!(login.expires, None);
    }

    /// H07: an empty user is nobody.
    #[test]
    fn open_refuses_a_user_that_cannot_be() {
        for uri in [
            "/connect",
            "/connect?user",
            "/connect?user=",
            "/connect?user=%0a",
            "/connect?user=%ff",
            &format!("/connect?user={}", "x".repeat(129)),
        ] {
            let error = Open.login(&request(uri)).expect_err(uri);
            assert_eq!(error.status(), http::StatusCode::BAD_REQUEST, "{uri}");
        }
    }

    /// H01: of two names neither wins, and headers name nobody.
    #[test]
    fn open_refuses_two_users_and_ignores_identity_headers() {
        assert!(Open.login(&request("/connect?user=ann&user=bob")).is_err());
        let mut parts = request("/connect?user=ann");
        for header in ["x-user", "x-user-id", "x-forwarded-user", "remote-user"] {
            parts
                .headers
                .insert(header, http::HeaderValue::from_static("bob"));
        }
        let login = Open.login(&parts).expect("one user is named");
        assert_eq!(login.user.as_str(), "ann");
    }

    fn request(uri: &str) -> Parts {
        let request = http::Request::get(uri).body(()).expect("a good request");
        request.into_parts().0
    }
}
