//! Commands that come on other connections than their terminal's, at any instance: they are handed to the terminal, or
//! passed on to the server that has it, at its port for peers.

use bytes::Bytes;
use futures_channel::oneshot;
use futures_util::{AsyncReadExt as _, AsyncWriteExt as _};
use http::header::{CONTENT_TYPE, HeaderMap};
use http::{Request, Response, StatusCode};
use hyper::body::Body;
use switchboard_core::event::Answer;
use switchboard_core::id::InstanceId;
use switchboard_protocol::centrifuge::Relay;

use super::Ingress;
use super::centrifuge::{EMULATION_PATH, bad_request, done, is_protobuf, read};
use super::takeover::Refusal;
use super::terminals::unavailable;
use crate::answer::{ConnectBody, refusal};
use crate::inbox::{Hearing, Input, Relayed};
use crate::members::Member;
use crate::permits::Service;
use crate::runtime::Runtime;
use crate::transport;

/// Bytes of a request around its commands, at most: names, and what JSON makes of a text.
const AROUND: usize = 4096;

/// What is read of an answer to a request that was passed on: its status stands in it.
const STATUS_LINE: usize = "HTTP/1.1 204".len();

/// Where a request comes from.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum From {
    Terminal,
    /// A server that has not got the terminal, and says so.
    Peer,
}

/// Takes commands to their terminal. What is returned is the answer, whatever it is.
pub(super) async fn relay<R: Runtime, B: Body<Data = Bytes>>(
    ingress: &Ingress,
    request: Request<B>,
    from: From,
) -> Box<Response<ConnectBody>> {
    let (parts, body) = request.into_parts();
    let mut response = match relayed::<R, B>(ingress, &parts.headers, body, from).await {
        Ok(()) => done(&parts.headers),
        Err(refusal) => refusal,
    };
    transport::readable(&parts.headers, response.headers_mut());
    response
}

async fn relayed<R: Runtime, B: Body<Data = Bytes>>(
    ingress: &Ingress,
    headers: &HeaderMap,
    body: B,
    from: From,
) -> Result<(), Refusal> {
    let room = ingress.heads(match from {
        From::Terminal => Service::Terminals,
        From::Peer => Service::Peers,
    });
    // A text may be twice as long in JSON.
    let body = read(body, 2 * ingress.frame_bytes + AROUND, room).await?;
    let is_protobuf = is_protobuf(headers);
    let Some(relay) = Relay::read(&body, is_protobuf) else {
        return Err(bad_request("it must have `session`, `node` and `data`"));
    };
    let Some(name) = ingress.relays.name(relay.instance, &relay.session) else {
        return Err(nobody());
    };
    if relay.frame.len() > ingress.frame_bytes {
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        let text = format!("the commands have more than {} bytes", ingress.frame_bytes);
        return Err(Box::new(refusal(status, "too_large", &text)));
    }
    let mut members = ingress.members.iter();
    match members.find(|member| member.id == relay.instance) {
        Some(member) => {
            let (answer, answered) = oneshot::channel();
            let relayed = Relayed {
                name,
                frame: relay.frame,
                answer,
            };
            hear(member, relayed, answered).await
        }
        None if from == From::Peer => Err(nobody()),
        None => pass_on::<R>(ingress, relay.instance, &body, is_protobuf).await,
    }
}

async fn hear(
    member: &Member,
    relayed: Relayed,
    answered: oneshot::Receiver<Hearing>,
) -> Result<(), Refusal> {
    let sent = member.inbox.send(Input::Hear(Box::new(relayed))).await;
    match (sent, answered.await) {
        (Ok(()), Ok(Hearing::Heard)) => Ok(()),
        (Ok(()), Ok(Hearing::Full)) => {
            let text = "the terminal has said more than is served at present";
            Err(Box::new(unavailable(text)))
        }
        (Ok(()), Ok(Hearing::Gone) | Err(_)) | (Err(_), _) => Err(nobody()),
    }
}

/// Has another server of the cluster answer.
async fn pass_on<R: Runtime>(
    ingress: &Ingress,
    instance: InstanceId,
    body: &[u8],
    is_protobuf: bool,
) -> Result<(), Refusal> {
    let address = address(&ingress.me, instance).await.ok_or_else(nobody)?;
    match asked::<R>(address, body, is_protobuf).await {
        Some(204) => Ok(()),
        Some(404) => Err(nobody()),
        Some(_) | None => {
            let text = "the server that has the terminal does not answer";
            Err(Box::new(unavailable(text)))
        }
    }
}

/// Where the peers of an instance find it.
async fn address(me: &Member, instance: InstanceId) -> Option<String> {
    let (answer, answered) = oneshot::channel();
    me.inbox.send(Input::Instances(answer)).await.ok()?;
    let Ok(Answer::Instances(instances)) = answered.await else {
        return None;
    };
    let found = instances.into_iter().find(|info| info.instance == instance);
    found.map(|info| info.lease.address)
}

/// The status with which a server answers.
async fn asked<R: Runtime>(address: String, body: &[u8], is_protobuf: bool) -> Option<u16> {
    let media_type = match is_protobuf {
        true => "application/octet-stream",
        false => "application/json",
    };
    let length = body.len();
    let head = format!(
        "POST {EMULATION_PATH} HTTP/1.1\r\nhost: {address}\r\n{CONTENT_TYPE}: {media_type}\r\ncontent-length: {length}\r\n\r\n"
    );
    let mut stream = R::dial(address).await.ok()?;
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(body).await.ok()?;
    stream.flush().await.ok()?;
    let mut answer = [0; STATUS_LINE];
    stream.read_exact(&mut answer).await.ok()?;
    let status = std::str::from_utf8(&answer).ok()?.split(' ').nth(1)?;
    status.parse().ok()
}

fn nobody() -> Refusal {
    let text = "there is no such session";
    Box::new(refusal(StatusCode::NOT_FOUND, "not_found", text))
}
