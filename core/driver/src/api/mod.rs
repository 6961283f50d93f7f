//! The HTTP API: pushes, connections, instances, health, metrics and the status page.
//!
//! It knows no runtime and no socket: [`serve`] takes a request and gives the answer.

mod body;
mod error;
mod form;
mod guard;
mod metrics;
mod page;
mod reply;
mod request;
mod route;

use std::net::SocketAddr;
use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use switchboard_core::config::{Config, ConfigError};
use switchboard_core::frame::{CloseCode, Payload};
use switchboard_core::id::UserId;
use switchboard_core::message::{Action, Audience, Push, Receipt};

pub(crate) use error::{error_body, refusal, unauthenticated};
pub(crate) use guard::{ApiHosts, Keys};
pub(crate) use page::websocket_url;

use crate::damper::{Cause, damped};
use crate::handle::Asked;
use crate::runtime::race;
use crate::{CallError, Handle, Settings};
use body::Timed;
use error::ApiError;
use form::PushForm;
use metrics::{Format, Metrics};
use page::{Facts, Page};
use reply::{ByInstance, ByTerminal, ConnectionList, InstanceList, Readiness, json};
use request::{Known, Options};
use route::{Place, Route};

/// How long the body of a request may take. A push of 1 MiB comes in time at 140 kbit/s.
const BODY: Duration = Duration::from_secs(60);

/// How long an instance may take to give its figures. It takes a millisecond; a probe waits for a
/// second, often.
const SNAPSHOTS: Duration = Duration::from_millis(500);

/// How much longer than it should need an instance may take to answer. One that is stuck never does,
/// and would keep its callers' connections.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the API needs to know, shared by all requests of a process.
pub(crate) struct ApiContext {
    handle: Handle,
    config: Config,
    metrics: Metrics,
    page: Page,
}

impl ApiContext {
    /// The API of a server with these settings. `terminals` is where terminals connect, if this
    /// server listens for them itself; `node` is the server's name.
    ///
    /// # Errors
    ///
    /// Names the setting that does not fit.
    pub(crate) fn new(
        handle: Handle,
        settings: &Settings,
        terminals: Option<SocketAddr>,
        node: &str,
    ) -> Result<Self, ConfigError> {
        let page = Page::new(settings.public_url.as_deref(), terminals)?;
        Ok(Self {
            handle,
            config: settings.core.clone(),
            metrics: Metrics::new(node),
            page,
        })
    }

    /// What the status page must ask its reader for.
    fn facts(&self, parts: &Parts) -> Facts {
        let admitted = self.handle.shared.admitted.load();
        let keys = admitted.keys.are_set();
        self.page.facts(parts, admitted.kind(), keys)
    }

    /// Whether a balancer should send terminals here. An instance that does not answer would not answer
    /// them either.
    async fn readiness(&self, timer: impl Future<Output = ()>) -> Response<Full<Bytes>> {
        let Asked { answers, silent } = self.handle.snapshots_until(timer).await;
        let ready = self.handle.is_ready() && silent.is_empty();
        let status = if ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        let readiness = Readiness {
            ready,
            instances: &answers,
            silent: &silent,
        };
        json(status, &readiness)
    }

    /// How long a question to the directory may take.
    fn question(&self) -> Duration {
        self.config.directory_timeout + PATIENCE
    }

    async fn push<T: Future<Output = ()>>(
        &self,
        to: Audience,
        action: Action,
        options: Options,
        sleep: impl Fn(Duration) -> T,
    ) -> Result<Receipt, ApiError> {
        let start = Instant::now();
        let push = Push {
            id: options.id,
            to,
            action,
            deadline: options.deadline,
        };
        let late = sleep(push.deadline + PATIENCE);
        let receipt = in_time(self.handle.push(push), late).await?;
        self.metrics.push(start.elapsed());
        Ok(receipt)
    }

    async fn kick<T: Future<Output = ()>>(
        &self,
        to: Audience,
        parts: &Parts,
        sleep: impl Fn(Duration) -> T,
    ) -> Result<Response<Full<Bytes>>, ApiError> {
        let options = Options::read(parts, Known::Deadline)?;
        let close = Action::Close(CloseCode::Kicked);
        Ok(terminals(&self.push(to, close, options, sleep).await?))
    }

    async fn list<T: Future<Output = ()>>(
        &self,
        user: UserId,
        parts: &Parts,
        sleep: impl Fn(Duration) -> T,
    ) -> Result<Response<Full<Bytes>>, ApiError> {
        request::no_parameters(parts)?;
        let others = async { sleep(SNAPSHOTS).await };
        let connections = self.handle.connections_until(user, others);
        let connections = in_time(connections, sleep(self.question())).await?;
        Ok(json(StatusCode::OK, &ConnectionList(&connections)))
    }
}

