//! HTTP/1.1 on the sockets of the three listeners: terminals, API, peers.

use std::cell::Cell;
use std::convert::Infallible;
use std::net::TcpStream;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::future::poll_fn;
use futures_util::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _};
use http::header::{CONNECTION, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::rt::{Sleep as HyperSleep, Timer};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::{OnUpgrade, Upgraded};
use smol_hyper::rt::FuturesIo;

use super::{Ingress, handshake, refusals};
use crate::answer::{ConnectBody, refusal, unauthenticated};
use crate::api::{Scope, Sleep};
use crate::handle::Handle;
use crate::inbox::{Input, LinkEnd, Newcomer};
use crate::login::Login;
use crate::members::{Arrival, Member};
use crate::permits::{Capacity, Service, SocketPermit};
use crate::request::origin;
use crate::runtime::{Runtime, race};
use crate::streams::{Beginning, Begun, Heads, LINGER, Over, Parting, Served, joined};
use crate::task::{self, Portion};
use crate::tasks::link;

/// How long a connection to the API may be without a request. Longer than what common clients and
/// proxies keep an idle connection.
const API_IDLE: Duration = Duration::from_secs(75);

/// How much a client of the API that has been answered may go on sending: as much as the largest
/// push that can be allowed.
const LINGER_BYTES: usize = 16 << 20;

/// Where terminals connect.
const TERMINALS: &str = "/connect";

/// Serves one socket on the calling thread. The permit is given up when the connection ends or is
/// upgraded.
pub(crate) fn serve<R: Runtime>(ingress: &Rc<Ingress>, arrival: Arrival) {
    let Arrival {
        service,
        socket,
        permit,
    } = arrival;
    // Frames are small, and somebody waits for them.
    let adopted = socket.set_nodelay(true).and_then(|()| R::adopt(socket));
    let Ok(stream) = adopted else {
        return ingress.shared.dropped.count(service);
    };
    let ingress = Rc::clone(ingress);
    let name = match service {
        Service::Terminals => "terminal handshake",
        Service::Api => "API connection",
        Service::Peers => "peer handshake",
    };
    let permit = Arc::new(permit);
    task::spawn::<R>(name, async move {
        match service {
            Service::Terminals => terminals::<R>(&ingress, stream, &permit).await,
            Service::Api => apis::<R>(&ingress, stream, &permit).await,
            Service::Peers => peers::<R>(&ingress, stream, &permit).await,
        }
    });
}

/// H10: whoever has not completed its handshake in time is dropped, wherever it is in it.
async fn terminals<R: Runtime>(ingress: &Rc<Ingress>, stream: R::Stream, permit: &SocketPermit) {
    let refused = Cell::new(false);
    let answer = async |request| {
        let response = match permit.room {
            Capacity::Enough | Capacity::Until(_) => terminal(ingress, request, permit).await,
            Capacity::Spare => {
                let full = handshake::unavailable("this server has no room for more terminals");
                refusals::note(&ingress.me, request.headers(), None, &full);
                full
            }
        };
        refused.set(is_refusal(&response));
        Ok::<_, Infallible>(once(response))
    };
    let handshake = async {
        let Some(stream) = begun::<R>(ingress, Service::Terminals, stream).await else {
            return;
        };
        let served = builder(ingress)
            .serve_connection(
                FuturesIo::new(Parting::<R, _>::new(stream)),
                service_fn(answer),
            )
            .with_upgrades();
        // It fails if the client has gone. Boxed: few are at this point at the same time.
        let _ = Box::pin(served).await;
    };
    in_time::<R>(ingress, Service::Terminals, handshake, &refused).await;
}

async fn terminal(
    ingress: &Ingress,
    request: Request<Incoming>,
    permit: &SocketPermit,
) -> Response<ConnectBody> {
    let (parts, body) = request.into_parts();
    match admit(ingress, &parts).await {
        Ok(login) => {
            let request = Request::from_parts(parts, body);
            let place = permit.place.clone();
            handshake::connect(&ingress.shared, &ingress.me, request, login, place).await
        }
        Err(refusal) => {
            refusals::note(&ingress.me, &parts.headers, None, &refusal);
            *refusal
        }
    }
}

/// Finds out who a terminal belongs to, if it may connect.
async fn admit(ingress: &Ingress, parts: &Parts) -> Result<Login, Box<Response<ConnectBody>>> {
    if parts.uri.path() != TERMINALS {
        let text = "terminals connect at /connect";
        return Err(Box::new(refusal(StatusCode::NOT_FOUND, "not_found", text)));
    }
    if let Err(error) = handshake::check(&parts.method, parts.version, &parts.headers) {
        return Err(Box::new(error.response()));
    }
    let admitted = ingress.shared.admitted.load_full();
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
        return Err(Box::new(handshake::unavailable(text)));
    };
    let login = authenticator.authenticate(parts).await;
    login.map_err(|error| Box::new(unauthenticated(&error)))
}

