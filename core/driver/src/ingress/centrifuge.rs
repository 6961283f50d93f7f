//! Where clients of Centrifuge connect, over which transport, and what they say first.

use std::borrow::Cow;
use std::pin::pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, CONTENT_TYPE, HeaderMap, HeaderValue,
};
use http::request::Parts;
use http::{Method, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use hyper::body::Body;
use switchboard_core::frame::Payload;
use switchboard_protocol::{Family, Protocol};

use super::takeover::Refusal;
use crate::answer::{ConnectBody, refusal, unavailable};
use crate::permits::ByteBudget;
use crate::request::query;
use crate::transport::{self, Asked, BadHandshake, TransportKind};

/// Where commands come of those whose own connection carries none.
pub(super) const EMULATION_PATH: &str = "/emulation";

/// What a body is in Protobuf.
const OCTETS: &str = "application/octet-stream";

/// How long a browser may remember what it was allowed, in seconds.
const ALLOWED_FOR: u16 = 300;

/// A way in.
#[derive(Clone, Copy)]
pub(super) struct Entrance {
    path: &'static str,
    kind: TransportKind,
    family: Family,
    methods: &'static [&'static str],
}

const ENTRANCES: [Entrance; 6] = [
    Entrance {
        path: "/connection/websocket",
        kind: TransportKind::WebSocket,
        family: Family::Centrifuge,
        methods: &["GET"],
    },
    Entrance {
        path: "/connection/http_stream",
        kind: TransportKind::HttpStream,
        family: Family::Centrifuge,
        methods: &["POST"],
    },
    Entrance {
        path: "/connection/sse",
        kind: TransportKind::EventStream,
        family: Family::Centrifuge,
        methods: &["GET", "POST"],
    },
    Entrance {
        path: "/connection/uni_websocket",
        kind: TransportKind::WebSocket,
        family: Family::CentrifugeOneWay,
        methods: &["GET"],
    },
    Entrance {
        path: "/connection/uni_http_stream",
        kind: TransportKind::HttpStream,
        family: Family::CentrifugeOneWay,
        methods: &["POST"],
    },
    Entrance {
        path: "/connection/uni_sse",
        kind: TransportKind::EventStream,
        family: Family::CentrifugeOneWay,
        methods: &["GET", "POST"],
    },
];

impl Entrance {
    /// The one at this path.
    pub(super) fn at(path: &str) -> Option<Self> {
        let mut all = ENTRANCES.into_iter();
        all.find(|entrance| entrance.path == path)
    }

    /// What a request asks for here.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(super) fn asked(self, parts: &Parts) -> Result<Asked, BadHandshake> {
        let protocol = match (self.family, self.kind) {
            (Family::Centrifuge, TransportKind::WebSocket) if wants_protobuf(&parts.uri) => {
                Protocol::CentrifugeProtobuf
            }
            (Family::Centrifuge, TransportKind::HttpStream) if is_protobuf(&parts.headers) => {
                Protocol::CentrifugeProtobuf
            }
            (family, _) => Protocol::usual(family),
        };
        match self.kind {
            TransportKind::WebSocket => transport::asked_websocket(parts, protocol),
            kind @ (TransportKind::EventStream | TransportKind::HttpStream) => {
                transport::asked_stream(parts, kind, self.methods, protocol)
            }
        }
    }

    /// What a terminal has said first, if that came with its request.
    ///
    /// # Errors
    ///
    /// If it had to.
    pub(super) async fn first<B: Body<Data = Bytes>>(
        self,
        parts: &Parts,
        body: B,
        limit: usize,
        room: &Arc<ByteBudget>,
    ) -> Result<Option<Payload>, Refusal> {
        if parts.method == Method::POST {
            let body = read(body, limit, room).await?;
            return match is_protobuf(&parts.headers) {
                true => Ok(Some(Payload::binary(body))),
                false => text(body).map(Some),
            };
        }
        let said = said_in_query(&parts.uri);
        match (self.kind, self.family) {
            (TransportKind::WebSocket, Family::CentrifugeOneWay) => Ok(said),
            (TransportKind::WebSocket, _) => Ok(None),
            (_, Family::CentrifugeOneWay) => Ok(Some(said.unwrap_or_else(|| String::new().into()))),
            (TransportKind::EventStream | TransportKind::HttpStream, _) => match said {
                Some(said) => Ok(Some(said)),
                None => Err(bad_request("`cf_connect` must have the connect command")),
            },
        }
    }
}

