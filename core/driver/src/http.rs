//! HTTP/1.1 on the sockets of the three listeners: terminals, API, peers.

use std::convert::Infallible;
use std::net::TcpStream;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_io::{AsyncRead, AsyncWrite};
use futures_util::future::poll_fn;
use futures_util::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _};
use http::header::{CONNECTION, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::rt::{Sleep, Timer};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::{OnUpgrade, Upgraded};
use smol_hyper::rt::FuturesIo;

use crate::api::{self, refusal};
use crate::connect;
use crate::handle::ConnectBody;
use crate::head::Heads;
use crate::link;
use crate::login::Login;
use crate::members::{Entry, Input, LinkEnd, Member, Service};
use crate::origin;
use crate::refusals;
use crate::runtime::Runtime;
use crate::task::{self, Portion};
use crate::worker::Local;

/// How long a connection to the API may be without a request. Longer than what common clients and
/// proxies keep an idle connection.
const API_IDLE: Duration = Duration::from_secs(75);

/// How long the body of a request to the API may take. A push of 1 MiB comes in time at 140 kbit/s.
const API_BODY: Duration = Duration::from_secs(60);

/// How long a client of the API that has been answered may go on sending the body that was too
/// large, before its connection is closed on it.
const LINGER: Duration = Duration::from_secs(2);

/// How much of it: as much as the largest push that can be allowed.
const LINGER_BYTES: usize = 16 << 20;

/// Where terminals connect.
const TERMINALS: &str = "/connect";

/// Serves one socket on the calling thread. The entry is given up when the connection ends or is
/// upgraded.
pub(crate) fn serve<R: Runtime>(
    local: &Rc<Local>,
    service: Service,
    socket: TcpStream,
    entry: Entry,
) {
    // Frames are small, and somebody waits for them.
    let adopted = socket.set_nodelay(true).and_then(|()| R::adopt(socket));
    let Ok(stream) = adopted else {
        return;
    };
    let local = Rc::clone(local);
    let name = match service {
        Service::Terminals => "terminal handshake",
        Service::Api => "API connection",
        Service::Peers => "peer handshake",
    };
    task::spawn::<R>(name, async move {
        let _entry = entry;
        match service {
            Service::Terminals => terminals::<R>(&local, stream).await,
            Service::Api => apis::<R>(&local, stream).await,
            Service::Peers => peers::<R>(&local, stream).await,
        }
    });
}

/// H10: whoever has not completed its handshake in time is dropped, wherever it is in it.
async fn terminals<R: Runtime>(local: &Rc<Local>, stream: R::Stream) {
    let handshake = builder(local).serve_connection(
        FuturesIo::new(stream),
        service_fn(|request| async { Ok::<_, Infallible>(once(terminal(local, request).await)) }),
    );
    in_time::<R>(local, handshake.with_upgrades()).await;
}

async fn terminal(local: &Local, request: Request<Incoming>) -> Response<ConnectBody> {
    let (parts, body) = request.into_parts();
    match admit(local, &parts).await {
        Ok(login) => {
            let request = Request::from_parts(parts, body);
            connect::connect(&local.shared, &local.me, request, login).await
        }
        Err(refusal) => {
            refusals::note(&local.me, &parts.headers, None, &refusal);
            *refusal
        }
    }
}

/// Finds out who a terminal belongs to, if it may connect.
async fn admit(local: &Local, parts: &Parts) -> Result<Login, Box<Response<ConnectBody>>> {
    if parts.uri.path() != TERMINALS {
        let text = "terminals connect at /connect";
        return Err(Box::new(refusal(StatusCode::NOT_FOUND, "not_found", text)));
    }
    if let Err(error) = connect::check(&parts.method, parts.version, &parts.headers) {
        return Err(Box::new(error.response()));
    }
    let admitted = local.shared.admitted.load_full();
    if let Err(error) = origin::check(parts, &admitted.origins) {
        let text = error.to_string();
        return Err(Box::new(refusal(
            StatusCode::FORBIDDEN,
            "foreign_origin",
            &text,
        )));
    }
    let Some(authenticator) = &admitted.admission.authenticator else {
        let text = "nobody says who a terminal belongs to";
        return Err(Box::new(connect::unavailable(text)));
    };
    let login = authenticator.authenticate(parts).await;
    login.map_err(|error| Box::new(api::unauthenticated(&error)))
}

async fn apis<R: Runtime>(local: &Rc<Local>, stream: R::Stream) {
    let head_time = local.shared.settings.core.handshake_timeout;
    let (stream, heads) = Heads::<R>::new(stream, head_time);
    let connection = builder(local)
        .timer(RuntimeTimer::<R>::new())
        .header_read_timeout(API_IDLE)
        .serve_connection(
            FuturesIo::new(stream),
            service_fn(|request| {
                let answering = heads.answering();
                Box::pin(async {
                    let answer = api::serve(&local.api, request, R::sleep(API_BODY)).await;
                    drop(answering);
                    Ok::<_, Infallible>(answer)
                })
            }),
        );
    // It fails if the client has gone.
    if let Ok(parts) = connection.without_shutdown().await {
        let stream = parts.io.into_inner().into_inner();
        task::race(Box::pin(linger(stream)), R::sleep(LINGER)).await;
    }
}

/// Lets a client that is still sending read what it was answered: a socket that is closed with
/// unread bytes is reset, and the answer may be lost with it.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let mut buffer = vec![0; 8 << 10];
    let mut left = LINGER_BYTES;
    if stream.close().await.is_err() {
        return;
    }
    let mut portion = Portion::default();
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        poll_fn(|cx| portion.poll_take(cx)).await;
        let Some(less) = left.checked_sub(read) else {
            return;
        };
        left = less;
    }
}

