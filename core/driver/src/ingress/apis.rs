//! HTTP at the API's listener, from the first request to the last.

use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use futures_util::future::poll_fn;
use futures_util::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _};
use http_body_util::{BodyExt as _, Either};
use hyper::service::service_fn;

use super::Ingress;
use super::http::{builder, not_begun, once};
use crate::api::{ApiBody, MakeSleep, Scope};
use crate::deadlines::Deadline;
use crate::permits::{Capacity, Service, SocketPermit};
use crate::runtime::{Runtime, race};
use crate::streams::{Answering, Beginning, Begun, Heads, LINGER, Parting, Served};
use crate::task::Portion;

/// How long a connection to the API may be without a request. Longer than what common clients and
/// proxies keep an idle connection.
const API_IDLE: Duration = Duration::from_secs(75);

/// How much a client of the API that has been answered may go on sending: as much as the largest
/// push that can be allowed.
const LINGER_BYTES: usize = 16 << 20;

/// Answers requests until the connection ends.
pub(super) async fn serve<R: Runtime>(
    ingress: &Rc<Ingress>,
    stream: R::Stream,
    permit: &SocketPermit,
) {
    let head_time = ingress.handshake_timeout;
    let (scope, idle) = match permit.room {
        Capacity::Enough | Capacity::Until(_) => (Scope::Everything, API_IDLE),
        Capacity::Spare => (Scope::Operation, head_time),
    };
    let Some((service, server)) = &ingress.api else {
        debug_assert!(false, "nobody listens where nothing answers");
        return;
    };
    let Some(stream) = first_request::<R>(ingress, stream, idle).await else {
        return;
    };
    let sleep: MakeSleep = |time| Box::pin(Deadline::after(time));
    let (stream, heads) = Heads::<R>::new(stream, head_time, idle);
    let mut connection = builder(ingress).serve_connection(
        Served::new(Parting::<R, _>::new(stream)),
        service_fn(|request| {
            let answering = heads.answering();
            let answer = service.answer(server, request, scope, sleep);
            answer.map(|answer| {
                let answer = answer.map(|body| answered(body, answering));
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

/// The body of an answer. While it comes its request is being answered, and may be read for it.
fn answered(body: ApiBody, answering: Answering) -> ApiBody {
    match body {
        Either::Left(whole) => Either::Left(whole),
        Either::Right(coming) => Either::Right(Box::pin(coming.map_frame(move |frame| {
            let _held = &answering;
            frame
        }))),
    }
}

/// Waits for the first request to the API: some time for it to begin, and then as long as any head
/// may take.
async fn first_request<R: Runtime>(
    ingress: &Ingress,
    mut stream: R::Stream,
    idle: Duration,
) -> Option<Begun<R::Stream>> {
    let limit = ingress.header_bytes;
    let heads = ingress.heads(Service::Api);
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
            R::sleep(ingress.handshake_timeout).await;
            None
        };
        if let Err(over) = race(rest, late).await? {
            return not_begun(ingress, Service::Api, over);
        }
    }
    Some(beginning.put_back(stream))
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
