//! Commands that come on other connections than their terminal's, at any instance: they are handed to the terminal, or
//! passed on to the instance that has it, over the link between the two.

use bytes::Bytes;
use futures_channel::oneshot;
use http::header::HeaderMap;
use http::{Request, Response, StatusCode};
use hyper::body::Body;
use switchboard_core::event::Answer;
use switchboard_core::message::Hearing;
use switchboard_protocol::centrifuge::Relay;

use super::Ingress;
use super::centrifuge::{bad_request, done, is_protobuf, read};
use super::takeover::Refusal;
use crate::answer::{ConnectBody, refusal, unavailable};
use crate::inbox::{Input, PassedOn, Relayed};
use crate::permits::Service;
use crate::transport;

/// Bytes of a request around its commands, at most: names, and what JSON makes of a text.
const AROUND: usize = 4096;

/// Takes commands to their terminal. What is returned is the answer, whatever it is.
pub(super) async fn relay<B: Body<Data = Bytes>>(
    ingress: &Ingress,
    request: Request<B>,
) -> Box<Response<ConnectBody>> {
    let (parts, body) = request.into_parts();
    let mut response = match relayed(ingress, &parts.headers, body).await {
        Ok(()) => done(&parts.headers),
        Err(refusal) => refusal,
    };
    transport::readable(&parts.headers, response.headers_mut());
    response
}

async fn relayed<B: Body<Data = Bytes>>(
    ingress: &Ingress,
    headers: &HeaderMap,
    body: B,
) -> Result<(), Refusal> {
    let room = ingress.heads(Service::Terminals);
    // A text may be twice as long in JSON.
    let body = read(body, 2 * ingress.frame_bytes + AROUND, room).await?;
    let Some(relay) = Relay::read(&body, is_protobuf(headers)) else {
        return Err(bad_request("it must have `session`, `node` and `data`"));
    };
    // Nobody makes instances ask each other by inventing some.
    let session = (ingress.session_names).name(relay.instance, &relay.session);
    let session = session.ok_or_else(nobody)?;
    if relay.frame.len() > ingress.frame_bytes {
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        let text = format!("the commands have more than {} bytes", ingress.frame_bytes);
        return Err(Box::new(refusal(status, "too_large", &text)));
    }
    let to = relay.instance;
    let frame = relay.frame;
    let hearing = match ingress.members.iter().find(|member| member.id == to) {
        Some(member) => {
            let (answer, answered) = oneshot::channel();
            let relayed = Relayed {
                session,
                frame,
                answer,
            };
            let sent = member.inbox.send(Input::Hear(Box::new(relayed))).await;
            // It has ended, and its terminals with it.
            sent.map_err(|_| nobody())?;
            answered.await.or(Ok(Hearing::Gone)).map(Some)
        }
        None => {
            let (answer, answered) = oneshot::channel();
            let passed = Box::new(PassedOn { to, session, frame });
            let sent = ingress.me.inbox.send(Input::PassOn(passed, answer)).await;
            sent.map_err(|_| unknown())?;
            answered.await.map(|answer| match answer {
                Answer::Relayed(hearing) => hearing,
                Answer::Push(_)
                | Answer::Connections(_)
                | Answer::Log(_)
                | Answer::Instances(_) => None,
            })
        }
    };
    match hearing {
        Ok(Some(Hearing::Heard)) => Ok(()),
        Ok(Some(Hearing::Gone)) => Err(nobody()),
        Ok(Some(Hearing::Full)) => {
            let text = "the terminal has said more than is served at present";
            Err(Box::new(unavailable(text)))
        }
        Ok(None) | Err(oneshot::Canceled) => Err(unknown()),
    }
}

fn nobody() -> Refusal {
    let text = "there is no such session";
    Box::new(refusal(StatusCode::NOT_FOUND, "not_found", text))
}

fn unknown() -> Refusal {
    let text = "the server that has the terminal does not answer";
    Box::new(unavailable(text))
}
