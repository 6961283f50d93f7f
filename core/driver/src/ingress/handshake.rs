//! From a WebSocket handshake to an accepted terminal, for any hyper-based server.

use std::sync::Arc;

use bytes::Bytes;
use futures_channel::oneshot;
use http::header::{
    CONNECTION, HeaderName, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::upgrade::OnUpgrade;
use switchboard_core::event::{Handshake, Refused};
use switchboard_protocol::Protocol;
use tungstenite::handshake::derive_accept_key;

use super::refusals;
use crate::answer::{ConnectBody, refusal, unauthenticated};
use crate::handle::Handle;
use crate::inbox::{Accept, Input};
use crate::login::{AuthError, Login};
use crate::members::{Member, Shared};
use crate::permits::Seat;
use crate::request::subprotocol::{selected_protocol, selected_subprotocol};

/// What a terminal is told that finds no place: by then another instance may have one.
const RETRY_SECONDS: u16 = 1;

/// What a terminal is told whose user has too many connections: it takes an ended one or more.
const RETRY_SECONDS_OF_USER: u16 = 30;

impl Handle {
    /// Answers a WebSocket handshake of any hyper-based server, and serves the terminal once the
    /// response is sent. The caller has checked origin and login. If its future is dropped, see
    /// [Dropped futures](Handle#dropped-futures).
    pub async fn connect<B>(&self, request: Request<B>, login: Login) -> Response<ConnectBody> {
        connect(&self.shared, self.shared.emptiest(), request, login, None).await
    }
}

/// Answers a handshake of a terminal that may connect, and has `member` serve it.
pub(crate) async fn connect<B>(
    shared: &Shared,
    member: &Member,
    mut request: Request<B>,
    login: Login,
    place: Option<Arc<Seat>>,
) -> Response<ConnectBody> {
    let user = login.user.clone();
    let response = answer(shared, member, &mut request, login, place).await;
    refusals::note(member, request.headers(), Some(&user), &response);
    response
}

async fn answer<B>(
    shared: &Shared,
    member: &Member,
    request: &mut Request<B>,
    login: Login,
    place: Option<Arc<Seat>>,
) -> Response<ConnectBody> {
    let accept = match check(request.method(), request.version(), request.headers()) {
        Ok(accept) => accept,
        Err(error) => return error.response(),
    };
    let subprotocol = selected_subprotocol(request.headers());
    if shared
        .events
        .as_ref()
        .is_some_and(|queue| queue.is_overwhelmed())
    {
        return unavailable("the application does not keep up with the terminals that come and go");
    }
    let protocol = selected_protocol(request.headers()).unwrap_or_default();
    match ask(member, hyper::upgrade::on(request), protocol, login, place).await {
        Some(Ok(())) => switching(&accept, subprotocol),
        Some(Err(refused)) => refused_response(refused),
        None => unavailable("this server has stopped"),
    }
}

async fn ask(
    member: &Member,
    upgrade: OnUpgrade,
    protocol: Protocol,
    login: Login,
    place: Option<Arc<Seat>>,
) -> Option<Result<(), Refused>> {
    let (answer, answered) = oneshot::channel();
    let accept = Accept {
        handshake: Handshake {
            user: login.user,
            expires: login.expires,
            size: protocol.size(),
        },
        protocol,
        session: login.session,
        upgrade,
        seat: member.seat(),
        place,
        answer,
    };
    member
        .inbox
        .send(Input::Accept(Box::new(accept)))
        .await
        .ok()?;
    answered.await.ok()
}

/// The answer that completes a handshake.
pub(crate) fn switching(
    accept: &HeaderValue,
    subprotocol: Option<HeaderValue>,
) -> Response<ConnectBody> {
    let mut response = Response::new(ConnectBody::new(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept.clone());
    if let Some(subprotocol) = subprotocol {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    response
}

/// What is wrong with a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHandshake {
    /// 405.
    Method,
    /// 400: a header is missing, or says something else.
    Header(&'static str),
    /// 426: the only version is 13.
    WebSocketVersion,
}

/// Checks a handshake by RFC 6455, section 4.2.1. Returns what proves that it was understood.
pub(crate) fn check(
    method: &Method,
    version: Version,
    headers: &HeaderMap,
) -> Result<HeaderValue, BadHandshake> {
    if method != Method::GET {
        return Err(BadHandshake::Method);
    }
    if version != Version::HTTP_11 {
        return Err(BadHandshake::Header("a WebSocket handshake needs HTTP/1.1"));
    }
    if !lists(headers, &UPGRADE, "websocket") {
        return Err(BadHandshake::Header(
            "this is a WebSocket address: connect with `Upgrade: websocket`",
        ));
    }
    if !lists(headers, &CONNECTION, "upgrade") {
        return Err(BadHandshake::Header(
            "`Connection: Upgrade` is missing: does a proxy drop it?",
        ));
    }
    match headers.get(SEC_WEBSOCKET_VERSION) {
        Some(version) if version == "13" => {}
        Some(_) => return Err(BadHandshake::WebSocketVersion),
        None => {
            return Err(BadHandshake::Header(
                "`Sec-WebSocket-Version` is missing: send 13",
            ));
        }
    }
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return Err(BadHandshake::Header("send one `Sec-WebSocket-Key`"));
    };
    if !is_sixteen_bytes(key.as_bytes()) {
        return Err(BadHandshake::Header(
            "`Sec-WebSocket-Key` is not 16 bytes in base64",
        ));
    }
    HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
        .map_err(|_| BadHandshake::Header("`Sec-WebSocket-Key` cannot be answered"))
}

/// Whether a text is 16 bytes in base64. Of its last symbol four bits say nothing, and whatever they are
/// is taken: the key that RFC 6455 prints in section 4.1 has some that are not zero.
fn is_sixteen_bytes(text: &[u8]) -> bool {
    let symbol = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    text.strip_suffix(b"==")
        .is_some_and(|symbols| symbols.len() == 22 && symbols.iter().all(symbol))
}

fn lists(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(token))
}

impl BadHandshake {
    pub(crate) fn response(self) -> Response<ConnectBody> {
        match self {
            Self::Method => {
                let text = "connect with GET and `Upgrade: websocket`";
                let mut response =
                    refusal(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text);
                response
                    .headers_mut()
                    .insert(http::header::ALLOW, HeaderValue::from_static("GET"));
                response
            }
            Self::Header(text) => refusal(StatusCode::BAD_REQUEST, "bad_handshake", text),
            Self::WebSocketVersion => {
                let text = "the WebSocket version must be 13";
                let mut response = refusal(StatusCode::UPGRADE_REQUIRED, "websocket_version", text);
                let headers = response.headers_mut();
                headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
                response
            }
        }
    }
}

fn refused_response(refused: Refused) -> Response<ConnectBody> {
    let text = refused.to_string();
    match refused {
        Refused::TokenExpired => unauthenticated(&AuthError::TokenExpired(text)),
        Refused::TooManyOfUser { .. } => {
            let response = refusal(StatusCode::TOO_MANY_REQUESTS, "too_many_connections", &text);
            retry_after(response, RETRY_SECONDS_OF_USER)
        }
        Refused::Full { .. } | Refused::Draining => unavailable(&text),
    }
}

/// 503, and when to try again.
pub(crate) fn unavailable(text: &str) -> Response<ConnectBody> {
    let response = refusal(StatusCode::SERVICE_UNAVAILABLE, "unavailable", text);
    retry_after(response, RETRY_SECONDS)
}

fn retry_after(mut response: Response<ConnectBody>, seconds: u16) -> Response<ConnectBody> {
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

#[cfg(test)]
mod tests {
    use http::header::WWW_AUTHENTICATE;

    use super::*;

    #[test]
    fn the_handshake_of_the_rfc_is_answered_as_there() {
        assert_eq!(
            check(&Method::GET, Version::HTTP_11, &headers(&[])),
            Ok(HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
        );
    }

    /// RFC 6455, section 4.1, prints the first.
    #[test]
    fn bits_of_the_key_that_say_nothing_are_not_looked_at() {
        for key in ["AQIDBAUGBwgJCgsMDQ4PEC==", "AQIDBAUGBwgJCgsMDQ4PE/=="] {
            let sent = headers(&[("sec-websocket-key", key)]);
            let accept = check(&Method::GET, Version::HTTP_11, &sent).expect(key);
            assert_eq!(accept, derive_accept_key(key.as_bytes()));
        }
        for key in [
            "AQIDBAUGBwgJCgsMDQ4PEC",
            "AQIDBAUGBwgJCgsMDQ4PEC=",
            "AQIDBAUGBwgJCgsMDQ4PECA=",
            "AQIDBAUGBwgJCgsMDQ4P==",
            "AQIDBAUGBwgJCgsMDQ4PECAg",
            "AQIDBAUGBwg-CgsMDQ4PEC==",
            "AQIDBAUGBwgJCgsMDQ4=EC==",
        ] {
            let sent = headers(&[("sec-websocket-key", key)]);
            assert!(
                check(&Method::GET, Version::HTTP_11, &sent).is_err(),
                "{key}"
            );
        }
    }

    #[test]
    fn header_names_and_lists_are_read_as_http_says() {
        let sent = headers(&[
            ("connection", "keep-alive, upgrade"),
            ("upgrade", "WebSocket"),
        ]);
        assert!(check(&Method::GET, Version::HTTP_11, &sent).is_ok());
    }

    #[test]
    fn what_is_no_handshake_is_told_what_is_missing() {
        for (name, value, status) in [
            ("upgrade", "", StatusCode::BAD_REQUEST),
            ("connection", "keep-alive", StatusCode::BAD_REQUEST),
            ("sec-websocket-version", "8", StatusCode::UPGRADE_REQUIRED),
            ("sec-websocket-key", "c2hvcnQ=", StatusCode::BAD_REQUEST),
            (
                "sec-websocket-key",
                "not base64 at all!!!",
                StatusCode::BAD_REQUEST,
            ),
        ] {
            let error = check(&Method::GET, Version::HTTP_11, &headers(&[(name, value)]));
            assert_eq!(
                error.expect_err(name).response().status(),
                status,
                "{name}: {value}"
            );
        }
        let post = check(&Method::POST, Version::HTTP_11, &headers(&[]));
        assert_eq!(post, Err(BadHandshake::Method));
    }

    #[test]
    fn every_refusal_is_a_status_that_says_whether_to_come_back() {
        for (refused, status, retry) in [
            (Refused::TokenExpired, 401, false),
            (Refused::TooManyOfUser { limit: 1 }, 429, true),
            (Refused::Full { limit: 1 }, 503, true),
            (Refused::Draining, 503, true),
        ] {
            let response = refused_response(refused);
            assert_eq!(response.status(), status);
            assert_eq!(
                response.headers().contains_key(RETRY_AFTER),
                retry,
                "{refused:?}"
            );
            assert_eq!(
                response.headers().contains_key(WWW_AUTHENTICATE),
                status == 401,
                "{refused:?}"
            );
        }
    }

    fn headers(changes: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let sent = [
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        for (name, value) in sent.iter().chain(changes) {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        headers
    }
}
