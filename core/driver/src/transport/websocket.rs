//! One terminal's WebSocket over any stream: tungstenite reads, and writes control frames; the
//! frames of pushes are written from their shared bytes, so that nothing large stays allocated.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_io::{AsyncRead, AsyncWrite};
use http::{HeaderMap, HeaderValue, Method, Version};
use switchboard_core::event::Closure;
use switchboard_core::frame::{CloseCode, FrameKind, Payload};
use switchboard_protocol::{Farewell, Protocol};
use tungstenite::error::{CapacityError, Error, ProtocolError};
use tungstenite::protocol::frame::CloseFrame;
use tungstenite::protocol::frame::coding::{self, Control, Data, OpCode};
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Message, Utf8Bytes};

use super::boundary::Boundary;
use super::outlet::Outlet;
use super::signs::Signs;
use super::upgrade::{self, BadHandshake};
use super::{
    Asked, Carried, Incoming, Kernel, LifeSign, Transport, TransportKind, Wire, read_all_away,
};
use crate::permits::Seat;
use crate::read_buffer;
use crate::request::subprotocol::selected_protocol;
use crate::task::Portion;

/// A WebSocket, server's side.
pub(super) struct WebSocket<S> {
    stream: S,
    frame_bytes: usize,
    /// `None` between messages: a terminal says nothing most of the time.
    dialogue: Option<Box<Dialogue>>,
    outlet: Outlet,
    portion: Portion,
    signs: Signs,
    kernel: Kernel<S>,
    _place: Option<Seat>,
}

/// What is known of a message while not all of it has come, and of the end of a connection.
struct Dialogue {
    /// What was read and tungstenite has not taken.
    unparsed: Bytes,
    protocol: WebSocketContext,
    boundary: Boundary,
}

/// The buffer of tungstenite: it holds a message or a pong as they usually are.
const READ_BUFFER: usize = 128;

/// How much is read from a socket at a time: what a terminal says is small, and others are to have their turn.
const CHUNK: usize = 4096;

/// What tungstenite may buffer of its own frames: pongs and the Close frame.
const CONTROL_BUFFER: usize = 4096;

/// What an upgrade asks for. It speaks the `usual` protocol unless it offers another of the same family.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn asked(
    method: &Method,
    version: Version,
    headers: &HeaderMap,
    usual: Protocol,
) -> Result<Asked, BadHandshake> {
    let accept = upgrade::check(method, version, headers)?;
    let chosen = selected_protocol(usual.family(), headers);
    let selected = chosen.and_then(Protocol::subprotocol);
    let selected = selected.map(HeaderValue::from_static);
    Ok(Asked {
        kind: TransportKind::WebSocket,
        protocol: chosen.unwrap_or(usual),
        head: upgrade::switching(&accept, selected),
    })
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> WebSocket<S> {
    /// A socket whose upgrade is done.
    pub(super) fn new(wire: Wire<S>, frame_bytes: usize) -> Self {
        let Wire {
            stream,
            read,
            kernel,
            place,
        } = wire;
        // What was read is a slice of the buffer of 8 KiB that hyper read the request into: it is copied, and the
        // buffer is dropped here.
        let first = (!read.is_empty()).then(|| Box::new(Dialogue::new(frame_bytes, &read)));
        Self {
            stream,
            frame_bytes,
            dialogue: first,
            outlet: Outlet::default(),
            portion: Portion::default(),
            signs: Signs::default(),
            kernel,
            _place: place,
        }
    }

    /// Reads a message. Answers to pings and Close frames are queued.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<tungstenite::Result<Message>> {
        let result = self.in_dialogue(cx, |protocol, io| {
            let result = protocol.read(io);
            match &result {
                // The answer to a Close frame waits in tungstenite until somebody asks.
                Ok(Message::Close(_)) => finish(protocol, io, None),
                Err(Error::Protocol(ProtocolError::UnmaskedFrameFromClient))
                    if io.boundary.is_farewell() =>
                {
                    let away = CloseFrame {
                        code: coding::CloseCode::Away,
                        reason: Utf8Bytes::default(),
                    };
                    finish(protocol, io, Some(away.clone()));
                    return Ok(Message::Close(Some(away)));
                }
                Ok(_) | Err(_) => {}
            }
            result
        });
        match result {
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                self.rest();
                Poll::Pending
            }
            result => Poll::Ready(result),
        }
    }

    /// Forgets what was said, if that was whole messages and is answered: a new dialogue goes on where this one was.
    fn rest(&mut self) {
        let dialogue = self.dialogue.as_deref();
        let is_over =
            dialogue.is_some_and(|it| it.boundary.is_at_rest() && it.protocol.can_write());
        if is_over && self.is_flushed() {
            self.dialogue = None;
        }
    }

    fn in_dialogue<T>(
        &mut self,
        cx: &mut Context<'_>,
        speak: impl FnOnce(&mut WebSocketContext, &mut Io<'_, '_, S>) -> T,
    ) -> T {
        let dialogue =
            (self.dialogue).get_or_insert_with(|| Box::new(Dialogue::new(self.frame_bytes, &[])));
        let Dialogue {
            unparsed,
            protocol,
            boundary,
        } = &mut **dialogue;
        let mut io = Io {
            stream: &mut self.stream,
            unparsed,
            outlet: &mut self.outlet,
            boundary,
            signs: &mut self.signs,
            portion: &mut self.portion,
            is_last: false,
            cx,
        };
        speak(protocol, &mut io)
    }
}

