//! A terminal's stream: the answer to a request that does not end. Frames go to the terminal only, and as
//! [`AsEvents`] each is an [event](super::event):
//!
//! | what | event |
//! |---|---|
//! | a text | `data:` for each of its lines; line ends arrive as LF |
//! | bytes | `event: binary`, and `data:` in base64 |
//! | the end, with its reason | `event: close`, and `data:` with code and reason as JSON |
//! | a ping | a comment |
//!
//! As [`AsLines`] a text is a line, bytes are what they are, and the end has no word of its own: the protocol says it.
//!
//! A terminal answers nothing. It lives while what it is sent is acknowledged, and has ended when the
//! connection has.

use std::io;
use std::marker::PhantomData;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_io::{AsyncRead, AsyncWrite};
use http::header::{
    ACCEPT, ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, COOKIE,
    HeaderName, ORIGIN, RETRY_AFTER, UPGRADE, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Response};
use switchboard_core::event::Closure;
use switchboard_core::frame::{CloseCode, FrameKind};
use switchboard_protocol::{Farewell, Protocol};

use super::outlet::Outlet;
use super::signs::Signs;
use super::upgrade::lists;
use super::{
    Asked, Away, BadHandshake, Carried, Incoming, Kernel, LifeSign, Transport, TransportKind, Wire,
    event, read_all_away, read_away,
};
use crate::permits::Seat;
use crate::random_bytes;
use crate::task::Portion;

/// What a terminal accepts that asks for an event stream.
const MEDIA_TYPE: &str = "text/event-stream";

/// Tells nginx to pass on each event as it comes.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// How a browser's page asks. Other programs do not say.
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// What a terminal may send at most behind its request, in bytes. Nothing is expected.
const UNWANTED_MAX: usize = 4096;

/// When a browser may connect again by itself, in milliseconds: a random time between these, so that those
/// who lost their server do not come at once.
const RETRY: Range<u16> = 1000..5000;

/// Whether a request asks for an event stream. If it asks for a WebSocket as well, it means that; another
/// upgrade (Java's client and curl ask for `h2c`) it can do without.
pub(super) fn is_asked_for(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter();
    let accepted = accepted.filter_map(|value| value.to_str().ok());
    let mut types = accepted
        .flat_map(|value| value.split(','))
        .filter_map(accepted_type);
    let websocket = lists(headers, &UPGRADE, "websocket");
    !websocket && types.any(|name| name.eq_ignore_ascii_case(MEDIA_TYPE))
}

/// The type of a media range. `None`: it has the weight 0, which means not acceptable.
fn accepted_type(range: &str) -> Option<&str> {
    let mut parts = range.split(';').map(str::trim);
    let name = parts.next()?;
    let is_weightless = |part: &str| {
        let weight = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
        weight.is_some_and(|weight| weight.parse() == Ok(0.0))
    };
    (!parts.any(is_weightless)).then_some(name)
}

/// What a request asks for. Its origin, if it states one, is to be checked before it is answered: the page
/// may read the stream.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn asked(
    kind: TransportKind,
    methods: &'static [&'static str],
    method: &Method,
    headers: &HeaderMap,
    protocol: Protocol,
) -> Result<Asked, BadHandshake> {
    if !methods.contains(&method.as_str()) {
        return Err(BadHandshake::Method(methods));
    }
    if let Err(text) = check_page(headers) {
        return Err(BadHandshake::Header(text));
    }
    let mut head = Response::new(());
    let said = head.headers_mut();
    let media_type = match (kind, protocol) {
        (TransportKind::EventStream, _) => MEDIA_TYPE,
        (_, Protocol::CentrifugeProtobuf) => "application/octet-stream",
        (TransportKind::HttpStream | TransportKind::WebSocket, _) => "application/x-ndjson",
    };
    said.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    said.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("no-store, no-transform"),
    );
    // Its length is not told: it ends with the connection.
    said.insert(CONNECTION, HeaderValue::from_static("close"));
    said.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    readable(headers, said);
    Ok(Asked {
        kind,
        protocol,
        head,
    })
}

/// Lets the page that asks read the answer. That it may is checked before.
pub(crate) fn readable(headers: &HeaderMap, said: &mut HeaderMap) {
    said.insert(VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = headers.get(ORIGIN) {
        said.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        let with_cookies = HeaderValue::from_static("true");
        said.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, with_cookies);
        let of_refusals = HeaderValue::from_name(RETRY_AFTER);
        said.insert(ACCESS_CONTROL_EXPOSE_HEADERS, of_refusals);
    }
}

