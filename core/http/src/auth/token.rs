//! Where a terminal's token comes from.

use std::borrow::Cow;

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use http::request::Parts;

use switchboard_driver::{
    AuthError, BEARER, SUBPROTOCOL, offered_subprotocols, query, selected_subprotocol,
};

const HOW: &str = "send `Authorization: Bearer TOKEN`, or for a WebSocket in a browser offer two subprotocols: \
    new WebSocket(url, [\"switchboard.v1\", \"bearer.\" + token])";

/// Whether a token is taken from the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryToken {
    /// `?token=` is no token: query strings end up in logs and histories.
    Ignored,
    /// `?token=` is a token.
    Accepted,
}

/// The one token of a request.
///
/// # Errors
///
/// If there is none, or more than one: then it is not clear who speaks.
pub(super) fn find(parts: &Parts, in_query: QueryToken) -> Result<Cow<'_, str>, AuthError> {
    let mut tokens = authorization(&parts.headers)
        .chain(subprotocols(&parts.headers))
        .map(|token| Ok(Cow::Borrowed(token)))
        .chain(query_tokens(parts, in_query));
    let Some(token) = tokens.next() else {
        return Err(AuthError::NoToken(HOW.to_owned()));
    };
    if tokens.next().is_some() {
        return Err(AuthError::Malformed(format!(
            "there is more than one token: {HOW}"
        )));
    }
    let token = token?;
    if token.is_empty() {
        return Err(AuthError::NoToken(HOW.to_owned()));
    }
    let by_subprotocol =
        offered_subprotocols(&parts.headers).any(|protocol| protocol.starts_with(BEARER));
    if by_subprotocol && selected_subprotocol(&parts.headers).is_none() {
        return Err(AuthError::Malformed(format!(
            "`{SUBPROTOCOL}` is not offered beside the token: {HOW}"
        )));
    }
    Ok(token)
}

fn authorization(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers.get_all(AUTHORIZATION).iter().filter_map(bearer)
}

/// The token of an `Authorization` header, if it is of the kind `Bearer`.
pub(crate) fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn subprotocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    offered_subprotocols(headers).filter_map(|protocol| protocol.strip_prefix(BEARER))
}

fn query_tokens(
    parts: &Parts,
    in_query: QueryToken,
) -> impl Iterator<Item = Result<Cow<'_, str>, AuthError>> {
    let text = match in_query {
        QueryToken::Accepted => parts.uri.query(),
        QueryToken::Ignored => None,
    };
    query::pairs(text).filter_map(|pair| match pair {
        Ok((name, value)) => (name == "token").then_some(Ok(value)),
        Err(error) => Some(Err(AuthError::Malformed(error.to_string()))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Header = (&'static str, &'static str);

    #[test]
    fn a_token_is_found_in_each_of_its_places() {
        let cases: &[(&str, &[Header], QueryToken)] = &[
            (
                "/connect",
                &[("authorization", "Bearer a.b.c")],
                QueryToken::Ignored,
            ),
            (
                "/connect",
                &[("authorization", "bearer  a.b.c")],
                QueryToken::Ignored,
            ),
            (
                "/connect",
                &[("sec-websocket-protocol", "switchboard.v1, bearer.a.b.c")],
                QueryToken::Ignored,
            ),
            (
                "/connect",
                &[
                    ("sec-websocket-protocol", "bearer.a.b.c"),
                    ("sec-websocket-protocol", "switchboard.v1"),
                ],
                QueryToken::Ignored,
            ),
            (
                "/connect",
                &[
                    ("authorization", "Basic c2l0ZTpnYXRl"),
                    ("sec-websocket-protocol", "switchboard.v1,bearer.a.b.c"),
                ],
                QueryToken::Ignored,
            ),
            ("/connect?token=a.b.c", &[], QueryToken::Accepted),
            (
                "/connect?token=other",
                &[("authorization", "Bearer a.b.c")],
                QueryToken::Ignored,
            ),
        ];
        for (uri, headers, in_query) in cases {
            let parts = request(uri, headers);
            assert_eq!(
                find(&parts, *in_query).as_deref(),
                Ok("a.b.c"),
                "{uri} {headers:?}"
            );
        }
    }

    /// H05: a token in the query counts only where the operator has asked for it.
    #[test]
    fn without_a_token_the_answer_says_how_to_send_one() {
        let cases: &[(&str, &[Header])] = &[
            ("/connect", &[]),
            ("/connect?token=a.b.c", &[]),
            ("/connect?user=ann", &[]),
            ("/connect", &[("authorization", "Basic YTpi")]),
            ("/connect", &[("authorization", "Bearer ")]),
            ("/connect", &[("x-user-id", "ann")]),
            ("/connect", &[("cookie", "token=a.b.c")]),
        ];
        for (uri, headers) in cases {
            let parts = request(uri, headers);
            let error = find(&parts, QueryToken::Ignored).expect_err(uri);
            assert_eq!(error.status(), 401, "{uri} {headers:?}");
            assert_eq!(error.challenge(), Some("Bearer"));
            assert!(error.to_string().contains("Authorization: Bearer"));
            assert!(!error.to_string().contains("a.b.c"));
        }
    }

    /// H01: of two tokens neither wins, whatever their order.
    #[test]
    fn two_tokens_are_refused() {
        let cases: &[(&str, &[Header])] = &[
            (
                "/connect",
                &[
                    ("authorization", "Bearer one"),
                    ("authorization", "Bearer two"),
                ],
            ),
            (
                "/connect",
                &[
                    ("authorization", "Bearer one"),
                    ("sec-websocket-protocol", "switchboard.v1, bearer.two"),
                ],
            ),
            (
                "/connect",
                &[(
                    "sec-websocket-protocol",
                    "switchboard.v1, bearer.one, bearer.two",
                )],
            ),
            ("/connect?token=one&token=two", &[]),
            ("/connect?token=one", &[("authorization", "Bearer two")]),
        ];
        for (uri, headers) in cases {
            let parts = request(uri, headers);
            let error = find(&parts, QueryToken::Accepted).expect_err(uri);
            assert_eq!(error.status(), 400, "{uri} {headers:?}");
        }
    }

    /// H05: the answer never carries the token back.
    #[test]
    fn the_answer_selects_our_subprotocol_and_never_the_token() {
        let cases = [
            ("switchboard.v1, bearer.x", Some("switchboard.v1")),
            ("bearer.x,switchboard.v1", Some("switchboard.v1")),
            ("switchboard.v1", Some("switchboard.v1")),
            ("bearer.x", None),
            ("chat", None),
        ];
        for (offer, selected) in cases {
            let parts = request("/connect", &[("sec-websocket-protocol", offer)]);
            let answer = selected_subprotocol(&parts.headers);
            assert_eq!(answer, selected.map(HeaderValue::from_static), "{offer}");
        }
        let alone = request("/connect", &[("sec-websocket-protocol", "bearer.x")]);
        let error = find(&alone, QueryToken::Ignored).expect_err("nothing could be selected");
        assert_eq!(error.status(), 400);
    }

    fn request(uri: &str, headers: &[Header]) -> Parts {
        let mut request = http::Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a good request").into_parts().0
    }
}