async fn peers<R: Runtime>(local: &Rc<Local>, stream: R::Stream) {
    let handshake = builder(local).serve_connection(
        FuturesIo::new(stream),
        service_fn(|request| async {
            let response = peer::<R>(local, request);
            refusals::note_of_peer(&response);
            Ok::<_, Infallible>(once(response))
        }),
    );
    in_time::<R>(local, handshake.with_upgrades()).await;
}

fn peer<R: Runtime>(local: &Rc<Local>, mut request: Request<Incoming>) -> Response<ConnectBody> {
    let Some(id) = link::named(request.uri().path()) else {
        return refusal(
            StatusCode::NOT_FOUND,
            "not_found",
            "instances open links at /link/<instance id>",
        );
    };
    let Some(member) = local.shared.member(id) else {
        return refusal(
            StatusCode::MISDIRECTED_REQUEST,
            "not_me",
            "there is no such instance here",
        );
    };
    let accept = match connect::check(request.method(), request.version(), request.headers()) {
        Ok(accept) => accept,
        Err(error) => return error.response(),
    };
    let upgrade = hyper::upgrade::on(&mut request);
    task::spawn::<R>("peer upgrade", hand_over::<R>(Arc::clone(member), upgrade));
    connect::switching(&accept, None)
}

/// Hands an upgraded link to the thread of the instance that it is for.
async fn hand_over<R: Runtime>(member: Arc<Member>, upgrade: OnUpgrade) {
    let Ok(upgraded) = upgrade.await else {
        return;
    };
    if let Some(end) = released::<R>(upgraded) {
        // It fails only when that instance has ended.
        let _ = member.inbox.send(Input::AcceptLink(end)).await;
    }
}

fn released<R: Runtime>(upgraded: Upgraded) -> Option<LinkEnd> {
    let parts = upgraded.downcast::<FuturesIo<R::Stream>>().ok()?;
    let socket = R::release(parts.io.into_inner()).ok()?;
    Some(LinkEnd::Socket(socket, parts.read_buf))
}

/// Serves a handshake, and drops it when its time is over.
fn in_time<R: Runtime>(
    local: &Local,
    handshake: impl Future<Output = hyper::Result<()>>,
) -> impl Future<Output = ()> {
    // It fails if the client has gone. Boxed: an `async fn` holds each argument twice, and after a
    // restart everybody comes at once.
    let served = Box::pin(handshake.map(drop));
    let timeout = local.shared.settings.core.handshake_timeout;
    task::race(served, R::sleep(timeout))
}

/// One request a connection, unless it is upgraded.
fn once(mut response: Response<ConnectBody>) -> Response<ConnectBody> {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn builder(local: &Local) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(local.shared.settings.header_bytes);
    // Whoever has sent all it wants to ask may say so, and still reads the answer.
    builder.half_close(true);
    builder
}

/// hyper's timer on the runtime's sleep.
struct RuntimeTimer<R>(std::marker::PhantomData<R>);

impl<R> RuntimeTimer<R> {
    const fn new() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<R: Runtime> Timer for RuntimeTimer<R> {
    fn sleep(&self, time: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(TimerSleep(Box::pin(R::sleep(time))))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep(deadline.saturating_duration_since(Instant::now()))
    }
}

struct TimerSleep<S>(Pin<Box<S>>);

impl<S: Future<Output = ()>> Future for TimerSleep<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl<S: Future<Output = ()> + Send + Sync> Sleep for TimerSleep<S> {}

#[cfg(test)]
mod tests {
    use futures_util::io::Cursor;

    use super::*;

    #[test]
    fn a_client_that_goes_on_sending_leaves_the_thread_to_others() {
        let sending = |bytes| linger(Cursor::new(vec![0; bytes])).now_or_never();
        assert_eq!(sending(100), Some(()));
        assert_eq!(sending(LINGER_BYTES / 2), None);
    }
}
