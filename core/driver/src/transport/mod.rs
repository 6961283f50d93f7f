//! How frames get to a terminal, and messages from it. What stands in the frames is a protocol's business.
//!
//! A transport has a file here. It says which requests ask for it and how they are answered, and makes a
//! [`Transport`] of the stream behind a request. To add one: its file, a variant of [`TransportKind`], and
//! what the compiler then asks for.

mod boundary;
mod carriage;
mod event;
mod event_stream;
mod opening;
mod outlet;
mod signs;
mod upgrade;
mod websocket;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use futures_util::future::Either;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
    VARY,
};
use http::request::Parts;
use http::{HeaderMap, Method, Response, Version};
use switchboard_core::event::Closure;
use switchboard_core::frame::{EncodedSize, FrameSize, Payload};
use switchboard_protocol::{Farewell, Protocol};

use crate::read_buffer;
use crate::task::Portion;
pub(crate) use boundary::Boundary;
pub(crate) use carriage::{Carriage, Carried};
pub(crate) use event_stream::readable;
use event_stream::{AsEvents, AsLines, EventStream};
pub(crate) use opening::{Handover, Kernel, Opening, Opens, Wire};
pub(crate) use upgrade::{BadHandshake, check, switching};
use websocket::WebSocket;

/// The transports of terminals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransportKind {
    /// Frames of RFC 6455, in both directions.
    WebSocket,
    /// Server-Sent Events, to the terminal only.
    EventStream,
    /// Lines, to the terminal only, as the body of an answer.
    HttpStream,
}

/// What a request for a terminal's connection asks for, and how it is answered if the terminal may connect.
pub(crate) struct Asked {
    pub(crate) kind: TransportKind,
    pub(crate) protocol: Protocol,
    /// What completes the handshake. Frames follow it.
    pub(crate) head: Response<()>,
}

impl Asked {
    /// A refusal of what is asked for. The page that asks may read it, if it may read what it asks for.
    pub(crate) fn refused<B>(&self, mut refusal: Response<B>) -> Response<B> {
        for name in [
            ACCESS_CONTROL_ALLOW_ORIGIN,
            ACCESS_CONTROL_ALLOW_CREDENTIALS,
            ACCESS_CONTROL_EXPOSE_HEADERS,
            VARY,
        ] {
            if let Some(value) = self.head.headers().get(&name) {
                refusal.headers_mut().insert(name, value.clone());
            }
        }
        refusal
    }
}

impl TransportKind {
    /// All kinds of transports.
    pub(crate) const ALL: [Self; 3] = [Self::WebSocket, Self::EventStream, Self::HttpStream];

    /// Its name in metrics and log.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::EventStream => "event_stream",
            Self::HttpStream => "http_stream",
        }
    }

    /// The transport that a request asks for: a WebSocket, if it does not say.
    fn of(headers: &HeaderMap) -> Self {
        match event_stream::is_asked_for(headers) {
            true => Self::EventStream,
            false => Self::WebSocket,
        }
    }

    /// Whether HTTP gives up the connection by an upgrade. What does not is a response without an end to any
    /// other HTTP server than ours, and carries nothing from the terminal.
    pub(crate) const fn upgrades(self) -> bool {
        match self {
            Self::WebSocket => true,
            Self::EventStream | Self::HttpStream => false,
        }
    }

    /// How large pushes are in a protocol over this transport, in bytes. It is what limits count.
    pub(crate) const fn size(self, protocol: Protocol) -> EncodedSize {
        protocol.size(self.frame_size())
    }

    const fn frame_size(self) -> FrameSize {
        match self {
            // What comes before a frame is not counted: ten bytes at most.
            Self::WebSocket => Payload::len,
            Self::EventStream => event::size,
            // And what comes behind it.
            Self::HttpStream => Payload::len,
        }
    }

    /// Has a terminal served over a stream whose handshake is done.
    fn carry<S, C>(self, wire: Wire<S>, carry: C) -> impl Future<Output = C::Output>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
        C: Carry,
    {
        match self {
            Self::WebSocket => {
                Either::Left(carry.over(|frame_bytes| WebSocket::new(wire, frame_bytes)))
            }
            Self::EventStream => Either::Right(Either::Left(
                carry.over(|_| EventStream::<_, AsEvents>::new(wire)),
            )),
            Self::HttpStream => Either::Right(Either::Right(
                carry.over(|_| EventStream::<_, AsLines>::new(wire)),
            )),
        }
    }
}

