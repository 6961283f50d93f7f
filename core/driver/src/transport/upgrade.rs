//! Upgrades to WebSocket, of terminals and of links.

use http::header::{
    CONNECTION, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version};
use tungstenite::handshake::derive_accept_key;

use crate::answer::{ConnectBody, refusal};

/// The answer that completes a handshake.
pub(crate) fn switching(accept: &HeaderValue, subprotocol: Option<HeaderValue>) -> Response<()> {
    let mut response = Response::new(());
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
    /// Its method is none of these: 405.
    Method(&'static [&'static str]),
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
        return Err(BadHandshake::Method(&["GET"]));
    }
    if version != Version::HTTP_11 {
        return Err(BadHandshake::Header("a WebSocket handshake needs HTTP/1.1"));
    }
    if !lists(headers, &UPGRADE, "websocket") {
        return Err(BadHandshake::Header("connect with `Upgrade: websocket`"));
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

/// Whether a header lists a token.
pub(super) fn lists(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
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
            Self::Method(methods) => {
                let text = format!("connect with {}", methods.join(" or "));
                let mut response =
                    refusal(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &text);
                let allowed = HeaderValue::try_from(methods.join(", "));
                if let Ok(allowed) = allowed {
                    response.headers_mut().insert(http::header::ALLOW, allowed);
                }
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

#[cfg(test)]
mod tests {
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
        assert_eq!(post, Err(BadHandshake::Method(&["GET"])));
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
