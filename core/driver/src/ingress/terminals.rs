//! From a terminal's handshake to an accepted terminal, at our own listener and for any hyper-based server.

use std::sync::Arc;

use bytes::Bytes;
use futures_channel::oneshot;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use switchboard_core::event::{Follow, Handshake, Refused};
use switchboard_core::frame::Payload;
use switchboard_core::id::UserId;
use switchboard_protocol::Protocol;

use super::centrifuge::{EMULATION_PATH, Entrance, is_preflight, preflight};
use super::emulation::relay;
use super::takeover::{Accepted, Refusal, take_over};
use super::{Ingress, refusals};
use crate::admission::Admission;
use crate::answer::{ConnectBody, refusal, retry_after, unauthenticated, unavailable};
use crate::events::Queue;
use crate::handle::Handle;
use crate::inbox::{Accept, Input, Who};
use crate::login::{AuthError, Authenticator, Login};
use crate::members::Member;
use crate::permits::{Capacity, Seat, Service, SocketPermit};
use crate::request::follow::follow;
use crate::request::origin;
use crate::runtime::Runtime;
use crate::transport::{self, Asked, BadHandshake, Handover, Opening, Wire};

/// Where terminals connect whose handshake says who they are.
const PATH: &str = "/connect";

/// What a terminal is told whose user has too many connections: it takes an ended one or more.
const RETRY_SECONDS_OF_USER: u16 = 30;

/// Answers one handshake, and hands the connection to the terminal's task.
pub(super) async fn serve<R: Runtime>(
    ingress: &Ingress,
    stream: R::Stream,
    permit: &SocketPermit,
    place: Option<Seat>,
) {
    let answer = async |request: Request<Incoming>| match request.uri().path() {
        EMULATION_PATH => Err(relayed(ingress, request).await),
        _ => {
            let (parts, body) = request.into_parts();
            terminal(ingress, &parts, body, permit).await
        }
    };
    let taken = take_over::<R, Handover>(ingress, Service::Terminals, stream, answer).await;
    if let Some((handover, wire)) = taken {
        handover.done(Wire { place, ..wire });
    }
}

/// What a terminal says on another connection than its own.
async fn relayed(ingress: &Ingress, request: Request<Incoming>) -> Refusal {
    let (parts, body) = request.into_parts();
    if let Err(refusal) = checked_origin(ingress, &parts) {
        return refusal;
    }
    if is_preflight(&parts) {
        return preflight(&parts.headers);
    }
    if parts.method != Method::POST {
        return Box::new(BadHandshake::Method(&["POST"]).response());
    }
    relay(ingress, Request::from_parts(parts, body)).await
}

async fn terminal(
    ingress: &Ingress,
    parts: &Parts,
    body: Incoming,
    permit: &SocketPermit,
) -> Result<Accepted<Handover>, Refusal> {
    let entrance = Entrance::at(parts.uri.path());
    if entrance.is_some() && is_preflight(parts) {
        checked_origin(ingress, parts)?;
        return Err(preflight(&parts.headers));
    }
    let (asked, who, first) = admit(ingress, parts, body, entrance, &permit.room)
        .await
        .inspect_err(|refusal| refusals::note(&ingress.me, &parts.headers, None, refusal))?;
    let user = who.user().cloned();
    let (handover, opening) = Opening::own(asked.kind);
    let terminal = Candidate {
        asked: &asked,
        opening,
        who,
        first,
    };
    connect(ingress.events.as_deref(), &ingress.me, terminal)
        .await
        .map_err(|refusal| Box::new(asked.refused(*refusal)))
        .inspect_err(|refusal| {
            refusals::note(&ingress.me, &parts.headers, user.as_ref(), refusal)
        })?;
    Ok(Accepted {
        head: asked.head,
        to: handover,
    })
}

/// Finds out what a terminal asks for and who it belongs to, if it may connect and its handshake says so.
async fn admit(
    ingress: &Ingress,
    parts: &Parts,
    body: Incoming,
    entrance: Option<Entrance>,
    room: &Capacity,
) -> Result<(Asked, Comer, Option<Payload>), Refusal> {
    let asked = match (entrance, parts.uri.path()) {
        (Some(entrance), _) => entrance.asked(parts),
        (None, PATH) => transport::asked(&parts.method, parts.version, &parts.headers),
        (None, _) => {
            let text =
                "terminals connect at /connect, those of Centrifuge at /connection/websocket";
            return Err(Box::new(refusal(StatusCode::NOT_FOUND, "not_found", text)));
        }
    };
    let asked = asked.map_err(|error| Box::new(error.response()))?;
    checked_origin(ingress, parts)?;
    let admitted = ingress.admitted.load_full();
    let comer: Result<_, Refusal> = async {
        let authenticator = authenticator(&admitted.admission, room)?;
        if let Some(entrance) = entrance {
            let room = ingress.heads(Service::Terminals);
            let first = entrance.first(parts, body, ingress.frame_bytes, room);
            let first = first.await?;
            return Ok((Comer::Stranger(Box::new(parts.clone())), first));
        }
        let login = authenticator.authenticate(parts).await;
        let login = login.map_err(|error| Box::new(unauthenticated(&error)))?;
        let follow = asked_log(&parts.uri, asked.protocol)?;
        Ok((Comer::Known(login, follow), None))
    }
    .await;
    match comer {
        Ok((comer, first)) => Ok((asked, comer, first)),
        Err(refusal) => Err(Box::new(asked.refused(*refusal))),
    }
}

