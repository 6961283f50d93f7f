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
use crate::{Handle, Settings};
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

    async fn push(
        &self,
        to: Audience,
        action: Action,
        options: Options,
    ) -> Result<Receipt, ApiError> {
        let start = Instant::now();
        let push = Push {
            id: options.id,
            to,
            action,
            deadline: options.deadline,
        };
        let receipt = self.handle.push(push).await?;
        self.metrics.push(start.elapsed());
        Ok(receipt)
    }

    async fn kick(&self, to: Audience, parts: &Parts) -> Result<Response<Full<Bytes>>, ApiError> {
        let options = Options::read(parts, Known::Deadline)?;
        let close = Action::Close(CloseCode::Kicked);
        Ok(terminals(&self.push(to, close, options).await?))
    }

    async fn list(&self, user: UserId, parts: &Parts) -> Result<Response<Full<Bytes>>, ApiError> {
        request::no_parameters(parts)?;
        let connections = self.handle.connections(user).await?;
        Ok(json(StatusCode::OK, &ConnectionList(&connections)))
    }
}

/// As [`serve`], where there is no room for more callers: what tells how the server does is
/// answered, and nothing else.
pub(crate) async fn serve_crowded<B, T>(
    context: &ApiContext,
    request: Request<B>,
    sleep: impl Fn(Duration) -> T,
) -> Response<Full<Bytes>>
where
    B: Body<Data = Bytes>,
    T: Future<Output = ()>,
{
    if Place::at(request.uri().path()).is_of_operation() {
        return serve(context, request, sleep).await;
    }
    ApiError::Crowded.response()
}

/// Answers a request. What the caller does wrong is an answer too, and so is a body that does not
/// come.
pub(crate) async fn serve<B, T>(
    context: &ApiContext,
    request: Request<B>,
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
    let answer = match admit(context, &parts, place) {
        Ok(route) => answer(context, &parts, route, timed, || sleep(SNAPSHOTS)).await,
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
fn admit<'a>(context: &ApiContext, parts: &Parts, place: Place<'a>) -> Result<Route<'a>, ApiError> {
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
    until: impl FnOnce() -> T,
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
            terminals(&context.push(to, Action::Frame(payload), options).await?)
        }
        Route::PushToUsers => {
            let options = Options::read(parts, Known::Deadline)?;
            let limit = PushForm::largest(&context.config);
            let body = body::read(&parts.headers, body, limit).await?;
            let PushForm { to, payload } = PushForm::read(&body, &context.config)?;
            terminals(&context.push(to, Action::Frame(payload), options).await?)
        }
        Route::Broadcast => {
            let options = Options::read(parts, Known::Deadline)?;
            let payload = payload(context, parts, body).await?;
            let receipt = context
                .push(Audience::Everyone, Action::Frame(payload), options)
                .await?;
            json(StatusCode::OK, &ByInstance(&receipt))
        }
        Route::Kick { user, connection } => {
            let to = kicked(request::user(user)?, connection)?;
            context.kick(to, parts).await?
        }
        Route::KickNamed => {
            let body = body::read(&parts.headers, body, form::USER_FORM_LARGEST).await?;
            context.kick(form::kicked(&body)?, parts).await?
        }
        Route::Connections { user } => context.list(request::user(user)?, parts).await?,
        Route::ConnectionsOfNamed => {
            let body = body::read(&parts.headers, body, form::USER_FORM_LARGEST).await?;
            context.list(form::user(&body)?, parts).await?
        }
        Route::Instances => {
            request::no_parameters(parts)?;
            let instances = context.handle.instances().await?;
            json(StatusCode::OK, &InstanceList(&instances))
        }
        Route::Metrics => {
            let format = Format::asked_for(&parts.headers);
            let figures = context.handle.figures_until(until()).await;
            let dropped = &context.handle.shared.dropped;
            let figures = context.metrics.text(figures, dropped, format);
            text(format.content_type(), figures)
        }
        Route::Live => json(StatusCode::OK, &page::LIVE),
        Route::Ready => context.readiness(until()).await,
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
