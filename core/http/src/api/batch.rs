//! Many pushes in one request: one a line, and a receipt a line as they come.
//!
//! What is read follows what is written: while the caller takes no receipts, no more pushes are taken from it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http_body::{Body, Frame};
use serde::Serialize;
use switchboard_core::message::{Action, Audience, Push, PushedBy, Receipt};
use switchboard_driver::{CallError, Handed, Handle, new_push_id};

use super::body::{LONGEST, check_codings};
use super::error::ApiError;
use super::form::PushForm;
use super::lines::Lines;
use super::receipt::{ByInstance, ByTerminal, Json};
use super::request::{self, Known, Options};
use super::{Call, PATIENCE};
use crate::metrics::Metrics;

/// Pushes of one request that wait for their receipts, at most. An instance's turn takes as many: more would
/// only wait there.
const UNDER_WAY: usize = 256;

/// Steps that are done without a rest: whoever sends lines faster than they are read would have the thread alone.
const STEPS_AT_ONCE: usize = 256;

/// Bytes of receipts that leave together.
const CHUNK: usize = 16 << 10;

/// The answer to a request whose body is pushes: the body of the answer makes them, as it is read.
pub(crate) struct Batch<B, F, T> {
    /// `None` once it has ended.
    body: Option<Pin<Box<B>>>,
    lines: Lines,
    pushes: Pushes,
    written: BytesMut,
    /// A line of it is written here first.
    text: Vec<u8>,
    sleep: F,
    /// Until something has to move.
    timer: Option<Pin<Box<T>>>,
}

/// Pushes on their way.
struct Pushes {
    server: Handle,
    metrics: Arc<Metrics>,
    options: Options,
    /// The next one is handed in when this one is: so they keep their order.
    handing: Option<Coming<Result<Handed, CallError>>>,
    under_way: FuturesUnordered<Coming<Ended>>,
    /// Bytes of the payloads of all of these. When they are as many as the largest push has, no other one is read: a
    /// connection has no more under way than it could have with one push.
    bytes: usize,
}

/// What comes of a push.
type Coming<T> = Pin<Box<dyn Future<Output = (Source, T)> + Send>>;

/// Where a push stands in the body.
#[derive(Clone, Copy)]
struct Source {
    line: u64,
    /// The size of its payload, in bytes.
    bytes: usize,
    is_for_topics: bool,
}

struct Ended {
    receipt: Result<Receipt, CallError>,
    /// From its handing in.
    took: Duration,
}

/// What the options of a request say of all its pushes.
///
/// # Errors
///
/// If they cannot be read, or are of one push only.
pub(super) fn options(call: Call<'_>, parts: &Parts) -> Result<Options, ApiError> {
    check_codings(&parts.headers)?;
    if request::names_push(&parts.headers) {
        return Err(ApiError::BatchPushId);
    }
    Options::read(parts, Known::PushToUsers, call.config)
}

