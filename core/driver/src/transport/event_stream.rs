//! A terminal's event stream: the answer to a `GET` that does not end (Server-Sent Events, HTML standard,
//! section 9.2). Frames go to the terminal only, and each is an event:
//!
//! | what | event |
//! |---|---|
//! | a text | `data:` for each of its lines; line ends arrive as LF |
//! | bytes | `event: binary`, and `data:` in base64 |
//! | the end, with its reason | `event: close`, and `data:` with code and reason as JSON |
//! | a ping | a comment |
//!
//! A terminal answers nothing. It lives while what it is sent is acknowledged, and has ended when the
//! connection has.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_io::{AsyncRead, AsyncWrite};
use http::header::{
    ACCEPT, ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL,
    CONNECTION, CONTENT_TYPE, HeaderName, ORIGIN, UPGRADE, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Response};
use switchboard_core::event::Closure;
use switchboard_core::frame::{CloseCode, EncodedSize, FrameKind, Payload};
use switchboard_protocol::Protocol;

use super::outlet::Outlet;
use super::signs::Signs;
use super::{Asked, BadHandshake, Incoming, LifeSign, Transport, TransportKind, Wire, read_away};
use crate::task::Portion;

/// What a terminal accepts that asks for an event stream.
const MEDIA_TYPE: &str = "text/event-stream";

/// Tells nginx to pass on each event as it comes.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// How a browser's page asks. Other programs do not say.
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// The beginning of each line of an event's data.
const DATA: &[u8] = b"data: ";

/// The beginning of an event whose data are bytes.
const BINARY: &[u8] = b"event: binary\ndata: ";

/// The end of the last line of an event, and of the event.
const END: &[u8] = b"\n\n";

/// A comment, and the end of an event that is none.
const PING: &[u8] = b":\n\n";

/// Whether a request asks for an event stream. If it asks for an upgrade as well, it means that.
pub(super) fn is_asked_for(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter();
    let accepted = accepted.filter_map(|value| value.to_str().ok());
    let mut types = accepted
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next());
    !headers.contains_key(UPGRADE) && types.any(|name| name.trim().eq_ignore_ascii_case(MEDIA_TYPE))
}

/// What a request asks for. Its origin, if it states one, is to be checked before it is answered: the page
/// may read the stream.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn asked(method: &Method, headers: &HeaderMap) -> Result<Asked, BadHandshake> {
    if method != Method::GET {
        return Err(BadHandshake::Method);
    }
    if !may_state_origin(headers) {
        let text = "a page asks for an event stream with `EventSource`, or a `fetch` that is not `no-cors`";
        return Err(BadHandshake::Header(text));
    }
    let mut head = Response::new(());
    let said = head.headers_mut();
    said.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    said.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Its length is not told: it ends with the connection.
    said.insert(CONNECTION, HeaderValue::from_static("close"));
    said.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    said.insert(VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = headers.get(ORIGIN) {
        said.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        let with_cookies = HeaderValue::from_static("true");
        said.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, with_cookies);
    }
    Ok(Asked {
        kind: TransportKind::EventStream,
        protocol: Protocol::default(),
        head,
    })
}

/// H04: a browser states the origin of a page that asks another host, unless the page may not read the answer
/// (`no-cors`). Such a page could still have a visitor's cookies open a connection.
fn may_state_origin(headers: &HeaderMap) -> bool {
    (headers.get(SEC_FETCH_MODE)).is_none_or(|mode| mode == "cors" || mode == "same-origin")
}

/// How large frames are as events.
pub(super) const fn size(protocol: Protocol) -> EncodedSize {
    match protocol {
        // Its frames are the payloads.
        Protocol::Plain => EncodedSize::new(|pushed| event_size(pushed.payload())),
    }
}

fn event_size(frame: &Payload) -> usize {
    match frame.kind() {
        FrameKind::Text => {
            let lines = lines(frame.bytes());
            let sizes = lines.map(|line| DATA.len() + line.len() + 1);
            sizes.sum::<usize>() + 1
        }
        FrameKind::Binary => BINARY.len() + frame.len().div_ceil(3) * 4 + END.len(),
    }
}

/// The lines of a text, whatever ends them: CR LF, LF or CR.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
            return rest.take();
        };
        let (line, behind) = text.split_at(end);
        rest = Some(behind.strip_prefix(b"\r\n").unwrap_or(&behind[1..]));
        Some(line)
    })
}