/// H04: a browser states the origin of a page that asks another host, unless the page may not read the answer
/// (`no-cors`). Such a page could still have a visitor's credentials open a connection. Browsers tell the mode
/// to trustworthy URLs only (`https`, `localhost`), and old ones never. If neither is told, the request must
/// carry nothing that a browser adds by itself to what a page asks, or a token that no such page can.
///
/// # Errors
///
/// Says how to ask.
fn check_page(headers: &HeaderMap) -> Result<(), &'static str> {
    if let Some(mode) = headers.get(SEC_FETCH_MODE) {
        let text = "a page asks for an event stream with `EventSource`, or a `fetch` that is not `no-cors`";
        return match mode == "cors" || mode == "same-origin" {
            true => Ok(()),
            false => Err(text),
        };
    }
    let is_ambient = headers.contains_key(COOKIE) || headers.contains_key(AUTHORIZATION);
    if !is_ambient || headers.contains_key(ORIGIN) || has_token(headers) {
        return Ok(());
    }
    Err(
        "with cookies, and without `Origin` and `Sec-Fetch-Mode`, it may be a foreign page that asks: use https, \
         or send `Authorization: Bearer` or an `Origin`",
    )
}

/// Whether a header carries a token. A browser adds such a header for a page that may read the answer only.
fn has_token(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    values.any(|value| {
        let scheme = value.as_bytes().get(..7);
        scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "))
    })
}

/// What frames become on a stream.
pub(super) trait Framing: 'static {
    /// Which transport that is.
    const KIND: TransportKind;

    /// What stands before everything.
    fn begin(outlet: &mut Outlet);

    fn send(outlet: &mut Outlet, frame: &Carried);

    /// Something that every terminal passes over.
    fn ping(outlet: &mut Outlet);

    fn end(outlet: &mut Outlet, farewell: Farewell);
}

/// Frames are events.
pub(super) struct AsEvents;

/// Texts are lines.
pub(super) struct AsLines;

impl Framing for AsEvents {
    const KIND: TransportKind = TransportKind::EventStream;

    fn begin(outlet: &mut Outlet) {
        outlet.push(&[], event::retry(retry()).into());
    }

    fn send(outlet: &mut Outlet, frame: &Carried) {
        outlet.push(&[], frame.bytes.clone());
    }

    fn ping(outlet: &mut Outlet) {
        outlet.push(event::PING, Bytes::new());
    }

    fn end(outlet: &mut Outlet, farewell: Farewell) {
        outlet.push(&[], event::close(farewell).into());
    }
}

impl Framing for AsLines {
    const KIND: TransportKind = TransportKind::HttpStream;

    fn begin(_: &mut Outlet) {}

    fn send(outlet: &mut Outlet, frame: &Carried) {
        outlet.push(&[], frame.bytes.clone());
        match frame.kind {
            FrameKind::Text => outlet.push(b"\n", Bytes::new()),
            // It has its length in it.
            FrameKind::Binary => {}
        }
    }

    fn ping(outlet: &mut Outlet) {
        outlet.push(b"\n", Bytes::new());
    }

    fn end(_: &mut Outlet, _: Farewell) {}
}