async fn apis<R: Runtime>(ingress: &Rc<Ingress>, stream: R::Stream, permit: &SocketPermit) {
    let head_time = ingress.shared.settings.core.handshake_timeout;
    let (scope, idle) = match permit.room {
        Capacity::Enough | Capacity::Until(_) => (Scope::Everything, API_IDLE),
        Capacity::Spare => (Scope::Operation, head_time),
    };
    let Some(service) = &ingress.api else {
        debug_assert!(false, "nobody listens where nothing answers");
        return;
    };
    let Some(stream) = first_request::<R>(ingress, stream, idle).await else {
        return;
    };
    let server = Handle {
        shared: Arc::clone(&ingress.shared),
    };
    let sleep: Sleep = |time| Box::pin(R::sleep(time));
    let (stream, heads) = Heads::<R>::new(stream, head_time);
    let mut connection = builder(ingress)
        .timer(RuntimeTimer::<R>::new())
        .header_read_timeout(idle)
        .serve_connection(
            FuturesIo::new(Parting::<R, _>::new(stream)),
            service_fn(|request| {
                let answering = heads.answering();
                let answer = service.answer(&server, request, scope, sleep);
                answer.map(|answer| {
                    drop(answering);
                    Ok::<_, Infallible>(match scope {
                        Scope::Everything => answer,
                        Scope::Operation => once(answer),
                    })
                })
            }),
        );
    // It fails if the client has gone, and if what it sent was no request: then it has an answer.
    let served = poll_fn(|cx| connection.poll_without_shutdown(cx));
    let _ = Box::pin(served).await;
    let stream = connection.into_parts().io.into_inner();
    let (_, stream) = stream.into_inner().into_inner().into_parts();
    race(Box::pin(linger(stream)), R::sleep(LINGER)).await;
}

/// Waits for the first request to the API: some time for it to begin, and then as long as any head
/// may take.
async fn first_request<R: Runtime>(
    ingress: &Ingress,
    mut stream: R::Stream,
    idle: Duration,
) -> Option<Begun<R::Stream>> {
    let limit = ingress.shared.settings.process.header_bytes;
    let heads = ingress.shared.heads(Service::Api);
    let mut beginning = Beginning::default();
    let read = async { Some(beginning.read(&mut stream, limit, heads).await) };
    let late = async {
        R::sleep(idle).await;
        None
    };
    let begun = match race(read, late).await? {
        Ok(begun) => begun,
        Err(over) => return not_begun(ingress, Service::Api, over),
    };
    if !begun {
        let rest = async { Some(beginning.read_all(&mut stream, limit, heads).await) };
        let late = async {
            R::sleep(ingress.shared.settings.core.handshake_timeout).await;
            None
        };
        if let Err(over) = race(rest, late).await? {
            return not_begun(ingress, Service::Api, over);
        }
    }
    Some(beginning.put_back(stream))
}

/// Waits for the head of a handshake.
async fn begun<R: Runtime>(
    ingress: &Ingress,
    service: Service,
    mut stream: R::Stream,
) -> Option<Begun<R::Stream>> {
    let limit = ingress.shared.settings.process.header_bytes;
    let mut beginning = Beginning::default();
    match beginning
        .read_all(&mut stream, limit, ingress.shared.heads(service))
        .await
    {
        Ok(()) => Some(beginning.put_back(stream)),
        Err(over) => not_begun(ingress, service, over),
    }
}