/// The answer, of which receipts are the body.
pub(super) fn answer<B: Body<Data = Bytes>, F, T>(
    call: Call<'_>,
    options: Options,
    body: B,
    sleep: F,
) -> Response<Batch<B, F, T>> {
    let mut response = Response::new(Batch {
        body: Some(Box::pin(body)),
        lines: Lines::new(PushForm::largest(call.config)),
        pushes: Pushes {
            server: call.server.clone(),
            metrics: Arc::clone(call.metrics),
            options,
            handing: None,
            under_way: FuturesUnordered::new(),
            bytes: 0,
        },
        written: BytesMut::new(),
        text: Vec::new(),
        sleep,
        timer: None,
    });
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/x-ndjson"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What is pinned is in boxes.
impl<B, F, T> Unpin for Batch<B, F, T> {}

impl<B, F, T> Body for Batch<B, F, T>
where
    B: Body<Data = Bytes>,
    F: Fn(Duration) -> T,
    T: Future<Output = ()>,
{
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let batch = &mut *self;
        for _ in 0..STEPS_AT_ONCE {
            batch.poll_receipts(cx);
            let taken = match batch.written.len() < CHUNK {
                true => batch.poll_take(cx),
                false => Poll::Pending,
            };
            match taken {
                Poll::Ready(Taken::Something) => batch.timer = None,
                _ if !batch.written.is_empty() => {
                    batch.timer = None;
                    let receipts = batch.written.split().freeze();
                    return Poll::Ready(Some(Ok(Frame::data(receipts))));
                }
                Poll::Ready(Taken::Nothing) if batch.pushes.is_empty() => return Poll::Ready(None),
                Poll::Ready(Taken::Nothing) | Poll::Pending => ready!(batch.poll_timer(cx)),
            }
        }
        // It goes on when others have had their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

enum Taken {
    Something,
    /// The body has ended.
    Nothing,
}

impl<B, F, T> Batch<B, F, T>
where
    B: Body<Data = Bytes>,
    F: Fn(Duration) -> T,
    T: Future<Output = ()>,
{
    /// Writes the receipts that have come.
    fn poll_receipts(&mut self, cx: &mut Context<'_>) {
        while self.written.len() < CHUNK
            && let Poll::Ready(Some((source, ended))) = self.pushes.under_way.poll_next_unpin(cx)
        {
            let Source {
                line,
                is_for_topics,
                ..
            } = source;
            self.pushes.bytes -= source.bytes;
            match self.pushes.counted(source, ended) {
                Ok(receipt) if is_for_topics => self.write(line, &ByInstance(&receipt)),
                Ok(receipt) => self.write(line, &ByTerminal(&receipt)),
                Err(error) => self.refuse(line, &error),
            }
        }
    }

    /// Takes what comes next: hands in a push, or reads on. `Pending` also while enough are under way.
    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<Taken> {
        if let Some(handing) = &mut self.pushes.handing {
            let (source, handed) = ready!(handing.as_mut().poll(cx));
            self.pushes.handing = None;
            match handed {
                Ok(handed) => self.pushes.wait(source, handed),
                Err(error) => {
                    self.pushes.bytes -= source.bytes;
                    self.refuse(source.line, &error.into());
                }
            }
            return Poll::Ready(Taken::Something);
        }
        if self.pushes.are_enough() {
            return Poll::Pending;
        }
        match self.lines.next() {
            Some(Ok((line, text))) => {
                if let Err(error) = self.pushes.hand_in(line, &text) {
                    self.refuse(line, &error);
                }
                return Poll::Ready(Taken::Something);
            }
            Some(Err(line)) => {
                let limit = self.lines.limit;
                self.give_up(line, &ApiError::TooLarge { limit });
                return Poll::Ready(Taken::Something);
            }
            None => {}
        }
        let Some(body) = &mut self.body else {
            return Poll::Ready(Taken::Nothing);
        };
        match ready!(body.as_mut().poll_frame(cx)) {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    self.lines.feed(&data);
                }
            }
            Some(Err(_)) => self.give_up(self.lines.read, &ApiError::BrokenBody),
            None => {
                self.body = None;
                self.lines.end();
            }
        }
        Poll::Ready(Taken::Something)
    }

    /// Ends with what must move when it has not for too long.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (time, error) = match self.pushes.is_empty() {
            true => (LONGEST, ApiError::SlowBody),
            false => (self.pushes.options.deadline + PATIENCE, ApiError::Silent),
        };
        let sleep = &self.sleep;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(time)));
        ready!(timer.as_mut().poll(cx));
        self.timer = None;
        self.pushes.handing = None;
        self.pushes.under_way.clear();
        self.pushes.bytes = 0;
        self.give_up(self.lines.read, &error);
        Poll::Ready(())
    }

    /// Reads no more, and says why.
    fn give_up(&mut self, line: u64, error: &ApiError) {
        self.body = None;
        self.lines.clear();
        self.refuse(line, error);
    }

    fn refuse(&mut self, line: u64, error: &ApiError) {
        #[derive(Serialize)]
        struct Refusal<'a> {
            error: Content<'a>,
        }
        #[derive(Serialize)]
        struct Content<'a> {
            code: &'a str,
            message: &'a str,
        }
        let (_, code) = error.status();
        let message = &error.to_string();
        let error = Content { code, message };
        self.write(line, &Refusal { error });
    }

    /// Writes an object, with the number of its line before its fields.
    fn write(&mut self, line: u64, object: &impl Json) {
        self.text.clear();
        object.write_to(&mut self.text);
        let fields = self.text.strip_prefix(b"{").unwrap_or(&self.text);
        let numbered = format!("{{\"line\":{line},");
        self.written.extend_from_slice(numbered.as_bytes());
        self.written.extend_from_slice(fields);
        self.written.extend_from_slice(b"\n");
    }
}