impl Dialogue {
    /// One that begins with these bytes.
    fn new(frame_bytes: usize, read: &[u8]) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(CONTROL_BUFFER)
            .max_message_size(Some(frame_bytes))
            .max_frame_size(Some(frame_bytes));
        Self {
            unparsed: Bytes::copy_from_slice(read),
            protocol: WebSocketContext::new(Role::Server, Some(config)),
            boundary: Boundary::default(),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Transport for WebSocket<S> {
    const KIND: TransportKind = TransportKind::WebSocket;

    fn send(&mut self, frame: &Carried) {
        let data = match frame.kind {
            FrameKind::Text => Data::Text,
            FrameKind::Binary => Data::Binary,
        };
        self.outlet
            .push_frame(OpCode::Data(data), frame.bytes.clone());
    }

    fn ping(&mut self, frame: Option<&Carried>, is_answered: bool) {
        let unacknowledged = (self.kernel.unacknowledged)(&self.stream);
        self.signs.pinged(self.outlet.bytes(), unacknowledged);
        if let Some(frame) = frame {
            self.send(frame);
        }
        if frame.is_none() || !is_answered {
            (self.outlet).push_frame(OpCode::Control(Control::Ping), Bytes::new());
        }
    }

    fn signs(&mut self) -> LifeSign {
        match self.signs.look((self.kernel.unacknowledged)(&self.stream)) {
            true => LifeSign::Progress,
            false => LifeSign::Missing,
        }
    }

    fn close(&mut self, cx: &mut Context<'_>, farewell: Farewell) {
        let frame = CloseFrame {
            code: farewell.number.into(),
            reason: Utf8Bytes::from_static(farewell.reason),
        };
        self.in_dialogue(cx, |protocol, io| finish(protocol, io, Some(frame)));
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, Closure>> {
        self.poll_message(cx).map(|message| match message {
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => Ok(Incoming::Control),
            Ok(Message::Close(_)) => Err(Closure::Clean),
            Ok(Message::Binary(bytes)) => Ok(Incoming::Message(Payload::binary(bytes))),
            // tungstenite has checked that text is UTF-8.
            Ok(Message::Text(text)) => Payload::text(text.into())
                .map(Incoming::Message)
                .map_err(|_| Closure::Violation(CloseCode::InvalidPayload)),
            Err(error) => Err(closure(&error)),
        })
    }

    fn is_flushed(&self) -> bool {
        self.outlet.is_empty()
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, scratch: &mut Vec<u8>) -> Poll<io::Result<()>> {
        let Self {
            stream,
            outlet,
            signs,
            ..
        } = self;
        outlet.poll_write(stream, signs, cx, scratch)
    }

    fn try_flush(&mut self, scratch: &mut Vec<u8>) {
        if let Some(write) = self.kernel.try_write {
            let stream = &self.stream;
            (self.outlet).try_write(|parts| write(stream, parts), &mut self.signs, scratch);
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }

    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        read_all_away(&mut self.stream, &mut self.portion, cx)
    }
}

/// Queues all that tungstenite has, and this Close frame behind it: behind that it is not asked any more. It is
/// queued however much waits, as it is the last.
fn finish<S: AsyncRead + Unpin>(
    protocol: &mut WebSocketContext,
    io: &mut Io<'_, '_, S>,
    close: Option<CloseFrame>,
) {
    // Pongs that wait leave its buffer no room for a Close frame.
    protocol.set_config(|config| config.max_write_buffer_size = 2 * CONTROL_BUFFER);
    io.is_last = true;
    // It fails if the connection is closed already, which is what is wanted.
    let _ = protocol.flush(io);
    if let Some(close) = close {
        let _ = protocol.close(io, Some(close));
    }
}

/// How a connection ended, by the error that reading it ended with.
fn closure(error: &Error) -> Closure {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => Closure::Clean,
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Closure::Abrupt,
        Error::Protocol(_) | Error::AttackAttempt => Closure::Violation(CloseCode::ProtocolError),
        Error::Utf8(_) => Closure::Violation(CloseCode::InvalidPayload),
        Error::Capacity(CapacityError::MessageTooLong { .. } | CapacityError::TooManyHeaders) => {
            Closure::Violation(CloseCode::TooLarge)
        }
        Error::Io(_)
        | Error::Tls(_)
        | Error::WriteBufferFull(_)
        | Error::Url(_)
        | Error::Http(_)
        | Error::HttpFormat(_) => Closure::Abrupt,
    }
}

/// What tungstenite reads from and writes to during one poll.
struct Io<'a, 'cx, S> {
    stream: &'a mut S,
    unparsed: &'a mut Bytes,
    outlet: &'a mut Outlet,
    boundary: &'a mut Boundary,
    signs: &'a mut Signs,
    portion: &'a mut Portion,
    /// Nothing comes behind what is written.
    is_last: bool,
    cx: &'a mut Context<'cx>,
}

impl<S: AsyncRead + Unpin> Read for Io<'_, '_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let taken = if self.unparsed.is_empty() {
            self.read_on(buffer)?
        } else {
            let taken = self
                .unparsed
                .split_to(buffer.len().min(self.unparsed.len()));
            buffer[..taken.len()].copy_from_slice(&taken);
            taken.len()
        };
        self.boundary.pass(&buffer[..taken]);
        Ok(taken)
    }
}