/// Whether a request asks whether a page may ask. Browsers do so before they send what a form could not.
pub(super) fn is_preflight(parts: &Parts) -> bool {
    parts.method == Method::OPTIONS
}

/// Allows what is asked: the origin is checked.
pub(super) fn preflight(headers: &HeaderMap) -> Refusal {
    let mut response = done(headers);
    let said = response.headers_mut();
    let methods = HeaderValue::from_static("GET, POST, OPTIONS");
    said.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    said.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(ALLOWED_FOR));
    if let Some(wanted) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        said.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    response
}

/// The answer 204 to what was taken, without a body.
pub(super) fn done(headers: &HeaderMap) -> Box<Response<ConnectBody>> {
    let mut response = Box::new(Response::new(ConnectBody::default()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    transport::readable(headers, response.headers_mut());
    response
}

/// Whether a body is in Protobuf.
pub(super) fn is_protobuf(headers: &HeaderMap) -> bool {
    let stated = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let media_type = stated.and_then(|value| value.split(';').next());
    media_type.is_some_and(|name| name.trim().eq_ignore_ascii_case(OCTETS))
}

/// Reads a body. `room`: for what has come of all of them.
///
/// # Errors
///
/// If it is too large, or does not come, or others take all the room.
pub(super) async fn read<B: Body<Data = Bytes>>(
    body: B,
    limit: usize,
    room: &Arc<ByteBudget>,
) -> Result<Bytes, Refusal> {
    let crowded = || Box::new(unavailable("too much is being said at once"));
    let mut held = room.try_take(0).ok_or_else(crowded)?;
    let mut read = BytesMut::new();
    let mut body = pin!(body);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| bad_request("the body is not complete"))?;
        // What is no data are trailers, which say nothing here.
        let data = frame.into_data().unwrap_or_default();
        if read.len() + data.len() > limit {
            let text = format!("the body has more than {limit} bytes");
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            return Err(Box::new(refusal(status, "too_large", &text)));
        }
        if !held.grow(data.len()) {
            return Err(crowded());
        }
        read.extend_from_slice(&data);
    }
    Ok(read.freeze())
}

pub(super) fn bad_request(text: &str) -> Refusal {
    Box::new(refusal(StatusCode::BAD_REQUEST, "bad_request", text))
}

fn text(bytes: Bytes) -> Result<Payload, Refusal> {
    Payload::text(bytes).map_err(|_| bad_request("the body is not a text"))
}

/// The connect command or request of a query. It has a token in it: nothing repeats it.
fn said_in_query(uri: &Uri) -> Option<Payload> {
    let mut pairs = uri.query().unwrap_or_default().split('&');
    let said = pairs.find_map(|pair| pair.strip_prefix("cf_connect="))?;
    // Browsers write it as a form, in which a space is a plus sign.
    let said = said.replace('+', " ");
    let said = query::decode(&said).ok()?;
    Some(said.into_owned().into())
}

