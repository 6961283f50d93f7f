//! The HTTP API: pushes, connections, instances, health, metrics and the status page.
//!
//! It knows no runtime and no socket: [`Api::answer`] takes a request and returns the answer.

mod access;
mod answer;
mod batch;
mod body;
mod durable;
mod error;
mod form;
mod guard;
mod lines;
mod listed;
mod logs;
mod page;
mod parameter;
mod public_url;
mod receipt;
mod reply;
mod request;
mod route;
mod topic_route;
mod topics;

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::{FutureExt as _, TryFutureExt as _};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use switchboard_core::config::{Config, ConfigError};
use switchboard_core::frame::CloseCode;
use switchboard_core::id::UserId;
use switchboard_core::message::{Action, Audience, Push, PushedBy, Receipt};
use switchboard_driver::runtime::race;
use switchboard_driver::{
    Answers, ApiBody, ApiFuture, ApiService, AuthKind, CallError, Handle, MakeSleep, Scope,
};

use crate::metrics::Metrics;
use error::ApiError;
use page::{Facts, Page};
use reply::{ConnectionList, Readiness, json, terminals};
use request::{Known, Options};

pub use access::{AccessCheck, ApiConfig, ApiSettings};

/// How long an instance may take to give its figures. It takes a millisecond; many probes wait for one
/// second.
const SNAPSHOTS: Duration = Duration::from_millis(500);

/// How long an instance may take to answer beyond the time that the answer itself may need. One that is
/// stuck never answers, and would keep its callers' connections.
const PATIENCE: Duration = Duration::from_secs(5);

/// The HTTP API of one server, to be handed to [`Builder::api`](switchboard_driver::Builder::api).
pub struct Api {
    access: ArcSwap<AccessCheck>,
    page: Page,
    /// When the process started, near enough.
    start: SystemTime,
    /// They bear the server's name, which the first request tells.
    metrics: OnceLock<Arc<Metrics>>,
}

/// One request's view of the API and its server.
#[derive(Clone, Copy)]
struct Call<'a> {
    api: &'a Api,
    server: &'a Handle,
    config: &'a Config,
    metrics: &'a Arc<Metrics>,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("page", &self.page).finish()
    }
}

impl Api {
    /// The API of one server, with these settings.
    ///
    /// # Errors
    ///
    /// Names the first setting that does not fit, and what would.
    pub fn new(settings: ApiSettings) -> Result<Self, ConfigError> {
        Ok(Self {
            access: ArcSwap::from_pointee(settings.access()?),
            page: Page::new(settings.config.public_url.as_deref())?,
            start: SystemTime::now(),
            metrics: OnceLock::new(),
        })
    }

    /// Changes who may call the API, from the next request on.
    pub fn admit(&self, access: AccessCheck) {
        self.access.store(access.into());
    }

    /// Answers a request to the API of this server: for those who have an HTTP server of their own.
    /// What the caller does wrong is an answer too, and so is a body that does not come. `sleep` is
    /// the runtime's timer.
    pub fn answer<'a, B, F, T>(
        &'a self,
        server: &'a Handle,
        request: Request<B>,
        scope: Scope,
        sleep: F,
    ) -> impl Future<
        Output = Response<
            Either<Full<Bytes>, impl Body<Data = Bytes, Error = Infallible> + use<B, F, T>>,
        >,
    >
    where
        B: Body<Data = Bytes>,
        F: Fn(Duration) -> T,
        T: Future<Output = ()>,
    {
        let metrics = || Arc::new(Metrics::new(server.name(), self.start));
        let call = Call {
            api: self,
            server,
            config: &server.settings().core,
            metrics: self.metrics.get_or_init(metrics),
        };
        answer::serve(call, request, scope, sleep)
    }
}

impl ApiService for Api {
    fn answer<'a>(
        &'a self,
        server: &'a Handle,
        request: Request<Incoming>,
        scope: Scope,
        sleep: MakeSleep,
    ) -> ApiFuture<'a> {
        let answer = Self::answer(self, server, request, scope, sleep);
        Box::pin(answer.map(|answer| {
            answer.map(|body| match body {
                Either::Left(whole) => ApiBody::Left(whole),
                Either::Right(coming) => ApiBody::Right(Box::pin(coming)),
            })
        }))
    }
}