/// A stream, server's side.
pub(super) struct EventStream<S, F> {
    stream: S,
    framing: PhantomData<F>,
    outlet: Outlet,
    signs: Signs,
    portion: Portion,
    stage: StreamStage,
    kernel: Kernel<S>,
    _place: Option<Seat>,
    /// Bytes that the terminal may still send.
    unwanted_room: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum StreamStage {
    Open,
    /// Its last event is queued.
    Ending,
    /// Its writing half is closed.
    Ended,
}

/// A random time of [`RETRY`].
fn retry() -> u16 {
    RETRY.start + u16::from_ne_bytes(random_bytes()) % (RETRY.end - RETRY.start)
}

impl<S, F: Framing> EventStream<S, F> {
    /// A stream whose head is sent. What was read behind the request is not looked at.
    pub(super) fn new(wire: Wire<S>) -> Self {
        let mut stream = Self {
            stream: wire.stream,
            framing: PhantomData,
            outlet: Outlet::default(),
            signs: Signs::default(),
            portion: Portion::default(),
            stage: StreamStage::Open,
            kernel: wire.kernel,
            _place: wire.place,
            unwanted_room: UNWANTED_MAX,
        };
        F::begin(&mut stream.outlet);
        stream
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static, F: Framing> Transport for EventStream<S, F> {
    const KIND: TransportKind = F::KIND;

    fn send(&mut self, frame: &Carried) {
        F::send(&mut self.outlet, frame);
    }

    fn ping(&mut self, frame: Option<&Carried>, _is_answered: bool) {
        match frame {
            Some(frame) => self.send(frame),
            None => F::ping(&mut self.outlet),
        }
        // Behind it: that it is acknowledged is the answer.
        let unacknowledged = (self.kernel.unacknowledged)(&self.stream);
        self.signs.pinged(self.outlet.bytes(), unacknowledged);
    }

    fn signs(&mut self) -> LifeSign {
        // Where nobody tells, what the operating system has taken counts. It gives up a connection by
        // itself of which nothing is acknowledged.
        let unacknowledged = (self.kernel.unacknowledged)(&self.stream).or(Some(0));
        if self.signs.is_ping_taken(unacknowledged) {
            return LifeSign::Answer;
        }
        match self.signs.look(unacknowledged) {
            true => LifeSign::Progress,
            false => LifeSign::Missing,
        }
    }

    fn close(&mut self, _cx: &mut Context<'_>, farewell: Farewell) {
        if self.stage == StreamStage::Open {
            self.stage = StreamStage::Ending;
            F::end(&mut self.outlet, farewell);
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, Closure>> {
        let room = &mut self.unwanted_room;
        let ended = ready!(read_away(&mut self.stream, &mut self.portion, room, cx));
        Poll::Ready(Err(match ended {
            Ok(Away::Ended) => Closure::Clean,
            Ok(Away::TooMuch) => Closure::Violation(CloseCode::ProtocolError),
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

#[cfg(test)]
mod tests {
    use futures_util::io::Cursor;
    use futures_util::task::noop_waker;
    use switchboard_core::frame::Payload;

    use super::*;

    /// H18: what ends a connection says why, and nothing comes behind it.
    #[test]
    fn the_end_is_an_event_and_told_once() {
        let mut stream = stream();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        stream.ping(None, true);
        stream.close(&mut cx, Protocol::Plain.farewell(CloseCode::Kicked));
        stream.close(&mut cx, Protocol::Plain.farewell(CloseCode::ServiceRestart));
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
        acknowledged.kernel.unacknowledged = |_| Some(0);
        acknowledged.ping(None, true);
        assert_eq!(acknowledged.signs(), LifeSign::Missing);
        written(&mut acknowledged);
        assert_eq!(acknowledged.signs(), LifeSign::Answer);

        let mut silent = stream();
        silent.kernel.unacknowledged = |_| Some(0);
        silent.ping(None, true);
        written(&mut silent);
        silent.kernel.unacknowledged = |_| Some(event::PING.len());
        assert_eq!(silent.signs(), LifeSign::Missing);
        silent.kernel.unacknowledged = |_| Some(1);
        assert_eq!(silent.signs(), LifeSign::Progress);
        assert_eq!(silent.signs(), LifeSign::Missing);
    }

    #[test]
    fn what_a_terminal_sends_is_read_up_to_a_limit() {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for (bytes, expected) in [
            (UNWANTED_MAX, Closure::Clean),
            (
                UNWANTED_MAX + 1,
                Closure::Violation(CloseCode::ProtocolError),
            ),
        ] {
            let mut stream = stream();
            stream.stream = Cursor::new(vec![b'x'; bytes]);
            let read = stream.poll_read(&mut cx);
            assert!(matches!(read, Poll::Ready(Err(closure)) if closure == expected));
        }
    }

    #[test]
    fn a_browser_is_told_when_it_may_connect_again() {
        let mut stream = EventStream::<_, AsEvents>::new(wire());
        let retry = written(&mut stream);
        let time = retry
            .strip_prefix("retry: ")
            .and_then(|rest| rest.strip_suffix("\n\n"));
        let time = time.expect(&retry).parse().expect("a number");
        assert!(RETRY.contains(&time), "{time}");
    }

    #[test]
    fn a_request_asks_for_a_stream_by_what_it_accepts() {
        for (name, value, expected) in [
            ("accept", "text/event-stream", true),
            ("accept", "text/html, Text/Event-Stream;q=0.9", true),
            ("accept", "text/event-stream; q=0, */*", false),
            ("accept", "text/event-stream;q=0.0", false),
            ("accept", "*/*", false),
            ("accept-encoding", "text/event-stream", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            assert_eq!(is_asked_for(&headers), expected, "{name}: {value}");
        }
    }

    /// Java's client and curl offer HTTP/2 with each request.
    #[test]
    fn an_upgrade_to_a_websocket_is_meant_and_another_is_passed_over() {
        for (upgrade, expected) in [
            ("websocket", false),
            ("h2c, WebSocket", false),
            ("h2c", true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(MEDIA_TYPE));
            headers.insert(UPGRADE, HeaderValue::from_static(upgrade));
            assert_eq!(is_asked_for(&headers), expected, "{upgrade}");
        }
    }

    #[test]
    fn the_page_that_asks_is_named_in_the_head() {
        let mut headers = HeaderMap::new();
        let head = |headers: &HeaderMap| get(headers).expect("a stream").head;
        let none = head(&headers);
        assert!(!none.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
        let origin = HeaderValue::from_static("https://a.example");
        headers.insert(ORIGIN, origin.clone());
        let one = head(&headers);
        assert_eq!(one.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], origin);
        assert_eq!(one.headers()[VARY], "origin");
        let post = asked(KIND, &["GET"], &Method::POST, &headers, Protocol::Plain);
        assert!(post.is_err());
    }

    /// H04: nobody's browser is used by a page that hides where it is from. Browsers tell the mode to
    /// trustworthy URLs only.
    #[test]
    fn a_request_that_a_foreign_page_may_have_made_is_refused() {
        let page = ("origin", "https://a.example");
        let cookie = ("cookie", "session=7");
        let token = ("authorization", "Bearer a.b.c");
        let password = ("authorization", "Basic YW5uOnB3");
        let cases: &[(&[_], bool)] = &[
            (&[("sec-fetch-mode", "cors"), cookie], true),
            (&[("sec-fetch-mode", "same-origin"), cookie], true),
            (&[("sec-fetch-mode", "no-cors"), token], false),
            (&[("sec-fetch-mode", "navigate")], false),
            (&[], true),
            (&[cookie], false),
            (&[password], false),
            (&[cookie, token], true),
            (&[cookie, page], true),
            (&[password, page], true),
        ];
        for (sent, expected) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in *sent {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            assert_eq!(get(&headers).is_ok(), *expected, "{sent:?}");
        }
    }

    #[test]
    fn texts_are_lines_and_bytes_are_what_they_are() {
        let mut lines = EventStream::<_, AsLines>::new(wire());
        for frame in [
            Payload::from("{}".to_owned()),
            Payload::binary(Bytes::from_static(b"\x01a")),
        ] {
            lines.send(&Carried::alone(TransportKind::HttpStream, frame));
        }
        lines.ping(None, false);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        lines.close(&mut cx, Protocol::Plain.farewell(CloseCode::Kicked));
        let flushed = lines.poll_flush(&mut cx, &mut Vec::new());
        assert!(matches!(flushed, Poll::Ready(Ok(()))));
        assert_eq!(lines.stream.get_ref(), b"{}\n\x01a\n");
    }

    const KIND: TransportKind = TransportKind::EventStream;

    fn get(headers: &HeaderMap) -> Result<Asked, BadHandshake> {
        asked(KIND, &["GET"], &Method::GET, headers, Protocol::Plain)
    }

    /// Nothing comes on it, and it ends. What stands before the hello is written.
    fn stream() -> EventStream<Cursor<Vec<u8>>, AsEvents> {
        let mut stream = EventStream::<_, AsEvents>::new(wire());
        written(&mut stream);
        stream.stream = Cursor::new(Vec::new());
        stream
    }

    fn wire() -> Wire<Cursor<Vec<u8>>> {
        Wire {
            stream: Cursor::new(Vec::new()),
            read: Bytes::new(),
            kernel: Kernel::unknown(),
            place: None,
        }
    }

    fn written(stream: &mut EventStream<Cursor<Vec<u8>>, AsEvents>) -> String {
        let flushed = stream.poll_flush(&mut Context::from_waker(&noop_waker()), &mut Vec::new());
        assert!(matches!(flushed, Poll::Ready(Ok(()))));
        String::from_utf8(stream.stream.get_ref().clone()).expect("a text")
    }
}