impl<S: AsyncRead + Unpin> Io<'_, '_, S> {
    /// Reads from the socket. What is more than the buffer holds waits.
    fn read_on(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.portion.poll_take(self.cx).is_pending() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        read_buffer::with(|chunk| {
            let chunk = &mut chunk[..CHUNK];
            match Pin::new(&mut *self.stream).poll_read(self.cx, chunk) {
                Poll::Ready(read) => {
                    let read = &chunk[..read?];
                    self.signs.came();
                    let (taken, more) = read.split_at(read.len().min(buffer.len()));
                    buffer[..taken.len()].copy_from_slice(taken);
                    if !more.is_empty() {
                        *self.unparsed = Bytes::copy_from_slice(more);
                    }
                    Ok(taken.len())
                }
                Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
            }
        })
    }
}

impl<S> Write for Io<'_, '_, S> {
    /// Takes whole frames: tungstenite hands over all that it has buffered.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.outlet.is_full() && !self.is_last {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.outlet.push(&[], Bytes::copy_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::task::noop_waker;

    use super::*;
    use crate::transport::Carriage;
    use crate::transport::outlet::WRITE_CHUNK;

    #[test]
    fn frames_are_written_whole_and_in_order_however_little_the_stream_takes() {
        for step in [1, 2, 7, 1000, 1 << 20] {
            let mut socket = socket(Pipe::taking(step), &[], 1024);
            let large = vec![7; 2 * WRITE_CHUNK + 1];
            send(&mut socket, Payload::text("hello".into()).unwrap());
            send(&mut socket, Payload::binary(large.clone().into()));
            socket.ping(None, true);
            flush(&mut socket);
            let mut expected = vec![0x81, 5];
            expected.extend(b"hello");
            expected.extend([0x82, 126]);
            expected.extend((large.len() as u16).to_be_bytes());
            expected.extend(&large);
            expected.extend([0x89, 0]);
            assert!(socket.stream.written == expected, "{step} bytes a write");
            assert!(socket.is_flushed());
        }
    }

    /// H18: the peer's Close frame is answered.
    #[test]
    fn a_close_frame_is_echoed() {
        let mut socket = socket(
            Pipe::taking(100),
            &masked(0x88, &1000_u16.to_be_bytes()),
            1024,
        );
        assert!(matches!(
            read(&mut socket),
            Poll::Ready(Ok(Message::Close(Some(_))))
        ));
        flush(&mut socket);
        assert_eq!(socket.stream.written, [0x88, 2, 0x03, 0xe8]);
    }