/// An event stream, server's side.
pub(super) struct EventStream<S> {
    stream: S,
    outlet: Outlet,
    signs: Signs,
    portion: Portion,
    stage: StreamStage,
    unacknowledged: fn(&S) -> Option<usize>,
}

#[derive(Clone, Copy, PartialEq)]
enum StreamStage {
    Open,
    /// Its last event is queued.
    Ending,
    /// Its writing half is closed.
    Ended,
}

impl<S> EventStream<S> {
    /// A stream whose head is sent. What was read behind the request is not looked at.
    pub(super) fn new(wire: Wire<S>) -> Self {
        Self {
            stream: wire.stream,
            outlet: Outlet::default(),
            signs: Signs::default(),
            portion: Portion::default(),
            stage: StreamStage::Open,
            unacknowledged: wire.unacknowledged,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Transport for EventStream<S> {
    fn send(&mut self, frame: &Payload) {
        let bytes = frame.bytes();
        match frame.kind() {
            FrameKind::Text if !bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n')) => {
                self.outlet.push(DATA, bytes.clone());
                self.outlet.push(END, Bytes::new());
            }
            FrameKind::Text => {
                let mut event = Vec::with_capacity(event_size(frame));
                for line in lines(bytes) {
                    event.extend_from_slice(DATA);
                    event.extend_from_slice(line);
                    event.push(b'\n');
                }
                event.push(b'\n');
                self.outlet.push(&[], event.into());
            }
            FrameKind::Binary => {
                let mut event = String::with_capacity(event_size(frame));
                event.push_str("event: binary\ndata: ");
                STANDARD.encode_string(bytes, &mut event);
                event.push_str("\n\n");
                self.outlet.push(&[], event.into());
            }
        }
    }

    fn ping(&mut self) {
        self.outlet.push(PING, Bytes::new());
        // Behind it: that it is acknowledged is the answer.
        let unacknowledged = (self.unacknowledged)(&self.stream);
        self.signs.pinged(self.outlet.bytes(), unacknowledged);
    }

    fn signs(&mut self) -> LifeSign {
        // Where nobody tells, what the operating system has taken counts. It gives up a connection by
        // itself of which nothing is acknowledged.
        let unacknowledged = (self.unacknowledged)(&self.stream).or(Some(0));
        if self.signs.is_ping_taken(unacknowledged) {
            return LifeSign::Answer;
        }
        match self.signs.look(unacknowledged) {
            true => LifeSign::Progress,
            false => LifeSign::Missing,
        }
    }

    fn close(&mut self, _cx: &mut Context<'_>, code: CloseCode) {
        if self.stage == StreamStage::Open {
            self.stage = StreamStage::Ending;
            let (number, reason) = (code.number(), code.reason());
            let data = format!(r#"{{"code":{number},"reason":"{reason}"}}"#);
            let event = format!("event: close\ndata: {data}\n\n");
            self.outlet.push(&[], event.into());
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, Closure>> {
        let ended = ready!(read_away(&mut self.stream, &mut self.portion, cx));
        Poll::Ready(Err(match ended {
            Ok(()) => Closure::Clean,
            Err(_) => Closure::Abrupt,
        }))
    }

    fn is_flushed(&self) -> bool {
        self.outlet.is_empty() && self.stage != StreamStage::Ending
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, scratch: &mut Vec<u8>) -> Poll<io::Result<()>> {
        let Self {
            stream,
            outlet,
            signs,
            ..
        } = self;
        ready!(outlet.poll_write(stream, signs, cx, scratch))?;
        if self.stage == StreamStage::Ending {
            // The terminal reads to the end, and ends its side.
            ready!(self.poll_shutdown(cx))?;
            self.stage = StreamStage::Ended;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }

    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        read_away(&mut self.stream, &mut self.portion, cx).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::io::Cursor;
    use futures_util::task::noop_waker;

    use super::*;

    #[test]
    fn frames_are_events_and_as_large_as_is_counted() {
        let text = |text: &str| Payload::from(text.to_owned());
        let cases = [
            (text(r#"{"a":1}"#), "data: {\"a\":1}\n\n"),
            (text(""), "data: \n\n"),
            (text(" a"), "data:  a\n\n"),
            (
                text("a\nb\r\nc\rd"),
                "data: a\ndata: b\ndata: c\ndata: d\n\n",
            ),
            (text("a\n"), "data: a\ndata: \n\n"),
            (text("\n\rb"), "data: \ndata: \ndata: b\n\n"),
            (
                text("event: close\n\ndata: forged"),
                "data: event: close\ndata: \ndata: data: forged\n\n",
            ),
            (
                Payload::binary(Bytes::from_static(b"\0\xff")),
                "event: binary\ndata: AP8=\n\n",
            ),
            (Payload::binary(Bytes::new()), "event: binary\ndata: \n\n"),
        ];
        for (frame, event) in cases {
            let mut stream = stream();
            stream.send(&frame);
            assert_eq!(written(&mut stream), event);
            assert_eq!(event_size(&frame), event.len(), "{event}");
        }
    }

    #[test]
    fn the_bytes_of_a_text_of_one_line_are_shared() {
        let frame = Payload::from("one line".to_owned());
        let mut stream = stream();
        stream.send(&frame);
        let shared = stream.outlet.payloads().next().expect("a chunk");
        assert_eq!(shared.as_ptr(), frame.bytes().as_ptr());
    }

    /// H18: what ends a connection says why, and nothing comes behind it.
    #[test]
    fn the_end_is_an_event_and_told_once() {
        let mut stream = stream();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        stream.ping();
        stream.close(&mut cx, CloseCode::Kicked);
        stream.close(&mut cx, CloseCode::ServiceRestart);
        assert!(!stream.is_flushed());
        let end = "event: close\ndata: {\"code\":4001,\"reason\":\"kicked\"}\n\n";
        assert_eq!(written(&mut stream), format!(":\n\n{end}"));
        assert!(stream.is_flushed());
        let read = stream.poll_read(&mut cx);
        assert!(matches!(read, Poll::Ready(Err(Closure::Clean))));
    }

    /// H27: a terminal that answers nothing lives as long as pings arrive.
    #[test]
    fn a_ping_is_answered_when_it_is_acknowledged() {
        let mut acknowledged = stream();
        acknowledged.unacknowledged = |_| Some(0);
        acknowledged.ping();
        assert_eq!(acknowledged.signs(), LifeSign::Missing);
        written(&mut acknowledged);
        assert_eq!(acknowledged.signs(), LifeSign::Answer);

        let mut silent = stream();
        silent.unacknowledged = |_| Some(PING.len());
        silent.ping();
        written(&mut silent);
        assert_eq!(silent.signs(), LifeSign::Missing);
        silent.unacknowledged = |_| Some(1);
        assert_eq!(silent.signs(), LifeSign::Progress);
        assert_eq!(silent.signs(), LifeSign::Missing);
    }

    #[test]
    fn a_request_asks_for_a_stream_by_what_it_accepts() {
        for (name, value, expected) in [
            ("accept", "text/event-stream", true),
            ("accept", "text/html, Text/Event-Stream;q=0.9", true),
            ("accept", "*/*", false),
            ("accept-encoding", "text/event-stream", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            assert_eq!(is_asked_for(&headers), expected, "{name}: {value}");
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            assert!(!is_asked_for(&headers), "an upgrade is meant");
        }
    }

    #[test]
    fn the_page_that_asks_may_read_the_stream_and_no_other() {
        let mut headers = HeaderMap::new();
        let head = |headers: &HeaderMap| asked(&Method::GET, headers).expect("a stream").head;
        let none = head(&headers);
        assert!(!none.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
        let origin = HeaderValue::from_static("https://a.example");
        headers.insert(ORIGIN, origin.clone());
        let one = head(&headers);
        assert_eq!(one.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], origin);
        assert_eq!(one.headers()[VARY], "origin");
        assert!(asked(&Method::POST, &headers).is_err());
    }

    /// H04: nobody's browser is used by a page that hides where it is from.
    #[test]
    fn a_page_that_states_no_origin_and_may_not_read_is_refused() {
        for (mode, expected) in [
            ("cors", true),
            ("same-origin", true),
            ("no-cors", false),
            ("navigate", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(SEC_FETCH_MODE, HeaderValue::from_static(mode));
            assert_eq!(asked(&Method::GET, &headers).is_ok(), expected, "{mode}");
        }
    }

    /// Nothing comes on it, and it ends.
    fn stream() -> EventStream<Cursor<Vec<u8>>> {
        EventStream::new(Wire {
            stream: Cursor::new(Vec::new()),
            read: Bytes::new(),
            unacknowledged: |_| None,
        })
    }

    fn written(stream: &mut EventStream<Cursor<Vec<u8>>>) -> String {
        let flushed = stream.poll_flush(&mut Context::from_waker(&noop_waker()), &mut Vec::new());
        assert!(matches!(flushed, Poll::Ready(Ok(()))));
        String::from_utf8(stream.stream.get_ref().clone()).expect("a text")
    }
}