impl Call<'_> {
    /// What the status page must ask its reader for.
    fn facts(self, parts: &Parts) -> Facts {
        let authenticator = self.server.admission().authenticator;
        let auth = authenticator.map_or(AuthKind::Custom, |authenticator| authenticator.kind());
        let keys = self.api.access.load().needs_key();
        let terminals = self.server.terminals_addr();
        self.api.page.facts(parts, terminals, auth, keys)
    }

    /// Whether a balancer should send terminals here. An instance that does not answer would not answer
    /// them either.
    async fn readiness(self, timer: impl Future<Output = ()>) -> Response<Full<Bytes>> {
        let Answers { answers, silent } = self.server.snapshots_until(timer).await;
        let ready = self.server.is_ready() && silent.is_empty();
        let status = if ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        let readiness = Readiness {
            ready,
            logins: self.server.admission().unready(),
            instances: &answers,
            silent: &silent,
        };
        json(status, &readiness)
    }

    /// How long a question to the directory may take.
    fn question(self) -> Duration {
        self.config.directory_timeout + PATIENCE
    }

    fn push<T: Future<Output = ()>>(
        self,
        to: Audience,
        action: Action,
        options: Options,
        sleep: impl Fn(Duration) -> T,
    ) -> impl Future<Output = Result<Receipt, ApiError>> {
        let start = Instant::now();
        let is_for_topics = matches!(to, Audience::Topics { .. });
        let push = Push {
            id: options.id,
            to,
            action,
            deadline: options.deadline,
            durable: options.durable,
            by: PushedBy::Application,
        };
        let late = sleep(push.deadline + PATIENCE);
        in_time(self.server.push(push), late).inspect_ok(move |receipt| {
            self.metrics.push(start.elapsed());
            if is_for_topics {
                self.metrics.topic_push(&receipt.counts);
            }
        })
    }

    async fn kick<T: Future<Output = ()>>(
        self,
        to: Audience,
        parts: &Parts,
        sleep: impl Fn(Duration) -> T,
    ) -> Result<Response<Full<Bytes>>, ApiError> {
        let options = Options::read(parts, Known::Deadline, self.config)?;
        let close = Action::Close(CloseCode::Kicked);
        Ok(terminals(&self.push(to, close, options, sleep).await?))
    }

    async fn list<T: Future<Output = ()>>(
        self,
        user: UserId,
        parts: &Parts,
        sleep: impl Fn(Duration) -> T,
    ) -> Result<Response<Full<Bytes>>, ApiError> {
        if request::asks_for_log(parts)? {
            return self.followed(user, sleep).await;
        }
        let others = async { sleep(SNAPSHOTS).await };
        let connections = self.server.connections_until(user, others);
        let connections = in_time(connections, sleep(self.question())).await?;
        Ok(json(StatusCode::OK, &ConnectionList(&connections)))
    }
}

