//! Links between instances: batches in both directions, over a WebSocket or within the process.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_tungstenite::{
    WebSocketReceiver, WebSocketSender, WebSocketStream, client_async_with_config,
};
use bytes::Bytes;
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::StreamExt as _;
use http::StatusCode;
use switchboard_core::command::Dial;
use switchboard_core::config::{ClusterSecret, Config};
use switchboard_core::difference::Difference;
use switchboard_core::event::{Event, LinkFailure};
use switchboard_core::id::{InstanceId, LinkKey};
use switchboard_core::inquiry::{Inquiry, Unwelcome};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message};

use super::newcomer::{Trust, Watched};
use crate::inbox::{ChannelEnd, Inbox, Input, LinkEnd, Newcomer, Reports, Siblings};
use crate::log::{Cause, damped};
use crate::permits::{Dropped, Service};
use crate::queue::Taker;
use crate::random_bytes;
use crate::runtime::{Runtime, race};
use crate::task::caught;

/// The path under which an instance takes links.
const PATH: &str = "/link/";

/// What is read at once. Whoever connects to the peers' port costs so much before it has proven
/// anything, and as much is filled with zeros before each read.
const READ_BUFFER: usize = 4 << 10;

/// How long a link that the instance has given up may take to send what it has: a peer that is
/// stopped reads nothing, and its connection does not end by itself.
const LAST_BATCH: Duration = Duration::from_secs(5);

/// Why there is no link to another instance.
#[derive(Debug, thiserror::Error)]
pub enum NoLink {
    /// Its address cannot be dialled.
    #[error("it cannot be dialled: {0}")]
    Undialled(io::Error),
    /// Another instance is at its address.
    #[error("another instance is at its address")]
    NotThere,
    /// What is at its address takes no link, and this is what it answers.
    #[error("what is at its address takes no link: {0}")]
    Refused(String),
    /// It takes links, and would have none with this end.
    #[error("{0}")]
    Unwelcome(Unwelcome),
}

/// Opens a link to another instance, greets it as an instance with these settings does, and closes the
/// link: whether there could be one, and which settings differ that all should have alike. To be called
/// on a thread of the runtime.
///
/// # Errors
///
/// Says why there is none.
pub async fn try_link<R: Runtime>(
    instance: InstanceId,
    address: &str,
    config: &Config,
    secret: &ClusterSecret,
) -> Result<Vec<Difference>, NoLink> {
    let trust = Trust::before_http();
    let watch = |stream| Watched::new(stream, trust.clone());
    let mut stream = request::<R, _>(instance, address, watch).await?;
    trust.frames_follow();
    let here = InstanceId::new(u64::from_be_bytes(random_bytes()));
    let inquiry = Inquiry::new(here, instance, random_bytes(), config);
    let broken = |error: Error| NoLink::Refused(error.to_string());
    let hello = Message::Binary(inquiry.said());
    stream.send(hello).await.map_err(broken)?;
    let answer = match stream.next().await {
        None | Some(Ok(Message::Close(_))) => return Err(NoLink::Unwelcome(Unwelcome::Silent)),
        Some(answer) => answer.map_err(broken)?,
    };
    let heard = inquiry.heard(&answer.into_data(), secret);
    let _ = stream.close(None).await;
    heard.map_err(NoLink::Unwelcome)
}

/// What the links of one instance share.
pub(crate) struct LinkContext {
    pub(crate) reports: Reports,
    pub(crate) siblings: Siblings,
    pub(crate) dropped: Arc<Dropped>,
    /// How long an instance waits for a link that it opens.
    pub(crate) link_timeout: Duration,
}

/// What an instance wants of a link: batches to send, and how far its other end is trusted.
pub(crate) struct LinkFeed {
    pub(crate) batches: Taker<Bytes>,
    pub(crate) trust: Trust,
}

/// Starts the task of a link that another instance opened.
pub(crate) fn serve<R: Runtime>(
    context: &Rc<LinkContext>,
    link: LinkKey,
    end: LinkEnd,
    feed: LinkFeed,
) {
    let context = Rc::clone(context);
    R::spawn(async move {
        let ended = caught(accepted::<R>(&context, link, end, &feed)).await;
        report(&context, link, &feed.batches, ended).await;
    });
}

/// Starts the task of a link that this instance opens.
pub(crate) fn dial<R: Runtime>(
    context: &Rc<LinkContext>,
    link: LinkKey,
    dial: Dial,
    feed: LinkFeed,
) {
    let context = Rc::clone(context);
    R::spawn(async move {
        let ended = caught(dialled::<R>(&context, link, dial, &feed)).await;
        report(&context, link, &feed.batches, ended).await;
    });
}