/// What a request for a terminal's connection asks for that speaks the plain protocol.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn asked(
    method: &Method,
    version: Version,
    headers: &HeaderMap,
) -> Result<Asked, BadHandshake> {
    match TransportKind::of(headers) {
        TransportKind::WebSocket => websocket::asked(method, version, headers, Protocol::Plain),
        kind @ (TransportKind::EventStream | TransportKind::HttpStream) => {
            // `EventSource` sets no header by which it could choose another protocol.
            event_stream::asked(kind, &["GET"], method, headers, Protocol::default())
        }
    }
}

/// What a request for a WebSocket asks for whose terminal speaks this protocol, unless it offers another of the
/// same family.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn asked_websocket(parts: &Parts, usual: Protocol) -> Result<Asked, BadHandshake> {
    websocket::asked(&parts.method, parts.version, &parts.headers, usual)
}

/// What a request for a stream of this kind asks for, by one of these methods.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn asked_stream(
    parts: &Parts,
    kind: TransportKind,
    methods: &'static [&'static str],
    protocol: Protocol,
) -> Result<Asked, BadHandshake> {
    event_stream::asked(kind, methods, &parts.method, &parts.headers, protocol)
}

/// What serves a terminal over whatever transport it has.
pub(crate) trait Carry {
    /// How it has ended.
    type Output;

    /// Serves it over this one, which is opened for messages of so many bytes at most.
    fn over<T: Transport>(
        self,
        open: impl FnOnce(usize) -> T,
    ) -> impl Future<Output = Self::Output>;
}

/// One terminal's connection, server's side. Nothing here waits: what is queued leaves with
/// [`poll_flush`](Self::poll_flush).
pub(crate) trait Transport: 'static {
    /// Which one it is.
    const KIND: TransportKind;

    /// Queues a frame.
    fn send(&mut self, frame: &Carried);

    /// Queues what a living terminal answers, or acknowledges: this frame, if its protocol has one for that. Of a
    /// terminal that answers no frame the transport knows by itself, or asks it.
    fn ping(&mut self, frame: Option<&Carried>, is_answered: bool);

    /// What the other end has shown of life since the ping, or since this was asked last.
    fn signs(&mut self) -> LifeSign;

    /// Queues the end of the connection with its reason, unless there was one.
    fn close(&mut self, cx: &mut Context<'_>, farewell: Farewell);

    /// Reads what comes next. A transport that is not for messages reads its end.
    ///
    /// # Errors
    ///
    /// How the connection has ended.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, Closure>>;

    /// Whether everything queued is with the operating system.
    fn is_flushed(&self) -> bool;

    /// Writes what is queued, through `scratch`, which is shared by all terminals of a thread.
    fn poll_flush(&mut self, cx: &mut Context<'_>, scratch: &mut Vec<u8>) -> Poll<io::Result<()>>;

    /// Writes what is queued as far as the operating system takes it at once, which need not be all, and
    /// need not be done: what is left is written by [`poll_flush`](Self::poll_flush), which also finds what is wrong.
    fn try_flush(&mut self, scratch: &mut Vec<u8>);

    /// Ends the stream's writing half.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Reads bytes that nobody wants. `Ready` at the end of the stream, or after an error.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// What a terminal shows from which no answer to a ping has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LifeSign {
    /// Nothing: neither bytes of it nor acknowledgements of ours.
    Missing,
    /// It takes what stands before the ping, or has sent some of a message.
    Progress,
    /// All that an answer would say.
    Answer,
}

/// What comes from a terminal.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A sign of life without content.
    Control,
    /// A message in full, whatever frames it came in.
    Message(Payload),
}

/// How it ends that bytes are read which nobody wants.
enum Away {
    /// With the stream.
    Ended,
    /// There were more than there was room for.
    TooMuch,
}

/// Reads bytes that nobody wants. `Ready` at the end of the stream, or after an error.
fn read_all_away<S: AsyncRead + Unpin>(
    stream: &mut S,
    portion: &mut Portion,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let mut room = usize::MAX;
    read_away(stream, portion, &mut room, cx).map(|_| ())
}

/// Reads bytes that nobody wants, as many as `room` says. `Ready` at the end of the stream, when they are too
/// many, or with an error.
fn read_away<S: AsyncRead + Unpin>(
    stream: &mut S,
    portion: &mut Portion,
    room: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Away>> {
    /// A portion of these is little.
    const CHUNK: usize = 1024;
    loop {
        ready!(portion.poll_take(cx));
        let mut stream = Pin::new(&mut *stream);
        let read = read_buffer::with(|bytes| stream.as_mut().poll_read(cx, &mut bytes[..CHUNK]));
        let read = ready!(read)?;
        if read == 0 {
            return Poll::Ready(Ok(Away::Ended));
        }
        let Some(left) = room.checked_sub(read) else {
            return Poll::Ready(Ok(Away::TooMuch));
        };
        *room = left;
    }
}