/// What a caller is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Whatever it may ask for.
    Everything,
    /// What tells how the server does, and nothing else: there is no room for more callers.
    Operation,
}

/// What an instance answers, unless a timer ends first.
async fn in_time<V>(
    answer: impl Future<Output = Result<V, CallError>>,
    timer: impl Future<Output = ()>,
) -> Result<V, ApiError> {
    let answered = async { Ok(answer.await?) };
    let silent = async {
        timer.await;
        Err(ApiError::Silent)
    };
    race(answered, silent).await
}

/// Answers a request. What the caller does wrong is an answer too, and so is a body that does not
/// come.
pub(crate) async fn serve<B, T>(
    context: &ApiContext,
    request: Request<B>,
    scope: Scope,
    sleep: impl Fn(Duration) -> T,
) -> Response<Full<Bytes>>
where
    B: Body<Data = Bytes>,
    T: Future<Output = ()>,
{
    let (parts, body) = request.into_parts();
    let mut body = pin!(body);
    let timed = Timed {
        body: body.as_mut(),
        timer: sleep(BODY),
    };
    let place = Place::at(parts.uri.path());
    let answer = match admit(context, &parts, place, scope) {
        Ok(route) => answer(context, &parts, route, timed, &sleep).await,
        Err(error) => Err(error),
    };
    let response = answer.unwrap_or_else(|error| {
        tell_of_refusal(&parts.method, place, &error);
        let mut response = error.response();
        // The rest of its body makes the connection useless: a client must not send the next
        // request over it.
        if !body.is_end_stream() {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        response
    });
    context
        .metrics
        .request(&parts.method, place.label(), response.status());
    response
}

/// A caller without the right to ask, or a server without the means to answer, is something that an
/// operator wants to know; any other mistake is the caller's own.
fn tell_of_refusal(method: &Method, place: Place<'_>, error: &ApiError) {
    let (status, code) = error.status();
    let (method, route) = (metrics::known_method(method), place.label());
    let text = "a request to the API is refused";
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::SERVICE_UNAVAILABLE => {
            damped!(
                INFO,
                Cause::one("requests to the API refused", code),
                method,
                route,
                status = status.as_u16(),
                code,
                "{text}"
            )
        }
        _ => tracing::debug!(method, route, status = status.as_u16(), code, "{text}"),
    }
}

/// Finds out what a request is for, if whoever sends it may ask for it.
fn admit<'a>(
    context: &ApiContext,
    parts: &Parts,
    place: Place<'a>,
    scope: Scope,
) -> Result<Route<'a>, ApiError> {
    if scope == Scope::Operation && !place.is_of_operation() {
        return Err(ApiError::Crowded);
    }
    let admitted = context.handle.shared.admitted.load();
    admitted.hosts.check(parts)?;
    if route::needs_key(parts.uri.path()) {
        admitted.keys.check(&parts.headers)?;
    }
    place.route(&parts.method)
}

async fn answer<B, T>(
    context: &ApiContext,
    parts: &Parts,
    route: Route<'_>,
    body: Timed<B, T>,
    sleep: &impl Fn(Duration) -> T,
) -> Result<Response<Full<Bytes>>, ApiError>
where
    B: Body<Data = Bytes>,
    T: Future<Output = ()>,
{
    Ok(match route {
        Route::PushToUser { user } => {
            let user = request::user(user)?;
            let mut options = Options::read(parts, Known::ConnectionAndDeadline)?;
            let payload = payload(context, parts, body).await?;
            let connections = std::mem::take(&mut options.connections);
            let to = match connections.is_empty() {
                true => Audience::User(user),
                false => Audience::Connections { user, connections },
            };
            let push = Action::Frame(payload);
            terminals(&context.push(to, push, options, sleep).await?)
        }
        Route::PushToUsers => {
            let options = Options::read(parts, Known::Deadline)?;
            let limit = PushForm::largest(&context.config);
            let body = body::read(&parts.headers, body, limit).await?;
            let PushForm { to, payload } = PushForm::read(&body, &context.config)?;
            let push = Action::Frame(payload);
            terminals(&context.push(to, push, options, sleep).await?)
        }
        Route::Broadcast => {
            let options = Options::read(parts, Known::Deadline)?;
            let payload = payload(context, parts, body).await?;
            let receipt = context
                .push(Audience::Everyone, Action::Frame(payload), options, sleep)
                .await?;
            json(StatusCode::OK, &ByInstance(&receipt))
        }
        Route::Kick { user, connection } => {
            let to = kicked(request::user(user)?, connection)?;
            context.kick(to, parts, sleep).await?
        }
        Route::KickNamed => {
            let body = body::read(&parts.headers, body, form::USER_FORM_LARGEST).await?;
            context.kick(form::kicked(&body)?, parts, sleep).await?
        }
        Route::Connections { user } => context.list(request::user(user)?, parts, sleep).await?,
        Route::ConnectionsOfNamed => {
            let body = body::read(&parts.headers, body, form::USER_FORM_LARGEST).await?;
            context.list(form::user(&body)?, parts, sleep).await?
        }
        Route::Instances => {
            request::no_parameters(parts)?;
            let late = sleep(context.question());
            let instances = in_time(context.handle.instances(), late).await?;
            json(StatusCode::OK, &InstanceList(&instances))
        }
        Route::Metrics => {
            let format = Format::asked_for(&parts.headers);
            let figures = context.handle.figures_until(sleep(SNAPSHOTS)).await;
            let dropped = &context.handle.shared.dropped;
            let figures = context.metrics.text(figures, dropped, format);
            text(format.content_type(), figures)
        }
        Route::Live => json(StatusCode::OK, &page::LIVE),
        Route::Ready => context.readiness(sleep(SNAPSHOTS)).await,
        Route::Page => context.page.html(parts),
        Route::PageScript => page::script(),
        Route::PageStyle => page::style(),
        Route::PageFacts => json(StatusCode::OK, &context.facts(parts)),
    })
}