/// Reports the end of a link, unless the instance wanted it.
async fn report(
    context: &LinkContext,
    link: LinkKey,
    outbox: &Taker<Bytes>,
    ended: Result<LinkFailure, String>,
) {
    let failure = ended.unwrap_or_else(|cause| {
        damped!(
            ERROR,
            Cause::all("the task of a link panicked"),
            cause,
            "the task of a link has panicked: this is a bug"
        );
        LinkFailure::Broken
    });
    if !outbox.is_closed() {
        tell(context, Event::LinkDown { link, failure }).await;
    }
}

async fn accepted<R: Runtime>(
    context: &Rc<LinkContext>,
    link: LinkKey,
    end: LinkEnd,
    feed: &LinkFeed,
) -> LinkFailure {
    let LinkFeed { batches, trust } = feed;
    match end {
        LinkEnd::Channel(end) => over_channel(context, link, end, batches).await,
        LinkEnd::Socket(newcomer) => {
            let Newcomer {
                socket,
                read,
                permit,
            } = newcomer;
            let Ok(stream) = R::adopt(socket) else {
                return LinkFailure::Broken;
            };
            let mut stream = Watched::new(stream, trust.clone());
            if stream.pass(&read).is_err() {
                return LinkFailure::Broken;
            }
            let config = Some(config());
            let stream =
                WebSocketStream::from_partially_read(stream, read.to_vec(), Role::Server, config)
                    .await;
            let sent_away = async {
                permit.sent_away().await;
                context.dropped.count(Service::Peers);
                LinkFailure::Broken
            };
            let served = over_socket::<R, _>(context, link, stream, batches);
            race(served, sent_away).await
        }
    }
}

async fn dialled<R: Runtime>(
    context: &Rc<LinkContext>,
    link: LinkKey,
    dial: Dial,
    feed: &LinkFeed,
) -> LinkFailure {
    let LinkFeed { batches, trust } = feed;
    if let Some(inbox) = context.siblings.get(dial.instance) {
        return within_process(context, link, inbox, batches).await;
    }
    let (instance, address) = (dial.instance, dial.address.clone());
    let begun = Instant::now();
    let opened = race(async { Some(open::<R>(dial, trust).await) }, async {
        // Nothing is written before the link is up: this ends when the instance gives up.
        let _ = batches.take().await;
        None
    });
    match opened.await {
        Some(Ok(stream)) => {
            tell(context, Event::LinkUp { link }).await;
            over_socket::<R, _>(context, link, stream, batches).await
        }
        Some(Err(failure)) => failure,
        None => {
            // If it was sooner, the instance has found something better.
            // The instance has counted from the turn in which it wanted the link.
            if begun.elapsed() >= context.link_timeout * 3 / 4 {
                damped!(
                    WARN, Cause::one("instances that cannot be dialled", instance.to_string()),
                    %instance, address,
                    "another instance does not answer at its address: does a firewall forbid it, and is \
                     what its --peer or --advertise says an address for others? Or it has crashed, and \
                     its lease runs out soon"
                );
            }
            LinkFailure::Broken
        }
    }
}

async fn open<R: Runtime>(
    dial: Dial,
    trust: &Trust,
) -> Result<WebSocketStream<Watched<R::Stream>>, LinkFailure> {
    let Dial { instance, address } = dial;
    let watch = |stream| Watched::new(stream, trust.clone());
    match request::<R, _>(instance, &address, watch).await {
        Ok(stream) => {
            trust.frames_follow();
            Ok(stream)
        }
        Err(NoLink::NotThere) => {
            damped!(
                WARN, Cause::one("instances that are elsewhere", instance.to_string()),
                %instance, address,
                "another server is at the address of an instance: do two have the same --advertise? Or \
                 this one has crashed, its address was given to a new one, and its lease runs out soon"
            );
            Err(LinkFailure::NotMe)
        }
        Err(NoLink::Undialled(error)) => {
            damped!(
                WARN, Cause::one("instances that cannot be dialled", instance.to_string()),
                %instance, address, %error,
                "another instance cannot be dialled: does a firewall forbid it, and is what its --peer \
                 or --advertise says an address for others? Or it has crashed, and its lease runs out soon"
            );
            Err(LinkFailure::Broken)
        }
        Err(error @ (NoLink::Refused(_) | NoLink::Unwelcome(_))) => {
            damped!(
                WARN, Cause::one("instances that take no link", instance.to_string()),
                %instance, address, %error,
                "another instance does not take a link"
            );
            Err(LinkFailure::Broken)
        }
    }
}