    /// H18: whoever reads slowly hears why the connection ends, behind all that was sent before.
    #[test]
    fn a_close_frame_comes_however_much_waits_before_it() {
        let close = masked(0x88, &1000_u16.to_be_bytes());
        let pings = masked(0x89, &[7; 125]).repeat(100);
        for pings in [Vec::new(), pings] {
            let theirs = [&pings[..], &close].concat();
            let echo = [0x88, 2, 0x03, 0xe8];
            assert_eq!(last_written(&theirs, in_portions), echo);
            let ours = |socket: &mut WebSocket<Pipe>| {
                while in_portions(socket).is_some() {}
                let farewell = Farewell {
                    number: 4001,
                    reason: "",
                };
                socket.close(&mut Context::from_waker(&noop_waker()), farewell);
                None
            };
            assert_eq!(last_written(&pings, ours), [0x88, 2, 0x0f, 0xa1]);
        }
    }

    /// The last four bytes that are written to whoever has not read much more than an outlet holds, and sends this.
    fn last_written(
        theirs: &[u8],
        mut read: impl FnMut(&mut WebSocket<Pipe>) -> Option<Message>,
    ) -> Vec<u8> {
        let mut socket = socket(Pipe::taking(1000), theirs, 1024);
        while !socket.outlet.is_full() {
            send(&mut socket, Payload::text("hello".into()).unwrap());
        }
        while let Some(message) = read(&mut socket) {
            if let Message::Close(_) = message {
                break;
            }
        }
        flush(&mut socket);
        let written = socket.stream.written;
        written[written.len() - 4..].to_vec()
    }

    /// Caddy's at a reload, up to 2.6.2.
    #[test]
    fn a_close_that_a_proxy_sends_without_a_mask_is_taken_as_what_it_is() {
        let mut socket = socket(Pipe::taking(100), &masked(0x81, b"hi"), 1024);
        socket.stream.unread = vec![0x88, 2, 0x03, 0xe9];
        assert!(matches!(
            read(&mut socket),
            Poll::Ready(Ok(Message::Text(_)))
        ));
        assert!(matches!(
            read(&mut socket),
            Poll::Ready(Ok(Message::Close(Some(_))))
        ));
        flush(&mut socket);
        assert_eq!(socket.stream.written, [0x88, 2, 0x03, 0xe9]);
    }

    #[test]
    fn a_ping_is_answered_between_frames() {
        let mut socket = socket(Pipe::taking(3), &masked(0x89, b"x"), 1024);
        send(&mut socket, Payload::text("hi".into()).unwrap());
        assert!(matches!(
            read(&mut socket),
            Poll::Ready(Ok(Message::Ping(_)))
        ));
        assert!(read(&mut socket).is_pending());
        flush(&mut socket);
        assert_eq!(socket.stream.written, [0x81, 2, b'h', b'i', 0x8a, 1, b'x']);
    }

    /// H09: a frame that is too large is refused by its header.
    #[test]
    fn a_frame_beyond_the_limit_is_refused_before_it_has_come() {
        let mut socket = socket(
            Pipe::taking(100),
            &[0x82, 0xfe, 0x04, 0x01, 0, 0, 0, 0],
            1024,
        );
        assert!(matches!(
            read(&mut socket),
            Poll::Ready(Err(Error::Capacity(_)))
        ));
    }

    #[test]
    fn reading_goes_on_after_what_was_kept_of_a_message_is_given_back() {
        for length in [0, 1, 200_000] {
            let bytes = vec![7; length];
            let mut socket = socket(Pipe::taking(100), &[], 1 << 18);
            socket.stream.unread = masked(0x82, &bytes);
            let message = in_portions(&mut socket);
            assert!(matches!(message, Some(Message::Binary(read)) if read == bytes));
            assert!(in_portions(&mut socket).is_none());
            assert!(socket.dialogue.is_none(), "something is kept");
            socket.stream.unread = masked(0x81, b"next");
            let message = in_portions(&mut socket);
            assert!(matches!(message, Some(Message::Text(text)) if text.as_str() == "next"));
        }
    }