/// What an instance answers, unless a timer expires first.
fn in_time<V>(
    answer: impl Future<Output = Result<V, CallError>>,
    timer: impl Future<Output = ()>,
) -> impl Future<Output = Result<V, ApiError>> {
    race(answer.err_into(), timer.map(|()| Err(ApiError::Silent)))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::{pending, ready};
    use std::pin::{Pin, pin};

    use switchboard_driver::testing::Silent;

    use super::body::{LONGEST, Timed};
    use super::route::Route;
    use super::*;
    use crate::metrics::Format;

    /// H54: an instance that takes what it is asked, and answers nothing, does not keep callers.
    #[test]
    fn an_instance_that_is_stuck_is_told_of_in_time() {
        let (server, api) = (Silent::new(1), api());
        let questions = [
            ("POST", "/v1/users/ann/push", ""),
            ("POST", "/v1/push", r#"{"users":["ann"],"text":"x"}"#),
            ("POST", "/v1/broadcast", ""),
            ("GET", "/v1/users/ann/connections", ""),
            ("DELETE", "/v1/users/ann/connections", ""),
            ("POST", "/v1/connections", r#"{"user":"ann"}"#),
            ("POST", "/v1/kick", r#"{"user":"ann"}"#),
            ("GET", "/v1/users/ann/log", ""),
            ("DELETE", "/v1/users/ann/log", ""),
            ("POST", "/v1/log", r#"{"user":"ann"}"#),
            ("POST", "/v1/delete-log", r#"{"user":"ann"}"#),
            ("GET", "/v1/instances", ""),
            ("POST", "/v1/topics/news/push", ""),
            ("PUT", "/v1/topics/news/users/ann", ""),
            ("GET", "/v1/topics/news", ""),
            ("GET", "/v1/topics/news/members", ""),
            ("POST", "/v1/leave", r#"{"topic":"news","user":"ann"}"#),
            ("GET", "/v1/users?online=true", ""),
            ("POST", "/v1/users/connections", r#"{"users":["ann"]}"#),
        ];
        for (method, path, body) in questions {
            let ask = || request(method, path).map(|_| Full::from(body));
            let waits = api.answer(server.handle(), ask(), Scope::Everything, |_| pending());
            assert!(waits.now_or_never().is_none(), "{method} {path}");
            let answer = api.answer(server.handle(), ask(), Scope::Everything, |_| ready(()));
            let answer = answer.now_or_never();
            let answer = answer.expect("it does not wait");
            assert_eq!(answer.status(), 503, "{method} {path}");
            assert!(answer.headers().contains_key("retry-after"));
        }
    }

    #[test]
    fn a_body_that_is_there_needs_no_timer() {
        let (server, api) = (Silent::new(1), api());
        let timers = RefCell::new(Vec::new());
        let sleep = |time| {
            timers.borrow_mut().push(time);
            ready(())
        };
        let ask = request("POST", "/v1/users/ann/push");
        let answer = api.answer(server.handle(), ask, Scope::Everything, sleep);
        answer.now_or_never().expect("it does not wait");
        assert!(!timers.borrow().is_empty(), "its answer is waited for");
        assert!(!timers.borrow().contains(&LONGEST));
    }

    /// Each request has both of these, and an allocator looks long for what is larger.
    #[test]
    fn what_answers_a_request_fits_into_what_an_allocator_has_at_hand() {
        /// Bytes that glibc keeps lists of for each thread, at most.
        const AT_HAND: usize = 1032;
        let (server, api) = (Silent::new(1), api());
        let sleep = |_| -> Pin<Box<dyn Future<Output = ()>>> { Box::pin(pending()) };
        let ask = request("POST", "/v1/users/ann/push");
        let whole = api.answer(server.handle(), ask, Scope::Everything, sleep);
        assert!(size_of_val(&whole) <= AT_HAND, "{}", size_of_val(&whole));

        let call = Call {
            api: &api,
            server: server.handle(),
            config: &server.handle().settings().core,
            metrics: &Arc::new(Metrics::new(server.handle().name(), api.start)),
        };
        let (parts, body) = request("POST", "/v1/users/ann/push").into_parts();
        let timed = Timed {
            body: pin!(body),
            timer: sleep(LONGEST),
        };
        let route = Route::at(parts.uri.path());
        let answered = answer::answer(call, &parts, route, timed, &sleep);
        assert!(
            size_of_val(&answered) <= AT_HAND,
            "{}",
            size_of_val(&answered)
        );
    }

    /// A caller that finds no room is counted, as one that is refused.
    #[test]
    fn callers_that_are_too_many_are_counted() {
        let (server, api) = (Silent::new(0), api());
        let ask = |path| {
            let asked = request("GET", path);
            let answer = api.answer(server.handle(), asked, Scope::Operation, |_| ready(()));
            answer.now_or_never().expect("it does not wait").status()
        };
        assert_eq!(ask("/v1/instances"), 503);
        assert_eq!(ask("/health/live"), 200);
        let none = Answers {
            answers: Vec::new(),
            silent: Vec::new(),
        };
        let dropped = server.handle().connections_dropped();
        let metrics = api.metrics.get().expect("there was a request");
        let text = metrics.text(none, dropped, Format::Prometheus);
        let counted = r#"route="/v1/instances",status="503"} 1"#;
        assert!(text.contains(counted), "{text}");
    }

    fn api() -> Api {
        Api::new(ApiSettings::default()).expect("it fits")
    }

    fn request(method: &str, path: &str) -> Request<Full<Bytes>> {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("host", "127.0.0.1");
        request.body(Full::default()).expect("a request")
    }
}