/// Dials another instance, and asks for a link over what `wrap` makes of the stream.
async fn request<R: Runtime, S>(
    instance: InstanceId,
    address: &str,
    wrap: impl FnOnce(R::Stream) -> S,
) -> Result<WebSocketStream<S>, NoLink>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let dialled = R::dial(address.to_owned()).await;
    let stream = wrap(dialled.map_err(NoLink::Undialled)?);
    let url = format!("ws://{address}{PATH}{instance}");
    match client_async_with_config(url, stream, Some(config())).await {
        Ok((stream, _)) => Ok(stream),
        Err(Error::Http(response)) if response.status() == StatusCode::MISDIRECTED_REQUEST => {
            Err(NoLink::NotThere)
        }
        Err(error) => Err(NoLink::Refused(error.to_string())),
    }
}

async fn within_process(
    context: &Rc<LinkContext>,
    link: LinkKey,
    inbox: &Inbox,
    outbox: &Taker<Bytes>,
) -> LinkFailure {
    let (sender, their_receiver) = async_channel::bounded(1);
    let (their_sender, receiver) = async_channel::bounded(1);
    let theirs = LinkEnd::Channel(ChannelEnd {
        sender: their_sender,
        receiver: their_receiver,
    });
    if inbox.send(Input::AcceptLink(theirs)).await.is_err() {
        return LinkFailure::Broken;
    }
    tell(context, Event::LinkUp { link }).await;
    over_channel(context, link, ChannelEnd { sender, receiver }, outbox).await
}

async fn over_channel(
    context: &Rc<LinkContext>,
    link: LinkKey,
    end: ChannelEnd,
    outbox: &Taker<Bytes>,
) -> LinkFailure {
    let ChannelEnd { sender, receiver } = end;
    let read = async {
        while let Ok(batch) = receiver.recv().await {
            tell(context, Event::LinkReceived { link, batch }).await;
        }
    };
    let write = async {
        while let Some(batch) = outbox.take().await {
            if sender.send(batch).await.is_err() {
                return;
            }
            tell(context, Event::LinkWritten { link }).await;
        }
    };
    race(read, write).await;
    LinkFailure::Broken
}

async fn over_socket<R: Runtime, S>(
    context: &Rc<LinkContext>,
    link: LinkKey,
    stream: WebSocketStream<S>,
    outbox: &Taker<Bytes>,
) -> LinkFailure
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, mut receiver) = stream.split();
    // Both at once: two peers that only write to each other would wait for ever.
    race(
        read_socket(context, link, &mut receiver),
        write_socket::<R, S>(context, link, &mut sender, outbox),
    )
    .await;
    LinkFailure::Broken
}

async fn read_socket<S>(
    context: &Rc<LinkContext>,
    link: LinkKey,
    receiver: &mut WebSocketReceiver<S>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = receiver.next().await {
        match message {
            Ok(Message::Binary(batch)) => tell(context, Event::LinkReceived { link, batch }).await,
            // tungstenite answers pings; nothing else is of the protocol.
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Text(_) | Message::Frame(_)) => {}
            Ok(Message::Close(_)) | Err(_) => return,
        }
    }
}

async fn write_socket<R: Runtime, S>(
    context: &Rc<LinkContext>,
    link: LinkKey,
    sender: &mut WebSocketSender<S>,
    outbox: &Taker<Bytes>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(batch) = outbox.take().await {
        // `send` ends when all is flushed.
        let sent = race(
            async { sender.send(Message::Binary(batch)).await.is_ok() },
            async {
                // There is no batch before this one is written: it ends when the instance gives up.
                let _ = outbox.take().await;
                R::sleep(LAST_BATCH).await;
                false
            },
        );
        if !sent.await {
            return;
        }
        tell(context, Event::LinkWritten { link }).await;
    }
    // The peer may have gone already, or read nothing.
    let closed = async {
        let _ = sender.close(None).await;
    };
    race(closed, R::sleep(LAST_BATCH)).await;
}

fn config() -> WebSocketConfig {
    let largest = Config::BATCH_BYTES_MAX;
    WebSocketConfig::default()
        .max_message_size(Some(largest))
        .max_frame_size(Some(largest))
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
}

/// The instance that a request to the peer listener names.
pub(crate) fn named(path: &str) -> Option<InstanceId> {
    path.strip_prefix(PATH)?.parse().ok()
}

async fn tell(context: &LinkContext, event: Event) {
    // It fails only when the instance has ended.
    let _ = context.reports.send(event).await;
}