impl Pushes {
    fn is_empty(&self) -> bool {
        self.handing.is_none() && self.under_way.is_empty()
    }

    /// Whether no other one is to be handed in before one of them ends.
    fn are_enough(&self) -> bool {
        self.under_way.len() >= UNDER_WAY || self.bytes >= self.server.settings().core.push_bytes
    }

    /// Begins to hand in the push of a line.
    fn hand_in(&mut self, line: u64, text: &[u8]) -> Result<(), ApiError> {
        let PushForm { id, to, payload } = PushForm::read_line(text, &self.server.settings().core)?;
        let bytes = payload.len();
        let push = Push {
            id: id.unwrap_or_else(new_push_id),
            to,
            action: Action::Frame(payload),
            deadline: self.options.deadline,
            durable: self.options.durable,
            by: PushedBy::Application,
        };
        let source = Source {
            line,
            bytes,
            is_for_topics: matches!(push.to, Audience::Topics { .. }),
        };
        self.bytes += bytes;
        let server = self.server.clone();
        self.handing = Some(Box::pin(
            async move { (source, server.hand_in(push).await) },
        ));
        Ok(())
    }

    /// Waits for the receipt of one that is handed in.
    fn wait(&mut self, source: Source, handed: Handed) {
        let start = Instant::now();
        self.under_way.push(Box::pin(async move {
            let receipt = handed.receipt().await;
            let took = start.elapsed();
            (source, Ended { receipt, took })
        }));
    }

    /// The receipt, which is counted.
    fn counted(&self, source: Source, ended: Ended) -> Result<Receipt, ApiError> {
        let receipt = ended.receipt?;
        self.metrics.push(ended.took);
        if source.is_for_topics {
            self.metrics.topic_push(&receipt.counts);
        }
        Ok(receipt)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;
    use std::rc::Rc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use http::Request;
    use switchboard_core::config::Config;
    use switchboard_driver::Scope;
    use switchboard_driver::testing::Silent;

    use super::*;
    use crate::api::{Api, ApiSettings};

    /// A body that never ends, and always has more.
    struct Endless {
        each: Bytes,
        read: Rc<Cell<usize>>,
    }

    impl Body for Endless {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.read.set(self.read.get() + 1);
            Poll::Ready(Some(Ok(Frame::data(self.each.clone()))))
        }
    }

    /// How often somebody was woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Has a server that answers nothing read a body that never ends, for one turn. Returns how often it has read, and
    /// how often it wants to go on at once.
    fn one_turn(each: String) -> (usize, usize) {
        let api = Api::new(ApiSettings::default()).expect("it fits");
        let server = Silent::new(1);
        let read = Rc::new(Cell::new(0));
        let body = Endless {
            each: each.into(),
            read: Rc::clone(&read),
        };
        let request = Request::post("/v1/pushes").header("host", "127.0.0.1");
        let request = request.body(body).expect("a request");
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let cx = &mut Context::from_waker(&waker);
        let answer = api.answer(server.handle(), request, Scope::Everything, |_| pending());
        let Poll::Ready(answer) = Box::pin(answer).as_mut().poll(cx) else {
            panic!("the answer is there before the body is read");
        };
        let mut body = Box::pin(answer.into_body());
        assert!(body.as_mut().poll_frame(cx).is_pending());
        (read.get(), woken.0.load(Ordering::Relaxed))
    }

    /// A request has no more bytes under way than one push may have.
    #[test]
    fn no_push_is_read_while_as_many_bytes_are_under_way_as_the_largest_one_has() {
        let half = "x".repeat(Config::default().push_bytes / 2);
        let line = format!("{{\"users\":[\"ann\"],\"text\":\"{half}\"}}\n");
        let (read, _) = one_turn(line);
        assert!((2..=3).contains(&read), "{read}");
    }

    /// Whoever sends faster than is read does not have the thread alone.
    #[test]
    fn a_body_that_always_has_more_is_read_so_many_times_in_a_turn() {
        let (read, woken) = one_turn("x".to_owned());
        assert_eq!((read, woken), (STEPS_AT_ONCE, 1));
    }
}
