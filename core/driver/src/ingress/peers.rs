//! Links that other instances open.

use std::sync::Arc;

use http::{Request, StatusCode};
use hyper::body::Incoming;

use super::takeover::{Accepted, Refusal, take_over};
use super::{Ingress, refusals};
use crate::answer::refusal;
use crate::inbox::{Input, LinkEnd, Newcomer};
use crate::members::Member;
use crate::permits::{Service, SocketPermit};
use crate::runtime::{Runtime, race};
use crate::tasks::link;
use crate::transport::{Wire, check, switching};

/// Answers one handshake, and hands the link to the thread of the instance that it is for.
pub(super) async fn serve<R: Runtime>(
    ingress: &Ingress,
    stream: R::Stream,
    permit: &Arc<SocketPermit>,
) {
    let linked = async {
        let answer = async |request: Request<Incoming>| peer(ingress, &request);
        let taken = take_over::<R, _>(ingress, Service::Peers, stream, answer).await;
        if let Some((member, wire)) = taken {
            hand_over::<R>(ingress, &member, wire, permit).await;
        }
    };
    let sent_away = async {
        Arc::clone(permit).sent_away().await;
        ingress.dropped.count(Service::Peers);
    };
    race(linked, sent_away).await;
}

fn peer<B>(ingress: &Ingress, request: &Request<B>) -> Result<Accepted<Arc<Member>>, Refusal> {
    answer(ingress, request).inspect_err(|refusal| refusals::note_of_peer(refusal))
}

fn answer<B>(ingress: &Ingress, request: &Request<B>) -> Result<Accepted<Arc<Member>>, Refusal> {
    let Some(id) = link::named(request.uri().path()) else {
        let text = "instances open links at /link/<instance id>";
        let refused = refusal(StatusCode::NOT_FOUND, "not_found", text);
        return Err(Box::new(refused));
    };
    let Some(member) = ingress.members.iter().find(|member| member.id == id) else {
        let text = "there is no such instance here";
        let refused = refusal(StatusCode::MISDIRECTED_REQUEST, "not_me", text);
        return Err(Box::new(refused));
    };
    let accept = check(request.method(), request.version(), request.headers());
    let accept = accept.map_err(|error| Box::new(error.response()))?;
    Ok(Accepted {
        head: switching(&accept, None),
        to: Arc::clone(member),
    })
}

async fn hand_over<R: Runtime>(
    ingress: &Ingress,
    member: &Member,
    wire: Wire<R::Stream>,
    permit: &Arc<SocketPermit>,
) {
    let Ok(socket) = R::release(wire.stream) else {
        return ingress.dropped.count(Service::Peers);
    };
    let end = LinkEnd::Socket(Newcomer {
        socket,
        read: wire.read,
        permit: Arc::clone(permit),
    });
    // It fails only when that instance has ended.
    let _ = member.inbox.send(Input::AcceptLink(end)).await;
}
