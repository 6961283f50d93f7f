//! Handshakes at our own listeners, of terminals and of peers: one request, which is refused, or answered
//! with a head behind which the connection is no longer HTTP.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::pending;
use std::pin::Pin;
use std::task::Poll;
use std::time::SystemTime;

use futures_util::future::poll_fn;
use futures_util::{AsyncWriteExt as _, FutureExt as _};
use http::header::DATE;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;

use super::http::{begun, builder, once};
use super::{Ingress, refusals};
use crate::answer::ConnectBody;
use crate::permits::Service;
use crate::runtime::{Runtime, race};
use crate::streams::{Parting, Served, joined};
use crate::transport::{Kernel, Wire};

/// An answer that refuses.
pub(super) type Refusal = Box<Response<ConnectBody>>;

/// A handshake that is accepted.
pub(super) struct Accepted<T> {
    /// The head of the answer: 101, or 200.
    pub(super) head: Response<()>,
    /// What the connection is handed over to.
    pub(super) to: T,
}

/// Serves a handshake within its time. `None` if it was refused, or came to nothing.
///
/// H10: whoever has not completed it in time is dropped, wherever it is in it. One that was refused has
/// been told of: its client has not read the answer yet.
pub(super) async fn take_over<R: Runtime, T>(
    ingress: &Ingress,
    service: Service,
    stream: R::Stream,
    answer: impl AsyncFn(Request<Incoming>) -> Result<Accepted<T>, Refusal>,
) -> Option<(T, Wire<R::Stream>)> {
    let refused = Cell::new(false);
    let answer = async |request| {
        let answered = answer(request).await;
        refused.set(answered.is_err());
        answered
    };
    let late = R::sleep(ingress.handshake_timeout).map(|()| {
        if !refused.get() {
            refusals::note_late(&ingress.me, service);
        }
        None
    });
    // Boxed: whoever waits for this would have its room for as long, and after a restart everybody comes at once.
    race(
        Box::pin(handshake::<R, T>(ingress, service, stream, answer)),
        late,
    )
    .await
}

async fn handshake<R: Runtime, T>(
    ingress: &Ingress,
    service: Service,
    stream: R::Stream,
    answer: impl AsyncFn(Request<Incoming>) -> Result<Accepted<T>, Refusal>,
) -> Option<(T, Wire<R::Stream>)> {
    let stream = begun::<R>(ingress, service, stream).await?;
    let accepted = Cell::new(None);
    let respond = async |request| match answer(request).await {
        Ok(given) => {
            accepted.set(Some(given));
            // hyper has written nothing, and is dropped.
            pending().await
        }
        Err(refusal) => Ok::<_, Infallible>(once(*refusal)),
    };
    let io = Served::new(Parting::<R, _>::new(stream));
    // Boxed: few are at this point at the same time.
    let mut http = Box::new(builder(ingress).serve_connection(io, service_fn(respond)));
    let taken = poll_fn(|cx| {
        // It fails if the client has gone, which is seen when it is answered.
        let served = Pin::new(&mut *http).poll(cx);
        match accepted.take() {
            Some(given) => Poll::Ready(Some(given)),
            None => served.map(|_| None),
        }
    });
    let Accepted { head, to } = taken.await?;
    let parts = http.into_parts();
    let (unread, mut stream) = parts.io.into_inner().into_inner().into_parts();
    stream.write_all(written(&head).as_bytes()).await.ok()?;
    stream.flush().await.ok()?;
    let wire = Wire {
        stream,
        read: joined(parts.read_buf, unread),
        kernel: Kernel::of::<R>(),
        place: None,
    };
    Some((to, wire))
}

/// A head as it is sent.
fn written(head: &Response<()>) -> String {
    let status = head.status();
    let reason = status.canonical_reason().unwrap_or_default();
    /// What is said to a WebSocket needs a little less.
    const CAPACITY: usize = 256;
    let mut text = String::with_capacity(CAPACITY);
    let mut say = |parts: [&str; 4]| text.extend(parts);
    say(["HTTP/1.1 ", status.as_str(), " ", reason]);
    let date = httpdate::fmt_http_date(SystemTime::now());
    let named = head.headers().iter();
    let named = named.filter_map(|(name, value)| Some((name, value.to_str().ok()?)));
    for (name, value) in named.chain([(&DATE, &*date)]) {
        say(["\r\n", name.as_str(), ": ", value]);
    }
    text.push_str("\r\n\r\n");
    text
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use http::header::{HeaderValue, UPGRADE};

    use super::*;

    #[test]
    fn a_head_is_written_as_http_says() {
        let mut head = Response::new(());
        *head.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let websocket = HeaderValue::from_static("websocket");
        head.headers_mut().insert(UPGRADE, websocket);
        let written = written(&head);
        let (named, date) = written.split_once("date: ").expect("a date");
        assert_eq!(
            named,
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n"
        );
        let date = date.strip_suffix("\r\n\r\n").expect("its end");
        assert!(httpdate::parse_http_date(date).is_ok(), "{date}");
    }
}
