//! HTTP/1.1 as each of the three listeners has it: the head of a handshake, and one request a connection.

use http::header::{CONNECTION, HeaderValue};
use http::{Response, StatusCode};
use hyper::server::conn::http1;

use super::Ingress;
use crate::permits::Service;
use crate::runtime::Runtime;
use crate::streams::{Beginning, Begun, Over};

/// Waits for the head of a handshake.
pub(super) async fn begun<R: Runtime>(
    ingress: &Ingress,
    service: Service,
    mut stream: R::Stream,
) -> Option<Begun<R::Stream>> {
    let heads = ingress.heads(service);
    let mut beginning = Beginning::default();
    let read = beginning.read_all(&mut stream, ingress.header_bytes, heads);
    match read.await {
        Ok(()) => Some(beginning.put_back(stream)),
        Err(over) => not_begun(ingress, service, over),
    }
}

pub(super) fn not_begun<T>(ingress: &Ingress, service: Service, over: Over) -> Option<T> {
    match over {
        Over::Ended => {}
        Over::Crowded => ingress.dropped.count(service),
    }
    None
}

/// One request a connection.
pub(super) fn once<B>(mut response: Response<B>) -> Response<B> {
    debug_assert_ne!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

pub(super) fn builder(ingress: &Ingress) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(ingress.header_bytes);
    // Whoever has sent all it wants to ask may say so, and still reads the answer.
    builder.half_close(true);
    builder
}