/// Whether a query asks for Protobuf. Other parameters are others' business, and so is what cannot be read.
fn wants_protobuf(uri: &Uri) -> bool {
    let mut wishes = query::pairs(uri.query()).flatten();
    wishes.any(|(name, value): (Cow<'_, str>, Cow<'_, str>)| {
        matches!(&*name, "format" | "cf_protocol") && value == "protobuf"
    })
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use http::Request;
    use http_body_util::Full;

    use super::*;

    fn request(method: &Method, uri: &str, media_type: &str) -> Parts {
        let request = Request::builder().method(method).uri(uri);
        let request = request.header(CONTENT_TYPE, media_type).body(());
        request.expect("a request").into_parts().0
    }

    fn first(parts: &Parts, body: &str) -> Result<Option<Payload>, StatusCode> {
        let entrance = Entrance::at(parts.uri.path()).expect("an entrance");
        let body = Full::new(Bytes::from(body.to_owned()));
        let room = ByteBudget::new(1000);
        let first = entrance.first(parts, body, 16, &room).now_or_never();
        first
            .expect("the body is there")
            .map_err(|refusal| refusal.status())
    }

    fn text(text: &str) -> Option<Payload> {
        Some(Payload::from(text.to_owned()))
    }

    #[test]
    fn what_is_said_first_comes_with_the_request_where_the_transport_carries_nothing() {
        let json = "application/json";
        let get = |path: &str| request(&Method::GET, &format!("/connection/{path}"), json);
        let post = |path: &str| request(&Method::POST, &format!("/connection/{path}"), json);
        let said = r#"{"id":1}"#;
        let query = "cf_connect=%7B%22id%22%3A1%7D";
        let missing = StatusCode::BAD_REQUEST;
        for (parts, body, expected) in [
            (get("websocket?format=json"), "", Ok(None)),
            (post("http_stream"), said, Ok(text(said))),
            (get(&format!("sse?a=b&{query}")), "", Ok(text(said))),
            (get("sse"), "", Err(missing)),
            (get("sse?cf_connect=%"), "", Err(missing)),
            (post("sse"), said, Ok(text(said))),
            (get("uni_sse"), "", Ok(text(""))),
            (get(&format!("uni_sse?{query}")), "", Ok(text(said))),
            (get("uni_websocket"), "", Ok(None)),
            (get(&format!("uni_websocket?{query}")), "", Ok(text(said))),
            (get("sse?cf_connect=a+b%2B"), "", Ok(text("a b+"))),
            (
                post("http_stream"),
                "seventeen bytes..",
                Err(StatusCode::PAYLOAD_TOO_LARGE),
            ),
        ] {
            assert_eq!(first(&parts, body), expected, "{}", parts.uri);
        }
    }

    /// H10: bodies that do not end take no more than there is for all of them together.
    #[test]
    fn what_has_come_of_bodies_is_bounded() {
        let room = ByteBudget::new(10);
        let body = || Full::new(Bytes::from_static(b"seven b"));
        let status = |read: Result<Bytes, Refusal>| read.map_err(|refusal| refusal.status());
        let before = room.try_take(5).expect("there is room");
        let refused = read(body(), 100, &room).now_or_never().expect("at once");
        assert_eq!(status(refused), Err(StatusCode::SERVICE_UNAVAILABLE));
        drop(before);
        for _ in 0..2 {
            let taken = read(body(), 100, &room).now_or_never().expect("at once");
            assert_eq!(status(taken), Ok(Bytes::from_static(b"seven b")));
        }
    }

    #[test]
    fn an_encoding_is_chosen_by_path_query_or_type() {
        let octets = "Application/Octet-Stream; a=b";
        for (method, path, media_type, expected) in [
            (
                Method::POST,
                "http_stream",
                octets,
                Protocol::CentrifugeProtobuf,
            ),
            (
                Method::POST,
                "http_stream",
                "text/plain",
                Protocol::CentrifugeJson,
            ),
            (Method::GET, "sse", octets, Protocol::CentrifugeJson),
            (
                Method::POST,
                "uni_http_stream",
                octets,
                Protocol::CentrifugeOneWay,
            ),
        ] {
            let parts = request(&method, &format!("/connection/{path}"), media_type);
            let entrance = Entrance::at(parts.uri.path()).expect("an entrance");
            let asked = entrance.asked(&parts).expect("it may be asked for");
            assert_eq!(asked.protocol, expected, "{path}");
        }
        let wants = |query: &str| wants_protobuf(&query.parse().expect("a URI"));
        assert!(wants("/?format=protobuf") && wants("/?a=b&cf_protocol=protobuf"));
        assert!(!wants("/?format=json") && !wants("/"));
    }

    #[test]
    fn a_preflight_allows_what_is_asked_for() {
        let mut headers = HeaderMap::new();
        headers.insert("origin", HeaderValue::from_static("https://a.example"));
        let wanted = HeaderValue::from_static("content-type");
        headers.insert(ACCESS_CONTROL_REQUEST_HEADERS, wanted.clone());
        let answer = preflight(&headers);
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        assert_eq!(answer.headers()[ACCESS_CONTROL_ALLOW_HEADERS], wanted);
        assert_eq!(
            answer.headers()["access-control-allow-origin"],
            "https://a.example"
        );
    }
}