fn not_begun<T>(ingress: &Ingress, service: Service, over: Over) -> Option<T> {
    match over {
        Over::Ended => {}
        Over::Crowded => ingress.shared.dropped.count(service),
    }
    None
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

async fn peers<R: Runtime>(ingress: &Rc<Ingress>, stream: R::Stream, permit: &Arc<SocketPermit>) {
    let refused = Cell::new(false);
    let answer = async |request| {
        let response = peer::<R>(ingress, request, permit);
        refusals::note_of_peer(&response);
        refused.set(is_refusal(&response));
        Ok::<_, Infallible>(once(response))
    };
    let handshake = async {
        let Some(stream) = begun::<R>(ingress, Service::Peers, stream).await else {
            return;
        };
        let served = builder(ingress)
            .serve_connection(
                FuturesIo::new(Parting::<R, _>::new(stream)),
                service_fn(answer),
            )
            .with_upgrades();
        // It fails if the peer has gone.
        let _ = Box::pin(served).await;
    };
    let sent_away = async {
        Arc::clone(permit).sent_away().await;
        ingress.shared.dropped.count(Service::Peers);
    };
    let in_time = in_time::<R>(ingress, Service::Peers, handshake, &refused);
    race(in_time, sent_away).await;
}

fn peer<R: Runtime>(
    ingress: &Rc<Ingress>,
    mut request: Request<Incoming>,
    permit: &Arc<SocketPermit>,
) -> Response<ConnectBody> {
    let Some(id) = link::named(request.uri().path()) else {
        return refusal(
            StatusCode::NOT_FOUND,
            "not_found",
            "instances open links at /link/<instance id>",
        );
    };
    let Some(member) = ingress.shared.member(id) else {
        return refusal(
            StatusCode::MISDIRECTED_REQUEST,
            "not_me",
            "there is no such instance here",
        );
    };
    let accept = match handshake::check(request.method(), request.version(), request.headers()) {
        Ok(accept) => accept,
        Err(error) => return error.response(),
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let hand_over = hand_over::<R>(
        Rc::clone(ingress),
        Arc::clone(member),
        upgrade,
        Arc::clone(permit),
    );
    task::spawn::<R>("peer upgrade", hand_over);
    handshake::switching(&accept, None)
}

/// Hands an upgraded link to the thread of the instance that it is for.
async fn hand_over<R: Runtime>(
    ingress: Rc<Ingress>,
    member: Arc<Member>,
    upgrade: OnUpgrade,
    permit: Arc<SocketPermit>,
) {
    let Ok(upgraded) = upgrade.await else {
        return;
    };
    let Some((socket, read)) = released::<R>(upgraded) else {
        return ingress.shared.dropped.count(Service::Peers);
    };
    let end = LinkEnd::Socket(Newcomer {
        socket,
        read,
        permit: Arc::clone(&permit),
    });
    let sent = async {
        // It fails only when that instance has ended.
        let _ = member.inbox.send(Input::AcceptLink(end)).await;
    };
    let sent_away = async {
        permit.sent_away().await;
        ingress.shared.dropped.count(Service::Peers);
    };
    race(sent, sent_away).await;
}

fn released<R: Runtime>(upgraded: Upgraded) -> Option<(TcpStream, Bytes)> {
    let parts = upgraded.downcast::<FuturesIo<Served<R>>>().ok()?;
    let (unread, stream) = parts.io.into_inner().into_inner().into_parts();
    let socket = R::release(stream).ok()?;
    Some((socket, joined(parts.read_buf, unread)))
}

/// Serves a handshake, and drops it when its time is over. One that was refused has been told of: its
/// client has not read the answer yet.
fn in_time<R: Runtime>(
    ingress: &Ingress,
    service: Service,
    handshake: impl Future<Output = ()>,
    refused: &Cell<bool>,
) -> impl Future<Output = ()> {
    let timeout = R::sleep(ingress.shared.settings.core.handshake_timeout);
    let late = timeout.map(move |()| {
        if !refused.get() {
            refusals::note_late(&ingress.me, service);
        }
    });
    // Boxed: `race` holds each argument twice, and after a restart everybody comes at once.
    race(Box::pin(handshake), late)
}

fn is_refusal(response: &Response<ConnectBody>) -> bool {
    response.status() != StatusCode::SWITCHING_PROTOCOLS
}

/// One request a connection, unless it is upgraded.
fn once(mut response: Response<ConnectBody>) -> Response<ConnectBody> {
    if is_refusal(&response) {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn builder(ingress: &Ingress) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(ingress.shared.settings.process.header_bytes);
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
    fn sleep(&self, time: Duration) -> Pin<Box<dyn HyperSleep>> {
        Box::pin(TimerSleep(Box::pin(R::sleep(time))))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn HyperSleep>> {
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

impl<S: Future<Output = ()> + Send + Sync> HyperSleep for TimerSleep<S> {}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use futures_util::io::Cursor;

    use super::*;

    #[test]
    fn a_client_that_goes_on_sending_leaves_the_thread_to_others() {
        let sending = |bytes| linger(Cursor::new(vec![0; bytes])).now_or_never();
        assert_eq!(sending(100), Some(()));
        assert_eq!(sending(LINGER_BYTES / 2), None);
    }
}