async fn payload<B, T>(
    context: &ApiContext,
    parts: &Parts,
    body: Timed<B, T>,
) -> Result<Payload, ApiError>
where
    B: Body<Data = Bytes>,
    T: Future<Output = ()>,
{
    let body = body::read(&parts.headers, body, context.config.push_bytes).await?;
    Ok(Payload::new(request::frame_kind(&parts.headers), body)?)
}

fn kicked(user: UserId, connection: Option<&str>) -> Result<Audience, ApiError> {
    Ok(match connection {
        None => Audience::User(user),
        Some(connection) => Audience::Connections {
            user,
            connections: vec![request::connection(connection)?],
        },
    })
}

fn terminals(receipt: &Receipt) -> Response<Full<Bytes>> {
    json(StatusCode::OK, &ByTerminal(receipt))
}

fn text(kind: &'static str, content: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(content.into()));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::Arc;

    use futures_util::FutureExt as _;
    use switchboard_core::id::InstanceId;

    use super::*;
    use crate::inbox::Inbox;
    use crate::members::{Member, Shared};

    /// H54: an instance that takes what it is asked, and answers nothing, does not keep callers.
    #[test]
    fn an_instance_that_is_stuck_is_told_of_in_time() {
        let (inbox, _unread) = Inbox::new();
        let context = context(vec![Arc::new(Member::new(InstanceId::new(1), inbox))]);
        let questions = [
            ("POST", "/v1/users/ann/push"),
            ("POST", "/v1/broadcast"),
            ("GET", "/v1/users/ann/connections"),
            ("DELETE", "/v1/users/ann/connections"),
            ("GET", "/v1/instances"),
        ];
        for (method, path) in questions {
            let ask = || request(method, path);
            let waits = serve(&context, ask(), Scope::Everything, |_| pending());
            assert!(waits.now_or_never().is_none(), "{method} {path}");
            let answer = serve(&context, ask(), Scope::Everything, |_| ready(()));
            let answer = answer.now_or_never();
            let answer = answer.expect("it does not wait");
            assert_eq!(answer.status(), 503, "{method} {path}");
            assert!(answer.headers().contains_key("retry-after"));
        }
    }

    /// Who finds no room is counted, as whoever is refused.
    #[test]
    fn callers_that_are_too_many_are_counted() {
        let context = context(Vec::new());
        let ask = |path| {
            let answer = serve(&context, request("GET", path), Scope::Operation, |_| {
                ready(())
            });
            answer.now_or_never().expect("it does not wait").status()
        };
        assert_eq!(ask("/v1/instances"), 503);
        assert_eq!(ask("/health/live"), 200);
        let none = Asked {
            answers: Vec::new(),
            silent: Vec::new(),
        };
        let dropped = &context.handle.shared.dropped;
        let text = context.metrics.text(none, dropped, Format::Prometheus);
        let counted = r#"route="/v1/instances",status="503"} 1"#;
        assert!(text.contains(counted), "{text}");
    }

    fn context(members: Vec<Arc<Member>>) -> ApiContext {
        let shared = Arc::new(Shared::of(members));
        ApiContext::new(Handle { shared }, &Settings::default(), None, "a").expect("it fits")
    }

    fn request(method: &str, path: &str) -> Request<Full<Bytes>> {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("host", "127.0.0.1");
        request.body(Full::default()).expect("a request")
    }
}
