//! Answers that refuse a request.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

use crate::login::AuthError;

/// When a terminal may try again that nobody could let in, or that finds no place, in seconds: by then another instance
/// may have one.
const RETRY_SECONDS: u16 = 1;

/// The body of an answer to a handshake.
pub type ConnectBody = Full<Bytes>;

/// What an answer that refuses is called, in its extensions and in its body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Code(pub(crate) &'static str);

/// Why an authenticator has not let a terminal in, in an answer's extensions: for the log.
#[derive(Clone, Debug)]
pub(crate) struct Why(pub(crate) Arc<str>);

/// An answer that says what was wrong, as `{"error": {"code", "message"}}`. Every refusal of a server
/// has this form.
pub fn refusal(status: StatusCode, code: &'static str, message: &str) -> Response<Full<Bytes>> {
    let body = error_body(code, message);
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.extensions_mut().insert(Code(code));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// The body of an answer that says what was wrong.
pub(crate) fn error_body(code: &str, message: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Body<'a> {
        error: Content<'a>,
    }
    #[derive(Serialize)]
    struct Content<'a> {
        code: &'a str,
        message: &'a str,
    }
    let error = Content { code, message };
    let mut body =
        serde_json::to_vec(&Body { error }).expect("texts can always be written as JSON");
    body.push(b'\n');
    body
}

/// The answer to a handshake that the authenticator does not let in.
pub(crate) fn unauthenticated(error: &AuthError) -> Response<Full<Bytes>> {
    let text = error.to_string();
    let mut response = refusal(error.status(), error.code(), &text);
    response.extensions_mut().insert(Why(text.into()));
    if let Some(challenge) = error.challenge() {
        let challenge = HeaderValue::from_static(challenge);
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    if error.status() == StatusCode::SERVICE_UNAVAILABLE {
        return retry_after(response, RETRY_SECONDS);
    }
    response
}

/// 503, and when to try again.
pub(crate) fn unavailable(text: &str) -> Response<Full<Bytes>> {
    let response = refusal(StatusCode::SERVICE_UNAVAILABLE, "unavailable", text);
    retry_after(response, RETRY_SECONDS)
}

/// The same answer, and when to try again.
pub(crate) fn retry_after(
    mut response: Response<Full<Bytes>>,
    seconds: u16,
) -> Response<Full<Bytes>> {
    let headers = response.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_without_token_is_told_so() {
        let response = unauthenticated(&AuthError::NoToken("send one".to_owned()));
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        let busy = unauthenticated(&AuthError::Unavailable("later".to_owned()));
        assert_eq!(busy.status(), 503);
        assert!(busy.headers().contains_key(RETRY_AFTER));
    }
}