/// A browser's page must be of an origin whose pages may connect.
fn checked_origin(ingress: &Ingress, parts: &Parts) -> Result<(), Refusal> {
    origin::check(parts, &ingress.admitted.load().origins).map_err(|error| {
        let text = error.to_string();
        Box::new(refusal(StatusCode::FORBIDDEN, "foreign_origin", &text))
    })
}

/// Who says who a terminal belongs to, if there is room for it.
fn authenticator<'a>(
    admission: &'a Admission,
    room: &Capacity,
) -> Result<&'a Arc<dyn Authenticator>, Refusal> {
    match room {
        Capacity::Enough | Capacity::Until(_) => {}
        Capacity::Spare => {
            let text = "this server has no room for more terminals";
            return Err(Box::new(unavailable(text)));
        }
    }
    admission.authenticator.as_ref().ok_or_else(|| {
        let text = "nobody says who a terminal belongs to";
        Box::new(unavailable(text))
    })
}

/// What a terminal asks of its log.
fn asked_log(uri: &Uri, protocol: Protocol) -> Result<Option<Follow>, Refusal> {
    follow(uri, protocol.following()).map_err(|error| {
        let text = error.to_string();
        Box::new(refusal(StatusCode::BAD_REQUEST, "bad_log", &text))
    })
}

impl Handle {
    /// Answers a WebSocket handshake of any hyper-based server, and serves the terminal once the
    /// response is sent. The caller has checked origin and login. What asks for an event stream is refused: its
    /// connection is not given up. If the future is dropped, see
    /// [Dropped futures](Handle#dropped-futures).
    pub async fn connect<B>(&self, mut request: Request<B>, login: Login) -> Response<ConnectBody> {
        let member = self.shared.emptiest();
        let user = login.user.clone();
        let answered = self.upgrade(member, &mut request, login).await;
        answered.unwrap_or_else(|refusal| {
            refusals::note(member, request.headers(), Some(&user), &refusal);
            *refusal
        })
    }

    async fn upgrade<B>(
        &self,
        member: &Member,
        request: &mut Request<B>,
        login: Login,
    ) -> Result<Response<ConnectBody>, Refusal> {
        let asked = transport::asked(request.method(), request.version(), request.headers());
        let asked = asked
            .and_then(|asked| match asked.kind.upgrades() {
                true => Ok(asked),
                false => Err(BadHandshake::Header("connect with `Upgrade: websocket`")),
            })
            .map_err(|error| Box::new(error.response()))?;
        let terminal = Candidate {
            asked: &asked,
            opening: Opening::upgrade(asked.kind, hyper::upgrade::on(&mut *request)),
            who: Comer::Known(login, asked_log(request.uri(), asked.protocol)?),
            first: None,
        };
        connect(self.shared.events.as_deref(), member, terminal).await?;
        Ok(asked.head.map(|()| ConnectBody::new(Bytes::new())))
    }
}

/// A terminal at its handshake.
enum Comer {
    /// Its handshake says who it is, and what it wants of its log.
    Known(Login, Option<Follow>),
    /// Its first frame will say so.
    Stranger(Box<Parts>),
}

impl Comer {
    const fn user(&self) -> Option<&UserId> {
        match self {
            Self::Known(login, _) => Some(&login.user),
            Self::Stranger(_) => None,
        }
    }
}

/// A terminal that may connect.
struct Candidate<'a> {
    asked: &'a Asked,
    opening: Opening,
    who: Comer,
    /// What it has said with its request.
    first: Option<Payload>,
}

/// Has an instance serve a terminal.
async fn connect(
    events: Option<&Queue>,
    member: &Member,
    terminal: Candidate<'_>,
) -> Result<(), Refusal> {
    if events.is_some_and(Queue::is_overwhelmed) {
        let text = "the application does not keep up with the terminals that come and go";
        return Err(Box::new(unavailable(text)));
    }
    match ask(member, terminal).await {
        Some(Ok(())) => Ok(()),
        Some(Err(refused)) => Err(Box::new(refused_response(refused))),
        None => Err(Box::new(unavailable("this server has stopped"))),
    }
}

async fn ask(member: &Member, terminal: Candidate<'_>) -> Option<Result<(), Refused>> {
    let Candidate {
        asked,
        opening,
        who,
        first,
    } = terminal;
    let (answer, answered) = oneshot::channel();
    let size = asked.kind.size(asked.protocol);
    let (who, session) = match who {
        Comer::Known(login, follow) => {
            let handshake = Handshake {
                user: login.user,
                expires: login.expires,
                size,
                follow,
                topics: login.topics,
            };
            (Who::Known(handshake), login.session)
        }
        Comer::Stranger(request) => (Who::Stranger { size, request }, None),
    };
    let accept = Accept {
        who,
        protocol: asked.protocol,
        session,
        first,
        opening,
        seat: member.seat(),
        answer,
    };
    member
        .inbox
        .send(Input::Accept(Box::new(accept)))
        .await
        .ok()?;
    answered.await.ok()
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

#[cfg(test)]
mod tests {
    use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};

    use super::*;

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
}