    #[test]
    fn what_has_come_in_part_is_kept_until_the_rest_comes() {
        let frames = [
            masked(0x01, b"in "),
            masked(0x89, b""),
            masked(0x80, b"part"),
        ]
        .concat();
        for cut in 1..frames.len() {
            let (first, rest) = frames.split_at(cut);
            let mut socket = socket(Pipe::taking(100), first, 1024);
            let pings = [read(&mut socket), read(&mut socket)];
            let pings = pings.iter().filter(|it| it.is_ready()).count();
            flush(&mut socket);
            socket.stream.unread = rest.to_vec();
            let messages = (pings..2).filter_map(|_| in_portions(&mut socket));
            let last = messages.last();
            assert!(
                matches!(last, Some(Message::Text(text)) if text.as_str() == "in part"),
                "{cut}"
            );
        }
    }

    #[test]
    fn frames_that_come_together_are_read_one_after_the_other() {
        let numbers = 0..3 * CHUNK / 8;
        let texts: Vec<_> = numbers.map(|number| number.to_string()).collect();
        let frames = texts.iter().flat_map(|text| masked(0x81, text.as_bytes()));
        let frames: Vec<u8> = frames.collect();
        for with_the_request in [0, 1, 7, CHUNK, frames.len()] {
            let (first, later) = frames.split_at(with_the_request);
            let mut socket = socket(Pipe::taking(100), first, 1024);
            socket.stream.unread = later.to_vec();
            for text in &texts {
                let message = in_portions(&mut socket);
                assert!(matches!(message, Some(Message::Text(read)) if read.as_str() == text));
            }
            assert!(in_portions(&mut socket).is_none());
        }
    }

    #[test]
    fn what_never_ends_is_read_in_portions() {
        let mut socket = socket(Pipe::taking(100), &masked(0x01, b""), 1024);
        // Continuations of nothing: the message stays within its limit, and does not end.
        socket.stream.unread = masked(0x00, b"").repeat(1 << 15);
        let all = socket.stream.unread.len();
        assert!(read(&mut socket).is_pending());
        let left = socket.stream.unread.len();
        assert!((1..all).contains(&left), "{left} of {all} bytes are left");
        let discarded = socket.poll_discard(&mut Context::from_waker(&noop_waker()));
        assert!(discarded.is_pending());
        assert!((1..left).contains(&socket.stream.unread.len()));
    }

    fn socket(stream: Pipe, read: &[u8], frame_bytes: usize) -> WebSocket<Pipe> {
        let wire = Wire {
            stream,
            read: Bytes::copy_from_slice(read),
            kernel: Kernel::unknown(),
            place: None,
        };
        WebSocket::new(wire, frame_bytes)
    }

    fn read(socket: &mut WebSocket<Pipe>) -> Poll<tungstenite::Result<Message>> {
        socket.poll_message(&mut Context::from_waker(&noop_waker()))
    }

    /// The next message, if there is one.
    fn in_portions(socket: &mut WebSocket<Pipe>) -> Option<Message> {
        (0..10).find_map(|_| match read(socket) {
            Poll::Ready(message) => message.ok(),
            Poll::Pending => None,
        })
    }

    fn send(socket: &mut WebSocket<Pipe>, frame: Payload) {
        let carried = Carriage::default().carried(TransportKind::WebSocket, frame);
        socket.send(&carried);
    }

    fn flush(socket: &mut WebSocket<Pipe>) {
        let flushed = socket.poll_flush(&mut Context::from_waker(&noop_waker()), &mut Vec::new());
        assert!(matches!(flushed, Poll::Ready(Ok(()))));
    }

    /// A frame as a terminal sends it, with a mask that changes nothing.
    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            length @ 0..=125 => frame.push(0x80 | length as u8),
            length @ ..=0xffff => {
                frame.push(0xfe);
                frame.extend((length as u16).to_be_bytes());
            }
            length => {
                frame.push(0xff);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(payload);
        frame
    }

    /// A stream that takes a few bytes at a time.
    struct Pipe {
        step: usize,
        written: Vec<u8>,
        unread: Vec<u8>,
    }

    impl Pipe {
        fn taking(step: usize) -> Self {
            Self {
                step,
                written: Vec::new(),
                unread: Vec::new(),
            }
        }
    }

    impl AsyncRead for Pipe {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            if self.unread.is_empty() {
                return Poll::Pending;
            }
            let read = self.unread.len().min(buffer.len());
            buffer[..read].copy_from_slice(&self.unread[..read]);
            self.unread.drain(..read);
            Poll::Ready(Ok(read))
        }
    }

    impl AsyncWrite for Pipe {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let written = bytes.len().min(self.step);
            self.written.extend_from_slice(&bytes[..written]);
            Poll::Ready(Ok(written))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }
}
